"""Certificates of the gateway's own CA: their content, their renewal, and a real sshd's answers to them."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import asyncssh
import pytest

from factorylink.config import CaCredentials
from factorylink.credentials.ca import SKEW, CertificateAuthority
from testbed import ports

NOW = 1_800_000_000.0
ME = getpass.getuser()


class Clock:
    """A clock that the test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ca_key(tmp_path):
    path = tmp_path / "ca"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)
    path.chmod(0o600)
    return path


def _authority(ca_key, clock, forwarding=True, **settings):
    return CertificateAuthority(
        CaCredentials(key=ca_key, **settings), "watch", "hub", forwarding=forwarding, clock=clock
    )


def _described(tmp_path, certificate) -> str:
    """Return a certificate's content as OpenSSH prints it."""
    path = tmp_path / "certificate.pub"
    path.write_bytes(certificate.export_certificate("openssh"))
    return subprocess.run(["ssh-keygen", "-L", "-f", path], capture_output=True, text=True, check=True).stdout


async def test_a_certificate_has_the_account_and_the_limits(ca_key, tmp_path):
    authority = _authority(ca_key, Clock(NOW), source=("192.0.2.7", "2001:db8::/64"), force_command="/opt/act --ssh")
    login = await authority.login("alice")
    text = _described(tmp_path, login.certificate)
    assert login.username == "alice"
    assert login.expires == datetime.fromtimestamp(NOW + 15 * 60, UTC)
    assert f'Key ID: "{login.key_id}"' in text
    serial = text.partition("Serial: ")[2].split()[0]
    assert login.key_id == f"factorygate-hub/alice/{serial}"
    assert text.partition("Principals:")[2].partition("Critical")[0].split() == ["alice"]
    critical, _, extensions = text.partition("Critical Options:")[2].partition("Extensions:")
    assert "force-command /opt/act --ssh" in critical
    assert "source-address 192.0.2.7/32,2001:db8::/64" in critical
    assert extensions.split() == ["permit-port-forwarding"]


def test_the_site_s_administrators_are_told_how_long_it_is_good_for():
    page = (Path(__file__).parents[2] / "docs" / "factory-administrators.md").read_text(encoding="utf-8")
    minutes = CaCredentials.model_fields["minutes"]
    assert f"good for {minutes.default} minutes" in " ".join(page.split())


async def test_no_forwarding_where_no_door_needs_it(ca_key, tmp_path):
    login = await _authority(ca_key, Clock(NOW), forwarding=False).login("alice")
    extensions = _described(tmp_path, login.certificate).partition("Extensions:")[2]
    assert extensions.split() == ["(none)"]


async def test_renewed_before_use_when_a_third_is_left(ca_key):
    clock = Clock(NOW)
    authority = _authority(ca_key, clock, minutes=10)
    first = await authority.login("alice")
    clock.now += 399
    assert await authority.login("alice") is first
    clock.now += 2
    second = await authority.login("alice")
    assert second.key_id != first.key_id
    assert second.key.get_fingerprint() != first.key.get_fingerprint()
    assert second.expires > first.expires


async def test_made_anew_when_our_clock_was_set_back(ca_key):
    clock = Clock(NOW)
    authority = _authority(ca_key, clock, minutes=10)
    first = await authority.login("alice")
    clock.now -= 3600
    second = await authority.login("alice")
    assert second.expires < first.expires


async def test_each_account_and_the_watcher_have_their_own(ca_key):
    authority = _authority(ca_key, Clock(NOW))
    logins = [await authority.login(account) for account in ("alice", "bob", None)]
    assert [login.username for login in logins] == ["alice", "bob", "watch"]
    assert len({login.key_id for login in logins}) == 3
    assert authority.valid_until("alice") is None


def test_a_ca_key_that_others_may_read_is_refused(ca_key):
    ca_key.chmod(0o640)
    with pytest.raises(ValueError, match="may be used by others"):
        _authority(ca_key, Clock(NOW))


# --- a real sshd that trusts only the CA


@dataclass
class Sshd:
    port: int
    host_key: asyncssh.SSHKey
    ca: object

    async def enter(self, login, username=ME):
        async with asyncssh.connect(
            "127.0.0.1",
            self.port,
            username=username,
            client_keys=[(login.key, login.certificate)],
            known_hosts=([self.host_key], [], []),
            config=None,
            agent_path=None,
        ) as connection:
            return (await connection.run("id -un", check=True)).stdout.strip()


@pytest.fixture
async def sshd(tmp_path, ca_key):
    program = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if program is None:
        pytest.skip("no OpenSSH server here")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    host_key.write_private_key(tmp_path / "host_key")
    (tmp_path / "host_key").chmod(0o600)
    asyncssh.read_private_key(ca_key).write_public_key(tmp_path / "ca.pub")
    port = ports.single()
    (tmp_path / "sshd_config").write_text(
        f"""
        Port {port}
        ListenAddress 127.0.0.1
        HostKey {tmp_path}/host_key
        TrustedUserCAKeys {tmp_path}/ca.pub
        AuthorizedKeysFile none
        PasswordAuthentication no
        KbdInteractiveAuthentication no
        UsePAM no
        StrictModes no
        PidFile none
        PermitRootLogin prohibit-password
        """
    )
    process = await asyncio.create_subprocess_exec(
        program, "-D", "-e", "-f", tmp_path / "sshd_config", stderr=asyncio.subprocess.PIPE
    )
    said = b""
    while b"listening" not in said:
        line = await process.stderr.readline()
        assert line, f"sshd did not start: {said!r}"
        said += line
    reading = asyncio.create_task(process.stderr.read())
    yield Sshd(port, host_key.convert_to_public(), ca_key)
    process.terminate()
    await process.wait()
    await reading


async def test_sshd_takes_the_certificate(sshd):
    login = await _authority(sshd.ca, Clock(datetime.now(UTC).timestamp()), source=("127.0.0.1",)).login(ME)
    assert await sshd.enter(login) == ME


async def test_sshd_refuses_another_principal(sshd):
    login = await _authority(sshd.ca, Clock(datetime.now(UTC).timestamp())).login("somebody-else")
    with pytest.raises(asyncssh.PermissionDenied):
        await sshd.enter(login)


async def test_sshd_refuses_another_source_address(sshd):
    login = await _authority(sshd.ca, Clock(datetime.now(UTC).timestamp()), source=("192.0.2.1",)).login(ME)
    with pytest.raises(asyncssh.PermissionDenied):
        await sshd.enter(login)


async def test_sshd_refuses_an_expired_one(sshd):
    login = await _authority(sshd.ca, Clock(datetime.now(UTC).timestamp() - 15 * 60 - 1)).login(ME)
    with pytest.raises(asyncssh.PermissionDenied):
        await sshd.enter(login)


async def test_sshd_refuses_a_foreign_ca(sshd, tmp_path):
    other = tmp_path / "other"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(other)
    other.chmod(0o600)
    login = await _authority(other, Clock(datetime.now(UTC).timestamp())).login(ME)
    with pytest.raises(asyncssh.PermissionDenied):
        await sshd.enter(login)


async def test_sshd_refuses_the_certificate_with_another_key(sshd):
    login = await _authority(sshd.ca, Clock(datetime.now(UTC).timestamp())).login(ME)
    stolen = replace(login, key=asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises((asyncssh.PermissionDenied, ValueError)):
        await sshd.enter(stolen)


async def test_a_site_whose_clock_is_behind_takes_it(sshd):
    """The site's clock is slow by slightly less than what is allowed."""
    login = await _authority(sshd.ca, Clock(datetime.now(UTC).timestamp() + SKEW - 30)).login(ME)
    assert await sshd.enter(login) == ME


async def test_a_forced_command_is_all_that_runs(sshd):
    login = await _authority(sshd.ca, Clock(datetime.now(UTC).timestamp()), force_command="/bin/echo only this").login(
        ME
    )
    assert await sshd.enter(login) == "only this"
