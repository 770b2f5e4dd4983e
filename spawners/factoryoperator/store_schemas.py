"""Reads the migration step of each database of a gateway, and migrates the databases that are too old for this release.

The databases (stores) are the hub's database, the file with the names of people who log in at a provider or as a guest,
the ledger, and the database of workshops.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from factorycommon.service.database import Database
from factorylink.ledger import migrations
from factorylink.ledger.ledger import Ledger, LedgerError
from factoryoperator.gateway import Gateway
from factoryspawner.config import hub_database
from factoryspawner.config.errors import StoreUnusable
from factoryspawner.login import people
from workshops.store import migrations as workshops_migrations
from workshops.store.store import Store, StoreError


class SchemaError(Exception):
    """Raised if a store cannot be read or migrated. The message is for the operator."""


@dataclass(frozen=True)
class StoreSchema:
    """A database of the gateway with its migration step.

    ``name``: its name on the command line; ``what``: its name in a backup; ``step``: its present migration step;
    ``needs``: the migration step that this release needs; ``owner``: the uid of the account that migrates the store;
    ``upgrade``: migrates the store; raises SchemaError if this fails.
    """

    name: str
    what: str
    step: str
    needs: str
    owner: int
    upgrade: Callable[[], None]

    @property
    def is_old(self) -> bool:
        """Return True if the store must be migrated."""
        return self.step != self.needs

    def __str__(self) -> str:
        return f"{self.what}: step {self.step}" + (f", this release needs {self.needs}" if self.is_old else "")


def of(gateway: Gateway, only: Iterable[str] | None = None) -> list[StoreSchema]:
    """Return the existing stores in the order of their migration. ``only``: the names of the stores; None: all.

    Raises SchemaError if one of the stores is of a newer release, or cannot be opened.
    """
    looks = {
        "hub": _hub,
        "people": _people,
        "ledger": _ledger,
        "workshops": _workshops,
    }  # in the order of their migration
    try:
        found = [look(gateway) for name, look in looks.items() if only is None or name in only]
    except (StoreUnusable, hub_database.DatabaseAway) as error:
        raise SchemaError(str(error)) from error
    return [store for store in found if store is not None]


def upgrade(gateway: Gateway, only: Iterable[str] | None = None) -> list[StoreSchema]:
    """Migrate the old stores; return these stores, with their steps before the migration. Raises SchemaError.

    ``only``: the names of the stores; None: all.
    """
    old = [store for store in of(gateway, only) if store.is_old]
    for store in old:
        store.upgrade()
    return old


def _owner(*paths: Path | None) -> int:
    """Return the uid of the owner of the first file that exists; if none exists, this process's uid."""
    found = next((path.stat().st_uid for path in paths if path is not None and path.exists()), None)
    return os.geteuid() if found is None else found


def _hub(gateway: Gateway) -> StoreSchema | None:
    config = gateway.hub.config
    if config is None:
        return None
    found = hub_database.schema(config.database)
    if found.step is None:
        return None

    def upgrade() -> None:
        try:
            hub_database.upgrade(config.database)
        except StoreUnusable as error:
            raise SchemaError(str(error)) from error

    owner = _owner(config.db_file, config.cookie_secret_file)
    return StoreSchema("hub", "the hub's database", found.step, found.head, owner, upgrade)


def _people(gateway: Gateway) -> StoreSchema | None:
    config = gateway.hub.config
    if config is None or config.login is None:
        return None
    file = config.login.people_file
    version = people.schema_of(file)
    if version is None:
        return None

    def upgrade() -> None:
        try:
            people.upgrade(file)
        except StoreUnusable as error:
            raise SchemaError(str(error)) from error

    return StoreSchema("people", "who has which name", str(version), str(people.SCHEMA), _owner(file), upgrade)


def _ledger(gateway: Gateway) -> StoreSchema | None:
    config = gateway.link.config
    if config is None or not config.database.exists():
        return None
    database = config.database

    def upgrade() -> None:
        try:
            asyncio.run(_open(Ledger(database, alone=True)))
        except LedgerError as error:
            raise SchemaError(str(error)) from error

    file = Path(str(database.url.database)) if database.url.get_backend_name() == "sqlite" else None
    owner = _owner(file, config.state_dir)
    return StoreSchema("ledger", "the ledger", _ledger_step(database), migrations.head(), owner, upgrade)


def _ledger_step(database: Database) -> str:
    try:
        engine = database.engine()
        try:
            with engine.connect() as db:
                return migrations.is_at(db) or "none"
        finally:
            engine.dispose()
    except migrations.NewerDatabase as error:
        raise SchemaError(
            f"The ledger {database} has {error}: install the release that wrote it, or a newer one."
        ) from error
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise SchemaError(f"The ledger {database} cannot be opened: {error}") from error


def _workshops(gateway: Gateway) -> StoreSchema | None:
    config = gateway.workshops.config
    if config is None or not config.store.exists():
        return None
    database = config.store

    def upgrade() -> None:
        try:
            asyncio.run(_open(Store(database)))
        except StoreError as error:
            raise SchemaError(str(error)) from error

    file = Path(str(database.url.database)) if database.url.get_backend_name() == "sqlite" else None
    owner = _owner(file, config.state_dir)
    step, needs = _workshops_step(database), workshops_migrations.head()
    return StoreSchema("workshops", "the workshops", step, needs, owner, upgrade)


def _workshops_step(database: Database) -> str:
    try:
        engine = database.engine()
        try:
            with engine.connect() as db:
                return workshops_migrations.is_at(db) or "none"
        finally:
            engine.dispose()
    except workshops_migrations.NewerStore as error:
        raise SchemaError(
            f"The database of workshops {database} has {error}: install the release that wrote it, or a newer one."
        ) from error
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise SchemaError(f"The database of workshops {database} cannot be opened: {error}") from error


async def _open(ledger: Ledger | Store) -> None:
    try:
        await ledger.open()
    finally:
        await ledger.close()
