"""What a factory's answers do to the sessions. ``lifecycle`` says what they mean."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from factorycommon.messages import Message
from factorycommon.models import EndReason, Job, JobState, SessionId, SessionState, Words
from factorylink.config import Limits
from factorylink.doors.manager import DoorManager
from factorylink.explain import explain
from factorylink.jobs.identity import Identity
from factorylink.jobs.ownership import DOUBT, Found, found
from factorylink.ledger import charges
from factorylink.ledger.ledger import Ledger, LedgerConflict, LedgerError
from factorylink.ledger.own_jobs import session_job
from factorylink.sessions import state_machine
from factorylink.sessions.door_events import DoorListener
from factorylink.sessions.extension import Extender
from factorylink.sessions.matching import compare
from factorylink.sessions.orphans import OrphanFinder
from factorylink.sessions.state_machine import Action, Phase
from factorylink.sessions.termination import Termination
from factorylink.site.audit_entries import AuditEntries
from factorylink.site.factory_connection import FactoryConnection
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable
from factorylink.util import clock

log = logging.getLogger("factorylink")

ENOUGH_MISSES = 2


class SessionReconciler:
    """``submit_again``: hands over a job that never reached the scheduler. ``is_of_batch``: tells whether a job at that
    factory is a cluster's. ``same_name``: by factory, how many jobs another gateway of the same name has there."""

    def __init__(
        self,
        table: SessionTable,
        ledger: Ledger,
        audit: AuditEntries,
        doors: DoorManager,
        identity: Identity,
        is_of_batch: Callable[[str, Job], bool],
        orphans: OrphanFinder,
        limits: Limits,
        termination: Termination,
        extender: Extender,
        listener: DoorListener,
        submit_again: Callable[[LiveSession, FactoryConnection], None],
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._audit = audit
        self._doors = doors
        self._identity = identity
        self._is_of_batch = is_of_batch
        self._orphans = orphans
        self._limits = limits
        self._extender = extender
        self._termination = termination
        self._listener = listener
        self._submit_again = submit_again
        self.same_name: dict[str, int] = {}
        self._warned: set[str] = set()  # factories where another gateway of the same name has jobs

    async def answered(self, place: FactoryConnection, jobs: list[Job], account: str | None = None) -> None:
        """A factory's successful answer; about one site account's jobs only, where one is named, and then it says
        nothing of any other's. Whatever fails here is tried again at the next one."""
        here = {live.row.id: live for live in self._table.at(place.factory.id) if account in (None, live.row.account)}
        plan = compare(
            [live.row for live in here.values()],
            jobs,
            self._identity,
            place.factory.id,
            {live.row.id for live in here.values() if live.submitting},
            partial(self._is_of_batch, place.factory.id),
        )
        try:
            for row, job in plan.replaced:
                self._replaced(here[row.id], place, job)
            for row, job in plan.claims:
                if not here[row.id].submitting:
                    await self._claim(here[row.id], job)
                    await self._seen(here[row.id], place, job)
            await _all(self._seen(here[row.id], place, job) for row, job in plan.seen)
            for row in plan.missed:
                if row.job not in place.site.silent:
                    self._missed(here[row.id], place)
            for row in plan.waiting:
                await self._waits(here[row.id], place)
            for row, job in plan.surplus:
                self._orphans.surplus(row, place, job)
            for session_id, job in plan.copies:
                self._orphans.copied(session_id, place, job)
            self._orphans.only(place, jobs, account)
            for session_id, job in _newest_first(plan.unknown):  # of two sessions of a server the newer is taken back
                live = await self._orphans.unknown(session_id, place, job)
                if live is not None:
                    await self._seen(live, place, job)
        except LedgerError:
            log.exception("The answer of %s is not in the ledger yet", place.factory.id)
        place.site.expect(any(_awaited(live) for live in self._table.at(place.factory.id)))
        self._warn(place, plan.others)

    def _warn(self, place: FactoryConnection, others: list[Job]) -> None:
        """Tell the operator, once for each factory, of jobs that another gateway of the same name has there."""
        alive = [job for job in others if job.state is not JobState.ENDED]
        self.same_name[place.factory.id] = len(alive)
        if alive and place.factory.id not in self._warned:
            self._warned.add(place.factory.id)
            log.warning(
                "%s: %d jobs of the name %s have comments that another gateway signed, such as job %s of %s. Two hubs "
                "with the same hub.name? Their jobs are left alone; give each hub a name of its own.",
                *(place.factory.id, len(alive), self._identity.job_name, alive[0].id, alive[0].account),
            )

    # --- what an answer says of one session

    async def _claim(self, live: LiveSession, job: Job) -> None:
        try:
            entry = self._audit.of_session(live.row, "settle", f"job {job.id}")
            await self._ledger.change(
                live.row,
                say=Message("job-found", "Job {job} was found.").format(job=job.id),
                entry=entry,
                job=job.id,
                submitted=job.submitted,
            )
        except LedgerConflict:  # the session that had a job of that id is ended first
            log.warning("Job %s is of session %s, and another one had a job of that id", job.id, live.row.id)

    async def _seen(self, live: LiveSession, place: FactoryConnection, job: Job) -> None:
        row, before = live.row, live.job
        if row.job != job.id or row.ended is not None:
            return
        live.job, live.seen, live.misses = job, clock.now(), 0
        if before is None or (job.state, job.raw_state, job.reason) != (before.state, before.raw_state, before.reason):
            live.said_since = clock.ticks()
        _freeze(live, job)
        remark = _remark(live, job, found(session_job(row, self._identity), job), self._identity.job_name)
        position = place.site.position(job.id) if job.state == JobState.PENDING else None
        if job != before or position != live.position:
            live.position = position
            self._table.touch(live)
        await self._follow(live, place, job)
        if remark is not None and remark.code == "job-not-cancelled" and job.state is JobState.RUNNING:
            await self._ends_by_door(live, place, job)
        await self._note(live, job, remark)

    async def _follow(self, live: LiveSession, place: FactoryConnection, job: Job) -> None:
        """Do what the state of a session's job asks for."""
        row = live.row
        step = state_machine.step(row, state_machine.seen(row, job))
        if step is None:
            return
        if step.action is Action.ASK_WHY:
            self._termination.conclude(live, place)
            return
        live.job_over.clear()  # first of all: an earlier answer may have had it as over, and it was put back
        match step.action:
            case Action.CANCEL:
                self._termination.carry_out(live)
            case Action.LET_GO:
                await self._requeued(live, job)
            case Action.MOVE:
                await self._requeued(live, job)
                await self._runs(live, place, job)
            case Action.FOLLOW:
                await self._runs(live, place, job)
            case _ if step.phase != state_machine.phase(row):
                async with live.lock:
                    if _goes_on(live):
                        say = Message("job-ending", "The job is ending.")
                        await self._ledger.change(row, say=say, state=state_machine.state(step.phase))
                self._table.touch(live)
            case _:
                await self._as_before(live, place, job)
        self._extender.follow(live)

    async def _note(self, live: LiveSession, job: Job, words: Words | None) -> None:
        """Note when the job was submitted, and say where its name or comment is not as it was submitted."""
        row = live.row
        values: dict[str, Any] = {}
        if row.ended is not None:
            return
        if job.submitted not in (None, row.submitted):
            values["submitted"] = job.submitted
        say = "" if words is None or any(line.text == words.what for line in row.log) else words.what
        if values or say:
            await self._ledger.change(row, say=say, **values)
        if words != live.remark:
            live.remark = words
            self._table.touch(live)

    def _replaced(self, live: LiveSession, place: FactoryConnection, job: Job) -> None:
        log.warning("Job %s at %s is not the one of session %s any more", job.id, place.factory.id, live.row.id)
        self._termination.replaced(live, place)

    async def _as_before(self, live: LiveSession, place: FactoryConnection, job: Job) -> None:
        """Nothing happened to it; but time passes, and some things are told late."""
        row = live.row
        with contextlib.suppress(OSError):  # said when it could not be had; whoever has it may leave it
            await self._doors.bind(row.id, row.port)
        if row.state == SessionState.PENDING:
            if (give_up := row.choice.give_up_hours) and clock.since(row.created) > timedelta(hours=give_up):
                await self._termination.wish(
                    live, EndReason.GAVE_UP, "link", Message("waited-long-enough", "It waited as long as you allowed.")
                )
            return
        if row.node is None and job.nodes:  # told only now: without it the door is not looked for
            await self._ledger.change(row, node=job.nodes[0])
            live.door_kept = False
            self._table.touch(live)
        if job.ends is not None and (row.ends != job.ends or live.extend_doubtful):
            live.extend_doubtful = False
            await self._ledger.change(row, charges.runs(row.id, row.started, job.ends), ends=job.ends)
            self._table.touch(live)
        if not live.door_kept:
            self._listener.look_for(live, place)
        if row.state == SessionState.STARTING and not job.suspended and self._late(live):
            await self._termination.wish(
                live,
                EndReason.NEVER_OPENED_DOOR,
                "link",
                Message("notebook-did-not-start", "The notebook did not start."),
            )

    def _missed(self, live: LiveSession, place: FactoryConnection) -> None:
        live.misses += 1
        if live.misses >= ENOUGH_MISSES:
            self._termination.conclude(live, place)

    async def _waits(self, live: LiveSession, place: FactoryConnection) -> None:
        """No job, and the scheduler has none that says it is this session's."""
        row = live.row
        if live.submitting or row.ended is not None or row.job is not None:
            return
        if live.submission is None and not live.answered:
            return  # being made at this moment: its first submission follows, and a second would be a second job
        if row.submit_begun is not None and row.submits > 0:
            live.misses += 1
            if live.misses < ENOUGH_MISSES or clock.since(row.submit_begun) < timedelta(seconds=DOUBT):
                return
        live.misses = 0
        if row.wish == "run":
            self._submit_again(live, place)
        else:
            await self._termination.nothing_there(live, explain.own("submit-doubtful"))

    async def _ends_by_door(self, live: LiveSession, place: FactoryConnection, job: Job) -> None:
        """A job is to be stopped and must not be touched: see that its door is there to be asked, and that what it runs
        is charged."""
        row, node = live.row, job.nodes[0] if job.nodes else live.row.node
        if row.ended is not None:
            return
        started, ends = job.started or row.started, job.ends or row.ends
        also = [charges.runs(row.id, started, ends)]
        earlier = 0
        if row.started not in (None, started):
            also.insert(0, charges.began_again(row.id, row.started, started or clock.now()))
            earlier = charges.ran(row.started, started or clock.now())
        if row.started not in (None, started) or row.node not in (None, node):  # that door says nothing of this run
            self._listener.forget(live)
            await self._listener.let_go(live)
        if (row.node, row.started, row.ends) != (node, started, ends):
            values: dict[str, Any] = {"node": node, "started": started, "ends": ends}
            await self._ledger.change(row, *also, restarts=max(row.restarts, job.restarts), **values)
            live.earlier += earlier
            live.door_kept = False
            self._table.touch(live)
        if not live.door_kept:
            self._listener.look_for(live, place)

    # --- transitions

    async def _runs(self, live: LiveSession, place: FactoryConnection, job: Job) -> None:
        node = job.nodes[0] if job.nodes else None
        values: dict[str, Any] = {
            "state": SessionState.STARTING,
            "node": node,
            "started": job.started,
            "ends": job.ends,
        }
        say = (
            Message("job-runs", "The job runs on {node}.").format(node=node)
            if node
            else Message("job-runs", "The job runs.")
        )
        async with live.lock:
            if not _goes_on(live):
                return
            await self._ledger.change(
                live.row,
                charges.runs(live.row.id, job.started, job.ends),
                say=say,
                partition=job.partition or live.row.partition,
                submitted=job.submitted,
                restarts=job.restarts,
                **values,
            )
        live.environment_at, live.frozen = None, 0.0
        self._table.touch(live)
        self._listener.look_for(live, place)

    async def _requeued(self, live: LiveSession, job: Job) -> None:
        self._listener.forget(live)
        async with live.lock:
            if not _goes_on(live):
                return
            values: dict[str, Any] = {
                "state": SessionState.PENDING,
                "node": None,
                "started": None,
                "ready": None,
                "ends": None,
            }
            say = Message(
                "job-requeued", "The factory put the job back into the queue ({count}); it starts again from there."
            )
            say = say.format(count=job.restarts)
            started, now = live.row.started, job.started or clock.now()
            again = charges.began_again(live.row.id, started, now)
            await self._ledger.change(live.row, again, say=say, restarts=job.restarts, **values)
            live.earlier += charges.ran(started, now)
        await self._listener.let_go(live)

    def _late(self, live: LiveSession) -> bool:
        """The notebook had its time to come up. Waiting for the environment does not count: the door limits that."""
        limits = self._limits
        if live.environment_at is not None:
            return clock.ticks() - live.environment_at > limits.starting_seconds + live.frozen
        started = live.row.started
        allowed = limits.starting_seconds + limits.environment_wait_seconds + live.frozen
        return started is not None and clock.since(started) > timedelta(seconds=allowed)


def _freeze(live: LiveSession, job: Job) -> None:
    """Count the time in which the site has a session's job suspended: the notebook cannot come up in it."""
    now = clock.ticks()
    if live.frozen_since is not None:
        live.frozen += now - live.frozen_since
    live.frozen_since = now if job.suspended else None


def _remark(live: LiveSession, job: Job, what: Found, name: str) -> Words | None:
    """Return what to say of the name and comment that a session's job has now."""
    if what is Found.ALTERED:
        if live.row.wish == "stop":
            return explain.own("job-not-cancelled")
        known = live.remark is None or live.remark.code != "job-rewritten"
        return explain.own("job-altered" if live.row.submitted is not None and known else "job-rewritten")
    return explain.own("job-renamed") if job.name != name else None


def _goes_on(live: LiveSession) -> bool:
    """Neither ended nor to be stopped. Either may be written down while its lock is waited for, and then what an
    answer meant before counts no more."""
    return state_machine.phase(live.row) not in (Phase.STOPPING, Phase.ENDED)


async def _all(each: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Side by side, so that what they write goes into the ledger together: hundreds may start at once. Raises what
    the first of them raised, once all are through."""
    for outcome in await asyncio.gather(*each, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _newest_first(unknown: list[tuple[SessionId, Job]]) -> list[tuple[SessionId, Job]]:
    """By when it was submitted; in the scheduler's order of ids where that is the same."""
    never = datetime.min.replace(tzinfo=UTC)
    return sorted(unknown, key=lambda found: found[1].submitted or never)[::-1]


def _awaited(live: LiveSession) -> bool:
    """Something of it depends on the next answer. That a job waits in the queue is the site's own to see."""
    return live.row.state == SessionState.ENDING or live.misses > 0 or live.row.job is None
