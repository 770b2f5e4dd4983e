"""Migrates the hub's database to the tables that the installed JupyterHub needs, before JupyterHub opens the database.

Otherwise JupyterHub would exit if another release wrote the database, and systemd would restart it again and again.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from jupyterhub import dbutil, orm
from sqlalchemy import Connection, create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from factorycommon.service.database import secret_parameters
from factorycommon.service.sqlite_copy import copy_before_migration, put_back
from factoryspawner.config.errors import StoreUnusable

log = logging.getLogger("factoryspawner")

_SECONDS = 3600  # seconds for all migration steps
_SHOWN = 500  # characters that are shown of Alembic's last messages


class DatabaseAway(Exception):
    """Raised if the database cannot be opened. JupyterHub reports the error at its start."""


@dataclass(frozen=True)
class HubSchema:
    """The migration step (Alembic revision) of a hub's database, and the step that the installed JupyterHub needs.

    ``step``: the database's own step; None: the database does not exist, has no tables yet, or has only tables of a
    JupyterHub before 0.8, which recorded no step. ``head``: the needed step.
    """

    step: str | None
    head: str

    @property
    def is_old(self) -> bool:
        """Return True if the database must be migrated."""
        return self.step is not None and self.step != self.head


def schema(url: str) -> HubSchema:
    """Return the migration step of a database and the step that JupyterHub needs, without changing the database.

    ``url``: the database's SQLAlchemy URL. Raises DatabaseAway if the database cannot be opened; StoreUnusable if a
    newer JupyterHub wrote the database.
    """
    script = ScriptDirectory(dbutil.ALEMBIC_DIR)
    head = str(script.get_current_head())
    file = _file(url)
    if file is not None and not file.exists():
        return HubSchema(None, head)
    try:
        with _connected(url) as db:
            step = MigrationContext.configure(db).get_current_revision()
    except (SQLAlchemyError, OSError) as error:
        raise DatabaseAway(str(error)) from error
    if step is not None and step not in {one.revision for one in script.walk_revisions()}:
        raise StoreUnusable(
            f"The hub's database {shown(url)} is at step {step}, and the JupyterHub of this release reads steps up to "
            f"{head}: install the release that wrote it, or a newer one."
        )
    return HubSchema(step, head)


def upgrade(url: str) -> HubSchema | None:
    """Migrate the database to the installed JupyterHub's tables; return what ``schema`` returned before the migration.

    None: nothing had to be done, or the database cannot be opened, which JupyterHub reports at its start. An SQLite
    file is copied first. If the migration steps fail although the database has all columns already, the database is
    only marked as being at the newest step (``alembic stamp``), and this counts as success. Raises StoreUnusable if a
    newer JupyterHub wrote the database, if it cannot be copied, or if the steps fail and columns are missing. After
    failed steps, an SQLite file is unchanged; a database on a server keeps the steps before the one that failed and,
    unless it is PostgreSQL, perhaps a part of that step.
    """
    try:
        found = schema(url)
    except DatabaseAway:
        return None  # JupyterHub reports this error at its start
    if not found.is_old:
        return None
    log.info("The hub's database is brought from step %s to %s", found.step, found.head)
    file = _file(url)
    try:
        copy = None if file is None else copy_before_migration(file, str(found.step))
    except (OSError, sqlite3.Error) as error:
        raise StoreUnusable(
            f"The hub's database {shown(url)} cannot be copied before its migration: {error}"
        ) from error
    with _ini(url) as ini:
        problem = _steps(ini)
        if problem:
            if copy is not None and file is not None:
                put_back(copy, file)
            if not _has_all_columns(url):
                raise StoreUnusable(
                    f"The hub's database {shown(url)} cannot be brought from step {found.step} to {found.head}. "
                    f"{_left(url)} The error: {problem}"
                )
            log.warning("The hub's database has all tables of step %s already: only its number was old", found.head)
            command.stamp(Config(str(ini)), "head")
    return found


def shown(url: str) -> str:
    """Return the SQLAlchemy URL ``url`` with ``***`` in place of its password, and without other secrets."""
    parsed = make_url(url)
    return parsed.difference_update_query(secret_parameters(parsed)).render_as_string(hide_password=True)


def _file(url: str) -> Path | None:
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as db:
            yield db
    finally:
        engine.dispose()


@contextmanager
def _ini(url: str) -> Iterator[Path]:
    """Write Alembic's configuration for this database, which may contain a password, to a file; yield the file's path.

    The file is in a private folder, which is deleted at the end of the block.
    """
    with tempfile.TemporaryDirectory(prefix="factorygate-") as folder:
        ini = Path(folder) / "alembic.ini"
        os.close(os.open(ini, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        dbutil.write_alembic_ini(str(ini), url)
        yield ini


def _steps(ini: Path) -> str:
    """Run all migration steps in a separate process. Return the error, or "" if there is none.

    In the present process, some of the steps would change JupyterHub's classes.
    """
    argv = [sys.executable, "-m", "alembic", "-c", str(ini), "upgrade", "head"]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {_SECONDS} s"
    return "" if done.returncode == 0 else (" ".join(done.stderr.split())[-_SHOWN:] or f"exit code {done.returncode}")


def _left(url: str) -> str:
    """Return text for the operator: what failed steps have left in the database, and what to do."""
    match make_url(url).get_backend_name():
        case "sqlite":
            return "It is as it was: correct the cause and start again, or start the release that wrote it."
        case "postgresql":
            return (
                "It keeps the steps before the one that failed: correct the cause and start again; or restore the "
                "database from your backup, and start the release that wrote it."
            )
        case _:
            return (
                "It keeps the steps before the one that failed, and perhaps a part of that one: restore the database "
                "from your backup; then correct the cause and start again, or start the release that wrote it."
            )


def _has_all_columns(url: str) -> bool:
    """Return whether the database has every column of the installed JupyterHub's tables."""
    with _connected(url) as db:
        look = inspect(db)
        there = set(look.get_table_names())
        return all(
            name in there and {c.name for c in table.columns} <= {c["name"] for c in look.get_columns(name)}
            for name, table in orm.Base.metadata.tables.items()
        )
