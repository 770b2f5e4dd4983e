"""Holds a live Dask cluster in memory, and makes its views and the event streams about it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from factorycommon.gpu_shares import plain
from factorycommon.models import (
    BatchId,
    Cluster,
    GpuHours,
    Health,
    JobId,
    JobState,
    Session,
    Words,
    Worker,
    WorkerState,
)
from factorylink.catalogue.prices import gpus_of
from factorylink.explain import explain
from factorylink.ledger.cluster_store import BatchRecord, ClusterRecord, WorkerRecord, busy, committed, last_turn, spent
from factorylink.problems import ProblemError
from factorylink.site.factory_connection import FactoryConnection
from factorylink.util import clock
from factorylink.util.event_feed import encode

STEP_SECONDS = 0.5  # seconds between two events of one stream, since hundreds of jobs may start at once
HEARTBEAT_SECONDS = 15.0
_ALIVE = (WorkerState.ASKED, WorkerState.PENDING, WorkerState.RUNNING)


@dataclass
class LiveCluster:
    """The ledger's record of a cluster, with data that only this process has.

    ``connection``: None if the cluster's factory is not offered any more. ``on_touch`` is called when the cluster's
    view may have changed. ``closed``: returns whether the event streams about the cluster have to end. ``version``:
    counts the changes of the view. ``readers``: how many event streams are open; ``left``: when such a stream last
    ended (``clock.ticks``). ``submissions``: the asyncio tasks that are submitting batches now; ``stopping``: the last
    task that was started to cancel jobs; None: there was none yet. ``concluding``: batch and array index of each worker
    job for which a background task finds out why the job has ended.
    """

    record: ClusterRecord
    connection: FactoryConnection | None
    on_touch: Callable[[LiveCluster], None] = lambda _live_cluster: None
    closed: Callable[[], bool] = lambda: False
    head: Callable[[], Session | None] = lambda: None  # returns the session of its scheduler's job
    version: int = 0
    readers: int = 0
    left: float = field(default_factory=clock.ticks)
    submissions: dict[BatchId, asyncio.Task[ProblemError | None]] = field(default_factory=dict)
    # when it ends because its person lost access to the project; None: they have access
    access_ends: datetime | None = None
    stopping: asyncio.Task[None] | None = None
    concluding: set[tuple[BatchId, int]] = field(default_factory=set)
    # futures of readers that wait for the next touch
    _waiters: list[asyncio.Future[None]] = field(default_factory=list)

    # --- its workers

    def alive(self) -> list[tuple[BatchRecord, WorkerRecord]]:
        """Return the workers whose jobs have not ended, each with its batch."""
        return [(batch, w) for batch in self.record.batches.values() for w in batch.workers if w.ended is None]

    def named(self, names: Iterable[str]) -> list[WorkerRecord]:
        """Return the workers with these names whose jobs have not ended."""
        wanted = set(names)
        return [worker for _, worker in self.alive() if worker.name in wanted]

    def job_of(self, batch: BatchRecord, worker: WorkerRecord) -> JobId | None:
        """Return the scheduler's id of a worker's job; None while the id is not known.

        If the factory is not offered any more, return the id of the job's array instead.
        """
        if batch.job is None or batch.count == 1 or self.connection is None:
            return batch.job
        return self.connection.dialect.task_of(batch.job, worker.task)

    def touch(self, *changed: WorkerRecord) -> None:
        """Wake those who wait for a change of the cluster; call this after the cluster's view has changed.

        ``changed``: the workers that have changed. ``version`` increases by 1, the changed workers get the new version,
        and ``on_touch`` is called.
        """
        self.version += 1
        for worker in changed:
            worker.version = self.version
        self.on_touch(self)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def ended_within(self, seconds: float) -> None:
        """Wait until ``alive`` returns more or fewer workers than now, but at most ``seconds``."""
        before, deadline = len(self.alive()), clock.ticks() + seconds
        while len(self.alive()) == before and (left := deadline - clock.ticks()) > 0:
            await self._touched(left)

    async def _touched(self, seconds: float) -> None:
        """Wait until the cluster changes, at most ``seconds``."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(waiter, seconds)

    # --- its views

    def show(self, since: int = -1) -> Cluster:
        """Return the present view of the cluster, with those workers that changed after the version ``since``.

        With ``since`` -1, the view has all workers.
        """
        return self._look(since, clock.now())

    def figures(self) -> Cluster:
        """Return the view of the cluster without its workers.

        Two such views are equal if nothing has happened to the cluster or its factory in between.
        """
        turn, head = last_turn(self.record), self.head()
        return self._look(self.version, turn if head is None else max(turn, head.started or turn))

    def _look(self, since: int, at: datetime) -> Cluster:
        record, silent = self.record, self._silent()
        pairs = [(batch, worker) for batch in record.batches.values() for worker in batch.workers]
        return Cluster(
            id=record.id,
            name=record.name,
            user=record.user,
            account=record.account,
            choice=record.choice,
            processes=record.processes,
            gpus=plain(record.gpus),
            session=record.session,
            head=self.head(),
            state="ended" if record.ended else "live" if record.wish == "run" else "ending",
            created=record.created,
            ended=record.ended,
            end=record.end,
            wrong=None if record.ended else silent or self._barred(),
            waits_for=None if silent else self._waits_for(),
            gpu_hours=self.gpu_hours(at),
            counts=dict(Counter(_state(worker, silent) for _, worker in pairs)),
            workers=tuple(self._worker(batch, w, silent) for batch, w in pairs if w.version > since),
        )

    def gpu_hours(self, at: datetime | None = None) -> GpuHours:
        """Return the GPU-hours of the cluster's workers, and of its Dask scheduler's job if this job has GPUs.

        If the factory is not offered any more, the Dask scheduler's job does not count. ``at``: the time up to which
        the GPU-hours are counted; None: now.
        """
        at, record, head = at or clock.now(), self.record, self.head()
        used, promised, going = spent(record, at), committed(record, at), busy(record)
        if head is not None and self.connection is not None:
            gpus = gpus_of(self.connection.factory, head.choice.size)
            ran = 0.0 if head.started is None else (at - head.started) / timedelta(hours=1)
            used += float(gpus) * (head.earlier_hours + ran)
            promised += float(gpus) * max(0.0, head.choice.hours - ran)
            going += gpus if head.started is not None else 0
        return GpuHours(spent=used, committed=promised, cap=record.cap_gpu_hours, at=at, per_hour=plain(going))

    def _silent(self) -> Words | None:
        """Return why the state of the cluster's jobs is unknown; None if the factory answers."""
        if self.connection is None:
            return explain.own("not-offered", self.record.factory)
        health: Health = self.connection.site.health
        return (health.words or explain.unreachable("")) if health.state == "unreachable" else None

    def _barred(self) -> Words | None:
        """Return why the person or the site account may start no job; None if no such reason is known.

        The factory's health and an operator's drain are not part of this.
        """
        if self.access_ends is not None:
            return explain.own("access-ends")
        return None if self.connection is None else self.connection.access_status.problem(self.record.account)

    def _waits_for(self) -> Words | None:
        """Return why one of the cluster's jobs waits in the queue; None if none waits.

        The jobs are equal, so the others usually wait for the same reason.
        """
        waiting = (worker.job for _, worker in self.alive() if worker.state is WorkerState.PENDING)
        return next((explain.pending(job) for job in waiting if job and job.state is JobState.PENDING), None)

    def _worker(self, batch: BatchRecord, worker: WorkerRecord, silent: Words | None) -> Worker:
        state, job, id = _state(worker, silent), worker.job, self.job_of(batch, worker)
        waits_for = silent if state is WorkerState.UNREACHABLE else None
        pending = state is WorkerState.PENDING and job is not None and job.state is JobState.PENDING
        if pending and job is not None:
            waits_for = explain.pending(job)
        elif state is WorkerState.ASKED:
            waits_for = explain.own("submit-slow")
        elif state is WorkerState.RUNNING and job is not None and job.state is JobState.ENDING:
            waits_for = explain.own("completing")
        elif worker.altered and waits_for is None and worker.ended is None:
            waits_for = explain.own("job-altered")
        return Worker(
            name=worker.name,
            batch=batch.id,
            state=state,
            job=id,
            node=worker.node,
            position=self.connection.site.position(id)
            if pending and self.connection is not None and id is not None
            else None,
            expected_start=job.expected_start if pending and job is not None else None,
            waits_for=waits_for,
            asked=batch.created,
            started=worker.started,
            ends=worker.ends,
            ended=worker.ended,
            end_reason=worker.end_reason,
            end=worker.end,
            log_tail=worker.log_tail,
        )

    async def stream(self) -> AsyncGenerator[bytes]:
        """Yield server-sent events ``cluster`` until the cluster has ended: first the whole cluster, then its changes.

        Two events are at least ``STEP_SECONDS`` apart; without a change, a comment is sent every ``HEARTBEAT_SECONDS``.
        While somebody reads such a stream, the cluster does not end as abandoned. Once ``closed()`` returns True,
        because the link ends, the stream ends at the cluster's next change.
        """
        self.readers += 1
        sent = -1
        try:
            while True:
                now, version = self.show(sent), self.version
                yield encode(("cluster", now.model_dump_json()))
                sent = version
                if now.state == "ended" or self.closed():
                    return
                while self.version == sent:
                    await self._touched(HEARTBEAT_SECONDS)
                    if self.version == sent:
                        yield b": still here\n\n"
                await asyncio.sleep(STEP_SECONDS)
        finally:
            self.readers -= 1
            self.left = clock.ticks()


def _state(worker: WorkerRecord, silent: Words | None) -> WorkerState:
    return WorkerState.UNREACHABLE if silent is not None and worker.state in _ALIVE else worker.state
