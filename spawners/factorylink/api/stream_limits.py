"""Limits how many event streams a person may hold open at the link.

Each stream costs a connection and a reader for as long as the person keeps it open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

from starlette.types import Receive, Scope, Send

from factorylink.api.http import EventStream, events
from factorylink.explain import explain
from factorylink.problems import of_words

MOST = 100  # streams of one person: each open page, notebook and cluster uses one


class ApiStreams:
    """Counts the open streams of each person."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def events(self, user: str, body: AsyncIterator[bytes]) -> EventStream:
        """Return ``body`` as an event stream of ``user``.

        Raises ProblemError if the person has too many open streams.
        """
        if self._open[user] >= self._most:
            raise of_words("too-many", explain.own("too-many-streams"))
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
