"""Client of the link's API for the hub and the operator's commands: typed methods over the Unix socket or TLS.

Its methods raise two errors, both from ``factorycommon.link_errors``. ``LinkSilent``: the link did not answer, failed
by a fault of its own, or gave an answer that cannot be parsed, so the link may or may not have done what was requested.
``LinkProblem``: the link refused, with a reason.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import to_json
from yarl import URL

from factorycommon import request_id
from factorycommon.connections import IDLE_SECONDS
from factorycommon.event_stream import StreamEvent, read_events
from factorycommon.link_errors import LinkProblem, LinkSilent, read_problem
from factorycommon.models import (
    AcceptBody,
    AccessStatus,
    AuditLine,
    BannerBody,
    BannerView,
    ChecklistView,
    Choice,
    Cluster,
    ClusterId,
    ComingView,
    CredentialView,
    DrainBody,
    EnvironmentBody,
    Estimate,
    FactoryView,
    Health,
    HubRules,
    MessageBody,
    NetworkView,
    OperatorView,
    PersonBody,
    ProjectView,
    ReadyView,
    Session,
    SessionId,
    SessionRequest,
    SiteCheck,
    StopsBody,
    StopsView,
    TableFactory,
    TokenBody,
    UsageLine,
)
from factorycommon.models.plain import plain_text
from factorycommon.service_address import NetworkAddress, ServiceAddress
from factorycommon.tls import TlsError, dialing

__all__ = ["By", "LinkAddress", "LinkClient", "LinkProblem", "LinkSilent", "TableChange"]

T = TypeVar("T")
By = Literal["person", "hub", "operator"]  # who requests the end of a session
log = logging.getLogger(__name__)

_ANSWER_SECONDS = 10.0
_QUIET_SECONDS = 40.0  # seconds; a stream has a heartbeat every 15 s
_LONGEST_PAUSE = 3.0

_SESSION = TypeAdapter(Session)
_SESSIONS = TypeAdapter(list[Session])
_CLUSTER = TypeAdapter(Cluster)
_CLUSTERS = TypeAdapter(list[Cluster])
_FACTORY = TypeAdapter(TableFactory)
_FACTORIES = TypeAdapter(list[FactoryView])
_USAGE = TypeAdapter(list[UsageLine])
_PROJECTS = TypeAdapter(list[ProjectView])
_READY = TypeAdapter(ReadyView)
_CHECKLIST = TypeAdapter(ChecklistView)
_SITE = TypeAdapter(SiteCheck)
_NETWORK = TypeAdapter(NetworkView)
_COMING = TypeAdapter(list[ComingView])
_CHOICE: TypeAdapter[Choice | None] = TypeAdapter(Choice | None)
_ESTIMATE = TypeAdapter(Estimate)
_AUDIT = TypeAdapter(list[AuditLine])
_BANNER = TypeAdapter(BannerView)
_OPERATOR = TypeAdapter(OperatorView)


@dataclass(frozen=True)
class TableChange:
    """One event of the link's table of sessions, clusters and factories.

    A snapshot has the live sessions in ``snapshot``, the clusters that are live or have just ended in ``clusters``, and
    the health of all factories in ``health``. Any other event sets one field: ``session`` or ``cluster`` to a session
    or cluster that has changed or ended, ``health`` to the health of one factory, or ``banner`` to the banner of all
    pages.
    """

    snapshot: tuple[Session, ...] | None = None
    clusters: tuple[Cluster, ...] = ()
    session: Session | None = None
    cluster: Cluster | None = None
    health: Mapping[str, Health] = field(default_factory=dict)
    banner: BannerView | None = None


LinkAddress = ServiceAddress


class PeopleSender:
    """Sends data about people to the link, except data that the link certainly holds already.

    The link certainly holds the data that it has acknowledged since this client subscribed to the link's table: if the
    link had restarted, the subscription would have ended. If several callers send the same data about a person at the
    same time, the data are sent once for all of them. If callers send different data about a person at the same time,
    the data of each caller are sent. None of these data count as held, because the link may get them in any order.
    """

    def __init__(self) -> None:
        self._subscribed = False
        self._acknowledged: dict[str, PersonBody] = {}
        self._open: Counter[str] = Counter()  # by person, how many requests are under way
        self._begun: Counter[str] = Counter()  # by person, how many have begun since the last time that none was open
        self._sent: dict[str, tuple[PersonBody, asyncio.Task[None]]] = {}  # the first of these

    def forget(self, *, subscribed: bool) -> None:
        """Forget what the link has acknowledged. Called when a subscription begins (``subscribed``) or ends."""
        self._subscribed = subscribed
        self._acknowledged = {}

    async def put(self, user: str, person: PersonBody, send: Callable[[], Awaitable[object]]) -> None:
        """Wait until the link holds the data ``person`` about ``user``; call ``send`` if the data must be sent.

        Raises the errors of ``send``.
        """
        if self._acknowledged.get(user) == person:
            return
        sent = self._sent.get(user)
        if sent is None or sent[0] != person or self._begun[user] != 1:
            self._begin(user)
            sent = person, asyncio.get_running_loop().create_task(self._send(user, person, send))
            sent[1].add_done_callback(_looked_at)
            self._sent.setdefault(user, sent)
        await asyncio.shield(sent[1])

    async def put_other(self, user: str, send: Callable[[], Awaitable[object]]) -> None:
        """Call ``send``, which sends data that change only a part of what the link holds about the person.

        Data about this person that the link acknowledged earlier do not count as held any more. Raises the errors of
        ``send``.
        """
        self._begin(user)
        await self._send(user, None, send)

    def _begin(self, user: str) -> None:
        self._acknowledged.pop(user, None)
        self._open[user] += 1
        self._begun[user] += 1

    async def _send(self, user: str, person: PersonBody | None, send: Callable[[], Awaitable[object]]) -> None:
        of_subscription = self._acknowledged
        try:
            await send()
            if person is not None and self._begun[user] == 1 and self._subscribed:
                of_subscription[user] = person
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user], self._begun[user]
            if person is not None and user in self._sent and self._sent[user][1] is asyncio.current_task():
                del self._sent[user]


def _looked_at(task: asyncio.Task[None]) -> None:
    """Retrieve the error of a finished task.

    If everybody who waited for the task was cancelled, asyncio would otherwise log that nobody retrieved the error.
    """
    if not task.cancelled():
        task.exception()


class LinkClient:
    """The client of the link for the hub and the operator's commands. Use one for each process; close it at the end.

    ``at``: where the link listens for the hub. Each method raises LinkSilent if the link does not answer, fails by a
    fault of its own (500), or gives an answer that cannot be parsed, and LinkProblem if the link refuses. Methods that
    reconnect instead of raising LinkSilent say so.
    """

    def __init__(self, at: LinkAddress) -> None:
        self._at = at
        self._base = at.url.rstrip("/") if isinstance(at, NetworkAddress) else "http://link"
        self._opened: aiohttp.ClientSession | None = None
        self._closed = False
        self._streams: set[aiohttp.StreamReader] = set()  # the answers that are event streams
        self._people = PeopleSender()

    async def close(self) -> None:
        """Close all connections. Later requests and open iterations raise LinkSilent."""
        self._closed = True
        for stream in self._streams:  # aiohttp would leave their readers waiting
            stream.set_exception(aiohttp.ClientConnectionError("this client is closed"))
        if self._opened is not None:
            await self._opened.close()

    def _http(self) -> aiohttp.ClientSession:
        """Return the HTTP client, which needs a running event loop. Raises LinkSilent, TlsError.

        Each request that waits for an answer has a connection of its own, so the number of connections is not limited.
        """
        if self._closed:
            raise LinkSilent("this client is closed")
        if self._opened is None:
            unlimited: dict[str, Any] = {"limit": 0, "limit_per_host": 0, "keepalive_timeout": IDLE_SECONDS}
            if isinstance(self._at, NetworkAddress):
                connector: aiohttp.BaseConnector = aiohttp.TCPConnector(ssl=dialing(self._at.tls), **unlimited)
            else:
                connector = aiohttp.UnixConnector(str(self._at), **unlimited)
            self._opened = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._opened

    # --- sessions

    async def put_session(self, session_id: SessionId, request: SessionRequest) -> Session:
        """Request a session; repeating a request returns the existing session, also an ended one.

        If that session has ended with the reason ``refused``, LinkProblem is raised instead. The link waits 1.5 s at
        most for the scheduler; if that is too short, the returned session is pending.
        """
        return await self._ask(_SESSION, "PUT", f"/sessions/{session_id}", json=request.model_dump(mode="json"))

    async def sessions(
        self, user: str | None = None, server: str | None = None, live: bool = True, limit: int | None = None
    ) -> list[Session]:
        """Return the live sessions; if ``live`` is False, return the newest sessions, live or ended, newest first.

        If ``live`` is True, sessions without a stop request come first, then those with a stop request; within each of
        these groups, the newest come first. The sessions of Dask schedulers are left out. ``user``, ``server``: only
        the sessions of this person or server, if given. ``limit``: the largest number of sessions if ``live`` is False
        (None: 20); if ``live`` is True, ``limit`` is ignored.
        """
        params = {"user": user, "server": server, "live": live, "limit": limit}
        return await self._ask(_SESSIONS, "GET", "/sessions", params=_given(params))

    async def session(self, session_id: SessionId) -> Session:
        """Return one session, live or ended."""
        return await self._ask(_SESSION, "GET", f"/sessions/{session_id}")

    async def session_events(self, session_id: SessionId) -> AsyncGenerator[Session]:
        """Yield the session now and after every change, until it has ended; reconnect if the link does not answer.

        Raises LinkSilent only after ``close``.
        """
        async for event, data in self._events_again(f"/sessions/{session_id}/events"):
            if event == "session" and (session := _event(_SESSION, data)) is not None:
                yield session
                if session.state == "ended":
                    return

    async def send_environment(
        self, session_id: SessionId, environment: Mapping[str, str], argv: Sequence[str]
    ) -> Session:
        """Send the notebook's environment variables and its command line ``argv`` to the door; return the session.

        The environment variables contain the notebook's tokens. The door then starts the notebook.
        """
        body = EnvironmentBody(environment=dict(environment), argv=list(argv)).model_dump()
        return await self._ask(_SESSION, "POST", f"/sessions/{session_id}/environment", json=body, timeout=30)

    async def token(self, session_id: SessionId) -> str | None:
        """Return the hub token of the session's notebook, as its door reports it; None: the notebook has none yet."""
        return (await self._ask(TypeAdapter(TokenBody), "GET", f"/sessions/{session_id}/token")).token

    async def stop(self, session_id: SessionId, by: By = "hub") -> None:
        """Request the end of a session; return when the ledger holds the request. ``by``: who requests the end."""
        await self._request("DELETE", f"/sessions/{session_id}", params={"by": by})

    async def stop_all(
        self, sessions: Mapping[SessionId, Literal["person", "hub", "operator"]]
    ) -> frozenset[SessionId]:
        """Request the end of these sessions; each value says who requests it.

        Return the sessions that will certainly end, have ended, or will never start. The caller must request the end of
        the others again.
        """
        body = StopsBody(sessions=dict(sessions)).model_dump()
        return frozenset((await self._ask(TypeAdapter(StopsView), "POST", "/stops", json=body, timeout=30)).done)

    async def extend(self, session_id: SessionId, hours: float) -> Session:
        """Request ``hours`` more hours for a session; return the session."""
        return await self._ask(_SESSION, "POST", f"/sessions/{session_id}/extend", json={"hours": hours}, timeout=30)

    async def tell(self, session_id: SessionId, message: MessageBody) -> None:
        """Show a message to the person in the session.

        The message is ignored if the session's door still keeps an earlier one with the same id.
        """
        body = message.model_dump(exclude_defaults=True)  # a link of an earlier release knows no texts
        await self._request("POST", f"/sessions/{session_id}/messages", json=body, timeout=30)

    async def table(self) -> AsyncGenerator[TableChange]:
        """Subscribe to the link's table of sessions, clusters and factories; yield a snapshot, then each change.

        Raises LinkSilent when the connection is lost.
        """
        self._people.forget(subscribed=False)
        try:
            async for event, data in self._events("/table"):
                if event == "snapshot":
                    self._people.forget(subscribed=True)
                if (change := _table_change(event, data)) is not None:
                    yield change
        finally:
            self._people.forget(subscribed=False)

    # --- factories and people

    async def factories(self, user: str) -> list[FactoryView]:
        """Return the factories that ``user`` may use, with what ``user`` may use there."""
        return await self._ask(_FACTORIES, "GET", "/factories", params={"user": user})

    async def usage(
        self, project: str | None = None, since: date | None = None, person: str | None = None
    ) -> list[UsageLine]:
        """Return the GPU-seconds and the number of jobs by day, project, factory and person.

        ``project``, ``person``: only these, if given; ``since``: the first day (UTC), None: from the beginning.
        """
        return await self._ask(_USAGE, "GET", "/usage", params=_usage_of(project, since, person), timeout=60)

    async def usage_csv(self, project: str, since: date | None = None, person: str | None = None) -> bytes:
        """Return a project's GPU-hours and number of jobs by day, factory and person, as CSV.

        ``since``: the first day (UTC), None: from the beginning; ``person``: only this person, if given.
        """
        params = _usage_of(project, since, person)
        return await self._request("GET", "/usage.csv", params=params, timeout=60)

    async def projects(self, user: str) -> list[ProjectView]:
        """Return the person's projects, also projects that have ended or not begun."""
        return await self._ask(_PROJECTS, "GET", "/projects", params={"user": user})

    async def ready(self, user: str) -> ReadyView:
        """Return which kind of site account ``user`` has for each factory of the projects that ``user`` can use now.

        If ``user`` can start nothing at any factory, for example because they are blocked, return the reason instead.
        Missing site accounts are no such reason: each account is then of the kind "missing".
        """
        return await self._ask(_READY, "GET", f"/people/{quote(user, safe='')}/ready")

    async def checklist(self, user: str) -> ChecklistView:
        """Return the person's checklist: what they need, what they have accepted, and what is missing."""
        return await self._ask(_CHECKLIST, "GET", f"/people/{quote(user, safe='')}/checklist")

    async def accept(self, user: str, factory: str, version: str) -> None:
        """Make the link record that the person accepts ``version`` of the rules of the factory's site."""
        path = f"/people/{quote(user, safe='')}/acceptances/{factory}"
        await self._request("PUT", path, json=AcceptBody(version=version).model_dump())

    async def site_rules(self, factory: str, user: str | None) -> SiteCheck:
        """Return the rules of the factory's site, and when ``user`` accepted their present version.

        The SiteCheck has no site accounts. ``user`` None: return only the rules, for a person whom the hub does not
        know yet.
        """
        return await self._ask(_SITE, "GET", f"/factories/{factory}/rules", params=_given({"user": user}))

    async def coming(self) -> list[ComingView]:
        """Return the factories without a machine yet."""
        return await self._ask(_COMING, "GET", "/coming")

    async def network(self) -> NetworkView:
        """Return the public view of all factories and antennas, which needs no login."""
        return await self._ask(_NETWORK, "GET", "/network")

    async def factories_events(self, user: str) -> AsyncGenerator[list[FactoryView]]:
        """Yield the factories that ``user`` may use, now and after every change, without end.

        Reconnect if the link does not answer. Raises LinkSilent only after ``close``.
        """
        async for event, data in self._events_again("/factories/events", {"user": user}):
            if event == "factories" and (factories := _event(_FACTORIES, data)) is not None:
                yield factories

    async def estimate(
        self, factory: str, user: str, size: str, hours: float | None = None, project: str | None = None
    ) -> Estimate:
        """Return an estimate of when a session of ``user`` with that size would start.

        ``hours`` None: the size's default. ``project`` None: the person's first project that may use the size, or none
        if the person needs no project.
        """
        params = _given({"user": user, "size": size, "hours": hours, "project": project})
        return await self._ask(_ESTIMATE, "GET", f"/factories/{factory}/estimate", params=params)

    async def last_choice(self, user: str) -> Choice | None:
        """Return what the person chose for the last session that they started themselves; None: there was none.

        Sessions of Dask schedulers do not count.
        """
        return await self._ask(_CHOICE, "GET", f"/people/{quote(user, safe='')}/choice")

    async def person_sessions(self, user: str, limit: int = 20) -> list[Session]:
        """Return the person's ``limit`` newest sessions, live and ended, without Dask schedulers; newest first."""
        return await self._ask(
            _SESSIONS, "GET", f"/people/{quote(user, safe='')}/sessions", params=_given({"limit": limit})
        )

    async def person_clusters(self, user: str) -> list[Cluster]:
        """Return the person's clusters without their jobs: the live ones, then the five that ended last.

        The live clusters are sorted by creation, the ended ones by their end; the latest come first.
        """
        return await self._ask(_CLUSTERS, "GET", f"/people/{quote(user, safe='')}/clusters")

    async def end_cluster(self, user: str, cluster_id: ClusterId) -> None:
        """Request the end of a cluster of ``user``; return when the ledger holds the request."""
        await self._request("DELETE", f"/people/{quote(user, safe='')}/clusters/{cluster_id}")

    async def put_person(self, user: str, person: PersonBody) -> None:
        """Send the link what the hub knows about a person: groups, options of jobs, and access to the gateway.

        The hub calls this, for example, before a start that may request a new session. Nothing is sent if the link has
        acknowledged the same data since this client last subscribed by ``table``.
        """
        path, body = f"/people/{quote(user, safe='')}", person.model_dump(mode="json")
        await self._people.put(user, person, lambda: self._request("PUT", path, json=body))

    async def put_access(self, user: str, access: AccessStatus) -> None:
        """Send whether the person may start anything; the link's other data about the person stay unchanged."""
        path, body = f"/people/{quote(user, safe='')}/access", access.model_dump(mode="json")
        await self._people.put_other(user, lambda: self._request("PUT", path, json=body))

    async def put_rules(self, rules: HubRules) -> None:
        """Send the link the rules of the hub that hold for everybody, such as the version of the gateway's terms."""
        await self._request("PUT", "/rules", json=rules.model_dump(mode="json"))

    async def drain(self, factory: str, message: str, by: str | None = None) -> None:
        """Make the link start nothing new at a factory; running sessions continue.

        ``message``: why, for the people who want to start something; ``by``: the operator's name, for the audit; None:
        the name is not known.
        """
        await self._request("PUT", f"/factories/{factory}/drain", json=_order(message, by))

    async def undrain(self, factory: str, by: str | None = None) -> None:
        """End the drain of a factory; ``pause`` and ``pause_starts`` stay in force.

        ``by``: the operator's name, for the audit; None: the name is not known.
        """
        await self._request("DELETE", f"/factories/{factory}/drain", params=_given({"by": by}))

    async def pause(self, factory: str, message: str) -> None:
        """Pause a factory: the link submits no job there, and connects to no more doors; open connections stay.

        ``message``: why, for the people who use the factory.
        """
        await self._request("PUT", f"/factories/{factory}/pause", json=_order(message, None))

    async def resume(self, factory: str) -> None:
        """End the pause of a factory."""
        await self._request("DELETE", f"/factories/{factory}/pause")

    async def operator(self) -> OperatorView:
        """Return what the operators' page shows."""
        return await self._ask(_OPERATOR, "GET", "/operator")

    async def pause_starts(self, message: str, by: str) -> None:
        """Make the link start nothing new at any factory; running sessions continue.

        ``message``: why, for the people who want to start something; ``by``: the operator's name, for the audit.
        """
        await self._request("PUT", "/starts/pause", json=_order(message, by))

    async def resume_starts(self, by: str) -> None:
        """End ``pause_starts``; a factory that was drained by ``drain`` stays drained.

        ``by``: the operator's name, for the audit.
        """
        await self._request("DELETE", "/starts/pause", params={"by": by})

    async def show_banner(self, message: str, by: str, sessions: bool = False, until: datetime | None = None) -> None:
        """Show a text on all pages, until the given time if there is one.

        ``by``: the operator's name, for the audit; ``sessions``: show the text once in open sessions, too.
        """
        body = BannerBody(message=message, by=by, sessions=sessions, until=until)
        await self._request("PUT", "/banner", json=body.model_dump(mode="json"))

    async def drop_banner(self, by: str) -> None:
        """Remove the banner from all pages. ``by``: the operator's name, for the audit."""
        await self._request("DELETE", "/banner", params={"by": by})

    async def audit(self, factory: str, since: datetime | None = None) -> AsyncGenerator[AuditLine]:
        """Yield a factory's lines of the audit, oldest first. ``since``: only those of this time or later, if given."""
        after = 0
        while True:
            params = _given({"since": since.isoformat() if since else None, "after": after})
            page = await self._ask(_AUDIT, "GET", f"/factories/{factory}/audit", params=params)
            for line in page:
                yield line
            if not page:
                return
            after = page[-1].number

    async def renew(self, factory: str, user: str, token: str) -> CredentialView:
        """Make the link get SSH certificates for a person's site accounts; return until when all of them are valid.

        The accounts are those at the factory that belong to this person alone. ``token``: the person gets it at the
        ``renew_url`` of the factory's CredentialView.
        """
        body = {"user": user, "token": token}
        return await self._ask(TypeAdapter(CredentialView), "PUT", f"/credentials/{factory}", json=body, timeout=30)

    # --- helpers

    async def _ask(self, answer: TypeAdapter[T], method: str, path: str, **kwargs: Any) -> T:
        return _read(answer, await self._request(method, path, **kwargs))

    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: JsonValue = None,
        timeout: float | None = None,
    ) -> bytes:
        """Return the body of the link's answer. Raises LinkSilent, LinkProblem.

        The caller percent-encodes ``path``. ``timeout``: the longest time in seconds without a byte from the link;
        None: ``_ANSWER_SECONDS``.
        """
        async with self._response(method, path, params, json, timeout or _ANSWER_SECONDS) as response:
            return await response.read()

    @asynccontextmanager
    async def _response(
        self, method: str, path: str, params: Mapping[str, str] | None, json: JsonValue, quiet: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; provide the response. Raises LinkSilent, LinkProblem.

        ``quiet``: the longest time in seconds without a byte from the link.
        """
        url = URL(self._base + path, encoded=True)
        try:
            async with self._http().request(
                method,
                url,
                params=params,
                json=json,
                headers={request_id.HEADER: current} if (current := request_id.current()) else None,
                timeout=aiohttp.ClientTimeout(sock_connect=_ANSWER_SECONDS, sock_read=quiet),
                allow_redirects=False,
            ) as response:
                if response.status >= 400:
                    raise read_problem(response.status, await response.read())
                yield response
        except (aiohttp.ClientError, OSError, TlsError) as error:  # a timeout is an OSError, too
            cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
            raise LinkSilent(str(cause) or type(cause).__name__) from error

    async def _events(self, path: str, params: Mapping[str, str] | None = None) -> AsyncGenerator[StreamEvent]:
        """Yield server-sent events as (event, data).

        Raises LinkSilent when the connection ends, LinkProblem if the link refuses the request.
        """
        async with self._response("GET", path, params, None, _QUIET_SECONDS) as response:
            self._streams.add(response.content)
            try:
                async for event in read_events(response.content.iter_any()):
                    yield event
            finally:
                self._streams.discard(response.content)
        raise LinkSilent("the stream ended")

    async def _events_again(self, path: str, params: Mapping[str, str] | None = None) -> AsyncGenerator[StreamEvent]:
        pause = 0.1
        while True:
            try:
                async for event in self._events(path, params):
                    pause = 0.1
                    yield event
            except LinkSilent:
                if self._closed:
                    raise
                await asyncio.sleep(pause * random.SystemRandom().uniform(0.75, 1))
                pause = min(2 * pause, _LONGEST_PAUSE)


def _order(message: str, by: str | None) -> dict[str, Any]:
    """Return the body of an operator's order, without ``by`` if that is None: older links do not know this field."""
    return DrainBody(message=message, **({} if by is None else {"by": by})).model_dump(exclude_unset=True)


def _usage_of(project: str | None, since: date | None, person: str | None) -> dict[str, str]:
    return _given({"project": project, "since": since.isoformat() if since else None, "person": person})


def _given(params: Mapping[str, str | float | None]) -> dict[str, str]:
    """Return the parameters of a query as texts, without those that are None."""
    return {name: _text(value) for name, value in params.items() if value is not None}


def _text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table_change(event: str, data: str) -> TableChange | None:
    """Return the change that an event of the table contains; None if the event is unknown or cannot be parsed.

    Raises LinkSilent for a snapshot that is no table.
    """
    if event == "snapshot":
        return _snapshot(data)
    if event == "session" and (session := _event(_SESSION, data)) is not None:
        return TableChange(session=session)
    if event == "cluster" and (cluster := _event(_CLUSTER, data)) is not None:
        return TableChange(cluster=cluster)
    if event == "banner" and (banner := _event(_BANNER, data)) is not None:
        return TableChange(banner=banner)
    if event == "factory" and (factory := _event(_FACTORY, data)) is not None:
        return TableChange(health={factory.id: factory.health})
    return None


def _snapshot(data: str) -> TableChange:
    """Parse a snapshot of the table, leaving out entries that cannot be parsed. Raises LinkSilent if it is no table."""
    parts = _read(TypeAdapter(dict[str, list[JsonValue]]), data)
    factories = _each(_FACTORY, parts.get("factories", []))
    health = {factory.id: factory.health for factory in factories}
    sessions, clusters = _each(_SESSION, parts.get("sessions", [])), _each(_CLUSTER, parts.get("clusters", []))
    return TableChange(tuple(sessions), tuple(clusters), health=health)


def _each(kind: TypeAdapter[T], values: Iterable[JsonValue]) -> list[T]:
    return [found for value in values if (found := _event(kind, to_json(value))) is not None]


def _event(kind: TypeAdapter[T], data: bytes | str) -> T | None:
    """Parse an event; return None, and log this, if it cannot be parsed. Later events are not affected.

    Unknown fields are ignored, since the link may be newer than the hub.
    """
    try:
        return kind.validate_json(data, extra="ignore")
    except ValidationError as error:
        log.warning("An event of the link is skipped: %s", plain_text(str(error)))
        return None


def _read(answer: TypeAdapter[T], content: bytes | str) -> T:
    """Parse an answer. Unknown fields are ignored, since the link may be newer than the hub. Raises LinkSilent."""
    try:
        return answer.validate_json(content, extra="ignore")
    except ValidationError as error:
        raise LinkSilent(f"the link's answer is not understood: {error.error_count()} errors") from error
