"""Faults of a factory's Slurm, its nodes and its jobs, each with its undo."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from testbed import processes
from testbed.errors import FaultFailed
from testbed.faults import site as faults_site
from testbed.network import login_side
from testbed.slurm import daemons, layout
from testbed.slurm.cluster import SlurmCluster

SECONDS = 60.0  # seconds within which a change must be effective
_LIVE = ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING")
_REASON = "Reason=testbed"


def slurmctld_down(cluster: SlurmCluster) -> str:
    """Stop slurmctld in an orderly way, so that it saves its state.

    A crash would lose the jobs of the last seconds, as on any site. Return "", since the undo needs no note.
    """
    process = daemons.running(cluster.folder, daemons.CONTROLLER)
    if process is not None:
        processes.end(process, SECONDS)
    return ""


def slurmctld_up(cluster: SlurmCluster, note: str) -> None:  # noqa: ARG001
    """Start slurmctld with the state that it saved, and wait until it knows its nodes. ``note``: not used."""
    cluster.start_daemons(daemons.CONTROLLER)
    _await(lambda: not _nodes_in(cluster, "unk"), "the controller knows its nodes")


def state_lost(cluster: SlurmCluster) -> str:
    """Start slurmctld without its state: it knows no jobs, and gives the job ids since the cluster's start once more.

    Return "", since there is no undo.
    """
    slurmctld_down(cluster)
    folder = cluster.record.place.base / layout.STATE
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    slurmctld_up(cluster, "")
    return ""


def node_down(cluster: SlurmCluster, node: str, now: str = "") -> str:
    """Cut off a node as a power failure does: drop its packets and kill its processes.

    If the factory is not isolated, only the node's slurmd is killed. slurmctld notices the failure by itself. If
    ``now`` is not empty, the administrator sets the node down at once. Return "", since the undo needs no note.
    """
    _check_node(cluster, node)
    if cluster.network is None:
        cluster.kill(node)
    else:
        faults_site.plug(cluster, node, "down")
        while left := faults_site.on_host(cluster, node):  # daemons may start other processes in the meantime
            for process in left:
                processes.kill(process)
    if now:
        _control(cluster, "update", f"NodeName={node}", "State=DOWN", _REASON)
    return ""


def node_up(cluster: SlurmCluster, note: str, node: str, *_: str) -> None:  # noqa: ARG001
    """Restore a node, and wait until Slurm starts jobs on it again. ``note``: not used."""
    if cluster.network is not None:
        faults_site.plug(cluster, node, "up")
    cluster.start_daemons(node)
    _await(lambda: _takes_jobs(cluster, node), f"{node} takes jobs")


def drain(cluster: SlurmCluster, node: str = "") -> str:
    """Drain one node, or all nodes if ``node`` is ""; running jobs continue.

    Return "": the undo needs no note.
    """
    for name in _drained(cluster, node):
        _control(cluster, "update", f"NodeName={name}", "State=DRAIN", _REASON)
    return ""


def undrain(cluster: SlurmCluster, note: str, node: str = "") -> None:  # noqa: ARG001
    """Resume the drained node, or all nodes if ``node`` is "", so that they accept jobs again. ``note``: not used."""
    names = set(_drained(cluster, node))
    for name in names:
        cluster.run("scontrol", "update", f"NodeName={name}", "State=UNDRAIN")
    _await(lambda: not names & _nodes_in(cluster, "dr"), f"{', '.join(sorted(names))} may take jobs again")


def requeue(cluster: SlurmCluster, job: str) -> str:
    """Requeue a job, as the administrator. Return "", since there is no undo."""
    _control(cluster, "requeue", job)
    return ""


def preempt(cluster: SlurmCluster, job: str) -> str:
    """Preempt a job by another account's job if the job's partition can be preempted; otherwise requeue the job.

    The administrator requeues it. Return the id of the other job, which now runs, or "" if the job was requeued. Raises
    FaultFailed, also if the job does not run.
    """
    fields = cluster.run("squeue", "-h", "-j", job, "-o", "%u %P %N").stdout.split()
    if len(fields) != 3:
        raise FaultFailed(f"preempt: job {job} does not run")
    owner, partition, node = fields
    tiers = _tiers(cluster)
    above = [name for name in _partitions_of(cluster, node) if tiers[name] > tiers[partition]]
    if not above:
        return requeue(cluster, job)
    rival = next(name for name in (*cluster.accounts, login_side.WATCHER) if name != owner)
    options = ["-p", above[0], "-w", node, "--exclusive", "-t", "30", "-o", "/dev/null", "--export=NONE"]
    wrap = "--wrap=sleep 1800"
    answer = cluster.run("sbatch", "--parsable", "--chdir=/", *options, wrap, account=rival)
    if answer.returncode != 0:
        raise FaultFailed(f"preempt: {answer.stderr.strip()}")
    number = answer.stdout.strip()
    _await(lambda: _state(cluster, number) == "RUNNING", f"job {number} takes the place of {job}")
    return number


def let_be(cluster: SlurmCluster, note: str, job: str) -> None:  # noqa: ARG001
    """End the job that preempted ``job``. ``note``: that job's id; "" if there is none."""
    if note:
        cluster.run("scancel", note)
        _await(lambda: _state(cluster, note) not in ("RUNNING", "COMPLETING"), f"job {note} ends")


def cancel(cluster: SlurmCluster, job: str) -> str:
    """Cancel a job as the administrator, without asking its owner. Return "", since there is no undo.

    Raises FaultFailed if the job neither waits nor runs.
    """
    if _state(cluster, job) not in _LIVE:
        raise FaultFailed(f"kill: no job {job} waits or runs")
    answer = cluster.run("scancel", job)
    if answer.returncode != 0:
        raise FaultFailed(f"kill: {answer.stderr.strip()}")
    return ""


# --- helpers --------------------------------------------------------------------------------------------------------


def _control(cluster: SlurmCluster, *words: str) -> None:
    answer = cluster.run("scontrol", *words)
    if answer.returncode != 0:
        raise FaultFailed(f"scontrol {' '.join(words)}: {answer.stderr.strip()}")


def _await(condition: Callable[[], bool], words: str) -> None:
    if not processes.wait_until(condition, SECONDS, pause=0.1):
        raise FaultFailed(f"waited {SECONDS:.0f} s in vain until {words}")


def _check_node(cluster: SlurmCluster, node: str) -> None:
    if node not in cluster.nodes:
        raise FaultFailed(f"{node!r} is none of {', '.join(cluster.nodes)}")


def _drained(cluster: SlurmCluster, node: str) -> tuple[str, ...]:
    if node:
        _check_node(cluster, node)
    return (node,) if node else cluster.nodes


def _takes_jobs(cluster: SlurmCluster, node: str) -> bool:
    """Return whether a node accepts jobs; resume it first if it is down.

    A node that was set down by an administrator does not come back by itself.
    """
    states = set(cluster.run("sinfo", "-h", "-n", node, "-o", "%t").stdout.split())
    if any(state.startswith("down") for state in states):
        cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
    return bool(states) and states <= {"idle", "mix", "alloc"}


def _nodes_in(cluster: SlurmCluster, state: str) -> set[str]:
    """Return the nodes whose state begins with ``state``; return all nodes if slurmctld does not answer."""
    answer = cluster.run("sinfo", "-h", "-N", "-o", "%N %t")
    rows = [line.split() for line in answer.stdout.splitlines()]
    return {node for node, now in rows if now.startswith(state)} if answer.returncode == 0 else set(cluster.nodes)


def _state(cluster: SlurmCluster, job: str) -> str:
    return cluster.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").stdout.strip()


def _partitions_of(cluster: SlurmCluster, node: str) -> list[str]:
    return cluster.run("sinfo", "-h", "-n", node, "-o", "%R").stdout.split()


def _tiers(cluster: SlurmCluster) -> dict[str, int]:
    """Return the priority tier of each partition.

    Jobs of a partition may preempt those of partitions with a lower tier.
    """
    found: dict[str, int] = {}
    for line in cluster.run("scontrol", "-o", "show", "partition").stdout.splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        found[fields["PartitionName"]] = int(fields["PriorityTier"])
    return found
