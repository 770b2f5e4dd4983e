"""The program that `benchmarks/dask.py` runs as the notebook.

It scales one cluster to a number of jobs at once, and prints the measurements as JSON. It imports nothing of this
repository, since it runs in the notebooks' own environment like any person's program.
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
LOOKS = 0.005  # seconds between two checks
SETTLES = 1.0  # seconds; the cluster's own start is not measured
AFTER = 3.0  # seconds for which the loop is observed afterwards, while the cluster receives the states of its jobs


class Ticker:
    """Measures an event loop.

    ``freeze``: the longest delay of a tick in seconds; ``turn``: the most CPU seconds that the loop's thread used
    between two ticks. If ``freeze`` is much larger than ``turn``, the machine did other work, or the loop was blocked.
    """

    def __init__(self) -> None:
        self.freeze, self.turn = 0.0, 0.0

    async def run(self) -> None:
        """Tick, and update ``freeze`` and ``turn``, until cancelled."""
        at, used = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(TICK)
            now, cpu = time.perf_counter(), time.thread_time()
            self.freeze, self.turn = max(self.freeze, now - at - TICK), max(self.turn, cpu - used)
            at, used = now, cpu


def ours(size: str) -> tuple[Any, Callable[[], int]]:
    """Start a FactoryCluster whose scheduler runs in this process, as with dask-jobqueue.

    Return the cluster, and a function that returns how many of the cluster's jobs have ids according to the link.
    """
    from factorygate import FactoryCluster

    cluster = FactoryCluster(size=size, hours=1, scheduler="here")
    return cluster, lambda: sum(told.job is not None for told in list(cluster.cluster_api.workers.values()))


def theirs(queue: str) -> tuple[Any, Callable[[], int]]:
    """Start dask-jobqueue's cluster; return the cluster, and a function that returns how many of its jobs have ids."""
    from dask_jobqueue import SLURMCluster

    local = {"dashboard_address": "127.0.0.1:0"}
    cluster = SLURMCluster(
        queue=queue, cores=1, memory="1GiB", processes=1, walltime="01:00:00", scheduler_options=local
    )
    return cluster, lambda: sum(job.job_id is not None for job in list(cluster.workers.values()))


def until(look: Callable[[], bool], what: str) -> float:
    """Check repeatedly until ``look`` returns True; return the seconds that this took.

    Raises TimeoutError after ``LIMIT`` seconds, with ``what`` in its message.
    """
    begin = time.perf_counter()
    while not look():
        if time.perf_counter() - begin > LIMIT:
            raise TimeoutError(f"not within {LIMIT:g} s: {what}")
        time.sleep(LOOKS)
    return time.perf_counter() - begin


def scale(cluster: Any, jobs: int, done: Callable[[], bool]) -> None:
    """Scale ``cluster`` to a number of jobs, wait until ``done`` returns True, and print the measurements.

    An empty line is printed at the start. The measurements follow as a line of JSON, ``AFTER`` seconds after the end.
    The function returns when a line has arrived on stdin.
    """
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
    """Start the cluster of one side, scale it up and to 0, and close it.

    ``side``: "ours" or "theirs"; ``place``: our node size, or the queue of dask-jobqueue.
    """
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # dask-jobqueue runs 1,000 sbatch processes at a time
    cluster, have_ids = {"ours": ours, "theirs": theirs}[side](place)
    time.sleep(SETTLES)
    scale(cluster, jobs, lambda: have_ids() == jobs)
    scale(cluster, 0, lambda: not cluster.workers)
    cluster.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
