"""The Dask scheduler of a cluster whose jobs end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from distributed import Client, Future, KilledWorker

from factorygate.cluster import daskscheduler
from factorygate.cluster.daskscheduler import FactoryScheduler
from factorygate.cluster.pages import QuietWorker

WORKERS, LOST, TASKS = 10, 8, 60
MAY_END = threading.Event()  # the workers run in this process


def wait_for_event(_number: int) -> bool:
    return MAY_END.wait(60)


class Bench:
    """A Dask scheduler, a client, and any number of workers, all in this process."""

    def __init__(self, scheduler: FactoryScheduler, client: Client, stack: AsyncExitStack) -> None:
        self.scheduler, self.client, self._stack = scheduler, client, stack

    async def worker(self, name: str, nanny: str | None = None) -> QuietWorker:
        """Start a worker; return it. ``nanny``: the address that the scheduler takes for that of the worker's nanny."""
        worker: QuietWorker = await self._stack.enter_async_context(
            QuietWorker(self.scheduler.address, name=name, nthreads=1)
        )
        self.scheduler.workers[worker.address].nanny = nanny
        return worker

    async def lose(self, *workers: QuietWorker) -> None:
        """Break the connections of workers, as if their machine had failed, and wait until the scheduler notices."""
        for worker in workers:
            worker.batched_stream.comm.abort()
        await self.comes(lambda: not {worker.address for worker in workers} & {*self.scheduler.workers})

    async def comes(self, look: Callable[[], bool]) -> None:
        """Return once ``look()`` is true. No event reports the scheduler's state."""
        async with asyncio.timeout(60):
            while not look():
                await asyncio.sleep(0.02)

    async def runs(self, future: Future) -> None:
        """Return once a worker has the future's task."""
        await self.comes(lambda: (t := self.scheduler.tasks.get(future.key)) is not None and t.state == "processing")

    def suspicions(self, future: Future) -> int:
        return int(self.scheduler.tasks[future.key].suspicious)


@pytest_asyncio.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(daskscheduler, "NANNY_SECONDS", 60.0)
    MAY_END.clear()
    async with AsyncExitStack() as stack:
        scheduler = await stack.enter_async_context(
            FactoryScheduler(pages=str(tmp_path / "pages.sock"), host="127.0.0.1", dashboard=True)
        )
        client = await stack.enter_async_context(Client(scheduler.address, asynchronous=True, set_as_default=False))
        yield Bench(scheduler, client, stack)
        MAY_END.set()


async def test_no_task_is_suspected_when_many_workers_are_lost_at_the_same_moment(bench: Bench) -> None:
    workers = [await bench.worker(str(number)) for number in range(WORKERS)]
    MAY_END.set()
    futures = bench.client.map(wait_for_event, range(TASKS), pure=False)
    await bench.client.gather(futures)
    MAY_END.clear()  # lost tasks are computed again, and do not end before the test does
    await bench.lose(*workers[:LOST])
    assert not [future for future in futures if bench.suspicions(future)]  # none of the tasks ran on a lost worker
    MAY_END.set()
    assert all(await bench.client.gather(futures))


async def test_a_task_whose_worker_ends_alone_is_suspected(bench: Bench) -> None:
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0) as nanny:
        port = nanny.sockets[0].getsockname()[1]
        worker = await bench.worker("0", f"tls://127.0.0.1:{port}")
        future = bench.client.submit(wait_for_event, 0)
        await bench.runs(future)
        await bench.lose(worker)
    assert bench.suspicions(future) == 1


async def test_a_task_fails_only_if_the_cluster_says_that_the_work_ended_its_jobs(
    bench: Bench, unused_tcp_port: int
) -> None:
    gone = f"tls://127.0.0.1:{unused_tcp_port}"
    future = bench.client.submit(wait_for_event, 0)
    for number in range(6):  # more often than a task may lose its worker
        worker = await bench.worker(f"cancelled-{number}", gone)
        await bench.runs(future)
        await bench.lose(worker)
    assert bench.suspicions(future) == 0
    for number in range(4):
        failed = await bench.worker(f"out-of-memory-{number}", gone)
        await bench.runs(future)
        await bench.lose(failed)
        healthy = await bench.worker(f"healthy-{number}", gone)
        await bench.runs(future)
        for _ in range(2):  # the second call changes nothing
            await bench.client.scheduler.suspect_tasks(workers=[f"out-of-memory-{number}", "unknown"])
        assert bench.suspicions(future) == number + 1
        await bench.lose(healthy)
    with pytest.raises(KilledWorker):
        await future
