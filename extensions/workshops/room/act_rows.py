"""Reads and writes the rows of acts on seats, within a transaction of the caller.

An act is a trainer's request to start, restart or reset one person's seat.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from factorycommon.service.columns import intact
from workshops.store.act_table import SeatActRecord, seat_acts


def all_acts(db: Connection) -> list[SeatActRecord]:
    """Return all workshops' acts (requests to start, restart or reset a seat), except rows that cannot be read."""
    found = db.execute(select(seat_acts)).mappings()
    return [SeatActRecord(**values) for row in found if (values := intact(seat_acts, row)) is not None]


def goes_on(db: Connection, record: SeatActRecord) -> bool:
    """Return whether an act on a seat is still stored: it was not dropped, and no other act has replaced it."""
    table = seat_acts.c
    mine = (table.workshop == record.workshop, table.person == record.person, table.at == record.at)
    return db.execute(select(table.person).where(*mine)).first() is not None


def put(db: Connection, record: SeatActRecord) -> None:
    """Store an act on a person's seat, in place of an earlier act."""
    drop(db, record.workshop, record.person)
    db.execute(insert(seat_acts).values(record.__dict__))


def drop(db: Connection, slug: str, person: str) -> None:
    """Delete the act (start, restart or reset) on a person's seat in the workshop ``slug``, if there is one."""
    db.execute(delete(seat_acts).where(seat_acts.c.workshop == slug, seat_acts.c.person == person))
