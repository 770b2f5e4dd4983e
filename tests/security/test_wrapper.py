"""What a site installs (``site/``), against a real Slurm and real accounts: what it does, and all that it refuses.

The wrapper runs from a folder of its own, with another ``ETC`` than /etc/factorygate: nothing else is changed in it.
"""

from __future__ import annotations

import ast
import grp
import io
import json
import os
import pwd
import secrets
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from factorylink import groups
from factorylink.config import CaCredentials, DoorAccess, WrapperCredentials
from factorylink.credentials import credentials_of
from factorylink.errors import Gone, NotLetIn, Refused, Unreachable
from factorylink.models import JobRequest
from factorylink.schedulers import slurm
from factorylink.schedulers.ask import Ask
from factorylink.standing import Standing
from factorylink.submitting import _make_folders, _write
from factorylink.transports.heeding import HeedingTransport
from factorylink.transports.host_keys import pinned
from factorylink.transports.ssh import SshTransport as Ssh
from testbed import accounts, cluster, install
from testbed.cluster import Cluster
from tests.support.sshd import Sshd
from tests.support.trial import CHECKOUT, FACTORY, cancel, eventually, state_of

pytestmark = [pytest.mark.slurm, pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SOURCE = CHECKOUT / "site/factorygate-act"
ADA, GRACE, EMMY = accounts.NAMES  # the last is on no list
GATE = "fg-gate"  # the service account
REFUSED, STOPPED = 77, 75
HUB = "factorygate-trial"


@dataclass
class Wrapper:
    """An installed wrapper. ``slurm``: the cluster's environment, as act.conf tells it."""

    folder: Path
    slurm: dict[str, str]
    made: list[Path] = field(default_factory=list)

    @property
    def program(self) -> Path:
        return self.folder / "factorygate-act"

    def write(self, name: str, text: str) -> Path:
        path = self.folder / "etc" / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    def reset(self) -> None:
        shutil.rmtree(self.folder / "etc", ignore_errors=True)
        (self.folder / "etc").mkdir(mode=0o755)
        self.write("accounts", f"# those who agreed\n{ADA}\n{GRACE}  # since May\n")
        env = {name: value for name, value in self.slurm.items() if name != "PATH"}
        lines = [f"path = {self.slurm['PATH']}", f"log = {self.folder}/log"]
        self.write("act.conf", "\n".join(lines + [f"env.{name} = {value}" for name, value in env.items()]) + "\n")

    def run(self, *argv: str, stdin: str | bytes = b"", env: dict[str, str] | None = None) -> Any:
        return subprocess.run(
            [str(self.program), *argv],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            env={"PATH": "/usr/bin:/bin", **(env or {})},
            cwd="/",
            capture_output=True,
            timeout=60,
            check=False,
        )

    def ask(self, account: str, ask: Ask[Any]) -> Any:
        """As the link does it over SSH, the dialect's environment in front."""
        env = ("env", *(f"{name}={value}" for name, value in ask.env.items())) if ask.env else ()
        return self.run(account, *env, *ask.argv, stdin=ask.stdin)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def session(self, account: str) -> str:
        """A session's folder, made the way the link makes it."""
        home = pwd.getpwnam(account).pw_dir
        folder = f"{home}/.factorygate/sessions/{secrets.token_hex(16)}"
        sessions = os.path.dirname(folder)
        for ask in (
            _make_folders(os.path.dirname(sessions), sessions),
            _write(sessions, {f"{Path(folder).name}/session.json": "{}"}),
        ):
            asked = self.ask(account, ask)
            assert asked.returncode == 0, asked.stderr
        self.made.append(Path(folder))
        return folder

    def submit(self, account: str, command: str = "sleep 600") -> str:
        asked = self.ask(account, slurm.submit(slurm.script(_request(self.session(account), command))))
        assert asked.returncode == 0, asked.stderr
        return str(asked.stdout.decode().strip())


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    state = Path(tempfile.mkdtemp(prefix="factorygate-wrapper-"))
    state.chmod(0o755)
    found = cluster.up(FACTORY, state, install.program_folder() / "slurm")
    yield found
    found.down()
    shutil.rmtree(state)


@pytest.fixture(scope="module")
def installed(running: Cluster) -> Iterator[Wrapper]:
    # Not below /tmp: sshd runs no AuthorizedPrincipalsCommand from where others could have put it.
    folder = Path(tempfile.mkdtemp(prefix="factorygate-act-", dir="/opt"))
    folder.chmod(0o755)
    text = SOURCE.read_text().replace('ETC = "/etc/factorygate"', f'ETC = "{folder}/etc"')
    assert f"{folder}/etc" in text
    (folder / "factorygate-act").write_text(text)
    (folder / "factorygate-act").chmod(0o755)
    wrapper = Wrapper(folder, running.env)
    yield wrapper
    for path in wrapper.made:
        shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(folder)


@pytest.fixture
def wrapper(installed: Wrapper) -> Wrapper:
    installed.reset()
    (installed.folder / "log").unlink(missing_ok=True)
    return installed


@pytest.fixture(scope="module")
def adas(installed: Wrapper, running: Cluster) -> Iterator[str]:
    """A running job of ada's, submitted through the wrapper."""
    yield from _job(installed, running, ADA)


@pytest.fixture(scope="module")
def graces(installed: Wrapper, running: Cluster) -> Iterator[str]:
    yield from _job(installed, running, GRACE)


def _job(installed: Wrapper, running: Cluster, account: str) -> Iterator[str]:
    installed.reset()
    job = installed.submit(account)
    assert eventually(lambda: state_of(running, job) == "RUNNING", 30)
    yield job
    cancel(running, job)


def _request(folder: str, command: str, **changes: Any) -> JobRequest:
    told = {
        "name": HUB,
        "comment": "fg:" + "0" * 32 + ":" + "0" * 16,
        "partition": "shared",
        "gpus": 0,
        "cores": 1,
        "memory_gb": 1,
        "walltime": 1200,
        "output": f"{folder}/job.log",
        "command": ("/bin/sh", "-c", command),
        **changes,
    }
    return JobRequest.model_validate(told)


def _enter(job: str, account: str = ADA, *, socket: str | None = None) -> tuple[str, ...]:
    uid = pwd.getpwnam(account).pw_uid
    bridge = ("/opt/env/bin/python", "-P", "-m", "factorygate.session.bridge")
    return slurm.enter(job, (*bridge, socket or f"/tmp/factorygate-{uid}-01234567-abc_1/door.sock"))


def _write_note(folder: str, note: str) -> Ask[None]:
    return _write(os.path.dirname(folder), {f"{os.path.basename(folder)}/session.json": note})


def _archive(*members: tuple[str, bytes, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, kind, content in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(content), "/etc/passwd"
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def refused(done: Any, words: str = "") -> None:
    assert done.returncode == REFUSED, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.startswith(b"factorygate-act: refused: ")
    assert words in done.stderr.decode()
    assert done.stdout == b""


# --- what it is for


def test_it_runs_on_old_pythons() -> None:
    ast.parse(SOURCE.read_text(), feature_version=(3, 6))
    assert SOURCE.read_text().startswith("#!/usr/bin/python3 -IS\n")


def test_sudoers_is_in_order() -> None:
    visudo = shutil.which("visudo", path="/usr/sbin:/sbin:/usr/bin")
    if visudo is None:
        pytest.skip("no sudo here")
    done = subprocess.run([visudo, "-cf", CHECKOUT / "site/sudoers"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_job_from_submit_to_cancel(wrapper: Wrapper, running: Cluster) -> None:
    job = wrapper.submit(ADA)
    asked = running.run("squeue", "-h", "-j", job, "-o", "%u %j")
    assert asked.stdout.split() == [ADA, HUB]
    listed = wrapper.ask(ADA, slurm.jobs(HUB))
    assert job in listed.stdout.decode()
    assert running.run("squeue", "-h", "-j", job, "-o", "%l").stdout.strip() == "20:00"
    longer = wrapper.run(ADA, "scontrol", "update", f"JobId={job}", "TimeLimit=15")
    assert longer.returncode == 0, longer.stderr
    assert running.run("squeue", "-h", "-j", job, "-o", "%l").stdout.strip() == "15:00"
    done = wrapper.ask(ADA, slurm.cancel([job]))
    assert done.returncode == 0, done.stderr
    assert eventually(lambda: state_of(running, job) == "CANCELLED")
    lines = wrapper.log()
    assert [line["job"] for line in lines if line["answer"] == "submitted"] == [job]
    assert all(line["account"] == ADA and line["by"] == "root" for line in lines)
    assert (wrapper.folder / "log").stat().st_mode & 0o777 == 0o600


def test_it_estimates_without_submitting(wrapper: Wrapper, running: Cluster) -> None:
    before = running.run("squeue", "-h", "-u", ADA).stdout
    folder = f"{pwd.getpwnam(ADA).pw_dir}/.factorygate/sessions/{'0' * 32}"
    asked = wrapper.ask(ADA, slurm.estimate(slurm.script(_request(folder, "true"))))
    assert b"to start at" in asked.stderr
    assert asked.returncode == 0
    assert running.run("squeue", "-h", "-u", ADA).stdout == before


def test_the_scheduler_tells_of_the_account_only(wrapper: Wrapper, adas: str, graces: str) -> None:
    told = slurm.jobs(HUB).parse(_output(wrapper.ask(ADA, slurm.jobs(HUB))))
    assert {job.account for job in told} == {ADA}
    assert adas in {job.id for job in told}


def _output(done: Any) -> Any:
    return slurm.Output(done.stdout.decode(), done.stderr.decode(), done.returncode)


def test_it_enters_the_accounts_own_job(wrapper: Wrapper, adas: str) -> None:
    """The shape is let through: it is srun that says there is no such Python on the node."""
    done = wrapper.run(ADA, *_enter(adas))
    assert done.returncode not in (0, REFUSED, STOPPED)
    assert b"/opt/env/bin/python" in done.stderr
    container = ("apptainer", "exec", "--nv", "--bind", "/scratch:/scratch", "/images/a.sif")
    argv = _enter(adas)
    done = wrapper.run(ADA, *argv[:12], *container, *argv[12:])
    assert b"apptainer" in done.stderr
    assert done.returncode != REFUSED


def test_a_sessions_files(wrapper: Wrapper) -> None:
    folder = wrapper.session(ADA)
    assert wrapper.run(ADA, "pwd").stdout.decode().strip() == pwd.getpwnam(ADA).pw_dir
    assert wrapper.ask(ADA, _write_note(folder, '{"note": 1}')).returncode == 0
    note = Path(folder, "session.json")
    assert (note.stat().st_uid, note.stat().st_mode & 0o777) == (pwd.getpwnam(ADA).pw_uid, 0o600)
    assert Path(folder).stat().st_mode & 0o777 == 0o700
    assert wrapper.run(ADA, "head", "-c", "9", "--", f"{folder}/session.json").stdout == b'{"note": '
    home = pwd.getpwnam(ADA).pw_dir
    short = f"~{folder.removeprefix(home)}/session.json"
    assert wrapper.run(ADA, "head", "-c", "65536", "--", short).stdout == b'{"note": 1}'
    assert wrapper.run(ADA, "head", "-c", "9", "--", f"{folder}/cluster.json").returncode == 1  # allowed, and not there
    missing = wrapper.run(ADA, "env", "LC_ALL=C", "head", "-c", "65536", "--", f"{folder}/end.json")
    assert missing.returncode == 1
    assert b"No such file or directory" in missing.stderr
    log = Path(folder, "job.log")
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    os.chown(log, *[pwd.getpwnam(ADA).pw_uid] * 2)
    last = wrapper.run(ADA, "tail", "-n", "40", "--", str(log)).stdout.decode().splitlines()
    assert last == [f"line {number}" for number in range(60, 100)]


def test_the_switch_stops_everything_in_words(wrapper: Wrapper, adas: str, running: Cluster) -> None:
    wrapper.write("stop", "Maintenance until Friday,\nask hpc@example.org")
    for argv in (["scancel", adas], ["squeue", "--local"], ["pwd"], ["sbatch", "--parsable"]):
        done = wrapper.run(ADA, *argv, stdin="#!/bin/sh\n")
        assert done.returncode == STOPPED
        assert b"stopped by the site: Maintenance until Friday, ask hpc@example.org" in done.stderr
    assert wrapper.log()[-1]["answer"] == "stopped by the site"
    assert state_of(running, adas) == "RUNNING"
    (wrapper.folder / "etc/stop").unlink()
    assert wrapper.run(ADA, "pwd").returncode == 0


def test_a_switch_that_cannot_be_read_stops_too(wrapper: Wrapper) -> None:
    (wrapper.folder / "etc/stop").symlink_to("/nowhere")
    assert wrapper.run(ADA, "pwd").returncode == STOPPED


# --- misuse: as whom


NOBODY = [EMMY, "root", "daemon", "nobody-there", "../root", "0", "", "-u", f"{ADA}\n{EMMY}", f"{ADA} "]


@pytest.mark.parametrize("account", NOBODY)
def test_an_account_that_is_not_listed(wrapper: Wrapper, account: str) -> None:
    refused(wrapper.run(account, "pwd"))


def test_root_is_refused_though_listed(wrapper: Wrapper) -> None:
    wrapper.write("accounts", "root\n")
    refused(wrapper.run("root", "pwd"), "is root")


def test_a_line_of_the_list_is_one_account(wrapper: Wrapper) -> None:
    wrapper.write("accounts", f"# {ADA}\n{GRACE} {EMMY}\n")
    for account in (ADA, EMMY, GRACE):
        refused(wrapper.run(account, "pwd"), "not on the site's list")


# --- misuse: what


MISUSE = {
    "nothing": (),
    "another program": ("whoami",),
    "id of itself": ("id",),
    "id of another form": ("id", "-un", "--", ADA),
    "id of who is not listed": ("id", "-Gnz", "--", EMMY),
    "id of a file": ("id", "-Gnz", "--", "../x"),
    "a program by its path": ("/usr/bin/squeue",),
    "a program in a folder above": ("../bin/squeue",),
    "a method of the wrapper itself": ("plan",),
    "the inside of the wrapper": ("__init__",),
    "a shell": ("sh", "-c", "id"),
    "a second command": ("squeue", ";", "id"),
    "a second command in a word": ("scancel", "1;id"),
    "a substitution": ("scancel", "$(id)"),
    "a newline in a word": ("scancel", "1\nid"),
    "a newline at the end of a word": ("scancel", "1\n"),
    "bytes that are not text": ("scancel", "1\udcff"),
    "env with a variable of its own": ("env", "LD_PRELOAD=/tmp/x.so", "pwd"),
    "env with another configuration": ("env", "SLURM_CONF=/tmp/x", "squeue", "--local"),
    "env with options": ("env", "-i", "pwd"),
    "env with a variable beside": ("env", "SLURM_TIME_FORMAT=%s", "SLURM_CONF=/tmp/x", "squeue", "--local"),
    "env with another time": ("env", "SLURM_TIME_FORMAT=%s;id", "squeue", "--local"),
    "env twice": ("env", "SLURM_TIME_FORMAT=%s", "env", "SLURM_CONF=/tmp/x", "squeue"),
    "sbatch --wrap": ("sbatch", "--parsable", "--wrap=id"),
    "sbatch --uid": ("sbatch", "--parsable", "--uid=0"),
    "sbatch of a file": ("sbatch", "--parsable", "/etc/passwd"),
    "sbatch without --parsable": ("sbatch",),
    "sbatch with an endless array": ("sbatch", "--parsable", "--array=1-100000"),
    "sbatch with an output": ("sbatch", "--parsable", "-o/root/x"),
    "squeue of others": ("squeue", f"--user={GRACE}"),
    "squeue -u": ("squeue", "-u", GRACE),
    "squeue with another clusters file": ("squeue", "--local", "-M", "all"),
    "squeue of another name": ("squeue", "--name=secret"),
    "squeue -o": ("squeue", "-o", "%all"),
    "sacct of others": ("sacct", "--jobs=1", f"--user={GRACE}"),
    "sacct -u": ("sacct", "-u", GRACE, "--jobs=1"),
    "sacct -a": ("sacct", "-a", "--jobs=1"),
    "sacct of everything": ("sacct", "--noheader"),
    "sacct reading a file": ("sacct", "--jobs=1", "--file=/etc/shadow"),
    "scancel -u": ("scancel", "-u", GRACE),
    "scancel --user": ("scancel", f"--user={ADA}"),
    "scancel by name": ("scancel", "--name=factorygate-trial"),
    "scancel of nothing": ("scancel",),
    "scancel with a signal": ("scancel", "--signal=USR1", "1"),
    "scontrol of something else": ("scontrol", "show", "config"),
    "scontrol of nodes": ("scontrol", "show", "node"),
    "a list that is none": (*slurm.reservations().argv[:4], "scontrol", "show", "config"),
    "a list of another program": (*slurm.reservations().argv[:4], "id"),
    "scontrol reconfigure": ("scontrol", "reconfigure"),
    "scontrol of a node": ("scontrol", "update", "NodeName=n1", "State=DOWN"),
    "scontrol of a partition": ("scontrol", "update", "JobId=1", "Partition=whole"),
    "scontrol with one thing more": ("scontrol", "update", "JobId=1", "TimeLimit=10", "Priority=99"),
    "scontrol with one thing more in a word": ("scontrol", "update", "JobId=1", "TimeLimit=10 Priority=99"),
    "scontrol without a limit": ("scontrol", "update", "JobId=1", "TimeLimit=UNLIMITED"),
    "scontrol of many jobs": ("scontrol", "update", "JobId=1,2", "TimeLimit=10"),
    "sinfo with a file": ("sinfo", "-M", "all"),
    "pwd with options": ("pwd", "-P"),
    "srun without a job": ("srun", "id"),
    "mkdir elsewhere": ("mkdir", "-p", "-m", "700", "--", "/tmp/.factorygate", "/tmp/.factorygate/sessions"),
    "mkdir beside it": ("mkdir", "-p", "-m", "700", "--", "~/.ssh", "~/.factorygate/sessions"),
    "mkdir with another mode": ("mkdir", "-p", "-m", "777", "--", "~/.factorygate", "~/.factorygate/sessions"),
    "rm": ("rm", "-rf", "--", "~"),
    "cat": ("cat", "~/.ssh/id_ed25519"),
    "head of a key": ("head", "-c", "100", "--", "~/.ssh/id_ed25519"),
    "head of shadow": ("head", "-c", "100", "--", "/etc/shadow"),
    "head out of the folder": ("head", "-c", "9", "--", f"~/.factorygate/sessions/{'0' * 32}/../../../.bashrc"),
    "head of another file there": ("head", "-c", "9", "--", f"~/.factorygate/sessions/{'0' * 32}/.door.key"),
    "head of the log": ("head", "-c", "9", "--", f"~/.factorygate/sessions/{'0' * 32}/job.log"),
    "head of two": ("head", "-c", "9", "--", *[f"~/.factorygate/sessions/{'0' * 32}/end.json"] * 2),
    "head of a short id": ("head", "-c", "9", "--", "~/.factorygate/sessions/abc/end.json"),
    "head in another's home": ("head", "-c", "9", "--", f"/home/{GRACE}/.factorygate/sessions/{'0' * 32}/end.json"),
    "head with another option": ("head", "-q", "9", "--", f"~/.factorygate/sessions/{'0' * 32}/end.json"),
    "tail -f": ("tail", "-f", "40", "--", f"~/.factorygate/sessions/{'0' * 32}/job.log"),
    "tail from the start": ("tail", "-n", "+1", "--", f"~/.factorygate/sessions/{'0' * 32}/job.log"),
    "tar that makes": ("tar", "-c", "-f", "-", "-C", "/", "etc"),
    "tar to elsewhere": ("tar", "-x", "-m", "-f", "-", "-C", "/tmp"),
    "tar into a session": ("tar", "-x", "-m", "-f", "-", "-C", f"~/.factorygate/sessions/{'0' * 32}"),
    "tar with an action": ("tar", "-x", "-m", "-f", "-", "-C", "~", "--to-command=id"),
}


@pytest.mark.parametrize("what", MISUSE)
def test_misuse(wrapper: Wrapper, what: str) -> None:
    argv = MISUSE[what]
    done = wrapper.run(ADA, *argv, stdin=b"#!/bin/sh\n#SBATCH --job-name=factorygate-trial\nid\n")
    refused(done)
    if argv:
        assert [line["answer"] for line in wrapper.log()] == ["refused"]


DIRECTIVES = {
    "no name": "#SBATCH --nodes=1",
    "a foreign name": "#SBATCH --job-name=backup",
    "two names": f"#SBATCH --job-name={HUB}\n#SBATCH --job-name={HUB}",
    "a short name option": f"#SBATCH --job-name={HUB}\n#SBATCH -J backup",
    "another user": f"#SBATCH --job-name={HUB}\n#SBATCH --uid=0",
    "two options in a line": f"#SBATCH --job-name={HUB} --uid=0",
    "a tab": f"#SBATCH --job-name={HUB}\n#SBATCH\t--uid=0",
    "a quoted value": f"#SBATCH --job-name={HUB}\n#SBATCH --comment='a b'",
    "a log elsewhere": f"#SBATCH --job-name={HUB}\n#SBATCH --output=/tmp/log",
    "a log above": f"#SBATCH --job-name={HUB}\n#SBATCH --output=/home/{ADA}/.factorygate/sessions/../../.bashrc",
    "the whole environment": f"#SBATCH --job-name={HUB}\n#SBATCH --export=ALL",
    "the login environment": f"#SBATCH --job-name={HUB}\n#SBATCH --get-user-env=10L",
    "mail": f"#SBATCH --job-name={HUB}\n#SBATCH --mail-user=x@example.org",
    "another cluster": f"#SBATCH --job-name={HUB}\n#SBATCH --clusters=all",
    "an array": f"#SBATCH --job-name={HUB}\n#SBATCH --array=1-1000",
    "a second job": f"#SBATCH --job-name={HUB}\n#SBATCH hetjob",
    "the old word": f"#SBATCH --job-name={HUB}\n#SLURM --uid=0",
    "a directive of PBS": f"#SBATCH --job-name={HUB}\n#PBS -N other",
    "a directive of LSF": f"#SBATCH --job-name={HUB}\n#BSUB -J other",
    "a nul": f"#SBATCH --job-name={HUB}\n\0",
}


@pytest.mark.parametrize("what", DIRECTIVES)
def test_directives_of_a_script(wrapper: Wrapper, running: Cluster, what: str) -> None:
    before = running.run("squeue", "-h", "-t", "all").stdout.count("\n")
    refused(wrapper.run(ADA, "sbatch", "--parsable", stdin=f"#!/bin/sh\n{DIRECTIVES[what]}\ntrue\n"))
    assert running.run("squeue", "-h", "-t", "all").stdout.count("\n") == before


def test_what_is_no_script(wrapper: Wrapper) -> None:
    refused(wrapper.run(ADA, "sbatch", "--parsable", stdin=f"#SBATCH --job-name={HUB}\n"), "not a batch script")
    refused(wrapper.run(ADA, "sbatch", "--parsable", stdin=b"#!/bin/sh\n" + b" " * 2**20), "not a batch script")


# --- misuse: jobs of others


def test_the_job_of_another_account(wrapper: Wrapper, running: Cluster, graces: str) -> None:
    refused(wrapper.run(ADA, "scancel", graces), "not a gateway's job")
    refused(wrapper.run(ADA, "scontrol", "update", f"JobId={graces}", "TimeLimit=1"), "not a gateway's job")
    refused(wrapper.run(ADA, *_enter(graces)), "not a gateway's job")
    assert state_of(running, graces) == "RUNNING"


def test_one_foreign_job_among_own_ones(wrapper: Wrapper, running: Cluster, adas: str, graces: str) -> None:
    refused(wrapper.run(ADA, "scancel", adas, graces))
    assert state_of(running, adas) == "RUNNING"


def test_a_job_of_the_account_that_is_not_the_gateways(wrapper: Wrapper, running: Cluster) -> None:
    uid = pwd.getpwnam(ADA).pw_uid
    own = subprocess.run(
        ["sbatch", "--parsable", "-J", "thesis", "-p", "shared", "-o", "/dev/null", "--wrap", "sleep 600"],
        env=running.env, cwd="/", user=uid, group=uid, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    refused(wrapper.run(ADA, "scancel", own), "not a gateway's job")
    assert state_of(running, own) in ("RUNNING", "PENDING")
    cancel(running, own)


def test_a_job_that_is_not_there(wrapper: Wrapper) -> None:
    """In Slurm's own words, which the link understands."""
    slurm.cancel(["987654"]).parse(_output(wrapper.ask(ADA, slurm.cancel(["987654"]))))


SRUN = {
    "without --overlap": lambda argv: [word for word in argv if word != "--overlap"],
    "with another option": lambda argv: [argv[0], "--uid=0", *argv[1:]],
    "with all its environment": lambda argv: ["--export=ALL" if word == "--export=NONE" else word for word in argv],
    "with more tasks": lambda argv: ["--ntasks=9" if word == "--ntasks=1" else word for word in argv],
    "of another program": lambda argv: [*argv[:12], "/bin/sh"],
    "of another module": lambda argv: [*argv[:15], "http.server", argv[-1]],
    "with code": lambda argv: [*argv[:13], "-c", "import os"],
    "with a shell's code": lambda argv: [*argv[:12], "/bin/sh", "-c", "id", *argv[12:]],
    "to another's door": lambda argv: [*argv[:-1], "/tmp/factorygate-0-01234567-abc_1/door.sock"],
    "to another socket": lambda argv: [*argv[:-1], "/run/munge/munge.socket.2"],
    "with words in a word": lambda argv: [*argv[:-2], argv[-2] + " " + argv[-1]],
    "by a way around": lambda argv: [*argv[:-1], argv[-1].replace("/tmp/", "/tmp/../tmp/")],
    "with one word more": lambda argv: [*argv, "--help"],
}


@pytest.mark.parametrize("what", SRUN)
def test_another_srun(wrapper: Wrapper, adas: str, what: str) -> None:
    refused(wrapper.run(ADA, *SRUN[what](list(_enter(adas)))))


# --- misuse: the environment


def test_nothing_of_the_callers_environment_counts(wrapper: Wrapper, running: Cluster, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    hostile = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": str(tmp_path / "json.py"),
        "PYTHONINSPECT": "1",
        "SBATCH_JOB_NAME": "thesis",
        "SBATCH_WRAP": "id",
        "SBATCH_PARTITION": "nowhere",
        "SLURM_CONF": "/nowhere",
        "SQUEUE_USERS": GRACE,
        "HOME": "/root",
        "IFS": "/",
        "BASH_ENV": str(tmp_path / "json.py"),
    }
    for name in ("json.py", "squeue", "sbatch"):
        (tmp_path / name).write_text(f"#!/bin/sh\nopen({str(trap)!r}, 'w')\ntouch {trap}\n")
        (tmp_path / name).chmod(0o755)
    script = slurm.script(_request(wrapper.session(ADA), "env > env.txt; sleep 600"))
    done = wrapper.run(ADA, "sbatch", "--parsable", stdin=script, env=hostile)
    assert done.returncode == 0, done.stderr
    job = done.stdout.decode().strip()
    found = Path(wrapper.made[-1], "env.txt")
    assert eventually(found.exists, 30)
    assert eventually(lambda: "SLURM_JOB_ID" in found.read_text())
    assert running.run("squeue", "-h", "-j", job, "-o", "%j %P").stdout.split() == [HUB, "shared"]
    assert not trap.exists()
    assert "PYTHONINSPECT" not in found.read_text()
    assert f"HOME={pwd.getpwnam(ADA).pw_dir}\n" in found.read_text()
    cancel(running, job)


# --- misuse: links and owners in the home


def test_a_link_in_place_of_a_file(wrapper: Wrapper) -> None:
    folder = Path(wrapper.session(ADA))
    for name, argv in (("door.json", ("head", "-c", "99")), ("job.log", ("tail", "-n", "40"))):
        (folder / name).symlink_to("/etc/passwd")
        refused(wrapper.run(ADA, *argv, "--", str(folder / name)))


def test_a_note_through_a_link(wrapper: Wrapper, tmp_path: Path) -> None:
    """It takes the link's place; what the link led to stays as it was."""
    folder, kept = Path(wrapper.session(ADA)), tmp_path / "kept"
    kept.write_text("mine")
    (folder / "session.json").unlink()
    (folder / "session.json").symlink_to(kept)
    (folder / "session.json.new").symlink_to(kept)
    assert wrapper.ask(ADA, _write_note(str(folder), "{}")).returncode == 0
    assert kept.read_text() == "mine"
    assert not (folder / "session.json").is_symlink()


def test_a_link_in_place_of_a_folder(wrapper: Wrapper, tmp_path: Path) -> None:
    folder = Path(wrapper.session(ADA))
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path)
    refused(wrapper.ask(ADA, _write_note(str(folder), "{}")))
    assert list(tmp_path.iterdir()) == []
    folder.unlink()


def test_a_pipe_or_anothers_file(wrapper: Wrapper) -> None:
    folder = Path(wrapper.session(ADA))
    os.mkfifo(folder / "end.json")
    os.chown(folder / "end.json", *[pwd.getpwnam(ADA).pw_uid] * 2)
    refused(wrapper.run(ADA, "head", "-c", "9", "--", str(folder / "end.json")), "not a plain file")
    (folder / "door.json").write_text("root's")
    (folder / "door.json").chmod(0o644)
    refused(wrapper.run(ADA, "head", "-c", "9", "--", str(folder / "door.json")), "not a plain file")


def test_files_are_opened_as_the_account(wrapper: Wrapper) -> None:
    folder = Path(wrapper.session(ADA))
    (folder / "end.json").write_text("{}")
    os.chown(folder / "end.json", *[pwd.getpwnam(ADA).pw_uid] * 2)
    (folder / "end.json").chmod(0o000)  # root could read it
    refused(wrapper.run(ADA, "head", "-c", "9", "--", str(folder / "end.json")), "Permission denied")


ONE = "0123456789abcdef" * 2
ARCHIVES = {
    "another name": _archive((f"{ONE}/.bashrc", tarfile.REGTYPE, b"x")),
    "a way out": _archive((f"{ONE}/../../session.json", tarfile.REGTYPE, b"x")),
    "an absolute path": _archive((f"/{ONE}/session.json", tarfile.REGTYPE, b"x")),
    "no session": _archive(("session.json", tarfile.REGTYPE, b"x")),
    "another folder": _archive((".ssh", tarfile.DIRTYPE, b""), (f"{ONE}/session.json", tarfile.REGTYPE, b"x")),
    "a folder alone": _archive((ONE, tarfile.DIRTYPE, b"")),
    "two files": _archive((f"{ONE}/session.json", tarfile.REGTYPE, b"x"), (f"{ONE}/x", tarfile.REGTYPE, b"x")),
    "a link": _archive((f"{ONE}/session.json", tarfile.SYMTYPE, b"")),
    "a link to a folder": _archive((ONE, tarfile.SYMTYPE, b""), (f"{ONE}/session.json", tarfile.REGTYPE, b"x")),
    "a hard link": _archive((f"{ONE}/session.json", tarfile.LNKTYPE, b"")),
    "a device": _archive((f"{ONE}/session.json", tarfile.CHRTYPE, b"")),
    "no archive": b"not at all",
    "nothing": b"",
    "too much": _archive((f"{ONE}/session.json", tarfile.REGTYPE, b"x" * 70000)),
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_archives(wrapper: Wrapper, what: str) -> None:
    sessions = Path(wrapper.session(ADA)).parent
    before = sorted(sessions.iterdir())
    refused(wrapper.run(ADA, "tar", "-x", "-m", "-f", "-", "-C", str(sessions), stdin=ARCHIVES[what]), "archive")
    assert sorted(sessions.iterdir()) == before


def test_many_notes_at_once(wrapper: Wrapper) -> None:
    sessions = Path(wrapper.session(ADA)).parent
    names = ("session.json", "cluster.json", "worker.json")
    notes = {f"{secrets.token_hex(16)}/{names[number % 3]}": f"note {number}" for number in range(20)}
    wrapper.made += [(sessions / file).parent for file in notes]
    assert wrapper.ask(ADA, _write(str(sessions), notes)).returncode == 0
    assert {file: (sessions / file).read_text() for file in notes} == notes


def test_the_log_of_a_clusters_job(wrapper: Wrapper) -> None:
    folder = Path(wrapper.session(ADA))
    log = folder / f"{'b' * 32}-17.log"
    log.write_text("one\ntwo\n")
    os.chown(log, *[pwd.getpwnam(ADA).pw_uid] * 2)
    assert wrapper.run(ADA, "tail", "-n", "1", "--", str(log)).stdout == b"two\n"
    refused(wrapper.run(ADA, "tail", "-n", "1", "--", str(folder / f"{'b' * 32}-17xlog")), "not a file of a session")
    refused(wrapper.run(ADA, "head", "-c", "9", "--", str(log)), "not a file of a session")


# --- misuse: an installation that others can change


@pytest.mark.parametrize("name", ["accounts", "act.conf"])
def test_a_file_that_others_may_write(wrapper: Wrapper, name: str) -> None:
    (wrapper.folder / "etc" / name).chmod(0o664)
    refused(wrapper.run(ADA, "pwd"), "may be written by others")


@pytest.mark.parametrize("name", ["accounts", "act.conf"])
def test_a_file_of_another_owner(wrapper: Wrapper, name: str) -> None:
    os.chown(wrapper.folder / "etc" / name, pwd.getpwnam(ADA).pw_uid, 0)
    refused(wrapper.run(ADA, "pwd"), "may be written by others")


def test_a_list_behind_a_link(wrapper: Wrapper, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(f"{ADA}\n")
    (wrapper.folder / "etc/accounts").unlink()
    (wrapper.folder / "etc/accounts").symlink_to(tmp_path / "list")
    refused(wrapper.run(ADA, "pwd"), "cannot be used")


def test_a_long_list_is_read_whole_or_not_at_all(wrapper: Wrapper) -> None:
    wrapper.write("accounts", "x\n" * 100_000 + f"{ADA}\n")
    assert wrapper.run(ADA, "pwd").returncode == 0
    wrapper.write("accounts", "x\n" * 2**20 + f"{ADA}\n")
    refused(wrapper.run(ADA, "pwd"), "too long")


def test_no_list(wrapper: Wrapper) -> None:
    (wrapper.folder / "etc/accounts").unlink()
    refused(wrapper.run(ADA, "pwd"), "there is no list")


def test_a_folder_that_others_may_write(wrapper: Wrapper) -> None:
    (wrapper.folder / "etc").chmod(0o777)
    refused(wrapper.run(ADA, "pwd"), "may be written by others")


def test_what_cannot_be_logged_is_not_done(wrapper: Wrapper) -> None:
    (wrapper.folder / "log").symlink_to("/tmp/elsewhere")
    refused(wrapper.run(ADA, "pwd"), "log")
    (wrapper.folder / "log").unlink()


def test_each_job_that_is_cancelled_is_in_the_log(wrapper: Wrapper) -> None:
    jobs = [str(number) for number in range(900000, 900500)]
    wrapper.run(ADA, "scancel", *jobs)
    assert wrapper.log()[0]["jobs"] == jobs


def test_a_newline_makes_no_line_in_the_log(wrapper: Wrapper) -> None:
    wrapper.run(ADA, 'id\n{"answer": "done"}')
    assert [line["answer"] for line in wrapper.log()] == ["refused"]


# --- the ways in: sudo, and sshd's ForceCommand


@pytest.fixture(scope="module")
def gate(installed: Wrapper) -> Iterator[str]:
    """The service account with the site's sudoers."""
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
    """As sshd would run the forced command."""
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
        ask.parse(_output(done))
        if ask.argv == slurm.jobs(HUB).argv:
            assert {job.id for job in ask.parse(_output(done))} >= {adas, graces}


def test_the_service_account_asks_for_the_groups_of_listed_accounts(wrapper: Wrapper, gate: str) -> None:
    for account in (ADA, GRACE):
        done = _as_gate(wrapper, shlex.join(groups.question(account).argv))
        assert done.returncode == 0, done.stderr
        own = grp.getgrgid(pwd.getpwnam(account).pw_gid).gr_name
        assert own in groups.question(account).parse(_output(done))


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
    """``force-command`` of the gateway's CA: no sudo, no service account, the same forms."""
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


# --- as the link uses it, over a real sshd


def _transport(sshd: Sshd, credentials: object, watcher: str) -> Ssh:
    settings = sshd.settings(watcher=watcher, credentials=credentials)
    keys = pinned((settings.host_keys, settings.host_cas), ((), ()))
    return Ssh("trial", settings, keys, credentials_of(settings, DoorAccess(carrier="stdio"), "trial"))


async def _acts(transport: Ssh, wrapper: Wrapper, running: Cluster) -> None:
    """What the link does for a session, up to its cancel."""
    folder = f"{await transport.home(ADA)}/.factorygate/sessions/{secrets.token_hex(16)}"
    wrapper.made.append(Path(folder))
    base = folder.rpartition("/sessions/")[0]
    await transport.run(_make_folders(base, f"{base}/sessions"), ADA)
    await transport.run(_write_note(folder, "{}"), ADA)
    assert await transport.read(ADA, f"{folder}/session.json") == b"{}"
    with pytest.raises(Gone):
        await transport.read(ADA, f"{folder}/door.json")
    job = await transport.run(slurm.submit(slurm.script(_request(folder, "sleep 600"))), ADA)
    assert running.run("squeue", "-h", "-j", job, "-o", "%u").stdout.strip() == ADA
    await transport.run(slurm.cancel([job]), ADA)
    assert eventually(lambda: state_of(running, job) == "CANCELLED")
    with pytest.raises(Refused, match="may not be run"):
        await transport.run(Ask(("whoami",), lambda output: _raise(output.stderr)), ADA)


def _raise(words: str) -> None:
    raise Refused(words)


async def test_the_service_account_over_ssh(wrapper: Wrapper, gate: str, running: Cluster, tmp_path: Path) -> None:
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
        assert await transport.run(groups.question(ADA))
        with pytest.raises(Refused, match="not on the site's list"):
            await transport.run(groups.question(EMMY))
        with pytest.raises(Refused, match="not on the site's list"):
            await transport.home(EMMY)
        wrapper.write("stop", "Not today.")
        standing = Standing()
        with pytest.raises(Unreachable, match=r"stopped by the site: Not today\."):
            await HeedingTransport(transport, standing).read(ADA, f"~/.factorygate/sessions/{'0' * 32}/door.json")
        words = standing.problem(ADA)
        assert words is not None
        assert words.code == "stopped-by-site"
        assert {line["by"] for line in wrapper.log()} == {gate}
    finally:
        await transport.close()
        sshd.kill()
        shutil.rmtree(sshd.folder)


async def test_certificates_over_ssh(wrapper: Wrapper, running: Cluster, tmp_path: Path) -> None:
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
        with pytest.raises(NotLetIn):  # emmy's certificate is as good, but she is on no list
            await transport.home(EMMY)
    finally:
        await transport.close()
        sshd.kill()
        shutil.rmtree(sshd.folder)
