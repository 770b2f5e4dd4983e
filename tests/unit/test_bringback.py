"""The link starts servers again that the hub has forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.unit.fake_factory import ID, OTHER
from tests.unit.fake_hub import Link, served


@pytest_asyncio.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    async with served(tmp_path) as made:
        yield made


async def test_servers_that_the_hub_forgot_are_started_again(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factorylink.background.hub_recovery._YOUNG_SECONDS", -1)
    await link.world.running(ID)
    await link.world.put(OTHER, "ben", "second")
    await link.world.put("1" * 32, "ben", "third")
    await link.world.put("2" * 32, "nobody-any-more")
    link.hub.users["ben"]["third"] = {"ready": False, "pending": "spawn"}
    await link.bring_back.look()
    assert sorted(link.hub.started) == [("ada", ""), ("ben", "second")]
    await link.bring_back.look()
    assert len(link.hub.started) == 2
    link.hub.users["ada"].clear()
    await link.client.stop(ID, "person")
    await link.bring_back.look()
    assert len(link.hub.started) == 2
    await link.world.comes(lambda: link.world.scheduler.cancelled == ["1"])  # by the stop, and not otherwise


async def test_a_postponed_start_is_repeated_soon(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factorylink.background.hub_recovery._YOUNG_SECONDS", 600)
    await link.world.put()
    assert await link.bring_back.look()  # the session is too young
    assert not link.hub.started
    monkeypatch.setattr("factorylink.background.hub_recovery._YOUNG_SECONDS", -1)
    link.hub.users["ada"][""] = {"ready": False, "pending": "check"}
    assert await link.bring_back.look()
    link.hub.users["ada"].clear()
    link.hub.busy = 1
    assert await link.bring_back.look()
    assert not link.hub.started
    assert not await link.bring_back.look()
    assert link.hub.started == [("ada", "")]
    assert not await link.bring_back.look()  # the hub knows it now


async def test_a_hub_that_refuses_a_start_is_asked_less_often(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factorylink.background.hub_recovery._YOUNG_SECONDS", -1)
    monkeypatch.setattr("factorylink.background.hub_recovery._REFUSALS", 2)
    await link.world.put()
    link.hub.busy = 3
    assert [await link.bring_back.look() for _ in range(2)] == [True, False]


async def test_a_token_that_is_readable_again_brings_servers_back(
    link: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, seconds in {"_SETTLE": 0.0, "_AGAIN": 0.0, "_ROUND": 0.05, "_YOUNG": -1}.items():
        monkeypatch.setattr(f"factorylink.background.hub_recovery.{name}_SECONDS", seconds)
    await link.world.put()
    (tmp_path / "token").write_bytes(b"\xff")
    running = asyncio.create_task(link.bring_back.run())
    async with asyncio.timeout(30):
        while "cannot be read" not in caplog.text:
            await asyncio.sleep(0.02)
        (tmp_path / "token").write_text("service-token")
        while not link.hub.started:
            await asyncio.sleep(0.02)
    running.cancel()


async def test_the_link_looks_again_soon_while_a_server_is_put_off(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"_SETTLE": 0.0, "_AGAIN": 0.0, "_SOON": 0.05, "_YOUNG": 0.3}.items():
        monkeypatch.setattr(f"factorylink.background.hub_recovery.{name}_SECONDS", seconds)
    await link.world.put()
    running = asyncio.create_task(link.bring_back.run())
    async with asyncio.timeout(30):  # the regular check would be after 45 s
        while not link.hub.started:
            await asyncio.sleep(0.02)
    running.cancel()
