"""Reads and writes the service's database, in one thread; each method is async, and one transaction."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, RowMapping, Select, Table, delete, func, insert, inspect, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from factorycommon.service.columns import intact
from factorycommon.service.database import Database, InUse
from factorycommon.service.sqlite_copy import copy_before_migration
from workshops.models.ending import ReportView
from workshops.states import FINAL, WorkshopState
from workshops.store import (
    act_table,
    check_table,
    hand_table,
    material_tables,
    migrations,
    rehearsal_table,
    room_tables,
    schema,
    seat_tables,
)
from workshops.store import joining_tables as tables
from workshops.store.schema import CodeRecord, EventRecord, MembershipRecord, PlaceRecord, WorkshopRecord

log = logging.getLogger("workshops")

T = TypeVar("T")
Work = Callable[[Connection], T]


class StoreError(Exception):
    """Raised if the database cannot be used, for example if the disk is full, or if another service uses it."""


class StoreOfOtherRelease(StoreError):
    """Raised if a newer release has migrated the database, so that trying again is useless."""


class SlugTaken(Exception):
    """Raised if there is a workshop with this slug already."""


class Stale(Exception):
    """Raised if the workshop was changed since the caller read it."""


class SeatTaken(Exception):
    """Raised if somebody else got the seat at the same moment."""


class NobodyLeads(Exception):
    """Raised if nobody would lead a workshop any more."""


class SeatsInUse(Exception):
    """Raised if a workshop would lose a seat that somebody has. ``number``: the highest seat that somebody has."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Store:
    """Reads and writes the database. Call ``open`` before use.

    Each method raises StoreError if the database cannot be used. ``where``: the database's address. An open store
    claims the database, so that no other service uses it.
    """

    def __init__(self, where: Database) -> None:
        self.where = where
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="workshops-store")
        self._engine: Engine | None = None

    async def open(self) -> None:
        """Open the database, and migrate it to this release's tables.

        Raises StoreError; StoreOfOtherRelease if a newer release has migrated the database.
        """
        await self._run(self._open)

    async def close(self) -> None:
        """Close the database after all pending work."""
        await self._run(lambda: self._engine.dispose() if self._engine else None)
        self._thread.shutdown()

    # --- workshops

    async def create(
        self, record: WorkshopRecord, lead: MembershipRecord, code: CodeRecord, event: EventRecord
    ) -> None:
        """Store a new workshop with its lead and its first code. Raises SlugTaken if the slug is in use.

        ``event``: the first line of the workshop's log.
        """

        def work(db: Connection) -> None:
            db.execute(insert(schema.workshops).values(record.columns()))
            _set_places(db, record.slug, record.places)
            db.execute(insert(schema.memberships).values(lead.__dict__))
            db.execute(insert(schema.codes).values(_of_code(code)))
            _note(db, event)

        try:
            await self.transact(work)
        except IntegrityError as error:
            raise SlugTaken(record.slug) from error

    async def get(self, slug: str) -> WorkshopRecord | None:
        """Return a workshop; None if there is none, or its row cannot be read."""
        found = await self.transact(lambda db: _workshops(db, select(schema.workshops).where(_is(slug))))
        return found[0] if found else None

    async def all(self, person: str | None = None, over: bool = True) -> list[WorkshopRecord]:
        """Return all workshops, or those with a membership of a person; the workshop that starts last comes first.

        Workshops in which the person is banned are left out; workshops that the person has left are included. ``over``
        False: workshops that are archived or cancelled are left out, too.
        """
        query = select(schema.workshops).order_by(schema.workshops.c.starts.desc(), schema.workshops.c.slug)
        if not over:
            query = query.where(schema.workshops.c.state.not_in(sorted(FINAL)))
        if person is not None:
            mine = select(schema.memberships.c.workshop).where(
                schema.memberships.c.person == person, schema.memberships.c.state != "banned"
            )
            query = query.where(schema.workshops.c.slug.in_(mine))
        return await self.transact(lambda db: _workshops(db, query))

    async def to_erase(self) -> list[WorkshopRecord]:
        """Return the archived and cancelled workshops whose people are still stored, due for deletion or not."""
        table = schema.workshops.c
        query = select(schema.workshops).where(table.over.is_not(None), table.erased.is_(None))
        return await self.transact(lambda db: _workshops(db, query))

    async def change(self, record: WorkshopRecord, event: EventRecord) -> WorkshopRecord:
        """Store the changed values of a workshop, and return the workshop with its new version.

        ``event``: the line for the workshop's log. Raises Stale if the stored version is not ``record.version``,
        SeatsInUse if the change removes a seat that somebody has.
        """
        changed = record.with_values(version=record.version + 1)

        def work(db: Connection) -> None:
            table = schema.workshops
            _check_seats(db, record)
            query = update(table).where(_is(record.slug), table.c.version == record.version).values(changed.columns())
            if not db.execute(query).rowcount:
                raise Stale(record.slug)
            _set_places(db, record.slug, record.places)
            _note(db, event)

        await self.transact(work)
        return changed

    async def step(self, slug: str, source: WorkshopState, values: dict[str, Any], event: EventRecord) -> bool:
        """Store values of a workshop if its state is still ``source``; return whether the values were stored.

        ``values``: by column of ``schema.workshops``; the workshop's version increases by one. ``event``: the line for
        the workshop's log.
        """
        table = schema.workshops

        def work(db: Connection) -> bool:
            query = update(table).where(_is(slug), table.c.state == source)
            if not db.execute(query.values({**values, "version": table.c.version + 1})).rowcount:
                return False
            _note(db, event)
            return True

        return await self.transact(work)

    async def set_problem(self, slug: str, problem: str) -> None:
        """Store why a workshop gets less from the link than it asks for.

        ``problem``: "" if it gets everything.
        """
        query = update(schema.workshops).where(_is(slug)).values(problem=problem)
        await self.transact(lambda db: _done(db, query))

    async def erase(self, slug: str, at: datetime, event: EventRecord) -> None:
        """Delete a workshop's codes, its log, and all data about its people.

        Call this only for a workshop that is over; the method does not check this. Guests who are in no workshop any
        more are deleted, too. The workshop itself stays, with ``event`` as its log.
        ``at``: the time that is stored as the time of the deletion.
        """

        def work(db: Connection) -> None:
            of_rooms = (room_tables.deliveries, room_tables.messages, material_tables.material_deliveries)
            mine_too = (schema.memberships, schema.codes, schema.events, tables.invitations, tables.tickets)
            of_seats = (
                seat_tables.seats, seat_tables.warm_ups, seat_tables.moves, act_table.seat_acts, check_table.checks,
                rehearsal_table.rehearsals, hand_table.raised_hands,
            )  # fmt: skip
            for table in (*of_rooms, *of_seats, *mine_too):
                db.execute(delete(table).where(table.c.workshop == slug))
            sent = tables.sent_mails.c
            db.execute(delete(tables.sent_mails).where((sent.workshop == slug) | (sent.at < at - tables.LIMITED_FOR)))
            mine = select(schema.memberships.c.person)
            db.execute(delete(tables.guests).where(tables.guests.c.name.not_in(mine)))
            db.execute(update(schema.workshops).where(_is(slug)).values(erased=at, made_by="", declined=""))
            _note(db, event)

        await self.transact(work)

    # --- reports

    async def keep_report(self, report: ReportView, at: datetime) -> None:
        """Store a workshop's report, which has no data about people; it replaces an earlier report of the workshop.

        ``at``: the time that is stored with the report.
        """
        table = schema.reports

        def work(db: Connection) -> None:
            db.execute(delete(table).where(table.c.workshop == report.slug))
            db.execute(insert(table).values(workshop=report.slug, at=at, content=report))

        await self.transact(work)

    async def kept_report(self, slug: str) -> ReportView | None:
        """Return the stored report of a workshop; None if there is none that can be read."""
        query = select(schema.reports).where(schema.reports.c.workshop == slug)

        def work(db: Connection) -> ReportView | None:
            row = db.execute(query).mappings().first()
            values = None if row is None else _intact(schema.reports, row)
            found: ReportView | None = None if values is None else values["content"]
            return found

        return await self.transact(work)

    async def reported(self) -> set[str]:
        """Return the slugs of the workshops whose report is stored."""
        query = select(schema.reports.c.workshop)
        return await self.transact(lambda db: set(db.execute(query).scalars()))

    # --- people

    async def members(self, slugs: Collection[str]) -> dict[str, list[MembershipRecord]]:
        """Return the memberships of these workshops, by workshop; an empty list for a workshop without any.

        Each list is sorted by seat; after those with a seat come all others by user name: people who wait for a seat,
        run the workshop, have left, or are banned.
        """
        if not slugs:
            return {}
        table = schema.memberships
        query = (
            select(table)
            .where(table.c.workshop.in_(slugs))
            .order_by(table.c.seat.is_(None), table.c.seat, table.c.person)
        )
        rows = await self.rows(table, query, MembershipRecord)
        found: dict[str, list[MembershipRecord]] = {slug: [] for slug in slugs}
        for row in rows:
            found[row.workshop].append(row)
        return found

    async def member(self, slug: str, person: str) -> MembershipRecord | None:
        """Return a person's membership in a workshop, also one that has ended; None if there is none."""
        return (await self.memberships_of(person, [slug])).get(slug)

    async def memberships_of(self, person: str, slugs: Collection[str]) -> dict[str, MembershipRecord]:
        """Return a person's memberships in these workshops, by workshop."""
        table = schema.memberships
        query = select(table).where(table.c.person == person, table.c.workshop.in_(slugs))
        return {row.workshop: row for row in await self.rows(table, query, MembershipRecord)}

    async def put_member(self, record: MembershipRecord, event: EventRecord) -> None:
        """Store a person's membership in a workshop, in place of the earlier one.

        ``event``: the line for the workshop's log. Raises SeatTaken if somebody else has the seat, NobodyLeads if the
        workshop would lose its last lead.
        """
        table = schema.memberships

        def work(db: Connection) -> None:
            leads = _leads(db, record.workshop)
            db.execute(delete(table).where(table.c.workshop == record.workshop, table.c.person == record.person))
            db.execute(insert(table).values(record.__dict__))
            _check_leads(db, record.workshop, leads)
            _note(db, event)

        try:
            await self.transact(work)
        except IntegrityError as error:
            raise SeatTaken(record.workshop) from error

    async def drop_member(self, slug: str, person: str, event: EventRecord) -> None:
        """Delete a person's membership in a workshop. Raises NobodyLeads if the person is the only one who leads it.

        ``event``: the line for the workshop's log.
        """
        table = schema.memberships

        def work(db: Connection) -> None:
            leads = _leads(db, slug)
            db.execute(delete(table).where(table.c.workshop == slug, table.c.person == person))
            _check_leads(db, slug, leads)
            _note(db, event)

        await self.transact(work)

    # --- codes and the log

    async def codes(self, slugs: Collection[str]) -> dict[str, list[CodeRecord]]:
        """Return the unrevoked join codes of these workshops, by workshop; in each list, the newest first."""
        table = schema.codes
        query = select(table).where(table.c.workshop.in_(slugs), table.c.revoked.is_(None)).order_by(table.c.id.desc())
        found: dict[str, list[CodeRecord]] = {slug: [] for slug in slugs}
        for row in await self.rows(table, query, CodeRecord):
            found[row.workshop].append(row)
        return found

    async def replace_code(self, code: CodeRecord, event: EventRecord) -> None:
        """Store a new code of a workshop, and revoke its other codes. ``event``: the line for the workshop's log."""
        table = schema.codes

        def work(db: Connection) -> None:
            mine = (table.c.workshop == code.workshop, table.c.revoked.is_(None))
            db.execute(update(table).where(*mine).values(revoked=code.made))
            db.execute(insert(table).values(_of_code(code)))
            _note(db, event)

        await self.transact(work)

    async def events(self, slug: str, limit: int = 200) -> list[EventRecord]:
        """Return the last ``limit`` lines of a workshop's log, the newest first."""
        table = schema.events
        query = select(table).where(table.c.workshop == slug).order_by(table.c.number.desc()).limit(limit)
        return await self.rows(table, query, EventRecord, leave_out=("number",))

    async def note_once(self, event: EventRecord) -> bool:
        """Add a line to a workshop's log, unless the log has a line with the same ``what``.

        Return whether the line was added.
        """
        table = schema.events.c
        query = select(table.number).where(table.workshop == event.workshop, table.what == event.what).limit(1)

        def work(db: Connection) -> bool:
            if db.execute(query).first() is not None:
                return False
            _note(db, event)
            return True

        return await self.transact(work)

    async def note(self, event: EventRecord) -> None:
        """Add a line to a workshop's log."""
        await self.transact(lambda db: _note(db, event))

    # --- transactions

    async def rows(self, table: Table, query: Select[Any], kind: type[T], leave_out: Sequence[str] = ()) -> list[T]:
        """Return the rows that ``query`` finds in a table, as records of this kind.

        A row that cannot be read is left out, and the service's log names it. ``leave_out``: columns that the record
        does not have.
        """

        def work(db: Connection) -> list[T]:
            found = [_intact(table, row) for row in db.execute(query).mappings()]
            return [kind(**{k: v for k, v in row.items() if k not in leave_out}) for row in found if row is not None]

        return await self.transact(work)

    async def transact(self, work: Work[T]) -> T:
        """Run ``work`` in a transaction of its own, and return its result.

        An error of ``work`` rolls the transaction back. Raises StoreError if the database cannot be used,
        IntegrityError if a row violates a constraint, and the other errors of ``work``.
        """

        def run() -> T:
            if self._engine is None:
                raise StoreError("The database of workshops is not open.")
            with self._engine.begin() as db:
                return work(db)

        try:
            return await self._run(run)
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise StoreError(f"The database {self.where} cannot be used: {error}") from error

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> None:
        try:
            engine = self.where.engine(alone=True)
            self._copy_if_old(engine)
            with engine.connect() as db:  # closed without a commit, the transaction is rolled back
                migrations.upgrade(db)
        except migrations.NewerStore as error:
            raise StoreOfOtherRelease(
                f"The database {self.where} has {error}: install the release that wrote it, or a newer one."
            ) from error
        except InUse as error:
            raise StoreError(f"Another workshops service uses the database {self.where}: stop it first.") from error
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise StoreError(f"The database {self.where} cannot be opened: {error}") from error
        self._engine = engine

    def _copy_if_old(self, engine: Engine) -> None:
        """Copy a SQLite file into its own folder before its migration, if its tables are of an older release."""
        if self.where.url.get_backend_name() != "sqlite":
            return
        with engine.connect() as db:
            step, tables = migrations.is_at(db), inspect(db).get_table_names()
        if tables and step != migrations.head():
            copy_before_migration(Path(str(self.where.url.database)), step or "none")


def seats_taken(members: Iterable[MembershipRecord]) -> set[int]:
    """Return the numbers of the seats that somebody has."""
    return {one.seat for one in members if one.seat is not None}


def _is(slug: str) -> Any:
    return schema.workshops.c.slug == slug


def _workshops(db: Connection, query: Select[Any]) -> list[WorkshopRecord]:
    found = [values for row in db.execute(query).mappings() if (values := _intact(schema.workshops, row)) is not None]
    places: dict[str, list[PlaceRecord]] = {values["slug"]: [] for values in found}
    table = schema.places
    for row in db.execute(select(table).where(table.c.workshop.in_(places)).order_by(table.c.number)).mappings():
        places[row["workshop"]].append(PlaceRecord(**{one.name: row[one.name] for one in fields(PlaceRecord)}))
    return [WorkshopRecord(**values, places=tuple(places[values["slug"]])) for values in found]


def _intact(table: Table, row: RowMapping) -> dict[str, Any] | None:
    values = intact(table, row)
    if values is None:
        log.error(
            "A row of %s cannot be read, and is left out: %s",
            table.name,
            [row[c.name] for c in table.primary_key],
        )
    return values


def _set_places(db: Connection, slug: str, places: Sequence[PlaceRecord]) -> None:
    db.execute(delete(schema.places).where(schema.places.c.workshop == slug))
    db.execute(insert(schema.places), [{"workshop": slug, **place.__dict__} for place in places])


def _leads(db: Connection, slug: str) -> set[str]:
    """Return the people who lead a workshop now."""
    table = schema.memberships.c
    found = db.execute(select(table.person, table.role, table.state).where(table.workshop == slug))
    return {person for person, role, state in found if role == "lead" and state == "staff"}


def _check_leads(db: Connection, slug: str, before: set[str]) -> None:
    if before and not _leads(db, slug):
        raise NobodyLeads(slug)


def _check_seats(db: Connection, record: WorkshopRecord) -> None:
    """Raise SeatsInUse if a workshop gets fewer seats, and somebody has one of the removed seats."""
    before = db.execute(select(schema.workshops.c.seats).where(_is(record.slug))).scalar_one_or_none()
    table = schema.memberships.c
    highest = db.execute(select(func.max(table.seat)).where(table.workshop == record.slug)).scalar_one_or_none()
    if before is not None and highest is not None and record.seats < min(before, highest):
        raise SeatsInUse(highest)


def _of_code(code: CodeRecord) -> dict[str, Any]:
    return {name: value for name, value in code.__dict__.items() if name != "id"}


def _note(db: Connection, event: EventRecord) -> None:
    db.execute(insert(schema.events).values(event.__dict__))


def _done(db: Connection, query: Any) -> None:
    db.execute(query)
