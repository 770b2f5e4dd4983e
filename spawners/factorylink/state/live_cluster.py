"""A live cluster in memory, what it looks like from outside, and who watches it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from factorycommon.models import (
    BatchId,
    Cluster,
    ClusterId,
    GpuHours,
    Health,
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
from factorylink.util.event_feed import Feed, encode

STEP_SECONDS = 0.5  # between two events of one stream: a person looks at it, and hundreds may start at once
HEARTBEAT_SECONDS = 15.0
CLUSTER = "cluster/"  # of the feed's keys
_ALIVE = (WorkerState.ASKED, WorkerState.PENDING, WorkerState.RUNNING)


@dataclass
class LiveCluster:
    """The ledger's row of a cluster, and what only this process knows. ``place``: None where its factory is not offered
    any more. ``feed``: where it is told beside its own stream; as that ends, so do streams. ``left``: when the last
    reader left, in ticks."""

    row: ClusterRecord
    place: FactoryConnection | None
    feed: Feed | None = None
    head: Callable[[], Session | None] = lambda: None  # its scheduler's job
    version: int = 0
    readers: int = 0
    left: float = field(default_factory=clock.ticks)
    submissions: dict[BatchId, asyncio.Task[ProblemError | None]] = field(default_factory=dict)
    access_ends: datetime | None = None  # its person lost access to its project, and it ends then
    stopping: asyncio.Task[None] | None = None
    concluding: set[tuple[BatchId, int]] = field(default_factory=set)
    _waiters: list[asyncio.Future[None]] = field(default_factory=list)  # for the next touch

    # --- its workers

    def alive(self) -> list[tuple[BatchRecord, WorkerRecord]]:
        """Those that have not ended."""
        return [(batch, w) for batch in self.row.batches.values() for w in batch.workers if w.ended is None]

    def named(self, names: Iterable[str]) -> list[WorkerRecord]:
        """Those of these names that have not ended."""
        wanted = set(names)
        return [worker for _, worker in self.alive() if worker.name in wanted]

    def touch(self, *changed: WorkerRecord) -> None:
        """These look different now, or the cluster itself does; tell who reads."""
        self.version += 1
        for worker in changed:
            worker.version = self.version
        if self.feed is not None:
            self.feed.touch(cluster_key(self.row.id))
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def ended_within(self, seconds: float) -> None:
        """Return when one more of its jobs has ended, or after so many seconds."""
        before, deadline = len(self.alive()), clock.ticks() + seconds
        while len(self.alive()) == before and (left := deadline - clock.ticks()) > 0:
            await self._touched(left)

    async def _touched(self, seconds: float) -> None:
        """Return at the next touch, or after so many seconds."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(waiter, seconds)

    # --- how it looks

    def show(self, since: int = -1) -> Cluster:
        """The cluster now; its workers that changed after that version."""
        return self._look(since, clock.now())

    def figures(self) -> Cluster:
        """The cluster without its workers, the same for as long as nothing happens to it."""
        turn, head = last_turn(self.row), self.head()
        return self._look(self.version, turn if head is None else max(turn, head.started or turn))

    def _look(self, since: int, at: datetime) -> Cluster:
        row, silent = self.row, self._silent()
        pairs = [(batch, worker) for batch in row.batches.values() for worker in batch.workers]
        return Cluster(
            id=row.id,
            name=row.name,
            user=row.user,
            account=row.account,
            choice=row.choice,
            processes=row.processes,
            gpus=row.gpus,
            session=row.session,
            head=self.head(),
            state="ended" if row.ended else "live" if row.wish == "run" else "ending",
            created=row.created,
            ended=row.ended,
            end=row.end,
            wrong=None if row.ended else silent or self._barred(),
            waits_for=None if silent else self._waits_for(),
            gpu_hours=self.gpu_hours(at),
            counts=dict(Counter(_state(worker, silent) for _, worker in pairs)),
            workers=tuple(self._worker(batch, w, silent) for batch, w in pairs if w.version > since),
        )

    def gpu_hours(self, at: datetime | None = None) -> GpuHours:
        """Of its workers, and of its scheduler's job where that holds GPUs."""
        at, row, head = at or clock.now(), self.row, self.head()
        used, promised, going = spent(row, at), committed(row, at), busy(row)
        if head is not None and self.place is not None:
            gpus = gpus_of(self.place.factory, head.choice.size)
            ran = 0.0 if head.started is None else (at - head.started) / timedelta(hours=1)
            used += gpus * (head.earlier_hours + ran)
            promised += gpus * max(0.0, head.choice.hours - ran)
            going += gpus if head.started is not None else 0
        return GpuHours(spent=used, committed=promised, cap=row.cap_gpu_hours, at=at, per_hour=going)

    def _silent(self) -> Words | None:
        """Why nothing is known of its jobs; None: the factory answers."""
        if self.place is None:
            return explain.own("not-offered", self.row.factory)
        health: Health = self.place.site.health
        return (health.words or explain.unreachable("")) if health.state == "unreachable" else None

    def _barred(self) -> Words | None:
        """Why no job of it can begin."""
        if self.access_ends is not None:
            return explain.own("access-ends")
        return None if self.place is None else self.place.access_status.problem(self.row.account)

    def _waits_for(self) -> Words | None:
        """Why one of its jobs waits: they are alike, so the others mostly wait for the same."""
        waiting = (worker.job for _, worker in self.alive() if worker.state is WorkerState.PENDING)
        return next((explain.pending(job) for job in waiting if job and job.state is JobState.PENDING), None)

    def _worker(self, batch: BatchRecord, worker: WorkerRecord, silent: Words | None) -> Worker:
        state, job, id = _state(worker, silent), worker.job, batch.job_of(worker)
        waits_for = silent if state is WorkerState.UNREACHABLE else None
        pending = state is WorkerState.PENDING and job is not None and job.state is JobState.PENDING
        if pending and job is not None:
            waits_for = explain.pending(job)
        elif state is WorkerState.ASKED:
            waits_for = explain.own("submit-slow")
        elif worker.altered and waits_for is None and worker.ended is None:
            waits_for = explain.own("job-altered")
        return Worker(
            name=worker.name,
            batch=batch.id,
            state=state,
            job=id,
            node=worker.node,
            position=self.place.site.position(id) if pending and self.place is not None and id is not None else None,
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
        """Server-sent events ``cluster``, up to its end: first all of it, then what changed. Who reads
        keeps it alive."""
        self.readers += 1
        told = -1
        try:
            while True:
                now, version = self.show(told), self.version
                yield encode(("cluster", now.model_dump_json()))
                told = version
                if now.state == "ended" or (self.feed is not None and self.feed.closed):
                    return
                while self.version == told:
                    await self._touched(HEARTBEAT_SECONDS)
                    if self.version == told:
                        yield b": still here\n\n"
                await asyncio.sleep(STEP_SECONDS)
        finally:
            self.readers -= 1
            self.left = clock.ticks()


def cluster_key(cluster_id: ClusterId) -> str:
    """The feed's key of a cluster."""
    return CLUSTER + cluster_id


def _state(worker: WorkerRecord, silent: Words | None) -> WorkerState:
    return WorkerState.UNREACHABLE if silent is not None and worker.state in _ALIVE else worker.state
