"""The hub's SQLite file: commits wait for no disk, and are not lost by a hub that is killed."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
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
    found = {name: db.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")}
    assert found == {"journal_mode": "wal", "synchronous": 1}
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


async def test_commits_are_brought_to_the_disk_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_sqlite, "FLUSH_SECONDS", 0.01)
    flushed = asyncio.Queue[str]()
    loop, really = asyncio.get_running_loop(), hub_sqlite.flush

    def flush(database: str) -> None:
        really(database)
        loop.call_soon_threadsafe(flushed.put_nowait, database)

    monkeypatch.setattr(hub_sqlite, "flush", flush)
    path = tmp_path / "hub.sqlite"
    database = sqlite3.connect(path, factory=HubConnection, check_same_thread=False)
    database.execute("CREATE TABLE users (name TEXT)")
    for name in ("ada", "ben"):
        database.execute("INSERT INTO users VALUES (?)", (name,))
        database.commit()
    async with asyncio.timeout(60):
        assert await flushed.get() == str(path)
    shutil.copy(path, tmp_path / "copy.sqlite")  # without the log, as it is after a power cut that lost the log
    assert names(tmp_path / "copy.sqlite") == ["ada", "ben"]
    database.execute("SELECT * FROM users").fetchall()
    database.commit()  # this one has changed nothing
    database.execute("INSERT INTO users VALUES ('cleo')")
    database.commit()
    async with asyncio.timeout(60):
        await flushed.get()
    assert flushed.empty()
    database.close()


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
