"""Updates sessions from their factories' answers. ``state_machine`` defines what an answer means for a session."""

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
from factorylink.util import clock, metrics

log = logging.getLogger("factorylink")

ENOUGH_MISSES = 2


class SessionReconciler:
    """Updates sessions from the answers of their factories.

    ``submit_again``: submits a job that never reached the scheduler. ``is_of_batch``: returns whether a job belongs to
    a Dask cluster, given the factory's id and the job. ``same_name``: by factory, how many live jobs another gateway
    with the same name has.
    """

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
        self._warned: set[str] = set()  # factories where another gateway with the same name has jobs

    async def answered(self, connection: FactoryConnection, jobs: list[Job], account: str | None = None) -> None:
        """Update the sessions from a factory's successful answer.

        ``account``: the only site account whose jobs the answer lists; None: all accounts. Updates that the ledger
        could not store are repeated at the next answer.
        """
        here = {
            live_session.record.id: live_session
            for live_session in self._table.at(connection.factory.id)
            if account in (None, live_session.record.account)
        }
        plan = compare(
            [live_session.record for live_session in here.values()],
            jobs,
            self._identity,
            connection.factory.id,
            {live_session.record.id for live_session in here.values() if live_session.submitting},
            partial(self._is_of_batch, connection.factory.id),
        )
        try:
            for record, job in plan.replaced:
                self._replaced(here[record.id], connection, job)
            for record, job in plan.claims:
                if not here[record.id].submitting:
                    await self._claim(here[record.id], job)
                    await self._seen(here[record.id], connection, job)
            await _all(self._seen(here[record.id], connection, job) for record, job in plan.seen)
            for record in plan.missed:
                if record.job not in connection.site.silent:
                    self._missed(here[record.id], connection)
            for record in plan.waiting:
                await self._waits(here[record.id], connection)
            for record, job in plan.surplus:
                self._orphans.surplus(record, connection, job)
            for session_id, job in plan.copies:
                self._orphans.copied(session_id, connection, job)
            self._orphans.only(connection, jobs, account)
            # if a server has two sessions, the newer one is withdrawn
            for session_id, job in _newest_first(plan.unknown):
                live_session = await self._orphans.unknown(session_id, connection, job)
                if live_session is not None:
                    await self._seen(live_session, connection, job)
        except LedgerError:
            log.exception("The answer of %s is not in the ledger yet", connection.factory.id)
        connection.site.expect(any(_awaited(live_session) for live_session in self._table.at(connection.factory.id)))
        self._warn(connection, plan.others)

    def _warn(self, connection: FactoryConnection, others: list[Job]) -> None:
        """Warn the operator in the log, once for each factory, of jobs of another gateway with the same name.

        Store the number of these jobs that have not ended in ``same_name``.
        """
        alive = [job for job in others if job.state is not JobState.ENDED]
        self.same_name[connection.factory.id] = len(alive)
        if alive and connection.factory.id not in self._warned:
            self._warned.add(connection.factory.id)
            log.warning(
                "%s: %d jobs of the name %s have comments that another gateway signed, such as job %s of %s. Two hubs "
                "with the same hub.name? Their jobs are left alone; give each hub a name of its own.",
                *(connection.factory.id, len(alive), self._identity.job_name, alive[0].id, alive[0].account),
            )

    # --- what an answer means for one session

    async def _claim(self, live_session: LiveSession, job: Job) -> None:
        try:
            entry = self._audit.of_session(live_session.record, "settle", f"job {job.id}")
            await self._ledger.change(
                live_session.record,
                say=Message("job-found", "Job {job} was found.").format(job=job.id),
                entry=entry,
                job=job.id,
                submitted=job.submitted,
            )
        except LedgerConflict:  # end the session that had a job with this id before
            log.warning("Job %s is of session %s, and another one had a job of that id", job.id, live_session.record.id)

    async def _seen(self, live_session: LiveSession, connection: FactoryConnection, job: Job) -> None:
        record, before = live_session.record, live_session.job
        if record.job != job.id or record.ended is not None:
            return
        live_session.job, live_session.seen, live_session.misses = job, clock.now(), 0
        if before is None or (job.state, job.raw_state, job.reason) != (before.state, before.raw_state, before.reason):
            live_session.said_since = clock.ticks()
        _freeze(live_session, job)
        remark = _remark(live_session, job, found(session_job(record, self._identity), job), self._identity.job_name)
        position = connection.site.position(job.id) if job.state == JobState.PENDING else None
        if job != before or position != live_session.position:
            live_session.position = position
            self._table.touch(live_session)
        await self._follow(live_session, connection, job)
        if remark is not None and remark.code == "job-not-cancelled" and job.state is JobState.RUNNING:
            await self._ends_by_door(live_session, connection, job)
        await self._note(live_session, job, remark)

    async def _follow(self, live_session: LiveSession, connection: FactoryConnection, job: Job) -> None:
        """Make the transition that the state of a session's job requires."""
        record = live_session.record
        step = state_machine.step(record, state_machine.seen(record, job))
        if step is None:
            return
        if step.action is Action.ASK_WHY:
            self._termination.conclude(live_session, connection)
            return
        # do this first: an earlier answer may have shown the job as ended, and it was requeued
        live_session.job_over.clear()
        match step.action:
            case Action.CANCEL:
                self._termination.carry_out(live_session)
            case Action.LET_GO:
                await self._requeued(live_session, job)
            case Action.MOVE:
                await self._requeued(live_session, job)
                await self._runs(live_session, connection, job)
            case Action.FOLLOW:
                await self._runs(live_session, connection, job)
            case _ if step.phase != state_machine.phase(record):
                async with live_session.lock:
                    if _goes_on(live_session):
                        say = Message("job-ending", "The job is ending.")
                        await self._ledger.change(record, say=say, state=state_machine.state(step.phase))
                self._table.touch(live_session)
            case _:
                await self._as_before(live_session, connection, job)
        self._extender.follow(live_session)

    async def _note(self, live_session: LiveSession, job: Job, words: Words | None) -> None:
        """Store in the ledger when the job was submitted, and show ``words``.

        ``words``: the remark that the job's name or comment was changed; None if there is nothing to remark: an earlier
        remark is then shown no longer. A new remark is also a line of the session's log.
        """
        record = live_session.record
        values: dict[str, Any] = {}
        if record.ended is not None:
            return
        if job.submitted not in (None, record.submitted):
            values["submitted"] = job.submitted
        say = "" if words is None or any(line.text == words.what for line in record.log) else words.what
        if values or say:
            await self._ledger.change(record, say=say, **values)
        if words != live_session.remark:
            live_session.remark = words
            self._table.touch(live_session)

    def _replaced(self, live_session: LiveSession, connection: FactoryConnection, job: Job) -> None:
        log.warning(
            "Job %s at %s is not the one of session %s any more", job.id, connection.factory.id, live_session.record.id
        )
        self._termination.replaced(live_session, connection)

    async def _as_before(self, live_session: LiveSession, connection: FactoryConnection, job: Job) -> None:
        """Handle an answer that does not change a session's state.

        Request the session's end if its job has waited in the queue, or its notebook has been starting, for longer than
        is allowed. If the job runs, store the node if the scheduler reports it only now, store the end time if the
        scheduler reports another one, and look for the session's door until ``door_kept`` is set. Also listen on the
        session's port, if that failed before.
        """
        record = live_session.record
        with contextlib.suppress(OSError):  # a port that is taken was reported before; it may be free by now
            await self._doors.bind(record.id, record.port)
        if record.state == SessionState.PENDING:
            if (give_up := record.choice.give_up_hours) and clock.since(record.created) > timedelta(hours=give_up):
                await self._termination.request_end(
                    live_session,
                    EndReason.GAVE_UP,
                    "link",
                    Message("waited-long-enough", "It waited as long as you allowed."),
                )
            return
        # the node is known only now, and the door cannot be looked for without it
        if record.node is None and job.nodes:
            await self._ledger.change(record, node=job.nodes[0])
            live_session.door_kept = False
            self._table.touch(live_session)
        if job.ends is not None and (record.ends != job.ends or live_session.extend_doubtful):
            live_session.extend_doubtful = False
            await self._ledger.change(record, charges.runs(record.id, record.started, job.ends), ends=job.ends)
            self._table.touch(live_session)
        if not live_session.door_kept:
            self._listener.look_for(live_session, connection)
        if record.state == SessionState.STARTING and not job.suspended and self._late(live_session):
            await self._termination.request_end(
                live_session,
                EndReason.NEVER_OPENED_DOOR,
                "link",
                Message("notebook-did-not-start", "The notebook did not start."),
            )

    def _missed(self, live_session: LiveSession, connection: FactoryConnection) -> None:
        live_session.misses += 1
        if live_session.misses >= ENOUGH_MISSES:
            self._termination.conclude(live_session, connection)

    async def _waits(self, live_session: LiveSession, connection: FactoryConnection) -> None:
        """Handle a session whose job's id is unknown, if the factory's answer has no job for this session either.

        As soon as an earlier submission can no longer arrive at the scheduler, submit the job again, or end the session
        if a stop was requested.
        """
        record = live_session.record
        if live_session.submitting or record.ended is not None or record.job is not None:
            return
        if live_session.submission is None and not live_session.answered:
            # the session is being created now, and its first submission follows; submitting again would make two jobs
            return
        if record.submit_begun is not None and record.submits > 0:
            live_session.misses += 1
            if live_session.misses < ENOUGH_MISSES or clock.since(record.submit_begun) < timedelta(seconds=DOUBT):
                return
        live_session.misses = 0
        if record.wish == "run":
            self._submit_again(live_session, connection)
        else:
            await self._termination.nothing_there(live_session, explain.own("submit-doubtful"))

    async def _ends_by_door(self, live_session: LiveSession, connection: FactoryConnection, job: Job) -> None:
        """Handle a running job that must not be cancelled, although its session is to stop.

        The reason is that the job's comment was changed. Look for the session's door, which can ask the notebook to
        end, and continue to charge the job.
        """
        record, node = live_session.record, job.nodes[0] if job.nodes else live_session.record.node
        if record.ended is not None:
            return
        started, ends = job.started or record.started, job.ends or record.ends
        also = [charges.runs(record.id, started, ends)]
        earlier = 0
        if record.started not in (None, started):
            also.insert(0, charges.began_again(record.id, record.started, started or clock.now()))
            earlier = charges.ran(record.started, started or clock.now())
        if record.started not in (None, started) or record.node not in (
            None,
            node,
        ):  # the door's report is about an earlier run
            self._listener.forget(live_session)
            await self._listener.let_go(live_session)
        if (record.node, record.started, record.ends) != (node, started, ends):
            values: dict[str, Any] = {"node": node, "started": started, "ends": ends}
            await self._ledger.change(record, *also, restarts=max(record.restarts, job.restarts), **values)
            live_session.earlier += earlier
            live_session.door_kept = False
            self._table.touch(live_session)
        if not live_session.door_kept:
            self._listener.look_for(live_session, connection)

    # --- transitions

    async def _runs(self, live_session: LiveSession, connection: FactoryConnection, job: Job) -> None:
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
        async with live_session.lock:
            if not _goes_on(live_session):
                return
            _measure_wait(live_session, job)
            await self._ledger.change(
                live_session.record,
                charges.runs(live_session.record.id, job.started, job.ends),
                say=say,
                partition=job.partition or live_session.record.partition,
                submitted=job.submitted,
                restarts=job.restarts,
                **values,
            )
        live_session.environment_at, live_session.frozen = None, 0.0
        self._table.touch(live_session)
        self._listener.look_for(live_session, connection)

    async def _requeued(self, live_session: LiveSession, job: Job) -> None:
        self._listener.forget(live_session)
        async with live_session.lock:
            if not _goes_on(live_session):
                return
            values: dict[str, Any] = {
                "state": SessionState.PENDING,
                "node": None,
                "started": None,
                "ready": None,
                "opened": None,
                "ends": None,
            }
            say = Message(
                "job-requeued", "The factory put the job back into the queue ({count}); it starts again from there."
            )
            say = say.format(count=job.restarts)
            started, now = live_session.record.started, job.started or clock.now()
            again = charges.began_again(live_session.record.id, started, now)
            await self._ledger.change(live_session.record, again, say=say, restarts=job.restarts, **values)
            live_session.earlier += charges.ran(started, now)
        await self._listener.let_go(live_session)

    def _late(self, live_session: LiveSession) -> bool:
        """Return whether the notebook has taken longer to start than the limit allows.

        The time for which the door waits for the notebook's environment variables does not count, because the door
        limits this time itself. The time for which the site suspends the job does not count either.
        """
        limits = self._limits
        if live_session.environment_at is not None:
            return clock.ticks() - live_session.environment_at > limits.starting_seconds + live_session.frozen
        started = live_session.record.started
        allowed = limits.starting_seconds + limits.environment_wait_seconds + live_session.frozen
        return started is not None and clock.since(started) > timedelta(seconds=allowed)


def _measure_wait(live_session: LiveSession, job: Job) -> None:
    """Add to the link's metrics how long the first run of a session's job waited in the queue.

    The wait begins when the scheduler says that the job was submitted, or else when the session was created. Nothing is
    added for later runs.
    """
    record = live_session.record
    if record.started is not None or job.started is None or max(record.restarts, job.restarts):
        return
    waited = (job.started - (job.submitted or record.submitted or record.created)).total_seconds()
    metrics.QUEUE_WAIT_SECONDS.labels(record.factory).observe(max(0.0, waited))


def _freeze(live_session: LiveSession, job: Job) -> None:
    """Add to ``live_session.frozen`` the seconds since the last answer, if that answer showed the job as suspended.

    The notebook of a suspended job cannot start, so this time does not count against its limit. ``job``: the session's
    job as the present answer shows it.
    """
    now = clock.ticks()
    if live_session.frozen_since is not None:
        live_session.frozen += now - live_session.frozen_since
    live_session.frozen_since = now if job.suspended else None


def _remark(live_session: LiveSession, job: Job, what: Found, name: str) -> Words | None:
    """Return a remark if the name or the comment of a session's job was changed, else None.

    ``what``: what the factory's answer shows under the job's id; ``name``: the name that this gateway gives to its
    jobs.
    """
    if what is Found.ALTERED:
        if live_session.record.wish == "stop":
            return explain.own("job-not-cancelled")
        known = live_session.remark is None or live_session.remark.code != "job-rewritten"
        return explain.own("job-altered" if live_session.record.submitted is not None and known else "job-rewritten")
    return explain.own("job-renamed") if job.name != name else None


def _goes_on(live_session: LiveSession) -> bool:
    """Return whether a session has not ended and has no stop request.

    Call this while holding the session's lock: the session may have ended, or a stop may have been requested, while the
    caller waited for the lock. Then the factory's answer must not be applied.
    """
    return state_machine.phase(live_session.record) not in (Phase.STOPPING, Phase.ENDED)


async def _all(each: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all coroutines concurrently, so that hundreds of sessions which start at once share commits of the ledger.

    When all have finished, raise the error of the first coroutine, in the order of ``each``, that failed.
    """
    for outcome in await asyncio.gather(*each, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _newest_first(unknown: list[tuple[SessionId, Job]]) -> list[tuple[SessionId, Job]]:
    """Return the jobs ordered by submission time, the newest first; those whose time is not known come last.

    Of jobs with equal times, the last one in ``unknown`` comes first.
    """
    never = datetime.min.replace(tzinfo=UTC)
    return sorted(unknown, key=lambda found: found[1].submitted or never)[::-1]


def _awaited(live_session: LiveSession) -> bool:
    """Return whether a session needs the factory's next answer soon.

    This is so if the session is ending, if the last answer lacks the session's job, or if the link does not know the
    job's id yet. A session whose job only waits in the queue does not need the answer soon.
    """
    return (
        live_session.record.state == SessionState.ENDING or live_session.misses > 0 or live_session.record.job is None
    )
