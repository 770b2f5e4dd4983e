"""Runs asyncio tasks in the background; the tasks are cancelled when the process ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger("factorylink")


class BackgroundTasks:
    """Runs tasks in the background; keeps a reference to each task until it is done, and logs the task's error."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run a coroutine in the background, and return its task. ``name``: what the log calls the task if it fails."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def begin(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Run a coroutine in the background. ``name``: what the log calls its task if it fails."""
        _ = self.spawn(work, name)

    async def close(self) -> None:
        """Cancel all tasks, and return when they have ended."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed: %s", task.get_name(), error, exc_info=error)
