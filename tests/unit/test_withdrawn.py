"""A session that is stopped before the link has started it never starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from factorycommon.models import EndReason
from factorylink.client import LinkProblem
from factorylink.ledger.ledger import LedgerError
from factorylink.problems import ProblemError
from factorylink.sessions import withdrawn
from tests.unit.fake_factory import ID, OTHER, World
from tests.unit.fake_hub import request, served


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await World(tmp_path).up()
    yield made
    await made.down()


async def test_a_session_stopped_before_its_request_never_starts(tmp_path: Path) -> None:
    async with served(tmp_path) as link:
        for _ in range(2):
            with pytest.raises(LinkProblem) as caught:
                await link.client.stop(ID)
            assert (caught.value.status, caught.value.problem.kind) == (404, "gone")
            with pytest.raises(LinkProblem) as caught:
                await link.client.put_session(ID, request())
            assert (caught.value.status, caught.value.problem.kind) == (409, "conflict")
        assert link.world.scheduler.submitted == []
        assert (await link.client.put_session(OTHER, request())).job  # a new session of the same server


@pytest.mark.parametrize("when", ["written", "admitted"])
async def test_a_session_stopped_while_it_is_written_gets_no_job(
    world: World, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    add = world.ledger.add

    async def slow(*arguments: Any) -> None:
        if when == "written":
            await add(*arguments)
        reached.set()
        await go_on.wait()
        if when == "admitted":
            await add(*arguments)

    monkeypatch.setattr(world.ledger, "add", slow)
    putting = asyncio.create_task(world.put())
    await reached.wait()
    if when == "written":
        await world.sessions.stop(ID, "person")
    else:
        with pytest.raises(ProblemError, match="not known here"):
            await world.sessions.stop(ID, "person")
    go_on.set()
    await putting
    ended = await world.until(state="ended")
    assert ended.end_reason == EndReason.STOPPED
    assert world.scheduler.submitted == []


async def test_a_session_stopped_while_its_submission_waits_is_not_submitted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, go_on = asyncio.Event(), asyncio.Event()

    async def turn(_person: str) -> None:
        waits.set()
        await go_on.wait()

    monkeypatch.setattr(world.scheduler, "turn", turn)
    putting = asyncio.create_task(world.put())
    await waits.wait()
    await world.sessions.stop(ID, "person")
    go_on.set()
    await putting
    ended = await world.until(state="ended")
    assert ended.end_reason == EndReason.STOPPED
    assert world.scheduler.submitted == []


async def test_a_job_takes_its_turn_when_all_else_is_ready(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[int] = []

    async def turn(_person: str) -> None:
        notes.append(len(world.home.files))

    monkeypatch.setattr(world.scheduler, "turn", turn)
    await world.put()
    await world.until(job="1")
    assert notes == [1]  # otherwise jobs would come together whose notes took long


async def test_a_link_that_starts_again_knows_when_it_last_submitted(world: World) -> None:
    await world.put()
    await world.until(job="1")
    await world.down()
    await world.up()
    (ago,) = world.scheduler.earlier
    assert 0 <= ago < 600


async def test_several_sessions_are_stopped_by_one_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(tmp_path) as link:
        await link.client.put_session(ID, request())
        silent = link.world.ledger.change

        async def change(*_arguments: Any, **_values: Any) -> None:
            raise LedgerError("it is away")

        monkeypatch.setattr(link.world.ledger, "change", change)
        assert await link.client.stop_all({ID: "person", OTHER: "hub"}) == {OTHER}  # the session that never starts
        monkeypatch.setattr(link.world.ledger, "change", silent)
        assert await link.client.stop_all({ID: "person", OTHER: "hub"}) == {ID, OTHER}
        assert (await link.client.session(ID)).wish == "stop"
        with pytest.raises(LinkProblem, match="stopped before it began"):
            await link.client.put_session(OTHER, request())


def test_the_number_of_remembered_stops_is_limited() -> None:
    ids = withdrawn.StoppedBeforeBegun()
    for number in range(withdrawn.KEPT + 1):
        ids.add(f"{number:032x}")
    assert f"{0:032x}" not in ids
    assert f"{1:032x}" in ids
    assert f"{withdrawn.KEPT:032x}" in ids
