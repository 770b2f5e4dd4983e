"""Measures the use of the node by a session: memory, and GPUs as the vendor's own program reports them.

The memory is that of the job's control group if the group has a limit, else that of this process and its descendants.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tornado.ioloop import PeriodicCallback

from factorygate.job_environment import job_environment
from factorygate.session import gpus, processes
from factorygate.session.gpus import Gpu, Question

LOOK_MS = 15_000  # milliseconds; the vendors' programs use a tenth of a second of a core or more
_PROGRAM_SECONDS = 10.0
_MINUTE = 4  # number of measurements
_MB = 1 << 20
_PERCENT_STEP, _MEMORY_STEP = 5, 256 * _MB
_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class ResourceUsage:
    """The session's use of the node at one moment.

    ``memory``: bytes in use; ``memory_limit``: bytes, None: no limit is known; ``gpus``: empty if no GPU can be
    measured.
    """

    memory: int
    memory_limit: int | None = None
    gpus: tuple[Gpu, ...] = ()


def memory_of_group(own: Path = Path("/proc/self/cgroup"), groups: Path = _GROUPS) -> tuple[int, int] | None:
    """Return the bytes in use and the limit of this process's nearest control group that has a limit.

    None: no group has a limit, the system has no control groups of version 2, or their files cannot be read. Page cache
    that was not used lately (``inactive_file``) is not counted: the kernel frees this memory when it is needed.
    ``own``: the file that names this process's group; ``groups``: the folder where control groups are mounted.
    """
    try:
        lines = own.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    # control groups version 2
    below = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if below is None:
        return None
    folder = groups / below
    while True:
        try:
            limit = (folder / "memory.max").read_text(encoding="ascii").strip()
            if limit.isdigit():
                used = int((folder / "memory.current").read_text(encoding="ascii"))
                return max(0, used - _cached(folder)), int(limit)
        except (OSError, ValueError):
            return None  # this process may not read the files; the top of a machine's groups has none
        if folder == groups:  # in a container with groups of its own, the top may have a limit
            return None
        folder = folder.parent


def _cached(group: Path) -> int:
    for line in (group / "memory.stat").read_text(encoding="ascii").splitlines():
        name, _, count = line.partition(" ")
        if name == "inactive_file":
            return int(count)
    return 0


def memory_of_processes() -> int:
    """Return the sum of the resident memory of this process and of its descendants, in bytes.

    Memory that several of these processes share is counted once for each of them.
    """
    pages = 0
    for pid in (os.getpid(), *processes.descendants()):
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError):
            continue  # the process ended in the meantime
    return pages * os.sysconf("SC_PAGE_SIZE")


def _memory(environment: Mapping[str, str]) -> tuple[int, int | None]:
    found = memory_of_group()
    if found is not None:
        return found
    limit = job_environment(environment).memory_mb
    return memory_of_processes(), None if limit is None else limit * _MB


async def _said(argv: list[str]) -> str:
    """Return the output of a program; "" if it cannot be started, fails, or takes over ``_PROGRAM_SECONDS``."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return ""
    try:
        out, _ = await asyncio.wait_for(process.communicate(), _PROGRAM_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        return ""
    return out.decode(errors="replace") if process.returncode == 0 else ""


async def measure(environment: Mapping[str, str] = os.environ, names: dict[str, str] | None = None) -> ResourceUsage:
    """Measure the use of memory and GPUs once; GPUs that no vendor's program reports are left out.

    ``environment``: the job's environment variables, which name the job's GPUs and memory limit; ``names``: a cache of
    the outputs of those commands whose output stays the same while the job runs (see ``Question.names``), None: no
    cache. Pass the same dict to each call, so that these commands do not run again once they have succeeded.
    """
    memory, limit = await asyncio.to_thread(_memory, environment)
    names = {} if names is None else names
    found: tuple[Gpu, ...] = ()
    for questions in gpus.VENDORS:
        for question in questions:
            if measured := await _asked(question, environment, names):
                found += measured
                break
    return ResourceUsage(memory, limit, found)


async def _asked(question: Question, environment: Mapping[str, str], names: dict[str, str]) -> tuple[Gpu, ...]:
    argv, once = question.command(environment), question.names(environment)
    if not argv or not shutil.which(argv[0], path=environment.get("PATH")):
        return ()
    if once and not names.get(" ".join(once)):
        names[" ".join(once)] = await _said(once)
    return question.read(environment, await _said(argv), names.get(" ".join(once), ""))


def _step(count: int | None, step: int) -> int | None:
    return None if count is None else -(-count // step) * step


class Gauge:
    """Measures the session's memory and GPU use regularly after ``start``. ``use``: the last result, None: none yet."""

    def __init__(self) -> None:
        self.use: ResourceUsage | None = None
        self._busiest: deque[int | None] = deque(maxlen=_MINUTE)
        self._names: dict[str, str] = {}
        self._callback = PeriodicCallback(self._look, LOOK_MS)

    async def start(self) -> None:
        """Measure now, and again every ``LOOK_MS`` milliseconds until the Jupyter server ends."""
        self._callback.start()
        await self._look()

    def coarse(self) -> tuple[int | None, int | None]:
        """Return the use of the busiest GPU in the last minute in percent, and the memory in bytes.

        Either is None if it is not known. Both are rounded up to a step, so that an idle session has nothing new to
        report.
        """
        percent = max((percent for percent in self._busiest if percent is not None), default=None)
        memory = self.use.memory if self.use is not None else None
        return _step(percent, _PERCENT_STEP), _step(memory, _MEMORY_STEP)

    async def _look(self) -> None:
        self.use = await measure(names=self._names)
        self._busiest.append(max((g.percent for g in self.use.gpus if g.percent is not None), default=None))
