"""Channel data pass through asyncssh's connections with less work, and arrive whole whatever else happens on them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import SSHPacketLogger

from factorycommon import ssh_data_path
from factorycommon.read_buffer import ReadBuffer
from factorycommon.ssh_data_path import use_data_path

KEY = asyncssh.generate_private_key("ssh-ed25519")
GCM, OTHER = "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"
SECONDS = 60


class Echo(asyncssh.SSHServer):
    """A server that accepts any login, and sends back what comes through a channel."""

    def __init__(self, packet: int, window: int) -> None:
        self._options = {"max_pktsize": packet, "window": window}
        self.connection: asyncssh.SSHServerConnection

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn
        use_data_path(conn)

    def begin_auth(self, _username: str) -> bool:
        return False

    def connection_requested(self, *_args: object) -> Any:
        async def echo(reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
            while piece := await reader.read(1 << 20):
                writer.write(piece)
                await writer.drain()
            writer.write_eof()

        channel = self.connection.create_tcp_channel(encoding=None, **self._options)
        return channel, asyncssh.stream.SSHTCPStreamSession(echo)


class Client(asyncssh.SSHClient):
    """A client that uses the data path from the beginning."""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        use_data_path(conn)


@asynccontextmanager
async def connected(
    cipher: str = GCM, packet: int = 32 << 10, compression: str = "none", **options: Any
) -> AsyncIterator[tuple[asyncssh.SSHClientConnection, Echo]]:
    """Connect a client to a server in this process; yield the client's connection and the server."""
    servers: list[Echo] = []

    def make() -> Echo:
        servers.append(Echo(packet, 2 << 20))
        return servers[-1]

    common = {"encryption_algs": [cipher], "compression_algs": [compression]} | options
    acceptor = await asyncssh.listen("127.0.0.1", 0, server_factory=make, server_host_keys=[KEY], **common)
    try:
        async with asyncssh.connect(
            "127.0.0.1",
            acceptor.get_port(),
            client_factory=Client,
            username="someone",
            client_keys=None,
            known_hosts=None,
            config=None,
            **common,
        ) as connection:
            yield connection, servers[-1]
    finally:
        acceptor.close()


async def echoed(connection: asyncssh.SSHClientConnection, data: bytes, pieces: list[int]) -> bytes:
    """Send ``data`` in pieces of these sizes, then the rest; return what comes back."""
    reader, writer = await connection.open_connection("far", 1, encoding=None, window=1 << 20)

    async def send() -> None:
        at = 0
        for size in pieces:
            writer.write(data[at : at + size])
            await writer.drain()
            at += size
        writer.write(data[at:])
        writer.write_eof()

    sending = asyncio.create_task(send())
    async with asyncio.timeout(SECONDS):
        came = await reader.read(-1)
        await sending
    return came


@pytest.fixture
def by_asyncssh(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count by name and type the packets that asyncssh itself sends and receives, which it logs."""
    counts: Counter[str] = Counter()
    for name in ("log_sent_packet", "log_received_packet"):
        monkeypatch.setattr(SSHPacketLogger, name, _counting(counts, name))
    return counts


def _counting(counts: Counter[str], name: str) -> Callable[..., None]:
    def log(_self: object, pkttype: int, *_args: object) -> None:
        counts[f"{name} {pkttype}"] += 1

    return log


@pytest.mark.parametrize("packet", [1 << 10, 32 << 10, 256 << 10])
async def test_data_arrive_whole_and_none_take_the_long_way(packet: int, by_asyncssh: Counter[str]) -> None:
    rng = random.Random(packet)
    data = rng.randbytes(3 << 20)
    pieces = [rng.choice((1, 15, 16, 17, 1000, 40_000, 300_000)) for _ in range(40)]
    async with connected(packet=packet) as (connection, _):
        assert await echoed(connection, data, pieces) == data
    assert by_asyncssh["log_sent_packet 93"]  # for example packets that make a window larger
    assert by_asyncssh["log_sent_packet 94"] == by_asyncssh["log_received_packet 94"] == 0


async def test_many_channels_at_once_keep_their_data_apart() -> None:
    rng = random.Random(7)
    all_data = [rng.randbytes(200_000 + index) for index in range(20)]
    async with connected() as (connection, _):
        came = await asyncio.gather(*(echoed(connection, data, [1000, 70_000]) for data in all_data))
    assert came == all_data


async def test_keys_change_in_the_middle_of_a_transfer() -> None:
    data = random.Random(1).randbytes(8 << 20)
    async with connected(rekey_bytes=1 << 20) as (connection, server):
        ciphers = {id(server.connection._send_encryption): server.connection._send_encryption}
        changed = server.connection.send_newkeys

        def newkeys(*args: Any) -> None:
            changed(*args)
            ciphers[id(server.connection._send_encryption)] = server.connection._send_encryption

        server.connection.send_newkeys = newkeys  # type: ignore[method-assign]
        assert await echoed(connection, data, [100_000] * 20) == data
        assert len(ciphers) > 3


@pytest.mark.parametrize(("cipher", "compression"), [(OTHER, "none"), (GCM, "zlib@openssh.com")])
async def test_other_ciphers_and_compression_are_left_to_asyncssh(
    cipher: str, compression: str, by_asyncssh: Counter[str]
) -> None:
    data = random.Random(2).randbytes(1 << 20)
    async with connected(cipher, compression=compression) as (connection, _):
        assert await echoed(connection, data, [50_000]) == data
    assert by_asyncssh["log_sent_packet 94"] == by_asyncssh["log_received_packet 94"] >= 64


@pytest.mark.parametrize(("names", "received"), [("_NEEDED", 32), ("_NEEDED_OF_CHANNEL", 0)])
async def test_a_release_of_asyncssh_without_an_attribute_does_it_itself(
    names: str, received: int, by_asyncssh: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_data_path, names, (*getattr(ssh_data_path, names), "_renamed"))
    data = random.Random(5).randbytes(1 << 20)
    async with connected() as (connection, _):
        assert await echoed(connection, data, [50_000]) == data
    assert by_asyncssh["log_sent_packet 94"] >= 64
    assert by_asyncssh["log_received_packet 94"] >= received
    assert by_asyncssh["log_sent_packet 2"] == 0


async def test_a_closed_channel_is_freed_at_once() -> None:
    async with connected() as (connection, _):
        gc.collect()
        gc.disable()
        try:
            reader, writer = await connection.open_connection("far", 1, encoding=None)
            channel = weakref.ref(writer.channel)
            writer.write(b"hello")
            writer.write_eof()
            assert await reader.read() == b"hello"
            writer.close()
            await writer.wait_closed()
            del reader, writer
            await asyncio.sleep(0)
            assert channel() is None
        finally:
            gc.enable()


async def test_no_empty_messages_are_sent(by_asyncssh: Counter[str]) -> None:
    async with connected() as (connection, _):
        assert await echoed(connection, b"hello", []) == b"hello"
    assert by_asyncssh["log_received_packet 2"] == by_asyncssh["log_sent_packet 2"] == 0


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda packet: packet[:20] + bytes([packet[20] ^ 1]) + packet[21:], "MAC verification failed"),
        (lambda packet: packet[:-1] + bytes([packet[-1] ^ 1]), "MAC verification failed"),
    ],
)
async def test_a_changed_packet_ends_the_connection(
    change: Callable[[bytes], bytes], error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected() as (connection, server):
        lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(server, "connection_lost", lost.set_result, raising=False)
        _, writer = await connection.open_connection("far", 1, encoding=None)
        send = connection._send
        monkeypatch.setattr(connection, "_send", lambda data: send(change(data)))
        writer.write(b"some data that are long enough")
        async with asyncio.timeout(SECONDS):
            assert error in str(await lost)
            with contextlib.suppress(asyncssh.Error):
                await connection.wait_closed()


def forged(connection: Any, channel: int, content: bytes) -> None:
    """Send a packet with data for the server's channel ``channel``, whatever asyncssh knows of it."""
    connection.send_packet(94, channel.to_bytes(4, "big") + content)


@pytest.mark.parametrize(
    ("channel", "content", "error"),
    [
        (77, b"\0\0\0\x02hi", "Invalid channel number"),
        (0, b"\0\0\0\x09hi", "Incomplete packet"),
        (0, b"\0\0\0\x02hi and more", "Unexpected data at end of packet"),
        (0, b"\0\x20\0\x01" + bytes((2 << 20) + 1), "Window exceeded"),
        (0, b"", "Incomplete packet"),
    ],
)
async def test_a_hostile_packet_ends_the_connection_with_its_reason(
    channel: int, content: bytes, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected() as (connection, server):
        lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(server, "connection_lost", lost.set_result, raising=False)
        opened = await connection.open_connection("far", 1, encoding=None)
        assert opened
        assert list(server.connection._channels) == [0]
        server.connection._max_recv_pktlen = 4 << 20
        forged(connection, channel, content)
        async with asyncio.timeout(SECONDS):
            reason = await lost
        assert isinstance(reason, asyncssh.ProtocolError)
        assert error in str(reason)


async def test_a_packet_longer_than_allowed_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected() as (connection, server):
        lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(server, "connection_lost", lost.set_result, raising=False)
        connection._send((1 << 30).to_bytes(4, "big") + bytes(16))
        async with asyncio.timeout(SECONDS):
            assert "Max packet size exceeded" in str(await lost)


async def test_small_pieces_that_wait_are_joined() -> None:
    async with connected() as (connection, server):
        _, writer = await connection.open_connection("far", 1, encoding=None)
        [channel] = server.connection._channels.values()
        channel.pause_reading()
        for _ in range(5000):
            writer.write(b"a")
        async with asyncio.timeout(SECONDS):
            while channel._recv_window > (2 << 20) - 5000:
                await asyncio.sleep(0)
        assert [data for data, _ in channel._recv_buf] == [b"a" * 5000]
        channel.resume_reading()


async def test_a_side_that_accepts_only_some_bytes_a_packet_is_left(caplog: pytest.LogCaptureFixture) -> None:
    async with connected(packet=8) as (connection, _):
        _, writer = await connection.open_connection("far", 1, encoding=None)
        writer.write(bytes(1 << 20))
        async with asyncio.timeout(SECONDS):
            await connection.wait_closed()
    assert "accepts 8 bytes a packet" in caplog.text


@pytest.mark.parametrize(
    "part", [slice(None, 3), slice(2, 5), slice(-4, 9), slice(2, -1), slice(-20, 4), slice(5, 2), slice(4, 99)]
)
def test_an_input_buffer_is_sliced_as_bytes_are(part: slice) -> None:
    buffer = ssh_data_path._InputBuffer(b"012345")
    buffer += b"6789"
    assert buffer[part] == b"0123456789"[part]


@pytest.mark.parametrize("start", [0, 3, 10, 99, -4, -99])
def test_the_begin_of_an_input_buffer_is_cut_off_as_of_bytes(start: int) -> None:
    buffer = ssh_data_path._InputBuffer(b"012345")
    buffer += b"6789"
    rest = buffer[start:]
    assert rest is buffer
    assert bytes(buffer.view(0, 99)) == b"0123456789"[start:]
    assert len(buffer) == len(b"0123456789"[start:])


def test_a_buffer_gives_the_same_bytes_as_one_string() -> None:
    rng = random.Random(3)
    for _ in range(200):
        data, buffer, at, end = rng.randbytes(4000), ReadBuffer(), 0, 0
        while at < len(data):
            for _ in range(rng.randrange(3)):
                size = rng.randrange(1, 400)
                buffer.append(data[end : end + size])
                end = min(len(data), end + size)
            assert len(buffer) == end - at
            start, stop = sorted((rng.randrange(500), rng.randrange(500)))
            assert bytes(buffer.view(start, stop)) == data[at:end][start:stop]
            count = rng.randrange(500)
            buffer.skip(count)
            at = min(end, at + count)
