"""Pure functions that decide where seats belong after orders to move them, and when to suggest a move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshops.models.seats import SeatProgress as P
from workshops.seats import placement, suggestion
from workshops.seats.suggestion import PlaceFacts
from workshops.states import WorkshopState
from workshops.store import moves
from workshops.store.schema import MembershipRecord, PlaceRecord, WorkshopRecord
from workshops.store.seat_tables import MoveRow, SeatRow

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SEATS = 8
PLACES = tuple(PlaceRecord(n, name, "gpu-1", None, name) for n, name in enumerate(("a", "b", "c"), 1))
CLASS = WorkshopRecord(
    slug="w", title="", zone="UTC", opens=NOW, starts=NOW, ends=NOW, closes=NOW, seats=SEATS, hours=1, gpu_hours=None,
    person_gpu_hours=None, terms="", languages=("en",), material=None, retention_days=1, warm_minutes=30,
    state=WorkshopState.OPEN, version=1, made=NOW, made_by="tina", places=PLACES,
)  # fmt: skip


def order(number: int, place: int, *seats: int) -> MoveRow:
    return MoveRow("w", number, f"id-{number}", NOW + number * MINUTE, "tina", place, seats or None)


def person(seat: int) -> MembershipRecord:
    return MembershipRecord("w", f"p{seat}", "participant", "seated", seat, NOW)


def row(seat: int, factory: str, state: P = P.RUNNING) -> SeatRow:
    return SeatRow("w", f"p{seat}", factory, "gpu-1", f"{seat:032x}", state, 3, 2, NOW)


def test_a_seat_that_was_never_moved_belongs_to_plan_a() -> None:
    assert moves.place_of(CLASS, (), 1) == moves.Placement(PLACES[0])


def test_the_last_order_that_names_a_seat_counts() -> None:
    orders = [order(3, 1, 2), order(1, 2), order(2, 3, 2, 3)]  # in whatever order they are read
    assert [moves.place_of(CLASS, orders, seat).place.factory for seat in (1, 2, 3)] == ["b", "a", "c"]
    assert moves.place_of(CLASS, orders, None).place.factory == "b"  # who joins now


MOVES = st.lists(
    st.tuples(st.integers(1, 4), st.one_of(st.none(), st.sets(st.integers(1, SEATS), min_size=1))), max_size=8
)


@given(MOVES)
def test_each_seat_belongs_to_one_place_and_a_whole_move_leaves_nobody(
    given_moves: list[tuple[int, set[int] | None]],
) -> None:
    orders = [order(n, place, *(seats or ())) for n, (place, seats) in enumerate(given_moves, 1)]
    people = [person(seat) for seat in range(1, SEATS + 1)]
    found = placement.by_place(CLASS, orders, people)
    assert sorted(one.person for ones in found.values() for one in ones) == sorted(one.person for one in people)
    whole = placement.by_place(CLASS, [*orders, order(len(orders) + 1, 2)], people)
    assert {number: len(ones) for number, ones in whole.items()} == {1: 0, 2: SEATS, 3: 0}


def test_a_seat_that_was_begun_elsewhere_is_yet_to_be_begun() -> None:
    known = {"p1": row(1, "a", P.FAILED), "p2": row(2, "b")}
    first, second = placement.facts_at(PLACES[1], [person(1), person(2)], known)
    assert (first.state, first.wave, first.attempts) == (None, 0, 0)  # failures elsewhere halt nothing here
    assert (second.state, second.wave, second.attempts) == (P.RUNNING, 3, 2)


def test_who_starts_by_hand_starts_where_their_seat_is() -> None:
    orders = [order(1, 2, 4)]
    assert [place.factory for place in moves.seen_from(CLASS, orders, 4).places] == ["b", "a", "c"]
    assert moves.seen_from(CLASS, orders, 5).places == PLACES


@pytest.mark.parametrize(
    ("facts", "minutes", "code"),
    [
        (PlaceFacts("a", 3, 60, 60, "b"), 90, "move-unreachable"),
        (PlaceFacts("a", 3, 60, 60, "b"), -30, "move-unreachable"),
        (PlaceFacts("a", 2, 60, 60, "b"), 5, None),
        (PlaceFacts("a", 0, 60, 47, "b"), 5, "move-few-ready"),
        (PlaceFacts("a", 0, 60, 48, "b"), 5, None),
        (PlaceFacts("a", 0, 60, 0, "b"), 11, None),  # there is time left
        (PlaceFacts("a", 0, 60, 0, "b"), 0, None),  # the class has started: nobody is moved for who came late
        (PlaceFacts("a", 3, 60, 0, None), 5, None),  # there is no other place
        (PlaceFacts("a", 3, 0, 0, "b"), 5, None),
    ],
)
def test_a_move_is_suggested_when_a_place_is_silent_or_few_seats_are_ready(
    facts: PlaceFacts, minutes: int, code: str | None
) -> None:
    said = suggestion.suggested(facts, NOW + minutes * MINUTE, NOW)
    assert (None if said is None else said.code) == code
