"""The states of a workshop: the table, its docs, and changes with time, whatever happens in whatever order."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from factoryspawner.pages.workshops.pages import HAPPENED
from workshops.models.views import LOGGED_STEPS, LogEvent
from workshops.states import (
    FINAL,
    IN_TABLE,
    STEPS,
    TABLE,
    NoSuchStep,
    Schedule,
    WorkshopEvent,
    WorkshopState,
    after,
    due,
    next_due,
)

DOCS = (Path(__file__).parents[2] / "docs" / "states.md").read_text()
OPENS = datetime(2026, 11, 30, 8, tzinfo=UTC)
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| `(\w+)` \| ([\w, ]+) \|$", re.M)


def test_the_table_of_the_docs_is_the_code_s() -> None:
    part = DOCS[DOCS.index("## The states of a workshop") :]
    written = [(source, event, target, frozenset(by.split(", "))) for source, event, target, by in ROW.findall(part)]
    assert written == [(step.source, step.event, step.target, step.causes) for step in TABLE]


def test_each_state_is_explained_in_the_docs() -> None:
    part = DOCS[DOCS.index("## The states of a workshop") :]
    assert re.findall(r"^\| `(\w+)` \| [^`]*? \|$", part, re.M) == [state.value for state in WorkshopState]


def test_each_state_can_be_reached_and_left() -> None:
    reached, before = {WorkshopState.DRAFT}, set[WorkshopState]()
    while reached != before:
        before = set(reached)
        reached |= {step.target for step in TABLE if step.source in before}
    assert reached == set(WorkshopState)
    assert {step.source for step in TABLE} == set(WorkshopState) - FINAL


minutes = st.integers(min_value=0, max_value=10_000).map(lambda n: timedelta(minutes=n))


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    before, long, rest = draw(minutes), draw(minutes) + timedelta(minutes=1), draw(minutes)
    starts = OPENS + before
    return Schedule(
        opens=OPENS,
        starts=starts,
        ends=starts + long,
        closes=starts + long + rest,
        warm=draw(minutes),
        closed=None,
        clear=draw(minutes),
    )


acts = st.lists(st.one_of(st.sampled_from(list(WorkshopEvent)), minutes), max_size=40)


@given(schedules(), acts)
def test_whatever_people_and_time_do_the_states_keep_their_order(schedule: Schedule, acts: list[object]) -> None:
    state, now, seen = WorkshopState.DRAFT, OPENS - timedelta(days=8), [WorkshopState.DRAFT]
    for act in acts:
        if isinstance(act, timedelta):
            now += act
        else:
            assert isinstance(act, WorkshopEvent)
            try:
                state = after(state, act)
            except NoSuchStep:
                assert (state, act) not in STEPS
                continue
            seen.append(state)
        for _ in range(len(WorkshopState)):  # a service that was away takes several steps at once
            if (event := due(state, schedule, now)) is None:
                break
            assert "time" in STEPS[state, event].causes
            state = after(state, event)
            seen.append(state)
        assert due(state, schedule, now) is None
        following = next_due(state, schedule)
        assert (following is None) == (state in FINAL)
        assert following is None or following > now
        if now >= schedule.closes + schedule.clear:
            assert state in FINAL  # nothing stays for ever
        if state in FINAL:
            assert not [event for event in WorkshopEvent if (state, event) in STEPS]
    order = [WorkshopState.WARMING, WorkshopState.OPEN, WorkshopState.CLOSING, WorkshopState.ARCHIVED]
    ranks = [order.index(one) for one in seen if one in order]
    assert ranks == sorted(ranks)  # a class that has begun never begins again
    for one, following_state in pairwise(seen):
        if following_state in (WorkshopState.WARMING, WorkshopState.OPEN):
            assert one in IN_TABLE  # no seat starts before the link knows the workshop


def test_the_page_has_words_for_every_line_of_the_log() -> None:
    assert set(HAPPENED) == set(get_args(LogEvent))
    assert all(HAPPENED.values())
    assert set(LOGGED_STEPS) == set(WorkshopEvent)
