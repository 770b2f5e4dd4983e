"""A client that reports jobs that do not exist, or requests extreme amounts, harms nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import func, select

from factorycommon.models import BatchRequest, ClusterRequest, HubRules, JobOptions, JobState, Outcome, PersonBody
from factorylink.ledger import schema
from factorylink.problems import ProblemError
from factorylink.sessions.permission import TAKEN_OVER
from factorylink.util.rate_limiter import RateLimiter
from tests.unit.fake_factory import ID, OTHER, SCHEDULER, World
from tests.unit.fake_hub import Link, served
from tests.unit.fake_projects import Table, project

CLUSTER, BATCH = "c" * 32, "b" * 32
JSON = {"Authorization": "Bearer ada-token", "Content-Type": "application/json"}


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, extend="account", worker_jobs_per_person=200, extensions_per_session=2)
    made.table = Table(project("p", members=("ada", "ben"), gpu_hours=500.0))
    await made.up()
    yield made
    await made.down()


async def begin(world: World, id: str = CLUSTER, name: str = "mine", **more: Any) -> None:
    asked = {"name": name, "factory": "one", "scheduler": SCHEDULER, **more}
    await world.clusters.put(id, "ada", ClusterRequest.model_validate(asked))


async def adopt(world: World, batch: str = BATCH, count: int = 1000, cluster: str = CLUSTER, **more: Any) -> None:
    names = tuple(f"w-{batch[-4:]}-{number}" for number in range(count))
    await world.clusters.grow(cluster, "ada", batch, BatchRequest(names=names, adopt=True, **more))


async def reserved(world: World) -> float:
    """Return the GPU-hours that are reserved for the project's jobs."""
    return (await world.charges.balance("p")).reserved


async def test_jobs_that_a_client_says_are_there_hold_no_budget(world: World) -> None:
    await begin(world)
    await adopt(world, hours=8)
    assert await reserved(world) == 0
    # before, ben was refused because 0.00 GPU-hours were left
    assert (await world.put(user="ben", hours=8)).state == "pending"
    await world.down()
    await world.up()  # a restarted link, which finds the jobs in its ledger, reserves nothing for them either
    assert await reserved(world) == 8


async def test_jobs_that_the_factory_shows_are_charged_from_then_on(world: World) -> None:
    await begin(world)
    identity = world.identity
    account = world.live_clusters[CLUSTER].record.account
    comment = identity.batch_comment(BATCH, account, "one")
    job = world.scheduler.add(account, identity.job_name, comment)
    whole = world.scheduler.jobs_there.pop(job)
    world.scheduler.jobs_there[f"{job}_2"] = whole.model_copy(
        update={"id": f"{job}_2", "array": job}
    )  # one of three jobs still waits
    await adopt(world, count=3, hours=2)
    await world.scheduler.answer()
    assert await reserved(world) == 2
    world.scheduler.runs(f"{job}_2")
    started = world.scheduler.jobs_there[f"{job}_2"].started
    assert started is not None
    world.scheduler.set(f"{job}_2", ends=started + timedelta(hours=4))  # longer than the client said
    await world.scheduler.answer()
    assert await reserved(world) == pytest.approx(4, abs=0.01)
    world.scheduler.set(
        f"{job}_2",
        state=JobState.ENDED,
        outcome=Outcome.COMPLETED,
        raw_state="COMPLETED",
        ended=started + timedelta(hours=1),
    )
    await world.scheduler.answer()
    [gone] = [w for _, w in world.live_clusters[CLUSTER].alive() if w.task == 2] or [None]
    await world.comes(lambda: gone is None or gone.ended is not None)
    async with asyncio.timeout(60):
        while await reserved(world):  # the end is written later than it is known
            await asyncio.sleep(0.005)


async def test_repeated_reports_of_jobs_do_not_fill_the_ledger(world: World) -> None:

    async def again(number: int) -> None:
        """A cluster reports a thousand jobs that do not exist, and is ended at once."""
        cluster = f"{number:032x}"
        await begin(world, cluster, f"n{number}")
        await adopt(world, cluster, cluster=cluster)
        await world.clusters.end(cluster, "ada")
        world.live_clusters._live.clear()  # the state after answers of the factory that list none of the jobs

    for number in range(2):  # ten times the limit of a person
        await again(number)
    with pytest.raises(ProblemError) as refused:
        await again(2)
    assert (refused.value.status, refused.value.problem.kind) == (403, "limit")
    query = select(func.count()).select_from(schema.charges)
    assert await world.ledger.transact(lambda db: db.execute(query).scalar_one()) == 0


# --- the operator's job options apply to clusters, too


async def options(world: World, **more: Any) -> JobOptions:
    await begin(world, **more)
    await world.clusters.grow(CLUSTER, "ada", BATCH, BatchRequest(names=("w-1",)))
    request = world.scheduler.submitted[-1]
    assert (request.account, request.qos, request.reservation) == (
        world.live_clusters[CLUSTER].record.options.account,
        world.live_clusters[CLUSTER].record.options.qos,
        world.live_clusters[CLUSTER].record.options.reservation,
    )
    return world.live_clusters[CLUSTER].record.options


SET = JobOptions(account="course", qos="low", reservation="class")


async def test_many_batches_at_the_same_moment_are_counted_too(world: World) -> None:
    await begin(world)
    asks = (adopt(world, batch=f"{number:032x}", count=150) for number in range(20))
    outcomes = await asyncio.gather(*asks, return_exceptions=True)
    taken = sum(outcome is None for outcome in outcomes)
    assert taken * 150 <= TAKEN_OVER * world.config.limits.worker_jobs_per_person
    assert taken > 0


async def test_batches_come_at_a_pace(world: World) -> None:
    await begin(world)
    world.clusters._limiter = RateLimiter(burst=3, per_minute=0.001)
    for number in range(3):
        await world.clusters.grow(CLUSTER, "ada", f"{number:032x}", BatchRequest(names=(f"w-{number}",)))
    with pytest.raises(ProblemError) as caught:
        await world.clusters.grow(CLUSTER, "ada", f"{3:032x}", BatchRequest(names=("w-3",)))
    assert caught.value.status == 429
    await world.clusters.grow(
        CLUSTER, "ada", f"{2:032x}", BatchRequest(names=("w-2",))
    )  # the same job sent twice counts once


async def test_a_cluster_without_a_session_is_paid_as_sessions_are(world: World) -> None:
    await world.people.put_rules(HubRules(access=False, options=SET))
    assert await options(world) == SET


async def test_a_persons_options_override_the_rules_for_all(world: World) -> None:
    await world.people.put_rules(HubRules(access=False, options=JobOptions(account="all")))
    await world.people.put("ada", PersonBody(groups=frozenset(), options=SET))
    assert await options(world) == SET


async def test_a_scheduler_s_job_is_paid_as_sessions_are(world: World) -> None:
    await world.people.put_rules(HubRules(access=False, options=SET))
    asked = {"name": "head", "factory": "one", "head": {"hours": 1}}
    await world.clusters.put(CLUSTER, "ada", ClusterRequest.model_validate(asked))
    assert (world.scheduler.submitted[-1].account, world.scheduler.submitted[-1].qos) == ("course", "low")


async def test_a_session_that_holds_a_cluster_says_how_it_is_paid(world: World) -> None:
    await world.people.put_rules(HubRules(access=False, options=JobOptions(account="all")))
    await world.put()
    world.live_sessions[ID].record.options = SET
    assert await options(world, session=ID) == SET


async def test_a_session_s_token_begins_clusters_paid_as_its_session(tmp_path: Path) -> None:
    async with served(tmp_path) as link:
        await link.world.running(ID)
        link.world.live_sessions[ID].record.options = SET
        body = ClusterRequest.model_validate({"name": "mine", "factory": "one", "scheduler": SCHEDULER})
        headers = {"Authorization": f"Bearer {link.hub.session_token('ada')}"}
        answer = await link.people.put(f"/api/clusters/{CLUSTER}", json=body.model_dump(mode="json"), headers=headers)
        assert answer.status_code == 201
        assert link.world.live_clusters[CLUSTER].record.options == SET


# --- extreme amounts


@pytest_asyncio.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    made = await World(tmp_path, extend="account", extensions_per_session=2).up()
    async with served(tmp_path, made) as found:
        session = await made.running(ID, hours=1)
        assert session.job is not None
        started = made.scheduler.jobs_there[session.job].started
        assert started is not None
        made.scheduler.set(session.job, ends=started + timedelta(hours=1))
        await made.scheduler.answer()
        await begin(made)
        yield found


EDGES = ["1e-9", "0", "-1", "1e308", "1e999", "Infinity", "-Infinity", "NaN", '"1"', "null", "true", "[]", "1e3"]


@pytest.mark.parametrize("hours", [edge for edge in EDGES if edge not in ('"1"', "true")])
async def test_more_time_at_the_edges_is_refused_in_words(link: Link, hours: str) -> None:
    path = f"/api/sessions/{ID}/extend"
    answer = await link.people.post(path, content=f'{{"hours": {hours}}}', headers=JSON)
    said(answer)
    assert link.world.scheduler.extended == []


@pytest.mark.parametrize("hours", [edge for edge in EDGES if edge not in ('"1"', "true", "null")])
async def test_jobs_of_hours_at_the_edges_are_refused_in_words(link: Link, hours: str) -> None:
    before = len(link.world.scheduler.submitted)
    body = f'{{"names": ["w"], "hours": {hours}}}'
    said(await link.people.put(f"/api/clusters/{CLUSTER}/batches/{BATCH}", content=body, headers=JSON))
    said(await link.people.get(f"/api/factories/one/estimate?size=gpu-1&hours={hours}", headers=JSON))
    assert len(link.world.scheduler.submitted) == before


@pytest.mark.parametrize("cap", ["0", "-1", "1e999", "Infinity", "NaN"])
@pytest.mark.parametrize("field", ["cap_gpu_hours", "spent_gpu_hours", "hours"])
async def test_a_cluster_of_amounts_at_the_edges_is_refused_in_words(link: Link, cap: str, field: str) -> None:
    if (field, cap) == ("spent_gpu_hours", "0"):
        return  # the default value
    body = f'{{"name": "new", "factory": "one", "scheduler": {{"address": "tls://n:1"}}, "{field}": {cap}}}'
    said(await link.people.put(f"/api/clusters/{OTHER}", content=body, headers=JSON))
    assert OTHER not in link.world.live_clusters


def said(answer: httpx.Response) -> None:
    assert answer.status_code == 400, answer.text
    assert len(answer.json()["message"]) > 20


async def test_a_session_is_made_longer_so_often_and_no_more(link: Link) -> None:
    path = f"/api/sessions/{ID}/extend"
    for _ in range(2):
        answer = await link.people.post(path, json={"hours": 1 / 60}, headers=JSON)
        assert answer.status_code == 200, answer.text
        await link.world.scheduler.answer()
    answer = await link.people.post(path, json={"hours": 1 / 60}, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (403, "limit-extensions")
    row = await link.world.ledger.record(ID)
    assert row is not None and row.extensions == 2  # a restarted link uses the same count
