"""Limits how often each person does something."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

_MOST_KEYS = 5000


class MinuteLimit:
    """Allows each key at most ``most`` acts a minute. ``now``: the clock.

    A key identifies who acts, for example by workshop and person.
    """

    def __init__(self, most: int, now: Callable[[], datetime]) -> None:
        self._most = most
        self._now = now
        self._times: dict[tuple[str, ...], deque[datetime]] = {}

    def allows(self, *key: str) -> bool:
        """Return whether the person whom ``key`` identifies may act once more now; if so, count the act."""
        now = self._now()
        if key not in self._times and len(self._times) >= _MOST_KEYS:
            self._times = {one: times for one, times in self._times.items() if now - times[-1] < timedelta(minutes=1)}
        times = self._times.setdefault(key, deque(maxlen=self._most))
        if len(times) == self._most and now - times[0] < timedelta(minutes=1):
            return False
        times.append(now)
        return True
