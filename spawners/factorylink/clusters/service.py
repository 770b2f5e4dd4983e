"""Clusters as the apps ask for them: begin, grow, shrink, look, end. And the link's own start."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator

from factorylink import budget, explain, moments, sessions
from factorylink.board import Board
from factorylink.budget import OverBudget
from factorylink.choices import SHORTEST_HOURS
from factorylink.clusters.admission import ClusterAdmission
from factorylink.clusters.claims import held
from factorylink.clusters.flock import Flock, cluster_key
from factorylink.clusters.hands import Hands
from factorylink.clusters.heads import Heads
from factorylink.clusters.herd import Herd
from factorylink.clusters.rows import BatchRow, ClusterRow, Shelf, WorkerRow
from factorylink.door_line import Stream
from factorylink.errors import LinkError, Refused
from factorylink.ledger import Conflict, LedgerError
from factorylink.live import Live
from factorylink.models import (
    N_,
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
from factorylink.pacing import RateLimiter
from factorylink.permission import Permission
from factorylink.problems import conflict, from_link_error, gone, invalid, too_many
from factorylink.seams import Place
from factorylink.sessions import Sessions
from factorylink.submitting import Submitter

log = logging.getLogger("factorylink")

ANSWER_SECONDS = 1.5  # after which a submission that goes on is answered as it is
LOGS, LOGS_PER_MINUTE = 20, 30  # of one person: at once, and then; each is a command at the factory
BATCHES, BATCHES_PER_MINUTE = 100, 60  # of one person: at once, and then; each is a submission
LOOK_SECONDS = 15.0  # between two looks at who still reads, and which session still lives
ENDED_KEPT = 50  # clusters that ended, for who asks what became of them


class Clusters:
    """One for the link. ``load`` before the factories are asked."""

    def __init__(self, board: Board, submitter: Submitter, sessions: Sessions) -> None:
        self._board = board
        self._shelf = Shelf(board.ledger)
        self._live = board.flocks
        self._over: dict[ClusterId, Flock] = {}
        self._beginning: dict[str, asyncio.Lock] = {}  # per person, so that limits are counted right
        self._hands = Hands(board, self._shelf, submitter)
        self.herd = self._hands.herd = Herd(board, self._shelf, self._flocks, self._hands.submit, self._unwanted)
        self._limiter = RateLimiter(BATCHES, BATCHES_PER_MINUTE)
        self._logs = RateLimiter(LOGS, LOGS_PER_MINUTE)
        self._admission = ClusterAdmission(board)
        self._permission = Permission(board)
        self._heads = Heads(board, sessions, self._head_changed)
        board.also_watches(self.herd.answered, self._accounts)

    async def load(self) -> None:
        """What the ledger has; and from now on, end what nobody holds any more."""
        for row in await self._shelf.live():
            self._live[row.id] = self._flock(row, self._board.places.get(row.factory))
        # Those from before there were budgets.
        there = [one for f in self._live.values() for b in f.row.batches.values() for one in held(self._board, f, b)]
        await self._board.ledger.write(budget.found(there))
        for flock in self._live.values():
            self._hands.carry_out(flock)
        self._board.background(self._keep(), "clusters that nobody holds")

    def _flock(self, row: ClusterRow, place: Place | None) -> Flock:
        return Flock(row, place, self._board.feed, lambda: self._heads.show(row.id))

    def _flocks(self) -> Iterator[Flock]:
        return iter(tuple(self._live.values()))

    def _accounts(self, factory_id: str) -> set[str]:
        return {flock.row.account for flock in self._live.values() if flock.row.factory == factory_id}

    # --- looks

    def of(self, user: str, live: bool) -> list[Cluster]:
        """That person's, newest first; without ``live``, those that ended lately, too."""
        flocks = [*self._live.values(), *(() if live else self._over.values())]
        mine = sorted((f for f in flocks if f.row.user == user), key=lambda f: f.row.created, reverse=True)
        return [flock.show() for flock in mine]

    async def figures_of(self, user: str, ended: int) -> list[Cluster]:
        """That person's without their jobs: the live ones, and so many that ended, by the ledger; newest first."""
        live = [f.figures() for f in self._flocks() if f.row.user == user and f.row.ended is None]
        over = [await self._ended(*told) for told in await self._shelf.ended(user, ended)]
        return [*sorted(live, key=lambda cluster: cluster.created, reverse=True), *over]

    async def _ended(self, row: ClusterRow, jobs: int, hours: float) -> Cluster:
        """One that ended, by the ledger."""
        told = Flock(row, None).figures()
        spent = row.earlier + row.gpus * hours + await self._heads.spent(row)
        used = told.gpu_hours.model_copy(update={"spent": spent})
        return told.model_copy(update={"gpu_hours": used, "counts": {WorkerState.ENDED: jobs} if jobs else {}})

    def own(self, cluster_id: ClusterId, user: str) -> Flock:
        """That person's. Raises ProblemError: whether another's exists is nobody's business."""
        flock = self._live.get(cluster_id) or self._over.get(cluster_id)
        if flock is None or flock.row.user != user:
            raise gone(f"The cluster {cluster_id}")
        return flock

    def look(self, cluster_id: ClusterId, user: str) -> Cluster:
        """That person's, now; its factory is asked for news. Raises ProblemError."""
        flock = self.own(cluster_id, user)
        if flock.place is not None and flock.alive():
            flock.place.site.expect(True)
        return flock.show()

    async def log(self, cluster_id: ClusterId, user: str, name: str) -> WorkerLog:
        """Return the last lines that a job of that person's cluster has written. Raises ProblemError."""
        flock = self.own(cluster_id, user)
        pairs = [(b, w) for b in flock.row.batches.values() for w in b.workers if w.name == name]
        if not pairs:
            raise gone(f"The worker {name}")
        batch, worker = pairs[-1]
        if worker.log_tail or worker.started is None or flock.place is None:
            return WorkerLog(lines=worker.log_tail)
        if self._logs.wait(user, moments.ticks()):
            raise too_many(N_("You asked for many logs in a short time, so this one was not read."))
        try:
            return WorkerLog(lines=await self.herd.tail(flock, batch, flock.place, worker))
        except Refused:  # nothing is written yet, or its folder is gone
            return WorkerLog()
        except LinkError as error:
            raise from_link_error(error) from error

    # --- begin

    async def put(
        self,
        cluster_id: ClusterId,
        user: str,
        request: ClusterRequest,
        *,
        may_touch: Callable[[ClusterRow], None] = lambda _row: None,
        options: JobOptions | None = None,
    ) -> tuple[Cluster, bool]:
        """The cluster of that id, begun if it is new; and whether it is. ``may_touch``: raises ProblemError for one
        that is there already and that the caller may not act for; ``options``: what an operator set for the session
        whose token asked, if one did. Raises ProblemError."""
        async with self._beginning.setdefault(user, asyncio.Lock()):
            known = self._live.get(cluster_id) or self._over.get(cluster_id)
            if known is not None and known.row.user == user:
                may_touch(known.row)
            with self._board.lender.beginning(user):
                return await self._put(cluster_id, user, request, known, options)

    async def _put(
        self,
        cluster_id: ClusterId,
        user: str,
        request: ClusterRequest,
        known: Flock | None,
        options: JobOptions | None,
    ) -> tuple[Cluster, bool]:
        if known is not None:
            if known.row.user != user:
                raise conflict(N_("There is another cluster of that id."))
            if known.place is not None and known.row.wish == "run" and request.scheduler is not None:
                await self._hands.leave_scheduler(known.place, known.row, request.scheduler)  # which may be a new one
            return known.show(), False
        right, row = await self._admission.admit(cluster_id, user, request, options)
        place = right.place
        await self._hands.leave_asked(place, row, request)
        if request.head is not None:
            row.session = row.id
            if not self._heads.has(row):  # else this ledger never had, or lost, the cluster of one that runs
                await self._heads.begin(row, right, request.head)
        elif request.scheduler is not None:
            await self._hands.leave_scheduler(place, row, request.scheduler)
        try:
            await self._shelf.add(row, self._hands.entry(row, "cluster", f"{row.choice.size}, {row.name}"))
        except Conflict as error:
            raise conflict(N_("There was another cluster of that id.")) from error
        flock = self._live[cluster_id] = self._flock(row, place)
        flock.touch()
        return flock.show(), True

    # --- its scheduler

    async def scheduler(self, cluster_id: ClusterId, user: str) -> Scheduler:
        """How its owner finds and trusts it. Raises ProblemError."""
        flock = self.own(cluster_id, user)
        if flock.place is None or flock.row.wish != "run":
            raise conflict(N_("The cluster is ending."))
        keys = await self._heads.keys(flock.row, flock.place)
        await self._board.ledger.note(self._hands.entry(flock.row, "connect"))
        return keys

    async def enter(self, cluster_id: ClusterId, user: str) -> Stream:
        """A way to it, for its owner. Raises ProblemError."""
        return await self._heads.enter(self.own(cluster_id, user).row.id)

    def _head_changed(self, head: Live) -> None:
        flock = self._live.get(head.row.id)
        if flock is None:
            return
        flock.touch()
        if head.row.ended is not None and flock.row.wish == "run":
            idle = head.row.end_reason is EndReason.FINISHED
            words = explain.own("cluster-idle") if idle else head.row.end
            self._board.background(self._end(flock, words), f"end of cluster {flock.row.id}")

    # --- grow

    async def grow(self, cluster_id: ClusterId, user: str, batch_id: BatchId, request: BatchRequest) -> Cluster:
        """That many more jobs, submitted together, or taken over. The same twice is one submission. Raises
        ProblemError."""
        flock = self.own(cluster_id, user)
        row = flock.row
        batch = row.batches.get(batch_id)
        if batch is None:
            if row.wish != "run" or flock.place is None:
                raise conflict(N_("The cluster is ending."))
            hours = request.hours if request.hours is not None else row.choice.hours
            hours = math.ceil(round(hours * 60, 6)) / 60  # as schedulers count it
            if hours < SHORTEST_HOURS:
                raise invalid(N_("Ask for one minute at least: schedulers count in minutes."), "hours")
            if taken := flock.named(request.names):
                raise conflict(N_("There is a worker {name} already.").format(name=taken[0].name))
            if self._limiter.wait(user, moments.ticks()):
                raise too_many(N_("You asked for many groups of workers in a short time, so none was added."))
            self._admission.may_grow(flock, request.whole, hours, adopt=request.adopt)
            batch = BatchRow(batch_id, cluster_id, len(request.names), hours, moments.now())
            if request.adopt:
                batch.submit_begun = batch.created  # by whoever it was; the factory's answers tell what came of it
            batch.workers = [WorkerRow(batch_id, task, name) for task, name in enumerate(request.names, start=1)]
            row.batches[batch_id] = batch  # before the first wait, so that what is asked for is counted once
            if request.adopt:
                self._board.adopted[user] += batch.count
            alike = request.whole - batch.count
            holds = self._permission.hold(held(self._board, flock, batch), row.choice.project, alike)
            entry = self._hands.entry(row, "adopt" if request.adopt else "workers", f"{batch.count} of {hours:g} h")
            try:
                await self._shelf.add(batch, entry, holds)
            except (Conflict, LedgerError, OverBudget) as error:
                del row.batches[batch_id]
                if request.adopt:
                    self._board.adopted[user] -= batch.count
                if isinstance(error, LedgerError):
                    self._board.background(self._unmake(flock, batch), f"whether {batch.id} is in the ledger")
                    raise
                if isinstance(error, OverBudget):
                    raise error.problem() from error
                raise conflict(N_("There was another batch of that id.")) from error
            flock.touch(*batch.workers)
            if request.adopt:
                flock.place.site.expect(True)
            else:
                self._hands.submit(flock, batch)
        elif tuple(worker.name for worker in batch.workers) != request.names:
            raise conflict(N_("There was another batch of that id."))
        submission = flock.submissions.get(batch_id)
        if submission is not None:
            await asyncio.wait([submission], timeout=ANSWER_SECONDS)
            if submission.done() and (problem := submission.result()) is not None:
                raise problem
        return flock.show()

    async def _unmake(self, flock: Flock, batch: BatchRow) -> None:
        """The ledger fell silent as it was written down. If it was all the same, its jobs are over: they hold hours,
        and the next link would hand them over."""
        while flock.row.batches.get(batch.id, batch) is batch:  # else it was asked for once more
            await asyncio.sleep(sessions.UNMAKE_SECONDS)
            try:
                if batch.id not in flock.row.batches and await self._shelf.batch(batch.id) is None:
                    return
                if flock.row.batches.setdefault(batch.id, batch) is batch:
                    await self.herd.over(flock, batch.workers, EndReason.REFUSED, explain.own("not-taken"))
            except LedgerError as error:
                log.warning("Whether batch %s is in the ledger is asked again: %s", batch.id, error)
            else:
                return

    # --- shrink and end

    async def cancel(self, cluster_id: ClusterId, user: str, names: tuple[str, ...]) -> Cluster:
        """These workers are no longer wanted; returns when the ledger holds that. Raises ProblemError."""
        flock = self.own(cluster_id, user)
        await self._unwanted(flock, [worker for worker in flock.named(names) if worker.wish == "run"])
        return flock.show()

    async def end(self, cluster_id: ClusterId, user: str) -> Cluster:
        """End the cluster with all its jobs; returns when the ledger holds that. Raises ProblemError."""
        flock = self.own(cluster_id, user)
        await self._end(flock, None)
        return flock.show()

    async def end_access(self, flock: Flock) -> None:
        """End it, since its person may no longer use its project. Raises LedgerError."""
        await self._end(flock, explain.own("access-lost"))

    async def _end(self, flock: Flock, words: Words | None) -> None:
        if flock.row.wish == "run":
            entry = self._hands.entry(flock.row, "end-cluster", words.code if words else "asked")
            await self._shelf.change(flock.row, entry, wish="stop", end=words)
        await self._unwanted(flock, [worker for _, worker in flock.alive() if worker.wish == "run"])
        await self._heads.end(flock.row.id)

    async def _unwanted(self, flock: Flock, workers: list[WorkerRow]) -> None:
        for worker in workers:
            worker.wish = "stop"
        await self._shelf.save(workers)
        flock.touch()
        never = [
            worker
            for batch in flock.row.batches.values()
            if batch.submit_begun is None and batch.id not in flock.submissions
            for worker in batch.workers
            if worker.wish == "stop" and worker.ended is None
        ]
        if never or not flock.alive():
            await self.herd.over(flock, never, EndReason.STOPPED, explain.ended(None, wish="stop")[1])
        self._hands.carry_out(flock)
        self._put_away()

    # --- what nobody holds

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for flock in self._flocks():
                if flock.row.wish == "run" and (words := self._lost(flock)) is not None:
                    try:
                        await self._end(flock, words)
                    except Exception:  # any error: the other clusters are still to be looked at
                        log.exception("The cluster %s is ended at the next look", flock.row.id)
            try:
                await self._heads.end_strays(lambda cluster_id: cluster_id in self._live)
            except Exception:  # any error: this loop must go on, since no other one does its work
                log.exception("Schedulers without a cluster are ended at the next look")
            self._put_away()

    def _lost(self, flock: Flock) -> Words | None:
        """Why a cluster has nobody left: its session is over, or its scheduler has not been heard of for long."""
        session = flock.row.session
        if session is not None and session not in self._board.live:
            return explain.own("cluster-session-over")
        if session == flock.row.id:
            return None  # its scheduler is a job of its own, and knows itself when it is idle
        lease = self._board.config.limits.cluster_lease_seconds
        if flock.readers == 0 and moments.ticks() - flock.left > lease:
            return explain.own("cluster-left")
        return None

    def _put_away(self) -> None:
        for flock in self._flocks():
            if flock.row.ended is not None:
                self._board.feed.forget(cluster_key(flock.row.id))
                self._over[flock.row.id] = self._live.pop(flock.row.id)
        while len(self._over) > ENDED_KEPT:
            del self._over[next(iter(self._over))]
