"""A real door in its own process, with a small real server as its notebook, and a client of the door."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import asyncssh

from factorycommon.models import JobId
from factorylink.config import DoorAccess
from factorylink.config import LocalTransportSettings as LocalSettings
from factorylink.doors import carriers
from factorylink.errors import Gone, Unreachable
from factorylink.schedulers.dialect import Dialect
from factorylink.transports.base import ByteStream, SocketStream, Transport
from factorylink.transports.local import LocalTransport

SESSION = "ab" * 16
SOURCES = os.pathsep.join(str(Path(__file__).parents[2] / name) for name in ("extensions", "spawners"))

# The notebook: a server that listens on FACTORYGATE_NOTEBOOK_SOCKET. /env returns its environment, /big 32 MB. /echo
# answers 101, echoes until the end, reports the number of bytes, and closes. /hold answers 101, and disconnects when
# /drop is requested, which answers with the number of such connections. /exit/N exits with code N. /child starts a
# process of another group that ignores SIGTERM, and returns its pid.
NOTEBOOK = r"""
import asyncio, json, os, subprocess, sys
held = []
async def answer(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    path = head.split(b" ")[1].decode()
    def say(body, code=200):
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (code, len(body)) + body)
    if path == "/env":
        say(json.dumps(dict(os.environ)).encode())
    elif path == "/big":
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n" % (32 << 20))
        for _ in range(512):
            writer.write(b"x" * 65536)
            await writer.drain()
    elif path == "/echo":
        writer.write(b"HTTP/1.1 101 X\r\n\r\n")
        count = 0
        while data := await reader.read(65536):
            count += len(data)
            writer.write(data)
            await writer.drain()
        writer.write(b"end:%d" % count)
    elif path == "/hold":
        writer.write(b"HTTP/1.1 101 X\r\n\r\n")
        held.append(writer)
        return
    elif path == "/drop":
        for one in held:
            one.close()
            await one.wait_closed()
        say(str(len(held)).encode())
    elif path.startswith("/exit/"):
        os._exit(int(path.rpartition("/")[2]))
    elif path == "/child":
        code = "import signal,time;signal.signal(15,signal.SIG_IGN);print('on',flush=True);time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
        child.stdout.readline()
        say(str(child.pid).encode())
    elif path == "/user/u/api":
        say(b"{}")
    else:
        say(b"", 404)
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_unix_server(answer, os.environ["FACTORYGATE_NOTEBOOK_SOCKET"])
    await server.serve_forever()
asyncio.run(main())
"""
ENVIRONMENT = {
    "JUPYTERHUB_API_TOKEN": "a-very-secret-token",
    "JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api",
    "JUPYTERHUB_SERVICE_PREFIX": "/user/u/",
    "PATH": "/of/the/hub",
}
PATIENCE = 120.0  # seconds until a test fails; tests must also pass on a loaded machine
ARGV = [sys.executable, "-c", NOTEBOOK]


async def until(look: Callable[[], Any], timeout: float = PATIENCE, what: str = "") -> Any:
    """Return the result of ``look`` once it is truthy; for state whose changes no event reports.

    Fails the test after ``timeout`` seconds; its message has ``what``, the awaited event.
    """
    end = time.monotonic() + timeout
    while not (seen := look()):
        assert time.monotonic() < end, f"did not happen within {timeout} s: {what}"
        await asyncio.sleep(0.02)
    return seen


def held(pid: int) -> set[str]:
    """Return what a process has open, as named in ``/proc``; descriptors that are closed in the
    meantime are left out."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(entry))
    return found


def alive(pid: int) -> bool:
    """Return True if the process still runs; a zombie does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # ProcessLookupError: it ended between opening and reading
        return False


@dataclass
class RunningDoor:
    """A door's process, its files, and the connections that ``enter`` has made.

    ``folder``: the session's folder; ``log``: the file of the process's output; ``key``: the client key that the door
    accepts.
    """

    process: asyncio.subprocess.Process
    session: str
    folder: Path
    log: Path
    key: asyncssh.SSHKey
    connections: list[asyncssh.SSHClientConnection] = field(default_factory=list)

    def file(self, name: str) -> Any:
        """Return the content of a JSON file in the session's folder."""
        return json.loads((self.folder / name).read_text())

    async def enter(self, key: asyncssh.SSHKey | None = None, **options: Any) -> asyncssh.SSHClientConnection:
        """Return an SSH connection to the door, whose host key is checked.

        ``key``: the client's key; None: the key that the door accepts. ``options``: for ``asyncssh.connect``.
        """
        door = self.file("door.json")
        known: dict[str, Any] = {
            "username": "link",
            "client_keys": [key or self.key],
            "known_hosts": ([asyncssh.import_public_key(door["host_key"])], [], []),
            "config": None,
            "agent_path": None,
        }
        if "socket" in door:
            known["sock"] = socket.socket(socket.AF_UNIX)
            known["sock"].connect(door["socket"])
            connection = await asyncssh.connect(**(known | options))
        else:
            connection = await asyncssh.connect("127.0.0.1", door["port"], **(known | options))
        self.connections.append(connection)
        return connection

    async def exit(self, timeout: float = PATIENCE) -> int:
        """Wait until the door's process, which stands for the job, has ended; return its exit code."""
        return await asyncio.wait_for(self.process.wait(), timeout)


async def ask(connection: asyncssh.SSHClientConnection, command: str, told: object = None) -> Any:
    """Run a command of the door, with ``told`` as JSON input; return the JSON output.

    Fails the test with the door's message if the command fails.
    """
    done = await connection.run(command, input="" if told is None else json.dumps(told), timeout=PATIENCE)
    assert isinstance(done.stdout, str)
    assert done.exit_status == 0, (done.exit_status, done.stdout)
    return json.loads(done.stdout)


async def fetch(reader: Any, writer: Any, path: str, headers: str = "") -> bytes:
    """Send one GET; return the complete response, headers included, and close the connection.

    ``headers``: more header lines, each with its CRLF.
    """
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode())
    answer = await reader.read(-1)
    writer.close()
    assert isinstance(answer, bytes)
    return answer


@asynccontextmanager
async def running_door(
    *options: str,
    environment: dict[str, str] | None = None,
    key: asyncssh.SSHKey | None = None,
    session: str = SESSION,
    sources: str = SOURCES,
) -> AsyncIterator[RunningDoor]:
    """Start a door on loopback, and wait until it has written ``door.json`` or has ended; yield the door.

    Its processes end after the block. ``options``: more command-line options; ``environment``: more environment
    variables; ``key``: the client key that the door accepts, None: a new one; ``session``: the session's id;
    ``sources``: the folder from which the door's Python imports packages.
    """
    base = Path(tempfile.mkdtemp(prefix="fgt-"))  # a short path, since it is part of sockets' paths
    key = key or asyncssh.generate_private_key("ssh-ed25519")
    folder = base / "session"
    home = base / "home"
    home.mkdir()
    log = base / "log"
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "JUPYTER", "FACTORYGATE_"))
    }
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "factorygate.session", "--id", session, "--folder", str(folder)),
            *("--authorized", key.export_public_key().decode().split()[1], "--listen", "127.0.0.1"),
            *("--tmp", str(base), "--notebook-dir", str(home), *options),
            env=clean | {"PYTHONPATH": sources, "HOME": str(home), "FACTORYGATE_JOB_ID": "7"} | (environment or {}),
            stdout=file,
            stderr=file,
        )
    door = RunningDoor(process, session, folder, log, key)
    try:
        await until(lambda: (folder / "door.json").exists() or process.returncode is not None, what="door.json")
        yield door
    finally:
        for connection in door.connections:
            connection.abort()
        if process.returncode is None:
            process.terminate()
            await process.wait()
        sys.stdout.write(log.read_text(errors="replace"))  # shown if a test fails
        shutil.rmtree(base)


class Files:
    """A transport for these tests: it uses files, ports and programs of this machine, as this user."""

    def __init__(self) -> None:
        self._commands = LocalTransport(LocalSettings(env={"PYTHONPATH": SOURCES}))

    async def run(self, ask: Any, account: str | None = None) -> Any:
        """Fail the test, since doors run no commands."""
        raise NotImplementedError

    async def read(self, account: str | None, path: str, limit: int = 65536) -> bytes:
        """Return the first ``limit`` bytes of the file. Raises Gone if there is no file."""
        try:
            return Path(path).read_bytes()[:limit]
        except FileNotFoundError as error:
            raise Gone(f"{path} is not there.") from error

    async def home(self, account: str | None) -> str:
        """Return this user's home."""
        return str(Path.home())

    async def connect(self, account: str | None, host: str, port: int) -> ByteStream:
        """Return a connection to a port of ``host``, made from this machine. Raises Unreachable."""
        sock = socket.socket()
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
        except OSError as error:
            sock.close()
            raise Unreachable(str(error)) from error
        return SocketStream(sock)

    async def enter(self, account: str | None, argv: Sequence[str]) -> ByteStream:
        """Run the command on this machine, as this user; return its stdin and stdout as one stream."""
        return await self._commands.enter(None, argv)

    async def close(self) -> None:
        """Do nothing, since nothing is open."""


class NoScheduler:
    """A dialect for these tests: the command that enters a job runs directly, since the door is on this machine."""

    @staticmethod
    def enter(job: JobId, argv: Sequence[str], node: str | None = None) -> tuple[str, ...]:
        """Return the command unchanged."""
        return tuple(argv)


BRIDGE = (sys.executable, "-P", "-m", "factorygate.session.bridge")


def way(
    folder: Path,
    node: str | None = "127.0.0.1",
    transport: Transport | None = None,
    session: str = SESSION,
    **access: object,
) -> carriers.Route:
    """Return the route to the door of that session's folder. ``access``: fields of ``DoorAccess``."""
    door = DoorAccess.model_validate({**access, "node_tmp": str(access.get("node_tmp", "/tmp"))})
    carrier = carriers.carrier(door, cast(Dialect, NoScheduler), "7", node, BRIDGE)
    transport = transport or Files()
    return carriers.Route(session, "here", "someone", f"{folder}/door.json", transport, transport, carrier)
