"""Every fault of the testbed has its effect, and the fault's undo restores the earlier state."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.errors import FaultFailed, NoSuchFault
from testbed.faults import faults
from testbed.network import login_side
from testbed.network.login_side import Isolation
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.support.isolated import Visitor, answers
from tests.support.trial import FACTORY, eventually, python, state_of

pytestmark = [pytest.mark.slurm, pytest.mark.root]

ADA = "fg-ada"


@pytest.fixture(scope="module")
def factory() -> Iterator[SlurmCluster]:
    folder = Path(tempfile.mkdtemp(prefix="factorygate-faults-"))
    folder.chmod(0o755)
    found = cluster.up(FACTORY, folder, isolation=Isolation())
    yield found
    found.down()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def visitor(factory: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Visitor:
    return Visitor(tmp_path_factory.mktemp("keys"), factory)


@pytest.fixture(autouse=True)
def nothing_stands_afterwards(factory: SlurmCluster) -> Iterator[None]:
    yield
    left = faults.standing(factory)
    for fault in left:  # of a test that failed, so that the others do not
        fault.undo()
    assert left == []
    assert eventually(factory.ready, 60)


def submit(visitor: Visitor, partition: str = "shared", node: str = "gpu001") -> str:
    """Submit a job, wait until it runs, and return its id."""
    options = f"-p {partition} -w {node} -c 1 -t 30 -o /dev/null"
    job = visitor.says(ADA, f"sbatch --parsable {options} --wrap 'sleep 900'")
    assert eventually(lambda: state_of(visitor.cluster, job) == "RUNNING", 90)
    return job


def cancel(visitor: Visitor, job: str) -> None:
    visitor.cluster.run("scancel", job)
    assert eventually(lambda: state_of(visitor.cluster, job) not in ("RUNNING", "COMPLETING", "PENDING"), 60)


# --- faults of the network --------------------------------------------------------------------------------------------


def test_a_cut_silences_existing_and_new_connections(factory: SlurmCluster, visitor: Visitor) -> None:
    with visitor.line(ADA) as line:
        with faults.begin(factory, "cut"):
            assert not line.echoes(2)
            assert not answers(visitor.address, 22)
        assert line.echoes(60)  # TCP retransmits by itself
    assert answers(visitor.address, 22)


def test_a_slow_network_also_slows_existing_connections(factory: SlurmCluster, visitor: Visitor) -> None:
    with visitor.line(ADA) as line:
        with faults.begin(factory, "slow", 400, 0):
            since = time.monotonic()
            assert line.echoes(30)
            assert time.monotonic() - since >= 0.4
            since = time.monotonic()
            assert answers(visitor.address, 22, seconds=30)
            assert time.monotonic() - since >= 0.4
        assert line.echoes(60)
    trips = []
    with visitor.line(ADA) as line:
        for _ in range(10):
            since = time.monotonic()
            assert line.echoes(30)
            trips.append(time.monotonic() - since)
    assert min(trips) < 0.4


def test_a_slow_wire_loses_its_share(factory: SlurmCluster, visitor: Visitor) -> None:
    with visitor.line(ADA) as line:
        with faults.begin(factory, "slow", 0, 100):
            assert not line.echoes(2)
        assert line.echoes(60)
        with faults.begin(factory, "slow", 20, 30):
            assert all(line.echoes(60) for _ in range(5))


def test_slow_and_cut_at_once(factory: SlurmCluster, visitor: Visitor) -> None:
    with faults.begin(factory, "slow", 10, 0), faults.begin(factory, "cut"):
        assert not answers(visitor.address, 22)
        assert [str(fault.outage) for fault in faults.standing(factory)] == ["cut", "slow 10 0"]


# --- faults of the login side ----------------------------------------------------------------------------------------


def test_sshd_down_ends_connections_and_refuses_new_ones(factory: SlurmCluster, visitor: Visitor) -> None:
    with visitor.line(ADA) as line, faults.begin(factory, "sshd-down"):
        assert line.process.wait(60) == 255
        assert "Connection refused" in visitor.run(ADA, "true").stderr
    assert visitor.says(ADA, "id -un") == ADA


def test_another_host_key(factory: SlurmCluster, visitor: Visitor) -> None:
    with faults.begin(factory, "hostkey"):
        assert "HOST IDENTIFICATION HAS CHANGED" in visitor.run(ADA, "true").stderr
        assert factory.access_fields()["transport"]["host_keys"] == [  # type: ignore[index]
            login_side.public(login_side.host_key(factory.folder))
        ], "what the link is told to expect does not change with it"
    assert visitor.says(ADA, "id -un") == ADA


def test_a_site_that_trusts_us_no_more(factory: SlurmCluster, visitor: Visitor) -> None:
    with visitor.line(ADA) as line, faults.begin(factory, "auth"):
        assert "Permission denied" in visitor.run(ADA, "true").stderr
        assert line.echoes(60)
    assert visitor.says(ADA, "id -un") == ADA


def test_a_full_disk(factory: SlurmCluster, visitor: Visitor) -> None:
    visitor.says(ADA, "mkdir -p folder && echo before > folder/file")
    with faults.begin(factory, "disk-full", ADA):
        assert visitor.says(ADA, "cat folder/file") == "before"
        assert "No space left" in visitor.run(ADA, "head -c 100000 /dev/zero > more").stderr
        assert visitor.run(ADA, "srun -p shared -t 1 sh -c 'head -c 100000 /dev/zero > more'").returncode
        assert visitor.says("fg-grace", "echo free > more && cat more") == "free"
    assert visitor.says(ADA, "cat folder/file") == "before"
    visitor.says(ADA, "head -c 100000 /dev/zero > more && rm more")


# --- faults of the scheduler ------------------------------------------------------------------------------------------


def test_jobs_survive_a_slurmctld_that_is_down(factory: SlurmCluster, visitor: Visitor) -> None:
    job = submit(visitor)
    with faults.begin(factory, "slurmctld-down"):
        assert "DOWN" in visitor.run(ADA, "scontrol ping").stdout
    assert state_of(factory, job) == "RUNNING"
    cancel(visitor, job)


def test_a_lost_node_takes_its_jobs_with_it(factory: SlurmCluster, visitor: Visitor) -> None:
    job = submit(visitor)
    with faults.begin(factory, "node-down", "gpu001", "now"):
        assert not answers("gpu001", 6818, factory.on("gpu002"))
        assert eventually(lambda: state_of(factory, job) == "PENDING", 60), "it is queued again, on no node"
    assert eventually(lambda: answers("gpu001", 6818, factory.on("gpu002")), 60)
    cancel(visitor, job)


def test_a_drained_node_keeps_its_jobs_and_takes_no_more(factory: SlurmCluster, visitor: Visitor) -> None:
    job = submit(visitor)
    with faults.begin(factory, "drain", "gpu001"):
        assert state_of(factory, job) == "RUNNING"
        asked = "sbatch --parsable -p shared -w gpu001 -t 1 -o /dev/null --wrap true"
        waiting = visitor.says(ADA, asked)
        assert eventually(lambda: "ReqNodeNotAvail" in factory.run("squeue", "-h", "-j", waiting, "-o", "%r").stdout)
    assert eventually(lambda: state_of(factory, waiting) == "COMPLETED", 60)
    cancel(visitor, job)


def test_the_administrator_requeues_and_ends_jobs(factory: SlurmCluster, visitor: Visitor) -> None:
    job = submit(visitor)
    faults.begin(factory, "requeue", job)
    assert eventually(lambda: state_of(factory, job) == "PENDING", 60)
    faults.begin(factory, "kill", job)
    assert eventually(lambda: state_of(factory, job) == "CANCELLED", 60)
    with pytest.raises(FaultFailed, match="no job"):
        faults.begin(factory, "kill", job)


def test_a_job_gives_way_where_its_partition_does(factory: SlurmCluster, visitor: Visitor) -> None:
    job = submit(visitor, "spare")
    with faults.begin(factory, "preempt", job):
        assert state_of(factory, job) == "PENDING"
        assert factory.run("squeue", "-h", "-t", "R", "-w", "gpu001", "-o", "%P").stdout.split() == ["shared"]
    assert eventually(lambda: state_of(factory, job) == "RUNNING", 60), "there is room again"
    cancel(visitor, job)


def test_a_job_of_any_other_partition_is_requeued(factory: SlurmCluster, visitor: Visitor) -> None:
    job = submit(visitor, "shared")
    with faults.begin(factory, "preempt", job):
        assert eventually(lambda: state_of(factory, job) == "PENDING", 60)
    cancel(visitor, job)


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("flood",), "none of slurmctld-down"),
        (("cut", "twice"), "usage: cut"),
        (("node-down",), r"usage: node-down NODE \[now\]"),
    ],
)
def test_an_unknown_fault_is_refused(factory: SlurmCluster, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(NoSuchFault, match=said):
        faults.begin(factory, *words)


@pytest.mark.parametrize(
    "words", [("node-down", "gpu009"), ("disk-full", "root"), ("drain", "gpu009"), ("preempt", "1"), ("slow", "very")]
)
def test_a_fault_that_could_not_be_made_is_not_recorded(factory: SlurmCluster, words: tuple[str, ...]) -> None:
    with pytest.raises(FaultFailed):
        faults.begin(factory, *words)


def test_a_factory_that_is_not_isolated_has_no_wire_to_cut(factory: SlurmCluster) -> None:
    place = factory.record.place.model_copy(update={"network": None})
    plain = SlurmCluster(factory.folder, factory.record.model_copy(update={"place": place}), factory._slurm)
    with pytest.raises(NoSuchFault, match="--isolated"):
        faults.begin(plain, "cut")


def test_another_process_can_mend_a_fault(factory: SlurmCluster, visitor: Visitor) -> None:
    state = ("--state", str(factory.folder.parent))
    begun = python("-m", "testbed", "fault", FACTORY.id, "cut", *state)
    assert begun.returncode == 0, begun.stderr
    assert not answers(visitor.address, 22)
    with pytest.raises(NoSuchFault, match="stands already"):
        faults.begin(factory, "cut")
    assert python("-m", "testbed", "fault", FACTORY.id, *state).stdout == "cut\n"
    assert python("-m", "testbed", "fault", FACTORY.id, "cut", "--undo", *state).returncode == 0
    assert answers(visitor.address, 22)
    again = python("-m", "testbed", "fault", FACTORY.id, "cut", "--undo", *state)
    assert (again.returncode, "no such fault" in again.stderr) == (1, True)
