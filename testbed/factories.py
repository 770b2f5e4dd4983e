"""A factory's cluster, whichever scheduler it has: what the demo and the command line start, find and end."""

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
    """What every cluster can do."""

    @property
    def id(self) -> str:
        """The factory's id."""

    @property
    def root(self) -> bool:
        """Whether jobs run as different users."""

    @property
    def accounts(self) -> tuple[str, ...]:
        """Unix users that may run jobs."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes."""

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the living daemons."""

    def access_fields(self) -> dict[str, object]:
        """Fields of ``factorylink.config.Access`` by which the link reaches it."""

    def describe(self) -> dict[str, object]:
        """How its administrator talks to it: the configuration file, ``env``, ``prefix``, ``accounts``, ``root``."""

    def ready(self) -> bool:
        """Whether all nodes take jobs."""

    def down(self) -> None:
        """Stop everything."""


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
    """A running cluster for ``factory`` with the scheduler that it has. Raises the errors of the testbed."""
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
    """The cluster that :func:`up` made, running or not. Raises NotThere."""
    if (state / factory_id / pbs_record.FILE).exists():
        return pbs_cluster.load(state, factory_id)
    return cluster.load(state, factory_id)


def known(state: Path) -> list[str]:
    """Ids of all clusters ever started in ``state`` and still remembered."""
    with_pbs = {file.parent.name for file in state.absolute().glob(f"*/{pbs_record.FILE}")}
    return sorted(with_pbs | set(cluster.known(state)))
