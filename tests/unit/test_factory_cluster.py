"""A FactoryCluster and its event loop, with a scripted gateway and a real Dask scheduler."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dask
import pytest
import pytest_asyncio
from distributed import Worker
from distributed.core import Status

from factorycommon.models import BatchRequest, CancelRequest, Cluster, Scheduler, SchedulerJob, WorkerState
from factorycommon.models import Worker as Job
from factorygate.cluster import cluster as cluster_module
from factorygate.cluster import external_scheduler, replacer, worker_place
from factorygate.cluster.cluster import FactoryCluster
from factorygate.cluster.external_scheduler import ExternalScheduler, SchedulerRequest
from factorygate.cluster.job import AT_A_TIME, FactoryJob
from factorygate.cluster.replacer import KEPT
from factorygate.link import LinkError
from factorygate.view_data import Adapting
from factorylink.explain import explain
from tests.support.choice_answers import choice_answers
from tests.support.told import cluster as cluster_told
from tests.support.told import session as session_told
from tests.unit.fake_factory import SIZE, factory


class ScriptedLink:
    """A link that accepts all requests, except those that a test wants to be refused."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.cancelled: list[list[str]] = []
        self.refuses: LinkError | None = None
        self.most = 10**6  # total number of jobs that are accepted
        self.bodies: list[BatchRequest] = []  # bodies of batches
        self.closed = False
        self.ended = 0  # how often the end of a cluster was requested
        self.has_room = True  # whether another cluster is allowed
        self.speaks = asyncio.Event()  # if cleared, it accepts no request and answers none until it is set again
        self.speaks.set()

    async def put(self, path: str, body: Any, _kind: object) -> Cluster:
        self._must_be_open()
        if "/batches/" in path:
            await self.speaks.wait()
            self._must_be_open()
            self.batches.append(list(body.names))
            self.bodies.append(body)
            if self.refuses is not None:
                raise self.refuses
            if sum(map(len, self.batches)) > self.most:
                raise LinkError("refused", "QOSMaxSubmitJobPerUserLimit")
        elif not self.has_room:
            raise LinkError("limit", "You have 8 clusters, the most one may have.")
        return self.told()

    def _must_be_open(self) -> None:
        if self.closed:
            raise RuntimeError("Cannot send a request, as the client has been closed.")

    async def post(self, _path: str, body: CancelRequest, _kind: object) -> Cluster:
        self._must_be_open()
        self.cancelled.append(list(body.names))
        return self.told()

    async def get(self, _path: str, _kind: object) -> Cluster:
        self._must_be_open()
        return self.told()

    async def delete(self, _path: str, _kind: object) -> Cluster:
        self._must_be_open()
        self.ended += 1
        return self.told()

    async def events(self, _path: str, _kind: object) -> AsyncIterator[tuple[str, Cluster]]:
        await asyncio.Event().wait()
        yield "cluster", self.told()

    async def close(self) -> None:
        self.closed = True

    @staticmethod
    def told() -> Cluster:
        return cluster_told()


class Turns:
    """Counts the turns of the event loop, and records the turn in which each job was made."""

    def __init__(self) -> None:
        self.now = 0
        self.made: Counter[int] = Counter()

    async def count(self) -> None:
        while True:
            self.now += 1
            await asyncio.sleep(0)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    found = Turns()

    class Noted(FactoryJob):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            found.made[found.now] += 1

    monkeypatch.setattr(FactoryCluster, "job_cls", Noted)
    return found


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> ScriptedLink:
    made = ScriptedLink()
    small = SIZE.model_copy(update={"id": "cpu", "gpus": 0})
    monkeypatch.setattr(worker_place, "get_now", choice_answers(factory("here").model_copy(update={"sizes": (small,)})))
    monkeypatch.setenv("FACTORYGATE_URL", "http://gateway")
    monkeypatch.setenv("FACTORYGATE_TOKEN", "secret")
    monkeypatch.setattr(cluster_module, "Link", lambda _way: made)
    return made


@pytest_asyncio.fixture
async def cluster(link: ScriptedLink, turns: Turns) -> AsyncIterator[FactoryCluster]:
    async with FactoryCluster("cpu", scheduler="here", asynchronous=True, silence_logs="critical") as made:
        turns.made.clear()
        yield made


async def test_a_thousand_jobs_are_one_request_and_leave_the_loop_free(
    cluster: FactoryCluster, link: ScriptedLink, turns: Turns
) -> None:
    counting = asyncio.create_task(turns.count())
    await cluster.scale(jobs=1000)
    counting.cancel()
    assert [len(names) for names in link.batches] == [1000]
    assert sum(turns.made.values()) == len(cluster.workers) == 1000
    assert max(turns.made.values()) <= AT_A_TIME
    await cluster.scale(jobs=0)
    assert not cluster.workers
    async with asyncio.timeout(60):
        while not link.cancelled:  # they are retired one after the other
            await asyncio.sleep(0.01)
    assert [len(names) for names in link.cancelled] == [1000]


async def test_jobs_dropped_while_others_are_made_are_not_kept(cluster: FactoryCluster, link: ScriptedLink) -> None:
    more = cluster.scale(jobs=3 * AT_A_TIME)
    await asyncio.sleep(0)
    await cluster.scale(jobs=AT_A_TIME)
    await more
    asked = {name for names in link.batches for name in names}
    cancelled = {name for names in link.cancelled for name in names}
    assert set(cluster.workers) == set(cluster.worker_spec) == asked - cancelled
    assert len(cluster.workers) == AT_A_TIME


async def test_a_refusal_leaves_no_jobs(cluster: FactoryCluster, link: ScriptedLink) -> None:
    link.refuses = LinkError("refused", "Invalid account.")
    with pytest.raises(LinkError, match="Invalid account"):
        await cluster.scale(jobs=2 * AT_A_TIME)
    assert (cluster.workers, cluster.worker_spec) == ({}, {})
    link.refuses = None
    await cluster.scale(jobs=1)
    assert [len(names) for names in link.batches] == [2 * AT_A_TIME, 1]


async def test_a_cancelled_caller_takes_no_jobs_from_others(cluster: FactoryCluster, link: ScriptedLink) -> None:
    link.speaks.clear()
    first = cluster.scale(jobs=1)
    await asyncio.sleep(0.1)  # it is requested, and not answered yet
    second, third = cluster.scale(jobs=2), cluster.scale(jobs=3)
    await asyncio.sleep(0.1)
    second.cancel()  # as a notebook does with an interrupted cell
    await asyncio.wait([second])
    link.speaks.set()
    await asyncio.gather(first, third)
    assert sum(map(len, link.batches)) == len(cluster.workers) == 3


async def test_invalid_bounds_of_adapting_change_nothing(cluster: FactoryCluster) -> None:
    with pytest.raises(KeyError, match="soon"):
        cluster.adapt(minimum_jobs=0, maximum_jobs=2, target_duration="soon")
    assert cluster.view().adapting is None
    await cluster.scale(jobs=1)
    assert len(cluster.workers) == 1
    cluster.adapt(minimum_jobs=1, maximum_jobs=2)
    assert cluster.view().adapting == Adapting(1, 2)


async def test_a_cluster_that_the_gateway_refuses_leaves_no_scheduler(
    link: ScriptedLink,
) -> None:
    link.has_room = False
    refused = FactoryCluster("cpu", scheduler="here", asynchronous=True, silence_logs="critical")
    with pytest.raises(LinkError, match="the most one may have"):
        await refused
    assert refused.status is Status.closed
    assert refused.scheduler.status is Status.closed
    assert not refused._folder.exists()


async def test_a_cluster_whose_stored_plan_cannot_be_read_is_left_as_it_is(
    cluster: FactoryCluster, link: ScriptedLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler of ``cluster`` plays that of an existing cluster, to which another kernel connects."""

    get_metadata = cluster.scheduler.handlers["get_metadata"]

    def broken(keys: tuple[str, ...], default: object = None) -> object:
        if KEPT in keys:
            raise RuntimeError("The plan cannot be read.")
        return get_metadata(keys=keys, default=default)

    async def find(request: SchedulerRequest) -> ExternalScheduler:
        await request.cluster_api.resume("c" * 32)
        found = ExternalScheduler(cluster._keys.tell(cluster.scheduler.address), "there")
        await found.start()
        return found

    job = Job(name="dask-0", batch="b" * 32, asked=datetime.now(UTC), state=WorkerState.RUNNING)
    monkeypatch.setattr(link, "told", lambda: cluster_told(workers=(job,)))
    monkeypatch.setitem(cluster.scheduler.handlers, "get_metadata", broken)
    again = FactoryCluster("cpu", name="thesis", asynchronous=True, silence_logs="critical", _begins=find)
    with pytest.raises(RuntimeError, match=r"^The plan cannot be read"):
        await again
    assert (again.status, again.was_left) == (Status.closed, True)
    assert again.scheduler_comm.rpc is None or again.scheduler_comm.status is Status.closed
    assert link.closed  # it follows no events any more
    link.closed = False  # ``cluster`` uses it, too
    assert link.ended == 0
    assert cluster.scheduler.status is Status.running


# --- closing, whatever is in progress


@pytest.mark.timeout(240)
async def test_closing_waits_for_no_answer_about_jobs(cluster: FactoryCluster, link: ScriptedLink) -> None:
    link.speaks.clear()
    more = cluster.scale(jobs=2)
    await asyncio.sleep(0.05)  # it is requested, and not answered yet
    await cluster.close()
    with pytest.raises(LinkError, match="closed"):
        await more
    assert cluster.status is Status.closed
    assert not cluster.workers


@pytest.mark.timeout(240)
async def test_jobs_that_are_asked_for_as_the_cluster_closes_are_answered(cluster: FactoryCluster) -> None:
    more = cluster.scale(jobs=2)
    await asyncio.sleep(0)  # the request is collected, and not sent yet
    closing = [asyncio.ensure_future(cluster.close()) for _ in range(2)]
    closing.pop().cancel()
    await closing.pop()
    with pytest.raises(LinkError, match="closed"):
        await more
    with pytest.raises(LinkError, match="closed"):
        await cluster.scale(jobs=1)


@pytest.mark.timeout(240)
async def test_a_flush_that_fails_answers_whoever_waits(cluster: FactoryCluster, link: ScriptedLink) -> None:
    link.closed = True
    with pytest.raises(LinkError, match="client has been closed"):
        await cluster.scale(jobs=2)
    link.closed = False
    await cluster.scale(jobs=1)
    assert len(cluster.workers) == 1


@pytest.mark.timeout(240)
@pytest.mark.parametrize("adaptive", [False, True], ids=["scale", "adapt"])
def test_closing_also_ends_where_no_event_loop_is_seen(
    link: ScriptedLink, adaptive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = FactoryCluster("cpu", scheduler="here", silence_logs="critical")
    cluster.sync(_clear, link.speaks)  # the link accepts nothing and answers nothing

    async def wants(_self: Any) -> int:
        return 3

    monkeypatch.setattr("factorygate.cluster.adaptive.FactoryAdaptive.target", wants)
    asked = threading.Event()
    submit = cluster.cluster_api.submit

    def noted(*args: Any) -> Any:
        asked.set()
        return submit(*args)

    monkeypatch.setattr(cluster.cluster_api, "submit", noted)
    said: list[Exception] = []

    def scale() -> None:
        try:
            cluster.scale(jobs=3)
        except LinkError as error:
            said.append(error)

    scaling = threading.Thread(target=scale)
    if adaptive:
        cluster.adapt(maximum_jobs=3, interval="10ms")
    else:
        scaling.start()
    assert asked.wait(120)
    cluster.close()
    assert cluster.status is Status.closed
    if not adaptive:
        scaling.join(120)
        assert len(said) == 1


async def _clear(event: asyncio.Event) -> None:
    event.clear()


# --- all jobs or none


async def test_more_jobs_than_one_request_holds_are_asked_for_as_one(
    cluster: FactoryCluster, link: ScriptedLink
) -> None:
    await cluster.scale(jobs=2500)
    assert [len(names) for names in link.batches] == [1000, 1000, 500]
    assert [body.together for body in link.bodies] == [2500, 1500, 500]
    assert len(cluster.workers) == 2500


async def test_a_refused_later_request_cancels_the_earlier_ones(cluster: FactoryCluster, link: ScriptedLink) -> None:
    await cluster.scale(jobs=3)
    link.most = 2100
    with pytest.raises(LinkError, match="QOSMaxSubmit"):
        await cluster.scale(jobs=2500)
    taken = {name for names in link.batches[:-1] for name in names}
    cancelled = {name for names in link.cancelled for name in names}
    assert set(cluster.workers) == set(cluster.worker_spec) == taken - cancelled
    assert len(cluster.workers) == cluster.worker_plan.wanted == 3
    assert "QOSMaxSubmit" in cluster.message


async def test_a_cluster_whose_first_workers_are_refused_is_closed(link: ScriptedLink) -> None:
    link.refuses = LinkError("refused", "Invalid account.")
    refused = FactoryCluster("cpu", scheduler="here", workers=2, asynchronous=True, silence_logs="critical")
    with pytest.raises(LinkError, match="Invalid account"):
        await refused
    assert refused.status is Status.closed
    assert link.closed
    assert [len(names) for names in link.batches] == [2]


@pytest.fixture
def restless_replacer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the replacer of lost jobs check the cluster all the time, also between a refusal and the end of a call."""
    monkeypatch.setattr(replacer, "STEP", 0)


@pytest.mark.usefixtures("restless_replacer")
async def test_refused_jobs_are_not_requested_again(link: ScriptedLink) -> None:
    async with FactoryCluster("cpu", scheduler="here", asynchronous=True, silence_logs="critical") as cluster:
        await cluster.scale(jobs=1)
        link.refuses = LinkError("refused", "Invalid account.")
        for _ in range(5):
            with pytest.raises(LinkError, match="Invalid account"):
                await cluster.scale(jobs=3)
            assert cluster.worker_plan.wanted == len(cluster.worker_plan.jobs) == 1
    assert [len(names) for names in link.batches] == [1, 2, 2, 2, 2, 2]


# --- the scheduler's messages about workers


@pytest.mark.timeout(240)
async def test_news_of_workers_go_on_when_their_connection_broke(cluster: FactoryCluster) -> None:
    async def shown(count: int) -> None:
        while cluster.view().workers != count:
            await asyncio.sleep(0.01)

    scheduler: Any = cluster.scheduler
    broken = cluster._watch_worker_status_comm
    broken.stream.close()
    async with Worker(scheduler.address, security=cluster.security, dashboard=False, name="one"):
        await shown(1)
        assert "It was opened again." in cluster.message
        assert cluster._watch_worker_status_comm is not broken
        cluster.scheduler_info["workers"].clear()  # so that the next message cannot be handled
    async with Worker(scheduler.address, security=cluster.security, dashboard=False, name="two"):
        await shown(1)
    await shown(0)


# --- another kernel takes over a cluster


@pytest.mark.parametrize("head", [None, SchedulerJob(idle_minutes=5, hours=2)])
async def test_another_kernel_knows_the_terms_with_which_the_cluster_began(
    cluster: FactoryCluster, link: ScriptedLink, monkeypatch: pytest.MonkeyPatch, head: SchedulerJob | None
) -> None:
    """The scheduler of ``cluster`` plays that of a cluster that outlives its kernel."""
    monkeypatch.setenv("FACTORYGATE_FACTORY", "here")
    address = cluster.scheduler.address
    known = cluster_told(head=None if head is None else session_told())

    async def scheduler() -> Scheduler:
        return cluster._keys.tell(address)

    async def begin(wanted: external_scheduler.SchedulerRequest) -> external_scheduler.ExternalScheduler:
        where: dict[str, Any] = {"scheduler": await scheduler()} if head is None else {"head": head}
        await wanted.cluster_api.begin(wanted.terms.request("mine", **where))
        return external_scheduler.ExternalScheduler(await scheduler(), "there")

    async def find(wanted: external_scheduler.SchedulerRequest) -> external_scheduler.ExternalScheduler:
        wanted.cluster_api.scheduler = scheduler  # type: ignore[method-assign]
        return await external_scheduler.again(wanted, known)

    part: dict[str, Any] = {"cores": 2, "memory": "2 GB", "processes": 2, "death_timeout": 7}
    usual: dict[str, Any] = {"name": "mine", "asynchronous": True, "silence_logs": "critical", "scheduler": "here"}
    first = await FactoryCluster("cpu", **part, **usual, worker_extra_args=["--resources", "GPU=1"], _begins=begin)
    request = first.cluster_api.request
    await first.leave()
    link.closed = False
    second = await FactoryCluster("cpu", processes=2, **usual, _begins=find)
    assert second.place == first.place
    assert (second.place.cores, second.place.memory, second.place.threads) == (2, 2 * 10**9, 1)
    assert second.place.jobs(cores=8) == 4
    assert second.cluster_api.request == request  # a link that has lost its ledger gets this again
    await second.leave()
    link.closed = False


# --- the scheduler's process


@pytest.mark.timeout(240)
async def test_a_second_cluster_of_a_name_is_refused_and_leaves_no_process(
    link: ScriptedLink, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACTORYGATE_FACTORY", "here")
    monkeypatch.setenv("FACTORYGATE_HUB_SOCKET", str(tmp_path / "hub.sock"))
    link.has_room = False
    made: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    refused = FactoryCluster("cpu", name="mine", asynchronous=True, silence_logs="critical")
    with pytest.raises(LinkError, match="the most one may have"):
        await refused
    [process] = made
    assert process.returncode is not None
    assert refused.status is Status.closed
    assert not list((tmp_path / "clusters").iterdir())


# --- messages and texts


MADE = {"size": "cpu", "scheduler": "here", "asynchronous": True, "silence_logs": "critical"}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"workers": -3}, "workers=-3 is too few: 0 at least"),
        ({"workers": 1.5}, "workers=1.5 is no whole number"),
        ({"n_workers": "2"}, "n_workers='2' is no whole number"),
        ({"processes": 0}, "processes=0 is too few: 1 at least"),
        ({"cores": -1}, "cores=-1 is too few"),
        ({"name": 5}, "name=5 cannot be a cluster's"),
        ({"cap_gpu_hours": math.nan}, "cap_gpu_hours=nan is no number above 0"),
        ({"cap_gpu_hours": -2}, "cap_gpu_hours=-2 is no number above 0"),
        ({"cap_gpu_hours": "20"}, "cap_gpu_hours='20' is no number above 0"),
        ({"hours": math.nan}, "hours=nan is no number above 0"),
        ({"idle_minutes": math.inf}, "idle_minutes=inf is no number above 0"),
        ({"scheduler_hours": 0}, "scheduler_hours=0 is no number above 0"),
        ({"config_name": "nope"}, "dask's configuration has no section jobqueue.nope; it has: .*factory"),
    ],
)
def test_invalid_clusters_are_explained(link: ScriptedLink, said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FactoryCluster(**MADE | said)


async def test_invalid_numbers_of_workers_are_explained(cluster: FactoryCluster) -> None:
    for wrong, words in ((-1, "n=-1 is too few"), (math.nan, "n=nan is no whole number"), ("2", "n='2' is no whole")):
        with pytest.raises(ValueError, match=words):
            cluster.scale(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="jobs=-1 is too few"):
        cluster.scale(jobs=-1)
    with pytest.raises(ValueError, match="minimum=-1 is too few"):
        cluster.adapt(minimum=-1)
    for bounds in (
        {"minimum": 3, "maximum": 2},
        {"minimum_jobs": 3, "maximum_jobs": 2},
        {"minimum": 3, "maximum_jobs": 2},
    ):
        with pytest.raises(ValueError, match="lower bound, 3 jobs, is above the upper one, 2 jobs"):
            cluster.adapt(**bounds)
    assert (cluster.worker_spec, cluster.adapting) == ({}, None)


async def test_bounds_that_are_refused_leave_the_cluster_adapting_as_before(cluster: FactoryCluster) -> None:
    adaptive = cluster.adapt(minimum_jobs=0, maximum_jobs=2, interval="1h")
    with pytest.raises(ValueError, match="is above the upper one"):
        cluster.adapt(minimum_jobs=2, maximum_jobs=1)
    assert (cluster.adapting, cluster._adaptive) == (Adapting(0, 2), adaptive)


async def test_adapting_is_bounded_by_dasks_configuration_where_nothing_else_is_said(cluster: FactoryCluster) -> None:
    with dask.config.set({"distributed.adaptive.minimum": 1, "distributed.adaptive.maximum": 4}):
        adaptive = cluster.adapt(interval="1h")
        assert (adaptive.minimum, adaptive.maximum, cluster.adapting) == (1, 4, Adapting(1, 4))
        adaptive = cluster.adapt(minimum=2, maximum_jobs=7)
        assert (adaptive.minimum, adaptive.maximum) == (2, 7)
    adaptive = cluster.adapt()
    assert (adaptive.minimum, adaptive.maximum) == (0, math.inf)


async def test_a_section_of_the_configuration_needs_no_more_than_what_it_changes(link: ScriptedLink) -> None:
    with dask.config.set({"jobqueue.mine": {"size": "cpu", "hours": 0.5}}):
        async with FactoryCluster(**MADE | {"size": None}, config_name="mine") as cluster:
            assert (cluster.place.size, cluster.place.hours) == ("cpu", 0.5)
            await cluster.scale(jobs=1)
            assert len(cluster.workers) == 1


async def test_a_subclass_names_its_jobs(link: ScriptedLink) -> None:
    class Mine(FactoryCluster):
        def _new_worker_name(self, worker_number: int) -> str:
            return f"prefix-{self.name}-{worker_number}-suffix"

    async with Mine(**MADE, n_workers=0) as cluster:
        await cluster.scale(jobs=3)
        assert [name.rpartition(cluster.name)[::2] for name in cluster.worker_spec] == [
            ("prefix-", f"-{number}-suffix") for number in range(3)
        ]
        await cluster.scale(jobs=1)
        # the youngest jobs are dropped first
        assert [name.rpartition("-")[0][-2:] for name in cluster.worker_spec] == ["-0"]
        assert repr(cluster).startswith("Mine(")
    assert cluster.status is Status.closed


async def test_a_subclass_whose_names_are_taken_says_so(link: ScriptedLink, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(FactoryCluster):
        def _new_worker_name(self, worker_number: int) -> str:
            return "one"

    monkeypatch.setattr(cluster_module, "MOST_NAMES", 10)
    async with Mine(**MADE) as cluster:
        with pytest.raises(ValueError, match="makes no name that is not taken"):
            cluster.scale(jobs=2)


async def test_a_closed_cluster_has_no_jobs(link: ScriptedLink) -> None:
    async with FactoryCluster(**MADE) as cluster:
        await cluster.scale(jobs=2)
        when = datetime(2026, 3, 10, 12, tzinfo=UTC)
        cluster.cluster_api.workers = {
            name: Job(
                name=name, batch="b" * 32, state=WorkerState.RUNNING, asked=when, started=when, job="7", node="n1"
            )
            for name in cluster.worker_spec
        }
        cluster.scheduler_info["workers"]["tls://n1:1"] = {"name": "left", "nthreads": 1, "memory_limit": 1}
        assert "1 workers, 2 jobs run, 0 wait" in repr(cluster)
        first, *_ = cluster.worker_spec  # its work is over, but the scheduler is still clearing its node
        ending = explain.own("completing")
        told = cluster.cluster_api.workers[first].model_copy(update={"waits_for": ending})
        cluster.cluster_api.workers[first] = told
        assert "1 workers, 1 jobs run, 0 wait" in repr(cluster)
        assert cluster.view().count("ending") == 1
    assert repr(cluster).endswith("here cpu: closed)")
    assert (cluster.view().workers, cluster.view().count("running", "pending", "asked")) == (0, 0)


async def test_dasks_scratch_is_the_clusters_own(cluster: FactoryCluster) -> None:
    assert cluster.scheduler.local_directory.startswith(f"{cluster._folder}{os.sep}")


IMPORTED = """
import signal, sys, threading
def task():
    from factorygate import FactoryCluster
    print("imported")
if sys.argv[1] == "thread":
    thread = threading.Thread(target=task)
    thread.start()
    thread.join()
else:
    task()
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.parametrize("where", ["thread", "main thread"])
def test_a_task_may_import_it_and_an_interrupt_stays_one(where: str) -> None:
    program = [sys.executable, "-c", IMPORTED, where]
    said = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert said.stdout.split() == ["imported", "True"], said.stderr
