"""Rehearsals of a whole class: robots take its seats in waves, at a cost that is known before; and the results."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from factorycommon.models import Problem, robot_names
from factorycommon.models.sessions import SessionState, Words
from factorycommon.models.workshops import REHEARSAL
from factorycommon.models.workshops.rehearsal import BookedNodes, RehearsedSize
from factorycommon.models.workshops.seats import HeldAccounts, SeatAnswer, SeatPlace
from factorycommon.service.problems import ProblemError
from tests.unit.rehearsal_stage import HOUR, SECRET, RehearsedLink, Stage, at
from tests.unit.workshops_world import BEGIN, OPERATOR, OTTO, PAUL, TINA, workshops_world
from workshops.models.bodies import WorkshopChange
from workshops.models.rehearsal import (
    MOST_LINES,
    MOST_REASONS,
    RehearsalBody,
    RehearsalResult,
    RehearsalView,
    RehearsedSeat,
)
from workshops.models.seats import SeatProgress as P
from workshops.rehearsal import proof, rows, wave
from workshops.rehearsal.wave import WaveEnd
from workshops.seats import waves

WAVE = RehearsalBody(kind="wave")
MINUTE = timedelta(minutes=1)
NODES = BookedNodes(name="r1", start=BEGIN, end=BEGIN + 99 * HOUR, nodes=20)
HELD = HeldAccounts(pool=30, held=0, ready=0, free=0, wiping=0)


class Waved(Stage):
    """A workshop whose whole class is rehearsed."""

    @property
    def robots(self) -> tuple[str, ...]:
        return robot_names(self.slug, self.seats)

    seats = 6

    async def go(self, **later: float) -> RehearsalView:
        """Let time pass; return the rehearsal of the whole class at plan A.

        ``later``: the time that passes, as keywords of ``timedelta``.
        """
        self.world.clock.forward(**later)
        await self.rehearsals.look()
        return await self.shown()

    async def shown(self) -> RehearsalView:
        found = (await self.rehearsals.view(TINA, self.slug)).places[0].wave
        assert found is not None
        return found

    @property
    def asked(self) -> list[str]:
        """The robots of all requests for seats, in order; a robot is listed once for each request."""
        return [seat.person for body in self.link.bodies for seat in body.seats]


@asynccontextmanager
async def waved(folder: Path, limits: dict[str, int] | None = None, **fields: Any) -> AsyncIterator[Waved]:
    """Open a service with a scheduled workshop of tina's; yield the workshop and its rehearsals.

    ``limits``: the limits that the operators set; ``fields``: fields of the workshop.
    """
    async with workshops_world(folder, limits=limits or {}) as world:
        places = [{"factory": "one", "size": "gpu-1", "reservation": "r1"}]
        created = await world.scheduled(**{"places": places, "gpu_hours": 50, **fields})
        await world.workshops.put_member(TINA, created.slug, "paul", "participant")
        await world.workshops.put_member(TINA, created.slug, "otto", "helper")
        stage = Waved(world, created.slug)
        stage.seats = fields.get("seats", 6)
        stage.link.here = at(reservation=NODES)
        yield stage


async def test_robots_take_all_seats_stay_and_leave(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        assert (await stage.rehearsals.begin(TINA, stage.slug, WAVE)).running
        first = await stage.go(seconds=1)
        assert first.wave is not None
        assert (first.running, first.wave.asked, first.wave.up, first.seats) == (True, 6, 0, ())
        (body,) = stage.link.bodies
        assert {seat.person for seat in body.seats} == set(stage.robots)
        assert {(seat.factory, seat.size, seat.server, seat.environment) for seat in body.seats} == {
            ("one", "gpu-1", "", None)
        }
        window = wave.window(6, 60)
        assert {seat.hours for seat in body.seats} == {window / HOUR}
        assert body.unopened_until == BEGIN + window
        stage.link.runs = set(stage.robots[:3])
        await stage.go(seconds=30)
        stage.link.runs = set(stage.robots)
        more = await stage.go(seconds=30)
        assert more.wave is not None
        assert (more.wave.up, more.running, stage.link.stopped) == (6, True, [])
        assert (await stage.go(minutes=1)).running  # they stay
        done = await stage.go(minutes=1)
        assert (done.running, done.colour, done.void, len(done.number)) == (False, "green", (), 12)
        assert set(stage.link.stopped) == stage.link.begun
        found = done.wave
        assert found is not None
        assert (found.seats, found.asked, found.up, found.refused, found.failed, found.halted) == (6, 6, 6, 0, 0, False)
        assert (found.p50, found.p95, found.slowest, found.seconds) == (30, 60, 60, 60)
        assert found.per_minute == 10  # five more within half a minute
        said = [str(line.text) for line in done.lines]
        assert said[0] == (
            "6 of 6 seats could be opened: half of them within 30 seconds, 95 % within 60, the slowest after 60. All "
            "of it took 60 seconds."
        )
        assert [line.check for line in done.lines] == ["wave", "warm"]
        (rate,) = (await stage.world.seats.rates()).values()
        assert (rate.per_minute, rate.cold) == (10, timedelta(seconds=30))
        (row,) = await stage.world.store.transact(lambda db: rows.of_workshop(db, stage.slug))
        assert (row.seats, row.until) == ((), None)  # a result has no line for each seat
        assert [one.what for one in await stage.world.workshops.events(OPERATOR, stage.slug)][:2] == [
            "rehearsed",
            "rehearsal",
        ]
        asked = len(stage.link.bodies)
        await stage.go(minutes=5)
        assert len(stage.link.bodies) == asked
        assert not await stage.ready()  # that needs three seats of a person


async def test_the_rate_of_a_wave_counts_on_the_day(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        await stage.go(seconds=1)
        stage.link.runs = set(stage.robots)
        await stage.go(seconds=60)
        await stage.go(minutes=2)
        workshop = await stage.world.store.get(stage.slug)
        assert workshop is not None
        (rate,) = (await stage.world.seats.rates()).values()
        needed = waves.warm_time(workshop.seats, rate, timedelta(hours=9))
        found = (await stage.shown()).wave
        assert found is not None
        assert found.warm_minutes == -(-needed // MINUTE)
        assert needed < timedelta(minutes=workshop.warm_minutes)  # so the class begins later than it otherwise would


async def test_waves_keep_the_pace_of_the_site(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        stage.link.here = at(seat=SeatPlace(factory="one", per_minute=2), reservation=NODES)
        stage.link.runs = set(stage.robots)
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        counts = []
        for _ in range(13):
            shown = (await stage.go(seconds=10)).wave
            assert shown is not None
            counts.append(shown.asked)
        assert counts == [2] * 6 + [4] * 6 + [6]
        assert sorted(stage.asked) == sorted(stage.robots)  # each once, since those that run are left alone
        stage.link.here = at(reservation=NODES)
        assert (await stage.go(minutes=2)).colour == "green"


async def test_nothing_is_asked_for_before_the_link_knows_of_the_rehearsal(tmp_path: Path) -> None:
    """Otherwise accounts would be held for the class, which is days away."""
    async with waved(tmp_path) as stage:
        lent = at(seat=SeatPlace(factory="one", per_minute=60, accounts=HELD), lends=True, lendable=30)
        stage.link.here, stage.link.rehearses = lent, False
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        await stage.go(seconds=4)
        assert (stage.link.bodies, stage.link.held) == ([], [])
        stage.link.rehearses = True
        stage.link.refuses = Problem(kind="forbidden", message="Who?", code="not-in-workshop")
        shown = (await stage.go(seconds=1)).wave
        assert shown is not None
        assert (stage.link.held, shown.asked, shown.refused) == ([{"one": 6}], 6, 0)  # it is asked again
        stage.link.refuses = None
        assert len(stage.link.begun) == 0
        await stage.go(seconds=1)
        assert len(stage.link.begun) == 6


async def test_while_accounts_are_wiped_only_clean_ones_are_used(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        held = HELD.model_copy(update={"held": 6, "ready": 2, "free": 2, "wiping": 4})
        stage.link.here = at(seat=SeatPlace(factory="one", per_minute=60, accounts=held), lends=True, lendable=30)
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        shown = (await stage.go(seconds=1)).wave
        assert shown is not None
        assert (shown.asked, stage.link.held) == (2, [])


async def test_a_wave_halts_when_too_many_fail(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        stage.link.here = at(seat=SeatPlace(factory="one", per_minute=4), reservation=NODES)
        stage.link.ended = set(stage.robots[:2])
        stage.link.runs = set(stage.robots[2:])
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        done = await stage.go(seconds=1)
        assert (done.running, done.colour) == (False, "red")
        assert done.wave is not None
        assert (done.wave.halted, done.wave.asked, done.wave.failed, done.wave.up) == (True, 4, 2, 2)
        said = [str(line.text) for line in done.lines]
        assert "More than 10 % of a wave failed, so no more seats were asked for." in said
        assert "2 seats: It broke." in said
        assert not await stage.world.seats.rates()
        assert set(stage.link.stopped) >= {one for one in stage.link.begun if one in stage.link.stopped}
        assert len(stage.link.stopped) == 4  # also those that failed, whose state may be old
        await stage.go(minutes=3)
        assert len(stage.asked) == 4


async def test_few_failures_are_yellow_and_the_rate_counts(tmp_path: Path) -> None:
    async with waved(tmp_path, seats=12, gpu_hours=100) as stage:
        stage.link.ended = {stage.robots[0]}
        stage.link.runs = set(stage.robots[1:])
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        assert (await stage.go(seconds=1)).running
        done = await stage.go(minutes=2)
        assert done.wave is not None
        assert (done.colour, done.wave.up, done.wave.failed, done.wave.halted) == ("yellow", 11, 1, False)
        assert len(await stage.world.seats.rates()) == 1


async def test_a_robot_whose_seat_ends_while_it_should_stay_has_failed(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        stage.link.runs = set(stage.robots)
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        await stage.go(seconds=1)
        stage.link.ended = set(stage.robots[3:])
        done = await stage.go(minutes=2)
        assert done.wave is not None
        assert (done.colour, done.wave.up, done.wave.failed) == ("red", 3, 3)
        assert not done.wave.halted  # all had been asked for


async def test_seats_that_never_come_up_are_late_and_red(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        await stage.go(seconds=1)
        assert (await stage.go(minutes=9)).running
        done = await stage.go(minutes=2)
        assert (done.running, done.colour) == (False, "red")
        assert str(done.lines[0].text) == "None of 6 seats could be opened."
        assert done.wave is not None
        assert (done.wave.halted, done.wave.failed) == (False, 6)  # it was not the halt of a wave
        assert [reason.count for reason in done.wave.reasons] == [6]


async def test_seats_that_could_not_even_be_asked_for_are_told(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        closed = Problem(kind="draining", message="Closed.")
        stage.link.here = at(seat=SeatPlace(factory="one", per_minute=60, problem=closed), reservation=NODES)
        done = await stage.go(minutes=12)
        assert (done.colour, stage.link.bodies) == ("red", [])
        assert str(done.lines[1].text) == "6 seats could not be asked for within 11 minutes."


async def test_refusals_are_grouped(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        stage.link.refused = set(stage.robots)
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        assert (await stage.go(seconds=1)).running
        done = await stage.go(seconds=2)
        assert done.wave is not None
        assert (done.colour, done.wave.refused, done.wave.failed) == ("red", 6, 0)
        assert [(one.count, one.why.what) for one in done.wave.reasons] == [(6, "Not you.")]
        assert stage.link.stopped == []  # none was begun
        stage.link.refused = set()
        stage.link.refuses = Problem(kind="limit", message="No account is free.")  # a fault of the place
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        done = await stage.go(seconds=1)
        assert done.wave is not None
        assert (done.wave.failed, done.wave.halted) == (6, True)


async def test_a_class_that_must_warm_up_for_longer_is_told_so(tmp_path: Path) -> None:
    async with waved(tmp_path, {"warm_minutes": 5}) as stage:
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        await stage.go(seconds=1)
        for robot in stage.robots:
            stage.link.runs.add(robot)
            await stage.go(seconds=60)
        done = await stage.go(minutes=2)
        assert done.wave is not None
        (line,) = [one for one in done.lines if one.check == "warm"]
        needed = done.wave.warm_minutes
        assert (line.colour, done.colour, needed) == ("yellow", "yellow", 11)  # 1.25 x (1 + 6 / 1 per minute) + 2
        assert str(line.text) == "So fast, the class must warm up for 11 minutes, and it does for 5 at most."


# --- stopping


@pytest.mark.parametrize("kind", ["seats", "wave"])
async def test_a_trainer_stops_a_rehearsal(tmp_path: Path, kind: Any) -> None:
    async with waved(tmp_path) as stage:
        with pytest.raises(ProblemError, match="No seats of this workshop are being rehearsed"):
            await stage.rehearsals.stop(TINA, stage.slug)
        await stage.rehearsals.begin(TINA, stage.slug, RehearsalBody(kind=kind))
        stage.link.runs = {stage.robots[0], "rehearsal-1"}
        await stage.go(seconds=1) if kind == "wave" else await stage.look(seconds=1)
        for caller in (OTTO, PAUL):
            with pytest.raises(ProblemError) as caught:
                await stage.rehearsals.stop(caller, stage.slug)
            assert caught.value.problem.kind == "forbidden"
        await stage.rehearsals.stop(TINA, stage.slug)
        await stage.rehearsals.stop(OPERATOR, stage.slug)  # the first counts
        await stage.rehearsals.look()
        place = (await stage.rehearsals.view(TINA, stage.slug)).places[0]
        done = place.wave if kind == "wave" else place.seats
        assert done is not None
        assert (done.running, done.colour) == (False, "yellow")
        assert str(done.lines[0].text) == "tina stopped the rehearsal before it was over."
        assert set(stage.link.stopped) == stage.link.begun
        assert not await stage.ready()
        assert not await stage.world.seats.rates()
        said = [one.what for one in await stage.world.workshops.events(OPERATOR, stage.slug)]
        assert said[:3] == ["rehearsed", "rehearsal stopped", "rehearsal"]
        await stage.rehearsals.begin(TINA, stage.slug, RehearsalBody(kind=kind))  # another may begin


async def test_a_stop_is_kept_while_the_link_is_away_and_the_service_is_killed(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        await stage.go(seconds=1)
        await stage.rehearsals.stop(TINA, stage.slug)
        stage.link.away = True
        shown = await stage.go(seconds=1)
        assert (shown.running, shown.stopping) == (True, True)
        stage.restart()
        stage.link.away = False
        assert not (await stage.go(seconds=1)).running
        assert set(stage.link.stopped) == stage.link.begun


async def test_a_look_that_is_under_way_does_not_undo_a_stop(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        (row,) = await stage.world.store.transact(rows.running)
        await stage.rehearsals.stop(TINA, stage.slug)
        changed = dataclasses.replace(row, seats=row.seats[:1])
        assert await stage.world.store.transact(lambda db: rows.change(db, changed))
        (after,) = await stage.world.store.transact(rows.running)
        assert (after.stopped, len(after.seats)) == ("tina", 1)


@pytest.mark.parametrize(
    ("action", "said"), [("warm", "began to warm up"), ("withdraw", "was withdrawn"), ("cancel", "was cancelled")]
)
@pytest.mark.parametrize("kind", ["seats", "wave"])
async def test_a_workshop_that_warms_up_or_is_given_up_ends_the_rehearsal_and_the_result_says_which(
    tmp_path: Path, kind: Any, action: Any, said: str
) -> None:
    async with waved(tmp_path) as stage:
        await stage.rehearsals.begin(TINA, stage.slug, RehearsalBody(kind=kind))
        await stage.look(seconds=1)
        await stage.world.workshops.take(TINA, stage.slug, action)
        await stage.look(seconds=1)
        place = (await stage.rehearsals.view(TINA, stage.slug)).places[0]
        done = place.wave if kind == "wave" else place.seats
        assert done is not None
        assert (done.running, done.colour) == (False, "yellow")
        assert str(done.lines[0].text) == f"The workshop {said}, so the rehearsal was ended."
        assert set(stage.link.stopped) == stage.link.begun


async def test_a_change_that_needs_a_new_approval_withdraws_the_workshop_from_its_rehearsal(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        await stage.go(seconds=1)
        view = await stage.world.workshops.one(TINA, stage.slug)
        assert view.staff is not None
        await stage.world.workshops.change(TINA, stage.slug, WorkshopChange(version=view.staff.version, seats=5))
        done = await stage.go(seconds=1)
        assert str(done.lines[0].text) == "The workshop was withdrawn, so the rehearsal was ended."


# --- kills and bad answers


async def test_a_killed_service_begins_no_robot_twice(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        stage.link.loses = 1  # the answer to the first wave is lost, and then the service is killed
        await stage.go(seconds=1)
        stage.restart()
        await stage.go(seconds=1)
        assert len(stage.link.begun) == 6
        stage.link.runs = set(stage.robots)
        await stage.go(seconds=1)
        stage.restart()
        done = await stage.go(minutes=2)
        assert (done.colour, len(stage.link.begun), set(stage.link.stopped)) == ("green", 6, stage.link.begun)


async def test_a_robot_whose_answer_was_lost_is_ended_with_the_others(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        stage.link.loses = 1
        await stage.go(seconds=1)
        await stage.rehearsals.stop(TINA, stage.slug)
        await stage.go(seconds=1)
        assert set(stage.link.stopped) == stage.link.begun
        assert len(stage.link.begun) == 6


async def test_it_ends_also_if_the_link_stays_away(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        await stage.go(seconds=1)
        stage.link.away = True
        window = wave.window(6, 60) / MINUTE
        assert (await stage.go(minutes=window + 1)).running
        done = await stage.go(minutes=2)
        assert (done.running, done.colour, done.checked) == (False, "red", False)


async def test_answers_about_other_seats_are_not_believed(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)

        class Mixed(RehearsedLink):
            def answer(self, seat: Any) -> SeatAnswer:
                return super().answer(seat).model_copy(update={"session": "f" * 32, "reachable": True})

        good, stage.rehearsals._link = stage.link, Mixed()  # type: ignore[assignment]
        stage.rehearsals._link.here = good.here  # type: ignore[attr-defined]
        shown = await stage.go(seconds=1)
        assert shown.wave is not None
        assert (shown.running, shown.wave.asked, shown.wave.up) == (True, 6, 0)
        stage.rehearsals._link = good  # type: ignore[assignment]
        await stage.go(seconds=1)
        assert len(stage.link.begun) == 6


async def test_a_running_wave_is_followed_by_the_next_process(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        stage.restart()
        following = asyncio.create_task(stage.rehearsals.run())
        async with asyncio.timeout(30):
            while not stage.link.bodies:
                await asyncio.sleep(0.01)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert len(stage.link.begun) == 6


STATES = st.sampled_from(["pending", "running", "ended", "forbidden", "limit", "not-in-workshop", "other", "away"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(STATES, min_size=5, max_size=5), max_size=8), st.integers(1, 6), st.booleans())
def test_whatever_the_link_answers_counts_and_lines_stay_within_the_class(
    answers: list[list[str]], per_minute: int, early: bool
) -> None:
    seats, now, asked = list(wave.begun("w-2345", 5)), BEGIN, list[str]()
    ids = {one.person: one.session for one in seats}
    for step in answers:
        now += timedelta(seconds=20)
        if not wave.is_halted(seats, now):
            place = SeatPlace(factory="one", per_minute=per_minute)
            _, wanted = wave.next_seats(seats, place, now)
            asked += [one.person for one in wanted]
            fresh = {one.person: one for one in wanted}
            seats = [fresh.get(one.person, one) for one in seats]
        for number, word in enumerate(step):
            if seats[number].wave and word != "away":
                seats[number] = wave.after(seats[number], answer_of(seats[number], word), now)
    assert len(set(asked)) == len(asked)  # each robot is asked for once, under one id
    assert {one.person: one.session for one in seats} == ids
    end = WaveEnd("tina") if early else WaveEnd()
    halted = wave.is_halted(seats, now)
    found = wave.summary(wave.settled(seats, end), halted=halted)
    assert found.up + found.failed + found.refused <= found.asked <= found.seats == 5
    lines = wave.lines(found, 30, 10, end)
    assert 1 <= len(lines) <= 4 + MOST_REASONS < MOST_LINES
    colours = {line.colour for line in lines}
    assert ("green" in colours) <= (found.up == 5 or found.warm_minutes is not None)
    if not early and found.up < 5:
        assert colours & {"red", "yellow"}


def answer_of(seat: RehearsedSeat, word: str) -> SeatAnswer:
    """Return an answer of the link. ``word``: a state of the seat, or the kind or the code of a refusal."""
    given: dict[str, Any] = {"session": seat.session, "answer": "there", "live": seat.session}
    match word:
        case "pending":
            return SeatAnswer(**given, state=SessionState.PENDING)
        case "running":
            return SeatAnswer(**given, state=SessionState.RUNNING, reachable=True)
        case "ended":
            return SeatAnswer(**given, state=SessionState.ENDED, words=Words(code="x", what="It broke."))
        case "forbidden" | "limit":
            return SeatAnswer(session=seat.session, answer="refused", problem=Problem(kind=word, message="No."))
        case "other":
            return SeatAnswer(**given)
        case _:
            problem = Problem(kind="forbidden", message="Who?", code=word)
            return SeatAnswer(session=seat.session, answer="refused", problem=problem)


# --- before it begins


def size(**fields: Any) -> RehearsedSize:
    given = {"id": "gpu-1", "gpus": 1, "max_hours": 8, "per_node": 4, "digest": "1" * 64, **fields}
    return RehearsedSize.model_validate(given)


@pytest.mark.parametrize(
    ("here", "budget", "says"),
    [
        ({"lends": True, "lendable": 4}, {}, "4 accounts of Machine are free now: 2 are missing."),
        ({"robots": False}, {}, "At Machine people have accounts of their own, so robots have none."),
        ({"lends": True, "lendable": 9, "wipes": False}, {}, "lends accounts that cannot be emptied"),
        ({"lends": True, "lendable": 9, "agreed": ("pool_accounts", "prestart")}, {}, "that cannot be emptied"),
        ({}, {"gpu_hours": 1.5, "spent": 0.5, "reserved": 0.5},
         "It may use 1.6 GPU-hours, and 0.5 of the budget are left: 1.1 are missing."),
        ({"size": size(gpus=0)}, {"gpu_hours": 0}, ""),
        ({"reservation": NODES.model_copy(update={"nodes": 1})}, {}, "The reservation r1 has 1 nodes: 1 are missing."),
        ({"reservation": NODES.model_copy(update={"nodes": 0})}, {}, ""),  # not known
        ({"reservation": None}, {}, ""),
        ({"size": size(nodes=1)}, {}, "Machine has 1 nodes of this kind: 1 are missing."),
        ({"seat": SeatPlace(factory="one", per_minute=60, room=5)}, {},
         "The gateway keeps too few connections to Machine: 1 are missing."),
    ],
)  # fmt: skip
async def test_what_is_missing_is_told_with_its_number(
    tmp_path: Path, here: dict[str, Any], budget: dict[str, float], says: str
) -> None:
    async with waved(tmp_path) as stage:
        stage.link.here, stage.link.budget = at(**{"reservation": NODES, **here}), budget
        if not says:
            assert (await stage.rehearsals.begin(TINA, stage.slug, WAVE)).running
            return
        with pytest.raises(ProblemError) as caught:
            await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        assert says in caught.value.problem.message
        assert caught.value.problem.kind in ("conflict", "limit")
        assert await stage.world.store.transact(lambda db: rows.of_workshop(db, stage.slug)) == []


async def test_the_most_that_it_costs_is_told_before(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        place = (await stage.rehearsals.view(TINA, stage.slug)).places[0]
        assert place.costs is not None
        lasts = wave.window(6, 60)  # a minute to ask for all, ten to come up, two to stay, three to begin and end
        assert (place.costs.seats, place.costs.minutes) == (6, 16)
        assert place.costs.gpu_hours == 6 * (lasts / HOUR)
        stage.link.away = True
        assert (await stage.rehearsals.view(TINA, stage.slug)).places[0].costs is None


async def test_a_class_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    async with waved(tmp_path, seats=20, gpu_hours=100) as stage:
        workshop = await stage.world.store.get(stage.slug)
        assert workshop is not None
        big = dataclasses.replace(workshop, seats=120)
        facts = await stage.link.get(None, "", "/rehearsal")  # type: ignore[arg-type]
        pool = stage.world.pools.pools().pools[0].model_copy(update={"seats": 1000})
        slow = at(seat=SeatPlace(factory="one", per_minute=1), reservation=NODES)
        with pytest.raises(ProblemError, match="120 seats take longer than 2 hours"):
            wave.check(big, facts, slow, pool, 0)


async def test_what_no_seat_could_begin_without_is_red_at_once(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        stage.link.here = at(agreed=(), reservation=NODES)
        assert not (await stage.rehearsals.begin(TINA, stage.slug, WAVE)).running
        shown = await stage.shown()
        assert (shown.colour, [line.check for line in shown.lines]) == ("red", ["prestart"])
        assert not stage.link.begun


async def test_who_may_rehearse_a_class_and_when(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        for caller in (OTTO, PAUL):
            with pytest.raises(ProblemError) as caught:
                await stage.rehearsals.begin(caller, stage.slug, WAVE)
            assert caught.value.problem.kind == "forbidden"
        assert (await stage.rehearsals.begin(OPERATOR, stage.slug, WAVE)).running  # the robots are nobody's
        for kind in ("dry", "seats", "wave"):
            with pytest.raises(ProblemError, match="Wait until they have ended, or stop the rehearsal"):
                await stage.rehearsals.begin(TINA, stage.slug, RehearsalBody(kind=kind))
        await stage.rehearsals.stop(OPERATOR, stage.slug)
        await stage.rehearsals.look()
        stage.world.clock.forward(days=2, minutes=-45)
        with pytest.raises(ProblemError, match="until 16 minutes before the workshop warms up"):
            await stage.rehearsals.begin(TINA, stage.slug, WAVE)


async def test_a_class_is_rehearsed_twice_a_day(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        stage.link.refused = set(stage.robots)
        for _ in range(2):
            await stage.rehearsals.begin(TINA, stage.slug, WAVE)
            await stage.go(seconds=1)
            await stage.go(seconds=2)
        with pytest.raises(ProblemError, match="whole class can be rehearsed 2 times a day"):
            await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        assert (await stage.rehearsals.begin(TINA, stage.slug, RehearsalBody(kind="seats"))).running  # counted apart
        await stage.rehearsals.stop(TINA, stage.slug)
        await stage.rehearsals.look()
        stage.world.clock.forward(hours=25)
        assert (await stage.rehearsals.begin(TINA, stage.slug, WAVE)).running


async def test_waves_and_classes_never_want_more_seats_than_the_pool_has(tmp_path: Path) -> None:
    async with waved(tmp_path, seats=8, gpu_hours=100) as stage:
        other = (await stage.world.scheduled(seats=12, gpu_hours=100)).slug  # at the same time: all 20 seats
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        await stage.rehearsals.begin(TINA, other, WAVE)  # 8 + 12 are the 20 of the pool
        await stage.rehearsals.stop(TINA, other)
        await stage.rehearsals.look()
        now = stage.world.clock()
        times = {"opens": now + 31 * MINUTE, "starts": now + 2 * HOUR, "ends": now + 3 * HOUR, "closes": now + 4 * HOUR}
        soon: dict[str, Any] = {name: moment.isoformat() for name, moment in times.items()}
        await stage.world.scheduled(seats=5, gpu_hours=50, **soon)
        with pytest.raises(ProblemError, match="Other classes have 13 of the 20 seats at Machine meanwhile: 5 are"):
            await stage.rehearsals.begin(TINA, other, WAVE)


# --- what the link reads


async def test_the_table_gives_the_project_to_the_robots_for_its_minutes_only(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        before = await stage.project()
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        during = await stage.project()
        assert (during.members, during.managers, during.staff) == (stage.robots, (), frozenset())
        window = wave.window(6, 60)
        assert (during.begins, during.ends, during.gpu_hours) == (BEGIN, BEGIN + window, 50)
        assert during.factories["one"].reservation is None
        stage.world.clock.forward(minutes=window / MINUTE)  # also if the service is dead by then
        (found,) = stage.world.table().projects
        assert found.project(stage.world.pools.pools(), stage.world.clock())[0] == before
        await stage.rehearsals.look()
        assert await stage.project() == before


# --- what it is worth


async def finished(stage: Waved, *, ended: int) -> None:
    """Rehearse three seats, with a green result, and then the class, in which ``ended`` robots fail."""
    stage.link.runs = {*(f"{REHEARSAL}{number}" for number in (1, 2, 3)), *stage.robots}
    await stage.begin()
    await stage.look(seconds=1)
    await stage.look(minutes=2)
    assert await stage.ready()
    stage.link.ended = set(stage.robots[:ended])
    await stage.rehearsals.begin(TINA, stage.slug, WAVE)
    await stage.go(seconds=1)
    await stage.go(minutes=2)


async def test_a_red_wave_makes_a_place_not_ready_as_long_as_it_counts(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await finished(stage, ended=2)
        assert (await stage.shown()).colour == "red"
        assert not await stage.ready()
        assert not (await stage.rehearsals.view(TINA, stage.slug)).places[0].ready
        view = await stage.world.workshops.one(TINA, stage.slug)
        assert view.staff is not None
        await stage.world.workshops.change(TINA, stage.slug, WorkshopChange(version=view.staff.version, seats=7))
        assert [one.code for one in (await stage.shown()).void] == ["rehearsal-void-plan"]
        assert await stage.ready()


async def stopped(stage: Waved, kind: Any) -> Any:
    """Begin a rehearsal and stop it; return the rehearsal, as shown by a service that was killed in between."""
    stage.world.clock.forward(hours=25)  # as another one may be made
    await stage.rehearsals.begin(TINA, stage.slug, RehearsalBody(kind=kind))
    await stage.look(seconds=1)
    stage.restart()
    await stage.rehearsals.stop(TINA, stage.slug)
    await stage.rehearsals.look()
    place = (await stage.rehearsals.view(TINA, stage.slug)).places[0]
    return place.wave if kind == "wave" else place.seats


async def test_a_red_wave_counts_until_another_one_is_over(tmp_path: Path) -> None:
    days = {"opens": 10, "starts": 10, "ends": 11, "closes": 11}
    times: Any = {name: (BEGIN + timedelta(days=at)).isoformat() for name, at in days.items()}
    async with waved(tmp_path, **times) as stage:
        await finished(stage, ended=2)
        red = await stage.shown()
        stage.link.ended = set()
        for _ in range(2):
            found = await stopped(stage, "wave")
            assert not await stage.ready()
            assert (found.colour, found.counts.colour) == ("yellow", "red")
            assert (found.counts.number, found.counts.void, found.counts.lines) == (red.number, (), red.lines)
        stage.world.clock.forward(hours=25)
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        assert not await stage.ready()  # while it goes on
        await stage.go(seconds=1)
        done = await stage.go(minutes=2)
        assert (done.colour, done.counts) == ("green", None)
        assert await stage.ready()


async def test_a_wave_that_was_stopped_says_nothing_of_the_place(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await finished(stage, ended=0)
        stage.link.ended = set(stage.robots[:1])
        found = await stopped(stage, "wave")
        assert await stage.ready()
        assert found.counts.colour == "green"


async def test_three_green_seats_count_although_another_rehearsal_of_them_was_stopped(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await finished(stage, ended=0)
        found = await stopped(stage, "seats")
        assert await stage.ready()
        assert (found.colour, found.counts.colour) == ("yellow", "green")


async def test_a_green_wave_leaves_a_place_ready(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        await finished(stage, ended=0)
        assert (await stage.shown()).colour == "green"
        assert await stage.ready()


async def test_a_wave_is_signed(tmp_path: Path) -> None:
    async with waved(tmp_path) as stage:
        stage.link.runs = set(stage.robots)
        await stage.rehearsals.begin(TINA, stage.slug, WAVE)
        await stage.go(seconds=1)
        await stage.go(minutes=2)
        (row,) = await stage.world.store.transact(lambda db: rows.of_workshop(db, stage.slug))
        assert row.result is not None
        assert row.result.wave is not None
        forged = row.result.model_copy(update={"wave": row.result.wave.model_copy(update={"up": 5})})
        assert proof.unsigned(SECRET, row.result, row.signature) == ()
        assert proof.unsigned(SECRET, forged, row.signature)


def test_a_result_has_at_most_three_seats_and_few_reasons() -> None:
    given = {"workshop": "w", "factory": "one", "kind": "wave", "at": BEGIN, "ended": BEGIN, "by": "tina", "lines": ()}
    with pytest.raises(ValidationError):
        RehearsalResult.model_validate({**given, "seats": wave.begun("w", 4)})
    whys = [Words(code="x", what=f"Reason {number}.") for number in range(40)]
    seats = [
        one.model_copy(update={"wave": 1, "state": P.FAILED, "why": why})
        for one, why in zip(wave.begun("w", 40), whys, strict=True)
    ]
    found = wave.summary(seats, halted=True)
    assert (found.failed, len(found.reasons)) == (40, MOST_REASONS)
    result = RehearsalResult.model_validate({**given, "wave": found, "lines": wave.lines(found, 30, 10, WaveEnd())})
    assert len(result.model_dump_json()) < 6000
