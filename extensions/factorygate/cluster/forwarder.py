"""Two ends here that lead to a cluster's scheduler at another factory: a loopback port, and a socket for its pages.

Each connection is a WebSocket to the gateway, which hands its bytes to the door of the scheduler's job. Whoever
connects to the port from this node still needs the cluster's key; the socket is in a folder of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

import aiohttp

from factorygate.cluster.head import PIECE
from factorygate.link import SECONDS, Way

log = logging.getLogger("factorygate.cluster")


class Forwarder:
    """For one event loop."""

    def __init__(self, way: Way, cluster_id: str, pages: Path) -> None:
        self._way = way
        self._path = f"/clusters/{cluster_id}/wire"
        self._pages = pages
        self._http: aiohttp.ClientSession | None = None
        self._servers: list[asyncio.Server] = []

    async def open(self) -> str:
        """Listen; the address for a client, ``tls://127.0.0.1:PORT``."""
        connector = aiohttp.UnixConnector(self._way.socket) if self._way.socket else aiohttp.TCPConnector()
        self._http = aiohttp.ClientSession(
            connector=connector, headers=self._way.headers, trust_env=self._way.socket is None
        )
        port = await asyncio.start_server(self._carry, "127.0.0.1", 0, limit=PIECE)
        self._pages.unlink(missing_ok=True)
        self._servers = [port, await asyncio.start_unix_server(self._carry, str(self._pages), limit=PIECE)]
        self._pages.chmod(0o600)
        return f"tls://127.0.0.1:{port.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Listen no longer, and cut what is open."""
        for server in self._servers:
            server.close()
        self._pages.unlink(missing_ok=True)
        if self._http is not None:
            await self._http.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._http is None:
            return
        try:
            async with self._http.ws_connect(
                self._way.base + self._path, max_msg_size=0, timeout=aiohttp.ClientWSTimeout(ws_close=SECONDS)
            ) as wire:
                tasks = [asyncio.create_task(_out(reader, wire)), asyncio.create_task(_in(wire, writer))]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("No way to the cluster's scheduler: %s", error)
        finally:
            with contextlib.suppress(OSError):
                writer.close()


async def _out(reader: asyncio.StreamReader, wire: aiohttp.ClientWebSocketResponse) -> None:
    while piece := await reader.read(PIECE):
        await wire.send_bytes(piece)


async def _in(wire: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter) -> None:
    async for message in wire:
        if message.type is not aiohttp.WSMsgType.BINARY:
            return
        writer.write(message.data)
        await writer.drain()
