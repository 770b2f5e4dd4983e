"""A FactoryCluster and the event loop that it lives in. The gateway is scripted; Dask's scheduler is a real one."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from distributed import Worker
from distributed.core import Status

from factorygate.cluster import cluster as cluster_module
from factorygate.cluster import place
from factorygate.cluster.cluster import FactoryCluster
from factorygate.cluster.job import FactoryJob
from factorygate.cluster.opening import AT_A_TIME
from factorygate.cluster.view import Adapting
from factorygate.link import LinkError
from tests.support.scripted_link import factory


class ScriptedLink:
    """Takes all that is asked for, but what it is told to refuse."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.cancelled: list[list[str]] = []
        self.refuses: LinkError | None = None
        self.most = 10**6  # jobs that may be taken in all
        self.bodies: list[dict[str, Any]] = []  # of batches
        self.closed = False
        self.has_room = True  # for one more cluster
        self.speaks = asyncio.Event()  # cleared: it takes nothing and says nothing until it is set again
        self.speaks.set()

    async def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._must_be_open()
        if "/batches/" in path:
            await self.speaks.wait()
            self._must_be_open()
            self.batches.append(body["names"])
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

    async def post(self, _path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._must_be_open()
        self.cancelled.append(body["names"])
        return self.told()

    async def get(self, _path: str) -> dict[str, Any]:
        self._must_be_open()
        return self.told()

    async def delete(self, _path: str) -> dict[str, Any]:
        self._must_be_open()
        return self.told()

    async def events(self, _path: str) -> AsyncIterator[tuple[str, Any]]:
        await asyncio.Event().wait()
        yield "cluster", self.told()

    async def close(self) -> None:
        self.closed = True

    @staticmethod
    def told() -> dict[str, Any]:
        return {"state": "live", "workers": [], "gpu_hours": {"spent": 0, "committed": 0}}


class Turns:
    """Of the event loop, counted; and in which of them each job was made."""

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
    monkeypatch.setattr(place, "get_now", lambda _path, _way: [factory("here")])
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
        while not link.cancelled:  # they are seen off by and by
            await asyncio.sleep(0.01)
    assert [len(names) for names in link.cancelled] == [1000]


async def test_what_is_let_go_while_jobs_are_made_is_not_kept(cluster: FactoryCluster, link: ScriptedLink) -> None:
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


async def test_who_gives_up_waiting_for_jobs_takes_them_from_nobody(
    cluster: FactoryCluster, link: ScriptedLink
) -> None:
    link.speaks.clear()
    first = cluster.scale(jobs=1)
    await asyncio.sleep(0.1)  # it is asked for, and not answered
    second, third = cluster.scale(jobs=2), cluster.scale(jobs=3)
    await asyncio.sleep(0.1)
    second.cancel()  # as a notebook does with a cell that is interrupted
    await asyncio.wait([second])
    link.speaks.set()
    await asyncio.gather(first, third)
    assert sum(map(len, link.batches)) == len(cluster.workers) == 3


async def test_what_cannot_be_adapted_to_changes_nothing(cluster: FactoryCluster) -> None:
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


# --- the end, whatever goes on


@pytest.mark.timeout(60)
async def test_closing_waits_for_no_answer_about_jobs(cluster: FactoryCluster, link: ScriptedLink) -> None:
    link.speaks.clear()
    more = cluster.scale(jobs=2)
    await asyncio.sleep(0.05)  # it is asked for, and not answered
    await cluster.close()
    with pytest.raises(LinkError, match="closed"):
        await more
    assert cluster.status is Status.closed
    assert not cluster.workers


@pytest.mark.timeout(60)
async def test_jobs_that_are_asked_for_as_the_cluster_closes_are_answered(cluster: FactoryCluster) -> None:
    more = cluster.scale(jobs=2)
    await asyncio.sleep(0)  # the request is gathered, and not sent
    closing = [asyncio.ensure_future(cluster.close()) for _ in range(2)]
    closing.pop().cancel()
    await closing.pop()
    with pytest.raises(LinkError, match="closed"):
        await more
    with pytest.raises(LinkError, match="closed"):
        await cluster.scale(jobs=1)


@pytest.mark.timeout(60)
async def test_a_flush_that_fails_answers_whoever_waits(cluster: FactoryCluster, link: ScriptedLink) -> None:
    link.closed = True
    with pytest.raises(LinkError, match="client has been closed"):
        await cluster.scale(jobs=2)
    link.closed = False
    await cluster.scale(jobs=1)
    assert len(cluster.workers) == 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize("adaptive", [False, True], ids=["scale", "adapt"])
def test_closing_also_ends_where_no_event_loop_is_seen(
    link: ScriptedLink, adaptive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = FactoryCluster("cpu", scheduler="here", silence_logs="critical")
    cluster.sync(_clear, link.speaks)  # it takes nothing and says nothing

    async def wants(_self: Any) -> int:
        return 3

    monkeypatch.setattr("factorygate.cluster.adaptive.FactoryAdaptive.target", wants)
    asked = threading.Event()
    submit = cluster.broker.submit

    def noted(*args: Any) -> Any:
        asked.set()
        return submit(*args)

    monkeypatch.setattr(cluster.broker, "submit", noted)
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
    assert asked.wait(30)
    cluster.close()
    assert cluster.status is Status.closed
    if not adaptive:
        scaling.join(30)
        assert len(said) == 1


async def _clear(event: asyncio.Event) -> None:
    event.clear()


# --- all or none


async def test_more_jobs_than_one_request_holds_are_asked_for_as_one(
    cluster: FactoryCluster, link: ScriptedLink
) -> None:
    await cluster.scale(jobs=2500)
    assert [len(names) for names in link.batches] == [1000, 1000, 500]
    assert [body["together"] for body in link.bodies] == [2500, 1500, 500]
    assert len(cluster.workers) == 2500


async def test_where_a_later_request_is_refused_those_before_it_are_taken_back(
    cluster: FactoryCluster, link: ScriptedLink
) -> None:
    await cluster.scale(jobs=3)
    link.most = 2100
    with pytest.raises(LinkError, match="QOSMaxSubmit"):
        await cluster.scale(jobs=2500)
    taken = {name for names in link.batches[:-1] for name in names}
    cancelled = {name for names in link.cancelled for name in names}
    assert set(cluster.workers) == set(cluster.worker_spec) == taken - cancelled
    assert len(cluster.workers) == cluster.roster.wanted == 3
    assert "QOSMaxSubmit" in cluster.message


# --- the scheduler's news of workers


@pytest.mark.timeout(60)
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
        cluster.scheduler_info["workers"].clear()  # so that what is told next cannot be taken
    async with Worker(scheduler.address, security=cluster.security, dashboard=False, name="two"):
        await shown(1)
    await shown(0)


# --- its scheduler's process


@pytest.mark.timeout(120)
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
