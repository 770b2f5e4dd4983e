"""Computes the GPU-hours of a project's budget that the jobs of sessions and clusters reserve."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from factorylink.catalogue.choices import walltime
from factorylink.catalogue.prices import gpus_of
from factorylink.ledger import charges
from factorylink.ledger.charges import ChargeReservation
from factorylink.ledger.cluster_store import BatchRecord, WorkerRecord
from factorylink.ledger.schema import SessionRecord
from factorylink.projects.book import ProjectBook
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.live_cluster import LiveCluster


class ChargeReservations:
    """Computes the reservations of GPU-hours for the jobs of sessions and clusters.

    Nothing is stored: callers write the reservations into the ledger.
    """

    def __init__(self, factories: OfferedFactories, projects: ProjectBook) -> None:
        self._factories = factories
        self._projects = projects

    def of_session(self, record: SessionRecord) -> ChargeReservation:
        """Return the reservation for a session's job: the billed GPUs, for the job's whole walltime.

        If the factory is not offered any more, the reservation has 0 GPUs.
        """
        connection, payer = self._factories.get(record.factory), self._projects.payer(record.choice)
        gpus = Fraction(0) if connection is None else gpus_of(connection.factory, record.choice.size)
        return ChargeReservation(
            record.id, payer, record.factory, record.user, record.account, gpus, walltime(record.choice.hours)
        )

    def of_workers(
        self, live_cluster: LiveCluster, batch: BatchRecord, workers: Iterable[WorkerRecord]
    ) -> list[ChargeReservation]:
        """Return a reservation for the job of each of ``workers``: the billed GPUs, for the job's whole walltime.

        ``batch``: the batch to which the workers' jobs belong.
        """
        record, payer = live_cluster.record, self._projects.payer(live_cluster.record.choice)
        gpus = (
            record.gpus
            if live_cluster.connection is None
            else gpus_of(live_cluster.connection.factory, record.choice.size)
        )
        of = (payer, record.factory, record.user, record.account, gpus, walltime(batch.hours))
        return [ChargeReservation(charges.worker_charge(batch.id, worker.task), *of) for worker in workers]

    def of_batch(self, live_cluster: LiveCluster, batch: BatchRecord) -> list[ChargeReservation]:
        """Return a reservation for each job of the batch that has not ended.

        If the ledger was lost, the cluster's client reports the cluster's jobs to the link. A job that is known only
        from such a report reserves nothing until the factory's scheduler lists the job.
        """
        shown = (worker for worker in batch.workers if worker.ended is None and batch.was_shown(worker))
        return self.of_workers(live_cluster, batch, shown)
