"""A Dask cluster whose workers are batch jobs at a factory, asked for through the gateway."""

from __future__ import annotations

import asyncio
import math
import os
import uuid
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dask_jobqueue.core import JobQueueCluster
from distributed.core import Status

from factorygate.cluster import place, showing
from factorygate.cluster.adaptive import FactoryAdaptive
from factorygate.cluster.broker import Broker
from factorygate.cluster.job import FactoryJob
from factorygate.cluster.keeper import Keeper
from factorygate.cluster.keys import Keys
from factorygate.cluster.view import Adapting, ClusterView
from factorygate.link import Link, LinkError

if TYPE_CHECKING:
    from factorygate.widgets.panel import ClusterPanel

RETIRE_SECONDS = 60.0  # for workers to hand over what they hold, before their jobs end all the same


class FactoryCluster(JobQueueCluster):
    """``FactoryCluster(size="gpu-4", workers=8)``: that many Dask workers, in as few jobs of that node size.

    Factory, node size and environment are those of this notebook where nothing is said. ``hours``: walltime of each
    job (the cluster outlives its jobs); ``processes``: workers in each job, one a GPU if not said; ``cap_gpu_hours``:
    what the cluster may use in all, GPU-hours as the factory's scheduler counts them.

    All else is as in dask_jobqueue: ``scale``, ``adapt``, ``close``, ``get_client``. Traffic is TLS, and only who has
    the cluster's own key gets in. Raises LinkError where the gateway or the scheduler says no, ValueError for what the
    catalogue does not have.
    """

    job_cls = FactoryJob

    def __init__(
        self,
        size: str | None = None,
        workers: int = 0,
        *,
        factory: str | None = None,
        environment: str | None = None,
        hours: float | None = None,
        processes: int | None = None,
        cap_gpu_hours: float | None = None,
        name: str | None = None,
        asynchronous: bool = False,
        loop: Any = None,
        scheduler_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.place = place.find(factory, size, environment, hours, processes)
        self.cap_gpu_hours = cap_gpu_hours
        self.message = ""  # what went wrong last
        self.adapting: Adapting | None = None
        self.wanted = 0  # jobs
        self._link_wanted = workers
        self._keeper: Keeper | None = None
        self._panel: ClusterPanel | None = None
        self._keys = Keys.temporary()
        self.broker = Broker(Link.here(), self._changed)
        listens = {"host": place.own_address(), "dashboard_address": "127.0.0.1:0"}
        super().__init__(
            n_workers=0,
            name=name or f"dask-{uuid.uuid4().hex[:6]}",
            security=self._keys,
            protocol="tls://",
            scheduler_options=listens | (scheduler_options or {}),
            asynchronous=asynchronous,
            loop=loop,
            config_name=FactoryJob.config_name,
            cores=self.place.cores,
            memory=f"{self.place.memory}B",
            processes=self.place.processes,
            broker=self.broker,
            describe=f"# {self.place.size} at {self.place.factory}: {self.place.label}, {self.place.hours:g} h",
            **options,
        )
        if workers and not asynchronous:
            self.scale(workers)

    def _get_worker_security(self, security: Any) -> None:  # noqa: ARG002  # the link hands workers their keys
        return None

    # --- its beginning and its end

    async def _start(self) -> None:
        await super()._start()
        if self._keeper is not None:
            return
        keys = self._keys.get_tls_config_for_role("worker")
        request = {
            "name": self._name,
            "factory": self.place.factory,
            "size": self.place.size,
            "environment": self.place.environment,
            "hours": self.place.hours,
            "processes": self.place.processes,
            "cap_gpu_hours": self.cap_gpu_hours,
            "session": os.environ.get("FACTORYGATE_SESSION"),
            "scheduler": {
                "address": self.scheduler.address,
                "ca": keys["ca_file"],
                "certificate": keys["cert"],
                "key": keys["key"],
            },
        }
        await self.broker.begin(request)
        self._keeper = Keeper(self)
        self._keeper.start()
        if self._link_wanted and self.asynchronous:
            wanted, self._link_wanted = self._link_wanted, 0
            self._plan(self._jobs(wanted))

    async def _close(self) -> None:
        if self.status is Status.closed:
            return
        if self._keeper is not None:
            self._keeper.stop()
        self._plan(0)
        with suppress(LinkError):  # the cluster as a whole is ended below
            await self._correct_state()
        try:
            await self.broker.end()
        except LinkError as error:  # it ends by itself: nobody reads of it any more
            self.message = str(error)
        for job in list(self.workers.values()):
            job.status = Status.closed
        self.workers.clear()
        await super()._close()

    # --- how many

    def _jobs(self, workers: int) -> int:
        return math.ceil(workers / self.place.processes)

    def scale(self, n: int | None = None, jobs: int = 0, memory: str | None = None, cores: int | None = None) -> Any:
        """``n`` workers, or so many jobs, from now on. Returns when they were asked for.

        Raises ValueError where the cluster's cap does not allow it, LinkError with what the scheduler said.
        """
        wanted = self._jobs(n) if n is not None else jobs
        if cores is not None:
            wanted = max(wanted, math.ceil(cores / self.place.cores))
        if memory is not None:
            from dask.utils import parse_bytes

            wanted = max(wanted, math.ceil(parse_bytes(memory) / self.place.memory))
        self._stop_adapting()
        return self._move(wanted)

    def _move(self, jobs: int) -> Any:
        self._within_cap(jobs)
        if self.asynchronous:
            self._plan(jobs)
            return self._correct_state()
        return self.sync(self._moved, jobs)

    async def _moved(self, jobs: int) -> None:
        self._plan(jobs)
        await self._correct_state()

    def _within_cap(self, jobs: int) -> None:
        if self.cap_gpu_hours is None:
            return
        told = self.broker.cluster.get("gpu_hours") or {"spent": 0.0, "committed": 0.0}
        used = told["spent"] + told["committed"]
        more = max(0, jobs - len(self.worker_spec)) * self.place.gpus * self.place.hours
        if used + more > self.cap_gpu_hours + 1e-9:
            raise ValueError(
                f"The cluster may use {self.cap_gpu_hours:g} GPU-hours: {used:.2f} are used or promised, and "
                f"{jobs} jobs would need {more:.2f} more."
            )

    def _plan(self, jobs: int) -> None:
        """Who is to be there: those that do not work yet are let go first, the youngest of the others next."""
        self.wanted = jobs
        if len(self.worker_spec) > jobs:
            connected = self.connected()
            by_use = sorted(self.worker_spec, key=lambda name: (name in connected, -_number(name)))
            for name in by_use[: len(self.worker_spec) - jobs]:
                del self.worker_spec[name]
        if self.status not in (Status.closing, Status.closed):
            while len(self.worker_spec) < jobs:
                self.worker_spec.update(self.new_worker_spec())
                self._i += 1

    def adapt(
        self,
        Adaptive: type[FactoryAdaptive] = FactoryAdaptive,
        *,
        minimum_jobs: int | None = None,
        maximum_jobs: int | None = None,
        minimum: float = 0,
        maximum: float = math.inf,
        **options: Any,
    ) -> Any:
        """Let the work decide how many jobs there are, within these bounds (workers, or jobs)."""
        each = self.place.processes
        low = minimum if minimum_jobs is None else minimum_jobs * each
        high = maximum if maximum_jobs is None else maximum_jobs * each
        self.adapting = Adapting(self._jobs(int(low)), self._jobs(int(high)) if math.isfinite(high) else 10**6)
        return super().adapt(Adaptive=Adaptive, minimum=low, maximum=high, **options)

    def _stop_adapting(self) -> None:
        if self.adapting is not None:
            self._adaptive.stop()
            self.adapting = None

    async def scale_up(self, n: int) -> None:
        """Asked by adapting: ``n`` workers in all. What the scheduler or the cap says no to is shown, not raised."""
        try:
            jobs = self._jobs(n)
            self._within_cap(jobs)
            self._plan(max(jobs, len(self.worker_spec)))
            await self._correct_state()
        except (LinkError, ValueError) as error:
            self.message = str(error)

    # --- making it so

    async def _correct_state_internal(self) -> None:
        leaving = [name for name in self.workers if name not in self.worker_spec]
        if leaving:
            await self._retire(leaving)
        try:
            await super()._correct_state_internal()
        except LinkError as error:
            self.message = str(error)
            for name in [name for name, job in self.workers.items() if job.status is Status.created]:
                self.workers.pop(name).status = Status.failed
                self.worker_spec.pop(name, None)
            raise

    async def _retire(self, names: Iterable[str]) -> None:
        """Have their workers hand over what they hold, and leave."""
        workers = [worker for name in names for worker in self._worker_names(name)]
        connected = {worker["name"] for worker in self.scheduler_info["workers"].values()}
        leaving = [worker for worker in workers if worker in connected]
        if leaving and self.scheduler.status is Status.running:
            with suppress(TimeoutError, OSError):
                await asyncio.wait_for(
                    self.scheduler_comm.retire_workers(names=leaving, close_workers=True, remove=True), RETIRE_SECONDS
                )

    def _worker_names(self, job: str) -> list[str]:
        from factorygate.cluster.worker import process_names

        return process_names(job, self.place.processes)

    def connected(self) -> set[str]:
        """Jobs with workers that the scheduler has now."""
        there = {worker["name"] for worker in self.scheduler_info.get("workers", {}).values()}
        return {name for name in self.worker_spec if not there.isdisjoint(self._worker_names(name))}

    def _changed(self, names: list[str]) -> None:
        if self._keeper is not None:
            self._keeper.changed(names)

    def _update_worker_status(self, op: str, msg: Any) -> None:
        super()._update_worker_status(op, msg)
        if self._keeper is not None:
            self._keeper.worker_came_or_went(op)

    # --- how it looks

    def view(self) -> ClusterView:
        """As it is now; cheap, and from any thread."""
        return showing.view(self)

    def _ipython_display_(self, **_options: Any) -> None:
        from IPython.display import display

        display(self.panel)  # type: ignore[no-untyped-call]

    @property
    def panel(self) -> ClusterPanel:
        """The widget that a notebook shows of it; one, wherever it is shown."""
        if self._panel is None:
            from factorygate.widgets.panel import ClusterPanel

            self._panel = ClusterPanel(self)
        return self._panel

    def __repr__(self) -> str:
        return showing.line(self.view())


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
