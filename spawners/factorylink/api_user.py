"""The link's API for people's scripts and notebooks: the JupyterHub service ``factories``. Bearer tokens only."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response, Security
from fastapi.security import HTTPBearer

from factorylink.api_hub import Limit, follow_session
from factorylink.callers import Callers
from factorylink.clusters.service import Clusters
from factorylink.hub import HubClient
from factorylink.models import (
    BatchId,
    BatchRequest,
    CancelRequest,
    Cluster,
    ClusterId,
    ClusterRequest,
    ComingView,
    Estimate,
    ExtendBody,
    FactoryView,
    Hours,
    ProjectId,
    ProjectView,
    Scheduler,
    Session,
    SessionId,
    Slug,
)
from factorylink.offers import Offers
from factorylink.problems import gone
from factorylink.sessions import Sessions
from factorylink.streams import OpenStreams
from factorylink.web import Bounded, EventStream, new_app, says, tells

# For the description only: JupyterHub's own "token TOKEN" is taken as well.
_BEARER = HTTPBearer(auto_error=False, description="A hub token with the scope access:services!service=factories.")


MOST_BYTES = 2**20  # of a request's body: ten thousand names of workers are less


def user_app(sessions: Sessions, clusters: Clusters, offers: Offers, hub: HubClient, base_url: str) -> FastAPI:
    """``base_url``: the hub's, ``/`` mostly. Everyone sees only what is their own."""
    app = new_app("factorygate link, for people")
    app.add_middleware(Bounded, most=MOST_BYTES)
    prefix = f"{base_url}services/factories"

    callers = Callers(hub)
    streams = OpenStreams()

    async def who(request: Request, _described: Annotated[object, Security(_BEARER)]) -> str:
        return await callers.person(request.headers.get("Authorization", ""))

    user, own_only = Depends(who), says(401, 403)

    @app.get(f"{prefix}/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(f"{prefix}/api/factories", responses=own_only)
    async def factories(name: str = user) -> list[FactoryView]:
        return offers.views(name)

    @app.get(
        f"{prefix}/api/factories/events",
        response_class=EventStream,
        responses=own_only | says(429) | tells("factories"),
    )
    async def factories_events(name: str = user) -> EventStream:
        return streams.events(name, offers.stream(name))

    @app.get(f"{prefix}/api/projects", responses=own_only)
    async def projects(name: str = user) -> list[ProjectView]:
        return await offers.projects(name)

    @app.get(f"{prefix}/api/coming", responses=own_only)
    async def coming(_name: str = user) -> list[ComingView]:
        return offers.coming()

    @app.get(f"{prefix}/api/factories/{{factory_id}}/estimate", responses=own_only | says(404, 429))
    async def estimate(
        factory_id: Slug, size: Slug, hours: Hours | None = None, project: ProjectId | None = None, name: str = user
    ) -> Estimate:
        return await offers.estimate(factory_id, name, size, hours, project)

    @app.get(f"{prefix}/api/sessions", responses=own_only)
    async def list_sessions(live: bool = False, limit: Limit = 100, name: str = user) -> list[Session]:
        return await sessions.sessions(name, None, live, limit)

    @app.get(f"{prefix}/api/sessions/{{session_id}}", responses=own_only | says(404))
    async def get_session(session_id: SessionId, name: str = user) -> Session:
        return await own(session_id, name)

    @app.get(
        f"{prefix}/api/sessions/{{session_id}}/events",
        response_class=EventStream,
        responses=own_only | says(404, 429) | tells("session"),
    )
    async def session_events(session_id: SessionId, name: str = user) -> EventStream:
        await own(session_id, name)
        return streams.events(name, await follow_session(sessions, session_id))

    @app.post(f"{prefix}/api/sessions/{{session_id}}/extend", responses=own_only | says(404, 409))
    async def extend_session(session_id: SessionId, body: ExtendBody, name: str = user) -> Session:
        await own(session_id, name)
        return await sessions.extender.extend(session_id, body.hours, "person")

    @app.get(f"{prefix}/api/clusters", responses=own_only)
    async def list_clusters(live: bool = False, name: str = user) -> list[Cluster]:
        return clusters.of(name, live)

    @app.put(f"{prefix}/api/clusters/{{cluster_id}}", responses=own_only | says(404, 409) | {201: {"model": Cluster}})
    async def put_cluster(
        cluster_id: ClusterId, request: ClusterRequest, response: Response, name: str = user
    ) -> Cluster:
        cluster, created = await clusters.put(cluster_id, name, request)
        response.status_code = 201 if created else 200
        return cluster

    @app.get(f"{prefix}/api/clusters/{{cluster_id}}", responses=own_only | says(404))
    async def get_cluster(cluster_id: ClusterId, name: str = user) -> Cluster:
        return clusters.look(cluster_id, name)

    @app.get(
        f"{prefix}/api/clusters/{{cluster_id}}/events",
        response_class=EventStream,
        responses=own_only | says(404, 429) | tells("cluster"),
    )
    async def cluster_events(cluster_id: ClusterId, name: str = user) -> EventStream:
        return streams.events(name, clusters.own(cluster_id, name).stream())

    @app.get(f"{prefix}/api/clusters/{{cluster_id}}/scheduler", responses=own_only | says(404, 409))
    async def get_scheduler(cluster_id: ClusterId, response: Response, name: str = user) -> Scheduler:
        response.headers["Cache-Control"] = "no-store"  # it holds keys
        return await clusters.scheduler(cluster_id, name)

    @app.put(f"{prefix}/api/clusters/{{cluster_id}}/batches/{{batch_id}}", responses=own_only | says(404, 409))
    async def put_batch(cluster_id: ClusterId, batch_id: BatchId, request: BatchRequest, name: str = user) -> Cluster:
        return await clusters.grow(cluster_id, name, batch_id, request)

    @app.post(f"{prefix}/api/clusters/{{cluster_id}}/cancel", responses=own_only | says(404))
    async def cancel_workers(cluster_id: ClusterId, request: CancelRequest, name: str = user) -> Cluster:
        return await clusters.cancel(cluster_id, name, request.names)

    @app.delete(f"{prefix}/api/clusters/{{cluster_id}}", status_code=202, responses=own_only | says(404))
    async def end_cluster(cluster_id: ClusterId, name: str = user) -> Cluster:
        return await clusters.end(cluster_id, name)

    async def own(session_id: SessionId, name: str) -> Session:
        session = await sessions.session(session_id)
        if session.user != name:
            raise gone(f"The session {session_id}")  # whether another's exists is nobody's business
        return session

    return app
