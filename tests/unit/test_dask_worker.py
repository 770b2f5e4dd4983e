"""A worker whose job ends soon: it finishes running tasks, hands over its results, and gives back tasks that have not
begun."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from distributed import Client, Scheduler
from distributed.core import Status

from factorygate.cluster import daskworker
from factorygate.cluster.daskworker import FactoryWorker


class Bench:
    """A Dask scheduler, a client and workers, all in this process."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def up(self) -> Bench:
        self.scheduler = await self._stack.enter_async_context(Scheduler(host="127.0.0.1", dashboard=False))
        self.client = await self._stack.enter_async_context(
            Client(self.scheduler.address, asynchronous=True, set_as_default=False)
        )
        return self

    async def worker(self, name: str, leaves: float = 3600, ends: float = 3700, threads: int = 1) -> FactoryWorker:
        """Start a worker; return it.

        ``leaves``: seconds until the worker leaves, by default more than a busy machine needs for its results;
        ``ends``: seconds until its job ends.
        """
        now = time.time()
        made = FactoryWorker(
            self.scheduler.address, name=name, nthreads=threads, leaves=now + leaves, ends=now + ends, dashboard=False
        )
        return await self._stack.enter_async_context(made)  # type: ignore[no-any-return]

    async def comes(self, look: Callable[[], bool]) -> None:
        """Return once a condition holds, by polling, since no event reports it."""
        async with asyncio.timeout(60):
            while not look():
                await asyncio.sleep(0.02)

    async def closes(self, worker: FactoryWorker) -> None:
        await self.comes(lambda: worker.status is Status.closed)

    def kept(self) -> bool:
        """Return True if a worker could not leave because no other worker took its results."""
        return any(told.get("could-not-retire") for _, told in self.scheduler.get_events("all"))


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        yield await Bench(stack).up()


RUNS: list[str] = []  # tasks that were started in this process
MAY_END = threading.Event()


def noted(seconds: float, name: str) -> str:
    RUNS.append(name)
    time.sleep(seconds)
    return name


def long(name: str) -> str:
    RUNS.append(name)
    MAY_END.wait(60)
    return name


@pytest.mark.parametrize("late", [0.002, 1.5])  # seconds by which the scheduler receives a worker's messages late
async def test_a_leaving_worker_loses_no_result_and_no_task_starts_twice(bench: Bench, late: float) -> None:
    RUNS.clear()
    MAY_END.clear()
    retiring = await bench.worker("leaver", leaves=4.0, threads=2)
    held = bench.client.map(noted, [0.0] * 5, [f"held-{n}" for n in range(5)], pure=False)
    await bench.client.gather(held)
    there = ["leaver"]
    running = [bench.client.submit(long, f"runs-{n}", workers=there, allow_other_workers=True) for n in range(2)]
    waiting = [bench.client.submit(noted, 0.1, f"waits-{n}", workers=there, allow_other_workers=True) for n in range(3)]
    await bench.comes(lambda: len(RUNS) == 7)
    retiring.batched_stream.interval = late
    stays = await bench.worker("stays")
    await bench.client.gather(waiting)  # on the other worker, while the two tasks still run
    await bench.comes(lambda: retiring.status is Status.closing_gracefully)
    MAY_END.set()
    assert await bench.client.gather(running) == ["runs-0", "runs-1"]
    await bench.closes(retiring)
    assert len(RUNS) == len(set(RUNS)) == 10
    assert {str(name) for name in await bench.client.gather(held)} == {f"held-{n}" for n in range(5)}
    assert set(stays.data) == {future.key for future in (*held, *running, *waiting)}


async def test_the_last_worker_works_on_until_another_one_connects(bench: Bench) -> None:
    last = await bench.worker("last", leaves=4.0)
    held = await bench.client.scatter({"a": 1, "b": 2})
    await bench.comes(bench.kept)
    assert await bench.client.submit(int, 3) == 3  # although its time is over
    assert last.status is not Status.closed
    another = await bench.worker("another")
    await bench.closes(last)
    assert await bench.client.gather(held) == {"a": 1, "b": 2}
    assert {"a", "b"} <= set(another.data)


async def test_the_last_worker_leaves_only_just_before_its_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daskworker, "LAST", 60.0)  # a busy machine may need that long
    began = time.monotonic()
    last = await bench.worker("last", leaves=4.0, ends=66.0)
    held = await bench.client.scatter({"a": 1})
    await bench.comes(bench.kept)
    await bench.closes(last)
    assert 6.0 - 0.1 < time.monotonic() - began < 66.0  # two clocks are compared
    await bench.comes(lambda: held["a"].status != "finished")  # the client is notified later


async def test_a_worker_that_accepts_work_gives_no_task_back(bench: Bench) -> None:
    RUNS.clear()
    worker = await bench.worker("one")
    futures = bench.client.map(noted, [0.2] * 4, [f"n-{n}" for n in range(4)], pure=False)
    await bench.comes(lambda: bool(RUNS))
    assert await worker.leaving() > 0
    await bench.client.gather(futures)
    assert len(RUNS) == 4


async def test_a_worker_asked_to_stay_accepts_work_again(bench: Bench) -> None:
    worker, other = await bench.worker("one"), await bench.worker("other")
    asked = bench.scheduler.broadcast
    told = await bench.scheduler.retire_workers(workers=[worker.address], close_workers=False, remove=False)
    assert set(told) == {worker.address}
    assert await asked(msg={"op": "leaving"}, workers=[worker.address]) == {worker.address: 0}
    await other.close()
    future = bench.client.submit(int, 7)
    await asked(msg={"op": "staying"}, workers=[worker.address])
    assert await future == 7
