"""Extending a running session: who may do it, by how much, and the door gets the end that the scheduler reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio

from factorycommon.models import MaintenanceView, Notice, Session
from factorylink.jobs.ownership import Found
from factorylink.problems import ProblemError
from tests.unit.fake_factory import ID, World


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await World(tmp_path, extend="account").up()
    yield made
    await made.down()


async def runs(world: World, hours: float) -> Session:
    """Start a session whose job has a walltime of ``hours``; return the session. The size allows 8 h."""
    session = await world.running(size="gpu-1", hours=hours)
    job = world.scheduler.jobs_there[session.job or ""]
    assert job.started is not None
    world.scheduler.set(job.id, ends=job.started + timedelta(hours=hours))
    await world.scheduler.answer()
    session = await world.session()
    assert await told(world, session.ends)
    world.door_says(phase="up", environment=True, ends=session.ends)
    world.doors.told_ends.clear()
    return session


async def told(world: World, *ends: datetime | None) -> bool:
    """Return True if the door got exactly these ends; they are sent in the background."""
    await world.comes(lambda: len(world.doors.told_ends) >= len(ends))
    await asyncio.sleep(0)
    return world.doors.told_ends == list(ends)


async def no(world: World, hours: float = 1) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        await world.extender.extend(ID, hours, "person")
    assert world.scheduler.extended == []
    return caught.value


async def test_the_scheduler_is_asked_and_the_door_hears_its_answer(world: World) -> None:
    before = await runs(world, 1)
    assert before.extend_hours == 7.0
    session = await world.extender.extend(ID, 2, "person")
    assert world.scheduler.extended == [(session.account, session.job, 180)]
    assert session.ends == before.ends  # only once the scheduler reports the new end
    await world.scheduler.answer()
    session = await world.until(extend_hours=5.0)
    assert before.ends is not None and session.ends == before.ends + timedelta(hours=2)
    assert "2 h longer" in session.log[-1].text
    assert await told(world, session.ends)
    world.door_says(phase="up", environment=True, ends=session.ends)
    world.doors.told_ends.clear()
    await world.scheduler.answer(3)
    assert await told(world)
    (entry,) = await world.ledger.audited("extend")
    assert (entry.person, entry.account, entry.job) == ("ada", session.account, session.job)
    assert "by person" in entry.detail


async def test_a_slow_scheduler_holds_up_nothing_else_of_the_session(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runs(world, 1)
    answers = asyncio.Event()

    async def slowly(*_: Any) -> Found:
        await answers.wait()
        return Found.OURS

    monkeypatch.setattr(world.scheduler, "extend", slowly)
    asking = asyncio.create_task(world.extender.extend(ID, 1, "person"))
    await world.comes(lambda: world.live_sessions[ID].extending.locked())
    await asyncio.wait_for(world.sessions.stop(ID, "person"), 30)
    assert (await world.session()).wish == "stop"
    answers.set()
    await asking


@pytest.mark.parametrize(("extend", "account"), [("watcher", None), ("account", "own")])
async def test_asks_as_whom_the_site_lets(
    tmp_path: Path, extend: Literal["account", "watcher"], account: str | None
) -> None:
    world = await World(tmp_path, extend=extend).up()
    session = await runs(world, 1)
    await world.extender.extend(ID, 1, "person")
    assert world.scheduler.extended[0][0] == (session.account if account else None)
    await world.down()


async def test_an_extension_is_not_offered_where_the_site_forbids_it(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    assert (await runs(world, 1)).extend_hours is None
    problem = await no(world)
    assert (problem.status, "cannot be made longer" in problem.problem.message) == (403, True)
    await world.down()


async def test_an_extension_never_exceeds_the_sizes_limit(world: World) -> None:
    await runs(world, 7.5)
    problem = await no(world, 1)
    assert (problem.status, problem.problem.field) == (400, "hours")
    assert "0.5 h more" in problem.problem.message
    await world.extender.extend(ID, 0.5, "person")
    await world.scheduler.answer()
    assert (await world.session()).extend_hours == 0.0
    world.scheduler.extended.clear()
    assert "all the time" in (await no(world, 0.1)).problem.message


async def test_an_extension_never_runs_into_a_maintenance_of_all_nodes(world: World) -> None:
    before = await runs(world, 1)
    assert before.ends is not None
    start = before.ends + timedelta(hours=2)
    shut = MaintenanceView(name="m", start=start, end=start + timedelta(hours=9), nodes=0, closes=("gpu",))
    other = shut.model_copy(update={"start": before.ends, "closes": ("cpu",)})
    world.scheduler.set(before.job or "", partition="gpu")
    world.scheduler.maintained = (other, shut)
    await world.scheduler.answer()
    assert (await world.session()).extend_hours == 2.0
    assert "2 h more" in (await no(world, 3)).problem.message


async def test_no_extension_at_a_paused_factory(world: World) -> None:
    await runs(world, 1)
    world.factories["one"].access_status.pause("We talk to the site.")
    problem = await no(world)
    assert (problem.status, problem.problem.message) == (503, "We talk to the site.")


async def test_only_running_sessions_can_be_extended(world: World) -> None:
    await world.put(size="gpu-1", hours=1)
    assert (await no(world)).status == 409
    await world.scheduler.answer()
    assert (await world.session()).extend_hours is None
    with pytest.raises(ProblemError, match="not known"):
        await world.extender.extend("f" * 32, 1, "person")


async def test_a_session_with_a_stop_request_cannot_be_extended(world: World) -> None:
    await runs(world, 1)
    world.scheduler.cancels_fail = 5
    await world.sessions.stop(ID, "person")
    assert (await no(world)).status == 409


async def test_the_schedulers_no_is_explained_and_kept_in_the_audit(world: World) -> None:
    await runs(world, 1)
    world.scheduler.refuses = "Access/permission denied for job 1"
    problem = await no(world)
    assert (problem.status, problem.problem.scheduler) == (400, "Access/permission denied for job 1")
    assert [entry.job for entry in await world.ledger.audited("extend-refused")] == ["1"]


async def test_an_extension_without_an_answer_stays_open(world: World) -> None:
    await runs(world, 1)
    world.scheduler.says_nothing = True
    assert (await no(world)).status == 503
    assert len(await world.ledger.audited("extend-doubtful")) == 1


async def test_an_end_moved_by_the_administrator_reaches_the_door_however_often_it_takes(world: World) -> None:
    session = await runs(world, 2)
    assert session.ends is not None
    earlier = session.ends - timedelta(hours=1)
    world.scheduler.set(session.job or "", ends=earlier)
    world.doors.new_end_fails = True
    await world.scheduler.answer()
    await world.until(ends=earlier)
    assert await told(world, earlier)
    world.doors.new_end_fails = False
    await world.scheduler.answer()
    assert await told(world, earlier, earlier)
    world.door_is_lost()
    await world.scheduler.answer()
    assert await told(world, earlier, earlier)  # no door is connected
    world.door_says(phase="up", environment=True, ends=session.ends)  # as a restarted link finds it
    assert await told(world, earlier, earlier, earlier)


async def test_a_notice_is_shown_while_it_runs(world: World) -> None:
    session = await runs(world, 1)
    notice = Notice(kind="walltime", at=datetime.now(UTC) + timedelta(minutes=15), minutes=15)
    world.door_says(phase="up", environment=True, ends=session.ends, notice=notice)
    assert (await world.session()).notice == notice
    world.door_says(phase="ending", environment=True, ends=session.ends, notice=None)
    assert (await world.until(state="ending")).notice is None
