"""The pages' way to the link: JSON and server-sent events under ``/hub/gateway/`` for whoever is logged in.

The hub's cookie is checked here and goes no further; the link hears the person's name over its Unix socket.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

from jupyterhub.handlers import BaseHandler
from jupyterhub.handlers.static import CacheControlStaticFilesHandler
from pydantic import TypeAdapter, ValidationError
from tornado import web

from factorylink.client import LinkProblem, LinkSilent
from factorylink.models import (
    N_,
    Choice,
    Cluster,
    ComingView,
    CredentialView,
    Estimate,
    ExtendBody,
    FactoryView,
    Problem,
    ProjectView,
    ReadyView,
    RenewBody,
    Session,
)
from factoryspawner import public
from factoryspawner.errors import LINK_SILENT
from factoryspawner.gateway import Gateway, gateway
from factoryspawner.language import Language, languages
from factoryspawner.stream import Source, Stream

FACTORIES = TypeAdapter(list[FactoryView])
PROJECTS = TypeAdapter(list[ProjectView])
READY = TypeAdapter(ReadyView)
COMING = TypeAdapter(list[ComingView])
SESSIONS = TypeAdapter(list[Session])
SESSION = TypeAdapter(Session)
CLUSTERS = TypeAdapter(list[Cluster])
ESTIMATE = TypeAdapter(Estimate)
CREDENTIAL = TypeAdapter(CredentialView)
PROBLEM = TypeAdapter(Problem)
NOTHING: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])
CHOICE: TypeAdapter[Choice | None] = TypeAdapter(Choice | None)
T = TypeVar("T")

_RECENT = 20


class GatewayHandler(BaseHandler):  # type: ignore[misc]  # jupyterhub is untyped
    """JSON for the person of the cookie. What goes wrong is answered as a ``Problem``, in words."""

    def initialize(self, link_socket: Path, locale: Path) -> None:
        """``link_socket``: the link's Unix socket; ``locale``: folder of the catalogues."""
        self._socket = link_socket
        self._locale = locale

    async def prepare(self) -> None:
        """Only for people who are logged in, and not for tokens; a script uses the service ``factories``."""
        await super().prepare()
        if self.current_user is None:
            raise web.HTTPError(401, N_("Log in to the hub first."))

    @property
    def gateway(self) -> Gateway:
        """What this hub process shares."""
        return gateway(self._socket)

    @property
    def language(self) -> Language:
        """What the page is read in."""
        return languages(self._locale).of(self.request)

    @property
    def person(self) -> str:
        """The name of who asks."""
        return str(self.current_user.name)

    async def own_session(self, session_id: str) -> Session:
        """The session, if it is this person's or this person may see all servers. Raises LinkProblem (404) if not."""
        session = await self.gateway.link.session(session_id)
        if session.user != self.person and not self.has_scope(f"read:servers!user={session.user}"):
            raise LinkProblem(404, Problem(kind="gone", message=N_("There is no such session.")))
        return session

    def answer(self, shape: TypeAdapter[T], value: T) -> None:
        """Finish with JSON in the person's language, not to be kept."""
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Language", self.language.code)
        self.finish(shape.dump_json(self.language.spoken(value)))

    async def send(self, *sources: Source) -> None:
        """Send server-sent events in the person's language until a source ends or the client goes."""
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")
        self.set_header("Content-Language", self.language.code)
        language = self.language
        self._stream = Stream(*(one._replace(values=_spoken(one.values, language)) for one in sources))
        await self._stream.run(self)

    def on_connection_close(self) -> None:
        """The client went: its stream ends."""
        stream = getattr(self, "_stream", None)
        if stream is not None:
            stream.stop()

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """What the link says no to is nothing for the hub's log."""
        if not isinstance(value, LinkProblem | LinkSilent):
            super().log_exception(typ, value, tb)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Give the link's failures their own status."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, LinkProblem):
            status_code = error.status
        elif isinstance(error, LinkSilent):
            status_code = 503
        super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A ``Problem`` in place of a page."""
        self.set_status(status_code)
        self.answer(PROBLEM, _problem(kwargs.get("exc_info", (None, None, None))[1]))


class Factories(GatewayHandler):
    """The catalogue as this person may use it."""

    async def get(self) -> None:
        """``list[FactoryView]``."""
        self.answer(FACTORIES, await self.gateway.link.factories(self.person))


class ComingFactories(GatewayHandler):
    """The factories without a machine yet."""

    async def get(self) -> None:
        """``list[ComingView]``."""
        self.answer(COMING, await self.gateway.link.coming())


class PersonProjects(GatewayHandler):
    """The projects that this person is in."""

    async def get(self) -> None:
        """``list[ProjectView]``."""
        self.answer(PROJECTS, await self.gateway.link.projects(self.person))


class Ready(GatewayHandler):
    """What this person has of what they need before they can begin."""

    async def get(self) -> None:
        """``ReadyView``."""
        self.answer(READY, await self.gateway.link.ready(self.person))


class FactoriesEvents(GatewayHandler):
    """The same, at every change."""

    async def get(self) -> None:
        """Event ``factories``: ``list[FactoryView]``."""
        await self.send(Source("factories", FACTORIES, self.gateway.link.factories_events(self.person)))


class FactoryEstimate(GatewayHandler):
    """When a session of a size would start."""

    async def get(self, factory: str) -> None:
        """``Estimate``; query: ``size``, ``hours`` if not the size's own, ``project`` where several may pay."""
        size = self.get_query_argument("size")
        hours, project = self.get_query_argument("hours", ""), self.get_query_argument("project", None)
        try:
            wanted = float(hours) if hours else None
        except ValueError as error:
            raise web.HTTPError(
                400, N_("{field}: {value} is not a number.").format(field="hours", value=repr(hours))
            ) from error
        self.answer(ESTIMATE, await self.gateway.link.estimate(factory, self.person, size, wanted, project))


class FactoryCredential(GatewayHandler):
    """A login of the person's own at a factory."""

    async def put(self, factory: str) -> None:
        """Body ``{"token"}``: passed on to the link, and kept nowhere here. ``CredentialView``."""
        try:
            wanted = RenewBody.model_validate_json(self.request.body)
        except ValidationError:
            raise web.HTTPError(400, N_("That is not a token.")) from None  # nothing of it in a log
        self.answer(CREDENTIAL, await self.gateway.link.renew(factory, self.person, wanted.token))


class Sessions(GatewayHandler):
    """This person's sessions."""

    async def get(self) -> None:
        """``list[Session]``: the live ones and the last that ended, newest first."""
        self.answer(SESSIONS, await self.gateway.link.person_sessions(self.person, _RECENT))


class SessionsEvents(GatewayHandler):
    """This person's live sessions, from the hub's own table."""

    async def get(self) -> None:
        """Event ``sessions``: ``list[Session]``, whole at every change."""
        await self.send(Source("sessions", SESSIONS, self.gateway.table.live_of(self.person)))


class HomeEvents(GatewayHandler):
    """This person's live sessions and clusters in one stream: a browser has few connections to a server."""

    async def get(self) -> None:
        """Events ``sessions``: ``list[Session]``, and ``clusters``: ``list[Cluster]``; each whole at every change."""
        table = self.gateway.table
        sessions = Source("sessions", SESSIONS, table.live_of(self.person))
        await self.send(sessions, Source("clusters", CLUSTERS, table.clusters_of(self.person)))


class Clusters(GatewayHandler):
    """This person's Dask clusters."""

    async def get(self) -> None:
        """``list[Cluster]`` without their jobs: the live ones and the last that ended, newest first."""
        self.answer(CLUSTERS, await self.gateway.link.person_clusters(self.person))


class OneCluster(GatewayHandler):
    """One of them."""

    async def delete(self, cluster_id: str) -> None:
        """End it with all its jobs; 202 once the wish is kept."""
        await self.gateway.link.end_cluster(self.person, cluster_id)
        self.set_status(202)
        self.answer(NOTHING, {})


class OneSession(GatewayHandler):
    """One session, live or ended."""

    async def get(self, session_id: str) -> None:
        """``Session``."""
        self.answer(SESSION, await self.own_session(session_id))

    async def delete(self, session_id: str) -> None:
        """Stop a session that the hub does not hold as a server just now; 202 once the wish is kept."""
        session = await self.own_session(session_id)
        if session.user != self.person and not self.has_scope(f"delete:servers!user={session.user}"):
            raise web.HTTPError(403, N_("You may see this session, but not stop it."))
        owner = self.find_user(session.user)
        spawner = owner.spawners.get(session.server) if owner is not None else None
        if spawner is not None and spawner.active:
            raise web.HTTPError(409, N_("Stop it as a server of the hub."))
        await self.gateway.link.stop(session_id, "person" if session.user == self.person else "operator")
        self.set_status(202)
        self.answer(NOTHING, {})


class OneSessionEvents(GatewayHandler):
    """The same, at every change."""

    async def get(self, session_id: str) -> None:
        """Event ``session``: the whole ``Session``; ends when it has ended."""
        await self.own_session(session_id)
        await self.send(Source("session", SESSION, self.gateway.link.session_events(session_id)))


class OneSessionExtend(GatewayHandler):
    """More time for a session."""

    async def post(self, session_id: str) -> None:
        """``{"hours": more}``; ``Session`` as it is now, its new end comes by the events."""
        session = await self.own_session(session_id)
        if session.user != self.person:
            raise web.HTTPError(403, N_("Only its owner can make a session longer."))
        try:
            wanted = ExtendBody.model_validate_json(self.request.body)
        except ValidationError as error:
            raise web.HTTPError(400, N_("hours: a number is needed.")) from error
        self.answer(SESSION, await self.gateway.link.extend(session_id, wanted.hours))


class LastChoice(GatewayHandler):
    """What this person chose last."""

    async def get(self) -> None:
        """``Choice`` or null."""
        self.answer(CHOICE, await self.gateway.link.last_choice(self.person))


async def _spoken(source: AsyncGenerator[T], language: Language) -> AsyncGenerator[T]:
    async with aclosing(source) as values:
        async for value in values:
            yield language.spoken(value)


def _problem(error: BaseException | None) -> Problem:
    match error:
        case LinkProblem():
            return error.problem
        case LinkSilent():
            return Problem(kind="unreachable", message=LINK_SILENT.what, do=LINK_SILENT.do)
        case web.HTTPError(status_code=401 | 403):
            return Problem(kind="forbidden", message=error.log_message or N_("Not allowed."))
        case web.HTTPError(status_code=409):
            return Problem(kind="conflict", message=error.log_message or N_("Not now."))
        case web.HTTPError():
            return Problem(kind="invalid", message=error.log_message or N_("This request is not understood."))
        case _:
            return Problem(kind="unreachable", message=N_("Something went wrong in the hub; it is in its log."))


def routes(link_socket: Path, pages: Path) -> list[tuple[Any, ...]]:
    """For ``c.JupyterHub.extra_handlers``; JupyterHub puts ``/hub`` before them. ``pages``: folder of our files."""
    to_link = {"link_socket": link_socket, "locale": pages / "locale"}
    api: Sequence[tuple[str, type[GatewayHandler]]] = (
        (r"factories", Factories),
        (r"factories/events", FactoriesEvents),
        (r"coming", ComingFactories),
        (r"projects", PersonProjects),
        (r"ready", Ready),
        (r"factories/([a-z0-9-]+)/estimate", FactoryEstimate),
        (r"factories/([a-z0-9-]+)/credential", FactoryCredential),
        (r"sessions", Sessions),
        (r"sessions/events", SessionsEvents),
        (r"sessions/([0-9a-f]{32})", OneSession),
        (r"sessions/([0-9a-f]{32})/events", OneSessionEvents),
        (r"sessions/([0-9a-f]{32})/extend", OneSessionExtend),
        (r"home/events", HomeEvents),
        (r"clusters", Clusters),
        (r"clusters/([0-9a-f]{32})", OneCluster),
        (r"choice", LastChoice),
    )
    return [
        *((rf"/gateway/api/{path}", handler, to_link) for path, handler in api),
        *public.routes(link_socket, pages / "locale"),
        (r"/gateway/static/(.*)", CacheControlStaticFilesHandler, {"path": str(pages / "static")}),
    ]
