"""The link's socket for the workshops service: it reaches workshops only, and its stream is small."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from pydantic import TypeAdapter

from factorycommon.event_stream import read_events
from factorycommon.models import Model, Problem
from factorycommon.models.workshops.rehearsal import RehearsalFacts
from factorycommon.models.workshops.seats import HoldBody, SeatPlaces
from factorycommon.models.workshops.sessions import WorkshopSession, WorkshopSessions
from factorycommon.service.http import new_app
from factorycommon.service.serving import unix_socket
from factorylink.sessions import workshop_feed
from factorylink.sessions.workshop_feed import WorkshopFeed
from tests.unit.fake_factory import ID, OTHER, World
from tests.unit.fake_projects import Table, project
from tests.unit.serving import serving
from workshops.link import MOST_BYTES, NOTHING, LinkAway, LinkMismatch, LinkRefused, LinkSocket, LinkUnread

MINE, THEIRS = "workshop-mine-2345", "workshop-theirs-2345"
THIRD = "3" * 32


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    made.table = Table(project("p", members=("ada", "ben")))
    made.workshops = Table(project(MINE, members=("ada", "ben")), project(THEIRS, members=("ben",)))
    await made.up()
    yield made
    await made.down()


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(world.parts.workshops_app()) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client
        world.parts.end_streams()


def message(*people: str, **fields: Any) -> dict[str, Any]:
    return {"id": "class-1", "text": "Hello", "people": people, **fields}


async def sessions(http: httpx.AsyncClient, project_id: str = MINE) -> list[WorkshopSession]:
    answer = await http.get(f"/projects/{project_id}/sessions")
    return list(WorkshopSessions.model_validate_json(answer.raise_for_status().content).sessions)


async def test_a_workshop_s_sessions_are_told_without_secrets(world: World, http: httpx.AsyncClient) -> None:
    await world.running(ID, user="ada", project=MINE)
    await world.running(OTHER, user="ben", project=THEIRS)
    await world.put(THIRD, user="ben", server="plain", project="p")
    (mine,) = await sessions(http)
    assert (mine.id, mine.person, mine.project, mine.state, mine.open) == (ID, "ada", MINE, "running", True)
    assert [one.id for one in await sessions(http, THEIRS)] == [OTHER]
    said = (await http.get(f"/projects/{MINE}/sessions")).text
    assert not [word for word in ("account", "url", "port", "log", "token") if f'"{word}' in said]


async def test_the_last_session_of_each_person_stays_after_its_end(world: World, http: httpx.AsyncClient) -> None:
    for id in (ID, OTHER):
        await world.running(id, user="ada", project=MINE)
        await http.post(f"/projects/{MINE}/sessions/{id}/stop")
        await world.answered_until(id, state="ended")
    (last,) = await sessions(http)
    assert (last.id, last.state, last.end_reason) == (OTHER, "ended", "stopped")
    assert last.reason is not None


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/projects/workshop-none-2345/sessions", None, 404),
        ("GET", "/projects/p/sessions", None, 400),  # a project, but no workshop's
        ("GET", "/projects/p/rehearsal", None, 400),
        ("GET", "/projects/workshop-none-2345/rehearsal", None, 404),
        ("GET", "/projects/workshop-..%2Fx/sessions", None, 404),
        ("POST", f"/projects/{MINE}/sessions/{OTHER}/stop", None, 404),  # of another workshop
        ("POST", f"/projects/{MINE}/sessions/{THIRD}/stop", None, 404),  # of no workshop
        ("POST", f"/projects/{MINE}/sessions/x/stop", None, 400),
        ("POST", "/projects/workshop-none-2345/messages", message("ada"), 404),
        ("POST", f"/projects/{THEIRS}/messages", message("ada"), 403),
        ("POST", f"/projects/{MINE}/messages", message("ada", "eve"), 403),
        ("POST", f"/projects/{MINE}/messages", message(), 400),
        ("POST", f"/projects/{MINE}/messages", message("ada", text="a\x1b[2Jb"), 400),
        ("POST", f"/projects/{MINE}/messages", message("ada", texts={"../de": "x"}), 400),
        ("POST", f"/projects/{MINE}/messages", message("ada", more="x"), 400),
        ("POST", f"/projects/{MINE}/messages", message(*["a" * 200] * 9000), 413),
        ("DELETE", f"/projects/{MINE}/sessions/{ID}", None, 404),  # the hub's operations are not here
        ("GET", "/sessions", None, 404),
        ("GET", "/table", None, 404),
        ("GET", "/people/ada/sessions", None, 404),
    ],
)
async def test_nothing_but_workshops_can_be_reached(
    world: World, http: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    await world.running(ID, user="ada", project=MINE)
    await world.running(OTHER, user="ben", project=THEIRS)
    await world.put(THIRD, user="ben", server="plain", project="p")
    answer = await http.request(method, path, json=body)
    assert answer.status_code == status
    assert TypeAdapter(Problem).validate_json(answer.content).message
    assert world.doors.messages == []
    assert {(await world.session(id)).wish for id in (ID, OTHER, THIRD)} == {"run"}


async def test_what_a_rehearsal_is_told_has_no_catalogue_account_or_agreement(
    world: World, http: httpx.AsyncClient
) -> None:
    said = (await http.get(f"/projects/{MINE}/rehearsal")).raise_for_status().text
    (place,) = RehearsalFacts.model_validate_json(said).places
    assert (place.seat.factory, place.default, place.lends) == ("one", "plain", False)
    assert place.size is not None
    assert (place.size.id, place.size.per_node, place.size.gpus) == ("gpu-1", 4, 1)
    assert not [word for word in ("/opt/venv", "The operator", "help@site.example", 'python"') if word in said]


async def test_a_message_goes_to_the_people_that_it_names(world: World, http: httpx.AsyncClient) -> None:
    await world.running(ID, user="ada", project=MINE)
    await world.running(OTHER, user="ben", project=MINE)
    await world.running(THIRD, user="ada", server="own", project="p")  # not of the workshop
    answer = await http.post(f"/projects/{MINE}/messages", json=message("ada", texts={"de": "Hallo"}))
    assert answer.json() == {"people": ["ada"]}
    ((session_id, told),) = world.doors.messages
    assert (session_id, told.id, told.text, told.texts) == (ID, "class-1", "Hello", {"de": "Hallo"})
    world.door_is_lost(OTHER)
    assert (await http.post(f"/projects/{MINE}/messages", json=message("ben"))).json() == {"people": []}


async def test_the_stream_tells_a_full_class_in_few_events(world: World, http: httpx.AsyncClient) -> None:
    world.workshops.set(project(MINE, members=tuple(f"p{n}" for n in range(60))))  # type: ignore[union-attr]
    for number in range(60):
        await world.put(f"{number:032x}", user=f"p{number}", project=MINE)
    await world.put(ID, user="ada", project="p")
    async with http.stream("GET", "/events") as response:
        events = read_events(response.aiter_bytes())
        first = await anext(events)
        assert first.name == "snapshot"
        assert len(json.loads(first.data)["sessions"]) == 60
        begun = asyncio.get_running_loop().time()
        running = {one for one in world.live_sessions if one != ID}
        for id in running:
            world.scheduler.runs(world.live_sessions[id].record.job)  # type: ignore[arg-type]
        await world.scheduler.answer()
        count, starting = 0, set[str]()
        while starting < running:
            event = await anext(events)
            assert event.name == "sessions"
            count += 1
            found = WorkshopSessions.model_validate_json(event.data).sessions
            assert {one.project for one in found} == {MINE}
            starting |= {one.id for one in found if one.state == "starting"}
        spent = asyncio.get_running_loop().time() - begun
        assert count <= 1 + spent / workshop_feed.BATCH_SECONDS
        world.parts.end_streams()


async def test_a_reader_that_is_too_slow_gets_all_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop_feed, "_MOST_WAITING", 1)
    monkeypatch.setattr(workshop_feed, "BATCH_SECONDS", 0)
    await world.running(ID, user="ada", project=MINE)
    await world.running(OTHER, user="ben", project=MINE)
    feed: WorkshopFeed = world.parts.workshop_feed
    events = read_events(feed.stream())
    assert (await anext(events)).name == "snapshot"
    for id in (ID, OTHER):
        world.live_sessions.touch(world.live_sessions[id])
    assert (await anext(events)).name == "snapshot"
    await events.aclose()


async def test_only_few_readers_are_served(world: World, http: httpx.AsyncClient) -> None:
    open_ = [world.parts.workshop_feed.stream() for _ in range(workshop_feed.MOST_READERS)]
    for one in open_:
        await anext(one)
    assert (await http.get("/events")).status_code == 429
    for one in open_:
        await one.aclose()  # type: ignore[attr-defined]


def test_the_socket_is_for_a_group_and_never_for_others(tmp_path: Path) -> None:
    for mode in (0o600, 0o660):
        sock = unix_socket(tmp_path / "x.sock", mode)
        assert stat.S_IMODE((tmp_path / "x.sock").stat().st_mode) == mode
        sock.close()


# --- the service's client


async def test_the_client_passes_on_refusals_and_says_when_the_link_is_away(tmp_path: Path) -> None:
    app = FastAPI()

    @app.get("/projects/{name}/{what}")
    async def anything(name: str, what: str) -> Response:
        match what:
            case "refused":
                return Response(Problem(kind="conflict", message="Not now.").model_dump_json(), 409)
            case "long":
                return Response(b'"' + b"x" * MOST_BYTES + b'"')
            case "broken":
                return Response(b"<html>", 502)
            case "strange":
                return Response(b"<html>", 403)
        return Response(b"{}")

    link = LinkSocket(tmp_path / "l.sock")
    shape = TypeAdapter(dict[str, int])
    with pytest.raises(LinkAway):
        await link.get(shape, MINE, "/good")  # nobody listens
    async with serving(app, tmp_path / "l.sock"):
        assert await link.get(shape, MINE, "/good") == {}
        with pytest.raises(LinkRefused, match="Not now") as caught:
            await link.get(shape, MINE, "/refused")
        assert caught.value.status == 409
        for path in ("/long", "/broken", "/strange"):
            with pytest.raises(LinkAway):
                await link.get(shape, MINE, path)
        with pytest.raises(LinkAway):
            await link.get(TypeAdapter(list[int]), MINE, "/good")
    await link.close()


async def test_a_link_of_another_release_is_named_as_such(tmp_path: Path) -> None:
    """An older link refuses keys that it does not know, has fewer operations, and leaves fields out of its answers."""
    app = new_app("older", logging.getLogger("older"))

    class OlderBody(Model):
        accounts: int

    @app.post("/projects/{project}/seats")
    async def seats(project: str, body: OlderBody) -> None:
        raise AssertionError(f"{project} {body}")

    @app.get("/projects/{project}/seats")
    async def places(project: str) -> dict[str, Any]:
        return {"places": [{"factory": project}]}

    link = LinkSocket(tmp_path / "l.sock")
    async with serving(app, tmp_path / "l.sock"):
        for asked in (
            link.post(NOTHING, MINE, "/seats", HoldBody(accounts={"one": 2})),
            link.post(NOTHING, MINE, "/newer"),
            link.put(NOTHING, MINE, "/seats", HoldBody(accounts={"one": 2})),
        ):
            with pytest.raises(LinkMismatch, match="update the older of the two"):
                await asked
        with pytest.raises(LinkUnread, match="update the older of the two"):
            await link.get(TypeAdapter(SeatPlaces), MINE, "/seats")
    await link.close()


async def test_what_the_link_does_not_understand_is_in_the_log_once_until_it_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app, answers = FastAPI(), dict[str, Response]()

    @app.get("/projects/{project}/seats")
    async def seats() -> Response:
        return answers["next"]

    async def asked() -> None:
        with contextlib.suppress(LinkMismatch, LinkUnread):
            await link.get(NOTHING, MINE, "/seats")

    caplog.set_level(logging.INFO, "workshops")
    link = LinkSocket(tmp_path / "l.sock")
    async with serving(app, tmp_path / "l.sock"):
        for content, status in ((b'{"kind": "gone", "message": "Not Found"}', 404), (b'{"new": 1}', 200)):
            answers["next"] = Response(content, status)
            for _ in range(3):
                await asked()
            answers["next"] = Response(b"")
            await asked()
            answers["next"] = Response(content, status)
            await asked()
            answers["next"] = Response(b"")
            await asked()
    await link.close()
    assert caplog.text.count("does not understand GET /seats: Not Found") == 2
    assert caplog.text.count("does not understand GET /seats: its answer cannot be parsed") == 2


async def test_what_the_link_does_not_know_is_no_matter_of_its_release(http: httpx.AsyncClient) -> None:
    for path in ("/projects/workshop-none-2345/seats", f"/projects/{MINE}/sessions/{ID}/stop"):
        answer = await http.request("POST" if path.endswith("stop") else "GET", path)
        assert (answer.status_code, Problem.model_validate_json(answer.content).code) == (404, "not-known")


async def test_a_service_without_a_link_says_so() -> None:
    link = LinkSocket(None)
    with pytest.raises(Exception, match="no link socket"):
        await link.post(NOTHING, MINE, "/x")
    await link.close()
