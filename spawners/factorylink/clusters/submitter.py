"""What is done at a factory for clusters: files left for workers, batches handed over, unwanted jobs cancelled."""

from __future__ import annotations

import logging

from factorycommon.models import ClusterRequest, EndReason, Scheduler
from factorylink.clusters import worker_job
from factorylink.clusters.reconciler import ClusterReconciler
from factorylink.errors import FactoryError, NotDone, Refused
from factorylink.explain import explain
from factorylink.jobs.ownership import Found, OwnJob
from factorylink.ledger.cluster_store import BatchRecord, ClusterRecord, ClusterStore
from factorylink.ledger.ledger import AuditEntry, LedgerError
from factorylink.ledger.own_jobs import batch_job
from factorylink.problems import ProblemError, from_link_error, refused, unreachable
from factorylink.sessions.link_state import LinkState
from factorylink.sessions.submitter import Submitter
from factorylink.site.factory_connection import FactoryConnection
from factorylink.state.live_cluster import LiveCluster
from factorylink.util import clock

log = logging.getLogger("factorylink")

CONFIRM_SECONDS = 20.0  # from a cancel that was taken to asking again


class ClusterSubmitter:
    """``herd``: to be set before use; it is told what was not taken."""

    reconciler: ClusterReconciler

    def __init__(self, link_state: LinkState, store: ClusterStore, submitter: Submitter) -> None:
        self._link_state = link_state
        self._store = store
        self._submitter = submitter

    async def leave_scheduler(self, place: FactoryConnection, row: ClusterRecord, scheduler: Scheduler) -> None:
        """How workers find and trust their scheduler: in a 0600 file of the account there, and nowhere else. Raises
        ProblemError."""
        await self._leave(place, row, worker_job.FILE, scheduler.model_dump_json())

    async def leave_asked(self, place: FactoryConnection, row: ClusterRecord, request: ClusterRequest) -> None:
        """What is asked of each Dask worker, in a file beside the other; mostly nothing is. Raises ProblemError."""
        if (said := request.worker.model_dump_json(exclude_defaults=True)) != "{}":
            await self._leave(place, row, worker_job.ASKED, said)

    async def _leave(self, place: FactoryConnection, row: ClusterRecord, file: str, content: str) -> None:
        try:
            await self._submitter.leave(place, row.account, row.id, file, content)
        except FactoryError as error:
            raise from_link_error(error) from error

    def submit(self, live_cluster: LiveCluster, batch: BatchRecord) -> None:
        """See that somebody hands it over."""
        if batch.id not in live_cluster.submissions and live_cluster.place is not None:
            work = self._submission(live_cluster, live_cluster.place, batch)
            live_cluster.submissions[batch.id] = self._link_state.spawn(work, f"submission of batch {batch.id}")

    async def _submission(
        self, live_cluster: LiveCluster, place: FactoryConnection, batch: BatchRecord
    ) -> ProblemError | None:
        """Hand the jobs over; the problem, if it is known that they were not taken."""
        row, submits = live_cluster.row, batch.submits
        try:
            await place.site.turn()
            if batch.submit_begun is None and all(worker.wish == "stop" for worker in batch.workers):
                await self.reconciler.over(
                    live_cluster, batch.workers, EndReason.STOPPED, explain.ended(None, wish="stop")[1]
                )
                return None
            if (paused := place.access_status.paused) is not None:  # since it was let in
                raise NotDone(paused.what)
            project = self._link_state.projects.at(row.choice.project, row.factory)
            request = await worker_job.request(place, row, batch, self._link_state.identity, project)
            await self._store.change(batch, submit_begun=clock.now(), submits=batch.submits + 1)
            job = await place.site.submit(row.account, request, row.options.template, batch.count)
            await self._store.change(batch, self.entry(row, "submit", f"{batch.count} workers", job), job=job)
        except Refused as error:
            words = explain.refused(error.message)
            await self.reconciler.over(live_cluster, batch.workers, EndReason.REFUSED, words)
            return refused(words)
        except LedgerError:
            log.exception("Batch %s: what came of its submission is not in the ledger", batch.id)
            return None
        except FactoryError as error:
            if batch.submits > submits and not isinstance(error, NotDone):
                log.warning("Whether the jobs of batch %s were taken is not known: %s", batch.id, error.message)
                return None
            words = explain.own("not-taken", error.message)
            await self.reconciler.over(live_cluster, batch.workers, EndReason.REFUSED, words)
            return unreachable(explain.unreachable(error).what, scheduler=error.message)
        finally:
            live_cluster.submissions.pop(batch.id, None)
            place.site.expect(True)
        live_cluster.touch(*batch.workers)
        self.carry_out(live_cluster)
        return None

    def carry_out(self, live_cluster: LiveCluster) -> None:
        """See that somebody cancels what is no longer wanted."""
        unwanted = any(worker.wish == "stop" for _, worker in live_cluster.alive())
        if unwanted and (live_cluster.stopping is None or live_cluster.stopping.done()):
            live_cluster.stopping = self._link_state.spawn(
                self._stop(live_cluster), f"cancels of cluster {live_cluster.row.id}"
            )

    async def _stop(self, live_cluster: LiveCluster) -> None:
        pause = 0.5
        while live_cluster.place is not None and (jobs := self._unwanted_jobs(live_cluster)):
            site = live_cluster.place.site
            try:
                told = await site.cancel(live_cluster.row.account, jobs)
                if done := [id for id, what in told.items() if what is Found.OURS]:
                    entry = self.entry(live_cluster.row, "cancel", f"{len(done)} jobs of workers", done[0])
                    await self._link_state.ledger.note(entry)
                pause = CONFIRM_SECONDS
            except (FactoryError, LedgerError) as error:
                log.info("Workers of cluster %s are not cancelled yet: %s", live_cluster.row.id, error)
            site.expect(True)
            await live_cluster.ended_within(pause)
            pause = min(2 * pause, CONFIRM_SECONDS)

    def _unwanted_jobs(self, live_cluster: LiveCluster) -> list[OwnJob]:
        """What to cancel: an array as a whole where none of it is wanted any more."""
        jobs: list[OwnJob] = []
        for batch in live_cluster.row.batches.values():
            alive = [worker for worker in batch.workers if worker.ended is None]
            unwanted = [worker for worker in alive if worker.wish == "stop"]
            if batch.job is None or not unwanted:
                continue
            ids = [batch.job]
            if len(unwanted) < len(alive):
                ids = [id for worker in unwanted if (id := live_cluster.job_of(batch, worker)) is not None]
            jobs += [batch_job(live_cluster.row, batch, id, self._link_state.identity) for id in ids]
        return jobs

    def entry(self, row: ClusterRecord, action: str, detail: str = "", job: str | None = None) -> AuditEntry:
        """A line for the audit."""
        place = self._link_state.places.get(row.factory)
        key_id = place.access_status.key_id(row.account) if place is not None and action in ("submit", "cancel") else ""
        return AuditEntry(row.user, row.account, row.factory, action, job, f"cluster {row.id}: {detail}", key_id)
