"""The runner of seats: what it asks the link for, what it stores, and what a killed service does after its start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import TypeAdapter

from factorycommon.models import Problem
from factorycommon.models.sessions import EndReason, SessionState, Words
from factorycommon.models.workshops.seats import (
    HeldAccounts,
    HoldBody,
    SeatAnswer,
    SeatBody,
    SeatPlace,
    SeatPlaces,
    SeatsBody,
)
from factorycommon.service.problems import ProblemError
from tests.unit.workshops_world import OPERATOR, PAUL, SECRET, TINA, WorkshopsWorld, workshops_world
from workshops.clockwork import Clockwork
from workshops.link import LinkAway, LinkMismatch, LinkRefused
from workshops.models.callers import WorkshopCaller
from workshops.models.moving import MoveBody
from workshops.models.seats import SeatProgress as P
from workshops.projects.pools import PoolsFile
from workshops.seats import moving, rows
from workshops.seats.moving import ClassMoves
from workshops.seats.runner import SeatRunner
from workshops.seats.waves import ATTEMPTS
from workshops.service import Workshops
from workshops.store.seat_tables import WarmUpRow


class SeatLink:
    """A link that starts one session for each id.

    ``states``: by person, the state of their session, by default pending; ``breaks``: people whose seats fail;
    ``refuses``: by person, the problem with which the link refuses the seat; ``away``: it does not answer.
    """

    there = True

    def __init__(self) -> None:
        self.begun: dict[str, str] = {}  # person by session
        self.states: dict[str, SessionState] = {}
        self.refuses: dict[str, Problem] = {}
        self.breaks: set[str] = set()
        self.bodies: list[SeatsBody] = []
        self.held: list[HoldBody] = []
        self.away = False
        self.loses = 0  # answers that get lost after the link has done its work
        self.looks = 0  # questions for the places
        self.meanwhile: Callable[[], Awaitable[object]] | None = None  # what happens while the link answers
        self.had: dict[str, tuple[str, EndReason]] = {}  # an ended session of a person that the service has not noticed
        self.place = SeatPlace(factory="one", per_minute=600)
        self.other = SeatPlace(factory="two", per_minute=600)

    async def get(self, shape: TypeAdapter[Any], project: str, path: str) -> Any:
        if self.away:
            raise LinkAway
        assert path == "/seats"
        self.looks += 1
        return SeatPlaces(places=(self.place, self.other))

    async def put(self, shape: TypeAdapter[Any], project: str, path: str, body: HoldBody) -> Any:
        assert path == "/hold"
        self.held.append(body)
        return SeatPlaces(places=(self.place, self.other))

    async def post(self, shape: TypeAdapter[Any], project: str, path: str, body: SeatsBody, seconds: float) -> Any:
        if self.away:
            raise LinkAway
        self.bodies.append(body)
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        answers = [self._had(seat) or self._answer(seat.session, seat.person) for seat in body.seats]
        if self.loses:
            self.loses -= 1
            raise LinkAway
        return shape.validate_python({"seats": answers})

    def _had(self, seat: SeatBody) -> SeatAnswer | None:
        live, reason = self.had.get(seat.person, ("", EndReason.STOPPED))
        if not live or seat.since is None or live == seat.over or seat.session in self.begun:
            return None
        return SeatAnswer(
            session=seat.session, answer="there", live=live, state=SessionState.ENDED, end_reason=reason,
            words=Words(code="x", what="It ended."),
        )  # fmt: skip

    def _answer(self, session: str, person: str) -> SeatAnswer:
        if (problem := self.refuses.get(person)) is not None:
            return SeatAnswer(session=session, answer="refused", problem=problem)
        new = session not in self.begun
        self.begun.setdefault(session, person)
        state = self.states.get(person, SessionState.PENDING)
        end = {"end_reason": EndReason.FAILED, "words": Words(code="x", what="It broke.")}
        if person in self.breaks:
            return SeatAnswer(session=session, answer="there", live=session, state=SessionState.ENDED, **end)
        reachable = state == SessionState.RUNNING
        return SeatAnswer(
            session=session, answer="begun" if new else "there", live=session, state=state, reachable=reachable
        )


class Class:
    """A service with a fake link, and a workshop that warms up."""

    def __init__(self, world: WorkshopsWorld, slug: str) -> None:
        self.world, self.slug, self.link = world, slug, SeatLink()
        self.restart()

    def restart(self) -> None:
        """Begin with nothing in memory, as a service that was killed."""
        world = self.world
        root, measures = world.config.hub.root, world.config.limits.warm_minutes is None
        self.runner = SeatRunner(world.store, self.link, world.clock, root, measures)  # type: ignore[arg-type]
        pools = PoolsFile(world.config.pools)
        world.clockwork = Clockwork(world.config, world.store, pools, world.clock, world.joining.promote, self.runner)
        world.workshops = Workshops(world.config, world.store, pools, world.clock, SECRET)

    async def look(self, **later: float) -> dict[str, P | None]:
        self.world.clock.forward(**later)
        await self.world.clockwork.look()
        await self.runner.settle()
        return await self.states()

    async def states(self) -> dict[str, P | None]:
        return {seat.person: seat.state for seat in (await self.view()).seats}

    async def view(self) -> Any:
        workshop = await self.world.store.get(self.slug)
        assert workshop is not None
        people = (await self.world.store.members([self.slug]))[self.slug]
        return await self.runner.view(workshop, people, timedelta(minutes=30))


@pytest_asyncio.fixture
async def taught(tmp_path: Path) -> AsyncIterator[Class]:
    async with workshops_world(tmp_path) as world:
        created = await world.scheduled()
        for number in range(1, 5):
            await world.workshops.put_member(TINA, created.slug, f"p{number}", "participant")
        made = Class(world, created.slug)
        yield made
        await made.runner.close()


WARM = {"days": 2, "minutes": -30}


async def test_seats_begin_when_it_warms_up_and_are_followed(taught: Class) -> None:
    assert set((await taught.look()).values()) == {None}  # it is scheduled only
    assert set((await taught.look(**WARM)).values()) == {P.BEGUN}
    (body,) = taught.link.bodies
    assert [seat.person for seat in body.seats] == ["p1", "p2", "p3", "p4"]
    assert {(seat.factory, seat.size, seat.hours, seat.server) for seat in body.seats} == {("one", "gpu-1", 4, "")}
    assert body.early_hours == 0.5
    workshop = await taught.world.store.get(taught.slug)
    assert workshop is not None
    assert body.unopened_until == workshop.starts + timedelta(minutes=20)
    taught.link.states = dict.fromkeys(("p1", "p2", "p3", "p4"), SessionState.RUNNING)
    assert set((await taught.look(seconds=40)).values()) == {P.RUNNING}
    asked = len(taught.link.bodies)
    await taught.look(seconds=5)
    assert len(taught.link.bodies) == asked  # nothing is left to ask
    assert len(taught.link.begun) == 4


async def test_a_killed_service_doubles_no_seat(taught: Class) -> None:
    taught.link.loses = 1  # the service is killed before it reads the answer
    assert set((await taught.look(**WARM)).values()) == {P.ASKED}
    taught.restart()
    assert set((await taught.look(seconds=5)).values()) == {P.BEGUN}
    first, second = taught.link.bodies
    assert [seat.session for seat in first.seats] == [seat.session for seat in second.seats]
    assert len(taught.link.begun) == 4


async def test_a_link_that_is_away_halts_nothing(taught: Class) -> None:
    taught.link.away = True
    assert set((await taught.look(**WARM)).values()) == {None}
    taught.link.away = False
    assert set((await taught.look(seconds=5)).values()) == {P.BEGUN}


async def test_many_failures_halt_until_a_trainer_says_to_go_on(taught: Class) -> None:
    taught.link.breaks = {"p1", "p2"}
    await taught.look(**WARM)
    await taught.look(seconds=5)
    view = await taught.view()
    assert (view.halted.failed, view.halted.of, view.halted.why.what) == (2, 4, "It broke.")
    asked = len(taught.link.begun)
    await taught.look(minutes=5)
    assert len(taught.link.begun) == asked
    taught.link.breaks = set()
    await taught.runner.go_on(taught.slug, "tina")
    assert (await taught.look(minutes=1))["p1"] == P.BEGUN
    assert (await taught.view()).halted is None
    assert len(taught.link.begun) == asked + 2
    with pytest.raises(ProblemError):
        await taught.runner.go_on(taught.slug, "tina")
    said = [one.what for one in await taught.world.workshops.events(OPERATOR, taught.slug)]
    assert {"halted", "go on"} <= set(said)


async def test_who_has_not_accepted_the_rules_is_asked_again_later(taught: Class) -> None:
    rules = Problem(kind="forbidden", message="Accept the rules first.", code="rules-open")
    taught.link.refuses = dict.fromkeys(("p1", "p2", "p3"), rules)
    states = await taught.look(**WARM)
    assert (states["p1"], states["p4"]) == (P.REFUSED, P.BEGUN)
    assert (await taught.view()).seats[0].why.what == "Accept the rules first."
    await taught.look(seconds=5)
    assert (await taught.view()).halted is None
    taught.link.refuses = {}
    assert (await taught.look(minutes=1))["p1"] == P.BEGUN


@pytest.mark.parametrize("refused", [True, False])
async def test_after_a_halt_each_seat_gets_the_same_number_of_attempts(taught: Class, refused: bool) -> None:
    taught.link.breaks = {"p1", "p2", "p3"}
    if refused:
        rules = Problem(kind="forbidden", message="Accept the rules first.", code="rules-open")
        taught.link.refuses = {"p3": rules}
    await taught.look(**WARM)
    await taught.look(seconds=5)
    assert (await taught.view()).halted is not None
    taught.link.breaks, taught.link.refuses = {"p3"}, {}
    await taught.runner.go_on(taught.slug, "tina")
    before = list(taught.link.begun.values()).count("p3")
    for _ in range(6):
        await taught.look(minutes=2)
    assert list(taught.link.begun.values()).count("p3") - before == ATTEMPTS


async def test_a_link_that_has_not_read_the_table_yet_is_asked_again_at_once(taught: Class) -> None:
    early = Problem(kind="forbidden", message="It begins later.", code="project-not-begun")
    taught.link.refuses = dict.fromkeys(("p1", "p2", "p3", "p4"), early)
    assert set((await taught.look(**WARM)).values()) == {P.ASKED}
    taught.link.refuses = {}
    assert set((await taught.look(seconds=5)).values()) == {P.BEGUN}


@pytest.mark.parametrize("at_once", [True, False])
async def test_late_joiners_get_their_seat_as_the_workshop_says(tmp_path: Path, at_once: bool) -> None:
    async with workshops_world(tmp_path) as world:
        created = await world.scheduled(seat_on_join=at_once)
        await world.workshops.put_member(TINA, created.slug, "early", "participant")
        taught = Class(world, created.slug)
        await taught.look(**WARM)
        await taught.look(hours=1)
        await world.workshops.put_member(TINA, created.slug, "late", "participant")
        assert await taught.look(minutes=1) == {"early": P.BEGUN, "late": P.BEGUN if at_once else None}
        assert taught.link.bodies[-1].early_hours == 0
        await taught.runner.close()


@pytest_asyncio.fixture
async def late(tmp_path: Path) -> AsyncIterator[Class]:
    """An open workshop that the person ``late`` has just joined; the tests set the state of this person's session."""
    async with workshops_world(tmp_path) as world:
        created = await world.scheduled()
        made = Class(world, created.slug)
        await made.look(days=2, hours=1)
        await world.workshops.put_member(TINA, created.slug, "late", "participant")
        yield made
        await made.runner.close()


async def test_who_joins_and_stops_at_once_gets_no_second_session(late: Class) -> None:
    late.link.had["late"] = ("a" * 32, EndReason.STOPPED)
    joined = late.world.clock()
    late.link.loses = 1  # the service is killed before it reads the answer
    assert await late.look(seconds=5) == {"late": P.ASKED}
    late.restart()
    assert await late.look(seconds=5) == {"late": P.OVER}
    late.restart()
    assert await late.look(minutes=2) == {"late": P.OVER}
    assert ([body.seats[0].since for body in late.link.bodies], late.link.begun) == ([joined] * 2, {})


async def test_a_session_that_breaks_before_the_service_notices_it_is_one_attempt(late: Class) -> None:
    late.link.had["late"] = ("a" * 32, EndReason.NODE_FAILED)
    assert await late.look(seconds=5) == {"late": P.FAILED}
    assert not late.link.begun
    late.restart()
    assert await late.look(minutes=1) == {"late": P.BEGUN}
    assert late.link.bodies[-1].seats[0].over == "a" * 32
    late.link.had["late"] = ("b" * 32, EndReason.STOPPED)  # what they do later is no matter of the service
    assert (await late.look(minutes=2), len(late.link.begun)) == ({"late": P.BEGUN}, 1)


async def test_a_trainer_starts_the_seat_of_a_person_who_stopped_theirs(late: Class) -> None:
    late.link.had["late"] = ("a" * 32, EndReason.STOPPED)
    assert await late.look(seconds=5) == {"late": P.OVER}
    workshop = await late.world.store.get(late.slug)
    assert workshop is not None
    late.link.loses = 1
    with pytest.raises(LinkAway):
        await late.runner.begin_one(workshop, "late")
    late.restart()
    assert await late.look(seconds=5) == {"late": P.BEGUN}
    assert list(late.link.begun.values()) == ["late"]


async def test_a_trainers_start_that_is_repeated_after_a_lost_answer_begins_one_session(late: Class) -> None:
    late.link.had["late"] = ("a" * 32, EndReason.STOPPED)
    assert await late.look(seconds=5) == {"late": P.OVER}
    workshop = await late.world.store.get(late.slug)
    assert workshop is not None
    late.link.loses = 1
    with pytest.raises(LinkAway):
        await late.runner.begin_one(workshop, "late")
    late.link.states["late"] = SessionState.RUNNING
    row = await late.runner.begin_one(workshop, "late")
    assert (row.state, list(late.link.begun.items())) == (P.RUNNING, [(row.session, "late")])


async def test_who_leaves_is_not_asked_for_any_more(taught: Class) -> None:
    await taught.look(**WARM)
    await taught.world.workshops.drop_member(TINA, taught.slug, "p2")
    await taught.look(seconds=5)
    assert [seat.person for seat in taught.link.bodies[-1].seats] == ["p1", "p3", "p4"]


async def test_why_a_seat_could_not_be_begun_is_known_to_the_room_until_it_begins(taught: Class) -> None:
    unwiped = Problem(kind="limit", code="pool-not-wiped", message="No account is clean.", do="Ask the operators.")
    taught.link.refuses["p3"] = unwiped
    await taught.look(**WARM)
    taught.restart()
    seats = {one.person: one for one in (await taught.world.room.view(OPERATOR, taught.slug)).seats}
    assert (seats["p3"].state, seats["p3"].reason) == (None, "No account is clean. Ask the operators.")
    assert seats["p1"].reason is None
    del taught.link.refuses["p3"]
    assert (await taught.look(minutes=1))["p3"] == P.BEGUN
    seats = {one.person: one for one in (await taught.world.room.view(OPERATOR, taught.slug)).seats}
    assert seats["p3"].reason is None


async def test_accounts_are_held_and_waited_for(taught: Class) -> None:
    held = HeldAccounts(pool=10, held=0, ready=0, free=0, wiping=0)
    taught.link.place = taught.link.place.model_copy(update={"accounts": held})
    await taught.look(**WARM)
    assert taught.link.held[0].accounts == {"one": 7}  # six seats, and a spare one
    taught.link.bodies.clear()
    await taught.world.workshops.put_member(TINA, taught.slug, "p5", "participant")
    wiping = held.model_copy(update={"held": 7, "ready": 4, "wiping": 3})
    taught.link.place = taught.link.place.model_copy(update={"accounts": wiping})
    await taught.look(seconds=5)
    assert (await taught.states())["p5"] is None
    taught.link.place = taught.link.place.model_copy(update={"accounts": wiping.model_copy(update={"free": 2})})
    assert (await taught.look(seconds=5))["p5"] == P.BEGUN
    assert len(taught.link.held) == 1


async def test_accounts_for_all_seats_are_held_before_anybody_has_joined(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        taught = Class(world, (await world.scheduled()).slug)
        none = HeldAccounts(pool=10, held=0, ready=0, free=0, wiping=0)
        link = taught.link
        link.place = link.place.model_copy(update={"accounts": none})
        await taught.look()
        assert link.held == []  # it does not warm up yet
        await taught.look(**WARM)
        assert [body.accounts for body in link.held] == [{"one": 7}]  # six seats, and a spare one
        few = none.model_copy(update={"held": 4, "ready": 4, "free": 4})  # another workshop has the rest
        link.place = link.place.model_copy(update={"accounts": few})
        await taught.look(seconds=25)
        assert len(link.held) == 2
        taught.restart()
        await taught.look(seconds=5)
        assert len(link.held) == 3
        all_of_them = none.model_copy(update={"held": 7, "ready": 7, "free": 7})
        link.place = link.place.model_copy(update={"accounts": all_of_them})
        await taught.look(seconds=25)
        looks = link.looks
        for _ in range(3):
            await taught.look(seconds=25)
        assert (len(link.held), link.looks, link.bodies) == (3, looks, [])  # the link is left alone
        await taught.runner.close()


async def test_the_next_workshop_there_warms_up_when_it_has_to(taught: Class) -> None:
    world = taught.world
    await taught.look(**WARM)
    for number in range(1, 5):
        taught.link.states[f"p{number}"] = SessionState.RUNNING
        await taught.look(seconds=30)
    await taught.look(seconds=5)
    (rate,) = (await taught.runner.rates()).values()
    assert (round(rate.per_minute), rate.cold) == (2, timedelta(seconds=30))
    second = (await world.scheduled(opens="2026-12-05T08:00:00Z", starts="2026-12-05T09:00:00Z",
                                    ends="2026-12-05T10:00:00Z", closes="2026-12-05T11:00:00Z")).slug  # fmt: skip
    world.clock.at = world.clock.at.replace(month=12, day=5, hour=7, minute=53, second=0)
    assert (await world.look(second)).state == "scheduled"
    world.clock.forward(minutes=1)  # six seats at two in a minute, 30 s, a quarter more, and two minutes
    assert (await world.look(second)).state == "warming"
    await asyncio.sleep(0)


@pytest.mark.parametrize("measures", [True, False])
async def test_the_page_names_the_time_at_which_the_service_begins(taught: Class, measures: bool) -> None:
    await taught.look(**WARM)
    for number in range(1, 5):
        taught.link.states[f"p{number}"] = SessionState.RUNNING
        await taught.look(seconds=30)
    assert await taught.runner.rates()
    taught.runner.measures = measures  # False: the operator has set ``warm_minutes``
    times = {"opens": "08", "starts": "09", "ends": "10", "closes": "11"}
    second = (await taught.world.scheduled(**{key: f"2026-12-05T{hour}:00:00Z" for key, hour in times.items()})).slug
    workshop = await taught.world.store.get(second)
    assert workshop is not None
    warms = (await taught.runner.view(workshop, (), timedelta(minutes=30))).warms
    assert warms is not None and (warms == workshop.opens - timedelta(minutes=30)) is not measures
    for at, state in ((warms - timedelta(seconds=1), "scheduled"), (warms, "warming")):
        taught.world.clock.at = at
        await taught.world.clockwork.look()
        await taught.runner.settle()
        stored = await taught.world.store.get(second)
        assert stored is not None and stored.state == state


PLAN = [{"factory": "one", "size": "gpu-1"}, {"factory": "two", "size": "gpu-1"}]


@pytest_asyncio.fixture
async def planned(tmp_path: Path) -> AsyncIterator[Class]:
    """A workshop that has a plan B and four running seats."""
    async with workshops_world(tmp_path) as world:
        created = await world.scheduled(places=PLAN)
        for number in range(1, 5):
            await world.workshops.put_member(TINA, created.slug, f"p{number}", "participant")
        made = Class(world, created.slug)
        made.link.states = {f"p{number}": SessionState.RUNNING for number in range(1, 5)}
        await made.look(**WARM)
        yield made
        await made.runner.close()


def moves(taught: Class) -> ClassMoves:
    return ClassMoves(taught.world.workshops, taught.world.store, taught.runner, taught.world.clock)


async def test_a_moved_class_begins_at_plan_b_and_leaves_plan_a(planned: Class) -> None:
    before = set(planned.link.begun)
    view = await moves(planned).move(TINA, planned.slug, MoveBody(place=1))
    assert (view.current, [(one.seats, one.ready) for one in view.places]) == (2, [(0, 0), (4, 0)])
    assert set((await planned.states()).values()) == {None}
    assert set((await planned.look(seconds=5)).values()) == {P.RUNNING}
    body = planned.link.bodies[-1]
    assert {(seat.factory, seat.moved) for seat in body.seats} == {("two", planned.world.clock.at)}
    assert body.farewell is not None
    assert "https://hub.example.org/hub/user-redirect/lab" in body.farewell
    assert not {seat.session for seat in body.seats} & before
    asked = len(planned.link.bodies)
    planned.restart()
    await planned.look(seconds=5)
    assert (len(planned.link.begun), len(planned.link.bodies)) == (8, asked)  # each once at each place
    view = await moves(planned).view(TINA, planned.slug)
    assert [(one.seats, one.ready) for one in view.places] == [(0, 0), (4, 4)]


@pytest.mark.parametrize(("languages", "says"), [(("lt", "en"), "Jūsų užsiėmimas"), (("xx", "de"), "Ihr Kurs"),
                                                (("xx",), "Your class")])  # fmt: skip
async def test_the_farewell_of_a_move_is_in_every_language(
    tmp_path: Path, languages: tuple[str, ...], says: str
) -> None:
    async with workshops_world(tmp_path) as world:
        created = await world.scheduled(languages=languages)
        await world.workshops.put_member(TINA, created.slug, "p1", "participant")
        taught = Class(world, created.slug)
        await taught.look(**WARM)
        (body,) = taught.link.bodies
        assert body.farewell is not None
        assert body.farewell.startswith(says)  # for people whose language it is not translated into
        assert sorted(body.farewells) == ["cs", "de", "en", "es", "fr", "it", "lt", "nl", "pl", "ro"]
        assert len(set(body.farewells.values())) == 10
        assert all("one" in text and "https://hub.example.org/" in text for text in body.farewells.values())
        await taught.runner.close()


async def test_some_seats_move_and_the_others_stay(planned: Class) -> None:
    await moves(planned).move(TINA, planned.slug, MoveBody(place=1, seats=(2, 4)))
    await planned.look(seconds=5)
    assert [seat.person for seat in planned.link.bodies[-1].seats] == ["p2", "p4"]
    await planned.world.workshops.put_member(TINA, planned.slug, "p5", "participant")
    await planned.look(seconds=5)
    (seat,) = planned.link.bodies[-1].seats
    assert (seat.person, seat.factory, seat.moved) == ("p5", "one", None)  # who joins now does so at plan A


@pytest.mark.parametrize("loses", [1, 2])
async def test_a_service_that_is_killed_while_a_class_moves_doubles_no_seat(planned: Class, loses: int) -> None:
    await moves(planned).move(TINA, planned.slug, MoveBody(place=1, id="one-order"))
    await moves(planned).move(TINA, planned.slug, MoveBody(place=1, id="one-order"))  # a browser that sends it twice
    for _ in range(loses):
        planned.link.loses = 1
        assert set((await planned.look(seconds=5)).values()) == {P.ASKED}
        planned.restart()
    assert set((await planned.look(seconds=5)).values()) == {P.RUNNING}
    assert len(planned.link.begun) == 8
    assert len((await moves(planned).view(TINA, planned.slug)).moves) == 1


async def test_a_stored_order_is_accepted_again_when_the_limit_of_orders_is_reached(
    planned: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "MOST_ORDERS", 1)
    await moves(planned).move(TINA, planned.slug, MoveBody(place=1, id="one-order"))
    view = await moves(planned).move(TINA, planned.slug, MoveBody(place=1, id="one-order"))
    assert len(view.moves) == 1
    with pytest.raises(ProblemError, match="as often as one may"):
        await moves(planned).move(TINA, planned.slug, MoveBody(place=0, id="another-order"))


async def test_a_class_that_is_halted_goes_on_at_plan_b(planned: Class) -> None:
    planned.link.place = planned.link.place.model_copy(update={"problem": Problem(kind="unreachable", message="Cut.")})
    for number in range(1, 4):
        assert (await moves(planned).view(TINA, planned.slug)).suggestion is None, number
        await planned.look(seconds=20)
    view = await moves(planned).view(TINA, planned.slug)
    assert view.suggestion is not None
    assert view.suggestion.text == "one does not answer. You can move the class to two."
    assert view.current == 1  # it is never moved unasked
    await moves(planned).move(TINA, planned.slug, MoveBody(place=1))
    assert set((await planned.look(seconds=5)).values()) == {P.RUNNING}


@pytest_asyncio.fixture
async def beginning(tmp_path: Path) -> AsyncIterator[Class]:
    """A workshop with a plan B and four people whose seats have not begun; at plan A, the seats of two of them fail."""
    async with workshops_world(tmp_path) as world:
        created = await world.scheduled(places=PLAN)
        for number in range(1, 5):
            await world.workshops.put_member(TINA, created.slug, f"p{number}", "participant")
        made = Class(world, created.slug)
        made.link.breaks = {"p1", "p2"}
        yield made
        await made.runner.close()


async def test_a_look_that_meets_a_move_of_the_class_does_not_halt_it(beginning: Class) -> None:
    await beginning.look(**WARM)

    async def moved() -> None:
        await moves(beginning).move(TINA, beginning.slug, MoveBody(place=1))
        beginning.link.breaks = set()  # plan B is fine

    beginning.link.meanwhile = moved
    await beginning.look(seconds=5)  # finds that a wave at plan A has failed, when the order is there already
    assert beginning.link.meanwhile is None
    assert (await beginning.view()).halted is None
    assert set((await beginning.look(seconds=5)).values()) == {P.BEGUN}
    assert {(seat.person, seat.factory) for seat in beginning.link.bodies[-1].seats} == {
        (f"p{number}", "two") for number in range(1, 5)
    }
    said = [one.what for one in await beginning.world.workshops.events(OPERATOR, beginning.slug)]
    assert ("moved" in said, "halted" in said) == (True, False)


async def test_a_look_that_meets_a_trainer_who_goes_on_does_not_halt_again(beginning: Class) -> None:
    await beginning.look(**WARM)
    await beginning.look(seconds=5)
    assert (await beginning.view()).halted is not None
    await beginning.runner.go_on(beginning.slug, "tina")

    async def goes_on() -> None:
        await beginning.world.store.transact(
            lambda db: rows.put_warm_up(db, WarmUpRow(beginning.slug, go_on=beginning.world.clock.at))
        )

    await beginning.look(minutes=1)  # the seats that failed begin and fail again
    beginning.link.meanwhile = goes_on
    await beginning.look(seconds=5)
    assert (await beginning.view()).halted is None


async def test_a_wave_that_is_on_its_way_when_its_class_moves_ends_at_the_old_place(beginning: Class) -> None:
    beginning.link.breaks = set()
    beginning.link.meanwhile = lambda: moves(beginning).move(TINA, beginning.slug, MoveBody(place=1))
    await beginning.look(**WARM)  # the link begins the wave at plan A after the order
    assert {seat.factory for seat in beginning.link.bodies[-1].seats} == {"one"}
    ordered = beginning.world.clock.at
    beginning.link.breaks = {"p1"}
    await beginning.look(seconds=5)
    body, first = beginning.link.bodies[-1], beginning.world.clock.at
    assert first > ordered
    assert {(seat.factory, seat.moved) for seat in body.seats} == {("two", first)}
    beginning.link.breaks = set()
    await beginning.look(minutes=1)
    again = [seat for seat in beginning.link.bodies[-1].seats if seat.person == "p1"]
    # what has begun at the old place since the first request may be the person's own
    assert [(seat.factory, seat.moved) for seat in again] == [("two", first)]


async def test_a_moved_seat_that_is_requested_again_after_a_halt_leaves_alone_what_its_person_has_begun(
    planned: Class,
) -> None:
    await moves(planned).move(TINA, planned.slug, MoveBody(place=1))
    planned.link.breaks = {"p1", "p2"}
    planned.link.refuses = {"p3": Problem(kind="forbidden", message="Accept the rules first.", code="rules-open")}
    await planned.look(seconds=5)
    first = planned.world.clock.at
    await planned.look(seconds=5)
    assert (await planned.view()).halted is not None
    await planned.runner.go_on(planned.slug, "tina")
    planned.restart()
    await planned.look(minutes=1)
    again = {seat.person: seat.moved for seat in planned.link.bodies[-1].seats}
    assert again == {"p1": first, "p2": first, "p3": first}


async def meets(made: Class, happens: Callable[[], Awaitable[object]]) -> None:
    """Call ``happens`` once, when the runner next asks the link about the factories, before it requests seats."""
    get = made.link.get

    async def asked(*arguments: Any) -> Any:
        made.link.get = get  # type: ignore[method-assign]
        await happens()
        return await get(*arguments)

    made.link.get = asked  # type: ignore[method-assign, assignment]


async def test_a_class_that_ends_while_its_seats_are_about_to_begin_begins_none(beginning: Class) -> None:
    await meets(beginning, lambda: beginning.world.workshops.take(TINA, beginning.slug, "close"))
    assert set((await beginning.look(**WARM)).values()) == {None}
    assert set((await beginning.look(seconds=5)).values()) == {None}
    assert beginning.link.bodies == []


async def test_seats_that_are_moved_while_they_are_about_to_begin_begin_at_the_new_place_only(
    beginning: Class,
) -> None:
    beginning.link.breaks = set()
    await meets(beginning, lambda: moves(beginning).move(TINA, beginning.slug, MoveBody(place=1, seats=(2, 3))))
    assert list((await beginning.look(**WARM)).values()) == [P.BEGUN, None, None, P.BEGUN]
    assert set((await beginning.look(seconds=5)).values()) >= {P.BEGUN}
    asked = [(seat.person, seat.factory) for body in beginning.link.bodies for seat in body.seats]
    assert {one for one in asked if one[0] in ("p2", "p3")} == {("p2", "two"), ("p3", "two")}


async def test_who_leaves_while_their_seat_is_about_to_begin_gets_none(beginning: Class) -> None:
    await meets(beginning, lambda: beginning.world.workshops.drop_member(TINA, beginning.slug, "p4"))
    await beginning.look(**WARM)
    assert {seat.person for body in beginning.link.bodies for seat in body.seats} == {"p1", "p2", "p3"}


async def test_a_seat_of_which_the_link_was_told_to_stop_it_is_over(taught: Class) -> None:
    said = Problem(kind="conflict", message="It was stopped.", code="stopped-before-begun")
    taught.link.refuses = {"p1": said}
    assert (await taught.look(**WARM))["p1"] == P.OVER
    taught.link.refuses = {}
    assert (await taught.look(minutes=5))["p1"] == P.OVER  # it is not asked for again


# --- a link of another release


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]


async def test_a_link_of_another_release_is_named_once(taught: Class, caplog: pytest.LogCaptureFixture) -> None:
    second = (await taught.world.scheduled(title="Another")).slug
    await taught.world.workshops.put_member(TINA, second, "q1", "participant")
    post = taught.link.post

    async def refused(*_arguments: Any) -> Any:
        raise LinkMismatch

    taught.link.post = refused  # type: ignore[method-assign, assignment]
    await taught.look(**WARM)
    for _ in range(3):
        await taught.look(seconds=70)
    (said,) = complaints(caplog)
    assert "update the older of the two" in said
    for slug in (taught.slug, second):
        trouble = taught.runner.trouble(slug)
        assert trouble is not None and trouble.code == "workshop-link-other-release"
    taught.world.room.trouble_of = taught.runner.trouble
    shown = await taught.world.room.view(OPERATOR, taught.slug)
    assert shown.trouble is not None
    taught.link.post = post  # type: ignore[method-assign]
    assert set((await taught.look(seconds=70)).values()) == {P.BEGUN}
    assert taught.runner.trouble(taught.slug) is None


@pytest.mark.parametrize("code", ["not-known", "project-not-begun", "not-in-workshop"])
async def test_a_link_that_cannot_read_the_table_is_named_once(
    taught: Class, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    get, kind = taught.link.get, "gone" if code == "not-known" else "forbidden"
    problem = Problem.model_validate({"kind": kind, "message": "Not here.", "code": code})
    if code == "not-known":

        async def unknown(*_arguments: Any) -> Any:
            raise LinkRefused(problem)

        taught.link.get = unknown  # type: ignore[method-assign, assignment]
    else:
        taught.link.refuses = dict.fromkeys(("p1", "p2", "p3", "p4"), problem)
    await taught.look(**WARM)
    await taught.look(seconds=20)
    assert taught.runner.trouble(taught.slug) is None  # it reads the table every few seconds
    for _ in range(8):
        await taught.look(seconds=20)
    assert taught.runner.trouble(taught.slug) is not None
    (said,) = complaints(caplog)
    assert "has not taken over the people and times" in said
    taught.link.get, taught.link.refuses = get, {}  # type: ignore[method-assign]
    assert set((await taught.look(minutes=1)).values()) == {P.BEGUN}
    assert taught.runner.trouble(taught.slug) is None


@pytest.mark.parametrize(("caller", "body", "status"), [
    (PAUL, MoveBody(place=1), 404), (TINA, MoveBody(place=2), 400), (TINA, MoveBody(place=1, seats=(7,)), 400),
])  # fmt: skip
async def test_only_trainers_move_a_class_and_only_within_its_plan(
    planned: Class, caller: WorkshopCaller, body: MoveBody, status: int
) -> None:
    with pytest.raises(ProblemError) as refused:
        await moves(planned).move(caller, planned.slug, body)
    assert refused.value.status == status


async def test_a_person_of_whom_the_link_has_not_read_yet_holds_up_nobody(taught: Class) -> None:
    stranger = Problem(kind="forbidden", message="Not in it.", code="not-in-workshop")
    taught.link.refuses = {"p2": stranger}
    states = await taught.look(**WARM)
    assert (states["p1"], states["p2"]) == (P.BEGUN, P.ASKED)
    assert (await taught.look(seconds=40))["p2"] == P.REFUSED  # it has had its time
    taught.link.refuses = {}
    assert (await taught.look(minutes=1))["p2"] == P.BEGUN


async def test_seats_of_a_workshop_are_deleted_with_its_people(taught: Class) -> None:
    await taught.look(**WARM)
    await taught.look(days=1)
    await taught.look(days=1)
    assert (await taught.world.look(taught.slug)).state == "archived"
    await taught.look(days=31)
    assert await taught.world.store.transact(lambda db: rows.of_workshop(db, taught.slug)) == []
