"""A site in this process that the link reaches over SSH, with honest and hostile accounts.

The site has a small scheduler. For hostile accounts, its shell, files, doors and scheduler send the arbitrary data that
a test wants, which a real site cannot be made to send.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import asyncssh

from factorylink.schedulers.complete_lists import MARK
from tests.unit.slurm_output import job_row

HONEST, HOSTILE, WATCHER = "ada", "mallory", "watcher"
ACCOUNTS = (HONEST, HOSTILE, WATCHER)
HOME = "/home/{}"
NAME = "factorygate-hub"  # name of the gateway's jobs


class Bytes(NamedTuple):
    """A byte string that consists of ``piece`` repeated ``times`` times; it is never in memory as a whole."""

    piece: bytes = b""
    times: int = 1

    def chunks(self) -> Any:
        """Yield the bytes in pieces of about 64 KiB."""
        together = max(1, min(self.times, 65536 // max(1, len(self.piece))))
        whole, rest = divmod(self.times, together)
        return itertools.chain(itertools.repeat(self.piece * together, whole), [self.piece * rest])


NOTHING = Bytes()


@dataclass
class Reply:
    """The output of a command.

    ``hangs``: the command never ends, like one that reads a FIFO. ``cut``: when the link asks for a limited number of
    bytes of a file, the output ends there; False: the whole output is sent.
    """

    stdout: Bytes = NOTHING
    stderr: Bytes = NOTHING
    code: int = 0
    hangs: bool = False
    cut: bool = True

    def within(self, most: int) -> Reply:
        """Return a copy of this reply that has at most the last ``most`` bytes of stdout."""
        piece, times = self.stdout
        return replace(self, stdout=Bytes((piece * min(times, 1 + most // max(1, len(piece))))[-most:]))


@dataclass
class Life:
    """The behaviour of one hostile session. Where a field is None, the session behaves like an honest one."""

    submit: Reply | None = None  # reply to sbatch; None: the job is accepted
    before: Reply | None = None  # printed by the shell before an honest answer to mkdir and tar
    door: Reply | None = None  # replaces the door's file
    statuses: tuple[Bytes, ...] = ()  # status lines of its door, in order, each with its own line end
    # the reason with which its door finally closes the connection; None: the connection stays open
    reason: str | None = None
    end: Reply | None = None  # replaces end.json
    log: Reply = field(default_factory=Reply)
    state: str = "COMPLETED"  # the final state of its job
    why: str = ""
    told: asyncio.Event = field(default_factory=asyncio.Event)  # set once everything was sent


def status(session: str, **told: Any) -> bytes:
    """Return a status line of an honest door. ``told``: further fields, or other values."""
    honest = {"protocol": 1, "session": session, "phase": "up", "environment": True}
    return json.dumps({**honest, "notebook_sock": "/n", "hub_sock": "/h", **told}).encode() + b"\n"


@dataclass
class _Job:
    id: int
    account: str
    comment: str
    submitted: int
    state: str = "RUNNING"
    ended: int = 0
    reason: str = ""


class Site:
    """The site. ``lives``: the behaviour of hostile sessions by id; all other sessions are honest."""

    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}
        self.jobs: dict[int, _Job] = {}
        self.rows = ""  # rows of other people's jobs in the answer to each question about jobs
        self.instead: list[Reply] = []  # replies to the next questions of the watcher
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = 0
        self._numbers = itertools.count(1)
        self._doors: dict[str, _Door] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def sessions(self, account: str) -> set[str]:
        """Return the ids of the sessions for which an account has jobs."""
        return {_session(job.comment) for job in self.jobs.values() if job.account == account}

    def end(self, session: str) -> None:
        """End that session's job."""
        life = self.lives.get(session, Life())
        for job in self.jobs.values():
            if _session(job.comment) == session and job.state == "RUNNING":
                job.state, job.ended, job.reason = life.state, int(time.time()), life.why

    def forget(self) -> None:
        """Forget the jobs that have ended, and the doors of their sessions."""
        self.jobs = {job.id: job for job in self.jobs.values() if job.state == "RUNNING"}
        live = {_session(job.comment) for job in self.jobs.values()}
        for session in self._doors.keys() - live:
            self._doors.pop(session).close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Site]:
        """Listen on a loopback port during the block; yield this object."""
        listener = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: _Login(),
            server_host_keys=[self.key],
            process_factory=self._command,
            encoding=None,
            allow_scp=False,
        )
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            for door in self._doors.values():
                door.close()
            for task in tuple(self._tasks):
                task.cancel()
            listener.close()

    # --- commands

    async def _command(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        with contextlib.suppress(OSError, asyncssh.Error):
            account = process.get_extra_info("username")
            reply = await self._reply(account, _words(process.command or ""), process)
            await _say(process, reply)

    async def _reply(self, account: str, argv: list[str], process: asyncssh.SSHServerProcess[bytes]) -> Reply:
        program = argv[0]
        if account == WATCHER and self.instead:
            return self.instead.pop(0)
        if program in ("mkdir", "tar"):
            given = (await process.stdin.read()).decode(errors="replace")
            return next((life.before for id, life in self.lives.items() if id in given and life.before), Reply())
        if program == "sbatch":
            return await self._submit(account, "--test-only" in argv, (await process.stdin.read()).decode())
        if program in ("head", "tail"):
            reply = await self._file(argv[-1])
            return reply if reply.hangs or not reply.cut else reply.within(int(argv[2]))
        if program == "scancel":
            for word in argv[1:]:
                if (job := self.jobs.get(int(word.partition("_")[0]))) is not None and job.state == "RUNNING":
                    job.state, job.ended = "CANCELLED", int(time.time())
            return Reply()
        if program == "squeue":
            return _text(self._queue(argv))
        answers = {
            "getent": f"{account}:x:1000:1000::{HOME.format(account)}:/bin/sh\n",
            "pwd": HOME.format(account) + "\n",
            "id": "1000\0",
            "sinfo": f"{MARK}\n",
            "sacct": f"{MARK}\n",
            "scontrol": "Slurmctld(primary) at here is UP\n"
            if "ping" in argv
            else f"No reservations in the system\n{MARK}\n",
        }
        return _text(answers[program]) if program in answers else Reply(stderr=Bytes(b"not here\n"), code=127)

    async def _submit(self, account: str, test_only: bool, script: str) -> Reply:
        if test_only:
            return Reply(
                stderr=Bytes(f"sbatch: Job 1 to start at {int(time.time())} using 1 processors on n1\n".encode())
            )
        comment = next(line.partition("--comment=")[2] for line in script.splitlines() if "--comment=" in line)
        life = self.lives.get(_session(comment.strip("'\"")))
        if life is not None and life.submit is not None:
            life.told.set()
            return life.submit
        number = next(self._numbers)
        self.jobs[number] = _Job(number, account, comment.strip("'\""), int(time.time()))
        return _text(f"{number}\n")

    def _queue(self, argv: list[str]) -> str:
        if "--states=PENDING" in argv:
            return f"{MARK}\n"
        asked = next((word.partition("=")[2].split(",") for word in argv if word.startswith("--jobs=")), None)
        rows = self.rows if asked is None else ""
        for job in self.jobs.values():
            if asked is None or str(job.id) in asked:
                times = {"started": str(job.submitted), "ends": str(job.ended or job.submitted + 3600)}
                name = "" if asked is None else f"{NAME:64}|"
                rows += name + job_row(
                    job.comment,
                    str(job.id),
                    job.state,
                    job.account,
                    str(job.submitted),
                    **times,
                    reason=job.reason,
                    nodes="n1",
                )
        return f"{rows}{MARK}\n"

    async def _file(self, path: str) -> Reply:
        *_, session, name = path.split("/")
        life = self.lives.get(session)
        if name == "door.json":
            if life is not None and life.door is not None:
                life.told.set()
                return life.door
            door = self._doors.get(session)
            if door is None:
                door = self._doors[session] = await _Door(session, life).listen()
            return Reply(Bytes(door.file))
        if life is not None and name == "end.json" and life.end is not None:
            return life.end
        if life is not None and name.endswith(".log"):
            return life.log
        return Reply(stderr=Bytes(b"head: cannot open: No such file or directory\n"), code=1)


class _Login(asyncssh.SSHServer):
    def begin_auth(self, _username: str) -> bool:
        return False

    def connection_requested(self, dest_host: str, _dest_port: int, _orig_host: str, _orig_port: int) -> bool:
        return dest_host == "127.0.0.1"


class _Door(asyncssh.SSHServer):
    """The door of one session, on its own port."""

    def __init__(self, session: str, life: Life | None) -> None:
        self._session = session
        self._life = life
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self._connections: list[asyncssh.SSHServerConnection] = []
        self._listener: asyncssh.SSHAcceptor | None = None
        self.file = b""

    async def listen(self) -> _Door:
        self._listener = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: self,
            server_host_keys=[self._key],
            process_factory=self._command,
            encoding=None,
        )
        port = self._listener.sockets[0].getsockname()[1]
        public = " ".join(self._key.export_public_key().decode().split()[:2])
        told = {"protocol": 1, "session": self._session, "job": "1", "port": port, "host_key": public}
        self.file = json.dumps(told).encode()
        return self

    def close(self) -> None:
        for connection in self._connections:
            connection.abort()
        if self._listener is not None:
            self._listener.close()

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connections.append(conn)

    def begin_auth(self, _username: str) -> bool:
        return False

    def unix_server_requested(self, _path: str) -> asyncssh.SSHListener:
        return _Listener()

    def unix_connection_requested(self, _path: str) -> Callable[..., Awaitable[None]]:
        return _notebook

    async def _command(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        with contextlib.suppress(OSError, asyncssh.Error):
            if process.command != "watch":
                process.stdout.write(status(self._session))
                process.exit(0)
                return
            process.stdout.write(status(self._session))
            if self._life is not None:
                await self._tell(process, self._life)
            await process.wait_closed()

    async def _tell(self, process: asyncssh.SSHServerProcess[bytes], life: Life) -> None:
        try:
            for said in life.statuses:
                for chunk in said.chunks():
                    process.stdout.write(chunk)
                    await process.stdout.drain()
            if life.reason is not None:
                process.channel.get_connection().disconnect(asyncssh.DISC_BY_APPLICATION, life.reason)
        finally:
            life.told.set()


class _Listener(asyncssh.SSHListener):
    def close(self) -> None:
        return

    async def wait_closed(self) -> None:
        return


async def _notebook(reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
    with contextlib.suppress(OSError, asyncssh.Error, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n42")
        writer.write_eof()
        writer.close()


async def _say(process: asyncssh.SSHServerProcess[bytes], reply: Reply) -> None:
    for stream, said in ((process.stderr, reply.stderr), (process.stdout, reply.stdout)):
        for chunk in said.chunks():
            stream.write(chunk)
            await stream.drain()
    if reply.hangs:
        await process.wait_closed()
    process.exit(reply.code)


def _words(line: str) -> list[str]:
    """Return the words of a command, without the ``env NAME=VALUE`` and ``sh -c SCRIPT NAME`` before them."""
    words = shlex.split(line)
    if words[:1] == ["env"]:
        words = list(itertools.dropwhile(lambda word: "=" in word, words[1:]))
    return words[4:] if words[:2] == ["sh", "-c"] else words


def _text(text: str) -> Reply:
    return Reply(Bytes(text.encode()))


def _session(comment: str) -> str:
    return comment.split(":")[1] if comment.startswith("fg:") else ""
