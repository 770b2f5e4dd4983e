"""Gives this process and its children nearly all processor time, so that other programs do not affect a time limit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

# The file with a control group's share, the highest share, and the usual one: the kernel's cgroup-v1, cgroup-v2.
SHARES = {"cgroup": ("cpu.shares", "262144", "1024"), "cgroup2": ("cpu.weight", "10000", "100")}
NAME = "factorygate-timing-"
MOUNTS = Path("/proc/self/mounts")


def hierarchy(mounts: str) -> tuple[Path, str] | None:
    """Return mount point and kind (cgroup or cgroup2) of the control groups that share the processor, or None.

    ``mounts`` has the lines of ``/proc/self/mounts``. A machine may mount both kinds of control groups, but only the
    kind with the controller ``cpu`` shares the processor.
    """
    for line in mounts.splitlines():
        _device, folder, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            return Path(folder), kind
        controllers = Path(folder) / "cgroup.controllers"
        if kind == "cgroup2" and "cpu" in controllers.read_text().split():
            return Path(folder), kind
    return None


@contextlib.contextmanager
def preferred() -> Iterator[bool]:
    """Put this process into a control group with the highest share of the processor during the block.

    Yields whether this was done: only root may do it, and only where a control group can be made; otherwise nothing
    changes. Unlike a nice value, the share holds for programs that set their own nice value (a browser does) and beside
    programs of other sessions (between these, a kernel with ``sched_autogroup_enabled`` ignores nice values).
    """
    found = hierarchy(MOUNTS.read_text())
    if found is None:
        yield False
        return
    root, kind = found
    group, (file, share, _) = root / f"{NAME}{os.getpid()}", SHARES[kind]
    before = _group_of_this_process(root, kind)
    try:
        if kind == "cgroup2":
            (root / "cgroup.subtree_control").write_text("+cpu")
        group.mkdir()
        (group / file).write_text(share)
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:  # not root, or in a container, which sees the groups but may not change them
        with contextlib.suppress(OSError):
            group.rmdir()
        yield False
        return
    try:
        yield True
    finally:
        for process in (group / "cgroup.procs").read_text().split():  # what goes on after the tests, too
            with contextlib.suppress(OSError):  # it has ended meanwhile
                (before / "cgroup.procs").write_text(process)
        with contextlib.suppress(OSError):  # a process that began at this moment
            group.rmdir()


@contextlib.contextmanager
def ordinary() -> Iterator[None]:
    """Give the group of ``preferred`` an ordinary share during the block; if there is no such group, change nothing.

    If many busy programs have the highest share, the kernel's own threads get so little of the processor that the disk
    does not answer for half a minute.
    """
    found = hierarchy(MOUNTS.read_text())
    group = None if found is None else _group_of_this_process(*found)
    if found is None or group is None or not group.name.startswith(NAME):
        yield
        return
    file, highest, usual = SHARES[found[1]]
    (group / file).write_text(usual)
    try:
        yield
    finally:
        (group / file).write_text(highest)


def _group_of_this_process(root: Path, kind: str) -> Path:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if (number == "0") if kind == "cgroup2" else ("cpu" in controllers.split(",")):
            return root / path.lstrip("/")
    return root
