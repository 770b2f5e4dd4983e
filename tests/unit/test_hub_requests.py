"""Requests to the hub's socket of a job end with their link, and leave nothing when one side is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import asyncssh
import pytest
import pytest_asyncio

from factorygate.session import door as doors
from factorygate.session.door import Door
from factorygate.session.session import JobSession

KEY = asyncssh.generate_private_key("ssh-ed25519")
SECONDS = 20


class Link:
    """A link's connection, which opens a channel as the test says."""

    def __init__(self, opens: Any) -> None:
        self.create_unix_connection = opens


@pytest_asyncio.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    status = SimpleNamespace(hub_sock=str(tmp_path / "hub.sock"), notebook_sock=str(tmp_path / "notebook.sock"))
    made = Door(cast(JobSession, SimpleNamespace(status=status)), KEY.export_public_key().decode().split()[1])
    await made.open(doors.bind("127.0.0.1", None))
    yield made
    await made.close(0.1)


async def asked(door: Door) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(door.session.status.hub_sock)


@pytest.mark.parametrize("error", [AssertionError(), ValueError("extra bytes"), asyncssh.ConnectionLost("gone")])
async def test_a_request_whose_channel_cannot_be_opened_is_closed(door: Door, error: Exception) -> None:
    async def opens(*_args: object, **_options: object) -> None:
        raise error

    door.take_link(cast(asyncssh.SSHServerConnection, Link(opens)))
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # an unexpected error is logged
    reader, writer = await asked(door)
    async with asyncio.timeout(SECONDS):
        assert await reader.read() == b""
    writer.close()


async def test_the_channel_of_a_client_that_left_meanwhile_is_closed(door: Door) -> None:
    requested, closed = asyncio.Event(), asyncio.Event()
    left = asyncio.Event()

    async def opens(make: Any, *_args: object, **_options: object) -> None:
        requested.set()
        await left.wait()
        far = make()
        far.connection_made(SimpleNamespace(close=closed.set, get_extra_info=lambda _name: None))

    door.take_link(cast(asyncssh.SSHServerConnection, Link(opens)))
    _, writer = await asked(door)
    async with asyncio.timeout(SECONDS):
        await requested.wait()
        writer.close()
        await writer.wait_closed()
        left.set()
        await closed.wait()
