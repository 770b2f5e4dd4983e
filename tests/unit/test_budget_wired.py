"""Sessions and clusters cost their project what the scheduler counts, whatever happens to them and the link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import delete, select

from factorycommon.models import (
    BatchRequest,
    ClusterRequest,
    End,
    JobOptions,
    JobState,
    Outcome,
    Project,
    ProjectAt,
    ResolvedChoice,
    SiteAccounts,
)
from factorylink.ledger.ledger import LedgerError
from factorylink.ledger.schema import SessionRecord, charges
from factorylink.problems import ProblemError
from factorylink.sessions import service
from factorylink.util import clock
from tests.unit.fake_factory import ID, OTHER, PATIENCE, SCHEDULER, SIZE, World
from tests.unit.fake_projects import Table

HOUR = 3600
CLUSTER, BATCH = "c" * 32, "b" * 32


def project(gpu_hours: float | None = 10, **values: Any) -> Project:
    at = ProjectAt(site_accounts=SiteAccounts(pool=("a", "b")))
    return Project(id="p1", members=("ada", "grace"), gpu_hours=gpu_hours, factories={"one": at}, **values)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, extend="watcher")
    made.table = Table(project())
    await made.up()
    yield made
    await made.down()


async def row(world: World, id: str = ID) -> Any:
    return await world.ledger.transact(lambda db: db.execute(select(charges).where(charges.c.id == id)).one())


def made() -> SessionRecord:
    """Return a session that is about to be written into the ledger."""
    choice = ResolvedChoice(
        factory="one", size="gpu-1", environment="plain", hours=8, idle_minutes=60, unopened_minutes=30, project="p1"
    )
    return SessionRecord(ID, "ada", "", "one", "a", choice, JobOptions(), 20000, clock.now())


def falls_silent(world: World) -> None:
    """Make the ledger's next commit succeed, but raise an error, as if the connection had broken."""
    commit = world.ledger.transact

    async def cut(work: Any) -> Any:
        await commit(work)
        world.ledger.transact = commit  # type: ignore[method-assign]
        raise LedgerError("The connection was lost.")

    world.ledger.transact = cut  # type: ignore[method-assign]


async def held(world: World) -> tuple[float, float]:
    balance = await world.charges.balance("p1")
    return balance.spent, balance.reserved


async def used(world: World) -> tuple[set[tuple[str, str]], int, int]:
    """Return who has used something of the project ``p1``, the GPU-seconds of all, and the number of their jobs.

    Who: pairs (person, factory). A run over midnight counts as a job on both days.
    """
    lines = await world.charges.usage("p1")
    who = {(line.person, line.factory) for line in lines}
    return who, sum(line.gpu_seconds for line in lines), sum(line.jobs for line in lines)


async def all_over(world: World, jobs: int) -> None:
    """Wait until this number of jobs of the cluster has ended, and the ledger has the end of each."""
    await world.comes(lambda: world.clusters.look(CLUSTER, "ada").counts == {"ended": jobs})
    query = select(charges.c.id).where(charges.c.ended.is_(None))
    async with asyncio.timeout(PATIENCE):
        while await world.ledger.transact(lambda db: db.execute(query).all()):
            await asyncio.sleep(0.01)


async def test_a_refusal_of_workers_says_how_many_the_budget_allows(world: World) -> None:
    await begin(world)
    names = tuple(f"w-{n}" for n in range(12))
    for count, together in ((12, None), (4, 12)):
        asked = BatchRequest(names=names[:count], hours=1, together=together)
        with pytest.raises(ProblemError) as refused:
            await world.clusters.grow(CLUSTER, "ada", BATCH, asked)
        assert (refused.value.problem.code, refused.value.problem.fits) == ("budget-over", 10)
    assert (await held(world))[1] == 0
    await world.clusters.grow(CLUSTER, "ada", BATCH, BatchRequest(names=names[:4], hours=1, together=10))
    assert (await held(world))[1] == 4  # the hours of the other jobs are reserved at the request


async def test_a_session_holds_its_hours_and_gives_back_what_it_did_not_use(world: World) -> None:
    session = await world.put(hours=8)
    assert await held(world) == (0, 8)
    with pytest.raises(ProblemError) as refused:
        await world.put(OTHER, "grace", hours=3)
    assert (refused.value.status, refused.value.problem.code) == (403, "budget-over")
    assert "2.00 GPU-hours left" in refused.value.problem.message
    assert await world.ledger.record(OTHER) is None  # nothing of it is stored
    assert session.job is not None
    began = clock.now() - timedelta(seconds=500)
    world.scheduler.set(
        session.job, state=JobState.RUNNING, nodes=("n1",), started=began, ends=began + timedelta(hours=8)
    )
    await world.scheduler.answer()
    await world.until(state="starting")
    spent, reserved = await held(world)
    assert spent + reserved == pytest.approx(8)
    assert 499 <= spent * HOUR < 800
    over = began + timedelta(seconds=437)
    world.scheduler.set(session.job, state=JobState.ENDED, outcome=Outcome.COMPLETED, ended=over, ends=None)
    world.scheduler.records[session.job] = End(
        job=session.job, outcome=Outcome.COMPLETED, raw_state="COMPLETED", ended=over, elapsed=437
    )
    await world.scheduler.answer()
    await world.until(state="ended")
    assert await held(world) == (pytest.approx(437 / HOUR), 0)
    assert await used(world) == ({("ada", "one")}, 437, 1)


async def test_a_session_cancelled_in_the_queue_costs_nothing(world: World) -> None:
    await world.put(hours=8)
    await world.scheduler.answer()
    await world.sessions.stop(ID, "person")
    await world.comes(lambda: bool(world.scheduler.cancelled))
    await world.scheduler.answer(3)
    await world.until(state="ended")
    assert await held(world) == (0, 0)


@pytest.mark.parametrize(("silent", "costs"), [(100, 100), (3 * HOUR, 2 * HOUR)])
async def test_a_missed_job_without_a_record_counts_from_when_it_was_last_seen(
    world: World, silent: int, costs: int
) -> None:
    session = await world.put(hours=2)
    await world.scheduler.answer()
    live = world.live_sessions[ID]
    assert live.seen is not None
    live.seen = clock.now() - timedelta(seconds=silent)  # the factory has not answered since then
    del world.scheduler.jobs_there[session.job or ""]
    await world.scheduler.answer(2)
    await world.until(state="ended")
    spent, reserved = await held(world)
    assert costs - 1 <= spent * HOUR < min(costs + 300, 2 * HOUR + 1)
    assert reserved == 0
    assert (await used(world))[2] == 1


async def test_a_refused_session_costs_nothing(world: World) -> None:
    world.scheduler.refuses = "Invalid account"
    with pytest.raises(ProblemError):
        await world.put(hours=8)
    assert await held(world) == (0, 0)


async def test_a_session_whose_write_failed_reserves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "UNMAKE_SECONDS", 0.01)
    falls_silent(world)
    with pytest.raises(LedgerError):
        await world.sessions.begin(made(), world.factories["one"])
    await world.until(state="ended")
    assert await held(world) == (0, 0)
    assert world.scheduler.submitted == []
    await world.put(OTHER, hours=8)  # its server is free


async def test_a_requeue_counts_both_runs_by_the_sites_records(world: World) -> None:
    session = await world.running(hours=2)
    assert session.job is not None
    world.scheduler.set(session.job, state=JobState.PENDING, restarts=1, started=None, nodes=())
    await world.scheduler.answer()
    await world.until(state="pending")
    world.scheduler.runs(session.job, "n2", restarts=1)
    await world.scheduler.answer()
    await world.until(state="starting")
    over = clock.now()
    world.scheduler.set(session.job, state=JobState.ENDED, outcome=Outcome.COMPLETED, ended=over)
    world.scheduler.records[session.job] = End(
        job=session.job, outcome=Outcome.COMPLETED, raw_state="COMPLETED", ended=over, elapsed=100
    )
    known = world.scheduler.records[session.job].model_copy(update={"earlier": (611,)})
    world.scheduler.accounted[session.job] = known
    await world.scheduler.answer()
    await world.until(state="ended")
    assert (await row(world)).seconds == 711


async def test_an_extension_is_reserved_first_and_released_if_refused(world: World) -> None:
    session = await world.running(hours=4)
    assert session.job is not None
    started = world.scheduler.jobs_there[session.job].started
    assert started is not None
    world.scheduler.set(session.job, ends=started + timedelta(hours=4))
    await world.scheduler.answer()
    await world.put(OTHER, "grace", hours=5)
    with pytest.raises(ProblemError) as refused:
        await world.extender.extend(ID, 2, "person")
    assert refused.value.problem.code == "budget-over"
    assert world.scheduler.extended == []
    await world.extender.extend(ID, 1, "person")
    assert (await row(world)).reserved == 5 * HOUR
    await world.scheduler.answer()
    world.table = None
    await world.sessions.stop(OTHER, "person")
    await world.comes(lambda: bool(world.scheduler.cancelled))
    await world.scheduler.answer(3)
    await world.until(OTHER, state="ended")
    world.scheduler.refuses = "Access denied"
    with pytest.raises(ProblemError):
        await world.extender.extend(ID, 1, "person")
    assert (await row(world)).reserved == 5 * HOUR
    world.scheduler.refuses, world.scheduler.says_nothing = "", True
    with pytest.raises(ProblemError):
        await world.extender.extend(ID, 1, "person")
    assert (await row(world)).reserved == 6 * HOUR  # the extension may have succeeded
    await world.scheduler.answer()
    assert (await row(world)).reserved == 5 * HOUR  # the extension failed


async def test_a_lost_ledger_finds_again_what_its_jobs_may_use(world: World) -> None:
    session = await world.running(hours=4)
    await world.down()
    for file in world.folder.glob("ledger.sqlite*"):
        file.unlink()
    await world.up()
    await world.scheduler.answer(2)
    await world.until(state="starting")
    found = await row(world)
    assert (found.project, found.person, found.gpus, found.reserved) == ("p1", "ada", 1, 4 * HOUR)
    assert found.started == world.scheduler.jobs_there[session.job or ""].started


async def test_a_session_from_before_there_were_budgets_is_counted_from_now_on(world: World) -> None:
    await world.put(hours=4)
    await world.ledger.transact(lambda db: db.execute(delete(charges)) and None)
    await world.down()
    await world.up()
    assert await held(world) == (0, 4)


async def test_a_killed_link_loses_no_reservation(world: World) -> None:
    await world.put(hours=4)
    await world.down()
    await world.up()
    assert await held(world) == (0, 4)
    with pytest.raises(ProblemError):
        await world.put(OTHER, "grace", hours=7)


async def test_without_projects_use_is_counted_and_nothing_refused(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    await world.put(hours=8, project="p1")  # an unknown name is no project
    assert (await row(world)).project is None
    assert (await row(world)).reserved == 8 * HOUR
    await world.down()


# --- clusters


async def grow(world: World, jobs: int, hours: float, batch: str = BATCH, first: int = 1) -> None:
    names = tuple(f"w-{n}" for n in range(first, first + jobs))
    await world.clusters.grow(CLUSTER, "ada", batch, BatchRequest(names=names, hours=hours))


async def begin(world: World) -> None:
    asked = ClusterRequest.model_validate(
        {"name": "mine", "factory": "one", "size": "gpu-1", "project": "p1", "scheduler": SCHEDULER}
    )
    await world.clusters.put(CLUSTER, "ada", asked)


async def test_workers_hold_and_give_back_too(world: World) -> None:
    await begin(world)
    with pytest.raises(ProblemError) as refused:
        await grow(world, 6, 2)
    assert refused.value.problem.code == "budget-over"
    assert world.clusters.look(CLUSTER, "ada").workers == ()
    await grow(world, 5, 2)
    assert await held(world) == (0, 10)
    began = clock.now() - timedelta(seconds=100)
    for job in list(world.scheduler.jobs_there):
        world.scheduler.set(job, state=JobState.RUNNING, nodes=("n1",), started=began, ends=began + timedelta(hours=2))
    await world.scheduler.answer()
    spent, reserved = await held(world)
    assert spent + reserved == pytest.approx(10)
    over = began + timedelta(seconds=77)
    for job in list(world.scheduler.jobs_there):
        world.scheduler.set(job, state=JobState.ENDED, outcome=Outcome.COMPLETED, ended=over)
    await world.scheduler.answer()
    await all_over(world, 5)
    assert await held(world) == (pytest.approx(5 * 77 / HOUR), 0)
    assert await used(world) == ({("ada", "one")}, 5 * 77, 5)


async def test_workers_that_the_ledger_took_without_saying_so_are_never_begun(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "UNMAKE_SECONDS", 0.01)
    await begin(world)
    falls_silent(world)
    with pytest.raises(LedgerError):
        await grow(world, 5, 2)
    await all_over(world, 5)
    assert await held(world) == (0, 0)
    await world.down()
    await world.up()
    await world.scheduler.answer(3)
    assert world.scheduler.submitted == []


async def test_workers_that_are_let_go_in_the_queue_cost_nothing(world: World) -> None:
    await begin(world)
    await grow(world, 5, 2)
    await world.clusters.end(CLUSTER, "ada")
    await world.comes(lambda: bool(world.scheduler.cancelled))
    await world.scheduler.answer(3)
    await world.comes(lambda: world.clusters.look(CLUSTER, "ada").state == "ended")
    assert await held(world) == (0, 0)


async def test_a_worker_that_began_again_costs_both_runs_by_the_sites_records(world: World) -> None:
    await begin(world)
    await grow(world, 1, 2)
    (job,) = world.scheduler.jobs_there
    world.scheduler.runs(job)
    await world.scheduler.answer()
    world.scheduler.set(job, state=JobState.PENDING, restarts=1, started=None, nodes=())
    await world.scheduler.answer()
    began = clock.now() - timedelta(seconds=60)
    world.scheduler.set(job, state=JobState.RUNNING, nodes=("n2",), started=began, ends=began + timedelta(hours=2))
    await world.scheduler.answer()
    over = began + timedelta(seconds=50)
    world.scheduler.accounted[job] = End(
        job=job, outcome=Outcome.COMPLETED, raw_state="COMPLETED", ended=over, elapsed=50, earlier=(999, 605)
    )  # 999: another job had this id long ago
    world.scheduler.set(job, state=JobState.ENDED, outcome=Outcome.COMPLETED, ended=over)
    await world.scheduler.answer()
    await all_over(world, 1)
    assert (await row(world, f"{BATCH}/1")).seconds == 655


async def test_more_time_is_not_more_than_a_job_of_the_project_may_have(world: World) -> None:
    world.projects._table = Table(project(max_hours=3))
    session = await world.running(hours=2)
    assert session.job is not None
    started = world.scheduler.jobs_there[session.job].started
    assert started is not None
    world.scheduler.set(session.job, ends=started + timedelta(hours=2))
    await world.scheduler.answer()
    assert (await world.session()).extend_hours == 1.0
    with pytest.raises(ProblemError, match="1 h more"):
        await world.extender.extend(ID, 2, "person")
    assert world.scheduler.extended == []


async def test_no_more_time_while_it_is_not_known_what_the_project_has(world: World) -> None:
    session = await world.running(hours=2)
    assert session.job is not None
    started = world.scheduler.jobs_there[session.job].started
    assert started is not None
    world.scheduler.set(session.job, ends=started + timedelta(hours=2))
    await world.scheduler.answer()
    world.projects._table.projects = None  # type: ignore[assignment,union-attr]
    with pytest.raises(ProblemError) as refused:
        await world.extender.extend(ID, 2, "person")
    assert (refused.value.status, refused.value.problem.code) == (503, "projects-unknown")
    assert (await row(world)).reserved == 2 * HOUR


async def test_jobs_that_are_taken_over_are_limited_too(world: World) -> None:
    world.limit(worker_jobs_per_person=2)
    await begin(world)
    for batch in range(1, 3):
        names = tuple(f"w-{batch}-{n}" for n in range(10))
        await world.clusters.grow(CLUSTER, "ada", f"{batch:032x}", BatchRequest(names=names, adopt=True))
    with pytest.raises(ProblemError) as refused:
        await world.clusters.grow(CLUSTER, "ada", f"{3:032x}", BatchRequest(names=("w-3-1",), adopt=True))
    assert refused.value.status == 403
    with pytest.raises(ProblemError, match="above the limit of gpu-1"):
        await world.clusters.grow(CLUSTER, "ada", "f" * 32, BatchRequest(names=("x",), hours=700, adopt=True))


async def test_a_cluster_s_cap_counts_what_the_site_bills(world: World) -> None:
    place = world.factories["one"]
    whole = SIZE.model_copy(update={"id": "node", "whole_node": True})  # the size requests 1 GPU, and all 4 are billed
    world.factories.offered = {"one": replace(place, factory=place.factory.model_copy(update={"sizes": (whole,)}))}
    asked = {"name": "mine", "factory": "one", "project": "p1", "cap_gpu_hours": 4}
    await world.clusters.put(CLUSTER, "ada", ClusterRequest.model_validate({**asked, "scheduler": SCHEDULER}))
    with pytest.raises(ProblemError, match=r"2 more jobs of 1 h would need 8\.00"):
        await grow(world, 2, 1)
    await grow(world, 1, 1)
    told = world.clusters.look(CLUSTER, "ada").gpu_hours
    assert (told.committed, (await held(world))[1]) == (4, 4)
    alone = ClusterRequest.model_validate({**asked, "name": "two", "head": {"hours": 8, "size": "node"}})
    with pytest.raises(ProblemError, match="its scheduler's job alone would need 32"):
        await world.clusters.put("e" * 32, "ada", alone)
