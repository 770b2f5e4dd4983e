"""What `benchmarks/dask.py` runs as the notebook: one cluster, asked for so many jobs at once; says as JSON what it
took. Knows nothing of this repository, so that it runs in the notebooks' own environment as any person's program does.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

TICK = 0.001  # seconds
LIMIT = 300.0
LOOKS = 0.005  # seconds between two looks whether it is so
SETTLES = 1.0  # seconds: a cluster's own beginning is not counted
AFTER = 3.0  # seconds for which its loop is watched on: in them it is told how its jobs are


class Ticker:
    """Of an event loop. ``freeze``: the longest time beyond a tick's own in which it did not come round; ``turn``: the
    most CPU seconds that its thread used between two ticks. Where the first is much more, the machine did other work,
    or the loop waited."""

    def __init__(self) -> None:
        self.freeze, self.turn = 0.0, 0.0

    async def run(self) -> None:
        """For ever."""
        at, used = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(TICK)
            now, cpu = time.perf_counter(), time.thread_time()
            self.freeze, self.turn = max(self.freeze, now - at - TICK), max(self.turn, cpu - used)
            at, used = now, cpu


def ours(size: str) -> tuple[Any, Callable[[], int]]:
    """A cluster of ours, its scheduler in this process as dask-jobqueue's is; and how many of its jobs have ids by the
    link's answers."""
    from factorygate import FactoryCluster

    cluster = FactoryCluster(size=size, hours=1, scheduler="here")
    return cluster, lambda: sum(told.job is not None for told in list(cluster.cluster_api.workers.values()))


def theirs(queue: str) -> tuple[Any, Callable[[], int]]:
    """dask-jobqueue's, and how many of its jobs have ids."""
    from dask_jobqueue import SLURMCluster

    local = {"dashboard_address": "127.0.0.1:0"}
    cluster = SLURMCluster(
        queue=queue, cores=1, memory="1GiB", processes=1, walltime="01:00:00", scheduler_options=local
    )
    return cluster, lambda: sum(job.job_id is not None for job in list(cluster.workers.values()))


def until(look: Callable[[], bool], what: str) -> float:
    """Look until it is so; the seconds that took. Raises TimeoutError."""
    begin = time.perf_counter()
    while not look():
        if time.perf_counter() - begin > LIMIT:
            raise TimeoutError(f"not within {LIMIT:g} s: {what}")
        time.sleep(LOOKS)
    return time.perf_counter() - begin


def scale(cluster: Any, jobs: int, done: Callable[[], bool]) -> None:
    """To so many jobs, until it is done. Prints a line as it begins, and one with what it took; waits for a word to go
    on."""
    ticker = Ticker()
    print(flush=True)
    ticking = asyncio.run_coroutine_threadsafe(ticker.run(), cluster.loop.asyncio_loop)
    begin = time.perf_counter()
    cluster.scale(jobs=jobs)
    until(done, f"{jobs} jobs")
    taken = time.perf_counter() - begin
    time.sleep(AFTER)
    ticking.cancel()
    print(json.dumps({"seconds": taken, "freeze": ticker.freeze, "turn": ticker.turn}), flush=True)
    sys.stdin.readline()


def main(side: str, place: str, jobs: int) -> None:
    """All of it."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # dask-jobqueue runs 1,000 sbatch at a time
    cluster, have_ids = {"ours": ours, "theirs": theirs}[side](place)
    time.sleep(SETTLES)
    scale(cluster, jobs, lambda: have_ids() == jobs)
    scale(cluster, 0, lambda: not cluster.workers)
    cluster.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
