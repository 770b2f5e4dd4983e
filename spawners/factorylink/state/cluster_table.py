"""Holds the Dask clusters in memory: the live ones, and the last ones that have ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from factorycommon.models import ClusterId, Session
from factorylink.ledger.cluster_store import ClusterRecord
from factorylink.site.factory_connection import FactoryConnection
from factorylink.state.live_cluster import LiveCluster

_ENDED_KEPT = 50


class ClusterTable(Mapping[ClusterId, LiveCluster]):
    """Dask clusters by id; ended ones stay until ``put_away``.

    Each function of ``on_change`` is called with a cluster whose view may have changed. Each function of
    ``on_put_away`` is called with a cluster that has ended, right before the table removes it. ``adopted``: by person,
    the number of worker jobs that this process knows only from a client's report: no factory has listed them yet.
    """

    def __init__(self) -> None:
        self._live: dict[ClusterId, LiveCluster] = {}
        self._ended: dict[ClusterId, LiveCluster] = {}
        self._closed = False
        self.adopted: Counter[str] = Counter()
        self.on_change: list[Callable[[LiveCluster], None]] = []
        self.on_put_away: list[Callable[[LiveCluster], None]] = []

    def __getitem__(self, cluster_id: ClusterId) -> LiveCluster:
        return self._live[cluster_id]

    def __iter__(self) -> Iterator[ClusterId]:
        return iter(self._live)

    def __len__(self) -> int:
        return len(self._live)

    def known(self, cluster_id: ClusterId) -> LiveCluster | None:
        """Return a cluster in the table, or one of the last that the table has removed; None for any other id."""
        return self._live.get(cluster_id) or self._ended.get(cluster_id)

    def ended(self) -> list[LiveCluster]:
        """Return the 50 ended clusters, or fewer, that ``put_away`` removed most recently, in the order of removal."""
        return list(self._ended.values())

    def hold(
        self, record: ClusterRecord, connection: FactoryConnection | None, head: Callable[[], Session | None]
    ) -> LiveCluster:
        """Put a cluster that is in the ledger into the table; return it as a live cluster.

        ``connection`` None: the factory is not offered any more. ``head``: returns the session whose job runs the
        cluster's Dask scheduler, or None if there is no such job.
        """
        live_cluster = LiveCluster(record, connection, self._tell, lambda: self._closed, head)
        self._live[record.id] = live_cluster
        return live_cluster

    def put_away(self) -> None:
        """Remove ended clusters from the table; the last of them stay available by ``known`` and ``ended``."""
        for live_cluster in tuple(self._live.values()):
            if live_cluster.record.ended is not None:
                for on_put_away in self.on_put_away:
                    on_put_away(live_cluster)
                self._ended[live_cluster.record.id] = self._live.pop(live_cluster.record.id)
        while len(self._ended) > _ENDED_KEPT:
            del self._ended[next(iter(self._ended))]

    def close(self) -> None:
        """Make each event stream about a cluster (``LiveCluster.stream``) end at the cluster's next change."""
        self._closed = True

    def _tell(self, live_cluster: LiveCluster) -> None:
        for on_change in self.on_change:
            on_change(live_cluster)
