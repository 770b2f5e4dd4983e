"""Decisions about a session's deadlines: when it ends, when it is warned, and when to check again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorygate.session.deadlines import Activity, Facts, SessionLimits, decide

LIMITS = SessionLimits(environment=900, unopened=1800, idle=3600)
START = 1_000_000.0
WAITING = Facts(started=START, ends=START + 7200)
UP = Facts(started=START, ends=START + 40_000, environment=True, up=START + 10, activity=Activity(START + 10))
USED = replace(UP, activity=Activity(START + 1000, opened=True))


@pytest.mark.parametrize(
    ("facts", "at", "reason"),
    [
        (WAITING, 899, None),
        (WAITING, 900, "no-environment"),
        (replace(WAITING, environment=True), 900, None),
        (replace(WAITING, ends=START + 500), 440, "walltime"),
        (UP, 1809, None),
        (UP, 1810, "unopened"),
        (replace(UP, activity=None), 39_000, None),  # the program reports no activity, so only the walltime ends it
        (replace(UP, activity=None), 39_940, "walltime"),
        (USED, 4599, None),
        (USED, 4600, "idle"),
        (replace(USED, activity=Activity(START + 1000, busy=True, opened=True)), 39_000, None),
        (replace(USED, activity=Activity(START + 1000, busy=True, opened=True)), 39_940, "walltime"),
        (replace(USED, ends=None), 4600, "idle"),
    ],
)
def test_a_session_ends_at_its_nearest_deadline(facts: Facts, at: float, reason: str | None) -> None:
    verdict = decide(START + at, facts, LIMITS)
    assert verdict.reason == reason
    assert bool(verdict.message) or reason is None


@pytest.mark.parametrize(
    ("facts", "at", "notice"),
    [
        (WAITING, 100, None),
        (replace(UP, ends=START + 2000), 1039, None),
        (replace(UP, ends=START + 2000), 1041, ("walltime", 1940, 15)),
        (replace(UP, activity=None, ends=START + 2000), 1641, ("walltime", 1940, 5)),
        (replace(UP, ends=START + 2000), 1641, ("unopened", 1810, 5)),
        (USED, 4299, None),
        (USED, 4300, ("idle", 4600, 5)),
        (UP, 1600, ("unopened", 1810, 5)),
        (replace(USED, ends=START + 5300), 4400, ("idle", 4600, 5)),  # the nearest of two deadlines
    ],
)
def test_warns_before(facts: Facts, at: float, notice: tuple[str, float, int] | None) -> None:
    found = decide(START + at, facts, LIMITS).notice
    assert (found and (found.reason, found.at - START, found.minutes)) == notice


def test_the_end_by_idleness_is_reported() -> None:
    assert decide(START + 20, UP, LIMITS).ends_idle == START + 1810
    assert decide(START + 1001, USED, LIMITS).ends_idle == START + 4600
    busy = replace(USED, activity=Activity(START + 1000, busy=True, opened=True))
    assert decide(START + 1001, busy, LIMITS).ends_idle is None


moments = st.floats(0, 50_000)


@given(
    now=moments,
    ends=st.none() | moments,
    up=st.none() | moments,
    last=moments,
    busy=st.booleans(),
    opened=st.booleans(),
    environment=st.booleans(),
)
def test_no_decision_changes_before_the_next_check(
    now: float, ends: float | None, up: float | None, last: float, busy: bool, opened: bool, environment: bool
) -> None:
    facts = Facts(0, ends, environment, up, Activity(last, busy, opened))
    verdict = decide(now, facts, LIMITS)
    if verdict.reason is None:
        assert now < verdict.wake
        just_before = now + (verdict.wake - now) * 0.999
        if just_before < verdict.wake:
            later = decide(just_before, facts, LIMITS)
            assert (later.reason, later.notice) == (None, verdict.notice)
