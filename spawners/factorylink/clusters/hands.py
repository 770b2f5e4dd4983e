"""What is done at a factory for clusters: files left for workers, batches handed over, unwanted jobs cancelled."""

from __future__ import annotations

import logging

from factorylink import explain, moments
from factorylink.board import Board
from factorylink.clusters import workerjob
from factorylink.clusters.flock import Flock
from factorylink.clusters.herd import Herd
from factorylink.clusters.rows import BatchRow, ClusterRow, Shelf, own_job
from factorylink.errors import LinkError, NotDone, Refused
from factorylink.ledger import Entry, LedgerError
from factorylink.models import ClusterRequest, EndReason, Scheduler
from factorylink.ownership import Found, OwnJob
from factorylink.problems import ProblemError, from_link_error, refused, unreachable
from factorylink.seams import Place
from factorylink.submitting import Submitter

log = logging.getLogger("factorylink")

CONFIRM_SECONDS = 20.0  # from a cancel that was taken to asking again


class Hands:
    """``herd``: to be set before use; it is told what was not taken."""

    herd: Herd

    def __init__(self, board: Board, shelf: Shelf, submitter: Submitter) -> None:
        self._board = board
        self._shelf = shelf
        self._submitter = submitter

    async def leave_scheduler(self, place: Place, row: ClusterRow, scheduler: Scheduler) -> None:
        """How workers find and trust their scheduler: in a 0600 file of the account there, and nowhere else. Raises
        ProblemError."""
        await self._leave(place, row, workerjob.FILE, scheduler.model_dump_json())

    async def leave_asked(self, place: Place, row: ClusterRow, request: ClusterRequest) -> None:
        """What is asked of each Dask worker, in a file beside the other; mostly nothing is. Raises ProblemError."""
        if (said := request.worker.model_dump_json(exclude_defaults=True)) != "{}":
            await self._leave(place, row, workerjob.ASKED, said)

    async def _leave(self, place: Place, row: ClusterRow, file: str, content: str) -> None:
        try:
            await self._submitter.leave(place, row.account, row.id, file, content)
        except LinkError as error:
            raise from_link_error(error) from error

    def submit(self, flock: Flock, batch: BatchRow) -> None:
        """See that somebody hands it over."""
        if batch.id not in flock.submissions and flock.place is not None:
            work = self._submission(flock, flock.place, batch)
            flock.submissions[batch.id] = self._board.spawn(work, f"submission of batch {batch.id}")

    async def _submission(self, flock: Flock, place: Place, batch: BatchRow) -> ProblemError | None:
        """Hand the jobs over; the problem, if it is known that they were not taken."""
        row, submits = flock.row, batch.submits
        try:
            await place.site.turn()
            if batch.submit_begun is None and all(worker.wish == "stop" for worker in batch.workers):
                await self.herd.over(flock, batch.workers, EndReason.STOPPED, explain.ended(None, wish="stop")[1])
                return None
            if (paused := place.standing.paused) is not None:  # since it was let in
                raise NotDone(paused.what)
            project = self._board.projects.at(row.choice.project, row.factory)
            request = await workerjob.request(place, row, batch, self._board.identity, project)
            await self._shelf.change(batch, submit_begun=moments.now(), submits=batch.submits + 1)
            job = await place.site.submit(row.account, request, row.options.template, batch.count)
            await self._shelf.change(batch, self.entry(row, "submit", f"{batch.count} workers", job), job=job)
        except Refused as error:
            words = explain.refused(error.message)
            await self.herd.over(flock, batch.workers, EndReason.REFUSED, words)
            return refused(words)
        except LedgerError:
            log.exception("Batch %s: what came of its submission is not in the ledger", batch.id)
            return None
        except LinkError as error:
            if batch.submits > submits and not isinstance(error, NotDone):
                log.warning("Whether the jobs of batch %s were taken is not known: %s", batch.id, error.message)
                return None
            words = explain.own("not-taken", error.message)
            await self.herd.over(flock, batch.workers, EndReason.REFUSED, words)
            return unreachable(explain.unreachable(error).what, scheduler=error.message)
        finally:
            flock.submissions.pop(batch.id, None)
            place.site.expect(True)
        flock.touch(*batch.workers)
        self.carry_out(flock)
        return None

    def carry_out(self, flock: Flock) -> None:
        """See that somebody cancels what is no longer wanted."""
        unwanted = any(worker.wish == "stop" for _, worker in flock.alive())
        if unwanted and (flock.stopping is None or flock.stopping.done()):
            flock.stopping = self._board.spawn(self._stop(flock), f"cancels of cluster {flock.row.id}")

    async def _stop(self, flock: Flock) -> None:
        pause = 0.5
        while flock.place is not None and (jobs := self._unwanted_jobs(flock)):
            site = flock.place.site
            try:
                told = await site.cancel(flock.row.account, jobs)
                if done := [id for id, what in told.items() if what is Found.OURS]:
                    entry = self.entry(flock.row, "cancel", f"{len(done)} jobs of workers", done[0])
                    await self._board.ledger.note(entry)
                pause = CONFIRM_SECONDS
            except (LinkError, LedgerError) as error:
                log.info("Workers of cluster %s are not cancelled yet: %s", flock.row.id, error)
            site.expect(True)
            await flock.ended_within(pause)
            pause = min(2 * pause, CONFIRM_SECONDS)

    def _unwanted_jobs(self, flock: Flock) -> list[OwnJob]:
        """What to cancel: an array as a whole where none of it is wanted any more."""
        jobs: list[OwnJob] = []
        for batch in flock.row.batches.values():
            alive = [worker for worker in batch.workers if worker.ended is None]
            unwanted = [worker for worker in alive if worker.wish == "stop"]
            if batch.job is None or not unwanted:
                continue
            ids = [batch.job]
            if len(unwanted) < len(alive):
                ids = [id for worker in unwanted if (id := batch.job_of(worker)) is not None]
            jobs += [own_job(flock.row, batch, id, self._board.identity) for id in ids]
        return jobs

    def entry(self, row: ClusterRow, action: str, detail: str = "", job: str | None = None) -> Entry:
        """A line for the audit."""
        place = self._board.places.get(row.factory)
        key_id = place.standing.key_id(row.account) if place is not None and action in ("submit", "cancel") else ""
        return Entry(row.user, row.account, row.factory, action, job, f"cluster {row.id}: {detail}", key_id)
