"""What a cluster's jobs hold of their project's budget."""

from __future__ import annotations

from collections.abc import Iterable

from factorylink.catalogue.choices import walltime
from factorylink.catalogue.prices import gpus_of
from factorylink.ledger import charges
from factorylink.ledger.charges import ChargeReservation
from factorylink.ledger.cluster_store import BatchRecord, WorkerRecord
from factorylink.sessions.link_state import LinkState
from factorylink.state.live_cluster import LiveCluster


def claims(
    link_state: LinkState, live_cluster: LiveCluster, batch: BatchRecord, workers: Iterable[WorkerRecord]
) -> list[ChargeReservation]:
    """Return what these jobs of a batch may use at most."""
    row, payer = live_cluster.row, link_state.payer(live_cluster.row.choice)
    gpus = row.gpus if live_cluster.place is None else gpus_of(live_cluster.place.factory, row.choice.size)
    of = (payer, row.factory, row.user, row.account, gpus, walltime(batch.hours))
    return [ChargeReservation(charges.worker_charge(batch.id, worker.task), *of) for worker in workers]


def held(link_state: LinkState, live_cluster: LiveCluster, batch: BatchRecord) -> list[ChargeReservation]:
    """Return what a batch holds: its jobs that are not over. A job that a client says is there holds nothing until an
    answer of the factory shows it."""
    there = (worker for worker in batch.workers if worker.ended is None and batch.was_shown(worker))
    return claims(link_state, live_cluster, batch, there)
