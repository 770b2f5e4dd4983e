"""Finds the jobs and site accounts of live sessions and clusters, and tells whether a job belongs to one of these."""

from __future__ import annotations

from collections.abc import Iterator

from factorycommon.models import Job, JobId
from factorylink.jobs.identity import Identity
from factorylink.state.cluster_table import ClusterTable
from factorylink.state.live_cluster import LiveCluster
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable


class JobOwners:
    """Finds the jobs and site accounts of sessions and clusters, and tells whether a job belongs to one of them."""

    def __init__(self, identity: Identity, sessions: SessionTable, clusters: ClusterTable) -> None:
        self._identity = identity
        self._sessions = sessions
        self._clusters = clusters

    def all(self) -> Iterator[LiveSession | LiveCluster]:
        """Yield all sessions and clusters that have not ended."""
        yield from self._sessions.values()
        yield from (live_cluster for live_cluster in self._clusters.values() if live_cluster.record.ended is None)

    def accounts(self, factory_id: str) -> set[str]:
        """Return the site accounts of the sessions and clusters at a factory.

        All live sessions and clusters count, and the ended clusters that the table still holds.
        """
        records = [live.record for live in self._sessions.values()], [one.record for one in self._clusters.values()]
        return {record.account for some in records for record in some if record.factory == factory_id}

    def job_ids(self, factory_id: str, account: str | None) -> Iterator[JobId]:
        """Yield the known ids of jobs at a factory: those of live sessions, and of workers that have not ended.

        ``account``: the site account whose jobs count; None: the jobs of all accounts count.
        """
        for live in self._sessions.at(factory_id):
            if live.record.job is not None and account in (None, live.record.account):
                yield live.record.job
        for live_cluster in self._clusters.values():
            if live_cluster.record.factory == factory_id and account in (None, live_cluster.record.account):
                for batch, worker in live_cluster.alive():
                    if (id := live_cluster.job_of(batch, worker)) is not None:
                        yield id

    def is_of_batch(self, factory_id: str, job: Job) -> bool:
        """Return whether a job belongs to a batch of a cluster (worker jobs that were submitted together).

        The job's name, account, comment and id must be those of the batch. Ended clusters that the table still holds
        count, too.
        """
        batch_id = self._identity.batch_of(job, factory_id)
        batches = [live_cluster.record.batches.get(batch_id or "") for live_cluster in self._clusters.values()]
        return any(batch is not None and batch.job == (job.array or job.id) for batch in batches)

    def is_of_session(self, factory_id: str, job: Job) -> bool:
        """Return whether a job belongs to a live session.

        The job's name, account, comment and id must be those of the session's job.
        """
        live = self._sessions.get(self._identity.session_of(job, factory_id) or "")
        return live is not None and live.record.job == job.id
