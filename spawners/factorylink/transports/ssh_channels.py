"""What goes over an SSH connection: a command that is heard out, and wires. Each holds its place until it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncssh

from factorylink.errors import Misread, Refused, Unreachable
from factorylink.transports.base import STDERR_CAP
from factorylink.transports.ssh_pool import Use

T = TypeVar("T")
log = logging.getLogger(__name__)

# Large, since both sides of a door are in one process: a window that is used up costs a turn of the event loop.
WINDOW = 16 * 2**20
COMMAND_WINDOW = 2 * 2**20
PACKET = 128 * 2**10  # OpenSSH sends at most 32 KiB whatever we allow, and takes up to 256 KiB
CLOSED = "SSH connection closed"  # asyncssh's words for a channel on a connection that is gone
KILL_WAIT = 2.0  # seconds that a command gets to end by itself once its input has ended: killed, srun leaves its step
SAID = 4096  # bytes of stderr that are kept for words


class NoPlace(Unreachable):
    """The server has no place for one more command. Nothing was run."""


class Lost(Unreachable):
    """The connection was gone before anything was asked for. Nothing was run."""


class Command(asyncssh.SSHClientSession[bytes]):
    """A command whose output is collected: at most ``cap`` bytes, and then it is killed."""

    def __init__(self, use: Use, cap: int) -> None:
        self._use = use
        self._caps = {None: cap, asyncssh.EXTENDED_DATA_STDERR: STDERR_CAP}
        self._got: dict[int | None, bytearray] = {None: bytearray(), asyncssh.EXTENDED_DATA_STDERR: bytearray()}
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._given_up = False
        self._ended = asyncio.Event()
        self._error: Exception | None = None

    async def run(self, line: str, stdin: bytes) -> tuple[bytes, bytes, int]:
        """stdout, stderr, code (negative: a signal). Raises NoPlace and Lost, after which nothing has been run;
        Misread for too much output; Unreachable where the connection was lost meanwhile."""
        channel, _ = await _session(self._use, lambda: self, line, COMMAND_WINDOW)
        with contextlib.suppress(OSError):  # a command that ends without reading its input says why by itself
            channel.write(stdin)
            channel.write_eof()
        await self._ended.wait()
        if any(len(got) > self._caps[which] for which, got in self._got.items()):
            raise Misread("It answered with more than we take.")
        code = channel.get_returncode()
        if code is None:
            raise Unreachable(f"The connection to the site was lost meanwhile: {self._error or 'closed'}")
        return bytes(self._got[None]), bytes(self._got[asyncssh.EXTENDED_DATA_STDERR]), code

    def give_up(self) -> None:
        """Kill it where it still runs. Where the server knows no signals, its input and output are closed."""
        self._given_up = True
        if self._channel is not None and not self._ended.is_set():
            _kill(self._channel)

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open; the command is asked for next."""
        self._channel = chan
        if self._given_up:
            chan.abort()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Output, until it is too much."""
        got = self._got[datatype]
        got += data
        if len(got) > self._caps[datatype]:
            self.give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, for whatever reason."""
        self._use.release()
        self._error = exc
        self._ended.set()


class _Passing:
    """A channel's other end: what comes is handed to whatever protocol was bound to the wire."""

    def __init__(self, use: Use, protocol: Any) -> None:
        self._use = use
        self._protocol = protocol
        self.data_received: Callable[..., None] = self._data

    def connection_made(self, chan: Any) -> None:
        self._protocol.connection_made(chan)

    def session_started(self) -> None:
        """Nothing to do: a protocol of asyncio knows no sessions."""

    def _data(self, data: bytes, datatype: int | None) -> None:  # noqa: ARG002
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return bool(self._protocol.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        self._use.release()
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


class ForwardWire:
    """To a TCP port as seen from the login host. Opened when it is bound."""

    def __init__(self, use: Use, host: str, port: int, seconds: float) -> None:
        self._use = use
        self._to = (host, port)
        self._seconds = seconds
        self._channel: Any = None

    async def create_connection(
        self,
        session_factory: Callable[[], Any],
        remote_host: str,  # noqa: ARG002
        remote_port: int,  # noqa: ARG002
    ) -> tuple[Any, Any]:
        """Raises Refused where the site forbids it; Unreachable where the node does not answer."""
        protocol = session_factory()
        opening = self._use.connection.create_connection(
            lambda: _Passing(self._use, protocol),  # type: ignore[arg-type,return-value]
            *self._to,
            window=WINDOW,
            max_pktsize=PACKET,
        )
        name = "{} port {}".format(*self._to)
        try:
            async with asyncio.timeout(self._seconds):
                self._channel, _ = await _opened(opening, self._use)
        except asyncssh.ChannelOpenError as error:
            if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
                raise Refused(
                    f"{name}: the site's login host forbids to forward connections to its nodes. The operator can set "
                    "door.carrier: stdio for this factory."
                ) from error
            raise Unreachable(f"{name}: {error.reason}") from error
        except TimeoutError as error:
            raise Unreachable(f"{name}: no connection within {self._seconds:g} s") from error
        except (asyncssh.Error, OSError) as error:
            raise Unreachable(f"{name}: the connection to the site was lost: {error}") from error
        return self._channel, protocol

    def close(self) -> None:
        """Close the channel, or give its place back."""
        if self._channel is not None:
            self._channel.abort()
        else:
            self._use.release(opened=False)


class EntryWire:
    """A command's stdin and stdout. Run when it is bound."""

    def __init__(self, use: Use, name: str, line: str, seconds: float) -> None:
        self._use = use
        self._name = name
        self._line = line
        self._seconds = seconds
        self._ends: _Ends | None = None

    async def create_connection(
        self,
        session_factory: Callable[[], Any],
        remote_host: str,  # noqa: ARG002
        remote_port: int,  # noqa: ARG002
    ) -> tuple[Any, Any]:
        """Raises Unreachable where it could not be run. What it says on stderr goes to the log, and with the end of
        the connection to the protocol."""
        protocol = session_factory()
        try:
            async with asyncio.timeout(self._seconds):
                _, session = await _session(
                    self._use, lambda: _Entry(self._use, protocol, self._name), self._line, WINDOW
                )
        except TimeoutError as error:
            raise Unreachable(f"{self._name} was not begun within {self._seconds:g} s.") from error
        self._ends = session.ends
        return self._ends, protocol

    def close(self) -> None:
        """Let the command end."""
        if self._ends is not None:
            self._ends.close()
        else:
            self._use.release(opened=False)


class _Ends:
    """A command's channel as a transport of asyncio. Closing it ends the command's input; if that does not end the
    command within ``KILL_WAIT``, it is killed."""

    def __init__(self, channel: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = channel
        self.write = channel.write
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._channel.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self.closed or self._channel.is_closing()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            with contextlib.suppress(OSError):
                self._channel.write_eof()
            asyncio.get_running_loop().call_later(KILL_WAIT, _kill, self._channel)

    abort = close


class _Entry(_Passing):
    def __init__(self, use: Use, protocol: Any, name: str) -> None:
        super().__init__(use, protocol)
        self._name = name
        self._said = b""
        self.ends: _Ends

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self.ends = _Ends(chan)
        super().connection_made(self.ends)

    def _data(self, data: bytes, datatype: int | None) -> None:
        if datatype is None:
            if not self.ends.closed:
                self._protocol.data_received(data)
        else:
            self._said = (self._said + data)[-SAID:]
            log.info("%s: %s", self._name, data.decode(errors="replace").strip())

    def eof_received(self) -> bool:
        return True  # why it ended comes after that

    def exit_status_received(self, status: int) -> None:
        log.info("%s ended with code %d", self._name, status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:  # noqa: ARG002
        log.info("%s was ended by signal %s", self._name, signal)

    def connection_lost(self, exc: Exception | None) -> None:
        words = self._said.decode(errors="replace").strip()
        super().connection_lost(exc or (asyncssh.ConnectionLost(words) if words else None))


def _kill(channel: asyncssh.SSHClientChannel[bytes]) -> None:
    with contextlib.suppress(OSError):
        channel.kill()  # sshd sends it to the command's whole process group
    channel.abort()


async def _session(use: Use, make: Callable[[], Any], line: str, window: int) -> tuple[Any, Any]:
    """Open a channel and have the command run. Raises NoPlace and Lost, after which nothing has been run, Refused, and
    Unreachable."""
    begun = False

    def begin() -> Any:
        nonlocal begun
        begun = True
        return make()

    try:
        return await _opened(
            use.connection.create_session(
                begin, line, encoding=None, request_pty=False, env={}, send_env=[], window=window, max_pktsize=PACKET
            ),
            use,
        )
    except asyncssh.ChannelOpenError as error:
        if begun:
            raise Unreachable(f"The site's SSH server did not take the command: {error.reason}") from error
        if error.reason == CLOSED or use.connection.is_closed():
            raise Lost("The connection to the site was lost.") from error
        if error.code in (asyncssh.OPEN_CONNECT_FAILED, asyncssh.OPEN_RESOURCE_SHORTAGE):
            raise NoPlace(f"The site's SSH server has no place for one more command: {error.reason}") from error
        raise Refused(f"The site's SSH server runs no commands for us: {error.reason}") from error
    except (asyncssh.Error, OSError) as error:
        raise (Unreachable if begun else Lost)(f"The connection to the site was lost: {error}") from error


async def _opened(opening: Awaitable[T], use: Use) -> T:
    """Wait for a channel. Who leaves meanwhile leaves none behind: it is closed as soon as it is there."""
    task = asyncio.ensure_future(opening)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(lambda done: _abandon(done, use))
        raise
    except BaseException:
        use.release(opened=False)
        raise


def _abandon(done: asyncio.Future[Any], use: Use) -> None:
    if done.cancelled() or done.exception() is not None:
        use.release(opened=False)
    else:
        done.result()[0].abort()
