"""Handlers for a person's sessions: they list, follow, stop and extend sessions."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError
from tornado import web

from factorycommon.language import N_
from factorycommon.models import ExtendBody, Problem, Session
from factorylink.client import LinkProblem, LinkSilent
from factoryspawner.api.handler import NOTHING, GatewayHandler
from factoryspawner.errors import NOT_WRITTEN
from factoryspawner.event_stream import Source
from factoryspawner.stop_requests import NotKept

SESSIONS = TypeAdapter(list[Session])
SESSION = TypeAdapter(Session)

_RECENT = 20


class SessionsHandler(GatewayHandler):
    """Sends the list of this person's sessions."""

    async def get(self) -> None:
        """Answer ``list[Session]``: this person's 20 newest sessions, live and ended, without Dask schedulers.

        The newest session comes first.
        """
        self.answer(SESSIONS, await self.gateway.link.person_sessions(self.person, _RECENT))


class SessionsEvents(GatewayHandler):
    """Sends a stream of this person's live sessions, without Dask schedulers."""

    async def get(self) -> None:
        """Send the event ``sessions``: the whole ``list[Session]``, at once and at every change."""
        await self.send(Source("sessions", SESSIONS, self.gateway.table.live_of(self.person)))


class _OfSession(GatewayHandler):
    async def own_session(self, session_id: str) -> Session:
        """Return the session, if it belongs to this person, or if this person may see the servers of its owner.

        Raises LinkProblem (404) if neither is the case, or if there is no such session; LinkSilent if the link does not
        answer, fails (500), or gives an answer that cannot be parsed.
        """
        session = await self.gateway.link.session(session_id)
        if session.user != self.person and not self.has_scope(f"read:servers!user={session.user}"):
            raise LinkProblem(404, Problem(kind="gone", message=N_("There is no such session.")))
        return session


class OneSession(_OfSession):
    """Sends one session, live or ended, or stops it."""

    async def get(self, session_id: str) -> None:
        """Answer the session as JSON (``Session``). Raises LinkProblem (404) if this person may not see it."""
        self.answer(SESSION, await self.own_session(session_id))

    async def delete(self, session_id: str) -> None:
        """Stop a session whose server is not active in the hub; answer 202 once the stop is recorded.

        Raises HTTPError 403 if this person may not stop the session, 409 if the server is active and must be stopped on
        the Home page or through the hub's API. Raises LinkProblem: 404 if this person may not see the session, or there
        is none; 503 if the stop cannot be recorded. Raises LinkSilent if the link does not answer and the hub's table
        has no session of this person with this id.
        """
        try:
            session = await self.own_session(session_id)
        except LinkSilent:
            known = self.gateway.table.session(session_id)
            if known is None or known.user != self.person:
                raise
            session = known
        if session.user != self.person and not self.has_scope(f"delete:servers!user={session.user}"):
            raise web.HTTPError(403, N_("You may see this session, but not stop it."))
        owner = self.find_user(session.user)
        spawner = owner.spawners.get(session.server) if owner is not None else None
        if spawner is not None and spawner.active:
            raise web.HTTPError(409, N_("Stop it on the hub's Home page or through the hub's API."))
        try:
            await self.gateway.stop_requests.keep([session_id], "person" if session.user == self.person else "operator")
        except NotKept as error:
            problem = Problem(kind="unreachable", message=NOT_WRITTEN.what, do=NOT_WRITTEN.do)
            raise LinkProblem(503, problem) from error
        self.set_status(202)
        self.answer(NOTHING, {})


class OneSessionEvents(_OfSession):
    """Sends a stream of one session: the session at every change."""

    async def get(self, session_id: str) -> None:
        """Send the event ``session``, the whole ``Session``, at once and at every change, until the session ends."""
        await self.own_session(session_id)
        await self.send(Source("session", SESSION, self.gateway.link.session_events(session_id)))


class OneSessionExtend(_OfSession):
    """Extends a session."""

    async def post(self, session_id: str) -> None:
        """Extend the session by the ``hours`` of the body; answer the ``Session`` that the link returns.

        This ``Session`` may still have the old end; the event streams send the new end once the scheduler reports it.
        Raises HTTPError 403 if the session belongs to another person, 400 if ``hours`` is missing or not valid;
        LinkProblem if this person may not see the session (404), or the link refuses; LinkSilent if the link does not
        answer.
        """
        session = await self.own_session(session_id)
        if session.user != self.person:
            raise web.HTTPError(403, N_("Only its owner can make a session longer."))
        try:
            wanted = ExtendBody.model_validate_json(self.request.body)
        except ValidationError as error:
            raise web.HTTPError(400, N_("hours: a number is needed.")) from error
        self.answer(SESSION, await self.gateway.link.extend(session_id, wanted.hours))


ROUTES: tuple[tuple[str, type[GatewayHandler]], ...] = (
    (r"sessions", SessionsHandler),
    (r"sessions/events", SessionsEvents),
    (r"sessions/([0-9a-f]{32})", OneSession),
    (r"sessions/([0-9a-f]{32})/events", OneSessionEvents),
    (r"sessions/([0-9a-f]{32})/extend", OneSessionExtend),
)
