from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorylink.util.rate_limiter import (
    AT_A_TIME,
    AWAITED,
    DENSE,
    EVEN,
    FAR,
    IDLE,
    LONG,
    MANY_EVENTS,
    MINUTE,
    PENDING,
    QUICK,
    SURVEY,
    Awaited,
    QuestionRateLimiter,
    TurnRateLimiter,
    interval,
)

CLASS = [i / 16 for i in range(60)]  # times in seconds at which the jobs of a class are submitted


def questions(
    pending: int,
    seconds: float,
    events: list[float],
    until_start: float | None = None,
    awaited: bool = True,
    starts: list[float] | None = None,
) -> list[float]:
    """Return the times at which the poller would ask within ``seconds``; all times in seconds.

    ``pending``: number of waiting jobs; ``events``: times at which something happens; ``until_start``: time until the
    nearest expected start of a job, None: no start is expected; ``awaited``: whether somebody always waits for the next
    answer; ``starts``: times at which jobs start, if all ``events`` are one burst; None: each answer shows a start.
    """
    budget, now, asked, unchanged = QuestionRateLimiter(), 0.0, [], 0
    while now < seconds:
        budget.take()
        last = asked[-1] if asked else 0.0
        changed = starts is None or any(last < start <= now for start in starts)
        unchanged = 0 if changed else unchanged + 1
        asked.append(now)
        last = now
        while True:  # computed again ten times a second, as if events woke it
            now += 0.1
            since = min((now - event for event in events if event <= now), default=LONG)
            if since < 0.1:
                unchanged = min(unchanged, 1)
            burst = sum(now - AT_A_TIME < event <= now for event in events) >= MANY_EVENTS
            facts = Awaited(
                pending=pending, awaited=awaited, since_event=since, burst=burst, unchanged=unchanged,
                until_start=until_start,
            )  # fmt: skip
            if now >= last + interval(facts) and budget.wait(now, pending) == 0:
                break
    return asked


@pytest.mark.parametrize("pending", [60, 600])
@pytest.mark.parametrize(
    "events",
    [[], [0.0], [float(i) for i in range(30)], [i / 10 for i in range(300)]],
    ids=["none", "one", "1/s", "10/s"],
)
@pytest.mark.parametrize("until_start", [None, 0.0, -100.0, 3.0])
def test_many_pending_sessions_cost_at_most_40_rpcs_in_30_s(
    pending: int, events: list[float], until_start: float | None
) -> None:
    surveys = 2 * (30 // SURVEY + 1) * 2  # two questions, two RPCs each
    assert 2 * len(questions(pending, 30, events, until_start)) + surveys <= 40


def test_one_session_is_asked_for_every_half_second_at_first() -> None:
    asked = [at for at in questions(1, 30, [0.0]) if at <= DENSE]
    gaps = [b - a for a, b in pairwise(asked)]
    assert max(gaps) <= QUICK + 0.11


@pytest.mark.parametrize("pending", [0, 200])
@pytest.mark.parametrize("seconds", [5, 20])
def test_questions_are_even_while_a_class_is_submitted(seconds: int, pending: int) -> None:
    asked = questions(pending, seconds, [i / 10 for i in range(10 * seconds)])
    gaps = [after - before for before, after in pairwise(asked)]
    assert max(gaps) <= EVEN + 0.11  # a start is noticed within two seconds
    assert min(gaps[1:]) >= EVEN - 0.11


def test_the_last_starts_of_a_class_are_noticed_at_once() -> None:
    asked = [at for at in questions(60, 10, [i / 10 for i in range(60)]) if 7 <= at <= 9]
    assert max(after - before for before, after in pairwise(asked)) <= QUICK + 0.11


def test_a_class_that_has_to_wait_costs_few_questions() -> None:
    asked = questions(60, 34, CLASS, awaited=False, starts=[])
    assert len([at for at in asked if at >= 4]) <= 8


@pytest.mark.parametrize(("first", "late"), [(4.0, 2.0), (5.0, 2.0), (6.0, 2.0), (6.5, 4.0), (8.0, 4.0)])
def test_the_first_start_of_a_class_is_noticed_soon(first: float, late: float) -> None:
    asked = questions(60, 20, CLASS, awaited=False, starts=[first + i / 10 for i in range(60)])
    assert min(at for at in asked if at >= first) <= first + late + 0.11


@pytest.mark.parametrize("first", [4.0, 5.0, 6.0])
def test_the_next_starts_of_a_class_are_noticed_at_once(first: float) -> None:
    asked = questions(60, 20, CLASS, awaited=False, starts=[first + i / 10 for i in range(60)])
    later = [at for at in asked if first <= at <= CLASS[-1] + DENSE]
    assert len(later) > 1
    assert max(after - before for before, after in pairwise(later)) <= QUICK + 0.11


def test_a_late_start_is_noticed_within_a_third_of_its_wait() -> None:
    asked = questions(1, 30, [0.0])
    for before, after in pairwise(asked):
        assert after - before <= max(QUICK, 0.3 * after) + 0.11


@pytest.mark.parametrize(
    ("awaited", "seconds"),
    [
        (Awaited(), IDLE),
        (Awaited(watched=True), FAR),
        (Awaited(running=3), FAR),
        (Awaited(pending=3, since_event=60), PENDING),
        (Awaited(pending=3, since_event=LONG), FAR),
        (Awaited(pending=3, until_start=3600), FAR),
        (Awaited(pending=3, until_start=10), 3.0),
        (Awaited(pending=3, until_start=-5), 1.0),
        (Awaited(since_event=0), QUICK),
        (Awaited(pending=60, since_event=0), QUICK),
        (Awaited(pending=60, since_event=0, unchanged=1), 2 * QUICK),
        (Awaited(pending=60, since_event=0, unchanged=50), PENDING),
        (Awaited(pending=60, since_event=0, unchanged=50, awaited=True), AWAITED),
        (Awaited(pending=60, since_event=0, unchanged=50, burst=True), EVEN),
        (Awaited(pending=3, since_event=0, unchanged=50), QUICK),
        (Awaited(pending=3, since_event=0, answer_seconds=2), 8.0),
        (Awaited(answer_seconds=100), IDLE),
        (Awaited(failures=1), 1.0),
        (Awaited(failures=4), 8.0),
        (Awaited(failures=50, since_event=0), IDLE),
    ],
)
def test_intervals_depend_on_what_is_awaited(awaited: Awaited, seconds: float) -> None:
    assert interval(awaited) == pytest.approx(seconds)


@given(
    st.builds(
        Awaited,
        pending=st.integers(0, 1000),
        running=st.integers(0, 1000),
        awaited=st.booleans(),
        since_event=st.floats(0, 1e6),
        burst=st.booleans(),
        unchanged=st.integers(0, 10**6),
        until_start=st.none() | st.floats(-1e6, 1e6),
        watched=st.booleans(),
        answer_seconds=st.floats(0, 60),
        failures=st.integers(0, 1000),
    )
)
def test_every_interval_is_within_bounds(awaited: Awaited) -> None:
    assert QUICK <= interval(awaited) <= IDLE


def test_necessary_questions_delay_later_ones() -> None:
    budget = QuestionRateLimiter()
    for _ in range(QuestionRateLimiter.SIZE + 2):
        budget.take()
    assert budget.wait(0.0, 1) == pytest.approx(3 * QuestionRateLimiter.SECONDS_FEW)
    assert budget.wait(3 * QuestionRateLimiter.SECONDS_FEW, 1) == 0


def test_many_accounts_share_the_pace_of_one_watcher() -> None:
    alone = interval(Awaited(pending=60, since_event=60))
    assert interval(Awaited(pending=60, since_event=60, questions=5)) == alone / 5
    assert interval(Awaited(pending=60, since_event=60, questions=500)) == QUICK
    assert interval(Awaited(pending=1, answer_seconds=5, questions=500)) == 20  # a slow scheduler is asked less often


@given(st.integers(1, 5000), st.lists(st.floats(0, 5), max_size=60))
def test_submissions_are_paced(per_minute: int, gaps: list[float]) -> None:
    turns, now, went = TurnRateLimiter(per_minute), 100.0, []
    for gap in gaps:
        now += gap
        went.append(now + turns.take(now))
    assert went == sorted(went)
    for first in range(len(went)):
        for last in range(first + turns.burst, len(went)):
            assert went[last] - went[first] >= (last - first - turns.burst) * turns.seconds - 1e-6


@given(st.integers(1, 60), st.lists(st.floats(0, 30), max_size=200))
def test_no_minute_has_more_submissions_than_were_promised(per_minute: int, gaps: list[float]) -> None:
    turns, now, went = TurnRateLimiter(per_minute), 100.0, []
    for gap in gaps:
        now += gap
        went.append(now + turns.take(now))
    for first, last in zip(went, went[per_minute:], strict=False):
        assert last - first >= MINUTE - 1e-6


def test_the_rate_is_reached_after_a_burst() -> None:
    turns = TurnRateLimiter(60)
    went = [turns.take(0.0) for _ in range(600)]
    assert went[59] == pytest.approx(40)  # 20 at once, then one in a second
    assert went[60] == pytest.approx(MINUTE)
    assert went[599] <= 10 * MINUTE


def test_a_class_of_200_goes_at_once() -> None:
    turns = TurnRateLimiter(600)
    assert max(turns.take(0.0) for _ in range(200)) < 1e-9
    assert turns.take(0.0) == pytest.approx(0.1)
