"""Every node size of every factory on a real Slurm that is configured from the catalogue, with accounts and QOS.

The gateway's own script submits a job of each size. The job must start and have the promised resources. Requests that
the site must refuse are refused and explained. For a factory that the testbed cannot run, the reason is reported. Each
factory gives a row of the table in ``docs/factories.md``.
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

from factorycommon.models import Choice, Environment, Factory, JobOptions, JobRequest, JobState, NetworkEntry, NodeSize
from factorylink.catalogue import catalogue as federation
from factorylink.catalogue.choices import job_request, resolve
from factorylink.catalogue.site_answers import QUESTIONS, differences
from factorylink.config import Access
from factorylink.errors import Refused
from factorylink.explain import explain
from factorylink.schedulers.pbs import dialect as pbs
from factorylink.schedulers.pbs import script as pbs_script
from factorylink.schedulers.slurm import dialect as slurm
from testbed.errors import CannotLayOut
from testbed.install import environments as install
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from testbed.slurm.layout import node_sets
from tests.support.trial import CHECKOUT, as_account, cancel, eventually, state_of
from tests.unit.pbs_output import NAME, recorded

pytestmark = [pytest.mark.slurm, pytest.mark.root]

ALL = federation.load(CHECKOUT / "hub_config" / "factories").entries
PACKAGES = install.program_folder() / "slurm"  # unpacked once for all tests
TABLE = CHECKOUT / "docs" / "factories.md"
# The job prints the resources that Slurm gave it, and the variables for CUDA or ROCm.
SEE = """import json, os, subprocess
keys = ("SLURM_CPUS_ON_NODE", "SLURM_GPUS_ON_NODE", "SLURM_JOB_PARTITION", "CUDA_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
got = {key: os.environ.get(key, "") for key in keys}
got["job"] = subprocess.check_output(["scontrol", "-o", "show", "job", os.environ["SLURM_JOB_ID"]], text=True)
print("SEEN" + json.dumps(got), flush=True)"""


class Lab(NamedTuple):
    """The folders of a test: for the testbed's state, and for jobs of site accounts."""

    state: Path
    jobs: Path


class Bench(NamedTuple):
    """A running factory, and the folder for its jobs."""

    found: SlurmCluster
    factory: Factory
    access: Access
    jobs: Path

    def request(self, size: NodeSize) -> JobRequest:
        made = request(self.factory, self.access, size, self.jobs)
        path = f"PATH={self.found.env['PATH']}"
        return made.model_copy(update={"command": ("/usr/bin/env", path, "/usr/bin/python3", "-c", SEE)})

    def refuses(self, made: JobRequest, *options: str, words: str = "") -> str:
        """Assert that the factory refuses a job; return the code of the explanation that the person gets.

        ``options``: additional options of sbatch; ``words``: a part of the scheduler's message.
        """
        answer = as_account(self.found, "sbatch", *options, script=slurm.script(made))
        assert answer.returncode != 0, f"taken: {options} {made}"
        assert words in answer.stderr
        return explain.refused(answer.stderr).code


@pytest.fixture
def lab() -> Iterator[Lab]:
    folder = Path(tempfile.mkdtemp(prefix="factorygate-sizes-"))
    folder.chmod(0o755)
    jobs = folder / "jobs"
    jobs.mkdir()
    jobs.chmod(0o777)
    yield Lab(folder, jobs)
    shutil.rmtree(folder)


def request(factory: Factory, access: Access, size: NodeSize, folder: Path) -> JobRequest:
    made_there = Environment(id="made", title="Made", kind="venv", python="/made/bin/python")
    factory = factory.model_copy(update={"environments": (made_there,), "default_environment": None})
    choice = resolve(factory, Choice(size=size.id, hours=size.max_hours))
    made = job_request(
        factory, access, choice, JobOptions(), name="sizes", comment=size.id, folder=str(folder), argv=(),
        log=f"{size.id}.log",
    )  # fmt: skip
    return made.model_copy(update={"setup": ()})


def submit(bench: Bench, size: NodeSize) -> JobRequest:
    made = bench.request(size)
    answer = as_account(bench.found, "sbatch", "--parsable", script=slurm.script(made))
    assert answer.returncode == 0, answer.stderr
    return made


def starts(bench: Bench, size: NodeSize, made: JobRequest) -> None:
    """Assert that a job runs, and sees the GPUs, the cores and the memory of its size."""
    log = Path(made.output)
    seen_whole = eventually(lambda: log.exists() and "\n" in log.read_text().partition("SEEN")[2])
    assert seen_whole, bench.found.run("squeue").stdout
    seen = json.loads(log.read_text().partition("SEEN")[2].splitlines()[0])
    assert seen["SLURM_JOB_PARTITION"] == made.partition
    assert int(seen["SLURM_CPUS_ON_NODE"]) == made.cores
    if made.gpus:
        assert int(seen["SLURM_GPUS_ON_NODE"]) == made.gpus
        variable = {"NVIDIA": "CUDA_VISIBLE_DEVICES", "AMD": "ROCR_VISIBLE_DEVICES", "Intel": "ZE_AFFINITY_MASK"}
        assert len(seen[variable[bench.factory.accelerator.vendor]].split(",")) == made.gpus
    told = dict(word.partition("=")[::2] for word in seen["job"].split())
    assert told["Account"] == (bench.access.job_account or "").lower()
    assert made.qos is None or told["QOS"] == made.qos.lower()
    assert made.constraint is None or told["Features"] == made.constraint
    assert (told["OverSubscribe"] == "NO") == made.whole_node
    memory = mib(told["AllocTRES"])
    promised = made.memory_gb * 10**9 / 2**20  # a GB on a page is 10^9 bytes; Slurm counts in MiB
    if made.asks_memory and not made.whole_node:
        assert memory == int(promised)
    else:
        assert memory >= promised


def mib(told: str) -> float:
    found = re.search(r"mem=([\d.]+)([MGT])", told)
    assert found is not None, told
    return float(found[1]) * {"M": 1, "G": 1024, "T": 1024**2}[found[2]]


def goes_back(bench: Bench, size: NodeSize) -> None:
    """Assert that a requeued job waits under its id, as after a preemption."""
    made = bench.request(size).model_copy(update={"command": ("/usr/bin/sleep", "600"), "output": "/dev/null"})
    found = bench.found
    job = as_account(found, "sbatch", "--parsable", script=slurm.script(made)).stdout.strip()
    assert eventually(lambda: state_of(found, job) == "RUNNING"), state_of(found, job)
    assert found.run("scontrol", "requeue", job).returncode == 0
    assert eventually(lambda: state_of(found, job) == "PENDING"), state_of(found, job)
    cancel(found, job)


def refusals(bench: Bench) -> Iterator[str]:
    """Assert that the site refuses requests and that each is explained; yield a name of each refused request."""
    factory, size = bench.factory, bench.factory.sizes[0]
    made = bench.request(size)
    for each in factory.sizes:
        over = bench.request(each).walltime // 60 + 61
        if each.max_hours < _limit(factory, each):
            continue  # the page's own limit is below the site's
        assert bench.refuses(bench.request(each), f"--time={over}") == "time", each.id
    yield "hours"
    if made.gpus:
        more = made.model_copy(update={"gpus": factory.gpu(factory.partition(size.partition)).per_node + 1})
        assert bench.refuses(more) == "no-such-node"
        yield "GPUs"
    assert bench.refuses(made.model_copy(update={"account": "somebody-elses"})) == "account"
    yield "another's account"
    if factory.account_mandatory:
        assert bench.refuses(made.model_copy(update={"account": None})) == "account"
        yield "no account"
    if factory.qos_mandatory:
        assert bench.refuses(made.model_copy(update={"qos": None})) in ("qos", "time", "no-such-node")
        yield "no QOS"
    assert bench.refuses(made.model_copy(update={"qos": "unheard-of"})) == "qos"
    yield "unknown QOS"
    if factory.constraint is not None:
        assert bench.refuses(made.model_copy(update={"constraint": "unheard-of"})) == "feature"
        yield "unknown feature"
    for each in factory.sizes:
        cores = next((qos.max_cores for qos in factory.qos if qos.name == each.qos), None)
        if cores is not None:
            most = bench.request(each).model_copy(update={"cores": cores + 1})
            assert bench.refuses(most, words="QOSMaxCpu") == "no-such-node"
            yield "cores"


def _limit(factory: Factory, size: NodeSize) -> float:
    own = next((qos.max_hours for qos in factory.qos if qos.name == size.qos), None)
    return own or factory.partition(size.partition).max_hours or size.max_hours


def on_pbs(factory: Factory, jobs: Path) -> str:
    """Check the commands for PBS and the parsing of recorded answers of a real PBS, since no PBS runs jobs here.

    Return the refused requests as text.
    """
    access = Access(account_pool=("fg1",))
    for size in factory.sizes:
        lines = pbs.script(request(factory, access, size, jobs)).splitlines()
        assert f"#PBS -l select=1:{factory.constraint}" in lines
        assert f"#PBS -q {size.partition}" in lines
        assert f"#PBS -l walltime={pbs_script.clock(round(size.max_hours * 3600))}" in lines
    assert pbs.submit("#!/bin/sh\n").parse(recorded("qsub-ok")).endswith(".vm")
    assert {job.state for job in pbs.jobs(NAME).parse(recorded("qstat-mixed-json"))} >= {
        JobState.PENDING, JobState.RUNNING
    }  # fmt: skip
    for answer in ("qsub-walltime-over-limit", "qsub-unknown-queue", "qsub-bad-select"):
        with pytest.raises(Refused) as caught:
            pbs.submit("#!/bin/sh\n").parse(recorded(answer))
        assert explain.refused(caught.value.message).code != "unknown", answer
    return "hours, unknown queue, unknown resource"


def tried(entry: NetworkEntry, lab: Lab) -> tuple[str, str, str]:
    """Try the node sizes of an entry; return where they were tried, which sizes, and which requests were refused."""
    if not isinstance(entry, Factory):
        return "no machine yet", "", ""
    if entry.scheduler == "pbs":
        sizes = ", ".join(size.id for size in entry.sizes)
        return "recorded answers of OpenPBS 23.06", sizes, on_pbs(entry, lab.jobs)
    assert entry.scheduler == "slurm", f"nothing here tries the sizes of a factory with {entry.scheduler}"
    try:
        node_sets(entry)
    except CannotLayOut as error:
        assert not entry.sizes
        return f"not laid out: {str(error).partition(': ')[2]}", "", ""
    found = cluster.up(entry, lab.state, PACKAGES, gpu_nodes=1, accounting=True)
    try:
        bench = Bench(found, entry, Access.model_validate(found.access_fields()), lab.jobs)
        asked = [(size, submit(bench, size)) for size in entry.sizes]
        for size, made in asked:
            starts(bench, size, made)
        for size in entry.sizes[:1]:
            if entry.partition(size.partition).preempt_requeue:
                goes_back(bench, size)
        refused = ", ".join(refusals(bench)) if entry.sizes else ""
        told = {what: found.run(*argv).stdout for what, argv in QUESTIONS.items()}
        assert differences(entry, told) == []
    finally:
        found.down()
    return "Slurm with slurmdbd", ", ".join(size.id for size in entry.sizes), refused


@pytest.mark.parametrize("entry", list(ALL.values()), ids=list(ALL))
def test_each_size_gets_what_it_promises(
    entry: NetworkEntry, lab: Lab, record_property: Callable[[str, object], None]
) -> None:
    where, sizes, refused = tried(entry, lab)
    if isinstance(entry, Factory):
        unknown = "; ".join(f"{sketch.id} ({', '.join(sketch.lacks)})" for sketch in entry.sketches)
    else:
        unknown = ", ".join(entry.not_found)
        assert unknown
    row = f"| `{entry.id}` | {where} | {sizes} | {refused} | {unknown} |"
    record_property("row", row)
    assert row in TABLE.read_text().splitlines(), f"put this row into {TABLE.name}: {row}"
