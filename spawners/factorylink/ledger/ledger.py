"""The link's database: stores sessions with logs, people's last choices, factories' drains and pauses, the audit.

Other modules read and write the other tables by ``write``, ``transact`` and ``rows``. This is an async interface to one
writer thread. Every method returns after its commit is on the disk; concurrent writes share one commit.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    MappingResult,
    RowMapping,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    inspect,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, SQLAlchemyError

from factorycommon.models import HEAD, AuditLine, Choice, EndReason, FailureCount, JobId, LogLine, ProjectId, SessionId
from factorycommon.models.plain import plain_text
from factorycommon.service import columns
from factorycommon.service.database import Database, InUse, in_the_way
from factorycommon.service.sqlite_copy import copy_before_migration
from factorylink.ledger import migrations, schema
from factorylink.ledger.schema import SessionRecord
from factorylink.util import clock, metrics
from factorylink.util.batcher import Batcher

log = logging.getLogger("factorylink")

T = TypeVar("T")
Write = Callable[[Connection], None]
WRITES_AT_ONCE = 200  # writes in one commit: each commit costs one write to the disk
MOST_ENDED = 20  # ended sessions of one server that are read
TRIES = 6  # tries of a commit that collided with a commit of another link
# Values are passed beside a statement, not in it: a statement with values in it is compiled each time.
_KEY = "key_of_row"
_CHANGE = update(schema.sessions).where(schema.sessions.c.id == bindparam(_KEY))


class LedgerError(Exception):
    """Raised if the ledger cannot be used.

    For example, the disk is full, the file is damaged, another link uses the ledger, or a newer release wrote it.
    """


class LedgerOfOtherRelease(LedgerError):
    """Raised if a newer release wrote the ledger, so that this release can never open it."""


class LedgerConflict(Exception):
    """Raised if another row prevents a write.

    The other row has the same id, or is a live session with the same job, or is a live session of the same server with
    ``wish`` "run".
    """


class Rejected(Exception):
    """Raised to roll back one write only; other writes that share its commit are retried."""


@dataclass(frozen=True)
class AuditEntry:
    """One line of the audit: an action of the link, a person's acceptance of a site's rules, or an operator's order.

    ``person``: for whom the link acted, who accepted the rules, or who gave the order, "": not known; ``account``: the
    site account, "": none; ``factory``: the factory's id, or ``gateway`` for an order about the whole gateway;
    ``action``: a word such as ``submit``; ``job``: a job that the action concerns, None: the line names no job;
    ``key_id``: the id of the certificate or key with which the link logged in at the site, ``local`` if the factory
    needs no login, "" if no login is recorded.
    """

    person: str
    account: str
    factory: str
    action: str
    job: JobId | None = None
    detail: str = ""
    key_id: str = ""  # the id of the key with which the link logged in at the site


class Ledger:
    """The link's database. Call ``open`` before use. Every method that reads or writes may raise LedgerError.

    ``where``: a SQLite file, made with mode 0600 if missing, or a PostgreSQL database. ``alone``: claim the ledger, so
    that no other process can claim it at the same time.
    """

    def __init__(self, where: Path | Database, alone: bool = False) -> None:
        self.where = where if isinstance(where, Database) else Database.file(where)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._engine: Engine | None = None
        self._alone = alone
        # After an error each write is tried alone, so that only the faulty one fails.
        apart = (IntegrityError, DataError, Rejected, ArithmeticError, ValueError, TypeError)
        self._writes: Batcher[None, Write] = Batcher(self._commit, WRITES_AT_ONCE, apart)
        # by table and key, the rows that cannot be read, each with the reason
        self.set_aside: dict[tuple[str, str], str] = {}
        self._reported: set[tuple[str, str, str]] = set()

    async def open(self) -> None:
        """Open the database, and migrate it to the tables of this release.

        Raises LedgerError with an explanation if the database cannot be used, or if another link has claimed it;
        LedgerOfOtherRelease if a newer release wrote it.
        """
        await self._run(self._open)

    async def close(self) -> None:
        """Wait for pending writes, and close the database."""
        await self._writes.settle()
        await self._run(lambda: self._engine.dispose() if self._engine else None)
        self._thread.shutdown()

    # --- sessions

    async def add(self, record: SessionRecord, entry: AuditEntry, *also: Write) -> None:
        """Write a session that the ledger does not have yet, and ``entry`` into the audit.

        ``also`` runs in the same commit. Raises LedgerConflict, LedgerError, and the errors of ``also``.
        """

        def write(db: Connection) -> None:
            db.execute(insert(schema.sessions), record.columns())
            _say(db, record)
            db.execute(insert(schema.audit), audit_values(entry))
            for more in also:
                more(db)

        try:
            await self.write(write)
        except IntegrityError as error:
            raise LedgerConflict(str(error.orig)) from error

    async def change(
        self, record: SessionRecord, *also: Write, say: str = "", entry: AuditEntry | None = None, **values: Any
    ) -> None:
        """Write ``values``, by column, into the record's row, and then set them on the record.

        The same commit may add a line to the session's log (``say``) and to the audit (``entry``), and run ``also``.
        Raises LedgerConflict, LedgerError, and the errors of ``also``.
        """
        line = LogLine(at=clock.now(), text=say) if say else None

        def write(db: Connection) -> None:
            if values:
                db.execute(_CHANGE, {_KEY: record.id, **values})
            if line is not None:
                db.execute(insert(schema.log_lines), _line_values(record.id, line))
            if entry is not None:
                db.execute(insert(schema.audit), audit_values(entry))
            for more in also:
                more(db)

        try:
            await self.write(write)
        except IntegrityError as error:
            raise LedgerConflict(str(error.orig)) from error
        for name, value in values.items():
            setattr(record, name, value)
        if line is not None:
            record.log.append(line)

    async def note(self, entry: AuditEntry) -> None:
        """Write an audit line about an action that changes no row."""
        await self.write(lambda db: _done(db, insert(schema.audit), audit_values(entry)))

    async def record(self, session_id: SessionId) -> SessionRecord | None:
        """Return the session with this id, also an ended one, with its log; None if it is unknown or cannot be read."""
        rows = await self.transact(lambda db: self._rows(db, schema.sessions.c.id == session_id, limit=1))
        return rows[0] if rows else None

    async def live(self) -> list[SessionRecord]:
        """Return all sessions that have not ended, newest first, without those whose row cannot be read."""
        return await self.transact(lambda db: self._rows(db, schema.sessions.c.ended.is_(None)))

    async def accounts(self, factory: str) -> list[str]:
        """Return the site accounts that have ever had a session at the factory."""
        query = select(schema.sessions.c.account).where(schema.sessions.c.factory == factory).distinct()
        return await self.transact(lambda db: list(db.execute(query).scalars()))

    async def recent(self, user: str | None = None, server: str | None = None, limit: int = 20) -> list[SessionRecord]:
        """Return the ``limit`` newest sessions, live and ended ones, newest first.

        Sessions that run a Dask scheduler are left out. ``user``, ``server``: only the sessions of this person or
        server, if given.
        """
        table = schema.sessions.c
        given = [column == value for column, value in ((table.user, user), (table.server, server)) if value is not None]
        return await self.transact(lambda db: self._rows(db, *given, _of_notebooks(), limit=limit))

    async def ended_of(self, user: str, server: str, since: datetime) -> list[SessionRecord]:
        """Return the ended sessions of a person's server that were created at ``since`` or later, newest first.

        At most ``MOST_ENDED`` sessions are returned.
        """
        table = schema.sessions.c
        mine = (table.user == user, table.server == server, table.created >= since, table.ended.is_not(None))
        return await self.transact(lambda db: self._rows(db, *mine, limit=MOST_ENDED))

    async def last_ended(self, project_id: ProjectId) -> list[SessionRecord]:
        """Return each person's last session that was charged to the project and has ended.

        Sessions that run a Dask scheduler do not count.
        """
        table, charged = schema.sessions.c, select(schema.charges.c.id).where(schema.charges.c.project == project_id)
        ended = (table.id.in_(charged), table.ended.is_not(None), _of_notebooks())
        newest = select(table.user, func.max(table.created)).where(*ended).group_by(table.user)
        return await self.transact(lambda db: self._rows(db, *ended, tuple_(table.user, table.created).in_(newest)))

    async def never_ready(self, since: datetime, without: Collection[EndReason]) -> list[FailureCount]:
        """Return how many sessions ended without any answer of their notebook or Dask scheduler, by factory and reason.

        If the session's job was requeued, only answers after the last requeue count. Each number comes with the time
        and the explanation of the last such end. Only sessions that ended at ``since`` or later count. ``without``:
        reasons that are not counted.
        """
        table = schema.sessions.c
        groups = (table.factory, table.end_reason)
        ranked = (
            select(
                table.id,
                *groups,
                table.ended,
                table.end,
                func.count().over(partition_by=groups).label("count"),
                func.row_number().over(partition_by=groups, order_by=(table.ended.desc(), table.id)).label("place"),
            )
            .where(table.ended >= since, table.ready.is_(None), table.end_reason.notin_(without))
            .subquery()
        )
        query = select(ranked).where(ranked.c.place == 1)
        found = await self.rows(schema.sessions, query)
        return [
            FailureCount(
                factory=row["factory"],
                reason=row["end_reason"],
                count=row["count"],
                last=row["ended"],
                words=row["end"],
            )
            for row in found
            if row["end_reason"] is not None and row["ended"] is not None
        ]

    async def audited(self, action: str | None = None) -> list[AuditEntry]:
        """Return the entries of the audit, oldest first; ``action``: only entries with this action."""
        query = select(*(schema.audit.c[field.name] for field in fields(AuditEntry)))
        if action is not None:
            query = query.where(schema.audit.c.action == action)
        query = query.order_by(schema.audit.c.number)
        return await self.transact(lambda db: [AuditEntry(*found) for found in db.execute(query)])

    async def audit(
        self, factory: str, since: datetime | None = None, after: int = 0, limit: int = 1000
    ) -> list[AuditLine]:
        """Return a page of at most ``limit`` lines of a factory's audit, oldest first.

        ``since``: only lines of this time or later, if given; ``after``: the number of the last line of the previous
        page, 0 for the first page.
        """
        columns = schema.audit.c
        query = select(schema.audit).where(columns.factory == factory, columns.number > after)
        if since is not None:
            query = query.where(columns.at >= since)
        query = query.order_by(columns.number).limit(limit)
        return [AuditLine(**found) for found in await self.rows(schema.audit, query)]

    # --- people and factories

    async def last_choice(self, user: str) -> Choice | None:
        """Return what the person chose for the last session that they started themselves; None: there was none.

        A session that the link started for a workshop's seat does not count, nor does one that runs a Dask scheduler.
        """
        found = await self.rows(schema.choices, select(schema.choices).where(schema.choices.c.user == user))
        return found[0]["choice"] if found else None

    async def drains(self) -> dict[str, str]:
        """Return the operator's message for each drained factory, by factory id.

        Three more keys, constants of ``schema``, are there if they are set: ``WHOLE_GATEWAY`` (the message while the
        whole gateway is drained), ``BANNER`` (the text that all pages show), ``BANNER_UNTIL`` (when the banner ends, in
        ISO 8601).
        """
        return await self._messages(schema.drains)

    async def drain(self, factory: str, message: str, entry: AuditEntry) -> None:
        """Record that a factory (or ``WHOLE_GATEWAY``) starts nothing new, with a line for the audit."""
        await self._set_message(schema.drains, factory, message, entry)

    async def undrain(self, factory: str, entry: AuditEntry) -> None:
        """Record that the drain of a factory (or ``WHOLE_GATEWAY``) is over, with a line for the audit."""
        await self._drop_message(schema.drains, factory, entry)

    async def set_banner(self, text: str, until: datetime | None, entry: AuditEntry) -> None:
        """Store the text that all pages show until the given time, with a line for the audit.

        ``text`` "": show no banner; ``until`` None: show the banner without end.
        """
        messages = {schema.BANNER: text, schema.BANNER_UNTIL: until.isoformat() if text and until else ""}
        now = clock.now()

        def write(db: Connection) -> None:
            for key, message in messages.items():
                if message:
                    _put(schema.drains, "factory", factory=key, message=message, at=now)(db)
                else:
                    db.execute(delete(schema.drains).where(schema.drains.c.factory == key))
            db.execute(insert(schema.audit), audit_values(entry))

        await self.write(write)

    async def pauses(self) -> dict[str, str]:
        """Return the paused factories, each with the operator's message."""
        return await self._messages(schema.pauses)

    async def pause(self, factory: str, message: str, entry: AuditEntry) -> None:
        """Record that a factory is paused, with a line for the audit.

        During a pause, the link submits and extends no job at the factory, and opens no connection to a door there.
        ``message``: the operator's message for people.
        """
        await self._set_message(schema.pauses, factory, message, entry)

    async def resume(self, factory: str, entry: AuditEntry) -> None:
        """Record that a factory's pause is over, with a line for the audit."""
        await self._drop_message(schema.pauses, factory, entry)

    # --- reading and writing rows

    async def rows(self, table: Table, query: Select[Any]) -> list[dict[str, Any]]:
        """Return the rows of the table that the query finds; unreadable rows are skipped. Raises LedgerError."""
        return await self.transact(lambda db: self.intact(table, db.execute(query).mappings()))

    def intact(self, table: Table, found: MappingResult) -> list[dict[str, Any]]:
        """Return the rows of ``found`` that can be read; an unreadable value that may be null becomes None.

        A row with any other unreadable value is skipped and named in the log; the link continues without this row.
        """
        return [values for row in found if (values := self._intact(table, row)) is not None]

    def _intact(self, table: Table, row: RowMapping) -> dict[str, Any] | None:
        values = columns.intact(table, row)
        key = ", ".join(str(row[column.name]) for column in table.primary_key)
        for name, value in columns.spoilt(row):
            if values is None:
                self.set_aside[table.name, key] = f"{name}: {value.why}"
            if (table.name, key, name) not in self._reported:
                self._reported.add((table.name, key, name))
                done = "The row is set aside" if values is None else "It counts as missing"
                log.error("The ledger's %s of %s %s cannot be read: %s. %s.", name, table.name, key, value.why, done)
        return values

    def _rows(self, db: Connection, *where: Any, limit: int | None = None) -> list[SessionRecord]:
        query = select(schema.sessions).where(*where).order_by(schema.sessions.c.created.desc()).limit(limit)
        found = self.intact(schema.sessions, db.execute(query).mappings())
        rows = {values["id"]: SessionRecord(**values) for values in found}
        for line in self.intact(schema.log_lines, _lines(db, rows)):
            rows[line["session"]].log.append(LogLine(**{name: line[name] for name in LogLine.model_fields}))
        return list(rows.values())

    async def _messages(self, table: Table) -> dict[str, str]:
        query = select(table.c.factory, table.c.message)
        return await self.transact(lambda db: {found.factory: found.message for found in db.execute(query)})

    async def _set_message(self, table: Table, factory: str, message: str, entry: AuditEntry) -> None:
        put = _put(table, "factory", factory=factory, message=message, at=clock.now())

        def write(db: Connection) -> None:
            put(db)
            db.execute(insert(schema.audit), audit_values(entry))

        await self.write(write)

    async def _drop_message(self, table: Table, factory: str, entry: AuditEntry) -> None:
        def write(db: Connection) -> None:
            db.execute(delete(table).where(table.c.factory == factory))
            db.execute(insert(schema.audit), audit_values(entry))

        await self.write(write)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def write(self, write: Write) -> None:
        """Run ``write`` in a commit of its own, or in one commit with other concurrent writes.

        Raises IntegrityError, LedgerError, and the errors of ``write`` that are subclasses of Rejected.
        """
        try:
            await self._writes.do(None, write)
        except (DataError, ArithmeticError, ValueError, TypeError) as error:
            raise LedgerError(f"The ledger {self.where} cannot keep a value: {error}") from error

    async def _commit(self, _key: None, writes: Sequence[Write]) -> None:
        def all_of_them(db: Connection) -> None:
            for write in writes:
                write(db)

        await self.transact(all_of_them)

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction of its own, and return the result of ``work``.

        For a function that writes, use ``write`` instead, because ``write`` puts many writes into one transaction. If
        the transaction collides with one of another process, ``work`` runs again. Raises IntegrityError, DataError,
        LedgerError, and the errors of ``work``.
        """

        def transact() -> T:
            if self._engine is None:
                raise LedgerError("The ledger is not open.")
            for left in range(TRIES, 0, -1):
                try:
                    with self._engine.begin() as db:
                        return work(db)
                except OperationalError as error:
                    if left == 1 or not in_the_way(error):
                        raise
                    # a random pause, so that both links do not collide again
                    time.sleep(random.SystemRandom().uniform(0, 0.2))
            raise AssertionError

        try:
            with metrics.LEDGER_SECONDS.time():
                return await self._run(transact)
        except (IntegrityError, DataError):
            raise
        except InUse as error:
            raise self._of_another() from error
        except SQLAlchemyError as error:
            metrics.LEDGER_ERRORS.inc()
            raise LedgerError(f"The ledger {self.where} cannot be used: {error}") from error

    def _open(self) -> None:
        try:
            engine = self.where.engine(self._alone)
            self._copy_if_old(engine)
            with engine.connect() as db:  # closed without a commit, the transaction is rolled back
                migrations.upgrade(db)
        except migrations.NewerDatabase as error:
            raise LedgerOfOtherRelease(
                f"The ledger {self.where} has {error}: install the release that wrote it, or a newer one."
            ) from error
        except InUse as error:
            raise self._of_another() from error
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise LedgerError(f"The ledger {self.where} cannot be opened: {error}") from error
        self._engine = engine

    def _of_another(self) -> LedgerError:
        return LedgerError(
            f"Another link uses the ledger {self.where}. Two links on one ledger would submit each job twice: stop the "
            "other one, or give this one a ledger of its own."
        )

    def _copy_if_old(self, engine: Engine) -> None:
        """Copy a SQLite file that needs a migration to a new file in the same folder.

        Raises NewerDatabase, OSError, and SQLite's errors.
        """
        if self.where.url.get_backend_name() != "sqlite":
            return
        with engine.connect() as db:
            step, tables = migrations.is_at(db), inspect(db).get_table_names()
        if tables and step != migrations.head():
            copy_before_migration(Path(str(self.where.url.database)), step or "none")


def _of_notebooks() -> ColumnElement[bool]:
    """Return the condition that a session runs a notebook, not a cluster's Dask scheduler."""
    return ~schema.sessions.c.server.startswith(HEAD, autoescape=True)


def upsert(db: Connection, table: Table) -> Any:
    """Return an INSERT into ``table`` for the database system of ``db``, PostgreSQL or SQLite.

    It has the methods ``on_conflict_do_update`` and ``on_conflict_do_nothing``.
    """
    return (postgresql.insert if db.dialect.name == "postgresql" else sqlite.insert)(table)


def choosing(user: str, choice: Choice) -> Write:
    """Return a write that stores ``choice`` as the person's last choice, which ``Ledger.last_choice`` returns."""
    return _put(schema.choices, "user", user=user, choice=choice, at=clock.now())


def _put(table: Table, key: str, **values: Any) -> Write:
    """Return a write that inserts a row of ``values``, or replaces the row with the same value in column ``key``."""

    def write(db: Connection) -> None:
        # Most rows exist. SQLAlchemy compiles an INSERT with ``excluded`` values of our own column types each time.
        change = update(table).where(table.c[key] == bindparam(_KEY))
        if db.execute(change, {_KEY: values[key], **values}).rowcount:
            return
        new = upsert(db, table)
        replaced = {name: new.excluded[name] for name in values}
        db.execute(new.on_conflict_do_update(index_elements=[key], set_=replaced), values)

    return write


def _done(db: Connection, query: Any, values: dict[str, Any]) -> None:
    db.execute(query, values)


def _say(db: Connection, record: SessionRecord) -> None:
    if record.log:
        values = [_line_values(record.id, line) for line in record.log]
        db.execute(insert(schema.log_lines), values)


def _line_values(session: SessionId, line: LogLine) -> dict[str, Any]:
    return {"session": session} | dict(line)


def audit_values(entry: AuditEntry) -> dict[str, Any]:
    """Return an audit entry as column values, with the present time.

    ``detail`` is cleaned: PostgreSQL stores no NULs, and readers must not see control characters from a shell.
    """
    return {"at": clock.now(), **entry.__dict__, "detail": plain_text(entry.detail)}


def _lines(db: Connection, ids: Iterable[SessionId]) -> MappingResult:
    query = select(schema.log_lines).where(schema.log_lines.c.session.in_(list(ids)))
    return db.execute(query.order_by(schema.log_lines.c.number)).mappings()
