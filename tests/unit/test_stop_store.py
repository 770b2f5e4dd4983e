"""The table of stop requests in the hub's database, and what is written to it while the link does not answer."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy.exc import SQLAlchemyError

from factorycommon.link_errors import LinkSilent
from factorycommon.models import SessionId
from factorylink.client import By, LinkClient
from factoryspawner.config.hub_sqlite import HubConnection
from factoryspawner.stop_requests import NotKept, StopRequests, StopStore

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


class FullStore(StopStore):
    """A store that takes no change while ``full``. ``changed``: set after each change that it took."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.full, self.changed = True, threading.Event()

    def change(self, added: Mapping[SessionId, By], removed: Iterable[SessionId]) -> None:
        if self.full:
            raise SQLAlchemyError("the disk is full")
        super().change(added, removed)
        self.changed.set()

    async def until_changed(self) -> None:
        assert await asyncio.to_thread(self.changed.wait, 30)
        self.changed.clear()


class StopLink:
    """A link that accepts stops only while it is ``up``."""

    up = False

    async def stop_all(self, stops: Mapping[SessionId, By]) -> frozenset[SessionId]:
        if not self.up:
            raise LinkSilent("connection refused")
        return frozenset(stops)


async def test_a_stop_that_the_database_did_not_take_is_written_later(tmp_path: Path) -> None:
    store, link = FullStore(f"sqlite:///{tmp_path / 'hub.sqlite'}"), StopLink()
    requests = StopRequests(cast(LinkClient, link))
    requests.keep_in(store)
    one, other = "a" * 32, "b" * 32
    with pytest.raises(NotKept):
        await requests.keep([one], "person")
    store.full = False
    await store.until_changed()  # without a further request
    assert store.load() == {one: "person"}
    store.full, link.up = True, True
    await requests.held(one, "person")
    store.full, link.up = False, False
    await requests.keep([other])
    await store.until_changed()
    assert store.load() == {other: "hub"}  # the stop that the ledger holds is removed with the next write
    await requests.close()


async def test_a_stop_right_before_the_hub_ends_is_written(tmp_path: Path) -> None:
    store = StopStore(f"sqlite:///{tmp_path / 'hub.sqlite'}")
    requests = StopRequests(cast(LinkClient, StopLink()))
    requests.keep_in(store)
    stopping = asyncio.create_task(requests.held("a" * 32, "person"))
    await asyncio.sleep(0)
    await requests.close()
    assert store.load() == {"a" * 32: "person"}
    stopping.cancel()
