"""Doors that are entered through a scheduler: a real bridge and a real door; only the scheduler is missing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import asyncssh
import pytest

from factorylink.doors import port_forwarder
from factorylink.doors.manager import DoorManager
from factorylink.doors.protocol import DoorStatus
from factorylink.transports.base import ByteStream
from tests.support.door import BRIDGE, PATIENCE, SESSION, SOURCES, Files, held, running_door, until, way
from tests.unit.test_doorkeeper import KEY, Keeper, kept, start


class Entering(Files):
    """A transport that records the commands that enter jobs, and knows their processes."""

    def __init__(self) -> None:
        super().__init__()
        self.argv: list[Sequence[str]] = []

    async def enter(self, account: str | None, argv: Sequence[str]) -> ByteStream:
        self.argv.append(argv)
        return await super().enter(account, argv)

    def bridges(self) -> list[int]:
        """Return the pids of the running bridges."""
        return [process.pid for process in self._commands._running if process.returncode is None]


def listeners(pid: int) -> set[str]:
    """Return the local addresses, in hex as in ``/proc/net/tcp``, of the TCP sockets on which a process listens."""
    inodes = held(pid)
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()]
    return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}


async def test_listens_on_no_port() -> None:
    async with running_door("--stdio", key=KEY) as door, kept(door) as keeper:
        told = door.file("door.json")
        assert "port" not in told and "host" not in told
        socket = Path(told["socket"])
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        await start(keeper)
        assert listeners(door.process.pid) == set()
    async with running_door(key=KEY) as door:
        assert len(listeners(door.process.pid)) == 1


async def test_a_bridge_that_dies_is_followed_by_another_and_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_forwarder, "DOOR_WAIT", PATIENCE)
    async with running_door("--stdio", key=KEY) as door:
        transport = Entering()
        keeper = Keeper(door.folder.parent, carrier="stdio", node_tmp=str(door.folder.parent))
        await keeper.begin(door.folder, None, transport)
        await until(lambda: keeper.is_open(SESSION))
        await start(keeper)
        socket = json.loads(await keeper.get("/env"))["FACTORYGATE_NOTEBOOK_SOCKET"]
        [first] = transport.bridges()
        os.kill(first, signal.SIGKILL)
        await until(lambda: not keeper.is_open(SESSION))
        assert json.loads(await keeper.get("/env"))["FACTORYGATE_NOTEBOOK_SOCKET"] == socket
        assert transport.bridges() != [first]
        await keeper.shutdown()
        await until(lambda: not transport.bridges())


async def test_the_number_of_entered_doors_is_limited_and_others_wait_with_a_reason() -> None:
    async with running_door("--stdio", key=KEY) as door, running_door("--stdio", key=KEY, session="cd" * 16) as other:
        transport = Entering()
        spoken: dict[str, DoorStatus | None] = {}
        keeper = DoorManager(
            Keeper(door.folder.parent)._config,
            KEY,
            lambda session, status: spoken.update({session: status}),
            Path("/x"),
        )
        ways = [
            way(each.folder, None, transport, each.session, carrier="stdio", stdio_most=1, node_tmp=each.folder.parent)
            for each in (door, other)
        ]
        await keeper.open(ways[0])
        await until(lambda: keeper.is_open(door.session))
        await keeper.open(ways[1])
        await until(lambda: keeper.problem(other.session))
        assert keeper.problem(other.session) == (
            "1 sessions of here are entered through the scheduler, and no more are allowed at a time. "
            "This one waits until another ends."
        )
        assert len(transport.argv) == 1
        await keeper.close(door.session)
        await until(lambda: keeper.is_open(other.session))
        assert keeper.problem(other.session) == ""
        await keeper.shutdown()


@pytest.mark.parametrize(
    ("socket", "problem"),
    [
        ("/run/dbus/system_bus_socket", "not a door's"),
        ("/tmp/factorygate-0-abababab-x/notebook.sock", "not a door's"),
        ("/tmp/factorygate-0-cdcdcdcd-x/door.sock", "not a door's"),
        ("/tmp/factorygate-0-abababab-x/../door.sock", "not a door's"),
        ("/tmp/../factorygate-0-abababab-x/door.sock", "not a door's"),
        ("/elsewhere/factorygate-0-abababab-x/door.sock", "not a door's"),
        ("tmp/factorygate-0-abababab-x/door.sock", "not understood"),
        ("/tmp/factorygate-0-abababab-x y/door.sock", "not a door's"),
        (None, "started for carrier tcp"),
    ],
)
async def test_runs_nothing_for_a_socket_that_is_no_doors(tmp_path: Path, socket: str | None, problem: str) -> None:
    key = " ".join(KEY.export_public_key().decode().split()[:2])
    told = {"protocol": 1, "session": SESSION, "job": "7", "socket": socket, "port": 30001, "host_key": key}
    (tmp_path / "door.json").write_text(json.dumps(told))
    transport = Entering()
    keeper = Keeper(tmp_path, carrier="stdio", node_tmp="/tmp")
    await keeper.begin(tmp_path, None, transport)
    await until(lambda: keeper.problem(SESSION))
    assert problem in keeper.problem(SESSION)
    await keeper.shutdown()
    assert transport.argv == []


async def test_a_socket_nobody_listens_at_is_told_and_tried_again(tmp_path: Path) -> None:
    key = " ".join(KEY.export_public_key().decode().split()[:2])
    socket = "/tmp/factorygate-0-abababab-gone/door.sock"
    told = {"protocol": 1, "session": SESSION, "job": "7", "socket": socket, "host_key": key}
    (tmp_path / "door.json").write_text(json.dumps(told))
    transport = Entering()
    keeper = Keeper(tmp_path, carrier="stdio", node_tmp="/tmp/")
    await keeper.begin(tmp_path, None, transport)
    await until(lambda: len(transport.argv) > 1)
    assert transport.argv[0] == (*BRIDGE, socket)
    assert keeper.problem(SESSION)
    await keeper.shutdown()
    await until(lambda: not transport.bridges())


@pytest.mark.parametrize("ends", ["link", "door"])
async def test_the_bridge_carries_both_ways_and_ends_with_either_side(tmp_path: Path, ends: str) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
            if data.endswith(b"end"):
                break
        writer.close()
        gone.set()

    gone = asyncio.Event()
    server = await asyncio.start_unix_server(echo, tmp_path / "s")
    bridge = await asyncio.create_subprocess_exec(
        *BRIDGE, str(tmp_path / "s"), stdin=-1, stdout=-1, env={"PYTHONPATH": SOURCES}
    )
    assert bridge.stdin is not None and bridge.stdout is not None
    sent = os.urandom(5 << 20)

    async def send() -> None:
        assert bridge.stdin is not None
        bridge.stdin.write(sent)
        await bridge.stdin.drain()

    sending = asyncio.create_task(send())
    assert await bridge.stdout.readexactly(len(sent)) == sent
    await sending
    if ends == "link":
        bridge.stdin.close()
    else:
        bridge.stdin.write(b"the end")
        assert await bridge.stdout.read() == b"the end"
    assert await asyncio.wait_for(bridge.wait(), PATIENCE) == 0
    await asyncio.wait_for(gone.wait(), PATIENCE)
    server.close()


async def test_the_bridge_says_what_is_wrong(tmp_path: Path) -> None:
    for arguments, code, words in (
        ((str(tmp_path / "none"),), 1, b"No such file"),
        ((), 2, b"SOCKET"),
    ):
        bridge = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "factorygate.session.bridge", *arguments),
            env={"PYTHONPATH": SOURCES}, stdin=-1, stdout=-1, stderr=-1,
        )  # fmt: skip
        said, wrong = await bridge.communicate()
        assert (bridge.returncode, said) == (code, b"")
        assert words in wrong


async def test_refuses_strangers_at_the_socket_too() -> None:
    async with running_door("--stdio", key=KEY) as door:
        with pytest.raises(asyncssh.PermissionDenied):
            await door.enter(key=asyncssh.generate_private_key("ssh-ed25519"))
