"""A wrong clock, a fault of the testbed: the supervisor restarts a program with it, and after its end without it."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from testbed import clock, commands
from testbed.errors import FaultFailed, NoSuchFault
from testbed.supervisor import Program, Supervisor

TELL = "import time; print(time.time(), time.monotonic(), flush=True); time.sleep(600)"

needs_faketime = pytest.mark.skipif(
    not list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")),
    reason="needs Debian's faketime (as root, bin/test installs it)",
)


async def _nothing(name: str) -> None:
    """Do nothing after a restart."""


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[Path]:
    """Start a program that logs the time at each start; return its log."""
    log = tmp_path / "link.log"
    argv = (sys.executable, "-S", "-c", TELL)
    program = Program("link", argv, tmp_path, {}, log, 5, lambda: clock.environment(tmp_path, "link"))
    supervisor = Supervisor(tmp_path / "processes.json", lambda _: None, _nothing)
    await supervisor.start(program)
    await told(log, 1)
    yield log
    await supervisor.stop()


async def told(log: Path, count: int) -> tuple[float, float]:
    """Return by how many seconds the program's wall clock and monotonic clock are fast at start number ``count``."""
    async with asyncio.timeout(60):
        while len(lines := log.read_text().splitlines() if log.exists() else []) < count:
            await asyncio.sleep(0.02)  # no event reports the program's output
    wall, even = map(float, lines[count - 1].split())
    return wall - time.time(), even - time.monotonic()


@needs_faketime
async def test_a_clock_is_set_wrong_and_right_again(tmp_path: Path, link: Path) -> None:
    await asyncio.to_thread(clock.put, tmp_path, "link", 600)
    wall, even = await told(link, 2)
    assert 540 < wall <= 600
    assert -60 < even <= 0, "a clock that runs on evenly knows nothing of it"
    assert clock.wrong(tmp_path) == {"link": 600}
    await asyncio.to_thread(clock.put, tmp_path, "link", -600)
    assert -660 < (await told(link, 3))[0] <= -600
    await asyncio.to_thread(clock.put, tmp_path, "link", 0)
    assert -60 < (await told(link, 4))[0] <= 0
    assert clock.wrong(tmp_path) == {}


@needs_faketime
@pytest.mark.parametrize("words", [[], ["clock"], ["clock", "link"]])
async def test_a_command_sets_the_clock_right(words: list[str], tmp_path: Path, link: Path) -> None:
    await asyncio.to_thread(clock.put, tmp_path, "link", 600)
    await told(link, 2)
    options = argparse.Namespace(folder=tmp_path, undo=True)
    assert await asyncio.to_thread(commands._clock, options, words) == 0
    assert clock.wrong(tmp_path) == {}


@needs_faketime
async def test_a_program_that_does_not_run_gets_no_clock(tmp_path: Path, link: Path) -> None:
    with pytest.raises(NoSuchFault, match="hub, link"):
        await asyncio.to_thread(clock.put, tmp_path, "proxy", 600)
    with pytest.raises(FaultFailed, match="no hub"):
        await asyncio.to_thread(clock.put, tmp_path, "hub", 600)
    assert clock.wrong(tmp_path) == {}, "and the next one starts with a right one"
