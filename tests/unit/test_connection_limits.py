"""The limits of the connection check: a class behind one address passes, and nobody gets bytes without end."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from factorycommon import leaky_counts
from factoryspawner.pages.check import limits as module
from factoryspawner.pages.check.handlers import DOWNLOAD_BYTES
from factoryspawner.pages.check.limits import ALLOWED, CheckKind, CheckLimits, address_key


class Ticks:
    """A clock in seconds, which a test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def once(limits: CheckLimits, kind: CheckKind, address: str) -> int:
    """Do a test that ends at once; return after how many seconds to try again, 0 if the test was allowed."""
    with limits.one_more(kind, address) as wait:
        return wait


@pytest.mark.parametrize("kind", ALLOWED)
def test_a_class_behind_one_address_does_the_check_at_once(kind: CheckKind) -> None:
    limits = CheckLimits(Ticks())
    times = 5 if kind == "trip" else 1
    assert [once(limits, kind, "192.0.2.1") for _ in range(60 * times)] == [0] * 60 * times


def test_an_address_that_asks_on_and_on_has_to_wait_and_others_have_not() -> None:
    ticks = Ticks()
    limits = CheckLimits(ticks)
    waits = [once(limits, "download", "192.0.2.1") for _ in range(200)]
    assert waits[:90] == [0] * 90
    assert all(0 < wait <= 3 for wait in waits[91:])  # it does not get longer by asking
    assert once(limits, "download", "192.0.2.2") == 0
    assert once(limits, "stream", "192.0.2.1") == 0
    ticks.at += waits[-1]
    assert once(limits, "download", "192.0.2.1") == 0


def test_many_addresses_together_get_a_bounded_number_of_bytes() -> None:
    ticks = Ticks()
    limits = CheckLimits(ticks)
    begun = 0
    for number in range(6000):  # a minute with a hundred requests a second, each from another address
        ticks.at += 0.01
        begun += once(limits, "download", f"198.51.{number // 250}.{number % 250}") == 0
    assert 300 <= begun <= 330
    assert begun * DOWNLOAD_BYTES / 60 < 12e6


def test_only_so_many_are_open_and_a_refused_one_is_not_counted() -> None:
    limits = CheckLimits(Ticks())
    most = ALLOWED["socket"].most_open
    with ExitStack() as opened:
        for number in range(most):
            assert opened.enter_context(limits.one_more("socket", f"192.0.2.{number}")) == 0
        for _ in range(200):
            assert once(limits, "socket", "203.0.113.1") == module.FULL_SECONDS
    assert [once(limits, "socket", "203.0.113.1") for _ in range(90)] == [0] * 90


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),  # one person may have all of these
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("no address", "", True),
    ],
)
def test_an_address_of_ipv6_counts_with_its_network(one: str, other: str, same: bool) -> None:
    assert (address_key(one) == address_key(other)) is same


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaky_counts, "KEPT", 10)
    limits = CheckLimits(Ticks())
    for number in range(100):
        once(limits, "trip", f"192.0.2.{number}")
    assert len(limits._addresses["trip"]._counts) == 10
