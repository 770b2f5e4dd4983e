"""The positions of the numbers on the map."""

from __future__ import annotations

from math import hypot

from hypothesis import given
from hypothesis import strategies as st

from factoryspawner.pages.map_marks import Spot, spread
from factoryspawner.pages.map_projection import HEIGHT, WIDTH

APART, CLEAR = 86.0, 62.0
SPOTS = st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT))


def distance(one: Spot, other: Spot) -> float:
    return hypot(one[0] - other[0], one[1] - other[1])


def test_a_mark_stays_on_its_place_where_there_is_room() -> None:
    places = ((200.0, 200.0), (200.0, 200.0 + APART))
    assert spread(places, ((200.0, 200.0 - CLEAR),), APART, CLEAR) == places


@given(st.lists(SPOTS, max_size=25), st.lists(SPOTS, max_size=13))
def test_marks_are_apart_wherever_their_places_are(places: list[Spot], fixed: list[Spot]) -> None:
    marks = spread(tuple(places), tuple(fixed), APART, CLEAR)
    assert len(marks) == len(places)
    for number, mark in enumerate(marks):
        assert all(distance(mark, other) >= APART - 0.1 for other in marks[:number])
        assert all(distance(mark, other) >= CLEAR - 0.1 for other in fixed)
        assert mark == places[number] or (0 < mark[0] < WIDTH and 0 < mark[1] < HEIGHT)


def test_marks_of_one_place_are_apart() -> None:
    marks = spread(((500.0, 500.0),) * 20, (), APART, CLEAR)
    assert min(distance(one, other) for n, one in enumerate(marks) for other in marks[:n]) >= APART - 0.1


def test_more_marks_than_there_is_room_for_stay_on_their_places() -> None:
    assert spread(((500.0, 500.0),) * 3, (), 2000.0, 0.0)[1:] == ((500.0, 500.0),) * 2
