"""A Dask worker that knows when its job ends, and before that hands its results to other workers, if there are any."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from distributed.core import Status

from factorygate.cluster.pages import QuietWorker

log = logging.getLogger("factorygate.cluster")

LAST = 5.0  # seconds before the job's end at which a worker leaves in any case
AGAIN = 2.0  # seconds between two attempts to hand over the results
STEP = 0.1  # seconds between two checks of running tasks
NOT_BEGUN = frozenset({"ready", "constrained", "waiting"})


class FactoryWorker(QuietWorker):
    """A Dask worker that leaves before its job ends.

    ``leaves``: when the worker begins to leave; ``ends``: when its job ends; both in seconds since 1970.

    To leave, the worker takes no more work, gives back tasks that have not begun, finishes running tasks, and copies
    its results to other workers. While there are no other workers, the worker continues to work, since another worker
    may still connect; it leaves in any case in its job's last ``LAST`` seconds.
    """

    def __init__(self, *args: Any, leaves: float, ends: float, **options: Any) -> None:
        # Wall-clock times, so that a restarted process does not stay longer than the first one.
        super().__init__(*args, lifetime=max(1.0, leaves - time.time()), **options)
        self._last_moment = ends - LAST
        self._goes = False  # True if the worker leaves by itself
        self.handlers |= {"leaving": self.leaving, "staying": self.staying}

    async def leaving(self) -> int:
        """Give tasks that have not begun back to the scheduler; return the number of tasks that are not finished.

        A task that has ended counts as not finished until the scheduler knows of its end. Call this after
        ``Scheduler.retire_workers``, which tells the worker to take no more work; until the worker has heard that, the
        call gives nothing back, and returns at least 1.
        """
        if self.status is not Status.closing_gracefully:
            return len(self.state.all_running_tasks) + 1
        stimulus = f"leaving-{time.time()}"
        for task in list(self.state.tasks.values()):
            if task.state in NOT_BEGUN and task.run_spec is not None:
                self.batched_send({"op": "reschedule", "key": task.key, "stimulus_id": stimulus})
        if self.state.all_running_tasks:
            return len(self.state.all_running_tasks)
        known = await self.scheduler.processing(workers=[self.address])
        return sum(map(len, known.values()))

    async def staying(self) -> None:
        """Take work again, since no other worker has taken the results.

        This has no effect if the worker leaves because its job's time is almost over: then the worker itself decides
        when it takes work again.
        """
        if not self._goes:
            self._stay()

    def _stay(self) -> None:
        if self.status is Status.closing_gracefully:  # type: ignore[has-type]
            self.status = Status.running

    async def close_gracefully(self, restart: bool | None = None, reason: str = "worker-close-gracefully") -> None:
        """Leave because the job's time is almost over.

        The worker closes when other workers have its results; if none has them, in the job's last ``LAST`` seconds.
        If the worker is closing already, only wait until it has closed. ``restart`` True: the nanny is not told to
        close, so it starts the worker's process again; ``reason``: a text for the log.
        """
        if self.status in (Status.closing, Status.closed):
            await self.finished()
            return
        log.info("%s leaves: %s", self.name, reason)
        self._goes = True
        while not await self._leave():
            left = self._last_moment - time.time()
            if left <= 0:
                log.warning("%s goes, though nobody has what it holds", self.name)
                break
            await asyncio.sleep(min(AGAIN, left))  # no event reports a new worker
        await self.close(nanny=not restart, reason=reason)

    async def _leave(self) -> bool:
        """Try once to finish the running tasks and to hand over all results; return whether other workers have them.

        If not, the worker takes work again.
        """
        self.status = Status.closing_gracefully
        try:
            async with asyncio.timeout(max(1.0, self._last_moment + LAST / 2 - time.time())):
                if await self._handed_over():
                    while time.time() < self._last_moment:
                        if await self.leaving() == 0:
                            break
                        await asyncio.sleep(STEP)
                    if await self._handed_over(remove=True):
                        return True
        except (OSError, TimeoutError, KeyError) as error:  # KeyError: the scheduler no longer knows the worker
            log.warning("%s could not hand over what it holds: %r", self.name, error)
        self._stay()
        return False

    async def _handed_over(self, remove: bool = False) -> bool:
        """Ask the scheduler to copy this worker's results to other workers, and to send this worker no more work.

        Return whether the scheduler has done so. ``remove``: whether the scheduler then also forgets the worker.
        """
        left = await self.scheduler.retire_workers(
            workers=[self.address], close_workers=False, remove=remove, stimulus_id=f"leave-{time.time()}"
        )
        return self.address in left
