"""A worker's job as dask-jobqueue's ``Job``, requested from the link instead of with a scheduler's commands."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from distributed.core import Status
from distributed.security import Security

from factorycommon.models import Worker
from factorygate.cluster import keywords
from factorygate.cluster.cluster_api import ClusterApi
from factorygate.cluster.jobqueue import Job
from factorygate.cluster.keys import in_files
from factorygate.cluster.terms import ClusterTerms
from factorygate.link import LinkError

AT_A_TIME = 50  # number of jobs that are made before other tasks of the event loop run
HEADER = """\
# The gateway writes the batch script, from the factory's catalogue. Its workers are what this command would start:"""


class FactoryJob(Job):
    """One job of Dask workers, requested from the link.

    A job of a ``FactoryCluster`` gets that cluster's ``cluster_api`` and options. A job without ``cluster_api`` belongs
    to no ``FactoryCluster``, for example in ``JobQueueCluster(job_cls=FactoryJob, cores=4, memory="8GB")``. Only for
    such a job, ``factory``, ``size``, ``environment`` and ``hours`` or ``walltime`` say where and for how long it runs,
    and ``project`` which project is charged.
    """

    config_name = keywords.SECTION
    _script_template = "%(job_header)s\n%(worker_command)s\n"

    def __init__(
        self,
        scheduler: Any = None,
        name: Any = None,
        *,
        cluster_api: ClusterApi | None = None,
        describe: str = "# A job of its own.",
        factory: str | None = None,
        size: str | None = None,
        environment: str | None = None,
        hours: float | None = None,
        walltime: str | int | timedelta | None = None,
        project: str | None = None,
        security: Security | None = None,
        **kwargs: Any,
    ) -> None:
        keywords.refuse(kwargs)
        shown = security if in_files(security) else None  # the Security that the script may show
        super().__init__(scheduler=scheduler, name=name, security=shown, **kwargs)
        self.job_header = f"{describe}\n{HEADER}"
        self._cluster_api = cluster_api
        self._alone = cluster_api is None
        self._is_closed = False
        self._where: dict[str, Any] = {"factory": factory, "size": size, "environment": environment, "hours": hours}
        self._walltime = walltime
        self._project = project
        self._security = security
        self._options = kwargs

    @classmethod
    def default_config_name(cls) -> str:
        """Return the name of this class's section of dask's configuration.

        Also add to the section ``jobqueue.factory`` a default for each setting that it lacks: dask-jobqueue calls this
        method before it reads the settings.
        """
        keywords.have_section()
        return str(super().default_config_name())

    async def start(self) -> None:
        """Request this job from the link; return when the link has accepted the job.

        Raises LinkError with the gateway's or the batch scheduler's message. A job without a ``FactoryCluster`` also
        raises ValueError if its keywords are invalid, and OSError if a file that ``security`` names cannot be read.
        """
        if self._cluster_api is None:
            self._cluster_api = await self._begin()
        try:
            await self._cluster_api.submit(str(self.name))
        except LinkError:
            if self._alone:
                await self._cluster_api.close()
            raise
        let_go = self._is_closed  # the job was dropped while it was being requested
        self.status = Status.running
        if let_go:
            with suppress(LinkError):  # if this fails, the job is found among the strays
                await self._end(self._cluster_api)

    async def _begin(self) -> ClusterApi:
        from factorygate.cluster import standalone

        terms = await asyncio.to_thread(
            ClusterTerms.of,
            self.config_name,
            self._options,
            project=self._project,
            cap_gpu_hours=None,
            cores=self.worker_cores,
            memory=self.worker_memory,
            processes=self.worker_processes,
            walltime=self._walltime,
            **self._where,
        )
        return await standalone.begin(str(self.scheduler), self._security, terms)

    async def close(self) -> None:
        """Cancel this job; if the link has not accepted the job, only mark it as closed. Raises LinkError."""
        if self.status is Status.running and self._cluster_api is not None:
            await self._end(self._cluster_api)
        self._set_closed()

    def _set_closed(self) -> None:
        self.status, self._is_closed = Status.closed, True
        self._event_finished.set()

    async def _end(self, cluster_api: ClusterApi) -> None:
        with _unless_gone():
            await (cluster_api.end() if self._alone else cluster_api.cancel(str(self.name)))

    @property
    def data(self) -> Worker | None:
        """Return the link's last report about the job; None before the first report."""
        return None if self._cluster_api is None else self._cluster_api.workers.get(str(self.name))


async def make_missing(
    planned: Mapping[str, Mapping[str, Any]], there: Container[str], address: str, cluster: weakref.ref[Any]
) -> dict[str, FactoryJob]:
    """Return a new job for each name of ``planned`` that is not in ``there``.

    ``planned``: specifications of jobs by name; one that is removed while this function runs is left out. ``there``:
    names of jobs that exist already; ``address``: the scheduler's address for workers; ``cluster``: the cluster to
    which the jobs belong. The jobs are made a few at a time, since each renders a script, and the event loop also
    serves the scheduler.
    """
    made: dict[str, FactoryJob] = {}
    for name in [name for name in planned if name not in there]:
        if (spec := planned.get(name)) is not None:  # the job is still wanted
            made[name] = job = spec["cls"](address, **{"name": name, **spec["options"]})
            job._cluster = cluster
        if len(made) % AT_A_TIME == 0:
            await asyncio.sleep(0)
    return made


async def start_together(jobs: Iterable[FactoryJob]) -> None:
    """Request all these jobs at once; return when the link has answered for each.

    Raises LinkError if the link has refused one of the jobs, or does not answer.
    """
    starting = [asyncio.ensure_future(job) for job in jobs]
    if starting:
        await asyncio.wait(starting)
        await asyncio.gather(*starting)


async def close_together(cluster_api: ClusterApi, jobs: Collection[FactoryJob]) -> None:
    """Cancel all these jobs of one cluster in one request, without a task of the event loop for each job.

    Jobs that the link has not accepted are only marked as closed. Raises LinkError; then no job is marked as closed.
    """
    running = [str(job.name) for job in jobs if job.status is Status.running]
    if running:
        with _unless_gone():
            await cluster_api.cancel(*running)
    for job in jobs:
        job._set_closed()


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Suppress a LinkError of the kind "gone" within the block.

    This error says that the link does not know the cluster, or that the ``ClusterApi`` is closed.
    """
    try:
        yield
    except LinkError as error:
        if error.kind != "gone":
            raise
