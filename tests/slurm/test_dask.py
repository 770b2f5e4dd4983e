"""A Dask cluster from a notebook: its workers are real jobs of a real Slurm, requested through the link."""

from __future__ import annotations

import pytest

from tests.support.bed import FACTORY, SIZE, Bed
from tests.support.gateway import eventually

pytestmark = pytest.mark.slurm

MADE = """
from dask.distributed import Client, wait
from factorygate import FactoryCluster
cluster = FactoryCluster(size={size!r}, workers={workers}, hours=0.3, silence_logs="critical")
client = Client(cluster)
if {workers}:
    client.wait_for_workers({workers}, timeout=100)
"""


def test_workers_come_compute_and_go(bed: Bed) -> None:
    bed.run(MADE.format(size=SIZE, workers=2))
    assert len(bed.workers()) == 2
    assert bed.run("print(sum(client.gather(client.map(lambda x: x * x, range(100)))))") == "328350"
    where = bed.run(
        "import os\n"
        "print(client.run(lambda: os.environ['FACTORYGATE_JOB_INDEX'] + os.environ['ROCR_VISIBLE_DEVICES']).values())"
    )
    assert "'1" in where and "'2" in where  # each worker is a task of one array, with its own GPU
    view = "view = cluster.view(); print(view.workers, view.count('running'), view.gpu_hours_committed > 0.5)"
    eventually(lambda: bed.run(view) == "2 2 True", 60, what="the gateway has told what Dask knows before")
    name = bed.run("name = cluster.view().jobs[0].name; print(name)")
    # the log of a running job
    assert f"{name}: 1 workers of tls://" in bed.run("print(*cluster.log_tail(name), sep='\\n')")
    assert bed.run("print(any(job.log_tail for job in cluster.view().jobs if job.name == name))") == "True"
    scratch = bed.run(
        "import dask\n"
        "print(*client.run(lambda dask_worker: dask_worker.local_directory).values(), sep='\\n')\n"
        "print(*client.run(lambda: dask.config.get('temporary-directory')).values(), sep='\\n')"
    )
    assert all("/factorygate-worker-" in folder for folder in scratch.split())
    assert "/clusters/" in bed.run("print(cluster.scheduler.local_directory)")
    bed.run("cluster.scale(0)")
    eventually(lambda: not bed.workers(), 60, what="scaled to nothing")
    # the log of a job that has ended; its first lines may be above the tail, where Dask says at length how it ends
    assert "distributed.nanny" in bed.run("print(*cluster.log_tail(name), sep='\\n')")
    bed.run("client.close(); cluster.close()")


def test_scaling_down_loses_nothing_and_a_lost_job_is_replaced(bed: Bed) -> None:
    bed.run(MADE.format(size=SIZE, workers=2))
    bed.run("futures = client.map(lambda x: x + 1, range(60)); wait(futures)")
    bed.run("started = client.submit(lambda: None); cluster.scale(1)")
    eventually(lambda: len(bed.workers()) == 1, 90, what="one is left")
    kept = "print(sum(f.status == 'finished' for f in futures), client.gather(futures) == list(range(1, 61)))"
    assert bed.run(kept) == "60 True"
    [job] = bed.workers()
    bed.gateway.factories[FACTORY].ask("scancel", "--signal=KILL", "--full", job)
    eventually(lambda: bed.workers() and job not in bed.workers(), 60, what="another takes its place")
    bed.run("client.wait_for_workers(1, timeout=100)")
    assert bed.run("print(client.submit(lambda: 6 * 7).result(timeout=60))") == "42"
    lost = "print([job.state for job in cluster.view().jobs if job.why and job.state != 'running'])"
    eventually(lambda: "lost" in bed.run(lost), 60, what="the gateway has told that a job was lost")
    bed.run("client.close(); cluster.close()")


def test_a_plain_client_gets_nothing(bed: Bed) -> None:
    bed.run(MADE.format(size=SIZE, workers=1))
    said = bed.run(
        "address = cluster.scheduler_address.replace('tls://', 'tcp://')\n"
        "try:\n    Client(address, timeout=3)\n    print('in')\nexcept OSError:\n    print('refused')"
    )
    assert said == "refused"
    assert bed.run("print(client.submit(lambda: 1).result())") == "1"
    bed.run("client.close(); cluster.close()")


def test_refusals_by_scheduler_and_cap_are_shown(bed: Bed) -> None:
    bed.run(MADE.format(size=SIZE, workers=0).replace("workers=0,", "workers=0, cap_gpu_hours=0.5,"))
    said = bed.run("try:\n    cluster.scale(jobs=5)\nexcept ValueError as error:\n    print(error)")
    assert "0.5 GPU-hours" in said
    factory = bed.gateway.factories[FACTORY]
    factory.ask("scontrol", "update", "PartitionName=dev-g", "State=DOWN")
    factory.ask("scontrol", "update", "PartitionName=dev-g", "State=INACTIVE")
    try:
        said = bed.run(
            "from factorygate.link import LinkError\n"
            "try:\n    cluster.scale(jobs=1)\n    print('taken')\nexcept LinkError as error:\n    print(error)"
        )
        assert said != "taken" and said
        assert bed.run("print(len(cluster.workers), len(cluster.worker_spec))") == "0 0"
    finally:
        factory.ask("scontrol", "update", "PartitionName=dev-g", "State=UP")
    bed.run("cluster.scale(jobs=1); client.wait_for_workers(1, timeout=100)")
    bed.run("client.close(); cluster.close()")
