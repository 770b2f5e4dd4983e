"""Reads and writes the rows of messages to a class, within a transaction of the caller."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import Connection, insert, select

from factorycommon.service.columns import intact
from workshops.store import room_tables as tables
from workshops.store import schema
from workshops.store.room_tables import MessageRecord
from workshops.store.schema import EventRecord

Receipts = dict[str, set[str]]  # people by message


def add(db: Connection, message: MessageRecord, event: EventRecord) -> None:
    """Store a message, and ``event`` in the workshop's log.

    Raises IntegrityError if the workshop has a message with this id.
    """
    db.execute(insert(tables.messages).values(message.__dict__))
    db.execute(insert(schema.events).values(event.__dict__))


def of(db: Connection, slugs: Collection[str]) -> dict[str, list[MessageRecord]]:
    """Return the messages of these workshops, by workshop, the oldest first.

    A message whose row in the database cannot be read is left out.
    """
    table = tables.messages
    query = select(table).where(table.c.workshop.in_(slugs)).order_by(table.c.at, table.c.id)
    found: dict[str, list[MessageRecord]] = {slug: [] for slug in slugs}
    for row in db.execute(query).mappings():
        if (values := intact(table, row)) is not None:
            found[row["workshop"]].append(MessageRecord(**values))
    return found


def receipts(db: Connection, slugs: Collection[str]) -> dict[str, Receipts]:
    """Return, by workshop and by the message's id, the people whose session has taken the message."""
    table = tables.deliveries
    found: dict[str, Receipts] = {slug: defaultdict(set) for slug in slugs}
    for row in db.execute(select(table).where(table.c.workshop.in_(slugs))):
        found[row.workshop][row.message].add(row.person)
    return found


def add_receipts(db: Connection, message: MessageRecord, people: Iterable[str], at: datetime) -> None:
    """Store that the sessions of these people have taken a message.

    Raises IntegrityError if this is stored already for one of these people.
    """
    rows = [{"workshop": message.workshop, "message": message.id, "person": one, "at": at} for one in sorted(people)]
    if rows:
        db.execute(insert(tables.deliveries), rows)
