"""Reservations, charges and releases of GPU-hours; two jobs can never get the same last hours, on either database."""

from __future__ import annotations

import asyncio
import multiprocessing
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, select

from factorycommon.models import End, Outcome, Partition, Project, ProjectAt
from factorycommon.service.database import Database
from factorylink.catalogue.choices import walltime
from factorylink.catalogue.prices import billed_gpus, gpus_of
from factorylink.ledger import charges as budget
from factorylink.ledger.charges import ChargeReservation, Charges, ChargeTotals, OverBudget
from factorylink.ledger.ledger import Ledger, LedgerError, Write
from factorylink.ledger.schema import charges
from factorylink.util import clock
from tests.unit.fake_factory import SIZE, factory

HOUR = 3600
NOW = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)


def project(gpu_hours: float | None = 10, **values: Any) -> Project:
    return Project(id="p1", gpu_hours=gpu_hours, factories={"one": ProjectAt()}, **values)


def claim(id: str = "s1", hours: float = 1, gpus: int = 1, **values: Any) -> ChargeReservation:
    told = {"project": "p1", "factory": "one", "person": "ada", "account": "a", **values}
    return ChargeReservation(id=id, gpus=gpus, seconds=walltime(hours), **told)


async def row(ledger: Ledger, id: str = "s1") -> Any:
    return await ledger.transact(lambda db: db.execute(select(charges).where(charges.c.id == id)).one())


async def left(ledger: Ledger, granted: float = 10) -> float:
    balance = await Charges(ledger).balance("p1")
    return granted - balance.spent - balance.reserved


def ended(seconds: int | None, at: datetime = NOW, earlier: tuple[int, ...] = ()) -> End:
    return End(job="7", outcome=Outcome.COMPLETED, raw_state="COMPLETED", ended=at, elapsed=seconds, earlier=earlier)


# --- reserving and releasing


async def test_a_job_over_budget_is_refused_with_the_rest_of_the_budget(ledger: Ledger) -> None:
    await ledger.write(budget.reserve([claim(hours=6)], project()))
    with pytest.raises(OverBudget) as refused:
        await ledger.write(budget.reserve([claim("s2", hours=4.5)], project()))
    problem = refused.value.problem().problem
    assert (problem.kind, problem.code) == ("limit", "budget-over")
    assert problem.message == "The project p1 has 4.00 GPU-hours left, and this may need 4.50."
    await ledger.write(budget.reserve([claim("s2", hours=4)], project()))
    assert await left(ledger) == 0
    until = clock.now() + timedelta(days=3)
    with pytest.raises(OverBudget) as refused:
        await ledger.write(budget.reserve([claim("s3", hours=0.1)], project(ends=until)))
    assert refused.value.problem().problem.code == "budget-over-until"
    assert until.strftime("%Y-%m-%d") in refused.value.problem().problem.message


async def test_the_reported_rest_of_the_budget_can_be_used(ledger: Ledger) -> None:
    whole = project(gpu_hours=2.008)
    with pytest.raises(OverBudget) as refused:
        await ledger.write(budget.reserve([claim(hours=3)], whole))
    message = refused.value.problem().problem.message
    assert "2.00 GPU-hours left" in message
    with pytest.raises(OverBudget) as refused:
        await ledger.write(budget.reserve([claim(hours=2.01)], whole))
    assert "2.00 GPU-hours left" in refused.value.problem().problem.message
    assert "2.02" in refused.value.problem().problem.message
    await ledger.write(budget.reserve([claim(hours=2.00)], whole))


@pytest.mark.parametrize(
    ("granted", "hours"), [(2.05, 2.05), (2.4 / 3, 0.8), (4.8 / 12, 0.4), (16.4, 16.4), (4.0, 4.0)]
)
async def test_a_budget_or_an_equal_share_can_be_used_up_to_its_last_minute(
    ledger: Ledger, granted: float, hours: float
) -> None:
    mine = project(gpu_hours=granted, person_gpu_hours=granted)
    await ledger.write(budget.reserve([claim(hours=hours)], mine))
    with pytest.raises(OverBudget):
        await ledger.write(budget.reserve([claim("s2", hours=1 / 60)], mine))


async def test_jobs_without_gpus_may_start_over_the_grant(ledger: Ledger) -> None:
    await ledger.write(budget.reserve([claim(hours=3)], project(gpu_hours=5)))
    await ledger.write(budget.reserve([claim("cpu", hours=3, gpus=0)], project(gpu_hours=1)))
    with pytest.raises(OverBudget):
        await ledger.write(budget.reserve([claim("gpu", hours=0.1)], project(gpu_hours=1)))


async def test_a_job_that_ends_early_releases_the_rest(ledger: Ledger) -> None:
    await ledger.write(budget.reserve([claim(hours=10)], project()))
    await ledger.write(budget.runs("s1", NOW, NOW + timedelta(hours=10)))
    await ledger.write(budget.settle("s1", ended(1234), 0, NOW, NOW + timedelta(hours=3)))
    balance = await Charges(ledger).balance("p1")
    assert balance.spent * HOUR == pytest.approx(1234)
    assert balance.reserved == 0
    await ledger.write(budget.reserve([claim("s2", hours=9)], project()))


@pytest.mark.parametrize("end", [None, ended(0)])
async def test_a_job_that_never_ran_costs_nothing(ledger: Ledger, end: End | None) -> None:
    await ledger.write(budget.reserve([claim(hours=10)], project()))
    await ledger.write(budget.settle("s1", end, 0, None, NOW))
    assert await left(ledger) == 10
    assert await Charges(ledger).usage() == []


async def test_a_job_without_a_record_counts_until_it_was_missed(ledger: Ledger) -> None:
    await ledger.write(budget.reserve([claim(hours=10)], project()))
    await ledger.write(budget.settle("s1", None, 0, NOW, NOW + timedelta(seconds=77)))
    assert (await row(ledger)).seconds == 77


async def test_settling_twice_is_settling_once(ledger: Ledger) -> None:
    await ledger.write(budget.reserve([claim()], project()))
    await ledger.write(budget.runs("s1", NOW, NOW + timedelta(hours=1)))
    for _ in range(2):
        await ledger.write(budget.settle("s1", None, 0, NOW, NOW + timedelta(seconds=60)))
    assert (await row(ledger)).seconds == 60
    await ledger.write(budget.reopen("s1"))
    assert await left(ledger) == pytest.approx(9)


async def test_a_requeued_job_counts_all_its_runs(ledger: Ledger) -> None:
    await ledger.write(budget.reserve([claim(hours=2)], project()))
    await ledger.write(budget.runs("s1", NOW, NOW + timedelta(hours=2)))
    await ledger.write(budget.began_again("s1", NOW, NOW + timedelta(seconds=610)))
    assert await left(ledger) == pytest.approx(10 - 2 - 610 / HOUR)  # and it may use its whole walltime again
    again = NOW + timedelta(hours=1)
    await ledger.write(budget.runs("s1", again, again + timedelta(hours=2)))
    over = again + timedelta(seconds=100)
    # The link saw 610 s of the first run. With the records of both runs, they count to the second.
    await ledger.write(budget.settle("s1", ended(100, over), 1, again, over))
    assert (await row(ledger)).seconds == 710
    before = (5000, 600)  # and another job that had this id long ago
    await ledger.write(budget.settle("s1", ended(100, over, before), 1, again, over))
    assert (await row(ledger)).seconds == 700


async def test_going_on_for_longer_needs_more(ledger: Ledger) -> None:
    granted = project(gpu_hours=3)
    await ledger.write(budget.reserve([claim(hours=2)], granted))
    later = clock.now() + timedelta(hours=4)
    with pytest.raises(OverBudget):
        await ledger.write(budget.reserve_more("s1", 2 * HOUR, later, granted))
    await ledger.write(budget.reserve_more("s1", HOUR, later, granted))
    assert await left(ledger, 3) == 0


async def test_whole_nodes_are_billed_whole(ledger: Ledger) -> None:
    one = factory()
    whole = SIZE.model_copy(update={"id": "node", "whole_node": True})
    assert (billed_gpus(one, SIZE), billed_gpus(one, whole)) == (1, 4)
    only = Partition(name="gpu", max_hours=24, whole_node_only=True)
    assert billed_gpus(one.model_copy(update={"partitions": (only,)}), SIZE) == 4  # one GPU, as on JUPITER
    bare = Partition(name="gpu", max_hours=24, whole_node_only=True, gpus=False)
    cores = whole.model_copy(update={"gpus": 0})
    assert billed_gpus(one.model_copy(update={"partitions": (bare,)}), cores) == 0
    assert gpus_of(one, "not there any more") == 0
    with pytest.raises(OverBudget):
        await ledger.write(budget.reserve([claim(hours=3, gpus=billed_gpus(one, whole))], project()))
    await ledger.write(budget.reserve([claim(hours=2.5, gpus=billed_gpus(one, whole))], project()))


# --- the end of a project, and projects without an end


async def test_no_job_continues_beyond_the_projects_end(ledger: Ledger) -> None:
    ends = clock.now() + timedelta(hours=2)
    for gpu_hours in (10, None):
        with pytest.raises(OverBudget) as refused:
            await ledger.write(budget.reserve([claim(hours=2.1)], project(gpu_hours, ends=ends)))
        problem = refused.value.problem().problem
        assert problem.code == "budget-ends"
        assert ends.strftime("%Y-%m-%d %H:%M") in problem.message
    await ledger.write(budget.reserve([claim(hours=1.9)], project(ends=ends)))
    with pytest.raises(OverBudget):
        await ledger.write(budget.reserve_more("s1", HOUR, ends + timedelta(minutes=1), project(ends=ends)))
    with pytest.raises(OverBudget):
        await ledger.write(budget.reserve([claim("s2", hours=0.1)], project(ends=clock.now())))


async def test_without_a_project_or_grant_use_is_counted_and_nothing_refused(ledger: Ledger) -> None:
    await ledger.write(budget.reserve([claim(hours=700, project=None)], None))
    await ledger.write(budget.reserve([claim("s2", hours=700)], project(gpu_hours=None)))
    for id in ("s1", "s2"):
        await ledger.write(budget.settle(id, ended(50), 0, None, NOW))
    assert [(line.project, line.gpu_seconds) for line in await Charges(ledger).usage()] == [(None, 50), ("p1", 50)]


# --- many


async def test_an_array_of_a_thousand_is_one_commit(ledger: Ledger) -> None:
    names = [budget.worker_charge("b", task) for task in range(1, 1001)]
    commits: list[object] = []
    assert ledger._engine is not None
    event.listen(ledger._engine, "commit", commits.append)
    await ledger.write(budget.reserve([claim(name) for name in names], project(gpu_hours=1000)))
    ran = NOW + timedelta(seconds=30)
    over = [ChargeTotals(name, NOW, None, 0, ran, 30) for name in names]
    await ledger.write(budget.stand(over))
    assert len(commits) == 2
    assert (await Charges(ledger).balance("p1")).spent * HOUR == pytest.approx(30_000)


async def test_an_array_is_reserved_as_a_whole_or_not_at_all(ledger: Ledger) -> None:
    with pytest.raises(OverBudget):
        await ledger.write(budget.reserve([claim(f"w{n}") for n in range(11)], project()))
    assert await left(ledger) == 10


async def test_a_refused_write_does_not_fail_others_of_its_commit(ledger: Ledger) -> None:
    """Writes at the same time share a commit, and one of them may be refused."""
    asked = [ledger.write(budget.reserve([claim(f"s{n}", hours=3)], project())) for n in range(8)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(OverBudget) == 5
    assert await left(ledger) == pytest.approx(1)


async def test_existing_jobs_are_reserved_without_a_check(ledger: Ledger) -> None:
    await ledger.write(budget.reserve([claim(hours=10)], project()))
    await ledger.write(budget.found([claim(hours=5), claim("s2", hours=5)]))
    assert await left(ledger) == pytest.approx(-5)  # the first write is in the ledger
    with pytest.raises(OverBudget):
        await ledger.write(budget.reserve([claim("s3", hours=0.1)], project()))


# --- races: each side with its own process and connection


def race(url: str, number: int, rounds: int, start: Any, told: Any) -> None:
    async def run() -> int:
        ledger = Ledger(Database.parse(url))
        await ledger.open()
        won = 0
        try:
            for turn in range(rounds):
                last = Project(id=f"p{turn}", gpu_hours=1, factories={"one": ProjectAt()})
                mine = ChargeReservation(f"{turn}-{number}", last.id, "one", "ada", "a", 1, HOUR)
                await asyncio.to_thread(start.wait)
                while True:
                    try:
                        await ledger.write(budget.reserve([mine], last))
                        won += 1
                    except LedgerError:  # a process that is held up keeps the lock of the database too long
                        continue
                    except OverBudget:
                        pass
                    break
        finally:
            await ledger.close()
        return won

    told.put(asyncio.run(run()))


async def test_only_one_of_many_concurrent_jobs_gets_the_last_hours(database: Database) -> None:
    ledger = Ledger(database)
    await ledger.open()
    racers, rounds = 3, 15
    processes = multiprocessing.get_context("spawn")
    start, told = processes.Barrier(racers, timeout=250), processes.Queue()
    url = database.url.render_as_string()
    started = [processes.Process(target=race, args=(url, n, rounds, start, told)) for n in range(racers)]
    for process in started:
        process.start()
    won = [await asyncio.to_thread(told.get, timeout=270) for _ in started]
    for process in started:
        process.join(60)
    assert sum(won) == rounds
    for turn in range(rounds):
        assert (await Charges(ledger).balance(f"p{turn}")).reserved == pytest.approx(1)
    await ledger.close()


async def test_links_that_want_of_the_same_projects_the_other_way_round_both_get_on(database: Database) -> None:
    """A deadlock: each link holds what the other waits for; the transaction that is rolled back is repeated."""
    first, second = Ledger(database), Ledger(database)
    await first.open()
    await second.open()
    wide = {name: Project(id=name, gpu_hours=1000, factories={"one": ProjectAt()}) for name in ("p1", "p2")}

    async def both(ledger: Ledger, tag: str, order: tuple[str, str]) -> None:
        for turn in range(6):
            held = [budget.reserve([claim(f"{tag}{turn}{p}", project=p)], wide[p]) for p in order]

            def together(db: Connection, held: list[Write] = held) -> None:
                for write in held:
                    write(db)

            await ledger.write(together)

    await asyncio.gather(both(first, "a", ("p1", "p2")), both(second, "b", ("p2", "p1")))
    for name in wide:
        assert (await Charges(first).balance(name)).reserved == pytest.approx(12)
    await first.close()
    await second.close()


# --- usage


async def test_usage_is_cut_at_midnight_and_adds_up(ledger: Ledger) -> None:
    over = NOW + timedelta(hours=3)  # started at 22:00
    asked = [
        claim(hours=4, gpus=2),
        claim("s2", person="grace", factory="two"),
        claim("s3", project="p2"),
        claim("s4"),
    ]
    await ledger.write(budget.reserve(asked, None))
    await ledger.write(budget.settle("s1", ended(3 * HOUR, over), 0, NOW, over))
    await ledger.write(budget.settle("s2", ended(90, NOW), 0, NOW, NOW))
    await ledger.write(budget.settle("s3", ended(10, over), 0, over, over))
    lines = await Charges(ledger).usage("p1")
    first, second = date(2026, 3, 1), date(2026, 3, 2)
    told = [(line.day, line.factory, line.person, line.gpu_seconds, line.jobs) for line in lines]
    assert told == [
        (first, "one", "ada", 2 * 2 * HOUR, 1),
        (first, "two", "grace", 90, 1),
        (second, "one", "ada", 2 * HOUR, 0),  # the same job
    ]
    assert await Charges(ledger).usage("p1", since=second) == [lines[2].model_copy(update={"jobs": 1})]
    assert await Charges(ledger).usage("p1", person="grace") == [lines[1]]
    assert sum(line.gpu_seconds for line in lines) == (await Charges(ledger).balance("p1")).spent * HOUR


async def test_usage_counts_running_jobs_up_to_now(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    started = NOW - timedelta(seconds=100)
    await ledger.write(budget.reserve([claim(gpus=4)], project()))
    await ledger.write(budget.runs("s1", started, started + timedelta(hours=1)))
    assert sum(line.gpu_seconds for line in await Charges(ledger).usage("p1")) == 400
    balance = await Charges(ledger).balance("p1")
    assert balance.spent + balance.reserved == pytest.approx(4)
    assert balance.spent * HOUR == pytest.approx(400)


async def test_usage_includes_earlier_runs_of_a_requeued_job(ledger: Ledger) -> None:
    await ledger.write(budget.reserve([claim(gpus=4)], project()))
    await ledger.write(budget.runs("s1", NOW, NOW + timedelta(hours=1)))
    await ledger.write(budget.began_again("s1", NOW, NOW + timedelta(seconds=600)))
    (line,) = await Charges(ledger).usage("p1")
    assert (line.gpu_seconds, line.jobs) == (2400, 1)
    assert (await Charges(ledger).balance("p1")).spent * HOUR == 2400
