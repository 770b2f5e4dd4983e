"""A Dask cluster whose workers are batch jobs at a factory, requested through the gateway."""

from __future__ import annotations

import asyncio
import gc
import math
import shutil
import uuid
import weakref
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import dask
from distributed import SpecCluster
from distributed.core import Status
from distributed.deploy.cluster import Cluster
from distributed.security import Security

from factorycommon.language import N_
from factorycommon.messages import Message, joined, of_error
from factorycommon.models import Cluster as ClusterTold
from factorycommon.models import ClusterRequest
from factorygate.cluster import cluster_view, external_scheduler, keywords, pages, worker_place, worker_status
from factorygate.cluster.adaptive import FactoryAdaptive
from factorygate.cluster.cluster_api import ClusterApi
from factorygate.cluster.daskscheduler import FactoryScheduler
from factorygate.cluster.job import FactoryJob, make_missing, start_together
from factorygate.cluster.jobqueue import JobQueueCluster
from factorygate.cluster.keys import Keys, mend
from factorygate.cluster.replacer import KEPT, Replacer
from factorygate.cluster.retirement import WorkerRetirement
from factorygate.cluster.terms import KEPT_TERMS, ClusterTerms
from factorygate.cluster.worker_plan import WorkerPlan
from factorygate.link import Link, LinkError, LinkRoute, get_now
from factorygate.view_data import Adapting, ClusterView

if TYPE_CHECKING:
    from collections.abc import Iterable

    from factorygate.widgets.panel import ClusterPanel

MOST_NAMES = 100_000  # number of names that are tried for a new job, since a cluster that lives long has had many jobs


class FactoryCluster(JobQueueCluster):
    """A Dask cluster whose workers run in batch jobs: ``FactoryCluster(size="gpu-4", workers=8)``.

    Starts the workers in as few jobs of the node size as possible. If you leave out a setting of the jobs, its value
    comes from dask's configuration (section ``jobqueue.factory``, or the one that ``config_name`` names), else from
    this notebook (its factory; for jobs at that factory also its node size and environment), else from the gateway.
    ``FactoryCluster(**picker.value)`` takes the choice of a FactoryPicker.

    A cluster with a ``name`` outlives this kernel: ``leave`` disconnects from it, ``FactoryCluster.from_name`` connects
    again, and the cluster ends when it has had nothing to compute for ``idle_minutes``. With ``scheduler="job"`` the
    scheduler is a job of its own, so that a cluster with a name outlives the session, too. By default, a cluster at
    another factory than this notebook's has its scheduler there as a job: only data between client and cluster travel
    between the factories, data between workers do not. A cluster at another factory, or for another project, needs a
    token of your own (``factorygate.use_token()``): the session's token is valid only for the session's factory and
    project.

    ``scale``, ``adapt``, ``close`` and ``get_client`` are used as in dask_jobqueue. Traffic is TLS, and only programs
    with the cluster's key can connect.

    Raises LinkError if the gateway cannot be reached, or if it or the batch scheduler refuses. Raises ValueError for
    invalid values, for values that the catalogue does not have, and for dask_jobqueue's keywords that are not supported
    here (the message says what to use instead). If the Dask scheduler does not start, raises LinkError if the scheduler
    has a job of its own, else RuntimeError. Raises RuntimeError, too, if this kernel cannot connect to the Dask
    scheduler. Raises VersionsDifferError if a Dask scheduler outside of this kernel has other versions of Python or of
    packages than this kernel. Raises OSError if a file that ``security`` names cannot be read, or if the cluster's
    folder on this node, or the sockets for a scheduler at another factory, cannot be made.

    Parameters
    ----------
    size : str
        Node size of each job, by its id in the factory's catalogue
    workers, n_workers : int
        Number of Dask workers to begin with
    factory, environment : str
        Ids in the catalogue
    hours : float
        Walltime of each job; jobs that end at their walltime are replaced
    walltime : str, int or timedelta
        The walltime in place of ``hours``: in Slurm's form ("1:30:00"), in minutes, or as a timedelta
    processes : int
        Dask workers in each job. Default: one for each GPU, at least one; with ``cores`` and no ``size``, as many as
        dask_jobqueue computes from ``cores``
    cores : int
        How many cores of each job Dask uses, for all processes together; default: all. Without a ``size``, the smallest
        size that has ``cores`` and ``memory`` is taken
    memory : str or int
        How much memory of each job Dask uses ("16 GB", or bytes), for all processes together; default: all
    cap_gpu_hours : float
        The most GPU-hours that the cluster may use, as the factory's scheduler counts them; default: no cap
    project : str
        The project that is charged, in place of your usual one
    token : str
        Hub token of your own for this cluster, in place of the session's or the one given to ``use_token``
    name : str
        Name of the cluster, which then outlives this kernel
    scheduler : str
        "job": the scheduler is a job of its own; "here": the scheduler runs on this node, even if the workers' jobs are
        at another factory. Default: "here" for a cluster at this notebook's factory, else "job"
    scheduler_hours : float
        Walltime of the scheduler's job
    idle_minutes : float
        Minutes without work after which a cluster with a name, or with its scheduler as a job, ends
    interface : str
        Network interface of the workers, and of a scheduler in this kernel; ``scheduler_options={"interface": ...}``
        for the scheduler alone
    death_timeout : float
        Seconds that a worker waits for its scheduler
    local_directory : str
        Folder on the node for data that workers spill
    worker_extra_args : list
        Arguments of each Dask worker; only ``--preload MODULE`` and ``--resources "NAME=AMOUNT"`` are supported
    security : Security
        Keys to use in place of the cluster's own; like ``scheduler_options``, only for a scheduler in this kernel
    scheduler_options, asynchronous, loop, silence_logs
        As in dask_jobqueue
    """

    job_cls = FactoryJob
    status: Status
    _watch_worker_status_task: asyncio.Task[None] | None

    def __init__(
        self,
        size: str | None = None,
        workers: int = 0,
        *,
        factory: str | None = None,
        environment: str | None = None,
        hours: float | None = None,
        project: str | None = None,
        processes: int | None = None,
        cap_gpu_hours: float | None = None,
        name: str | None = None,
        scheduler: Literal["here", "job"] | None = None,
        scheduler_hours: float | None = None,
        idle_minutes: float = 30.0,
        token: str | None = None,
        asynchronous: bool = False,
        loop: Any = None,
        scheduler_options: dict[str, Any] | None = None,
        cores: int | None = None,
        memory: str | int | None = None,
        walltime: str | int | timedelta | None = None,
        n_workers: int = 0,
        security: Security | bool | None = None,
        protocol: str = "tls://",
        config_name: str | None = None,
        _begins: external_scheduler.Begins | None = None,
        **options: Any,
    ) -> None:
        keywords.refuse(options, name)
        keywords.counts(workers=workers, n_workers=n_workers)
        keywords.amounts(idle_minutes=idle_minutes, scheduler_hours=scheduler_hours)
        keywords.one_of(("here", "job"), scheduler=scheduler)
        if security is False or not protocol.startswith("tls"):
            raise ValueError("A FactoryCluster speaks TLS and nothing else; leave security= and protocol= out.")
        self.route = LinkRoute.here(token=token)
        self.terms = ClusterTerms.of(
            config_name,
            options,
            route=self.route,
            project=project,
            cap_gpu_hours=cap_gpu_hours,
            factory=factory,
            size=size,
            environment=environment,
            hours=hours,
            walltime=walltime,
            processes=processes,
            cores=cores,
            memory=memory,
        )
        self.place = self.terms.place
        workers = workers or n_workers
        self.adapting: Adapting | None = None
        self.worker_plan = WorkerPlan(self)
        self.leaving = WorkerRetirement(self)
        self._link_wanted = workers
        self._replacer: Replacer | None = None
        self._begin_task: asyncio.Task[external_scheduler.ExternalScheduler] | None = None
        self._close_task: asyncio.Task[None] | None = None
        self.was_left = False  # True after ``leave``: the cluster continues without this process
        self._ends = False  # True while it is being closed or left, so that no more jobs start
        self._lock = asyncio.Lock()
        self._panel: ClusterPanel | None = None
        self.idle_minutes, self.scheduler_hours = idle_minutes, scheduler_hours
        self.cluster_api = ClusterApi(Link(self.route), self._changed)
        self._begins = _begins or external_scheduler.beginning(scheduler, self.place.here, name)
        theirs = security if isinstance(security, Security) else None
        if theirs is not None:
            mend(theirs)
        if self._begins is not None and (theirs or scheduler_options):
            raise ValueError(
                "security= and scheduler_options= are for a scheduler in this kernel: for a cluster without a name, at "
                "this session's factory."
            )
        self._keys = Keys.new() if theirs is None else Keys.like(theirs)
        said = keywords.settled(config_name, scheduler_options=scheduler_options)
        listens: dict[str, Any] = said["scheduler_options"] or {}
        if self._begins is None:
            self._folder = pages.folder(self.cluster_api.id)
            own = {"pages": str(self._folder / pages.SOCKET), "local_directory": str(self._folder)}
            listens = {"dashboard": True, **own} | listens
            if "interface" not in self.terms.worker and "interface" not in listens:
                listens = {"host": worker_place.own_address()} | listens
        try:
            super().__init__(
                n_workers=0,
                name=name or f"dask-{uuid.uuid4().hex[:6]}",
                security=theirs or self._keys,
                protocol=protocol,
                scheduler_cls=FactoryScheduler,
                scheduler_options=listens,
                asynchronous=asynchronous,
                loop=loop,
                config_name=config_name,
                cores=self.place.cores,
                memory=f"{self.place.memory}B",
                processes=self.place.processes,
                cluster_api=self.cluster_api,
                describe=f"# {self.place.size} at {self.place.factory}: {self.place.label}, {self.place.hours:g} h",
                **options,
            )
        except BaseException:
            if not asynchronous and hasattr(self, "_loop_runner"):
                self._loop_runner.stop()  # no variable refers to the cluster any more
            raise
        self.shutdown_on_close = name is None  # close the cluster when the kernel ends
        if workers and not asynchronous:
            try:
                self.scale(workers)
            except BaseException:
                self.close()  # no variable refers to the cluster any more
                raise

    @classmethod
    def from_name(
        cls, name: str, *, token: str | None = None, asynchronous: bool = False, loop: Any = None
    ) -> FactoryCluster:
        """Connect to your live cluster named ``name``, and return it with its workers and results.

        For use after ``leave``, or after the cluster's kernel has ended. ``token``: a hub token of your own, in place
        of the session's or the one given to ``use_token``. A cluster at another factory than this session's, or for
        another project, is found only with a token of your own.

        Raises ValueError if there is no such cluster (the message names those that were found), LinkError if the
        gateway cannot be reached or refuses, VersionsDifferError if the Dask scheduler has other versions of Python or
        of packages than this kernel, RuntimeError if this kernel cannot connect to the Dask scheduler, OSError if this
        node's sockets for a scheduler at another factory cannot be made.
        """
        route = LinkRoute.here(token=token)
        live = get_now("/clusters", list[ClusterTold], route, live="true")
        found = {one.name: one for one in live if one.state == "live"}
        if name not in found:
            more = (
                ""
                if route.own
                else " Clusters at another factory or for another project are found only with a token of your own: "
                "factorygate.use_token()."
            )
            raise ValueError(f"You have no cluster {name!r} now; there are: {', '.join(found) or 'none'}.{more}")
        known = found[name]
        choice = known.choice
        return cls(
            choice.size,
            factory=choice.factory,
            environment=choice.environment,
            hours=choice.hours,
            project=choice.project,
            processes=known.processes,
            cap_gpu_hours=known.gpu_hours.cap,
            name=name,
            token=token,
            asynchronous=asynchronous,
            loop=loop,
            _begins=partial(external_scheduler.again, known=known),
        )

    def _get_worker_security(self, security: Any) -> Any:
        """Return the Security that ``job_script`` shows: the caller's own, or None.

        None: the keys were made by this class, and the workers get them from the link.
        """
        return None if security is self._keys else security

    # --- its start and its end

    async def _start(self) -> None:
        if self._replacer is None and self._begins is not None:
            await self._begin_outside(self._begins)
        await super()._start()
        if self._replacer is not None:
            return
        if self._begins is None:
            await self._make_known()
        try:
            await self._take_up()
        except BaseException:
            self.status = Status.failed  # so that ``_close`` leaves a cluster that existed before
            await self._close()
            raise
        # Dask was just imported; otherwise a garbage collection would block the event loop while jobs are requested
        gc.collect()
        if self._ends:
            raise LinkError("gone", N_("The cluster was closed."))
        self._replacer = Replacer(self)
        self._replacer.start()
        if self._link_wanted and self.asynchronous:
            wanted, self._link_wanted = self._link_wanted, 0
            self.worker_plan.plan(self._jobs(wanted))
            try:
                await self._correct_state()
            except LinkError:
                await self._close()  # the caller that awaits the cluster gets the error and no cluster
                raise

    async def _begin_outside(self, begins: external_scheduler.Begins) -> None:
        """Start or find the cluster's scheduler outside of this kernel; after an error, close this object.

        ``begins``: the function that starts or finds the scheduler; for a new cluster, the function also creates the
        cluster at the link. Raises the errors of ``begins``; LinkError if another call closes the cluster meanwhile.
        """
        request = external_scheduler.SchedulerRequest(
            self.name, self.cluster_api, self.terms, self.route, self.idle_minutes, self.scheduler_hours
        )
        self._begin_task = asyncio.ensure_future(begins(request))
        try:
            found = await self._begin_task
        except BaseException as error:
            await self.cluster_api.close()
            await self._close()
            begun = self._begin_task
            if begun.done() and not begun.cancelled() and begun.exception() is None:
                # this call was cancelled just after the scheduler was found
                await begun.result().close()
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling():
                # another call closed the cluster in the meantime
                raise LinkError("gone", N_("The cluster was closed.")) from error
            raise
        self.security = self._keys = found.keys
        self.scheduler = await found

    async def _make_known(self) -> None:
        try:
            await self.cluster_api.begin(
                self.terms.request(self._name, scheduler=self._keys.tell(self.scheduler.address))
            )
        except BaseException:
            await self._close()  # no variable refers to the cluster any more
            raise

    async def _take_up(self) -> None:
        """Take over a cluster from an earlier kernel: its terms, its live jobs, and its stored ``worker_plan``.

        If the cluster is new, its terms are stored for a later kernel, unless it ends with this one.
        """
        if self.cluster_api.resumed:
            await self._restore_terms()
        elif self._begins is not None:
            await self.scheduler_comm.set_metadata(keys=[KEPT_TERMS], value=self._saved_terms())
        if not self.cluster_api.workers:
            return
        for name, known in self.cluster_api.workers.items():
            if known.state != "ended":
                self.workers[name] = job = self.job_cls(self.scheduler.address, name=name, **self._job_kwargs)
                job.status = Status.running
        self.worker_plan.take_up(list(self.workers), await self.scheduler_comm.get_metadata(keys=[KEPT], default=None))

    def _saved_terms(self) -> dict[str, Any]:
        head = None if self.cluster_api.request is None else self.cluster_api.request.head
        return {**self.terms.saved(), "head": None if head is None else head.model_dump(mode="json")}

    async def _restore_terms(self) -> None:
        """Restore the stored terms, also those with which the cluster is created again if the link loses it."""
        saved = await self.scheduler_comm.get_metadata(keys=[KEPT_TERMS], default=None)
        request = self.cluster_api.request
        if saved is None or request is None:  # an earlier release, which stored no terms, created the cluster
            return
        self.terms = self.terms.restored(saved)
        self.place = self.terms.place
        self._job_kwargs.update(cores=self.place.cores, memory=f"{self.place.memory}B")
        more = {"worker": saved["worker"], "head": saved["head"]}
        self.cluster_api.remember(ClusterRequest.model_validate(request.model_dump() | more))

    def leave(self) -> Any:
        """Disconnect from the cluster, which continues with its workers.

        Jobs that are no longer wanted, but still finish their tasks, are ended now; if the gateway refuses that, or has
        not answered after two minutes, they may continue, and ``message`` says why. The cluster ends when it has had
        nothing to compute for ``idle_minutes``. An asynchronous cluster returns an awaitable. Raises ValueError if the
        cluster's scheduler runs in this kernel, that is, if the cluster was created without a ``name`` and its
        scheduler is no job.
        """
        return self.sync(self._leave)

    async def _leave(self) -> None:
        if self._begins is None:
            raise ValueError("Its scheduler is in this kernel. Give a cluster a name, and it can be left.")
        self._stop_asking()
        await self.leaving.finish()
        await self.cluster_api.close()
        await self._stop_watching()
        await Cluster._close(self)
        self.was_left = True
        await self.scheduler.close()

    def _stop_asking(self) -> None:
        """Stop adapting and replacing, so that no more jobs are requested."""
        self._ends = True
        self.stop_adapting()
        if self._replacer is not None:
            self._replacer.stop()

    async def _close(self) -> None:
        """Close the cluster; concurrent callers share one closing.

        If a caller is cancelled, the closing continues.
        """
        if self.status is Status.closed:
            return
        if self._close_task is None or self._close_task.done():
            self._close_task = asyncio.ensure_future(self._close_all())
        await asyncio.shield(self._close_task)

    async def _close_all(self) -> None:
        if self.cluster_api.resumed and self.status is Status.failed:
            # Dask could not connect to the scheduler of a cluster that existed before: its jobs and results stay.
            await self._leave()
            return
        self._stop_asking()
        self.leaving.stop()
        self.worker_plan.plan(0)
        try:
            await self.cluster_api.end()  # this also answers all callers that wait for jobs
        except LinkError as error:  # the cluster ends by itself, since its events are no longer read
            self.worker_plan.message = of_error(error)
        if self._begin_task is not None and not self._begin_task.done():
            self._begin_task.cancel()
            await asyncio.gather(self._begin_task, return_exceptions=True)
        while self.status is Status.starting:  # noqa: ASYNC110  # as dask waits for that
            await asyncio.sleep(0.01)
        async with self._lock:  # a caller that has just requested jobs has its answer now
            for job in [*self._created, *self.workers.values()]:
                job.status = Status.closed
            self.workers.clear()
        await self._stop_watching()
        if self.status is Status.created:  # the cluster never started
            self.status = Status.failed
        await super()._close()
        if self._begins is None:
            shutil.rmtree(self._folder, ignore_errors=True)

    # --- messages of its Dask scheduler about workers

    async def _watch_worker_status(self, comm: Any) -> None:
        await worker_status.follow(self, comm)

    def watch_again(self, comm: Any, scheduler_info: Any) -> None:
        """Replace the broken connection for the Dask scheduler's messages about workers by ``comm``.

        ``scheduler_info``: the first message from ``comm``, which describes the scheduler and its workers.
        """
        self.scheduler_info, self._watch_worker_status_comm = scheduler_info, comm

    async def _stop_watching(self) -> None:
        task, self._watch_worker_status_task = self._watch_worker_status_task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # --- the number of jobs

    def name_of_job(self, number: int) -> str:
        """Return the name of the job ``number``; a subclass may form names by its own ``_new_worker_name``."""
        return str(self._new_worker_name(number))

    @property
    def worker_spec(self) -> dict[str, Any]:
        """Return the specifications of the jobs that the cluster should have, by name, for Dask's cluster classes."""
        return self.worker_plan.jobs

    @worker_spec.setter
    def worker_spec(self, jobs: dict[str, Any]) -> None:
        self.worker_plan.jobs = jobs

    @property
    def message(self) -> str:
        """Return the last message for the person, such as an error or a warning; "" if there was none."""
        return self.worker_plan.message

    def next_job(self) -> tuple[str, Any]:
        """Return an unused name and the specification for a new job; each call returns another name.

        Raises ValueError if ``name_of_job`` makes used names only.
        """
        [job] = self.new_worker_spec().items()
        self._i += 1
        return job

    def forget_job(self, name: str) -> None:
        """Remove a lost job from ``worker_plan`` and from ``workers``."""
        self.worker_plan.drop((name,))
        job = self.workers.pop(name, None)
        if job is not None:
            job.status = Status.closed

    @property
    def next_number(self) -> int:
        """Return the number that is tried first for the name of the next job."""
        return self._i

    def new_worker_spec(self) -> dict[str, Any]:
        """Return ``{name: specification}`` of the next job; the name was never used in this cluster.

        Raises ValueError if ``name_of_job`` makes used names only.
        """
        for number in range(self._i, self._i + MOST_NAMES):
            name = self.name_of_job(number)
            if name not in self.worker_spec and name not in self.cluster_api.workers:
                self._i: int = number
                return {name: self.new_spec}
        raise ValueError(f"{type(self).__name__}._new_worker_name() makes no name that is not taken.")

    def _jobs(self, workers: int) -> int:
        return self.place.jobs(workers)

    def scale(self, n: int | None = None, jobs: int = 0, memory: str | None = None, cores: int | None = None) -> Any:
        """Set how many jobs the cluster has, and stop adapting.

        ``n``: as many jobs as this number of Dask workers needs; ``jobs``: this number of jobs, if ``n`` is None;
        ``memory``, ``cores``: as many jobs as have this memory and these cores together. The largest of these numbers
        of jobs counts.

        Returns when the link has accepted the jobs, not when they run; an asynchronous cluster returns an awaitable.
        Raises ValueError for a number that is not whole or is below 0, and for one that the cluster's cap does not
        allow; LinkError if the link or the batch scheduler refuses, if the link does not answer, or if the cluster was
        closed or left.
        """
        keywords.counts(n=n, jobs=jobs, cores=cores)
        wanted = max(self._jobs(n) if n is not None else jobs, self.place.jobs(cores=cores, memory=memory))
        self.stop_adapting()
        if self._replacer is not None:
            self._replacer.forgive()
        return self._move(wanted)

    def _move(self, jobs: int) -> Any:
        if self.asynchronous:
            self._plan(jobs)
            return self._correct_state()
        return self.sync(self._planned, jobs)

    async def _planned(self, jobs: int) -> None:
        self._plan(jobs)
        await self._correct_state()

    def _plan(self, jobs: int) -> None:
        if self._ends and jobs:
            raise LinkError("gone", N_("The cluster was closed."))
        self.within_cap(jobs - len(self.worker_plan.units()))
        self.worker_plan.plan(jobs)

    def within_cap(self, more: int) -> None:
        """Raise ValueError if ``more`` further jobs could exceed the cluster's cap in GPU-hours.

        The link checks this again.
        """
        self.terms.check_cap(more, self.cluster_api.cluster)

    def adapt(
        self,
        Adaptive: type[FactoryAdaptive] = FactoryAdaptive,
        *,
        minimum_jobs: int | None = None,
        maximum_jobs: int | None = None,
        minimum: float | None = None,
        maximum: float | None = None,
        minimum_cores: int | None = None,
        maximum_cores: int | None = None,
        minimum_memory: str | None = None,
        maximum_memory: str | None = None,
        **options: Any,
    ) -> Any:
        """Adapt the number of jobs to the work, within bounds; return the ``Adaptive`` object.

        ``minimum`` and ``maximum`` are in workers, the other bounds in jobs, cores or memory (such as "16 GB"). The
        lower bound is ``minimum_jobs``, or if this is None, the highest of the other minima. The upper bound is
        ``maximum_jobs``, or if this is None, the lowest of the other maxima. If all minima are None, dask's
        configuration (``distributed.adaptive``) has the lower bound; if all maxima are None, it has the upper bound.
        ``options``: other arguments of ``Adaptive``. Raises ValueError for invalid bounds, and if the lower bound is
        more whole jobs than the upper one.
        """
        keywords.counts(minimum_jobs=minimum_jobs, maximum_jobs=maximum_jobs, minimum=minimum)
        keywords.counts(maximum=None if maximum == math.inf else maximum)
        each = self.place.processes
        if minimum is None:
            said = minimum_jobs is None and minimum_cores is None and minimum_memory is None
            minimum = float(dask.config.get("distributed.adaptive.minimum", 0)) if said else 0
        if maximum is None:
            said = maximum_jobs is None and maximum_cores is None and maximum_memory is None
            maximum = float(dask.config.get("distributed.adaptive.maximum", math.inf)) if said else math.inf
        low = self.place.jobs(minimum, minimum_cores, minimum_memory) if minimum_jobs is None else minimum_jobs
        high = self.place.most_jobs(maximum, maximum_cores, maximum_memory) if maximum_jobs is None else maximum_jobs
        if high is not None and low > high:
            raise ValueError(
                f"The lower bound, {low} jobs, is above the upper one, {high} jobs (workers in each: {each}). A bound "
                "that is not given comes from dask's configuration (distributed.adaptive)."
            )
        most = math.inf if high is None else high * each
        known = dict(getattr(self, "_adaptive_options", {}))
        try:
            adaptive = super().adapt(Adaptive=Adaptive, minimum=low * each, maximum=most, **options)
        except BaseException:
            self.adapting, self._adaptive_options = None, known  # otherwise dask would complain about the same values
            raise
        if self._replacer is not None:
            self._replacer.forgive()
        self.adapting = Adapting(low, 10**6 if high is None else high)
        return adaptive

    def stop_adapting(self) -> None:
        """Stop adapting; the number of wanted jobs stays unchanged."""
        if self.adapting is not None:
            if self._adaptive is not None:  # another call may have ended adapting
                self._adaptive.stop()
            self.adapting = None

    async def scale_up(self, n: int) -> None:
        """Request jobs until there are ``n`` workers; called by ``FactoryAdaptive``.

        If the cluster's cap or the link allows only some of the jobs, request these; ``message`` then says why. Raises
        ValueError if the cap allows no further job; LinkError if the link allows none or does not answer. If adapting
        was stopped or changed meanwhile, any refusal by the link raises LinkError.
        """
        jobs, there = self._jobs(n), len(self.worker_plan.units())
        if jobs <= there:
            return
        room, why = self._room(jobs - there)
        adapting = self.adapting
        while True:
            self.worker_plan.plan(there + room)
            try:
                await self._correct_state()
            except LinkError as error:
                if not error.fits or self.adapting is not adapting:
                    raise
                room, why = min(error.fits, room - 1), of_error(error)
                if room == 0:
                    raise
            else:
                break
        if why:
            said = Message(
                "no-more-jobs", "The work wants {wanted} jobs, and there are {there}: no more are allowed."
            ).format(wanted=jobs, there=there + room)
            self.worker_plan.message = joined(said, why)

    def _room(self, more: int) -> tuple[int, str]:
        """Return how many of ``more`` jobs the cap allows, and the reason if it allows fewer than ``more``, else "".

        Raises ValueError if the cap allows none.
        """
        fits = self.terms.fit_cap(self.cluster_api.cluster)
        if fits is None or fits >= more:
            return more, ""
        try:
            self.within_cap(more)
        except ValueError as error:
            if fits == 0:
                raise
            return fits, of_error(error)
        return more, ""

    async def scale_down(self, workers: Iterable[str]) -> None:
        """Retire the jobs named in ``workers``, and want fewer jobs from now on; called by ``FactoryAdaptive``."""
        if self._ends:
            return
        self.worker_plan.drop(tuple(workers))
        self.worker_plan.give_up()
        await self._correct_state()

    @property
    def usual_wait(self) -> float:
        """Return the seconds that a job usually takes from its request until its workers connect.

        About nine of ten recent jobs took at most this time. As long as this object has seen no job's workers connect,
        the result is ``FIRST_WAIT`` of the module ``replacer``; before the cluster has started, it is 0.
        """
        return self._replacer.usual_wait if self._replacer is not None else 0.0

    # --- starting and retiring jobs

    def _correct_state(self) -> asyncio.Future[None]:
        """Start and retire jobs until they match ``worker_plan``, in one task that all callers share.

        If a caller is cancelled, the task continues.
        """
        return asyncio.shield(super()._correct_state())

    async def _correct_state_internal(self) -> None:
        """Start the jobs of ``worker_plan`` that do not exist yet, and retire jobs that are not in ``worker_plan``.

        SpecCluster's own method would end jobs before their workers have handed over their results. Raises LinkError if
        the link refuses jobs or does not answer; jobs that the link has not accepted are then removed from
        ``worker_plan``. If these jobs were requested by ``scale`` or ``scale_up``, they are not wanted any more either,
        from the same moment on, so that the replacer does not request them again.
        """
        self._let_go()
        async with self._lock:
            self._correct_state_waiting = None  # later callers get a task of their own
            is_new = self.worker_plan.begin_request()
            self._let_go()
            try:
                scheduler = self.scheduler  # None if the cluster did not start; then no jobs are planned either
                address = str(getattr(scheduler, "contact_address", None) or getattr(scheduler, "address", ""))
                made = await make_missing(self.worker_plan.jobs, self.workers, address, weakref.ref(self))
                self.workers.update(made)
                self._created.update(made.values())
                await start_together(made.values())
            except LinkError as error:
                self.worker_plan.message = of_error(error)
                for name in [name for name, job in self.workers.items() if job.status is Status.created]:
                    self.workers.pop(name).status = Status.failed
                    self.worker_plan.drop((name,))
                if is_new:
                    self.worker_plan.give_up()
                raise
            finally:
                self._let_go()  # jobs that were dropped from the plan in the meantime

    def _let_go(self) -> None:
        """Begin to retire the jobs that are no longer in ``worker_plan``."""
        leaving = [name for name in self.workers if name not in self.worker_plan.jobs]
        self.leaving.add({name: self.workers.pop(name) for name in leaving}, self.worker_plan.relieved)

    def _changed(self, names: list[str]) -> None:
        if self._replacer is not None:
            self._replacer.changed(names)

    def _update_worker_status(self, op: str, msg: Any) -> None:
        # SpecCluster's own method is skipped: it would end a lost worker's job and request it again under the same
        # name; the replacer decides about that.
        super(SpecCluster, self)._update_worker_status(op, msg)
        if self._replacer is not None:
            self._replacer.worker_came_or_went(op)

    # --- views

    @property
    def dashboard_link(self) -> str:
        """Return the URL path, without scheme and host, of the cluster's Dask pages; "" outside a session.

        This session's notebook server serves the pages, behind its login. If the scheduler runs outside of this
        session, but at the same factory, there are no pages at this path.
        """
        return pages.link(self.cluster_api.id)

    def view(self) -> ClusterView:
        """Return what the panel shows of the cluster now. Fast; may be called from any thread."""
        return cluster_view.view(self)

    def log_tail(self, job: str) -> Any:
        """Return, as a tuple, the last lines that a job of the cluster has written; the job may still run.

        ``job``: the job's name, as in ``view().jobs``. The tuple is empty if nothing is written yet. An asynchronous
        cluster returns an awaitable. Raises LinkError if the gateway refuses or does not answer.
        """
        return self.sync(self.cluster_api.log, job)

    def read_log(self, job: str) -> None:
        """Request the log of the job named ``job``, and return at once; ``view`` shows the log when it has arrived.

        If the log cannot be read, ``view`` shows the reason in its place. May be called from any thread.
        """
        self.loop.add_callback(self._read_log, job)

    async def _read_log(self, job: str) -> None:
        try:
            if not await self.cluster_api.log(job):
                self.cluster_api.logs[job] = (N_("Nothing is written yet."),)
        except LinkError as error:
            self.cluster_api.logs[job] = (str(error),)

    def _ipython_display_(self, **_options: Any) -> None:
        from IPython.display import display

        display(self.panel)  # type: ignore[no-untyped-call]

    @property
    def panel(self) -> ClusterPanel:
        """Return the cluster's widget, which is always the same object."""
        if self._panel is None:
            from factorygate.widgets.panel import ClusterPanel

            self._panel = ClusterPanel(self)
        return self._panel

    def __repr__(self) -> str:
        return cluster_view.line(self)
