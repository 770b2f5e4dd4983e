"""A Dask scheduler for workers that are jobs, of which many may end at the same moment."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from distributed.core import Status

from factorygate.cluster.pages import QuietScheduler

LOST_TOGETHER = 0.3  # seconds between the loss of a worker and its removal


class FactoryScheduler(QuietScheduler):
    """A Dask scheduler that sends no task of a lost worker to a worker that is lost at the same moment.

    A batch scheduler ends many jobs at once: an operator cancels them, or a node fails. Dask's own scheduler removes
    the lost workers one after the other, and sends the tasks of each to the others, of which it does not know yet that
    they are lost, too. A task that is sent to four of them fails with ``KilledWorker``, though it never ran on any.
    """

    async def remove_worker(
        self, address: str, *, stimulus_id: str, expected: bool = False, **options: Any
    ) -> Literal["OK", "already-removed"]:
        """Remove a worker. A lost worker gets no more tasks at once, and is removed after ``LOST_TOGETHER`` seconds.

        ``address``, ``stimulus_id``, ``options``: as in ``distributed.Scheduler``. ``expected``: False if the worker
        is lost.
        """
        if not expected and self.status is Status.running:
            self.handle_worker_status_change(Status.closing, self.coerce_address(address), stimulus_id)
            try:
                await asyncio.sleep(LOST_TOGETHER)  # no event reports that no more workers are lost
            except asyncio.CancelledError:
                if self.status is Status.running:
                    raise
                return "already-removed"  # the scheduler closes
        return await super().remove_worker(address, stimulus_id=stimulus_id, expected=expected, **options)  # type: ignore[no-any-return]
