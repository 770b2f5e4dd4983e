"""Starts processes in process groups of their own, and kills all processes of such a group together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Coroutine
from typing import Any


async def started(creation: Coroutine[Any, Any, Process]) -> Process:
    """Start a process, and return it. ``creation``: a call of ``create_subprocess_exec`` with ``start_new_session``.

    If the caller is cancelled during the start, the new process and all processes that it has started are killed as
    soon as the start is done. asyncio alone would kill only the new process, and then wait until that process's
    children close the pipes. Raises the errors of ``create_subprocess_exec``.
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
