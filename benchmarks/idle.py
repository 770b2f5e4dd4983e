"""Measures the cost of a gateway that nobody uses: CPU time in 30 s, beside a JupyterHub with batchspawner.

This gateway has a hub, a link and the workshops service, and no workshop. The benchmark measures this gateway with one
factory, and again with three; each factory has a Slurm without jobs. batchspawner has a hub, and one Slurm without
jobs. Each measurement begins about a minute after the start, when the work of the start is over. The proxies, which are
the same program, are left out. A line with ``aim`` instead of a peer shows the required value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack

from benchmarks import gateways, measure
from benchmarks.bed import Bed, bed

WINDOW, SETTLES = 30.0, 65.0  # seconds; for a minute, the link asks more often
NAMES = ("hub", "link", "workshops")
AIM = 0.5  # seconds of CPU for three factories
OTHERS = ("bsc-aif", "brainpp")  # factories of the catalogue


async def window(side: Callable[[Bed], AbstractAsyncContextManager[gateways.Gateway]], on: Bed) -> float:
    """Start the gateway ``side``, wait until its start is over, and return its CPU seconds in ``WINDOW`` seconds."""
    async with side(on) as gateway:
        await asyncio.sleep(SETTLES)
        before = [measure.cpu_seconds([pid]) for pid in gateway.counted]
        await asyncio.sleep(WINDOW)
        used = [measure.cpu_seconds([pid]) - at for pid, at in zip(gateway.counted, before, strict=True)]
    apart = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in zip(NAMES, used, strict=False))
    measure.note(f"{gateway.name}: {apart} in {WINDOW:g} s")
    return sum(used)


async def main() -> None:
    """Run the benchmark, and print the results."""
    with bed("idle") as on:
        ours = await window(lambda on: gateways.ours(on, seats=1), on)
        theirs = await window(gateways.peer, on)
        with ExitStack() as stack:
            others = [stack.enter_context(bed(f"idle-{name}", factory_id=name)) for name in OTHERS]
            three = await window(lambda on: gateways.ours(on, seats=1, others=others), on)
    measure.report("idle", "cpu", ours, {"batchspawner": theirs, "aim": AIM}, "s")
    measure.report("idle", "cpu-three-factories", three, {"batchspawner": theirs, "aim": AIM}, "s")


if __name__ == "__main__":
    asyncio.run(main())
