"""Answers the pages' requests about a person's Dask clusters: lists the clusters, and ends one."""

from __future__ import annotations

from pydantic import TypeAdapter

from factorycommon.models import Cluster
from factoryspawner.api.handler import NOTHING, GatewayHandler

CLUSTERS = TypeAdapter(list[Cluster])


class ClustersHandler(GatewayHandler):
    """Answers requests for the list of this person's Dask clusters."""

    async def get(self) -> None:
        """Answer ``list[Cluster]``, clusters without their jobs: the live ones, then the last few that have ended.

        Among the live clusters, the newest comes first; among the ended clusters, the one that ended last.
        """
        self.answer(CLUSTERS, await self.gateway.link.person_clusters(self.person))


class OneCluster(GatewayHandler):
    """Answers requests to end one of this person's Dask clusters."""

    async def delete(self, cluster_id: str) -> None:
        """End a cluster with all its jobs; answer 202 once the request is recorded."""
        await self.gateway.link.end_cluster(self.person, cluster_id)
        self.set_status(202)
        self.answer(NOTHING, {})


ROUTES: tuple[tuple[str, type[GatewayHandler]], ...] = (
    (r"clusters", ClustersHandler),
    (r"clusters/([0-9a-f]{32})", OneCluster),
)
