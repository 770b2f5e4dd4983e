"""Starts, finds and stops a factory's cluster, whichever scheduler it has; used by the demo and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from factorycommon.models import Factory
from testbed.errors import CannotLayOut
from testbed.network.login_side import Isolation
from testbed.pbs import cluster as pbs_cluster
from testbed.pbs import record as pbs_record
from testbed.pbs import up as pbs_up
from testbed.slurm import cluster


class Running(Protocol):
    """The interface of every cluster of the testbed."""

    @property
    def id(self) -> str:
        """Return the factory's id."""

    @property
    def root(self) -> bool:
        """Return whether jobs run as different users."""

    @property
    def accounts(self) -> tuple[str, ...]:
        """Return the Unix users that may run jobs."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the names of the nodes."""

    @property
    def pids(self) -> dict[str, int]:
        """Return the process ids of the living daemons, by the daemon's name."""

    def access_fields(self) -> dict[str, object]:
        """Return the fields of ``factorylink.config.Access`` by which the link reaches the cluster."""

    def describe(self) -> dict[str, object]:
        """Return how the administrator reaches the cluster.

        The keys are the configuration file, ``env``, ``prefix``, ``accounts``, ``root``.
        """

    def ready(self) -> bool:
        """Return whether all nodes accept jobs."""

    def down(self) -> None:
        """Stop everything, jobs included."""


def up(
    factory: Factory,
    state: Path,
    packages: Path | None = None,
    *,
    gpu_nodes: int = 2,
    cpu_nodes: int = 1,
    isolation: Isolation | None = None,
    accounting: bool = False,
) -> Running:
    """Start a cluster for ``factory`` with its scheduler, and return the running cluster.

    ``state``: the folder of the clusters' files; ``packages``: where Slurm is unpacked, None: in ``state``;
    ``gpu_nodes``, ``cpu_nodes``: how many nodes of each kind with and without GPUs; ``isolation``: how the factory is
    isolated, None: on 127.0.0.1, except PBS, which always is; ``accounting``: enforce accounts and QOS (Slurm only).
    Raises TestbedError.
    """
    if factory.scheduler == "pbs":
        if accounting:
            raise CannotLayOut(f"{factory.id}: PBS has no accounting with limits, so it is laid out without")
        return pbs_up.up(factory, state, gpu_nodes=gpu_nodes, cpu_nodes=cpu_nodes, isolation=isolation)
    return cluster.up(
        factory,
        state,
        packages,
        gpu_nodes=gpu_nodes,
        cpu_nodes=cpu_nodes,
        isolation=isolation,
        accounting=accounting,
    )


def load(state: Path, factory_id: str) -> Running:
    """Return the cluster that :func:`up` made, whether it runs or not. Raises NotThere."""
    if (state / factory_id / pbs_record.FILE).exists():
        return pbs_cluster.load(state, factory_id)
    return cluster.load(state, factory_id)


def known(state: Path) -> list[str]:
    """Return the ids of all clusters ever started in ``state`` that still have a record."""
    with_pbs = {file.parent.name for file in state.absolute().glob(f"*/{pbs_record.FILE}")}
    return sorted(with_pbs | set(cluster.known(state)))
