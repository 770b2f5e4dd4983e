"""Makes the report of a workshop from its people and from the history of their sessions. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from factorycommon.models import EndReason, is_robot
from factorycommon.models.history import ClusterUse, PastRun
from factorycommon.models.prices import Amount
from factorycommon.models.workshops import REHEARSAL
from workshops.models.ending import AttendanceRow, FailureSum, ReportView, WaitSums
from workshops.store.schema import MembershipRecord, WorkshopRecord

S = TypeVar("S", PastRun, ClusterUse)

_HOUR = 3600
FAILURES = frozenset(
    {
        EndReason.OUT_OF_MEMORY,
        EndReason.NODE_FAILED,
        EndReason.PREEMPTED,
        EndReason.CANCELLED_BY_SITE,
        EndReason.REFUSED,
        EndReason.GAVE_UP,
        EndReason.NEVER_OPENED_DOOR,
        EndReason.FAILED,
    }
)
Period = tuple[datetime, datetime]


@dataclass(frozen=True)
class WorkshopHistory:
    """The sessions of a workshop, and what its clusters used.

    ``whole``: usually True. False means that nothing is known: the link gave no usable answer, or the people's data
    were deleted and no sums had been stored before that. ``left_out``: True if there are more sessions than were read.
    """

    runs: tuple[PastRun, ...] = ()
    clusters: tuple[ClusterUse, ...] = ()
    whole: bool = True
    left_out: bool = False


def class_period(workshop: WorkshopRecord, now: datetime) -> Period:
    """Return the start and the end of the class, as far as it has taken place.

    The end is the planned end, the time of an early closing, or ``now``, whichever is first, but never before the
    start.
    """
    over = workshop.ends if workshop.closed is None else min(workshop.ends, workshop.closed)
    return workshop.starts, max(workshop.starts, min(over, now))


def attended(runs: Iterable[PastRun], period: Period, now: datetime) -> int:
    """Return the seconds of a period in which at least one of these sessions ran and had been opened.

    A session counts from when it was first opened: it may have been started ahead for a person who comes late or not at
    all. A session that still runs counts until ``now``.
    """
    begin, end = period
    found = sorted(
        (max(begin, since), min(end, until)) for since, until in (_ran(run, now) for run in runs) if since < until
    )
    seconds, reached = 0.0, begin
    for since, until in found:
        if until > max(since, reached):
            seconds += (until - max(since, reached)).total_seconds()
            reached = until
    return round(seconds)


def report(
    workshop: WorkshopRecord, people: Sequence[MembershipRecord], history: WorkshopHistory, now: datetime
) -> ReportView:
    """Return the report of a workshop.

    The report has a row for each person of the workshop, and for each other person who ran something for it. People of
    the waiting list who ran nothing have no row. What the robots of a rehearsal (made-up members) used is in the sums
    only.
    """
    notebooks = [run for run in history.runs if run.notebook]
    rehearsed = [run for run in notebooks if run.server.startswith(REHEARSAL) or is_robot(run.person)]
    before = {run.id for run in rehearsed if run.asked < workshop.opens}
    of_class = [run for run in notebooks if run.id not in before]
    period = class_period(workshop, now)
    runs, clusters = _by_person(history.runs), _by_person(history.clusters)
    rows = [
        _row(member, person, runs.get(person, []), clusters.get(person, []), period, now)
        for member, person in _people(people, runs.keys() | clusters.keys())
        if not is_robot(person)
    ]
    participants = [row for row in rows if row.role == "participant" and _had_seat(row.person, people)]
    return ReportView(
        **{name: getattr(workshop, name) for name in ("slug", "title", "state", "zone", "seats")},
        **{name: getattr(workshop, name) for name in ("opens", "starts", "ends", "closes", "erased")},
        made=now,
        joined=len(participants),
        waiting=sum(one.state == "waiting" for one in people),
        came=sum(row.minutes > 0 for row in participants),
        certified=sum(earns(row, workshop.certificate_percent) for row in participants),
        used_seats=_most_at_once(notebooks, {row.person for row in participants}, now),
        sessions=len(notebooks),
        running=sum(run.ready is not None and run.ended is None for run in notebooks),
        hours=_hours(notebooks),
        gpu_hours=math.fsum(run.gpu_hours for run in history.runs),
        cluster_gpu_hours=math.fsum(one.gpu_hours for one in history.clusters),
        costs=_costs(history.runs, history.clusters),
        waits=_waits(of_class),
        failures=_failures(of_class),
        people=tuple(rows),
        whole=history.whole,
        left_out=history.left_out,
    )


def without_people(made: ReportView) -> ReportView:
    """Return a copy of a report that has the sums, and no rows about single people."""
    return made.model_copy(update={"people": ()})


def earns(row: AttendanceRow, percent: int) -> bool:
    """Return whether the person of a row gets a certificate.

    A participant gets a certificate after taking part in at least ``percent`` per cent of the class, and for at least a
    minute.
    """
    return row.role == "participant" and row.minutes > 0 and 100 * row.share >= percent


def percentile(values: Collection[float], percent: float) -> float | None:
    """Return a percentile of the values by the nearest-rank method; None for no values. ``percent``: 0 to 100."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


def _by_person(found: Iterable[S]) -> dict[str, list[S]]:
    sorted_out: defaultdict[str, list[S]] = defaultdict(list)
    for one in found:
        sorted_out[one.person].append(one)
    return sorted_out


def _people(people: Sequence[MembershipRecord], ran: Collection[str]) -> list[tuple[MembershipRecord | None, str]]:
    """Return the people of a report, each with their membership: participants by seat, then the others.

    People who ran something and are not in the workshop any more come last, with None as membership. ``ran``: everybody
    who ran something; people of the waiting list are in the report only if they ran something.
    """
    known = {one.person: one for one in people if one.state != "waiting" or one.person in ran}
    order = sorted(known.values(), key=lambda one: (one.role != "participant", one.seat is None, one.seat, one.person))
    others = set(ran) - known.keys()
    return [*((one, one.person) for one in order), *((None, person) for person in sorted(others))]


def _row(
    member: MembershipRecord | None,
    person: str,
    all_runs: Sequence[PastRun],
    clusters: Sequence[ClusterUse],
    period: Period,
    now: datetime,
) -> AttendanceRow:
    runs = [run for run in all_runs if run.notebook]
    seconds, length = attended(runs, period, now), (period[1] - period[0]).total_seconds()
    waits = [wait for run in runs if (wait := _wait(run)) is not None]
    return AttendanceRow(
        person=person,
        name=(member.name or "") if member is not None else "",
        role=None if member is None else member.role,
        seat=None if member is None else member.seat,
        first=min((begin for run in runs if (begin := _opened(run)) is not None), default=None),
        minutes=seconds // 60,
        share=0.0 if not length else min(1.0, seconds / length),
        sessions=len(runs),
        hours=_hours(runs),
        gpu_hours=math.fsum(run.gpu_hours for run in all_runs),
        cluster_gpu_hours=math.fsum(one.gpu_hours for one in clusters),
        longest_wait=max(waits, default=None),
        failures=sum(run.end_reason in FAILURES for run in runs),
        costs=_costs(all_runs, clusters),
    )


def _had_seat(person: str, people: Iterable[MembershipRecord]) -> bool:
    return any(one.person == person and one.state in ("seated", "left", "banned") for one in people)


def _opened(run: PastRun) -> datetime | None:
    """Return when a session was first opened and ready; None: never."""
    # of a session that ran while the link was upgraded, ``opened`` does not say whether it was
    if run.ready is None or run.end_reason is EndReason.UNOPENED:
        return None
    if "opened" not in run.model_fields_set:  # from a link of the release before, which does not know the time
        return run.ready
    return None if run.opened is None else max(run.ready, run.opened)


def _ran(run: PastRun, now: datetime) -> Period:
    """Return from when to when a session ran after it was first opened.

    The period is empty if the session was never opened, or never became ready. A link of an earlier release does not
    report when a session was opened; then the session counts as opened when it became ready.
    """
    begin = _opened(run)
    return (now, now) if begin is None else (begin, run.ended or now)


def _hours(runs: Iterable[PastRun]) -> float:
    return sum(run.seconds for run in runs) / _HOUR


def _wait(run: PastRun) -> float | None:
    return None if run.ready is None else max(0.0, (run.ready - run.asked).total_seconds())


def _waits(runs: Iterable[PastRun]) -> WaitSums:
    found = [wait for run in runs if (wait := _wait(run)) is not None]
    return WaitSums(
        count=len(found), p50=percentile(found, 50), p95=percentile(found, 95), most=max(found, default=None)
    )


def _failures(runs: Iterable[PastRun]) -> tuple[FailureSum, ...]:
    counted = Counter((run.factory, run.end_reason, run.code) for run in runs if run.end_reason in FAILURES)
    order = sorted(counted.items(), key=lambda one: (-one[1], *map(str, one[0])))
    return tuple(
        FailureSum(factory=factory, reason=reason, code=code, count=count)
        for (factory, reason, code), count in order
        if reason is not None
    )


def _costs(runs: Iterable[PastRun], clusters: Iterable[ClusterUse]) -> tuple[Amount, ...]:
    sums: defaultdict[str, list[float]] = defaultdict(list)
    for one in (*(run.own for run in runs), *(each.own for each in clusters)):
        if one is not None:
            sums[one.unit].append(one.amount)
    return tuple(Amount(amount=math.fsum(some), unit=unit) for unit, some in sorted(sums.items()))


def _most_at_once(runs: Iterable[PastRun], people: Collection[str], now: datetime) -> int:
    """Return how many of these people had a running session at the same time, at most."""
    changes: list[tuple[datetime, int, str]] = []
    for run in runs:
        since, until = _ran(run, now)
        if run.person in people and since < until:
            changes += [(since, 1, run.person), (until, 0, run.person)]
    running: Counter[str] = Counter()
    most = 0
    for _, begins, person in sorted(changes):  # of one moment, ends are counted before begins
        running[person] += 1 if begins else -1
        most = max(most, sum(count > 0 for count in running.values()))
    return most
