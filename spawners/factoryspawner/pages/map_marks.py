"""Computes the positions of the factories' numbers (marks) on the map.

If two factories are so close that their numbers would overlap, a number is put beside the factory's position.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import cos, hypot, pi, sin

from factoryspawner.pages.map_projection import HEIGHT, WIDTH

Spot = tuple[float, float]
_STEP = 8.0  # step between two distances that are tried, in the map's units
_DIRECTIONS = 32


@lru_cache(maxsize=16)
def spread(places: tuple[Spot, ...], fixed: tuple[Spot, ...], apart: float, clear: float) -> tuple[Spot, ...]:
    """Return the position of the mark of each factory, in the order of ``places``, in the map's units.

    ``places``: the positions of the factories. A mark is put on its factory's position or, if that is not free, on the
    nearest free spot; if the map has no free spot, the mark stays on its factory's position. ``apart``: the least
    distance between two marks; ``fixed``: the positions of the antennas; ``clear``: the least distance between a mark
    and an antenna.
    """
    crowd = [sum(_near(one, other, 2 * apart) for other in places) for one in places]
    taken: dict[int, Spot] = {}
    for number in sorted(range(len(places)), key=lambda one: (crowd[one], one)):
        for spot in _around(places[number], apart / 2):
            free = not any(_near(spot, other, apart) for other in taken.values())
            if free and not any(_near(spot, other, clear) for other in fixed):
                taken[number] = spot
                break
        else:  # there are more marks than the map has room for
            taken[number] = places[number]
    return tuple(taken[number] for number in range(len(places)))


def _near(one: Spot, other: Spot, distance: float) -> bool:
    """Return whether two spots are closer to each other than ``distance``."""
    return hypot(one[0] - other[0], one[1] - other[1]) < distance


def _around(place: Spot, margin: float) -> Iterator[Spot]:
    """Yield the possible positions of a mark: first ``place`` itself, then positions around it, the nearest first.

    ``margin``: positions closer than this to an edge of the map are left out; ``place`` itself is always yielded.
    """
    yield place
    for ring in range(1, int(hypot(WIDTH, HEIGHT) / _STEP)):
        for direction in range(_DIRECTIONS):
            turn = 2 * pi * direction / _DIRECTIONS
            x, y = place[0] + ring * _STEP * cos(turn), place[1] + ring * _STEP * sin(turn)
            if margin <= x <= WIDTH - margin and margin <= y <= HEIGHT - margin:
                yield round(x, 1), round(y, 1)
