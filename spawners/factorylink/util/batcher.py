"""Batches requests for the same work: requests that arrive while work is running are done together afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from factorycommon import request_id
from factorylink.errors import Refused

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Batcher(Generic[K, T]):
    """Batches calls: one call of ``work`` does several things that callers pass to ``do`` with the same key.

    ``work`` gets the key and at most ``most`` things. A key has one call of ``work`` at a time; things that arrive
    meanwhile wait for the next call. The first call starts at once, without waiting for more things.

    ``apart``: the classes of errors which mean that no thing of the call was done. After such an error, ``work`` is
    called for each of these things alone, so that only the caller of a wrong thing gets the error. Any other error goes
    to all callers whose things were in the call.
    """

    def __init__(
        self,
        work: Callable[[K, Sequence[T]], Awaitable[None]],
        most: int,
        apart: type[Exception] | tuple[type[Exception], ...] = Refused,
    ) -> None:
        self._work = work
        self._most = most
        self._apart = apart
        self._waiting: dict[K, list[tuple[T, asyncio.Future[None]]]] = {}
        self._rounds: dict[K, asyncio.Task[None]] = {}

    async def do(self, key: K, thing: T) -> None:
        """Let ``work`` do ``thing``, perhaps in one call with other things of ``key``; return when it is done.

        Raises the error that ``work`` raised for this thing, or for the whole call.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append((thing, done))
        if key not in self._rounds:
            self._rounds[key] = asyncio.create_task(self._go_round(key), context=request_id.of_nobody())
        await done

    async def settle(self) -> None:
        """Return when all requested work is done."""
        await asyncio.gather(*self._rounds.values(), return_exceptions=True)

    async def close(self) -> None:
        """Cancel the running work, and all callers of ``do`` that still wait; return when the work has ended."""
        rounds = [*self._rounds.values()]
        for each in rounds:
            each.cancel()
        await asyncio.gather(*rounds, return_exceptions=True)
        for _, done in (entry for waiting in self._waiting.values() for entry in waiting):
            done.cancel()

    async def _go_round(self, key: K) -> None:
        now: Sequence[tuple[T, asyncio.Future[None]]] = ()
        try:
            while waiting := [entry for entry in self._waiting.get(key, ()) if not entry[1].done()]:
                now, self._waiting[key] = waiting[: self._most], waiting[self._most :]
                await self._round(key, now)
        finally:
            del self._rounds[key]
            for _, done in (*now, *self._waiting.pop(key, ())):
                done.cancel()  # has no effect if the thing is done

    async def _round(self, key: K, now: Sequence[tuple[T, asyncio.Future[None]]]) -> None:
        try:
            await self._work(key, [thing for thing, _ in now])
        except self._apart as error:
            if len(now) == 1:
                _tell(now, error)
            else:
                for entry in now:
                    await self._round(key, [entry])
        except Exception as error:  # noqa: BLE001  (raised to all callers)
            _tell(now, error)
        else:
            _tell(now, None)


def _tell(now: Sequence[tuple[T, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, done in now:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
