"""Identifies processes by pid and start time, and waits for their end without polling.

So a process can be ended by another process than its parent.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessIdentity:
    """The identity of one process.

    A pid may be reused; the pair of pid and start time is unique until the next boot.
    """

    pid: int
    started: int  # clock ticks since boot
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """Return the process that has this pid now; None if there is none."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat.rpartition(")")[2].split()  # the name before it may contain blanks
        if fields[0] in ("Z", "X"):
            return None
        return cls(pid, int(fields[19]), Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())

    def alive(self) -> bool:
        """Return whether the process still runs; a zombie does not run."""
        return ProcessIdentity.of(self.pid) == self


def open_pidfd(identity: ProcessIdentity) -> int | None:
    """Return a file descriptor that becomes readable when the process ends; None if it has ended already."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    if identity.alive():
        return descriptor
    os.close(descriptor)
    return None


async def ended(descriptor: int, timeout: float | None = None) -> bool:
    """Wait until the process behind a pidfd has ended; return False if that takes longer than ``timeout`` seconds."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(descriptor, gone.set)
    try:
        await asyncio.wait_for(gone.wait(), timeout)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    return True


def end_now(identity: ProcessIdentity, patience: float, group: bool = True) -> None:
    """End a process, which need not be a child: send SIGTERM, and SIGKILL after ``patience`` seconds.

    Blocks until the process has ended. ``group``: if the process leads its process group, kill those of the group that
    outlive it.
    """
    descriptor = open_pidfd(identity)
    if descriptor is None:
        return
    leads = False
    try:
        leads = group and os.getpgid(identity.pid) == identity.pid
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not _readable(descriptor, patience):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            _readable(descriptor, 10)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
    if leads:
        kill_group(identity.pid)


def wait_reaped(identity: ProcessIdentity, patience: float) -> None:
    """Wait until an ended process is no longer listed below ``/proc``, for at most ``patience`` seconds.

    This function polls, since the parent removes the ended process without notifying other processes.
    """
    deadline = time.monotonic() + patience
    while Path(f"/proc/{identity.pid}").exists() and not identity.alive() and time.monotonic() < deadline:
        time.sleep(0.02)


def kill_group(pgid: int) -> None:
    """Kill all remaining processes of a process group."""
    try:
        os.killpg(pgid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _readable(descriptor: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout * 1000))
