"""Imports dask_jobqueue's classes without the side effect of that import.

``dask_jobqueue.runner`` installs a handler for SIGINT when it is imported. With this handler, interrupting a kernel
ends the kernel instead of the cell; and outside the main thread, as in a Dask task, the import fails.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def _handlers_stay() -> Iterator[None]:
    """Ignore calls of ``signal.signal`` in this thread within the block."""
    real, mine = signal.signal, threading.get_ident()

    def stays(number: Any, handler: Any) -> Any:
        return signal.getsignal(number) if threading.get_ident() == mine else real(number, handler)

    signal.signal = stays  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = real


with _handlers_stay():
    from dask_jobqueue.core import Job, JobQueueCluster

__all__ = ["Job", "JobQueueCluster"]
