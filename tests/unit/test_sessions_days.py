"""A session that waits in the queue for days, whatever happens to the gateway, is found again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from factorylink.ledger import ledger as ledger_module
from factorylink.util import clock
from tests.unit import virtual_time
from tests.unit.fake_factory import ID, World

HOUR, DAY = 3600.0, 86400.0


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[virtual_time.JumpingLoop]:
    made = virtual_time.JumpingLoop()
    virtual_time.use(made, monkeypatch)
    monkeypatch.setattr(ledger_module, "ThreadPoolExecutor", lambda *a, **k: virtual_time.InlineThread())
    yield made
    made.close()


def test_a_session_that_waits_for_a_week_is_still_there(loop: virtual_time.JumpingLoop, tmp_path: Path) -> None:
    async def a_week() -> None:
        world = await World(tmp_path).up()
        first = await world.put()
        for day in range(7):
            for _ in range(24):
                world.scheduler.up = True
                await world.scheduler.answer()
                world.scheduler.up = False  # silent until the next hour
                assert (await world.session()).before == "pending"
                await asyncio.sleep(HOUR)
            world.scheduler.up = True
            if day % 2:
                await world.down()
                await world.up()
        await world.scheduler.answer()
        session = await world.session()
        assert (session.id, session.job, session.state, session.wish) == (ID, first.job, "pending", "run")
        assert (clock.now() - session.created).days == 7
        assert await world.sessions.sessions("ada", "", True, 10) == [session]

        assert session.job is not None
        world.scheduler.runs(session.job)
        await world.scheduler.answer()
        await asyncio.sleep(10 * 60)  # nobody can send the environment: the door waits
        assert (await world.session()).state == "starting"
        world.door_says(phase="up", environment=True)
        await asyncio.sleep(1)
        assert (await world.session()).state == "running"
        assert (await world.session()).url == first.url
        assert len(world.scheduler.submitted) == 1
        assert not world.scheduler.cancelled
        await world.down()

    loop.run_until_complete(a_week())
