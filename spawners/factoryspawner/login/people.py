"""Stores the name at this hub of each identity of a provider; a name never changes.

The names are in one SQLite file. No name is given twice, and none is withdrawn: a person who leaves and returns still
has their sessions and files.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

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


class NameTaken(Exception):
    """Raised if the name that an operator configured for a person belongs to another person."""


class People:
    """The file of names, made 0600 if it is missing. ``issuer`` and ``sub`` identify a person."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with self._writing() as database:
            database.execute(_TABLE)

    def name(self, issuer: str, sub: str) -> str | None:
        """Return the name of a person who has logged in before; None for anybody else."""
        return self._one("SELECT name FROM people WHERE issuer = ? AND sub = ?", issuer, sub)

    def antenna(self, issuer: str, sub: str) -> str | None:
        """Return the antenna that the person selected last."""
        return self._one("SELECT antenna FROM people WHERE issuer = ? AND sub = ?", issuer, sub)

    def pick(self, issuer: str, sub: str, antenna: str) -> None:
        """Store the antenna that the person selected."""
        with self._writing() as database:
            database.execute("UPDATE people SET antenna = ? WHERE issuer = ? AND sub = ?", (antenna, issuer, sub))

    def accepted(self, name: str, version: str) -> datetime | None:
        """Return when the person accepted that version of the terms.

        None if they last accepted another version, or none.
        """
        at = self._one("SELECT terms_at FROM people WHERE name = ? AND terms = ?", name, version)
        return None if at is None else datetime.fromisoformat(at).replace(tzinfo=UTC)

    def accept(self, name: str, version: str) -> None:
        """Record that the person accepts the terms, and the time."""
        with self._writing() as database:
            database.execute(
                "UPDATE people SET terms = ?, terms_at = CURRENT_TIMESTAMP WHERE name = ?", (version, name)
            )

    def admit(self, issuer: str, sub: str, begin: str, taken: Callable[[str], bool]) -> str:
        """Return the person's name: an existing one, or a new one, ``BEGIN-N``.

        N is the first number for which the name was never given to anybody, and is not ``taken`` by a person without a
        provider.
        """
        with self._writing() as database:
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
        """Return the person's name: an existing one, or ``name``, which an operator configured.

        Raises NameTaken if it belongs to another person.
        """
        with self._writing() as database:
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

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
