"""The table of faults: how each is caused and undone, and which arguments it takes.

``begin`` returns a note that is passed to ``undo``; both functions return when the change is effective.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from testbed.faults import site as faults_site
from testbed.faults import slurm
from testbed.slurm.cluster import SlurmCluster


@dataclass(frozen=True)
class FaultKind:
    """A kind of fault.

    ``usage``: the arguments as text; ``least``, ``most``: the limits of their number; ``isolated``: whether the fault
    needs an isolated factory; ``lasts``: whether there is something to undo; ``once``: whether it cannot be caused
    twice with the same arguments.
    """

    begin: Callable[..., str]
    undo: Callable[..., None]
    usage: str = ""
    least: int = 0
    most: int = 0
    isolated: bool = False
    lasts: bool = True
    once: bool = True


def _nothing(cluster: SlurmCluster, note: str, *args: str) -> None:
    """Do nothing: this fault has no undo."""


KINDS: dict[str, FaultKind] = {
    "slurmctld-down": FaultKind(slurm.slurmctld_down, slurm.slurmctld_up),
    "state-lost": FaultKind(slurm.state_lost, _nothing, lasts=False),
    "sshd-down": FaultKind(faults_site.sshd_down, faults_site.sshd_up, isolated=True),
    "hostkey": FaultKind(faults_site.other_host_key, faults_site.own_host_key, isolated=True),
    "auth": FaultKind(faults_site.distrust, faults_site.trust, isolated=True),
    "cut": FaultKind(faults_site.cut, faults_site.mend, isolated=True),
    "slow": FaultKind(faults_site.slow, faults_site.fast, "[MILLISECONDS [PERCENT]]", 0, 2, isolated=True),
    "node-down": FaultKind(slurm.node_down, slurm.node_up, "NODE [now]", 1, 2),
    "drain": FaultKind(slurm.drain, slurm.undrain, "[NODE]", 0, 1),
    "disk-full": FaultKind(faults_site.disk_full, faults_site.disk_free, "ACCOUNT", 1, 1, isolated=True),
    "requeue": FaultKind(slurm.requeue, _nothing, "JOB", 1, 1, lasts=False),
    "preempt": FaultKind(slurm.preempt, slurm.let_be, "JOB", 1, 1, once=False),
    "kill": FaultKind(slurm.cancel, _nothing, "JOB", 1, 1, lasts=False),
}
