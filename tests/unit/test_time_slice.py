from __future__ import annotations

import asyncio
import heapq
import time
from itertools import groupby

import pytest

from factorycommon.time_slice import WOKEN, TimeSlice

NAMES = [f"start {number}" for number in range(3 * WOKEN)]


async def order_of(slices: TimeSlice, busy: float) -> list[str]:
    """Run starts, each of which keeps the loop busy for ``busy`` seconds, beside requests; return their order."""
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
    assert len(at_once) >= len(NAMES) / 2


async def test_starts_that_need_no_time_go_on_together() -> None:
    order = await order_of(TimeSlice(600.0), busy=0.0)
    assert order[: len(NAMES)] == NAMES


async def test_tasks_that_are_cancelled_while_they_wait_hold_up_nobody() -> None:
    slices = TimeSlice(0.0)  # nobody goes on at once
    tasks = [asyncio.create_task(slices.wait()) for _ in range(3 * WOKEN)]
    for _ in range(4):
        await asyncio.sleep(0)
    ended = (tasks[1], tasks[WOKEN + 1], tasks[-1])
    for task in ended:
        task.cancel()
    slices._seconds = 600.0
    async with asyncio.timeout(60):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert [task for task in tasks if task.cancelled()] == list(ended)


async def test_who_comes_later_goes_on_later() -> None:
    """New starts arrive in each pass of the loop, so that there is always somebody who waits."""
    slices, order = TimeSlice(0.004), list[int]()

    async def start(number: int) -> None:
        await slices.wait()
        time.sleep(0.003)
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(0, 60, 3):
            for more in range(3):
                group.create_task(start(number + more))
            await asyncio.sleep(0)
    assert order == sorted(order)


async def test_few_of_those_who_wait_are_woken_in_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, push = 0, heapq.heappush

    def count(heap: list[object], item: object) -> None:
        nonlocal waits
        waits += 1
        push(heap, item)

    monkeypatch.setattr(heapq, "heappush", count)
    slices = TimeSlice(0.0)  # nobody goes on at once
    waiting = [asyncio.create_task(slices.wait()) for _ in range(200)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert 200 < waits <= 200 + 50 * WOKEN
    slices._seconds = 600.0
    await asyncio.gather(*waiting)
