"""Makes the data of the operators' page, and sends messages to people in running sessions."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from factorycommon.models import (
    EndReason,
    FactoryOverview,
    MessageBody,
    OperatorView,
    ReasonCount,
    Session,
    SessionState,
    Slug,
    WaitingSession,
    Words,
)
from factorycommon.models.plain import plain_text
from factorylink.ledger.ledger import Ledger
from factorylink.problems import ProblemError
from factorylink.sessions.service import Sessions
from factorylink.sessions.session_views import SessionViews
from factorylink.site.offered_factories import OfferedFactories
from factorylink.util import clock
from factorylink.util.background_tasks import BackgroundTasks

WAITING_SHOWN = 200
FAILURES_HOURS = 24
REASONS_SHOWN = 3  # number of reasons that are shown for each factory
_WAITS = (SessionState.PENDING, SessionState.STARTING, SessionState.UNREACHABLE)
# reasons for which people end sessions themselves, or trainers those of their class
_NO_FAILURE = (EndReason.STOPPED, EndReason.GAVE_UP, EndReason.MOVED)


class OperatorOverview:
    """Makes the operators' view of live sessions, factories and failures, and sends messages to running sessions."""

    def __init__(
        self,
        views: SessionViews,
        factories: OfferedFactories,
        ledger: Ledger,
        sessions: Sessions,
        tasks: BackgroundTasks,
    ) -> None:
        self._views = views
        self._factories = factories
        self._ledger = ledger
        self._sessions = sessions
        self._tasks = tasks

    async def view(self) -> OperatorView:
        """Return the present content of the operators' page. Raises LedgerError."""
        live = self._views.live()
        waiting = sorted((one for one in live if one.state in _WAITS), key=lambda session: session.created)
        failures = await self._ledger.never_ready(clock.now() - timedelta(hours=FAILURES_HOURS), _NO_FAILURE)
        return OperatorView(
            closed=self._factories.closed,
            banner=self._factories.banner.shown(clock.now()),
            banner_until=self._factories.banner.until,
            factories=tuple(
                self._overview(name, [session for session in live if session.choice.factory == name])
                for name in self._factories
            ),
            waiting=tuple(_waiting(one) for one in waiting[:WAITING_SHOWN]),
            more_waiting=max(0, len(waiting) - WAITING_SHOWN),
            failures=tuple(sorted(failures, key=lambda one: (-one.count, one.factory, one.reason))),
            hours=FAILURES_HOURS,
        )

    def tell_sessions(self, text: str) -> None:
        """Show a text once in each running session, in the background.

        Sessions whose door cannot be reached now are left out.
        """
        message = MessageBody(id=f"banner-{secrets.token_hex(8)}", text=plain_text(text))
        for session in self._views.live():
            if session.reachable:
                self._tasks.begin(self._tell(session, message), f"banner in {session.id}")

    async def _tell(self, session: Session, message: MessageBody) -> None:
        try:
            await self._sessions.tell(session.id, message)
        except ProblemError:
            return

    def _overview(self, name: Slug, live: list[Session]) -> FactoryOverview:
        connection = self._factories[name]
        waits = _reasons([session for session in live if session.state in _WAITS])
        paused = connection.access_status.paused
        return FactoryOverview(
            id=name,
            machine=connection.factory.site.machine,
            health=connection.site.health,
            drained=self._factories.drains.get(name),
            paused=None if paused is None else paused.what,
            sessions=dict(Counter(session.state for session in live)),
            waits=waits[:REASONS_SHOWN],
            other_waits=sum(reason.count for reason in waits[REASONS_SHOWN:]),
        )


def _reasons(waiting: Sequence[Session]) -> tuple[ReasonCount, ...]:
    """Return the reasons why these sessions wait, each with the number of sessions, the most frequent first."""
    words: dict[str, Words | None] = {}
    counts: Counter[str] = Counter()
    for session in waiting:
        code = session.waits_for.code if session.waits_for else ""
        words.setdefault(code, session.waits_for)
        counts[code] += 1
    return tuple(ReasonCount(words=words[code], count=count) for code, count in counts.most_common())


def _waiting(session: Session) -> WaitingSession:
    return WaitingSession(
        id=session.id,
        user=session.user,
        server=session.server,
        factory=session.choice.factory,
        size=session.choice.size,
        state=session.state,
        since=session.created,
        position=session.position,
        expected_start=session.expected_start,
        words=session.waits_for,
    )
