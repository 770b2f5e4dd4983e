"""Faults of a gateway's own processes and of its ledger, for tests of alerts."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from tests.support.gateway import Gateway, eventually


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Keep a process stopped during the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def hub_killed(gateway: Gateway) -> Iterator[None]:
    """Kill the hub again and again during the block; afterwards wait until the hub answers.

    While the hub is dead, no hub follows the link's table.
    """

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):  # the next hub has not been started yet
            os.kill(gateway.pid("hub"), signal.SIGKILL)

    with _repeated(kill, 0.5):
        yield
    eventually(lambda: _answers(f"{gateway.hub}/health"), 60, what="the hub answers")


@contextmanager
def ledger_locked(gateway: Gateway) -> Iterator[None]:
    """Lock the ledger from this process during the block, and send the link requests that write to the ledger."""
    folder = gateway.path.parent / "link"
    with (
        closing(sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)) as database,
        httpx.Client(
            transport=httpx.HTTPTransport(uds=f"{folder}/hub.sock"), base_url="http://link", timeout=60
        ) as link,
        _repeated(lambda: link.delete("/banner"), 0.1),
    ):
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            database.execute("ROLLBACK")


def door(session_id: str) -> int:
    """Return the process id of a session's door."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if words[2:5] == [b"-m", b"factorygate.session", b"--id"] and words[5] == session_id.encode():
                return int(path.parent.name)
    raise AssertionError(f"session {session_id} has no door")


@contextmanager
def _repeated(act: Callable[[], object], every: float) -> Iterator[None]:
    over = threading.Event()

    def keep_acting() -> None:
        while not over.wait(every):
            act()

    actor = threading.Thread(target=keep_acting)
    actor.start()
    try:
        yield
    finally:
        over.set()
        actor.join()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False
