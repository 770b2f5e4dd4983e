"""Charges GPU-hours for jobs: reserves a job's walltime before the submission, charges the job's use at the end.

A charge belongs to one job. Until the job is over, its charge reserves the rest of the job's walltime, since the job
may still use it. A new job is refused if the project's grant does not suffice, so no new job can bring the project's
use and reservations above the grant. Existing jobs can: for example if they are requeued, if the site gives them more
time, or if the link finds them after the ledger was lost. What a project has used and reserved are sums of its charges;
no second number exists that could differ. Seconds are whole, as schedulers count them. The GPUs of a job may be a
fraction (a slice of a GPU), which is stored as two whole numbers, so that sums stay exact.

Functions that change charges return a "write": a function that the ledger calls within a commit.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Float,
    Integer,
    RowMapping,
    Select,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    or_,
    select,
    type_coerce,
    update,
)

from factorycommon.gpu_shares import plain
from factorycommon.models import End, Project, ProjectBalance, ProjectId, Slug, UsageLine
from factorylink.explain import explain
from factorylink.ledger.ledger import Ledger, Rejected, Write, upsert
from factorylink.ledger.schema import budgets, charges
from factorylink.problems import ProblemError, of_words
from factorylink.util import clock

HOUR = 3600
# Both in parts of GPU-seconds: divide by ``gpu_parts``. Wide, since PostgreSQL multiplies Integers in 32 bits.
_gpus = cast(charges.c.gpus, BigInteger)
_held = _gpus * (charges.c.earlier + charges.c.reserved)  # the most that a job which is not over may use
_used = _gpus * charges.c.seconds  # of a job that is over


def billed(row: Mapping[str, Any] | RowMapping) -> Fraction:
    """Return how many GPUs are billed, from a row of ``charges`` or ``clusters``, as an exact fraction."""
    return Fraction(row["gpus"], max(1, row["gpu_parts"]))


@dataclass(frozen=True)
class ChargeReservation:
    """The most that one job may use: its billed GPUs (``gpus``) for its whole walltime (``seconds``).

    ``id``: the id of its charge: the session's id, or the result of ``worker_charge``. ``project`` None: no project is
    charged.
    """

    id: str
    project: ProjectId | None
    factory: str
    person: str
    account: str
    gpus: Fraction
    seconds: int


class OverBudget(Rejected):
    """Raised if a project has too few GPU-hours left for a request, or ends before a job of the request would end.

    ``left``: the GPU-hours that are left; ``needs``: the GPU-hours of all jobs of the request, or the additional ones
    of a job that is to run longer; both None if the project ends too soon. ``of_person``: True if ``left`` is what is
    left of the person's share of the project. ``fits``: how many jobs the budget allows if all are like the first job
    of the request; None if this was not computed.
    """

    def __init__(
        self, project: Project, left: Fraction | None, needs: Fraction | None, of_person: bool = False
    ) -> None:
        """Take ``left`` and ``needs`` in GPU-seconds; the attributes have them in GPU-hours."""
        super().__init__(f"The budget of {project.id} does not allow it.")
        self.project = project
        self.of_person = of_person
        self.left_seconds = left or Fraction(0)
        self.left = None if left is None else float(left / HOUR)
        self.needs = None if needs is None else float(needs / HOUR)
        self.fits: int | None = None

    def problem(self) -> ProblemError:
        """Return the refusal as a ProblemError with an explanation for the person."""
        ends = self.project.ends
        until = "" if ends is None else ends.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        if self.left is None or self.needs is None:
            code, figures = "budget-ends", {"until": until}
        else:
            code = "budget-over" if ends is None else "budget-over-until"
            code = "budget-share" if self.of_person else code
            left = math.floor(round(100 * self.left, 6)) / 100  # rounded down, so that the named hours are really left
            needs = math.ceil(round(100 * self.needs, 6)) / 100
            figures = {"left": f"{left:.2f}", "needs": f"{needs:.2f}", "until": until}
        return of_words("limit", explain.filled(code, project=self.project.id, **figures), fits=self.fits)


def worker_charge(batch: str, task: int) -> str:
    """Return the id of the charge for one job of a Dask cluster's workers.

    ``batch``: the id of the batch to which the job belongs; ``task``: the job's index in the batch, from 1.
    """
    return f"{batch}/{task}"


# --- parts of a commit of the ledger, usually together with the change that they belong to


def reserve(reservations: Sequence[ChargeReservation], project: Project | None, alike: int = 0) -> Write:
    """Return a write that reserves what these jobs may use.

    The write raises OverBudget if ``project``, or the person's share of it, has too few GPU-hours left, or if the
    project ends before the longest job would end if it started now. ``project`` None: nothing is refused. The write
    raises IntegrityError if one of the jobs has a charge already. ``alike``: the budget must also allow this many more
    jobs equal to the first, for which nothing is reserved.
    """

    def write(db: Connection) -> None:
        if project is not None and reservations:
            longest = max(reservation.seconds for reservation in reservations)
            each = reservations[0].gpus * reservations[0].seconds
            needs = alike * each + sum((one.gpus * one.seconds for one in reservations), Fraction(0))
            try:
                _check(db, project, needs, clock.now() + timedelta(seconds=longest), reservations[0].person)
            except OverBudget as error:
                if error.left is not None and each:
                    error.fits = math.floor(error.left_seconds / each)
                raise
        if reservations:
            db.execute(insert(charges), [_columns(one) for one in reservations])

    return write


def found(reservations: Sequence[ChargeReservation]) -> Write:
    """Return a write that reserves the GPU-hours of existing jobs, except those that have a charge already.

    The write never raises OverBudget.
    """

    def write(db: Connection) -> None:
        if reservations:
            db.execute(upsert(db, charges).on_conflict_do_nothing(), [_columns(one) for one in reservations])

    return write


def reserve_more(charge_id: str, seconds: int, until: datetime, project: Project | None) -> Write:
    """Return a write that reserves ``seconds`` more for a job that is to continue until ``until``.

    The write raises OverBudget if ``project``, or the person's share of it, has too few GPU-hours left, or if the
    project ends before ``until``. ``project`` None: nothing is refused.
    """

    def write(db: Connection) -> None:
        mine = charges.c.id == charge_id
        if project is not None:
            row = db.execute(select(charges).where(mine)).mappings().one_or_none()
            gpus, person = (Fraction(0), "") if row is None else (billed(row), row["person"])
            _check(db, project, gpus * seconds, until, person)
        db.execute(update(charges).where(mine).values(reserved=charges.c.reserved + seconds))

    return write


def runs(charge_id: str, started: datetime | None, ends: datetime | None) -> Write:
    """Return a write that records that the job has run since ``started`` (None: it does not run).

    ``ends``: when the run must end; None: the reserved time is not changed. Both are the scheduler's times.
    """
    values: dict[str, Any] = {"started": started}
    if started is not None and ends is not None:
        values["reserved"] = seconds_between(started, ends)
    return _change(charge_id, values)


def began_again(charge_id: str, started: datetime | None, at: datetime) -> Write:
    """Return a write that records that the job was requeued; its next run may last the whole reserved time.

    The run before the requeue is charged as the time from ``started`` (None: it never started) to ``at``, unless the
    scheduler reports the seconds of all runs when the job is over.
    """
    return _change(charge_id, {"started": None, "earlier": charges.c.earlier + ran(started, at)})


def ran(started: datetime | None, at: datetime) -> int:
    """Return the seconds that are charged for a run from ``started`` to ``at``; 0 if the job never started."""
    return 0 if started is None else seconds_between(started, at)


class Used(NamedTuple):
    """The use of a job that is over: the billed GPUs, and the seconds of all its runs."""

    gpus: Fraction
    seconds: int


class Settlement:
    """A write that settles a job's charge.

    ``used``: the job's use; None: the write has not run yet, or there is no charge.
    """

    def __init__(self, charge_id: str, values: dict[str, Any]) -> None:
        self._query = update(charges).where(charges.c.id == charge_id).values(values)
        self.used: Used | None = None

    def __call__(self, db: Connection) -> None:
        """Settle the charge in ``db``, and set ``used``."""
        columns = (charges.c.gpus, charges.c.gpu_parts, charges.c.seconds)
        found = db.execute(self._query.returning(*columns)).mappings().first()
        self.used = None if found is None else Used(billed(found), found["seconds"])


def settle(charge_id: str, end: End | None, restarts: int, started: datetime | None, latest: datetime) -> Settlement:
    """Return a write that settles the charge of a job that is over, or never existed.

    What the job used is charged, and the rest of its reservation is released. ``end``: the scheduler's record; None:
    there is none. ``restarts``: how often the job was requeued.

    The seconds of the last run come from the record. If there is no record, or the record lacks these seconds, the last
    run counts from ``started`` (None: the job did not run) to the end in the record, or to ``latest`` if no end is
    recorded. The seconds of the earlier runs come from the record if it has the seconds of all runs, else from the
    ledger. The charged seconds are limited to those that the job can have run, since a record may be wrong.
    """
    ended = latest if end is None or end.ended is None else end.ended
    if end is not None and end.elapsed is not None:
        started = ended - timedelta(seconds=end.elapsed) if end.elapsed else None
    last = 0 if started is None else seconds_between(started, ended)
    whole = counted(end, restarts)
    seconds = charges.c.earlier + last if whole is None else literal(whole, Integer)
    return Settlement(charge_id, {"started": started, "ended": ended, "seconds": _believed(seconds)})


def _believed(seconds: ColumnElement[int]) -> ColumnElement[int]:
    """Return ``seconds``, limited to the time since the charge was made plus the reserved time and ``CLOCKS``.

    The limit protects against a wrong record, which may come from the job's own account.
    """
    since = literal(clock.now().timestamp(), Float) - type_coerce(charges.c.reserved_at, Float)
    most = cast(since, Integer) + charges.c.reserved + CLOCKS
    return case((seconds > most, most), else_=seconds)


def reopen(charge_id: str) -> Write:
    """Return a write that opens a settled charge again, because its job is not over after all."""
    return _change(charge_id, {"ended": None, "seconds": None})


CLOCKS = 300  # seconds by which a scheduler's clock may be ahead of ours


@dataclass(frozen=True)
class ChargeTotals:
    """The state of a job's charge; all durations are in seconds.

    ``id``: the charge's id; ``started``: when the last run began, None if the job has not run since it was last queued;
    ``reserved``: the time that is reserved for the last run, None: keep the stored value; ``earlier``: how long the
    earlier runs lasted together; ``ended``: when the job ended; ``seconds``: the charged time. ``ended`` and
    ``seconds`` are None while the job is not over.
    """

    id: str
    started: datetime | None
    reserved: int | None
    earlier: int
    ended: datetime | None
    seconds: int | None


def stand(now: Sequence[ChargeTotals]) -> Write:
    """Return a write that stores ``now``, the states of existing charges, in one statement.

    An array may have a thousand jobs, each with a charge.
    """
    reserved: Any = func.coalesce(bindparam("reserved", type_=Integer), charges.c.reserved)
    query = update(charges).where(charges.c.id == bindparam("charge")).values(reserved=reserved)
    query = query.values({name: bindparam(name) for name in ("started", "earlier", "ended")})
    query = query.values(seconds=_believed(bindparam("seconds", type_=Integer)))
    rows = [{**one.__dict__, "charge": one.id} for one in now]

    def write(db: Connection) -> None:
        if rows:
            db.execute(query, rows)

    return write


def seconds_between(since: datetime, until: datetime) -> int:
    """Return the whole seconds from ``since`` to ``until``; 0 if ``until`` precedes ``since``."""
    return max(0, round((until - since).total_seconds()))


def counted(end: End | None, restarts: int) -> int | None:
    """Return the seconds of all runs of a job, as the scheduler counts them; None if it does not report all runs.

    ``restarts``: how often the job was requeued, which is the number of its earlier runs.
    """
    if end is None or end.elapsed is None:
        return None
    if restarts == 0:
        return end.elapsed
    return end.elapsed + sum(end.earlier[-restarts:]) if len(end.earlier) >= restarts else None


# --- queries


class Charges:
    """Reads the charges of jobs from the ledger, and sums them up."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def balance(self, project: ProjectId, person: str | None = None) -> ProjectBalance:
        """Return the GPU-hours that a project has used, and those that its jobs may still use. Raises LedgerError.

        ``person``: count the jobs of this person only.
        """
        mine = [charges.c.project == project, *(() if person is None else (charges.c.person == person,))]
        query = select(charges).where(*mine, charges.c.ended.is_(None))
        now = clock.now()

        def read(db: Connection) -> ProjectBalance:
            over = select(charges.c.gpu_parts, func.sum(_used)).where(*mine, charges.c.ended.is_not(None))
            spent, reserved = _sum(db, over.group_by(charges.c.gpu_parts)), Fraction(0)
            for row in self._ledger.intact(charges, db.execute(query).mappings()):
                used, held = _spent_and_reserved(row, now)
                spent, reserved = spent + used, reserved + held
            return ProjectBalance(spent=float(spent / HOUR), reserved=float(reserved / HOUR))

        return await self._ledger.transact(read)

    async def balances(self) -> dict[tuple[ProjectId | None, Slug], ProjectBalance]:
        """Return the GPU-hours used, and those that jobs may still use, by project and factory.

        Jobs that are charged to no project count under the project None. Raises LedgerError.
        """
        key = (charges.c.project, charges.c.factory)
        groups = (*key, charges.c.gpu_parts)
        over = select(*groups, func.sum(_used)).where(charges.c.ended.is_not(None)).group_by(*groups)
        query = select(charges).where(charges.c.ended.is_(None))
        now = clock.now()

        def read(db: Connection) -> dict[tuple[ProjectId | None, Slug], ProjectBalance]:
            spent: dict[tuple[ProjectId | None, Slug], Fraction] = defaultdict(Fraction)
            reserved: dict[tuple[ProjectId | None, Slug], Fraction] = defaultdict(Fraction)
            for project, factory, parts, seconds in db.execute(over):
                spent[project, factory] += Fraction(int(seconds or 0), max(1, parts))
            for row in self._ledger.intact(charges, db.execute(query).mappings()):
                used, held = _spent_and_reserved(row, now)
                spent[row["project"], row["factory"]] += used
                reserved[row["project"], row["factory"]] += held
            return {
                known: ProjectBalance(spent=float(spent[known] / HOUR), reserved=float(reserved[known] / HOUR))
                for known in {*spent, *reserved}
            }

        return await self._ledger.transact(read)

    async def gpu_hours(self, charge_id: str) -> float:
        """Return the GPU-hours that one job has used until now, in all its runs; 0.0 if it has no charge.

        Raises LedgerError.
        """
        rows = await self._ledger.rows(charges, select(charges).where(charges.c.id == charge_id))
        now = clock.now()
        return float(sum((billed(row) * seconds_used(row, now) for row in rows), Fraction(0)) / HOUR)

    async def used(self, charge_ids: Sequence[str]) -> dict[str, Used]:
        """Return the use of these jobs, by the id of the charge. Jobs that are not over are left out.

        Raises LedgerError.
        """
        query = select(charges).where(charges.c.id.in_(charge_ids), charges.c.ended.is_not(None))
        rows = await self._ledger.rows(charges, query) if charge_ids else []
        return {row["id"]: Used(billed(row), row["seconds"] or 0) for row in rows}

    async def earlier(self) -> dict[str, int]:
        """Return the seconds of the earlier runs of jobs that are not over, by the id of the charge.

        Jobs without earlier runs are left out. Raises LedgerError.
        """
        query = select(charges).where(charges.c.ended.is_(None), charges.c.earlier > 0)
        return {row["id"]: row["earlier"] for row in await self._ledger.rows(charges, query)}

    async def usage(
        self, project: ProjectId | None = None, since: date | None = None, person: str | None = None
    ) -> list[UsageLine]:
        """Return GPU-seconds and numbers of jobs by day (UTC), project, factory and person, oldest first.

        A job is counted once, on the first of its days in the result. A running job counts up to now, but not for
        longer than its reserved time. The earlier runs of a requeued job count on the day on which its last run
        started. If the job has not run since its last requeue, they count on the day of its end, or today if it has not
        ended. Jobs that have used nothing are left out. ``project``, ``person``: count only the jobs of this project or
        person, if given; ``since``: return only days from this day on. Raises LedgerError.
        """
        where: list[ColumnElement[bool]] = [
            or_(charges.c.started.is_not(None), charges.c.earlier > 0, charges.c.seconds > 0)
        ]
        where += [] if project is None else [charges.c.project == project]
        where += [] if person is None else [charges.c.person == person]
        if since is not None:
            begin = datetime.combine(since, time.min, UTC)
            where.append(or_(charges.c.ended.is_(None), charges.c.ended >= begin))
        query, now = select(charges).where(*where), clock.now()
        rows = await self._ledger.rows(charges, query)
        return _by_day(rows, now, since or date.min)


def _sum(db: Connection, query: Select[Any]) -> Fraction:
    """Return the total GPU-seconds of a query.

    Each of its rows is a ``gpu_parts`` and a number that gives GPU-seconds when it is divided by this ``gpu_parts``.
    """
    return sum((Fraction(int(total or 0), max(1, parts)) for parts, total in db.execute(query)), Fraction(0))


def _spent_and_reserved(row: Mapping[str, Any], now: datetime) -> tuple[Fraction, Fraction]:
    """Return the GPU-seconds that a job which is not over has used, and those that it may still use."""
    gpus, started = billed(row), row["started"]
    ran = Fraction(0 if started is None else max(0.0, (now - started).total_seconds()))
    ran = min(ran, Fraction(row["reserved"]))
    return gpus * (row["earlier"] + ran), gpus * (row["reserved"] - ran)


def _by_day(rows: Iterable[Any], now: datetime, since: date) -> list[UsageLine]:
    used: dict[tuple[date, ProjectId | None, str, str], Fraction] = defaultdict(Fraction)
    jobs: Counter[tuple[date, ProjectId | None, str, str]] = Counter()
    for row in rows:
        started, ended = _run(row, now)
        whole = _seconds(row, started, ended)
        last = min(whole, seconds_between(started, ended))
        by_day = Counter(dict(_days(started, last)))
        # for earlier runs only the duration is known, so they count on the day of the last start
        by_day[started.astimezone(UTC).date()] += whole - last
        ran = sorted((day, seconds) for day, seconds in by_day.items() if day >= since and seconds)
        for number, (day, seconds) in enumerate(ran):
            key = (day, row["project"], row["factory"], row["person"])
            used[key] += billed(row) * seconds
            jobs[key] += number == 0
    return [
        UsageLine(
            day=key[0], project=key[1], factory=key[2], person=key[3], gpu_seconds=plain(used[key]), jobs=jobs[key]
        )
        for key in sorted(used, key=lambda key: (key[0], key[1] or "", *key[2:]))
    ]


def _run(row: Mapping[str, Any], now: datetime) -> tuple[datetime, datetime]:
    """Return when a job's last run started and ended; two equal times if the job never ran.

    A run that goes on ends at ``now``, or when the reserved time is over if that is earlier.
    """
    started, ended = row["started"] or row["ended"] or now, row["ended"]
    return started, ended or min(now, started + timedelta(seconds=row["reserved"]))


def seconds_used(row: Mapping[str, Any], now: datetime) -> int:
    """Return the seconds that are charged for all runs of a job until ``now``. ``row``: its row of ``charges``."""
    return _seconds(row, *_run(row, now))


def _seconds(row: Mapping[str, Any], started: datetime, ended: datetime) -> int:
    """Return the seconds that are charged for all runs of a job.

    ``started``, ``ended``: start and end of its last run.
    """
    whole = row["earlier"] + seconds_between(started, ended) if row["seconds"] is None else row["seconds"]
    return int(whole)


def _days(started: datetime, seconds: int) -> Iterable[tuple[date, int]]:
    """Yield the days (UTC) of a run, each with the seconds that the run took on it."""
    at = started.astimezone(UTC)
    while seconds > 0:
        midnight = datetime.combine(at.date() + timedelta(days=1), time.min, UTC)
        here = min(seconds, max(1, seconds_between(at, midnight)))
        yield at.date(), here
        at, seconds = midnight, seconds - here


# --- helpers


def _check(db: Connection, project: Project, needs: Fraction, until: datetime, person: str) -> None:
    """Raise OverBudget if a project, or a person's share of it, has less than ``needs`` GPU-seconds left.

    ``until``: when the last of the GPU-seconds may be used; OverBudget is raised, too, if the project ends before
    ``until``. The first statement writes the project's row in ``budgets``. No database lets two transactions write one
    row at once, so another transaction that checks the same project waits until the transaction of ``db`` has ended.
    The project's charges are read only after this statement.
    """
    kept = {"project": project.id, "gpu_hours": project.gpu_hours, "at": clock.now()}
    db.execute(upsert(db, budgets).values(kept).on_conflict_do_update(index_elements=["project"], set_=kept))
    if project.ends is not None and until > project.ends:
        raise OverBudget(project, None, None)
    of_project = charges.c.project == project.id
    shares = [
        (project.gpu_hours, of_project, False),
        (project.share(person), of_project & (charges.c.person == person), True),
    ]
    least: OverBudget | None = None
    for granted, mine, of_person in shares:
        if granted is None:
            continue
        # rounded first: 2.05 hours, or an equal share of a budget, may be a little below the seconds that they are
        left = max(Fraction(0), math.floor(round(granted * HOUR, 3)) - _taken(db, mine))
        if needs and needs > left and (least is None or least.left_seconds > left):
            least = OverBudget(project, left, needs, of_person)
    if least is not None:
        raise least


def _taken(db: Connection, where: ColumnElement[bool]) -> Fraction:
    """Return the GPU-seconds that these charges have used or may still use."""
    each = case((charges.c.ended.is_(None), _held), else_=_used)
    return _sum(db, select(charges.c.gpu_parts, func.sum(each)).where(where).group_by(charges.c.gpu_parts))


def _columns(reservation: ChargeReservation) -> dict[str, Any]:
    values = {**reservation.__dict__, "reserved": reservation.seconds, "reserved_at": clock.now(), "earlier": 0}
    values |= {"gpus": reservation.gpus.numerator, "gpu_parts": reservation.gpus.denominator}
    del values["seconds"]  # the column holds the used seconds of an ended job only
    return values


def _change(charge_id: str, values: dict[str, Any]) -> Write:
    query = update(charges).where(charges.c.id == charge_id).values(values)

    def write(db: Connection) -> None:
        db.execute(query)

    return write
