"""Starts the sessions for the seats of a workshop, and reports what its factories allow.

The link itself starts a seat's session before the seat's person comes. The hub then adopts this session, in the same
way as a session that the hub's database has lost. All checks of a start apply, except that of the login's age.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import replace

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models import Choice, MessageBody, Problem, Project, SeatRequest, Session, is_robot
from factorycommon.models.workshops import RehearsedProject
from factorycommon.models.workshops.seats import SeatAnswer, SeatBody, SeatPlace, SeatPlaces, SeatsBody, SeatsView
from factorylink.config import Access, SshTransportSettings, WrapperCredentials
from factorylink.problems import ProblemError, conflict, forbidden, limit
from factorylink.projects.account_holds import AccountHolds
from factorylink.projects.people import KnownPeople
from factorylink.projects.workshop_table import agrees
from factorylink.sessions.admission import SeatTerms
from factorylink.sessions.permission import Permission
from factorylink.sessions.service import Sessions
from factorylink.sessions.session_views import SessionViews
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.session_table import SessionTable

FAREWELL_SECONDS = 2.0  # seconds for a session to show that its seat was moved
LOGIN_SHARE = 0.8  # share of a site's logins in a minute that seats may use; the poller and other starts need some, too


class WorkshopSeats:
    """Starts the seats of workshops. ``on_begun`` is called when sessions were started that the hub does not know."""

    def __init__(
        self,
        table: SessionTable,
        views: SessionViews,
        sessions: Sessions,
        factories: OfferedFactories,
        people: KnownPeople,
        permission: Permission,
        holds: AccountHolds,
    ) -> None:
        self._table = table
        self._views = views
        self._sessions = sessions
        self._factories = factories
        self._people = people
        self._permission = permission
        self._holds = holds
        self.on_begun: Callable[[], None] = lambda: None

    async def begin(self, project: Project, body: SeatsBody) -> SeatsView:
        """Start the sessions for these seats; return the outcome of each seat, in the same order. Raises LedgerError.

        ``begun``: the session was started. ``there``: the session was started earlier, or another session of the person
        for the workshop counts as the seat; ``SeatBody`` says which live and ended sessions count. ``refused``: the
        seat gets no session, and ``problem`` says why.
        """
        terms = SeatTerms(body.unopened_until, body.early_hours)
        answers = await asyncio.gather(*(self._one(project, seat, terms, body) for seat in body.seats))
        if any(answer.answer == "begun" for answer in answers):
            self.on_begun()
        return SeatsView(seats=tuple(answers))

    async def _one(self, project: Project, seat: SeatBody, terms: SeatTerms, body: SeatsBody) -> SeatAnswer:
        if not project.has(seat.person, frozenset()):  # the link may not have read the newest list of people yet
            said = Message("not-in-workshop", "{person} is not in the project {project}.")
            return _refused(seat, forbidden(said.format(person=seat.person, project=project.id)).problem)
        known = self._views.live(seat.person, seat.server)
        live = [one for one in known if one.wish == "run"]
        left = [one for one in live if _is_left(project, seat, one)]
        # These cannot end while their factory does not answer, and would keep their server from the new seat.
        stuck = [one for one in known if one.wish != "run" and _is_left(project, seat, one)]
        if others := [one for one in live if one not in left and one.id != seat.session]:
            if others[0].choice.project == project.id:
                return _answer(seat, others[0], begun=False)
            said = Message("seat-server-taken", "{person} has another session on this server: end it first.")
            return _refused(seat, conflict(said.format(person=seat.person)).problem)
        if (had := await self._had(project, seat, known)) is not None:
            return _answer(seat, had, begun=False)
        choice = Choice(
            factory=seat.factory,
            size=seat.size,
            environment=seat.environment,
            hours=seat.hours,
            project=project.id,
        )
        options = self._people.options(seat.person)
        request = SeatRequest(user=seat.person, server=seat.server, choice=choice, options=options)
        try:
            _check_prestart(self._permission.connection(seat.factory))
            if is_robot(seat.person):
                _check_wipe(self._permission.connection(seat.factory), project)
            with self._sessions.beginning(seat.person):  # the account that was checked stays theirs until the start
                if left:
                    async with self._sessions.checked(request, replace(terms, leaves=len(left))):
                        await asyncio.gather(*(self._leave(one, body) for one in left))
                session, begun = await self._sessions.put(seat.session, request, terms)
                await asyncio.gather(*(self._sessions.move(one.id) for one in stuck))
        except ProblemError as error:
            return _refused(seat, error.problem)
        if session.choice.project != project.id:  # the id of a session of something else tells nothing about it
            return _refused(seat, conflict(Message("seat-id-taken", "This id is of another session.")).problem)
        return _answer(seat, session, begun)

    async def _had(self, project: Project, seat: SeatBody, known: Iterable[Session]) -> Session | None:
        """Return another session that the person already had for this seat; it has ended, or has a stop request.

        None: there is no such session, ``seat.since`` is None, or the requested session (``seat.session``) is live.
        These sessions do not count: the requested one; those created before ``seat.since``; the session ``seat.over``,
        of which the service knows that it has ended; and those that ended because the class moved, or because the job
        was refused or could not be submitted. ``known``: the person's sessions on the seat's server that have not
        ended. Raises LedgerError.
        """
        if seat.since is None or seat.session in self._table:
            return None
        for one in known:
            stops = one.wish != "run" and one.id != seat.over
            if stops and one.choice.project == project.id and one.created >= seat.since:
                return one
        last = await self._sessions.last_of_seat(project.id, seat.person, seat.server, seat.since)
        return None if last is None or last.id in (seat.session, seat.over) else last

    async def _leave(self, session: Session, body: SeatsBody) -> None:
        """End a session at the class's previous factory, after showing its person the farewell if possible.

        Raises LedgerError.
        """
        if body.farewell is not None and session.door_open:
            message = MessageBody(id=f"moved-{session.id}", text=body.farewell, texts=body.farewells, kind="warning")
            with contextlib.suppress(ProblemError, TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._sessions.tell(session.id, message)
        await self._sessions.move(session.id)

    def places(self, project: Project) -> SeatPlaces:
        """Return for each factory of a workshop whether seats may start there now, and within which limits.

        Factories that this hub does not offer are left out.
        """
        found = []
        for factory_id in project.factories:
            connection = self._factories.get(factory_id)
            if connection is not None:
                found.append(self._place(project, connection))
        return SeatPlaces(places=tuple(found), rehearses=isinstance(project, RehearsedProject))

    def _place(self, project: Project, connection: FactoryConnection) -> SeatPlace:
        connection.site.look()  # so that its reservations are known when seats begin
        problem: Problem | None = None
        try:
            _check_prestart(connection)
            self._permission.place(connection)
        except ProblemError as error:
            problem = error.problem
        factory_id, door = connection.factory.id, connection.access.door
        at = project.factories[factory_id]
        room = None
        if door.carrier == "stdio":
            room = max(0, door.stdio_most - len(self._table.at(factory_id)))
            if room == 0 and problem is None:
                said = Message("seat-no-doors", "The gateway keeps as many connections to {factory} as it may.")
                do = N_("Ask this gateway's operators for a higher limit there.")
                problem = limit(said.format(factory=connection.factory.site.machine), do).problem
        return SeatPlace(
            factory=factory_id,
            problem=problem,
            per_minute=pace(connection.access, shared=not at.site_accounts.pool and not connection.access.accounts),
            room=room,
            accounts=self._holds.seen(project, factory_id),
            leaving=sum(one.moved and one.record.choice.project == project.id for one in self._table.at(factory_id)),
        )


def pace(access: Access, *, shared: bool) -> int:
    """Return how many seats may begin at a factory in a minute.

    The limit is ``submits_per_minute``. If each seat also needs a login of its own, seats may use only ``LOGIN_SHARE``
    of the site's logins in a minute. ``shared``: all seats use the same site account, so they need no logins of their
    own.
    """
    settings = access.transport
    if shared or not isinstance(settings, SshTransportSettings) or not logs_in(access):
        return access.submits_per_minute
    return max(1, min(access.submits_per_minute, int(LOGIN_SHARE * settings.logins_per_minute)))


def logs_in(access: Access) -> bool:
    """Return whether the link logs in over SSH as each site account itself, instead of as one service account."""
    settings = access.transport
    return isinstance(settings, SshTransportSettings) and not isinstance(settings.credentials, WrapperCredentials)


def _check_prestart(connection: FactoryConnection) -> None:
    """Raise ProblemError unless the site allows sessions that begin before their person comes."""
    if not agrees(connection.factory, connection.access, "prestart"):
        said = Message("seat-no-prestart", "{factory} has not agreed to sessions that start before their person comes.")
        raise forbidden(said.format(factory=connection.factory.site.machine))


def _check_wipe(connection: FactoryConnection, project: Project) -> None:
    """Raise ProblemError if the project lends accounts at the factory that cannot be wiped.

    Such an account is never lent to another person, so robots would use up the accounts of the class.
    """
    at = project.factories.get(connection.factory.id)
    if at is not None and at.site_accounts.pool and not connection.access.account_wipe:
        said = Message("robot-no-wipe", "At {factory} accounts are lent that cannot be emptied, so robots get none.")
        raise forbidden(said.format(factory=connection.factory.site.machine))


def _is_left(project: Project, seat: SeatBody, session: Session) -> bool:
    """Return whether a session has to end because its person's seat was moved to another factory."""
    if seat.moved is None or session.id == seat.session or session.choice.project != project.id:
        return False
    return session.choice.factory != seat.factory and session.created < seat.moved


def _answer(seat: SeatBody, session: Session, begun: bool) -> SeatAnswer:
    return SeatAnswer(
        session=seat.session,
        answer="begun" if begun else "there",
        live=session.id,
        state=session.state,
        reachable=session.reachable,
        end_reason=session.end_reason,
        words=session.end,
    )


def _refused(seat: SeatBody, problem: Problem) -> SeatAnswer:
    return SeatAnswer(session=seat.session, answer="refused", problem=problem)
