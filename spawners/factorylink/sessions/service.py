"""Sessions as the apps ask for them: begin, look, hand over the environment, stop. And the link's own start and end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal

from factorycommon.language import N_
from factorycommon.models import Choice, EndReason, LogLine, Session, SessionId, SessionRequest, SessionState
from factorylink.errors import FactoryError, Refused
from factorylink.explain import explain
from factorylink.ledger import charges
from factorylink.ledger.charges import OverBudget
from factorylink.ledger.ledger import LedgerConflict, LedgerError
from factorylink.ledger.schema import SessionRecord
from factorylink.problems import (
    conflict,
    from_link_error,
    gone,
    refused,
    unreachable,
)
from factorylink.sessions.admission import Admission
from factorylink.sessions.door_events import DoorListener
from factorylink.sessions.ended import show_charged
from factorylink.sessions.extension import Extender
from factorylink.sessions.link_state import LinkState
from factorylink.sessions.permission import Permission
from factorylink.sessions.reconciler import SessionReconciler
from factorylink.sessions.submission import Submission
from factorylink.sessions.submitter import Submitter
from factorylink.sessions.termination import Termination
from factorylink.sessions.withdrawn import StoppedBeforeBegun
from factorylink.site.factory_connection import FactoryConnection
from factorylink.state.live_session import LiveSession, show_ended
from factorylink.util import clock

log = logging.getLogger("factorylink")

UNMAKE_SECONDS = 2.0  # between two questions to a ledger that fell silent
_ASKED = N_("Asked for {size} at {factory}.")
_BY: dict[str, str] = {
    "person": N_("You asked to stop it."),
    "hub": N_("The gateway stopped it."),
    "operator": N_("An operator stopped it."),
}


class Sessions:
    """One for the link. ``start`` before use, ``close`` at the end; neither touches a job."""

    def __init__(self, link_state: LinkState, submitter: Submitter) -> None:
        self.link_state = link_state
        self._termination = Termination(link_state)
        self.extender = Extender(link_state)
        self._submission = Submission(link_state, submitter, self._termination)
        self.listener = DoorListener(link_state, self.extender)
        self._watcher = SessionReconciler(
            link_state, self._termination, self.extender, self.listener, self._submission.again
        )
        self._admission = Admission(link_state)
        self._permission = Permission(link_state)
        self._intending: dict[str, asyncio.Lock] = {}  # per person, so that limits are counted right
        self._never = StoppedBeforeBegun()

    async def start(self) -> None:
        """Listen on every live session's port first; then ask each factory for itself, and open the doors."""
        link_state = self.link_state
        link_state.drains = await link_state.ledger.drains()
        await link_state.people.load()
        await link_state.account_leases.load()
        await link_state.acceptances.load()
        await link_state.projects.refresh()
        for name, message in (await link_state.ledger.pauses()).items():
            if name in link_state.places:
                link_state.places[name].access_status.pause(message)
        earlier = await link_state.budget.earlier()
        for row in await link_state.ledger.live():
            link_state.live[row.id] = LiveSession(row, answered=True, earlier=earlier.get(row.id, 0))
        # Those from before there were budgets.
        await link_state.ledger.write(charges.found([link_state.claim(live.row) for live in link_state.live.values()]))
        for live in link_state.live.values():
            try:
                await link_state.doors.bind(live.row.id, live.row.port)
            except OSError:
                log.exception("Nobody can reach session %s: its port %d is taken", live.row.id, live.row.port)
        for place in link_state.places.values():
            place.site.on_answer = partial(self._watcher.answered, place)
            place.site.private_to(partial(link_state.accounts, place.factory.id), await self._may_have_jobs(place))
            place.site.knows_ids(partial(link_state.job_ids, place.factory.id))
            place.site.on_health = partial(link_state.touch_factory, place.factory.id)
            place.access_status.on_change = partial(link_state.touch_factory, place.factory.id)
            link_state.background(place.site.start(), f"start of {place.factory.id}")
        for live in link_state.live.values():
            place_of = link_state.places.get(live.row.factory)
            # A door by stdio is entered through the scheduler, by the job's id: once an answer shows that it is ours.
            by_id = place_of is not None and place_of.access.door.carrier == "stdio"
            runs = live.row.state in (SessionState.STARTING, SessionState.RUNNING)
            if place_of is not None and runs and not by_id:
                self.listener.look_for(live, place_of)
            if live.row.wish == "stop":
                self._termination.carry_out(live)

    async def _may_have_jobs(self, place: FactoryConnection) -> set[str]:
        """Site accounts that may have jobs there, whatever the ledger still knows."""
        access = place.access
        listed = {*access.account_pool, *access.accounts.values()}
        for project in self.link_state.projects.all():
            if (at := project.factories.get(place.factory.id)) is not None:
                listed |= {*at.site_accounts.pool, *at.site_accounts.personal.values()}
        return {
            *await self.link_state.ledger.accounts(place.factory.id),
            *self.link_state.accounts(place.factory.id),
            *listed,
        }

    async def close(self) -> None:
        """Let go of everything here; jobs and notebooks go on."""
        await self.link_state.close()
        await self.link_state.doors.shutdown()
        for place in self.link_state.places.values():
            await place.site.stop()
            await place.transport.close()

    # --- begin

    async def put(self, session_id: SessionId, request: SessionRequest) -> tuple[Session, bool]:
        """The session of that id, begun if it is new; and whether it is. Answers within 2 s. Raises ProblemError."""
        begun = clock.ticks()
        async with self._intending.setdefault(request.user, asyncio.Lock()):
            live = self.link_state.live.get(session_id)
            created = False
            if live is None:
                row = await self.link_state.ledger.row(session_id)
                if row is not None:
                    return self._again(row, request), False
                with self.link_state.account_leases.beginning(request.user):
                    live, created = await self._intend(session_id, request), True
        self._same(live.row, request)
        await self._submission.known(live, begun)
        if live.row.id not in self.link_state.live:
            return self._again(live.row, request), created
        return self.link_state.session(live), created

    def _again(self, row: SessionRecord, request: SessionRequest) -> Session:
        """The same PUT after its session ended."""
        self._same(row, request)
        if row.end_reason == EndReason.REFUSED and row.end is not None:
            raise refused(row.end)
        return show_ended(row)

    def _same(self, row: SessionRecord, request: SessionRequest) -> None:
        if (row.user, row.server) != (request.user, request.server):
            raise conflict(f"The session {row.id} is of another server.")

    async def _intend(self, session_id: SessionId, request: SessionRequest) -> LiveSession:
        place, choice, account = await self._admission.admit(request)
        now = clock.now()
        try:
            port = self.link_state.doors.allocate(self.link_state.ports())
        except OSError as error:
            raise unreachable(explain.own("no-port").what, scheduler=str(error)) from error
        row = SessionRecord(
            id=session_id,
            user=request.user,
            server=request.server,
            factory=place.factory.id,
            account=account,
            choice=choice,
            options=request.options,
            port=port,
            created=now,
            log=[
                LogLine(
                    at=now,
                    text=N_("Asked for {size} at {factory}.").format(
                        size=choice.size, factory=place.factory.site.machine
                    ),
                )
            ],
        )
        try:
            live = await self.begin(row, place)
        except LedgerConflict as error:
            raise conflict(self._who_lives(request)) from error
        self.link_state.background(
            self.link_state.ledger.choose(request.user, Choice(**choice.model_dump())), "last choice"
        )
        return live

    async def begin(self, row: SessionRecord, place: FactoryConnection) -> LiveSession:
        """Write a new session down, and see that its job is handed over. Raises Conflict, ProblemError."""
        if row.id in self._never:
            raise conflict(f"The session {row.id} was stopped before it began.")
        held = self._permission.hold([self.link_state.claim(row)], row.choice.project)
        try:
            live = await self.link_state.keep(row, self.link_state.entry(row, "ask", row.choice.size), held)
        except OverBudget as error:
            raise error.problem() from error
        except LedgerError:
            self.link_state.background(self._unmake(row.id), f"whether {row.id} is in the ledger")
            raise
        except OSError as error:
            words = explain.own("no-port", str(error))
            await self.link_state.end(self.link_state.live[row.id], end_reason=EndReason.REFUSED, end=words)
            raise unreachable(words.what) from error
        self.link_state.account_leases.touches(row.factory, row.account)
        if row.id in self._never:  # stopped while it was being written down
            await self._termination.wish(live, EndReason.STOPPED, "hub", _BY["hub"])
        else:
            self._submission.begin(live, place)
        return live

    async def _unmake(self, session_id: SessionId) -> None:
        """The ledger fell silent as it was written down. If it was all the same, it ends: it is nobody's, and would
        hold its hours and its server's name for ever."""
        live: LiveSession | None = None
        while True:
            await asyncio.sleep(UNMAKE_SECONDS)
            try:
                if live is None:
                    row = await self.link_state.ledger.row(session_id)
                    if row is None or row.ended is not None or session_id in self.link_state.live:
                        return
                    live = self.link_state.live[session_id] = LiveSession(row)
                await self.link_state.end(live, end_reason=EndReason.REFUSED, end=explain.own("not-taken"))
            except LedgerError as error:
                log.warning("Whether session %s is in the ledger is asked again: %s", session_id, error)
            else:
                return

    async def answer(self, live: LiveSession) -> None:
        """Wait until the scheduler has taken the session's job, but not long. Raises ProblemError if it was refused."""
        await self._submission.known(live, clock.ticks())

    def _who_lives(self, request: SessionRequest) -> str:
        others = self.link_state.sessions(request.user, request.server)
        name = request.server or "the default server"
        return f"{name} has a session already: {others[0].id if others else 'being made now'}."

    # --- everything else

    async def session(self, session_id: SessionId) -> Session:
        """Live or ended. Raises ProblemError."""
        live = self.link_state.live.get(session_id)
        if live is not None:
            return self.link_state.session(live)
        row = await self.link_state.ledger.row(session_id)
        if row is None:
            raise gone(f"The session {session_id}")
        used = await self.link_state.budget.used([row.id])
        return show_charged(row, used.get(row.id), self.link_state.places)

    async def sessions(self, user: str | None, server: str | None, live: bool, limit: int) -> list[Session]:
        """Live ones; or the newest, ended ones too. None that runs only a cluster's scheduler."""
        if live:
            return self.link_state.sessions(user, server)
        rows = [row for row in await self.link_state.ledger.recent(user, server, limit) if not row.head]
        used = await self.link_state.budget.used([row.id for row in rows if row.ended is not None])
        return [
            self.link_state.session(self.link_state.live[row.id])
            if row.id in self.link_state.live
            else show_charged(row, used.get(row.id), self.link_state.places)
            for row in rows
        ]

    async def stop(self, session_id: SessionId, by: Literal["person", "hub", "operator"]) -> None:
        """Return when the ledger holds the wish. Raises ProblemError for a session never heard of; that one is never
        begun, should it still be asked for."""
        if session_id not in self.link_state.live:
            self._never.add(session_id)  # first: it may begin while the ledger is asked
            row = await self.link_state.ledger.row(session_id)
            if session_id not in self.link_state.live:
                if row is None:
                    raise gone(f"The session {session_id}")
                return
        await self._termination.wish(self.link_state.live[session_id], EndReason.STOPPED, by, _BY[by])

    async def end_access(self, live: LiveSession) -> None:
        """End it, since its person may no longer use its project. Raises LedgerError."""
        await self._termination.wish(live, EndReason.ACCESS_LOST, "link", explain.own("access-lost").what)

    async def send_environment(self, session_id: SessionId, environment: dict[str, str], argv: Sequence[str]) -> None:
        """Through the door; kept nowhere. Raises ProblemError."""
        await self.through_door(
            session_id, lambda: self.link_state.doors.send_environment(session_id, environment, argv)
        )
        if (live := self.link_state.live.get(session_id)) is not None:  # it may have ended meanwhile
            self.link_state.touch(live)

    async def token(self, session_id: SessionId) -> str | None:
        """The hub token that its notebook has. Raises ProblemError."""
        found: list[str | None] = []

        async def ask() -> None:
            found.append(await self.link_state.doors.token(session_id))

        await self.through_door(session_id, ask)
        return found[0]

    async def through_door(self, session_id: SessionId, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask something of the session's door. Raises ProblemError."""
        if session_id not in self.link_state.live:
            raise gone(f"The live session {session_id}")
        if not self.link_state.doors.is_open(session_id):
            raise conflict(N_("The session's door is not open."))
        try:
            await ask()
        except Refused as error:
            raise conflict(error.message) from error
        except FactoryError as error:
            raise from_link_error(error) from error
