"""What a factory's answers say of clusters' jobs: they start, they end, they were lost; and jobs no cluster has."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import zip_longest

from factorylink import budget, explain, moments
from factorylink.board import Board
from factorylink.clusters.claims import claims
from factorylink.clusters.flock import Flock
from factorylink.clusters.rows import BatchRow, Shelf, WorkerRow, own_job
from factorylink.ending import read_tail
from factorylink.errors import Gone, LinkError
from factorylink.ledger import Entry
from factorylink.models import BatchId, End, EndReason, Job, JobState, Words, WorkerState
from factorylink.ownership import DOUBT, Found, OwnJob, found
from factorylink.schedulers.arrays import array_of
from factorylink.schedulers.ends import end_of
from factorylink.seams import Place
from factorylink.submitting import session_folder

log = logging.getLogger("factorylink")

ENOUGH_MISSES = 2
ROUNDING = 1e-6  # GPU-hours
RECORDS = 400  # ids in one command: a site's wrapper takes no more than 500
TAILS = 5  # logs that are read of what one answer says is over: a hundred that fail alike fail for one reason
_GOOD = "COMPLETED"
_STATES = {
    JobState.PENDING: WorkerState.PENDING,
    JobState.RUNNING: WorkerState.RUNNING,
    JobState.ENDING: WorkerState.RUNNING,
}


class Herd:
    """``flocks``: the live clusters. ``submit``: hands a batch over again that never reached the scheduler. ``let_go``:
    ends jobs that are not wanted any more."""

    def __init__(
        self,
        board: Board,
        shelf: Shelf,
        flocks: Callable[[], Iterable[Flock]],
        submit: Callable[[Flock, BatchRow], None],
        let_go: Callable[[Flock, list[WorkerRow]], Awaitable[None]],
    ) -> None:
        self._board = board
        self._shelf = shelf
        self._flocks = flocks
        self._submit = submit
        self._let_go = let_go
        self._orphans: dict[tuple[str, BatchId], float] = {}  # since when, in ticks

    async def answered(self, place: Place, jobs: list[Job], account: str | None = None) -> None:
        """A factory's successful answer; about one site account's jobs only, where one is named."""
        here = [f for f in self._flocks() if f.row.factory == place.factory.id and account in (None, f.row.account)]
        by_batch: dict[BatchId, dict[str, Job]] = defaultdict(dict)
        for job in jobs:
            batch_id = self._board.identity.batch_of(job, place.factory.id)
            if batch_id is not None:
                by_batch[batch_id][job.id] = job
        by_id = {job.id: job for job in jobs}
        for flock in here:
            for batch in tuple(flock.row.batches.values()):  # more may be asked for meanwhile
                by_comment = by_batch.pop(batch.id, {})
                mine = {id: job for id, job in by_comment.items() if job.account == flock.row.account}
                await self._settle(flock, batch, mine)
                await self._seen(flock, batch, place, by_id)
            await self._hold_to_cap(flock)
        await self._unknown(place, by_batch)
        if any(worker.wish == "stop" or batch.job is None for flock in here for batch, worker in flock.alive()):
            place.site.expect(True)

    async def _settle(self, flock: Flock, batch: BatchRow, jobs: dict[str, Job]) -> None:
        """Whether a batch of which nobody knows was taken."""
        if batch.job is not None or batch.id in flock.submissions:
            return
        if jobs:
            entry = Entry(flock.row.user, flock.row.account, flock.row.factory, "settle", detail=f"batch {batch.id}")
            first = next(iter(jobs.values()))
            await self._shelf.change(batch, entry, job=array_of(first.id), submitted=first.submitted)
            flock.touch(*batch.workers)
            return
        if all(worker.ended is not None for worker in batch.workers):
            return
        batch.misses += 1
        doubtful = batch.submit_begun is not None and moments.since(batch.submit_begun) < timedelta(seconds=DOUBT)
        if batch.misses < ENOUGH_MISSES or doubtful:
            return
        batch.misses = 0
        if batch.submit_begun is not None and not batch.submits:  # taken over from a ledger that is lost, and gone
            await self.over(flock, batch.workers, EndReason.FAILED, explain.own("gone"))
        elif flock.row.wish == "run" and any(worker.wish == "run" for worker in batch.workers):
            self._submit(flock, batch)
        else:
            await self.over(flock, batch.workers, EndReason.STOPPED, explain.own("submit-doubtful"))

    async def _seen(self, flock: Flock, batch: BatchRow, place: Place, jobs: dict[str, Job]) -> None:
        """What an answer says of a batch's jobs, each known by its id."""
        now = moments.now()
        await self._charge_shown(flock, batch, jobs)
        changed: list[WorkerRow] = []
        ended: list[tuple[WorkerRow, End | None]] = []
        replaced: list[WorkerRow] = []
        for worker in batch.workers:
            id = batch.job_of(worker)
            if worker.ended is not None or id is None:
                continue
            job, before = jobs.get(id), worker.job
            what = None if job is None else self._found(flock, batch, place, job)
            if what is Found.FOREIGN:
                log.warning("Job %s at %s is not the worker %s any more", id, place.factory.id, worker.name)
                replaced.append(worker)
                continue
            if job is None:
                worker.misses += id not in place.site.silent
                if worker.misses >= ENOUGH_MISSES:
                    ended.append((worker, None))
                continue
            if batch.submitted is None and job.submitted is not None:
                await self._shelf.change(batch, submitted=job.submitted)
            worker.job, worker.misses = job, 0
            if worker.altered != (what is Found.ALTERED):
                worker.altered = not worker.altered
                flock.touch(worker)
            if job.state is JobState.ENDED:
                if job.started is not None:
                    worker.runs(job, batch, now)
                ended.append((worker, end_of(job)))
            elif _take(worker, job, batch, now):
                changed.append(worker)
            elif job != before:
                flock.touch(worker)
        if changed:
            await self._shelf.save(changed)
            flock.touch(*changed)
        if replaced:
            await self.over(flock, replaced, EndReason.FAILED, explain.own("job-replaced"))
        fresh = [(worker, end) for worker, end in ended if (batch.id, worker.task) not in flock.concluding]
        if fresh:
            flock.concluding |= {(batch.id, worker.task) for worker, _ in fresh}
            self._board.background(self._conclude(flock, batch, place, fresh), f"ends of batch {batch.id}")

    def _found(self, flock: Flock, batch: BatchRow, place: Place, job: Job) -> Found:
        own, factory = own_job(flock.row, batch, job.id, self._board.identity), place.factory.id
        return found(own, job, self._board.of_session(factory, job) or self._board.of_batch(factory, job))

    async def _charge_shown(self, flock: Flock, batch: BatchRow, jobs: dict[str, Job]) -> None:
        """Hold the budget for jobs that a client said are there, now that the factory shows them."""
        if not batch.adopted:
            return
        shown = [w for w in batch.workers if w.ended is None and w.job is None and batch.job_of(w) in jobs]
        if shown:
            await self._board.ledger.write(budget.found(claims(self._board, flock, batch, shown)))
            user = flock.row.user
            self._board.adopted[user] = max(0, self._board.adopted[user] - len(shown))

    async def _hold_to_cap(self, flock: Flock) -> None:
        """A job that the scheduler began again may use its walltime once more: what the cap does not allow is let go,
        what waits first."""
        row, told, now = flock.row, flock.gpu_hours(), moments.now()
        if row.cap_gpu_hours is None:
            return
        excess, unwanted = told.spent + told.committed - row.cap_gpu_hours, []
        # First those that end anyway, then what waits, the youngest first.
        order = {batch: place for place, batch in enumerate(row.batches)}
        for batch, worker in sorted(
            flock.alive(), key=lambda pair: (pair[1].wish == "run", pair[1].started is not None, -order[pair[0].id])
        ):
            if excess <= ROUNDING:
                break
            excess -= row.gpus * worker.left(batch.hours, now)
            if worker.wish == "run":
                worker.end = explain.own("cluster-cap")
                unwanted.append(worker)
        if unwanted:
            await self._let_go(flock, unwanted)

    async def _conclude(
        self, flock: Flock, batch: BatchRow, place: Place, ended: list[tuple[WorkerRow, End | None]]
    ) -> None:
        """Find out why they are gone. What cannot be found out now is asked again after the next answer."""
        tails = 0
        try:
            ended = await self._with_all_runs(flock, batch, place, ended)
            wanted = [(worker, end) for worker, end in ended if worker.wish == "run"]
            stopped = [(worker, end) for worker, end in ended if worker.wish == "stop"]
            words = explain.ended(None, wish="stop")[1]
            await self.over(flock, [w for w, _ in stopped], EndReason.STOPPED, words, [end for _, end in stopped])
            # Those that failed first: their logs are read of a few only.
            for worker, known in sorted(wanted, key=lambda pair: pair[1] is not None and pair[1].raw_state == _GOOD):
                id = batch.job_of(worker)
                if id is None:
                    continue
                end = known or await self._why(flock, place, id)
                tail: tuple[str, ...] = ()
                if tails < TAILS:
                    tails += 1
                    tail = await self._tail(flock, batch, place, worker)
                reason, words = explain.ended(end, tail=tail)
                worker.log_tail = tail
                await self.over(flock, [worker], reason, words, [end])
        except LinkError as error:
            log.info("Why jobs of batch %s ended is asked again: %s", batch.id, error.message)
        finally:
            flock.concluding -= {(batch.id, worker.task) for worker, _ in ended}

    async def _with_all_runs(
        self, flock: Flock, batch: BatchRow, place: Place, ended: list[tuple[WorkerRow, End | None]]
    ) -> list[tuple[WorkerRow, End | None]]:
        """What a job ran before it was put back into the queue is paid for, too: the accounting alone tells it."""
        again = [id for worker, _ in ended if worker.restarts and (id := batch.job_of(worker)) is not None]
        known: dict[str, End] = {}
        try:
            for first in range(0, len(again), RECORDS):
                known |= await place.site.recorded_all(flock.row.account, again[first : first + RECORDS])
        except LinkError as error:
            log.info("Earlier runs of batch %s are counted as they were seen: %s", batch.id, error.message)
        return [(worker, known.get(batch.job_of(worker) or "", end)) for worker, end in ended]

    async def _why(self, flock: Flock, place: Place, job_id: str) -> End | None:
        try:
            return await place.site.why_ended(flock.row.account, job_id)
        except Gone:
            return None

    async def tail(self, flock: Flock, batch: BatchRow, place: Place, worker: WorkerRow) -> tuple[str, ...]:
        """Return the last lines of a job's log as it is now. Raises LinkError."""
        folder = await session_folder(place, flock.row.account, flock.row.id)
        return await place.transport.run(read_tail(f"{folder}/{log_name(batch, worker.task)}"), flock.row.account)

    async def _tail(self, flock: Flock, batch: BatchRow, place: Place, worker: WorkerRow) -> tuple[str, ...]:
        try:
            return await self.tail(flock, batch, place, worker)
        except LinkError as error:
            log.info("The log of worker %s cannot be read: %s", worker.name, error.message)
            return ()

    async def over(
        self, flock: Flock, ended: list[WorkerRow], reason: EndReason, words: Words, ends: Sequence[End | None] = ()
    ) -> None:
        """Write that these jobs are over, and the cluster if it was to end and these were the last. ``ends``: what the
        scheduler says of them, in the same order."""
        now = moments.now()
        for worker, end in zip_longest(ended, ends):
            if worker.ended is None:
                worker.state, worker.end_reason, worker.end = WorkerState.ENDED, reason, worker.end or words
                worker.is_over(now, end)
        await self._shelf.save(ended)
        flock.touch(*ended)
        if flock.row.wish == "stop" and not flock.alive() and flock.row.ended is None:
            await self._shelf.change(flock.row, ended=now)
            flock.touch()

    async def _unknown(self, place: Place, by_batch: dict[BatchId, dict[str, Job]]) -> None:
        """Jobs of ours whose batch no live cluster has: cancelled after a grace, as orphans are."""
        for batch_id, jobs in by_batch.items():
            alive = [job for job in jobs.values() if job.state in (JobState.PENDING, JobState.RUNNING)]
            key = (place.factory.id, batch_id)
            if not alive:
                self._orphans.pop(key, None)
                continue
            since = self._orphans.setdefault(key, moments.ticks())
            if moments.ticks() - since < self._board.config.limits.orphan_grace_seconds:
                continue
            known = await self._shelf.batch(batch_id)
            if known is not None and known[1] is None:
                continue  # its cluster lives, and was not loaded yet
            mine = [job for job in alive if job.account == alive[0].account]
            cancel = partial(self._cancel_orphans, place, batch_id, mine, known[0] if known else "")
            self._board.apart.begin(key, (place.factory.id, mine[0].account), cancel)

    async def _cancel_orphans(self, place: Place, batch_id: BatchId, jobs: list[Job], person: str) -> None:
        """Cancel jobs of one account whose batch no cluster has. Apart: the account's own commands are run for it."""
        account = jobs[0].account
        try:
            told = await place.site.cancel(account, [OwnJob(job.id, account, job.comment) for job in jobs])
        except LinkError as error:
            log.warning("The orphans of batch %s are not cancelled yet: %s", batch_id, error.message)
            return
        self._orphans.pop((place.factory.id, batch_id), None)
        if Found.OURS not in told.values():
            return
        key_id = place.standing.key_id(account)
        entry = Entry(person, account, place.factory.id, "cancel-orphan", jobs[0].id, f"batch {batch_id}", key_id)
        await self._board.ledger.note(entry)


def log_name(batch: BatchRow, task: int) -> str:
    """Of a job's log, in the cluster's folder."""
    return f"{batch.id}-{task}.log"


def _take(worker: WorkerRow, job: Job, batch: BatchRow, now: datetime) -> bool:
    """Take over what is kept of a job that has not ended; whether anything changed."""
    old = (worker.state, worker.node, worker.started, worker.ends, worker.restarts)
    worker.state = _STATES[job.state]
    worker.node = job.nodes[0] if job.nodes and job.state is not JobState.PENDING else None
    worker.runs(job, batch, now)
    return old != (worker.state, worker.node, worker.started, worker.ends, worker.restarts)
