"""Makes an SSH connection write its packets with as few system calls as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast


class GatheringSocket:
    """An object for the argument ``tunnel`` of ``asyncssh.connect``: connects directly to a host, and joins writes.

    All packets of one turn of the event loop are written together, since a system call costs more than a packet.
    """

    async def create_connection(
        self, session_factory: Callable[[], Any], remote_host: str, remote_port: int
    ) -> tuple[Any, Any]:
        """Connect to the host; return the transport and the SSH connection, as asyncssh expects. Raises OSError."""
        transport, protocol = await asyncio.get_running_loop().create_connection(
            lambda: _Connected(session_factory()), remote_host, remote_port
        )
        return transport, protocol.connection


class _Connected(asyncio.Protocol):
    """Passes a socket to an SSH connection as soon as the socket is connected."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        socket = cast(asyncio.Transport, transport)
        socket.set_protocol(self.connection)
        self.connection.connection_made(GatheringTransport(socket))


class GatheringTransport:
    """A transport that collects the data of one turn of the event loop, and writes them together after this turn."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._gathered: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write ``data`` when this turn of the event loop is over."""
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._flush)
        self._gathered.append(data)

    def close(self) -> None:
        """Write the buffered data, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered and not self._transport.is_closing():
            self._transport.writelines(gathered)
