"""Faults of an isolated factory's login side and of the connection to it, each with its undo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from testbed import accounts, processes
from testbed.errors import FaultFailed
from testbed.install import system
from testbed.network import login_side, slow_wire
from testbed.network import namespaces as network
from testbed.network.namespaces import FAULTS, HUB, INSIDE, LOGIN, SLOW
from testbed.slurm import daemons
from testbed.slurm.cluster import SlurmCluster

MILLISECONDS, PERCENT = "300", "5"
_TABLE = "100"  # number of the border's routing table
_CUT = [(FAULTS, direction, HUB, "-j", "DROP") for direction in ("-i", "-o")]
_COMMAND_SECONDS = 30


def sshd_down(cluster: SlurmCluster) -> str:
    """Stop sshd with all its connections, as a reboot of the login node does; connections being opened end, too.

    Return "", since the undo needs no note.
    """
    while left := [one for one in on_host(cluster, LOGIN) if _is_sshd(one)]:
        for process in left:
            processes.kill(process)
    return ""


def sshd_up(cluster: SlurmCluster, note: str) -> None:  # noqa: ARG001
    """Start sshd's listener. ``note``: not used."""
    cluster.start_daemons(daemons.SSHD)


def other_host_key(cluster: SlurmCluster) -> str:
    """Serve another host key at the same address.

    Existing connections are closed, as if another machine had taken over the address. Return "", since the undo needs
    no note.
    """
    login_side.host_key(cluster.folder, "other_key")
    _serve(cluster, "other_key")
    return ""


def own_host_key(cluster: SlurmCluster, note: str) -> None:  # noqa: ARG001
    """Serve the previous host key again; existing connections are closed. ``note``: not used."""
    _serve(cluster, "host_key")


def _serve(cluster: SlurmCluster, key: str) -> None:
    sshd_down(cluster)
    login_side.serve(cluster.folder, key)
    sshd_up(cluster, "")


def distrust(cluster: SlurmCluster) -> str:
    """Make sshd accept no certificate of the gateway; existing connections stay.

    Return "": the undo needs no note.
    """
    login_side.trust(cluster.folder, False)
    return ""


def trust(cluster: SlurmCluster, note: str) -> None:  # noqa: ARG001
    """Make sshd accept the gateway's certificates again. ``note``: not used."""
    login_side.trust(cluster.folder, True)


def cut(cluster: SlurmCluster) -> str:
    """Drop all packets between hub and factory silently, on every connection.

    Return "": the undo needs no note.
    """
    for rule in _CUT:
        _border(cluster, "iptables", "-A", *rule)
    return ""


def mend(cluster: SlurmCluster, note: str) -> None:  # noqa: ARG001
    """Let packets pass again; existing TCP connections continue. ``note``: not used."""
    for rule in _CUT:
        _border(cluster, "iptables", "-D", *rule)


def slow(cluster: SlurmCluster, milliseconds: str = MILLISECONDS, percent: str = PERCENT) -> str:
    """Delay packets between hub and factory by half of ``milliseconds`` each way, and drop ``percent`` % of them.

    Return the note for the undo, ``fast``: the process id of the program that delays the packets. Raises FaultFailed.
    """
    try:
        settings = [str(float(milliseconds) / 2), str(float(percent))]
    except ValueError:
        raise FaultFailed(f"slow: {milliseconds!r}, {percent!r}: milliseconds and percent are numbers") from None
    argv = [sys.executable, slow_wire.__file__, SLOW, *settings]
    with (cluster.folder / "log/slow.out").open("ab") as errors:
        program = subprocess.Popen(
            [*network.at_border(_network(cluster)), *argv],
            env={processes.MARK: str(cluster.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    assert program.stdout is not None  # noqa: S101  # nosec B101
    with program.stdout:
        if program.stdout.readline() != b"ready\n":
            raise FaultFailed(f"slow: needs /dev/net/tun: see {cluster.folder / 'log/slow.out'}")
    _border(cluster, "ip", "link", "set", SLOW, "up")
    _border(cluster, "ip", "route", "add", "default", "dev", SLOW, "table", _TABLE)
    for interface in (HUB, INSIDE):
        _border(cluster, "ip", "rule", "add", "iif", interface, "lookup", _TABLE)
    return str(program.pid)


def fast(cluster: SlurmCluster, note: str, *_: str) -> None:
    """Stop delaying packets; packets in transit are lost. ``note``: the text that :func:`slow` returned."""
    for interface in (HUB, INSIDE):
        _border(cluster, "ip", "rule", "delete", "iif", interface, "lookup", _TABLE)
    process = processes.find(int(note))
    if process is not None and process in processes.of_cluster(cluster.folder):
        processes.kill(process)


def disk_full(cluster: SlurmCluster, account: str) -> str:
    """Replace the account's home by a full file system with a copy of the home's content.

    Return "", since the undo needs no note. Raises FaultFailed.
    """
    if account not in (*cluster.accounts, login_side.WATCHER):
        raise FaultFailed(f"disk-full: {account!r} is none of {', '.join(cluster.accounts)}")
    home, kept = str(accounts.home(account)), cluster.folder / "homes" / account
    _inside(cluster, "mount", "-t", "tmpfs", "-o", "mode=0700", "testbed", home)
    try:
        _inside(cluster, "cp", "--archive", f"{kept}/.", f"{home}/")
        _inside(cluster, "cp", "/etc/hosts", f"{home}/.full")  # a file system of size 0 would have no limit
        blocks, free, size = map(int, _inside(cluster, "stat", "--file-system", "--format=%b %f %S", home).split())
        _inside(cluster, "mount", "-o", f"remount,size={(blocks - free) * size}", home)
    except FaultFailed:
        _inside(cluster, "umount", "--lazy", home)
        raise
    return ""


def disk_free(cluster: SlurmCluster, note: str, account: str) -> None:  # noqa: ARG001
    """End ``disk_full``: show the account's real home again. Changes made since ``disk_full`` are lost.

    ``note``: not used; all undo functions get it.
    """
    _inside(cluster, "umount", "--lazy", str(accounts.home(account)))


def plug(cluster: SlurmCluster, node: str, state: str) -> None:
    """Set the node's network interface ``up`` or ``down``."""
    _border(cluster, "ip", "link", "set", node, state)


def on_host(cluster: SlurmCluster, host: str) -> list[processes.Process]:
    """Return all processes on ``host`` (``login01`` or a node), the oldest first."""
    return processes.in_namespaces(frozenset([network.inode(_network(cluster), host)]))


def _is_sshd(process: processes.Process) -> bool:
    return Path(processes.program(process.pid) or "").name.startswith("sshd")


# --- helpers --------------------------------------------------------------------------------------------------------


def _network(cluster: SlurmCluster) -> network.Network:
    if cluster.network is None:
        raise FaultFailed(f"{cluster.id} is not isolated")
    return cluster.network


def _border(cluster: SlurmCluster, name: str, *words: str) -> str:
    wait = ["--wait"] if name == "iptables" else []
    return _checked([*network.at_border(_network(cluster)), system.program(name), *wait, *words])


def _inside(cluster: SlurmCluster, name: str, *words: str) -> str:
    return _checked([*cluster.on(LOGIN), system.program(name), *words])


def _checked(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_COMMAND_SECONDS)
    if done.returncode != 0:
        raise FaultFailed(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
