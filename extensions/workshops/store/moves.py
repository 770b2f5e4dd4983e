"""Reads the trainers' orders to move seats, and finds out from these orders to which place each seat belongs.

A place is a factory with a node size. An order moves all seats, or those that it names, to a place. Orders are never
changed; the last order that applies to a seat counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from factorycommon.service.columns import intact
from workshops.store import seat_tables
from workshops.store.schema import PlaceRecord, WorkshopRecord
from workshops.store.seat_tables import MoveRow


def orders(db: Connection, slug: str) -> list[MoveRow]:
    """Return the orders to move seats of a workshop, the oldest first; orders that cannot be read are left out."""
    table = seat_tables.moves
    found = db.execute(select(table).where(table.c.workshop == slug).order_by(table.c.number)).mappings()
    intact_rows = (intact(table, row) for row in found)
    return [MoveRow(**values) for values in intact_rows if values is not None]


@dataclass(frozen=True)
class Placement:
    """The place (factory and node size) to which a seat belongs.

    ``order``: the last order that moved the seat, None if it was never moved.
    """

    place: PlaceRecord
    order: MoveRow | None = None


def place_of(workshop: WorkshopRecord, orders: Iterable[MoveRow], seat: int | None) -> Placement:
    """Return the place to which a seat belongs, with the order that moved the seat there.

    ``seat``: the seat's number; None: for somebody without a seat, so only orders for all seats count.
    """
    places = {place.number: place for place in workshop.places}
    found = Placement(workshop.places[0])
    for order in sorted(orders, key=lambda one: one.number):
        if order.place in places and (order.seats is None or seat in order.seats):
            found = Placement(places[order.place], order)
    return found


def seen_from(workshop: WorkshopRecord, orders: Iterable[MoveRow], seat: int | None) -> WorkshopRecord:
    """Return a copy of the workshop whose first place is the place to which a seat belongs.

    ``seat``: the seat's number; None: for somebody without a seat, so only orders to move all seats count.
    """
    mine = place_of(workshop, orders, seat).place
    return workshop.with_values(places=(mine, *(place for place in workshop.places if place != mine)))
