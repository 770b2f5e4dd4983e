"""Pure functions that decide on waves of seats: their pace, their end, halts after failures, and an early begin."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshops.models.seats import SeatProgress as P
from workshops.seats import waves
from workshops.seats.waves import Halt, Pace, Rate, SeatFacts, next_wave

NOW = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def people(count: int) -> list[SeatFacts]:
    return [SeatFacts(f"p{number}", number) for number in range(1, count + 1)]


class Place:
    """A factory at which some seats fail; its link answers at once, and seats come up after a while."""

    def __init__(self, seats: list[SeatFacts], pace: Pace, fails: set[str]) -> None:
        self.seats = {seat.person: seat for seat in seats}
        self.pace, self.fails = pace, fails
        self.asks: list[datetime] = []

    def step(self, now: datetime, go_on: datetime | None = None) -> Halt | None:
        """Do what is due, as the runner does every five seconds; return the halt, or None if the waves go on.

        ``go_on``: when a trainer last said to go on.
        """
        for seat in tuple(self.seats.values()):
            if seat.state == P.BEGUN and seat.asked is not None and now - seat.asked > 20 * SECOND:
                state = P.FAILED if seat.person in self.fails else P.RUNNING
                self.seats[seat.person] = replace(seat, state=state)
        due = next_wave(tuple(self.seats.values()), self.pace, go_on, now)
        for person in due.ask:
            before = self.seats[person]
            assert before.state in (None, P.FAILED)
            self.asks.append(now)
            self.seats[person] = replace(
                before, state=P.BEGUN, wave=due.number, asked=now, attempts=before.attempts + 1
            )
        return due.halt


@given(st.integers(1, 70), st.integers(1, 700), st.integers(0, 1))
def test_waves_keep_the_pace_and_end(count: int, per_minute: int, failing: int) -> None:
    place = Place(people(count), Pace(per_minute), {f"p{number}" for number in range(1, failing + 1)})
    now = NOW
    for _ in range(12 * (count // per_minute + 10)):
        assert place.step(now) is None  # one that fails is no reason to halt
        now += 5 * SECOND
    assert waves.is_settled(place.seats.values())
    assert sum(seat.state == P.RUNNING for seat in place.seats.values()) == count - failing
    assert len(place.asks) == count + failing * (waves.ATTEMPTS - 1)
    for asked in place.asks:
        assert sum(timedelta() <= one - asked < waves.MINUTE for one in place.asks) <= per_minute


@given(st.integers(10, 70), st.integers(5, 100), st.data())
def test_a_place_that_breaks_seats_is_asked_for_one_minute_at_most(
    count: int, per_minute: int, data: st.DataObject
) -> None:
    place = Place(people(count), Pace(per_minute), {f"p{number}" for number in range(1, count + 1)})
    now, halt = NOW, None
    for _ in range(data.draw(st.integers(10, 60))):
        halt = place.step(now)
        now += 5 * SECOND
    assert halt is not None
    assert len(place.asks) <= per_minute  # nothing is asked for after the first wave is known to have failed
    assert all(seat.attempts <= 1 for seat in place.seats.values())
    before = len(place.asks)
    place.fails = set()
    place.seats = {name: replace(seat, attempts=0) for name, seat in place.seats.items()}
    go_on, now = now, now + waves.MINUTE
    for _ in range(12 * (count // per_minute + 10)):
        assert place.step(now, go_on) is None
        now += 5 * SECOND
    assert len(place.asks) == before + count
    assert all(seat.state == P.RUNNING for seat in place.seats.values())


@pytest.mark.parametrize(
    ("failed", "of", "halts"), [(1, 2, False), (2, 20, False), (2, 19, True), (3, 30, False), (4, 30, True)]
)
def test_more_than_a_tenth_and_at_least_two_failures_halt(failed: int, of: int, halts: bool) -> None:
    seats = [
        SeatFacts(f"p{n}", n, P.FAILED if n <= failed else P.RUNNING, wave=1, asked=NOW, attempts=1)
        for n in range(1, of + 1)
    ]
    halt = next_wave([*seats, SeatFacts("late", 99)], Pace(60), None, NOW + 5 * waves.MINUTE).halt
    assert halt == (Halt(1, failed, of) if halts else None)


def test_a_person_who_is_refused_halts_nobody() -> None:
    refused = [SeatFacts(f"p{n}", n, P.REFUSED, wave=1, asked=NOW, attempts=1) for n in range(1, 9)]
    soon = next_wave([*refused, SeatFacts("late", 99)], Pace(60), None, NOW + SECOND)
    assert (soon.halt, soon.ask) == (None, ("late",))
    later = next_wave(refused, Pace(60), None, NOW + waves.AGAIN)
    assert len(later.ask) == 8  # they may have accepted the rules meanwhile


def test_no_wave_begins_before_the_last_one_is_answered() -> None:
    asked = SeatFacts("p1", 1, P.ASKED, wave=1, asked=NOW, attempts=1)
    assert next_wave([asked, *people(3)[1:]], Pace(60), None, NOW + waves.MINUTE).ask == ()


def test_doors_and_a_closed_place_limit_a_wave() -> None:
    assert len(next_wave(people(60), Pace(600, room=7), None, NOW).ask) == 7
    assert next_wave(people(60), Pace(600, open=False), None, NOW).ask == ()
    assert next_wave(people(3), Pace(600), None, NOW).ask == ("p1", "p2", "p3")


def test_the_rate_is_measured_from_the_first_seat_to_the_last() -> None:
    times = [(NOW, NOW + SECOND * (40 + 2 * n)) for n in range(31)]
    rate = waves.measured(times)
    assert rate == Rate(30.0, 40 * SECOND)
    assert waves.measured(times[:2]) is None


@given(st.integers(1, 1000), st.floats(0.1, 600), st.integers(0, 3600))
def test_warming_up_begins_early_enough(seats: int, per_minute: float, cold: int) -> None:
    most = timedelta(hours=2)
    rate = Rate(per_minute, timedelta(seconds=cold))
    early = waves.warm_time(seats, rate, most)
    assert waves.LEAST_WARM <= early <= most
    assert early == most or early >= rate.cold + seats / per_minute * waves.MINUTE
    assert waves.warm_time(seats, None, most) == most
