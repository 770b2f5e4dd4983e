"""Ends sessions: carries out stop requests, and finds out why a job has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TypeVar

from factorycommon.models import End, EndReason, Words
from factorycommon.models.plain import last_lines
from factorylink.doors.manager import DoorManager
from factorylink.doors.protocol import DoorEnd, read_message
from factorylink.errors import FactoryError, Gone, Refused
from factorylink.explain import explain
from factorylink.jobs.identity import Identity
from factorylink.jobs.ownership import Found, of_one
from factorylink.ledger import charges
from factorylink.ledger.ledger import Ledger, LedgerError
from factorylink.ledger.own_jobs import session_job
from factorylink.ledger.schema import SessionRecord
from factorylink.schedulers.command import Command, Output
from factorylink.sessions import state_machine
from factorylink.sessions.state_machine import Event
from factorylink.sessions.submitter import session_folder
from factorylink.site.audit_entries import AuditEntries
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable
from factorylink.util import clock
from factorylink.util.background_tasks import BackgroundTasks

log = logging.getLogger("factorylink")
T = TypeVar("T")

# limits of the job's log: lines, characters of each line, bytes that are read
TAIL_LINES, TAIL_WIDTH, TAIL_BYTES = 40, 500, 32768
_LOOK_SECONDS = 6.0  # to read each file that the session left in its folder
_POLITE_SECONDS = 3.0  # seconds for the notebook to save and end before its job is cancelled
_CONFIRM_SECONDS = 20.0  # seconds until an accepted cancellation is repeated
_LONGEST_PAUSE = 10.0
# seconds for which the reason of a certain end is asked for, if the site's accounting does not answer
_ASK_SECONDS = 600.0


class Termination:
    """Carries out requests to stop sessions, and ends sessions whose jobs have ended."""

    def __init__(
        self,
        table: SessionTable,
        ledger: Ledger,
        audit: AuditEntries,
        factories: OfferedFactories,
        doors: DoorManager,
        identity: Identity,
        tasks: BackgroundTasks,
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._audit = audit
        self._factories = factories
        self._doors = doors
        self._identity = identity
        self._tasks = tasks

    async def request_end(self, live_session: LiveSession, reason: EndReason, by: str, say: str) -> None:
        """Write a stop request into the ledger, and start to carry it out. Raises LedgerError.

        If a stop is requested several times, the first reason counts, unless a later one is ``EndReason.MOVED`` (the
        class moves to another factory). With this reason, the hub treats the session as ended at once, so that the
        person's server can get its next session. ``by``: who requests the stop, for the audit and, if it is
        ``operator``, for the explanation of the end; ``say``: the line for the session's log.
        """
        async with live_session.lock:
            record = live_session.record
            step = state_machine.step(record, Event.WISH)
            if step is not None:
                entry = self._audit.of_session(record, "stop", f"by {by}: {reason.value}")
                values = {"wish": "stop", "stopped_for": reason, "state": state_machine.state(step.phase)}
                await self._ledger.change(record, say=say, entry=entry, **values)
                live_session.stopped_by_operator = by == "operator"
                self._table.touch(live_session)
            elif reason is EndReason.MOVED and record.ended is None and record.stopped_for is not reason:
                entry = self._audit.of_session(record, "stop", f"by {by}: {reason.value}")
                await self._ledger.change(record, say=say, entry=entry, stopped_for=reason)
                self._table.touch(live_session)
        self.carry_out(live_session)

    def carry_out(self, live_session: LiveSession) -> None:
        """Carry out in the background the stop request that the ledger holds for a session.

        Does nothing if a task is doing this already, or if the session has ended. ``request_end`` calls this method.
        Call it also at the link's start, and whenever an answer of the scheduler shows the job of a session that must
        stop.
        """
        if live_session.record.ended is None and (live_session.stopping is None or live_session.stopping.done()):
            live_session.stopping = self._tasks.spawn(self._stop(live_session), f"stop of {live_session.record.id}")

    def conclude(self, live_session: LiveSession, connection: FactoryConnection) -> None:
        """Find out in the background why a session's job has ended, and end the session.

        Called at each answer of the scheduler after the job's end, until the session has ended. If the questions about
        the end fail for ``_ASK_SECONDS``, the session ends without the scheduler's record.
        """
        if not live_session.job_over.is_set():
            live_session.job_over.set()
            live_session.over_since = clock.ticks()
        if live_session.record.ended is None and (live_session.ending is None or live_session.ending.done()):
            work = self._conclude(live_session, connection)
            live_session.ending = self._tasks.spawn(work, f"end of {live_session.record.id}")

    def replaced(self, live_session: LiveSession, connection: FactoryConnection) -> None:
        """End a session in the background, because the id of its job belongs to another job."""
        if not live_session.job_over.is_set():
            live_session.job_over.set()
            live_session.over_since = clock.ticks()
        if live_session.record.ended is None and (live_session.ending is None or live_session.ending.done()):
            live_session.ending = self._tasks.spawn(
                self._end_replaced(live_session, connection), f"end of {live_session.record.id}"
            )

    async def _end_replaced(self, live_session: LiveSession, connection: FactoryConnection) -> None:
        """End a session whose job's id now belongs to another job.

        The scheduler is not asked why the session's job has ended, since its answer would be about the other job.
        """
        door_end, tail = await self._left_behind(live_session, connection)
        reason, words = judge(_wished(live_session), None, door_end, tail)
        if words.code == explain.own("gone").code:
            words = explain.own("job-replaced")
        await self._table.end(live_session, end_reason=reason, end=words, log_tail=tail)

    async def nothing_there(self, live_session: LiveSession, words: Words) -> None:
        """End a session that has no job. ``words``: the explanation for people.

        The reason of the end is that of the stop request, or ``EndReason.REFUSED`` if no stop was requested. Raises
        LedgerError.
        """
        await self._table.end(live_session, end_reason=live_session.record.stopped_for or EndReason.REFUSED, end=words)

    async def _stop(self, live_session: LiveSession) -> None:
        if live_session.submitting and live_session.submission is not None:
            await asyncio.wait([live_session.submission])
        record, connection = live_session.record, self._factories.get(live_session.record.factory)
        if record.ended is not None or connection is None:
            return
        connection.site.expect(True)
        if record.job is None:
            if record.submit_begun is None:
                await self.nothing_there(live_session, stopped(live_session, record.stopped_for or EndReason.STOPPED))
            return  # there may still be a job; the next answers show it
        if self._doors.is_open(record.id):
            await self._ask_politely(live_session)
        pause, level = 0.5, logging.WARNING
        while record.ended is None:
            connection.site.expect(True)
            own = session_job(record, self._identity)
            try:
                what = of_one(await connection.site.cancel(record.account, [own]), own.id)
            except FactoryError as error:
                log.log(level, "Job %s of session %s is not cancelled yet: %s", record.job, record.id, error.message)
                level = logging.DEBUG  # once is enough: a whole class may wait until its factory answers
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            match what:
                case Found.OURS:
                    await self._note_cancellation(record)
                case Found.ALTERED:
                    log.warning("Job %s of session %s has another comment: not cancelled", record.job, record.id)
                    await self._end_by_door(live_session)
                case Found.FOREIGN | Found.GONE:  # the next answers show the outcome
                    log.info("Job %s of session %s is not there to be cancelled: %s", record.job, record.id, what.value)
            await _within(live_session.job_over, _CONFIRM_SECONDS)
            if live_session.job_over.is_set():
                return  # the scheduler's answers will conclude this session

    async def _end_by_door(self, live_session: LiveSession) -> None:
        """Tell people that the session's job must not be cancelled; ask the notebook to end, if its door is connected.

        People see this as a remark of the session, and as a line of the session's log.
        """
        words = explain.own("job-not-cancelled")
        if live_session.remark != words:
            live_session.remark = words
            try:
                await self._ledger.change(live_session.record, say=words.what)
            except LedgerError:
                log.exception("That job %s is not cancelled is not in the ledger", live_session.record.job)
            self._table.touch(live_session)
        if self._doors.is_open(live_session.record.id):
            await self._ask_politely(live_session)

    async def _note_cancellation(self, record: SessionRecord) -> None:
        """Write into the audit that the session's job was cancelled.

        Called after the cancellation, so that a failing ledger cannot keep a job running.
        """
        try:
            await self._ledger.note(self._audit.of_session(record, "cancel"))
        except LedgerError:
            log.exception("The cancel of job %s is not in the audit", record.job)

    async def _ask_politely(self, live_session: LiveSession) -> None:
        """Ask the notebook to end by itself, so that kernels stop and files are complete.

        Waits up to ``_POLITE_SECONDS`` until the job is over. A failure is logged.
        """

        async def ask() -> None:
            await self._doors.stop(live_session.record.id)
            await live_session.job_over.wait()

        try:
            await asyncio.wait_for(ask(), _POLITE_SECONDS)
        except TimeoutError:
            log.info("Session %s did not end by itself within %g s", live_session.record.id, _POLITE_SECONDS)
        except (FactoryError, OSError) as error:
            log.info("The door of session %s took no stop: %s", live_session.record.id, error)

    async def _conclude(self, live_session: LiveSession, connection: FactoryConnection) -> None:
        record = live_session.record
        if record.job is None:
            return
        end = None
        try:
            end = await connection.site.why_ended(record.account, record.job)
        except Gone:
            log.info("Nothing is recorded of job %s of session %s", record.job, record.id)
        except FactoryError as error:
            if clock.ticks() - live_session.over_since < _ASK_SECONDS:
                log.info("Why job %s of session %s ended is asked again: %s", record.job, record.id, error.message)
                return
            log.warning("Why job %s of session %s ended is not to be known: %s", record.job, record.id, error.message)
        door_end, tail = await self._left_behind(live_session, connection)
        wished = _wished(live_session)
        reason, words = judge(wished, end, door_end, tail)
        if reason is EndReason.CANCELLED_BY_SITE and end is not None and end.by is None:
            end = await self._recorded(live_session, connection) or end
            reason, words = judge(wished, end, door_end, tail)
        if end is not None and charges.counted(end, live_session.restarts) is None:
            end = await self._recorded(live_session, connection) or end
        code = end.exit_code if end else None
        # The job may have been requeued in the meantime; then its session goes on.
        still = live_session.job_over.is_set
        await self._table.end(live_session, still, end, end_reason=reason, end=words, log_tail=tail, exit_code=code)

    async def _recorded(self, live_session: LiveSession, connection: FactoryConnection) -> End | None:
        """Return the end of the job from the site's accounting; None if there is no record, or if it cannot be read.

        Unlike the scheduler's list of jobs, the accounting tells who cancelled a job, and how long each run took.
        """
        try:
            return await connection.site.recorded(live_session.record.account, live_session.record.job or "")
        except FactoryError as error:
            log.info("The accounting tells nothing of job %s: %s", live_session.record.job, error.message)
            return None

    async def _left_behind(
        self, live_session: LiveSession, connection: FactoryConnection
    ) -> tuple[DoorEnd | None, tuple[str, ...]]:
        """Return the door's last report, and the last lines of the job's log.

        What cannot be read is None or (). Both are empty if the ledger has no start of the job: the job has not started
        yet, or not again after it was requeued.
        """
        record = live_session.record
        if record.started is None:
            return None, ()
        door_end = await _if_there(record, _door_end(connection, record))
        return door_end, await _if_there(record, _log_tail(connection, record)) or ()


async def _door_end(connection: FactoryConnection, record: SessionRecord) -> DoorEnd:
    folder = await session_folder(connection, record.account, record.id)
    return read_message(DoorEnd, await connection.commands.read(record.account, f"{folder}/end.json"))


async def _log_tail(connection: FactoryConnection, record: SessionRecord) -> tuple[str, ...]:
    folder = await session_folder(connection, record.account, record.id)
    return await connection.commands.run(read_tail(f"{folder}/job.log"), record.account)


async def _if_there(record: SessionRecord, look: Awaitable[T]) -> T | None:
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            return await look
    except (FactoryError, TimeoutError) as error:
        why = str(error) or f"no answer within {_LOOK_SECONDS:g} s"
        log.info("Something that session %s may have left is not read: %s", record.id, why)
        return None


_OF_WISH = {
    EndReason.GAVE_UP: "gave-up",
    EndReason.NEVER_OPENED_DOOR: "notebook-late",
    EndReason.REFUSED: "submit-doubtful",
    EndReason.ACCESS_LOST: "access-lost",
    EndReason.MOVED: "moved",
}


def judge(
    wished: tuple[EndReason, Words] | None, end: End | None, door_end: DoorEnd | None, tail: tuple[str, ...] = ()
) -> tuple[EndReason, Words]:
    """Return the reason why a session ended, and its explanation for people.

    ``wished``: the reason and explanation of the stop request, which are returned unchanged; None: no stop was
    requested, and the result comes from the other arguments. ``end``: the scheduler's record; ``door_end``: the door's
    report; both None if there is none; ``tail``: the last lines of the job's log.
    """
    if wished is not None:
        return wished
    # the notebook ended by a SIGTERM; the scheduler knows the cause
    if door_end is None or door_end.reason == "stopped":
        return explain.ended(end, tail=tail)
    return explain.ended(end, door=door_end.reason, message=door_end.message, tail=tail)


def _wished(live_session: LiveSession) -> tuple[EndReason, Words] | None:
    """Return the reason and the explanation of a session's stop request; None if there is none."""
    record = live_session.record
    if record.wish != "stop" or record.stopped_for is None:
        return None
    return record.stopped_for, stopped(live_session, record.stopped_for)


def stopped(live_session: LiveSession, reason: EndReason) -> Words:
    """Return the explanation for a session that ends because of a stop request."""
    record = live_session.record
    if reason in _OF_WISH:
        return explain.own(_OF_WISH[reason])
    if record.ready is None and not live_session.restarts:
        return explain.withdrawn(operator=live_session.stopped_by_operator, begun=record.started is not None)
    return explain.ended(None, desired="stop")[1]


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def read_tail(path: str) -> Command[tuple[str, ...]]:
    """Return the command that reads the last ``TAIL_LINES`` lines of a job's log, from its last ``TAIL_BYTES`` bytes.

    The command's ``parse`` raises Refused if the log cannot be read.
    """

    def parse(output: Output) -> tuple[str, ...]:
        if output.code != 0:
            raise Refused(output.stderr.strip())
        return last_lines(output.stdout, TAIL_LINES, TAIL_WIDTH)

    return Command(argv=("tail", "-c", str(TAIL_BYTES), "--", path), parse=parse, timeout=_LOOK_SECONDS)
