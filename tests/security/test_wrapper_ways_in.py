"""The ways to call the wrapper: sudo, sshd's ForceCommand and certificates; and the link itself over a real sshd."""

from __future__ import annotations

import grp
import os
import pwd
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from factorylink.config import CaCredentials, DoorAccess, WrapperCredentials
from factorylink.credentials import credentials_of
from factorylink.errors import Gone, NotLetIn, Refused, Unreachable
from factorylink.schedulers.command import Command
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.sessions.submitter import make_folders
from factorylink.site import unix_groups
from factorylink.transports.access_guard import GuardedCommands
from factorylink.transports.access_status import SiteAccessStatus
from factorylink.transports.host_keys import pinned
from factorylink.transports.ssh.transport import SshTransport as Ssh
from testbed import accounts
from testbed.slurm.cluster import SlurmCluster
from tests.support.sshd import Sshd
from tests.support.trial import CHECKOUT, eventually, state_of
from tests.support.wrapper import ADA, EMMY, GRACE, HUB, STOPPED, Wrapper, output, refused, request, write_note

pytestmark = [pytest.mark.slurm, pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


GATE = "fg-gate"  # the service account


# --- sudo, and sshd's ForceCommand


@pytest.fixture(scope="module")
def gate(installed: Wrapper) -> Iterator[str]:
    """Make the service account with the site's sudoers file; yield the account's name."""
    if shutil.which("sudo") is None:
        pytest.skip("no sudo here")
    accounts.ensure((GATE,))
    text = (CHECKOUT / "site/sudoers").read_text()
    text = text.replace("/usr/local/libexec/factorygate-act", str(installed.program))
    rules = Path("/etc/sudoers.d/factorygate-under-test")
    rules.write_text(text.replace("factorygate ALL=", f"{GATE} ALL="))
    rules.chmod(0o440)
    yield GATE
    rules.unlink()


def _as_gate(wrapper: Wrapper, command: str, **env: str) -> Any:
    """Run the wrapper as the service account, as sshd does with ForceCommand; return the finished process.

    ``command``: what the client sent; ``env``: additional environment variables. The process's output is bytes.
    """
    uid = pwd.getpwnam(GATE).pw_uid
    return subprocess.run(
        [str(wrapper.program), "--ssh"],
        env={"PATH": "/usr/bin:/bin", "SSH_ORIGINAL_COMMAND": command, **env},
        cwd="/", user=uid, group=uid, extra_groups=(), input=b"", capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def test_through_sudo_and_the_forced_command(wrapper: Wrapper, gate: str) -> None:
    done = _as_gate(wrapper, shlex.join(["sudo", "-n", str(wrapper.program), ADA, "pwd"]))
    assert (done.returncode, done.stdout.decode().strip()) == (0, pwd.getpwnam(ADA).pw_dir), done.stderr
    assert wrapper.log()[-1]["by"] == gate


def test_the_service_account_watches(wrapper: Wrapper, gate: str, adas: str, graces: str) -> None:
    for ask in (slurm.jobs(HUB), slurm.waiting(), slurm.nodes(), slurm.reservations(), slurm.alive()):
        words = [*(["env", "SLURM_TIME_FORMAT=%s"] if ask.env else []), *ask.argv]
        done = _as_gate(wrapper, shlex.join(words))
        assert done.returncode == 0, done.stderr
        ask.parse(output(done))
        if ask.argv == slurm.jobs(HUB).argv:
            assert {job.id for job in ask.parse(output(done))} >= {adas, graces}


def test_the_service_account_asks_for_the_groups_of_listed_accounts(wrapper: Wrapper, gate: str) -> None:
    for account in (ADA, GRACE):
        done = _as_gate(wrapper, shlex.join(unix_groups.question(account).argv))
        assert done.returncode == 0, done.stderr
        own = grp.getgrgid(pwd.getpwnam(account).pw_gid).gr_name
        assert own in unix_groups.question(account).parse(output(done))


FORCED = {
    "a shell": "",
    "a command of its own": "id",
    "a chain": "squeue --local; id",
    "a submission of its own": "sbatch --parsable",
    "a cancel of its own": "scancel 1",
    "a time limit": "scontrol update JobId=1 TimeLimit=1",
    "sudo of something else": "sudo -n /bin/sh",
    "sudo with options": "sudo -n -u root /bin/sh",
    "sudo of the forced way": "sudo -n {program} --ssh",
    "sudo of the wrapper behind a link": "sudo -n {program}/../factorygate-act " + ADA + " pwd",
    "an open quote": "squeue '",
    "an account that is not listed": "sudo -n {program} " + EMMY + " pwd",
    "root": "sudo -n {program} root pwd",
    "groups of an account that is not listed": "id -Gnz -- " + EMMY,
    "groups of root": "id -Gnz -- root",
    "groups of nobody": "id -Gnz -- ''",
    "groups of its own": "id -Gnz",
    "more than groups": "id -Gnz -- " + ADA + " " + ADA,
    "another question": "id -un -- " + ADA,
}


@pytest.mark.parametrize("what", FORCED)
def test_the_service_account_may_nothing_else(wrapper: Wrapper, gate: str, what: str) -> None:
    refused(_as_gate(wrapper, FORCED[what].format(program=wrapper.program)))


SUDO = [
    ["/bin/sh"],
    ["-u", ADA, "/bin/sh"],
    ["env"],
    ["-E", "{program}", ADA, "pwd"],
    ["LD_PRELOAD=/x", "{program}", ADA, "pwd"],
]


@pytest.mark.parametrize("argv", SUDO)
def test_sudo_gives_nothing_but_the_wrapper(wrapper: Wrapper, gate: str, argv: list[str]) -> None:
    words = [word.format(program=wrapper.program) for word in argv]
    uid = pwd.getpwnam(GATE).pw_uid
    done = subprocess.run(
        ["sudo", "-n", *words], user=uid, group=uid, extra_groups=(), cwd="/", capture_output=True, check=False
    )
    assert done.returncode != 0
    assert done.stdout == b""


def test_a_listed_account_acts_for_itself_by_a_certificate(wrapper: Wrapper) -> None:
    """The certificate of the gateway's CA has ``force-command``, so an account may run the same commands by itself.

    This way needs neither sudo nor a service account.
    """
    uid = pwd.getpwnam(ADA).pw_uid

    def run(command: str) -> Any:
        return subprocess.run(
            [str(wrapper.program), "--ssh"],
            env={"SSH_ORIGINAL_COMMAND": command},
            cwd="/", user=uid, group=uid, extra_groups=(), input=b"", capture_output=True, timeout=60, check=False,
        )  # fmt: skip

    assert run("pwd").stdout.decode().strip() == pwd.getpwnam(ADA).pw_dir
    refused(run("id"))
    wrapper.write("accounts", f"{GRACE}\n")
    refused(run("pwd"), "not on the site's list")


def test_the_list_and_the_switch_hold_for_certificates_too(wrapper: Wrapper) -> None:
    def principals(account: str) -> Any:
        return wrapper.run("--principals", account)

    assert principals(ADA).stdout.decode() == f"{ADA}\n"
    assert principals(EMMY).stdout == b""
    refused(principals("root"))
    wrapper.write("stop", "Not now.")
    assert (principals(ADA).returncode, principals(ADA).stdout) == (STOPPED, b"")


# --- the link itself, over a real sshd


def _transport(sshd: Sshd, credentials: object, watcher: str) -> Ssh:
    settings = sshd.settings(watcher=watcher, credentials=credentials)
    keys = pinned((settings.host_keys, settings.host_cas), ((), ()))
    return Ssh("trial", settings, keys, credentials_of(settings, DoorAccess(carrier="stdio"), "trial"))


async def _acts(transport: Ssh, wrapper: Wrapper, running: SlurmCluster) -> None:
    """Do everything that the link does at a site for a session, until the session's job is cancelled."""
    folder = f"{await transport.home(ADA)}/.factorygate/sessions/{secrets.token_hex(16)}"
    wrapper.made.append(Path(folder))
    base = folder.rpartition("/sessions/")[0]
    await transport.run(make_folders(base, f"{base}/sessions"), ADA)
    await transport.run(write_note(folder, "{}"), ADA)
    assert await transport.read(ADA, f"{folder}/session.json") == b"{}"
    with pytest.raises(Gone):
        await transport.read(ADA, f"{folder}/door.json")
    job = await transport.run(slurm.submit(slurm.script(request(folder, "sleep 600"))), ADA)
    assert running.run("squeue", "-h", "-j", job, "-o", "%u").stdout.strip() == ADA
    await transport.run(slurm.cancel([job]), ADA)
    assert eventually(lambda: state_of(running, job) == "CANCELLED")
    with pytest.raises(Refused, match="may not be run"):
        await transport.run(Command(("whoami",), lambda output: _raise(output.stderr)), ADA)


def _raise(words: str) -> None:
    raise Refused(words)


async def test_the_service_account_over_ssh(wrapper: Wrapper, gate: str, running: SlurmCluster, tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    sshd = Sshd(wrapper.folder / "sshd", ForceCommand=f"{wrapper.program} --ssh", AllowUsers=gate)
    (sshd.folder / "authorized_keys").write_bytes(key.export_public_key())
    (tmp_path / "key").write_bytes(key.export_private_key())
    (tmp_path / "key").chmod(0o600)
    await sshd.start()
    told = WrapperCredentials(login=gate, key=tmp_path / "key", wrapper=str(wrapper.program))
    transport = _transport(sshd, told, gate)
    try:
        await _acts(transport, wrapper, running)
        await transport.run(slurm.jobs(HUB))
        assert await transport.run(unix_groups.question(ADA))
        with pytest.raises(Refused, match="not on the site's list"):
            await transport.run(unix_groups.question(EMMY))
        with pytest.raises(Refused, match="not on the site's list"):
            await transport.home(EMMY)
        wrapper.write("stop", "Not today.")
        access_status = SiteAccessStatus()
        with pytest.raises(Unreachable, match=r"stopped by the site: Not today\."):
            await GuardedCommands(transport, access_status).read(ADA, f"~/.factorygate/sessions/{'0' * 32}/door.json")
        words = access_status.problem(ADA)
        assert words is not None
        assert words.code == "stopped-by-site"
        assert {line["by"] for line in wrapper.log()} == {gate}
    finally:
        await transport.close()
        sshd.kill()
        shutil.rmtree(sshd.folder)


async def test_certificates_over_ssh(wrapper: Wrapper, running: SlurmCluster, tmp_path: Path) -> None:
    ca = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "ca").write_bytes(ca.export_private_key())
    (tmp_path / "ca").chmod(0o600)
    sshd = Sshd(
        wrapper.folder / "sshd",
        TrustedUserCAKeys=str(wrapper.folder / "ca.pub"),
        AuthorizedPrincipalsCommand=f"{wrapper.program} --principals %u",
        AuthorizedPrincipalsCommandUser="nobody",
        AuthorizedKeysFile="none",
    )
    (wrapper.folder / "ca.pub").write_bytes(ca.export_public_key())
    await sshd.start()
    told = CaCredentials(key=tmp_path / "ca", source=("127.0.0.1",), force_command=f"{wrapper.program} --ssh")
    transport = _transport(sshd, told, GRACE)
    try:
        await _acts(transport, wrapper, running)
        with pytest.raises(NotLetIn):  # emmy's certificate is valid, but she is on no list
            await transport.home(EMMY)
    finally:
        await transport.close()
        sshd.kill()
        shutil.rmtree(sshd.folder)
