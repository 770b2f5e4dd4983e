"""The link's operations on seats: who may have one, that each begins once, its hours, and the hub's adoption.

A seat's hours depend on what a reservation and the person's share leave. Seats can move to another factory.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from factorycommon.models import (
    AccessStatus,
    HubRules,
    PersonBody,
    Project,
    ProjectAt,
    Reservation,
    ReservationView,
    Words,
)
from factorylink.background.hub_recovery import AT_ONCE, HubRecovery
from factorylink.config import Access, DoorAccess, SshTransportSettings, WrapperCredentials
from factorylink.projects import reservations
from factorylink.sessions import workshop_seats
from factorylink.util import clock
from tests.unit.fake_factory import ID, FakeScheduler, MortalScheduler, World, factory
from tests.unit.fake_hub import served
from tests.unit.fake_projects import Table, project, refusal

HOUR = timedelta(hours=1)
W, OTHERS = "workshop-w", "workshop-v"


class Seats:
    """A link with two workshops, and the socket of the workshops service."""

    def __init__(self, world: World, table: Table, http: httpx.AsyncClient) -> None:
        self.world, self.table, self.http = world, table, http
        self.second = world.scheduler  # the scheduler of a second factory, if there is one

    async def ask(self, *people: str, workshop: str = W, session: int = 1, **fields: Any) -> httpx.Response:
        """Ask for the seats of these people; return the link's answer.

        ``session``: the number of the first person's session, the others' numbers follow; ``fields``: other fields of
        each seat.
        """
        seats = [
            {"session": f"{number:032x}", "person": person, "factory": "one", "size": "gpu-1", "hours": 2, **fields}
            for number, person in enumerate(people, session)
        ]
        body = {"seats": seats, "unopened_until": (clock.now() + HOUR).isoformat(), "early_hours": 0.5}
        body |= {"farewell": "The class moves.", "farewells": {"de": "Der Kurs zieht um."}}
        return await self.http.post(f"/projects/{workshop}/seats", json=body)

    async def begun(self, *people: str, **fields: Any) -> list[dict[str, Any]]:
        answer = await self.ask(*people, **fields)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["seats"]
        return found

    def set(self, **fields: Any) -> None:
        both = {"one": ProjectAt(), "two": ProjectAt()}
        given = {"members": ("ada", "ben"), "ends": clock.now() + 10 * HOUR, "factories": both, **fields}
        self.table.set(project(W, **given), project(OTHERS, members=("cleo", "ada")))


@pytest_asyncio.fixture
async def seats(tmp_path: Path) -> AsyncIterator[Seats]:
    world, table = World(tmp_path), Table()
    world.workshops = table
    await world.up()
    transport = httpx.ASGITransport(app=world.parts.workshops_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://link") as http:
        made = Seats(world, table, http)
        made.set()
        yield made
    await world.down()


async def test_seats_begin_each_once(seats: Seats) -> None:
    first = await seats.begun("ada", "ben")
    assert [(one["answer"], one["state"]) for one in first] == [("begun", "pending")] * 2
    again = await seats.begun("ada", "ben")
    assert [one["answer"] for one in again] == ["there", "there"]
    assert [one["live"] for one in again] == [one["session"] for one in first]
    other = await seats.begun("ada", session=50)  # with a new id: they have one already
    assert (other[0]["answer"], other[0]["live"]) == ("there", first[0]["session"])
    assert len(seats.world.scheduler.submitted) == 2
    session = await seats.world.session(first[0]["session"])
    assert (session.choice.project, session.choice.hours, session.server) == (W, 2.5, "")


async def test_a_seat_asked_for_at_the_same_moment_twice_is_one_job(seats: Seats) -> None:
    both = await asyncio.gather(seats.begun("ada"), seats.begun("ada"), seats.begun("ada", session=9))
    assert {one[0]["answer"] for one in both} <= {"begun", "there", "refused"}
    assert len(seats.world.scheduler.submitted) == 1
    assert (await seats.begun("ada", session=9))[0]["answer"] == "there"


async def test_an_ended_seat_is_not_begun_again_under_its_id(seats: Seats) -> None:
    (one,) = await seats.begun("ada")
    await seats.world.sessions.stop(one["session"], "person")
    await seats.world.comes(lambda: bool(seats.world.scheduler.cancelled))
    await seats.world.scheduler.answer(2)
    await seats.world.until(one["session"], state="ended")
    (again,) = await seats.begun("ada")
    assert (again["state"], again["end_reason"]) == ("ended", "stopped")
    assert len(seats.world.scheduler.submitted) == 1


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_seat_that_is_stopped_before_its_order_comes_never_begins(
    seats: Seats, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    stop = f"/projects/{W}/sessions/{1:032x}/stop"
    if when == "before":
        assert (await seats.http.post(stop)).status_code == 404
        (answer,) = await seats.begun("ada")
        assert (answer["answer"], answer["problem"]["code"]) == ("refused", "stopped-before-begun")
    else:
        reached, go_on = asyncio.Event(), asyncio.Event()
        add = seats.world.ledger.add

        async def slow(*arguments: Any) -> None:
            reached.set()
            await go_on.wait()
            await add(*arguments)

        monkeypatch.setattr(seats.world.ledger, "add", slow)
        asking = asyncio.create_task(seats.begun("ada"))
        await reached.wait()
        assert (await seats.http.post(stop)).status_code == 404
        go_on.set()
        await asking
        await seats.world.until(f"{1:032x}", state="ended")
    assert seats.world.scheduler.submitted == []
    assert (await seats.begun("ben", session=2))[0]["answer"] == "begun"


async def test_a_session_of_another_workshop_is_not_stopped_by_its_id(seats: Seats) -> None:
    (theirs,) = await seats.begun("cleo", workshop=OTHERS)
    assert (await seats.http.post(f"/projects/{W}/sessions/{theirs['session']}/stop")).status_code == 404
    assert (await seats.world.session(theirs["session"])).wish == "run"


async def ended(seats: Seats, session: str) -> None:
    """Wait until a session whose end was requested has ended, while the scheduler answers repeatedly."""
    await seats.world.answered_until(session, state="ended")


async def test_who_stops_their_session_before_the_service_noticed_it_gets_no_second_one(seats: Seats) -> None:
    joined = clock.now().isoformat()
    await seats.world.put(ID, "ada", project=W)
    await seats.world.sessions.stop(ID, "person")
    (stops,) = await seats.begun("ada", session=50, since=joined)
    assert (stops["answer"], stops["live"], stops["problem"]) == ("there", ID, None)
    await ended(seats, ID)
    await seats.world.down()
    await seats.world.up()  # a restart of the link forgets no session that has ended
    transport = httpx.ASGITransport(app=seats.world.parts.workshops_app())
    seats.http = httpx.AsyncClient(transport=transport, base_url="http://link")
    for _ in range(2):
        (over,) = await seats.begun("ada", session=50, since=joined)
        assert (over["answer"], over["live"], over["state"], over["end_reason"]) == ("there", ID, "ended", "stopped")
    assert not [one for one in seats.world.live_sessions.values() if one.record.user == "ada"]


async def test_a_seat_begins_after_sessions_that_are_no_seat(seats: Seats) -> None:
    await seats.world.put(ID, "ada", project=W)
    await seats.world.sessions.stop(ID, "person")
    await ended(seats, ID)
    joined = clock.now().isoformat()  # anew
    assert (await seats.begun("ada", session=50, since=joined))[0]["answer"] == "begun"
    before = (clock.now() - HOUR).isoformat()
    await seats.world.put("e" * 32, "ben", project=W)
    await seats.world.sessions.stop("e" * 32, "person")
    await ended(seats, "e" * 32)
    (known,) = await seats.begun("ben", session=60, since=before, over="e" * 32)
    assert known["answer"] == "begun"  # the service knows that this one has ended


@pytest.mark.parametrize("given", [{}, {"project": OTHERS}, {"server": "other"}])
async def test_without_a_session_that_was_the_seat_one_begins(seats: Seats, given: dict[str, Any]) -> None:
    joined = clock.now().isoformat()
    if given:
        await seats.world.put(ID, "ada", **{"project": W, **given})
        await seats.world.sessions.stop(ID, "person")
        await ended(seats, ID)
    (one,) = await seats.begun("ada", session=50, since=joined)
    assert (one["answer"], one["state"]) == ("begun", "pending")


async def test_only_people_of_the_workshop_get_its_seats(seats: Seats) -> None:
    mine, stranger = await seats.begun("ada", "cleo")
    assert (mine["answer"], stranger["answer"]) == ("begun", "refused")  # who has just joined holds up nobody
    assert stranger["problem"]["code"] == "not-in-workshop"
    assert len(seats.world.scheduler.submitted) == 1
    for strange, status in (("workshop-x", 404), ("p", 400), ("EHPC-1", 400)):
        assert (await seats.ask("ada", workshop=strange)).status_code == status
        assert (await seats.http.get(f"/projects/{strange}/seats")).status_code == status
        hold = await seats.http.put(f"/projects/{strange}/hold", json={"accounts": {"one": 1}})
        assert hold.status_code == status


@pytest.mark.parametrize(
    "wrong", [{"hours": 0}, {"size": "a b"}, {"person": ""}, {"options": {}}, {"server": "a/b"}, {"project": OTHERS}]
)
async def test_a_body_that_asks_for_more_is_refused(seats: Seats, wrong: dict[str, Any]) -> None:
    assert (await seats.ask("ada", **wrong)).status_code == 400


async def test_a_session_of_something_else_is_neither_shown_nor_replaced(seats: Seats) -> None:
    mine = await seats.world.put(ID, "ada", project=OTHERS)
    (one,) = await seats.begun("ada")
    assert (one["answer"], one["problem"]["kind"]) == ("refused", "conflict")
    (stolen,) = await seats.begun("ben", session=int(ID, 16))
    assert stolen["answer"] == "refused"
    assert mine.id not in json.dumps(one)
    assert "ada" not in json.dumps(stolen)  # whose session it is


async def test_a_login_of_any_age_is_enough_and_a_block_is_not(seats: Seats) -> None:
    await seats.world.people.put_rules(HubRules(access=True))
    stale = Words(code="login-stale", what="You last signed in too long ago.", whose="you")
    old = AccessStatus(until=clock.now() - HOUR, refusal=stale)
    await seats.world.people.put("ada", PersonBody(groups=frozenset(), access=old))
    assert (await refusal(seats.world, user="ada", project=W))[0] == "login-stale"
    assert (await seats.begun("ada"))[0]["answer"] == "begun"
    for access in (
        AccessStatus(refusal=Words(code="login-terms", what="Accept the terms.")),
        None,
    ):
        await seats.world.people.put("ben", PersonBody(groups=frozenset(), access=access))
        assert (await seats.begun("ben", session=7))[0]["problem"]["kind"] == "forbidden"
    await seats.world.people.put("ben", PersonBody(groups=frozenset(), blocked=True))
    assert (await seats.begun("ben", session=7))[0]["problem"]["code"] == "blocked"


async def test_a_closed_factory_refuses_with_words(seats: Seats) -> None:
    await seats.world.factories.drain("one", "Maintenance", "op")
    (one,) = await seats.begun("ada")
    assert (one["problem"]["kind"], one["problem"]["message"]) == ("draining", "Maintenance")
    (place,) = (await seats.http.get(f"/projects/{W}/seats")).json()["places"]
    assert place["problem"]["message"] == "Maintenance"


async def test_a_refusal_by_the_scheduler_is_told_again(seats: Seats) -> None:
    seats.world.scheduler.refuses = "Invalid qos"
    for _ in range(2):
        (one,) = await seats.begun("ada")
        assert (one["answer"], one["problem"]["kind"]) == ("refused", "refused")


# --- hours


async def test_a_seat_s_hours_are_those_of_the_class_and_the_time_before(seats: Seats) -> None:
    seats.set(max_hours=2)
    (one,) = await seats.begun("ada")
    assert (await seats.world.session(one["session"])).choice.hours == 2.5


async def test_budget_and_end_shorten_a_seat(seats: Seats) -> None:
    seats.set(gpu_hours=20, person_gpu_hours=2.25)
    (one,) = await seats.begun("ada")
    assert (await seats.world.session(one["session"])).choice.hours == 2.25
    seats.set(ends=clock.now() + HOUR)
    (two,) = await seats.begun("ben", session=2)
    assert 0.9 < (await seats.world.session(two["session"])).choice.hours <= 1
    seats.set(person_gpu_hours=0.1)
    await seats.world.sessions.stop(two["session"], "person")
    await seats.world.answered_until(two["session"], state="ended")
    (none,) = await seats.begun("ben", session=3)
    assert none["problem"]["code"] == "budget-share"


async def test_a_seat_that_nobody_opens_ends_after_the_class_has_begun(seats: Seats) -> None:
    await seats.begun("ada")
    (job,) = seats.world.scheduler.submitted
    assert job.command[job.command.index("--unopened-minutes") + 1] == "60"
    await seats.world.down()
    await seats.world.up()  # the ledger keeps it, for a job that is submitted again
    (live,) = seats.world.live_sessions.values()
    assert live.record.unopened_until is not None
    assert live.record.choice.unopened_minutes == 30  # what the person may repeat is within the factory's bounds


def window(begins: float, ends: float) -> Reservation:
    now = clock.now()
    return Reservation(id="r1", name="r1", start=now + begins * HOUR, end=now + ends * HOUR, users=("a", "b"))


async def test_a_seat_before_its_reservation_gets_all_of_it(seats: Seats) -> None:
    at = {"one": {"reservation": "r1"}}
    seats.table.set(Project.model_validate({"id": W, "members": ["ada"], "factories": at}))
    seats.world.scheduler.windows = {"r1": window(0.5, 2)}
    (one,) = await seats.begun("ada")
    hours = (await seats.world.session(one["session"])).choice.hours
    assert 1.5 - 3.1 / 60 < hours <= 1.5 - 2 / 60  # its end, minus its start, minus a margin
    assert seats.world.scheduler.submitted[0].reservation == "r1"


async def test_a_chosen_reservation_may_begin_later(seats: Seats) -> None:
    world = seats.world
    view = ReservationView(id="r1", name="r1", end=clock.now() + 3 * HOUR)
    world.scheduler.coming = dict.fromkeys(("a", "b"), (view,))
    world.scheduler.windows = {"r1": window(1, 3)}
    session = await world.put(ID, "ben", hours=4, reservation="r1")
    assert 2 - 3.1 / 60 < session.choice.hours <= 2 - 2 / 60
    ends = world.scheduler.windows["r1"].start + HOUR
    until = await world.put("e" * 32, "ben", "b", until=ends, reservation="r1")
    assert until.choice.hours == 1  # it cannot start before the reservation
    assert (await refusal(world, session_id="d" * 32, user="ben", server="c", reservation="r2"))[1] == "reservation"


@pytest.mark.parametrize(
    ("hours", "begins", "ends", "gets"),
    [(4, -1, 2, 2 - 2 / 60), (1, -1, 2, 1), (4, 1, 3, 2 - 2 / 60), (4, -2, 0.02, 4), (0.5, 1, 1.3, 0.3 - 2 / 60)],
)
def test_the_hours_in_a_reservation(hours: float, begins: float, ends: float, gets: float) -> None:
    now = clock.now()
    there = Reservation(id="r", name="r", start=now + begins * HOUR, end=now + ends * HOUR)
    assert reservations.within(hours, there, now) == pytest.approx(gets, abs=1.1 / 60)
    assert reservations.within(hours, None, now) == hours


# --- what a factory allows


def ssh(**fields: Any) -> Access:
    known = {"kind": "ssh", "hosts": ["h"], "watcher": "w", "credentials": {"kind": "ca", "key": "k"}, **fields}
    return Access(transport=SshTransportSettings.model_validate(known), account_pool=("a",))


def test_the_pace_is_that_of_submissions_and_of_logins() -> None:
    assert workshop_seats.pace(Access(account_pool=("a",), submits_per_minute=300), shared=False) == 300
    assert workshop_seats.pace(ssh(logins_per_minute=20), shared=False) == 16
    assert workshop_seats.pace(ssh(logins_per_minute=20), shared=True) == 600
    wrapper = WrapperCredentials(login="svc", key=Path("k"))
    assert workshop_seats.pace(ssh(credentials=wrapper), shared=False) == 600


async def test_the_doors_of_a_factory_limit_its_seats(seats: Seats) -> None:
    access = seats.world.factories["one"].access
    access.__dict__["door"] = DoorAccess(carrier="stdio", stdio_most=3)  # the default is the same object for all tests
    await seats.begun("ada")
    (place,) = (await seats.http.get(f"/projects/{W}/seats")).json()["places"]
    assert (place["room"], place["accounts"], place["problem"]) == (2, None, None)


# --- adoption


async def test_the_hub_adopts_seats_at_once_and_many_at_a_time(tmp_path: Path) -> None:
    count = 3 * AT_ONCE
    people = tuple(f"p{number}" for number in range(count))
    world = World(tmp_path)
    world.workshops = Table(project(W, members=people))
    await world.up()
    async with served(tmp_path, world) as link:
        link.hub.users |= {person: {} for person in people}
        transport = httpx.ASGITransport(app=world.parts.workshops_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://link") as http:
            await Seats(world, Table(), http).begun(*people)
        running, most = 0, 0
        ask = link.bring_back._hub.start_server

        async def start(*args: Any) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            await ask(*args)
            running -= 1

        link.bring_back._hub.start_server = start  # type: ignore[method-assign]
        assert not await link.bring_back.look()  # none of them is too young
        assert sorted(link.hub.started) == sorted((person, "") for person in people)
        assert most == AT_ONCE


async def test_the_hub_hears_of_seats_soon(seats: Seats) -> None:
    recovery = HubRecovery(seats.world.live_sessions, hub=None)  # type: ignore[arg-type]
    seats.world.parts.workshop_seats.on_begun = recovery.look_soon
    await seats.begun("ada")
    assert recovery._came.is_set()


async def test_a_site_that_has_not_agreed_gets_no_job_before_its_person(seats: Seats) -> None:
    place = seats.world.factories["one"]
    agreement = place.factory.agreement
    assert agreement is not None
    silent = place.factory.model_copy(update={"agreement": agreement.model_copy(update={"teaching": ()})})
    seats.world.factories.offered = {"one": replace(place, factory=silent)}
    (one,) = await seats.begun("ada")
    assert (one["answer"], one["problem"]["code"]) == ("refused", "seat-no-prestart")
    (shown,) = (await seats.http.get(f"/projects/{W}/seats")).json()["places"]
    assert shown["problem"]["code"] == "seat-no-prestart"
    assert (await seats.world.put(ID, "ada", project=W)).state == "pending"  # they start by themselves


# --- moving a class


@pytest_asyncio.fixture
async def moving(tmp_path: Path) -> AsyncIterator[Seats]:
    """Make a link with two factories; on the first one, ada's seat runs, and ben's seat waits."""
    world, table = World(tmp_path), Table()
    world.workshops, world.scheduler = table, MortalScheduler(world.identity)
    await world.up()
    transport = httpx.ASGITransport(app=world.parts.workshops_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://link") as http:
        made = Seats(world, table, http)
        made.second = second_factory(world)
        made.set()
        await made.begun("ada", "ben")
        ada = f"{1:032x}"
        job = (await world.session(ada)).job
        assert job is not None
        world.scheduler.runs(job)
        await world.scheduler.answer()
        world.door_says(ada, phase="up", environment=True)
        await world.until(ada, state="running")
        yield made
    await world.down()


def second_factory(world: World) -> FakeScheduler:
    """Offer a second factory, which no poller asks for its jobs; return its scheduler."""
    scheduler = FakeScheduler(world.identity)
    there = replace(world.factories["one"], factory=factory("two"), site=scheduler)
    world.factories.offered = {"one": world.factories["one"], "two": there}
    return scheduler


def cut(seats: Seats) -> MortalScheduler:
    """Let the first factory answer nothing, and break the connections to its doors; return its scheduler."""
    scheduler = seats.world.scheduler
    assert isinstance(scheduler, MortalScheduler)
    scheduler.up = False
    for session in list(seats.world.doors.opened):
        seats.world.door_is_lost(session)
    return scheduler


async def test_moved_seats_begin_elsewhere_and_end_here_when_the_factory_answers(moving: Seats) -> None:
    world, scheduler = moving.world, cut(moving)
    now = clock.now()
    moved = await moving.begun("ada", "ben", session=50, factory="two", moved=now.isoformat())
    again = await moving.begun("ada", "ben", session=50, factory="two", moved=now.isoformat())
    assert [(one["answer"], one["state"]) for one in moved] == [("begun", "pending")] * 2
    assert [one["answer"] for one in again] == ["there"] * 2
    assert len(moving.second.submitted) == 2
    # the hub and people see the first ones as ended, although nobody knows of their jobs
    for session in (f"{1:032x}", f"{2:032x}"):
        shown = await world.session(session)
        assert (shown.state, shown.end_reason, shown.end and shown.end.code) == ("ended", "moved", "moved")
        assert world.views.state(world.live_sessions[session]) == "ended"  # it is counted so, too
    assert {one.id for one in world.views.live()} == {f"{50:032x}", f"{51:032x}"}
    one, two = (await moving.http.get(f"/projects/{W}/seats")).json()["places"]
    assert (one["leaving"], two["leaving"]) == (2, 0)
    assert (await world.charges.balance(W)).reserved > 8  # both places count
    assert not scheduler.cancelled
    scheduler.up = True
    for session in (f"{1:032x}", f"{2:032x}"):
        await world.answered_until(session, end_reason="moved", wish="stop")
    await world.comes(lambda: len(scheduler.cancelled) == 2)
    assert not scheduler.jobs_there
    await scheduler.answer(3)
    await world.comes(lambda: not world.live_sessions.at("one"))
    assert (await world.charges.balance(W)).reserved < 6  # its hours are back
    assert len(moving.second.submitted) == 2


async def test_people_read_in_their_session_that_it_ends(moving: Seats) -> None:
    await moving.begun("ada", session=50, factory="two", moved=clock.now().isoformat())
    ((session, told),) = moving.world.doors.messages
    assert (session, told.text, told.texts) == (f"{1:032x}", "The class moves.", {"de": "Der Kurs zieht um."})


async def test_a_seat_that_cannot_stop_where_the_factory_died_moves_all_the_same(moving: Seats) -> None:
    world, old, new = moving.world, f"{1:032x}", f"{50:032x}"
    scheduler = cut(moving)
    await world.sessions.stop(old, "trainer")
    assert (await world.session(old)).wish == "stop"
    for _ in range(2):  # asked for twice, it is one job
        await moving.begun("ada", session=50, factory="two", moved=clock.now().isoformat())
    assert len(moving.second.submitted) == 1
    shown = await world.session(old)
    assert (shown.state, shown.end_reason) == ("ended", "moved")  # the hub gives its server to the new seat
    assert {one.id for one in world.views.live("ada")} == {new}
    scheduler.up = True
    await world.comes(lambda: bool(scheduler.cancelled))  # its job still ends


async def test_a_killed_link_still_cancels_what_was_left(moving: Seats) -> None:
    cut(moving)
    await moving.begun("ada", session=50, factory="two", moved=clock.now().isoformat())
    await moving.world.down()
    await moving.world.up()
    second_factory(moving.world)
    shown = await moving.world.session(f"{1:032x}")
    assert (shown.state, shown.end_reason) == ("ended", "moved")
    assert f"{1:032x}" in moving.world.live_sessions


@pytest.mark.parametrize("why", ["closed", "budget", "share"])
async def test_nothing_ends_if_a_seat_cannot_begin_at_the_other_place(moving: Seats, why: str) -> None:
    if why == "closed":
        await moving.world.factories.drain("two", "Maintenance", "op")
    else:
        moving.set(gpu_hours=5.1 if why == "budget" else 100, person_gpu_hours=2.6 if why == "share" else None)
    (one,) = await moving.begun("ada", session=50, factory="two", moved=clock.now().isoformat())
    assert one["answer"] == "refused"
    assert one["problem"]["kind"] == ("draining" if why == "closed" else "limit")
    assert (await moving.world.session(f"{1:032x}")).state == "running"
    assert not moving.second.submitted


async def test_of_two_seats_that_move_at_once_one_stays_if_the_budget_is_for_one(moving: Seats) -> None:
    moving.set(gpu_hours=8)  # both have five of them at the place before
    answers = await moving.begun("ada", "ben", session=50, factory="two", moved=clock.now().isoformat())
    assert sorted(one["answer"] for one in answers) == ["begun", "refused"]
    (stays,) = (number for number, one in enumerate(answers, 1) if one["answer"] == "refused")
    assert (await moving.world.session(f"{stays:032x}")).state in ("running", "pending")
    assert len(moving.second.submitted) == 1


async def test_what_a_person_began_after_the_move_is_left_alone(moving: Seats) -> None:
    before = clock.now() - HOUR
    (one,) = await moving.begun("ada", session=50, factory="two", moved=before.isoformat())
    assert (one["answer"], one["live"]) == ("there", f"{1:032x}")
    assert not moving.second.submitted


async def test_the_hub_adopts_a_moved_seat_as_soon_as_its_server_has_stopped(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.workshops = Table(project(W, factories={"one": ProjectAt(), "two": ProjectAt()}))
    await world.up()
    async with served(tmp_path, world) as link:
        scheduler = second_factory(world)
        link.hub.users |= {"ada": {"": {"pending": None}}}  # the hub's server is that of the first session
        transport = httpx.ASGITransport(app=world.parts.workshops_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://link") as http:
            seats = Seats(world, Table(), http)
            await seats.begun("ada")
            await seats.begun("ada", session=50, factory="two", moved=clock.now().isoformat())
        assert len(scheduler.submitted) == 1
        assert await link.bring_back.look()  # look again soon
        link.hub.users["ada"] = {}
        assert not await link.bring_back.look()
        assert link.hub.started == [("ada", "")]
