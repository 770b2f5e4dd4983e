"""Starts and ends programs of a benchmark, on free ports of the loopback interface."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks import measure

UP_SECONDS = 60


class Run:
    """Starts programs, each with its own log in ``folder``, and ends them all, the last started first.

    A call starts a program and returns its process id.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def __call__(self, name: str, argv: tuple[str, ...], env: Mapping[str, str]) -> int:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *argv, env=env, cwd=self.folder, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._running[name] = process
        return process.pid

    @property
    def pids(self) -> tuple[int, ...]:
        """Return the process ids of the programs, the first started first."""
        return tuple(process.pid for process in self._running.values())

    def check(self) -> None:
        """Raise RuntimeError if one of the programs has ended."""
        for name, process in self._running.items():
            if process.returncode is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}; its log is in {self.folder}")

    async def end(self) -> None:
        """End all programs one after the other: send SIGTERM, and SIGKILL if the program has not ended in 15 s."""
        for process in reversed(self._running.values()):
            if process.returncode is not None:
                continue
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                process.kill()
                await process.wait()


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Run]:
    """Yield a Run, whose programs end with the block; ``folder``: for their logs, and the folder in which they run."""
    run = Run(folder)
    try:
        yield run
    finally:
        await run.end()


async def listening(run: Run, port: int) -> None:
    """Wait until a program listens on the port of the loopback interface.

    Raises RuntimeError if a program of ``run`` has ended, and TimeoutError after ``UP_SECONDS``.
    """

    async def look() -> bool:
        run.check()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            return False
        writer.close()
        return True

    await measure.until(look, UP_SECONDS, f"port {port}; the logs are in {run.folder}")


class Ports:
    """Four different ports of the loopback interface that were free when the object was made."""

    def __init__(self) -> None:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
        self.public, self.hub, self.proxy_api, self.link = (s.getsockname()[1] for s in sockets)
        for held in sockets:
            held.close()


def free_port() -> int:
    """Return a port of the loopback interface that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])
