"""Keeps programs running: starts a program again when it ends, with pauses if it keeps failing.

Each program has its own process group and log. The running processes are written to a file whenever they change, so
that the next supervisor finds and ends the programs of a supervisor that was killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from testbed.identity import ProcessIdentity, end_now, ended, kill_group

LOG_LIMIT = 20 * 10**6  # bytes; a longer log is moved away when its program starts
QUICK = 10.0  # seconds; a program that ended earlier counts as failing
PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # seconds, by the number of failures in a row


@dataclass(frozen=True)
class Program:
    """A program to run.

    ``env``: its environment variables, to which ``late_env`` adds some at each start; ``log``: the file for its output;
    ``patience``: the seconds that the program has after SIGTERM to end by itself.
    """

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    log: Path
    patience: float = 10
    late_env: Callable[[], Mapping[str, str]] = dict


def pause_after(failures: int, code: int) -> float:
    """Return the seconds until a program that has ended is started again.

    ``failures``: how often in a row the program has ended soon after its start. ``code``: its return code. A program
    that was killed with SIGKILL has not failed, so it starts again at once.
    """
    return 0.0 if code == -signal.SIGKILL else PAUSES[min(failures, len(PAUSES) - 1)]


class Supervisor:
    """Runs programs, and starts each again when it ends.

    ``record``: the file for the running processes; ``changed`` is called with the pid of each program, by name,
    whenever they change; ``restarted`` is awaited with the name of a program after the program's restart.
    """

    def __init__(
        self,
        record: Path,
        changed: Callable[[dict[str, int]], None],
        restarted: Callable[[str], Coroutine[Any, Any, None]],
    ) -> None:
        self._record = SupervisorRecord(record)
        self._changed = changed
        self._restarted = restarted
        self._programs: list[Program] = []
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self, *programs: Program) -> None:
        """Start these programs in order; return when each has a process.

        Processes that an earlier supervisor left are ended first.
        """
        if not self._programs:
            await asyncio.to_thread(self._record.end_all)
        for program in programs:
            self._programs.append(program)
            self._launch(program)
            self._task(self._keep(program))

    async def broken(self) -> None:
        """Wait for an error of the supervisor itself and raise it; a program that ends is no such error."""
        await asyncio.shield(self._broken)

    async def stop(self) -> None:
        """Stop all programs, the last started first; return when no process is left."""
        self._broken.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for program in reversed(self._programs):
            child = self._children.pop(program.name, None)
            if child is not None:
                await self._end(child, program.patience)
        self._record.forget()

    # --- one program

    def _launch(self, program: Program) -> None:
        program.log.parent.mkdir(parents=True, exist_ok=True)
        if program.log.exists() and program.log.stat().st_size > LOG_LIMIT:
            program.log.replace(program.log.with_suffix(".log.old"))
        with program.log.open("ab") as log:
            child = subprocess.Popen(
                program.argv,
                cwd=program.cwd,
                env={**program.env, **program.late_env()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[program.name] = child
        pids = {name: running.pid for name, running in self._children.items()}
        self._record.write(pids)
        self._changed(pids)

    async def _keep(self, program: Program) -> None:
        failures = 0
        while True:
            child, since = self._children[program.name], time.monotonic()
            code = await self._wait(child)
            failures = failures + 1 if time.monotonic() - since < QUICK else 0
            pause = pause_after(failures, code)
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            print(f"{program.name} ended ({how}); starting it again" + (f" in {pause} s" if pause else ""), flush=True)
            await asyncio.sleep(pause)
            self._launch(program)
            self._task(self._restarted(program.name))

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._broken.done():
            self._broken.set_exception(error)

    async def _wait(self, child: subprocess.Popen[bytes]) -> int:
        # an ended child stays a zombie until we wait for it, so the pid still belongs to it
        descriptor = os.pidfd_open(child.pid)
        try:
            await ended(descriptor)
        finally:
            os.close(descriptor)
        kill_group(child.pid)
        return child.wait()

    async def _end(self, child: subprocess.Popen[bytes], patience: float) -> None:
        if child.returncode is None:
            descriptor = os.pidfd_open(child.pid)
            try:
                child.terminate()
                if not await ended(descriptor, patience):
                    child.kill()
                    await ended(descriptor)
            finally:
                os.close(descriptor)
            kill_group(child.pid)
            child.wait()


class SupervisorRecord:
    """The file that records the processes of a supervisor."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, pids: Mapping[str, int]) -> None:
        """Replace the file, atomically, by the identities of these processes; a process that has ended is left out."""
        rows = {name: asdict(found) for name, pid in pids.items() if (found := ProcessIdentity.of(pid)) is not None}
        write_private(self._path, json.dumps(rows, indent=1))

    def read(self) -> dict[str, ProcessIdentity]:
        """Return the identity of each named process that still runs."""
        try:
            rows = json.loads(self._path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return {}
        found = {name: ProcessIdentity(**row) for name, row in rows.items()}
        return {name: identity for name, identity in found.items() if identity.alive()}

    def end_all(self, patience: float = 5) -> list[str]:
        """End all recorded processes that still run, and clear the record; return their names.

        Blocks until they have ended; ``patience``: the seconds from SIGTERM to SIGKILL, for each process.
        """
        left = self.read()
        for identity in left.values():
            end_now(identity, patience)
        self.forget()
        return list(left)

    def forget(self) -> None:
        """Clear the record, since no process runs any more."""
        self._path.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a 0600 file atomically, so that a reader sees either the old or the new text."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)
