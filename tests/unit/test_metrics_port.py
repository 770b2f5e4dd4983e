"""The link's port for Prometheus, scraped by many clients at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from factorylink.api.metrics_view import metrics_app
from tests.unit.fake_factory import World
from tests.unit.many_sessions import many
from tests.unit.serving import serving

AT_ONCE = 100


async def test_a_hundred_scrapes_at_once_are_computed_few_times(tmp_path: Path) -> None:
    """Clients that ask at the same time get the same answer."""
    world = await World(tmp_path).up()
    await many(world, 1000)
    counted = 0

    def metrics() -> bytes:
        nonlocal counted
        counted += 1
        return world.parts.metrics()

    try:
        async with serving(metrics_app(metrics)) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
            answers = await asyncio.gather(*(http.get("/metrics") for _ in range(AT_ONCE)))
    finally:
        await world.down()
    assert {answer.status_code for answer in answers} == {200}
    assert all('factorygate_sessions{factory="one",state="pending"} 501.0' in answer.text for answer in answers)
    assert counted <= AT_ONCE / 4
