"""Limits how long tasks that become ready together, such as the starts of a class, keep the event loop busy."""

from __future__ import annotations

import asyncio
import heapq
import itertools

SLICE = 0.005  # seconds
WOKEN = 8  # tasks that are woken in a pass of the loop; each that wakes too late for the slice costs time, too


class TimeSlice:
    """Lets tasks run until a time slice is over; the others wait until the event loop has handled new requests.

    Each task calls ``wait`` before work that keeps the loop busy for some milliseconds. Without this class, the loop
    would run all ready tasks before it looks for new requests. If the loop looked for requests after each single task,
    the requests would wait even less, but the tasks could share less work, such as commits and messages to the link.
    Tasks continue in the order in which they called ``wait``. ``seconds``: the length of the slice.
    """

    def __init__(self, seconds: float = SLICE) -> None:
        self._seconds = seconds
        self._began: float | None = None  # in the loop's time; None: no task went on in this pass of the loop
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []  # a heap: the task that came first is the first
        self._numbers = itertools.count()
        self._woken = 0  # tasks that were woken and have not gone on yet
        self._is_due = False  # True while ``_next`` is to run

    async def wait(self) -> None:
        """Return at once if no other task waits and the slice is not over; else after the loop handled new requests."""
        loop = asyncio.get_running_loop()
        if not (self._waiting or self._woken) and self._lasts(loop):
            return
        number = next(self._numbers)
        while True:
            turn = loop.create_future()
            heapq.heappush(self._waiting, (number, turn))
            self._end_soon(loop)
            try:
                await turn
            finally:
                self._woken -= not turn.cancelled()
            if self._lasts(loop):
                return

    def _lasts(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return True if the time slice is not over; the first call in a pass of the event loop begins a slice."""
        if self._began is None:
            self._began = loop.time()
            self._end_soon(loop)
        return loop.time() - self._began < self._seconds

    def _end_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._next, loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the slice, and wake the first tasks that wait; the loop calls this method in its next pass."""
        self._began, self._is_due = None, False
        while self._waiting and self._woken < WOKEN:
            _, turn = heapq.heappop(self._waiting)
            if not turn.done():  # its task was not cancelled
                turn.set_result(None)
                self._woken += 1
        if self._waiting:
            self._end_soon(loop)
