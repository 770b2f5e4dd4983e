"""A cluster's Dask scheduler in its own job, from the request to its end; only its owner can connect to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from factorycommon.models import Cluster, ClusterRequest, End, JobState, Outcome
from factorylink.api.auth import Caller, Callers
from factorylink.api.cluster_websocket import ClusterWebSocket
from factorylink.api.http import new_app
from factorylink.background.hub_recovery import HubRecovery
from factorylink.clusters import scheduler_jobs
from factorylink.problems import ProblemError, forbidden
from factorylink.sessions.submitter import NEVER
from tests.unit import fake_factory
from tests.unit.fake_factory import ID, INSTEAD, SCHEDULER, World
from tests.unit.serving import serving
from tests.unit.test_clusters import BATCH, CLUSTER, begin, grow, refused


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await World(tmp_path).up()
    yield made
    await made.down()


async def ask(world: World, **told: Any) -> Cluster:
    return await begin(world, scheduler=None, head={"idle_minutes": 5}, **told)


async def cluster_is(world: World, state: str) -> Cluster:
    await world.comes(lambda: world.clusters.own(CLUSTER, "ada").show().state == state)
    return world.clusters.own(CLUSTER, "ada").show()


async def running(world: World) -> Cluster:
    """Start a scheduler job with an open door; return the cluster.

    The Dask scheduler in the job answers and has written its keys.
    """
    await ask(world)
    world.scheduler.runs("1", "n7")
    await world.scheduler.answer()
    world.door_says(CLUSTER)
    await world.comes(lambda: CLUSTER in world.doors.argv)
    world.home.files[f"/home/{account(world)}/.factorygate/sessions/{CLUSTER}/cluster.json"] = json.dumps(
        SCHEDULER | {"versions": {"python": "3.13"}}
    ).encode()
    world.door_says(CLUSTER, phase="up", environment=True)
    await world.until(CLUSTER, state="running")
    return world.clusters.own(CLUSTER, "ada").show()


def account(world: World) -> str:
    return world.clusters.own(CLUSTER, "ada").record.account


async def test_a_scheduler_job_is_no_session_of_the_hub(world: World) -> None:
    cluster = await ask(world)
    assert cluster.head is not None
    assert (cluster.state, cluster.head.state, cluster.session) == ("live", "pending", CLUSTER)
    [request] = world.scheduler.submitted
    assert request.comment.startswith(f"fg:{CLUSTER}:")
    assert (request.gpus, request.cores) == (1, 4)  # the smallest size
    assert cluster.gpu_hours.committed == cluster.head.choice.hours
    await ask(world)
    assert len(world.scheduler.submitted) == 1
    assert await world.sessions.sessions("ada", None, True, 10) == []
    assert await world.sessions.sessions("ada", None, False, 10) == []
    assert world.doors.bound == {}  # no port of the hub's machine leads to it
    await world.put(ID)  # it does not count as one of the person's sessions
    await world.sessions.stop(ID, "person")
    hub: Any = None  # the hub is not even asked for servers
    assert await HubRecovery(world.live_sessions, hub).look() is False


async def test_the_table_shows_a_scheduler_job_with_its_cluster_and_not_as_a_session(world: World) -> None:
    table = world.feed.table()
    told = await anext(table)
    begun = asyncio.create_task(running(world))
    while b'"state":"running"' not in told:
        told += await asyncio.wait_for(anext(table), 60)
    await begun
    await world.clusters.end(CLUSTER, "ada")
    world.scheduler.set("1", state=JobState.ENDED)
    await world.scheduler.answer(2)
    while b'"state":"ended"' not in told:
        told += await asyncio.wait_for(anext(table), 60)
    assert b"event: cluster" in told
    assert b"event: session" not in told
    await table.aclose()


async def test_the_scheduler_is_started_through_its_door_without_secrets(world: World) -> None:
    cluster = await running(world)
    assert cluster.head is not None and cluster.head.node == "n7"
    assert world.doors.sent == [(CLUSTER, {})]
    argv = world.doors.argv[CLUSTER]
    assert argv[0] == scheduler_jobs.PROGRAM
    assert argv[argv.index("--idle-seconds") + 1] == "300"
    assert argv[argv.index("--file") + 1].endswith(f"/sessions/{CLUSTER}/cluster.json")


async def test_only_the_owner_gets_the_schedulers_keys(world: World) -> None:
    await ask(world)
    assert (await refused(world.clusters.scheduler(CLUSTER, "ada"))).status == 409  # it does not run yet
    await world.clusters.end(CLUSTER, "ada")
    await world.scheduler.answer(2)


async def test_other_people_get_no_keys(world: World) -> None:
    await running(world)
    told = await world.clusters.scheduler(CLUSTER, "ada")
    assert (told.address, told.versions) == (SCHEDULER["address"], {"python": "3.13"})
    for doing in (world.clusters.scheduler(CLUSTER, "eve"), world.clusters.enter(CLUSTER, "eve")):
        assert (await refused(doing)).status == 404
    [entry] = await world.ledger.audited("connect")
    assert (entry.person, entry.job) == ("ada", None)


async def test_the_schedulers_description_is_validated(world: World) -> None:
    await running(world)
    file = f"/home/{account(world)}/.factorygate/sessions/{CLUSTER}/cluster.json"
    world.home.files[file] = b'{"address": "tls://x:1; rm -rf"}'
    assert (await refused(world.clusters.scheduler(CLUSTER, "ada"))).status == 409
    del world.home.files[file]
    assert (await refused(world.clusters.scheduler(CLUSTER, "ada"))).status == 404


async def test_a_cluster_ends_with_its_scheduler_job_and_its_reason(world: World) -> None:
    await running(world)
    await grow(world, "w-0", batch=BATCH)
    world.scheduler.set("1", state=JobState.ENDED)
    world.scheduler.records["1"] = End(job="1", outcome=Outcome.NODE_FAILED, raw_state="NODE_FAIL")
    await world.scheduler.answer(2)
    cluster = await cluster_is(world, "ending")
    assert cluster.end is not None and cluster.end.code == "node-failed"
    await world.comes(lambda: "2" in world.scheduler.cancelled)


async def test_the_scheduler_jobs_gpu_hours_count_for_its_cluster(world: World) -> None:
    await running(world)
    live_cluster = world.clusters.own(CLUSTER, "ada")
    begun = datetime.now(UTC) - timedelta(minutes=30)
    await world.ledger.change(world.live_sessions[CLUSTER].record, started=begun)
    told = live_cluster.figures()
    assert told == live_cluster.figures() and told.head is not None
    assert told.gpu_hours.per_hour == 1
    assert told.gpu_hours.spent + told.gpu_hours.committed == pytest.approx(told.head.choice.hours)
    assert live_cluster.show().gpu_hours.spent == pytest.approx(0.5, abs=0.05)
    await world.clusters.end(CLUSTER, "ada")
    world.scheduler.set("1", state=JobState.ENDED)
    await world.scheduler.answer(2)
    await world.comes(lambda: CLUSTER not in world.live_sessions)
    [over] = await world.clusters.figures_of("ada", ended=5)
    assert over.gpu_hours.spent == pytest.approx(0.5, abs=0.05)


async def test_runs_before_a_requeue_count_for_its_cluster(world: World) -> None:
    await running(world)
    live_cluster = world.clusters.own(CLUSTER, "ada")
    begun = datetime.now(UTC) - timedelta(minutes=30)
    await world.ledger.change(world.live_sessions[CLUSTER].record, started=begun)
    world.scheduler.set("1", state=JobState.PENDING, started=None, ends=None, nodes=(), restarts=1)
    await world.scheduler.answer()
    await world.until(CLUSTER, state="pending")
    assert live_cluster.show().gpu_hours.spent == pytest.approx(0.5, abs=0.05)
    await world.down()
    await world.up(world.doors)  # the ledger has it, too
    assert world.clusters.own(CLUSTER, "ada").show().gpu_hours.spent == pytest.approx(0.5, abs=0.05)
    await world.clusters.end(CLUSTER, "ada")
    world.scheduler.set("1", state=JobState.ENDED)
    world.scheduler.records["1"] = End(
        job="1", outcome=Outcome.CANCELLED, raw_state="CANCELLED", elapsed=0, earlier=(1800,)
    )
    await world.scheduler.answer(2)
    await world.comes(lambda: CLUSTER not in world.live_sessions)
    [over] = await world.clusters.figures_of("ada", ended=5)
    assert over.gpu_hours.spent == pytest.approx(0.5, abs=0.05)


async def test_closing_a_cluster_ends_its_scheduler_job(world: World) -> None:
    await running(world)
    await world.clusters.end(CLUSTER, "ada")
    await world.comes(lambda: CLUSTER in world.doors.asked_to_stop)


async def test_a_refused_scheduler_job_is_reported_and_leaves_nothing(world: World) -> None:
    problem = await refused(ask(world, size="huge"))
    assert problem.problem.field == "size"
    assert world.live_sessions == {}
    problem = await refused(begin(world, scheduler=None, head={"hours": 700}))
    assert problem.problem.field == "head.hours"
    problem = await refused(begin(world, scheduler=None, head={"hours": 2}, cap_gpu_hours=1))
    assert problem.problem.kind == "limit"
    assert world.live_sessions == {}


async def test_a_restarted_link_still_has_the_scheduler_job(world: World) -> None:
    await running(world)
    await world.down()
    await world.up(world.doors)
    cluster = world.clusters.own(CLUSTER, "ada").show()
    assert cluster.head is not None and cluster.head.job == "1"


async def idle_seconds_after_a_restart(world: World) -> str:
    """Restart the link before the scheduler's job runs; return the idle time with which the scheduler is started."""
    await world.down()
    await world.up()
    world.scheduler.runs("1", "n7")
    await world.scheduler.answer()
    world.door_says(CLUSTER)
    await world.comes(lambda: CLUSTER in world.doors.argv)
    argv = world.doors.argv[CLUSTER]
    return argv[argv.index("--idle-seconds") + 1]


@pytest.mark.parametrize(("asked", "seconds"), [(5, "300"), (24 * 60, "86400"), (0.5, "60")])
async def test_a_restarted_link_starts_the_scheduler_with_the_requested_idle_time(
    world: World, asked: float, seconds: str
) -> None:
    await begin(world, scheduler=None, head={"idle_minutes": asked})
    assert await idle_seconds_after_a_restart(world) == seconds


async def test_a_scheduler_of_an_earlier_release_starts_with_the_default_idle_time(world: World) -> None:
    await ask(world)
    record = world.live_sessions[CLUSTER].record
    old = record.choice.model_copy(update={"idle_minutes": NEVER, "unopened_minutes": NEVER})
    await world.ledger.change(record, choice=old)
    assert await idle_seconds_after_a_restart(world) == "1800"


async def test_the_door_of_a_scheduler_job_ends_no_idle_scheduler(world: World) -> None:
    await ask(world)
    [request] = world.scheduler.submitted
    argv = request.command
    limits = [argv[argv.index(name) + 1] for name in ("--idle-minutes", "--unopened-minutes")]
    assert limits == [str(NEVER), str(NEVER)]


async def test_a_scheduler_job_without_a_cluster_is_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await running(world)
    monkeypatch.setattr(scheduler_jobs, "YOUNG_SECONDS", -1.0)
    await world.clusters._scheduler_jobs.end_strays(lambda cluster_id: cluster_id == CLUSTER)
    assert (await world.session(CLUSTER)).wish == "run"
    await world.clusters._scheduler_jobs.end_strays(lambda _cluster_id: False)
    assert (await world.session(CLUSTER)).wish == "stop"


def test_a_request_has_one_scheduler() -> None:
    both = {"name": "mine", "factory": "one", "scheduler": SCHEDULER, "head": {}}
    for wrong in (both, {"name": "mine", "factory": "one"}):
        with pytest.raises(ValidationError, match="either scheduler or head"):
            ClusterRequest.model_validate(wrong)


class Channel:
    """A door's channel that echoes all bytes."""

    def __init__(self) -> None:
        self.channel = self
        self._bytes: asyncio.Queue[bytes] = asyncio.Queue()

    def write(self, piece: bytes) -> None:
        self._bytes.put_nowait(piece)

    async def drain(self) -> None:
        return

    async def read(self, most: int) -> bytes:
        piece = await self._bytes.get()
        assert len(piece) <= most
        return piece

    def abort(self) -> None:
        self._bytes.put_nowait(b"")


async def test_bytes_go_both_ways_for_the_owner_alone(world: World) -> None:
    await running(world)

    class Known(Callers):
        def __init__(self) -> None:
            return

        async def of(self, headers: Mapping[str, str]) -> Caller:
            header = headers.get("Authorization", "")
            if header not in ("token of-ada", "token of-eve"):
                raise forbidden("no")
            return Caller(header.removeprefix("token of-"), None, world.live_sessions, world.projects)

    app = new_app("wire")
    app.add_api_websocket_route("/{cluster_id}", ClusterWebSocket(world.clusters, Known()).handle)
    channel = Channel()
    world.doors.entered = (channel, channel)
    async with serving(app) as url:
        address = f"{url.replace('http', 'ws')}/{CLUSTER}"
        async with connect(address, additional_headers={"Authorization": "token of-ada"}) as wire:
            for piece in (b"one", bytes(200_000)):
                await wire.send(piece)
                assert await wire.recv() == piece
        for header, status in (("token of-eve", 404), ("", 403)):
            with pytest.raises(InvalidStatus) as caught:
                await connect(address, additional_headers={"Authorization": header})
            assert caught.value.response.status_code == status


async def test_a_door_that_is_closed_is_said(world: World) -> None:
    await running(world)
    world.door_is_lost(CLUSTER)
    with pytest.raises(ProblemError) as caught:
        await world.clusters.enter(CLUSTER, "ada")
    assert caught.value.status == 503


async def test_a_scheduler_of_a_size_no_longer_offered_is_still_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await World(tmp_path).up()
    await running(world)
    await world.down()
    monkeypatch.setattr(fake_factory, "SIZE", INSTEAD)
    await world.up()
    assert world.clusters.own(CLUSTER, "ada").show().gpu_hours.committed == 0
    (event, _), *_ = world.feed.snapshot()
    assert event == "snapshot"
    await world.scheduler.answer()
    await world.down()


async def test_the_request_is_forgotten_when_the_scheduler_job_ends(world: World) -> None:
    await running(world)
    await world.clusters.end(CLUSTER, "ada")
    await world.comes(lambda: world.scheduler.cancelled == ["1"])
    await world.answered_until(CLUSTER, state="ended")
    assert world.clusters._scheduler_jobs._idle == {}
