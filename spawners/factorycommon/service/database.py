"""Parses the address of a process's database, and connects to it: to a SQLite file of its own, or to PostgreSQL."""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

# FULL: the intent must be on the disk before the job is submitted.
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000")
# Seconds. A lost server must be noticed soon, since a process has only one thread for its database.
PATIENCE = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
            "tcp_user_timeout": 20_000}  # fmt: skip
_SETTINGS = "-c lock_timeout=5s -c statement_timeout=60s -c application_name="
MIGRATION_SECONDS = 50  # the longest wait for another process's migration; shorter than ``statement_timeout``
_IN_THE_WAY = ("40001", "40P01", "55P03")  # SQLSTATE codes: serialization failure, deadlock, lock timeout
# Only one process of a program may use a schema. The lock belongs to the connection, so a process that lost its
# connection writes nothing after another one has claimed the database. A process that finds the lock taken waits for
# ``lock_timeout``. The numbers tell the programs apart.
_CLAIM = "SELECT pg_advisory_lock({number}, hashtext(current_schema()))"
_NUMBERS = {"factorylink": 1718051188, "workshops": 1718051189}


class InUse(SQLAlchemyError):
    """Raised by connecting if another process has claimed the database (see ``Database.engine``)."""


@dataclass(frozen=True)
class Database:
    """The address of a database. Safe to log: it never contains a password. ``program``: the program that uses it."""

    url: URL
    program: Literal["factorylink", "workshops"] = "factorylink"

    @classmethod
    def file(cls, path: Path, program: Literal["factorylink", "workshops"] = "factorylink") -> Database:
        """Return the address of the SQLite file at ``path``, which need not exist.

        ``program``: the program that uses the database.
        """
        return cls(URL.create("sqlite", database=str(path)), program)

    @classmethod
    def parse(
        cls, text: str, program: Literal["factorylink", "workshops"] = "factorylink", key: str = "ledger"
    ) -> Database:
        """Return the address that a URL names: ``postgresql://USER@HOST/DATABASE`` or ``sqlite:////PATH``.

        ``program``: the program that uses the database; ``key``: the key of the configuration file that has the URL,
        for the error's text. Raises ValueError if the URL names no such database, or has a password or another secret:
        URLs are shown and logged. The error's text has no part of the URL that can be secret.
        """
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):  # ValueError: the port is no number; the error's text has a part of the URL
            raise ValueError(f"{key}: not the URL of a database, such as postgresql://USER@HOST/DATABASE") from None
        if url.password is not None or (secrets := secret_parameters(url)) == ["password"]:
            raise ValueError(
                f"{key}: no password in the URL; put it into a 0600 file as libpq reads it, and name that in the URL "
                "(?passfile=FILE) or in PGPASSFILE"
            )
        if secrets:
            raise ValueError(
                f"{key}: no password in the URL ({', '.join(secrets)}); put it into a 0600 service file as libpq "
                "reads it, name the file in PGSERVICEFILE and its section in the URL (?service=NAME)"
            )
        kind = url.get_backend_name()
        if kind == "sqlite" and url.database in (None, "", ":memory:"):
            raise ValueError(f"{key}: sqlite:////PATH with the path of a file")
        if kind not in ("postgresql", "sqlite"):
            raise ValueError(f"{key}: {kind!r} is no database that can be used; allowed: postgresql, sqlite")
        return cls(url.set(drivername="postgresql+psycopg" if kind == "postgresql" else "sqlite"), program)

    def __str__(self) -> str:
        return self.url.render_as_string() if self.url.host or self.url.query else str(self.url.database)

    def exists(self) -> bool:
        """Return False if the database is a SQLite file that is missing, else True."""
        return self.url.get_backend_name() != "sqlite" or Path(self.url.database or "").exists()

    def engine(self, alone: bool = False) -> Engine:
        """Return an engine with a single connection, since a process uses the database in one thread only.

        ``alone``: claim the database while the engine is connected; if another engine of the same program has claimed
        it, connecting raises InUse. Raises OSError if the SQLite file cannot be created or written."""
        if self.url.get_backend_name() == "sqlite":
            path = Path(self.url.database or "")
            path.touch(mode=0o600)
            engine = create_engine(self.url, pool_size=1, max_overflow=0)
            event.listen(engine, "connect", _set_pragmas)
            if alone:
                _claim_file(engine, path)
            return engine
        options = {**PATIENCE, "options": _SETTINGS + self.program}
        engine = create_engine(self.url, pool_size=1, max_overflow=0, pool_pre_ping=True, connect_args=options)
        if alone:
            event.listen(engine, "connect", partial(_claim_schema, _NUMBERS[self.program]))
        return engine


def secret_parameters(url: URL) -> list[str]:
    """Return the names of the parameters in a URL's query that have secret values, such as ``sslpassword``."""
    return [name for name in url.query if re.search("password|secret", name, re.IGNORECASE)]


def begin_migration(db: Connection, key: int) -> None:
    """Begin the transaction in which a process migrates its database.

    If another process migrates the database, wait up to ``MIGRATION_SECONDS`` for the end of its transaction. This is
    longer than the wait for other transactions, because the migration of a large database can take long. ``key``: the
    key of PostgreSQL's advisory lock; each program has its own. Raises OperationalError after ``MIGRATION_SECONDS``.
    """
    if db.dialect.name == "sqlite":
        usual = db.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
        db.exec_driver_sql(f"PRAGMA busy_timeout={MIGRATION_SECONDS * 1000}")
        db.exec_driver_sql("BEGIN IMMEDIATE")
        db.exec_driver_sql(f"PRAGMA busy_timeout={usual}")
    else:
        db.execute(text(f"SET LOCAL lock_timeout = '{MIGRATION_SECONDS}s'"))
        db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def in_the_way(error: OperationalError) -> bool:
    """Return whether a transaction failed only because of another one: by a lock, a deadlock or a conflict of writes.

    The failed transaction was rolled back, and a second attempt may succeed. Only errors of PostgreSQL are recognized:
    for SQLite, the result is always False.
    """
    return getattr(error.orig, "sqlstate", None) in _IN_THE_WAY


def _claim_file(engine: Engine, path: Path) -> None:
    """Make the engine's connection hold a lock on a file beside the database until the connection is closed.

    Connecting raises InUse if another connection holds the lock.
    """

    def claim(_connection: Any, record: Any) -> None:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        record.info["claim"] = descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(record.info.pop("claim"))
            raise InUse(str(error)) from error

    def let_go(_connection: Any, record: Any) -> None:
        if (descriptor := record.info.pop("claim", None)) is not None:
            os.close(descriptor)

    event.listen(engine, "connect", claim)
    event.listen(engine, "close", let_go)


def _claim_schema(number: int, connection: Any, _record: Any) -> None:
    import psycopg  # only a process on PostgreSQL needs it

    try:
        connection.execute(_CLAIM.format(number=number))
        connection.rollback()  # the lock belongs to the connection, not to the transaction
    except psycopg.errors.LockNotAvailable as error:
        raise InUse(str(error)) from error


def _set_pragmas(connection: Any, _record: Any) -> None:
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
