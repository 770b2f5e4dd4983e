"""Sets a wrong clock for the demo's hub or link, with libfaketime.

libfaketime must be loaded when a program starts, so the program is killed, and the supervisor starts it again with the
variables of :func:`environment`.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from testbed.errors import CannotRun, FaultFailed, NoSuchFault
from testbed.processes import wait_until
from testbed.supervisor import SupervisorRecord, write_private

PROGRAMS = ("hub", "link")
SECONDS = 60.0  # seconds for a program to be started again
_FILE = "clock.json"


def environment(folder: Path, program: str) -> dict[str, str]:
    """Return the environment variables that give a program of the demo in ``folder`` its wrong clock.

    There are none if the program's clock is right. Raises CannotRun if libfaketime is missing.
    """
    seconds = _read(folder).get(program)
    if not seconds:
        return {}
    return {
        "LD_PRELOAD": str(_library()),
        "FAKETIME": f"{seconds:+g}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # the monotonic clock stays right
        "NO_FAKE_STAT": "1",  # file times stay those of the kernel
    }


def put(folder: Path, program: str, seconds: float) -> None:
    """Set the clock of the hub or the link ahead by ``seconds`` (less than 0: behind; 0: the right time).

    ``folder``: the demo's folder. The program is killed; return when it runs again, with this clock. Raises
    NoSuchFault, CannotRun, FaultFailed.
    """
    if program not in PROGRAMS:
        raise NoSuchFault(f"clock {program}: there are {', '.join(PROGRAMS)}")
    _library()
    running = SupervisorRecord(folder / "processes.json")
    before = running.read().get(program)
    if before is None:
        raise FaultFailed(f"no {program} of a demo in {folder} runs")
    write_private(folder / _FILE, json.dumps({**_read(folder), program: seconds}))
    os.kill(before.pid, signal.SIGKILL)
    if not wait_until(lambda: running.read().get(program) not in (None, before), SECONDS, pause=0.1):
        raise FaultFailed(f"{program} was not started again in {SECONDS:.0f} s")


def wrong(folder: Path) -> dict[str, float]:
    """Return by how many seconds each wrong clock is ahead (less than 0: behind), by program."""
    return {program: seconds for program, seconds in _read(folder).items() if seconds}


def forget(folder: Path) -> None:
    """Remove all clock faults; programs have the right time from their next start."""
    (folder / _FILE).unlink(missing_ok=True)


def _read(folder: Path) -> dict[str, float]:
    try:
        known = json.loads((folder / _FILE).read_text(encoding="ascii"))
    except FileNotFoundError:
        return {}
    return {str(program): float(seconds) for program, seconds in known.items()}


def _library() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise CannotRun("the package faketime")
    return found[0]
