"""The link's DoorManager, with real doors in separate processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from factorylink.config import LinkConfig
from factorylink.config import LocalTransportSettings as LocalSettings
from factorylink.doors import connection, port_forwarder
from factorylink.doors.manager import OPENING_AT_ONCE, DoorManager
from factorylink.doors.protocol import DoorStatus
from factorylink.errors import Refused, Unreachable
from factorylink.transports.base import ByteStream, Transport
from factorylink.transports.local import LocalTransport
from factorylink.util import metrics
from tests.support.door import ARGV, ENVIRONMENT, PATIENCE, SESSION, Files, RunningDoor, fetch, running_door, until, way

KEY = asyncssh.generate_private_key("ssh-ed25519")
# a separate range for each process
FIRST = 21000 + 100 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = (FIRST, FIRST + 99)
both = pytest.mark.parametrize("carrier", [(), ("--stdio",)], ids=["tcp", "stdio"])


class Keeper(DoorManager):
    """A DoorManager that records the statuses that it reports.

    ``told``: all of them; None: the connection to the door was lost, or there was a new reason why it cannot be made.
    """

    def __init__(self, folder: Path, **access: object) -> None:
        config = LinkConfig.model_validate(
            {
                "catalogue": folder,
                "state_dir": folder,
                "socket": folder / "link.sock",
                "session_ports": PORTS,
                "hub": {"token_file": folder / "token"},
                "factories": {"here": {"account_pool": ["someone"], "door": access}},
            }
        )
        self.told: list[DoorStatus | None] = []
        self._access = access
        self.back = folder / "back.sock"
        super().__init__(config, KEY, lambda _, status: self.told.append(status), self.back)
        self.port = 0

    async def begin(self, folder: Path, node: str | None = "127.0.0.1", transport: Transport | None = None) -> None:
        """Listen on the port, and keep the door of that session's folder open."""
        self.port = self.allocate(set())
        await self.bind(SESSION, self.port)
        await self.open(way(folder, node, transport, **self._access))

    async def get(self, path: str) -> bytes:
        """Return the body of an answer at the session's port."""
        return (await fetch(*await self.connect(), path)).partition(b"\r\n\r\n")[2]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the session's port; return the connection's reader and writer."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def phase(self, phase: str) -> None:
        """Wait until the door has reported that phase."""
        await until(lambda: any(s is not None and s.phase == phase for s in self.told), what=phase)


@asynccontextmanager
async def kept(door: RunningDoor, **access: object) -> AsyncIterator[Keeper]:
    carrier = "stdio" if "socket" in door.file("door.json") else "tcp"
    keeper = Keeper(door.folder.parent, carrier=carrier, node_tmp=str(door.folder.parent), **access)
    await keeper.begin(door.folder)
    try:
        await until(lambda: keeper.is_open(SESSION), what="open")
        yield keeper
    finally:
        await keeper.shutdown()


async def start(keeper: Keeper) -> None:
    await keeper.send_environment(SESSION, ENVIRONMENT, ARGV)
    await keeper.phase("up")


class Relay:
    """A TCP relay that can be cut like a network."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._writers: list[asyncio.StreamWriter] = []
        self.silent = False

    async def listen(self, port: int = 0) -> int:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", port)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, far_writer]

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    def cut(self) -> None:
        """Close all connections through the relay, and accept no new ones."""
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@both
async def test_carries_a_session_from_door_to_end(carrier: tuple[str, ...]) -> None:
    async with running_door(*carrier, key=KEY) as door, kept(door) as keeper:
        assert keeper.told[0] is not None
        assert keeper.told[0].phase == "waiting"
        assert not await keeper.answers(SESSION, "/user/u/api")
        assert await keeper.token(SESSION) is None
        await start(keeper)
        assert await keeper.answers(SESSION, "/user/u/api")
        assert not await keeper.answers(SESSION, "/user/u/nothing")
        assert json.loads(await keeper.get("/env"))["JUPYTERHUB_API_TOKEN"] == await keeper.token(SESSION)
        with pytest.raises(Refused, match="another environment"):
            await keeper.send_environment(SESSION, {}, ["x"])
        await keeper.stop(SESSION)
        await keeper.phase("ended")
        assert await door.exit() == 0
        await until(lambda: not keeper.is_open(SESSION), what="closed")
        assert keeper.told[-1] is None
        with pytest.raises(Unreachable):
            await keeper.token(SESSION)


@both
async def test_a_large_transfer_arrives_and_each_direction_closes_by_itself(carrier: tuple[str, ...]) -> None:
    async with running_door(*carrier, key=KEY) as door, kept(door) as keeper:
        await start(keeper)
        assert len(await keeper.get("/big")) == 32 << 20
        reader, writer = await keeper.connect()
        writer.write(b"GET /echo HTTP/1.1\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        sent = b"0123456789abcdef" * 65536 * 4  # more than any window: both directions must continue together

        async def send() -> None:
            writer.write(sent)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        echoed = await reader.read(-1)
        await sending
        assert echoed == sent + b"end:%d" % len(sent)
        writer.close()


@both
async def test_a_slow_reader_stops_the_notebook_not_the_link(carrier: tuple[str, ...]) -> None:
    async with running_door(*carrier, key=KEY) as door, kept(door) as keeper:
        await start(keeper)
        with socket.socket() as slow:
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, ("127.0.0.1", keeper.port))
            await loop.sock_sendall(slow, b"GET /big HTTP/1.1\r\n\r\n")
            near = await until(lambda: next(iter(keeper._ports[SESSION].near), None))
            # Other connections work meanwhile, although nothing more is read for the slow one.
            for _ in range(20):
                assert await keeper.answers(SESSION, "/user/u/api")
            assert near._transport.get_write_buffer_size() < 6 << 20
            got = 0
            while data := await loop.sock_recv(slow, 1 << 20):
                got += len(data)
                if got > 32 << 20:
                    break
            assert got > 32 << 20


async def test_a_client_that_still_sends_gets_the_notebooks_whole_answer() -> None:
    async with running_door(key=KEY) as door, kept(door) as keeper:
        await start(keeper)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, ("127.0.0.1", keeper.port))
            await loop.sock_sendall(slow, b"GET /big HTTP/1.1\r\n\r\n")
            near = await until(lambda: next(iter(keeper._ports[SESSION].near), None))
            near._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
            got = b""
            while len(got) < 30 << 20:  # the rest fits into the channel's window
                got += await loop.sock_recv(slow, 1 << 20)
            channel = near._far.channel
            while channel._send_state == "open":
                await loop.sock_sendall(slow, b"x")
                await asyncio.sleep(0.02)
            await loop.sock_sendall(slow, b"x")
            while data := await loop.sock_recv(slow, 1 << 20):
                got += data
            assert len(got.partition(b"\r\n\r\n")[2]) == 32 << 20


async def test_a_client_that_disconnects_breaks_no_other_connection() -> None:
    """A page that is closed aborts its request. Its other connections, and those of other pages, go on."""
    async with running_door(key=KEY) as door, kept(door) as keeper:
        await start(keeper)
        reader, writer = await keeper.connect()
        writer.write(b"GET /echo HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        staying = set(keeper._ports[SESSION].near)
        leaving, leaver = await keeper.connect()
        leaver.write(b"GET /hold HTTP/1.1\r\n\r\n")
        await leaving.readuntil(b"\r\n\r\n")
        (near,) = keeper._ports[SESSION].near - staying
        near.pause()  # simulates a slow notebook: then it is not noticed that the client has disconnected
        leaver.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leaver.transport.abort()
        assert await keeper.get("/drop") == b"1"
        await until(lambda: near.closing, what="it is noticed")
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        writer.close()
        assert None not in keeper.told


async def test_opens_a_lost_door_again_while_requests_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_forwarder, "DOOR_WAIT", PATIENCE)
    async with running_door(key=KEY) as door:
        told = door.file("door.json")
        relay = Relay(told["port"])
        told["port"] = await relay.listen()
        (door.folder / "door.json").write_text(json.dumps(told))
        async with kept(door) as keeper:
            await start(keeper)
            pid = json.loads(await keeper.get("/env"))["FACTORYGATE_NOTEBOOK_SOCKET"]
            relay.cut()
            await until(lambda: not keeper.is_open(SESSION), what="lost")
            assert keeper.told[-1] is None
            waiting = asyncio.create_task(keeper.get("/env"))
            await asyncio.sleep(0.5)
            assert not waiting.done()
            await relay.listen(told["port"])
            assert json.loads(await waiting)["FACTORYGATE_NOTEBOOK_SOCKET"] == pid
            assert keeper.told[-1] is not None
            assert keeper.told[-1].phase == "up"
            relay.cut()


async def test_bytes_and_a_door_that_is_opened_again_are_counted() -> None:
    async with running_door(key=KEY) as door, kept(door) as keeper:
        await start(keeper)
        entered = keeper._doors[SESSION]
        counted, again = metrics.traffic(entered.route.factory), metrics.DOOR_REOPENS.labels(entered.route.factory)
        before = [each._value.get() for each in (counted.to_notebook, counted.from_notebook, again)]
        body = await keeper.get("/env")
        assert counted.from_notebook._value.get() - before[1] >= len(body) > 0
        assert 0 < counted.to_notebook._value.get() - before[0] < 200
        assert entered._connection is not None
        entered._connection.abort()
        await until(lambda: again._value.get() == before[2] + 1, what="the door is opened again")


async def test_the_connection_back_follows_when_another_link_takes_over() -> None:
    async with running_door(key=KEY) as door:
        async with kept(door) as keeper:
            await start(keeper)
        asked = []

        async def hub(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            writer.close()

        async with kept(door) as keeper:
            server = await asyncio.start_unix_server(hub, str(keeper.back))
            await keeper.phase("up")
            assert await keeper.token(SESSION) == ENVIRONMENT["JUPYTERHUB_API_TOKEN"]
            status = keeper.told[-1]
            assert status is not None
            answer = await fetch(*await asyncio.open_unix_connection(status.hub_sock), "/hub/api")
            assert answer.endswith(b"ok")
            assert asked == [b"/hub/api"]
            server.close()


async def test_connections_wait_until_the_link_knows_its_doors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_forwarder, "DOOR_WAIT", PATIENCE)
    async with running_door(key=KEY) as door:
        async with kept(door) as keeper:
            await start(keeper)
        keeper = Keeper(door.folder.parent)  # the link restarts
        keeper.port = keeper.allocate(set())
        await keeper.bind(SESSION, keeper.port)
        waiting = asyncio.create_task(keeper.get("/env"))
        await until(lambda: keeper._ports[SESSION].near)
        await keeper.open(way(door.folder))
        assert json.loads(await waiting)["FACTORYGATE_NOTEBOOK_SOCKET"]
        await keeper.shutdown()


async def test_a_request_that_waited_too_long_for_its_door_is_closed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(port_forwarder, "DOOR_WAIT", 0.2)
    keeper = Keeper(tmp_path)
    await keeper.begin(tmp_path / "not yet")
    with contextlib.suppress(ConnectionResetError):  # the sent data were never read
        assert await keeper.get("/") == b""
    assert "not there" in keeper.problem(SESSION)
    await keeper.close(SESSION)
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await keeper.connect()


class Silent(Files):
    """A transport that never answers when the link reads a file."""

    async def read(self, account: str | None, path: str, limit: int = 65536) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_silent_factory_holds_up_no_door_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 600.0)
    async with running_door(key=KEY) as door:
        keeper = Keeper(door.folder.parent)
        for number in range(2 * OPENING_AT_ONCE):
            there = way(door.folder, transport=Silent(), session=f"{number:032x}")
            await keeper.open(replace(there, factory="silent"))
        await asyncio.sleep(0)  # each of them has started
        await keeper.begin(door.folder)
        await until(lambda: keeper.is_open(SESSION), what="open")
        await keeper.shutdown()


class Broken(Files):
    """A transport that raises an unexpected error at the first reading of a file."""

    failed = False

    async def read(self, account: str | None, path: str, limit: int = 65536) -> bytes:
        if not self.failed:
            self.failed = True
            raise RuntimeError("a mistake of ours")
        return await super().read(account, path, limit)


async def test_a_door_is_tried_again_after_any_error(caplog: pytest.LogCaptureFixture) -> None:
    async with running_door(key=KEY) as door:
        keeper = Keeper(door.folder.parent)
        await keeper.begin(door.folder, transport=Broken())
        await until(lambda: keeper.is_open(SESSION), what="open")
        assert "a mistake of ours" in caplog.text
        await keeper.shutdown()


async def test_a_door_of_another_protocol_is_explained(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    (tmp_path / "door.json").write_text(json.dumps({"protocol": 3, "session": SESSION, "somewhere": "else"}))
    await keeper.begin(tmp_path)
    await until(lambda: keeper.problem(SESSION))
    assert keeper.problem(SESSION) == (
        "The session's environment has door protocol 3, this link speaks 1 and 2: the link must be updated."
    )
    assert not keeper.is_open(SESSION)
    with pytest.raises(Unreachable, match="door protocol 3"):
        await keeper.token(SESSION)
    await keeper.shutdown()


@pytest.mark.parametrize(
    "change",
    [
        {"host_key": asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()},
        {"host_key": "ssh-ed25519 " + "A" * 68},
        {"session": "cd" * 16},
        {"port": 0},
        {"port": "x"},
    ],
)
async def test_enters_no_door_but_the_one_it_was_told(change: dict[str, object]) -> None:
    async with running_door(key=KEY) as door:
        told = door.file("door.json") | change
        told["host_key"] = " ".join(str(told["host_key"]).split()[:2])
        (door.folder / "door.json").write_text(json.dumps(told))
        keeper = Keeper(door.folder.parent)
        await keeper.begin(door.folder)
        await until(lambda: keeper.problem(SESSION))
        assert not keeper.is_open(SESSION)
        assert [status for status in keeper.told if status is not None] == []
        await keeper.shutdown()


async def test_the_reason_for_a_closed_door_is_reported_once_and_at_once(tmp_path: Path) -> None:
    told = {"protocol": 1, "session": SESSION, "job": "7", "host": "n7", "port": 30001}
    key = " ".join(KEY.export_public_key().decode().split()[:2])
    (tmp_path / "door.json").write_text(json.dumps(told | {"host_key": key}))
    transport = Nowhere()
    keeper = Keeper(tmp_path)
    await keeper.begin(tmp_path, "n7", transport)
    await until(lambda: transport.tried >= 3)
    await keeper.shutdown()
    assert keeper.told == [None]
    assert keeper.problem(SESSION) == ""  # the connection was given up


class Nowhere(Files):
    """A machine on which no node's name resolves."""

    tried = 0

    async def connect(self, account: str | None, host: str, port: int) -> ByteStream:
        self.tried += 1
        return await LocalTransport(LocalSettings()).connect(account, f"{host}.invalid", port)


class Dialled(Files):
    """Records the addresses to which the link wants to connect."""

    def __init__(self) -> None:
        super().__init__()
        self.dialled: list[tuple[str, int]] = []

    async def connect(self, account: str | None, host: str, port: int) -> ByteStream:
        self.dialled.append((host, port))
        raise Unreachable(f"no way to {host}")


@pytest.mark.parametrize(
    ("access", "node", "dialled", "problem"),
    [
        ({}, "n7", [("n7", 30001)], "no way to n7"),
        ({"host": "through"}, "n7", [("through", 30001)], "no way to through"),
        ({"ports": (30000, 30001)}, "n7", [("n7", 30001)], "no way to n7"),
        ({"ports": (30002, 30009)}, "n7", [], "The door says port 30001, outside door.ports 30002-30009."),
        ({}, None, [], "The scheduler does not say on which node the session runs."),
    ],
)
async def test_the_account_cannot_redirect_the_link(
    tmp_path: Path, access: dict[str, object], node: str | None, dialled: list[tuple[str, int]], problem: str
) -> None:
    told = {"protocol": 1, "session": SESSION, "job": "7", "host": "victim.example.org", "port": 30001}
    key = " ".join(KEY.export_public_key().decode().split()[:2])
    (tmp_path / "door.json").write_text(json.dumps(told | {"host_key": key}))
    transport = Dialled()
    keeper = Keeper(tmp_path, **access)
    await keeper.begin(tmp_path, node, transport)
    await until(lambda: keeper.problem(SESSION))
    assert keeper.problem(SESSION) == problem
    await keeper.shutdown()
    assert set(transport.dialled) == set(dialled)


async def test_ports_go_round_and_skip_what_is_taken(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    keeper._next = PORTS[1]
    with socket.socket() as other:
        # a connection of an earlier test may still be closing there
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", PORTS[0] + 1))
        other.listen()
        assert [keeper.allocate({PORTS[0]}) for _ in range(2)] == [PORTS[1], PORTS[0] + 2]
    with pytest.raises(OSError, match="no free port"):
        keeper.allocate(set(range(PORTS[0], PORTS[1] + 1)))


async def test_a_session_keeps_no_closed_port_if_its_new_port_is_taken(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    await keeper.bind(SESSION, PORTS[0])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", PORTS[0] + 1))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            await keeper.bind(SESSION, PORTS[0] + 1)
    await keeper.bind(SESSION, PORTS[0])  # it listens again
    socket.create_connection(("127.0.0.1", PORTS[0]), timeout=5).close()
    await keeper.shutdown()


async def test_a_port_given_up_can_be_bound_at_once(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    await keeper.begin(tmp_path)
    reader, writer = await keeper.connect()
    await until(lambda: keeper._ports[SESSION].near)
    await keeper.close(SESSION)
    await keeper.bind(SESSION, keeper.port)
    assert await reader.read() == b""
    writer.close()
    await keeper.bind(SESSION, keeper.port)
    await keeper.shutdown()
