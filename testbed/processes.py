"""Finds and ends the processes of one cluster, and no others.

A Slurm cluster runs copies of the daemons from its own ``sbin`` folder, so a process whose program is in that folder
belongs to the cluster, whatever its name. All other processes of a cluster are found by an environment variable, by
their network namespace, or as descendants of processes that are known already.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

MARK = "FACTORYGATE_TESTBED"  # environment variable of all daemons and job steps; its value is the cluster's folder
_PROC = Path("/proc")
_KILL_SECONDS = 5.0  # seconds within which SIGKILL must have ended a process
_PRIORITY = -15  # nice value of processes that go first


@dataclass(frozen=True)
class Process:
    """One process; ``start`` (clock ticks since boot) distinguishes it from a later process with the same pid."""

    pid: int
    parent: int
    start: int


def find(pid: int) -> Process | None:
    """Return the running process ``pid``; None if there is none, or if it is a zombie."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    if fields[0] in ("Z", "X"):
        return None
    return Process(pid=pid, parent=int(fields[1]), start=int(fields[19]))


def alive(process: Process) -> bool:
    """Return whether this process still runs; another process with its pid does not count."""
    now = find(process.pid)
    return now is not None and now.start == process.start


def program(pid: int) -> str | None:
    """Return the path of the program that ``pid`` runs.

    Return None if the process has ended, has no program, or may not be read by this process.
    """
    try:
        return os.readlink(_PROC / str(pid) / "exe").removesuffix(" (deleted)")
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None


def of_cluster(folder: Path, namespaces: frozenset[int] = frozenset()) -> list[Process]:
    """Return all processes of the cluster in ``folder``, sorted by pid, without this process itself.

    These are daemons, job steps, jobs and their descendants, and all processes in its network ``namespaces`` (inodes).
    """
    sbin = f"{folder}/sbin/"
    mark = f"{MARK}={folder}".encode()
    everything = {process.pid: process for process in _everything()}
    ours = {
        pid
        for pid in everything
        if (program(pid) or "").startswith(sbin) or mark in _environment(pid) or _namespace(pid) in namespaces
    }
    children: dict[int, list[int]] = {}
    for process in everything.values():
        children.setdefault(process.parent, []).append(process.pid)
    queue = list(ours)
    while queue:
        for child in children.get(queue.pop(), ()):
            if child not in ours:
                ours.add(child)
                queue.append(child)
    ours.discard(os.getpid())  # the testbed may run inside one of its own jobs
    return [everything[pid] for pid in sorted(ours)]


def in_namespaces(namespaces: frozenset[int]) -> list[Process]:
    """Return all processes in those network namespaces (inodes), the oldest first."""
    return sorted((one for one in _everything() if _namespace(one.pid) in namespaces), key=lambda one: one.start)


def end_all(folder: Path, namespaces: frozenset[int] = frozenset(), patience: float = 1) -> set[Process]:
    """End all processes of the cluster: send SIGTERM to all, and SIGKILL to the rest after ``patience`` seconds.

    Processes that are forked meanwhile are ended in the next round. Returns the processes that were found; they have
    ended, but some may still be zombies.
    """
    number = signal.SIGTERM
    met: set[Process] = set()
    while left := of_cluster(folder, namespaces):
        met.update(left)
        for process in left:
            send(process, number)
        _wait_for_ends(left, patience)
        number, patience = signal.SIGKILL, 0.2
    return met


def wait_reaped(dead: Iterable[Process], seconds: float) -> None:
    """Wait until the parents, usually init, have collected the ended processes, so that no zombies are left."""
    left = list(dead)
    wait_until(lambda: not any((_PROC / str(process.pid)).exists() for process in left), seconds)


def end(process: Process, patience: float) -> None:
    """Send SIGTERM to this process only, and kill it if it still runs after ``patience`` seconds.

    Wait until it has ended, for at most 5 s after SIGKILL.
    """
    send(process, signal.SIGTERM)
    _wait_for_ends([process], patience)
    kill(process)


def kill(process: Process) -> None:
    """Kill this process only, and wait until it has ended, for at most 5 s."""
    send(process, signal.SIGKILL)
    _wait_for_ends([process], _KILL_SECONDS)


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to a process; nothing happens if it has ended."""
    if alive(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def put_first(pids: Iterable[int]) -> None:
    """Give these processes, and those that they start later, priority over all other processes of this machine.

    The jobs of a real cluster run on other machines than the gateway and the cluster's daemons, but here they all share
    one machine. With the priority, gateway and daemons run nearly as if the jobs were elsewhere. Only root may give it;
    for other users nothing changes. A program that is started as a session of its own (as slurmd starts job steps) has
    the usual priority if the kernel has ``sched_autogroup_enabled``.
    """
    for pid in pids:
        folder = _PROC / str(pid)
        try:
            for thread in (folder / "task").iterdir():
                os.setpriority(os.PRIO_PROCESS, int(thread.name), _PRIORITY)
            group = folder / "autogroup"  # between processes of different sessions, only this one counts
            if group.exists():
                group.write_text(str(_PRIORITY))
        except PermissionError:
            return
        except (FileNotFoundError, ProcessLookupError):  # a thread or the process has ended
            continue


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.02) -> bool:
    """Poll ``condition``; return whether it became true within ``seconds``.

    Use it for states that no event reports.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def _everything() -> Iterable[Process]:
    for entry in os.listdir(_PROC):
        if entry.isdigit():
            process = find(int(entry))
            if process is not None:
                yield process


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return []


def _namespace(pid: int) -> int | None:
    """Return the inode of the process's network namespace; None if the process has ended or may not be read."""
    try:
        return (_PROC / str(pid) / "ns/net").stat().st_ino
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None


def _wait_for_ends(processes: list[Process], seconds: float) -> None:
    wait_until(lambda: not any(alive(process) for process in processes), seconds)
