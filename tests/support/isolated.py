"""Connections from the hub's side and from a site account to an isolated factory, with OpenSSH's own client."""

from __future__ import annotations

import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.network import login_side
from testbed.network.namespaces import LOGIN
from testbed.slurm.cluster import SlurmCluster

SILENT = 1.5  # seconds after which no answer is expected, since everything is on this machine


class Visitor:
    """A client of an isolated factory's sshd, with certificates of the factory's CA. ``folder``: for its keys."""

    def __init__(self, folder: Path, cluster: SlurmCluster) -> None:
        self.folder = folder
        self.cluster = cluster
        assert cluster.network is not None
        self.address = cluster.network.hosts[LOGIN]
        (folder / "known_hosts").write_text(
            f"{self.address} {login_side.public(login_side.host_key(cluster.folder))}\n"
        )

    def key(self, *principals: str, name: str = "") -> Path:
        """Return the path of a private key with a certificate for these accounts.

        Both are made at the first call. Without accounts, there is no certificate. ``name``: the name of the key's
        file; if empty, the names of the accounts.
        """
        key = self.folder / (name or "-".join(principals))
        if not key.exists():
            keygen("-t", "ed25519", "-N", "", "-f", str(key))
            if principals:
                ca = login_side.ca_key(self.cluster.folder.parent)
                keygen("-s", str(ca), "-I", key.name, "-n", ",".join(principals), "-V", "+1h", f"{key}.pub")
        return key

    def argv(self, account: str, *options: str, key: Path | None = None) -> list[str]:
        settings = {
            "UserKnownHostsFile": self.folder / "known_hosts",
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "ConnectTimeout": 30,  # of the whole handshake
        }
        told = [f"-o{name}={value}" for name, value in settings.items()]
        return ["ssh", "-F", "none", "-i", str(key or self.key(account)), *told, *options, f"{account}@{self.address}"]

    def run(
        self, account: str, command: str, *options: str, key: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        argv = [*self.argv(account, *options, key=key), command]
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)

    def says(self, account: str, command: str) -> str:
        """Return the output of a command that must succeed."""
        answer = self.run(account, command)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    @contextmanager
    def line(self, account: str) -> Iterator[Line]:
        """Yield an open SSH connection that echoes each byte."""
        process = subprocess.Popen(
            [*self.argv(account), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            opened = Line(process)
            assert opened.echoes(30)
            yield opened
        finally:
            process.kill()
            process.communicate()


class Line:
    """A connection that echoes bytes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._missing = 0

    def echoes(self, seconds: float) -> bool:
        """Send a byte; return True once all bytes in transit have come back, False if none comes for ``seconds``."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(b"x")
        self.process.stdin.flush()
        self._missing += 1
        while self._missing:
            readable, _, _ = select.select([self.process.stdout], [], [], seconds)
            if not readable:
                return False
            self._missing -= len(self.process.stdout.read1())
        return True


def keygen(*words: str) -> None:
    subprocess.run(["ssh-keygen", "-q", *words], check=True, capture_output=True, timeout=30)


def answers(address: str, port: int, inside: tuple[str, ...] = (), seconds: float = SILENT) -> bool:
    """Return True if a TCP connection to the address succeeds.

    ``inside``: the beginning of a command line that runs Python where the connection is made from; empty: connect from
    the hub's side.
    """
    if not inside:
        try:
            socket.create_connection((address, port), timeout=seconds).close()
        except OSError:
            return False
        return True
    code = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))"
    argv = [*inside, "/usr/bin/python3", "-c", code, address, str(port), str(seconds)]
    return subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode == 0


@contextmanager
def listener(address: str) -> Iterator[int]:
    """Listen on the hub's side during the block; yield the port."""
    with socket.create_server((address, 0)) as server:
        yield server.getsockname()[1]
