"""The local transport, for a factory whose login side is this machine.

If an ordinary user runs the link, the transport acts as that user only. If root runs it, the transport acts as any site
account except root, with that account's groups and none of the link's environment variables.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pwd
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from factorycommon.models.plain import plain_text
from factorycommon.process_groups import kill_group, started
from factorylink.config import LocalTransportSettings as Settings
from factorylink.errors import Gone, Misread, Refused, Unreachable
from factorylink.schedulers.command import Command
from factorylink.transports.base import (
    STDERR_CAP,
    ByteStream,
    CommandOutput,
    SocketStream,
    StreamLog,
    answer,
    most_bytes,
)
from factorylink.transports.command_slots import CommandSlots
from factorylink.transports.gathered_reads import GatheredReads
from factorylink.util.single_flight import SingleFlight

T = TypeVar("T")
log = logging.getLogger(__name__)

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
CONNECT_TIMEOUT = 10  # seconds
RESOLVE_TIMEOUT = 5
IDENTITY_SECONDS = 5.0  # seconds for which an account's user, groups and home are kept: a start needs them six times
FOR_THE_WATCHER = 4  # commands at once
KILL_WAIT = 2  # seconds; a process that survives SIGKILL hangs in the kernel, and the link must not wait for it
# The program that becomes another user before it runs the command. Python could do that itself between fork and exec,
# but then it copies the link's page tables for each command, which takes some 10 ms of the event loop; without that, it
# uses vfork. This program of coreutils looks up no names: each number has a plus sign.
CHANGE_USER = "/usr/sbin/chroot"
_NOT_RUN = range(125, 128)  # the exit codes of this program, and of ``env``, if the command could not be run


async def _resolved(host: str, port: int) -> list[Any]:
    """Return the addresses of a host, in the form of ``getaddrinfo``.

    Raises Unreachable, with an explanation, if the name does not resolve within ``RESOLVE_TIMEOUT`` seconds.
    """
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT):
            return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise Unreachable(f"The name {host} does not resolve on this machine within {RESOLVE_TIMEOUT} s.") from error
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "no name of a host"
        raise Unreachable(f"The name {host} does not resolve on this machine ({why}).") from error


@dataclass(frozen=True)
class _Identity:
    name: str
    home: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    switch: bool  # True if the process must run as another user


class LocalTransport:
    """A ``Transport`` for this machine.

    Of the commands of ``run`` and ``read``, at most ``parallel`` run at once for all accounts, and at most ``share`` as
    one account. Commands of the link's own user (``account`` None), such as the questions to the scheduler, have slots
    of their own. The time that a command waits for a slot does not count against its timeout. Commands of ``enter``
    need no slot.
    """

    def __init__(self, settings: Settings, parallel: int = 32, share: int = 8) -> None:
        self._prefix = settings.prefix
        self._env = dict(settings.env)
        self._slots = CommandSlots(parallel, share, min(parallel, FOR_THE_WATCHER))
        self._reads = GatheredReads(self._read)
        self._identities: SingleFlight[_Identity] = SingleFlight(IDENTITY_SECONDS)
        self._running: set[asyncio.subprocess.Process] = set()
        self._listening: set[asyncio.Task[None]] = set()
        self._closed = False

    async def run(self, command: Command[T], account: str | None = None) -> T:
        """Run a command, with the prefix and the environment variables of the settings; return the parsed answer.

        ``account``: the site account; None: the link's own user. Raises FactoryError: Gone if there is no such account,
        Refused if the link may not act for it, Unreachable if the command cannot be run or takes longer than its
        timeout, Misread if the output is too long, and the errors of the command's parser.
        """
        identity = await self._identity(account)
        env = _plain_environment(identity) | self._env | dict(command.env)
        argv = self._prefix + command.argv
        most = most_bytes(command, account)
        async with self._slots.of(account):
            output = CommandOutput(
                *await self._bytes(argv, identity, env, command.stdin.encode(), command.timeout, most)
            )
        return await answer(command, output)

    async def read(self, account: str | None, path: str, limit: int = 65536) -> bytes:
        """Return the first ``limit`` bytes of a file, opened as the account (None: the link's own user).

        ``path``: absolute, or ``~/...`` for a file in the account's home. Raises FactoryError.
        """
        full = await self.home(account) + path[1:] if path == "~" or path.startswith("~/") else path
        return await self._reads.read(account, full, limit)

    async def _read(
        self, account: str | None, argv: tuple[str, ...], most: int, seconds: float
    ) -> tuple[bytes, bytes, int]:
        identity = await self._identity(account)
        async with self._slots.of(account):
            return await self._bytes(argv, identity, _plain_environment(identity), b"", seconds, most)

    async def home(self, account: str | None) -> str:
        """Return the absolute path of the account's home, from the account database of this machine.

        ``account`` None: the link's own user. Raises Gone if there is no such account, Refused if the link may not act
        for it.
        """
        return (await self._identity(account)).home

    async def connect(self, account: str | None, host: str, port: int) -> ByteStream:  # noqa: ARG002
        """Return a stream to ``port`` of ``host``, connected from this machine. Raises Unreachable.

        ``account`` is ignored.
        """
        loop = asyncio.get_running_loop()
        failure: OSError | None = None
        found = await _resolved(host, port)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                for family, kind, protocol, _, address in found:
                    try:
                        sock = socket.socket(family, kind, protocol)
                    except OSError as error:  # for example, the link has too many open files
                        failure = error
                        continue
                    try:
                        sock.setblocking(False)
                        await loop.sock_connect(sock, address)
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    except OSError as error:
                        failure = error
                        sock.close()
                    except BaseException:
                        sock.close()
                        raise
                    else:
                        return SocketStream(sock)
        except TimeoutError as error:
            raise Unreachable(f"{host} port {port}: no connection within {CONNECT_TIMEOUT} s") from error
        words = os.strerror(failure.errno) if failure and failure.errno else "no address"
        raise Unreachable(f"{host} port {port}: {words}") from failure

    async def enter(self, account: str | None, argv: Sequence[str]) -> ByteStream:
        """Run a command with one end of a socket pair as its stdin and stdout; return a stream on the other end.

        With pipes instead of the socket pair, the link would have to copy the data itself. ``account``: the site
        account; None: the link's own user. Raises FactoryError: Gone if there is no such account, Refused if the link
        may not act for it, Unreachable if no process can be started. If the command's program is missing, the call
        may succeed all the same, and the stream then ends at once.
        """
        identity = await self._identity(account)
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:  # for example, the link has too many open files
            raise Unreachable(f"{argv[0]} could not be run: {error}") from error
        try:
            ours.setblocking(False)
            env = _plain_environment(identity) | self._env
            process = await _start((*self._prefix, *argv), identity, env, theirs.fileno(), theirs.fileno())
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._running.add(process)
        if self._closed:  # the transport was closed in the meantime
            kill_group(process)
        name = f"{argv[0]} of {identity.name}"
        self._listening.add(task := asyncio.create_task(self._listen(process, name)))
        task.add_done_callback(self._listening.discard)
        return _CommandWire(ours, process)

    async def _listen(self, process: asyncio.subprocess.Process, name: str) -> None:
        """Log the first lines that the command writes to stderr; return when the command has ended."""
        try:
            if process.stderr is not None:
                said = StreamLog(name)
                while piece := await process.stderr.read(4096):
                    said.say(piece)
            await process.wait()
        finally:
            self._running.discard(process)

    async def close(self) -> None:
        """Kill all commands that still run, and start no more reads.

        Pending calls of ``read`` raise Unreachable. Pending calls of ``run`` raise the FactoryError that the parser of
        their command raises for a killed command.
        """
        self._closed = True
        self._reads.close()
        for process in tuple(self._running):
            kill_group(process)

    async def _identity(self, account: str | None) -> _Identity:
        # The account database may be a network service, so it is never queried in the event loop.
        try:
            return await self._identities.get(account, lambda: asyncio.to_thread(_look_up, account))
        except KeyError as error:
            raise Gone(f"There is no account {account!r} on this machine.") from error

    async def _bytes(
        self, argv: tuple[str, ...], identity: _Identity, env: dict[str, str], stdin: bytes, seconds: float, cap: int
    ) -> tuple[bytes, bytes, int]:
        source = asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL
        process = await _start(argv, identity, env, source, asyncio.subprocess.PIPE)
        self._running.add(process)
        if self._closed:  # the transport was closed in the meantime
            kill_group(process)
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                group.create_task(_feed(process, stdin))
                stdout = group.create_task(_drain(process, process.stdout, cap))
                stderr = group.create_task(_drain(process, process.stderr, STDERR_CAP))
                code = group.create_task(process.wait())
        except TimeoutError as error:
            raise Unreachable(f"{argv[0]} gave no answer within {seconds:g} s.") from error
        finally:
            await _end(process)
            self._running.discard(process)
        if len(stdout.result()) > cap or len(stderr.result()) > STDERR_CAP:
            raise Misread(f"{argv[0]} answered with more than {cap} bytes.")
        if identity.switch and code.result() in _NOT_RUN and stderr.result().startswith((b"chroot: ", b"env: ")):
            words = plain_text(stderr.result().decode(errors="replace").strip())
            raise Unreachable(f"{argv[0]} could not be run: {words}")
        return stdout.result(), stderr.result(), code.result()


class _CommandWire(SocketStream):
    """A command's stdin and stdout as a byte stream.

    When the stream is closed, the command reads end of file, and has ``KILL_WAIT`` seconds to end before it is killed:
    an ``srun`` that is killed at once leaves its step behind.
    """

    def __init__(self, sock: socket.socket, process: asyncio.subprocess.Process) -> None:
        super().__init__(sock)
        self._process = process

    def close(self) -> None:
        """Close the stream, and kill the command if it still runs ``KILL_WAIT`` seconds after this call.

        If a protocol is connected to the stream, this call leaves the socket open, and the protocol closes the socket.
        """
        super().close()
        asyncio.get_running_loop().call_later(KILL_WAIT, kill_group, self._process)


async def _start(
    argv: tuple[str, ...], identity: _Identity, env: dict[str, str], stdin: int, stdout: int
) -> asyncio.subprocess.Process:
    switch = identity.switch
    words = argv
    if switch and os.access(CHANGE_USER, os.X_OK):
        switch = False
        words = (*_changed_user(identity, env), *argv)
        env = _plain_environment(identity)
    creation = asyncio.create_subprocess_exec(
        *words,
        stdin=stdin,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env=env,
        cwd="/",
        umask=0o077,
        start_new_session=True,  # a new process group, so that the whole group can be killed
        user=identity.uid if switch else None,
        group=identity.gid if switch else None,
        extra_groups=identity.groups if switch else None,
    )
    try:
        return await started(creation)
    # missing program, missing permission, too many processes, or NUL in an argument
    except (OSError, ValueError) as error:
        raise Unreachable(f"{argv[0]} could not be run: {error}") from error


def _changed_user(identity: _Identity, env: dict[str, str]) -> tuple[str, ...]:
    """Return the words to put before a command, so that it runs as this user, with the groups of this user only.

    ``env``: all environment variables of the command. The returned words set those variables that differ from
    ``_plain_environment``, such as the operator's, only after the change of the user: some variables load libraries,
    and root must not load these libraries.
    """
    groups = ",".join(f"+{group}" for group in identity.groups)
    plain = _plain_environment(identity)
    more = [f"{name}={value}" for name, value in env.items() if plain.get(name) != value]
    own = (CHANGE_USER, f"--userspec=+{identity.uid}:+{identity.gid}", f"--groups={groups}", "/")
    return (*own, *(("/usr/bin/env", *more) if more else ()))


def _plain_environment(identity: _Identity) -> dict[str, str]:
    """Return the environment variables that every command gets.

    They include none of the link's own variables, because a scheduler may forward a command's variables to the job.
    """
    name = identity.name
    return {"PATH": PATH, "HOME": identity.home, "USER": name, "LOGNAME": name, "LANG": "C.UTF-8"}


def _look_up(account: str | None) -> _Identity:
    """Return the user, groups and home of an account (None: of the link's own user). This call blocks.

    Raises KeyError if there is no such account, Refused for an account that the link may not act for.
    """
    own = os.geteuid()
    entry = pwd.getpwuid(own) if account is None else pwd.getpwnam(account)
    if account is not None and entry.pw_uid == 0:
        raise Refused("Sessions never run as root.")
    switch = entry.pw_uid != own
    if switch and own != 0:
        raise Refused(f"The link runs as {pwd.getpwuid(own).pw_name} here and cannot act as {account}.")
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)) if switch else ()
    return _Identity(entry.pw_name, entry.pw_dir, entry.pw_uid, entry.pw_gid, groups, switch)


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    if process.stdin is None:
        return
    # A command that ends without reading its input explains this itself.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def _drain(process: asyncio.subprocess.Process, stream: asyncio.StreamReader | None, cap: int) -> bytes:
    """Return all output of a command on ``stream``; kill the command if its output is longer than ``cap`` bytes.

    The result of such a command is longer than ``cap``, too, but lacks the end of the output. All output is read
    nevertheless, because asyncio reports the end of a process only when the process' pipes are at their end.
    """
    if stream is None:
        raise ValueError("the command was started without pipes")
    parts: list[bytes] = []
    size = 0
    while part := await stream.read(65536):
        if size <= cap:
            size += len(part)
            parts.append(part)
        if size > cap:
            kill_group(process)
    return b"".join(parts)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    kill_group(process)
    try:
        async with asyncio.timeout(KILL_WAIT):
            await process.wait()
    except TimeoutError:
        log.warning("process %d does not die", process.pid)
