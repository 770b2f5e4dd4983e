"""Join codes, one-time codes, and the limits of guesses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorycommon import leaky_counts
from workshops.joining import codes, guess_limits, one_time
from workshops.joining.guess_limits import GuessLimits
from workshops.joining.one_time import OneTimeCode
from workshops.store.schema import CodeRecord

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
SECRET = b"s" * 32


class Clock:
    """A clock in seconds, which a test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def test_a_code_is_read_as_people_type_it() -> None:
    made = codes.make_code()
    plain = made.replace("-", "")
    spaced = made.replace("-", " – ").lower()
    assert codes.normalized(f" {spaced}\n") == plain and len(plain) == codes.LENGTH
    assert codes.shown(plain) == made
    assert codes.normalized("IL1A-AAAA-AAAA") == "111AAAAAAAAA"
    assert not set("0OIL") & set(codes.ALPHABET)


@pytest.mark.parametrize("typed", ["", "ABCD", "ABCD-EFGH-JKM0", "ABCDEFGHJKMNP", "ÄBCD-EFGH-JKMN", "x" * 300])
def test_what_is_no_code_is_no_code(typed: str) -> None:
    assert codes.normalized(typed) is None


def code(**values: Any) -> CodeRecord:
    return CodeRecord("one", "00", "hash", NOW, "ada", **values)


def test_a_hash_is_of_one_salt_and_one_secret() -> None:
    plain = "A" * codes.LENGTH
    one, other = codes.make_salt(), codes.make_salt()
    found = {codes.hash_of(plain, salt, secret) for secret in (SECRET, b"t" * 32) for salt in (one, other)}
    assert len(found) == 4
    assert codes.is_code(plain, one, codes.hash_of(plain, one, SECRET), SECRET)
    assert not codes.is_code(plain, one, codes.hash_of(plain, other, SECRET), SECRET)


def test_a_code_ends_by_time_by_uses_or_by_hand() -> None:
    later = NOW + timedelta(hours=1)
    assert codes.fault(code(uses=3, used=2, expires=later), NOW) is None
    assert codes.fault(code(uses=3, used=3), NOW) == "used-up"
    assert codes.fault(code(expires=NOW), NOW) == "expired"
    assert codes.fault(code(revoked=NOW, expires=NOW), NOW) == "revoked"


@pytest.mark.parametrize(
    ("host", "may"),
    [
        ("example.org", True),
        ("Cs.Example.ORG", True),
        ("notexample.org", False),
        ("example.org.evil.net", False),
        ("org", False),
    ],
)
def test_domains_allow_their_own_hosts(host: str, may: bool) -> None:
    assert codes.allows(("Example.org",), host) is may
    assert codes.allows((), host)


def test_a_thousand_guesses_slow_only_wrong_ones() -> None:
    """All guesses come from one address; each browser of a guesser is new."""
    limits = GuessLimits(Clock())
    delays = [limits.wrong(f"{number:032x}", "192.0.2.1") for number in range(1000)]
    assert set(delays[: guess_limits.ADDRESS]) == {0.0}
    assert max(delays) == guess_limits.SLOWEST
    assert limits.waits("f" * 32) == 0  # somebody else's browser at the same address
    assert limits.wrong("f" * 32, "192.0.2.2") == 0.0


def test_a_browser_that_guesses_waits_and_is_forgiven() -> None:
    clock = Clock()
    limits = GuessLimits(clock)
    for _ in range(guess_limits.BROWSER - 1):
        limits.wrong("a", "192.0.2.1")
        assert limits.waits("a") == 0
    limits.wrong("a", "192.0.2.1")
    assert 0 < limits.waits("a") <= guess_limits.FORGIVEN_SECONDS
    clock.at += guess_limits.FORGIVEN_SECONDS
    assert limits.waits("a") == 0


def test_a_trainer_is_told_once_an_hour() -> None:
    clock = Clock()
    limits = GuessLimits(clock)
    said = [limits.is_notable("one") for _ in range(1000)]
    assert said.count(True) == 1
    assert not limits.is_notable("two")
    clock.at += guess_limits.HOUR
    assert True in [limits.is_notable("one") for _ in range(guess_limits.NOTABLE)]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guess_limits, "KEPT", 10)
    monkeypatch.setattr(leaky_counts, "KEPT", 10)
    limits = GuessLimits(Clock())
    for number in range(100):
        limits.wrong(f"{number}", f"192.0.2.{number}")
        limits.is_notable(f"w{number}")
    assert len(limits._browsers._counts) == len(limits._addresses._counts) == 10


@given(st.text(alphabet="0123456789", min_size=8, max_size=8))
def test_digits_are_read_as_people_type_them(digits: str) -> None:
    assert one_time.normalized(f" {digits[:4]} {digits[4:]} ") == digits
    assert one_time.normalized(f"{digits[:4]}-{digits[4:]}") == digits


@pytest.mark.parametrize("typed", ["", "1234567", "123456789", "1234567x", "١٢٣٤٥٦٧٨", "²2345678"])
def test_what_is_no_digits_is_no_digits(typed: str) -> None:
    assert one_time.normalized(typed) is None


def test_a_one_time_code_proves_for_ten_minutes_and_five_mistakes() -> None:
    right = one_time.digest(SECRET, "ticket", "ada@example.org", "12345678")
    sent = OneTimeCode(right, "ada@example.org", NOW)
    assert one_time.verdict(sent, right, NOW + timedelta(minutes=9)) == "right"
    assert one_time.verdict(sent, "0" * 64, NOW) == "wrong"
    assert one_time.verdict(sent, None, NOW) == "wrong"
    assert one_time.verdict(sent, right, NOW + one_time.LIFE) == "void"
    assert one_time.verdict(sent, right, NOW - timedelta(seconds=1)) == "void"  # the clock went back
    guessed = OneTimeCode(right, "ada@example.org", NOW, wrong=one_time.ATTEMPTS)
    assert one_time.verdict(guessed, right, NOW) == "void"


def test_a_one_time_code_is_of_its_ticket_and_its_address() -> None:
    found = {
        one_time.digest(SECRET, ticket, mail, "12345678")
        for ticket in ("one", "two")
        for mail in ("ada@example.org", "bob@example.org")
    }
    assert len(found) == 4
    assert len({one_time.new_digits() for _ in range(100)}) > 90
