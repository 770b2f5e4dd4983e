"""A cluster's jobs from the request to their end, with a scripted scheduler."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError
from sqlalchemy import Connection

from factorycommon.models import BatchRequest, Cluster, ClusterRequest, End, EndReason, JobState, Outcome, Worker
from factorylink.catalogue.choices import ChoiceError
from factorylink.clusters import reconciler, service, worker_job
from factorylink.errors import Unreachable
from factorylink.ledger.charges import worker_charge
from factorylink.ledger.cluster_store import ClusterStore
from factorylink.ledger.ledger import LedgerError
from factorylink.problems import ProblemError
from factorylink.schedulers.command import Command
from factorylink.util.rate_limiter import RateLimiter
from tests.unit import fake_factory
from tests.unit.fake_factory import ID, INSTEAD, OTHER, SCHEDULER, World

CLUSTER, BATCH, MORE = "c" * 32, "b" * 32, "d" * 32


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await World(tmp_path).up()
    yield made
    await made.down()


async def begin(world: World, user: str = "ada", id: str = CLUSTER, **told: Any) -> Cluster:
    request = {"name": "mine", "factory": "one", "size": "gpu-1", "scheduler": SCHEDULER, "hours": 1, **told}
    return (await world.clusters.put(id, user, ClusterRequest.model_validate(request)))[0]


async def grow(world: World, *names: str, batch: str = BATCH, user: str = "ada", hours: float | None = None) -> Cluster:
    return await world.clusters.grow(CLUSTER, user, batch, BatchRequest(names=names, hours=hours))


def workers(world: World) -> dict[str, Worker]:
    return {worker.name: worker for worker in world.clusters.own(CLUSTER, "ada").show().workers}


async def states(world: World, **expected: str) -> dict[str, Worker]:
    await world.comes(
        lambda: {name: str(w.state) for name, w in workers(world).items() if name in expected} == expected
    )
    return workers(world)


async def refused(doing: Any) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        await doing
    return caught.value


async def test_a_batch_is_one_submission_and_each_job_has_its_name(world: World) -> None:
    cluster = await begin(world)
    assert (cluster.state, cluster.gpus, cluster.gpu_hours.committed) == ("live", 1, 0)
    await grow(world, "w-0", "w-5", "w-4")
    [request] = world.scheduler.submitted
    assert request.name == "factorygate-hub"
    assert request.comment.startswith(f"fgb:{BATCH}:")
    assert request.command[:4] == ("/opt/venv/bin/python", "-P", "-m", "factorygate.cluster.worker")
    assert "w-0,w-5,w-4" in request.command
    assert request.output.endswith(f"/sessions/{CLUSTER}/{BATCH}-%INDEX%.log")
    assert not request.warned  # no USR1, which would end it
    await world.scheduler.answer()
    seen = await states(world, **{"w-0": "pending", "w-5": "pending", "w-4": "pending"})
    assert [seen[name].job for name in ("w-0", "w-5", "w-4")] == ["1_1", "1_2", "1_3"]
    world.scheduler.runs("1_2", "n3")
    await world.scheduler.answer()
    assert (await states(world, **{"w-5": "running"}))["w-5"].node == "n3"


async def test_the_same_twice_is_one_submission(world: World) -> None:
    await begin(world)
    await begin(world)
    await asyncio.gather(grow(world, "w-0", "w-1"), grow(world, "w-0", "w-1"))
    await grow(world, "w-0", "w-1")
    assert len(world.scheduler.submitted) == 1
    assert (await refused(grow(world, "w-9"))).status == 409


async def test_new_clusters_in_a_loop_are_limited_and_only_for_who_loops(world: World) -> None:
    world.clusters._new = RateLimiter(3, 0.01)
    for number in range(3):
        await begin(world, id=f"{number:032x}")
        await world.clusters.end(f"{number:032x}", "ada")
    files = len(world.home.asked)
    error = (await refused(begin(world, id=f"{3:032x}"))).problem
    assert (error.kind, error.code) == ("too-many", "too-many-clusters")
    assert len(world.home.asked) == files  # the factory notices nothing
    await begin(world, id=f"{2:032x}")  # one that exists is no new one
    await begin(world, "ben", id=f"{4:032x}")


async def test_keys_are_left_for_the_workers_and_nowhere_else(world: World, tmp_path: Path) -> None:
    cluster = await begin(world)
    await grow(world, "w-0")
    [path] = [path for path in world.home.files if path.endswith("cluster.json")]
    assert path == f"/home/{cluster.account}/.factorygate/sessions/{CLUSTER}/cluster.json"
    assert json.loads(world.home.files[path])["address"] == "tls://n7:8786"
    assert "PRIVATE" not in repr(world.scheduler.submitted) + cluster.model_dump_json()
    assert b"PRIVATE" not in b"".join(file.read_bytes() for file in tmp_path.glob("ledger*"))


async def test_options_of_workers_are_written_beside_the_schedulers_file(world: World) -> None:
    asked = {"threads": 2, "memory": 1 << 30, "local_directory": "$TMPDIR", "preload": ["a"], "resources": {"GPU": 1}}
    await begin(world, worker=asked)
    await grow(world, "w-0")
    [path] = [path for path in world.home.files if path.endswith("worker.json")]
    assert json.loads(world.home.files[path]) == asked
    assert "TMPDIR" not in repr(world.scheduler.submitted)


async def test_a_cluster_without_options_of_workers_writes_no_file_of_them(world: World) -> None:
    await begin(world, worker={})
    assert not [path for path in world.home.files if path.endswith("worker.json")]


@pytest.mark.parametrize(
    "told",
    [
        {"worker": {"threads": 0}},
        {"worker": {"death_timeout": float("inf")}},
        {"worker": {"interface": "ib0\n#SBATCH --nodes=99"}},
        {"worker": {"preload": ["a"] * 33}},
        {"worker": {"resources": {"GPU": -1}}},
        {"worker": {"command": "sh"}},
        {"scheduler": {"address": "tls://n7:8786"}},
        {"scheduler": SCHEDULER | {"key": None}},
        {"scheduler": SCHEDULER | {"address": "tcp://n7:8786"}},
        {"scheduler": {"address": "ws://n7:8786"}},
    ],
)
async def test_invalid_cluster_requests_are_refused(world: World, told: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        await begin(world, **told)


async def test_a_scheduler_in_clear_text_is_its_owners_own(world: World) -> None:
    await begin(world, scheduler={"address": "tcp://n7:8786"})
    [path] = [path for path in world.home.files if path.endswith("cluster.json")]
    told = json.loads(world.home.files[path])
    assert (told["address"], told["ca"], told["key"]) == ("tcp://n7:8786", None, None)


async def test_an_answer_waits_for_the_scheduler_as_long_as_is_left_since_the_request(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(world)
    world.scheduler.speaks.clear()
    moments = itertools.count(step=100.0)  # each look at the clock is 100 s later
    monkeypatch.setattr(service.clock, "ticks", lambda: next(moments))
    async with asyncio.timeout(service.ANSWER_SECONDS / 2):
        cluster = await grow(world, "w-0")
    assert [worker.job for worker in cluster.workers] == [None]
    monkeypatch.undo()
    world.scheduler.speaks.set()
    await world.comes(lambda: bool(world.scheduler.submitted))


async def test_an_answer_that_was_lost_is_settled(world: World) -> None:
    await begin(world)
    world.scheduler.takes_and_says_nothing = True
    await grow(world, "w-0", "w-1")
    await states(world, **{"w-0": "asked", "w-1": "asked"})
    await world.scheduler.answer(2)
    assert (await states(world, **{"w-0": "pending", "w-1": "pending"}))["w-1"].job == "1_2"
    assert len(world.scheduler.submitted) == 1


async def test_a_batch_that_never_arrived_is_submitted_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "DOUBT", 0.0)
    await begin(world)
    world.scheduler.says_nothing = True
    await grow(world, "w-0")
    world.scheduler.says_nothing = False
    await world.scheduler.answer(2)
    await world.comes(lambda: workers(world)["w-0"].job == "1")
    await world.scheduler.answer()
    await states(world, **{"w-0": "pending"})


async def test_a_batch_that_never_arrived_and_is_not_wanted_any_more_advises_no_new_session(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "DOUBT", 0.0)
    await begin(world)
    world.scheduler.says_nothing = True
    await grow(world, "w-0")
    await world.clusters.cancel(CLUSTER, "ada", ("w-0",))
    world.scheduler.says_nothing = False
    await world.scheduler.answer(2)
    end = (await states(world, **{"w-0": "ended"}))["w-0"].end
    assert end is not None
    assert (end.code, end.whose) == ("submit-doubtful", "wait")
    assert end.do == "The cluster asks for another job if its work still needs one."


async def test_a_refusal_is_said_and_leaves_nothing(world: World) -> None:
    await begin(world)
    world.scheduler.refuses = "Invalid account or account/partition combination specified"
    error = await refused(grow(world, "w-0", "w-1"))
    assert (error.status, error.problem.kind) == (400, "refused")
    seen = await states(world, **{"w-0": "ended", "w-1": "ended"})
    assert seen["w-0"].end_reason == EndReason.REFUSED
    world.scheduler.refuses = ""
    await grow(world, "w-0", "w-1", batch=MORE)


async def test_an_environment_that_the_catalogue_lost_is_a_refusal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any, **__: Any) -> None:
        raise ChoiceError("environment", "One has no environment plain.")

    await begin(world)
    monkeypatch.setattr(worker_job, "job_request", lost)
    error = await refused(grow(world, "w-0"))
    assert (error.status, error.problem.kind) == (400, "refused")
    seen = await states(world, **{"w-0": "ended"})
    assert seen["w-0"].end_reason == EndReason.REFUSED
    assert world.clusters.look(CLUSTER, "ada").gpu_hours.committed == 0


async def test_a_pause_holds_for_what_waits_for_its_turn(world: World) -> None:
    await begin(world)
    turn = asyncio.Event()
    world.scheduler.turn = lambda _person: turn.wait()  # type: ignore[method-assign,assignment]
    asked = asyncio.create_task(grow(world, "w-0"))
    await states(world, **{"w-0": "asked"})
    world.factories["one"].access_status.pause("Not now.")
    turn.set()
    assert (await refused(asked)).status == 503
    assert world.scheduler.submitted == []


async def test_a_batch_cancelled_before_its_turn_is_not_submitted(world: World) -> None:
    await begin(world)
    turn = asyncio.Event()
    world.scheduler.turn = lambda _person: turn.wait()  # type: ignore[method-assign,assignment]
    asked = asyncio.create_task(grow(world, "w-0", "w-1"))
    await states(world, **{"w-0": "asked"})
    await world.clusters.cancel(CLUSTER, "ada", ("w-0", "w-1"))
    turn.set()
    assert {str(worker.end_reason) for worker in (await asked).workers} == {"stopped"}
    assert world.scheduler.submitted == []


async def test_single_jobs_are_cancelled_or_an_array_as_a_whole(world: World) -> None:
    await begin(world)
    await grow(world, "w-0", "w-1", "w-2")
    await world.scheduler.answer()
    await world.clusters.cancel(CLUSTER, "ada", ("w-1",))
    await world.comes(lambda: world.scheduler.cancelled == ["1_2"])
    await world.scheduler.answer(2)
    assert (await states(world, **{"w-1": "ended"}))["w-1"].end_reason == EndReason.STOPPED
    await world.clusters.cancel(CLUSTER, "ada", ("w-0", "w-2", "no-such"))
    await world.comes(lambda: world.scheduler.cancelled == ["1_2", "1"])
    await world.scheduler.answer(2)
    await states(world, **{"w-0": "ended", "w-2": "ended"})


async def test_a_cancel_is_repeated_until_the_job_has_ended(world: World) -> None:
    await begin(world)
    await grow(world, "w-0")
    await world.scheduler.answer()
    world.scheduler.cancels_fail = 2
    await world.clusters.cancel(CLUSTER, "ada", ("w-0",))
    await world.comes(lambda: world.scheduler.cancelled == ["1"])


def ledger_fails_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the ledger refuse the next write of workers' rows."""
    save, count = ClusterStore.save, itertools.count()

    async def refuse(self: ClusterStore, changed: Any) -> None:
        if changed and next(count) == 0:
            raise LedgerError("The disk is full.")
        await save(self, changed)

    monkeypatch.setattr(ClusterStore, "save", refuse)


async def wishes(world: World) -> set[str]:
    """Return the wishes about a cluster's jobs, which are the same in memory and in the ledger."""
    [record] = await world.clusters._store.live()
    in_ledger = {worker.wish for batch in record.batches.values() for worker in batch.workers}
    assert in_ledger == {worker.wish for _, worker in world.clusters.own(CLUSTER, "ada").alive()}
    return in_ledger


async def test_a_job_whose_cancel_the_ledger_refused_is_wanted_until_it_is_cancelled_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(world)
    await grow(world, "w-0")
    await world.scheduler.answer()
    ledger_fails_once(monkeypatch)
    with pytest.raises(LedgerError):
        await world.clusters.cancel(CLUSTER, "ada", ("w-0",))
    assert await wishes(world) == {"run"}
    await world.clusters.cancel(CLUSTER, "ada", ("w-0",))
    assert await wishes(world) == {"stop"}
    await world.comes(lambda: world.scheduler.cancelled == ["1"])


async def test_a_clusters_end_that_the_ledger_took_in_part_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LOOK_SECONDS", 0.01)
    world = await World(tmp_path).up()
    await begin(world)
    await grow(world, "w-0")
    await world.scheduler.answer()
    ledger_fails_once(monkeypatch)
    with pytest.raises(LedgerError):
        await world.clusters.end(CLUSTER, "ada")
    await world.comes(lambda: world.scheduler.cancelled == ["1"])
    assert await wishes(world) == {"stop"}
    await world.down()


async def test_the_end_of_a_job_that_the_ledger_refused_is_recorded_at_the_next_answer_and_charged_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(world)
    await grow(world, "w-0", "w-1")
    world.scheduler.runs("1_1")
    begun = datetime.now(UTC) - timedelta(minutes=2)
    world.scheduler.set("1_1", started=begun, ends=begun + timedelta(hours=1), restarts=1)
    await world.scheduler.answer()
    await states(world, **{"w-0": "running"})
    live_cluster = world.clusters.own(CLUSTER, "ada")
    world.scheduler.records["1_1"] = End(
        job="1_1", outcome=Outcome.NODE_FAILED, raw_state="NODE_FAIL", elapsed=120, earlier=(60,)
    )
    del world.scheduler.jobs_there["1_1"]
    ledger_fails_once(monkeypatch)
    await world.scheduler.answer(2)
    await world.comes(lambda: not live_cluster.concluding)
    assert (await states(world, **{"w-0": "running"}))["w-0"].end_reason is None
    await world.scheduler.answer()
    assert (await states(world, **{"w-0": "ended"}))["w-0"].end_reason == EndReason.NODE_FAILED
    [record] = await world.clusters._store.live()
    [worker, _] = record.batches[BATCH].workers
    assert (worker.ended is not None, worker.earlier) == (True, pytest.approx(60 / 3600))
    assert await world.charges.gpu_hours(worker_charge(BATCH, 1)) == pytest.approx(180 / 3600, abs=0.005)
    assert live_cluster.show().gpu_hours.spent == pytest.approx(180 / 3600, abs=0.005)


async def test_the_reason_of_a_workers_end_is_shown_with_its_log(world: World) -> None:
    cluster = await begin(world)
    await grow(world, "w-0", "w-1")
    await world.scheduler.answer()
    for job in ("1_1", "1_2"):
        world.scheduler.runs(job)
    await world.scheduler.answer()
    folder = f"/home/{cluster.account}/.factorygate/sessions/{CLUSTER}"
    world.home.files[f"{folder}/{BATCH}-1.log"] = b"it was\nthe memory\n"
    world.scheduler.set("1_1", state=JobState.ENDED, outcome=Outcome.OUT_OF_MEMORY, ended=datetime.now(UTC))
    await world.scheduler.answer()
    seen = await states(world, **{"w-0": "ended", "w-1": "running"})
    assert (seen["w-0"].end_reason, seen["w-0"].log_tail) == (EndReason.OUT_OF_MEMORY, ("it was", "the memory"))


async def test_the_ends_of_many_jobs_are_found_out_together(world: World) -> None:
    cluster = await begin(world)
    await grow(world, "w-0", "w-1", "w-2")
    await world.scheduler.answer()
    for job in ("1_1", "1_2", "1_3"):
        world.scheduler.runs(job)
    await world.scheduler.answer()
    began, all_began, read = 0, asyncio.Event(), world.home.run

    async def run(command: Command[Any], account: str) -> Any:
        nonlocal began
        if command.argv[0] == "tail":
            began += 1
            if began == 3:
                all_began.set()
            await asyncio.wait_for(all_began.wait(), 60)
        return await read(command, account)

    world.home.run = run  # type: ignore[method-assign]
    folder = f"/home/{cluster.account}/.factorygate/sessions/{CLUSTER}"
    for number in (1, 2, 3):
        world.home.files[f"{folder}/{BATCH}-{number}.log"] = f"end {number}\n".encode()
        world.scheduler.set(f"1_{number}", state=JobState.ENDED, outcome=Outcome.CANCELLED, ended=datetime.now(UTC))
    await world.scheduler.answer()
    seen = await states(world, **{"w-0": "ended", "w-1": "ended", "w-2": "ended"})
    assert [worker.log_tail for worker in seen.values()] == [("end 1",), ("end 2",), ("end 3",)]


async def test_a_factory_that_falls_silent_is_not_asked_about_each_ended_job(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(world)
    names = [f"w-{number}" for number in range(20)]
    await grow(world, *names)
    await world.scheduler.answer()
    asked: list[str] = []

    async def why_ended(_account: str, job_id: str) -> End | None:
        asked.append(job_id)
        raise Unreachable("no answer")

    monkeypatch.setattr(world.scheduler, "why_ended", why_ended)
    world.scheduler.jobs_there.clear()
    await world.scheduler.answer(2)  # two answers must miss a job
    await world.comes(lambda: not world.clusters.own(CLUSTER, "ada").concluding)
    assert 1 <= len(asked) <= reconciler.AT_ONCE
    assert {str(worker.state) for worker in workers(world).values()} == {"pending"}
    monkeypatch.undo()
    await world.scheduler.answer()
    await states(world, **dict.fromkeys(names, "ended"))


async def test_a_job_that_still_holds_its_node_is_shown_as_ending(world: World) -> None:
    await begin(world)
    await grow(world, "w-0")
    await world.scheduler.answer()
    world.scheduler.runs("1")
    await world.scheduler.answer()
    world.scheduler.set("1", state=JobState.ENDING)
    await world.scheduler.answer()
    (worker,) = (await states(world, **{"w-0": "running"})).values()
    assert worker.waits_for is not None
    assert worker.waits_for.code == "completing"


async def test_the_log_of_a_worker_that_ended_normally_is_kept(world: World) -> None:
    cluster = await begin(world)
    await grow(world, "w-0")
    world.scheduler.runs("1")
    await world.scheduler.answer()
    world.home.files[f"/home/{cluster.account}/.factorygate/sessions/{CLUSTER}/{BATCH}-1.log"] = b"it left\n"
    world.scheduler.set("1", state=JobState.ENDED, outcome=Outcome.COMPLETED, ended=datetime.now(UTC))
    await world.scheduler.answer()
    seen = await states(world, **{"w-0": "ended"})
    assert (seen["w-0"].end_reason, seen["w-0"].log_tail) == (EndReason.FINISHED, ("it left",))


async def test_the_log_of_a_running_worker_is_read_on_request(world: World) -> None:
    world.clusters._logs = RateLimiter(3, 0.01)
    cluster = await begin(world)
    await grow(world, "w-0", "w-1")
    await world.scheduler.answer()
    assert (await world.clusters.log(CLUSTER, "ada", "w-0")).lines == ()  # the job waits
    for job in ("1_1", "1_2"):
        world.scheduler.runs(job)
    await world.scheduler.answer()
    await states(world, **{"w-0": "running"})
    assert (await world.clusters.log(CLUSTER, "ada", "w-0")).lines == ()  # nothing was written yet
    folder = f"/home/{cluster.account}/.factorygate/sessions/{CLUSTER}"
    world.home.files[f"{folder}/{BATCH}-1.log"] = b"one\n\x1b[31mtwo\n"
    assert (await world.clusters.log(CLUSTER, "ada", "w-0")).lines == ("one", "two")
    for wrong, user in (("w-7", "ada"), ("w-0", "eve")):
        assert (await refused(world.clusters.log(CLUSTER, user, wrong))).problem.kind == "gone"
    world.home.fails = Unreachable("down")
    assert (await refused(world.clusters.log(CLUSTER, "ada", "w-0"))).problem.kind == "unreachable"
    world.home.fails = None
    asked = len(world.home.asked)
    assert (await refused(world.clusters.log(CLUSTER, "ada", "w-0"))).problem.kind == "too-many"
    assert len(world.home.asked) == asked


async def test_a_project_is_refused_where_the_hub_has_no_projects(world: World) -> None:
    problem = (await refused(begin(world, project="nope"))).problem
    assert (problem.kind, problem.field) == ("invalid", "project")
    assert "nope" in problem.message


async def test_a_job_is_gone_only_when_two_good_answers_miss_it(world: World) -> None:
    await begin(world)
    await grow(world, "w-0")
    world.scheduler.runs("1")
    await world.scheduler.answer()
    world.scheduler.jobs_there.clear()
    world.scheduler.records["1"] = End(job="1", outcome=Outcome.NODE_FAILED, raw_state="NODE_FAIL")
    await world.scheduler.answer()
    await states(world, **{"w-0": "running"})
    await world.scheduler.answer()
    assert (await states(world, **{"w-0": "ended"}))["w-0"].end_reason == EndReason.NODE_FAILED


async def test_a_silent_factory_is_never_an_end(world: World) -> None:
    await begin(world)
    await grow(world, "w-0")
    await world.scheduler.answer()
    world.scheduler.up = False
    await states(world, **{"w-0": "unreachable"})
    world.scheduler.up = True
    await states(world, **{"w-0": "pending"})


async def test_the_cap_is_never_passed(world: World) -> None:
    world.scheduler.remembers = True
    await begin(world, cap_gpu_hours=3)
    await grow(world, "w-0", "w-1")
    error = await refused(grow(world, "w-2", "w-3", batch=MORE))
    assert (error.status, error.problem.kind) == (403, "limit")
    assert "3 GPU-hours" in error.problem.message
    assert error.problem.fits == 1
    cluster = await grow(world, "w-2", batch="e" * 32)
    assert cluster.gpu_hours.committed == pytest.approx(3)
    await world.scheduler.answer()
    await world.clusters.cancel(CLUSTER, "ada", ("w-0",))
    await world.comes(lambda: world.scheduler.cancelled == ["1_1"])
    await world.scheduler.answer(2)
    await states(world, **{"w-0": "ended"})
    await grow(world, "w-4", batch="f" * 32)  # unused hours are released


async def test_concurrent_requests_do_not_exceed_the_cap(world: World) -> None:
    await begin(world, cap_gpu_hours=3)
    asked = [grow(world, f"w-{n}", batch=f"{n:032x}") for n in range(8)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(outcome, Cluster) for outcome in outcomes) == 3
    assert len(world.scheduler.submitted) == 3


async def test_batches_that_are_asked_for_together_are_allowed_together_or_not_at_all(world: World) -> None:
    world.limit(worker_jobs_per_person=3)
    await begin(world)
    first = BatchRequest(names=("w-0", "w-1"), together=4)
    error = await refused(world.clusters.grow(CLUSTER, "ada", BATCH, first))
    assert (error.status, error.problem.kind, error.problem.fits) == (403, "limit", 3)
    assert "4 more would be over the 3" in error.problem.message
    assert not world.scheduler.submitted and not workers(world)
    await world.clusters.grow(CLUSTER, "ada", BATCH, BatchRequest(names=("w-0", "w-1"), together=3))
    await grow(world, "w-2", batch=MORE)
    assert len(world.scheduler.submitted) == 2


async def test_other_people_can_neither_see_nor_change_a_cluster(world: World) -> None:
    await begin(world)
    for doing in (
        grow(world, "w-0", user="eve"),
        world.clusters.cancel(CLUSTER, "eve", ("w-0",)),
        world.clusters.end(CLUSTER, "eve"),
    ):
        assert (await refused(doing)).status == 404
    assert (await refused(begin(world, user="eve"))).status == 409
    assert world.clusters.of("eve", live=False) == []


async def test_a_persons_limits_of_clusters_and_jobs_are_enforced(world: World) -> None:
    await begin(world)
    assert (await refused(begin(world, id=OTHER))).status == 409  # the name is taken
    assert (await refused(begin(world, id=OTHER, name="x", size="huge"))).problem.field == "size"
    assert (await refused(begin(world, id=OTHER, name="x", processes=99))).problem.field == "processes"
    assert (await refused(begin(world, id=OTHER, name="x", session=ID))).problem.field == "session"
    assert (await refused(grow(world, "w-0", hours=99))).problem.field == "hours"


async def test_a_cluster_ends_with_its_session(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LOOK_SECONDS", 0.01)
    await world.down()
    await world.up()
    session = await world.running()
    await begin(world, session=session.id)
    await grow(world, "w-0")
    await world.sessions.stop(ID, "person")
    await world.comes(lambda: "1" in world.scheduler.cancelled)
    await world.scheduler.answer(2)
    await world.comes(lambda: "2" in world.scheduler.cancelled)
    await world.scheduler.answer(2)
    await world.comes(lambda: world.clusters.of("ada", live=True) == [])
    [cluster] = world.clusters.of("ada", live=False)
    assert cluster.end is not None
    assert cluster.end.code == "cluster-session-over"


async def test_a_cluster_without_readers_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LOOK_SECONDS", 0.01)
    world = await World(tmp_path, cluster_lease_seconds=60).up()
    await begin(world)
    await grow(world, "w-0")
    live_cluster = world.clusters.own(CLUSTER, "ada")
    reading = live_cluster.stream()
    await anext(reading)
    live_cluster.left -= 100
    for _ in range(5):
        await asyncio.sleep(0.01)
    assert live_cluster.record.wish == "run"  # its reader keeps it alive
    await reading.aclose()
    live_cluster.left -= 100
    await world.comes(lambda: world.scheduler.cancelled == ["1"])
    await world.down()


async def test_a_cluster_survives_a_restart_of_the_link(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    await begin(world)
    await grow(world, "w-0", "w-1")
    await world.scheduler.answer()
    await world.down()
    await world.up()
    assert {w.state for w in workers(world).values()} == {"pending"}
    world.scheduler.runs("1_1")
    await world.scheduler.answer()
    await states(world, **{"w-0": "running", "w-1": "pending"})
    await world.clusters.end(CLUSTER, "ada")
    await world.down()
    world.scheduler.cancelled.clear()
    await world.up()  # the stop request survives, too
    await world.scheduler.answer()
    await world.comes(lambda: "1" in world.scheduler.cancelled or not world.scheduler.jobs_there)
    await world.scheduler.answer(2)
    await world.comes(lambda: world.clusters.of("ada", live=True) == [])
    await world.down()


async def test_any_number_of_batches_is_found_again(world: World) -> None:
    """A database limits the values in one query: 20 in this test, at least 32766 in reality."""
    await begin(world)
    for number in range(30):
        await grow(world, f"w-{number}", batch=f"{number:032x}")

    def few(db: Connection) -> None:
        connection = db.connection.dbapi_connection
        assert isinstance(connection, sqlite3.Connection)
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 20)

    await world.ledger.transact(few)
    (found,) = await ClusterStore(world.ledger).live()
    assert sum(len(batch.workers) for batch in found.batches.values()) == 30


async def test_jobs_that_no_cluster_has_are_cancelled_after_a_grace(tmp_path: Path) -> None:
    world = await World(tmp_path, orphan_grace_seconds=1).up()
    await begin(world)
    await grow(world, "w-0", "w-1")
    await world.down()
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    await world.up()
    await world.scheduler.answer()
    assert world.scheduler.cancelled == []
    world.cluster_reconciler._orphans = {key: since - 2 for key, since in world.cluster_reconciler._orphans.items()}
    await world.scheduler.answer()
    assert world.scheduler.cancelled == ["1_1", "1_2"]
    assert [entry.action for entry in await world.ledger.audited("cancel-orphan")] == ["cancel-orphan"]
    await world.down()


async def test_a_copied_comment_changes_nothing(world: World) -> None:
    await begin(world)
    await grow(world, "w-0")
    comment = world.scheduler.submitted[0].comment
    other = world.scheduler.add("mallory", "factorygate-hub", comment)
    world.scheduler.runs(other)
    await world.scheduler.answer(3)
    await states(world, **{"w-0": "pending"})
    assert world.scheduler.cancelled == []


async def test_a_stream_tells_all_and_then_what_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factorylink.state.live_cluster.STEP_SECONDS", 0.0)
    await begin(world)
    await grow(world, "w-0", "w-1")
    await world.scheduler.answer()
    stream = world.clusters.own(CLUSTER, "ada").stream()

    async def told() -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await anext(stream)).decode().partition("data: ")[2])
        return found

    first = await told()
    assert {worker["name"] for worker in first["workers"]} == {"w-0", "w-1"}
    world.scheduler.runs("1_2")
    await world.scheduler.answer()
    second = await told()
    assert [worker["name"] for worker in second["workers"]] == ["w-1"]
    assert second["counts"] == {"pending": 1, "running": 1}
    await stream.aclose()


async def test_gpu_hours_are_counted_by_the_time_that_jobs_ran(world: World) -> None:
    await begin(world)
    await grow(world, "w-0")
    world.scheduler.runs("1")
    begun = datetime.now(UTC) - timedelta(minutes=30)
    world.scheduler.set("1", started=begun, ends=begun + timedelta(hours=1))
    await world.scheduler.answer()
    await states(world, **{"w-0": "running"})
    hours = world.clusters.own(CLUSTER, "ada").show().gpu_hours
    assert (hours.spent, hours.committed) == (pytest.approx(0.5, abs=0.05), pytest.approx(0.5, abs=0.05))


async def test_a_job_without_a_record_that_was_never_seen_running_costs_at_most_its_walltime(world: World) -> None:
    await begin(world)
    await grow(world, "w-0")
    await world.scheduler.answer()
    [(batch, worker)] = world.clusters.own(CLUSTER, "ada").alive()
    assert worker.seen is not None
    worker.seen -= timedelta(hours=48)  # the factory was unreachable for two days
    world.scheduler.jobs_there.clear()
    await world.scheduler.answer()
    await world.scheduler.answer()
    await states(world, **{"w-0": "ended"})
    assert worker.used(datetime.now(UTC)) == pytest.approx(batch.hours)


async def test_figures_change_only_when_something_happens(world: World) -> None:
    await begin(world)
    await grow(world, "w-0", "w-1")
    live_cluster = world.clusters.own(CLUSTER, "ada")
    await world.scheduler.answer()
    await states(world, **{"w-0": "pending", "w-1": "pending"})
    waiting = live_cluster.figures()
    assert (waiting.workers, waiting.counts) == ((), {"pending": 2})
    assert waiting.waits_for is not None
    assert (waiting.gpu_hours.at, waiting.gpu_hours.per_hour) == (waiting.created, 0)
    world.scheduler.runs("1_1")
    begun = datetime.now(UTC) - timedelta(minutes=30)
    world.scheduler.set("1_1", started=begun, ends=begun + timedelta(hours=1))
    await world.scheduler.answer()
    await states(world, **{"w-0": "running"})
    running = live_cluster.figures()
    assert live_cluster.figures() == running != waiting
    hours = running.gpu_hours
    assert (hours.at, hours.per_hour, hours.spent, hours.committed) == (begun, 1, 0, 2)
    world.scheduler.up = False
    silent = live_cluster.figures()
    assert (silent.counts, silent.waits_for) == ({"unreachable": 2}, None)
    assert silent.wrong is not None
    assert silent.gpu_hours == hours  # its jobs go on


async def test_reasons_that_keep_jobs_from_starting_are_shown(world: World) -> None:
    await begin(world)
    live_cluster = world.clusters.own(CLUSTER, "ada")
    assert live_cluster.figures().wrong is None
    world.factories["one"].access_status.pause("Not today.")
    told = live_cluster.figures().wrong
    assert told is not None and told.what == "Not today."


async def test_ended_clusters_come_from_the_ledger(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    await begin(world)
    await begin(world, id=OTHER, name="other")
    await grow(world, "w-0", "w-1")
    world.scheduler.runs("1_1")
    begun = datetime.now(UTC) - timedelta(minutes=30)
    world.scheduler.set("1_1", started=begun, ends=begun + timedelta(hours=1))
    await world.scheduler.answer()
    await states(world, **{"w-0": "running"})
    await world.clusters.end(CLUSTER, "ada")
    await world.comes(lambda: "1" in world.scheduler.cancelled)
    await world.scheduler.answer(2)
    row = world.clusters.own(CLUSTER, "ada").record
    await world.comes(lambda: row.ended is not None)
    next(iter(row.workers())).earlier = 2.0  # hours of an earlier run
    await world.clusters._store.save(list(row.workers()))
    for _ in range(2):  # at once, and by the next link
        live, over = await world.clusters.figures_of("ada", ended=5)
        assert (live.id, live.state) == (OTHER, "live")
        assert (over.id, over.state, over.counts, over.end) == (CLUSTER, "ended", {"ended": 2}, None)
        assert (over.gpu_hours.spent, over.gpu_hours.committed) == (pytest.approx(2.5, abs=0.05), 0)
        assert len(await world.clusters.figures_of("ada", ended=0)) == 1
        assert await world.clusters.figures_of("eve", ended=5) == []
        await world.down()
        await world.up()
    await world.down()


async def test_jobs_may_be_asked_for_while_an_answer_is_worked_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(world)
    await grow(world, "w-0")
    await world.scheduler.answer()
    world.scheduler.runs("1")
    store = world.clusters._store
    save, asked = store.save, []

    async def slow(changed: Any) -> None:
        if not asked:
            asked.append(await grow(world, "w-1", batch=MORE))
        await save(changed)

    monkeypatch.setattr(store, "save", slow)
    await world.scheduler.answer(2)
    await states(world, **{"w-0": "running", "w-1": "pending"})


async def test_a_batch_of_a_size_that_is_offered_no_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "DOUBT", 0.0)
    world = await World(tmp_path).up()
    await begin(world)
    world.scheduler.says_nothing = True
    await grow(world, "w-0")
    world.scheduler.says_nothing = False
    await world.down()
    monkeypatch.setattr(fake_factory, "SIZE", INSTEAD)
    await world.up()
    await world.scheduler.answer(2)
    seen = (await states(world, **{"w-0": "ended"}))["w-0"]
    assert seen.end_reason == EndReason.REFUSED
    await world.down()
