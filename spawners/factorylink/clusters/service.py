"""The operations on clusters that the apps offer: start, grow, shrink, show, end.

Also loads the live clusters when the link starts.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from factorycommon.messages import Message
from factorycommon.models import (
    BatchId,
    BatchRequest,
    Cluster,
    ClusterId,
    ClusterRequest,
    EndReason,
    JobOptions,
    Scheduler,
    Words,
    WorkerLog,
    WorkerState,
)
from factorylink.catalogue.choices import SHORTEST_HOURS
from factorylink.clusters.admission import ClusterAdmission
from factorylink.clusters.reconciler import ClusterReconciler
from factorylink.clusters.scheduler_jobs import SchedulerJobs
from factorylink.clusters.submitter import ClusterSubmitter
from factorylink.clusters.worker_ends import WorkerEnds
from factorylink.config import Limits
from factorylink.doors.connection import Stream
from factorylink.errors import FactoryError, Refused
from factorylink.explain import explain
from factorylink.ledger import charges
from factorylink.ledger.charges import OverBudget
from factorylink.ledger.cluster_store import BatchRecord, ClusterRecord, ClusterStore, WorkerRecord
from factorylink.ledger.ledger import Ledger, LedgerConflict, LedgerError
from factorylink.problems import conflict, from_link_error, gone, invalid, too_many
from factorylink.projects.account_leases import AccountLeases
from factorylink.projects.charge_reservations import ChargeReservations
from factorylink.sessions import service as sessions
from factorylink.sessions.permission import Permission
from factorylink.site.audit_entries import AuditEntries
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.cluster_table import ClusterTable
from factorylink.state.live_cluster import LiveCluster
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable
from factorylink.util import clock
from factorylink.util.background_tasks import BackgroundTasks
from factorylink.util.rate_limiter import RateLimiter

log = logging.getLogger("factorylink")

ANSWER_SECONDS = 1.5  # seconds after which the request is answered, though the submission continues
# limit of one person's log requests: at once, and then per minute; each runs a command at the factory
LOGS, LOGS_PER_MINUTE = 20, 30
BATCHES, BATCHES_PER_MINUTE = 100, 60  # one person's batches: at once, and then per minute; each is a submission
# limit of one person's new clusters: at once, and then per minute; each writes files at the factory
CLUSTERS, CLUSTERS_PER_MINUTE = 100, 60
LOOK_SECONDS = 15.0  # seconds between two checks of clusters' readers and sessions


class Clusters:
    """Starts, grows, shows and ends clusters.

    The link has one such object; call ``load`` before any factory is asked.
    """

    def __init__(
        self,
        table: ClusterTable,
        store: ClusterStore,
        sessions: SessionTable,
        ledger: Ledger,
        audit: AuditEntries,
        factories: OfferedFactories,
        permission: Permission,
        admission: ClusterAdmission,
        account_leases: AccountLeases,
        reservations: ChargeReservations,
        submitter: ClusterSubmitter,
        reconciler: ClusterReconciler,
        ends: WorkerEnds,
        scheduler_jobs: SchedulerJobs,
        limits: Limits,
        tasks: BackgroundTasks,
    ) -> None:
        self._table = table
        self._store = store
        self._sessions = sessions
        self._ledger = ledger
        self._audit = audit
        self._factories = factories
        self._permission = permission
        self._admission = admission
        self._account_leases = account_leases
        self._reservations = reservations
        self._submitter = submitter
        self._reconciler = reconciler
        self._ends = ends
        self._scheduler_jobs = scheduler_jobs
        self._limits = limits
        self._tasks = tasks
        self._beginning: dict[str, asyncio.Lock] = {}  # a lock for each person, so that limits are counted correctly
        self._limiter = RateLimiter(BATCHES, BATCHES_PER_MINUTE)
        self._new = RateLimiter(CLUSTERS, CLUSTERS_PER_MINUTE)
        self._logs = RateLimiter(LOGS, LOGS_PER_MINUTE)
        scheduler_jobs.on_change = self._head_changed

    async def load(self) -> None:
        """Read the live clusters from the ledger into the table. Raises LedgerError.

        Also start to cancel the clusters' jobs that are no longer wanted, and start a background task. The task ends
        each cluster whose session has ended. The task also ends a cluster if nobody has read the cluster's events for
        ``Limits.cluster_lease_seconds``, unless the cluster's scheduler has a job of its own.
        """
        for record in await self._store.live():
            self._hold(record, self._factories.get(record.factory))
        # Clusters from releases without budgets.
        reserved = [
            one
            for f in self._table.values()
            for b in f.record.batches.values()
            for one in self._reservations.of_batch(f, b)
        ]
        await self._ledger.write(charges.found(reserved))
        for live_cluster in self._table.values():
            self._submitter.carry_out(live_cluster)
        self._tasks.begin(self._keep(), "clusters that nobody holds")

    def _hold(self, record: ClusterRecord, connection: FactoryConnection | None) -> LiveCluster:
        return self._table.hold(record, connection, lambda: self._scheduler_jobs.show(record.id))

    # --- reading

    def of(self, user: str, live: bool) -> list[Cluster]:
        """Return a person's clusters, newest first; if not ``live``, include ended ones that are still in memory."""
        live_clusters = [*self._table.values(), *(() if live else self._table.ended())]
        mine = sorted((f for f in live_clusters if f.record.user == user), key=lambda f: f.record.created, reverse=True)
        return [live_cluster.show() for live_cluster in mine]

    async def figures_of(self, user: str, ended: int) -> list[Cluster]:
        """Return a person's clusters without their jobs: live ones, newest first, then ended ones, last end first.

        ``ended``: how many ended clusters to return at most, from the ledger. Raises LedgerError.
        """
        live = [f.figures() for f in self._table.values() if f.record.user == user and f.record.ended is None]
        over = [await self._ended(*one) for one in await self._store.ended(user, ended)]
        return [*sorted(live, key=lambda cluster: cluster.created, reverse=True), *over]

    async def _ended(self, record: ClusterRecord, jobs: int, hours: float) -> Cluster:
        """Return a cluster that has ended, from its row in the ledger.

        ``jobs``: how many jobs the cluster had; ``hours``: the hours that they ran, added up.
        """
        shown = LiveCluster(record, None).figures()
        spent = record.earlier + float(record.gpus) * hours + await self._scheduler_jobs.spent(record)
        used = shown.gpu_hours.model_copy(update={"spent": spent})
        return shown.model_copy(update={"gpu_hours": used, "counts": {WorkerState.ENDED: jobs} if jobs else {}})

    def own(self, cluster_id: ClusterId, user: str) -> LiveCluster:
        """Return a person's cluster that is live, or has ended and is still in memory.

        Raises ProblemError, which is the same for another person's cluster and for one that does not exist.
        """
        live_cluster = self._table.known(cluster_id)
        if live_cluster is None or live_cluster.record.user != user:
            raise gone(f"The cluster {cluster_id}")
        return live_cluster

    def look(self, cluster_id: ClusterId, user: str) -> Cluster:
        """Return a person's cluster as it is now. Raises ProblemError.

        If jobs of the cluster have not ended, and the gateway offers its factory, the link soon asks the factory about
        these jobs.
        """
        live_cluster = self.own(cluster_id, user)
        if live_cluster.connection is not None and live_cluster.alive():
            live_cluster.connection.site.expect(True)
        return live_cluster.show()

    async def log(self, cluster_id: ClusterId, user: str, name: str) -> WorkerLog:
        """Return the last lines of the log of a worker's job. Raises ProblemError.

        There are no lines if the log does not exist yet, was removed, or cannot be read because the gateway no longer
        offers the factory. ``name``: the worker's name in the cluster.
        """
        live_cluster = self.own(cluster_id, user)
        pairs = [(b, w) for b in live_cluster.record.batches.values() for w in b.workers if w.name == name]
        if not pairs:
            raise gone(f"The worker {name}")
        batch, worker = pairs[-1]
        if worker.log_tail or worker.started is None or live_cluster.connection is None:
            return WorkerLog(lines=worker.log_tail)
        if self._logs.wait(user, clock.ticks()):
            raise too_many(
                Message("too-many-logs", "You asked for many logs in a short time, so this one was not read.")
            )
        try:
            return WorkerLog(lines=await self._reconciler.tail(live_cluster, batch, live_cluster.connection, worker))
        except Refused:  # the job has written nothing yet, or its folder is gone
            return WorkerLog()
        except FactoryError as error:
            raise from_link_error(error) from error

    # --- creating

    async def put(
        self,
        cluster_id: ClusterId,
        user: str,
        request: ClusterRequest,
        *,
        may_touch: Callable[[ClusterRecord], None] = lambda _row: None,
        options: JobOptions | None = None,
    ) -> tuple[Cluster, bool]:
        """Create the cluster with this id if there is none; return the cluster, and whether it is new.

        If the cluster exists already, nothing is created. But a scheduler's address and keys in the request are written
        again for the cluster's workers, unless the cluster is ending or the gateway no longer offers its factory.
        Raises ProblemError, for example if another person has a cluster with this id; LedgerError.

        ``may_touch``: raises ProblemError for an existing cluster that the caller may not act for. ``options``: the job
        options of the session whose token the client used; None: the client used another token.
        """
        async with self._beginning.setdefault(user, asyncio.Lock()):
            known = self._table.known(cluster_id)
            if known is not None and known.record.user == user:
                may_touch(known.record)
            with self._account_leases.beginning(user):
                return await self._put(cluster_id, user, request, known, options)

    async def _put(
        self,
        cluster_id: ClusterId,
        user: str,
        request: ClusterRequest,
        known: LiveCluster | None,
        options: JobOptions | None,
    ) -> tuple[Cluster, bool]:
        if known is not None:
            if known.record.user != user:
                raise conflict(Message("cluster-exists", "There is another cluster of that id."))
            if known.connection is not None and known.record.wish == "run" and request.scheduler is not None:
                await self._submitter.leave_scheduler(
                    known.connection, known.record, request.scheduler
                )  # the scheduler may be a new one
            return known.show(), False
        grant, record = await self._admission.admit(cluster_id, user, request, options)
        if self._new.wait(user, clock.ticks()):
            raise too_many(
                Message("too-many-clusters", "You asked for many clusters in a short time, so none was started.")
            )
        connection = grant.connection
        await self._submitter.leave_asked(connection, record, request)
        if request.head is not None:
            record.session = record.id
            if not self._scheduler_jobs.has(record):  # otherwise the ledger lacks the cluster of a running scheduler
                await self._scheduler_jobs.begin(record, grant, request.head)
        elif request.scheduler is not None:
            await self._submitter.leave_scheduler(connection, record, request.scheduler)
        try:
            await self._store.add(
                record, self._audit.of_cluster(record, "cluster", f"{record.choice.size}, {record.name}")
            )
        except LedgerConflict as error:
            raise conflict(Message("cluster-existed", "There was another cluster of that id.")) from error
        live_cluster = self._hold(record, connection)
        live_cluster.touch()
        return live_cluster.show(), True

    # --- the cluster's scheduler

    async def scheduler(self, cluster_id: ClusterId, user: str) -> Scheduler:
        """Return the address and keys of a cluster's scheduler, for its owner. Raises ProblemError, LedgerError."""
        live_cluster = self.own(cluster_id, user)
        if live_cluster.connection is None or live_cluster.record.wish != "run":
            raise conflict(Message("cluster-ending", "The cluster is ending."))
        keys = await self._scheduler_jobs.keys(live_cluster.record, live_cluster.connection)
        await self._ledger.note(self._audit.of_cluster(live_cluster.record, "connect"))
        return keys

    async def enter(self, cluster_id: ClusterId, user: str) -> Stream:
        """Connect to a cluster's scheduler, for the cluster's owner; return the stream. Raises ProblemError."""
        return await self._scheduler_jobs.enter(self.own(cluster_id, user).record.id)

    def _head_changed(self, head: LiveSession) -> None:
        live_cluster = self._table.get(head.record.id)
        if live_cluster is None:
            return
        live_cluster.touch()
        if head.record.ended is not None and live_cluster.record.wish == "run":
            idle = head.record.end_reason is EndReason.FINISHED
            words = explain.own("cluster-idle") if idle else head.record.end
            self._tasks.begin(self._end(live_cluster, words), f"end of cluster {live_cluster.record.id}")

    # --- growing

    async def grow(self, cluster_id: ClusterId, user: str, batch_id: BatchId, request: BatchRequest) -> Cluster:
        """Add a batch of jobs to a cluster; return the cluster. Raises ProblemError, LedgerError.

        The jobs are submitted together; this method waits 1.5 s at most for their submission. A batch that is sent
        twice is submitted once. If ``request.adopt`` is True, the jobs were submitted before the link lost its ledger;
        this method then records the jobs, and submits nothing.
        """
        begun = clock.ticks()
        live_cluster = self.own(cluster_id, user)
        record = live_cluster.record
        batch = record.batches.get(batch_id)
        if batch is None:
            if record.wish != "run" or live_cluster.connection is None:
                raise conflict(Message("cluster-ending", "The cluster is ending."))
            hours = request.hours if request.hours is not None else record.choice.hours
            hours = math.ceil(round(hours * 60, 6)) / 60  # rounded up to minutes, as schedulers do
            if hours < SHORTEST_HOURS:
                raise invalid(
                    Message("a-minute-at-least", "Ask for one minute at least: schedulers count in minutes."), "hours"
                )
            if taken := live_cluster.named(request.names):
                raise conflict(Message("worker-exists", "There is a worker {name} already.").format(name=taken[0].name))
            if self._limiter.wait(user, clock.ticks()):
                raise too_many(
                    Message(
                        "too-many-batches", "You asked for many groups of workers in a short time, so none was added."
                    )
                )
            self._admission.may_grow(live_cluster, request.whole, hours, adopt=request.adopt)
            batch = BatchRecord(batch_id, cluster_id, len(request.names), hours, clock.now())
            if request.adopt:
                # this link did not submit them; the factory's answers show whether the submission succeeded
                batch.submit_begun = batch.created
            batch.workers = [WorkerRecord(batch_id, task, name) for task, name in enumerate(request.names, start=1)]
            record.batches[batch_id] = batch  # before the first await, so that the batch is counted only once
            if request.adopt:
                self._table.adopted[user] += batch.count
            alike = request.whole - batch.count
            holds = self._permission.hold(
                self._reservations.of_batch(live_cluster, batch), record.choice.project, alike
            )
            entry = self._audit.of_cluster(
                record, "adopt" if request.adopt else "workers", f"{batch.count} of {hours:g} h"
            )
            try:
                await self._store.add(batch, entry, holds)
            except (LedgerConflict, LedgerError, OverBudget) as error:
                del record.batches[batch_id]
                if request.adopt:
                    self._table.adopted[user] -= batch.count
                if isinstance(error, LedgerError):
                    self._tasks.begin(self._unmake(live_cluster, batch), f"whether {batch.id} is in the ledger")
                    raise
                if isinstance(error, OverBudget):
                    raise error.problem() from error
                raise conflict(Message("batch-existed", "There was another batch of that id.")) from error
            live_cluster.touch(*batch.workers)
            if request.adopt:
                live_cluster.connection.site.expect(True)
            else:
                self._submitter.submit(live_cluster, batch)
        elif tuple(worker.name for worker in batch.workers) != request.names:
            raise conflict(Message("batch-existed", "There was another batch of that id."))
        submission = live_cluster.submissions.get(batch_id)
        if submission is not None:
            await asyncio.wait([submission], timeout=begun + ANSWER_SECONDS - clock.ticks())
            if submission.done() and (problem := submission.result()) is not None:
                raise problem
        return live_cluster.show()

    async def _unmake(self, live_cluster: LiveCluster, batch: BatchRecord) -> None:
        """Record the jobs of a batch as ended if the ledger holds the batch although writing the batch seemed to fail.

        Otherwise these jobs would reserve hours, and the link would submit them after its next start.
        """
        while live_cluster.record.batches.get(batch.id, batch) is batch:  # otherwise the batch was requested again
            await asyncio.sleep(sessions.UNMAKE_SECONDS)
            try:
                if batch.id not in live_cluster.record.batches and await self._store.batch(batch.id) is None:
                    return
                if live_cluster.record.batches.setdefault(batch.id, batch) is batch:
                    await self._ends.over(live_cluster, batch.workers, EndReason.REFUSED, explain.own("not-taken"))
            except LedgerError as error:
                log.warning("Whether batch %s is in the ledger is asked again: %s", batch.id, error)
            else:
                return

    # --- shrinking and ending

    async def cancel(self, cluster_id: ClusterId, user: str, names: tuple[str, ...]) -> Cluster:
        """Request the end of these workers' jobs; return the cluster when the ledger holds the request.

        ``names``: the workers' names. Names that no worker has, or only a worker that has ended, are ignored. Raises
        ProblemError, LedgerError.
        """
        live_cluster = self.own(cluster_id, user)
        await self._unwanted(live_cluster, [worker for worker in live_cluster.named(names) if worker.wish == "run"])
        return live_cluster.show()

    async def end(self, cluster_id: ClusterId, user: str) -> Cluster:
        """Request the end of a cluster with all its jobs; return the cluster when the ledger holds the request.

        Raises ProblemError, LedgerError.
        """
        live_cluster = self.own(cluster_id, user)
        await self._end(live_cluster, None)
        return live_cluster.show()

    async def end_access(self, live_cluster: LiveCluster) -> None:
        """Request the end of a cluster and its jobs because the owner has lost access.

        The owner is blocked, or may no longer use the cluster's project. Raises LedgerError.
        """
        await self._end(live_cluster, explain.own("access-lost"))

    async def _end(self, live_cluster: LiveCluster, words: Words | None) -> None:
        if live_cluster.record.wish == "run":
            entry = self._audit.of_cluster(live_cluster.record, "end-cluster", words.code if words else "asked")
            await self._store.change(live_cluster.record, entry, wish="stop", end=words)
        await self._unwanted(live_cluster, [worker for _, worker in live_cluster.alive() if worker.wish == "run"])
        await self._scheduler_jobs.end(live_cluster.record.id)

    async def _unwanted(self, live_cluster: LiveCluster, workers: list[WorkerRecord]) -> None:
        await self._submitter.let_go(live_cluster, workers)
        self._table.put_away()

    # --- clusters that nobody holds

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for live_cluster in tuple(self._table.values()):
                is_wanted = live_cluster.record.wish == "run"
                words = self._lost(live_cluster) if is_wanted else None
                # If the ledger took the wish to end the cluster only in part, some jobs are still wanted.
                if words is not None or (not is_wanted and any(w.wish == "run" for _, w in live_cluster.alive())):
                    try:
                        await self._end(live_cluster, words)
                    except Exception:  # any error: the other clusters must still be checked
                        log.exception("The cluster %s is ended at the next look", live_cluster.record.id)
            try:
                await self._scheduler_jobs.end_strays(lambda cluster_id: cluster_id in self._table)
            except Exception:  # any error: this loop must continue, since nothing else does its work
                log.exception("Schedulers without a cluster are ended at the next look")
            self._table.put_away()

    def _lost(self, live_cluster: LiveCluster) -> Words | None:
        """Return why nobody holds the cluster any more; None if somebody holds it.

        Either its session has ended, or nobody has read the cluster's events for the lease time. A cluster whose
        scheduler has a job of its own needs no readers.
        """
        session = live_cluster.record.session
        if session is not None and session not in self._sessions:
            return explain.own("cluster-session-over")
        if session == live_cluster.record.id:
            return None  # its scheduler has its own job, and ends itself when it is idle
        lease = self._limits.cluster_lease_seconds
        if live_cluster.readers == 0 and clock.ticks() - live_cluster.left > lease:
            return explain.own("cluster-left")
        return None
