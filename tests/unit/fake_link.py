"""A link without factories, which serves the hub's API on a Unix socket.

The test changes its sessions; if ``auto`` is set, a requested session opens its door and runs by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import TypeAdapter

from factorycommon.models import (
    AcceptBody,
    AccessStatus,
    BannerBody,
    BannerView,
    ChecklistView,
    Cluster,
    ComingView,
    CredentialBody,
    CredentialView,
    DrainBody,
    EnvironmentBody,
    ExtendBody,
    FactoryView,
    GpuHours,
    Health,
    HubRules,
    NetworkView,
    OperatorView,
    PersonBody,
    Problem,
    ProjectView,
    ReadyView,
    ResolvedChoice,
    Session,
    SessionRequest,
    SessionState,
    SiteCheck,
    StopsBody,
    StopsView,
    TableFactory,
    TableSnapshot,
    UsageLine,
)
from factorylink.projects import usage_report

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHOICE = ResolvedChoice(factory="one", size="small", environment="base", hours=1, idle_minutes=60, unopened_minutes=30)
STATUS = {"gone": 404, "conflict": 409, "limit": 403, "forbidden": 403, "draining": 503, "unreachable": 503}


class FakeLink:
    """A link for the hub.

    ``notebook``: the URL of every session; ``refuse``: the refusal of all requests for sessions, None: they are
    accepted.
    """

    def __init__(self, socket: Path, notebook: str = "http://127.0.0.1:1") -> None:
        self.socket = socket
        self.notebook = notebook
        self.sessions: dict[str, Session] = {}
        self.clusters: dict[str, Cluster] = {}
        self.requests: dict[str, SessionRequest] = {}
        self.environments: dict[str, EnvironmentBody] = {}
        self.factories: list[FactoryView] = []
        self.coming: list[ComingView] = []
        self.operator_answers = asyncio.Event()  # if cleared, requests of the operators' page wait
        self.operator_answers.set()
        self.projects: list[ProjectView] = []
        self.ready = ReadyView()
        self.checklist = ChecklistView()
        self.accepted: dict[tuple[str, str], str] = {}  # by person and factory: the accepted version
        self.people: dict[str, PersonBody] = {}
        self.access: dict[str, AccessStatus] = {}  # people for whom the hub sent only an access status
        self.rules: HubRules | None = None
        self.network = NetworkView(factories=(), antennas=())
        self.stops: list[tuple[str, str]] = []
        self.never: set[str] = set()  # stopped before they were requested
        self.refused: list[str] = []  # and requested afterwards
        self.extended: list[tuple[str, float]] = []
        self.renewed: list[tuple[str, str, str]] = []
        self.asked: list[tuple[str, str]] = []  # method and path
        self.headers: list[dict[str, str]] = []
        self.refuse: Problem | None = None
        self.projects_of: dict[str, list[ProjectView]] = {}  # projects by person; all other people have the same ones
        self.usage: list[UsageLine] = []
        self.operator = OperatorView(
            closed=None, banner="", factories=(), waiting=(), more_waiting=0, failures=(), hours=24
        )
        self.orders: list[tuple[str, str, str]] = []  # kind of order, factory or text, operator
        self.auto = True
        self.free = asyncio.Event()  # if cleared, a PUT waits
        self.free.set()
        self._readers: set[asyncio.Queue[tuple[str, str]]] = set()
        self._moved = asyncio.Condition()
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.app = self._app()

    async def up(self) -> None:
        """Start listening on the socket; earlier sessions are still known."""
        config = uvicorn.Config(self.app, uds=str(self.socket), log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._serving = asyncio.create_task(self._server._serve())
        while not self._server.started:
            await asyncio.sleep(0.01)

    async def down(self) -> None:
        """Stop, as by SIGKILL."""
        assert self._server is not None
        assert self._serving is not None
        for listening in self._server.servers:
            listening.close()
        self.socket.unlink(missing_ok=True)
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        self._server.force_exit = True
        self._server.should_exit = True
        await self._serving

    async def change(self, session_id: str, **update: Any) -> Session:
        """Change fields of a session, and notify the readers of the table; return the changed session."""
        self.sessions[session_id] = session = self.sessions[session_id].model_copy(update=update)
        self._tell("session", session.model_dump_json())
        async with self._moved:
            self._moved.notify_all()
        return session

    async def open_door(self, session_id: str) -> None:
        """Let the job run and its door open."""
        await self.change(session_id, state=SessionState.STARTING, node="n1", started=NOW, door_open=True)

    async def end(self, session_id: str, **update: Any) -> None:
        """End the session, and notify the readers of the table. ``update``: other values of its fields."""
        await self.change(
            session_id, **{"state": SessionState.ENDED, "reachable": False, "door_open": False, "ended": NOW, **update}
        )

    async def until(self, session_id: str | None, check: Any) -> Session:
        """Wait until a session (None: any) fulfils a condition; return the session."""
        async with self._moved:
            while True:
                for session in self.sessions.values():
                    if session_id in (None, session.id) and check(session):
                        return session
                await asyncio.wait_for(self._moved.wait(), 120)

    async def until_told(self, name: str, check: Callable[[PersonBody], bool] = lambda _told: True) -> PersonBody:
        """Wait until the hub has told the link about the person ``name``, as ``check`` accepts it; return the body."""
        async with asyncio.timeout(120):
            while (told := self.people.get(name)) is None or not check(told):
                await asyncio.sleep(0.05)
        return told

    def live(self, user: str | None = None, server: str | None = None) -> list[Session]:
        """Return the sessions of this person and server that have not ended; None: of all people or servers."""
        return [
            s
            for s in self.sessions.values()
            if s.state != SessionState.ENDED and user in (None, s.user) and server in (None, s.server)
        ]

    def add(self, session_id: str, user: str, server: str = "", **fields: Any) -> Session:
        """Add a session, by default a pending one, and return it; the readers of the table are not notified.

        ``fields``: other values of its fields; ``choice`` among them: fields of its choice.
        """
        choice = CHOICE.model_copy(update=fields.pop("choice", {}))
        values = {"state": SessionState.PENDING, "wish": "run", "account": "someone", "created": NOW, **fields}
        session = Session(id=session_id, user=user, server=server, choice=choice, **values)
        self.sessions[session_id] = session
        return session

    def add_cluster(self, cluster_id: str, user: str, name: str, **fields: Any) -> None:
        """Add a live cluster, and notify the readers of the table. ``fields``: other values of its fields."""
        hours = GpuHours(spent=1.25, committed=0, at=NOW, per_hour=0)
        values = {"state": "live", "account": "someone", "processes": 1, "gpus": 1, "created": NOW, "counts": {}}
        values |= {"choice": CHOICE, "gpu_hours": hours, **fields}
        self.clusters[cluster_id] = Cluster(id=cluster_id, user=user, name=name, **values)
        self.change_cluster(cluster_id)

    def change_cluster(self, cluster_id: str, **update: Any) -> None:
        """Change fields of a cluster, and notify the readers of the table."""
        self.clusters[cluster_id] = cluster = self.clusters[cluster_id].model_copy(update=update)
        self._tell("cluster", cluster.model_dump_json())

    def checklist_of(self, user: str) -> ChecklistView:
        """Return that person's checklist."""
        sites = tuple(
            one.model_copy(update={"accepted_at": NOW})
            if one.rules is not None and self.accepted.get((user, one.factory)) == one.rules.version
            else one
            for one in self.checklist.sites
        )
        return self.checklist.model_copy(update={"sites": sites})

    def show_banner(self, text: str, until: datetime) -> None:
        """Send the hub a banner that was not set through this hub."""
        self._tell("banner", BannerView(text=text, until=until).model_dump_json())

    def _tell(self, event: str, data: str) -> None:
        for reader in self._readers:
            reader.put_nowait((event, data))

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def note(request: Request, call_next: Any) -> Response:
            self.asked.append((request.method, request.url.path))
            self.headers.append(dict(request.headers))
            return await call_next(request)

        @app.put("/sessions/{session_id}")
        async def put(session_id: str, body: SessionRequest) -> Response:
            await self.free.wait()
            if self.refuse is not None:
                return _no(self.refuse)
            if session_id not in self.sessions:
                if session_id in self.never:
                    self.refused.append(session_id)
                    return _no(Problem(kind="conflict", message="it was stopped before it began"))
                if others := self.live(body.user, body.server):
                    return _no(Problem(kind="conflict", message=f"{others[0].id} lives"))
                self.requests[session_id] = body
                self.add(session_id, body.user, body.server, choice=body.choice.model_dump(exclude_none=True))
                await self.change(session_id, job="7")
                if self.auto:
                    await self.open_door(session_id)
            return _json(self.sessions[session_id])

        @app.get("/sessions")
        async def some(user: str | None = None, server: str | None = None) -> list[Session]:
            return self.live(user, server)

        @app.get("/sessions/{session_id}")
        async def one(session_id: str) -> Response:
            if session_id not in self.sessions:
                return _no(Problem(kind="gone", message="no such session"))
            return _json(self.sessions[session_id])

        @app.delete("/sessions/{session_id}")
        async def stop(session_id: str, by: str) -> Response:
            if session_id not in self.sessions:
                self.never.add(session_id)
                return _no(Problem(kind="gone", message="no such session"))
            self.stops.append((session_id, by))
            await self.change(session_id, wish="stop", state=SessionState.ENDING)
            return Response(status_code=202)

        @app.post("/stops")
        async def stops(body: StopsBody) -> StopsView:
            for session_id, by in body.sessions.items():
                await stop(session_id, by)
            return StopsView(done=tuple(body.sessions))

        @app.post("/sessions/{session_id}/extend")
        async def extend(session_id: str, body: ExtendBody) -> Response:
            self.extended.append((session_id, body.hours))
            return _json(self.sessions[session_id])

        @app.put("/credentials/{factory}")
        async def renew(factory: str, body: CredentialBody) -> Response:
            self.renewed.append((factory, body.user, body.token))
            return _json(CredentialView(renew_url="https://renew.example", until=None))

        @app.post("/sessions/{session_id}/environment")
        async def environment(session_id: str, body: EnvironmentBody) -> Response:
            if not self.sessions[session_id].door_open:
                return _no(Problem(kind="conflict", message="the door is not open"))
            self.environments[session_id] = body
            await self.change(session_id, environment_sent=True)
            if self.auto:
                await self.change(session_id, state=SessionState.RUNNING, reachable=True, url=self.notebook, ready=NOW)
            return _json(self.sessions[session_id])

        @app.get("/sessions/{session_id}/token")
        async def token(session_id: str) -> dict[str, str | None]:
            body = self.environments.get(session_id)
            return {"token": body.environment["JUPYTERHUB_API_TOKEN"] if body else None}

        @app.get("/sessions/{session_id}/events")
        async def session_events(session_id: str) -> Response:
            return self._stream(lambda: ("session", self.sessions[session_id].model_dump_json()))

        @app.get("/table")
        async def table() -> Response:
            health = Health(state="ok", since=NOW)
            factories = (TableFactory(id="one", health=health),)

            def snapshot() -> tuple[str, str]:
                clusters = tuple(cluster for cluster in self.clusters.values() if cluster.state != "ended")
                taken = TableSnapshot(sessions=tuple(self.live()), factories=factories, clusters=clusters)
                return "snapshot", taken.model_dump_json()

            return self._stream(snapshot)

        @app.get("/operator")
        async def operator() -> OperatorView:
            await self.operator_answers.wait()
            return self.operator

        @app.put("/starts/pause", status_code=204)
        @app.put("/factories/{factory}/drain", status_code=204)
        async def drain(body: DrainBody, factory: str = "") -> None:
            self.orders.append(("pause", f"{factory}: {body.message}", body.by))

        @app.delete("/starts/pause", status_code=204)
        @app.delete("/factories/{factory}/drain", status_code=204)
        async def undrain(by: str, factory: str = "") -> None:
            self.orders.append(("resume", factory, by))

        @app.put("/banner", status_code=204)
        async def banner(body: BannerBody) -> None:
            until = "" if body.until is None else f" until {body.until:%Y-%m-%d %H:%M}"
            self.orders.append(("banner", f"{body.message} {body.sessions}{until}", body.by))
            self._tell("banner", BannerView(text=body.message, until=body.until).model_dump_json())

        @app.delete("/banner", status_code=204)
        async def no_banner(by: str) -> None:
            self.orders.append(("remove", "", by))
            self._tell("banner", BannerView().model_dump_json())

        @app.get("/factories")
        async def factories(user: str) -> list[FactoryView]:
            return self.factories

        @app.get("/factories/events")
        async def factories_events(user: str) -> Response:
            told = TypeAdapter(list[FactoryView]).dump_json(self.factories).decode()
            return self._stream(lambda: ("factories", told))

        @app.get("/projects")
        async def projects(user: str) -> list[ProjectView]:
            return self.projects_of.get(user, self.projects)

        @app.get("/people/{user}/ready")
        async def ready(user: str) -> ReadyView:
            return self.ready

        @app.get("/people/{user}/checklist")
        async def whole_checklist(user: str) -> ChecklistView:
            return self.checklist_of(user)

        @app.put("/people/{user}/acceptances/{factory}")
        async def accept(user: str, factory: str, body: AcceptBody) -> Response:
            site = next((one for one in self.checklist.sites if one.factory == factory), None)
            if site is None or site.rules is None:
                return _no(Problem(kind="gone", message="no such rules"))
            if site.rules.version != body.version:
                return _no(Problem(kind="conflict", message="They have changed."))
            self.accepted[user, factory] = body.version
            return Response(status_code=204)

        @app.get("/factories/{factory}/rules", response_model=None)
        async def site_rules(factory: str, user: str | None = None) -> SiteCheck | Response:
            site = next((one for one in self.checklist_of(user or "").sites if one.factory == factory), None)
            return site or _no(Problem(kind="gone", message="no such factory"))

        @app.get("/coming")
        async def coming() -> list[ComingView]:
            return self.coming

        @app.get("/network")
        async def network() -> NetworkView:
            return self.network

        @app.get("/factories/{factory}/estimate")
        async def estimate(factory: str, user: str, size: str, hours: float | None = None) -> dict[str, Any]:
            return {"start": None, "basis": "none", "asked_at": NOW}

        @app.put("/people/{user}")
        async def person(user: str, body: PersonBody) -> Response:
            self.people[user] = body
            return Response(status_code=204)

        @app.put("/people/{user}/access")
        async def access(user: str, body: AccessStatus) -> Response:
            self.access[user] = body
            return Response(status_code=204)

        @app.put("/rules")
        async def rules(body: HubRules) -> Response:
            self.rules = body
            return Response(status_code=204)

        def used(project: str, since: date, person: str | None) -> list[UsageLine]:
            mine = (line for line in self.usage if line.project == project and line.day >= since)
            return [line for line in mine if person in (None, line.person)]

        @app.get("/usage")
        async def usage_lines(project: str, since: date = date.min, person: str | None = None) -> list[UsageLine]:
            return used(project, since, person)

        @app.get("/usage.csv")
        async def usage_csv(project: str, since: date = date.min, person: str | None = None) -> Response:
            return Response(usage_report.as_csv(used(project, since, person)), media_type="text/csv")

        @app.get("/people/{user}/choice")
        async def choice(user: str) -> dict[str, str]:
            return {"factory": "one"}

        @app.get("/people/{user}/sessions")
        async def recent(user: str) -> list[Session]:
            return [s for s in self.sessions.values() if s.user == user]

        @app.get("/people/{user}/clusters")
        async def clusters(user: str) -> list[Cluster]:
            return [cluster for cluster in self.clusters.values() if cluster.user == user]

        @app.delete("/people/{user}/clusters/{cluster_id}")
        async def end_cluster(user: str, cluster_id: str) -> Response:
            cluster = self.clusters.get(cluster_id)
            if cluster is None or cluster.user != user:
                return _no(Problem(kind="gone", message="no such cluster"))
            self.change_cluster(cluster_id, state="ending")
            return Response(status_code=202)

        return app

    def _stream(self, first: Callable[[], tuple[str, str]]) -> StreamingResponse:
        return StreamingResponse(self._read(first), media_type="text/event-stream")

    async def _read(self, first: Callable[[], tuple[str, str]]) -> AsyncIterator[str]:
        queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._readers.add(queue)
        try:
            event, data = first()  # once the queue is there: no change between the two is missed
            yield f"event: {event}\ndata: {data}\n\n"
            while True:
                told = await queue.get()
                yield f"event: {told[0]}\ndata: {told[1]}\n\n"
        finally:
            self._readers.discard(queue)

    @property
    def readers(self) -> int:
        """Return the number of streams with a reader."""
        return len(self._readers)


def _no(problem: Problem) -> Response:
    return JSONResponse(problem.model_dump(), status_code=STATUS.get(problem.kind, 400))


def _json(session: Session) -> Response:
    return Response(session.model_dump_json(), media_type="application/json")
