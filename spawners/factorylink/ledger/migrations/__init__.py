"""Migrates a ledger's database to the tables of this release, on SQLite and PostgreSQL; the steps are in ``versions``.

A step is never changed after its release, since databases of running gateways have been through it. Releases without
such steps stored a ledger's version as a number in its SQLite file (``PRAGMA user_version``). This release still sets
the number, always to ``KEEPS_STEPS``, so that those older releases refuse the database.
"""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError

import factorylink.ledger.cluster_tables  # noqa: F401  (they are the ledger's, too)
from factorycommon.service.database import begin_migration
from factorylink.ledger.schema import metadata

log = logging.getLogger("factorylink")

BY_NUMBER = 4  # the last version without migration steps; it equals the step "0004"
KEEPS_STEPS = 5  # the number of all later databases; their steps show what is newer
_LOCK = 0x666163746F7279  # key of PostgreSQL's advisory lock


class NewerDatabase(Exception):
    """Raised if a newer release made or migrated the database."""


def upgrade(db: Connection) -> None:
    """Bring the database to this release's tables, and commit. Raises NewerDatabase, and SQLAlchemy's errors."""
    # All steps in one transaction, so that two processes that start at once cannot both make them.
    begin_migration(db, _LOCK)
    known = is_at(db)
    if known != head():
        log.info("The ledger is brought from step %s to %s", known or "none", head())
        number = _number(db)
        if known is None and not number:
            _make_anew(db)
        else:
            _make_steps(db, known, number)
        if _is_sqlite(db):
            db.exec_driver_sql(f"PRAGMA user_version = {KEEPS_STEPS}")
    db.commit()


def _make_steps(db: Connection, known: str | None, number: int) -> None:
    """Run all migration steps after the database's present one.

    ``known``: the id of the present step; None: the database is older than the steps, and its version is ``number``. If
    a step fails although the database has all columns of this release, somebody has set the database's version back.
    Then only the version is changed, to the last step. Any other failure of a step is raised.
    """
    config = _config(db)
    try:
        if known is None:
            command.stamp(config, f"{min(number, BY_NUMBER):04d}")
        command.upgrade(config, "head")
    except SQLAlchemyError:
        db.rollback()
        begin_migration(db, _LOCK)
        if not has_all_columns(db):
            raise
        log.warning("The ledger has all tables of step %s already: only its number was old", head())
        MigrationContext.configure(db).stamp(_script(), "head")


def has_all_columns(db: Connection) -> bool:
    """Return whether the database has every column of this release's tables."""
    look = inspect(db)
    there = set(look.get_table_names())
    return all(
        name in there and {c.name for c in table.columns} <= {c["name"] for c in look.get_columns(name)}
        for name, table in metadata.tables.items()
    )


def _is_sqlite(db: Connection) -> bool:
    return db.dialect.name == "sqlite"


def _make_anew(db: Connection) -> None:
    """Create this release's tables in an empty database; a test checks that they equal the result of all steps."""
    metadata.create_all(db)
    MigrationContext.configure(db).stamp(_script(), "head")


def head() -> str:
    """Return the id of the last migration step of this release."""
    return str(_script().get_current_head())


def is_at(db: Connection) -> str | None:
    """Return the id of the last migration step that the database has been through.

    None: the database is empty, or was made by a release without migration steps. Raises NewerDatabase if a newer
    release made or migrated the database.
    """
    if _number(db) > KEEPS_STEPS:
        raise NewerDatabase(f"version {_number(db)}, and this link reads versions up to {KEEPS_STEPS}")
    found = MigrationContext.configure(db).get_current_revision()
    if found is not None and found not in {step.revision for step in _script().walk_revisions()}:
        raise NewerDatabase(f"step {found}, and this link reads steps up to {head()}")
    return found


def _number(db: Connection) -> int:
    return int(db.exec_driver_sql("PRAGMA user_version").scalar_one()) if _is_sqlite(db) else 0


@cache
def _script() -> ScriptDirectory:
    return ScriptDirectory(str(Path(__file__).parent))


def _config(db: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = db
    return config
