"""The link's API for people's scripts and notebooks: the JupyterHub service ``factories``.

A hub token identifies the caller; cookies do not count.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request, Response, Security
from fastapi.security import HTTPBearer

from factorycommon.models import (
    BatchId,
    BatchRequest,
    CancelRequest,
    ChoiceQuery,
    ChoiceView,
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
    WorkerLog,
    WorkerName,
)
from factorycommon.service.stream_limits import StreamLimits
from factorylink.api import session_help
from factorylink.api.auth import Caller, Callers
from factorylink.api.docs import describe
from factorylink.api.factory_views import Offers
from factorylink.api.http import Bounded, EventStream, new_app, says, tells
from factorylink.api.hub import Limit
from factorylink.clusters.service import Clusters
from factorylink.explain import explain
from factorylink.problems import of_words
from factorylink.sessions.extension import Extender
from factorylink.sessions.help_relay import HelpRelay
from factorylink.sessions.live_feed import LiveFeed
from factorylink.sessions.service import Sessions

# For the OpenAPI description only: the API also accepts JupyterHub's "token TOKEN".
_BEARER = HTTPBearer(auto_error=False, description="A hub token with the scope access:services!service=factories.")


MOST_BYTES = 2**20  # bytes of a request's body: the names of ten thousand workers need less
MOST_STREAMS = 100  # of one person: each open page, notebook and cluster uses one


def user_app(
    *,
    callers: Callers,
    sessions: Sessions,
    extender: Extender,
    feed: LiveFeed,
    clusters: Clusters,
    offers: Offers,
    relay: HelpRelay,
    base_url: str,
) -> FastAPI:
    """Return the app for people and sessions. ``base_url``: the hub's base path, usually ``/``.

    A caller sees only data of the token's person. A session's token acts for its session's factory and project only.
    """
    app = new_app("API of the factories")
    app.add_middleware(Bounded, most=MOST_BYTES)
    prefix = f"{base_url}services/factories"

    describe(app, f"{prefix}/api")

    streams = StreamLimits(MOST_STREAMS, lambda: of_words("too-many", explain.own("too-many-streams")))

    async def who(request: Request, _described: Annotated[object, Security(_BEARER)]) -> Caller:
        return await callers.of(request.headers)

    asking, own_only = Depends(who), says(401, 403)

    @app.get(f"{prefix}/health")
    async def health() -> dict[str, str]:
        """Answer that the link runs. Needs no token."""
        return {"status": "ok"}

    @app.get(f"{prefix}/api/factories", responses=own_only)
    async def factories(caller: Caller = asking) -> list[FactoryView]:
        """List the factories that you may use, with their node sizes, free resources and health."""
        return offers.views(caller.user)

    @app.get(
        f"{prefix}/api/factories/events",
        response_class=EventStream,
        responses=own_only | says(429) | tells("factories"),
    )
    async def factories_events(caller: Caller = asking) -> EventStream:
        """Stream the list of factories: the whole list at every change."""
        return streams.events(caller.user, caller.stream(offers.stream(caller.user)))

    @app.get(f"{prefix}/api/projects", responses=own_only)
    async def projects(caller: Caller = asking) -> list[ProjectView]:
        """List your projects, with the rest of their budgets. A session's token lists only the session's project."""
        mine = await offers.projects(caller.user)
        own = None if caller.session is None else caller.session.record.choice.project
        return [project for project in mine if caller.session is None or project.id == own]

    @app.get(f"{prefix}/api/choice", responses=own_only | says(404))
    async def choice(wanted: Annotated[ChoiceQuery, Query()], caller: Caller = asking) -> ChoiceView:
        """Return your choice with all defaults filled in, and its highest possible cost. The request starts nothing.

        If you name no size, but `cores` or `memory_gb`, you get the smallest size that has at least this many cores and
        GB, and that allows the choice's hours. If you name a size, this size must have at least this many cores and GB.
        The request is refused if no size fits, or if the factory or your project does not allow the choice. A later
        start with this choice may still be refused, for example because of a drain, a limit or the budget.
        """
        return await offers.choice(caller.user, caller.chooses(wanted.choice()), wanted.cores, wanted.memory_gb)

    @app.get(f"{prefix}/api/coming", responses=own_only)
    async def coming(_caller: Caller = asking) -> list[ComingView]:
        """List the planned factories, which have no machine yet."""
        return offers.coming()

    @app.get(f"{prefix}/api/factories/{{factory_id}}/estimate", responses=own_only | says(404, 429))
    async def estimate(
        factory_id: Slug,
        size: Slug,
        hours: Hours | None = None,
        project: ProjectId | None = None,
        caller: Caller = asking,
    ) -> Estimate:
        """Return the estimated start of a session of this size.

        Without `hours`, the estimate is for the size's default hours. Without `project`, it is for your first project
        that may use the size, if you need a project. With a session's token, it is for the session's project.
        """
        return await offers.estimate(factory_id, caller.user, size, hours, caller.acts_at(factory_id, project))

    @app.get(f"{prefix}/api/sessions", responses=own_only)
    async def list_sessions(live: bool = False, limit: Limit = 100, caller: Caller = asking) -> list[Session]:
        """List your sessions, newest first: with `live` all that have not ended, otherwise the newest `limit`.

        With `live`, sessions that are being stopped come last. Sessions are started and stopped at
        `/hub/api/users/NAME/servers/SERVER`.
        """
        return [caller.shown(session) for session in await sessions.sessions(caller.user, None, live, limit)]

    @app.get(f"{prefix}/api/sessions/{{session_id}}", responses=own_only | says(404))
    async def get_session(session_id: SessionId, caller: Caller = asking) -> Session:
        """Return one of your sessions, live or ended."""
        return caller.shown(await own(session_id, caller))

    @app.get(
        f"{prefix}/api/sessions/{{session_id}}/events",
        response_class=EventStream,
        responses=own_only | says(404, 429) | tells("session"),
    )
    async def session_events(session_id: SessionId, caller: Caller = asking) -> EventStream:
        """Stream one of your sessions: the whole session at every change, until it has ended."""
        known = await own(session_id, caller)
        return streams.events(caller.user, feed.session(session_id, known, caller.shown))

    @app.post(f"{prefix}/api/sessions/{{session_id}}/extend", responses=own_only | says(404, 409))
    async def extend_session(session_id: SessionId, body: ExtendBody, caller: Caller = asking) -> Session:
        """Extend a running session by `hours`, if the site, your project and the gateway's limits allow it."""
        await own(session_id, caller)
        return caller.shown(await extender.extend(session_id, body.hours, "person"))

    @app.get(f"{prefix}/api/clusters", responses=own_only)
    async def list_clusters(live: bool = False, caller: Caller = asking) -> list[Cluster]:
        """List your Dask clusters, newest first; without `live`, also ended ones that the link still has in memory.

        The link keeps about the last 50 ended clusters of all people together, and forgets them at a restart.
        """
        return [cluster for cluster in clusters.of(caller.user, live) if caller.reaches(cluster.choice)]

    @app.put(
        f"{prefix}/api/clusters/{{cluster_id}}",
        responses=own_only | says(404, 409, 429) | {201: {"model": Cluster}},
    )
    async def put_cluster(
        cluster_id: ClusterId, request: ClusterRequest, response: Response, caller: Caller = asking
    ) -> Cluster:
        """Create a Dask cluster with an id that you choose; the same request sent twice creates one cluster."""
        options = None if caller.session is None else caller.session.record.options
        cluster, created = await clusters.put(
            cluster_id, caller.user, caller.begins(request), may_touch=caller.has, options=options
        )
        response.status_code = 201 if created else 200
        return cluster

    @app.get(f"{prefix}/api/clusters/{{cluster_id}}", responses=own_only | says(404))
    async def get_cluster(cluster_id: ClusterId, caller: Caller = asking) -> Cluster:
        """Return one of your Dask clusters with its jobs.

        This request does not count as use of the cluster. Reading the stream of its events does, unless the cluster's
        scheduler has a job of its own.
        """
        return clusters.look(mine(cluster_id, caller), caller.user)

    @app.get(
        f"{prefix}/api/clusters/{{cluster_id}}/events",
        response_class=EventStream,
        responses=own_only | says(404, 429) | tells("cluster"),
    )
    async def cluster_events(cluster_id: ClusterId, caller: Caller = asking) -> EventStream:
        """Stream one of your Dask clusters: the whole cluster at first, then its changes.

        While you read the stream, the cluster does not end for lack of use, unless its scheduler has a job of its own:
        such a cluster ends when it has had no work for its idle time.
        """
        cluster = clusters.own(mine(cluster_id, caller), caller.user)
        return streams.events(caller.user, caller.stream(cluster.stream()))

    @app.get(f"{prefix}/api/clusters/{{cluster_id}}/scheduler", responses=own_only | says(404, 409))
    async def get_scheduler(cluster_id: ClusterId, response: Response, caller: Caller = asking) -> Scheduler:
        """Return the address and the TLS keys of a cluster's Dask scheduler."""
        response.headers["Cache-Control"] = "no-store"  # the response contains keys, so it must not be cached
        return await clusters.scheduler(mine(cluster_id, caller), caller.user)

    @app.put(f"{prefix}/api/clusters/{{cluster_id}}/batches/{{batch_id}}", responses=own_only | says(404, 409, 429))
    async def put_batch(
        cluster_id: ClusterId, batch_id: BatchId, request: BatchRequest, caller: Caller = asking
    ) -> Cluster:
        """Add a batch of jobs with Dask workers to a cluster; the same batch sent twice is submitted once."""
        caller.may_begin()
        return await clusters.grow(mine(cluster_id, caller), caller.user, batch_id, request)

    @app.post(f"{prefix}/api/clusters/{{cluster_id}}/cancel", responses=own_only | says(404))
    async def cancel_workers(cluster_id: ClusterId, request: CancelRequest, caller: Caller = asking) -> Cluster:
        """Cancel worker jobs of a cluster, given by name; each such job runs one or more Dask workers."""
        return await clusters.cancel(mine(cluster_id, caller), caller.user, request.names)

    @app.get(f"{prefix}/api/clusters/{{cluster_id}}/workers/{{name}}/log", responses=own_only | says(404, 429, 503))
    async def worker_log(cluster_id: ClusterId, name: WorkerName, caller: Caller = asking) -> WorkerLog:
        """Return the last lines of the log of a worker's job, also while the job runs."""
        return await clusters.log(mine(cluster_id, caller), caller.user, name)

    @app.delete(f"{prefix}/api/clusters/{{cluster_id}}", status_code=202, responses=own_only | says(404))
    async def end_cluster(cluster_id: ClusterId, caller: Caller = asking) -> Cluster:
        """End a Dask cluster with all its jobs."""
        return await clusters.end(mine(cluster_id, caller), caller.user)

    app.include_router(session_help.router(relay, asking), prefix=f"{prefix}/api")

    async def own(session_id: SessionId, caller: Caller) -> Session:
        session = await sessions.session(session_id)
        caller.sees(session)
        return session

    def mine(cluster_id: ClusterId, caller: Caller) -> ClusterId:
        caller.has(clusters.own(cluster_id, caller.user).record)
        return cluster_id

    return app
