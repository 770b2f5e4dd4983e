"""The report of a workshop: its sums agree with its rows, whatever people ran, and its CSV is safe to open."""

from __future__ import annotations

import csv
import io
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorycommon.models import EndReason
from factorycommon.models.history import ClusterUse, PastRun
from factorycommon.models.prices import Amount
from workshops.ending.report import FAILURES, WorkshopHistory, attended, earns, percentile, report, without_people
from workshops.ending.report_csv import FIELDS, written
from workshops.models.ending import ReportView
from workshops.states import WorkshopState
from workshops.store.schema import MembershipRecord, WorkshopRecord

STARTS = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
ENDS = STARTS + timedelta(hours=3)
AFTER = STARTS + timedelta(hours=6)
NAMES = ("ada", "ben", "eve", "tina")


def at(minutes: float) -> datetime:
    """Return the time ``minutes`` after the beginning of the class."""
    return STARTS + timedelta(minutes=minutes)


def workshop(**fields: Any) -> WorkshopRecord:
    values: dict[str, Any] = {
        "slug": "first-2345", "title": "First steps", "zone": "Europe/Berlin", "opens": at(-60), "starts": STARTS,
        "ends": ENDS, "closes": at(240), "seats": 6, "hours": 4, "gpu_hours": None, "person_gpu_hours": None,
        "terms": "", "languages": ("en",), "material": None, "retention_days": 30, "warm_minutes": 30,
        "state": WorkshopState.CLOSING, "version": 1, "made": at(-600), "made_by": "tina", **fields,
    }  # fmt: skip
    return WorkshopRecord(**values)


def member(person: str, role: Any = "participant", state: Any = "seated", seat: int | None = 1) -> MembershipRecord:
    return MembershipRecord("first-2345", person, role, state, seat, at(-100), name=f"The {person}")


PEOPLE = [member("ada", seat=1), member("ben", seat=2), member("eve", state="waiting", seat=None),
          member("tina", "lead", "staff", None)]  # fmt: skip


def run(person: str = "ada", since: float | None = 0, until: float | None = 180, **fields: Any) -> PastRun:
    """Return a session that answered ``since`` and ended ``until``, in minutes after the class has begun."""
    ready = None if since is None else at(since)
    values: dict[str, Any] = {
        "id": "a" * 32, "person": person, "server": "", "factory": "one", "size": "gpu-1", "environment": "python",
        "asked": at((since or 0) - 2), "started": ready, "ready": ready, "opened": ready,
        "ended": None if until is None else at(until),
        "end_reason": None if until is None else EndReason.FINISHED, **fields,
    }  # fmt: skip
    return PastRun(**values)


def made(*runs: PastRun, clusters: tuple[ClusterUse, ...] = (), now: datetime = AFTER, **fields: Any) -> ReportView:
    return report(workshop(**fields), PEOPLE, WorkshopHistory(runs, clusters), now)


def row(found: ReportView, person: str) -> Any:
    return next(one for one in found.people if one.person == person)


# --- attendance


@pytest.mark.parametrize(
    ("runs", "minutes"),
    [
        ([run()], 180),
        ([run(since=-50, until=300)], 180),  # only the class counts
        ([run(since=0, until=60), run(since=30, until=90)], 90),  # no minute counts twice
        ([run(since=100, until=120), run(since=0, until=10)], 30),
        ([run(since=None, until=50)], 0),  # its notebook never answered
        ([run(end_reason=EndReason.UNOPENED)], 0),  # it ran while the link was upgraded
        ([run(opened=None, end_reason=EndReason.UNOPENED)], 0),  # started ahead for somebody who did not come
        ([run(opened=None, end_reason=EndReason.STOPPED)], 0),  # and then stopped or restarted by a helper
        ([run(opened=None)], 0),
        ([run(opened=None, until=None)], 0),
        ([run(since=-20, opened=at(-10))], 180),
        ([run(since=-20, opened=at(120))], 60),  # started ahead for somebody who came late
        ([run(since=-20, until=300, opened=at(200))], 0),
        ([run(since=50, opened=at(40))], 130),
        ([run(since=200, until=220)], 0),
        ([run(since=170, until=None)], 10),
        ([run(server="dask/c")], 0),  # a cluster's scheduler is nobody's presence
    ],
)
def test_attendance_is_the_time_of_the_class_in_which_a_session_ran(runs: list[PastRun], minutes: int) -> None:
    found = row(made(*runs), "ada")
    assert (found.minutes, found.share) == (minutes, pytest.approx(minutes / 180))


def test_a_link_of_the_release_before_does_not_say_when_a_session_was_opened() -> None:
    sent = run().model_dump(mode="json")
    del sent["opened"]
    assert row(made(PastRun.model_validate(sent)), "ada").minutes == 180
    assert row(made(PastRun.model_validate(sent | {"end_reason": "unopened"})), "ada").minutes == 0


def test_whoever_opened_no_session_did_not_come() -> None:
    found = made(run(opened=None), run("ben", since=-20, opened=at(90)), certificate_percent=0)
    assert (found.joined, found.came, found.certified, found.used_seats, found.sessions) == (2, 1, 1, 1, 2)
    assert (row(found, "ada").first, row(found, "ben").first) == (None, at(90))


def test_while_the_class_takes_place_only_what_has_passed_counts() -> None:
    found = made(run(since=0, until=None), now=at(60), state=WorkshopState.OPEN)
    assert (row(found, "ada").minutes, row(found, "ada").share, found.running) == (60, 1.0, 1)


def test_a_class_that_closed_early_was_shorter() -> None:
    assert row(made(run(since=0, until=60), closed=at(60)), "ada").share == 1.0


@pytest.mark.parametrize(("minutes", "percent", "earned"), [(135, 75, True), (134, 75, False), (1, 0, True)])
def test_a_certificate_needs_the_trainers_share_of_the_class(minutes: int, percent: int, earned: bool) -> None:
    found = made(run(since=0, until=minutes), certificate_percent=percent)
    assert earns(row(found, "ada"), percent) is earned
    assert found.certified == int(earned)
    assert not earns(row(made(run("tina")), "tina"), percent)  # who teaches gets none


# --- sums


def test_a_report_counts_people_waits_failures_and_cost() -> None:
    unit = Amount(amount=1.5, unit="node-hour")
    found = made(
        run("ada", 0, 180, seconds=3600, gpu_hours=1.0, own=unit, asked=at(-1)),
        run("ben", 10, 60, seconds=1800, gpu_hours=0.5, own=unit, asked=at(5)),
        run("ben", None, 70, end_reason=EndReason.FAILED, code="failed"),
        run("gone", 20, 40, server="dask/c", gpu_hours=0.25),
        clusters=(ClusterUse(person="ben", factory="one", size="gpu-1", jobs=2, gpu_hours=4, own=unit),),
    )
    assert [(one.person, one.role) for one in found.people] == [
        ("ada", "participant"), ("ben", "participant"), ("tina", "lead"), ("gone", None)
    ]  # fmt: skip
    assert (found.joined, found.came, found.waiting, found.used_seats, found.sessions) == (2, 2, 1, 2, 3)
    assert (found.hours, found.gpu_hours, found.cluster_gpu_hours) == (1.5, 1.75, 4.0)
    assert found.costs == (Amount(amount=4.5, unit="node-hour"),)
    assert (found.waits.count, found.waits.p50, found.waits.p95, found.waits.most) == (2, 60, 300, 300)
    assert [(one.reason, one.code, one.count) for one in found.failures] == [("failed", "failed", 1)]
    assert row(found, "ben").failures == 1


MINUTES = st.integers(-100, 400)
RUNS = st.builds(
    lambda person, since, length, live, head, reason, gpu, unit, seconds, opened: run(
        person,
        since,
        None if live else (since or 0) + length,
        server="dask/c" if head else "",
        end_reason=None if live else reason,
        gpu_hours=gpu,
        seconds=seconds,
        own=Amount(amount=gpu, unit=unit) if unit else None,
        opened=None if since is None or opened is None else at(since + opened),
    ),
    st.sampled_from(NAMES),
    st.none() | MINUTES,
    st.integers(0, 300),
    st.booleans(),
    st.booleans(),
    st.sampled_from(list(EndReason)),
    st.floats(0, 1000),
    st.sampled_from(["", "node-hour", "credit"]),
    st.integers(0, 10**6),
    st.none() | st.integers(0, 300),
)
CLUSTERS = st.builds(
    lambda person, gpu, jobs: ClusterUse(person=person, factory="one", size=None, jobs=jobs, gpu_hours=gpu),
    st.sampled_from(NAMES),
    st.floats(0, 1000),
    st.integers(0, 100),
)


@given(st.lists(RUNS, max_size=12), st.lists(CLUSTERS, max_size=4), MINUTES)
def test_the_sums_of_a_report_are_those_of_its_rows(runs: list[PastRun], clusters: list[ClusterUse], now: int) -> None:
    found = made(*runs, clusters=tuple(clusters), now=at(now))
    rows = found.people
    assert found.sessions == sum(one.sessions for one in rows)
    for name in ("hours", "gpu_hours", "cluster_gpu_hours"):
        assert getattr(found, name) == pytest.approx(math.fsum(getattr(one, name) for one in rows))
    for cost in found.costs:
        mine = [one.amount for person in rows for one in person.costs if one.unit == cost.unit]
        assert cost.amount == pytest.approx(math.fsum(mine))
    assert sum(one.count for one in found.failures) == sum(one.failures for one in rows)
    assert all(one.reason in FAILURES for one in found.failures)
    assert found.certified <= found.came <= found.joined
    assert found.used_seats <= found.joined
    length = max(0, min(180, now))
    assert all(0 <= one.minutes <= length and 0 <= one.share <= 1 for one in rows)
    assert {one.person for one in rows} >= {run.person for run in runs}
    waits = found.waits
    assert waits.count == 0 or (waits.p50 or 0) <= (waits.p95 or 0) <= (waits.most or 0)
    turned = made(*reversed(runs), clusters=tuple(clusters), now=at(now))
    assert [(one.person, one.minutes, one.sessions) for one in turned.people] == [
        (one.person, one.minutes, one.sessions) for one in rows
    ]


@given(st.lists(RUNS, max_size=10), st.integers(0, 180))
def test_attendance_of_two_parts_is_that_of_the_whole(runs: list[PastRun], middle: int) -> None:
    parts = [attended(runs, period, AFTER) for period in ((STARTS, at(middle)), (at(middle), ENDS))]
    assert sum(parts) == attended(runs, (STARTS, ENDS), AFTER)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(1, 100))
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(one <= found for one in values) * 100 >= percent * len(values) - 1e-6
    assert percentile([], 50) is None


def test_without_people_only_sums_are_left() -> None:
    found = made(run("ada", gpu_hours=2.0))
    sums = without_people(found)
    assert sums.people == ()
    assert sums.model_copy(update={"people": found.people}) == found
    assert "ada" not in sums.model_dump_json()


# --- CSV


def test_the_csv_of_a_report() -> None:
    found = made(
        run("ada", 0, 90, seconds=5400, gpu_hours=1.5, own=Amount(amount=0.375, unit="node-hour"), asked=at(-1)),
        run("=cmd|' /C calc'!A1", 0, 10, seconds=600),
    )
    assert written(found) == (
        ",".join(FIELDS) + "\r\n"
        "ada,The ada,participant,1,2026-11-30T09:00:00+00:00,90,0.500,1,1.500,1.500000,0.000000,60,0,"
        "0.375000 node-hour\r\n"
        "ben,The ben,participant,2,,0,0.000,0,0.000,0.000000,0.000000,,0,\r\n"
        "tina,The tina,lead,,,0,0.000,0,0.000,0.000000,0.000000,,0,\r\n"
        "'=cmd|' /C calc'!A1,,,,2026-11-30T09:00:00+00:00,10,0.056,1,0.167,0.000000,0.000000,120,0,\r\n"
    )


@given(st.text(min_size=1, max_size=20).filter(str.isprintable))
def test_no_cell_of_the_csv_is_a_formula(name: str) -> None:
    text = written(made(run(name)))
    for cells in csv.reader(io.StringIO(text, newline="")):
        assert len(cells) == len(FIELDS)
        assert not [one for one in cells if one.startswith(("=", "+", "-", "@"))]
