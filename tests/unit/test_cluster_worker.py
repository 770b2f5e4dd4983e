"""The program of a worker's job, with its options and variables; and the requests to the link for jobs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, Scheduler

from factorycommon.models import Cluster, Worker, WorkerOptions, WorkerState
from factorygate.cluster import cluster_api as broker_module
from factorygate.cluster import worker
from factorygate.cluster.cluster_api import ClusterApi
from factorygate.cluster.keys import Keys
from factorygate.link import LinkError
from tests.support.told import WHEN
from tests.support.told import cluster as cluster_told


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"FACTORYGATE_JOB_INDEX": "2"}, "b"),
        ({"SLURM_ARRAY_TASK_ID": "2"}, "b"),  # for a script from before the FACTORYGATE variables
        ({"PBS_ARRAY_INDEX": "3"}, "c"),
        ({}, "a"),
        ({"FACTORYGATE_JOB_INDEX": ""}, "a"),
    ],
)
def test_each_task_has_its_name(environment: dict[str, str], name: str) -> None:
    assert worker.own_name(["a", "b", "c"], environment) == name


def test_the_end_of_a_job_comes_from_the_scheduler() -> None:
    assert worker.job_ends(3600, {}, 50) == 3650
    assert worker.job_ends(3600, {"FACTORYGATE_JOB_END": "1000"}, 400) == 1000
    assert worker.job_ends(3600, {"FACTORYGATE_JOB_END": "never"}, 50) == 3650
    assert worker.job_ends(3600, {"SLURM_JOB_END_TIME": "1000"}, 400) == 1000  # an old script


def test_workers_leave_before_their_job_ends_and_not_all_at_once() -> None:
    assert worker.margin(7200) == worker.MARGIN
    assert worker.margin(100) == 20  # a share of a short job
    assert [worker.margin(100, place) for place in (0.5, 1)] == [25, 30]
    assert worker.margin(7200, 1) == worker.MARGIN + worker.SPREAD


def test_each_process_has_a_gpu_of_its_own() -> None:
    shown = {"CUDA_VISIBLE_DEVICES": "4,5,6,7"}
    assert worker.devices(4, 4, "NVIDIA", shown) == [{"CUDA_VISIBLE_DEVICES": n} for n in "4567"]
    assert worker.devices(2, 4, "NVIDIA", shown) == [{"CUDA_VISIBLE_DEVICES": n} for n in ("4,5", "6,7")]
    assert worker.devices(2, 2, "AMD", {}) == [{"ROCR_VISIBLE_DEVICES": n} for n in "01"]
    assert worker.devices(3, 1, "NVIDIA", {}) == [{"CUDA_VISIBLE_DEVICES": "0"}] * 3
    assert worker.devices(2, 0, "NVIDIA", shown) == [{}, {}]


def test_names_of_processes() -> None:
    assert worker.process_names("w-3", 1) == ["w-3"]
    assert worker.process_names("w-3", 2) == ["w-3-0", "w-3-1"]


def test_the_options_are_read_from_beside_the_schedulers_file(tmp_path: Path) -> None:
    assert worker.wanted(tmp_path / "cluster.json") == WorkerOptions()
    (tmp_path / "worker.json").write_text('{"threads": 2}')
    assert worker.wanted(tmp_path / "cluster.json") == WorkerOptions(threads=2)


async def test_a_worker_waits_for_a_scheduler_that_starts_later(tmp_path: Path) -> None:
    file = tmp_path / "cluster.json"
    waiting = asyncio.create_task(worker.scheduler_of(file, 60))
    await asyncio.sleep(0)
    assert not waiting.done()
    (tmp_path / "new").write_text('{"address": "tcp://127.0.0.1:8786"}')
    (tmp_path / "new").rename(file)
    assert (await waiting).address == "tcp://127.0.0.1:8786"


async def test_a_worker_without_a_scheduler_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "PATIENCE", 0.01)
    options = worker.parse(
        ["--file", str(tmp_path / "cluster.json"), "--names", "a", "--memory", "1", "--seconds", "9"]
    )
    assert await worker.run(options) == 1
    assert "has not started within 0.01 s" in caplog.text


def test_the_spill_folder_is_found_on_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker.scratch_folder(None, tmp_path) == tmp_path
    monkeypatch.setenv("SCRATCH", str(tmp_path / "of this job"))
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = worker.scratch_folder("$SCRATCH/dask", tmp_path)
    assert folder == tmp_path / "of this job" / "dask"
    assert folder.is_dir()
    assert worker.scratch_folder("~/spills", tmp_path) == tmp_path / "spills"


async def program_of(scheduler: Scheduler, keys: Keys, folder: Path, scratch: Path) -> asyncio.subprocess.Process:
    """Start the program of one worker of ``scheduler`` in a new process session; return the process.

    Its messages go to stderr, a pipe.
    """
    file = folder / "cluster.json"
    file.write_text(keys.tell(scheduler.address).model_dump_json())
    scratch.mkdir()
    words = (
        f"-P -m factorygate.cluster.worker --file {file} --names w-0 --memory {1 << 30} --seconds 600 --tmp {scratch}"
    )
    return await asyncio.create_subprocess_exec(
        sys.executable, *words.split(), stderr=asyncio.subprocess.PIPE, start_new_session=True
    )


def options(keys: Keys) -> dict[str, Any]:
    return {"host": "127.0.0.1", "protocol": "tls://", "security": keys, "dashboard_address": "127.0.0.1:0"}


async def test_a_program_that_is_told_to_end_leaves_nothing_behind(tmp_path: Path) -> None:
    keys, scratch = Keys.new(), tmp_path / "scratch"
    async with (
        Scheduler(**options(keys)) as scheduler,
        Client(scheduler.address, security=keys, asynchronous=True) as client,
    ):
        program = await program_of(scheduler, keys, tmp_path, scratch)
        await client.wait_for_workers(1, timeout=120)
        assert list(scratch.iterdir())
        told = await client.run(
            lambda dask_worker: (dask_worker.local_directory, dask.config.get("temporary-directory"))
        )
        assert all(Path(folder).is_relative_to(scratch) for folders in told.values() for folder in folders)
        running = client.submit(time.sleep, 2)
        async with asyncio.timeout(60):  # a test that is held up may find it done
            while not (task := scheduler.tasks.get(running.key)) or task.state not in ("processing", "memory"):
                await asyncio.sleep(0.02)
        program.terminate()
        assert await program.wait() == 0
        assert not list(scratch.iterdir())
        assert task.suspicious == 0  # no task is blamed for the end of a worker whose job ends


async def test_no_worker_starts_in_a_job_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site's scheduler signals all processes of a job, so a worker ends while its program still unregisters it."""
    keys, scratch = Keys.new(), tmp_path / "scratch"
    async with (
        Scheduler(**options(keys)) as scheduler,
        Client(scheduler.address, security=keys, asynchronous=True) as client,
    ):
        unregister = scheduler.handlers["unregister"]

        async def late(*arguments: Any, stimulus_id: str = "", **named: Any) -> Any:
            if stimulus_id.startswith("job-ends"):  # the program's own request
                await asyncio.sleep(1)
            return await unregister(*arguments, stimulus_id=stimulus_id, **named)

        monkeypatch.setitem(scheduler.handlers, "unregister", late)
        program = await program_of(scheduler, keys, tmp_path, scratch)
        await client.wait_for_workers(1, timeout=120)
        os.killpg(program.pid, signal.SIGTERM)
        _, said = await asyncio.wait_for(program.communicate(), 60)
        assert program.returncode == 0
        assert b"told to end" in said
        assert b"Restarting worker" not in said
        assert not list(scratch.iterdir())


class ScriptedLink:
    """A stand-in for the gateway that answers every request as a test wants."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.fails: list[LinkError] = []

    async def _answer(self, method: str, path: str, body: Any = None) -> Cluster:
        self.asked.append((method, path, body))
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails.pop(0)
        return cluster_told()

    async def put(self, path: str, body: object, _kind: object) -> Cluster:
        return await self._answer("PUT", path, body)

    async def post(self, path: str, body: object, _kind: object) -> Cluster:
        return await self._answer("POST", path, body)


@pytest.fixture
def link() -> ScriptedLink:
    return ScriptedLink()


@pytest.fixture
def cluster_api(link: ScriptedLink) -> ClusterApi:
    return ClusterApi(link, lambda _names: None)  # type: ignore[arg-type]


async def test_who_waits_for_a_report_after_the_last_one_is_told(cluster_api: ClusterApi) -> None:
    cluster_api._nothing_more(LinkError("conflict", "The cluster has ended."))
    with pytest.raises(LinkError, match="has ended"):
        await asyncio.wait_for(cluster_api.changed(), 5)


async def test_jobs_requested_together_are_one_request(cluster_api: ClusterApi, link: ScriptedLink) -> None:
    await asyncio.gather(*(cluster_api.submit(f"w-{n}") for n in range(200)))
    [(method, path, body)] = link.asked
    assert (method, len(body.names)) == ("PUT", 200)
    assert path.startswith(f"/clusters/{cluster_api.id}/batches/")
    await asyncio.gather(*(cluster_api.cancel(f"w-{n}") for n in range(200)))
    assert [(m, len(b.names)) for m, _, b in link.asked[1:]] == [("POST", 200)]


async def test_a_thousand_jobs_are_cancelled_without_a_task_for_each(
    cluster_api: ClusterApi, link: ScriptedLink
) -> None:
    """A thousand tasks in one turn of the event loop would delay Dask's scheduler, which runs in the same loop."""
    cancelling = asyncio.create_task(cluster_api.cancel(*(f"w-{n}" for n in range(1000))))
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) <= 3  # this test, the call, and the batch
    await cancelling
    assert [(method, len(body.names)) for method, _, body in link.asked] == [("POST", 1000)]


async def test_if_cancelling_fails_no_job_counts_as_cancelled(cluster_api: ClusterApi, link: ScriptedLink) -> None:
    link.fails = [LinkError("refused", "Not now.")]
    with pytest.raises(LinkError, match="Not now"):
        await cluster_api.cancel("w-0", "w-1")
    cluster_api.workers = {
        name: Worker(name=name, batch="b" * 32, state=WorkerState.RUNNING, asked=WHEN) for name in ("w-0", "w-1")
    }
    assert cluster_api.strays(()) == ["w-0", "w-1"]


async def test_kinds_and_thousands_go_apart(cluster_api: ClusterApi, link: ScriptedLink) -> None:
    asked = [cluster_api.submit(f"w-{n}") for n in range(1500)] + [cluster_api.submit(f"v-{n}", 2.0) for n in range(3)]
    await asyncio.gather(*asked)
    assert [(len(body.names), body.hours) for _, _, body in link.asked] == [(1000, None), (500, None), (3, 2.0)]


async def test_a_lost_answer_is_the_same_request_again(
    cluster_api: ClusterApi, link: ScriptedLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "PAUSES", (0.0, 0.0))
    link.fails = [LinkError("unreachable", "It does not answer.")] * 2
    await cluster_api.submit("w-0")
    assert len(link.asked) == 3
    assert len({path for _, path, _ in link.asked}) == 1


async def test_a_refusal_reaches_all_callers_at_once(cluster_api: ClusterApi, link: ScriptedLink) -> None:
    link.fails = [LinkError("refused", "Invalid account.")]
    outcomes = await asyncio.gather(cluster_api.submit("w-0"), cluster_api.submit("w-1"), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["Invalid account."] * 2
    assert len(link.asked) == 1
    await cluster_api.submit("w-2")


async def test_an_abandoned_cancellation_blocks_nobody(cluster_api: ClusterApi, link: ScriptedLink) -> None:
    given_up = asyncio.create_task(cluster_api.cancel("w-0"))
    asked = asyncio.create_task(cluster_api.submit("w-1"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait_for(asked, 60)
    assert [(method, body.names) for method, _, body in link.asked] == [("POST", ("w-0",)), ("PUT", ("w-1",))]
