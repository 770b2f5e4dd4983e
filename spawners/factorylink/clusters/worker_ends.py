"""Records that jobs of a cluster have ended, and that a cluster to be ended has no jobs left."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from factorycommon.models import End, EndReason, Words, WorkerState
from factorylink.ledger.cluster_store import ClusterStore, WorkerRecord
from factorylink.state.live_cluster import LiveCluster
from factorylink.util import clock


class WorkerEnds:
    """Writes ends of jobs into the ledger, and notifies the readers of the cluster."""

    def __init__(self, store: ClusterStore) -> None:
        self._store = store

    async def over(
        self,
        live_cluster: LiveCluster,
        ended: list[WorkerRecord],
        reason: EndReason,
        words: Words,
        ends: Sequence[End | None] = (),
    ) -> None:
        """Record that these jobs have ended.

        If the cluster was to end and these were its last jobs, record that the cluster has ended, too. ``ends``: the
        scheduler's record of each job, in the order of ``ended``.
        """
        now = clock.now()
        for worker, end in zip_longest(ended, ends):
            if worker.ended is None:
                worker.state, worker.end_reason, worker.end = WorkerState.ENDED, reason, worker.end or words
                worker.is_over(now, end)
        await self._store.save(ended)
        live_cluster.touch(*ended)
        if live_cluster.record.wish == "stop" and not live_cluster.alive() and live_cluster.record.ended is None:
            await self._store.change(live_cluster.record, ended=now)
            live_cluster.touch()
