"""Finds the descendants of this process in /proc, and ends them. The door ends the notebook's processes in this way.

Kernels and terminals leave the notebook's process group, so a signal to the group does not reach them. Therefore the
door adopts orphans (Linux ``PR_SET_CHILD_SUBREAPER``): everything that the notebook started stays a descendant of the
door.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
from collections.abc import Collection
from pathlib import Path

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        log.warning("prctl %d is not possible here: %s", option, os.strerror(ctypes.get_errno()))


def adopt_orphans() -> None:
    """Make orphaned descendants children of this process from now on.

    If the system does not support this, the function only logs a warning.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> None:
    """Make the Linux kernel send SIGTERM to this process when its parent dies, in whatever way."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _parents() -> dict[int, tuple[int, str]]:
    """Return the parent's pid and the state letter of every visible process, by pid."""
    found = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            line = Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # the process ended in the meantime
        state, parent = line.rpartition(")")[2].split()[:2]  # the name before may contain blanks and brackets
        found[int(entry.name)] = (int(parent), state)
    return found


def descendants() -> list[int]:
    """Return the pids of all running descendants of this process, nearest first."""
    parents = _parents()
    found = [os.getpid()]
    for pid in found:  # the list grows during the loop
        found.extend(child for child, (parent, _) in parents.items() if parent == pid)
    return [pid for pid in found[1:] if parents[pid][1] != "Z"]


def kill_descendants() -> int:
    """Send SIGKILL to all present descendants of this process; return how many there were.

    Processes that they fork meanwhile need another call.
    """
    pids = descendants()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # the process ended in the meantime
            os.kill(pid, signal.SIGKILL)
    return len(pids)


def reap_orphans(keep: Collection[int]) -> None:
    """Collect the exit status of all children of this process that have ended, except those in ``keep``.

    ``keep``: the pids of children whose exit status other code collects.
    """
    own = os.getpid()
    for pid, (parent, state) in _parents().items():
        if parent == own and state == "Z" and pid not in keep:
            with contextlib.suppress(ChildProcessError):  # its exit status was collected in the meantime
                os.waitpid(pid, os.WNOHANG)


def have_children(pids: Collection[int]) -> bool:
    """Return whether any of ``pids`` has a running child. A shell without one usually waits for input."""
    return any(parent in pids and state != "Z" for parent, state in _parents().values())
