"""dask-jobqueue's keywords, and their effects on real workers; the clusters are made outside a session."""

from __future__ import annotations

import asyncio
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from dask_jobqueue.core import JobQueueCluster
from distributed import Client

import factorygate
from factorygate import FactoryCluster
from factorygate.cluster.job import FactoryJob
from factorygate.cluster.keys import Keys
from tests.support.gateway import Gateway, eventually

pytestmark = pytest.mark.slurm
FACTORY = "lumi-aif"
SECONDS = 100  # seconds for workers to connect


@pytest.fixture(autouse=True)
def _here(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the gateway from this process, like a script with a token."""
    monkeypatch.setenv("FACTORYGATE_URL", gateway.root)
    token = gateway.token(gateway.make_user())
    monkeypatch.setenv("FACTORYGATE_TOKEN", token)
    monkeypatch.setenv("FACTORYGATE_FACTORY", FACTORY)
    estimate = f"{gateway.root}/services/factories/api/factories/{FACTORY}/estimate?size=gcd-1&hours=1"
    headers = {"Authorization": f"token {token}"}
    eventually(
        lambda: httpx.get(estimate, headers=headers, timeout=60).status_code == 200,
        what="a hub that has just begun has told the link who may start something",
    )


@pytest.fixture
def spills() -> Iterator[Path]:
    """Return the path of a folder that the workers create; the folder is removed after the test."""
    folder = Path(f"/tmp/factorygate-{uuid.uuid4().hex}")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_options_of_workers_reach_them(gateway: Gateway, spills: Path) -> None:
    asked: dict[str, Any] = {
        "cores": 4,
        "processes": 2,
        "memory": "2 GiB",
        "walltime": "0:07:00",
        "interface": "lo",
        "death_timeout": 90,  # enough time for a busy machine
        "local_directory": f"{spills}/$USER",
        "worker_extra_args": ["--preload colorsys", "--resources", "A=2,B=0.5"],
    }
    with FactoryCluster(n_workers=2, **asked) as cluster, Client(cluster) as client:
        client.wait_for_workers(2, timeout=SECONDS)
        [job] = cluster.cluster_api.workers.values()
        limit = gateway.factories[FACTORY].ask("squeue", "-h", "-j", job.job, "-o", "%l").strip()
        assert (cluster.place.size, limit) == ("gcd-1", "7:00")  # the smallest size that has the requested resources
        workers = client.scheduler_info()["workers"]
        assert all(address.startswith("tls://127.0.0.1:") for address in workers)
        for worker in workers.values():
            assert (worker["nthreads"], worker["memory_limit"]) == (2, 1 << 30)
            assert worker["resources"] == {"A": 2.0, "B": 0.5}
            assert worker["local_directory"].startswith(f"{spills}/{cluster.cluster_api.cluster.account}/")
        assert set(client.run(lambda: "colorsys" in sys.modules).values()) == {True}
        patience = client.run(lambda dask_worker: dask_worker.death_timeout)
        assert set(patience.values()) == {90}
        [mine] = spills.iterdir()
        assert list(mine.iterdir())
    eventually(lambda: not list(mine.iterdir()), SECONDS, what="nothing of it is left")


async def test_the_dask_labextension_can_make_a_cluster() -> None:
    """The cluster is made, scaled, adapted and closed as dask-labextension does with a configured class."""
    cluster = await getattr(factorygate, "FactoryCluster")(cores=1, memory="1 GB", asynchronous=True)  # noqa: B009
    async with Client(cluster, asynchronous=True) as client:
        await cluster.scale(1)
        await client.wait_for_workers(1, timeout=SECONDS)
        async with asyncio.timeout(SECONDS):
            while len(cluster.scheduler_info["workers"]) != 1:  # the cluster hears of it after the client
                await asyncio.sleep(0.05)
        assert cluster.scheduler_address.startswith("tls://")
        cluster.adapt(minimum=1, maximum=3)
        assert (cluster.adapting.minimum, cluster.adapting.maximum) == (1, 3)
        assert await client.submit(lambda: 6 * 7) == 42
    await cluster.close()
    assert not cluster.workers


def test_bounds_in_cores_and_memory() -> None:
    with FactoryCluster(cores=2, memory="2 GB", processes=2) as cluster:
        cluster.adapt(maximum_cores=5, maximum_memory="20 GB")
        assert (cluster.adapting.minimum, cluster.adapting.maximum) == (0, 2)
        cluster.adapt(maximum=3)
        assert cluster.adapting.maximum == 1
        cluster.scale(cores=0)
        assert cluster.adapting is None


async def test_a_job_in_a_plain_cluster_with_keys(tmp_path: Path) -> None:
    async with JobQueueCluster(
        1, job_cls=FactoryJob, cores=1, memory="1 GB", security=Keys.new(), shared_temp_directory=str(tmp_path),
        scheduler_options={"dashboard_address": "127.0.0.1:0"}, asynchronous=True,
    ) as cluster, Client(cluster, asynchronous=True) as client:  # fmt: skip
        await client.wait_for_workers(1, timeout=SECONDS)
        [address] = cluster.scheduler.workers
        assert address.startswith("tls://")
        assert await client.submit(lambda: 6 * 7) == 42
