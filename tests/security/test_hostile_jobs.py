"""People who lie about their jobs: with copied or changed comments, another job's id, or commands that never end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select

from factorycommon.models import BatchRequest, ClusterRequest
from factorylink.errors import Refused
from factorylink.jobs.ownership import Found, OwnJob
from factorylink.ledger import schema
from factorylink.sessions import termination
from tests.support.commanded_scheduler import CommandedWorld, Kind
from tests.unit.fake_factory import ID, OTHER, SCHEDULER

NAME = "factorygate-hub"
CLUSTER, BATCH = "c" * 32, "b" * 32
LOST = "e" * 32
SOON = 60.0  # seconds; a command that hangs here never ends


@pytest_asyncio.fixture(params=["slurm", "pbs"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CommandedWorld]:
    kind: Kind = request.param
    made = await CommandedWorld(tmp_path, kind, extend="account").up()
    yield made
    made.there.hangs = set()
    await made.down()


async def charged(world: CommandedWorld, session_id: str = ID) -> bool:
    """Return True if the session's charge is still open."""
    query = select(schema.charges.c.ended).where(schema.charges.c.id == session_id)
    return await world.ledger.transact(lambda db: db.execute(query).scalar_one()) is None


def other_account(account: str) -> str:
    return "b" if account == "a" else "a"


async def grown(world: CommandedWorld, count: int) -> list[str]:
    """Make a cluster with ``count`` jobs; return their ids, before the scheduler has listed these jobs in an answer."""
    cluster = {"factory": "one", "name": "mine", "scheduler": SCHEDULER}
    await world.clusters.put(CLUSTER, "ada", ClusterRequest.model_validate(cluster))
    names = tuple(f"w-{number}" for number in range(count))
    before = set(world.there.jobs)
    await world.clusters.grow(CLUSTER, "ada", BATCH, BatchRequest(names=names))
    return [job for job in world.there.jobs if job not in before]


# --- the id of another's job


async def test_a_submission_that_answers_with_anothers_id_ends_nobody(world: CommandedWorld) -> None:
    victim = await world.running()
    assert victim.job is not None
    account = other_account(victim.account)
    world.there.lies[account] = victim.job
    liar = await world.put(OTHER, user="dan")
    assert liar.account == account
    await world.answers(4)
    assert (await world.session()).state == "running"
    assert await charged(world)
    liar = await world.session(OTHER)
    assert (liar.state, liar.job) == ("pending", None)
    await world.sessions.stop(OTHER, "person")
    await world.answers(4)
    assert world.there.cancelled == []
    assert victim.job in world.there.jobs
    assert (await world.session()).state == "running"


async def test_a_session_takes_no_job_of_an_array(world: CommandedWorld) -> None:
    """While the session has no job, its account submits an array with the session's comment; no session is an array."""
    victim = await world.running()
    account = other_account(victim.account)
    world.there.lies[account] = victim.job or ""
    await world.put(OTHER, user="dan")
    world.there.add(NAME, account, world.identity.comment(OTHER, account, "one"), count=3)
    world.there.add(NAME, account, world.identity.comment(LOST, account, "one"), count=3)
    await world.answers(4)
    assert (await world.session(OTHER)).job is None
    assert world.there.cancelled == []


async def test_no_job_of_an_array_is_extended(world: CommandedWorld) -> None:
    """Slurm cannot extend a single job of an array."""
    await world.answers(1)
    world.there.add(NAME, "a", "x", count=3)
    for job in world.there.jobs:
        with pytest.raises(Refused):
            await world.scheduler.extend("a", OwnJob(job, "a", "x"), 0)
    assert world.there.extended == []


# --- commands that never end


async def stopped_soon(world: CommandedWorld) -> None:
    """Stop the session ``ID``, and assert that it ends within ``SOON`` seconds, whatever another account does."""
    async with asyncio.timeout(SOON):
        await world.answers(3)
        await world.sessions.stop(ID, "person")
        await world.answered_until(state="ended")


async def test_a_note_that_is_never_read_keeps_nobody_waiting(world: CommandedWorld) -> None:
    session = await world.running()
    hostile = other_account(session.account)
    world.there.hangs = {hostile}
    for number in range(5):
        world.there.add(NAME, hostile, world.identity.comment(f"{number}" * 32, hostile, "one"))
    await stopped_soon(world)


@pytest.mark.parametrize("kind", ["orphan", "batch", "second"])
async def test_a_cancel_that_never_ends_keeps_nobody_waiting(world: CommandedWorld, kind: str) -> None:
    world.limit(orphan_grace_seconds=0)
    session = await world.running()
    hostile = other_account(session.account)
    if kind == "second":
        other = await world.running(OTHER, user="dan")
        assert other.account == hostile
        await world.ledger.change(world.live_sessions[OTHER].record, submits=2)
        world.there.add(NAME, hostile, world.identity.comment(OTHER, hostile, "one"))
    elif kind == "batch":
        world.there.add(NAME, hostile, world.identity.batch_comment(LOST, hostile, "one"), count=3)
    else:
        world.there.add(NAME, hostile, world.identity.comment(LOST, hostile, "one"))
        await world.answers(1)
    world.there.hangs = {hostile}
    await stopped_soon(world)
    world.there.hangs = set()


async def test_work_that_waited_for_an_account_is_done_once_it_answers(world: CommandedWorld) -> None:
    world.limit(orphan_grace_seconds=0)
    jobs = [world.there.add(NAME, "b", world.identity.comment(f"{number}" * 32, "b", "one")) for number in range(3)]
    batch = world.there.add(NAME, "b", world.identity.batch_comment(LOST, "b", "one"))
    await world.answers(6)
    await world.comes(lambda: sorted(world.there.cancelled) == sorted([*jobs, batch]))


# --- comments that were changed before the first answer


@pytest.mark.parametrize("comment", ["of nobody", "of one that ended", "of one that lives"])
async def test_a_session_with_a_comment_of_a_gateways_form_is_watched_and_charged(
    world: CommandedWorld, comment: str
) -> None:
    copied = f"fg:{OTHER}:{'0' * 16}"
    if comment != "of nobody":
        other = await world.running(OTHER, user="ada", server="second")
        copied = world.identity.comment(OTHER, other.account, "one")
        if comment == "of one that ended":
            await world.sessions.stop(OTHER, "person")
            await world.answered_until(OTHER, state="ended")
    world.there.rewrites = {"comment": copied}  # equivalent to a change right after the submission
    session = await world.put()
    if comment != "of nobody":
        assert session.account == other.account
    await world.answers(4)
    session = await world.session()
    assert session.state == "pending"
    assert session.remark is not None
    assert session.remark.code == "job-rewritten"
    assert await charged(world)
    cancelled = list(world.there.cancelled)
    world.there.runs(session.job or "")
    await world.answered_until(state="starting")
    assert world.there.cancelled == cancelled
    if comment == "of one that lives":
        assert (await world.session(OTHER)).state == "running"
    assert await charged(world)


@pytest.mark.parametrize("comment", ["of nobody", "of one that ended"])
async def test_workers_with_a_comment_of_a_gateways_form_are_watched_and_charged(
    world: CommandedWorld, comment: str
) -> None:
    copied = f"fgb:{OTHER}:{'0' * 16}"
    if comment == "of one that ended":
        other = await world.running(OTHER)
        copied = world.identity.comment(OTHER, other.account, "one")
        await world.sessions.stop(OTHER, "person")
        await world.answered_until(OTHER, state="ended")
    world.there.rewrites = {"comment": copied}
    jobs = await grown(world, 2)
    await world.answers(4)
    states = {worker.job or "": worker.state for worker in world.clusters.look(CLUSTER, "ada").workers}
    assert states == dict.fromkeys(jobs, "pending")


async def test_a_job_of_a_session_that_waits_for_it_is_not_anothers(world: CommandedWorld) -> None:
    """The scheduler loses its state before it first lists a session's job, and another session's job gets the id."""
    first = await world.put()
    world.there.lies[first.account] = first.job or ""
    second = await world.put(OTHER, server="second")
    assert second.account == first.account
    world.there.loses_its_state()
    world.there.add(NAME, first.account, world.identity.comment(OTHER, first.account, "one"))
    await world.answered_until(OTHER, job=first.job)
    over = await world.answered_until(state="ended")
    assert over.end is not None
    assert over.end.code == "job-replaced"


# --- a stop of a job that must not be touched


@pytest.mark.parametrize("when", ["pending", "running", "restarted"])
async def test_a_stop_finds_the_door_of_an_altered_job(
    world: CommandedWorld, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(termination, "_CONFIRM_SECONDS", 0.2)
    monkeypatch.setattr(termination, "_POLITE_SECONDS", 0.1)
    session = await world.put()
    job = session.job or ""
    await world.answers(2)
    if when != "pending":
        world.there.runs(job)
        await world.answered_until(state="starting")
    world.there.change(job, comment="mine")
    await world.answers(2)
    await world.sessions.stop(ID, "person")
    await world.answered_until(state="ending")
    if when == "restarted":
        await world.down()
        await world.up()
    if when == "pending":
        await world.answers(2)
        assert world.doors.kept_open == []
        world.there.runs(job)
        await world.answers(2)
        assert (await world.session()).started is not None  # it is charged from this time
    await world.answers(2)
    await world.comes(lambda: ID in world.doors.kept_open)
    assert world.doors.nodes[-1] == "n1"
    world.door_says(phase="waiting")
    await world.comes(lambda: ID in world.doors.asked_to_stop)
    assert (await world.session()).state == "ending"
    assert world.there.cancelled == []
    del world.there.jobs[job]
    assert (await world.answered_until(state="ended")).end_reason == "stopped"


# --- many jobs, and ids of another kind of scheduler


async def test_an_array_with_one_altered_job_is_cancelled_in_pieces(world: CommandedWorld) -> None:
    await world.answers(1)
    comment = world.identity.batch_comment(BATCH, "a", "one")
    array = world.there.add(NAME, "a", comment, count=900)
    altered = next(iter(world.there.jobs))
    world.there.change(altered, comment="mine")
    told = await world.scheduler.cancel("a", [OwnJob(array, "a", comment, world.there.jobs[altered].submitted)])
    assert set(world.there.jobs) == {altered}
    assert max(world.there.commands) <= 400
    assert told[altered] is Found.ALTERED
    assert len(told) == 900


@pytest.mark.parametrize("wish", ["run", "stop"])
async def test_an_id_of_another_kind_of_scheduler_silences_no_other(world: CommandedWorld, wish: str) -> None:
    session = await world.running()
    other = await world.running(OTHER, user="dan")
    old = world.there.jobs.pop(session.job or "")
    alien = "77.old" if world.there.kind == "slurm" else "77"
    await world.ledger.change(world.live_sessions[ID].record, job=alien)
    assert old.account == session.account
    world.there.change(other.job or "", name="mine")
    if wish == "stop":
        await world.sessions.stop(ID, "person")
    over = await world.answered_until(state="ended")
    assert over.end_reason == ("stopped" if wish == "stop" else "failed")
    assert (await world.session(OTHER)).state == "running"
    del world.there.jobs[other.job or ""]
    await world.answered_until(OTHER, state="ended")


async def test_an_id_of_another_scheduler_does_not_stop_a_cancel_of_others(world: CommandedWorld) -> None:
    session = await world.running()
    row = world.live_sessions[ID].record
    comment = world.identity.comment(ID, session.account, "one")
    alien = "77.old" if world.there.kind == "slurm" else "77"
    jobs = [OwnJob(id, session.account, comment, row.submitted) for id in (alien, session.job or "")]
    assert await world.scheduler.cancel(session.account, jobs) == {alien: Found.GONE, session.job: Found.OURS}
    assert world.there.cancelled == [session.job]
