"""Decides who gets which seat of a workshop, and who waits. Pure functions.

Seats have the numbers 1 to the number of seats. A person keeps their number. A seat that becomes free goes to the
person who has waited longest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Waiting:
    """A person in the waiting list, and since when."""

    person: str
    since: datetime


@dataclass(frozen=True)
class Promotion:
    """A person who gets a seat."""

    person: str
    seat: int


def free_seat(taken: Collection[int], seats: int) -> int | None:
    """Return the lowest number of a free seat, of 1 to ``seats``; None if all seats are taken."""
    return next((number for number in range(1, seats + 1) if number not in taken), None)


def in_order(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Return the waiting list in the order in which its people get seats: whoever has waited longest is first."""
    return sorted(waiting, key=lambda one: (one.since, one.person))


def position(waiting: Iterable[Waiting], person: str) -> int | None:
    """Return a person's position in the waiting list, from 1; None if they do not wait."""
    names = [one.person for one in in_order(waiting)]
    return names.index(person) + 1 if person in names else None


def promotions(taken: Collection[int], seats: int, waiting: Sequence[Waiting]) -> list[Promotion]:
    """Return the people of the waiting list who get a seat now, each with the seat's number.

    Whoever has waited longest gets the lowest free number, the next person the next free number, until no seat is free
    or nobody waits. ``taken``: the numbers of the seats that somebody has; ``seats``: how many seats there are.
    """
    held, given = set(taken), []
    for one in in_order(waiting):
        number = free_seat(held, seats)
        if number is None:
            break
        held.add(number)
        given.append(Promotion(one.person, number))
    return given
