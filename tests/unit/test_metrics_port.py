"""The link's port for Prometheus, scraped by many clients at once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx

from factorylink.api.metrics_view import metrics_app
from tests.unit.fake_factory import World
from tests.unit.many_sessions import many
from tests.unit.serving import serving

AT_ONCE = 100


async def test_a_hundred_scrapes_at_once_keep_nobody_waiting(tmp_path: Path) -> None:
    """Clients that ask at the same time get the same answer, so the metrics are computed only once or twice."""
    world = await World(tmp_path).up()
    await many(world, 1000)
    counted: list[float] = []

    def metrics() -> bytes:
        counted.append(time.monotonic())
        return world.parts.metrics()

    try:
        async with serving(metrics_app(metrics)) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
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
    assert all('factorygate_sessions{factory="one",state="pending"} 501.0' in answer.text for answer in answers)
    assert len(counted) <= AT_ONCE / 4
    assert waited < 2, waited
