"""dask_jobqueue's classes, imported without what that import does to a process.

``dask_jobqueue.runner`` installs a handler for SIGINT as it is imported. In a notebook, a kernel that is interrupted
then exits in place of stopping its cell; in any thread but the first, as in a Dask task, the import fails.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def _handlers_stay() -> Iterator[None]:
    """Within the block, ``signal.signal`` changes nothing for this thread."""
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
