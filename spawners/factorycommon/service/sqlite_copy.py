"""Copies SQLite databases while programs may be writing to them, and puts such copies back."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

_COPY_SECONDS = 60.0  # seconds to wait for another program's write to a database


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a database while programs write to it. Raises sqlite3.Error, also if the copy is damaged.

    The copy is one file with the state at one moment.
    """
    there = f"{source.absolute().as_uri()}?mode=rw"  # mode=rw never creates a missing database
    with (
        closing(sqlite3.connect(there, uri=True, timeout=_COPY_SECONDS)) as database,
        closing(sqlite3.connect(target)) as copy,
    ):
        database.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # otherwise the copy would need two more files
        verdict = copy.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"the copy is not whole: {verdict}")


def copy_before_migration(database: Path, step: str) -> Path:
    """Copy a database into a file of mode 0600 beside it; return the path of that file.

    ``step``: the version of the database's tables before the migration; the copy's name ends in it. An earlier copy
    with the same ``step`` is replaced, so that a program that starts again and again does not fill the disk. Raises
    sqlite3.Error, OSError.
    """
    target = database.with_name(f"{database.name}.at-{step}")
    fresh = target.with_name(f"{target.name}.new")
    fresh.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    copy_sqlite(database, fresh)
    fresh.replace(target)
    return target


def put_back(copy: Path, database: Path) -> None:
    """Replace the content of a database by that of its copy. Raises sqlite3.Error."""
    with (
        closing(sqlite3.connect(copy)) as kept,
        closing(sqlite3.connect(database, timeout=_COPY_SECONDS)) as target,
    ):
        kept.backup(target)
