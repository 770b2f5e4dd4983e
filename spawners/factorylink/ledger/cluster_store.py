"""Reads and writes clusters in the ledger's database, with a class for the rows of each of their tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, Literal

from sqlalchemy import (
    Connection,
    Float,
    Table,
    bindparam,
    func,
    insert,
    select,
    type_coerce,
)
from sqlalchemy import update as sql_update
from sqlalchemy.exc import IntegrityError

from factorycommon.models import (
    BatchId,
    ClusterId,
    End,
    EndReason,
    Job,
    JobId,
    JobOptions,
    JobState,
    ResolvedChoice,
    SessionId,
    Words,
    WorkerState,
)
from factorylink.ledger.charges import ChargeTotals, billed, seconds_between, stand, worker_charge
from factorylink.ledger.cluster_tables import batches, clusters, workers
from factorylink.ledger.ledger import AuditEntry, Ledger, LedgerConflict, Write, audit_values
from factorylink.ledger.schema import audit
from factorylink.util import clock


@dataclass
class WorkerRecord:
    """One job of a batch, as the ledger stores it. The job runs one or more Dask workers.

    ``task``: the job's index in the batch, from 1; ``name``: the name of the job's Dask worker (if the job runs several
    workers, each adds a number to this name); ``wish``: ``stop`` if the job is to end; ``restarts``: how often the
    scheduler has requeued the job; ``earlier``: the hours of its earlier runs, or an upper bound of them; ``started``:
    when its last run started; ``ends``: when the walltime of this run ends; ``ended``: when the job ended; ``end``: why
    the job has ended or is to end. The fields from ``job`` on are not stored in the ledger.
    """

    batch: BatchId
    task: int
    name: str
    state: WorkerState = WorkerState.ASKED
    wish: Literal["run", "stop"] = "run"
    node: str | None = None
    restarts: int = 0
    earlier: float = 0.0
    started: datetime | None = None
    ends: datetime | None = None
    ended: datetime | None = None
    end_reason: EndReason | None = None
    end: Words | None = None
    log_tail: tuple[str, ...] = ()
    # --- not stored in the ledger
    job: Job | None = None  # from the last answer
    altered: bool = False  # True if the job's comment differs from the submitted one
    misses: int = 0  # number of successful answers in a row that lack the job
    seen: datetime | None = None  # when an answer last listed the job
    version: int = 0  # the cluster's version at the job's last change

    def runs(self, job: Job, batch: BatchRecord, now: datetime) -> None:
        """Set on this record, not in the ledger, what the scheduler answers about the job's runs.

        ``job``: the job in an answer that came at ``now``; ``batch``: the job's batch. The answer does not say how long
        the earlier runs of a requeued job took, so they count for as long as they can have lasted.
        """
        started = job.started if job.state is not JobState.PENDING else None
        again = max(job.restarts - self.restarts, int(self.started not in (None, started)))
        if again > 0:
            since = self.started or self.seen or batch.created
            self.earlier += min(_hours(since, started or now), again * batch.hours)
        self.restarts, self.seen = job.restarts, now
        self.started, self.ends = started, job.ends if started else None

    def is_over(self, now: datetime, end: End | None, whole: float) -> None:
        """Set on this record, not in the ledger, that the job has ended, when, and how long it ran.

        ``end``: the scheduler's record of the job's end, None if there is none. The job ended at the time in ``end``.
        If there is no such time, the job ended at ``now``, or at the end of its walltime if that is earlier. ``whole``:
        the walltime in hours.

        The last run counts from the start that the scheduler's answers showed. If they showed no start, the last run
        took as long as ``end`` says. If they showed no start and ``end`` is None, the last run counts from the last
        answer that listed the job, but for at most ``whole``. If none of this is known, the last run took no time. The
        earlier runs took as long as ``end`` says, if ``end`` has all of them.
        """
        if end is None and self.started is None and self.seen is not None:
            self.started, self.ends = self.seen, self.seen + timedelta(hours=whole)
        self.ended = end.ended if end is not None and end.ended is not None else min(now, self.ends or now)
        if end is not None and 0 < self.restarts <= len(end.earlier):
            self.earlier = sum(end.earlier[-self.restarts :]) / 3600
        if self.started is None and end is not None and end.elapsed:
            self.started = self.ended - timedelta(seconds=end.elapsed)

    def used(self, now: datetime) -> float:
        """Return the hours of all runs of the job.

        A present run counts until ``now``, or until the end of its walltime if that is earlier.
        """
        if self.started is None:
            return self.earlier
        return self.earlier + _hours(self.started, self.ended or min(now, self.ends or now))

    def stand(self) -> ChargeTotals:
        """Return the state of the job's charge, to be stored by ``charges.stand``."""
        over = None if self.ended is None else round(3600 * self.used(self.ended))
        reserved = seconds_between(self.started, self.ends) if self.started and self.ends else None
        charge = worker_charge(self.batch, self.task)
        return ChargeTotals(charge, self.started, reserved, round(3600 * self.earlier), self.ended, over)

    def left(self, whole: float, now: datetime) -> float:
        """Return the hours that the job may still run. ``whole``: its walltime in hours."""
        if self.ended is not None:
            return 0.0
        if self.started is None:
            return whole
        return max(0.0, _hours(now, self.ends) if self.ends is not None else whole - _hours(self.started, now))


@dataclass
class BatchRecord:
    """Equal jobs that are submitted together, as the ledger stores them.

    ``count``: how many jobs; ``hours``: the walltime of each; ``submits``: the number of submissions that were started;
    ``submit_begun``: when the last one was started, None: there was none. If the batch is ``adopted``, ``submit_begun``
    is the same time as ``created``. ``job``: the id of the array, or of the only job; ``submitted``: when the jobs were
    submitted, by the scheduler's clock; both None if not known.
    """

    id: BatchId
    cluster: ClusterId
    count: int
    hours: float
    created: datetime
    submit_begun: datetime | None = None
    submits: int = 0
    job: JobId | None = None
    submitted: datetime | None = None
    # --- not columns of this table
    workers: list[WorkerRecord] = field(default_factory=list)
    misses: int = 0  # successful answers in a row without any job of the batch, while no job id is known

    @property
    def adopted(self) -> bool:
        """Return whether the cluster's client reported the batch, because the link's ledger with the batch was lost."""
        return self.submit_begun is not None and self.submits == 0

    def was_shown(self, worker: WorkerRecord) -> bool:
        """Return False if only a client has reported this job, and the factory has never listed it, else True.

        ``worker``: a worker whose job has not ended; for all others, the result has no meaning.
        """
        return not self.adopted or worker.state is not WorkerState.ASKED


@dataclass
class ClusterRecord:
    """One Dask cluster, as the ledger stores it.

    ``account``: the site account of the jobs; ``processes``: the number of Dask workers in each job; ``gpus``: the
    billed GPUs of each job; ``cap_gpu_hours``: the most GPU-hours that the cluster may use, None: no limit of its own;
    ``earlier``: GPU-hours of jobs that are not in this ledger; ``session``: the session that runs the Dask scheduler,
    if known; ``wish``: ``stop`` if somebody, or the link itself, has requested the cluster's end; ``end``: the reason
    for this request, None if none was given.
    """

    id: ClusterId
    user: str
    name: str
    factory: str
    account: str
    choice: ResolvedChoice
    options: JobOptions
    processes: int
    gpus: Fraction
    created: datetime
    cap_gpu_hours: float | None = None
    earlier: float = 0.0
    session: SessionId | None = None
    wish: Literal["run", "stop"] = "run"
    ended: datetime | None = None
    end: Words | None = None
    # --- not columns of this table
    batches: dict[BatchId, BatchRecord] = field(default_factory=dict)

    def workers(self) -> Iterable[WorkerRecord]:
        """Return the workers of all batches."""
        return (worker for batch in self.batches.values() for worker in batch.workers)


_KEPT: dict[type, Table] = {ClusterRecord: clusters, BatchRecord: batches, WorkerRecord: workers}


def _values(row: object) -> dict[str, Any]:
    columns = _KEPT[type(row)].c
    values = {f.name: getattr(row, f.name) for f in fields(row) if f.name in columns}  # type: ignore[arg-type]
    if isinstance(row, ClusterRecord):
        values |= {"gpus": row.gpus.numerator, "gpu_parts": row.gpus.denominator}
    return values


def _cluster(row: Mapping[str, Any]) -> ClusterRecord:
    """Return the record of a row of the clusters' table."""
    values = {**row, "gpus": billed(row)}
    del values["gpu_parts"]
    return ClusterRecord(**values)


class ClusterStore:
    """Reads and writes the ledger's rows of clusters, batches and workers. Every method may raise LedgerError."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def add(self, record: ClusterRecord | BatchRecord, entry: AuditEntry | None = None, *also: Write) -> None:
        """Write a new cluster, or a new batch with its workers; ``also``: more writes in the same commit.

        ``entry``: a line for the audit. Raises LedgerConflict if the id is taken, LedgerError, and the errors of
        ``also``.
        """

        def write(db: Connection) -> None:
            db.execute(insert(_KEPT[type(record)]).values(_values(record)))
            if isinstance(record, BatchRecord):
                db.execute(insert(workers), [_values(worker) for worker in record.workers])
            if entry is not None:
                db.execute(insert(audit).values(audit_values(entry)))
            for more in also:
                more(db)

        try:
            await self._ledger.write(write)
        except IntegrityError as error:
            raise LedgerConflict(str(error.orig)) from error

    async def change(self, record: ClusterRecord | BatchRecord, entry: AuditEntry | None = None, **values: Any) -> None:
        """Write ``values``, by column, into the record's row, and then set them on the record.

        ``entry``: a line for the audit, written in the same commit. Raises LedgerError.
        """
        table = _KEPT[type(record)]

        def write(db: Connection) -> None:
            if values:
                db.execute(sql_update(table).where(table.c.id == record.id).values(values))
            if entry is not None:
                db.execute(insert(audit).values(audit_values(entry)))

        await self._ledger.write(write)
        for name, value in values.items():
            setattr(record, name, value)

    async def save(self, changed: Sequence[WorkerRecord]) -> None:
        """Write the rows of these workers, and the state of their charges, in one commit. Raises LedgerError."""
        if not changed:
            return
        keys = ("batch", "task")
        query = sql_update(workers).where(*(workers.c[key] == bindparam(f"old_{key}") for key in keys))
        rows = [
            {**{k: v for k, v in _values(w).items() if k not in keys}, **{f"old_{k}": getattr(w, k) for k in keys}}
            for w in changed
        ]
        costs = stand([worker.stand() for worker in changed])

        def write(db: Connection) -> None:
            db.execute(query, rows)
            costs(db)

        await self._ledger.write(write)

    async def live(self) -> list[ClusterRecord]:
        """Return all clusters that have not ended, with batches and workers; rows that cannot be read are left out."""
        lives = clusters.c.ended.is_(None)
        # a subquery, since there may be very many ids
        theirs = batches.c.cluster.in_(select(clusters.c.id).where(lives))

        def read(db: Connection) -> list[ClusterRecord]:
            intact = self._ledger.intact
            rows = intact(clusters, db.execute(select(clusters).where(lives)).mappings())
            found = {row["id"]: _cluster(row) for row in rows}
            by_id: dict[BatchId, BatchRecord] = {}
            for row in intact(batches, db.execute(select(batches).where(theirs)).mappings()):
                if row["cluster"] in found:
                    by_id[row["id"]] = found[row["cluster"]].batches[row["id"]] = BatchRecord(**row)
            query = select(workers).where(workers.c.batch.in_(select(batches.c.id).where(theirs)))
            query = query.order_by(workers.c.task)
            for row in intact(workers, db.execute(query).mappings()):
                if row["batch"] in by_id:
                    by_id[row["batch"]].workers.append(WorkerRecord(**row))
            return list(found.values())

        return await self._ledger.transact(read)

    async def ended(self, user: str, limit: int) -> list[tuple[ClusterRecord, int, float]]:
        """Return at most ``limit`` ended clusters of a person, the last end first, without their batches.

        Each comes with the number of its jobs, and with the hours that these ran in total.
        """
        ran = type_coerce(workers.c.ended, Float) - type_coerce(workers.c.started, Float)
        hours = func.coalesce(func.sum(ran), 0.0) / 3600 + func.coalesce(func.sum(workers.c.earlier), 0.0)
        figures = select(func.count(), hours)
        figures = figures.select_from(workers.join(batches))
        last = select(clusters).where(clusters.c.user == user, clusters.c.ended.is_not(None))
        last = last.order_by(clusters.c.ended.desc()).limit(limit)

        def read(db: Connection) -> list[tuple[ClusterRecord, int, float]]:
            found = []
            for row in self._ledger.intact(clusters, db.execute(last).mappings()):
                jobs, hours = db.execute(figures.where(batches.c.cluster == row["id"])).one()
                found.append((_cluster(row), jobs, float(hours)))
            return found

        return await self._ledger.transact(read)

    async def accounts(self, factory: str) -> list[str]:
        """Return the site accounts that have ever had a cluster at the factory."""
        query = select(clusters.c.account).where(clusters.c.factory == factory).distinct()
        return await self._ledger.transact(lambda db: list(db.execute(query).scalars()))

    async def batch(self, batch_id: BatchId) -> tuple[str, datetime | None] | None:
        """Return to whom a batch belongs, and when its cluster ended (None: not yet); None for an unknown batch.

        Batches of clusters that ended long ago are found, too.
        """
        query = select(clusters.c.user, clusters.c.ended).join(batches).where(batches.c.id == batch_id)

        def read(db: Connection) -> tuple[str, datetime | None] | None:
            row = db.execute(query).one_or_none()
            return None if row is None else (row.user, row.ended)

        return await self._ledger.transact(read)


def spent(record: ClusterRecord, now: datetime | None = None) -> float:
    """Return the GPU-hours that the cluster's jobs have used until ``now`` (None: the present time)."""
    at = now or clock.now()
    return record.earlier + float(record.gpus) * sum(worker.used(at) for worker in record.workers())


def committed(record: ClusterRecord, now: datetime | None = None) -> float:
    """Return the most GPU-hours that the cluster's jobs may still use after ``now`` (None: the present time)."""
    at = now or clock.now()
    hours = sum(w.left(batch.hours, at) for batch in record.batches.values() for w in batch.workers)
    return float(record.gpus) * hours


def busy(record: ClusterRecord) -> Fraction:
    """Return the number of billed GPUs of the cluster's running jobs."""
    return record.gpus * sum(worker.started is not None and worker.ended is None for worker in record.workers())


def last_turn(record: ClusterRecord) -> datetime:
    """Return when one of the cluster's jobs last started or ended; if none has, when the cluster was created."""
    return max(
        (at for worker in record.workers() for at in (worker.started, worker.ended) if at is not None),
        default=record.created,
    )


def _hours(since: datetime, until: datetime) -> float:
    return max(timedelta(0), until - since) / timedelta(hours=1)
