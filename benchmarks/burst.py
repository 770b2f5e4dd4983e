"""Measures the start of a course: 200 sessions are requested at once, from this gateway and from batchspawner.

Both use the same Slurm. Each side has its own hub, proxy and stand-in notebooks (``standin``), on an empty cluster with
a core for each session. The sides run one after the other. All POSTs are sent at the same moment. From then on, the
benchmark measures:

- submit: the rate at which jobs reach the controller, until it knows all 200
- hub: the 95th percentile of ``GET /hub/api/info`` through the proxy, requested every 0.1 s until all sessions run
- running: the time until the hub reports all 200 servers as ready

The site's jobs run on this machine, too. Up to a hundred programs of job steps compete for its processors at the same
moment, which would show as slow answers of each side. So the side's processes, the cluster's daemons and this process
get priority over the jobs, as if the jobs ran on other machines. Only root can give this priority; if another user runs
the benchmark, all processes compete.

The benchmark also measures the CPU time of the hub (and of the link), and the RPCs at the controller. batchspawner has
its default settings, except that more than 100 servers may start at a time. A smaller run: ``bin/bench burst 20``.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from benchmarks import gateways, measure
from benchmarks.bed import Bed, bed
from benchmarks.standin import standins
from testbed import processes

SESSIONS = int(sys.argv[1]) if sys.argv[1:] else 200
LIMIT = 400.0


@dataclass(frozen=True)
class Burst:
    """The measurements of one side.

    ``submitted``, ``running``: seconds until all jobs were at the controller, and until all servers were ready;
    ``p95``, ``slowest``: milliseconds of ``GET /hub/api/info``; ``cpu``: CPU seconds of the hub (and of the link).
    """

    submitted: float  # seconds
    running: float  # seconds
    p95: float  # milliseconds
    slowest: float  # milliseconds
    cpu: float  # seconds


async def burst(side: Callable[[Bed], AbstractAsyncContextManager[gateways.Gateway]], on: Bed) -> Burst:
    """Start the gateway ``side``, request all sessions, and return the measurements once all are ready.

    The gateway is stopped, and all jobs are cancelled, before the measurements are returned.
    """
    async with side(on) as gateway:
        processes.put_first((os.getpid(), *gateway.pids, *on.cluster.pids.values()))
        await asyncio.to_thread(on.reset_rpcs)
        before = [measure.cpu_seconds([pid]) for pid in gateway.counted]
        begin = time.monotonic()
        over = asyncio.Event()
        latencies = asyncio.create_task(measure.sample(gateway.info, LIMIT, stop=over))
        owners = [on.people[number % len(on.people)] for number in range(SESSIONS)]
        posts = asyncio.gather(*(gateway.start_server(owner, f"s{number}") for number, owner in enumerate(owners)))

        async def submitted() -> float:
            async def look() -> bool:
                return await asyncio.to_thread(on.jobs) >= SESSIONS

            return await measure.until(look, LIMIT, f"{SESSIONS} jobs of {gateway.name}", every=0.5)

        async def running() -> float:
            async def look() -> bool:
                return await gateway.ready() >= SESSIONS

            return await measure.until(look, LIMIT, f"{SESSIONS} servers of {gateway.name} are ready", every=1.0)

        jobs, ready, _ = await asyncio.gather(submitted(), running(), posts)
        end = time.monotonic() - begin
        cpu = [measure.cpu_seconds([pid]) - at for pid, at in zip(gateway.counted, before, strict=True)]
        counts = await asyncio.to_thread(on.rpcs)
        over.set()
        taken = await latencies
        apart = " and ".join(f"{name} {used:.1f} s" for name, used in zip(("hub", "link"), cpu, strict=False))
        measure.note(f"{gateway.name}: {end:.1f} s, RPCs {counts}, {len(taken)} times info, CPU {apart}")
    await asyncio.to_thread(on.clear)
    await on.idle()
    p95, slowest = (1000 * measure.percentile(taken, share) for share in (0.95, 1.0))
    return Burst(jobs, ready, p95, slowest, sum(cpu))


async def main() -> None:
    """Run the benchmark, and print the results."""
    with bed("burst", many=SESSIONS) as cluster:
        async with standins(cluster) as on:
            ours = await burst(gateways.ours, on)
            theirs = await burst(gateways.peer, on)
    name = "batchspawner"
    measure.rate("burst", "submit", SESSIONS / ours.submitted, {name: SESSIONS / theirs.submitted}, "jobs/s")
    measure.report("burst", "running", ours.running, {name: theirs.running, "aim": 60.0}, "s")
    measure.report("burst", "info-p95", ours.p95, {name: theirs.p95}, "ms")
    measure.report("burst", "info-slowest", ours.slowest, {name: theirs.slowest}, "ms")
    measure.report("burst", "cpu", ours.cpu, {name: theirs.cpu}, "s")


if __name__ == "__main__":
    asyncio.run(main())
