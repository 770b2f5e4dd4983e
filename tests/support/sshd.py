"""A real OpenSSH server on a loopback port, run as an ordinary program with its own configuration.

If root runs it, the site accounts of the testbed can log in; otherwise only the user who runs the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh

from factorylink.config import KeyCredentials, SshTransportSettings
from factorylink.credentials.base import Credentials
from factorylink.credentials.key import KeyFiles
from factorylink.schedulers.command import LISTING, Command
from factorylink.transports.host_keys import pinned
from factorylink.transports.ssh.transport import SshTransport as Transport
from testbed import accounts, ports

PROGRAM = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:" + os.environ.get("PATH", ""))
ACCOUNTS = accounts.NAMES if os.geteuid() == 0 else (accounts.own_name(),)
ME = ACCOUNTS[0]
PATIENCE = 60.0  # seconds


class Sshd:
    """One server. ``options``: lines of sshd_config that replace the defaults here."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = ports.single()
        self.log = folder / "log"
        self.keys = folder / "keys"  # the folder for ``KeyCredentials.keys``
        self._process: subprocess.Popen[bytes] | None = None
        accounts.ensure()
        folder.mkdir()
        folder.chmod(0o755)  # sshd reads authorized_keys as the account
        self.keys.mkdir(mode=0o700)
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        for name in ACCOUNTS:
            _private(self.keys / name, self.key)
        (folder / "authorized_keys").write_bytes(self.key.export_public_key())
        (folder / "authorized_keys").chmod(0o644)
        self.host_key = self.new_host_key()

    def new_host_key(self, kind: str = "ssh-ed25519") -> asyncssh.SSHKey:
        """Make another host key, which the server uses from its next start; return the key."""
        self.host_key = asyncssh.generate_private_key(kind)
        _private(self.folder / "host_key", self.host_key)
        return self.host_key

    def sign_host_key(self, ca: asyncssh.SSHKey, *names: str) -> None:
        """Present a host certificate for these host names from the next start."""
        certificate = ca.generate_host_certificate(self.host_key, "host", principals=names)
        (self.folder / "host_key-cert.pub").write_bytes(certificate.export_certificate())
        self.options["HostCertificate"] = str(self.folder / "host_key-cert.pub")

    @property
    def host(self) -> str:
        """Return the server's address in the form of ``SshTransportSettings.hosts``."""
        return f"127.0.0.1:{self.port}"

    @property
    def public(self) -> str:
        """Return the host key, to be pinned."""
        return public(self.host_key)

    def settings(self, **told: object) -> SshTransportSettings:
        """Return transport settings for this server. ``told``: further fields, or other values."""
        return SshTransportSettings.model_validate(
            {
                "hosts": [self.host],
                "host_keys": [self.public],
                "watcher": ME,
                "credentials": KeyCredentials(keys=self.keys),
                "logins_per_minute": 1000,
            }
            | told
        )

    async def start(self) -> Sshd:
        """Start the server, and wait until it answers; return this object.

        Raises RuntimeError if the server ends or does not answer in time.
        """
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        lines = {
            "Port": str(self.port),
            "ListenAddress": "127.0.0.1",
            "HostKey": str(self.folder / "host_key"),
            "PidFile": "none",
            "AuthorizedKeysFile": str(self.folder / "authorized_keys"),
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PerSourcePenalties": "no",
            "MaxStartups": "200",
            "AllowUsers": " ".join(ACCOUNTS),
            "LogLevel": "VERBOSE",
            "PrintMotd": "no",
        } | self.options
        config = self.folder / "sshd_config"
        config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        argv = [str(PROGRAM), "-D", "-f", str(config), "-E", str(self.log)]
        self._process = subprocess.Popen(argv, start_new_session=True, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                banner = await reader.readline()
                writer.close()
                if banner.startswith(b"SSH-"):
                    return self
            except OSError:
                pass
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd does not answer: {self.log.read_text() if self.log.exists() else ''}")
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        """Kill the server with all its connections and their commands."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop_answering(self) -> None:
        """Freeze the server and its connections: nothing answers, and nothing is closed."""
        self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        pids = [self._process.pid]
        for pid in pids:  # grows during the loop, since each connection has its own process group
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)  # so that it starts no other one meanwhile
            pids += _children(pid)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def logins(self) -> int:
        """Return the number of logins so far."""
        return self.log.read_text().count("Accepted publickey")


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Make a temporary folder in which site accounts may write, too; yield its path."""
    with tempfile.TemporaryDirectory(prefix="fg-ssh-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o777)
        yield Path(name)


def transport_to(settings: SshTransportSettings, credentials: Credentials | Path) -> Transport:
    """Return a transport with these settings. ``credentials``: the credentials, or the folder of the keys."""
    known = KeyFiles(credentials, ME) if isinstance(credentials, Path) else credentials
    return Transport("here", settings, pinned((settings.host_keys, settings.host_cas), ((), ())), known)


def shell(text: str, stdin: str = "", timeout: float = PATIENCE, most: int = LISTING) -> Command[str]:
    """Return a command that runs ``text`` in a shell; its result is the shell's stdout.

    ``most``: how many bytes of stdout it may have.
    """
    return Command(("/bin/sh", "-c", text), lambda output: output.stdout, stdin, timeout, most=most)


async def until(holds: Callable[[], bool]) -> bool:
    """Wait until the condition becomes true; return False if it does not in time."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def public(key: asyncssh.SSHKey) -> str:
    """Return a public key as text, to be pinned."""
    return key.export_public_key().decode().strip()


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:  # the process has ended in the meantime
            continue
        if int(words[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def _private(path: Path, key: asyncssh.SSHKey) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(key.export_private_key())
