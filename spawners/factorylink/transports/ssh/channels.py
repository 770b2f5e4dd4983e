"""Opens SSH channels, and runs commands whose output is collected over a channel.

A channel holds its place on the SSH connection (see ``pool``) until the channel is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncssh

from factorylink.errors import Misread, NotDone, Refused, Unreachable
from factorylink.transports.base import STDERR_CAP
from factorylink.transports.ssh.pool import ConnectionUse

T = TypeVar("T")
log = logging.getLogger(__name__)

WINDOW = 2 * 2**20
LEAST_WINDOW = 64 * 2**10
PACKET = 128 * 2**10  # OpenSSH always sends at most 32 KiB, and accepts up to 256 KiB
CLOSED = "SSH connection closed"  # asyncssh's message for a channel on a lost connection


class NoPlace(NotDone):
    """Raised if the server has no place for one more command; the command was not run."""


class Lost(NotDone):
    """Raised if the connection was lost before the command was sent."""


class ExecChannel(asyncssh.SSHClientSession[bytes]):
    """A channel with a command whose output is collected. ``use``: the channel's place on a connection.

    A command with more than ``cap`` bytes on stdout, or ``STDERR_CAP`` on stderr, is killed.
    """

    def __init__(self, use: ConnectionUse, cap: int) -> None:
        self._use = use
        self._caps = {None: cap, asyncssh.EXTENDED_DATA_STDERR: STDERR_CAP}
        self._got: dict[int | None, bytearray] = {None: bytearray(), asyncssh.EXTENDED_DATA_STDERR: bytearray()}
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._given_up = False
        self._ended = asyncio.Event()
        self._error: Exception | None = None

    async def run(self, line: str, stdin: bytes) -> tuple[bytes, bytes, int]:
        """Run the command; return stdout, stderr, exit code (negative: a signal).

        Raises NoPlace if the server has no place for one more command, Lost if the connection was lost before the
        channel was open, Refused if the server opens no channels for the link's commands, Misread for too much output.
        Raises Unreachable if the server rejected the command, if the connection was lost while the channel was open, or
        if ``give_up`` was called.
        """
        # a small window, so that most of a too long answer is never sent
        window = min(WINDOW, max(LEAST_WINDOW, *self._caps.values()))
        channel, _ = await open_session(self._use, lambda: self, line, window)
        with contextlib.suppress(OSError):  # a command that ends without reading its input explains this itself
            channel.write(stdin)
            channel.write_eof()
        await self._ended.wait()
        if any(len(got) > self._caps[which] for which, got in self._got.items()):
            raise Misread("It answered with more than we take.")
        if self._given_up:  # the link itself has killed the command
            raise Unreachable("It was ended from here.")
        code = channel.get_returncode()
        if code is None:
            raise Unreachable(f"The connection to the site was lost meanwhile: {self._error or 'closed'}")
        return bytes(self._got[None]), bytes(self._got[asyncssh.EXTENDED_DATA_STDERR]), code

    def give_up(self) -> None:
        """Kill the command if it still runs, and close its channel.

        If the server does not support signals, the command only loses its input and output.
        """
        self._given_up = True
        if self._channel is not None and not self._ended.is_set():
            kill(self._channel)

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Store the open channel; asyncssh calls this method before it sends the command.

        If ``give_up`` was called already, close the channel.
        """
        self._channel = chan
        if self._given_up:
            chan.abort()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Collect the output; kill the command if its output is too long."""
        got = self._got[datatype]
        got += data
        if len(got) > self._caps[datatype]:
            self.give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the channel's place, and end the call of ``run``; asyncssh calls this when the channel is closed."""
        self._use.release()
        self._error = exc
        self._ended.set()


def kill(channel: asyncssh.SSHClientChannel[bytes]) -> None:
    """Kill the command, and close the channel."""
    with contextlib.suppress(OSError):
        channel.kill()  # sshd sends the signal to the command's whole process group
    channel.abort()


async def open_session(use: ConnectionUse, make: Callable[[], Any], line: str, window: int) -> tuple[Any, Any]:
    """Open a channel and run the command ``line`` in it; return asyncssh's channel and session.

    ``make``: returns a new session; ``window``: the channel's receive window in bytes. Raises NoPlace if the server has
    no place for one more command, Lost if the connection was lost before the channel was open, Refused if the server
    opens no channels for the link's commands. Raises Unreachable if the server rejected the command, or if the
    connection was lost while the channel was open.
    """
    begun = False

    def begin() -> Any:
        nonlocal begun
        begun = True
        return make()

    try:
        return await opened(
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


async def opened(opening: Awaitable[T], use: ConnectionUse) -> T:
    """Wait for a channel to open; return what ``opening`` returns.

    If the caller is cancelled meanwhile, the channel is closed as soon as it is open. If the channel cannot be opened,
    its place (``use``) is released.
    """
    task = asyncio.ensure_future(opening)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(lambda done: _abandon(done, use))
        raise
    except BaseException:
        use.release(opened=False)
        raise


def _abandon(done: asyncio.Future[Any], use: ConnectionUse) -> None:
    if done.cancelled() or done.exception() is not None:
        use.release(opened=False)
    else:
        done.result()[0].abort()
