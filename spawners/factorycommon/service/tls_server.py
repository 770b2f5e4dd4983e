"""TLS servers that limit what strangers can cost: each unfinished handshake holds 256 KiB in asyncio.

asyncio's own server accepts all connections as fast as they come. The server here accepts a few connections at a time,
and drops those that do not finish their handshake in time. If too many handshakes of the process are unfinished, the
server takes the address that has the most of them, and drops this address's oldest one, so that clients from other
addresses still get in.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial

from factorycommon.tls import HANDSHAKE_SECONDS

log = logging.getLogger(__name__)

MOST_UNFINISHED = 500  # maximum number of unfinished handshakes in the process
SHUTDOWN_SECONDS = 0.5  # seconds for a client to close its side of a connection
_AT_ONCE = 16  # connections that are accepted in one turn of the event loop
_NO_FILES_SECONDS = 0.5  # pause after the process has run out of file descriptors
_BACKLOG = 2048


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a TCP socket that listens at this address. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


class BoundedTlsServer:
    """A server on a listening socket; it accepts connections as soon as it is created.

    ``factory``: makes the protocol for a client; the protocol's ``connection_made`` is called after the TLS handshake.
    ``close`` drops unfinished handshakes; established connections continue.
    """

    def __init__(self, factory: Callable[[], asyncio.BaseProtocol], sock: socket.socket, tls: ssl.SSLContext) -> None:
        self._factory = factory
        self._sock = sock
        self._tls = tls
        self._handshakes: set[asyncio.Task[None]] = set()
        sock.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Stop accepting connections and drop unfinished handshakes.

        From now on another server may listen on the port.
        """
        self._accepting.cancel()
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
        for handshake in self._handshakes:
            handshake.cancel()

    async def wait_closed(self) -> None:
        """Wait, after ``close``, until the socket is closed and no handshake is unfinished."""
        await asyncio.wait({self._accepting, *self._handshakes})

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                for _ in range(_AT_ONCE):
                    try:
                        connection, address = await loop.sock_accept(self._sock)
                    except ConnectionError:
                        continue
                    except OSError as error:
                        log.warning("No connection can be accepted: %s", error)
                        await asyncio.sleep(_NO_FILES_SECONDS)
                        break
                    handshake = loop.create_task(self._shake_hands(connection))
                    handshake.add_done_callback(partial(_close_if_cancelled, connection))
                    self._handshakes.add(handshake)
                    handshake.add_done_callback(self._handshakes.discard)
                    _unfinished.add(str(address[0]), handshake)
                await asyncio.sleep(0)
        finally:
            self._sock.close()

    async def _shake_hands(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                self._factory,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except OSError as error:
            log.debug("A client is not let in: %s", error)


def _close_if_cancelled(connection: socket.socket, handshake: asyncio.Task[None]) -> None:
    """Close the connection of a handshake that was cancelled; nothing else closes it if the task had not begun."""
    if handshake.cancelled():
        connection.close()


class _Unfinished:
    """The unfinished handshakes of all servers in the process, by address and with the oldest first."""

    def __init__(self) -> None:
        self._of: dict[str, dict[asyncio.Task[None], None]] = {}
        self._count = 0

    def add(self, address: str, handshake: asyncio.Task[None]) -> None:
        """Add a handshake that a client at ``address`` has begun.

        If the process then has more than ``MOST_UNFINISHED`` unfinished handshakes, cancel the oldest one of the
        address that has the most unfinished handshakes.
        """
        self._of.setdefault(address, {})[handshake] = None
        self._count += 1
        handshake.add_done_callback(lambda done: self._discard(address, done))
        if self._count > MOST_UNFINISHED:
            of = max(self._of, key=lambda one: len(self._of[one]))
            oldest = next(iter(self._of[of]))
            oldest.cancel()
            self._discard(of, oldest)

    def _discard(self, address: str, handshake: asyncio.Task[None]) -> None:
        mine = self._of.get(address, {})
        if handshake in mine:
            del mine[handshake]
            self._count -= 1
        if not mine:
            self._of.pop(address, None)


_unfinished = _Unfinished()
