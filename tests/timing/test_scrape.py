"""The time of a Prometheus scrape, during which the link's event loop answers nobody else."""

from __future__ import annotations

import time
from pathlib import Path

from tests.unit.fake_factory import World
from tests.unit.many_sessions import many

SESSIONS = 1000
SCRAPE = 0.2  # seconds


async def test_a_scrape_of_1000_sessions_is_answered_soon(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    try:
        await many(world, SESSIONS)
        took = []
        for _ in range(5):
            began = time.perf_counter()
            text = world.parts.metrics()
            took.append(time.perf_counter() - began)
        assert b'factorygate_sessions{factory="one",state="pending"} 501.0' in text
        assert min(took) < SCRAPE, took
    finally:
        await world.down()
