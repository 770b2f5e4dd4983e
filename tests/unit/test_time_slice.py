from __future__ import annotations

import asyncio
import time
from itertools import groupby

import pytest

from factorycommon.time_slice import LOOKING, TimeSlice

NAMES = [f"start {number}" for number in range(5)]


async def order_of(slices: TimeSlice, busy: float) -> list[str]:
    """Let five starts, each of which keeps the loop busy, and as many requests go on; return their order."""
    order = list[str]()

    async def start(name: str) -> None:
        await slices.wait()
        time.sleep(busy)  # as a start does, which no other task can interrupt
        order.append(name)

    async def requests() -> None:
        while sum(name in NAMES for name in order) < len(NAMES):
            order.append("request")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for name in NAMES:
            group.create_task(start(name))
        group.create_task(requests())
    return order


async def test_requests_are_answered_after_each_time_slice() -> None:
    order = await order_of(TimeSlice(0.015), busy=0.01)
    assert [name for name in order if name != "request"] == NAMES
    at_once = [len(list(group)) for starts, group in groupby(order, lambda name: name != "request") if starts]
    assert max(at_once) <= 2
    assert len(at_once) >= 3


async def test_starts_that_need_no_time_go_on_together() -> None:
    order = await order_of(TimeSlice(600.0), busy=0.0)
    assert order[: len(NAMES)] == NAMES


async def test_a_task_that_is_cancelled_while_it_waits_holds_up_nobody() -> None:
    slices = TimeSlice(0.0)  # nobody goes on at once
    tasks = [asyncio.create_task(slices.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    slices._seconds = 600.0
    await asyncio.gather(tasks[0], tasks[2])
    assert tasks[1].cancelled()


async def test_each_waiting_start_looks_for_its_slice_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, sleep = 0, asyncio.sleep

    async def look(seconds: float) -> None:
        nonlocal looks
        looks += 1
        await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", look)
    slices = TimeSlice(0.0)  # nobody goes on at once
    waiting = [asyncio.create_task(slices.wait()) for _ in range(200)]
    for _ in range(50):
        await sleep(0)
    assert 0 < looks <= 50 * LOOKING
    slices._seconds = 600.0
    await asyncio.gather(*waiting)
