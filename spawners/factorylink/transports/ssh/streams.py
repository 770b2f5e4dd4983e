"""Byte streams over an SSH connection: to a port of a node, and to a command on the login host.

Measured alternatives: 200 MB through a door and a login host's sshd, on one machine with two busy cores; the best of
six runs, with the least CPU time of the link's own process:

    over a channel of asyncssh, as here          530 MB/s   0.29 s
    over OpenSSH (ControlMaster, -O forward)     460 MB/s   0.18 s
    to the door itself, without a login host    1010 MB/s   0.17 s

So an OpenSSH client for each account would save a third of the link's CPU time, but make no transfer faster. Each
client would need a process, a socket and key files on disk. uvloop and other sizes of packets or windows made no
reproducible difference; but over a real network at most one window of data is in transit at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import asyncssh

from factorycommon.models.plain import plain_text
from factorylink.errors import Refused, Unreachable
from factorylink.transports.base import StreamLog
from factorylink.transports.ssh.channels import PACKET, kill, open_session, opened
from factorylink.transports.ssh.pool import ConnectionUse

log = logging.getLogger(__name__)

WINDOW = 16 * 2**20  # bytes: 500 MB/s with a round trip of 30 ms
# seconds that a command gets to end by itself after its input has ended: if killed, srun leaves its step behind
KILL_WAIT = 2.0
SAID = 4096  # bytes of stderr that are kept for error messages


class _Passing:
    """The receiving side of a channel: it passes received data to the protocol that is connected to the stream.

    All packets of one turn of the event loop are passed on together, which takes fewer calls. OpenSSH sends at most
    32 KiB in a packet, so the larger packets of the door's own SSH connection arrive in pieces.
    """

    def __init__(self, use: ConnectionUse, protocol: Any) -> None:
        self._use = use
        self._protocol = protocol
        self._came: list[bytes] = []

    def connection_made(self, chan: Any) -> None:
        self._protocol.connection_made(chan)

    def session_started(self) -> None:
        """Do nothing: asyncssh calls this method, but asyncio's protocols have no such method."""

    def data_received(self, data: bytes, datatype: int | None) -> None:  # noqa: ARG002
        if not self._came:
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._came.append(data)

    def _hand_over(self) -> None:
        came, self._came = self._came, []
        if came:
            self._protocol.data_received(b"".join(came))

    def eof_received(self) -> bool | None:
        self._hand_over()
        return bool(self._protocol.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        self._use.release()
        self._hand_over()
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


class ForwardStream:
    """A stream to a TCP port, connected from the login host.

    The connection is opened when a protocol is connected to the stream. ``use``: the stream's place on an SSH
    connection; ``seconds``: the most time for opening the connection.
    """

    def __init__(self, use: ConnectionUse, host: str, port: int, seconds: float) -> None:
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
        """Open the connection to the port; return (channel, protocol).

        ``session_factory``: makes the protocol. ``remote_host`` and ``remote_port`` are ignored, since the stream has
        its own. Raises Refused if the site does not allow forwarded connections; Unreachable if the connection cannot
        be opened for any other reason, for example because the node refuses it or does not answer.
        """
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
                self._channel, _ = await opened(opening, self._use)
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
        """Close the channel; if it was never opened, release its place on the SSH connection."""
        if self._channel is not None:
            self._channel.abort()
        else:
            self._use.release(opened=False)


class EntryStream:
    """A stream to a command's stdin and stdout. The command is run when a protocol is connected to the stream.

    ``use``: the stream's place on an SSH connection; ``name``: names the command in log and errors; ``line``: the
    command as a line of shell code; ``seconds``: the most time until the command has begun.
    """

    def __init__(self, use: ConnectionUse, name: str, line: str, seconds: float) -> None:
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
        """Run the command, and connect a protocol to its stdin and stdout; return (transport, protocol).

        ``session_factory``: makes the protocol. ``remote_host`` and ``remote_port`` are ignored. The command's stderr
        goes to the log. When the connection ends without an error of its own, the protocol gets the last part of
        stderr, if there is any, as the error. Raises Refused if the site's server runs no commands for the link, and
        Unreachable if the command cannot be run for any other reason, for example because the server does not answer in
        time.
        """
        protocol = session_factory()
        try:
            async with asyncio.timeout(self._seconds):
                _, session = await open_session(
                    self._use, lambda: _Entry(self._use, protocol, self._name), self._line, WINDOW
                )
        except TimeoutError as error:
            raise Unreachable(f"{self._name} was not begun within {self._seconds:g} s.") from error
        self._ends = session.ends
        return self._ends, protocol

    def close(self) -> None:
        """Send end of file to the command, so that it ends.

        A command that has not ended ``KILL_WAIT`` seconds later is killed. If the command was never run, release its
        place on the SSH connection.
        """
        if self._ends is not None:
            self._ends.close()
        else:
            self._use.release(opened=False)


class _Ends:
    """A command's channel as a transport of asyncio.

    ``close`` sends end of file to the command; a command that has not ended ``KILL_WAIT`` seconds later is killed.
    """

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
            asyncio.get_running_loop().call_later(KILL_WAIT, kill, self._channel)

    abort = close


class _Entry(_Passing):
    def __init__(self, use: ConnectionUse, protocol: Any, name: str) -> None:
        super().__init__(use, protocol)
        self._name = name
        self._log = StreamLog(name)
        self._said = b""
        self.ends: _Ends

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self.ends = _Ends(chan)
        super().connection_made(self.ends)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is None:
            if not self.ends.closed:
                super().data_received(data, datatype)
        else:
            self._said = (self._said + data)[-SAID:]
            self._log.say(data)

    def eof_received(self) -> bool:
        return True  # the reason for the end arrives later

    def exit_status_received(self, status: int) -> None:
        log.info("%s ended with code %d", self._name, status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:  # noqa: ARG002
        log.info("%s was ended by signal %s", self._name, plain_text(signal, 40))

    def connection_lost(self, exc: Exception | None) -> None:
        words = plain_text(self._said.decode(errors="replace"))
        super().connection_lost(exc or (asyncssh.ConnectionLost(words) if words else None))
