"""A cluster over hours with ending jobs, slow queues, and killed kernels and links."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factorycommon.models import JobState
from factorygate.cluster import replacer
from factorygate.link import LinkError
from tests.unit.cluster_world import Life

HOUR = 3600


@pytest.fixture
def life(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Life]:
    made = Life(tmp_path, **getattr(request, "param", {}))
    yield made
    made.close()


def asked(life: Life) -> int:
    """Return the number of jobs that were ever submitted to the batch scheduler."""
    return len(life.grid.runs_of)


def fewest(life: Life, seconds: float) -> int:
    """Return the smallest number of working jobs in that time."""
    seen: list[int] = []
    life.always = lambda: seen.append(life.running())
    life.passes(seconds)
    life.always = lambda: None
    return min(seen)


# --- jobs that reach their walltime


def test_a_replacement_is_connected_before_its_job_ends(life: Life) -> None:
    life.scale(3)
    life.comes(lambda: life.running() == 3)
    assert fewest(life, 8 * HOUR) == 3
    assert 3 * 8 < asked(life) <= 3 * 10
    assert len(life.grid.alive()) <= 6


def test_replacements_are_asked_for_as_early_as_the_queue_is_long(life: Life) -> None:
    # seconds from a job's start until its workers connect; the cluster does not distinguish this from waiting
    life.dask.boot = 600
    life.scale(2)
    life.comes(lambda: life.running() == 2, 700)
    fewest(life, HOUR)  # it learns the new duration
    assert fewest(life, 4 * HOUR) == 2


def test_replacements_start_once_there_is_room(life: Life) -> None:
    life.scale(2)
    life.comes(lambda: life.running() == 2)
    life.grid.room = 2
    life.passes(1.5 * HOUR)
    assert life.running() == 2
    assert len(life.grid.alive()) == 2


def test_retiring_workers_may_finish_their_tasks(life: Life) -> None:
    life.dask.busy = 40
    life.scale(2)
    life.comes(lambda: life.running() == 2)
    life.scale(1)
    life.passes(20)
    assert len(life.grid.alive()) == 2  # one job still finishes its tasks
    assert 15 < life.comes(lambda: len(life.grid.alive()) == 1) < 40
    life.dask.busy = 10 * HOUR
    life.scale(2)
    life.comes(lambda: life.running() == 2)
    life.scale(1)
    assert life.comes(lambda: len(life.grid.alive()) == 1) < 90  # but not forever


def test_scaling_to_zero_waits_for_no_worker(life: Life) -> None:
    life.dask.busy = HOUR
    life.scale(3)
    life.comes(lambda: life.running() == 3)
    life.scale(0)
    assert life.comes(lambda: not life.grid.alive()) < 15
    assert life.dask.unregistered == 3  # workers unregister at the scheduler before their jobs are cancelled


@pytest.mark.parametrize("silent", [True, False])
def test_a_cluster_is_left_though_its_unwanted_jobs_cannot_be_ended(
    life: Life, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    life.dask.busy = HOUR
    life.scale(2)
    life.comes(lambda: life.running() == 2)
    life.scale(1)
    life.passes(5)
    assert len(list(life.cluster.leaving)) == 1

    async def refuses(*_names: str) -> None:
        raise LinkError("forbidden", "This token is not valid any more.")

    if silent:
        life.link_up = False
    else:
        monkeypatch.setattr(life.cluster.cluster_api, "cancel", refuses)
    began = life.loop.time()
    life.run(life.cluster.leaving.finish())
    assert life.loop.time() - began < 125
    assert not list(life.cluster.leaving)
    words = "The gateway does not answer now." if silent else "This token is not valid any more."
    assert life.cluster.message == words


# --- lost jobs


def test_lost_jobs_are_replaced_also_after_an_outage_of_the_gateway(life: Life) -> None:
    life.scale(3)
    life.comes(lambda: life.running() == 3)
    life.link_up = False
    life.cut.set()
    for job in life.grid.alive()[:2]:
        life.grid.ends(job, "NODE_FAIL")
    life.passes(600)
    life.link_is_killed()
    assert life.comes(lambda: life.running() == 3) < 60


def crash_at_once(life: Life) -> None:
    """Request two jobs, and let each job fail as soon as it runs, until no others are requested."""
    life.dask.boot = HOUR  # no worker ever connects
    life.scale(2)
    for _ in range(10):
        life.passes(10)
        for job in life.grid.alive(JobState.RUNNING):
            life.grid.ends(job, "FAILED")


def test_jobs_that_crash_at_once_are_not_requested_forever(life: Life) -> None:
    crash_at_once(life)
    assert not life.grid.alive()
    assert asked(life) <= 5
    assert "in a row ended before their workers came" in life.cluster.message
    life.passes(HOUR)
    assert asked(life) <= 5
    life.dask.boot = 5
    life.scale(2)  # an explicit request counts
    life.comes(lambda: life.running() == 2)


def test_who_asks_again_after_crashes_gets_all_tries_again(life: Life) -> None:
    crash_at_once(life)
    before = asked(life)
    life.scale(2)
    life.passes(10)
    life.grid.ends(life.grid.alive(JobState.RUNNING)[0], "FAILED")
    life.passes(60)
    assert asked(life) == before + 3


def test_a_crashing_job_beside_working_ones_is_not_requested_forever(life: Life) -> None:
    life.scale(1)
    life.comes(lambda: life.running() == 1)
    [good] = life.grid.alive()
    life.dask.boot = 100
    life.scale(2)
    for _ in range(30):
        life.passes(10)
        for job in life.grid.alive(JobState.RUNNING):
            if job != good:
                life.grid.ends(job, "FAILED")
    assert asked(life) <= 5
    assert life.grid.alive() == [good]


def test_the_factory_is_asked_again_until_it_reports_the_end_of_a_job_whose_workers_are_gone(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.scale(1)
    life.comes(lambda: life.running() == 1)
    looks, look = [], life.cluster.cluster_api.look

    async def counted() -> None:
        looks.append(1)
        await look()

    monkeypatch.setattr(life.cluster.cluster_api, "look", counted)
    life.dask.lost.update(life.grid.alive(JobState.RUNNING))
    life.passes(10)
    assert len(looks) >= 4  # once as the workers go, then every two seconds


def test_a_job_without_its_workers_is_replaced(life: Life) -> None:
    life.scale(2)
    life.comes(lambda: life.running() == 2)
    [first, second] = life.grid.alive()
    life.dask.lost.add(first)
    life.comes(lambda: first not in life.grid.alive() and life.running() == 2)
    assert second in life.grid.alive()


@pytest.mark.parametrize("life", [{"cap": 10.0}], indirect=True)
def test_a_link_that_lost_its_ledger_takes_over_all_jobs(life: Life) -> None:
    life.scale(3)
    life.comes(lambda: life.running() == 3)
    life.passes(0.8 * HOUR)
    life.scale(2)
    before, jobs = life.comes(lambda: len(life.grid.alive()) == 2), set(life.grid.alive())
    spent = life.gpu_hours().spent
    life.link_is_killed(lost=True)
    life.passes(60)
    assert set(life.grid.alive()) == jobs, before
    assert len(life.world.clusters.of("ada", live=True)) == 1
    assert life.gpu_hours().spent == pytest.approx(spent + 2 * 60 / HOUR, abs=0.01)
    assert life.scale(20) != ""  # the cap is enforced
    life.scale(1)
    life.comes(lambda: len(life.grid.alive()) == 1)
    assert fewest(life, 2 * HOUR) == 1  # and one job is kept running


def test_a_cluster_that_ended_is_not_made_again(life: Life) -> None:
    life.scale(1)
    life.comes(lambda: life.running() == 1)
    cluster_api = life.cluster.cluster_api
    life.run(life.world.clusters.end(cluster_api.id, "ada"))
    life.link_is_killed()
    life.passes(120)
    assert life.world.clusters.of("ada", live=True) == []
    assert not life.grid.alive()


def test_the_next_kernel_does_not_count_how_long_workers_were_there_before(life: Life) -> None:
    """It would take the hours for the wait of a new job, and request replacements far too early."""
    life.scale(2)
    life.comes(lambda: life.running() == 2)
    life.passes(HOUR / 4)
    life.kernel_is_killed()
    life.passes(60)
    assert life.cluster.usual_wait == replacer.FIRST_WAIT
    life.passes(HOUR / 4)
    assert len(life.grid.alive()) == 2


def test_the_next_kernel_knows_who_was_wanted(life: Life) -> None:
    life.scale(2)
    life.comes(lambda: life.running() == 2)
    life.comes(lambda: len(life.grid.alive()) == 4, HOUR)  # two replacements start
    life.kernel_is_killed()
    life.comes(lambda: len(life.grid.alive()) == 2)
    assert fewest(life, HOUR) == 2
    life.comes(lambda: len(life.grid.alive()) == 2, HOUR)
    life.dask.busy = 50
    life.scale(1)
    life.passes(5)
    assert len(life.grid.alive()) == 2  # one is retiring
    life.kernel_is_killed()
    life.comes(lambda: len(life.grid.alive()) == 1)


# --- the cap


@pytest.mark.parametrize("life", [{"cap": 4.0}], indirect=True)
def test_at_the_cap_nothing_is_replaced_and_it_is_said(life: Life) -> None:
    assert "4 GPU-hours" in life.scale(5)
    assert not life.grid.alive()
    assert life.scale(3) == ""
    life.passes(2.5 * HOUR)
    assert not life.grid.alive()
    assert life.grid.used() <= 4
    assert "4 GPU-hours" in life.cluster.message


@pytest.mark.parametrize("life", [{"cap": 4.0}], indirect=True)
def test_the_unused_hours_of_a_lost_job_are_released(life: Life) -> None:
    life.scale(4)
    life.comes(lambda: life.running() == 4)
    life.grid.ends(life.grid.alive()[0], "NODE_FAIL")
    life.passes(60)
    assert life.running() == 3  # the first job's use is missing for another one
    life.scale(2)
    life.passes(60)
    life.grid.ends(life.grid.alive()[0], "NODE_FAIL")
    life.comes(lambda: life.running() == 2)


@pytest.mark.parametrize("life", [{"cap": 2.5}], indirect=True)
def test_jobs_that_the_scheduler_begins_again_are_counted_twice(life: Life) -> None:
    life.scale(2)
    life.comes(lambda: life.running() == 2)
    life.passes(0.4 * HOUR)
    life.grid.room = 1
    life.grid.begins_again(life.grid.alive()[0])
    life.passes(30)
    assert life.gpu_hours().spent == pytest.approx(life.grid.used(), abs=0.01)
    assert len(life.grid.alive()) == 2  # 0.4 were used, and 2 may be used
    life.grid.room = 2
    life.passes(0.3 * HOUR)
    life.grid.begins_again(life.grid.alive()[0])
    life.passes(30)
    assert len(life.grid.alive()) == 1
    [stopped] = [told for told in life.cluster.cluster_api.workers.values() if told.state == "ended"]
    assert stopped.end is not None and stopped.end.code == "cluster-cap"
    assert life.grid.used() <= 2.5


# --- adapting


def test_adapting_cancels_pending_jobs_only_after_a_while(life: Life) -> None:
    life.grid.room = 0
    life.dask.target = 100
    life.adapt(50)
    life.passes(60)
    assert len(life.grid.alive()) == 32  # the maximum number of waiting jobs
    life.dask.target = 2  # the work was overestimated, and may still grow soon
    life.passes(300)
    assert len(life.grid.alive()) == 32
    life.passes(400)
    assert len(life.grid.alive()) == 2
    life.grid.room = 10
    life.comes(lambda: life.running() == 2)
    assert asked(life) == 32


def test_adapting_keeps_idle_workers_as_long_as_others_take_to_come(life: Life) -> None:
    life.dask.boot = 60
    life.dask.target = 3
    life.adapt(3)
    life.comes(lambda: life.running() == 3)
    for _ in range(5):  # bursts of work
        life.dask.target = 0
        life.passes(40)
        life.dask.target = 3
        life.passes(20)
    assert asked(life) == 3
    life.dask.target = 0
    life.dask.idle = False
    life.passes(200)
    assert life.running() == 3  # none of them is idle
    life.dask.idle = True
    life.passes(30)
    assert not life.grid.alive()
    assert asked(life) == 3


def test_jobs_above_a_lowered_maximum_retire_though_they_work(life: Life) -> None:
    life.dask.target = 5
    life.adapt(5)
    life.comes(lambda: life.running() == 5)
    life.dask.idle = False
    life.adapt(2)
    life.comes(lambda: life.running() == 2)
    life.passes(100)
    assert life.running() == 2
    assert asked(life) == 5


@pytest.mark.parametrize("life", [{"cap": 5.0}], indirect=True)
def test_adapting_over_the_cap_begins_what_fits_and_says_so(life: Life) -> None:
    life.dask.target = 50
    life.adapt(50)
    life.comes(lambda: len(life.grid.alive()) == 5)
    assert "The work wants 32 jobs, and there are 5" in life.cluster.message
    assert "5 GPU-hours" in life.cluster.message
    life.passes(100)
    assert asked(life) == 5
    assert "5 GPU-hours" in life.cluster.message


def test_adapting_over_a_limit_of_the_gateway_begins_what_fits_and_says_so(life: Life) -> None:
    life.world.limit(worker_jobs_per_person=4)
    life.dask.target = 50
    life.adapt(50)
    life.comes(lambda: len(life.grid.alive()) == 4)
    assert "The work wants 32 jobs, and there are 4" in life.cluster.message
    assert "4 that one may have" in life.cluster.message
    life.passes(100)
    assert asked(life) == 4


def test_replacements_over_a_limit_of_the_gateway_are_as_many_as_fit(life: Life) -> None:
    life.scale(4)
    life.comes(lambda: life.running() == 4)
    life.world.limit(worker_jobs_per_person=2)
    for job in life.grid.alive():
        life.grid.ends(job, "NODE_FAIL")
    life.comes(lambda: life.running() == 2)
    life.passes(60)
    assert len(life.grid.alive()) == 2
    assert "2 that one may have" in life.cluster.message


def test_scaling_over_a_limit_of_the_gateway_begins_nothing_and_says_so(life: Life) -> None:
    life.scale(3)
    assert "the 2000 that one may have" in life.scale(2500)
    assert "the 2000 that one may have" in life.cluster.message
    assert len(life.grid.runs_of) == 3
    assert life.cluster.worker_plan.wanted == 3


def test_scaling_discards_pending_steps_of_adapting(life: Life) -> None:
    life.delay = 2.0
    life.dask.target = 5
    life.adapt(5)
    life.passes(1.5)  # it is requested, and not answered yet
    assert life.scale(0) == ""
    life.passes(120)
    assert not life.grid.alive()
    assert life.cluster.worker_plan.wanted == 0


def test_jobs_that_ended_though_they_were_wanted_are_told(life: Life) -> None:
    life.scale(10)
    life.comes(lambda: life.running() == 10)
    for job in life.grid.alive()[:8]:
        life.grid.ends(job, "CANCELLED by 0")
    life.comes(lambda: "have ended (8)" in life.cluster.message)
    life.comes(lambda: life.running() == 10)


def test_adapting_asks_again_later_after_a_refusal(life: Life) -> None:
    life.grid.refuses = "Job violates accounting/QOS policy"
    life.dask.target = 2
    life.adapt(2)
    calls = life.grid.submitted
    tried = []
    submit = life.grid.submit
    life.grid.submit = lambda *a, **k: (tried.append(1), submit(*a, **k))[1]  # type: ignore[method-assign,assignment]
    life.passes(600)
    assert 3 <= len(tried) <= 20
    assert calls == []
    assert life.cluster.message
    life.grid.refuses = ""
    life.comes(lambda: life.running() == 2)


def test_adapting_ends_with_a_crash_loop(life: Life) -> None:
    life.dask.boot = HOUR
    life.dask.target = 2
    life.adapt(2)
    for _ in range(20):
        life.passes(10)
        for job in life.grid.alive(JobState.RUNNING):
            life.grid.ends(job, "FAILED")
    assert asked(life) <= 5
    assert life.cluster.adapting is None
    assert "in a row" in life.cluster.message


def test_tasks_that_kill_their_workers_do_not_get_new_ones_for_ever(life: Life) -> None:
    life.scale(2)
    for _ in range(40):
        life.passes(20)
        for job in life.grid.alive(JobState.RUNNING)[:1]:  # as if a task failed that the next worker gets
            life.grid.ends(job, "FAILED")
    assert asked(life) <= 2 + 5
    assert "Most likely a task of the work ends its worker" in life.cluster.message
    assert len(life.dask.suspected) >= 5
    before = asked(life)
    life.passes(HOUR)
    assert asked(life) == before
    life.scale(2)  # an explicit request counts
    life.comes(lambda: life.running() == 2)


def test_no_task_is_suspected_of_a_job_that_the_site_cancels(life: Life) -> None:
    life.scale(2)
    for _ in range(5):
        life.comes(lambda: life.running() == 2)
        for job in life.grid.alive(JobState.RUNNING):
            life.grid.ends(job, "CANCELLED")
        life.passes(20)
    assert not life.dask.suspected


def test_jobs_that_fail_now_and_then_are_replaced_for_ever(life: Life) -> None:
    life.scale(2)
    for _ in range(10):
        life.comes(lambda: life.running() == 2)
        life.grid.ends(life.grid.alive(JobState.RUNNING)[0], "OUT_OF_MEMORY")
        life.passes(0.1 * HOUR)
    assert life.comes(lambda: life.running() == 2) < 60


def test_versions_that_differ_are_told_by_the_first_job(life: Life) -> None:
    life.dask.boot = HOUR  # its workers end before they connect
    said = "The environments differ: dask is 2026.8.0 here and 2025.1 where the cluster's scheduler runs. One would"

    class Logs(dict[str, bytes]):
        def get(self, path: str, default: Any = None) -> Any:
            return f"12:00:00 factorygate.cluster CRITICAL {said}\n".encode() if path.endswith(".log") else default

    life.world.home.files = Logs(life.world.home.files)
    life.scale(2)
    life.comes(lambda: life.grid.alive(JobState.RUNNING))
    for job in life.grid.alive(JobState.RUNNING):
        life.grid.ends(job, "FAILED")
    life.passes(60)
    assert life.cluster.message == said
    assert asked(life) == 2
