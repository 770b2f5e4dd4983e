"""Reads and writes the rows of workshops' material, within a transaction of the caller."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, delete, insert, select

from factorycommon.service.columns import intact
from workshops.store import material_tables as tables
from workshops.store.material_tables import MaterialDeliveryRecord, MaterialRecord


def materials(db: Connection, slugs: Collection[str]) -> dict[str, MaterialRecord]:
    """Return the material of these workshops, by workshop. Rows that cannot be read are left out."""
    table = tables.materials
    rows = db.execute(select(table).where(table.c.workshop.in_(slugs))).mappings()
    found = [values for row in rows if (values := intact(table, row)) is not None]
    return {values["workshop"]: MaterialRecord(**values) for values in found}


def put(db: Connection, record: MaterialRecord) -> None:
    """Store the material of a workshop, in place of the earlier row."""
    table = tables.materials
    db.execute(delete(table).where(table.c.workshop == record.workshop))
    db.execute(insert(table).values(record.__dict__))


def drop(db: Connection, slug: str) -> None:
    """Delete the material of a workshop."""
    db.execute(delete(tables.materials).where(tables.materials.c.workshop == slug))


def deliveries(db: Connection, slugs: Collection[str]) -> dict[str, dict[str, MaterialDeliveryRecord]]:
    """Return the last delivery into each session of these workshops, by workshop and session, the oldest first.

    Each workshop is in the result, with {} if there are no deliveries. Rows that cannot be read are left out.
    """
    table = tables.material_deliveries
    found: dict[str, dict[str, MaterialDeliveryRecord]] = {slug: {} for slug in slugs}
    query = select(table).where(table.c.workshop.in_(slugs)).order_by(table.c.at)
    for row in db.execute(query).mappings():
        if (values := intact(table, row)) is not None:
            record = MaterialDeliveryRecord(**values)
            found[record.workshop][record.session] = record
    return found


def put_deliveries(db: Connection, records: Iterable[MaterialDeliveryRecord]) -> None:
    """Store deliveries, in place of earlier ones into the same sessions."""
    table = tables.material_deliveries
    for record in records:
        db.execute(delete(table).where(table.c.workshop == record.workshop, table.c.session == record.session))
        db.execute(insert(table).values(record.__dict__))
