"""Questions to a scheduler that shows each account only its own jobs: their order, and what an answer changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from factorycommon.models import JobState
from factorylink.site.account_rotation import AccountRotation
from tests.unit.site_fakes import job

ACCOUNTS = st.sets(st.sampled_from("abcdef"), min_size=1)


def rounds(*accounts: str) -> AccountRotation:
    made = AccountRotation()
    made.accounts = lambda: accounts
    return made


def test_without_sessions_no_account_is_asked() -> None:
    assert rounds().next() is None


@given(ACCOUNTS)
def test_accounts_are_asked_in_turn(accounts: set[str]) -> None:
    made = rounds(*accounts)
    first, second = ([made.next() for _ in accounts] for _ in range(2))
    assert sorted(map(str, first)) == sorted(accounts)
    assert first == second


def test_accounts_with_events_are_asked_first() -> None:
    made = rounds("a", "b", "c")
    assert made.next() == "a"
    made.hurry("c")
    assert [made.next() for _ in range(4)] == ["c", "b", "a", "c"]


def test_an_account_is_asked_once_and_then_no_more() -> None:
    made = rounds("a")
    made.once("z")
    assert sorted(str(made.next()) for _ in range(2)) == ["a", "z"]
    assert [made.next() for _ in range(2)] == ["a", "a"]


def test_thousands_that_have_to_be_asked_once_keep_nobody_waiting() -> None:
    made = rounds("a", "b")
    for account in (*(f"x{number}" for number in range(1000)), "a", "b"):
        made.once(account)
    asked = [made.next() for _ in range(8)]
    assert asked.count("a") == asked.count("b") == 2
    made.hurry("c")
    assert made.next() == "c"
    assert len({made.next() for _ in range(3000)}) == 1000 - 4 + 2


def test_accounts_with_jobs_are_asked_though_no_session_has_them() -> None:
    made = rounds()
    made.hurry("z")
    assert made.next() == "z"
    made.answered("z", [job("1", account="z")])
    assert made.next() == "z"
    made.answered("z", [])
    assert made.next() is None


def test_an_answer_changes_only_its_own_account() -> None:
    made = rounds("a", "b")
    made.answered("a", [job("1", account="a")])
    assert set(made.answered("b", [job("2", JobState.RUNNING, account="b")])) == {"1", "2"}
    assert set(made.answered("a", [])) == {"2"}


def test_slow_accounts_are_skipped_and_not_forgotten() -> None:
    made = rounds("a", "b", "c")
    asked = []
    for _ in range(200):
        account = made.next()
        assert account is not None
        made.took(account, long=account == "a")
        asked.append(account)
    assert 4 <= asked.count("a") <= 10
    assert asked.count("b") > 80 < asked.count("c")
    assert "a" in asked[-70:]
    made.hurry("a")
    assert made.next() == "a"
    made.took("a", long=False)
    assert [made.next() for _ in range(70)].count("a") > 1


def test_if_all_accounts_are_slow_none_is_skipped() -> None:
    made = rounds("a", "b")
    asked = []
    for _ in range(20):
        account = made.next()
        assert account is not None
        made.took(account, long=True)
        asked.append(account)
    assert 5 <= asked.count("a") <= 15
