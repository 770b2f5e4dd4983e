"""A time slice of the event loop for tasks that become ready together, such as the starts of a class."""

from __future__ import annotations

import asyncio

SLICE = 0.005  # seconds
LOOKING = 8  # tasks that look for the next slice; others wait in a queue, since each look costs time, too


class TimeSlice:
    """Lets tasks that became ready at the same moment go on for one time slice, then answers what arrived meanwhile.

    Each task keeps the event loop busy for some milliseconds. The loop runs all tasks that are ready before it looks
    for new requests, which would wait for all of them. Tasks that went on one by one would keep requests waiting less,
    but share less work, such as commits and messages to the link. ``seconds``: the length of the slice.
    """

    def __init__(self, seconds: float = SLICE) -> None:
        self._seconds = seconds
        self._began: float | None = None  # in the loop's time; None: no task went on in this pass of the loop
        self._looking = asyncio.Semaphore(LOOKING)

    async def wait(self) -> None:
        """Return at once while the slice lasts, otherwise after the loop has looked for new requests."""
        loop = asyncio.get_running_loop()
        async with self._looking:
            while True:
                if self._began is None:
                    self._began = loop.time()
                    loop.call_soon(self._end)  # the loop runs it in its next pass, before tasks that look here
                if loop.time() - self._began < self._seconds:
                    return
                await asyncio.sleep(0)

    def _end(self) -> None:
        self._began = None
