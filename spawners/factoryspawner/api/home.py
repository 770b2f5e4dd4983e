"""The stream that the home page follows."""

from __future__ import annotations

from factoryspawner.api.clusters import CLUSTERS
from factoryspawner.api.handler import GatewayHandler
from factoryspawner.api.sessions import SESSIONS
from factoryspawner.event_stream import Source


class HomeEvents(GatewayHandler):
    """This person's live sessions and clusters in one stream: a browser has few connections to a server."""

    async def get(self) -> None:
        """Send the events ``sessions``: ``list[Session]``, and ``clusters``: ``list[Cluster]``; each whole at every
        change."""
        table = self.gateway.table
        sessions = Source("sessions", SESSIONS, table.live_of(self.person))
        await self.send(sessions, Source("clusters", CLUSTERS, table.clusters_of(self.person)))


ROUTES: tuple[tuple[str, type[GatewayHandler]], ...] = ((r"home/events", HomeEvents),)
