"""Makes a scheduler at another factory reachable here, at a port for clients and at a Unix socket for Dask's pages.

The port listens on the loopback address. The bytes of each connection go through a WebSocket to the gateway, which
passes them on to the door of the scheduler's job. A program on this node that connects to the port still needs the
cluster's key; the Unix socket is in a folder that only this account can enter. A client's connection to the port
continues when doors, links or networks are interrupted (``resumable_stream``).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import aiohttp

from factorycommon.read_buffer import ReadBuffer
from factorygate.cluster import resumable_stream
from factorygate.cluster.resumable_stream import ResumableStream
from factorygate.link import SECONDS, LinkRoute

log = logging.getLogger("factorygate.cluster")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two tries
# statuses while a link or door is unavailable for a moment; a proxy without its service also answers 503
_PASSING = (502, 503, 504)


class Forwarder:
    """Forwards connections of programs on this node to a cluster's scheduler at another factory.

    ``pages``: path of the Unix socket that this class makes on this node for connections to the scheduler's pages.
    """

    def __init__(self, route: LinkRoute, cluster_id: str, pages: Path) -> None:
        self._route = route
        self._path = f"/clusters/{cluster_id}/wire"
        self._pages = pages
        self._http: aiohttp.ClientSession | None = None
        self._servers: list[asyncio.Server] = []
        self._clients: set[asyncio.Task[None]] = set()

    async def open(self) -> str:
        """Listen at a free port and at the Unix socket; return the port's address, ``tls://127.0.0.1:PORT``.

        The address is for clients. Raises OSError if one of the two cannot be opened; then neither listens.
        """
        connector = aiohttp.UnixConnector(self._route.socket) if self._route.socket else aiohttp.TCPConnector()
        self._http = aiohttp.ClientSession(
            connector=connector, headers=self._route.headers, trust_env=self._route.socket is None
        )
        try:
            # Each server is kept before it listens, so that ``close`` also closes it if this call is cancelled then.
            loop = asyncio.get_running_loop()
            port = await loop.create_server(self._accept, "127.0.0.1", 0, start_serving=False)
            self._servers.append(port)
            self._pages.unlink(missing_ok=True)
            served = await asyncio.start_unix_server(
                self._page, str(self._pages), limit=resumable_stream.PIECE, start_serving=False
            )
            self._servers.append(served)
            self._pages.chmod(0o600)
            for server in self._servers:
                await server.start_serving()
        except BaseException:
            await self.close()
            raise
        return f"tls://127.0.0.1:{port.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Stop listening, and close open connections."""
        for server in self._servers:
            server.close()
        with suppress(OSError):
            self._pages.unlink(missing_ok=True)
        if self._http is not None:
            await self._http.close()

    def _accept(self) -> ResumableStream:
        """Begin to serve one client; return the protocol of its connection."""
        stream = ResumableStream()
        task = asyncio.get_running_loop().create_task(self._client(stream))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        return stream

    async def _client(self, stream: ResumableStream) -> None:
        """Exchange one client's bytes with the scheduler; whenever the connection breaks, continue over a new one.

        Close the client's connection if the gateway refuses, if the scheduler's side has ended the stream, or after
        ``resumable_stream.PATIENCE`` seconds without a connection.
        """
        id, pause = secrets.token_bytes(16), FIRST_PAUSE
        deadline = asyncio.get_running_loop().time() + resumable_stream.PATIENCE
        try:
            while not stream.over.is_set() and asyncio.get_running_loop().time() < deadline:
                try:
                    async with self._connected() as socket:
                        await socket.write(resumable_stream.HELLO.pack(resumable_stream.MAGIC, id, stream.taken))
                        [theirs] = resumable_stream.COUNT.unpack(await socket.read(resumable_stream.COUNT.size))
                        if theirs == resumable_stream.UNKNOWN:
                            return
                        pause, deadline = FIRST_PAUSE, float("inf")
                        await stream.carry(socket, theirs)
                except (aiohttp.ClientError, OSError, EOFError, TimeoutError) as error:
                    now = asyncio.get_running_loop().time()
                    if isinstance(error, aiohttp.WSServerHandshakeError) and error.status not in _PASSING:
                        log.warning("The gateway does not let us through to the scheduler: %s", error)
                        return
                    log.info("The way to the cluster's scheduler is tried again: %s", error or type(error).__name__)
                    deadline = min(deadline, now + resumable_stream.PATIENCE)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            stream.close()

    async def _page(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one connection to Dask's pages. If the connection breaks, the browser has to repeat its request."""
        try:
            async with self._connected() as stream:
                tasks = [asyncio.create_task(_out(reader, stream)), asyncio.create_task(_in(stream, writer))]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.info("No way to the scheduler's pages: %s", error)
        finally:
            writer.close()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_SocketStream]:
        if self._http is None:
            raise OSError("closed")
        limits = aiohttp.ClientWSTimeout(ws_close=SECONDS)
        url = self._route.base + self._path
        async with self._http.ws_connect(url, max_msg_size=0, timeout=limits, heartbeat=SECONDS) as socket:
            yield _SocketStream(socket)


class _SocketStream:
    """Reads and writes a WebSocket as one stream of bytes, with the methods of ``resumable_stream.Carrier``."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._came = ReadBuffer()

    async def some(self) -> bytes:
        """Return the bytes of the next message. Raises EOFError if the connection is closed or broken."""
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise EOFError("The gateway closed the way.")
        return bytes(message.data)

    async def read(self, count: int) -> bytes:
        while len(self._came) < count:
            self._came.append(await self.some())
        found = bytes(self._came.view(0, count))
        self._came.skip(count)
        return found

    async def write(self, data: bytes | memoryview) -> None:
        await self._socket.send_bytes(cast(bytes, data))  # aiohttp takes views as well


async def _out(reader: asyncio.StreamReader, stream: _SocketStream) -> None:
    while piece := await reader.read(resumable_stream.PIECE):
        await stream.write(piece)


async def _in(stream: _SocketStream, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(await stream.some())
        await writer.drain()
