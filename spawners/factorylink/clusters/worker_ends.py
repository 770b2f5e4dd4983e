"""Records in the ledger that jobs of a cluster have ended, and that a stopped cluster has ended with its last job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from factorycommon.models import End, EndReason, Words, WorkerState
from factorylink.ledger.cluster_store import ClusterStore, WorkerRecord
from factorylink.ledger.ledger import LedgerError
from factorylink.state.live_cluster import LiveCluster
from factorylink.util import clock

_SET = ("state", "end_reason", "end", "started", "ends", "ended", "earlier")  # the fields of a worker that its end sets


@dataclass(frozen=True)
class WorkerEnd:
    """The end of one job of a cluster, and why the job has ended.

    ``words``: the explanation for people; ``record``: the scheduler's record of the job, None: there is none.
    """

    worker: WorkerRecord
    reason: EndReason
    words: Words
    record: End | None = None


class WorkerEnds:
    """Records in the ledger that jobs of a cluster have ended, and wakes those who wait for changes of the cluster."""

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
        """Record in the ledger that these jobs have ended, all for the same reason. Raises LedgerError.

        ``words``: the explanation for people; ``ends``: the scheduler's record of each job, in the order of ``ended``,
        None for a job without one; () if there are no records.
        """
        pairs = zip_longest(ended, ends)
        await self.over_each(live_cluster, [WorkerEnd(worker, reason, words, end) for worker, end in pairs])

    async def over_each(self, live_cluster: LiveCluster, ended: Sequence[WorkerEnd]) -> None:
        """Record in the ledger that these jobs have ended, in one commit.

        If the end of the cluster was requested, and these were its last jobs, record that the cluster has ended, too.
        Raises LedgerError; if the ledger did not record the ends of the jobs, these jobs count as not ended, and a
        later call may try again.
        """
        now, workers = clock.now(), [one.worker for one in ended]
        before = [(worker, {name: getattr(worker, name) for name in _SET}) for worker in workers if not worker.ended]
        for one in ended:
            worker = one.worker
            if worker.ended is None:
                worker.state, worker.end_reason, worker.end = WorkerState.ENDED, one.reason, worker.end or one.words
                worker.is_over(now, one.record, live_cluster.record.batches[worker.batch].hours)
        try:
            await self._store.save(workers)
        except LedgerError:
            for worker, values in before:
                vars(worker).update(values)
            raise
        live_cluster.touch(*workers)
        if live_cluster.record.wish == "stop" and not live_cluster.alive() and live_cluster.record.ended is None:
            await self._store.change(live_cluster.record, ended=now)
            live_cluster.touch()
