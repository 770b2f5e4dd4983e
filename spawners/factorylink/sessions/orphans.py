"""Handles this gateway's jobs that have no live session: restores the session, or cancels the job after a grace time.

This gateway recognises its jobs by name, site account and comment. An **orphan** is a job that no session can have any
more: the job's session has ended, or the session's server has another session, or the session is missing in the ledger
and cannot be restored from its note. The note is a copy of the session's main data in the session's folder at the
factory, signed by this link. The link cancels an orphan after the grace time, with a line in the audit. While a note
cannot be read, the link does not know whether the job is an orphan, and does nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from factorycommon.messages import Message
from factorycommon.models import EndReason, Job, JobId, JobOptions, JobState, LogLine, SessionId, SessionState
from factorylink.config import Limits
from factorylink.doors.manager import DoorManager
from factorylink.errors import FactoryError, Gone
from factorylink.jobs.identity import Identity
from factorylink.jobs.ownership import Found, OwnJob, of_one
from factorylink.ledger import charges
from factorylink.ledger.ledger import AuditEntry, Ledger, LedgerConflict
from factorylink.ledger.schema import SessionRecord
from factorylink.projects.account_leases import AccountLeases
from factorylink.projects.charge_reservations import ChargeReservations
from factorylink.sessions.account_work import AccountWork
from factorylink.sessions.submitter import read_note
from factorylink.site.audit_entries import AuditEntries
from factorylink.site.factory_connection import FactoryConnection
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable
from factorylink.util import clock

log = logging.getLogger("factorylink")

_ALIVE = (JobState.PENDING, JobState.RUNNING)
_UNCERTAIN = 2  # after its row was restored from the job, the number of submissions is not known; assume several

Key = tuple[str, str, JobId]  # factory id, site account, job


class OrphanFinder:
    """Handles this gateway's jobs without a live session: restores the session, or cancels the job after a while.

    An orphan, a job that no session can have any more, is cancelled after ``orphan_grace_seconds``. A second job of a
    live session is cancelled at once. If the comment of a job can only be a copy of another job's comment, the job is
    logged and left alone.
    """

    def __init__(
        self,
        table: SessionTable,
        ledger: Ledger,
        audit: AuditEntries,
        doors: DoorManager,
        identity: Identity,
        account_leases: AccountLeases,
        reservations: ChargeReservations,
        account_work: AccountWork,
        limits: Limits,
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._audit = audit
        self._doors = doors
        self._identity = identity
        self._account_leases = account_leases
        self._reservations = reservations
        self._account_work = account_work
        self._limits = limits
        self._orphans: dict[Key, float] = {}  # by job, since when it has been an orphan, in ticks
        self._strangers: set[Key] = set()  # jobs of others that carry a comment of this gateway; each is logged once

    def only(self, connection: FactoryConnection, jobs: list[Job], account: str | None) -> None:
        """Forget the orphans and ignored jobs that are missing in a factory's answer.

        ``account``: the only account whose jobs the answer lists; None: the answer lists the jobs of all accounts.
        """
        listed = {job.id for job in jobs}
        gone = {
            (factory, owner, job)
            for factory, owner, job in (*self._orphans, *self._strangers)
            if factory == connection.factory.id and account in (None, owner) and job not in listed
        }
        self._orphans = {key: since for key, since in self._orphans.items() if key not in gone}
        self._strangers -= gone

    def surplus(self, record: SessionRecord, connection: FactoryConnection, job: Job) -> None:
        """Handle a job whose comment names the session ``record``, though this session has another job.

        If the link may have submitted the job itself, the job is cancelled in the background. Otherwise somebody has
        copied the comment of the session's job, and the job is left alone. Does nothing unless the job waits or runs.
        """
        if job.state not in _ALIVE:
            return
        own = self._table[record.id].job if record.id in self._table else None
        if record.submits < _UNCERTAIN and not _before(job, own):  # otherwise somebody has copied the comment
            self._leave_alone(connection, job, f"says it is of session {record.id}, which has job {record.job}")
            return
        self._apart(connection, job, lambda: self._cancel_second(record, connection, job))

    def _apart(self, connection: FactoryConnection, job: Job, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` in the background, since it runs commands as the job's account, and these may take long."""
        self._account_work.begin((connection.factory.id, job.id), (connection.factory.id, job.account), work)

    async def _cancel_second(self, record: SessionRecord, connection: FactoryConnection, job: Job) -> None:
        try:
            what = await self._cancelled(connection, job)
        except FactoryError as error:
            log.warning("The second job %s of session %s is not cancelled yet: %s", job.id, record.id, error.message)
            return
        if what is Found.OURS:
            await self._ledger.change(record, entry=self._audit.of_session(record, "cancel", f"second job {job.id}"))

    def copied(self, session_id: SessionId, connection: FactoryConnection, job: Job) -> None:
        """Ignore a job of an array whose comment names a session, since sessions are never submitted as arrays."""
        self._leave_alone(connection, job, f"is of an array, and says it is of session {session_id}")

    async def _cancelled(self, connection: FactoryConnection, job: Job) -> Found:
        """Cancel a job of this gateway, if a fresh answer shows that the job still has the gateway's comment.

        Return what the answer shows under the job's id. Raises FactoryError.
        """
        own = OwnJob(job.id, job.account, job.comment, job.submitted)
        return of_one(await connection.site.cancel(job.account, [own]), job.id)

    async def unknown(self, session_id: SessionId, connection: FactoryConnection, job: Job) -> LiveSession | None:
        """Restore the session of a job that has no live session; cancel the job if it is an orphan.

        Return the session if this call has restored it, else None. ``session_id``: the session that the job's comment
        names. If the ledger lacks this session, the link tries in the background to restore it from the signed note in
        the session's folder. For an orphan, the first call begins the grace time, and a call after the grace time
        cancels the job, also in the background. Raises LedgerError.
        """
        key = _key(connection, job)
        if job.state not in _ALIVE or key in self._strangers or session_id in self._table:
            return None
        since = self._orphans.get(key)
        grace = self._limits.orphan_grace_seconds
        if since is not None and clock.ticks() - since < grace:
            return None
        record = await self._ledger.record(session_id)
        if record is None and ("sessions", session_id) in self._ledger.set_aside:
            self._leave_alone(connection, job, f"is of session {session_id}, whose row in the ledger cannot be read")
            return None
        if record is None:
            self._apart(connection, job, lambda: self._lost(session_id, connection, job))
            return None
        try:
            if record.ended is None:
                live_session = self._table.hold(record, answered=True)
            elif record.job is None and record.submits > 0:
                live_session = await self._revive(record, job)
            elif record.job == job.id or record.submits >= _UNCERTAIN:
                self._orphan(record, connection, job, f"is of session {session_id}, which ended")
                return None
            else:
                self._leave_alone(connection, job, f"says it is of session {session_id}, which had job {record.job}")
                return None
        except LedgerConflict:
            self._orphan(record, connection, job, f"is of session {session_id}, whose server has another session")
            return None
        self._orphans.pop(key, None)
        return live_session

    async def _lost(self, session_id: SessionId, connection: FactoryConnection, job: Job) -> None:
        """Restore a session that is missing in the ledger, from the note in the session's folder.

        If there is no note of this link, or if the session's server has another session, treat the session's job as an
        orphan. If the note cannot be read now, or if there is no port for the session, only log this; the next answer
        tries again.
        """
        if session_id in self._table:
            return
        try:
            why = await self._rebuild(session_id, connection, job)
        except LedgerConflict:
            why = f"is of session {session_id}, whose server has another session"
        except FactoryError as error:
            log.warning("The note of session %s is read again: %s", session_id, error.message)
            return
        except OSError as error:
            log.error("Session %s is found, and there is no port for it: %s", session_id, error)  # noqa: TRY400
            return
        if why is None:
            self._orphans.pop(_key(connection, job), None)
            connection.site.expect(True)  # the next answer shows the state of the session
        elif _key(connection, job) in self._orphans:
            await self._cancel(connection, job, None, why)
        else:
            self._orphan(None, connection, job, why)

    def _orphan(self, record: SessionRecord | None, connection: FactoryConnection, job: Job, why: str) -> None:
        """Start the grace time of an orphaned job, or cancel the job if its grace time is over."""
        key = _key(connection, job)
        if key in self._orphans:
            self._apart(connection, job, lambda: self._cancel(connection, job, record, why))
            return
        self._orphans[key] = clock.ticks()
        grace = self._limits.orphan_grace_seconds
        log.warning("Job %s at %s %s: cancelled in %d s", job.id, connection.factory.id, why, grace)

    async def _cancel(self, connection: FactoryConnection, job: Job, record: SessionRecord | None, why: str) -> None:
        try:
            what = await self._cancelled(connection, job)
        except FactoryError as error:
            log.warning("The orphan %s at %s is not cancelled yet: %s", job.id, connection.factory.id, error.message)
            return
        self._orphans.pop(_key(connection, job), None)
        if what is not Found.OURS:
            log.warning("Job %s at %s is not cancelled: it is %s now", job.id, connection.factory.id, what.value)
            return
        log.warning("Job %s at %s %s: cancelled", job.id, connection.factory.id, why)
        person, key_id = record.user if record else "", connection.access_status.key_id(job.account)
        entry = AuditEntry(person, job.account, connection.factory.id, "cancel-orphan", job.id, why, key_id)
        await self._ledger.note(entry)

    async def _rebuild(self, session_id: SessionId, connection: FactoryConnection, job: Job) -> str | None:
        """Write a session into the ledger again, from the note in its folder.

        Return None if this succeeded, or the reason if there is no note of this link. Raises LedgerConflict if the
        session's server has another session, or if another session has the job; OSError if no port is free, or if the
        port is taken (then the ledger has the session); LedgerError, FactoryError.
        """
        try:
            note = await read_note(connection, job.account, session_id, self._identity)
        except Gone:
            note = None
        if note is None:
            return f"is of session {session_id}, which is not in the ledger and whose folder has no note of ours"
        used = self._table.ports()
        port = note.port if note.port not in used else self._doors.allocate(used)
        record = SessionRecord(
            id=note.id,
            user=note.user,
            server=note.server,
            factory=note.factory,
            account=note.account,
            choice=note.choice,
            options=JobOptions(),
            port=port,
            created=note.created,
            job=job.id,
            submitted=job.submitted,
            submits=_UNCERTAIN,
            log=[
                LogLine(
                    at=clock.now(),
                    text=Message("job-recovered", "Taken into the ledger again, from its job {job}.").format(
                        job=job.id
                    ),
                )
            ],
        )
        held = charges.found([self._reservations.of_session(record)])
        await self._account_leases.found(record.factory, record.account, record.user)
        await self._table.add(record, self._audit.of_session(record, "rebuild"), held)
        return None

    async def _revive(self, record: SessionRecord, job: Job) -> LiveSession:
        say = Message("job-arrived-late", "Job {job} arrived after all; it is cancelled.").format(job=job.id)
        changes: dict[str, Any] = {"wish": "stop", "stopped_for": record.stopped_for or EndReason.REFUSED}
        values = {"job": job.id, "submitted": job.submitted, "ended": None, "state": SessionState.ENDING, **changes}
        await self._ledger.change(record, charges.reopen(record.id), say=say, **values)
        return self._table.hold(record, answered=True)

    def _leave_alone(self, connection: FactoryConnection, job: Job, why: str) -> None:
        if _key(connection, job) not in self._strangers:
            self._strangers.add(_key(connection, job))
            log.warning("Job %s at %s %s: left alone", job.id, connection.factory.id, why)


def _key(connection: FactoryConnection, job: Job) -> Key:
    return connection.factory.id, job.account, job.id


def _before(job: Job, own: Job | None) -> bool:
    """Return whether ``job`` was submitted before ``own``, the job of the session's row; False if a time is not known.

    If so, only this gateway can have submitted ``job``, for a row that the ledger has lost: when ``job`` was submitted,
    there was no other job with its comment, from which somebody could have copied the comment.
    """
    if own is None or own.submitted is None or job.submitted is None:
        return False
    return job.submitted < own.submitted
