"""Submits a session's job, and reports the outcome: accepted, refused, or not known yet."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from factorycommon.messages import Message
from factorycommon.models import EndReason, JobId
from factorylink.errors import FactoryError, NotDone, Refused, Unwanted
from factorylink.explain import explain
from factorylink.ledger.ledger import Ledger, LedgerConflict, LedgerError
from factorylink.problems import ProblemError, of_words, refused, unreachable
from factorylink.sessions.submitter import Submitter
from factorylink.sessions.termination import Termination
from factorylink.site.audit_entries import AuditEntries
from factorylink.site.factory_connection import FactoryConnection
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable
from factorylink.util import clock
from factorylink.util.background_tasks import BackgroundTasks
from factorylink.util.metrics import SUBMIT_SECONDS

log = logging.getLogger("factorylink")

ANSWER_SECONDS = 1.5  # seconds after which a request is answered as pending, though the submission continues
_WAITS = Message("job-waits", "Job {job} waits in the queue.")


class Submission:
    """Submits each session's job once, and again if the first submission certainly created no job.

    If the outcome takes long, a caller that waits for the outcome is told that the session is pending. This caller does
    not learn of a later failure: a refusal then ends the session; after any other failure, the factory's next answers
    show whether there is a job.
    """

    def __init__(
        self,
        table: SessionTable,
        ledger: Ledger,
        audit: AuditEntries,
        submitter: Submitter,
        termination: Termination,
        tasks: BackgroundTasks,
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._audit = audit
        self._tasks = tasks
        self._submitter = submitter
        self._termination = termination

    def begin(self, live_session: LiveSession, connection: FactoryConnection) -> None:
        """Submit a session's job in the background, by the task ``live_session.submission``."""
        live_session.submission = self._tasks.spawn(
            self._submission(live_session, connection), f"submission of {live_session.record.id}"
        )

    def again(self, live_session: LiveSession, connection: FactoryConnection) -> None:
        """Submit a session's job again in the background.

        Do nothing if a submission is running, or if the session's site account may not submit.
        """
        if not live_session.submitting and connection.access_status.may_submit(live_session.record.account) is None:
            self.begin(live_session, connection)

    async def known(self, live_session: LiveSession, since: float) -> None:
        """Wait for the outcome of the session's submission, at most until ``ANSWER_SECONDS`` after ``since``.

        ``since``: the time of the caller's request, by ``clock.ticks``. Returns at once if an earlier caller was told
        that the session exists. If the submission fails in this time, waits until the link has ended the session, or
        requested its end, and raises ProblemError.
        """
        submission = live_session.submission
        if submission is None or live_session.answered:
            return
        await asyncio.wait([submission], timeout=since + ANSWER_SECONDS - clock.ticks())
        if not submission.done() and not live_session.withdrawn:
            live_session.answered = True
            return
        problem = await asyncio.shield(submission)
        if problem is not None:
            raise problem
        live_session.answered = True

    async def _submission(self, live_session: LiveSession, connection: FactoryConnection) -> ProblemError | None:
        """Submit the job; return the problem for a caller that waits for the outcome, else None.

        None: the scheduler has accepted the job, the session was stopped, or the factory's next answers will show the
        outcome.
        """
        try:
            problem = await self._handed_over(live_session, connection)
        except LedgerError:
            # The ledger cannot record the outcome, so the submission must not be reported as failed. The ledger has the
            # intent, and the factory's next answers show whether there is a job.
            log.exception("Session %s: its submission is not in the ledger", live_session.record.id)
            live_session.withdrawn, live_session.answered, problem = False, True, None
        live_session.misses = 0
        connection.site.expect(True)
        self._table.touch(live_session)
        return problem

    async def _handed_over(self, live_session: LiveSession, connection: FactoryConnection) -> ProblemError | None:
        """Submit the job, and write the outcome into the ledger; return the problem for a caller that waits, else None.

        None: the scheduler has accepted the job, the session was stopped, or the factory's next answers will show the
        outcome. Raises LedgerError.
        """
        record, submits = live_session.record, live_session.record.submits
        try:
            with SUBMIT_SECONDS.labels(record.factory).time():
                job = await self._submitter.submit(record, connection)
        except Unwanted:
            return None  # the code that stops the session waits for this, and then ends it
        except Refused as error:
            live_session.withdrawn = not live_session.answered
            words = explain.refused(error.message)
            await self._table.end(live_session, end_reason=record.stopped_for or EndReason.REFUSED, end=words)
            return refused(words)
        except FactoryError as error:
            if live_session.answered:
                log.warning("Session %s: whether its job was taken is not known: %s", record.id, error.message)
                return None
            live_session.withdrawn = True
            if isinstance(error, NotDone) and (barred := explain.barred(error)) is not None:
                await self._table.end(live_session, end_reason=EndReason.REFUSED, end=barred)
                return of_words("unreachable", barred)
            await self._withdraw(live_session, begun=record.submits > submits and not isinstance(error, NotDone))
            return unreachable(explain.unreachable(error).what, scheduler=error.message)
        await self._taken(live_session, job)
        return None

    async def _taken(self, live_session: LiveSession, job: JobId) -> None:
        """Write the job's id into the ledger. Raises LedgerError.

        If another session has that id already, then either the scheduler has begun to count its ids from the start
        again, or the account's shell printed a wrong id. The factory's next answers then show whose job it is.
        """
        record = live_session.record
        entry = replace(self._audit.of_session(record, "submit"), job=job)
        try:
            await self._ledger.change(record, say=_WAITS.format(job=job), entry=entry, job=job)
        except LedgerConflict:
            log.warning("Session %s: its job is said to be %s, which another session has", record.id, job)
            live_session.withdrawn, live_session.answered = False, True

    async def _withdraw(self, live_session: LiveSession, begun: bool) -> None:
        """End a session whose submission has failed before any caller was told that the session exists.

        ``begun``: whether there may be a job. If so, only a stop is requested, and the session ends when the factory's
        answers show that there is no such job, or none any more. Else the session ends now.
        """
        if begun:
            await self._termination.request_end(
                live_session, EndReason.REFUSED, "link", explain.own("not-taken").as_message("what")
            )
        else:
            words = explain.own("not-taken")
            await self._table.end(live_session, end_reason=EndReason.REFUSED, end=words)
