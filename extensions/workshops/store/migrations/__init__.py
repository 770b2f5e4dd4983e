"""Migrates the service's database to the tables of this release, on SQLite and PostgreSQL; ``versions`` has the steps.

A step is never changed after its release, since databases of running gateways have been through it.
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

import workshops.store.act_table
import workshops.store.check_table
import workshops.store.hand_table
import workshops.store.joining_tables
import workshops.store.material_tables
import workshops.store.rehearsal_table
import workshops.store.room_tables
import workshops.store.seat_tables  # noqa: F401  (they are the service's, too)
from factorycommon.service.database import begin_migration
from workshops.store.schema import metadata

log = logging.getLogger("workshops")

_LOCK = 0x776F726B73686F  # key of PostgreSQL's advisory lock


class NewerStore(Exception):
    """Raised if a newer release has migrated the database, so that this release cannot use it."""


def upgrade(db: Connection) -> None:
    """Change the database to this release's tables, and commit. Raises NewerStore, and SQLAlchemy's errors."""
    # All steps in one transaction, so that two processes that start at once cannot both make them.
    begin_migration(db, _LOCK)
    known = is_at(db)
    if known != head():
        log.info("The database of workshops is brought from step %s to %s", known or "none", head())
        if known is None and "workshops" not in inspect(db).get_table_names():
            metadata.create_all(db)  # a test checks that this equals the result of all steps
            MigrationContext.configure(db).stamp(_script(), "head")
        else:
            command.upgrade(_config(db), "head")
    db.commit()


def head() -> str:
    """Return the id of the last migration step; a database that has been through it has this release's tables."""
    return str(_script().get_current_head())


def is_at(db: Connection) -> str | None:
    """Return the id of the last migration step that the database has been through; None: it has been through none.

    Raises NewerStore if the step is one of a newer release.
    """
    found = MigrationContext.configure(db).get_current_revision()
    if found is not None and found not in {step.revision for step in _script().walk_revisions()}:
        raise NewerStore(f"step {found}, and this service reads steps up to {head()}")
    return found


@cache
def _script() -> ScriptDirectory:
    return ScriptDirectory(str(Path(__file__).parent))


def _config(db: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = db
    return config
