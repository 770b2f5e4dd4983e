"""Starts and kills processes that have their own process groups, so that none runs on after its caller has gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Coroutine
from typing import Any


async def started(creation: Coroutine[Any, Any, Process]) -> Process:
    """Return the process of ``creation``, a call of ``create_subprocess_exec`` with ``start_new_session``.

    If the caller is cancelled before the process is there, the process and all processes that it has started are killed
    as soon as it is there. asyncio alone would kill only the process itself, and then wait until the others close its
    pipes.
    """
    starting = asyncio.create_task(creation)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_kill_unwanted)
        raise


def kill_group(process: Process) -> None:
    """Kill a process and all processes of its group, unless the process has ended."""
    if process.returncode is None:  # not reaped yet, so the process id is still its own
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _kill_unwanted(starting: asyncio.Task[Process]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        kill_group(starting.result())
