"""A whole Dask cluster on a virtual clock. The notebook's side and the link's are the real ones; the batch scheduler,
Dask's scheduler, and the connection from the notebook to the link are scripted.
"""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from distributed.core import Status

from factorycommon.models import Cluster, GpuHours, JobRequest, JobState, Model, Scheduler
from factorygate.cluster import cluster_api, replacer, retirement
from factorygate.cluster.cluster import FactoryCluster
from factorygate.cluster.cluster_api import ClusterApi
from factorygate.cluster.job import FactoryJob
from factorygate.cluster.replacer import Replacer
from factorygate.cluster.retirement import WorkerRetirement
from factorygate.cluster.terms import ClusterTerms
from factorygate.cluster.worker_place import WorkerPlace
from factorygate.cluster.worker_plan import WorkerPlan
from factorygate.link import LinkError
from factorylink.jobs.ownership import Found, OwnJob, verify
from factorylink.ledger.ledger import LedgerError
from factorylink.problems import ProblemError
from factorylink.schedulers.slurm.parser import OUTCOMES
from factorylink.util import clock
from tests.unit import virtual_time
from tests.unit.fake_factory import SCHEDULER, MortalScheduler, World

M = TypeVar("M", bound=Model)
POLL = 3.0  # seconds between two answers of the factory


class VirtualDatetime(datetime):
    """A datetime class that follows the event loop's virtual clock."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return clock.now()


@dataclass
class Run:
    """One run of a job."""

    began: datetime
    ended: datetime | None = None


@dataclass
class Grid(MortalScheduler):
    """A batch scheduler: runs jobs, ``room`` at a time, ends them at their walltime, and knows their true use."""

    room: int = 1000
    names: dict[str, str] = field(default_factory=dict)  # by job, the worker that it runs
    walltimes: dict[str, timedelta] = field(default_factory=dict)
    runs_of: dict[str, list[Run]] = field(default_factory=dict)
    began_again: int = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.room, self.began_again, self.remembers = 1000, 0, True
        self.names, self.walltimes, self.runs_of = {}, {}, {}

    async def submit(self, account: str, request: JobRequest, template: str, count: int = 1) -> str:
        self.must_answer()
        before = set(self.jobs_there)
        try:
            return await super().submit(account, request, template, count)
        finally:
            words = request.command
            names = words[words.index("--names") + 1].split(",")
            for job in sorted(self.jobs_there.keys() - before, key=_task):
                self.names[job] = names[_task(job) - 1]
                self.walltimes[job] = timedelta(seconds=request.walltime)
                self.runs_of[job] = []

    async def cancel(self, account: str, jobs: Iterable[OwnJob]) -> dict[str, Found]:
        self.must_answer()
        jobs = list(jobs)
        ids = verify(jobs, list(self.jobs_there.values()))[0]
        for job in [job for job in self.alive() if job in ids or job.partition("_")[0] in ids]:
            self._stops(job)
        return await super().cancel(account, jobs)

    def alive(self, *states: JobState) -> list[str]:
        states = states or (JobState.PENDING, JobState.RUNNING)
        return [job for job, told in self.jobs_there.items() if told.state in states]

    def step(self) -> None:
        """Start the pending jobs for which there is room, and end the running jobs whose time limit has passed."""
        now = clock.now()
        for job in self.alive(JobState.RUNNING):
            if now >= self.runs_of[job][-1].began + self.walltimes[job]:
                self.ends(job, "TIMEOUT")
        for job in self.alive(JobState.PENDING)[: max(0, self.room - len(self.alive(JobState.RUNNING)))]:
            self.set(job, state=JobState.RUNNING, nodes=("n1",), started=now, ends=now + self.walltimes[job])
            self.runs_of[job].append(Run(now))

    def ends(self, job: str, raw_state: str) -> None:
        self._stops(job)
        now = clock.now()
        started = self.jobs_there[job].started or now
        outcome = OUTCOMES[raw_state.partition(" ")[0]]
        self.set(job, state=JobState.ENDED, outcome=outcome, raw_state=raw_state, started=started, ended=now)

    def begins_again(self, job: str) -> None:
        """Requeue a job after a preemption or a node failure: it waits again."""
        self._stops(job)
        restarts = self.jobs_there[job].restarts + 1
        self.set(job, state=JobState.PENDING, started=None, ends=None, nodes=(), restarts=restarts)
        self.began_again += 1

    def _stops(self, job: str) -> None:
        if self.runs_of[job] and self.runs_of[job][-1].ended is None:
            self.runs_of[job][-1].ended = clock.now()

    def used(self) -> float:
        """Return the GPU-hours that all jobs have truly used so far; each job has one GPU."""
        now = clock.now()
        spans = ((run.ended or now) - run.began for runs in self.runs_of.values() for run in runs)
        return sum(span / timedelta(hours=1) for span in spans)

    def left(self, job: str) -> float:
        """Return the hours that a waiting or running job may still run."""
        whole, told = self.walltimes[job], self.jobs_there[job]
        if told.state is JobState.RUNNING:
            whole -= clock.now() - self.runs_of[job][-1].began
        return whole / timedelta(hours=1)


class Way:
    """Replaces ``factorygate.link.Link``: sends requests to the link of the present world, as ada."""

    def __init__(self, life: Life) -> None:
        self._life = life

    async def close(self) -> None:
        return

    async def get(self, path: str, _kind: object) -> Any:
        return await self._ask(self._look(path.split("/")[2]))

    async def put(self, path: str, body: Any, _kind: object) -> Any:
        _, _, cluster, *rest = path.split("/")
        clusters = self._life.world.clusters
        if rest:
            return await self._ask(clusters.grow(cluster, "ada", rest[1], _sent(body)))
        return await self._ask(self._begin(cluster, body))

    async def _begin(self, cluster: str, body: Any) -> Any:
        return (await self._life.world.clusters.put(cluster, "ada", _sent(body)))[0]

    async def _look(self, cluster: str) -> Any:
        return self._life.world.clusters.look(cluster, "ada")

    async def post(self, path: str, body: Any, _kind: object) -> Any:
        return await self._ask(self._life.world.clusters.cancel(path.split("/")[2], "ada", body.names))

    async def delete(self, path: str, _kind: object) -> Any:
        return await self._ask(self._life.world.clusters.end(path.split("/")[2], "ada"))

    async def _ask(self, answer: Coroutine[Any, Any, Any]) -> Any:
        if not self._life.link_up:
            answer.close()
            raise LinkError("unreachable", "The gateway does not answer now.")
        # the link carries out the request even if the caller is cancelled
        asked = asyncio.ensure_future(self._later(answer))
        told = await asyncio.shield(asked)
        if self._life.delay:
            await asyncio.sleep(self._life.delay)
        return told

    async def _later(self, answer: Coroutine[Any, Any, Any]) -> Any:
        if self._life.delay:
            await asyncio.sleep(self._life.delay)
        with _as_link_errors():
            return Cluster.model_validate_json((await answer).model_dump_json())

    async def events(self, path: str, _kind: object) -> AsyncGenerator[tuple[str, Any], None]:
        if not self._life.link_up:
            raise LinkError("unreachable", "The gateway does not answer now.")
        with _as_link_errors():
            stream = self._life.world.clusters.own(path.split("/")[2], "ada").stream()
        cut = self._life.cut
        while not cut.is_set():
            some = asyncio.ensure_future(anext(stream))
            over = asyncio.ensure_future(cut.wait())
            await asyncio.wait([some, over], return_when=asyncio.FIRST_COMPLETED)
            over.cancel()
            if not some.done():
                some.cancel()
                break
            try:
                text = some.result().decode()
            except StopAsyncIteration:
                return
            if "data: " in text:
                yield "cluster", Cluster.model_validate_json(text.partition("data: ")[2])
        raise LinkError("unreachable", "The gateway does not answer now.")


def _sent(body: M) -> M:
    """Return the body in the form in which the link reads it."""
    return type(body).model_validate_json(body.model_dump_json(exclude_unset=True))


class _as_link_errors:
    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, ProblemError):
            problem = error.problem
            raise LinkError(problem.kind, problem.message, problem.do or "", fits=problem.fits) from error
        if isinstance(error, LedgerError):
            raise LinkError("unreachable", str(error)) from error


class Dask:
    """Replaces Dask's scheduler: a job's workers connect ``boot`` seconds after its start, and end with it.

    ``busy``: seconds for which a retiring worker still runs tasks; ``target``: the number of workers that the work
    needs.
    """

    def __init__(self, life: Life) -> None:
        self._life = life
        self.boot = 5.0
        self.busy = 0.0
        self.target = 0
        self.idle = True
        self.unregistered = 0
        self.lost: set[str] = set()  # jobs whose workers are lost
        self.metadata: dict[str, Any] = {}
        self.suspected: list[str] = []  # names of workers whose tasks are suspected
        self._leaves: dict[str, float] = {}  # by address: since when it leaves

    def step(self) -> None:
        grid, known = self._life.grid, self._life.cluster.scheduler_info["workers"]
        now = clock.now()
        up = {
            f"tls://{job}": grid.names[job]
            for job in grid.alive(JobState.RUNNING)
            if job not in self.lost
            and (f"tls://{job}" in known or now - grid.runs_of[job][-1].began >= timedelta(seconds=self.boot))
        }
        for address in [address for address in known if address not in up]:
            self._leaves.pop(address, None)
            self._life.cluster._update_worker_status("remove", address)
        for address, name in up.items():
            if address not in known:
                self._life.cluster._update_worker_status("add", {"workers": {address: {"name": name}}})

    async def retire_workers(self, workers: list[str], close_workers: bool, remove: bool) -> dict[str, Any]:
        there = self._life.cluster.scheduler_info["workers"]
        if not there.keys() - set(workers) - self._leaves.keys():
            return {}
        now = asyncio.get_running_loop().time()
        for address in workers:
            self._leaves.setdefault(address, now)
            if close_workers and address in there:
                self._life.grid.ends(address.removeprefix("tls://"), "COMPLETED")
        return {address: {} for address in workers if address in there}

    async def unregister(self, address: str, expected: bool, stimulus_id: str) -> str:
        assert expected
        self.unregistered += 1
        if address in self._life.cluster.scheduler_info["workers"]:
            self._life.grid.ends(address.removeprefix("tls://"), "COMPLETED")
        return "OK"

    async def broadcast(self, msg: dict[str, str], workers: list[str], on_error: str) -> dict[str, int]:
        now = asyncio.get_running_loop().time()
        if msg["op"] == "staying":
            for address in workers:
                self._leaves.pop(address, None)
            return {}
        return {address: int(now - self._leaves[address] < self.busy) for address in workers}

    async def adaptive_target(self, target_duration: Any) -> int:
        return self.target

    async def workers_to_close(self, memory_ratio: float, minimum: int, key: bytes, attribute: str) -> list[str]:
        there = [told["name"] for told in self._life.cluster.scheduler_info["workers"].values()]
        return there[minimum:] if self.idle else []

    async def terminate(self) -> None:
        """Do nothing: workers without a scheduler end by themselves, but only after a minute."""

    async def close_rpc(self) -> None:
        """Do nothing, since no connection is open."""

    async def suspect_tasks(self, workers: list[str]) -> None:
        self.suspected += workers

    async def set_metadata(self, keys: list[str], value: Any) -> None:
        self.metadata[keys[0]] = value

    async def get_metadata(self, keys: list[str], default: Any) -> Any:
        return self.metadata.get(keys[0], default)


class Kept(FactoryCluster):
    """A real ``FactoryCluster``, except that the scripted ``Dask`` takes the place of a Dask scheduler."""

    asynchronous = True

    def __init__(self, life: Life, hours: float, cap: float | None, name: str) -> None:
        self.place = place = WorkerPlace(
            factory="one", factory_name="One", size="gpu-1", label="", environment=None, hours=hours, most_hours=8.0,
            gpus=1, cores=4, memory=8 * 10**9, processes=1, here=True,
        )  # fmt: skip
        self.terms = ClusterTerms(place, project=None, cap_gpu_hours=cap, worker={})
        self.adapting, self._replacer = None, None
        self._begins, self._begin_task, self._close_task, self._ends = None, None, None, False
        self.worker_plan, self.leaving = WorkerPlan(self), WorkerRetirement(self)
        self.cluster_api = ClusterApi(Way(life), self._changed)  # type: ignore[arg-type]
        self._name, self._i = name, 0
        self._cluster_info = {"name": name}
        options = {"cores": 4, "memory": "8GB", "processes": 1, "config_name": "factory"}
        options["cluster_api"] = self.cluster_api
        self._job_kwargs = options
        self.new_spec = {"cls": FactoryJob, "options": options}
        self.workers, self._created = {}, weakref.WeakSet()
        self.scheduler = SimpleNamespace(status=Status.running, address="tls://n7:8786", close=life.dask.terminate)
        self.scheduler_comm = life.dask
        self.scheduler_info = {"workers": {}}
        self._lock, self._correct_state_waiting = asyncio.Lock(), None
        self._watch_worker_status_comm = self._watch_worker_status_task = self._sync_cluster_info_task = None
        self._adaptive, self._futures, self.periodic_callbacks = None, set(), {}
        self._SpecCluster__exit_stack = ExitStack()
        self.shutdown_on_close, self.shutdown_scheduler = False, True
        self._folder = life.folder / "cluster"
        self.status = Status.running

    async def up(self) -> None:
        if not self.cluster_api.workers:
            await self.cluster_api.begin(self.terms.request(self._name, Scheduler(**SCHEDULER)))
        await self._take_up()
        self._replacer = Replacer(self)
        self._replacer.start()

    async def down(self) -> None:
        """Stop this object, as at the end of its kernel or when it is closed."""
        if self._replacer is not None:
            self._replacer.stop()
        self.leaving.stop()
        if self.cluster_api._flush is not None:
            self.cluster_api._flush.cancel()
        await self.cluster_api.close()


class Life:
    """One cluster on a virtual clock, with its link, batch scheduler and Dask scheduler.

    ``hours``: the walltime of its jobs; ``cap``: its cap in GPU-hours, None: it has no cap; ``always``: a check that is
    called each second of the virtual time.
    """

    def __init__(self, folder: Path, hours: float = 1.0, cap: float | None = None) -> None:
        self.loop = virtual_time.JumpingLoop()
        self.patch = pytest.MonkeyPatch()
        virtual_time.use(self.loop, self.patch)
        for module in (cluster_api, replacer, retirement):
            self.patch.setattr(module, "datetime", VirtualDatetime)
        pragmas = ("journal_mode=WAL", "synchronous=OFF", "foreign_keys=ON", "busy_timeout=0")
        self.patch.setattr("factorycommon.service.database.PRAGMAS", pragmas)
        self.patch.setattr("factorylink.ledger.ledger.ThreadPoolExecutor", lambda *a, **k: virtual_time.InlineThread())
        self.folder = folder
        self.world = World(folder)
        self.world.scheduler = self.grid = Grid(self.world.identity)
        self.link_up, self.delay = True, 0.0  # seconds to the link, and the same back
        self.cut = asyncio.Event()
        self.always: Callable[[], None] = lambda: None  # called each second
        self.clusters = itertools.count(1)
        self.dask = Dask(self)
        self.cap = cap
        self.run(self.world.up())
        self.cluster = Kept(self, hours, cap, "mine")
        self.run(self.cluster.up())
        self._going = self.loop.create_task(self._go())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def passes(self, seconds: float) -> None:
        """Let this many seconds of the virtual time pass. Raises the error with which ``always`` has failed."""
        self.loop.jump(seconds)
        if self._going.done():
            self._going.result()

    def comes(self, look: Callable[[], bool], seconds: float = 120) -> float:
        """Let virtual time pass until a condition holds; return the seconds that it took.

        Raises AssertionError if the condition does not hold after ``seconds``.
        """
        for passed in itertools.count():
            if look():
                return passed
            assert passed < seconds, "it did not come"
            self.passes(1)
        raise AssertionError

    async def _go(self) -> None:
        for second in itertools.count():
            await asyncio.sleep(1)
            self.grid.step()
            self.dask.step()
            if self.grid.up and self.link_up and second % POLL == 0:
                await self.grid.answer()
            if self.cluster.adapting is not None and self.cluster.status is Status.running:
                await self.cluster._adaptive.adapt()
            self.always()

    # --- events

    def scale(self, jobs: int) -> str:
        """Scale the cluster; return the refusal, "" if there is none."""

        async def scaled() -> None:
            await self.cluster.scale(jobs=jobs)

        try:
            self.run(scaled())
        except (LinkError, ValueError) as error:
            return str(error)
        return ""

    def adapt(self, most: int) -> None:
        async def adapted() -> None:
            self.cluster.adapt(minimum_jobs=0, maximum_jobs=most, interval=0)

        self.run(adapted())

    def link_is_killed(self, lost: bool = False) -> None:
        """Kill the link and start it again, with or without its ledger."""

        async def again() -> None:
            self.link_up = False
            self.cut.set()
            await self.world.down()
            if lost:
                for file in self.folder.glob("ledger.sqlite*"):
                    file.unlink()
            await self.world.up()
            self.cut, self.link_up = asyncio.Event(), True

        self.run(again())

    def kernel_is_killed(self) -> None:
        """Kill the kernel; another kernel takes over the cluster."""

        async def again() -> None:
            before = self.cluster
            await before.down()
            self.cluster = Kept(self, before.place.hours, before.terms.cap_gpu_hours, before._name)
            self.cluster.scheduler_info = before.scheduler_info
            await self.cluster.cluster_api.resume(before.cluster_api.id)
            self.cluster.cluster_api.request = before.cluster_api.request
            await self.cluster.up()
            with suppress(LinkError):
                await self.cluster._correct_state()

        self.run(again())

    def gpu_hours(self) -> GpuHours:
        """Return the GPU-hours that the link counts now."""
        told: GpuHours = self.world.clusters.own(self.cluster.cluster_api.id, "ada").show().gpu_hours
        return told

    def running(self) -> int:
        """Return the number of jobs whose workers accept tasks."""
        return len(self.cluster.worker_plan.connected())

    def close(self) -> None:
        """Clean up at the end of the test."""
        self._going.cancel()
        with suppress(asyncio.CancelledError):
            self.run(self._going)
        self.run(self.cluster.down())
        self.run(self.world.down())
        pending = asyncio.all_tasks(self.loop)
        for task in pending:
            task.cancel()
        if pending:
            self.run(asyncio.wait(pending))
        self.loop.close()
        self.patch.undo()


def _task(job: str) -> int:
    return int(job.partition("_")[2] or 1)
