"""Listens on one port for each session, and forwards its connections to the notebook's socket on its node.

Bytes are forwarded unchanged. The port is on the loopback interface, or it accepts only clients with a certificate
(``LinkConfig.tls``). Both sides are asyncio protocols, not streams: a byte is copied once, each side stops reading
while the other is slow, and an end of file in one direction is passed on while the other direction continues (a
download lasts longer than its request).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import cast

import asyncssh

from factorycommon.new_connections import read_later
from factorycommon.service.tls_server import BoundedTlsServer, listening_socket
from factorylink.errors import FactoryError
from factorylink.util.metrics import Traffic

log = logging.getLogger("factorylink")

DOOR_WAIT = 10.0  # seconds that a connection waits while its door is being reconnected

Channel = asyncssh.SSHUNIXChannel[bytes]
# The type of functions that open a channel to the notebook for a FarSide. They raise FactoryError, asyncssh.Error,
# OSError or TimeoutError.
Connect = Callable[[Callable[[], "FarSide"]], Awaitable[object]]


class FarSide(asyncssh.SSHUNIXSession[bytes]):
    """The notebook's side of a forwarded connection: an SSH channel through the job's door to the notebook's socket."""

    def __init__(self, near: NearSide) -> None:
        self._near = near
        self.channel: Channel | None = None
        self.traffic: Traffic | None = None  # counts the forwarded bytes

    def connection_made(self, chan: Channel) -> None:
        """Keep the open channel for the transfer; close the channel if the client has disconnected meanwhile."""
        if self._near.closing:
            chan.close()
        else:
            self.channel = chan

    def data_received(self, data: bytes, _datatype: asyncssh.DataType) -> None:
        """Pass bytes from the notebook to the client."""
        if self.traffic is not None:
            self.traffic.from_notebook.inc(len(data))
        self._near.write(data)

    def eof_received(self) -> bool:
        """Pass the notebook's end of file on to the client. With TLS, the other direction is closed, too."""
        self._near.write_eof()
        return True

    def pause_writing(self) -> None:
        """Stop reading from the client, because the door is slower."""
        self._near.pause()

    def resume_writing(self) -> None:
        """Resume reading from the client, because the door has caught up."""
        self._near.resume()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Close the client's connection when the channel, or the whole connection to the door, is closed."""
        self.channel = None
        self._near.close()


class NearSide(asyncio.Protocol):
    """The client's side of a forwarded connection: the connection of the proxy or the hub to the port."""

    def __init__(self, port: SessionPort) -> None:
        self._port = port
        self._far = FarSide(self)
        self._task: asyncio.Task[None] | None = None
        self.closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to open the channel to the notebook; nothing is read from the client until the channel is open."""
        self._transport = cast(asyncio.Transport, transport)
        read_later(self._transport)
        self._port.near.add(self)
        self._task = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(DOOR_WAIT):
                await self._port.connect(lambda: self._far)
        except (FactoryError, asyncssh.Error, OSError, TimeoutError) as error:
            log.debug("Nothing behind port %d: %s", self._port.port, error)
            self.close()
            return
        if not self.closing:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Pass bytes from the client to the notebook."""
        if self._far.channel is not None:
            # the client disconnected; its earlier bytes may still be in transit
            with contextlib.suppress(BrokenPipeError):
                self._far.channel.write(data)
            if self._far.traffic is not None:
                self._far.traffic.to_notebook.inc(len(data))

    def eof_received(self) -> bool:
        """Pass the client's end of file on to the notebook. With TLS, the other direction is closed, too."""
        if self._far.channel is not None:
            self._far.channel.write_eof()
        return True

    def pause_writing(self) -> None:
        """Stop reading from the notebook, because the client is slower."""
        if self._far.channel is not None:
            self._far.channel.pause_reading()

    def resume_writing(self) -> None:
        """Resume reading from the notebook, because the client has caught up."""
        if self._far.channel is not None:
            self._far.channel.resume_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Close the channel when the client has disconnected."""
        self.closing = True
        self._port.near.discard(self)
        if self._task is not None:
            self._task.cancel()
        if self._far.channel is not None:
            self._far.channel.close()

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        self._transport.write(data)

    def write_eof(self) -> None:
        """Send an end of file to the client.

        A connection with TLS is closed in both directions, because asyncio cannot close only one direction of TLS. With
        HTTP, nothing is lost, because the notebook's end of file comes after the complete response. If the client has
        disconnected, no error is raised, because an error in a channel would close the whole connection to the door.
        """
        if not self._transport.can_write_eof():
            self.close()
        elif not self._transport.is_closing():
            try:
                self._transport.write_eof()
            except OSError:
                self._transport.abort()

    def pause(self) -> None:
        """Stop reading from the client."""
        if not self.closing:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Start reading from the client again."""
        if not self.closing:
            self._transport.resume_reading()

    def close(self) -> None:
        """Send the buffered bytes, then close the connection."""
        self.closing = True
        self._transport.close()


class SessionPort:
    """Listens on the link's port for one session, and forwards each connection to the session's notebook.

    The port is open as long as the link knows the session, even while the session's door is not connected. ``connect``:
    opens a channel to the notebook, and is called for each connection; ``tls``: None for a port without TLS.
    """

    def __init__(self, host: str, port: int, connect: Connect, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.connect = connect
        self._host = host
        self._tls = tls
        self.near: set[NearSide] = set()
        self._server: asyncio.Server | BoundedTlsServer | None = None

    async def listen(self) -> None:
        """Listen on the port. Raises OSError if the port is taken."""
        if self._tls is not None:
            self._server = BoundedTlsServer(lambda: NearSide(self), listening_socket(self._host, self.port), self._tls)
            return
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: NearSide(self), self._host, self.port, backlog=256)

    def close(self) -> None:
        """Stop listening, and close every connection."""
        if self._server is not None:
            self._server.close()
        for near in list(self.near):
            near.close()
