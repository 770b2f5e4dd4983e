"""The work of clusters at a factory: writes files for workers, submits batches, cancels unwanted jobs."""

from __future__ import annotations

import logging

from factorycommon.models import ClusterRequest, EndReason, Scheduler, Words
from factorylink.clusters import worker_job
from factorylink.clusters.worker_ends import WorkerEnds
from factorylink.errors import FactoryError, NotDone, Refused
from factorylink.explain import explain
from factorylink.jobs.identity import Identity
from factorylink.jobs.ownership import Found, OwnJob
from factorylink.ledger.cluster_store import BatchRecord, ClusterRecord, ClusterStore, WorkerRecord
from factorylink.ledger.ledger import Ledger, LedgerError
from factorylink.ledger.own_jobs import batch_job
from factorylink.problems import ProblemError, from_link_error, refused, unreachable
from factorylink.projects.book import ProjectBook
from factorylink.sessions.submitter import Submitter
from factorylink.site.audit_entries import AuditEntries
from factorylink.site.factory_connection import FactoryConnection
from factorylink.state.live_cluster import LiveCluster
from factorylink.util import clock
from factorylink.util.background_tasks import BackgroundTasks

log = logging.getLogger("factorylink")

CONFIRM_SECONDS = 20.0  # seconds until an accepted cancellation is repeated


class ClusterSubmitter:
    """Writes files for the workers of clusters, and submits and cancels their jobs in the background."""

    def __init__(
        self,
        store: ClusterStore,
        ends: WorkerEnds,
        ledger: Ledger,
        audit: AuditEntries,
        submitter: Submitter,
        projects: ProjectBook,
        identity: Identity,
        tasks: BackgroundTasks,
    ) -> None:
        self._store = store
        self._ends = ends
        self._ledger = ledger
        self._audit = audit
        self._submitter = submitter
        self._projects = projects
        self._identity = identity
        self._tasks = tasks

    async def leave_scheduler(self, connection: FactoryConnection, record: ClusterRecord, scheduler: Scheduler) -> None:
        """Write the Dask scheduler's address and keys into the file that the workers read. Raises ProblemError.

        The file belongs to the site account and has the mode 0600; the link stores its content nowhere else.
        """
        await self._leave(connection, record, worker_job.FILE, scheduler.model_dump_json())

    async def leave_asked(self, connection: FactoryConnection, record: ClusterRecord, request: ClusterRequest) -> None:
        """Write the request's options for Dask workers, if it has any, into a file that the workers read.

        The file is in the same folder as the file of ``leave_scheduler``. Raises ProblemError.
        """
        if (said := request.worker.model_dump_json(exclude_defaults=True)) != "{}":
            await self._leave(connection, record, worker_job.ASKED, said)

    async def _leave(self, connection: FactoryConnection, record: ClusterRecord, file: str, content: str) -> None:
        try:
            await self._submitter.leave(connection, record.account, record.id, file, content)
        except FactoryError as error:
            raise from_link_error(error) from error

    def submit(self, live_cluster: LiveCluster, batch: BatchRecord) -> None:
        """Submit a batch of worker jobs in the background.

        Do nothing if the batch is already being submitted, or if the gateway does not offer the cluster's factory any
        more.
        """
        if batch.id not in live_cluster.submissions and live_cluster.connection is not None:
            work = self._submission(live_cluster, live_cluster.connection, batch)
            live_cluster.submissions[batch.id] = self._tasks.spawn(work, f"submission of batch {batch.id}")

    async def _submission(
        self, live_cluster: LiveCluster, connection: FactoryConnection, batch: BatchRecord
    ) -> ProblemError | None:
        """Submit the jobs of a batch; return the problem if the scheduler certainly did not accept them.

        None: the scheduler has accepted the jobs or may have done so, no job of the batch is wanted any more, or the
        ledger could not be written.
        """
        record, submits = live_cluster.record, batch.submits
        try:
            await connection.site.turn(record.user)
            if batch.submit_begun is None and all(worker.wish == "stop" for worker in batch.workers):
                await self._ends.over(
                    live_cluster, batch.workers, EndReason.STOPPED, explain.job_ended(None, desired="stop")[1]
                )
                return None
            # the factory may have changed since the batch was admitted
            if (paused := connection.access_status.paused) is not None:
                raise NotDone(paused.what)
            project = self._projects.at(record.choice.project, record.factory)
            request = await worker_job.request(connection, record, batch, self._identity, project)
            await self._store.change(batch, submit_begun=clock.now(), submits=batch.submits + 1)
            job = await connection.site.submit(record.account, request, record.options.template, batch.count)
            await self._store.change(
                batch, self._audit.of_cluster(record, "submit", f"{batch.count} workers", job), job=job
            )
        except Refused as error:
            words = explain.refused(error.message)
            await self._ends.over(live_cluster, batch.workers, EndReason.REFUSED, words)
            return refused(words)
        except LedgerError:
            log.exception("Batch %s: what came of its submission is not in the ledger", batch.id)
            return None
        except FactoryError as error:
            if batch.submits > submits and not isinstance(error, NotDone):
                log.warning("Whether the jobs of batch %s were taken is not known: %s", batch.id, error.message)
                return None
            words = explain.own("not-taken", error.message)
            await self._ends.over(live_cluster, batch.workers, EndReason.REFUSED, words)
            return unreachable(explain.unreachable(error).what, scheduler=error.message)
        finally:
            live_cluster.submissions.pop(batch.id, None)
            connection.site.expect(True)
        live_cluster.touch(*batch.workers)
        self.carry_out(live_cluster)
        return None

    def carry_out(self, live_cluster: LiveCluster) -> None:
        """Cancel in the background a cluster's jobs that are recorded as no longer wanted.

        Do nothing if this is already under way.
        """
        unwanted = any(worker.wish == "stop" for _, worker in live_cluster.alive())
        if unwanted and (live_cluster.stopping is None or live_cluster.stopping.done()):
            live_cluster.stopping = self._tasks.spawn(
                self._stop(live_cluster), f"cancels of cluster {live_cluster.record.id}"
            )

    async def _stop(self, live_cluster: LiveCluster) -> None:
        pause = 0.5
        while live_cluster.connection is not None and (jobs := self._unwanted_jobs(live_cluster)):
            site = live_cluster.connection.site
            try:
                found = await site.cancel(live_cluster.record.account, jobs)
                if done := [id for id, what in found.items() if what is Found.OURS]:
                    entry = self._audit.of_cluster(
                        live_cluster.record, "cancel", f"{len(done)} jobs of workers", done[0]
                    )
                    await self._ledger.note(entry)
                pause = CONFIRM_SECONDS
            except (FactoryError, LedgerError) as error:
                log.info("Workers of cluster %s are not cancelled yet: %s", live_cluster.record.id, error)
            site.expect(True)
            await live_cluster.ended_within(pause)
            pause = min(2 * pause, CONFIRM_SECONDS)

    def _unwanted_jobs(self, live_cluster: LiveCluster) -> list[OwnJob]:
        """Return the jobs to cancel; an array as a whole if none of its jobs is wanted."""
        jobs: list[OwnJob] = []
        for batch in live_cluster.record.batches.values():
            alive = [worker for worker in batch.workers if worker.ended is None]
            unwanted = [worker for worker in alive if worker.wish == "stop"]
            if batch.job is None or not unwanted:
                continue
            ids = [batch.job]
            if len(unwanted) < len(alive):
                ids = [id for worker in unwanted if (id := live_cluster.job_of(batch, worker)) is not None]
            jobs += [batch_job(live_cluster.record, batch, id, self._identity) for id in ids]
        return jobs

    async def let_go(self, live_cluster: LiveCluster, workers: list[WorkerRecord], words: Words | None = None) -> None:
        """Record in the ledger that these jobs are no longer wanted, and start cancelling them.

        Jobs of a batch that was not submitted, and is not being submitted, are recorded as ended. ``words``: why the
        jobs are to end; None: the reason is recorded when they have ended. Raises LedgerError; if the ledger did not
        record that the jobs are no longer wanted, they are wanted as before, and a later call may try again.
        """
        before = [(worker, worker.wish, worker.end) for worker in workers]
        # Not after the write: whoever writes the same rows in the meantime would write the old wish again.
        for worker in workers:
            worker.wish, worker.end = "stop", words or worker.end
        try:
            await self._store.save(workers)
        except LedgerError:
            for worker, desired, end in before:
                worker.wish, worker.end = desired, end
            raise
        live_cluster.touch()
        never = [
            worker
            for batch in live_cluster.record.batches.values()
            if batch.submit_begun is None and batch.id not in live_cluster.submissions
            for worker in batch.workers
            if worker.wish == "stop" and worker.ended is None
        ]
        if never or not live_cluster.alive():
            await self._ends.over(live_cluster, never, EndReason.STOPPED, explain.job_ended(None, desired="stop")[1])
        self.carry_out(live_cluster)
