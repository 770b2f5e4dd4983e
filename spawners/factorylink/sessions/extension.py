"""Extends running sessions if the site allows it: computes the new end, asks the scheduler, and informs the door.

A session ends at the time that the scheduler reports, even if the site's administrators have changed this time. The
link sends the time to the session's door, which warns the person before the end, and ends the notebook in time.
"""

from __future__ import annotations

import logging
import math
from datetime import timedelta
from typing import Literal

from factorycommon.messages import Message
from factorycommon.models import Hours, Session, SessionId
from factorylink.catalogue.choices import SHORTEST_HOURS
from factorylink.doors.manager import DoorManager
from factorylink.errors import FactoryError, Refused
from factorylink.explain import explain
from factorylink.jobs.identity import Identity
from factorylink.jobs.ownership import Found
from factorylink.ledger import charges
from factorylink.ledger.charges import OverBudget
from factorylink.ledger.ledger import Ledger, Write
from factorylink.ledger.own_jobs import session_job
from factorylink.problems import conflict, from_link_error, gone, invalid, refused
from factorylink.sessions.permission import Permission
from factorylink.sessions.session_views import SessionViews
from factorylink.site.audit_entries import AuditEntries
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable
from factorylink.util.background_tasks import BackgroundTasks

log = logging.getLogger("factorylink")

# seconds by which the scheduler's end and the door's may differ, since they round differently
AGREES = timedelta(seconds=5)


class Extender:
    """Extends sessions, and tells doors the new end of their session."""

    def __init__(
        self,
        table: SessionTable,
        views: SessionViews,
        permission: Permission,
        ledger: Ledger,
        audit: AuditEntries,
        doors: DoorManager,
        identity: Identity,
        tasks: BackgroundTasks,
    ) -> None:
        self._table = table
        self._views = views
        self._permission = permission
        self._ledger = ledger
        self._audit = audit
        self._doors = doors
        self._identity = identity
        self._tasks = tasks

    async def extend(self, session_id: SessionId, hours: Hours, by: Literal["person", "hub"]) -> Session:
        """Ask the scheduler to give a session ``hours`` more; return the session's view.

        ``by``: who requested this, for the audit. The returned view may still have the old end: the link takes the new
        end from the scheduler's next answer. Raises LedgerError. Raises ProblemError if the session is not running; if
        ``hours`` is less than a minute; if the factory, the person's rights, a limit or the budget does not allow the
        extension; if the scheduler refuses it or does not answer; or if the job is gone or its comment was changed.
        """
        live_session = self._table.get(session_id)
        if live_session is None:
            raise gone(f"The live session {session_id}")
        record = live_session.record
        if hours < SHORTEST_HOURS:
            raise invalid(
                Message("a-minute-at-least", "Ask for one minute at least: schedulers count in minutes."), "hours"
            )
        self._permission.more_time(live_session)
        async with live_session.extending:
            connection = self._permission.more_time(
                live_session
            )  # check again: others that waited for the lock may have used up the limit
            most = self._views.room(live_session, connection)
            if most is None or live_session.job is None or live_session.job.ends is None or record.started is None:
                raise conflict(Message("not-running", "Only a session that runs and is not ending can be made longer."))
            if hours > most:
                raise invalid(_too_much(most), "hours")
            ends = live_session.job.ends + timedelta(hours=hours)
            minutes = math.ceil((ends - record.started) / timedelta(minutes=1))
            account = record.account if connection.access.extend == "account" else None
            detail = f"by {by}, as {account or 'the watcher'}: {hours:g} h more, {minutes} min in all"
            until = record.started + timedelta(minutes=minutes)
            before = charges.runs(record.id, record.started, live_session.job.ends)
            seconds = charges.seconds_between(live_session.job.ends, until)
            held = self._permission.hold_more(record.id, seconds, until, record.choice.project)
            try:
                await self._ledger.change(record, held, extensions=record.extensions + 1)
                what = await connection.site.extend(account, session_job(record, self._identity), minutes)
            except OverBudget as error:
                raise error.problem() from error
            except Refused as error:
                await self._write(live_session, "extend-refused", f"{detail}: {error.message}", also=before)
                raise refused(explain.refused(error.message)) from error
            except FactoryError as error:
                live_session.extend_doubtful = True  # the factory's next answer shows the new end
                await self._write(live_session, "extend-doubtful", detail)
                raise from_link_error(error) from error
            if what is not Found.OURS:
                await self._write(live_session, "extend-refused", f"{detail}: the job is {what.value}", also=before)
                if what is Found.ALTERED:
                    raise refused(explain.own("job-altered"))
                raise conflict(Message("not-running", "Only a session that runs and is not ending can be made longer."))
            more = Message("extended", "Its time was made {hours} h longer.").format(hours=f"{hours:g}")
            await self._write(live_session, "extend", detail, more)
        self._table.touch(live_session)
        return self._views.of(live_session)

    async def _write(
        self, live_session: LiveSession, action: str, detail: str, say: str = "", also: Write | None = None
    ) -> None:
        entry = self._audit.of_session(live_session.record, action, detail)
        await self._ledger.change(live_session.record, *(() if also is None else (also,)), say=say, entry=entry)

    def follow(self, live_session: LiveSession) -> None:
        """Send a session's door the end that the scheduler reports for the job, unless the door reports the same end.

        The end is sent in the background; a failure is only logged. Ends that differ by at most ``AGREES`` count as the
        same. Nothing is sent while the door is not connected, or once the door reports that the notebook is ending.
        """
        door, job = live_session.door, live_session.job
        if (
            door is None
            or job is None
            or job.ends is None
            or not live_session.door_open
            or door.phase in ("ending", "ended")
        ):
            return
        if door.ends is not None and abs(door.ends - job.ends) <= AGREES:
            return
        if live_session.telling is None or live_session.telling.done():
            live_session.telling = self._tasks.spawn(self._tell(live_session), f"end of {live_session.record.id} told")

    async def _tell(self, live_session: LiveSession) -> None:
        if live_session.job is None or live_session.job.ends is None:
            return
        try:
            await self._doors.new_end(live_session.record.id, live_session.job.ends)
        except FactoryError as error:  # the scheduler's next answer repeats this
            log.info("The door of session %s was not told its end: %s", live_session.record.id, error)


def _too_much(most: float) -> str:
    if most < 0.1:
        return Message(
            "no-more-time", "It already has all the time that it may have. Start another session when it has ended."
        )
    return Message("less-more-time", "Its size and its project allow {hours} h more for this session.").format(
        hours=f"{most:g}"
    )
