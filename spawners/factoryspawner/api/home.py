"""The handler of the event stream for the home page."""

from __future__ import annotations

from factoryspawner.api.clusters import CLUSTERS
from factoryspawner.api.handler import GatewayHandler
from factoryspawner.api.sessions import SESSIONS
from factoryspawner.event_stream import Source


class HomeEvents(GatewayHandler):
    """Sends a stream of this person's live sessions and clusters.

    Sessions and clusters share one stream, because a browser opens only few connections to a server.
    """

    async def get(self) -> None:
        """Send the events ``sessions``: ``list[Session]``, and ``clusters``: ``list[Cluster]``.

        Each event has the whole list, and is sent at once and at every change of the list.
        """
        table = self.gateway.table
        sessions = Source("sessions", SESSIONS, table.live_of(self.person))
        await self.send(sessions, Source("clusters", CLUSTERS, table.clusters_of(self.person)))


ROUTES: tuple[tuple[str, type[GatewayHandler]], ...] = ((r"home/events", HomeEvents),)
