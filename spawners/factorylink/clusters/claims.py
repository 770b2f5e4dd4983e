"""What a cluster's jobs hold of their project's budget."""

from __future__ import annotations

from collections.abc import Iterable

from factorylink import budget
from factorylink.board import Board
from factorylink.budget import Claim
from factorylink.choices import gpus_of, walltime
from factorylink.clusters.flock import Flock
from factorylink.clusters.rows import BatchRow, WorkerRow


def claims(board: Board, flock: Flock, batch: BatchRow, workers: Iterable[WorkerRow]) -> list[Claim]:
    """Return what these jobs of a batch may use at most."""
    row, payer = flock.row, board.payer(flock.row.choice)
    gpus = row.gpus if flock.place is None else gpus_of(flock.place.factory, row.choice.size)
    of = (payer, row.factory, row.user, row.account, gpus, walltime(batch.hours))
    return [Claim(budget.worker_charge(batch.id, worker.task), *of) for worker in workers]


def held(board: Board, flock: Flock, batch: BatchRow) -> list[Claim]:
    """Return what a batch holds: its jobs that are not over. A job that a client says is there holds nothing until an
    answer of the factory shows it."""
    there = (worker for worker in batch.workers if worker.ended is None and batch.was_shown(worker))
    return claims(board, flock, batch, there)
