from __future__ import annotations

import asyncio

from factoryspawner.gateway import OneByOne


async def test_other_tasks_run_between_two_turns() -> None:
    queue, order = OneByOne(), list[str]()

    async def start(name: str) -> None:
        await queue.turn()
        order.append(name)

    async def request() -> None:
        while len(order) - order.count("request") < 5:
            order.append("request")
            await asyncio.sleep(0)

    names = [f"start {number}" for number in range(5)]
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(start(name))
        group.create_task(request())
    assert [name for name in order if name != "request"] == names
    between = "".join("." if name == "request" else "s" for name in order)
    assert "ss" not in between


async def test_a_task_that_is_cancelled_while_it_waits_holds_up_nobody() -> None:
    queue = OneByOne()
    first, second, third = (asyncio.create_task(queue.turn()) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, third)
    assert second.cancelled()
