"""The room of a workshop: its seats from people and sessions, its stream, and messages that reach each person once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from hypothesis import given
from hypothesis import strategies as st

from factorycommon.event_stream import read_events
from factorycommon.material.steps import KnownStep
from factorycommon.models import MessageBody, SessionState, Words
from factorycommon.models.workshops.sessions import WorkshopSession, WorkshopSessions
from factorycommon.service.problems import ProblemError
from factorygate.session.messages import read_message
from tests.unit.room_world import NOW, PATIENCE, RoomWorld, comes, room_world, session
from tests.unit.serving import serving
from tests.unit.workshops_world import OPERATOR, OTTO, PAUL, TINA, WorkshopsWorld, workshops_world
from workshops.api.hub import hub_app
from workshops.link import MISMATCH, LinkSocket
from workshops.models.bodies import Role
from workshops.models.callers import WorkshopCaller
from workshops.models.room import BroadcastBody, RoomChange, RoomView
from workshops.room import broadcasts
from workshops.room import service as room_service
from workshops.room.seats import changes, room_of
from workshops.room.sessions import SessionCopy
from workshops.states import WorkshopState
from workshops.store.schema import MembershipRecord, WorkshopRecord

ADA, BEN = "ada", "ben"
HOSTILE = '<img src=x onerror="document.title=1">'


# --- the seats, from people and sessions


def workshop(seats: int = 4) -> WorkshopRecord:
    return WorkshopRecord(
        slug="w", title="W", zone="UTC", opens=NOW, starts=NOW, ends=NOW, closes=NOW, seats=seats, hours=1,
        gpu_hours=None, person_gpu_hours=None, terms="", languages=("en",), material=None, retention_days=1,
        warm_minutes=0, state=WorkshopState.OPEN, version=1, made=NOW, made_by="tina",
    )  # fmt: skip


def member(person: str, seat: int | None, role: Role = "participant", name: str = "") -> MembershipRecord:
    return MembershipRecord("w", person, role, "staff" if seat is None else "seated", seat, NOW, name)


def test_each_seat_shows_its_person_s_session_with_the_reason_in_words() -> None:
    waits = Words(code="queue", what="Other jobs come first.", do="Wait.")
    sessions = [
        session(1, ADA, state="ended", ready=None),
        session(2, ADA),
        session(3, BEN, state="pending", ready=None, open=False, reason=waits, position=2, expected_start=NOW),
    ]
    room = room_of(workshop(), [member(ADA, 1, name="Ada"), member(BEN, 3), member("tina", None, "lead")], sessions)
    first, free, waiting, _ = room.seats
    assert (first.person, first.name, first.state, first.ready) == (ADA, "Ada", SessionState.RUNNING, True)
    assert (free.taken, free.state, free.person) == (False, None, None)
    assert (waiting.reason, waiting.position, waiting.expected_start) == ("Other jobs come first. Wait.", 2, NOW)
    assert (room.total, room.taken, room.ready) == (4, 2, 1)
    told = room.model_dump(mode="json")["seats"][2]
    assert {"seat", "person", "server", "state", "factory", "reason", "expected_start", "hand"} <= told.keys()
    assert told["hand"] is None


def test_a_seat_that_could_not_be_begun_shows_why() -> None:
    why = Words(code="pool-not-wiped", what="No account is clean.", do="Ask the operators.")
    people, refused = [member(ADA, 1), member(BEN, 2)], {ADA: why, BEN: why}
    first, second, *free = room_of(workshop(), people, [session(1, ADA)], not_begun=refused).seats
    assert (first.state, first.words) == (SessionState.RUNNING, None)  # what runs counts
    assert (second.state, second.reason, second.words) == (None, "No account is clean. Ask the operators.", why)
    assert [one.words for one in free] == [None, None]
    dark = room_of(workshop(), people, [], not_begun=refused, names=False)
    assert [one.words for one in dark.seats] == [None] * 4  # words may name the person


def test_each_seat_shows_how_many_steps_were_done_and_a_projector_only_counts() -> None:
    steps = [KnownStep(notebook="a.ipynb", name=name) for name in ("load", "", "train")]
    people = [member(ADA, 1), member(BEN, 2), member("eve", 3)]
    sessions = [session(1, ADA, steps=(0, 2, 40)), session(2, BEN, steps=(0,))]
    room = room_of(workshop(), people, sessions, steps=steps)
    assert [(one.step, one.step_last) for one in room.seats] == [(2, 2), (1, 0), (None, None), (None, None)]
    assert [(one.name, one.done) for one in room.steps] == [("load", 2), ("", 0), ("train", 1)]
    dark = room_of(workshop(), people, sessions, steps=steps, names=False)
    assert [one.step for one in dark.seats] == [None] * 4
    assert dark.steps == room.steps
    assert [one.step for one in room_of(workshop(), people, sessions).seats] == [None] * 4  # no steps are known


def test_a_running_session_whose_notebook_has_not_answered_is_not_ready() -> None:
    room = room_of(workshop(), [member(ADA, 1)], [session(1, ADA, ready=None)])
    assert (room.seats[0].state, room.seats[0].ready, room.ready) == (SessionState.RUNNING, False, 0)


PEOPLE = st.lists(st.sampled_from([ADA, BEN, "guest.x", HOSTILE]), max_size=4, unique=True)
SESSIONS = st.lists(
    st.builds(
        lambda number, person, state: session(number, person, state=state),
        st.integers(1, 30),
        st.sampled_from([ADA, BEN, "guest.x", HOSTILE, "stranger"]),
        st.sampled_from(list(SessionState)),
    ),
    max_size=8,
)


def rooms(people: list[str], sessions: list[WorkshopSession], **more: Any) -> RoomView:
    return room_of(workshop(), [member(one, number) for number, one in enumerate(people, 1)], sessions, **more)


def after(room: RoomView, change: RoomChange | None) -> RoomView:
    """Return the room as a page has it after a change; None: nothing has changed."""
    if change is None:
        return room
    head = (change.head or room).model_dump(exclude={"seats"})
    seats = {one.seat: one for one in (*room.seats, *change.seats)}
    return RoomView.model_validate({**head, "seats": [seats[number] for number in sorted(seats)]})


@given(PEOPLE, SESSIONS, PEOPLE, SESSIONS)
def test_the_changes_of_a_room_lead_to_the_new_one(
    people: list[str], sessions: list[WorkshopSession], later: list[str], others: list[WorkshopSession]
) -> None:
    before, now = rooms(people, sessions), rooms(later, others)
    change = changes(before, now)
    assert after(before, change) == now
    assert changes(now, now) is None
    assert [one.seat for one in now.seats] == [1, 2, 3, 4]
    assert now.ready <= now.taken == len(later)


@given(PEOPLE, SESSIONS)
def test_without_names_no_name_leaves_the_service(people: list[str], sessions: list[WorkshopSession]) -> None:
    shown = rooms(people, sessions, names=False).model_dump_json()
    assert not [one for one in people if json.dumps(one)[1:-1] in shown]


# --- who may do what


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("lead", {"see-room", "broadcast", "stop-seat", "start-seat"}),
        ("instructor", {"see-room", "broadcast", "stop-seat", "start-seat"}),
        ("helper", {"see-room"}),
        ("observer", {"see-room"}),
        ("participant", set()),
        (None, set()),
    ],
)
async def test_each_role_may_do_its_own(tmp_path: Path, role: Role | None, may: set[str]) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        world.clock.forward(days=2)
        await world.clockwork.look()
        await world.workshops.put_member(TINA, slug, ADA, "participant")
        if role is not None:
            await world.workshops.put_member(TINA, slug, "paul", role)
        refused = {}
        for name, asked in (
            ("see-room", world.room.view(PAUL, slug)),
            ("broadcast", world.room.broadcast(PAUL, slug, BroadcastBody(text="x"))),
            ("stop-seat", world.room.stop(PAUL, slug, 1)),
            ("start-seat", world.acts.ask(PAUL, slug, 1, "start")),
        ):
            try:
                await asked
            except ProblemError as error:
                refused[name] = error.status
        wrong = 404 if role is None else 403  # for strangers there is no such workshop
        assert {name for name, status in refused.items() if status == wrong} == {
            "see-room", "broadcast", "stop-seat", "start-seat"
        } - may  # fmt: skip
        assert all(refused[name] == 409 for name in may & refused.keys())  # this service has no link
        if "see-room" in may:
            room = await world.room.view(PAUL, slug)
            assert (room.seats[0].person == ADA) is (role != "observer")
            assert (ADA in room.model_dump_json()) is (role != "observer")
            assert room.trouble is not None
        assert (await world.room.view(OPERATOR, slug)).seats[0].person == ADA


async def test_a_person_opens_as_many_rooms_as_they_may_and_no_more_also_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_service, "MOST_STREAMS", 3)
    async with workshops_world(tmp_path) as world, AsyncExitStack() as open_:
        slug = (await world.scheduled()).slug
        together, view = asyncio.Barrier(5), world.room.view

        async def at_once(caller: WorkshopCaller, slug: str) -> RoomView:
            found = await view(caller, slug)
            await together.wait()  # all requests are as far as this before one of them goes on
            return found

        app = hub_app(world.workshops, world.joining, world.of_hub)
        http = await open_.enter_async_context(httpx.AsyncClient(timeout=PATIENCE))
        url = await open_.enter_async_context(serving(app))

        async def opens() -> httpx.Response:
            request = http.build_request("GET", f"{url}/workshops/{slug}/room/events", params={"as": "tina"})
            return await http.send(request, stream=True)

        with monkeypatch.context() as patched:
            patched.setattr(world.room, "view", at_once)
            answers = await asyncio.gather(*(opens() for _ in range(5)))
        taken = [one for one in answers if one.status_code == 200]
        assert sorted(one.status_code for one in answers) == [200, 200, 200, 429, 429]
        assert (await opens()).status_code == 429
        await taken[0].aclose()
        await comes(lambda: not world.room.streams.full("tina"))
        taken.append(await opens())
        assert taken[-1].status_code == 200
        world.room.close()
        for one in (*answers, taken[-1]):
            await one.aclose()


# --- with a link


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[RoomWorld, WorkshopsWorld]]:
    async with room_world(tmp_path) as made, made.service() as service:
        yield made, service


Both = tuple[RoomWorld, WorkshopsWorld]


async def test_the_room_follows_the_sessions(both: Both) -> None:
    made, service = both
    slug = await made.workshop(service, ADA, BEN)
    stream = read_events(await service.room.stream(TINA, slug))
    first = await anext(stream)
    assert first.name == "room"
    room = RoomView.model_validate_json(first.data)
    assert [one.state for one in room.seats] == [None] * 6
    assert room.trouble is None
    await made.runs(1, ADA)
    async with asyncio.timeout(60):
        while not room.ready:
            event = await anext(stream)
            assert event.name == "change"
            room = after(room, RoomChange.model_validate_json(event.data))
    assert (room.seats[0].person, room.seats[0].factory, room.ready) == (ADA, "one", 1)
    await service.workshops.put_member(OPERATOR, slug, "otto", "lead")
    await service.workshops.drop_member(OTTO, slug, "tina")
    service.room.wake()
    async with asyncio.timeout(60):
        assert [event.name async for event in stream if event.name != "change"] == []  # it ends


async def test_a_seat_is_stopped_and_shows_why_it_ended(tmp_path: Path) -> None:
    async with room_world(tmp_path) as made:
        async with made.service() as service:
            slug = await made.workshop(service, ADA, BEN)
            await made.runs(1, ADA)
            await comes(lambda: service.room.sessions.of(f"workshop-{slug}"))
            with pytest.raises(ProblemError, match="Nothing runs on seat 2"):
                await service.room.stop(TINA, slug, 2)
            with pytest.raises(ProblemError, match="seat 5"):
                await service.room.stop(TINA, slug, 5)
            await service.room.stop(TINA, slug, 1)
            record = await made.link.session(f"{1:032x}")
            assert (record.wish, record.log[-1].code) == ("stop", "stopped-by-trainer")
            await made.link.answered_until(f"{1:032x}", state="ended")
            await comes(lambda: [one.state for one in service.room.sessions.of(f"workshop-{slug}")] == ["ended"])
            seat = (await service.room.view(TINA, slug)).seats[0]
            assert (seat.state, seat.end_reason, bool(seat.reason)) == ("ended", "stopped", True)
        async with made.service() as later:  # a service that has just started asks for what has ended
            assert (await later.room.view(TINA, slug)).seats[0].state == "ended"


def told(made: RoomWorld) -> list[tuple[int, str]]:
    """Return what the sessions' doors were told: the session's number, and the text."""
    return [(int(name, 16), message.text) for name, message in made.link.doors.messages]


async def test_a_message_reaches_everybody_once_also_who_starts_late(both: Both) -> None:
    made, service = both
    slug = await made.workshop(service, ADA, BEN)
    await made.runs(1, ADA)
    await comes(lambda: [one.open for one in service.room.sessions.of(f"workshop-{slug}")] == [True])
    body = BroadcastBody(text="Open the first notebook.", texts={"de": "Öffnet das erste Notebook."}, id="m-1234567")
    sent = await service.room.broadcast(TINA, slug, body)
    assert (sent.received, sent.people) == (1, 3)
    assert (await service.room.broadcast(TINA, slug, body)).id == sent.id  # a second click
    assert told(made) == [(1, body.text)]
    await made.runs(2, BEN)
    await comes(lambda: len(told(made)) == 2)
    await service.room.broadcasts.look()
    await made.runs(3, ADA, "again")  # she has read it in her first session
    await comes(lambda: len(service.room.sessions.of(f"workshop-{slug}")) == 3)
    await service.room.broadcasts.look()
    assert told(made) == [(1, body.text), (2, body.text)]
    assert {message.id for _, message in made.link.doors.messages} == {"class-m-1234567"}
    assert made.link.doors.messages[0][1].texts == {"en": body.text, **body.texts}
    shown = (await service.room.view(TINA, slug)).messages
    assert [(one.by, one.received) for one in shown] == [("tina", 2)]


async def test_a_killed_service_tells_nobody_twice_and_forgets_nobody(tmp_path: Path) -> None:
    async with room_world(tmp_path) as made:
        async with made.service() as service:
            slug = await made.workshop(service, ADA, BEN)
            await made.runs(1, ADA)
            await comes(lambda: [one.open for one in service.room.sessions.of(f"workshop-{slug}")] == [True])
            await service.room.broadcast(TINA, slug, BroadcastBody(text="first"))
            await service.room.broadcast(TINA, slug, BroadcastBody(text="second"))
        async with made.service() as service:
            await made.runs(2, BEN)
            await comes(lambda: len(told(made)) == 4)
            await service.room.broadcasts.look()
        assert told(made) == [(1, "first"), (1, "second"), (2, "first"), (2, "second")]


async def test_what_was_sent_and_not_noted_is_sent_again_with_the_same_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise OSError("killed")

    async with room_world(tmp_path) as made:
        async with made.service() as service:
            slug = await made.workshop(service, ADA)
            await made.runs(1, ADA)
            await comes(lambda: [one.open for one in service.room.sessions.of(f"workshop-{slug}")] == [True])
            with monkeypatch.context() as patch:
                patch.setattr(broadcasts.rows, "add_receipts", killed)
                with pytest.raises(OSError, match="killed"):
                    await service.room.broadcast(TINA, slug, BroadcastBody(text="first"))
        async with made.service() as service:
            await comes(lambda: len(told(made)) >= 2)
            await comes(lambda: not service.room.broadcasts._waiting(slug))
        assert len({message.id for _, message in made.link.doors.messages}) == 1  # the session shows an id once


async def test_a_door_that_does_not_answer_delays_nobody_else(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    made, service = both
    slug = await made.workshop(service, ADA, BEN)
    for number, person in enumerate((ADA, BEN), 1):
        await made.runs(number, person)
    await comes(lambda: [one.open for one in service.room.sessions.of(f"workshop-{slug}")] == [True, True])
    monkeypatch.setattr("factorylink.api.workshop_room.TELL_SECONDS", 0.2)
    plain, stuck = made.link.doors.tell, asyncio.Event()

    async def tell(session_id: str, message: MessageBody) -> None:
        if session_id == f"{1:032x}":
            await stuck.wait()
        await plain(session_id, message)

    monkeypatch.setattr(made.link.doors, "tell", tell)
    for text in ("first", "second"):
        assert (await service.room.broadcast(TINA, slug, BroadcastBody(text=text))).received == 1
    assert told(made) == [(2, "first"), (2, "second")]
    stuck.set()
    service.room.broadcasts._pauses.clear()
    await service.room.broadcasts.look()
    assert told(made)[2:] == [(1, "first"), (1, "second")]


async def test_a_message_does_not_wait_for_a_session_that_is_told_again(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, service = both
    slug = await made.workshop(service, ADA, BEN)
    for number, person in enumerate((ADA, BEN), 1):
        await made.runs(number, person)
    await comes(lambda: [one.open for one in service.room.sessions.of(f"workshop-{slug}")] == [True, True])
    plain, asked, answers = made.link.doors.tell, asyncio.Event(), asyncio.Event()

    async def tell(session_id: str, message: MessageBody) -> None:
        if session_id == f"{1:032x}":
            asked.set()
            await answers.wait()
        await plain(session_id, message)

    monkeypatch.setattr(made.link.doors, "tell", tell)
    monkeypatch.setattr("factorylink.api.workshop_room.TELL_SECONDS", 0.2)
    await service.room.broadcast(TINA, slug, BroadcastBody(text="first"))
    monkeypatch.setattr("factorylink.api.workshop_room.TELL_SECONDS", PATIENCE)
    monkeypatch.setattr(broadcasts, "_ANSWER_SECONDS", 2 * PATIENCE)
    service.room.broadcasts._pauses[slug, ADA] = (0.0, 5.0)
    asked.clear()
    retry = asyncio.create_task(service.room.broadcasts.look())
    await asked.wait()
    sent = await asyncio.wait_for(service.room.broadcast(TINA, slug, BroadcastBody(text="second")), PATIENCE / 2)
    assert (sent.received, retry.done()) == (1, False)
    assert told(made) == [(2, "first"), (2, "second")]
    answers.set()
    await retry
    await comes(lambda: len(told(made)) == 4)
    assert told(made)[2:] == [(1, "first"), (1, "second")]


async def test_messages_are_limited(both: Both) -> None:
    made, service = both
    slug = await made.workshop(service, ADA)
    for number in range(broadcasts.MOST_A_MINUTE):
        await service.room.broadcast(TINA, slug, BroadcastBody(text=f"{number}"))
    with pytest.raises(ProblemError, match="too fast") as caught:
        await service.room.broadcast(TINA, slug, BroadcastBody(text="one more"))
    assert caught.value.status == 429
    service.clock.forward(minutes=2)
    await service.room.broadcast(TINA, slug, BroadcastBody(text="one more", id="the-same-id"))
    with pytest.raises(ProblemError, match="Another message"):
        await service.room.broadcast(TINA, slug, BroadcastBody(text="another", id="the-same-id"))


async def test_a_message_is_deleted_with_the_people_of_its_workshop(both: Both) -> None:
    made, service = both
    slug = await made.workshop(service, ADA)
    await made.runs(1, ADA)
    await comes(lambda: [one.open for one in service.room.sessions.of(f"workshop-{slug}")] == [True])
    await service.room.broadcast(TINA, slug, BroadcastBody(text="secret"))
    for days in (5, 1, 40):  # it closes, it is archived, its days of retention are over
        service.clock.forward(days=days)
        await service.clockwork.look()
    rows = await service.store.transact(lambda db: broadcasts.rows.of(db, [slug])[slug])
    assert rows == []


async def test_when_the_link_goes_the_room_says_so_and_shows_what_it_knew(tmp_path: Path) -> None:
    async with room_world(tmp_path) as made, made.service() as service:
        slug = await made.workshop(service, ADA)
        await made.runs(1, ADA)
        await comes(lambda: [one.open for one in service.room.sessions.of(f"workshop-{slug}")] == [True])
        made.link.parts.end_streams()
        (tmp_path / "link.sock").rename(tmp_path / "away")
        await comes(lambda: not service.room.sessions.fresh)
        room = await service.room.view(TINA, slug)
        assert room.trouble is not None
        assert "does not answer" in room.trouble.text
        assert room.seats[0].state == "running"  # as last heard


async def test_a_link_of_another_release_is_named_in_the_room(tmp_path: Path) -> None:
    """The link's events cannot be parsed; or they can be parsed, but an answer about seats cannot."""
    app = FastAPI()

    @app.get("/events")
    async def events() -> Response:
        return Response('event: snapshot\ndata: {"sessions": [{"id": 1}]}\n\n', media_type="text/event-stream")

    @app.get("/projects/{project}/sessions")
    async def sessions(project: str) -> Response:
        return Response('{"sessions": []}')

    async with workshops_world(tmp_path, link={"socket": str(tmp_path / "link.sock")}) as world:
        slug = (await world.scheduled()).slug
        async with serving(app, tmp_path / "link.sock"):
            following = asyncio.create_task(world.room.sessions.run())
            await comes(lambda: world.room.sessions.mismatch)
            room = await world.room.view(TINA, slug)
            assert room.trouble is not None
            assert "update the older of the two" in room.trouble.text
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        world.room.sessions.take(True, WorkshopSessions())
        world.room.sessions._whole.add(f"workshop-{slug}")
        assert (await world.room.view(TINA, slug)).trouble is None
        world.room.trouble_of = lambda of: MISMATCH.as_message("message") if of == slug else None
        room = await world.room.view(TINA, slug)
        assert room.trouble is not None
        assert room.trouble.code == "workshop-link-other-release"


async def test_without_an_answer_of_the_link_a_message_waits(tmp_path: Path) -> None:
    async with workshops_world(tmp_path, link={"socket": "nobody.sock"}) as world:
        slug = (await world.scheduled()).slug
        await world.workshops.put_member(TINA, slug, ADA, "participant")
        assert (await world.room.broadcast(TINA, slug, BroadcastBody(text="later"))).received == 0
        room = await world.room.view(TINA, slug)
        assert room.trouble is not None
        assert [(one.text, one.received) for one in room.messages] == [("later", 0)]
        with pytest.raises(ProblemError, match="does not answer"):
            await world.room.stop(TINA, slug, 1)


# --- the copy of the sessions


async def test_a_snapshot_ends_what_it_does_not_name() -> None:
    copy, heard = SessionCopy(LinkSocket(None)), list[frozenset[str]]()
    copy.on_change.append(heard.append)
    copy.take(True, WorkshopSessions(sessions=(session(1, ADA), session(2, BEN, slug="v"))))
    copy.take(False, WorkshopSessions(sessions=(session(1, ADA, state="ended"),)))
    assert [(one.person, one.state) for one in copy.of("workshop-w")] == [(ADA, "ended")]
    copy.take(True, WorkshopSessions(sessions=(session(3, ADA),)))
    assert [one.id for one in copy.live()] == [f"{3:032x}"]
    assert copy.of("workshop-v") == []
    assert heard[-1] == {"workshop-w", "workshop-v"}
    copy.forget_all_but([])
    assert [one.state for one in copy.of("workshop-w")] == ["running"]


# --- in the session


@pytest.mark.parametrize(
    ("languages", "text"),
    [(["de-AT", "en"], "Hallo"), (["en", "de"], "Hello"), (["fr"], "Hello"), ([""], "Hello"), (["pl", "de"], "Hallo")],
)
def test_a_session_shows_the_first_language_of_its_person(languages: list[str], text: str) -> None:
    body = {"id": "x", "text": "Hello", "texts": {"en": "Hello", "de": "Hallo"}}
    assert read_message(body, 0, languages).text == text


@pytest.mark.parametrize("texts", [{"de": 5}, {"de": "a\x00b"}, {"de": "x" * 1001}, {"de": " "}])
def test_a_text_in_a_language_is_checked_as_any_other(texts: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="text"):
        read_message({"id": "x", "text": "Hello", "texts": texts}, 0, ["de"])
