"""This release's link with the previous release's door, and the reverse: each can use the other."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from factorygate import __version__
from factorygate.session.status import OLDEST_PROTOCOL, PROTOCOL, PROTOCOL_VARIABLE, spoken
from factorylink.doors import protocol
from factorylink.doors.protocol import DoorFile, DoorStatus, OtherProtocol, read_message
from factorylink.errors import Misread
from tests.support import recorded_release
from tests.support.door import ENVIRONMENT, SESSION, ask, running_door
from tests.unit.test_doorkeeper import KEY, kept, start

CHECKOUT = Path(__file__).parents[2]
STATUS = {"session": SESSION, "phase": "up", "notebook_sock": "/n/a", "hub_sock": "/n/b"}

# A link of the previous release, in a separate process: it enters a door, starts the notebook, and gets a page from it.
OLD_LINK = """
import asyncio, json, sys
from pathlib import Path
import asyncssh
sys.path.append(sys.argv[2])
from factorylink.doors import protocol
from tests.support.door import SESSION, until
from tests.unit import test_doorkeeper

async def main(folder):
    assert protocol.PROTOCOL == 1, protocol.__file__
    test_doorkeeper.KEY = asyncssh.read_private_key(sys.argv[3])
    keeper = test_doorkeeper.Keeper(folder.parent, node_tmp=str(folder.parent))
    await keeper.begin(folder)
    await until(lambda: keeper.is_open(SESSION), what="open")
    await test_doorkeeper.start(keeper)
    print(json.dumps([keeper.told[-1].protocol, (await keeper.get("/user/u/api")).decode()]))
    await keeper.shutdown()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the previous release; return its folder."""
    return recorded_release.unpack(tmp_path_factory.mktemp("recorded"))


async def test_this_link_enters_a_door_of_the_release_before(before: Path) -> None:
    async with (
        running_door(key=KEY, sources=recorded_release.search_path(before)) as door,
        kept(door) as keeper,
    ):
        assert door.file("door.json")["version"] == recorded_release.VERSION
        await start(keeper)
        assert await keeper.get("/user/u/api") == b"{}"
        assert await keeper.token(SESSION) == ENVIRONMENT["JUPYTERHUB_API_TOKEN"]
        status = keeper.told[-1]
        assert status is not None
        assert (status.protocol, status.release) == (1, None)
        assert (await keeper.stop(SESSION)).protocol == 1
        await keeper.phase("ended")


async def test_a_link_of_the_release_before_enters_this_door(before: Path, tmp_path: Path) -> None:
    KEY.write_private_key(tmp_path / "key")
    async with running_door(key=KEY) as door:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", OLD_LINK, str(door.folder), str(CHECKOUT), str(tmp_path / "key")),
            env={**os.environ, "PYTHONPATH": recorded_release.search_path(before)},
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
        )
        answer, _ = await process.communicate()
        assert process.returncode == 0
        assert json.loads(answer) == [1, "{}"]


async def test_a_door_answers_in_the_newest_protocol_that_both_speak() -> None:
    async with running_door() as door:
        assert door.file("door.json")["protocol"] == OLDEST_PROTOCOL
        connection = await door.enter()
        assert (await ask(connection, "hello"))["protocol"] == OLDEST_PROTOCOL
        for asked, answered in (("1", 1), ("2", 2), ("3", PROTOCOL), ("0", 1), ("x", 1), ("9" * 5, 1)):
            done = await connection.run("hello", env={PROTOCOL_VARIABLE: asked})
            status = json.loads(str(done.stdout))
            assert status["protocol"] == answered
            assert status.get("release") == (__version__ if answered == 2 else None)
            read_message(DoorStatus, json.dumps(status))
        watch = await connection.create_process("watch", env={PROTOCOL_VARIABLE: "2"})
        assert json.loads(await watch.stdout.readline())["protocol"] == 2


def test_link_and_door_speak_the_same_two_protocols() -> None:
    assert (protocol.PROTOCOL, protocol.OLDEST_PROTOCOL) == (PROTOCOL, OLDEST_PROTOCOL) == (2, 1)
    assert protocol.PROTOCOL_VARIABLE == PROTOCOL_VARIABLE
    assert [spoken(asked) for asked in (None, "", "1", "2", "7", "-1", "²")] == [1, 1, 1, 2, 2, 1, 1]


@pytest.mark.parametrize(("number", "who"), [(0, "environment"), (3, "link")])
def test_the_words_say_which_side_must_be_updated(number: int, who: str) -> None:
    with pytest.raises(OtherProtocol, match=f"door protocol {number}, this link speaks 1 and 2: the {who} must be"):
        read_message(DoorStatus, json.dumps({"protocol": number, **STATUS}))


def test_a_door_of_protocol_2_names_its_release() -> None:
    assert read_message(DoorStatus, json.dumps({"protocol": 2, **STATUS, "release": "0.2.0"})).release == "0.2.0"
    for spoilt in ({}, {"release": ""}, {"release": "a b"}, {"release": "x" * 41}, {"release": 2}):
        with pytest.raises(Misread):
            read_message(DoorStatus, json.dumps({"protocol": 2, **STATUS, **spoilt}))


def test_a_door_file_names_the_oldest_protocol_that_its_door_speaks() -> None:
    file = {"session": SESSION, "job": "1", "host_key": f"ssh-ed25519 {'A' * 68}"}
    for number in (1, 2):  # a later door may support 2 and 3
        read_message(DoorFile, json.dumps({"protocol": number, **file}))
    with pytest.raises(OtherProtocol, match="the link must be updated"):
        read_message(DoorFile, json.dumps({"protocol": 3, **file}))
