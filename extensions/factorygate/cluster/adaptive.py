"""Adapts the number of a cluster's batch jobs to its work.

``FactoryAdaptive`` starts and ends whole jobs only, and starts no job beyond the cluster's maximum. A job that waits in
the queue keeps its place there for some time although the work no longer needs the job.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from distributed.deploy.adaptive import Adaptive
from distributed.protocol.pickle import dumps

from factorycommon.messages import of_error
from factorygate.link import LinkError

PENDING_GRACE = 600.0  # seconds for which a waiting job is kept though the work does not need it now
# least and greatest number of seconds for which idle workers are kept; normally as long as recent jobs took to start
IDLE_GRACE, LONGEST_GRACE = 10.0, 120.0
MOST_PENDING = 32  # maximum number of waiting jobs
PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds after a refusal until jobs are requested again


class FactoryAdaptive(Adaptive):
    """Dask's adaptive deployment for workers that run in batch jobs.

    Only whole jobs are started or retired. A waiting job that the work no longer needs keeps its place in the queue for
    some time, unless there are more jobs than the cluster's maximum.
    """

    cluster: Any  # a FactoryCluster, whose module imports this one

    def __init__(
        self, *args: Any, idle_grace: float | None = None, pending_grace: float = PENDING_GRACE, **kw: Any
    ) -> None:
        """Set the grace periods in seconds: ``idle_grace`` for idle workers, ``pending_grace`` for waiting jobs.

        Workers and jobs that the work does not need are kept that long. ``idle_grace`` None: as long as recent jobs
        took from the request until their workers connected, but at least ``IDLE_GRACE`` and at most ``LONGEST_GRACE``
        seconds.
        """
        super().__init__(*args, **kw)
        self._idle_grace = idle_grace
        self._pending_grace = pending_grace
        self._surplus_since: float | None = None
        self._pause = 0.0
        self._not_before = 0.0
        self._stopped = False

    def stop(self, reason: str = "unknown") -> None:
        """Stop adapting, and drop recommendations that were not carried out yet."""
        self._stopped = True
        super().stop(reason)

    async def recommendations(self, target: int) -> dict[str, Any]:
        """Return what to do to reach ``target`` workers, in the form that Dask expects.

        The ``status`` in the result is one of:

        - "up", with ``n``: request jobs until there are ``n`` workers. At most ``MOST_PENDING`` jobs are to wait at a
          time.
        - "down", with ``workers``: retire the jobs whose names are in ``workers``. Waiting jobs retire when there has
          been a surplus for ``pending_grace`` seconds, idle jobs when there has been one for ``idle_grace`` seconds.
          If both may retire, waiting jobs retire first. Jobs above the cluster's maximum retire at once: waiting jobs
          first, then idle ones, then working ones.
        - "same": do nothing, for example during the pause after a failed ``scale_up``.
        """
        cluster, now = self.cluster, asyncio.get_running_loop().time()
        each = cluster.place.processes
        jobs = math.ceil(target / each)
        units, connected = cluster.worker_plan.units(), cluster.worker_plan.connected()
        waiting = [unit for unit in units if connected.isdisjoint(unit)]
        surplus = len(units) - jobs
        if surplus <= 0:
            self._surplus_since = None
            more = min(-surplus, max(0, MOST_PENDING - len(waiting)))
            if more == 0 or now < self._not_before:
                return {"status": "same"}
            return {"status": "up", "n": (len(units) + more) * each}
        over = 0 if math.isinf(self.maximum) else len(units) - math.ceil(self.maximum / each)
        if over > 0:  # the maximum was lowered: working jobs first finish their tasks
            working = [unit for unit in reversed(units) if unit not in waiting]
            idle = set(await self.workers_to_close(jobs * each))
            working.sort(key=lambda unit: not all(self._is_idle(job, idle) for job in unit))
            return {"status": "down", "workers": [n for unit in [*waiting, *working][:over] for n in unit]}
        if self._surplus_since is None:
            self._surplus_since = now
        since = now - self._surplus_since
        leave = waiting[:surplus] if since >= self._pending_grace else []
        if since >= self.idle_grace and len(leave) < surplus:
            idle = set(await self.workers_to_close(jobs * each))
            leave += [u for u in units if u not in waiting and all(self._is_idle(job, idle) for job in u)]
        names = [name for unit in leave[:surplus] for name in unit]
        return {"status": "down", "workers": names} if names else {"status": "same"}

    @property
    def idle_grace(self) -> float:
        """Return the seconds for which workers without work are kept."""
        if self._idle_grace is not None:
            return self._idle_grace
        return float(min(max(IDLE_GRACE, self.cluster.usual_wait), LONGEST_GRACE))

    def _is_idle(self, job: str, idle: set[str]) -> bool:
        """Return whether all connected workers of a job are in ``idle``, the names of idle workers."""
        there = self.cluster.worker_plan.present(job)
        return idle.issuperset(there)

    async def workers_to_close(self, target: int) -> list[str]:
        """Return the names of idle workers that may close.

        At least ``target`` workers stay, with enough memory for all results. A job may retire if all its connected
        workers are in the result.
        """
        processes = self.cluster.place.processes

        def job(worker: Any) -> str:
            return str(worker.name) if processes == 1 else str(worker.name).rpartition("-")[0]

        found = await self.scheduler.workers_to_close(
            memory_ratio=2, minimum=target, key=dumps(job), attribute="name", **self._workers_to_close_kwargs
        )
        return [str(name) for name in found]

    async def scale_up(self, n: int) -> None:
        """Request jobs until there are ``n`` workers, or as many as are allowed. If adapting was stopped, do nothing.

        If the request is refused or not answered, show the reason in the cluster's message, unless adapting was stopped
        meanwhile. After such a failure, ``recommendations`` asks for no more jobs for ``PAUSE`` seconds. Each further
        failure in a row doubles this pause, up to ``LONGEST_PAUSE``.
        """
        if self._stopped:
            return
        try:
            await self.cluster.scale_up(n)
            self._pause = 0.0
        except (LinkError, ValueError) as error:
            if not self._stopped:  # otherwise adapting has ended, and must not change the number
                self.cluster.worker_plan.message = of_error(error)
            self._pause = min(max(PAUSE, 2 * self._pause), LONGEST_PAUSE)
            self._not_before = asyncio.get_running_loop().time() + self._pause

    async def scale_down(self, workers: list[str]) -> None:
        """Retire the jobs whose names are in ``workers``. If adapting was stopped, do nothing."""
        if not self._stopped:
            await self.cluster.scale_down(workers)
