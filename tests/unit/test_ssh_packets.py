"""Packets of an SSH connection are sent together, in order, and none after the end; and they are received together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

import asyncssh
import pytest
import pytest_asyncio

from factorylink.transports.ssh.packets import GatheringSocket, GatheringTransport
from factorylink.transports.ssh.pool import ConnectionUse
from factorylink.transports.ssh.streams import ForwardStream

KEY = asyncssh.generate_private_key("ssh-ed25519")
PACKET = 32 << 10  # the largest packet that OpenSSH accepts
MANY = 16


class Written:
    """A transport that stores each write separately."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def writelines(self, pieces: Iterable[bytes]) -> None:
        assert not self.closed
        self.writes.append(b"".join(pieces))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def gathering() -> tuple[Written, GatheringTransport]:
    written = Written()
    return written, GatheringTransport(cast(asyncio.Transport, written))


async def turn() -> None:
    await asyncio.sleep(0)


async def test_writes_of_one_turn_of_the_loop_are_joined() -> None:
    written, transport = gathering()
    for piece in (b"a", b"b", b"c"):
        transport.write(piece)
    assert written.writes == []
    await turn()
    transport.write(b"d")
    await turn()
    await turn()
    assert written.writes == [b"abc", b"d"]


async def test_only_data_written_before_the_end_are_sent() -> None:
    written, transport = gathering()
    transport.write(b"goodbye")
    transport.close()
    transport.write(b"late")
    await turn()
    assert (written.writes, written.closed) == ([b"goodbye"], True)


class Open(asyncssh.SSHServer):
    """A server that accepts any login, and connects clients to a service that reads."""

    def begin_auth(self, _username: str) -> bool:
        return False

    def connection_requested(self, *_args: object) -> Any:
        async def read(reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
            size = 0
            while piece := await reader.read(PACKET):
                size += len(piece)
            writer.write(str(size).encode())
            writer.close()

        channel = self.connection.create_tcp_channel(encoding=None, max_pktsize=PACKET, window=1 << 24)
        return channel, asyncssh.stream.SSHTCPStreamSession(read)

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    server = await asyncssh.listen("127.0.0.1", 0, server_factory=Open, server_host_keys=[KEY])
    yield server.get_port()
    server.close()


async def test_many_packets_go_to_a_login_host_in_one_write(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    flush = GatheringTransport._flush

    def flushed(self: GatheringTransport) -> None:
        if self._gathered:
            writes.append(sum(map(len, self._gathered)))
        flush(self)

    monkeypatch.setattr(GatheringTransport, "_flush", flushed)
    async with asyncssh.connect(
        "127.0.0.1", port, tunnel=GatheringSocket(), username="someone", client_keys=None, known_hosts=None, config=None
    ) as connection:
        reader, writer = await connection.open_connection("far", 1, encoding=None)
        writes.clear()
        writer.write(bytes(MANY * PACKET))
        writer.write_eof()
        assert await reader.read() == str(MANY * PACKET).encode()
    assert max(writes) > MANY * PACKET


class Login:
    """A connection to a login host, whose only channel the test simulates."""

    def __init__(self) -> None:
        self.connection = self
        self.session: Any = None

    async def create_connection(self, make: Any, *_args: object, **_options: object) -> tuple[None, Any]:
        self.session = make()
        return None, self.session

    def release(self, opened: bool = True) -> None:
        assert opened


class Heard:
    """Records the calls of a protocol that is bound to a stream."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> None:
        self.told.append(b"<end>")

    def connection_lost(self, _exc: Exception | None) -> None:
        self.told.append(b"<lost>")


async def test_data_of_one_turn_of_the_loop_are_passed_on_together_before_the_end() -> None:
    login, heard = Login(), Heard()
    await ForwardStream(cast(ConnectionUse, login), "node", 22, 10).create_connection(lambda: heard, "", 0)
    for piece in (b"a", b"b", b"c"):
        login.session.data_received(piece, None)
    await turn()
    login.session.data_received(b"d", None)
    login.session.eof_received()
    login.session.data_received(b"e", None)
    login.session.connection_lost(None)
    await turn()
    assert heard.told == [b"abc", b"d", b"<end>", b"e", b"<lost>"]
