"""How each fault is made and undone. ``begin`` gives a note that its ``undo`` gets back; both return when it is so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from testbed import accounts, daemons, login, network, processes, slow_wire, system
from testbed.cluster import Cluster
from testbed.errors import FaultFailed
from testbed.network import FAULTS, HUB, INSIDE, LOGIN, SLOW

SECONDS = 30.0  # until something has surely come about
MILLISECONDS, PERCENT = "300", "5"
_TABLE = "100"  # of routes, at the border
_CUT = [(FAULTS, way, HUB, "-j", "DROP") for way in ("-i", "-o")]
_LIVE = ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING")
_REASON = "Reason=testbed"


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


def _slurmctld_down(cluster: Cluster) -> str:
    """In order, with all that it knows written down: a crash forgets the jobs of the last seconds, whoever asks."""
    process = daemons.running(cluster.folder, daemons.CONTROLLER)
    if process is not None:
        processes.end(process, SECONDS)
    return ""


def _slurmctld_up(cluster: Cluster, note: str) -> None:  # noqa: ARG001
    cluster.start_daemons(daemons.CONTROLLER)
    _await(lambda: not _nodes_in(cluster, "unk"), "the controller knows its nodes")


def _sshd_down(cluster: Cluster) -> str:
    """The listener and all connections, as where the login node is booted."""
    for process in _in_namespace(cluster, LOGIN):
        if Path(processes.program(process.pid) or "").name.startswith("sshd"):
            processes.kill(process)
    return ""


def _sshd_up(cluster: Cluster, note: str) -> None:  # noqa: ARG001
    cluster.start_daemons(daemons.SSHD)


def _other_host_key(cluster: Cluster) -> str:
    login.host_key(cluster.folder, "other_key")
    _serve(cluster, "other_key")
    return ""


def _own_host_key(cluster: Cluster, note: str) -> None:  # noqa: ARG001
    _serve(cluster, "host_key")


def _serve(cluster: Cluster, key: str) -> None:
    _sshd_down(cluster)
    login.serve(cluster.folder, key)
    _sshd_up(cluster, "")


def _distrust(cluster: Cluster) -> str:
    login.trust(cluster.folder, False)
    return ""


def _trust(cluster: Cluster, note: str) -> None:  # noqa: ARG001
    login.trust(cluster.folder, True)


def _cut(cluster: Cluster) -> str:
    for rule in _CUT:
        _border(cluster, "iptables", "-A", *rule)
    return ""


def _mend(cluster: Cluster, note: str) -> None:  # noqa: ARG001
    for rule in _CUT:
        _border(cluster, "iptables", "-D", *rule)


def _slow(cluster: Cluster, milliseconds: str = MILLISECONDS, percent: str = PERCENT) -> str:
    """Half of the delay each way."""
    argv = [sys.executable, slow_wire.__file__, SLOW, str(float(milliseconds) / 2), percent]
    with (cluster.folder / "log/slow.out").open("ab") as errors:
        program = subprocess.Popen(
            [*network.at_border(_network(cluster)), *argv],
            env={processes.MARK: str(cluster.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    assert program.stdout is not None  # noqa: S101 - for mypy
    with program.stdout:
        if program.stdout.readline() != b"ready\n":
            raise FaultFailed(f"slow: needs /dev/net/tun: see {cluster.folder / 'log/slow.out'}")
    _border(cluster, "ip", "link", "set", SLOW, "up")
    _border(cluster, "ip", "route", "add", "default", "dev", SLOW, "table", _TABLE)
    for interface in (HUB, INSIDE):
        _border(cluster, "ip", "rule", "add", "iif", interface, "lookup", _TABLE)
    return str(program.pid)


def _fast(cluster: Cluster, note: str, *_: str) -> None:
    for interface in (HUB, INSIDE):
        _border(cluster, "ip", "rule", "delete", "iif", interface, "lookup", _TABLE)
    process = processes.find(int(note))
    if process is not None and process in processes.of_cluster(cluster.folder):
        processes.kill(process)


def _node_down(cluster: Cluster, node: str, now: str = "") -> str:
    """A node without power: no packet, no process. The controller finds out by itself, unless it is told ``now``."""
    _check_node(cluster, node)
    if cluster.network is None:
        cluster.kill(node)
    else:
        _ip_link(cluster, node, "down")
        for process in _in_namespace(cluster, node):
            processes.kill(process)
    if now:
        _control(cluster, "update", f"NodeName={node}", "State=DOWN", _REASON)
    return ""


def _node_up(cluster: Cluster, note: str, node: str, *_: str) -> None:  # noqa: ARG001
    if cluster.network is not None:
        _ip_link(cluster, node, "up")
    cluster.start_daemons(node)
    _await(lambda: _takes_jobs(cluster, node), f"{node} takes jobs")


def _drain(cluster: Cluster, node: str = "") -> str:
    for name in _drained(cluster, node):
        _control(cluster, "update", f"NodeName={name}", "State=DRAIN", _REASON)
    return ""


def _undrain(cluster: Cluster, note: str, node: str = "") -> None:  # noqa: ARG001
    names = set(_drained(cluster, node))
    for name in names:
        cluster.run("scontrol", "update", f"NodeName={name}", "State=UNDRAIN")
    _await(lambda: not names & _nodes_in(cluster, "dr"), f"{', '.join(sorted(names))} may take jobs again")


def _disk_full(cluster: Cluster, account: str) -> str:
    """A file system without a free byte in place of the account's home, with a copy of what is in there."""
    if account not in (*cluster.accounts, login.WATCHER):
        raise FaultFailed(f"disk-full: {account!r} is none of {', '.join(cluster.accounts)}")
    home, kept = str(accounts.home(account)), cluster.folder / "homes" / account
    _inside(cluster, "mount", "-t", "tmpfs", "-o", "mode=0700", "testbed", home)
    try:
        _inside(cluster, "cp", "--archive", f"{kept}/.", f"{home}/")
        blocks, free, size = map(int, _inside(cluster, "stat", "--file-system", "--format=%b %f %S", home).split())
        _inside(cluster, "mount", "-o", f"remount,size={(blocks - free) * size}", home)
    except FaultFailed:
        _inside(cluster, "umount", "--lazy", home)
        raise
    return ""


def _disk_free(cluster: Cluster, note: str, account: str) -> None:  # noqa: ARG001
    _inside(cluster, "umount", "--lazy", str(accounts.home(account)))


def _requeue(cluster: Cluster, job: str) -> str:
    _control(cluster, "requeue", job)
    return ""


def _preempt(cluster: Cluster, job: str) -> str:
    """By another account's job, where the job's partition gives way to others; else the administrator requeues it."""
    told = cluster.run("squeue", "-h", "-j", job, "-o", "%u %P %N").stdout.split()
    if len(told) != 3:
        raise FaultFailed(f"preempt: job {job} does not run")
    owner, partition, node = told
    tiers = _tiers(cluster)
    above = [name for name in _partitions_of(cluster, node) if tiers[name] > tiers[partition]]
    if not above:
        return _requeue(cluster, job)
    rival = next(name for name in (*cluster.accounts, login.WATCHER) if name != owner)
    options = ["-p", above[0], "-w", node, "--exclusive", "-t", "30", "-o", "/dev/null", "--export=NONE"]
    wrap = "--wrap=sleep 1800"
    answer = cluster.run("sbatch", "--parsable", "--chdir=/", *options, wrap, account=rival)
    if answer.returncode != 0:
        raise FaultFailed(f"preempt: {answer.stderr.strip()}")
    number = answer.stdout.strip()
    _await(lambda: _state(cluster, number) == "RUNNING", f"job {number} takes the place of {job}")
    return number


def _let_be(cluster: Cluster, note: str, job: str) -> None:  # noqa: ARG001
    if note:
        cluster.run("scancel", note)
        _await(lambda: _state(cluster, note) not in ("RUNNING", "COMPLETING"), f"job {note} ends")


def _cancel(cluster: Cluster, job: str) -> str:
    if _state(cluster, job) not in _LIVE:
        raise FaultFailed(f"kill: no job {job} waits or runs")
    answer = cluster.run("scancel", job)
    if answer.returncode != 0:
        raise FaultFailed(f"kill: {answer.stderr.strip()}")
    return ""


def _nothing(cluster: Cluster, note: str, *args: str) -> None:
    """There is no way back."""


KINDS: dict[str, Kind] = {
    "slurmctld-down": Kind(_slurmctld_down, _slurmctld_up),
    "sshd-down": Kind(_sshd_down, _sshd_up, isolated=True),
    "hostkey": Kind(_other_host_key, _own_host_key, isolated=True),
    "auth": Kind(_distrust, _trust, isolated=True),
    "cut": Kind(_cut, _mend, isolated=True),
    "slow": Kind(_slow, _fast, "[MILLISECONDS [PERCENT]]", 0, 2, isolated=True),
    "node-down": Kind(_node_down, _node_up, "NODE [now]", 1, 2),
    "drain": Kind(_drain, _undrain, "[NODE]", 0, 1),
    "disk-full": Kind(_disk_full, _disk_free, "ACCOUNT", 1, 1, isolated=True),
    "requeue": Kind(_requeue, _nothing, "JOB", 1, 1, lasts=False),
    "preempt": Kind(_preempt, _let_be, "JOB", 1, 1, once=False),
    "kill": Kind(_cancel, _nothing, "JOB", 1, 1, lasts=False),
}


# --- how ------------------------------------------------------------------------------------------------------------


def _network(cluster: Cluster) -> network.Network:
    if cluster.network is None:
        raise FaultFailed(f"{cluster.id} is not isolated")
    return cluster.network


def _border(cluster: Cluster, name: str, *words: str) -> str:
    wait = ["--wait"] if name == "iptables" else []
    return _checked([*network.at_border(_network(cluster)), system.program(name), *wait, *words])


def _inside(cluster: Cluster, name: str, *words: str) -> str:
    return _checked([*cluster.on(LOGIN), system.program(name), *words])


def _ip_link(cluster: Cluster, node: str, state: str) -> None:
    _border(cluster, "ip", "link", "set", node, state)


def _in_namespace(cluster: Cluster, host: str) -> list[processes.Process]:
    return processes.in_namespaces(frozenset([network.inode(_network(cluster), host)]))


def _checked(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=SECONDS)
    if done.returncode != 0:
        raise FaultFailed(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _control(cluster: Cluster, *words: str) -> None:
    answer = cluster.run("scontrol", *words)
    if answer.returncode != 0:
        raise FaultFailed(f"scontrol {' '.join(words)}: {answer.stderr.strip()}")


def _await(condition: Callable[[], bool], words: str) -> None:
    if not processes.wait_until(condition, SECONDS, pause=0.1):
        raise FaultFailed(f"waited {SECONDS:.0f} s in vain until {words}")


def _check_node(cluster: Cluster, node: str) -> None:
    if node not in cluster.nodes:
        raise FaultFailed(f"{node!r} is none of {', '.join(cluster.nodes)}")


def _drained(cluster: Cluster, node: str) -> tuple[str, ...]:
    if node:
        _check_node(cluster, node)
    return (node,) if node else cluster.nodes


def _takes_jobs(cluster: Cluster, node: str) -> bool:
    """A node that was set down by hand comes back by hand."""
    states = set(cluster.run("sinfo", "-h", "-n", node, "-o", "%t").stdout.split())
    if any(state.startswith("down") for state in states):
        cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
    return bool(states) and states <= {"idle", "mix", "alloc"}


def _nodes_in(cluster: Cluster, state: str) -> set[str]:
    """Nodes whose state begins so; all of them, where the controller does not answer."""
    answer = cluster.run("sinfo", "-h", "-N", "-o", "%N %t")
    rows = [line.split() for line in answer.stdout.splitlines()]
    return {node for node, now in rows if now.startswith(state)} if answer.returncode == 0 else set(cluster.nodes)


def _state(cluster: Cluster, job: str) -> str:
    return cluster.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").stdout.strip()


def _partitions_of(cluster: Cluster, node: str) -> list[str]:
    return cluster.run("sinfo", "-h", "-n", node, "-o", "%R").stdout.split()


def _tiers(cluster: Cluster) -> dict[str, int]:
    """Partition to priority tier: a higher one may preempt a lower one."""
    found: dict[str, int] = {}
    for line in cluster.run("scontrol", "-o", "show", "partition").stdout.splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        found[fields["PartitionName"]] = int(fields["PriorityTier"])
    return found
