"""Many starts of one person at the same moment, as a script or a class makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import event

from factorycommon.models import Choice, SessionRequest
from factorylink.problems import ProblemError
from tests.unit.fake_factory import ID, World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = await World(tmp_path, pending_per_person=50, sessions_per_person=50).up()
    yield world
    await world.down()


def ids(count: int) -> list[str]:
    return [f"{number:032x}" for number in range(1, count + 1)]


async def test_sessions_of_a_person_share_commits(world: World) -> None:
    commits: list[object] = []
    event.listen(world.ledger._engine, "commit", commits.append)
    await asyncio.gather(*(world.put(each, server=each[-4:], factory="one") for each in ids(30)))
    assert len(world.scheduler.submitted) == 30
    assert len(commits) < 15  # each has three writes: its intent, its submission, and its job's id


async def test_limits_of_a_person_hold_for_starts_at_the_same_moment(world: World) -> None:
    world.limit(pending_per_person=3)
    outcomes = await asyncio.gather(*(world.put(each, server=each[-4:]) for each in ids(8)), return_exceptions=True)
    assert sum(isinstance(outcome, ProblemError) for outcome in outcomes) == 5
    assert len(world.scheduler.submitted) == 3


async def test_a_start_that_is_requested_several_times_at_once_is_one_job(world: World) -> None:
    request = SessionRequest(user="ada", server="", choice=Choice())
    answers = await asyncio.gather(*(world.sessions.put(ID, request) for _ in range(5)))
    assert sorted(created for _, created in answers) == [False] * 4 + [True]
    assert {session.id for session, _ in answers} == {ID}
    assert len(world.scheduler.submitted) == 1


async def test_a_server_gets_one_of_two_sessions_that_are_requested_at_once(world: World) -> None:
    first, second = ids(2)
    outcomes = await asyncio.gather(world.put(first), world.put(second), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, ProblemError)]
    assert [one.problem.kind for one in refused] == ["conflict"]
    assert len(world.scheduler.submitted) == 1


async def test_sessions_that_start_at_once_have_ports_of_their_own(world: World) -> None:
    await asyncio.gather(*(world.put(each, server=each[-4:]) for each in ids(20)))
    assert len({world.live_sessions[each].record.port for each in ids(20)}) == 20


async def test_a_start_that_is_requested_again_after_its_end_starts_nothing(world: World) -> None:
    session = await world.put()
    assert session.job is not None
    world.scheduler.jobs_there.clear()
    await world.sessions.stop(ID, "person")
    ended = await world.answered_until(ID, state="ended")
    world.limit(pending_per_person=0)  # not even asked, since the session is known
    assert (await world.put()).ended == ended.ended
    assert len(world.scheduler.submitted) == 1


async def test_the_last_choice_is_known_as_soon_as_a_start_is_answered(world: World) -> None:
    await world.put(user="ada")
    assert await world.ledger.last_choice("ada") is not None
