"""Limits how many event streams a person may hold open at a process.

Each stream costs a connection and a reader for as long as the person keeps it open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable

from starlette.types import Receive, Scope, Send

from factorycommon.service.http import EventStream, events
from factorycommon.service.problems import ProblemError


class StreamLimits:
    """Counts the open streams of each person, and allows each person at most ``most`` at the same time.

    ``refusal``: returns the error that is raised to refuse a stream.
    """

    def __init__(self, most: int, refusal: Callable[[], ProblemError]) -> None:
        self._most = most
        self._refusal = refusal
        self._open: Counter[str] = Counter()

    def full(self, user: str) -> bool:
        """Return True if the person has as many open streams as they may have."""
        return self._open[user] >= self._most

    def events(self, user: str, body: AsyncIterator[bytes]) -> EventStream:
        """Return ``body`` as an event stream of ``user``; the stream counts as open until its response ends.

        Raises ProblemError if the person has too many open streams.
        """
        if self.full(user):
            raise self._refusal()
        return _Counted(self._open, user, body)


class _Counted(EventStream):
    def __init__(self, open_: Counter[str], user: str, body: AsyncIterator[bytes]) -> None:
        plain = events(body)
        super().__init__(plain.body_iterator, headers=dict(plain.headers))
        self._open = open_
        self._user = user
        open_[user] += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; when it ends, for whatever reason, stop counting it for the person."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._open[self._user] -= 1
            if not self._open[self._user]:
                del self._open[self._user]
