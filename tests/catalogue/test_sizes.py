"""Every node size of every factory on a real Slurm that is laid out as the catalogue says.

Each is submitted by the gateway's own script, starts, and has in the job what the page promised; what is above its
partition's limit is refused, and explained. Of factories that cannot be laid out it is said why.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from factorylink import explain, federation
from factorylink.choices import job_request, resolve
from factorylink.config import Access
from factorylink.models import Choice, Entry, Factory, JobOptions, JobRequest, NodeSize
from factorylink.schedulers.slurm_script import script
from testbed import cluster
from testbed.cluster import Cluster
from testbed.errors import CannotLayOut
from testbed.layout import node_sets
from tests.support.trial import CHECKOUT, as_account, cancel, eventually, state_of

pytestmark = [pytest.mark.slurm, pytest.mark.root]

ALL = federation.load(CHECKOUT / "hub_config" / "factories").entries
# Printed by the job itself: what Slurm gave it.
SEE = """import json, os
got = {key: os.environ.get(key, "") for key in ("SLURM_CPUS_ON_NODE", "SLURM_GPUS_ON_NODE", "SLURM_JOB_PARTITION")}
print("SEEN" + json.dumps(got), flush=True)
import time
time.sleep(600)"""


class Lab(NamedTuple):
    """A folder that site accounts may write in."""

    state: Path
    jobs: Path


@pytest.fixture
def lab() -> Iterator[Lab]:
    folder = Path(tempfile.mkdtemp(prefix="factorygate-sizes-"))
    folder.chmod(0o755)
    jobs = folder / "jobs"
    jobs.mkdir()
    jobs.chmod(0o777)
    yield Lab(folder, jobs)
    shutil.rmtree(folder)


def request(factory: Factory, size: NodeSize, folder: Path) -> JobRequest:
    access = Access(account_pool=("fg1",), job_account=factory.account_example)
    choice = resolve(factory, Choice(size=size.id, hours=size.max_hours))
    made = job_request(
        factory, access, choice, JobOptions(), name="sizes", comment=size.id, folder=str(folder), argv=(),
        log=f"{size.id}.log",
    )  # fmt: skip
    return made.model_copy(update={"setup": (), "command": ("/usr/bin/python3", "-c", SEE)})


def starts(found: Cluster, made: JobRequest) -> None:
    """It is accepted and runs; it sees the GPUs and cores of its size, and Slurm holds the memory for it."""
    answer = as_account(found, "sbatch", "--parsable", script=script(made))
    assert answer.returncode == 0, answer.stderr
    job = answer.stdout.strip()
    log = Path(made.output)
    assert eventually(lambda: log.exists() and "SEEN" in log.read_text(), 30), state_of(found, job)
    seen = json.loads(log.read_text().partition("SEEN")[2])
    told = found.run("scontrol", "--oneliner", "show", "job", job).stdout
    cancel(found, job)
    assert seen["SLURM_JOB_PARTITION"] == made.partition
    assert int(seen["SLURM_GPUS_ON_NODE"]) == made.gpus
    assert int(seen["SLURM_CPUS_ON_NODE"]) == made.cores
    memory = mib(told)
    if made.asks_memory and not made.whole_node:
        assert memory == made.memory_gb * 1000
    else:
        assert memory >= made.memory_gb * 1000


def mib(told: str) -> float:
    found = re.search(r"AllocTRES=\S*mem=([\d.]+)([MGT])", told)
    assert found is not None, told
    return float(found[1]) * {"M": 1, "G": 1024, "T": 1024**2}[found[2]]


def over_the_limit_is_explained(found: Cluster, factory: Factory, folder: Path) -> None:
    size = factory.sizes[0]
    made = request(factory, size, folder)
    answer = as_account(found, "sbatch", "--time=31-00:00:00", script=script(made))
    assert answer.returncode != 0
    assert explain.refused(answer.stderr).code == "time"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("entry", list(ALL.values()), ids=list(ALL))
def test_each_size_gets_what_it_promises(
    entry: Entry, lab: Lab, record_property: Callable[[str, object], None]
) -> None:
    if not isinstance(entry, Factory):
        record_property("row", f"planned; not found: {', '.join(entry.not_found)}")
        assert entry.not_found
        return
    lacking = "; ".join(f"{sketch.id} lacks {', '.join(sketch.lacks)}" for sketch in entry.sketches)
    unknown = f"; {lacking}" if lacking else ""
    try:
        node_sets(entry)
    except CannotLayOut as error:
        record_property("row", f"not laid out ({str(error).partition(': ')[2]}){unknown}")
        assert entry.scheduler != "slurm" or not entry.sizes
        return
    found = cluster.up(entry, lab.state, gpu_nodes=1)
    try:
        for size in entry.sizes:
            starts(found, request(entry, size, lab.jobs))
        over_the_limit_is_explained(found, entry, lab.jobs)
    finally:
        found.down()
    record_property("row", f"started and measured: {', '.join(size.id for size in entry.sizes)}{unknown}")
