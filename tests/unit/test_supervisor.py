"""The supervisor restarts programs that end, and leaves none running when it stops or was killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.identity import ProcessIdentity, end_now, ended, open_pidfd
from testbed.supervisor import PAUSES, Program, Supervisor, SupervisorRecord, pause_after, write_private

SLEEP = "import time; time.sleep(600)"
PATIENCE = 60.0  # seconds until a test fails


class Watched:
    """A supervisor whose events can be awaited. ``code``: by program, the Python code that it runs."""

    def __init__(self, folder: Path, **code: str) -> None:
        self.record = folder / "processes.json"
        self.programs = [
            Program(name, (sys.executable, "-S", "-c", text), folder, {}, folder / f"{name}.log", patience=5)
            for name, text in code.items()
        ]
        self.pids: dict[str, int] = {}
        self.changes: asyncio.Queue[dict[str, int]] = asyncio.Queue()
        self.restarts: asyncio.Queue[str] = asyncio.Queue()
        self.supervisor = Supervisor(self.record, self._changed, self.restarts.put)

    def _changed(self, pids: dict[str, int]) -> None:
        self.pids = pids
        self.changes.put_nowait(pids)


@asynccontextmanager
async def supervised(folder: Path, **code: str) -> AsyncIterator[Watched]:
    watched = Watched(folder, **code)
    await watched.supervisor.start(*watched.programs)
    try:
        yield watched
    finally:
        await watched.supervisor.stop()


async def test_a_killed_program_is_started_again_and_no_other(tmp_path: Path) -> None:
    async with supervised(tmp_path, one=SLEEP, two=SLEEP) as watched:
        before = watched.pids
        for _ in range(5):
            os.kill(watched.pids["one"], signal.SIGKILL)
            assert await asyncio.wait_for(watched.restarts.get(), PATIENCE) == "one"
        assert watched.pids["one"] != before["one"]
        assert watched.pids["two"] == before["two"]
        assert set(json.loads(watched.record.read_text())) == {"one", "two"}
    assert not any(ProcessIdentity.of(pid) for pid in [*before.values(), *watched.pids.values()])
    assert not watched.record.exists()


async def test_a_program_that_fails_at_once_is_started_with_pauses(tmp_path: Path) -> None:
    async with supervised(tmp_path, bad="raise SystemExit('cannot')") as watched:
        await asyncio.wait_for(watched.restarts.get(), PATIENCE)
        since = time.monotonic()
        await asyncio.wait_for(watched.restarts.get(), PATIENCE)
        assert time.monotonic() - since >= PAUSES[2]
    assert "cannot" in (tmp_path / "bad.log").read_text()


@pytest.mark.parametrize(("failures", "code", "pause"), [(1, -9, 0), (4, -9, 0), (0, 1, 0), (1, 1, 0.5), (99, -11, 15)])
def test_pauses_grow_with_failures(failures: int, code: int, pause: float) -> None:
    assert pause_after(failures, code) == pause


async def test_stop_kills_what_does_not_end_and_its_group(tmp_path: Path) -> None:
    stubborn = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"child = subprocess.Popen([sys.executable, '-S', '-c', {SLEEP!r}]);"
        "open('child', 'w').write(str(child.pid)); open('ready', 'w').close(); time.sleep(600)"
    )
    watched = Watched(tmp_path, stubborn=stubborn)
    await watched.supervisor.start(replace(watched.programs[0], patience=0.2))
    end = time.monotonic() + PATIENCE
    while not (tmp_path / "ready").exists() and time.monotonic() < end:
        await asyncio.sleep(0.02)
    child = ProcessIdentity.of(int((tmp_path / "child").read_text()))
    await watched.supervisor.stop()
    assert child is not None
    descriptor = open_pidfd(child)
    if descriptor is not None:  # the process was killed, and is about to end
        assert await ended(descriptor, PATIENCE)
        os.close(descriptor)
    assert not child.alive()


async def test_the_next_supervisor_ends_what_a_killed_one_left(tmp_path: Path) -> None:
    left = subprocess.Popen([sys.executable, "-S", "-c", SLEEP], start_new_session=True)
    SupervisorRecord(tmp_path / "processes.json").write({"one": left.pid})
    async with supervised(tmp_path, one=SLEEP) as watched:
        assert left.wait(PATIENCE) in (-signal.SIGTERM, -signal.SIGKILL)  # a busy machine may delay its end
        assert watched.pids["one"] != left.pid


def test_a_pid_that_was_used_again_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-S", "-c", SLEEP], start_new_session=True)
    try:
        now = ProcessIdentity.of(other.pid)
        assert now is not None
        earlier = ProcessIdentity(now.pid, now.started - 1, now.boot)
        end_now(earlier, 1)
        record = SupervisorRecord(tmp_path / "processes.json")
        write_private(tmp_path / "processes.json", json.dumps({"one": vars(earlier)}))
        assert record.end_all() == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


async def test_an_error_of_the_supervisor_itself_is_raised(tmp_path: Path) -> None:
    async def restarted(name: str) -> None:
        raise ValueError(name)

    supervisor = Supervisor(tmp_path / "processes.json", lambda pids: None, restarted)
    await supervisor.start(*Watched(tmp_path, one="pass").programs)
    with pytest.raises(ValueError, match="one"):
        await asyncio.wait_for(supervisor.broken(), PATIENCE)
    await supervisor.stop()


def test_private_files_are_private(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
