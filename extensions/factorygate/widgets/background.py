"""Runs the background work of all widgets of a kernel in one thread with an event loop.

The thread is started when the first widget needs it. A kernel's own event loop stops while a cell runs, but widgets
must be updated then, too.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Protocol

INTERVAL = 0.5  # seconds between two checks of the data, and two messages to a page

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def start(work: Coroutine[Any, Any, None]) -> Future[None]:
    """Run ``work`` in the background thread; cancel the returned future to end ``work``."""
    return asyncio.run_coroutine_threadsafe(work, _running_loop())


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="factorygate-widgets", daemon=True).start()
        return _loop


class Looking(Protocol):
    """An object whose ``look`` is called regularly; the call must return quickly."""

    def look(self) -> bool:
        """Look for changes; return False if ``look`` need not be called again."""
        ...


class Ticker:
    """Calls each object's ``look`` every ``INTERVAL`` seconds; removes an object if ``look`` returns False or raises.

    The ticker keeps weak references only, and rests while it has no objects.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looking: weakref.WeakKeyDictionary[Looking, object] = weakref.WeakKeyDictionary()  # with its last ``add``
        self._runs = False

    def add(self, one: Looking) -> None:
        """Call ``one.look`` every ``INTERVAL`` seconds until ``look`` returns False or raises, or ``remove`` is called.

        May be called from any thread. The caller must keep the object: the ticker has only a weak reference. If an
        object is added again while its ``look`` runs, the object stays, even if this call of ``look`` returns False or
        raises.
        """
        with self._lock:
            self._looking[one] = object()
            if self._runs:
                return
            self._runs = True
        start(self._run())

    def remove(self, one: Looking) -> None:
        """Stop the calls of ``one.look`` that ``add`` began; may be called from any thread.

        A call that is due already may still follow.
        """
        with self._lock:
            self._looking.pop(one, None)

    async def _run(self) -> None:
        while self._any():
            await asyncio.sleep(INTERVAL)
            for one, added in self._all():
                if not _looks_on(one):
                    self._drop(one, added)
            one = None  # type: ignore[assignment]  # or this loop would hold the last one

    def _drop(self, one: Looking, added: object) -> None:
        """Remove ``one``, unless ``add`` was called for it again meanwhile.

        ``added``: the marker that the ticker had for ``one`` before it called ``look``; each ``add`` sets a new marker.
        """
        with self._lock:
            if self._looking.get(one) is added:
                del self._looking[one]

    def _any(self) -> bool:
        with self._lock:
            self._runs = len(self._looking) > 0
            return self._runs

    def _all(self) -> list[tuple[Looking, object]]:
        with self._lock:
            return list(self._looking.items())


def _looks_on(one: Looking) -> bool:
    try:
        return one.look()
    except Exception:  # noqa: BLE001  # an error in one object must not stop the others
        _log.exception("%s looks no more", type(one).__name__)
        return False


ticker = Ticker()
