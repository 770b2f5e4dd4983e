"""An event loop whose clock jumps: days pass in a moment, and nothing waits for the machine.

Time stands still while anything can run, and jumps to the next timer when all wait. ``InlineThread`` takes the place
of a thread pool, so that work in a thread is done before the clock can jump past it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from factorylink.util import clock

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class JumpingSelector(selectors.DefaultSelector):
    """Waits for nobody: what would have been waited for has passed."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """What is ready now; else the clock jumps."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("all wait, and nothing will ever happen")
        if not ready and timeout and timeout > 0:
            self.now += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """``asyncio``'s own loop on such a clock."""

    def __init__(self) -> None:
        self.clock = JumpingSelector()
        super().__init__(self.clock)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self.clock.now

    def jump(self, seconds: float) -> None:
        """Let so much time pass, and everything that was due in it happen."""
        self.run_until_complete(asyncio.sleep(seconds))


class InlineThread(Executor):
    """Does it at once, in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The work, done."""
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


def use(loop: JumpingLoop, patch: pytest.MonkeyPatch) -> None:
    """The link's wall clock goes with the loop's."""
    patch.setattr(clock, "now", lambda: BEGAN + timedelta(seconds=loop.time()))
