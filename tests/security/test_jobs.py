"""A job is watched by its id, and only a job that is certainly ours is cancelled or changed.

The tests use output of Slurm and of PBS.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select

from factorycommon.models import BatchRequest, ClusterRequest
from factorylink.ledger import schema
from factorylink.problems import ProblemError
from factorylink.util import clock
from tests.support.commanded_scheduler import CommandedWorld, Kind
from tests.unit.fake_factory import ID, OTHER, SCHEDULER

NAME = "factorygate-hub"
CLUSTER, BATCH = "c" * 32, "b" * 32


@pytest_asyncio.fixture(params=["slurm", "pbs"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CommandedWorld]:
    kind: Kind = request.param
    made = await CommandedWorld(tmp_path, kind, extend="account").up()
    yield made
    await made.down()


async def killed(world: CommandedWorld) -> None:
    """Kill the link, and start it again."""
    await world.down()
    await world.up()


async def charged(world: CommandedWorld, session_id: str = ID) -> bool:
    """Return True if the session's charge is still open."""
    query = select(schema.charges.c.ended).where(schema.charges.c.id == session_id)
    return await world.ledger.transact(lambda db: db.execute(query).scalar_one()) is None


def foreign(world: CommandedWorld, account: str, comment: str = "", name: str = NAME, **more: object) -> str:
    """Add another person's job, with a submission time one minute ahead; return the job's id."""
    return world.there.add(name, account, comment, submitted=clock.now() + timedelta(minutes=1), **more)


# --- a job that is there under another name or with another comment


async def test_a_renamed_job_is_watched_and_charged_until_it_ends(world: CommandedWorld) -> None:
    session = await world.running()
    assert session.job is not None
    world.there.change(session.job, name="mine")
    await world.answers(4)
    session = await world.session()
    assert (session.state, session.certain) == ("running", True)
    assert session.remark is not None
    assert session.remark.code == "job-renamed"
    assert session.remark.what in [line.text for line in session.log]
    assert await charged(world)
    await killed(world)
    await world.answers(4)
    assert (await world.session()).state == "running"
    await world.sessions.stop(ID, "person")
    await world.comes(lambda: world.there.cancelled == [session.job])  # its comment shows that it is ours
    await world.answered_until(state="ended")
    assert not await charged(world)


async def test_a_job_with_another_comment_is_watched_and_never_touched(world: CommandedWorld) -> None:
    session = await world.running()
    assert session.job is not None
    world.there.change(session.job, comment="mine")
    await world.answers(4)
    session = await world.session()
    assert session.state == "running"
    assert session.remark is not None
    assert session.remark.code == "job-altered"
    with pytest.raises(ProblemError) as caught:
        await world.extender.extend(ID, 1, "person")
    assert caught.value.problem.kind == "refused"
    await world.sessions.stop(ID, "person")
    await world.comes(lambda: ID in world.doors.asked_to_stop)
    session = await world.answered_until(state="ending")
    assert session.remark is not None
    await world.comes(lambda: world.live_sessions[ID].remark.code == "job-not-cancelled")
    await world.answers(4)
    assert (await world.session()).state == "ending"
    assert await charged(world)
    assert world.there.cancelled == world.there.extended == []
    del world.there.jobs[session.job or ""]  # the notebook ended
    assert (await world.answered_until(state="ended")).end_reason == "stopped"
    assert not await charged(world)


@pytest.mark.parametrize(
    ("rewrites", "code"),
    [
        ({"name": "site-job"}, "job-renamed"),
        ({"comment": "cluster=a"}, "job-rewritten"),
        ({"name": "site-job", "comment": ""}, "job-rewritten"),
    ],
)
async def test_a_site_that_rewrites_submissions(world: CommandedWorld, rewrites: dict[str, str], code: str) -> None:
    world.there.rewrites = rewrites
    session = await world.put()
    assert session.job is not None
    await world.answers(4)
    session = await world.session()
    assert session.state == "pending"
    assert session.remark is not None
    assert session.remark.code == code
    world.there.runs(session.job or "")
    await world.answered_until(state="starting")
    assert world.there.next == 2  # it was submitted once


async def test_no_job_counts_as_over_before_the_answer_by_id(world: CommandedWorld) -> None:
    session = await world.running()
    del world.there.jobs[session.job or ""]
    world.there.silent = {"id"}
    await world.answers(5)
    assert (await world.session()).state == "running"
    assert await charged(world)
    world.there.silent = set()
    await world.answered_until(state="ended")


async def test_a_job_that_is_listed_is_not_asked_for_by_id(world: CommandedWorld) -> None:
    await world.put()
    await world.put(OTHER, user="ben")
    await world.answers(3)
    assert "id" not in world.there.questions
    for job in list(world.there.jobs):
        world.there.change(job, name="mine")
    before = len(world.there.questions)
    await world.answers(3)
    asked = world.there.questions[before:]
    assert asked.count("id") <= asked.count("name")  # one question for both


# --- another job under a known id


@pytest.mark.parametrize("wish", ["run", "stop"])
async def test_ids_that_begin_again_hit_no_other_job(world: CommandedWorld, wish: str) -> None:
    session = await world.running()
    if wish == "stop":
        world.there.silent = {"id", "name"}
        await world.sessions.stop(ID, "person")
    await world.down()
    world.there.silent = set()
    world.there.loses_its_state()
    others = [
        foreign(world, session.account),
        foreign(world, session.account, "", "own-job"),
        foreign(world, session.account, f"fg:{OTHER}:{'0' * 16}"),
    ]
    assert others[0] == session.job
    await world.up()
    over = await world.answered_until(state="ended")
    await world.answers(3)
    assert over.end is not None
    assert (over.end_reason, over.end.code) == (
        ("stopped", "stopped") if wish == "stop" else ("failed", "job-replaced")
    )
    assert world.there.cancelled == []
    assert set(others) <= world.there.jobs.keys()
    assert not await charged(world)


async def test_with_a_shared_account_a_stop_ends_nobody_elses_session(world: CommandedWorld) -> None:
    """The id of the session's job goes to a job of another session with the same account and another comment."""
    session = await world.running()
    world.there.silent = {"id", "name"}
    await world.sessions.stop(ID, "person")
    await world.down()
    world.there.silent = set()
    world.there.loses_its_state()
    comment = world.identity.comment(OTHER, session.account, "one")
    assert foreign(world, session.account, comment) == session.job
    await world.up()
    await world.answered_until(state="ended")
    assert world.there.cancelled == []


async def test_nothing_is_cancelled_before_the_first_good_answer(world: CommandedWorld) -> None:
    session = await world.running()
    world.there.silent = {"id", "name"}
    await world.sessions.stop(ID, "person")
    await world.down()
    world.there.silent = {"name"}
    before = len(world.there.questions)
    await world.up()
    await world.comes(lambda: world.scheduler.health.state == "unreachable")
    await asyncio.sleep(1)
    assert world.there.cancelled == []
    assert set(world.there.questions[before:]) == {"name"}
    world.there.silent = set()
    await world.comes(lambda: world.there.cancelled == [session.job])


async def test_no_job_is_entered_through_the_scheduler_before_an_answer_shows_it(world: CommandedWorld) -> None:
    await world.running()
    await world.down()
    access = world.config.factories["one"]
    door = access.door.model_copy(update={"carrier": "stdio"})
    world.config.factories["one"] = access.model_copy(update={"door": door})
    world.there.silent = {"name"}
    await world.up()
    await world.comes(lambda: world.scheduler.health.state == "unreachable")
    assert world.doors.kept_open == []
    world.there.silent = set()
    await world.comes(lambda: world.doors.kept_open == [ID])


async def test_a_changed_job_is_seen_between_the_wish_and_the_order(world: CommandedWorld) -> None:
    """The last answer listed the session's job; the one right before the order lists another job with the same id."""
    session = await world.running()
    world.there.loses_its_state()
    assert foreign(world, session.account) == session.job
    await world.sessions.stop(ID, "person")
    with pytest.raises(ProblemError):
        await world.extender.extend(ID, 1, "person")
    await world.answered_until(state="ended")
    assert world.there.cancelled == world.there.extended == []


async def test_a_submission_may_get_the_id_of_a_live_session(world: CommandedWorld) -> None:
    first = await world.running()
    world.there.loses_its_state()
    second = await world.put(OTHER, user="ben")
    await world.answered_until(OTHER, job=first.job)
    assert second.state == "pending"
    over = await world.answered_until(state="ended")
    assert over.end is not None
    assert over.end.code == "job-replaced"
    assert world.there.cancelled == []


# --- workers


async def grown(world: CommandedWorld, count: int) -> list[str]:
    await world.clusters.put(
        CLUSTER, "ada", ClusterRequest.model_validate({"factory": "one", "name": "mine", "scheduler": SCHEDULER})
    )
    names = tuple(f"w-{number}" for number in range(count))
    await world.clusters.grow(CLUSTER, "ada", BATCH, BatchRequest(names=names))
    await world.answers(1)
    return list(world.there.jobs)


def worker_states(world: CommandedWorld) -> dict[str, str]:
    return {worker.job or "": worker.state for worker in world.clusters.look(CLUSTER, "ada").workers}


@pytest.mark.parametrize("count", [1, 3])
async def test_renamed_workers_are_watched_and_altered_ones_are_not_touched(world: CommandedWorld, count: int) -> None:
    jobs = await grown(world, count)
    for job in jobs:
        world.there.change(job, name="mine")
    world.there.change(jobs[0], comment="mine")
    await world.answers(4)
    assert worker_states(world) == dict.fromkeys(jobs, "pending")
    await world.clusters.end(CLUSTER, "ada")
    await world.comes(lambda: set(world.there.jobs) == {jobs[0]})
    await world.answers(4)
    assert worker_states(world)[jobs[0]] == "pending"
    assert sorted(world.there.cancelled) == sorted(jobs[1:])


@pytest.mark.parametrize("count", [1, 3])
async def test_other_jobs_under_the_ids_of_workers_are_not_touched(world: CommandedWorld, count: int) -> None:
    jobs = await grown(world, count)
    account = world.there.jobs[jobs[0]].account
    world.there.silent = {"id", "name"}
    await world.clusters.end(CLUSTER, "ada")
    await world.down()
    world.there.silent = set()
    world.there.loses_its_state()
    foreign(world, account, count=count)
    assert list(world.there.jobs) == jobs
    await world.up()
    await world.comes(lambda: CLUSTER not in world.live_clusters or not world.live_clusters[CLUSTER].alive())
    assert world.there.cancelled == []
    assert list(world.there.jobs) == jobs


# --- two gateways of one name


async def test_another_gateway_of_the_same_name_is_told_once(
    world: CommandedWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "factorylink")
    foreign(world, "b", f"fg:{OTHER}:{'0' * 16}")
    await world.answers(4)
    told = [record for record in caplog.records if "hub.name" in record.getMessage()]
    assert len(told) == 1
    assert world.session_reconciler.same_name == {"one": 1}
    assert world.there.cancelled == []
