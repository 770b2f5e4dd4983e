"""A session from the request to its end, with a scripted scheduler."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio

from factorycommon.models import End, EndReason, JobState, MaintenanceView, Outcome, ReservationView
from factorylink.doors.carriers import Route
from factorylink.problems import ProblemError
from factorylink.schedulers.command import Command
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.sessions import termination
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.site import Site
from factorylink.state import live_session as live_module
from factorylink.util import clock
from tests.unit.fake_factory import ID, OTHER, FakeDoors, FakeHome, World, factory


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await World(tmp_path).up()
    yield made
    await made.down()


async def problem(world: World, *args: str, **choice: str) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        await world.put(*args, **choice)
    return caught.value


async def test_from_the_queue_to_the_notebook_and_its_end(world: World) -> None:
    session = await world.put(size="gpu-1", hours=1)
    assert (session.state, session.job, session.wish) == ("pending", "1", "run")
    request = world.scheduler.submitted[0]
    assert request.name == "factorygate-hub"
    assert request.comment.startswith(f"fg:{ID}:")
    assert request.command[:4] == ("/opt/venv/bin/python", "-P", "-m", "factorygate.session")
    assert "session.json" in " ".join(world.home.files)

    await world.scheduler.answer()
    assert (await world.session()).position == 1
    world.scheduler.runs("1", "n7")
    await world.scheduler.answer()
    session = await world.until(state="starting", node="n7")
    assert not session.reachable
    await world.comes(lambda: bool(world.doors.kept_open))
    assert (world.doors.kept_open, world.doors.nodes) == ([ID], ["n7"])

    world.door_says(phase="waiting")
    assert (await world.until(door_open=True)).environment_sent is False
    await world.sessions.send_environment(ID, {"JUPYTERHUB_API_TOKEN": "secret-token"}, ["jupyterhub-singleuser"])
    assert (await world.session()).environment_sent  # before the door's next status, so that it is sent once
    world.door_says(phase="up", environment=True)
    session = await world.until(state="running")
    assert session.reachable
    assert session.url == f"http://127.0.0.1:{world.doors.bound[ID]}"

    folder = f"/home/{session.account}/.factorygate/sessions/{ID}"
    world.home.files[f"{folder}/end.json"] = json.dumps({"reason": "idle", "message": "Idle."}).encode()
    world.home.files[f"{folder}/job.log"] = b"one\ntwo\n"
    world.scheduler.jobs_there.clear()
    await world.scheduler.answer()
    assert (await world.session()).state == "running"  # a single answer that lacks the job is not enough
    await world.scheduler.answer()
    session = await world.until(state="ended")
    assert session.end_reason == EndReason.IDLE
    assert session.log_tail == ("one", "two")
    assert ID in world.doors.closed
    everything = b"".join(path.read_bytes() for path in world.folder.glob("ledger.sqlite*"))
    assert b"secret-token" not in everything


@pytest.mark.parametrize(
    ("left", "reason", "tail"),
    [
        ({"end.json": b'{"reason": "idle"}'}, EndReason.IDLE, ()),
        ({"job.log": b"the last words"}, EndReason.FAILED, ("the last words",)),
    ],
)
async def test_files_of_an_ended_session_are_read_though_some_are_missing(
    world: World, left: dict[str, bytes], reason: EndReason, tail: tuple[str, ...]
) -> None:
    session = await world.running()
    for name, content in left.items():
        world.home.files[f"/home/{session.account}/.factorygate/sessions/{ID}/{name}"] = content
    world.scheduler.jobs_there.clear()
    await world.scheduler.answer()
    await world.scheduler.answer()
    session = await world.until(state="ended")
    assert (session.end_reason, session.log_tail) == (reason, tail)


async def test_the_same_request_twice_makes_one_job(world: World) -> None:
    world.scheduler.silent_seconds = 0.05
    first, second = await asyncio.gather(world.put(), world.put())
    third = await world.put()
    assert first.job == second.job == third.job == "1"
    assert len(world.scheduler.submitted) == 1


async def test_an_answer_while_a_session_is_being_made_is_no_second_job(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = world.doors.bind

    async def bind_while_the_factory_answers(session_id: str, port: int) -> None:
        world.doors.bind = bind  # type: ignore[method-assign]
        await bind(session_id, port)
        await world.scheduler.answer()

    monkeypatch.setattr(world.doors, "bind", bind_while_the_factory_answers)
    await world.put()
    await world.scheduler.answer()
    assert len(world.scheduler.submitted) == 1


async def test_two_sessions_of_one_server_are_refused(world: World) -> None:
    await world.put()
    error = await problem(world, OTHER)
    assert (error.status, error.problem.kind) == (409, "conflict")
    assert ID in error.problem.message
    assert (await world.put(OTHER, server="second")).job == "2"


async def test_another_persons_session_id_is_refused(world: World) -> None:
    await world.put()
    assert (await problem(world, ID, "eve")).status == 409


async def test_a_refused_session_leaves_nothing(world: World) -> None:
    world.scheduler.refuses = "sbatch: error: Batch job submission failed: Invalid account"
    error = await problem(world)
    assert error.status == 400
    assert "Invalid account" in error.problem.scheduler + error.problem.message
    assert not world.live_sessions
    assert (await problem(world)).status == 400  # the answer was lost, and the request is repeated
    world.scheduler.refuses = ""
    assert (await world.put(OTHER)).job == "1"


async def test_an_unknown_size_is_named_with_the_allowed(world: World) -> None:
    error = await problem(world, size="huge")
    assert (error.status, error.problem.field) == (400, "size")
    assert "gpu-1" in error.problem.message
    assert "one" in (await problem(world, factory="two")).problem.message


async def test_a_slow_submission_is_answered_as_pending(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factorylink.sessions.submission.ANSWER_SECONDS", 0.02)
    world.scheduler.speaks.clear()
    session = await world.put()
    assert (session.state, session.job) == ("pending", None)
    world.scheduler.speaks.set()
    await world.until(job="1")


async def test_unreachable_before_anything_was_sent(world: World) -> None:
    world.scheduler.up = False
    assert (await problem(world)).status == 503
    assert not world.live_sessions


async def test_a_doubtful_submission_is_answered_503_and_its_job_cancelled(world: World) -> None:
    world.scheduler.takes_and_says_nothing = True
    assert (await problem(world)).status == 503
    assert (await problem(world)).status == 503  # the same answer again if the first one was lost
    world.scheduler.takes_and_says_nothing = False
    assert (await world.put(OTHER)).job == "2"  # a new request does not wait for the old one
    await world.scheduler.answer()
    await world.comes(lambda: world.scheduler.cancelled == ["1"])
    await world.scheduler.answer(2)
    assert (await world.until(state="ended")).end_reason == EndReason.REFUSED


async def test_a_session_whose_submission_was_answered_503_is_shown_as_over_at_once(world: World) -> None:
    """If its job still appears, it is cancelled; nobody waits for that."""
    world.scheduler.takes_and_says_nothing = True
    assert (await problem(world)).status == 503
    assert world.views.live("ada") == []
    session = await world.session()
    assert (session.state, session.end_reason) == ("ended", EndReason.REFUSED)
    assert session.end is not None
    assert session.end.code == "not-taken"
    assert session.ended is not None
    assert world.live_sessions[ID].record.ended is None
    world.scheduler.takes_and_says_nothing = False
    assert (await world.put(OTHER)).state == "pending"
    assert [one.id for one in world.views.live("ada")] == [OTHER]


async def up(world: World) -> None:
    """Start a session, and wait until its notebook answers."""
    await world.put()
    world.scheduler.runs("1", "n7")
    await world.scheduler.answer()
    await world.comes(lambda: bool(world.doors.kept_open))
    world.door_says(phase="up", environment=True)
    await world.until(state="running")


async def test_a_suspended_session_says_that_the_site_suspended_it(world: World) -> None:
    await up(world)
    world.scheduler.set("1", suspended=True, raw_state="SUSPENDED")
    await world.scheduler.answer()
    session = await world.until(state="unreachable", before="running", reachable=False)
    assert session.waits_for is not None
    assert (session.waits_for.code, session.waits_for.scheduler) == ("suspended", "SUSPENDED")
    world.scheduler.set("1", suspended=False, raw_state="RUNNING")
    await world.scheduler.answer()
    session = await world.until(state="running", reachable=True)
    assert session.waits_for is None


async def test_a_session_that_is_suspended_while_it_starts_has_its_time_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("factorylink.util.clock.ticks", lambda: now)
    world = await World(tmp_path, starting_seconds=60).up()
    await world.put()
    world.scheduler.runs("1", "n7")
    await world.scheduler.answer()
    await world.comes(lambda: bool(world.doors.kept_open))
    world.door_says(phase="waiting", environment=True)
    await world.until(state="starting")
    world.live_sessions[ID].environment_at = now
    world.scheduler.set("1", suspended=True, raw_state="S")
    await world.scheduler.answer()
    now += 3600
    await world.scheduler.answer()
    assert (await world.session()).before == "starting"
    world.scheduler.set("1", suspended=False, raw_state="R")
    await world.scheduler.answer()
    assert (await world.session()).state == "starting"
    now += 61
    await world.scheduler.answer()
    assert (await world.session()).state == "ending"
    await world.down()


async def test_a_job_that_the_scheduler_ignores_has_its_own_explanation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("factorylink.util.clock.ticks", lambda: now)
    await world.put()
    world.scheduler.set("1", reason="", raw_state="Q")
    await world.scheduler.answer()
    assert await why(world) == ("new", "wait")
    now += 301
    assert await why(world) == ("unlooked", "site")
    world.scheduler.set("1", reason="Resources")
    await world.scheduler.answer()
    assert await why(world) == ("resources", "wait")


async def why(world: World) -> tuple[str, str]:
    words = (await world.session()).waits_for
    assert words is not None
    return words.code, words.whose


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("", "nodes-out"),
        ("Not Running: Not enough free nodes available", "nodes-out"),  # OpenPBS, with all nodes offline
        ("Resources", "nodes-out"),
        ("Hold_Types=u", "held-user"),
        ("QOSMaxJobsPerUserLimit", "own-jobs"),
    ],
)
async def test_nodes_out_of_service_replace_the_schedulers_reason(world: World, reason: str, code: str) -> None:
    await world.put()
    world.scheduler.set("1", reason=reason, partition="gpu")
    await world.scheduler.answer()
    before = await why(world)
    world.scheduler.out = {"gpu"}
    assert (await why(world))[0] == code
    world.scheduler.out = set()
    assert await why(world) == before


async def test_a_persons_limits_of_sessions_are_enforced(tmp_path: Path) -> None:
    world = await World(tmp_path, pending_per_person=1).up()
    await world.put()
    error = await problem(world, OTHER, "ada", "second")
    assert (error.status, error.problem.kind, error.problem.code) == (403, "limit", "limit-pending")
    assert (await world.put("1" * 32, "ben")).job == "2"
    await world.down()


async def test_a_draining_factory_takes_nothing_new(world: World) -> None:
    await world.put()
    world.factories.drains["one"] = "Maintenance until noon."
    error = await problem(world, OTHER, "ben")
    assert (error.status, error.problem.message) == (503, "Maintenance until noon.")
    assert (await world.session()).state == "pending"


async def test_a_reservation_is_for_those_who_are_offered_it(world: World) -> None:
    error = await problem(world, reservation="course")
    assert (error.status, error.problem.field) == (400, "reservation")
    assert "not yours to use" in error.problem.message
    course = ReservationView(id="course", name="Course", end=datetime.now(UTC) + timedelta(hours=1))
    world.scheduler.reserved = {((await world.put(OTHER, "ben")).account, None): (course,)}
    await world.put(reservation="course")
    assert [asked.reservation for asked in world.scheduler.submitted] == [None, "course"]
    found = await world.parts.admission._last("ada", "")  # the choice would be over by another day
    assert found is not None
    assert (found[1].size, found[1].reservation) == ("gpu-1", None)


async def test_a_session_that_waits_for_a_maintenance_says_until_when(world: World) -> None:
    now = datetime.now(UTC)
    coming = MaintenanceView(
        name="m", start=now + timedelta(hours=2), end=now + timedelta(hours=3), nodes=1, closes=("gpu",)
    )
    world.scheduler.maintained = (coming,)
    for id, user, hours in ((ID, "ada", 3), (OTHER, "ben", 1)):
        await world.put(id, user, hours=hours)
    for id, job in world.scheduler.jobs_there.items():
        reason = "Not Running: Job would conflict with reservation or top job"
        world.scheduler.jobs_there[id] = job.model_copy(update={"reason": reason, "partition": "gpu"})
    await world.scheduler.answer()
    into, before = await world.session(ID), await world.session(OTHER)
    assert into.waits_for is not None
    assert before.waits_for is not None
    assert (into.waits_for.code, before.waits_for.code) == ("maintenance", "reservation-or-job")
    assert f"{coming.start:%Y-%m-%d %H:%M}" in into.waits_for.what


async def test_hours_until_a_moment(world: World) -> None:
    session = await world.put(until=(datetime.now(UTC) + timedelta(minutes=30)).isoformat())
    assert 0.45 < session.choice.hours <= 0.5
    assert 1620 < world.scheduler.submitted[0].walltime <= 1800
    error = await problem(world, OTHER, "ben", until=(datetime.now(UTC) - timedelta(minutes=1)).isoformat())
    assert (error.status, error.problem.field) == (400, "until")


async def test_the_page_is_told_of_maintenances_and_reservations(world: World) -> None:
    (before,) = world.offers.views("ada")
    assert (before.maintenance, before.reservations, before.sizes[0].fits_until) == ((), (), None)
    now = datetime.now(UTC)
    coming = MaintenanceView(
        name="m", start=now + timedelta(hours=1), end=now + timedelta(hours=2), nodes=1, closes=("gpu",)
    )
    account = (await world.put()).account
    world.scheduler.maintained = (coming,)
    world.scheduler.reserved = {(account, None): (ReservationView(id="r", name="r", end=now),)}
    (view,) = world.offers.views("ada")
    assert (view.maintenance, [one.id for one in view.reservations]) == ((coming,), ["r"])
    assert (view.sizes[0].fits_until, view.largest_now) == (coming.start, "gpu-1")


async def test_stop_while_it_waits(world: World) -> None:
    await world.put()
    await world.sessions.stop(ID, "person")
    assert (await world.session()).wish == "stop"
    world.scheduler.cancels_fail = 1
    await world.scheduler.answer()
    await world.comes(lambda: bool(world.scheduler.cancelled))
    await world.scheduler.answer(2)
    ended = await world.until(state="ended")
    assert ended.end_reason == EndReason.STOPPED
    assert ended.end is not None
    assert ended.end.what == "The request was cancelled at this gateway. You are not charged."
    assert set(world.scheduler.cancelled) == {"1"}


@pytest.mark.parametrize(("by", "code"), [("hub", "withdrawn-starting"), ("operator", "withdrawn-operator")])
async def test_stop_before_jupyter_answered(world: World, by: Literal["hub", "operator"], code: str) -> None:
    await world.put()
    world.scheduler.runs("1", "n1")
    await world.scheduler.answer()
    await world.until(state="starting")
    await world.sessions.stop(ID, by)
    await world.comes(lambda: bool(world.scheduler.cancelled))
    await world.scheduler.answer(2)
    ended = await world.until(state="ended")
    assert ended.end is not None
    assert ended.end.code == code


async def test_stop_asks_the_notebook_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factorylink.sessions.termination._POLITE_SECONDS", 0.05)
    await world.running()
    await world.sessions.stop(ID, "hub")
    await world.comes(lambda: bool(world.scheduler.cancelled))
    assert world.doors.asked_to_stop == [ID]
    assert world.scheduler.cancelled == ["1"]


async def test_stop_while_the_submission_is_under_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factorylink.sessions.submission.ANSWER_SECONDS", 0.02)
    world.scheduler.speaks.clear()
    assert (await world.put()).job is None
    await world.sessions.stop(ID, "person")
    assert world.scheduler.submitted == []
    world.scheduler.speaks.set()
    await world.comes(lambda: bool(world.scheduler.cancelled))
    assert world.scheduler.cancelled == ["1"]


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        ("The name n7 does not resolve on this machine (Name or service not known).", "node-name"),
        ("n7 port 30001: Name or service not known", "node-name"),  # as a site's sshd reports it
        ("n7 port 30001: the site's login host forbids to forward connections to its nodes.", "carrier-refused"),
        ("n7 port 30001: Connection refused", None),  # the door is not open yet
    ],
)
async def test_an_unreachable_door_is_explained_while_the_session_starts(
    world: World, trouble: str, code: str | None
) -> None:
    await world.put()
    world.scheduler.runs("1", "n7")
    await world.scheduler.answer()
    assert (await world.until(state="starting")).waits_for is None
    world.doors.trouble = trouble
    session = await world.session()
    assert session.state == "starting"
    assert (session.waits_for and session.waits_for.code) == code
    world.doors.trouble = ""
    world.door_says(phase="up", environment=True)
    assert (await world.until(state="running")).waits_for is None


async def test_requeue_is_followed(world: World) -> None:
    await world.running()
    world.scheduler.set("1", state=JobState.PENDING, nodes=(), started=None, restarts=1)
    await world.scheduler.answer()
    session = await world.until(state="pending")
    assert (session.node, session.ready, session.door_open) == (None, None, False)
    assert session.url == f"http://127.0.0.1:{world.doors.bound[ID]}"  # the proxy's route stays valid
    world.scheduler.runs("1", "n2", restarts=1)
    await world.scheduler.answer()
    await world.until(state="starting", node="n2")
    world.door_says(phase="up", environment=True)
    await world.until(state="running")


async def test_the_ledger_keeps_when_a_session_was_first_opened(world: World) -> None:
    await world.running()
    record = world.live_sessions[ID].record
    before, said = clock.now(), {"phase": "up", "environment": True, "opened": True}
    assert record.opened is None
    world.door_says(**said)
    await world.comes(lambda: record.opened is not None)
    first = record.opened
    assert first is not None and before <= first <= clock.now()
    world.door_says(**said, last_activity=clock.now())
    await world.comes(lambda: record.last_activity is not None)
    assert record.opened == first
    stored = await world.ledger.record(ID)
    assert stored is not None and stored.opened == first
    world.scheduler.set("1", state=JobState.PENDING, nodes=(), started=None, restarts=1)
    await world.scheduler.answer()
    await world.until(state="pending")
    assert record.opened is None  # the next run has another notebook


async def test_a_requeue_between_two_answers_is_seen(world: World) -> None:
    await world.running()
    world.scheduler.runs("1", "n2", restarts=1)
    await world.scheduler.answer()
    assert (await world.until(state="starting", node="n2")).ready is None


async def test_unreachable_is_never_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.running()
    world.scheduler.up = False
    session = await world.session()
    assert (session.state, session.before, session.reachable) == ("unreachable", "running", True)
    assert session.waits_for is not None
    world.scheduler.up = True
    assert (await world.session()).state == "running"
    world.door_is_lost()
    assert (await world.session()).reachable is False
    monkeypatch.setattr(live_module, "LOST_SECONDS", -1)
    assert (await world.session()).state == "unreachable"


async def test_why_is_asked_until_it_is_known(world: World) -> None:
    await world.running()
    world.scheduler.jobs_there.clear()
    world.scheduler.no_records = True
    await world.scheduler.answer(3)
    await asyncio.sleep(0.02)
    assert (await world.session()).state != "ended"
    world.scheduler.no_records = False
    world.scheduler.records["1"] = End(job="1", outcome=Outcome.OUT_OF_MEMORY, raw_state="OUT_OF_MEMORY")
    await world.scheduler.answer()
    assert (await world.until(state="ended")).end_reason == EndReason.OUT_OF_MEMORY


async def test_a_silent_accounting_is_not_waited_for_forever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(termination, "_ASK_SECONDS", 0.0)
    await world.running()
    world.scheduler.jobs_there.clear()
    world.scheduler.no_records = True
    await world.scheduler.answer(2)
    session = await world.until(state="ended")
    assert session.end is not None
    assert session.end.code == "gone"


async def test_a_job_requeued_during_the_search_for_its_end_goes_on(world: World) -> None:
    """Finding the reason takes time, and the scheduler's newer answer counts."""
    await world.running()
    job = world.scheduler.jobs_there.pop("1")
    looked_at, over = asyncio.Event(), asyncio.Event()

    async def why_ended(_account: str, _job: str) -> None:
        looked_at.set()
        await over.wait()

    world.scheduler.why_ended = why_ended  # type: ignore[method-assign]
    await world.scheduler.answer(2)
    await looked_at.wait()
    bind = world.doors.bind

    async def slowly(session_id: str, port: int) -> None:
        over.set()
        for _ in range(20):  # the search for the reason finishes during these
            await asyncio.sleep(0)
        await bind(session_id, port)

    world.doors.bind = slowly  # type: ignore[method-assign]
    world.scheduler.jobs_there["1"] = job.model_copy(update={"state": JobState.PENDING, "restarts": 1})
    await world.scheduler.answer()
    session = await world.until(state="pending")
    assert (session.job, session.ended) == ("1", None)
    assert ID in world.live_sessions


async def test_a_port_that_was_taken_is_had_once_it_is_free(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    session = await world.running()
    assert session.url is not None
    port = int(session.url.rpartition(":")[2])
    await world.down()
    doors = FakeDoors(taken={port})
    await world.up(doors)
    await world.scheduler.answer()
    assert ID not in doors.bound
    doors.taken.clear()
    await world.scheduler.answer()
    assert doors.bound[ID] == port
    await world.down()


async def test_a_session_is_given_up_at_the_persons_time(world: World) -> None:
    await world.put(give_up_hours=1e-9)  # 4 us, which have passed
    await world.scheduler.answer()
    await world.comes(lambda: bool(world.scheduler.cancelled))
    await world.scheduler.answer(2)
    assert (await world.until(state="ended")).end_reason == EndReason.GAVE_UP


@pytest.mark.parametrize("sent", [True, False])
async def test_a_notebook_that_does_not_come_up_is_ended(world: World, sent: bool) -> None:
    session = await world.put()
    assert session.job is not None
    limits, long_ago = world.config.limits, timedelta(minutes=1)
    allowed = timedelta(seconds=limits.starting_seconds + limits.environment_wait_seconds)
    world.scheduler.runs(session.job)
    if not sent:  # then the wait for the environment counts, too, since the door limits it
        world.scheduler.set(session.job, started=datetime.now(UTC) - allowed + long_ago)
    await world.scheduler.answer()
    if sent:
        world.door_says(phase="launching", environment=True)
    await world.scheduler.answer()
    assert (await world.until(state="starting")).wish == "run"
    live = world.live_sessions[ID]
    if sent:
        assert live.environment_at is not None
        live.environment_at -= limits.starting_seconds
    else:
        live.record.started = datetime.now(UTC) - allowed - long_ago
    await world.scheduler.answer()
    await world.comes(lambda: bool(world.scheduler.cancelled))
    await world.scheduler.answer(2)
    assert (await world.until(state="ended")).end_reason == EndReason.NEVER_OPENED_DOOR


async def test_an_empty_choice_repeats_the_server_s_last(world: World) -> None:
    await world.put(hours=3)
    await world.sessions.stop(ID, "person")
    assert (await world.put(OTHER)).choice.hours == 3
    assert (await world.put("1" * 32, "ben")).choice.hours == 1


async def test_the_environment_needs_an_open_door(world: World) -> None:
    await world.put()
    with pytest.raises(ProblemError) as caught:
        await world.sessions.send_environment(ID, {}, [])
    assert caught.value.status == 409


async def test_a_node_that_is_reported_late_is_noted(world: World) -> None:
    await world.put()
    world.scheduler.runs("1")
    world.scheduler.set("1", nodes=())
    await world.scheduler.answer()
    assert (await world.until(state="starting")).node is None
    world.scheduler.runs("1", "n7")
    await world.scheduler.answer()
    await world.until(node="n7")
    await world.comes(lambda: len(world.doors.nodes) == 2)
    assert world.doors.nodes == [None, "n7"]


async def test_a_node_reported_during_the_search_for_the_door_is_used(world: World) -> None:
    opens, begun, may_end = world.doors.open, asyncio.Event(), asyncio.Event()

    async def slowly(way: Route) -> None:
        begun.set()
        await may_end.wait()
        await opens(way)

    world.doors.open = slowly  # type: ignore[method-assign]
    await world.put()
    world.scheduler.runs("1")
    world.scheduler.set("1", nodes=())
    await world.scheduler.answer()
    await begun.wait()
    world.doors.open = opens  # type: ignore[method-assign]
    world.scheduler.runs("1", "n7")
    await world.scheduler.answer()
    await world.until(node="n7")
    may_end.set()
    await world.comes(lambda: world.doors.nodes == [None])
    await world.scheduler.answer()
    await world.comes(lambda: world.doors.nodes == [None, "n7"])


async def test_a_factory_that_hangs_holds_up_nobody_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport of one factory does not answer; sessions at the other one start in normal time, and requests
    to it are answered."""
    hanging = HangingTransport()
    slow = Site(factory("slow"), world.config.factories["one"], hanging, slurm, "hub")
    place = FactoryConnection(factory("slow"), world.config.factories["one"], slow, hanging, None, slurm)
    world.factories.offered = {**world.factories, "slow": place}
    await slow.start()
    try:
        for number in range(3):
            with monkeypatch.context() as patch:
                patch.setattr("factorylink.sessions.submission.ANSWER_SECONDS", 1.5)
                session = await world.put(f"{number:032x}", server=f"s{number}", factory="slow")  # for an hour
            assert (session.state, session.job) == ("pending", None)
            await world.running(f"{number + 10:032x}", server=f"o{number}", factory="one")
        await world.sessions.stop(f"{0:032x}", "person")  # answered, though the stop cannot be carried out
        assert hanging.asked
    finally:
        await slow.stop()


class HangingTransport(FakeHome):
    async def run(self, ask: Command[Any], account: str | None = None) -> Any:
        self.asked.append(ask.argv)
        await asyncio.sleep(3600)


async def test_a_session_may_end_while_its_environment_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.put()
    world.scheduler.runs("1")
    await world.scheduler.answer()
    world.door_says(phase="waiting")

    async def send(session_id: str, environment: object, argv: object) -> None:
        del world.scheduler.jobs_there["1"]
        await world.answered_until(state="ended")

    monkeypatch.setattr(world.doors, "send_environment", send)
    await world.sessions.send_environment(ID, {}, [])


async def test_a_port_that_is_taken_at_a_requeue_holds_up_no_other_session(world: World) -> None:
    await world.running()
    await world.put(OTHER, server="other")
    await world.scheduler.answer()
    world.doors.taken.add(world.doors.bound[ID])
    world.scheduler.set("1", state=JobState.PENDING, nodes=(), started=None, restarts=1)
    del world.scheduler.jobs_there["2"]
    await world.scheduler.answer(2)
    await world.until(OTHER, state="ended")
    world.scheduler.runs("1", "n2", restarts=1)
    world.doors.taken.clear()
    await world.scheduler.answer(2)
    assert (await world.until(state="starting", node="n2")).job == "1"
    assert ID in world.doors.bound


class SlowWrites:
    """Makes the ledger's next write wait."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self._change = world.ledger.change
        monkeypatch.setattr(world.ledger, "change", self)

    async def __call__(self, row: Any, *args: Any, **values: Any) -> None:
        if not self.begun.is_set():
            self.begun.set()
            await self.may_end.wait()
        await self._change(row, *args, **values)

    async def meanwhile(self, world: World) -> None:
        """Let an answer of the factory arrive while the write waits; then let the write end."""
        await self.begun.wait()
        answer = asyncio.create_task(world.scheduler.answer())
        await asyncio.sleep(0.05)
        self.may_end.set()
        await answer


async def test_a_job_that_starts_during_its_stop_does_not_start_the_session(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.put()
    await world.scheduler.answer()
    writes = SlowWrites(world, monkeypatch)
    stop = asyncio.create_task(world.sessions.stop(ID, "person"))
    world.scheduler.runs("1")
    await writes.meanwhile(world)
    await stop
    assert (await world.session()).state == "ending"


async def test_a_job_that_returns_during_the_write_of_its_end_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.running()
    job = world.scheduler.jobs_there.pop("1")
    await world.scheduler.answer()
    writes = SlowWrites(world, monkeypatch)
    await world.scheduler.answer()
    world.scheduler.jobs_there["1"] = job.model_copy(update={"nodes": ("n9",), "restarts": 1})
    await writes.meanwhile(world)
    await world.until(state="ended")
    await world.scheduler.answer()
    row = await world.ledger.record(ID)
    assert row is not None
    assert (row.state, row.ended is not None) == ("ended", True)
