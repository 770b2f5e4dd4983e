"""Measures what sessions cost while they wait in the queue, for 30 s.

The benchmark compares 60 and 600 sessions of this gateway with 60 sessions of batchspawner, on one Slurm (the testbed's
it4lia). The Slurm is full, so that no session starts. When the last job is in the queue, the benchmark measures for 30
s: the RPCs at the controller (``sdiag``, reset at that moment), the CPU seconds of the hub (and of the link) with all
their children, and the 95th percentile of ``GET /hub/api/info`` through the proxy, requested every 0.1 s. This
gateway's hub without sessions gives the baseline. The benchmark also counts the questions about jobs, from the first
submission to the end of the 30 s: one gateway may ask often while jobs are submitted, another one after that. Both
gateways have the same people (the site accounts) with named servers, the same proxy, and the same Python; batchspawner
has its default intervals.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from benchmarks import gateways, measure
from benchmarks.bed import Bed, bed

WINDOW = 30.0  # seconds
SUBMIT_SECONDS = 600
AT_ONCE = 30  # concurrent POST requests
# RPCs by which squeue asks for jobs; one for each question
QUESTIONS = ("REQUEST_JOB_INFO", "REQUEST_JOB_INFO_SINGLE")


@dataclass(frozen=True)
class Cost:
    """The cost of a measurement window.

    ``rpcs``: the number of RPCs at the controller; ``questions``: the number of questions about jobs in the window and,
    before it, while the jobs were submitted; ``cpu``: CPU seconds of the hub (and of the link); ``p95``: the 95th
    percentile of ``GET /hub/api/info`` in milliseconds.
    """

    rpcs: float
    questions: int
    cpu: float  # seconds
    p95: float  # milliseconds


async def window(side: Callable[[Bed], AbstractAsyncContextManager[gateways.Gateway]], on: Bed, sessions: int) -> Cost:
    """Start the gateway ``side``, submit the sessions, return the cost of ``WINDOW`` seconds, and stop everything.

    Raises RuntimeError if not all sessions' jobs wait in the queue at the end.
    """
    async with side(on) as gateway:
        gate = asyncio.Semaphore(AT_ONCE)

        async def start(number: int) -> None:
            async with gate:
                await gateway.start_server(on.people[number % len(on.people)], f"s{number}")

        own = 0  # number of the benchmark's own questions

        async def waiting() -> bool:
            nonlocal own
            own += 1
            return await asyncio.to_thread(on.jobs, "PENDING") >= sessions

        await asyncio.to_thread(on.reset_rpcs)
        begin = time.monotonic()
        await asyncio.gather(*(start(number) for number in range(sessions)))
        await measure.until(waiting, SUBMIT_SECONDS, f"{sessions} jobs of {gateway.name} wait", every=0.5)
        submitted = time.monotonic() - begin
        submitting = await asyncio.to_thread(on.rpcs)
        await asyncio.to_thread(on.reset_rpcs)
        before = measure.cpu_seconds(gateway.counted)
        taken = await measure.sample(gateway.info, WINDOW)
        cost = measure.cpu_seconds(gateway.counted) - before
        counts = await asyncio.to_thread(on.rpcs)
        still = await asyncio.to_thread(on.jobs, "PENDING")
        if still != sessions:
            raise RuntimeError(f"{gateway.name}: {still} of {sessions} jobs wait at the end of the window")
        said = f"{sessions} sessions, submitted in {submitted:.1f} s: {cost:.2f} CPU s, RPCs {counts or 'none'}"
        measure.note(f"{gateway.name}, {said}")
    await asyncio.to_thread(on.clear)
    await on.idle()
    questions = sum(each.get(kind, 0) for each in (submitting, counts) for kind in QUESTIONS) - own
    return Cost(sum(counts.values()), questions, cost, measure.percentile(taken, 0.95) * 1000)


async def main() -> None:
    """Run the benchmark, and print the results."""
    with bed("polling") as on:
        on.fill()
        await measure.until(lambda: asyncio.to_thread(on.full), 30, "the cluster is full")
        floor = await window(gateways.ours, on, 0)
        theirs = await window(gateways.peer, on, 60)
        for sessions, peer in ((60, "batchspawner"), (600, "batchspawner-at-60")):
            ours = await window(gateways.ours, on, sessions)
            measure.report("polling", f"rpcs-{sessions}", ours.rpcs, {peer: theirs.rpcs}, "RPCs")
            measure.report("polling", f"questions-{sessions}", ours.questions, {peer: theirs.questions}, "questions")
            measure.report("polling", f"cpu-{sessions}", ours.cpu, {peer: theirs.cpu}, "s")
            measure.report("polling", f"p95-{sessions}", ours.p95, {peer: theirs.p95, "no-sessions": floor.p95}, "ms")


if __name__ == "__main__":
    asyncio.run(main())
