"""Limits the tests of the connection check, which anybody may use without a login.

A class behind one network address can do the check together, so each address may do as many tests at once as a class
needs. All addresses together get a bounded number of bytes, and have a bounded number of tests open.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Literal, NamedTuple

from factorycommon.leaky_counts import LeakyCounts

CheckKind = Literal["trip", "download", "upload", "stream", "socket"]

FULL_SECONDS = 3.0  # until the browser may repeat a test that was refused because too many are open


class Allowance(NamedTuple):
    """How many tests of one kind the connection check allows.

    ``burst``: how many tests one network address may begin without a pause; after these, one test every ``seconds``
    seconds. ``all_burst``, ``all_seconds``: the same two limits for all addresses together. ``most_open``: how
    many tests of all addresses together may be open at the same time.
    """

    burst: int
    seconds: float
    all_burst: int
    all_seconds: float
    most_open: int


ALLOWED: dict[CheckKind, Allowance] = {
    "trip": Allowance(900, 0.2, 3000, 0.02, 100),
    "download": Allowance(90, 2.0, 200, 0.5, 16),  # 2 MiB each: 4 MiB a second at most, after the first 200
    "upload": Allowance(90, 2.0, 200, 0.5, 16),
    "stream": Allowance(90, 1.0, 400, 0.1, 100),
    "socket": Allowance(90, 1.0, 400, 0.1, 100),
}


class CheckLimits:
    """Limits the tests of the connection check; ``ALLOWED`` has the limits for each kind of test.

    The tests are counted by network address, and in total. ``ticks``: a clock in seconds that never jumps.
    """

    def __init__(self, ticks: Callable[[], float]) -> None:
        self._addresses = {kind: LeakyCounts(one.seconds, ticks) for kind, one in ALLOWED.items()}
        self._all = {kind: LeakyCounts(one.all_seconds, ticks) for kind, one in ALLOWED.items()}
        self._open: Counter[CheckKind] = Counter()

    @contextmanager
    def one_more(self, kind: CheckKind, address: str) -> Iterator[int]:
        """Count a test that comes from a network address, and count it as open until the ``with`` block ends; yield 0.

        If the test is not allowed, do not count it, and yield the number of seconds after which to try again.
        """
        wait = self._wait(kind, address_key(address))
        if wait:
            yield wait
            return
        self._addresses[kind].add(address_key(address))
        self._all[kind].add("")
        self._open[kind] += 1
        try:
            yield 0
        finally:
            self._open[kind] -= 1

    def _wait(self, kind: CheckKind, key: str) -> int:
        allowed = ALLOWED[kind]
        seconds = FULL_SECONDS if self._open[kind] >= allowed.most_open else 0.0
        over = self._addresses[kind].of(key) - (allowed.burst - 1)
        all_over = self._all[kind].of("") - (allowed.all_burst - 1)
        return math.ceil(max(seconds, over * allowed.seconds, all_over * allowed.all_seconds))


def address_key(address: str) -> str:
    """Return the key under which tests from a network address are counted; "" for a text that is no IP address.

    For IPv6 the key is the address's network of 64 bits, because one person may have all addresses of this network. The
    key of an IPv4 address is the address itself, also if it is written as IPv6.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network((found, 64), strict=False))
    return str(found)
