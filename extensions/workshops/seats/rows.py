"""Reads and writes the rows of seats, within a transaction of the caller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, delete, insert, select, update

from factorycommon.service.columns import intact
from workshops.models.seats import SeatProgress
from workshops.seats.waves import Rate
from workshops.states import WARM_STATES
from workshops.store import moves, schema
from workshops.store import seat_tables as tables
from workshops.store.schema import EventRecord, PlaceRecord, WorkshopRecord
from workshops.store.seat_tables import MoveRow, SeatRow, WarmUpRow


def of_workshop(db: Connection, slug: str) -> list[SeatRow]:
    """Return the stored rows of a workshop's seats.

    Each seat that the service has requested from the link, or is about to request, has one row. A row that cannot be
    parsed is left out.
    """
    found = db.execute(select(tables.seats).where(tables.seats.c.workshop == slug)).mappings()
    return [SeatRow(**values) for values in _intact(tables.seats, found)]


def put(db: Connection, rows: Iterable[SeatRow]) -> None:
    """Store rows of seats. Each row replaces the earlier row of the same person in the same workshop."""
    table = tables.seats
    for row in rows:
        db.execute(delete(table).where(table.c.workshop == row.workshop, table.c.person == row.person))
        db.execute(insert(table).values(row.__dict__))


def note_answers(db: Connection, answers: Mapping[str, SeatRow]) -> None:
    """Store what became of seats, except those that were requested anew after the link was asked.

    ``answers``: the new rows, by the id of the session about which the link was asked.
    """
    table = tables.seats
    for session, row in answers.items():
        mine = (table.c.workshop == row.workshop, table.c.person == row.person, table.c.session == session)
        db.execute(update(table).where(*mine).values(row.__dict__))


def withdraw(db: Connection, slug: str, person: str) -> str | None:
    """Store that a person's requested seat is not wanted any more, unless the seat is answered (``is_answered``).

    Return the id of the seat's session; None: there is no such seat, and nothing is stored.
    """
    table = tables.seats
    found = (row for row in of_workshop(db, slug) if row.person == person and not is_answered(row))
    row = next(found, None)
    if row is None:
        return None
    mine = (table.c.workshop == slug, table.c.person == person)
    db.execute(update(table).where(*mine).values(state=SeatProgress.OVER))
    return row.session


def belonging(db: Connection, workshop: WorkshopRecord, place: PlaceRecord) -> set[str]:
    """Return the people whose seats belong to ``place``; none if the workshop is neither warming up nor open.

    A seat belongs to the place to which it was last moved or, if it was never moved, to the workshop's first place. The
    workshop's state, its people and the orders to move seats are read from ``db``, since ``workshop`` may be outdated.
    """
    found = db.execute(select(schema.workshops.c.state).where(schema.workshops.c.slug == workshop.slug)).first()
    if found is None or found.state not in WARM_STATES:
        return set()
    orders, table = moves.orders(db, workshop.slug), schema.memberships.c
    people = select(table.person, table.seat).where(table.workshop == workshop.slug, table.state == "seated")
    return {
        person
        for person, seat in db.execute(people)
        if moves.place_of(workshop, orders, seat).place.number == place.number
    }


def drop(db: Connection, slug: str, people: Iterable[str]) -> None:
    """Delete the rows of the seats of ``people``, who are not in the workshop any more."""
    table = tables.seats
    db.execute(delete(table).where(table.c.workshop == slug, table.c.person.in_(list(people))))


def warm_up(db: Connection, slug: str) -> WarmUpRow:
    """Return the stored state of the waves in which a workshop's seats begin.

    The row says whether the waves are halted and why, and when somebody last ended a halt or moved seats. If no row
    can be read, the result has default values: no halt.
    """
    table = tables.warm_ups
    found = list(_intact(table, db.execute(select(table).where(table.c.workshop == slug)).mappings()))
    return WarmUpRow(**found[0]) if found else WarmUpRow(slug)


def put_warm_up(db: Connection, row: WarmUpRow) -> None:
    """Store the state of the waves in which a workshop's seats begin, in place of the earlier one."""
    table = tables.warm_ups
    db.execute(delete(table).where(table.c.workshop == row.workshop))
    db.execute(insert(table).values(row.__dict__))


def go_on(db: Connection, slug: str, now: datetime, by: str) -> bool:
    """End a halt of the waves in which a workshop's seats begin; return whether there was a halt.

    After that, seats that failed may be requested again. ``by``: who ends the halt, for the workshop's log.
    """
    if warm_up(db, slug).halted is None:
        return False
    put_warm_up(db, WarmUpRow(slug, go_on=now))
    db.execute(update(tables.seats).where(tables.seats.c.workshop == slug).values(attempts=0))
    db.execute(insert(schema.events).values(EventRecord(slug, now, by, "go on").__dict__))
    return True


def add_order(db: Connection, row: MoveRow, detail: str) -> bool:
    """Store an order to move seats, and end a halt of the waves in which seats begin; return True.

    If an order with this id is stored already, change nothing and return False. ``detail``: the text of the line that
    the workshop's log gets. Raises IntegrityError if another order of the workshop has the same number.
    """
    table = tables.moves
    same = select(table.c.number).where(table.c.workshop == row.workshop, table.c.id == row.id)
    if db.execute(same).first() is not None:
        return False
    db.execute(insert(table).values(row.__dict__))
    put_warm_up(db, WarmUpRow(row.workshop, go_on=row.at))
    db.execute(update(tables.seats).where(tables.seats.c.workshop == row.workshop).values(attempts=0))
    db.execute(insert(schema.events).values(EventRecord(row.workshop, row.at, row.by, "moved", detail).__dict__))
    return True


def rates(db: Connection) -> dict[tuple[str, str], Rate]:
    """Return how fast seats came up, by factory and node size.

    Each rate is the last one that was measured in a class or a rehearsal. But a rehearsal does not replace a rate that
    was measured with more seats.
    """
    found = _intact(tables.rates, db.execute(select(tables.rates)).mappings())
    return {
        (row["factory"], row["size"]): Rate(row["per_minute"], timedelta(seconds=row["cold_seconds"])) for row in found
    }


def put_rate(db: Connection, factory: str, size: str, rate: Rate, seats: int, now: datetime) -> None:
    """Store how fast seats came up, in place of the last measurement. ``seats``: how many were measured."""
    table = tables.rates
    db.execute(delete(table).where(table.c.factory == factory, table.c.size == size))
    values = {"per_minute": rate.per_minute, "cold_seconds": rate.cold.total_seconds(), "seats": seats, "at": now}
    db.execute(insert(table).values(factory=factory, size=size, **values))


def is_answered(row: SeatRow) -> bool:
    """Return whether the link need not be asked about a seat any more.

    This is so if the seat has come up, failed, been refused or ended.
    """
    return row.state not in (SeatProgress.ASKED, SeatProgress.BEGUN)


def _intact(table: Table, found: Iterable[RowMapping]) -> Iterable[dict[str, Any]]:
    return (values for row in found if (values := intact(table, row)) is not None)
