"""Clients close idle connections before servers do, since a request on a closing connection would be lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import uvicorn

from factorycommon.connections import IDLE_SECONDS
from factorygate.link import Link, LinkRoute
from factorylink.client import LinkClient


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer nothing, since the test only reads the server's settings."""


def test_the_server_waits_longer_than_the_clients() -> None:
    assert uvicorn.Config(app).timeout_keep_alive > IDLE_SECONDS + 1


async def test_the_next_request_after_a_pause_opens_a_connection_of_its_own(tmp_path: Path) -> None:
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(connections)
        connections.append(0)
        while await reader.readuntil(b"\r\n\r\n"):
            connections[number] += 1
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n[]")
            await writer.drain()

    socket = tmp_path / "link.sock"
    server = await asyncio.start_unix_server(serve, socket)
    client, link = LinkClient(socket), Link(LinkRoute("http://gateway", "token", str(socket)))
    for ask in (client.sessions, lambda: link._http.get("/")):
        for _ in range(3):  # a test that is held up between its requests makes a pause itself
            connections.clear()
            await ask()
            await ask()
            if connections == [2]:
                break
            await asyncio.sleep(IDLE_SECONDS + 0.1)
        assert connections == [2]
        await asyncio.sleep(IDLE_SECONDS + 0.1)  # the test measures this time
        await ask()
        assert connections == [2, 1]
    await client.close()
    await link.close()
    server.close()
