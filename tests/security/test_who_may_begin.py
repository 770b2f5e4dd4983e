"""A person who may start nothing starts nothing: each reason, against each way to start something."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from factorycommon.models import (
    AccessStatus,
    BatchRequest,
    Choice,
    ClusterRequest,
    HubRules,
    JobOptions,
    PersonBody,
    SessionRequest,
    SiteRules,
    Words,
)
from factorylink.problems import ProblemError
from factorylink.util import clock
from tests.unit.fake_factory import ID, OTHER, SCHEDULER, World
from tests.unit.fake_hub import served
from tests.unit.fake_projects import Table, project

CLUSTER = "c" * 32
WORDS = Words(code="login-stale", what="You last signed in too long ago.", do="Sign in again.", whose="you")
GOOD = AccessStatus(terms="v1")


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Ada has a project, a running session and a cluster; the hub has rules, and has allowed her to start things."""
    made = World(tmp_path, extend="account")
    made.table, made.rules = Table(project("p")), HubRules(terms="v1")
    await made.up()
    await say(made, GOOD)
    session = await made.running(hours=1)
    assert session.job is not None
    started = made.scheduler.jobs_there[session.job].started
    assert started is not None
    made.scheduler.set(session.job, ends=started + timedelta(hours=1))
    await made.scheduler.answer()
    await made.clusters.put(CLUSTER, "ada", ClusterRequest.model_validate(cluster()))
    yield made
    await made.down()


def cluster(**more: object) -> dict[str, object]:
    return {"name": "mine", "factory": "one", "scheduler": SCHEDULER, **more}


async def say(world: World, access: AccessStatus | None, *, blocked: bool = False) -> None:
    await world.people.put("ada", PersonBody(groups=frozenset(), blocked=blocked, access=access))


# --- the ways to start something


async def session(world: World) -> object:
    request = SessionRequest(user="ada", server="new", choice=Choice(factory="one", project="p"))
    return await world.sessions.put(OTHER, request)


async def a_cluster(world: World) -> object:
    return await world.clusters.put("d" * 32, "ada", ClusterRequest.model_validate(cluster(name="new")))


async def scheduler_job(world: World) -> object:
    asked = {"name": "head", "factory": "one", "head": {"hours": 1}}
    return await world.clusters.put("e" * 32, "ada", ClusterRequest.model_validate(asked))


async def workers(world: World) -> object:
    return await world.clusters.grow(CLUSTER, "ada", "f" * 32, BatchRequest(names=("w-1",)))


async def more_time(world: World) -> object:
    return await world.extender.extend(ID, 1, "person")


async def estimate(world: World) -> object:
    return await world.offers.estimate("one", "ada", "gpu-1", 1, "p")


ACTS: list[Callable[[World], Awaitable[object]]] = [session, a_cluster, scheduler_job, workers, more_time, estimate]


# --- the reasons


async def blocked(world: World) -> str:
    await say(world, GOOD, blocked=True)
    return "blocked"


async def never_told(world: World) -> str:
    world.people._known.clear()
    return "access-unknown"


async def told_by_an_earlier_release(world: World) -> str:
    await say(world, None)
    return "access-unknown"


async def login_too_old(world: World) -> str:
    await say(world, AccessStatus(terms="v1", until=clock.now() - timedelta(seconds=1)))
    return "access-expired"


async def login_revoked(world: World) -> str:
    await world.people.put_access("ada", AccessStatus(refusal=WORDS))
    return "login-stale"


async def terms_not_accepted(world: World) -> str:
    await say(world, AccessStatus(terms=None))
    return "terms-open"


async def terms_changed_since(world: World) -> str:
    await world.people.put_rules(HubRules(terms="v2"))
    return "terms-open"


async def site_rules_not_accepted(world: World) -> str:
    place = world.factories["one"]
    rules = SiteRules(version="1", text="No mining.")
    ruled = place.factory.model_copy(update={"site": place.factory.site.model_copy(update={"rules": rules})})
    world.factories.offered = {"one": replace(place, factory=ruled)}
    return "rules-open"


async def in_no_project(world: World) -> str:
    assert isinstance(world.table, Table)
    world.table.set(project("p", members=("ben",)))
    return "no-project"


async def project_over(world: World) -> str:
    assert isinstance(world.table, Table)
    world.table.set(project("p", ends=clock.now() - timedelta(hours=1)))
    return "project-over"


REASONS = [
    *(blocked, never_told, told_by_an_earlier_release, login_too_old, login_revoked, terms_not_accepted),
    *(terms_changed_since, site_rules_not_accepted, in_no_project, project_over),
]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
async def test_without_a_reason_against_it_everything_may_start(
    world: World, act: Callable[[World], Awaitable[object]]
) -> None:
    assert await act(world)


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.__name__)
async def test_a_person_who_may_not_starts_nothing(
    world: World, reason: Callable[[World], Awaitable[str]], act: Callable[[World], Awaitable[object]]
) -> None:
    submitted, estimated = len(world.scheduler.submitted), world.scheduler.estimated
    code = await reason(world)
    with pytest.raises(ProblemError) as refused:
        await act(world)
    assert (refused.value.status, refused.value.problem.code) == (403, code)
    assert refused.value.problem.message and refused.value.problem.do
    assert (len(world.scheduler.submitted), world.scheduler.estimated) == (submitted, estimated)
    assert world.scheduler.extended == []


async def test_a_drained_and_a_paused_factory_take_nothing_new(world: World) -> None:
    world.factories.drains["one"] = "Back at noon."
    for act in (session, a_cluster, scheduler_job, workers):
        with pytest.raises(ProblemError, match="Back at noon") as refused:
            await act(world)
        assert refused.value.status == 503
    assert await more_time(world)  # running sessions go on
    world.factories.drains.clear()
    world.factories["one"].access_status.pause("Paused.")
    for act in (session, a_cluster, scheduler_job, workers, more_time):
        with pytest.raises(ProblemError, match="Paused") as refused:
            await act(world)
        assert refused.value.status == 503


# --- what a restarted link remembers


async def test_the_hubs_data_survive_a_restart_of_the_link(world: World) -> None:
    until = clock.now() + timedelta(hours=1)
    await say(world, AccessStatus(terms="v1", until=until))
    await world.people.put("ada", PersonBody(groups=frozenset({"g"}), access=GOOD, options=JobOptions(qos="q")))
    await world.people.put("ada", PersonBody(groups=frozenset({"g"}), access=AccessStatus(terms="v1", until=until)))
    world.rules = None  # nobody sends the rules again
    await world.down()
    await world.up()
    people = world.people
    known = people.get("ada")
    assert known is not None and known.access is not None
    assert (known.access.until, people.rules.terms, people.options("ada")) == (until, "v1", JobOptions(qos="q"))
    assert people.refusal("ada") is None
    assert people.refusal("ben") is not None


async def test_a_link_without_the_hubs_rules_starts_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.rules = None
    await world.up()
    with pytest.raises(ProblemError) as refused:
        await world.put()
    assert refused.value.problem.code == "access-unknown"
    await world.people.put_rules(HubRules(access=False))  # as a hub with passwords sends at its start
    assert (await world.put()).state == "pending"
    await world.down()


async def test_a_refusal_alone_keeps_the_person_s_groups(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    people = world.people
    await people.put("ada", PersonBody(groups=frozenset({"g"}), access=AccessStatus()))
    await people.put_access("ada", AccessStatus(refusal=WORDS))
    await people.put_access("ben", AccessStatus(refusal=WORDS))
    told = people.get("ada")
    assert told is not None and told.groups == {"g"}
    assert people.get("ben") is None  # about whom nothing is known, so not that they left a group
    await world.down()


async def test_the_hub_sends_the_access_status_over_the_socket(tmp_path: Path) -> None:
    async with served(tmp_path) as link:
        await link.client.put_rules(HubRules(terms="v1"))
        headers = {"Authorization": "Bearer ada-token"}
        body = ClusterRequest.model_validate(cluster()).model_dump(mode="json")
        for access, status, code in (
            (None, 403, "access-unknown"),
            (AccessStatus(terms="v0"), 403, "terms-open"),
            (AccessStatus(terms="v1", refusal=WORDS), 403, "login-stale"),
            (GOOD, 201, None),
        ):
            await link.client.put_person("ada", PersonBody(groups=frozenset(), access=access))
            answer = await link.people.put(f"/api/clusters/{CLUSTER}", json=body, headers=headers)
            assert (answer.status_code, answer.json().get("code")) == (status, code)
        await link.client.put_access("ada", AccessStatus(terms="v1", until=clock.now()))
        batch = await link.people.put(
            f"/api/clusters/{CLUSTER}/batches/{'b' * 32}", json={"names": ["w"]}, headers=headers
        )
        assert (batch.status_code, batch.json()["code"]) == (403, "access-expired")
