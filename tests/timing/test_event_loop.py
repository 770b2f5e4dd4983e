"""The link's event loop is not blocked by large input."""

from __future__ import annotations

import asyncio
import time

from factorylink.config import LocalTransportSettings as Settings
from factorylink.schedulers.command import Command
from factorylink.transports.local import LocalTransport


async def test_a_large_answer_is_read_apart_from_the_event_loop() -> None:
    """The long list of a hostile scheduler does not hold up the event loop, which does all other work."""
    row = "x" * 63 + "|" + "no row\n"
    transport = LocalTransport(Settings())
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            at = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - at)

    beating = asyncio.create_task(beat())
    listing = Command(
        ("/bin/sh", "-c", f"yes '{row.strip()}' | head -c 33554432"),
        lambda o: [r.split("|") for r in o.stdout.split("\n")],
        most=2**26,
    )
    assert len(await transport.run(listing)) > 400_000
    beating.cancel()
    assert longest < 1
    await transport.close()
