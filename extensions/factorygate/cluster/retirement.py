"""Retires jobs that are no longer wanted: their workers first finish their tasks and hand over their results."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from distributed.core import Status

from factorycommon.language import N_
from factorycommon.messages import of_error
from factorycommon.models import Worker
from factorygate.cluster.cluster_api import END_SECONDS, ClusterApi
from factorygate.cluster.job import FactoryJob, close_together
from factorygate.cluster.worker_plan import WorkerPlan
from factorygate.link import LinkError

log = logging.getLogger("factorygate.cluster")

SECONDS = 60.0  # seconds for workers to finish and hand over before their jobs are ended
STEP = 0.5  # seconds between two checks of the workers
ANSWER = 30.0  # seconds for one request to the Dask scheduler
FINISH_SECONDS = 2 * ANSWER + END_SECONDS  # to end all retiring jobs: for the Dask scheduler, and then for the link


class RetiringCluster(Protocol):
    """The part of a cluster that ``WorkerRetirement`` uses."""

    scheduler_comm: Any
    scheduler_info: Any
    cluster_api: ClusterApi
    worker_plan: WorkerPlan


@dataclass
class _RetiringWorker:
    """A job that retires.

    ``until``: when the job ends at the latest, in seconds of the loop's clock; ``patient``: whether the job waits until
    then even if no other worker can take the results; ``quiet``: whether its workers take no more work and have handed
    over the results that they had.
    """

    job: FactoryJob
    until: float
    patient: bool
    quiet: bool = False


class WorkerRetirement:
    """Retires jobs of one cluster, in the cluster's event loop.

    The workers of many jobs hand over their results in one request to the Dask scheduler. A worker that cannot hand
    over its results in time is unregistered by a request of its own.
    """

    def __init__(self, cluster: RetiringCluster) -> None:
        self._cluster = cluster
        self._retiring_workers: dict[str, _RetiringWorker] = {}
        self._task: asyncio.Task[None] | None = None
        self._finishing = False
        self._problem = ""  # why the link did not record that jobs end

    def add(self, jobs: dict[str, FactoryJob], relieved: set[str]) -> None:
        """Begin to retire these jobs.

        ``jobs``: by name; ``relieved``: names of the jobs whose work a replacement has taken over. The workers of a
        relieved job have until the end of its walltime to finish their tasks and hand over their results; the workers
        of any other job have ``SECONDS``, or no time if all connected workers belong to retiring jobs.
        """
        now = asyncio.get_running_loop().time()
        for name, job in jobs.items():
            patient = name in relieved
            self._retiring_workers[name] = _RetiringWorker(
                job, now + (_left(job.data) if patient else SECONDS), patient
            )
        if jobs and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._see_off())

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the jobs that retire."""
        return iter(self._retiring_workers)

    async def finish(self) -> None:
        """End all retiring jobs now; their unfinished tasks are repeated by other workers.

        Returns when the link has recorded that the jobs end. If the link refuses that, or ``FINISH_SECONDS`` are over,
        the jobs may continue, and the cluster's message says why. Called when this process stops following the
        cluster's jobs.
        """
        self._finishing = True
        for retiring in self._retiring_workers.values():
            retiring.until = 0.0
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                if self._task is not None:
                    await self._task
        except (TimeoutError, LinkError):
            log.warning("Jobs that are not wanted any more may continue: %s", ", ".join(self))
            self._cluster.worker_plan.message = self._problem or N_("The gateway does not answer now.")
            self.stop()

    def stop(self) -> None:
        """Forget all retiring jobs without cancelling them; called when the whole cluster ends."""
        if self._task is not None:
            self._task.cancel()
        for retiring in self._retiring_workers.values():
            retiring.job.status = Status.closed
        self._retiring_workers.clear()

    async def _see_off(self) -> None:
        while self._retiring_workers:
            try:
                over = await asyncio.wait_for(self._round(), 2 * ANSWER)
            except (OSError, TimeoutError) as error:
                log.info("Workers that leave are looked at again: %r", error)
                over = self._late()
            await self._end(over)
            if self._retiring_workers:
                await asyncio.sleep(STEP)

    def _late(self) -> set[str]:
        now = asyncio.get_running_loop().time()
        return {name for name, retiring in self._retiring_workers.items() if retiring.until <= now}

    async def _round(self) -> set[str]:
        """Take all retiring jobs one step further; return the names of the jobs that are to end now.

        The steps of a job: its workers take no more work and hand over their results; they finish their tasks; they
        close.
        """
        comm = self._cluster.scheduler_comm
        there = {str(retired["name"]): address for address, retired in self._cluster.scheduler_info["workers"].items()}
        worker_plan = self._cluster.worker_plan
        mine = {name: {there[worker] for worker in worker_plan.present(name)} for name in self._retiring_workers}
        late = self._late()
        over = {
            name for name, addresses in mine.items() if not addresses or (name in late and not self._is_quiet(name))
        }
        if len(there) == sum(map(len, mine.values())):  # no other worker is left to take the results
            over |= {name for name, retiring in self._retiring_workers.items() if not retiring.patient}
        for address in (address for name in over for address in mine[name]):  # before their jobs are cancelled
            await comm.unregister(address=address, expected=True, stimulus_id=f"leaving-{address}")
        staying = [name for name in mine if name not in over]
        fresh = [name for name in staying if not self._is_quiet(name)]
        if fresh:
            workers = [address for name in fresh for address in mine[name]]
            retired = await comm.retire_workers(workers=workers, close_workers=False, remove=False)
            for name in fresh:
                self._retiring_workers[name].quiet = mine[name] <= retired.keys()
        quiet = [name for name in staying if self._is_quiet(name)]
        if quiet:
            workers = [address for name in quiet for address in mine[name]]
            busy = await comm.broadcast(msg={"op": "leaving"}, workers=workers, on_error="ignore")
            done = [name for name in quiet if name in late or not any(busy.get(address) for address in mine[name])]
            over |= await self._close({name: mine[name] for name in done})
        return over

    async def _close(self, done: dict[str, set[str]]) -> set[str]:
        """Hand over the last results of these jobs' workers, and close the workers.

        ``done``: by the job's name, the addresses of its workers. Return the names of the jobs for which that
        succeeded. The workers of the other jobs take work again.
        """
        comm = self._cluster.scheduler_comm
        if not done:
            return set()
        workers = [address for addresses in done.values() for address in addresses]
        gone = await comm.retire_workers(workers=workers, close_workers=True, remove=True)
        stuck = {name for name, addresses in done.items() if not addresses <= gone.keys()}
        if stuck:
            for name in stuck:
                self._retiring_workers[name].quiet = False
            workers = [address for name in stuck for address in done[name]]
            await comm.broadcast(msg={"op": "staying"}, workers=workers, on_error="ignore")
        return done.keys() - stuck

    def _is_quiet(self, name: str) -> bool:
        return self._retiring_workers[name].quiet

    async def _end(self, names: set[str]) -> None:
        """Cancel jobs, and forget them once the link has recorded the cancellation; if that fails, try again later.

        Raises LinkError only during ``finish``, if the link refuses the cancellation.
        """
        try:
            await close_together(self._cluster.cluster_api, [self._retiring_workers[name].job for name in names])
        except LinkError as error:
            self._cluster.worker_plan.message = self._problem = of_error(error)
            if self._finishing and not error.transient:
                raise
        else:
            for name in names:
                self._retiring_workers.pop(name, None)


def _left(worker: Worker | None) -> float:
    """Return the seconds that remain of a job's walltime; ``SECONDS`` if they are not known."""
    return SECONDS if worker is None or worker.ends is None else (worker.ends - datetime.now(UTC)).total_seconds()
