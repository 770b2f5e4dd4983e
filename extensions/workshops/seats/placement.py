"""Decides at which place each seat of a workshop belongs, by the orders of its trainers. Pure: no I/O and no clock.

An order moves all seats, or those that it names, to a place. Orders are never changed; the last one that names a seat
counts. So what is stored of a seat, which is where it was begun, shows what is left to do, whenever the service was
killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workshops.seats.waves import SeatFacts
from workshops.store.schema import MembershipRecord, PlaceRecord, WorkshopRecord
from workshops.store.seat_tables import MoveRow, SeatRow


@dataclass(frozen=True)
class Placement:
    """Where a seat belongs. ``order``: the last order that moved it, None: it was never moved."""

    place: PlaceRecord
    order: MoveRow | None = None


def place_of(workshop: WorkshopRecord, orders: Iterable[MoveRow], seat: int | None) -> Placement:
    """Return where a seat belongs. ``seat`` None: where seats of people who join from now on belong, as far as no order
    names them."""
    places = {place.number: place for place in workshop.places}
    found = Placement(workshop.places[0])
    for order in sorted(orders, key=lambda one: one.number):
        if order.place in places and (order.seats is None or seat in order.seats):
            found = Placement(places[order.place], order)
    return found


def seen_from(workshop: WorkshopRecord, orders: Iterable[MoveRow], seat: int | None) -> WorkshopRecord:
    """Return the workshop with the place where a seat belongs as its first one, for what a person starts there."""
    mine = place_of(workshop, orders, seat).place
    return workshop.with_values(places=(mine, *(place for place in workshop.places if place != mine)))


def by_place(
    workshop: WorkshopRecord, orders: Sequence[MoveRow], people: Iterable[MembershipRecord]
) -> dict[int, list[MembershipRecord]]:
    """Return the people by the number of the place at which their seat belongs."""
    found: dict[int, list[MembershipRecord]] = {place.number: [] for place in workshop.places}
    for one in people:
        found[place_of(workshop, orders, one.seat).place.number].append(one)
    return found


def is_there(row: SeatRow | None, place: PlaceRecord) -> bool:
    """Return whether the service has begun a seat, or is about to, at the place where it belongs."""
    return row is not None and row.factory == place.factory


def facts_at(place: PlaceRecord, people: Iterable[MembershipRecord], known: Mapping[str, SeatRow]) -> list[SeatFacts]:
    """Return what is known of the seats that belong to a place: one that was begun elsewhere is yet to be begun."""
    return [_facts(one, known.get(one.person), place) for one in people]


def _facts(one: MembershipRecord, row: SeatRow | None, place: PlaceRecord) -> SeatFacts:
    if row is None or not is_there(row, place):
        return SeatFacts(one.person, one.seat or 0)
    return SeatFacts(one.person, one.seat or 0, row.state, row.wave, row.asked, row.attempts)
