"""Adapting to the work with a queue in between: patient with what waits, whole jobs only, and never more than asked."""

from __future__ import annotations

import math
import time
from typing import Any

from distributed.deploy.adaptive import Adaptive

PENDING_GRACE = 600.0  # seconds for which a job that waits is kept though the work would do without it now
IDLE_GRACE = 10.0  # seconds for which workers without work are kept
MOST_PENDING = 32  # jobs that wait at a time


class FactoryAdaptive(Adaptive):
    """dask's adaptive deployment, but for what it knows of the queue."""

    cluster: Any  # a FactoryCluster, which imports this

    def __init__(
        self, *args: Any, idle_grace: float = IDLE_GRACE, pending_grace: float = PENDING_GRACE, **kw: Any
    ) -> None:
        super().__init__(*args, **kw)
        self._idle_grace = idle_grace
        self._pending_grace = pending_grace
        self._surplus_since: float | None = None

    async def recommendations(self, target: int) -> dict[str, Any]:
        """Up by whole jobs as far as the queue is not full of ours already; down by jobs that nobody needed for a
        while: those that have waited long first, then those that are idle."""
        cluster, now = self.cluster, time.monotonic()
        each = cluster.place.processes
        jobs = math.ceil(max(self.minimum, min(self.maximum, target)) / each)
        have, connected = len(cluster.worker_spec), cluster.connected()
        if jobs > have:
            self._surplus_since = None
            more = min(jobs - have, max(0, MOST_PENDING - (have - len(connected))))
            return {"status": "up", "n": (have + more) * each} if more else {"status": "same"}
        if jobs == have:
            self._surplus_since = None
            return {"status": "same"}
        if self._surplus_since is None:
            self._surplus_since = now
        waited = now - self._surplus_since
        surplus = have - jobs
        names: list[str] = []
        if waited >= self._pending_grace:
            names += [name for name in cluster.worker_spec if name not in connected][:surplus]
        if waited >= self._idle_grace and len(names) < surplus:
            closing = set(await self.workers_to_close(target=max(jobs, 0) * each))
            for name in connected:
                workers = cluster._worker_names(name)
                if len(names) < surplus and closing.issuperset(workers):
                    names.append(name)
        if not names:
            return {"status": "same"}
        return {"status": "down", "workers": names}

    async def workers_to_close(self, target: int) -> list[str]:
        """Names of workers that may go, whole jobs together: the scheduler's own choice."""
        found = await self.scheduler.workers_to_close(target=target, key=None, attribute="name")
        return [str(name) for name in found]

    async def scale_up(self, n: int) -> None:
        """Not by ``scale``, which ends adapting."""
        await self.cluster.scale_up(n)
