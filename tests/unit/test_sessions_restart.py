"""A link that is killed at the worst moment, a lost or old ledger, and jobs that only look like ours."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factorycommon.models import Choice, JobOptions, JobState, ResolvedChoice
from factorylink.errors import Unreachable
from factorylink.ledger.schema import SessionRecord
from tests.unit import fake_factory
from tests.unit.fake_factory import ID, INSTEAD, OTHER, FakeDoors, World

CHOICE = ResolvedChoice(factory="one", size="gpu-1", environment="plain", hours=1, idle_minutes=60, unopened_minutes=30)


def row(world: World, **values: object) -> SessionRecord:
    made = SessionRecord(
        id=ID,
        user="ada",
        server="",
        factory="one",
        account="a",
        choice=CHOICE,
        options=JobOptions(),
        port=20000,
        created=datetime.now(UTC),
    )
    for name, value in values.items():
        setattr(made, name, value)
    return made


async def left_by_a_killed_link(world: World, **values: object) -> None:
    await world.up()
    made = row(world, **values)
    await world.ledger.add(made, world.audit.of_session(made, "ask"))
    await world.down()


async def test_killed_between_intent_and_submission(tmp_path: Path) -> None:
    world = World(tmp_path)
    await left_by_a_killed_link(world)
    await world.up()
    await world.scheduler.answer()
    assert (await world.until(job="1")).state == "pending"
    assert (await world.put()).job == "1"
    assert len(world.scheduler.submitted) == 1
    await world.down()


async def test_killed_between_submission_and_its_record(tmp_path: Path) -> None:
    world = World(tmp_path)
    await left_by_a_killed_link(world, submits=1, submit_begun=datetime.now(UTC))
    job = world.scheduler.add("a", world.identity.job_name, world.identity.comment(ID, "a", "one"))
    await world.up()
    await world.put()  # the hub repeats the request at once
    await world.scheduler.answer(3)
    assert (await world.session()).job == job
    assert not world.scheduler.submitted
    await world.down()


async def test_a_submission_without_an_answer_is_repeated_later(tmp_path: Path) -> None:
    world = World(tmp_path)
    await left_by_a_killed_link(world, submits=1, submit_begun=datetime.now(UTC))
    await world.up()
    await world.scheduler.answer(4)
    await asyncio.sleep(0.02)
    assert not world.scheduler.submitted  # the submission may still arrive
    world.live_sessions[ID].record.submit_begun = datetime.now(UTC) - timedelta(minutes=2)
    assert (await world.answered_until(job="1")).wish == "run"
    late = world.scheduler.add("a", world.identity.job_name, world.identity.comment(ID, "a", "one"))
    await world.scheduler.answer()
    assert world.scheduler.cancelled == [late]  # it was ours: there were two submissions
    assert (await world.session()).job == "1"
    await world.down()


async def test_a_running_session_is_there_again_at_once(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    session = await world.running()
    await world.down()
    world.scheduler.up = False  # the scheduler does not answer
    await world.up()
    assert world.doors.bound == {ID: int(str(session.url).rsplit(":", 1)[1])}
    await world.comes(lambda: world.doors.kept_open == [ID])
    world.door_says(phase="up", environment=True)
    assert (await world.session()).reachable
    await world.down()


async def test_a_link_that_starts_before_its_factory_answers_opens_the_doors_later(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    await world.running()
    await world.down()
    world.home.fails = Unreachable("no answer")
    await world.up()
    await asyncio.sleep(0.01)
    assert not world.doors.kept_open
    world.home.fails = None
    await world.scheduler.answer()
    await world.comes(lambda: world.doors.kept_open == [ID])
    await world.down()


async def test_a_stop_request_survives_a_restart_of_the_link(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    await world.put()
    world.scheduler.cancels_fail = 100
    await world.sessions.stop(ID, "person")
    await world.down()
    world.scheduler.cancels_fail = 0
    await world.up()
    await world.scheduler.answer()
    await world.comes(lambda: world.scheduler.cancelled == ["1"])
    await world.down()


async def test_a_lost_ledger_is_rebuilt_from_the_jobs(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    await world.running(server="second", hours=2)
    await world.put(OTHER, user="ben")
    await world.down()
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    await world.up()
    await world.scheduler.answer(2)  # restored after the first answer, and followed from the next one
    session = await world.until(state="starting")
    assert (session.user, session.server, session.choice.hours, session.job) == ("ada", "second", 2, "1")
    assert (await world.session(OTHER)).job == "2"
    assert not world.scheduler.cancelled
    await world.down()


async def test_a_session_without_a_port_does_not_disturb_the_others(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    await world.running()
    await world.put(OTHER, user="ben")
    await world.down()
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    doors = FakeDoors(taken={20001})  # the port of the newer session, which is restored first
    await world.up(doors)
    await world.scheduler.answer(2)
    await world.until(state="starting")
    assert OTHER not in doors.bound
    assert not world.scheduler.cancelled
    await world.down()


async def test_a_forged_note_is_not_believed(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    session = await world.put()
    await world.down()
    path = f"/home/{session.account}/.factorygate/sessions/{ID}/session.json"
    world.home.files[path] = world.home.files[path].replace(b'"ada"', b'"eve"')
    for file in tmp_path.glob("ledger.sqlite*"):
        file.unlink()
    await world.up()
    await world.scheduler.answer()
    assert not world.live_sessions
    assert not world.scheduler.cancelled
    await world.down()


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING])
async def test_a_copied_comment_changes_nothing(tmp_path: Path, state: JobState) -> None:
    world = await World(tmp_path).up()
    session = await world.put()
    comment = world.scheduler.submitted[0].comment
    other = "b" if session.account == "a" else "a"
    world.scheduler.add(other, world.identity.job_name, comment, state)  # another account
    world.scheduler.add(session.account, world.identity.job_name, comment, state)  # a second job of the same account
    world.scheduler.add(session.account, "mine", comment, state)
    await world.scheduler.answer(3)
    assert (await world.session()).job == "1"
    assert not world.scheduler.cancelled
    assert len(world.live_sessions) == 1
    await world.down()


async def test_a_job_that_arrives_after_its_session_was_given_up(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    world.scheduler.says_nothing = True
    from factorycommon.models import SessionRequest
    from factorylink.problems import ProblemError

    with pytest.raises(ProblemError):
        await world.sessions.put(ID, SessionRequest(user="ada", choice=Choice()))
    session = await world.session()
    world.live_sessions[ID].record.submit_begun = datetime.now(UTC) - timedelta(minutes=2)
    await world.answered_until(state="ended")
    late = world.scheduler.add(
        session.account, world.identity.job_name, world.identity.comment(ID, session.account, "one")
    )
    await world.scheduler.answer()
    await world.comes(lambda: world.scheduler.cancelled == [late])
    await world.answered_until(state="ended")
    await world.down()


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose only item is the time of the link's monotonic clock; tests change the item."""
    now = [0.0]
    monkeypatch.setattr("factorylink.util.clock.ticks", lambda: now[0])
    return now


def lose_ledger(folder: Path) -> None:
    for path in folder.glob("ledger.sqlite*"):
        path.unlink()


async def test_a_job_whose_session_ended_is_cancelled_after_a_grace(tmp_path: Path, ticks: list[float]) -> None:
    world = await World(tmp_path).up()
    await world.running()
    job = world.scheduler.jobs_there.pop("1")
    await world.answered_until(state="ended")
    world.scheduler.jobs_there["1"] = job  # an administrator requeued it
    for now in (0.0, 300.0, 599.0):
        ticks[0] = now
        await world.scheduler.answer()
    assert not world.scheduler.cancelled
    ticks[0] = 601.0
    await world.scheduler.answer()
    assert world.scheduler.cancelled == ["1"]
    (entry,) = await world.ledger.audited("cancel-orphan")
    assert (entry.person, entry.job, entry.account) == ("ada", "1", job.account)
    await world.down()


async def test_an_orphan_that_its_account_no_longer_has_begins_a_new_grace(tmp_path: Path, ticks: list[float]) -> None:
    """The factory shows each account only its own jobs."""
    world = await World(tmp_path).up()
    await world.running()
    job = world.scheduler.jobs_there.pop("1")
    await world.answered_until(state="ended")
    world.scheduler.jobs_there["1"] = job
    await world.scheduler.answer(account=job.account)
    await world.scheduler.answer(account="another")  # says nothing about the job
    del world.scheduler.jobs_there["1"]
    await world.scheduler.answer(account=job.account)
    ticks[0] = 601.0
    world.scheduler.jobs_there["1"] = job  # with the same id, after the scheduler has lost its state
    await world.scheduler.answer(account=job.account)
    assert not world.scheduler.cancelled
    ticks[0] = 1202.0
    await world.scheduler.answer(account="another")
    await world.scheduler.answer(account=job.account)
    assert world.scheduler.cancelled == ["1"]
    await world.down()


async def test_a_job_without_row_and_note_is_cancelled_after_a_grace(tmp_path: Path, ticks: list[float]) -> None:
    world = await World(tmp_path).up()
    await world.put()
    await world.down()
    lose_ledger(tmp_path)
    world.home.files.clear()
    await world.up()
    await world.scheduler.answer()
    ticks[0] = 601.0
    await world.scheduler.answer()
    assert world.scheduler.cancelled == ["1"]
    assert [entry.job for entry in await world.ledger.audited("cancel-orphan")] == ["1"]
    await world.down()


async def test_a_note_that_cannot_be_read_makes_no_orphan(tmp_path: Path, ticks: list[float]) -> None:
    world = await World(tmp_path).up()
    await world.put()
    await world.down()
    lose_ledger(tmp_path)
    world.home.fails = Unreachable("no answer")
    await world.up()
    for now in (0.0, 700.0, 1400.0):
        ticks[0] = now
        await world.scheduler.answer()
    assert not world.scheduler.cancelled
    world.home.fails = None
    await world.scheduler.answer()
    assert (await world.session()).job == "1"
    await world.down()


async def test_a_note_found_within_the_grace_saves_the_session(tmp_path: Path, ticks: list[float]) -> None:
    world = await World(tmp_path).up()
    await world.put()
    await world.down()
    lose_ledger(tmp_path)
    files, world.home.files = world.home.files, {}  # the file system is not mounted
    await world.up()
    await world.scheduler.answer()
    world.home.files = files
    ticks[0] = 601.0
    await world.scheduler.answer()
    assert not world.scheduler.cancelled
    assert (await world.session()).job == "1"
    await world.down()


async def test_a_session_of_a_size_that_is_offered_no_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    await left_by_a_killed_link(world)
    monkeypatch.setattr(fake_factory, "SIZE", INSTEAD)
    await world.up()
    session = await world.answered_until(state="ended")
    assert session.end_reason == "refused"
    assert session.end is not None
    assert "gpu-1" in session.end.scheduler
    await world.down()
