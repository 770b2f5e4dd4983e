"""The protocols of a transport, and the function ``answer``, which parses the output of a command.

A transport runs commands and moves bytes; it knows no scheduler. ``account`` is the site account as which the transport
acts; None means the *watcher*, the account as which the link asks the scheduler about all jobs.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

from factorycommon.models.plain import plain_text
from factorylink.errors import FactoryError, Gone, Misread, Refused, excerpt
from factorylink.schedulers.command import Command, Output

T = TypeVar("T")
log = logging.getLogger(__name__)

ACCOUNT_CAP = 4 * 2**20  # bytes of stdout of a command that runs as a site account, whose shell may print anything
STDERR_CAP = 64 * 2**10
WIRE_CAP = 16 * 2**10  # bytes of stderr of a command that carries a door's connection
LARGE = 256 * 2**10  # bytes; a larger answer is parsed in a thread


class ByteStream(Protocol):
    """A two-way byte stream that carries the connection to a door; asyncssh gets the stream as its ``tunnel``."""

    async def create_connection(
        self, session_factory: Callable[[], Any], remote_host: str, remote_port: int
    ) -> tuple[Any, Any]:
        """Connect the stream to the protocol that ``session_factory`` returns; return (channel, protocol).

        Call this once. Host and port are ignored. Raises FactoryError, because some streams open their connection, or
        run their command, only in this call.
        """

    def close(self) -> None:
        """Release the stream, and end the command if the stream is that of a command.

        This may be called after the protocol that is connected to the stream has closed the connection.
        """


class SocketStream:
    """A connected, non-blocking stream socket as a byte stream."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._bound = False

    async def create_connection(
        self,
        session_factory: Callable[[], Any],
        remote_host: str,  # noqa: ARG002
        remote_port: int,  # noqa: ARG002
    ) -> tuple[Any, Any]:
        """Connect the socket to the protocol that ``session_factory`` returns; return (asyncio's transport, protocol).

        Host and port are ignored.
        """
        self._bound = True
        return await asyncio.get_running_loop().create_connection(session_factory, sock=self._sock)

    def close(self) -> None:
        """Close the socket, unless a protocol is connected to the socket: then the protocol closes the socket."""
        if not self._bound:
            self._sock.close()


class CommandRunner(Protocol):
    """Runs commands at a factory's login side. Every method raises only FactoryError."""

    async def run(self, command: Command[T], account: str | None = None) -> T:
        """Run a command as ``account`` and return its parsed answer.

        ``account`` None: the watcher, the account that asks about all jobs. After ``command.timeout`` seconds, or when
        the call is cancelled, the command is killed with its children, as far as the login host's server allows this.
        A timeout raises Unreachable: the command may or may not have had an effect.
        """

    async def read(self, account: str | None, path: str, limit: int = 65536) -> bytes:
        """Return the first ``limit`` bytes of a file. Raises Gone if there is no file.

        The file is opened with the rights of ``account``; None: of the watcher, the account that asks about all jobs. A
        leading ``~/`` is the account's home.
        """

    async def home(self, account: str | None) -> str:
        """Return the absolute path of the account's home at the site.

        ``account`` None: the watcher, the account that asks about all jobs.
        """

    async def close(self) -> None:
        """Close all connections, and kill the commands that still run."""


class StreamOpener(Protocol):
    """Opens byte streams at a factory, over which the link reaches doors. Every method raises only FactoryError.

    Some streams open their connection, or run their command, only in ``ByteStream.create_connection``.
    """

    async def connect(self, account: str | None, host: str, port: int) -> ByteStream:
        """Open a stream to a TCP port on a node, connected from the login host.

        ``account``: the site account for which the link connects; None: the watcher, which asks about all jobs.
        """

    async def enter(self, account: str | None, argv: Sequence[str]) -> ByteStream:
        """Run a command on the login host as ``account``; return a stream of its stdin and stdout.

        ``account`` None: the watcher, the account that asks about all jobs. The command's stderr goes to the log.
        Closing the stream ends the command.
        """


class Transport(CommandRunner, StreamOpener, Protocol):
    """The access to a factory's login side, for commands and for byte streams into jobs."""


def most_bytes(command: Command[T], account: str | None) -> int:
    """Return the largest size in bytes that a command's stdout may have if the command is run as ``account``.

    A longer stdout raises Misread. For the watcher (``account`` None), the largest size is ``command.most``; for a site
    account, it is the smaller of ``command.most`` and ``ACCOUNT_CAP``.
    """
    return command.most if account is None else min(command.most, ACCOUNT_CAP)


class CommandOutput:
    """The output of a command as bytes; ``output()`` frees the bytes even while this object is still referenced."""

    def __init__(self, stdout: bytes, stderr: bytes, code: int) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.code = code

    def output(self) -> Output:
        """Return the output as text, and free the bytes."""
        stdout, stderr = self.stdout, self.stderr
        self.stdout = self.stderr = b""
        return Output(stdout.decode(errors="replace"), stderr.decode(errors="replace"), self.code)


async def answer(command: Command[T], result: CommandOutput) -> T:
    """Parse the output of a command; return the answer. Raises FactoryError.

    If the output cannot be parsed, its beginning and end are logged, and Misread is raised.
    """
    large = len(result.stdout) > LARGE
    error, found = await asyncio.to_thread(_read, command, result) if large else _read(command, result)
    if error is not None:
        raise error
    return cast("T", found)


def _read(command: Command[T], result: CommandOutput) -> tuple[FactoryError, None] | tuple[None, T]:
    """Return (None, the answer) or (the error, None).

    The error has no traceback and no cause: these would keep the whole output in memory as long as the error exists.
    """
    output = result.output()
    try:
        return None, command.parse(output)
    except FactoryError as error:
        if isinstance(error, Misread):
            log.warning("%s: not understood: %s: %r", command.argv[0], error.message, _excerpt(output))
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None), None
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        log.exception("%s: not understood: %r", command.argv[0], _excerpt(output))
        return Misread(f"The answer of {command.argv[0]} was not understood: {error}"), None


def _excerpt(output: Output) -> Output:
    return Output(excerpt(output.stdout), excerpt(output.stderr), output.code)


class StreamLog:
    """Logs the first lines that a command writes to stderr while the command carries a door's connection."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = WIRE_CAP

    def say(self, said: bytes) -> None:
        """Log a piece of stderr; once ``WIRE_CAP`` bytes have come, say so in the log, and then log nothing more."""
        if self._left <= 0:
            return
        self._left -= len(said)
        log.info("%s: %s", self._name, plain_text(said.decode(errors="replace")))
        if self._left <= 0:
            log.info("%s says more than is logged.", self._name)


def head(path: str, limit: int) -> tuple[str, ...]:
    """Return the command that reads the first ``limit`` bytes of a file.

    The link does not open the file itself, for two reasons: the account must have the right to read the file, and a
    file that is a FIFO must cost the link no more than a timeout.
    """
    return ("head", "-c", str(limit), "--", path)


def first_bytes(stdout: bytes, stderr: bytes, code: int) -> bytes:
    """Return the bytes of a file, from the outcome of the command that ``head`` has returned.

    The command's error messages must be in English. Raises Gone if there is no file, Refused for any other error.
    """
    if code == 0:
        return stdout
    words = stderr.decode(errors="replace").strip()
    if "No such file or directory" in words or "Not a directory" in words:
        raise Gone(words)
    raise Refused(words or f"head ended with code {code}")
