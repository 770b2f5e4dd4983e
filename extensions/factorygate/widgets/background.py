"""One thread with an event loop for all widgets of a kernel, started when the first needs it.

A kernel's own loop stands still while a cell runs; what is shown must not.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Protocol

INTERVAL = 0.5  # seconds: nothing is looked at, or told to a page, more often

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def start(work: Coroutine[Any, Any, None]) -> Future[None]:
    """Run it in the background; cancel the future to end it."""
    return asyncio.run_coroutine_threadsafe(work, _running_loop())


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="factorygate-widgets", daemon=True).start()
        return _loop


class Looking(Protocol):
    """What looks again at something, quickly, whenever it is told to."""

    def look(self) -> bool:
        """False: it need not be told again."""
        ...


class Ticker:
    """Tells all that are in it to look, every ``INTERVAL``; holds none of them alive, and rests when there is none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looking: weakref.WeakSet[Looking] = weakref.WeakSet()
        self._runs = False

    def add(self, one: Looking) -> None:
        """From any thread; the same one twice is once."""
        with self._lock:
            self._looking.add(one)
            if self._runs:
                return
            self._runs = True
        start(self._run())

    def remove(self, one: Looking) -> None:
        """From any thread."""
        with self._lock:
            self._looking.discard(one)

    async def _run(self) -> None:
        while self._any():
            await asyncio.sleep(INTERVAL)
            for one in self._all():
                if not _looks_on(one):
                    self.remove(one)
            one = None  # type: ignore[assignment]  # or this loop would hold the last one

    def _any(self) -> bool:
        with self._lock:
            self._runs = len(self._looking) > 0
            return self._runs

    def _all(self) -> list[Looking]:
        with self._lock:
            return list(self._looking)


def _looks_on(one: Looking) -> bool:
    try:
        return one.look()
    except Exception:  # noqa: BLE001  # what fails in one must not end the others' looking
        _log.exception("%s looks no more", type(one).__name__)
        return False


ticker = Ticker()
