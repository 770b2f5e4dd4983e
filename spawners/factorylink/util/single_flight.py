"""Lets callers that ask the same question at the same time share one answer, which is cached for a short time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from factorycommon import request_id

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs the function given to ``get`` at most once at a time for a key, and caches its result for ``seconds``.

    An error goes to all waiting callers and is not cached. If a caller is cancelled, the function still runs to its
    end.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._answers: dict[Hashable, tuple[float, T]] = {}
        self._flying: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """Return the cached result for a key, or wait for the call that runs for this key, or else call ``make``.

        Raises the error of the call.
        """
        self._answers = {k: kept for k, kept in self._answers.items() if kept[0] > self._clock()}
        if key in self._answers:
            return self._answers[key][1]
        flying = self._flying.get(key)
        if flying is None:
            flying = self._flying[key] = asyncio.create_task(self._fly(key, make), context=request_id.of_nobody())
        return await asyncio.shield(flying)

    async def _fly(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        try:
            answer = await make()
            self._answers[key] = (self._clock() + self._seconds, answer)
            return answer
        finally:
            del self._flying[key]

    async def close(self) -> None:
        """Cancel each function given to ``get`` that is still running; return when all have ended."""
        flying = tuple(self._flying.values())
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
