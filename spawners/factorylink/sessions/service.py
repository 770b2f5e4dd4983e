"""The operations on sessions that the link's HTTP APIs offer, such as start, show, stop, and send a message.

Also loads the live sessions when the link starts, and resumes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack
from datetime import datetime
from pathlib import Path
from typing import Literal

from factorycommon.messages import Message
from factorycommon.models import (
    Choice,
    EndReason,
    LogLine,
    MessageBody,
    ProjectId,
    Session,
    SessionId,
    SessionRequest,
    SessionState,
)
from factorycommon.models.workshops.material import DoorOrder, MaterialReport
from factorylink.doors.manager import DoorManager
from factorylink.errors import FactoryError, Refused
from factorylink.explain import explain
from factorylink.ledger.charges import Charges, OverBudget
from factorylink.ledger.charges import found as found_charges
from factorylink.ledger.ledger import Ledger, LedgerConflict, LedgerError, Write, choosing
from factorylink.ledger.schema import SessionRecord
from factorylink.problems import (
    ProblemError,
    conflict,
    from_link_error,
    gone,
    refused,
    unreachable,
)
from factorylink.projects.account_leases import AccountLeases
from factorylink.projects.charge_reservations import ChargeReservations
from factorylink.sessions.admission import Admission, SeatTerms
from factorylink.sessions.door_events import DoorListener
from factorylink.sessions.permission import Permission
from factorylink.sessions.session_views import SessionViews
from factorylink.sessions.submission import Submission
from factorylink.sessions.termination import Termination
from factorylink.sessions.withdrawn import StoppedBeforeBegun
from factorylink.site.audit_entries import AuditEntries
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.ended_session import show_charged
from factorylink.state.live_session import LiveSession, from_record
from factorylink.state.session_table import SessionTable
from factorylink.util import clock
from factorylink.util.background_tasks import BackgroundTasks

log = logging.getLogger("factorylink")

UNMAKE_SECONDS = 2.0  # seconds until a ledger that did not answer is asked again
_NO_SEAT = frozenset({EndReason.REFUSED, EndReason.MOVED})  # ends of sessions that do not stand for a person's seat
_NEVER = Message("stopped-before-begun", "The session {session} was stopped before it began.")
_BY: dict[str, str] = {
    "person": Message("stop-asked", "You asked to stop it."),
    "hub": Message("stopped-by-gateway", "The gateway stopped it."),
    "operator": Message("stopped-by-operator", "An operator stopped it."),
    "trainer": Message("stopped-by-trainer", "The people who run the workshop stopped it."),
}


class Sessions:
    """Starts, shows and stops sessions. The link has one such object; call ``load`` before use."""

    def __init__(
        self,
        table: SessionTable,
        views: SessionViews,
        ledger: Ledger,
        audit: AuditEntries,
        doors: DoorManager,
        factories: OfferedFactories,
        permission: Permission,
        admission: Admission,
        account_leases: AccountLeases,
        reservations: ChargeReservations,
        submission: Submission,
        listener: DoorListener,
        termination: Termination,
        charges: Charges,
        tasks: BackgroundTasks,
    ) -> None:
        self._table = table
        self._views = views
        self._ledger = ledger
        self._audit = audit
        self._doors = doors
        self._factories = factories
        self._permission = permission
        self._admission = admission
        self._account_leases = account_leases
        self._reservations = reservations
        self._submission = submission
        self._listener = listener
        self._termination = termination
        self._charges = charges
        self._tasks = tasks
        self._admitting: dict[str, asyncio.Lock] = {}  # a lock for each person
        self._never = StoppedBeforeBegun()

    async def load(self) -> None:
        """Load every live session from the ledger, and listen on its port. Raises LedgerError.

        If a session's port is taken, this is logged; nobody can reach the session until the port is free.
        """
        earlier = await self._charges.earlier()
        for record in await self._ledger.live():
            self._table.hold(record, answered=True, earlier=earlier.get(record.id, 0))
        # Sessions from releases without budgets.
        reserved = [self._reservations.of_session(live_session.record) for live_session in self._table.values()]
        await self._ledger.write(found_charges(reserved))
        for live_session in tuple(self._table.values()):
            try:
                await self._doors.bind(live_session.record.id, live_session.record.port)
            except OSError:
                log.exception(
                    "Nobody can reach session %s: its port %d is taken",
                    live_session.record.id,
                    live_session.record.port,
                )

    def resume(self) -> None:
        """Continue after ``load`` what an earlier process of the link has begun. Call this once, at the link's start.

        Carry out the stop requests that ``load`` has found in the ledger, and connect to the doors of sessions whose
        jobs run, both in the background. A door with the carrier ``stdio`` is connected later, when an answer of the
        scheduler shows the session's job.
        """
        for live_session in self._table.values():
            connection = self._factories.get(live_session.record.factory)
            # A door that is reached by stdio is entered with the job's id, so an answer must first show that the job is
            # ours.
            by_id = connection is not None and connection.access.door.carrier == "stdio"
            runs = live_session.record.state in (SessionState.STARTING, SessionState.RUNNING)
            if connection is not None and runs and not by_id:
                self._listener.look_for(live_session, connection)
            if live_session.record.wish == "stop":
                self._termination.carry_out(live_session)

    # --- starting

    async def put(
        self, session_id: SessionId, request: SessionRequest, seat: SeatTerms | None = None
    ) -> tuple[Session, bool]:
        """Start the session with this id if there is none; return the session, and whether it is new.

        If the session with this id has ended, it is returned as ended. ``seat``: the terms, if the workshops service
        starts the session for a seat; None: any other start, also if a person starts a session for a workshop.

        Waits for the scheduler at most until 1.5 s after the call; if the scheduler has not answered by then, the
        returned session is pending. Raises LedgerError, and ProblemError if the session may not start, if the
        submission has failed, or if the id is that of another server's session.
        """
        begun = clock.ticks()
        try:
            live_session, created = await self._found_or_begun(session_id, request, seat)
        except ProblemError:
            # The ledger is asked only now: it knows the id only if a PUT is repeated after its session has ended.
            record = await self._ledger.record(session_id)
            if record is None:
                raise
            return self._again(record, request), False
        self._same(live_session.record, request)
        await self._submission.known(live_session, begun)
        if live_session.record.id not in self._table:
            return self._again(live_session.record, request), created
        return self._views.of(live_session), created

    def _again(self, record: SessionRecord, request: SessionRequest) -> Session:
        """Return the ended session, as the answer to a PUT that is repeated after the session's end.

        Raises ProblemError if the session has ended as ``EndReason.REFUSED`` (the scheduler refused the job, the
        submission failed, or the session's port was taken), or if the session is of another server.
        """
        self._same(record, request)
        if record.end_reason == EndReason.REFUSED and record.end is not None:
            raise refused(record.end)
        return from_record(record)

    def _same(self, record: SessionRecord, request: SessionRequest) -> None:
        if (record.user, record.server) != (request.user, request.server):
            raise conflict(f"The session {record.id} is of another server.")

    async def _found_or_begun(
        self, session_id: SessionId, request: SessionRequest, seat: SeatTerms | None
    ) -> tuple[LiveSession, bool]:
        """Start the session with this id if there is none; return the live session, and whether it is new.

        The sessions of a person are admitted one after the other, so that limits are counted correctly, but are written
        into the ledger together. Raises ProblemError, LedgerError.
        """
        with ExitStack() as until_written, self._account_leases.beginning(request.user):
            async with self._admitting.setdefault(request.user, asyncio.Lock()):
                await self._table.written(session_id)
                live_session = self._table.get(session_id)
                if live_session is not None:
                    return live_session, False
                record, connection = await self._admit(session_id, request, seat)
                until_written.enter_context(self._table.announced(record))
            chosen = () if seat is not None else (choosing(request.user, Choice(**record.choice.model_dump())),)
            try:
                return await self.begin(record, connection, *chosen), True
            except LedgerConflict as error:
                raise conflict(self._who_lives(request)) from error

    async def _admit(
        self, session_id: SessionId, request: SessionRequest, seat: SeatTerms | None
    ) -> tuple[SessionRecord, FactoryConnection]:
        """Check that a new session may start; return its record and its factory. Raises ProblemError, LedgerError."""
        connection, choice, account = await self._admission.admit(request, seat)
        now = clock.now()
        try:
            port = self._doors.allocate(self._table.ports())
        except OSError as error:
            raise unreachable(explain.own("no-port").what, scheduler=str(error)) from error
        record = SessionRecord(
            id=session_id,
            user=request.user,
            server=request.server,
            factory=connection.factory.id,
            account=account,
            choice=choice,
            options=request.options,
            port=port,
            created=now,
            unopened_until=None if seat is None else seat.unopened_until,
            log=[
                LogLine(
                    at=now,
                    text=Message("asked", "Asked for {size} at {factory}.").format(
                        size=choice.size, factory=connection.factory.site.machine
                    ),
                )
            ],
        )
        return record, connection

    async def begin(self, record: SessionRecord, connection: FactoryConnection, *also: Write) -> LiveSession:
        """Write a new session into the ledger, with ``also`` in the same commit, and submit its job in the background.

        If a stop is requested during the write, the session ends instead, and no job is submitted.

        Raises LedgerConflict if the server has another session, or if the ledger has a session with this id already;
        LedgerError; ProblemError if the session was stopped already, if the budget does not allow it, or if its port is
        taken.
        """
        if record.id in self._never:
            raise conflict(_NEVER.format(session=record.id))
        held = self._permission.hold([self._reservations.of_session(record)], record.choice.project)
        try:
            live_session = await self._table.add(
                record, self._audit.of_session(record, "ask", record.choice.size), held, *also
            )
        except OverBudget as error:
            raise error.problem() from error
        except LedgerError:
            self._tasks.begin(self._unmake(record.id), f"whether {record.id} is in the ledger")
            raise
        except OSError as error:
            words = explain.own("no-port", str(error))
            await self._table.end(self._table[record.id], end_reason=EndReason.REFUSED, end=words)
            raise unreachable(words.what) from error
        self._account_leases.touches(record.factory, record.account)
        if record.id in self._never:  # it was stopped while it was being written into the ledger
            await self._termination.request_end(live_session, EndReason.STOPPED, "hub", _BY["hub"])
        else:
            self._submission.begin(live_session, connection)
        return live_session

    async def _unmake(self, session_id: SessionId) -> None:
        """End a session whose write into the ledger failed, in case the ledger has stored the session nevertheless.

        Otherwise this session, of which no caller knows, would reserve GPU-hours and its server's name forever.
        """
        live_session: LiveSession | None = None
        while True:
            await asyncio.sleep(UNMAKE_SECONDS)
            try:
                if live_session is None:
                    record = await self._ledger.record(session_id)
                    if record is None or record.ended is not None or session_id in self._table:
                        return
                    live_session = self._table.hold(record)
                await self._table.end(live_session, end_reason=EndReason.REFUSED, end=explain.own("not-taken"))
            except LedgerError as error:
                log.warning("Whether session %s is in the ledger is asked again: %s", session_id, error)
            else:
                return

    async def answer(self, live_session: LiveSession) -> None:
        """Wait until the submission of the session's job has an outcome, or until a short time is over (1.5 s).

        Raises ProblemError if the submission has failed by then.
        """
        await self._submission.known(live_session, clock.ticks())

    def _who_lives(self, request: SessionRequest) -> str:
        others = self._views.live(request.user, request.server)
        name = request.server or "the default server"
        return f"{name} has a session already: {others[0].id if others else 'being made now'}."

    # --- other operations

    async def session(self, session_id: SessionId) -> Session:
        """Return a session, live or ended. Raises LedgerError, and ProblemError if there is no such session."""
        live_session = self._table.get(session_id)
        if live_session is not None:
            return self._views.of(live_session)
        record = await self._ledger.record(session_id)
        if record is None:
            raise gone(f"The session {session_id}")
        used = await self._charges.used([record.id])
        return show_charged(record, used.get(record.id), self._factories)

    async def sessions(self, user: str | None, server: str | None, live: bool, limit: int) -> list[Session]:
        """Return sessions; those that run a Dask scheduler are left out. Raises LedgerError.

        ``user`` None: sessions of all people; ``server`` None: sessions of all servers. ``live`` True: return all live
        sessions. False: return the ``limit`` newest sessions, live and ended ones. A session counts as ended as soon as
        its class moves to another factory, or if it fails before any caller was told of it
        (``LiveSession.withdrawn``).
        """
        if live:
            return self._views.live(user, server)
        rows = await self._ledger.recent(user, server, limit)
        used = await self._charges.used([record.id for record in rows if record.ended is not None])
        return [
            self._views.of(self._table[record.id])
            if record.id in self._table
            else show_charged(record, used.get(record.id), self._factories)
            for record in rows
        ]

    async def last_ended(self, project_id: ProjectId) -> list[Session]:
        """Return each person's last session that was charged to the project and has ended. Raises LedgerError.

        Sessions that run a Dask scheduler do not count.
        """
        return [from_record(record) for record in await self._ledger.last_ended(project_id)]

    async def last_of_seat(self, project_id: ProjectId, user: str, server: str, since: datetime) -> Session | None:
        """Return the newest ended session for a project on a person's server, if it was created at ``since`` or later.

        None: there is no such session. Sessions whose job was refused or could not be submitted
        (``EndReason.REFUSED``) do not count, nor do those that ended because the class moved to another factory. Raises
        LedgerError.
        """
        for record in await self._ledger.ended_of(user, server, since):
            if record.choice.project == project_id and record.end_reason not in _NO_SEAT:
                return from_record(record)
        return None

    async def stop(self, session_id: SessionId, by: Literal["person", "hub", "operator", "trainer"]) -> None:
        """Request the end of a session; return when the ledger holds the request.

        ``by``: who requests this, for the log that people see and for the audit. Does nothing if the session has ended.
        Raises ProblemError if the session is not known; a later request to start a session with this id is then
        refused. Raises LedgerError.
        """
        if session_id not in self._table:
            self._never.add(session_id)  # add it first, since the session may start while the ledger is asked
            record = await self._ledger.record(session_id)
            if session_id not in self._table:
                if record is None:
                    raise gone(f"The session {session_id}")
                return
        await self._termination.request_end(self._table[session_id], EndReason.STOPPED, by, _BY[by])

    async def end_access(self, live_session: LiveSession) -> None:
        """Request the end of a session whose person may no longer use its project. Raises LedgerError.

        Returns when the ledger holds the request.
        """
        await self._termination.request_end(
            live_session, EndReason.ACCESS_LOST, "link", explain.own("access-lost").as_message("what")
        )

    def beginning(self, user: str) -> AbstractContextManager[None]:
        """Return a context manager in whose block the caller checks (``checked``) and starts (``put``) a user's seat.

        During the block, no site account that is lent to ``user`` is lent to anybody else.
        """
        return self._account_leases.beginning(user)

    def checked(self, request: SessionRequest, seat: SeatTerms) -> AbstractAsyncContextManager[None]:
        """Return an async context manager that raises ProblemError on entry if the seat of a workshop may not start.

        It may also raise LedgerError. Nothing is started. During the block, other such checks count the seat's
        GPU-hours as reserved. Use it inside ``beginning``.
        """
        return self._admission.checked(request, seat)

    async def move(self, session_id: SessionId) -> None:
        """End a session because its class moves to another factory; return when the ledger holds the request.

        The hub and the person see the session as ended at once. The session's job is cancelled now, or when the factory
        answers again. Does nothing if the session is not live. Raises LedgerError.
        """
        live_session = self._table.get(session_id)
        if live_session is not None:
            say = explain.own("moved").as_message("what")
            await self._termination.request_end(live_session, EndReason.MOVED, "trainer", say)

    async def send_environment(self, session_id: SessionId, environment: dict[str, str], argv: Sequence[str]) -> None:
        """Send the notebook's environment variables and command ``argv`` to the session's door; they are not stored.

        Raises ProblemError if the session is not live, or if its door cannot be reached or refuses.
        """
        await self._through_door(session_id, lambda: self._doors.send_environment(session_id, environment, argv))
        if (live_session := self._table.get(session_id)) is not None:  # the session may have ended in the meantime
            live_session.confirm_environment()
            self._table.touch(live_session)

    async def token(self, session_id: SessionId) -> str | None:
        """Ask the session's door for the hub token of its notebook; return the token, or None if there is none.

        Raises ProblemError if the session is not live, or if its door cannot be reached or refuses.
        """
        found: list[str | None] = []

        async def ask() -> None:
            found.append(await self._doors.token(session_id))

        await self._through_door(session_id, ask)
        return found[0]

    async def tell(self, session_id: SessionId, message: MessageBody) -> None:
        """Show a message to the person in the session.

        Raises ProblemError if the session is not live, or if its door cannot be reached or refuses.
        """
        await self._through_door(session_id, lambda: self._doors.tell(session_id, message))

    async def deliver(self, session_id: SessionId, order: DoorOrder, archive: Path) -> MaterialReport:
        """Bring a workshop's material into the notebook's root folder; return how many files had each outcome.

        ``order``: the folder for the material, whether files that the person has deleted are written again, and whether
        that folder is moved aside first if it exists; ``archive``: the path of the file with the material. Raises
        ProblemError if the session is not live, or if its door cannot be reached or refuses.
        """
        found: list[MaterialReport] = []

        async def send() -> None:
            found.append(await self._doors.deliver(session_id, order, archive))

        await self._through_door(session_id, send)
        return found[0]

    async def _through_door(self, session_id: SessionId, ask: Callable[[], Awaitable[object]]) -> None:
        """Run ``ask``, which sends a command to the session's door.

        Raises ProblemError if the session is not live, or if its door cannot be reached or refuses.
        """
        if session_id not in self._table:
            raise gone(f"The live session {session_id}")
        if not self._doors.is_open(session_id):
            raise conflict(Message("door-not-open", "The session's door is not open."))
        try:
            await ask()
        except Refused as error:
            raise conflict(error.message) from error
        except FactoryError as error:
            raise from_link_error(error) from error
