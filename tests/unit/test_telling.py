"""Messages from the operator's command through the link's API to the door; and a session's reported resource use."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from factorycommon.models import MessageBody, Words
from factorylink.api.auth import Caller
from factorylink.cli import main as cli
from factorylink.client import LinkClient, LinkProblem
from factorylink.doors.protocol import DoorStatus, read_message
from factorylink.errors import Misread
from tests.unit.fake_factory import ID, OTHER, World
from tests.unit.serving import serving


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> World:
    return await World(tmp_path).up()


async def test_a_message_reaches_the_door_by_command_and_api(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    socket = tmp_path / "hub.sock"
    app = world.parts.hub_app(recovery=None)  # type: ignore[arg-type]  # not asked here
    async with serving(app, socket):
        client, command = LinkClient(socket), partial(asyncio.to_thread, cli.main)
        await world.put(ID)
        with pytest.raises(LinkProblem) as caught:  # the door is not open yet
            await client.tell(ID, MessageBody(id="early", text="Hello."))
        assert caught.value.status == 409
        world.door_says(phase="up", environment=True)
        assert await command(["--socket", str(socket), "sessions", "tell", ID, "Ten minutes break."]) == 0
        assert "is told" in capsys.readouterr().out
        await client.tell(ID, MessageBody(id="two", text="Line one.\nLine two.", kind="warning"))
        first, second = world.doors.messages
        assert (first[0], first[1].text, first[1].kind) == (ID, "Ten minutes break.", "info")
        assert second == (ID, MessageBody(id="two", text="Line one.\nLine two.", kind="warning"))
        with pytest.raises(LinkProblem) as caught:
            await client.tell(OTHER, MessageBody(id="x", text="Nobody."))
        assert caught.value.status == 404
        await client.close()
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        async with httpx.AsyncClient(base_url="http://link", transport=transport) as http:
            for wrong in ({}, {"id": "a b", "text": "x"}, {"id": "a", "text": " "}, {"id": "a", "text": "\x1b[1m"}):
                assert (await http.post(f"/sessions/{ID}/messages", json=wrong)).status_code == 400
    assert len(world.doors.messages) == 2


async def test_a_sessions_resource_use_is_shown_while_its_door_is_open(world: World) -> None:
    session = await world.running()
    assert (session.gpu_percent, session.memory_bytes) == (None, None)
    world.door_says(phase="up", environment=True, gpu_percent=0, memory_bytes=1 << 30)
    session = await world.sessions.session(ID)
    assert (session.gpu_percent, session.memory_bytes) == (0, 1 << 30)
    assert (session.busy, session.busy_with) == (False, ())
    world.door_says(phase="up", environment=True, busy=True, busy_with=("train.ipynb",))
    session = await world.sessions.session(ID)
    assert (session.busy, session.busy_with) == (True, ("train.ipynb",))
    world.door_is_lost()
    assert (await world.sessions.session(ID)).gpu_percent is None


async def test_a_session_s_token_sees_no_explanation_of_another_session(world: World) -> None:
    own = await world.running()
    words = Words(code="job-altered", what="The site changed the job.")
    other = own.model_copy(update={"id": OTHER, "remark": words, "waits_for": words, "end": words})
    caller = Caller(own.user, world.live_sessions[ID], world.live_sessions, world.projects)
    seen = caller.shown(other)
    assert (seen.remark, seen.waits_for, seen.end) == (None, None, None)
    assert Caller(own.user, None, world.live_sessions, world.projects).shown(other).remark == words


@pytest.mark.parametrize("more", [{"gpu_percent": 101}, {"gpu_percent": -1}, {"memory_bytes": -1}])
def test_a_door_that_says_nonsense_is_misread(more: dict[str, int]) -> None:
    good = {"protocol": 1, "session": ID, "phase": "up", "notebook_sock": "/n/a", "hub_sock": "/n/b"}
    assert read_message(DoorStatus, json.dumps(good | {"gpu_percent": 0})).gpu_percent == 0
    with pytest.raises(Misread):
        read_message(DoorStatus, json.dumps(good | more))
