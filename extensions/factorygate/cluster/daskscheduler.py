"""A Dask scheduler for workers that run in batch jobs, of which many may end at the same moment."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

from distributed.comm import get_address_host_port
from distributed.core import Status
from distributed.protocol.pickle import dumps
from distributed.scheduler import KilledWorker, WorkerState

from factorygate.cluster.pages import QuietScheduler

LOST_TOGETHER = 0.3  # seconds between the loss of a worker and its removal
NANNY_SECONDS = 1.0  # seconds for a nanny to accept a connection
REMEMBERED = 1000  # number of lost workers whose tasks are remembered


class FactoryScheduler(QuietScheduler):
    """A Dask scheduler that suspects a task only if the task may have ended its worker.

    Dask's own scheduler counts, for each task, how many workers were lost while they had the task; a task that was
    with more than ``distributed.scheduler.allowed-failures`` lost workers fails with ``KilledWorker``. But a batch
    scheduler ends many jobs at once (an operator cancels them, a node fails), and then a task may be sent from one
    ending worker to the next without any fault of the task. Therefore:

    - A lost worker gets no more tasks, and is removed after ``LOST_TOGETHER`` seconds or a little later. Its tasks then
      go to none of the workers that were lost in the same moment.
    - If a lost worker's nanny still runs, only the worker's process has ended: the worker's tasks are suspected when
      the worker is removed.
    - If the nanny is gone, too, the job counts as ended: the worker's tasks are suspected only if the cluster finds
      that the work has ended the job, and calls ``suspect_tasks``.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._lost: dict[str, tuple[WorkerState, list[Any]]] = {}  # by the worker's name: the worker, its tasks' keys
        self.handlers["suspect_tasks"] = self.suspect_tasks

    async def remove_worker(
        self, address: str, *, stimulus_id: str, expected: bool = False, **options: Any
    ) -> Literal["OK", "already-removed"]:
        """Remove a worker: at once if its end was ``expected`` or the scheduler does not run, else after a pause.

        The pause takes ``LOST_TOGETHER`` seconds, and up to ``NANNY_SECONDS`` more to find out whether the worker's
        nanny still runs. In the pause a lost worker gets no more tasks. If its nanny is gone, too, its tasks are not
        suspected, but remembered for ``suspect_tasks``. ``address``: the worker's; ``stimulus_id``: names the cause in
        Dask's logs; ``options``: passed on to Dask's own method. Return "already-removed" if the scheduler does not
        have the worker or is closed meanwhile, else "OK".
        """
        worker = self.workers.get(self.coerce_address(address))
        if worker is not None and not expected and self.status is Status.running:
            self.handle_worker_status_change(Status.closing, worker, stimulus_id)
            try:
                await asyncio.sleep(LOST_TOGETHER)  # no event reports that no more workers are lost
                expected = worker.nanny is not None and not await _accepts(worker.nanny)
            except asyncio.CancelledError:
                if self.status is Status.running:
                    raise
                return "already-removed"  # the scheduler closes
            if expected:
                self._lost[str(worker.name)] = (worker.clean(), [task.key for task in worker.processing])
                while len(self._lost) > REMEMBERED:
                    del self._lost[next(iter(self._lost))]
        return await super().remove_worker(address, stimulus_id=stimulus_id, expected=expected, **options)  # type: ignore[no-any-return]

    def suspect_tasks(self, workers: list[str]) -> None:
        """Suspect the tasks that lost workers had; call this if tasks have probably ended the workers' jobs.

        ``workers``: the lost workers' names. A task that has ended since the loss, or that nobody needs any more, is
        not suspected. A task that was suspected more often than ``distributed.scheduler.allowed-failures`` allows fails
        with ``KilledWorker`` if a worker has the task now; otherwise the task only keeps the higher count.
        """
        for name in workers:
            last, keys = self._lost.pop(name, (None, []))
            for key in keys:
                task = self.tasks.get(key)
                if task is None or task.state in (
                    "memory",
                    "erred",
                    "released",
                ):  # the task has run since without ending its worker
                    continue
                task.suspicious += 1
                task.prefix.suspicious += 1
                if task.suspicious > self.allowed_failures and task.state == "processing":
                    error = KilledWorker(task=key, last_worker=last, allowed_failures=self.allowed_failures)
                    stimulus = f"suspect-tasks-{time.time()}"
                    recommended = self.transition(
                        key,
                        "erred",
                        exception=dumps(error),
                        cause=key,
                        worker=last.address,
                        stimulus_id=stimulus,
                    )
                    self.transitions(recommended, stimulus_id=stimulus)


async def _accepts(address: str) -> bool:
    """Return whether a server accepts a connection at ``address`` within ``NANNY_SECONDS``.

    ``address``: in Dask's form, such as ``tls://10.0.0.1:8786``.
    """
    try:
        async with asyncio.timeout(NANNY_SECONDS):
            _, writer = await asyncio.open_connection(*get_address_host_port(address))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
