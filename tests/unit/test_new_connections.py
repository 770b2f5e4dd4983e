"""A new connection is not read before its protocol wants it, under each release of Python."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from factorycommon import new_connections
from factorycommon.new_connections import read_later


class OldTransport:
    """A transport as of Python 3.11.2: it begins to read after ``connection_made``, paused or not."""

    def __init__(self) -> None:
        self.paused = self.reads = False

    def begin(self) -> None:
        self.reads = True

    def pause_reading(self) -> None:
        if not self.paused:
            self.paused, self.reads = True, False

    def resume_reading(self) -> None:
        if self.paused:
            self.paused, self.reads = False, True


async def test_a_pause_holds_where_python_begins_to_read_in_spite_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_connections, "_KEEPS_PAUSE", False)
    transport = OldTransport()
    loop = asyncio.get_running_loop()
    loop.call_soon(read_later, cast(asyncio.Transport, transport))
    loop.call_soon(transport.begin)
    await asyncio.sleep(0)
    assert transport.reads  # nothing was read yet: that takes another turn of the loop
    await asyncio.sleep(0)
    assert transport.paused
    assert not transport.reads


async def test_a_real_connection_is_read_after_resume_only() -> None:
    received: list[bytes] = []
    made: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    class Late(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            read_later(cast(asyncio.Transport, transport))
            made.set_result(cast(asyncio.Transport, transport))

        def data_received(self, data: bytes) -> None:
            received.append(data)
            made.result().close()

    server = await asyncio.get_running_loop().create_server(Late, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"early")
    transport = await made
    for _ in range(20):
        await asyncio.sleep(0)
    assert received == []
    transport.resume_reading()
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    assert received == [b"early"]
    writer.close()
    server.close()
