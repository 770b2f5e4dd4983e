"""Raised hands, and notebooks that helpers may see: who may do what, limits, and requests from sessions."""

from __future__ import annotations

import asyncio
import base64
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from pydantic import ValidationError

from factorycommon.models.workshops.help import (
    MOST_QUESTION,
    MOST_SENT,
    HandBody,
    HelpState,
    LookBody,
    NotebookSnapshot,
    SnapshotOutput,
)
from factorycommon.service.problems import ProblemError
from factorygate.helping.desk import HelpDesk, SavedNotebook
from factorygate.link import Link, LinkError, LinkRoute
from factorylink.hub_client import HubClient
from factorylink.sessions import help_relay
from tests.unit.fake_hub import FakeHub
from tests.unit.room_world import RoomWorld, comes, room_world
from tests.unit.serving import serving
from tests.unit.workshops_world import BEGIN, OPERATOR, PAUL, TINA, WorkshopsWorld, workshops_world
from workshops.helping import looks, service
from workshops.models.bodies import Role
from workshops.models.callers import WorkshopCaller
from workshops.models.helping import HELP_EVENTS
from workshops.models.room import SeatView

ADA, BEN = "ada", "ben"
HOSTILE = '<img src=x onerror="document.title=1">'
SESSION = "a" * 32


def png(width: int = 1, height: int = 1) -> str:
    """Return a PNG image in base64 whose header states this width and height."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()


def snapshot(source: str = "1 + 1", file: str = "first.ipynb") -> NotebookSnapshot:
    return NotebookSnapshot.model_validate(
        {"file": file, "saved": BEGIN, "cells": [{"kind": "code", "source": source, "count": 1}]}
    )


def look(minutes: int = 30, **more: Any) -> LookBody:
    return LookBody(minutes=minutes, snapshot=snapshot(**more))


@asynccontextmanager
async def open_class(folder: Path) -> AsyncIterator[tuple[WorkshopsWorld, str]]:
    """Open a workshop of tina's in which ada has seat 1 and ben seat 2; yield the service and the workshop's slug."""
    async with workshops_world(folder) as world:
        slug = (await world.scheduled()).slug
        for one in (ADA, BEN):
            await world.workshops.put_member(TINA, slug, one, "participant")
        await opens(world)
        yield world, slug


async def opens(world: WorkshopsWorld) -> None:
    world.clock.forward(days=2, minutes=1)
    for _ in range(3):  # scheduled, warming, open
        await world.clockwork.look()


async def seats(world: WorkshopsWorld, slug: str, caller: WorkshopCaller = TINA) -> tuple[SeatView, ...]:
    return (await world.room.view(caller, slug)).seats


async def logged(world: WorkshopsWorld, slug: str, caller: WorkshopCaller = TINA) -> list[tuple[str, str, str]]:
    """Return the workshop's events about raised hands and looks, the oldest first: what, by whom, and the detail."""
    found = [(one.what, one.by, one.detail) for one in await world.workshops.events(caller, slug)]
    return [one for one in reversed(found) if one[0] in HELP_EVENTS]


async def status_of(asked: Awaitable[object]) -> int:
    try:
        await asked
    except ProblemError as error:
        return error.status
    return 200


# --- raised hands


async def test_hands_are_at_their_seats_in_order_of_time(tmp_path: Path) -> None:
    async with open_class(tmp_path) as (world, slug):
        helping = world.room.helping
        assert (await helping.raise_hand(BEN, slug, HandBody(question=HOSTILE))).hand.place == 1  # type: ignore[union-attr]
        world.clock.forward(seconds=5)
        state = await helping.raise_hand(ADA, slug, HandBody(source="x = 1", error="NameError"))
        assert state.hand is not None
        assert state.hand.place == 2
        first, second, third = (await seats(world, slug))[:3]
        assert first.hand is not None
        assert second.hand is not None
        assert third.hand is None
        assert (first.hand.place, first.hand.has, first.hand.question) == (2, ("source", "error"), "")
        assert (second.hand.place, second.hand.question) == (1, HOSTILE)  # text, which the page sets as text
        await helping.come(TINA, slug, 2)
        coming = (await helping.state(BEN, slug)).hand
        assert coming is not None
        assert (coming.place, coming.by) == (0, "tina")
        assert (await helping.state(ADA, slug)).hand.place == 1  # type: ignore[union-attr]
        await helping.done(TINA, slug, 2)
        assert (await helping.state(BEN, slug)).hand is None
        assert [one[:2] for one in await logged(world, slug)] == [
            ("hand", BEN), ("hand", ADA), ("comes", "tina"), ("helped", "tina"),
        ]  # fmt: skip


async def test_a_hand_that_is_raised_again_is_the_same_hand(tmp_path: Path) -> None:
    async with open_class(tmp_path) as (world, slug):
        helping = world.room.helping
        await helping.raise_hand(ADA, slug, HandBody(question="first"))
        await helping.come(TINA, slug, 1)
        world.clock.forward(seconds=9)
        await helping.raise_hand(ADA, slug, HandBody(question="second"))
        hand = (await seats(world, slug))[0].hand
        assert hand is not None
        assert (hand.question, hand.by, hand.since) == ("second", "tina", world.clock() - timedelta(seconds=9))
        assert [one[0] for one in await logged(world, slug)] == ["hand", "comes"]
        await helping.lower(ADA, slug)
        await helping.lower(ADA, slug)
        assert [one[0] for one in await logged(world, slug)] == ["hand", "comes", "lowered"]
        assert await status_of(helping.done(TINA, slug, 1)) == 409


async def test_two_helpers_do_not_come_to_one_seat(tmp_path: Path) -> None:
    async with open_class(tmp_path) as (world, slug):
        await world.workshops.put_member(TINA, slug, PAUL.person, "helper")
        await world.room.helping.raise_hand(ADA, slug, HandBody())
        assert [await status_of(world.room.helping.come(one, slug, 1)) for one in (PAUL, PAUL, TINA)] == [200, 200, 409]


async def test_of_helpers_who_come_at_the_same_time_the_first_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_class(tmp_path) as (world, slug):
        await world.workshops.put_member(TINA, slug, PAUL.person, "helper")
        await world.room.helping.raise_hand(ADA, slug, HandBody())
        # a service that has just started, so that the first helper waits for the database
        helping, both = service.Helping(world.workshops, world.store, world.clock), asyncio.Barrier(2)
        holder_of = helping._holder

        async def holder(*of: Any) -> Any:
            found = await holder_of(*of)
            await both.wait()
            return found

        monkeypatch.setattr(helping, "_holder", holder)
        came = await asyncio.gather(*(status_of(helping.come(one, slug, 1)) for one in (PAUL, TINA)))
        assert sorted(came) == [200, 409]
        first = (PAUL, TINA)[came.index(200)].person
        hand = (await helping.state(ADA, slug)).hand
        assert hand is not None and hand.by == first
        assert (await logged(world, slug))[1:] == [("comes", first, "seat 1")]


async def test_a_restart_keeps_hands_and_no_notebook(tmp_path: Path) -> None:
    async with open_class(tmp_path) as (world, slug):
        await world.room.helping.raise_hand(ADA, slug, HandBody(question="Why?"))
        await world.room.helping.allow_look(ADA, slug, SESSION, look(source="secret = 1"))
        kept = b"".join(file.read_bytes() for file in world.config.state_dir.rglob("*") if file.is_file())
        assert b"secret = 1" not in kept
        again = service.Helping(world.workshops, world.store, world.clock)
        state = await again.state(ADA, slug)
        assert (state.hand is not None, state.look) == (True, None)


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("lead", True),
        ("instructor", True),
        ("helper", True),
        ("observer", False),
        ("participant", False),
        (None, False),
    ],
)
async def test_each_role_sees_and_does_its_own(tmp_path: Path, role: Role | None, may: bool) -> None:
    async with open_class(tmp_path) as (world, slug):
        helping = world.room.helping
        if role is not None:
            await world.workshops.put_member(TINA, slug, PAUL.person, role)
        await helping.raise_hand(ADA, slug, HandBody(question="QUESTION", source="SOURCE", error="ERROR"))
        await helping.allow_look(ADA, slug, SESSION, look(file="FILE.ipynb"))
        acts = [
            helping.content(PAUL, slug, 1),
            helping.look(PAUL, slug, 1),
            helping.ask_look(PAUL, slug, 1),
            helping.come(PAUL, slug, 1),
            helping.done(PAUL, slug, 1),
        ]
        wrong = 404 if role is None else 403
        assert [await status_of(one) for one in acts] == [200 if may else wrong] * len(acts)
        if role == "observer":
            room = await world.room.view(PAUL, slug)
            hand = room.seats[0].hand
            assert hand is not None
            assert hand.place == 1
            assert not [one for one in ("QUESTION", "SOURCE", "ERROR", "FILE", ADA) if one in room.model_dump_json()]
            assert await logged(world, slug, PAUL) == []


async def test_operators_without_a_role_see_no_contents(tmp_path: Path) -> None:
    async with open_class(tmp_path) as (world, slug):
        helping = world.room.helping
        await helping.raise_hand(ADA, slug, HandBody(question="QUESTION"))
        await helping.allow_look(ADA, slug, SESSION, look())
        assert "QUESTION" not in (await world.room.view(OPERATOR, slug)).model_dump_json()
        assert await status_of(helping.content(OPERATOR, slug, 1)) == 403
        assert await status_of(helping.look(OPERATOR, slug, 1)) == 403


async def test_only_people_with_a_seat_in_an_open_class_raise_a_hand(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        await world.workshops.put_member(TINA, slug, ADA, "participant")
        helping = world.room.helping
        assert await status_of(helping.raise_hand(ADA, slug, HandBody())) == 409  # it is not open yet
        assert (await helping.state(ADA, slug)).open is False
        await opens(world)
        assert (await helping.state(ADA, slug)).open is True
        assert await status_of(helping.raise_hand(TINA.person, slug, HandBody())) == 403
        assert await status_of(helping.raise_hand("stranger", slug, HandBody())) == 404
        assert await status_of(helping.raise_hand(ADA, slug, HandBody())) == 200
        await world.workshops.drop_member(TINA, slug, ADA)
        assert await status_of(helping.state(ADA, slug)) == 404
        assert (await seats(world, slug))[0].hand is None


async def test_a_person_who_raises_a_hand_too_often_waits(tmp_path: Path) -> None:
    async with open_class(tmp_path) as (world, slug):
        helping = world.room.helping
        found = [await status_of(helping.raise_hand(ADA, slug, HandBody())) for _ in range(12)]
        assert found == [200] * service.RAISES_A_MINUTE + [429] * 2
        assert await status_of(helping.raise_hand(BEN, slug, HandBody())) == 200  # nobody else waits
        world.clock.forward(seconds=61)
        assert await status_of(helping.raise_hand(ADA, slug, HandBody())) == 200


async def test_hands_are_deleted_with_the_people_and_when_the_class_is_over(tmp_path: Path) -> None:
    async with open_class(tmp_path) as (world, slug):
        helping = world.room.helping
        await helping.raise_hand(ADA, slug, HandBody(question="Why?"))
        await helping.allow_look(BEN, slug, SESSION, look())
        for _ in range(4):  # it closes, and is archived
            world.clock.forward(days=1)
            await world.clockwork.look()
        await helping.forget()
        assert await helping._raised.of(slug) == {}
        assert helping._looks.of(slug) == []


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"question": "a\x1b[31mb\x00\u202ec"}, {"question": "ab\ufffd\ufffdc"}),
        ({"source": "if x:\n\ty()"}, {"source": "if x:\n    y()"}),
        ({"error": "\x1b[0;31mNameError\x1b[0m: x"}, {"error": "NameError: x"}),
        ({"question": "q" * (MOST_QUESTION + 9)}, {"question": "q" * (MOST_QUESTION - 1) + "…"}),
        ({"source": "s" * (MOST_SENT + 9)}, {"source": "s" * (MOST_SENT - 1) + "…"}),
        ({"file": "../../etc/\nx"}, {"file": "../../etc/ x"}),  # a name to show, which opens nothing
    ],
)
def test_what_is_sent_is_plain_and_bounded(sent: dict[str, str], kept: dict[str, str]) -> None:
    assert HandBody.model_validate(sent).model_dump(include=kept.keys()) == kept


@pytest.mark.parametrize(
    "sent",
    [{"source": "x" * 70_000}, {"error": "x" * 70_000}, {"question": "x" * 3000}, {"html": "x"}, {"question": 5}],
)
def test_what_is_too_long_or_unknown_is_refused(sent: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HandBody.model_validate(sent)


# --- a notebook that helpers may see


async def test_helpers_see_a_notebook_only_with_consent_and_the_log_says_so(tmp_path: Path) -> None:
    async with open_class(tmp_path) as (world, slug):
        helping = world.room.helping
        assert await status_of(helping.look(TINA, slug, 1)) == 404
        await helping.raise_hand(ADA, slug, HandBody())
        await helping.ask_look(TINA, slug, 1)
        assert (await helping.state(ADA, slug)).hand.asked_by == "tina"  # type: ignore[union-attr]
        state = await helping.allow_look(ADA, slug, SESSION, look(10, source="x = 1"))
        assert state.look is not None
        assert state.hand is not None
        assert (state.look.until, state.look.seen_by, state.hand.asked_by) == (
            world.clock() + timedelta(minutes=10), (), "",
        )  # fmt: skip
        shown = (await seats(world, slug))[0].look
        assert shown is not None
        assert shown.file == "first.ipynb"
        for _ in range(2):
            assert (await helping.look(TINA, slug, 1)).snapshot.cells[0].source == "x = 1"
        assert (await helping.state(ADA, slug)).look.seen_by == ("tina",)  # type: ignore[union-attr]
        await helping.renew_look(ADA, slug, SESSION, snapshot("x = 2"))
        assert (await helping.look(TINA, slug, 1)).snapshot.cells[0].source == "x = 2"
        await helping.end_look(ADA, slug)
        assert await status_of(helping.look(TINA, slug, 1)) == 404
        assert await status_of(helping.renew_look(ADA, slug, SESSION, snapshot("x = 3"))) == 409
        lines = [one for one in await logged(world, slug) if "look" in one[0]]
        assert [one[:2] for one in lines] == [
            ("asks to look", "tina"), ("look", ADA), ("looked", "tina"), ("look ended", ADA),
        ]  # fmt: skip
        assert lines[1][2].startswith("first.ipynb, until ")
        assert lines[2][2] == "ada: first.ipynb"


async def test_a_consent_ends_by_itself_and_its_notebook_is_deleted(tmp_path: Path) -> None:
    async with open_class(tmp_path) as (world, slug):
        helping = world.room.helping
        await helping.allow_look(ADA, slug, SESSION, look())
        world.clock.forward(minutes=30)
        assert await status_of(helping.look(TINA, slug, 1)) == 404
        assert (await helping.state(ADA, slug)).look is None
        assert (await seats(world, slug))[0].look is None
        assert await status_of(helping.renew_look(ADA, slug, SESSION, snapshot())) == 409
        await helping.sweep()
        assert helping._looks._looks == {}
        assert [one[0] for one in await logged(world, slug)] == ["look", "look ended"]


async def test_another_session_or_file_renews_nothing(tmp_path: Path) -> None:
    async with open_class(tmp_path) as (world, slug):
        helping = world.room.helping
        await helping.allow_look(ADA, slug, SESSION, look())
        assert await status_of(helping.renew_look(ADA, slug, "b" * 32, snapshot("other"))) == 409
        assert await status_of(helping.renew_look(ADA, slug, SESSION, snapshot("other", "second.ipynb"))) == 409
        assert await status_of(helping.renew_look(BEN, slug, SESSION, snapshot("other"))) == 409
        assert (await helping.look(TINA, slug, 1)).snapshot.cells[0].source == "1 + 1"


async def test_consents_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_class(tmp_path) as (world, slug):
        helping = world.room.helping
        monkeypatch.setattr(looks, "MOST_LOOKS", 1)
        found = [await status_of(helping.allow_look(ADA, slug, SESSION, look())) for _ in range(7)]
        assert found == [200] * service.LOOKS_A_MINUTE + [429]
        assert await status_of(helping.allow_look(BEN, slug, SESSION, look())) == 429


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not base64!",
        base64.b64encode(b"<svg onload=alert(1)>").decode(),
        base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 30).decode(),
        png(60_000, 60_000),
        png() + '"><script>',
    ],
)
def test_an_image_is_a_png_of_a_size_that_a_browser_can_show(text: str) -> None:
    assert SnapshotOutput(kind="png", text=png()).text == png()
    with pytest.raises(ValidationError):
        SnapshotOutput(kind="png", text=text)


@pytest.mark.parametrize(
    "sent",
    [
        {"minutes": 31},
        {"minutes": 0},
        {"cells": [{"kind": "html"}]},
        {"cells": [{"kind": "raw"}] * 501},
        {"cells": [{"kind": "raw", "source": "x" * 20_000}] * 41},
    ],
)
def test_a_notebook_is_bounded_and_of_known_parts(sent: dict[str, Any]) -> None:
    given = {"file": "x", "saved": BEGIN, "cells": [], **sent}
    minutes = given.pop("minutes", 30)
    with pytest.raises(ValidationError):
        LookBody.model_validate({"minutes": minutes, "snapshot": given})


# --- from a session over the link


class Classroom:
    """A class with a link, and the notebooks of its people."""

    def __init__(self, made: RoomWorld, world: WorkshopsWorld, hub: FakeHub, base: str) -> None:
        self.made, self.world, self.hub, self.base = made, world, hub, base
        self.saved = 1  # changes with each save
        self._links: list[Link] = []

    def link(self, token: str) -> Link:
        link = Link(LinkRoute(f"{self.base}/services/factories/api", token, None))
        self._links.append(link)
        return link

    def desk(self, token: str) -> HelpDesk:
        async def changed(_path: str) -> int:
            return self.saved

        async def read(path: str) -> NotebookSnapshot:
            return snapshot(f"saved {self.saved}", path)

        return HelpDesk(SavedNotebook(changed, read), lambda: self.link(token))

    async def close(self) -> None:
        for link in self._links:
            await link.close()


@pytest.fixture
async def classroom(tmp_path: Path) -> AsyncIterator[Classroom]:
    hub = FakeHub()
    (tmp_path / "token").write_text("service-token\n")
    async with room_world(tmp_path) as made, made.service() as world, serving(hub.app) as hub_url:
        (made.folder / "link" / "token").write_text("service-token\n")
        asked = HubClient(made.link.config.hub.model_copy(update={"url": hub_url}))
        await made.workshop(world, ADA, BEN)
        await opens(world)
        async with serving(made.link.parts.user_app(made.link.parts.callers(asked), "/")) as base:
            room = Classroom(made, world, hub, base)
            yield room
            await room.close()
        await asked.close()


async def test_a_session_raises_the_hand_of_its_own_person(classroom: Classroom) -> None:
    await classroom.made.runs(1, ADA)
    await classroom.made.runs(2, BEN)
    desk = classroom.desk(classroom.hub.session_token(ADA))
    await comes(lambda: classroom.made.link.parts.relay._readers)
    shown = await desk.shown()
    assert shown is not None
    assert (shown["open"], shown["hand"]) == (True, None)
    await desk.raise_hand(HandBody(question="Why?", source="x"))
    ada, ben = (await seats(classroom.world, classroom.made.slug))[:2]
    assert ada.hand is not None
    assert (ada.hand.question, ada.hand.has, ben.hand) == ("Why?", ("source",), None)
    await classroom.world.room.helping.come(TINA, classroom.made.slug, 1)
    await desk._look()
    shown = await desk.shown()
    assert shown is not None
    assert (shown["hand"]["place"], shown["hand"]["by"]) == (0, "tina")
    await desk.lower()
    assert (await seats(classroom.world, classroom.made.slug))[0].hand is None


async def test_a_saved_notebook_is_sent_while_its_person_agrees(classroom: Classroom) -> None:
    await classroom.made.runs(1, ADA)
    helping, slug = classroom.world.room.helping, classroom.made.slug
    desk = classroom.desk(classroom.hub.session_token(ADA))
    await comes(lambda: classroom.made.link.parts.relay._readers)
    await desk.allow_look("first.ipynb", 30)
    assert (await helping.look(TINA, slug, 1)).snapshot.cells[0].source == "saved 1"
    classroom.saved = 2
    await desk._look()
    assert (await helping.look(TINA, slug, 1)).snapshot.cells[0].source == "saved 2"
    shown = await desk.shown()
    assert shown is not None
    assert (shown["look"]["path"], shown["look"]["seen_by"]) == ("first.ipynb", ["tina"])
    await helping.end_look(ADA, slug)  # on the workshop's page
    classroom.saved = 3
    await desk._look()
    shown = await desk.shown()
    assert shown is not None
    assert shown["look"] is None
    await desk.allow_look("first.ipynb", 30)
    await desk.end_look()
    assert await status_of(helping.look(TINA, slug, 1)) == 404


async def test_tokens_of_people_and_of_other_sessions_get_no_help(classroom: Classroom) -> None:
    await comes(lambda: classroom.made.link.parts.relay._readers)
    link = classroom.made.link
    with pytest.raises(LinkError) as caught:
        await classroom.link("ada-token").get("/help", HelpState)  # it is the person's own, not a session's
    assert caught.value.kind == "forbidden"
    with pytest.raises(LinkError) as caught:
        await classroom.link(classroom.hub.session_token(ADA)).get("/help", HelpState)  # no session runs
    assert caught.value.kind == "forbidden"
    await link.put("9" * 32, user=BEN, server="plain")  # for no workshop
    desk = classroom.desk(classroom.hub.session_token(BEN, "plain"))
    assert await desk.shown() is None
    assert desk._never
    async with httpx.AsyncClient(base_url=classroom.base) as http:
        assert (await http.get("/services/factories/api/help")).status_code == 401


async def test_a_session_is_told_that_the_service_is_away(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    await classroom.made.runs(1, ADA)
    live = next(iter(classroom.made.link.live_sessions.values()))
    monkeypatch.setattr(help_relay, "ANSWER_SECONDS", 0.05)
    alone = help_relay.HelpRelay()
    with pytest.raises(ProblemError) as caught:
        await alone.ask(live, "state")  # nobody has asked for asks
    assert caught.value.status == 503
    there, gone = AsyncMock(return_value=False), AsyncMock(return_value=True)
    taking = asyncio.gather(alone.take(gone), alone.take(there))  # the first one's connection is lost
    await asyncio.sleep(0)
    with pytest.raises(ProblemError) as caught:
        await alone.ask(live, "state")  # taken, and never answered
    assert caught.value.status == 503
    nothing, taken = await taking
    assert nothing.asks == ()
    (ask,) = taken.asks
    assert (ask.person, ask.session) == (ADA, live.record.id)


async def test_one_session_asks_only_so_often(classroom: Classroom, monkeypatch: pytest.MonkeyPatch) -> None:
    await classroom.made.runs(1, ADA)
    await comes(lambda: classroom.made.link.parts.relay._readers)
    monkeypatch.setattr(help_relay, "MOST_A_MINUTE", 3)
    link = classroom.link(classroom.hub.session_token(ADA))
    for _ in range(3):
        await link.get("/help", HelpState)
    with pytest.raises(LinkError) as caught:
        await link.get("/help", HelpState)
    assert caught.value.kind == "too-many"


async def test_a_session_that_sends_too_much_is_refused_before_its_notebook_is_checked(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    await classroom.made.runs(1, ADA)
    await comes(lambda: classroom.made.link.parts.relay._readers)
    monkeypatch.setattr(help_relay, "MOST_A_MINUTE", 3)
    hostile = {"snapshot": {"file": "x" * 5000, "cells": [{"kind": "script", "source": HOSTILE}] * 1000}}
    headers = {"Authorization": f"token {classroom.hub.session_token(ADA)}"}
    url = f"{classroom.base}/services/factories/api"
    async with httpx.AsyncClient(base_url=url, headers=headers) as http:
        asked = [("PUT", "/help/hand"), ("PUT", "/help/look"), ("POST", "/help/snapshot")]
        for method, path in asked:
            assert (await http.request(method, path, json=hostile)).status_code == 400, path
        for method, path in asked:  # what was wrong counts, too, and nothing more of it is looked at
            assert (await http.request(method, path, json=hostile)).status_code == 429, path
