"""The table of stop requests in the hub's database."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from factoryspawner.config.hub_sqlite import HubConnection
from factoryspawner.stop_requests import StopStore

ROWS = 3000  # with 4 KiB each, the log has three times as many pages as SQLite copies at a commit by default


def test_a_stop_is_stored_without_copying_what_the_hub_has_written(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite"
    hub = sqlite3.connect(path, factory=HubConnection)
    hub.execute("CREATE TABLE written (text TEXT)")
    hub.executemany("INSERT INTO written VALUES (?)", (("x" * 4096,) for _ in range(ROWS)))
    hub.commit()
    store = StopStore(f"sqlite:///{path}")
    store.change({"a" * 32: "person"}, ())
    assert path.stat().st_size < ROWS * 4096 / 10
    assert store.load() == {"a" * 32: "person"}
    hub.close()


def test_stops_are_read_again_by_the_next_hub(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite"
    StopStore(f"sqlite:///{path}").change({"a" * 32: "person", "b" * 32: "operator"}, ())
    shutil.copy(path, tmp_path / "next.sqlite")
    later = StopStore(f"sqlite:///{tmp_path / 'next.sqlite'}")
    later.change({}, ["a" * 32])
    assert later.load() == {"b" * 32: "operator"}
