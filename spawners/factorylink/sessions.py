"""Sessions as the apps ask for them: begin, look, hand over the environment, stop. And the link's own start and end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal

from factorylink import budget, explain, moments
from factorylink.admission import Admission
from factorylink.board import Board
from factorylink.budget import OverBudget
from factorylink.ending import Ender
from factorylink.errors import LinkError, Refused
from factorylink.extending import Extender
from factorylink.handover import Handover
from factorylink.ledger import Conflict, LedgerError
from factorylink.listening import DoorListener
from factorylink.live import Live, show_ended
from factorylink.models import (
    N_,
    Choice,
    EndReason,
    LogLine,
    Session,
    SessionId,
    SessionRequest,
    SessionState,
)
from factorylink.permission import Permission
from factorylink.problems import (
    conflict,
    from_link_error,
    gone,
    refused,
    unreachable,
)
from factorylink.schema import Row
from factorylink.seams import Place
from factorylink.submitting import Submitter
from factorylink.watching import Watcher
from factorylink.withdrawn import StoppedBeforeBegun

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

    def __init__(self, board: Board, submitter: Submitter) -> None:
        self.board = board
        self._ender = Ender(board)
        self.extender = Extender(board)
        self._handover = Handover(board, submitter, self._ender)
        self.listener = DoorListener(board, self.extender)
        self._watcher = Watcher(board, self._ender, self.extender, self.listener, self._handover.again)
        self._admission = Admission(board)
        self._permission = Permission(board)
        self._intending: dict[str, asyncio.Lock] = {}  # per person, so that limits are counted right
        self._never = StoppedBeforeBegun()

    async def start(self) -> None:
        """Listen on every live session's port first; then ask each factory for itself, and open the doors."""
        board = self.board
        board.drains = await board.ledger.drains()
        await board.people.load()
        await board.lender.load()
        await board.acceptances.load()
        await board.projects.refresh()
        for name, message in (await board.ledger.pauses()).items():
            if name in board.places:
                board.places[name].standing.pause(message)
        for row in await board.ledger.live():
            board.live[row.id] = Live(row, answered=True)
        # Those from before there were budgets.
        await board.ledger.write(budget.found([board.claim(live.row) for live in board.live.values()]))
        for live in board.live.values():
            try:
                await board.doors.bind(live.row.id, live.row.port)
            except OSError:
                log.exception("Nobody can reach session %s: its port %d is taken", live.row.id, live.row.port)
        for place in board.places.values():
            place.site.on_answer = partial(self._watcher.answered, place)
            place.site.private_to(partial(board.accounts, place.factory.id), await self._may_have_jobs(place))
            place.site.knows_ids(partial(board.job_ids, place.factory.id))
            place.site.on_health = partial(board.touch_factory, place.factory.id)
            place.standing.on_change = partial(board.touch_factory, place.factory.id)
            board.background(place.site.start(), f"start of {place.factory.id}")
        for live in board.live.values():
            place_of = board.places.get(live.row.factory)
            # A door by stdio is entered through the scheduler, by the job's id: once an answer shows that it is ours.
            by_id = place_of is not None and place_of.access.door.carrier == "stdio"
            runs = live.row.state in (SessionState.STARTING, SessionState.RUNNING)
            if place_of is not None and runs and not by_id:
                self.listener.look_for(live, place_of)
            if live.row.wish == "stop":
                self._ender.carry_out(live)

    async def _may_have_jobs(self, place: Place) -> set[str]:
        """Site accounts that may have jobs there, whatever the ledger still knows."""
        access = place.access
        listed = {*access.account_pool, *access.accounts.values()}
        for project in self.board.projects.all():
            if (at := project.factories.get(place.factory.id)) is not None:
                listed |= {*at.site_accounts.pool, *at.site_accounts.personal.values()}
        return {*await self.board.ledger.accounts(place.factory.id), *self.board.accounts(place.factory.id), *listed}

    async def close(self) -> None:
        """Let go of everything here; jobs and notebooks go on."""
        await self.board.close()
        await self.board.doors.shutdown()
        for place in self.board.places.values():
            await place.site.stop()
            await place.transport.close()

    # --- begin

    async def put(self, session_id: SessionId, request: SessionRequest) -> tuple[Session, bool]:
        """The session of that id, begun if it is new; and whether it is. Answers within 2 s. Raises ProblemError."""
        begun = moments.ticks()
        async with self._intending.setdefault(request.user, asyncio.Lock()):
            live = self.board.live.get(session_id)
            created = False
            if live is None:
                row = await self.board.ledger.row(session_id)
                if row is not None:
                    return self._again(row, request), False
                with self.board.lender.beginning(request.user):
                    live, created = await self._intend(session_id, request), True
        self._same(live.row, request)
        await self._handover.known(live, begun)
        if live.row.id not in self.board.live:
            return self._again(live.row, request), created
        return self.board.session(live), created

    def _again(self, row: Row, request: SessionRequest) -> Session:
        """The same PUT after its session ended."""
        self._same(row, request)
        if row.end_reason == EndReason.REFUSED and row.end is not None:
            raise refused(row.end)
        return show_ended(row)

    def _same(self, row: Row, request: SessionRequest) -> None:
        if (row.user, row.server) != (request.user, request.server):
            raise conflict(f"The session {row.id} is of another server.")

    async def _intend(self, session_id: SessionId, request: SessionRequest) -> Live:
        place, choice, account = await self._admission.admit(request)
        now = moments.now()
        try:
            port = self.board.doors.allocate(self.board.ports())
        except OSError as error:
            raise unreachable(explain.own("no-port").what, scheduler=str(error)) from error
        row = Row(
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
        except Conflict as error:
            raise conflict(self._who_lives(request)) from error
        self.board.background(self.board.ledger.choose(request.user, Choice(**choice.model_dump())), "last choice")
        return live

    async def begin(self, row: Row, place: Place) -> Live:
        """Write a new session down, and see that its job is handed over. Raises Conflict, ProblemError."""
        if row.id in self._never:
            raise conflict(f"The session {row.id} was stopped before it began.")
        held = self._permission.hold([self.board.claim(row)], row.choice.project)
        try:
            live = await self.board.keep(row, self.board.entry(row, "ask", row.choice.size), held)
        except OverBudget as error:
            raise error.problem() from error
        except LedgerError:
            self.board.background(self._unmake(row.id), f"whether {row.id} is in the ledger")
            raise
        except OSError as error:
            words = explain.own("no-port", str(error))
            await self.board.end(self.board.live[row.id], end_reason=EndReason.REFUSED, end=words)
            raise unreachable(words.what) from error
        self.board.lender.touches(row.factory, row.account)
        if row.id in self._never:  # stopped while it was being written down
            await self._ender.wish(live, EndReason.STOPPED, "hub", _BY["hub"])
        else:
            self._handover.begin(live, place)
        return live

    async def _unmake(self, session_id: SessionId) -> None:
        """The ledger fell silent as it was written down. If it was all the same, it ends: it is nobody's, and would
        hold its hours and its server's name for ever."""
        live: Live | None = None
        while True:
            await asyncio.sleep(UNMAKE_SECONDS)
            try:
                if live is None:
                    row = await self.board.ledger.row(session_id)
                    if row is None or row.ended is not None or session_id in self.board.live:
                        return
                    live = self.board.live[session_id] = Live(row)
                await self.board.end(live, end_reason=EndReason.REFUSED, end=explain.own("not-taken"))
            except LedgerError as error:
                log.warning("Whether session %s is in the ledger is asked again: %s", session_id, error)
            else:
                return

    async def answer(self, live: Live) -> None:
        """Return when it is known that its job was taken, or soon in any case. Raises ProblemError where it was not."""
        await self._handover.known(live, moments.ticks())

    def _who_lives(self, request: SessionRequest) -> str:
        others = self.board.sessions(request.user, request.server)
        name = request.server or "the default server"
        return f"{name} has a session already: {others[0].id if others else 'being made now'}."

    # --- everything else

    async def session(self, session_id: SessionId) -> Session:
        """Live or ended. Raises ProblemError."""
        live = self.board.live.get(session_id)
        if live is not None:
            return self.board.session(live)
        row = await self.board.ledger.row(session_id)
        if row is None:
            raise gone(f"The session {session_id}")
        return show_ended(row)

    async def sessions(self, user: str | None, server: str | None, live: bool, limit: int) -> list[Session]:
        """Live ones; or the newest, ended ones too. None that runs only a cluster's scheduler."""
        if live:
            return self.board.sessions(user, server)
        rows = [row for row in await self.board.ledger.recent(user, server, limit) if not row.head]
        return [
            self.board.session(self.board.live[row.id]) if row.id in self.board.live else show_ended(row)
            for row in rows
        ]

    async def stop(self, session_id: SessionId, by: Literal["person", "hub", "operator"]) -> None:
        """Return when the ledger holds the wish. Raises ProblemError for a session never heard of; that one is never
        begun, should it still be asked for."""
        if session_id not in self.board.live:
            self._never.add(session_id)  # first: it may begin while the ledger is asked
            row = await self.board.ledger.row(session_id)
            if session_id not in self.board.live:
                if row is None:
                    raise gone(f"The session {session_id}")
                return
        await self._ender.wish(self.board.live[session_id], EndReason.STOPPED, by, _BY[by])

    async def end_access(self, live: Live) -> None:
        """End it, since its person may no longer use its project. Raises LedgerError."""
        await self._ender.wish(live, EndReason.ACCESS_LOST, "link", explain.own("access-lost").what)

    async def send_environment(self, session_id: SessionId, environment: dict[str, str], argv: Sequence[str]) -> None:
        """Through the door; kept nowhere. Raises ProblemError."""
        await self.through_door(session_id, lambda: self.board.doors.send_environment(session_id, environment, argv))
        if (live := self.board.live.get(session_id)) is not None:  # it may have ended meanwhile
            self.board.touch(live)

    async def token(self, session_id: SessionId) -> str | None:
        """The hub token that its notebook has. Raises ProblemError."""
        found: list[str | None] = []

        async def ask() -> None:
            found.append(await self.board.doors.token(session_id))

        await self.through_door(session_id, ask)
        return found[0]

    async def through_door(self, session_id: SessionId, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask something of the session's door. Raises ProblemError."""
        if session_id not in self.board.live:
            raise gone(f"The live session {session_id}")
        if not self.board.doors.is_open(session_id):
            raise conflict(N_("The session's door is not open."))
        try:
            await ask()
        except Refused as error:
            raise conflict(error.message) from error
        except LinkError as error:
            raise from_link_error(error) from error
