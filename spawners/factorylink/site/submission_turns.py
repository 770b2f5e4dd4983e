"""Limits the submissions at a factory, and gives people turns, so that a person with many jobs delays no one else."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable

from factorylink.util import clock
from factorylink.util.rate_limiter import MINUTE, TurnRateLimiter


class SubmissionTurns:
    """Gives people turns to submit a job at one factory, at most ``per_minute`` turns in a minute.

    While several people wait, they get one turn each, one after the other; a person's own submissions keep their order.
    """

    def __init__(self, per_minute: int) -> None:
        self._limiter = TurnRateLimiter(per_minute)
        # those who wait, by person; the person whose turn comes next is the first
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None  # until the next turn, which is already counted

    def count_earlier(self, ago: Iterable[float]) -> None:
        """Count the submissions of an earlier process of the link in the rate limit.

        ``ago``: how many seconds ago each was made; those of more than a minute ago do not matter.
        """
        now = clock.ticks()
        for seconds in sorted((one for one in ago if 0 <= one < MINUTE), reverse=True):
            self._limiter.take(now - seconds)

    async def take(self, person: str) -> None:
        """Wait until this person may submit one job."""
        if self._timer is None:
            wait = self._limiter.take(clock.ticks())
            if not wait:
                return
            self._timer = asyncio.get_running_loop().call_later(wait, self._give)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(person, deque()).append(turn)
        await turn

    def close(self) -> None:
        """Give no more turns to callers that wait in ``take``: they wait until they are cancelled."""
        if self._timer is not None:
            self._timer.cancel()

    def _give(self) -> None:
        """Let the next person who waits submit now; if others wait, too, plan the turn after this one.

        The rate limit has counted the present turn already; this turn is lost if nobody waits any more.
        """
        self._timer = None
        given = False
        while self._waiting and not given:
            person, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if given := not turn.done():  # a caller that was cancelled does not wait any more
                turn.set_result(None)
            if turns:
                self._waiting[person] = turns
                self._waiting.move_to_end(person, last=given)
        if self._waiting:
            wait = self._limiter.take(clock.ticks())
            self._timer = asyncio.get_running_loop().call_later(wait, self._give)
