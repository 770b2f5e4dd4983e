"""Measures CPU time of process trees, RPCs at the controller and latencies, and prints the benchmarks' results."""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")

# RPCs that the nodes' daemons send to the controller, and the RPC of sdiag itself; all others come from scheduler
# commands.
_NOT_COMMANDS = frozenset(
    {
        "REQUEST_STATS_INFO",
        "MESSAGE_NODE_REGISTRATION_STATUS",
        "MESSAGE_EPILOG_COMPLETE",
        "REQUEST_COMPLETE_BATCH_SCRIPT",
        "REQUEST_STEP_COMPLETE",
    }
)


def report(name: str, metric: str, ours: float, peers: dict[str, float], unit: str) -> None:
    """Print a line per peer for a cost (less is better): ratio = peer / ours; above 1 this gateway is better."""
    for peer, theirs in peers.items():
        ratio = theirs / ours if ours else float("inf")
        print(
            f"{name} {metric}: ours {_short(ours)} {unit}, {peer} {_short(theirs)} {unit}, ratio {ratio:.2f}",
            flush=True,
        )


def rate(name: str, metric: str, ours: float, peers: dict[str, float], unit: str) -> None:
    """Print a line per peer for a rate (more is better): ratio = ours / peer; above 1 this gateway is better."""
    for peer, theirs in peers.items():
        ratio = ours / theirs if theirs else float("inf")
        print(
            f"{name} {metric}: ours {_short(ours)} {unit}, {peer} {_short(theirs)} {unit}, ratio {ratio:.2f}",
            flush=True,
        )


def note(text: str) -> None:
    """Print a remark beside the numbers."""
    print(f"# {text}", flush=True)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 or value == int(value) else f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` (0 to 1) of the values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, round(share * len(ranked) + 0.5) - 1))]


def median(values: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(values)


# --- CPU ------------------------------------------------------------------------------------------------------------


def cpu_seconds(roots: Iterable[int]) -> float:
    """Return the CPU seconds that these processes and their living descendants have used so far.

    They are user and system time from ``/proc``, with those of all children that the processes have waited for. The
    difference of two calls is the use in between.
    """
    parents: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the process ended in the meantime; its parent's counters include its time
        fields = text[text.rindex(")") + 2 :].split()
        pid = int(entry.name)
        parents.setdefault(int(fields[1]), []).append(pid)
        used[pid] = sum(int(ticks) for ticks in fields[11:15]) / _TICKS  # utime, stime, cutime, cstime
    total = 0.0
    todo = list(roots)
    while todo:
        pid = todo.pop()
        total += used.get(pid, 0.0)
        todo.extend(parents.get(pid, []))
    return total


# --- memory ----------------------------------------------------------------------------------------------------------


def memory(pid: int) -> float:
    """Return the resident memory of a process in bytes, from ``/proc``."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


# --- the controller -------------------------------------------------------------------------------------------------


def rpcs(sdiag: str) -> dict[str, int]:
    """Return the number of RPCs of scheduler commands since the last reset, by type, from the output of ``sdiag``."""
    section = sdiag.partition("statistics by message type")[2].partition("statistics by user")[0]
    counts = {
        name: int(count) for name, count in re.findall(r"^\s*(\w+)\s*\(\s*\d+\)\s*count:(\d+)", section, re.MULTILINE)
    }
    return {name: count for name, count in counts.items() if name not in _NOT_COMMANDS}


# --- time -----------------------------------------------------------------------------------------------------------


async def sample(
    ask: Callable[[], Awaitable[object]], seconds: float, every: float = 0.1, stop: asyncio.Event | None = None
) -> list[float]:
    """Call ``ask`` repeatedly; return the seconds of each call.

    The calls end after ``seconds`` or when ``stop`` is set, and begin at least ``every`` seconds apart.
    """
    taken = []
    end = time.monotonic() + seconds
    while (begin := time.monotonic()) < end and not (stop and stop.is_set()):
        await ask()
        done = time.monotonic()
        taken.append(done - begin)
        await asyncio.sleep(max(0.0, min(begin + every, end) - done))
    return taken


async def until(look: Callable[[], Awaitable[bool]], seconds: float, what: str, every: float = 0.05) -> float:
    """Check repeatedly until a condition holds; return the seconds that this took.

    Use it for a program that does not report the condition by itself. ``what``: the condition, for the message of the
    TimeoutError that is raised after ``seconds``.
    """
    begin = time.monotonic()
    while not await look():
        if time.monotonic() - begin > seconds:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(every)
    return time.monotonic() - begin
