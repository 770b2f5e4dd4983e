"""The hub's SQLite file: commits wait for no disk, and are not lost by a hub that is killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from jupyterhub import orm
from sqlalchemy import create_engine, text

from factoryspawner.config import hub_sqlite
from factoryspawner.config.hub_sqlite import HubConnection, engine_options

# Writes one row as the hub does, and is then killed.
KILLED = """
import os, signal, sys
from jupyterhub import orm
from factoryspawner.config.hub_sqlite import engine_options
url = sys.argv[1]
db = orm.new_session_factory(url, **engine_options(url))()
db.add(orm.User(name="ada"))
db.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'hub.sqlite'}"


def names(path: Path) -> list[str]:
    database = sqlite3.connect(path)
    try:
        return [row[0] for row in database.execute("SELECT name FROM users ORDER BY name")]
    finally:
        database.close()


def test_jupyterhub_gets_a_write_ahead_log(tmp_path: Path) -> None:
    db = orm.new_session_factory(url(tmp_path), **engine_options(url(tmp_path)))()
    expected = {
        "journal_mode": "wal",
        "synchronous": 1,
        "wal_autocheckpoint": 50_000,  # pages: never before the thread copies the log
        "journal_size_limit": hub_sqlite.LONGEST_LOG // 2,
    }
    assert {name: db.execute(text(f"PRAGMA {name}")).scalar() for name in expected} == expected
    assert db.execute(text("PRAGMA foreign_keys")).scalar() == 1  # as JupyterHub sets it
    db.close()


def test_a_killed_hub_loses_no_commit(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, url(tmp_path)], check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert names(tmp_path / "hub.sqlite") == ["ada"]


def test_a_database_of_an_earlier_release_is_used_as_it_is(tmp_path: Path) -> None:
    old = orm.new_session_factory(url(tmp_path))()
    old.add(orm.User(name="ada"))
    old.commit()
    old.close()
    db = orm.new_session_factory(url(tmp_path), **engine_options(url(tmp_path)))()
    assert [user.name for user in db.query(orm.User)] == ["ada"]
    db.close()


@pytest.mark.parametrize("url", ["postgresql://hub@h/hub", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_keep_their_settings(url: str) -> None:
    assert engine_options(url) == {}


class Disk:
    """A SQLite database that is opened as the hub opens it, and what the hub's thread does with its file.

    ``done``: a queue that gets the name of each call of ``flush`` or ``checkpoint`` when the call has ended.
    """

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.done = asyncio.Queue[str]()
        self.log = path.with_name(f"{path.name}-wal")
        loop, sync = asyncio.get_running_loop(), os.fsync

        def fsync(descriptor: int) -> None:
            assert os.path.samestat(os.fstat(descriptor), self.log.stat())
            sync(descriptor)

        def noted(name: str) -> None:
            really = getattr(hub_sqlite, name)

            def call(database: str) -> object:
                found = really(database)
                loop.call_soon_threadsafe(self.done.put_nowait, name)
                return found

            monkeypatch.setattr(hub_sqlite, name, call)

        monkeypatch.setattr(hub_sqlite, "FLUSH_SECONDS", 0.01)
        monkeypatch.setattr(hub_sqlite, "REST_SECONDS", 600.0)
        monkeypatch.setattr(os, "fsync", fsync)
        self.database = sqlite3.connect(path, factory=HubConnection, check_same_thread=False)
        self.flusher = self.database._flusher
        self.database.execute("CREATE TABLE users (name TEXT)")
        hub_sqlite.checkpoint(str(path))
        noted("flush")
        noted("checkpoint")

    def add(self, *users: str) -> None:
        for name in users:
            self.database.execute("INSERT INTO users VALUES (?)", (name,))
            self.database.commit()

    async def next(self) -> str:
        async with asyncio.timeout(60):
            return await self.done.get()

    def copied(self) -> list[str]:
        """Return the users in a copy of the database file, which lacks SQLite's log."""
        copy = self.path.with_name("copy.sqlite")
        shutil.copy(self.path, copy)
        return names(copy)


@pytest.fixture
async def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Disk]:
    made = Disk(tmp_path / "hub.sqlite", monkeypatch)
    yield made
    made.database.close()


async def test_commits_are_brought_to_the_disk_together(disk: Disk) -> None:
    disk.add("ada", "ben")
    assert await disk.next() == "flush"
    disk.database.execute("SELECT * FROM users").fetchall()
    disk.database.commit()  # this one has changed nothing
    await asyncio.sleep(10 * hub_sqlite.FLUSH_SECONDS)
    assert disk.done.empty()
    disk.add("cleo")
    assert await disk.next() == "flush"
    assert disk.done.empty()


async def test_the_log_is_copied_when_the_hub_has_rested(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_sqlite, "REST_SECONDS", 1.0)
    disk.add("ada")
    assert await disk.next() == "flush"
    assert disk.copied() == []
    assert await disk.next() == "checkpoint"
    assert disk.copied() == ["ada"]


async def test_the_log_is_not_copied_while_commits_go_on(disk: Disk) -> None:
    disk.add("ada")
    assert await disk.next() == "flush"
    rest = disk.flusher._rest
    assert rest is not None
    disk.add("ben")
    assert rest.cancelled()
    assert await disk.next() == "flush"
    assert disk.flusher._rest is not None
    assert not disk.flusher._rest.cancelled()


async def test_a_long_log_is_copied_at_once_and_then_begun_anew(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_sqlite, "LONGEST_LOG", 100_000)
    disk.database.execute("PRAGMA journal_size_limit=50000")
    disk.add("a" * 200_000)
    assert sorted([await disk.next() for _ in range(2)]) == ["checkpoint", "flush"]
    assert disk.copied() == ["a" * 200_000]
    disk.add("ben")
    assert disk.log.stat().st_size <= 50_000


async def test_the_log_of_a_linked_file_is_found(tmp_path: Path) -> None:
    """SQLite keeps its log beside the real file, and not beside a symbolic link to it."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "hub.sqlite").symlink_to(tmp_path / "elsewhere" / "real #1?.sqlite")
    database = sqlite3.connect(tmp_path / "hub.sqlite", factory=HubConnection)
    database.execute("CREATE TABLE users (name TEXT)")
    file = database._flusher._database
    assert hub_sqlite.flush(file) > 0
    hub_sqlite.checkpoint(file)
    shutil.copy(tmp_path / "elsewhere" / "real #1?.sqlite", tmp_path / "copy.sqlite")
    assert names(tmp_path / "copy.sqlite") == []
    database.close()


async def test_a_database_without_a_log_needs_no_flush(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite"
    sqlite3.connect(path, factory=HubConnection).close()  # the last connection removes the log
    assert hub_sqlite.flush(str(path)) == 0


def test_a_folder_without_a_write_ahead_log_keeps_safe_commits(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE users (name TEXT)")
    other.execute("BEGIN EXCLUSIVE")  # the mode cannot be changed now
    database = sqlite3.connect(path, factory=HubConnection, timeout=0)
    other.execute("ROLLBACK")
    assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    for each in (database, other):
        each.close()


@pytest.mark.parametrize(
    ("database", "asked"), [("sqlite:///:memory:", 0), ("postgresql+psycopg://nobody@localhost/x", 1)]
)
def test_only_a_database_server_is_asked_whether_its_connection_works(
    database: str, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[object] = []
    monkeypatch.setattr(orm, "register_ping_connection", orm.register_ping_connection)  # restored after the test
    hub_sqlite.ping_no_files()
    assert "register_ping_connection" in orm.new_session_factory.__code__.co_names
    engine = create_engine(database)
    hub_sqlite._ping_server(engine, registered.append)
    orm.register_ping_connection(engine)
    assert len(registered) == asked
    assert bool(engine.dispatch.engine_connect) is bool(asked)
