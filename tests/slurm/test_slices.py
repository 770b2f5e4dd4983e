"""Shards of GPUs on a real Slurm: a job gets the number of shards in its node size, and its own check confirms this."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from factorycommon.models import Factory, NodeSize, NodeState
from factorylink.schedulers.command import Output
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.schedulers.slurm.script import script
from factorylink.site.availability import fits
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.support.trial import CHECKOUT, FACTORY, as_account, eventually
from tests.unit.test_slurm import request

pytestmark = pytest.mark.slurm

QUARTER = NodeSize(
    id="shard-2", gpus=1, gres="shard:2", billed_gpus="1/4", cores=1, memory_gb=1, partition="shared", max_hours=1
)
CHECK = """\
import asyncio
from factorygate.gpu_slices import check
from factorygate.job_environment import job_environment
asyncio.run(check(job_environment()))
print("SLICE OK", flush=True)
"""


def sliced() -> Factory:
    values = {name: getattr(FACTORY, name) for name in type(FACTORY).model_fields}
    return Factory.model_validate({**values, "sizes": (*FACTORY.sizes, QUARTER)})


@pytest.fixture(scope="module")
def running() -> Iterator[SlurmCluster]:
    folder = Path(tempfile.mkdtemp(prefix="factorygate-slices-"))
    folder.chmod(0o755)
    found = cluster.up(sliced(), folder)
    yield found
    found.down()
    shutil.rmtree(folder)


def log_of(running: SlurmCluster, folder: Path, says: str) -> str:
    """Run a job with two shards that checks that it has the slices in ``says``, such as "shard:2"; return its log."""
    log = folder / f"{says.replace(':', '-')}.log"
    made = request(
        partition="shared", gpus=1, cores=1, memory_gb=1, gres=QUARTER.gres, gpu_slice=says, output=str(log),
        setup=(f"export PYTHONPATH={CHECKOUT / 'spawners'}:{CHECKOUT / 'extensions'}",),
        command=(sys.executable, "-c", CHECK), account=running.record.job_account, qos=running.record.job_qos,
    )  # fmt: skip
    answer = as_account(running, "sbatch", "--parsable", "--wait", script=script(made))
    return answer.stderr + log.read_text()


def test_a_job_has_exactly_the_shards_of_its_size(running: SlurmCluster) -> None:
    folder = Path(tempfile.mkdtemp(prefix="factorygate-slice-job-"))
    folder.chmod(0o777)
    assert "SLICE OK" in log_of(running, folder, "shard:2")
    assert "3 shards requested, but Slurm gave 2" in log_of(running, folder, "shard:3")
    shutil.rmtree(folder)


def test_free_shards_are_counted(running: SlurmCluster) -> None:
    command = slurm.nodes()

    def nodes() -> list[NodeState]:
        answer = running.run(*command.argv)
        return command.parse(Output(answer.stdout, answer.stderr, answer.returncode))

    def counted() -> bool:
        found = [(node.gpus, node.slices_free) for node in nodes() if "shared" in node.partitions]
        return found == [(4, {"": 32})] * 2

    # four GPUs of eight shards on each of two nodes; one shard is no whole GPU
    assert eventually(counted)  # the nodes may still end the jobs of the test before
    assert fits(sliced(), nodes(), QUARTER) == 2 * 16
