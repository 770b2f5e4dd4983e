"""Stores which user name each person of a login provider, and each guest, has at this hub; a name never changes.

The names are in one SQLite file, with the antenna that the person selected and the terms that they accepted. No name is
given twice, and none is withdrawn: a person who leaves and returns still has their sessions and files.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from factorycommon.service.sqlite_copy import copy_before_migration
from factoryspawner.config.errors import StoreUnusable

log = logging.getLogger("factoryspawner")

SCHEMA = 1  # the file's schema version, stored in ``user_version``; files of the first releases have 0
_TABLE = """
CREATE TABLE IF NOT EXISTS people (
    issuer TEXT NOT NULL,
    sub TEXT NOT NULL,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    antenna TEXT,
    terms TEXT,
    terms_at TEXT,
    since TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (issuer, sub)
)
"""
_SINCE_TERMS = ("terms", "terms_at")  # columns that files of the first releases lack


def schema_of(path: Path) -> int | None:
    """Return the schema version of a file of names; None if the file is missing or empty.

    Raises StoreUnusable if the version is newer than this release's, or if the file cannot be read.
    """
    if not path.exists() or not path.stat().st_size:
        return None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as database:
            version = int(database.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        raise StoreUnusable(f"login.people_file: {path} cannot be read: {error}") from error
    if version > SCHEMA:
        raise StoreUnusable(
            f"login.people_file: {path} has schema version {version}, and this release reads versions up to {SCHEMA}: "
            "install the release that wrote it, or a newer one."
        )
    return version


def upgrade(path: Path) -> int | None:
    """Migrate a file of names to this release's schema; return the file's earlier schema version.

    Makes a copy beside the file first. None: nothing had to be done. Raises StoreUnusable if the file is from a newer
    release, or cannot be read, copied or migrated; the file is then unchanged.
    """
    version = schema_of(path)
    if version is None or version == SCHEMA:
        return None
    try:
        copy_before_migration(path, str(version))
        with _transaction(path) as database:
            _to_first(database)
            database.execute(f"PRAGMA user_version = {SCHEMA}")
    except (OSError, sqlite3.Error) as error:
        raise StoreUnusable(f"login.people_file: {path} cannot be brought to version {SCHEMA}: {error}") from error
    log.info("The file of names is brought from schema version %d to %d", version, SCHEMA)
    return version


def _to_first(database: sqlite3.Connection) -> None:
    """Migrate the file to schema version 1: create the table, or add its missing columns.

    This function must never change; each later version needs a migration function of its own.
    """
    database.execute(_TABLE)
    there = {row[1] for row in database.execute("PRAGMA table_info(people)")}
    for column in _SINCE_TERMS:
        if column not in there:
            database.execute(f"ALTER TABLE people ADD COLUMN {column} TEXT")


@contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")


class NameTaken(Exception):
    """Raised if a name for a person or a guest already belongs to another person in the file of names."""


class People:
    """The file of names: the user names that people of a login provider, and guests, have at this hub.

    ``issuer`` and ``sub`` identify a person.

    Creating an instance makes the file with mode 0600 if it is missing, or migrates it to this release's schema. Raises
    StoreUnusable if the file is from a newer release, or cannot be read or migrated; OSError if the file cannot be
    opened or made; sqlite3.Error if a file that needs no migration cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        upgrade(path)
        with _transaction(path) as database:
            _to_first(database)
            database.execute(f"PRAGMA user_version = {SCHEMA}")

    def name(self, issuer: str, sub: str) -> str | None:
        """Return the name of a person who has logged in before; None for anybody else."""
        return self._one("SELECT name FROM people WHERE issuer = ? AND sub = ?", issuer, sub)

    def antenna(self, issuer: str, sub: str) -> str | None:
        """Return the id of the antenna that the person selected last; None if they selected none."""
        return self._one("SELECT antenna FROM people WHERE issuer = ? AND sub = ?", issuer, sub)

    def pick(self, issuer: str, sub: str, antenna: str) -> None:
        """Store the id of the antenna that the person selected; do nothing if the person is not in the file."""
        with _transaction(self._path) as database:
            database.execute("UPDATE people SET antenna = ? WHERE issuer = ? AND sub = ?", (antenna, issuer, sub))

    def accepted(self, name: str, version: str) -> datetime | None:
        """Return when the person accepted ``version`` of the terms.

        None if they last accepted another version, or none.
        """
        at = self._one("SELECT terms_at FROM people WHERE name = ? AND terms = ?", name, version)
        return None if at is None else datetime.fromisoformat(at).replace(tzinfo=UTC)

    def accept(self, name: str, version: str) -> None:
        """Record that the person accepts ``version`` of the terms, and when; does nothing for an unknown name."""
        with _transaction(self._path) as database:
            database.execute(
                "UPDATE people SET terms = ?, terms_at = CURRENT_TIMESTAMP WHERE name = ?", (version, name)
            )

    def admit(self, issuer: str, sub: str, begin: str, taken: Callable[[str], bool]) -> str:
        """Return the person's name: their present name, or a new one of the form ``BEGIN-N``.

        N is higher than in every name ``BEGIN-N`` in the file. ``taken(name)``: whether somebody who is not in the
        file has this name; such a name is not given.
        """
        with _transaction(self._path) as database:
            known = database.execute("SELECT name FROM people WHERE issuer = ? AND sub = ?", (issuer, sub)).fetchone()
            if known is not None:
                return str(known[0])
            beginning = database.execute("SELECT name FROM people WHERE name GLOB ?", (f"{begin}-[0-9]*",))
            numbers = [name.rpartition("-")[2] for (name,) in beginning]
            number = max((int(one) for one in numbers if one.isdecimal()), default=0) + 1
            while taken(f"{begin}-{number}"):
                number += 1
            name = f"{begin}-{number}"
            database.execute("INSERT INTO people (issuer, sub, name) VALUES (?, ?, ?)", (issuer, sub, name))
        return name

    def admit_as(self, issuer: str, sub: str, name: str) -> str:
        """Return the person's name: their present name, or else ``name``, which becomes theirs.

        Raises NameTaken if another person has ``name``.
        """
        with _transaction(self._path) as database:
            known = database.execute("SELECT name FROM people WHERE issuer = ? AND sub = ?", (issuer, sub)).fetchone()
            if known is not None:
                return str(known[0])
            try:
                database.execute("INSERT INTO people (issuer, sub, name) VALUES (?, ?, ?)", (issuer, sub, name))
            except sqlite3.IntegrityError as error:
                raise NameTaken(name) from error
        return name

    def _one(self, query: str, *values: str) -> str | None:
        with closing(sqlite3.connect(self._path)) as database:
            row = database.execute(query, values).fetchone()
        return row[0] if row is not None else None
