"""The time of Prometheus scrapes, during which the link's event loop answers nobody else."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx

from factorylink.api.metrics_view import metrics_app
from tests.unit.fake_factory import World
from tests.unit.many_sessions import many
from tests.unit.serving import serving

SESSIONS = 1000
SCRAPE = 0.2  # seconds
AT_ONCE = 100
ANSWER = 2.0  # seconds


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


async def test_a_hundred_scrapes_at_once_keep_nobody_waiting(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    await many(world, SESSIONS)
    try:
        async with (
            serving(metrics_app(world.parts.metrics)) as url,
            httpx.AsyncClient(base_url=url, timeout=60) as http,
        ):
            await http.get("/health")
            began = time.monotonic()
            scrapes = [asyncio.create_task(http.get("/metrics")) for _ in range(AT_ONCE)]
            await asyncio.sleep(0)
            assert (await http.get("/health")).status_code == 200
            waited = time.monotonic() - began
            answers = await asyncio.gather(*scrapes)
    finally:
        await world.down()
    assert {answer.status_code for answer in answers} == {200}
    assert waited < ANSWER, waited
