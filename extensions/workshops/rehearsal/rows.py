"""Reads and writes the rows of rehearsals, within a transaction of the caller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, insert, select, update

from factorycommon.service.columns import intact
from workshops.models.rehearsal import RehearsalKind
from workshops.seats.rows import put_rate
from workshops.seats.waves import Rate
from workshops.store.rehearsal_table import RehearsalRow, rehearsals
from workshops.store.schema import EventRecord, events
from workshops.store.seat_tables import rates

_DAY = timedelta(days=1)
# rehearsals of a kind of one workshop: they use GPU-hours before its time
MOST_A_DAY: Mapping[RehearsalKind, int] = {"seats": 6, "wave": 2}


class RehearsalGoesOn(Exception):
    """Raised if a rehearsal of the workshop has begun and is not over yet; each workshop has one at a time.

    Rehearsals of the kind ``dry`` start nothing, and are over at once.
    """


class RehearsedOften(Exception):
    """Raised if a workshop had as many rehearsals of the requested kind in the last 24 hours as are allowed."""


def of_workshop(db: Connection, slug: str) -> list[RehearsalRow]:
    """Return the last rehearsals of a workshop: one of each kind at each factory, without rows that cannot be read."""
    return _rows(db.execute(select(rehearsals).where(rehearsals.c.workshop == slug)).mappings())


def running(db: Connection) -> list[RehearsalRow]:
    """Return the rehearsals that go on, of all workshops, without rows that cannot be read."""
    return _rows(db.execute(select(rehearsals).where(rehearsals.c.until.is_not(None))).mappings())


def put(db: Connection, row: RehearsalRow, event: EventRecord) -> None:
    """Store a rehearsal in place of the last one of its kind at the same factory, and add ``event`` to the log.

    If ``row.until`` is set, the rehearsal has just begun. The stored ``counts`` is then the result of the last
    rehearsal of this kind that was not ended early, if there is one. If ``row.until`` is None, the rehearsal is over,
    and ``row`` has the rehearsal's own result.

    Raises RehearsalGoesOn if another rehearsal of the workshop is not over yet. Raises RehearsedOften if the rehearsal
    has just begun, and the workshop had too many rehearsals of this kind in the last 24 hours.
    """
    if any(one.until is not None for one in of_workshop(db, row.workshop)):
        raise RehearsalGoesOn
    if row.until is not None:
        mine = (events.c.workshop == row.workshop, events.c.what == event.what, events.c.at > row.at - _DAY)
        lately = select(func.count()).select_from(events).where(*mine, events.c.detail.startswith(f"{row.kind}: "))
        if db.execute(lately).scalar_one() >= MOST_A_DAY[row.kind]:
            raise RehearsedOften
    if row.until is not None:  # until it has a result, the last one counts
        row = _with_last_result(row, _rows(db.execute(select(rehearsals).where(*_is(row))).mappings()))
    db.execute(delete(rehearsals).where(*_is(row)))
    db.execute(insert(rehearsals).values(row.__dict__))
    db.execute(insert(events).values(event.__dict__))


def change(db: Connection, row: RehearsalRow) -> bool:
    """Store the changed row of a rehearsal that goes on; return False if the rehearsal was removed or has ended.

    The column ``stopped`` is not written, since somebody may have stopped the rehearsal after ``row`` was read.
    """
    values = {name: value for name, value in row.__dict__.items() if name != "stopped"}
    query = update(rehearsals).where(*_is(row), rehearsals.c.until.is_not(None)).values(values)
    return bool(db.execute(query).rowcount)


def goes_on(db: Connection, row: RehearsalRow) -> bool:
    """Return whether a rehearsal goes on, and nobody has stopped it."""
    mine = (*_is(row), rehearsals.c.until.is_not(None), rehearsals.c.stopped.is_(None))
    return db.execute(select(rehearsals.c.kind).where(*mine)).first() is not None


def stop(db: Connection, slug: str, by: str, event: EventRecord) -> bool:
    """Store that somebody stops the running rehearsal of a workshop; return False if no rehearsal runs.

    If several people stop the rehearsal, only the first call stores ``by``, the person, and adds ``event`` to the log.
    """
    mine = (rehearsals.c.workshop == slug, rehearsals.c.until.is_not(None))
    if db.execute(select(rehearsals.c.kind).where(*mine)).first() is None:
        return False
    if db.execute(update(rehearsals).where(*mine, rehearsals.c.stopped.is_(None)).values(stopped=by)).rowcount:
        db.execute(insert(events).values(event.__dict__))
    return True


def put_rate_of_few(db: Connection, factory: str, size: str, rate: Rate, seats: int, now: datetime) -> None:
    """Store how fast ``seats`` seats came up, unless the stored rate was measured with more seats.

    There is one rate for each factory and node size.
    """
    known = select(rates.c.seats).where(rates.c.factory == factory, rates.c.size == size)
    if (db.execute(known).scalar_one_or_none() or 0) <= seats:
        put_rate(db, factory, size, rate, seats, now)


def _with_last_result(row: RehearsalRow, before: Iterable[RehearsalRow]) -> RehearsalRow:
    """Return the row of a rehearsal that begins, together with the last result of the same kind of rehearsal.

    This last result counts while the new rehearsal goes on, and if it is stopped. ``before``: the row of the last
    rehearsal, or nothing. If that rehearsal was stopped or has no result, the result that was stored with it is taken
    instead.
    """
    last = next(iter(before), None)
    if last is None:
        return row
    if last.result is None or last.result.stopped:
        return replace(row, counts=last.counts, counts_signature=last.counts_signature)
    return replace(row, counts=last.result, counts_signature=last.signature)


def _is(row: RehearsalRow) -> tuple[ColumnElement[bool], ...]:
    table = rehearsals.c
    return table.workshop == row.workshop, table.factory == row.factory, table.kind == row.kind


def _rows(found: Iterable[RowMapping]) -> list[RehearsalRow]:
    return [RehearsalRow(**values) for row in found if (values := intact(rehearsals, row)) is not None]
