"""Keeps counters, one for each key, to limit what strangers may do. The counters fall with time.

The counters are in memory only. At most ``KEPT`` are kept; the one that was raised least recently is dropped first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

KEPT = 20_000  # keys that are kept; the oldest ones are forgotten first


class LeakyCounts:
    """Counters by key; each falls by one every ``seconds`` seconds. ``ticks``: a clock in seconds that never jumps."""

    def __init__(self, seconds: float, ticks: Callable[[], float]) -> None:
        self._seconds = seconds
        self._ticks = ticks
        self._counts: OrderedDict[str, tuple[float, float]] = OrderedDict()  # count, and when it was that

    def of(self, key: str) -> float:
        """Return the present count of a key; 0 if there is none."""
        count, at = self._counts.get(key, (0.0, 0.0))
        return max(0.0, count - (self._ticks() - at) / self._seconds)

    def add(self, key: str) -> float:
        """Add one to the count of a key, and return the new count."""
        count = self.of(key) + 1
        self._counts[key] = (count, self._ticks())
        self._counts.move_to_end(key)
        if len(self._counts) > KEPT:
            self._counts.popitem(last=False)
        return count
