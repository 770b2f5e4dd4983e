"""An event loop with a virtual clock: days pass in a moment, and the machine's load does not matter.

Time stands still while anything can run, and jumps to the next timer when everything waits. ``InlineThread`` replaces a
thread pool, so that work in a thread is done before the clock can jump past it.
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
    """A selector that does not wait, but lets the clock jump."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """Return the ready events; if there are none, the clock jumps by ``timeout``.

        Raises AssertionError if nothing is ready and no timer is set.
        """
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("all wait, and nothing will ever happen")
        if not ready and timeout and timeout > 0:
            self.now += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """asyncio's event loop with the virtual clock."""

    def __init__(self) -> None:
        self.clock = JumpingSelector()
        super().__init__(self.clock)

    def time(self) -> float:
        """Return the virtual seconds since the loop was created."""
        return self.clock.now

    def jump(self, seconds: float) -> None:
        """Let this many virtual seconds pass, with everything that is due in them."""
        self.run_until_complete(asyncio.sleep(seconds))


class InlineThread(Executor):
    """An executor that runs work at once, in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run the work; return the finished future."""
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


def use(loop: JumpingLoop, patch: pytest.MonkeyPatch) -> None:
    """Make the link's wall clock follow the loop's clock."""
    patch.setattr(clock, "now", lambda: BEGAN + timedelta(seconds=loop.time()))
