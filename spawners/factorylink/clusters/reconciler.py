"""Updates clusters' jobs from a factory's answers: jobs start, end, or are lost.

Also cancels jobs that belong to no live cluster.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from datetime import datetime, timedelta
from functools import partial

from factorycommon.models import BatchId, End, EndReason, Job, JobState, Outcome, WorkerState
from factorylink.clusters.submitter import ClusterSubmitter
from factorylink.clusters.worker_ends import WorkerEnd, WorkerEnds
from factorylink.clusters.worker_job import log_name
from factorylink.config import Limits
from factorylink.errors import FactoryError, Gone
from factorylink.explain import explain
from factorylink.jobs.identity import Identity
from factorylink.jobs.ownership import DOUBT, Found, OwnJob, found
from factorylink.ledger import charges
from factorylink.ledger.cluster_store import BatchRecord, ClusterStore, WorkerRecord
from factorylink.ledger.ledger import AuditEntry, Ledger
from factorylink.ledger.own_jobs import batch_job
from factorylink.projects.charge_reservations import ChargeReservations
from factorylink.schedulers.ends import end_of
from factorylink.sessions.account_work import AccountWork
from factorylink.sessions.submitter import session_folder
from factorylink.sessions.termination import read_tail
from factorylink.site.factory_connection import FactoryConnection
from factorylink.state.cluster_table import ClusterTable
from factorylink.state.job_owners import JobOwners
from factorylink.state.live_cluster import LiveCluster
from factorylink.util import clock
from factorylink.util.background_tasks import BackgroundTasks

log = logging.getLogger("factorylink")

ENOUGH_MISSES = 2
ROUNDING = 1e-6  # GPU-hours
RECORDS = 400  # number of job ids in one command: a site's wrapper accepts at most 500
AT_ONCE = 5  # number of ended jobs about which the factory is asked at the same time
TAILS = 5  # number of logs that are read after one answer: if a hundred jobs fail at once, they have one reason
_STATES = {
    JobState.PENDING: WorkerState.PENDING,
    JobState.RUNNING: WorkerState.RUNNING,
    JobState.ENDING: WorkerState.RUNNING,
}


class ClusterReconciler:
    """Updates clusters from the scheduler's answers, and cancels worker jobs that belong to no live cluster.

    Finds out whether batches (worker jobs that are submitted together) were accepted, and follows their jobs.
    """

    def __init__(
        self,
        table: ClusterTable,
        store: ClusterStore,
        ledger: Ledger,
        ends: WorkerEnds,
        submitter: ClusterSubmitter,
        reservations: ChargeReservations,
        owners: JobOwners,
        identity: Identity,
        account_work: AccountWork,
        limits: Limits,
        tasks: BackgroundTasks,
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._ends = ends
        self._submitter = submitter
        self._reservations = reservations
        self._owners = owners
        self._identity = identity
        self._account_work = account_work
        self._limits = limits
        self._tasks = tasks
        self._store = store
        self._orphans: dict[tuple[str, BatchId], float] = {}  # since when their jobs have been orphans, in ticks

    async def answered(self, connection: FactoryConnection, jobs: list[Job], account: str | None = None) -> None:
        """Update the clusters at a factory from the scheduler's answer. Raises LedgerError.

        ``jobs``: the jobs that the answer lists, also those of sessions. ``account``: the only site account whose jobs
        the answer lists; None: the answer lists the jobs of all accounts.
        """
        here = [
            f
            for f in self._table.values()
            if f.record.factory == connection.factory.id and account in (None, f.record.account)
        ]
        by_batch: dict[BatchId, dict[str, Job]] = defaultdict(dict)
        for job in jobs:
            batch_id = self._identity.batch_of(job, connection.factory.id)
            if batch_id is not None:
                by_batch[batch_id][job.id] = job
        by_id = {job.id: job for job in jobs}
        for live_cluster in here:
            # a copy, since more batches may be requested meanwhile
            for batch in tuple(live_cluster.record.batches.values()):
                by_comment = by_batch.pop(batch.id, {})
                mine = {id: job for id, job in by_comment.items() if job.account == live_cluster.record.account}
                await self._settle(live_cluster, batch, mine)
                await self._seen(live_cluster, batch, connection, by_id)
            await self._hold_to_cap(live_cluster)
        await self._unknown(connection, by_batch)
        if any(
            worker.wish == "stop" or batch.job is None
            for live_cluster in here
            for batch, worker in live_cluster.alive()
        ):
            connection.site.expect(True)

    async def _settle(self, live_cluster: LiveCluster, batch: BatchRecord, jobs: dict[str, Job]) -> None:
        """Find out whether the scheduler accepted a batch whose submission has an unknown outcome.

        If the answer has jobs of the batch, record the id of their array or job. If the scheduler certainly did not
        accept the batch, submit the batch again. But if no job of the batch is wanted any more, or if the batch was
        adopted (a client said that its jobs exist, and this link never submitted them), record that its jobs have
        ended.
        """
        if batch.job is not None or batch.id in live_cluster.submissions:
            return
        if jobs:
            entry = AuditEntry(
                live_cluster.record.user,
                live_cluster.record.account,
                live_cluster.record.factory,
                "settle",
                detail=f"batch {batch.id}",
            )
            first = next(iter(jobs.values()))
            await self._store.change(batch, entry, job=first.array or first.id, submitted=first.submitted)
            live_cluster.touch(*batch.workers)
            return
        if all(worker.ended is not None for worker in batch.workers):
            return
        batch.misses += 1
        doubtful = batch.submit_begun is not None and clock.since(batch.submit_begun) < timedelta(seconds=DOUBT)
        if batch.misses < ENOUGH_MISSES or doubtful:
            return
        batch.misses = 0
        # a job that was taken over after the ledger was lost, and that is gone
        if batch.submit_begun is not None and not batch.submits:
            await self._ends.over(live_cluster, batch.workers, EndReason.FAILED, explain.own("gone"))
        elif live_cluster.record.wish == "run" and any(worker.wish == "run" for worker in batch.workers):
            self._submitter.submit(live_cluster, batch)
        else:
            words = explain.for_job_of_cluster(explain.own("submit-doubtful"))
            await self._ends.over(live_cluster, batch.workers, EndReason.STOPPED, words)

    async def _seen(
        self, live_cluster: LiveCluster, batch: BatchRecord, connection: FactoryConnection, jobs: dict[str, Job]
    ) -> None:
        """Update a batch's jobs from an answer. ``jobs``: the answer's jobs by id."""
        now = clock.now()
        await self._charge_shown(live_cluster, batch, jobs)
        changed: list[WorkerRecord] = []
        ended: list[tuple[WorkerRecord, End | None]] = []
        replaced: list[WorkerRecord] = []
        for worker in batch.workers:
            id = live_cluster.job_of(batch, worker)
            if worker.ended is not None or id is None:
                continue
            job, before = jobs.get(id), worker.job
            what = None if job is None else self._found(live_cluster, batch, connection, job)
            if what is Found.FOREIGN:
                log.warning("Job %s at %s is not the worker %s any more", id, connection.factory.id, worker.name)
                replaced.append(worker)
                continue
            if job is None:
                worker.misses += id not in connection.site.silent
                if worker.misses >= ENOUGH_MISSES:
                    ended.append((worker, None))
                continue
            if batch.submitted is None and job.submitted is not None:
                await self._store.change(batch, submitted=job.submitted)
            worker.job, worker.misses = job, 0
            if worker.altered != (what is Found.ALTERED):
                worker.altered = not worker.altered
                live_cluster.touch(worker)
            if job.state is JobState.ENDED:
                if job.started is not None:
                    worker.runs(job, batch, now)
                ended.append((worker, end_of(job)))
            elif _take(worker, job, batch, now):
                changed.append(worker)
            elif job != before:
                live_cluster.touch(worker)
        if changed:
            await self._store.save(changed)
            live_cluster.touch(*changed)
        if replaced:
            await self._ends.over(live_cluster, replaced, EndReason.FAILED, explain.own("job-replaced"))
        fresh = [(worker, end) for worker, end in ended if (batch.id, worker.task) not in live_cluster.concluding]
        if fresh:
            live_cluster.concluding |= {(batch.id, worker.task) for worker, _ in fresh}
            self._tasks.begin(self._conclude(live_cluster, batch, connection, fresh), f"ends of batch {batch.id}")

    def _found(self, live_cluster: LiveCluster, batch: BatchRecord, connection: FactoryConnection, job: Job) -> Found:
        own, factory = batch_job(live_cluster.record, batch, job.id, self._identity), connection.factory.id
        return found(own, job, self._owners.is_of_session(factory, job) or self._owners.is_of_batch(factory, job))

    async def _charge_shown(self, live_cluster: LiveCluster, batch: BatchRecord, jobs: dict[str, Job]) -> None:
        """Reserve budget for the jobs of an adopted batch, once the factory's answer contains these jobs.

        A batch is adopted if a client said that its jobs exist already.
        """
        if not batch.adopted:
            return
        shown = [
            w for w in batch.workers if w.ended is None and w.job is None and live_cluster.job_of(batch, w) in jobs
        ]
        if shown:
            await self._ledger.write(charges.found(self._reservations.of_workers(live_cluster, batch, shown)))
            user = live_cluster.record.user
            self._table.adopted[user] = max(0, self._table.adopted[user] - len(shown))

    async def _hold_to_cap(self, live_cluster: LiveCluster) -> None:
        """Cancel jobs until the others fit into the cluster's cap of GPU-hours: waiting jobs first, the youngest first.

        The cap can be exceeded when the scheduler requeues a job, which may then use its walltime once more.
        """
        record, gpu_hours, now = live_cluster.record, live_cluster.gpu_hours(), clock.now()
        if record.cap_gpu_hours is None:
            return
        excess, unwanted = gpu_hours.spent + gpu_hours.committed - record.cap_gpu_hours, []
        # First the jobs that are ending anyway, then waiting jobs, the youngest first.
        order = {batch_id: number for number, batch_id in enumerate(record.batches)}
        for batch, worker in sorted(
            live_cluster.alive(),
            key=lambda pair: (pair[1].wish == "run", pair[1].started is not None, -order[pair[0].id]),
        ):
            if excess <= ROUNDING:
                break
            excess -= float(record.gpus) * worker.left(batch.hours, now)
            if worker.wish == "run":
                unwanted.append(worker)
        if unwanted:
            await self._submitter.let_go(live_cluster, unwanted, explain.own("cluster-cap"))

    async def _conclude(
        self,
        live_cluster: LiveCluster,
        batch: BatchRecord,
        connection: FactoryConnection,
        ended: list[tuple[WorkerRecord, End | None]],
    ) -> None:
        """Find out why these jobs ended, and write it into the ledger.

        If the factory does not say now why a job ended, ask again at the factory's next answer.
        """
        try:
            ended = await self._with_all_runs(live_cluster, batch, connection, ended)
            wanted = [(worker, end) for worker, end in ended if worker.wish == "run"]
            stopped = [(worker, end) for worker, end in ended if worker.wish == "stop"]
            words = explain.job_ended(None, desired="stop")[1]
            await self._ends.over(
                live_cluster, [w for w, _ in stopped], EndReason.STOPPED, words, [end for _, end in stopped]
            )
            # Failed jobs first, since only a few logs are read.
            wanted.sort(key=lambda pair: pair[1] is not None and pair[1].outcome is Outcome.COMPLETED)
            at_once, errors = asyncio.Semaphore(AT_ONCE), list[FactoryError]()

            async def find_out(number: int, worker: WorkerRecord, known: End | None) -> WorkerEnd | None:
                async with at_once:
                    if errors:  # the factory will not answer the next questions either
                        return None
                    try:
                        return await self._why_over(live_cluster, batch, connection, worker, known, number < TAILS)
                    except FactoryError as error:
                        errors.append(error)
                        return None

            found = await asyncio.gather(*(find_out(number, *pair) for number, pair in enumerate(wanted)))
            await self._ends.over_each(live_cluster, [end for end in found if end is not None])
            if errors:
                raise errors[0]
        except FactoryError as error:
            log.info("Why jobs of batch %s ended is asked again: %s", batch.id, error.message)
        finally:
            live_cluster.concluding -= {(batch.id, worker.task) for worker, _ in ended}

    async def _why_over(
        self,
        live_cluster: LiveCluster,
        batch: BatchRecord,
        connection: FactoryConnection,
        worker: WorkerRecord,
        known: End | None,
        reads_log: bool,
    ) -> WorkerEnd | None:
        """Return why a worker's job has ended; None: the job's id is not known. Raises FactoryError.

        ``known``: the scheduler's record of the job, if the last answer had it; None: the scheduler is asked.
        ``reads_log``: whether the job's log is read for the explanation.
        """
        id = live_cluster.job_of(batch, worker)
        if id is None:
            return None
        end = known or await self._why(live_cluster, connection, id)
        tail = await self._tail(live_cluster, batch, connection, worker) if reads_log else ()
        reason, words = explain.job_ended(end, tail=tail)
        worker.log_tail = tail
        return WorkerEnd(worker, reason, words, end)

    async def _with_all_runs(
        self,
        live_cluster: LiveCluster,
        batch: BatchRecord,
        connection: FactoryConnection,
        ended: list[tuple[WorkerRecord, End | None]],
    ) -> list[tuple[WorkerRecord, End | None]]:
        """Return ``ended``, where the end of a requeued job is replaced by the site's record of all runs of this job.

        A run before a requeue is charged, too, and only the site's accounting records such a run. An end stays as it is
        if the site has no such record, or does not answer.
        """
        again = [
            id for worker, _ in ended if worker.restarts and (id := live_cluster.job_of(batch, worker)) is not None
        ]
        known: dict[str, End] = {}
        try:
            for first in range(0, len(again), RECORDS):
                known |= await connection.site.recorded_all(live_cluster.record.account, again[first : first + RECORDS])
        except FactoryError as error:
            log.info("Earlier runs of batch %s are counted as they were seen: %s", batch.id, error.message)
        return [(worker, known.get(live_cluster.job_of(batch, worker) or "", end)) for worker, end in ended]

    async def _why(self, live_cluster: LiveCluster, connection: FactoryConnection, job_id: str) -> End | None:
        try:
            return await connection.site.why_ended(live_cluster.record.account, job_id)
        except Gone:
            return None

    async def tail(
        self, live_cluster: LiveCluster, batch: BatchRecord, connection: FactoryConnection, worker: WorkerRecord
    ) -> tuple[str, ...]:
        """Return the last lines of a job's log as it is now. Raises FactoryError."""
        folder = await session_folder(connection, live_cluster.record.account, live_cluster.record.id)
        return await connection.commands.run(
            read_tail(f"{folder}/{log_name(batch, worker.task)}"), live_cluster.record.account
        )

    async def _tail(
        self, live_cluster: LiveCluster, batch: BatchRecord, connection: FactoryConnection, worker: WorkerRecord
    ) -> tuple[str, ...]:
        try:
            return await self.tail(live_cluster, batch, connection, worker)
        except FactoryError as error:
            log.info("The log of worker %s cannot be read: %s", worker.name, error.message)
            return ()

    async def _unknown(self, connection: FactoryConnection, by_batch: dict[BatchId, dict[str, Job]]) -> None:
        """Cancel jobs of this gateway that belong to no live cluster's batch, after a grace time."""
        for batch_id, jobs in by_batch.items():
            alive = [job for job in jobs.values() if job.state in (JobState.PENDING, JobState.RUNNING)]
            key = (connection.factory.id, batch_id)
            if not alive:
                self._orphans.pop(key, None)
                continue
            since = self._orphans.setdefault(key, clock.ticks())
            if clock.ticks() - since < self._limits.orphan_grace_seconds:
                continue
            known = await self._store.batch(batch_id)
            if known is not None and known[1] is None:
                continue  # the job's cluster is live, but was not loaded yet
            mine = [job for job in alive if job.account == alive[0].account]
            cancel = partial(self._cancel_orphans, connection, batch_id, mine, known[0] if known else "")
            self._account_work.begin(key, (connection.factory.id, mine[0].account), cancel)

    async def _cancel_orphans(
        self, connection: FactoryConnection, batch_id: BatchId, jobs: list[Job], person: str
    ) -> None:
        """Cancel jobs of one account whose batch belongs to no live cluster.

        Run this in the background: it runs commands as the account, which may take long. ``person``: whose jobs they
        are, for the audit; "" if this is not known.
        """
        account = jobs[0].account
        try:
            found_jobs = await connection.site.cancel(account, [OwnJob(job.id, account, job.comment) for job in jobs])
        except FactoryError as error:
            log.warning("The orphans of batch %s are not cancelled yet: %s", batch_id, error.message)
            return
        self._orphans.pop((connection.factory.id, batch_id), None)
        if Found.OURS not in found_jobs.values():
            return
        key_id = connection.access_status.key_id(account)
        entry = AuditEntry(
            person, account, connection.factory.id, "cancel-orphan", jobs[0].id, f"batch {batch_id}", key_id
        )
        await self._ledger.note(entry)


def _take(worker: WorkerRecord, job: Job, batch: BatchRecord, now: datetime) -> bool:
    """Copy from ``job`` into ``worker`` the values that the ledger keeps; return whether one of them has changed.

    The job must not have ended.
    """
    old = (worker.state, worker.node, worker.started, worker.ends, worker.restarts)
    worker.state = _STATES[job.state]
    worker.node = job.nodes[0] if job.nodes and job.state is not JobState.PENDING else None
    worker.runs(job, batch, now)
    return old != (worker.state, worker.node, worker.started, worker.ends, worker.restarts)
