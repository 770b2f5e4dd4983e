"""Makes the views of live sessions for the APIs, from all data that the link has about a session."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from factorycommon.models import Session, SessionState
from factorylink.doors.manager import DoorManager
from factorylink.explain import explain
from factorylink.projects.book import ProjectBook
from factorylink.site import maintenance
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.live_session import LiveSession, room, seen_state, show
from factorylink.state.session_table import SessionTable
from factorylink.util import clock


class SessionViews:
    """Makes a session's view from its record, its factory's health, its door and its project.

    ``session_url``: takes the link's port for a session (``SessionRecord.port``), and returns the URL at which the
    proxy reaches the session's notebook.
    """

    def __init__(
        self,
        table: SessionTable,
        factories: OfferedFactories,
        doors: DoorManager,
        projects: ProjectBook,
        session_url: Callable[[int], str],
    ) -> None:
        self._table = table
        self._factories = factories
        self._doors = doors
        self._projects = projects
        self._session_url = session_url

    def of(self, live_session: LiveSession) -> Session:
        """Return the present view of the session."""
        url = self._session_url(live_session.record.port)
        connection = self._factories.get(live_session.record.factory)
        if connection is None:
            return show(live_session, url, self._factories.health(live_session.record.factory))
        more = self.room(live_session, connection)
        barred = connection.access_status.problem(live_session.record.account)
        problem = self._doors.problem(live_session.record.id)
        shown = show(live_session, url, connection.site.health, problem, more, barred)
        if shown.waits_for is None or live_session.job is None:
            return shown
        waits_for = shown.waits_for
        if shown.state == SessionState.PENDING and connection.site.all_out(live_session.job.partition):
            waits_for = explain.nodes_out(waits_for)
            shown = shown.model_copy(update={"waits_for": waits_for})
        closing = maintenance.closing(connection.site.maintenance(), live_session.job.partition)
        if closing is None or clock.now() + timedelta(hours=live_session.record.choice.hours) <= closing.start:
            return shown
        return shown.model_copy(update={"waits_for": explain.before_maintenance(waits_for, closing)})

    def state(self, live_session: LiveSession) -> SessionState:
        """Return the state that people see for the session; this is cheaper than making the whole view."""
        connection = self._factories.get(live_session.record.factory)
        if connection is None:
            return seen_state(live_session, self._factories.health(live_session.record.factory), None)
        barred = connection.access_status.problem(live_session.record.account)
        return seen_state(live_session, connection.site.health, barred)

    def room(self, live_session: LiveSession, connection: FactoryConnection) -> float | None:
        """Return the hours by which the session can still be extended, rounded down to 0.1.

        The project's budget is not considered. None: the factory does not allow extensions, the session does not run or
        has a stop request, or its size or end is not known.
        """
        choice, factory = live_session.record.choice, connection.factory
        until = self._projects.until(live_session.record.user, choice.project, factory.id)
        project = self._projects.get(choice.project)
        return room(live_session, factory, connection.access, until, project, connection.site.maintenance())

    def live(self, user: str | None = None, server: str | None = None) -> list[Session]:
        """Return the live sessions that run a notebook: those without a stop request first, each group newest first.

        ``user`` None: sessions of all people; ``server`` None: sessions of all servers. A session that is ``withdrawn``
        or has ``moved`` (attributes of ``LiveSession``) is left out: callers see it as ended, although its job may not
        be cancelled yet.
        """
        found = [
            live_session
            for live_session in self._table.values()
            if user in (None, live_session.record.user) and server in (None, live_session.record.server)
            if not (live_session.record.head or live_session.withdrawn or live_session.moved)
        ]
        found.sort(
            key=lambda live_session: (live_session.record.wish != "run", -live_session.record.created.timestamp())
        )
        return [self.of(live_session) for live_session in found]
