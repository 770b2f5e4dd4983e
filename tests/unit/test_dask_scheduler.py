"""The Dask scheduler of a cluster whose jobs end."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from pathlib import Path

from distributed import Client

from factorygate.cluster.daskscheduler import FactoryScheduler
from factorygate.cluster.pages import QuietWorker

WORKERS, LOST, TASKS = 10, 8, 60

MAY_END = threading.Event()  # the workers run in this process


def wait_for_event(_number: int) -> bool:
    return MAY_END.wait(60)


async def test_no_task_is_suspected_when_many_workers_are_lost_at_the_same_moment(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        scheduler = await stack.enter_async_context(
            FactoryScheduler(pages=str(tmp_path / "pages.sock"), host="127.0.0.1", dashboard=True)
        )
        client = await stack.enter_async_context(Client(scheduler.address, asynchronous=True, set_as_default=False))
        workers = [
            await stack.enter_async_context(QuietWorker(scheduler.address, name=str(n), nthreads=1))
            for n in range(WORKERS)
        ]
        MAY_END.set()
        futures = client.map(wait_for_event, range(TASKS), pure=False)
        await client.gather(futures)
        MAY_END.clear()  # what is lost is computed again, and takes until the end of the test
        for worker in workers[:LOST]:
            worker.batched_stream.comm.abort()  # as when the machine is gone
        async with asyncio.timeout(60):
            while len(scheduler.workers) > WORKERS - LOST:
                await asyncio.sleep(0.02)
        suspected = {future.key for future in futures if scheduler.tasks[future.key].suspicious}
        MAY_END.set()
        assert not suspected  # none of them ran on any
        assert all(await client.gather(futures))
