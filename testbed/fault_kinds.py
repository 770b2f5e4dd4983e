"""The table of faults: how each is made and undone, and what it takes.

``begin`` gives a note that its ``undo`` gets back; both return when it is so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from testbed import faults_site, faults_slurm
from testbed.cluster import Cluster


@dataclass(frozen=True)
class Kind:
    """``lasts``: there is something to undo. ``once``: it cannot stand twice with the same arguments."""

    begin: Callable[..., str]
    undo: Callable[..., None]
    usage: str = ""
    least: int = 0
    most: int = 0
    isolated: bool = False
    lasts: bool = True
    once: bool = True


def _nothing(cluster: Cluster, note: str, *args: str) -> None:
    """There is no way back."""


KINDS: dict[str, Kind] = {
    "slurmctld-down": Kind(faults_slurm.slurmctld_down, faults_slurm.slurmctld_up),
    "state-lost": Kind(faults_slurm.state_lost, _nothing, lasts=False),
    "sshd-down": Kind(faults_site.sshd_down, faults_site.sshd_up, isolated=True),
    "hostkey": Kind(faults_site.other_host_key, faults_site.own_host_key, isolated=True),
    "auth": Kind(faults_site.distrust, faults_site.trust, isolated=True),
    "cut": Kind(faults_site.cut, faults_site.mend, isolated=True),
    "slow": Kind(faults_site.slow, faults_site.fast, "[MILLISECONDS [PERCENT]]", 0, 2, isolated=True),
    "node-down": Kind(faults_slurm.node_down, faults_slurm.node_up, "NODE [now]", 1, 2),
    "drain": Kind(faults_slurm.drain, faults_slurm.undrain, "[NODE]", 0, 1),
    "disk-full": Kind(faults_site.disk_full, faults_site.disk_free, "ACCOUNT", 1, 1, isolated=True),
    "requeue": Kind(faults_slurm.requeue, _nothing, "JOB", 1, 1, lasts=False),
    "preempt": Kind(faults_slurm.preempt, faults_slurm.let_be, "JOB", 1, 1, once=False),
    "kill": Kind(faults_slurm.cancel, _nothing, "JOB", 1, 1, lasts=False),
}
