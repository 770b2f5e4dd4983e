"""The ends of a cluster's jobs, and of the cluster with the last of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from factorycommon.models import End, EndReason, Words, WorkerState
from factorylink.ledger.cluster_store import ClusterStore, WorkerRecord
from factorylink.state.live_cluster import LiveCluster
from factorylink.util import clock


class WorkerEnds:
    """Writes ends into the ledger, and tells who reads of the cluster."""

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
        """Write that these jobs have ended, and so has the cluster if it was to end and these were the last. ``ends``:
        what the scheduler says of each job, in the same order."""
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
