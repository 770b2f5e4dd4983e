"""Decides which seats must still begin at a place (factory and node size) of a workshop. Pure: no I/O and no clock.

Trainers can move seats to another place. The stored row of a seat says where the seat was begun, and the trainers'
orders say where the seat belongs. So the difference shows what is left to do, also after the service was killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from workshops.seats.waves import SeatFacts
from workshops.store.moves import place_of
from workshops.store.schema import MembershipRecord, PlaceRecord, WorkshopRecord
from workshops.store.seat_tables import MoveRow, SeatRow


def by_place(
    workshop: WorkshopRecord, orders: Sequence[MoveRow], people: Iterable[MembershipRecord]
) -> dict[int, list[MembershipRecord]]:
    """Return, for each place of the workshop, the people whose seats belong to the place.

    The keys are the numbers of the places; 1 is plan A. ``people``: those who have a seat; ``orders``: the orders to
    move seats.
    """
    found: dict[int, list[MembershipRecord]] = {place.number: [] for place in workshop.places}
    for one in people:
        found[place_of(workshop, orders, one.seat).place.number].append(one)
    return found


def is_there(row: SeatRow | None, place: PlaceRecord) -> bool:
    """Return whether the last request for a seat was for this place, whatever the link answered.

    ``row``: the seat's stored row, which is written just before the request; None: the seat was not requested.
    """
    return row is not None and row.factory == place.factory


def facts_at(place: PlaceRecord, people: Iterable[MembershipRecord], known: Mapping[str, SeatRow]) -> list[SeatFacts]:
    """Return what is known of the seats of ``people``, in the same order.

    ``people``: those whose seats belong to ``place``; ``known``: the stored rows of seats, by person. A seat without a
    row, or whose row is about another place, counts as not requested.
    """
    return [_facts(one, known.get(one.person), place) for one in people]


def _facts(one: MembershipRecord, row: SeatRow | None, place: PlaceRecord) -> SeatFacts:
    if row is None or not is_there(row, place):
        return SeatFacts(one.person, one.seat or 0)
    return SeatFacts(one.person, one.seat or 0, row.state, row.wave, row.asked, row.attempts)
