"""One seat is started, started again, or reset: once, also if it is asked for twice or the service is killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from factorycommon.models import Problem
from factorycommon.models.workshops.material import MaterialDeliveries, MaterialOrder
from factorycommon.models.workshops.sessions import WorkshopSessions
from factorycommon.service.problems import ProblemError
from tests.unit.room_world import NOW, session
from tests.unit.test_seat_runner import SeatLink
from tests.unit.test_workshop_material import MATERIAL, settled, with_fetcher
from tests.unit.workshops_world import OPERATOR, PAUL, TINA, WorkshopsWorld, workshops_world
from workshops.link import LinkRefused
from workshops.models.moving import MoveBody
from workshops.models.room import SeatActKind, SeatActState, SeatActView
from workshops.models.seats import SeatProgress
from workshops.room.act_steps import NO_SESSION, PATIENCE, LiveSeat, NextAct, next_act
from workshops.room.acts import DELIVERIES, SeatActs
from workshops.seats import rows
from workshops.seats.moving import ClassMoves
from workshops.seats.runner import SeatRunner
from workshops.store.seat_tables import SeatRow

ADA = "ada"
OLD, NEW = f"{1:032x}", f"{2:032x}"


# --- the decision


@pytest.mark.parametrize(
    ("act", "state", "live", "wanted"),
    [
        ("start", "starting", [], NextAct.BEGIN),
        ("restart", "stopping", [(OLD, False, True)], NextAct.STOP),
        ("restart", "stopping", [(OLD, True, True)], NextAct.WAIT),
        ("restart", "stopping", [], NextAct.BEGIN),
        ("start", "starting", [(NEW, False, False)], NextAct.DONE),  # the person was faster
        ("start", "starting", [(NEW, True, False)], NextAct.WAIT),
        ("reset", "starting", [(NEW, False, False)], NextAct.BEGIN),
        ("reset", "delivering", [(NEW, False, False)], NextAct.WAIT),
        ("reset", "delivering", [(NEW, False, True)], NextAct.DELIVER),
        ("reset", "delivering", [], NextAct.WAIT),  # the link's events may come later than its answer
        ("reset", "failed", [(NEW, False, True)], NextAct.WAIT),
        ("start", "failed", [], NextAct.WAIT),
        ("start", "failed", [(NEW, False, True)], NextAct.DONE),  # by other means
    ],
)
def test_what_is_next(
    act: SeatActKind, state: SeatActState, live: list[tuple[str, bool, bool]], wanted: NextAct
) -> None:
    assert next_act(act, state, (OLD,), NOW, [LiveSeat(*one) for one in live], NOW) == wanted


def test_nothing_is_awaited_of_a_factory_that_does_not_answer() -> None:
    for stopping in (False, True):
        silent = LiveSeat(OLD, stopping, False, silent=True)
        assert next_act("reset", "stopping", (OLD,), NOW, [silent], NOW) == NextAct.SILENT
    other = [LiveSeat(NEW, False, False, silent=True)]  # the new seat of a reset waits for its factory, as any seat
    assert next_act("reset", "delivering", (OLD,), NOW, other, NOW) == NextAct.WAIT


def test_patience_ends() -> None:
    later = NOW + PATIENCE + timedelta(seconds=1)
    assert next_act("restart", "stopping", (OLD,), NOW, [LiveSeat(OLD, True, False)], later) == NextAct.LATE
    lost = NOW + NO_SESSION + timedelta(seconds=1)
    assert next_act("reset", "delivering", (OLD,), NOW, [], lost) == NextAct.LOST
    queued = [LiveSeat(NEW, False, False)]
    assert next_act("reset", "delivering", (OLD,), NOW, queued, NOW + timedelta(hours=9)) == NextAct.WAIT


LIVE = st.lists(st.builds(LiveSeat, st.sampled_from([OLD, NEW]), st.booleans(), st.booleans()), max_size=3)
STATES = st.sampled_from(["stopping", "starting", "delivering", "failed"])


@given(st.sampled_from(["start", "restart", "reset"]), STATES, LIVE, st.integers(0, 3000))
def test_nothing_is_begun_beside_a_session_that_ends_and_nothing_new_is_stopped(
    act: SeatActKind, state: SeatActState, live: list[LiveSeat], seconds: int
) -> None:
    found = next_act(act, state, (OLD,), NOW, live, NOW + timedelta(seconds=seconds))
    if found == NextAct.BEGIN:
        assert not [one for one in live if one.id == OLD or one.stopping]
    if found == NextAct.STOP:
        assert any(one.id == OLD and not one.stopping for one in live)
    if found == NextAct.DELIVER:
        assert any(one.id != OLD and one.open for one in live)


# --- with a link


class ActsLink(SeatLink):
    """A link that also stops sessions, and records orders to deliver material."""

    def __init__(self) -> None:
        super().__init__()
        self.stops: list[str] = []
        self.orders: list[MaterialOrder] = []
        self.aside: str | None = "kept"
        self.busy = 0  # orders that it refuses before it takes one

    async def post(
        self, shape: TypeAdapter[Any], project: str, path: str, body: Any = None, seconds: float = 10
    ) -> Any:
        if path.endswith("/stop"):
            self.stops.append(path.split("/")[2])
            return None
        if path == "/material":
            self.orders.append(body)
            report = None if self.busy else {"counts": {"new": 1}, "aside": self.aside}
            one = {"session": NEW, "person": ADA, "report": report, "problem": "Busy." if self.busy else ""}
            self.busy = max(0, self.busy - 1)
            return MaterialDeliveries.model_validate({"sessions": [one]})
        return await super().post(shape, project, path, body, seconds)


class Seats:
    """A service with a fake link, and a workshop that is open with one person on its first seat."""

    def __init__(self, world: WorkshopsWorld, slug: str) -> None:
        self.world, self.slug, self.link = world, slug, ActsLink()
        self.restart()

    def restart(self) -> None:
        """Begin with nothing in memory, as a service that was killed."""
        world, link = self.world, self.link
        self.runner = SeatRunner(world.store, link, world.clock)  # type: ignore[arg-type]
        world.delivery._link = link  # type: ignore[assignment]
        self.acts = SeatActs(
            world.workshops, world.store, link, world.room, self.runner, world.materials.is_ready,  # type: ignore[arg-type]
            world.delivery.anew, world.clock,
        )  # fmt: skip

    def runs(self, *sessions: Any) -> None:
        """Let the link say that exactly these sessions live."""
        self.world.room.sessions.take(True, WorkshopSessions(sessions=sessions))

    async def ask(self, act: SeatActKind, seat: int = 1) -> None:
        await self.acts.ask(TINA, self.slug, seat, act)

    async def act(self) -> SeatActView | None:
        return (await self.world.room.view(TINA, self.slug)).seats[0].act

    async def state(self) -> str | None:
        act = await self.act()
        return None if act is None else act.state


@asynccontextmanager
async def seats_of(folder: Path, **fields: Any) -> AsyncIterator[Seats]:
    async with workshops_world(folder) as world:
        with_fetcher(world, folder)
        slug = (await world.scheduled(**fields)).slug
        await world.workshops.put_member(TINA, slug, ADA, "participant")
        world.clock.forward(days=2)
        await world.clockwork.look()
        await settled(world)
        made = Seats(world, slug)
        made.runs()
        yield made
        await made.runner.close()


@pytest.fixture
async def seats(tmp_path: Path) -> AsyncIterator[Seats]:
    async with seats_of(tmp_path, material=MATERIAL) as made:
        yield made


def old(made: Seats, **fields: Any) -> Any:
    return session(1, ADA, made.slug, **fields)


def new(made: Seats, **fields: Any) -> Any:
    return session(2, ADA, made.slug, **fields)


async def test_a_seat_without_a_session_is_started_once(seats: Seats) -> None:
    await asyncio.gather(seats.ask("start"), seats.ask("start"))
    assert await seats.state() == "starting"
    await asyncio.gather(seats.acts.look(), seats.acts.look())
    assert await seats.act() is None
    await seats.ask("start")  # the link's events have not shown the new session yet
    await seats.acts.look()
    assert list(seats.link.begun.values()) == [ADA]
    seats.runs(new(seats))
    with pytest.raises(ProblemError, match="Seat 1 has a session already"):
        await seats.ask("start")
    assert [one.what for one in await seats.world.workshops.events(TINA, seats.slug)].count("seat start") == 2


async def test_a_restart_stops_the_old_session_and_begins_a_new_one_when_it_has_ended(seats: Seats) -> None:
    with pytest.raises(ProblemError, match="Nothing runs on seat 1"):
        await seats.ask("restart")
    seats.runs(old(seats))
    await seats.ask("restart")
    await seats.ask("restart")
    with pytest.raises(ProblemError, match="is being started again"):
        await seats.ask("reset")
    await seats.acts.look()
    assert (seats.link.stops, await seats.state()) == ([OLD], "stopping")
    seats.runs(old(seats, stopping=True))
    seats.restart()  # the service is killed
    await seats.acts.look()
    assert (seats.link.stops, seats.link.begun) == ([OLD], {})
    seats.runs()
    await seats.acts.look()
    assert list(seats.link.begun.values()) == [ADA]
    assert OLD not in seats.link.begun
    assert await seats.act() is None


async def test_a_reset_keeps_what_the_person_has_and_brings_the_material_anew(seats: Seats) -> None:
    seats.runs(old(seats))
    await seats.ask("reset")
    seats.runs()
    await seats.acts.look()
    assert await seats.state() == "delivering"
    seats.runs(new(seats, state="pending", open=False))
    await seats.acts.look()
    assert seats.link.orders == []
    seats.runs(new(seats))
    await seats.acts.look()
    assert [(one.people, one.aside) for one in seats.link.orders] == [
        ((ADA,), f"{seats.world.clock():%Y-%m-%d-%H%M%S}")
    ]
    assert await seats.act() is None


async def test_a_session_that_cannot_take_the_material_now_gets_it_a_little_later(seats: Seats) -> None:
    await seats.ask("reset")
    await seats.acts.look()
    seats.runs(new(seats))
    seats.link.busy = 2
    for state in ("delivering", "delivering", None):
        await seats.acts.look()
        assert await seats.state() == state
    assert len({one.aside for one in seats.link.orders}) == 1
    seats.runs()
    await seats.ask("reset")
    await seats.acts.look()
    seats.runs(new(seats))
    seats.link.busy = 99
    for _ in range(DELIVERIES):
        await seats.acts.look()
    act = await seats.act()
    assert act is not None
    assert act.why is not None
    assert (act.state, act.why.text) == ("failed", "Busy.")


async def test_an_environment_that_is_too_old_to_keep_files_is_named(seats: Seats) -> None:
    seats.link.aside = None
    await seats.ask("reset")
    await seats.acts.look()
    seats.runs(new(seats))
    await seats.acts.look()
    act = await seats.act()
    assert act is not None
    assert act.why is not None
    assert (act.state, act.why.code) == ("failed", "material-not-kept")


# --- given up


def with_room(seats: Seats) -> Seats:
    """Give the room the fake link, and mark the class's ended sessions as known to the room; return ``seats``."""
    seats.world.room._link = seats.link  # type: ignore[assignment]
    seats.world.room.sessions._whole.add(f"workshop-{seats.slug}")
    return seats


async def stop(seats: Seats) -> None:
    await with_room(seats).world.room.stop(TINA, seats.slug, 1)


async def seat_rows(seats: Seats) -> list[SeatRow]:
    return await seats.world.store.transact(lambda db: rows.of_workshop(db, seats.slug))


@pytest.mark.parametrize("act", ["start", "restart", "reset"])
async def test_who_stops_a_seat_that_is_being_started_gets_no_session(seats: Seats, act: SeatActKind) -> None:
    if act != "start":
        seats.runs(old(seats))
    await seats.ask(act)
    await stop(seats)
    assert await seats.act() is None
    seats.runs()
    await seats.acts.look()
    assert seats.link.begun == {}
    with pytest.raises(ProblemError, match="Nothing runs on seat 1"):
        await stop(seats)


async def test_a_seat_that_is_stopped_while_the_link_is_asked_for_it_does_not_begin(seats: Seats) -> None:
    """The service tells the link to stop the session while the order to begin it is on its way, with the same id."""
    with_room(seats)
    seats.link.meanwhile = lambda: seats.world.room.stop(TINA, seats.slug, 1)
    never = Problem(kind="conflict", message="It was stopped.", code="stopped-before-begun")
    seats.link.refuses = {ADA: never}  # as it answers the order of a session that it was to stop
    await seats.ask("reset")
    await seats.acts.look()
    (row,) = await seat_rows(seats)
    assert (seats.link.stops, row.state) == ([row.session], SeatProgress.OVER)
    assert await seats.act() is None
    seats.link.refuses = {}
    seats.world.clock.forward(minutes=5)
    await seats.acts.look()
    assert seats.link.begun == {}
    await seats.ask("start")  # asked for anew
    await seats.acts.look()
    assert list(seats.link.begun.values()) == [ADA]


async def test_a_seat_that_is_stopped_before_the_link_is_asked_is_not_asked_for(
    seats: Seats, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = rows.put

    def put_and_stop(db: Any, made: Any) -> None:
        put(db, made)
        rows.withdraw(db, seats.slug, ADA)

    monkeypatch.setattr(rows, "put", put_and_stop)
    await seats.ask("start")
    await seats.acts.look()
    assert (seats.link.bodies, seats.link.begun) == ([], {})


async def test_a_seat_whose_session_ended_meanwhile_is_stopped(seats: Seats) -> None:
    """The person's other sessions are stopped, too, although the link does not know the first one any more."""
    seats.runs(old(seats), new(seats, server="more"))
    with_room(seats)
    post, stops = seats.link.post, list[str]()

    async def one_is_gone(shape: Any, project: str, path: str, *rest: Any) -> Any:
        stops.append(path.split("/")[2])
        if stops[-1] == OLD:
            raise LinkRefused(Problem(kind="gone", message="It is not known here."))
        return await post(shape, project, path, *rest)

    seats.link.post = one_is_gone  # type: ignore[method-assign, assignment]
    await seats.world.room.stop(TINA, seats.slug, 1)
    assert sorted(stops) == [OLD, NEW]


async def test_without_material_nothing_is_reset(tmp_path: Path) -> None:
    async with seats_of(tmp_path) as made:
        with pytest.raises(ProblemError, match="no material"):
            await made.ask("reset")


async def test_why_a_seat_was_not_started_is_in_the_room_until_it_is_asked_for_again(seats: Seats) -> None:
    seats.link.refuses[ADA] = Problem(kind="limit", message="The budget is used up.")
    await seats.ask("start")
    await seats.acts.look()
    act = await seats.act()
    assert act is not None
    assert act.why is not None
    assert (act.state, act.why.text) == ("failed", "The budget is used up.")
    await seats.acts.look()
    assert len(seats.link.bodies) == 1  # not again by itself
    seats.link.refuses.clear()
    await seats.ask("start")
    await seats.acts.look()
    assert await seats.act() is None


async def test_a_link_that_does_not_answer_is_asked_again(seats: Seats) -> None:
    await seats.ask("start")
    seats.link.loses = 1  # it has begun the session, and its answer gets lost
    await seats.acts.look()
    assert await seats.state() == "starting"
    await seats.acts.look()
    assert await seats.act() is None
    assert list(seats.link.begun.values()) == [ADA]
    seats.world.room.sessions.fresh = False
    with pytest.raises(ProblemError, match="does not answer"):
        await seats.ask("start")


UNREACHABLE = Problem(kind="unreachable", message="The controller does not answer.", code="controller-down")


async def why(made: Seats) -> tuple[str, str | None]:
    act = await made.act()
    assert act is not None
    assert act.why is not None
    return act.state, act.why.code


@pytest.mark.parametrize("act", ["reset", "restart"])
async def test_a_seat_at_a_factory_that_died_is_given_up_at_once(seats: Seats, act: SeatActKind) -> None:
    seats.link.place = seats.link.place.model_copy(update={"problem": UNREACHABLE})
    seats.runs(old(seats, state="unreachable", before="running"))
    await seats.ask(act)
    await seats.acts.look()
    assert (seats.link.stops, await why(seats)) == ([], ("failed", "seat-act-silent"))  # what ran there may go on
    await seats.ask(act)  # it can be tried again, and says the same
    await seats.acts.look()
    assert await why(seats) == ("failed", "seat-act-silent")
    seats.link.place = seats.link.place.model_copy(update={"problem": None})
    seats.runs(old(seats))
    await seats.ask(act)
    await seats.acts.look()
    assert (seats.link.stops, await seats.state()) == ([OLD], "stopping")


async def test_a_factory_that_dies_while_a_session_ends_is_not_awaited(seats: Seats) -> None:
    seats.runs(old(seats))
    await seats.ask("reset")
    await seats.acts.look()
    assert seats.link.stops == [OLD]
    seats.restart()
    seats.link.place = seats.link.place.model_copy(update={"problem": UNREACHABLE})
    seats.runs(old(seats, state="unreachable", before="ending", stopping=True))
    await seats.acts.look()
    assert await why(seats) == ("failed", "seat-act-silent-stops")


async def test_the_link_is_asked_once_for_all_seats_at_a_factory(seats: Seats) -> None:
    people = [ADA, *(f"p{number}" for number in range(2, 6))]
    for one in people[1:]:
        await seats.world.workshops.put_member(TINA, seats.slug, one, "participant")
    seats.link.place = seats.link.place.model_copy(update={"problem": UNREACHABLE})
    seats.runs(*(session(n, one, seats.slug, state="unreachable") for n, one in enumerate(people, 1)))
    for number in range(1, 6):
        await seats.ask("reset", number)
    seats.link.looks = 0
    await seats.acts.look()
    acts = seats.acts.of(seats.slug)
    assert ({one.state for one in acts.values()}, len(acts), seats.link.looks) == ({"failed"}, 5, 1)


async def test_a_session_that_is_out_of_reach_by_itself_is_awaited(seats: Seats) -> None:
    seats.runs(old(seats, state="unreachable", before="running"))
    await seats.ask("reset")
    await seats.acts.look()  # the factory answers, so it can cancel the job
    assert (seats.link.stops, await seats.state()) == ([OLD], "stopping")


async def test_a_seat_that_was_moved_since_has_no_failed_act(tmp_path: Path) -> None:
    plan = [{"factory": "one", "size": "gpu-1"}, {"factory": "two", "size": "gpu-1"}]
    async with seats_of(tmp_path, material=MATERIAL, places=plan) as made:
        made.link.place = made.link.place.model_copy(update={"problem": UNREACHABLE})
        made.runs(old(made, state="unreachable", before="running"))
        await made.ask("reset")
        await made.acts.look()
        await made.acts.look()
        assert await why(made) == ("failed", "seat-act-silent")
        made.world.clock.forward(seconds=5)
        moves = ClassMoves(made.world.workshops, made.world.store, made.runner, made.world.clock)
        await moves.move(TINA, made.slug, MoveBody(place=1))
        await made.acts.look()
        assert await made.act() is None


async def test_an_act_ends_with_its_person_and_its_class(seats: Seats) -> None:
    seats.runs(old(seats))
    await seats.ask("restart")
    await seats.world.workshops.drop_member(TINA, seats.slug, ADA)
    await seats.acts.look()
    assert (seats.link.stops, seats.acts.of(seats.slug)) == ([], {})
    with pytest.raises(ProblemError, match="seat 1"):
        await seats.ask("start")
    with pytest.raises(ProblemError, match="The workshop"):
        await seats.acts.ask(PAUL, seats.slug, 1, "start")
    await seats.world.workshops.put_member(TINA, seats.slug, ADA, "participant")
    seats.world.clock.forward(days=1)
    await seats.world.clockwork.look()
    with pytest.raises(ProblemError, match="not possible"):
        await seats.acts.ask(OPERATOR, seats.slug, 1, "start")
