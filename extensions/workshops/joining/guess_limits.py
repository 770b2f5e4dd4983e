"""Limits wrong join codes, without locking out anybody who has a right one.

A code has 60 bits, and a guess is for one workshop: at a thousand guesses a second, its code is found after eighteen
million years on average. So no limit has to refuse a right code. The limits keep guesses cheap for the service, and
warn the trainer:

- A right code is accepted, whoever else sends wrong ones from the same network address.
- A browser that sent ``BROWSER`` wrong codes must wait until one of them is forgiven, which takes ``FORGIVEN_SECONDS``.
- If a network address sent many wrong codes, its next wrong codes are answered up to ``SLOWEST`` seconds later, and
  right codes at once.
- If a workshop has ``NOTABLE`` wrong codes that are not forgiven yet, its trainer is told, at most once an hour. One of
  these codes is forgiven every ``HOUR / NOTABLE`` seconds.

The counts are in memory: a restart of the service forgets them, which gives a guesser a few more tries.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from factorycommon.leaky_counts import KEPT, LeakyCounts

BROWSER = 10
FORGIVEN_SECONDS = 30.0
ADDRESS = 60  # wrong codes of an address that are answered at once, as many as a class mistypes
ADDRESS_SECONDS = 5.0  # seconds after which one of them is forgiven
SLOWEST = 0.2
NOTABLE = 100
HOUR = 3600.0


class GuessLimits:
    """Counts wrong join codes in memory, by browser, network address and workshop.

    ``ticks``: a clock in seconds that never jumps.
    """

    def __init__(self, ticks: Callable[[], float]) -> None:
        self._browsers = LeakyCounts(FORGIVEN_SECONDS, ticks)
        self._addresses = LeakyCounts(ADDRESS_SECONDS, ticks)
        self._workshops = LeakyCounts(HOUR / NOTABLE, ticks)
        self._ticks = ticks
        self._said: OrderedDict[str, float] = OrderedDict()  # workshops whose trainer was told, and when

    def waits(self, browser: str) -> int:
        """Return the whole seconds that this browser must wait before it may send a code; 0: it may send one."""
        over = self._browsers.of(browser) - (BROWSER - 1)
        return 0 if over <= 0 else max(1, round(over * FORGIVEN_SECONDS))

    def wrong(self, browser: str, address: str) -> float:
        """Count a wrong code of this browser and network address; return the seconds to wait before answering it.

        ``browser``: the browser's id. The result is 0 for an address with few wrong codes, and at most ``SLOWEST``.
        """
        self._browsers.add(browser)
        over = self._addresses.add(address) - ADDRESS
        return min(SLOWEST, max(0.0, over * 0.01))

    def is_notable(self, slug: str) -> bool:
        """Count a wrong code of a workshop; return True if its trainer is to be told now of many wrong codes.

        The result is True at most once an hour for each workshop.
        """
        many = self._workshops.add(slug) >= NOTABLE
        if not many or self._ticks() - self._said.get(slug, -HOUR) < HOUR:
            return False
        self._said[slug] = self._ticks()
        self._said.move_to_end(slug)
        if len(self._said) > KEPT:
            self._said.popitem(last=False)
        return True
