"""A door that its own site account replaced by another program costs the link very little."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from factorylink.doors.connection import STATUSES_PER_MINUTE
from factorylink.doors.reverse_listener import BACK_MOST
from factorylink.errors import Misread
from tests.support.door import SESSION, until
from tests.unit.test_doorkeeper import Keeper

HUB = "/nowhere/hub.sock"
Say = Callable[["asyncssh.SSHServerProcess[bytes]"], Awaitable[None]]


def status(minute: int = 0) -> bytes:
    used = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    told = {"protocol": 1, "session": SESSION, "phase": "up", "notebook_sock": "/nowhere/n", "hub_sock": HUB}
    return json.dumps({**told, "last_activity": used.isoformat()}).encode() + b"\n"


class _Listener(asyncssh.SSHListener):
    def close(self) -> None:
        return

    async def wait_closed(self) -> None:
        return


class _Server(asyncssh.SSHServer):
    connections: list[asyncssh.SSHServerConnection]

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connections.append(conn)

    def begin_auth(self, _username: str) -> bool:
        return False

    def unix_server_requested(self, _path: str) -> asyncssh.SSHListener:
        return _Listener()


@asynccontextmanager
async def hostile(folder: Path, watch: Say, command: Say) -> AsyncIterator[tuple[Keeper, Any]]:
    """Run a DoorManager with an open, hostile door; yield the DoorManager and the list of the door's SSH connections.

    ``watch``: answers the command ``watch`` for the door; ``command``: answers each other command.
    """

    async def say(process: asyncssh.SSHServerProcess[bytes]) -> None:
        try:
            await (watch if process.command == "watch" else command)(process)
        except (OSError, asyncssh.Error):
            return

    key = asyncssh.generate_private_key("ssh-ed25519")
    connections: list[asyncssh.SSHServerConnection] = []
    factory = type("Server", (_Server,), {"connections": connections})
    listening = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=factory, server_host_keys=[key], process_factory=say, encoding=None
    )
    port = listening.sockets[0].getsockname()[1]
    told = {"protocol": 1, "session": SESSION, "job": "7", "port": port}
    (folder / "door.json").write_text(json.dumps({**told, "host_key": key.export_public_key().decode().strip()}))
    keeper = Keeper(folder)
    await keeper.begin(folder)
    try:
        await until(lambda: keeper.is_open(SESSION), what="open")
        yield keeper, connections
    finally:
        await keeper.shutdown()
        for connection in connections:
            connection.abort()
        listening.close()


async def honest(process: asyncssh.SSHServerProcess[bytes]) -> None:
    process.stdout.write(status())
    await asyncio.Event().wait()


async def flood(process: asyncssh.SSHServerProcess[bytes]) -> None:
    while True:
        for stream in (process.stdout, process.stderr):
            stream.write(b"x" * 65536)
        await process.stdout.drain()


async def test_an_answer_without_end_is_not_collected(tmp_path: Path) -> None:
    async with hostile(tmp_path, honest, flood) as (keeper, _):
        with pytest.raises(Misread, match="too much"):
            await keeper.token(SESSION)
        assert keeper.is_open(SESSION)


async def test_a_line_without_end_is_not_waited_for(tmp_path: Path) -> None:
    now = asyncio.Event()

    async def first_well(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.stdout.write(status())
        await now.wait()
        await flood(process)

    async with hostile(tmp_path, first_well, honest) as (keeper, _):
        now.set()
        await until(lambda: None in keeper.told, what="it is let go of")


async def test_an_endless_stream_of_messages_is_read_at_a_limited_rate(tmp_path: Path) -> None:
    said = asyncio.Event()

    async def chatter(process: asyncssh.SSHServerProcess[bytes]) -> None:
        for minute in range(20 * STATUSES_PER_MINUTE):
            process.stdout.write(status(minute))
        await process.stdout.drain()
        said.set()
        await asyncio.Event().wait()

    began = time.monotonic()
    async with hostile(tmp_path, chatter, honest) as (keeper, _):
        await said.wait()
        heard = STATUSES_PER_MINUTE // 3  # at once, after the first one
        await until(lambda: len(keeper.told) >= heard, what="what is heard at once")
        for _ in range(100):  # meanwhile the link's event loop can run
            await asyncio.sleep(0)
        due = (time.monotonic() - began) * STATUSES_PER_MINUTE / 60  # a busy machine may be slow
        assert len(keeper.told) <= 1 + heard + 1 + due


async def test_the_number_of_connections_back_is_limited(tmp_path: Path) -> None:
    async with hostile(tmp_path, honest, honest) as (keeper, connections):
        taken = asyncio.Semaphore(0)

        async def take(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            taken.release()
            await asyncio.Event().wait()

        async def back() -> asyncssh.SSHUNIXChannel[bytes]:
            channel, _ = await connections[0].create_unix_connection(asyncssh.SSHUNIXSession, HUB)
            return channel

        server = await asyncio.start_unix_server(take, keeper.back)
        open_ones = [await back() for _ in range(BACK_MOST)]
        with pytest.raises(asyncssh.ChannelOpenError, match="too many"):
            await back()
        open_ones[0].close()
        await open_ones[0].wait_closed()

        async def again() -> bool:
            try:
                await back()
            except asyncssh.ChannelOpenError:
                return False
            return True

        for _ in range(200):
            if await again():
                break
        else:
            raise AssertionError("a place that was given back is not to be had")
        server.close()
