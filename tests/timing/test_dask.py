"""Dask clusters at a real Slurm: workers that end together, again and again, and a named cluster that is found again.

After each round, no future that is still wanted is cancelled, the cluster still learns about its workers through its
first connection, and within 5 s it shows the true numbers.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from tests.support.bed import FACTORY, SIZE, Bed
from tests.support.gateway import Gateway, eventually

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(5400)]
JOBS = 10
SHOWN = 5.0  # seconds in which a cluster shows changes of its workers
REPLACED = 10.0  # seconds until another worker is up in place of one whose job was killed
FOUND = 2.0  # seconds in which a named cluster and its data are found again

MADE = f"""
import time
from dask.distributed import Client, wait
from factorygate import FactoryCluster
cluster = FactoryCluster(size={SIZE!r}, hours=1, silence_logs="critical")
client = Client(cluster)
began = (cluster._watch_worker_status_comm, client.scheduler_comm.comm)

def slow(number, seconds):
    time.sleep(seconds)
    return number * number

def whole():
    now = (cluster._watch_worker_status_comm, client.scheduler_comm.comm)
    assert now == began, f"a connection was opened again: {{cluster.message}}"
    assert not any(comm.closed() for comm in now), "a connection broke"
    assert not cluster._watch_worker_status_task.done(), "nobody hears of workers"

def settled(count, most):
    end = time.monotonic() + most
    while len(client.scheduler_info(n_workers=-1)["workers"]) != count and time.monotonic() < end:
        time.sleep(0.1)

def shown():
    view = cluster.view()
    return view.workers, view.count("running"), view.count("pending", "asked")
"""


@pytest.fixture
def bed(gateway: Gateway) -> Iterator[Bed]:
    made = Bed(gateway, hours=3)
    yield made
    made.gateway.stopped(made.user)
    eventually(lambda: not made.workers(), 60, what="no worker's job is left")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    return 50 if request.config.getoption("--long") else 2


def up(bed: Bed) -> None:
    bed.run(f"client.wait_for_workers({JOBS}, timeout=170)", timeout=180)


def shows(bed: Bed, what: str) -> float:
    """Return the seconds until the cluster shows ``what``: "WORKERS RUNNING_JOBS WAITING_JOBS", three numbers."""
    began = time.monotonic()
    eventually(lambda: bed.run("print(*shown())") == what, 60, every=0.1, what=f"shown: {what}")
    return time.monotonic() - began


def shown_as_lost(bed: Bed, jobs: list[str], names: list[str]) -> float:
    """Wait until these jobs have ended; return the seconds until the cluster shows none of them as running.

    ``jobs``: their ids at the scheduler; ``names``: their names in the cluster's view.
    """
    eventually(lambda: not set(jobs) & set(bed.workers()), 60, every=0.2, what="they have ended")
    began = time.monotonic()
    still = f"[j.name for j in cluster.view().jobs if j.name in {names!r} and (j.workers or j.state == 'running')]"
    eventually(lambda: bed.run(f"print({still})") == "[]", 60, every=0.1, what="shown")
    return time.monotonic() - began


def test_scaling_ten_jobs_to_nothing_cancels_nothing(bed: Bed, rounds: int) -> None:
    bed.run(MADE)
    slowest = 0.0
    for number in range(rounds):
        bed.run(f"cluster.scale(jobs={JOBS})")
        up(bed)
        bed.run(f"futures = client.map(lambda n: n + {number}, range(60), pure=False); wait(futures)")
        bed.run("cluster.scale(0)")
        eventually(lambda: not bed.workers(), 60, every=0.2, what="all jobs have ended")
        slowest = max(slowest, shows(bed, "0 0 0"))
        assert bed.run("print({f.status for f in futures}.isdisjoint({'cancelled', 'error'}))") == "True", number
        bed.run("whole()")
        print(f"round {number + 1}: {bed.run('print(cluster, repr(cluster.message))')}")
    bed.run("cluster.scale(jobs=1)")  # lost results are computed again
    assert bed.run(f"print(client.gather(futures) == [n + {rounds - 1} for n in range(60)])") == "True"
    print(f"scale(0) of {JOBS} jobs, {rounds} times: shown after {slowest:.1f} s at most")
    assert slowest < SHOWN
    bed.run("client.close(); cluster.close()")


def test_adapting_to_nothing_and_back_cancels_nothing(bed: Bed, rounds: int) -> None:
    bed.run(MADE)
    bed.run(f"cluster.adapt(maximum_jobs={JOBS}, idle_grace=0.5, interval='500ms')")
    slowest = 0.0
    for number in range(rounds):
        bed.run("futures = client.map(slow, range(4000), seconds=0.5, pure=False)")
        up(bed)
        bed.run("wanted = futures[:40]; del futures")
        assert bed.run("print(client.gather(wanted) == [n * n for n in range(40)])", timeout=180) == "True", number
        bed.run("settled(1, 60)")  # idle jobs are closed, except one that holds the results
        assert bed.run("print({f.status for f in wanted})") == "{'finished'}", number
        assert bed.run("print(client.gather(wanted) == [n * n for n in range(40)])") == "True", number
        bed.run("del wanted")
        eventually(lambda: not bed.workers(), 90, every=0.2, what="the last is closed, too")
        slowest = max(slowest, shows(bed, "0 0 0"))
        bed.run("whole()")
        print(f"round {number + 1}: {bed.run('print(cluster, repr(cluster.message))')}")
    print(f"adaptive {JOBS} to 0, {rounds} times: shown after {slowest:.1f} s at most")
    assert slowest < SHOWN
    bed.run("client.close(); cluster.close()")


def test_a_killed_job_is_replaced_in_under_ten_seconds(bed: Bed) -> None:
    bed.run(MADE)
    bed.run("cluster.scale(jobs=2); client.wait_for_workers(2, timeout=100)")
    for how in (("--signal=KILL", "--full"), ()):  # first by SIGKILL, then as Slurm ends a job, after a SIGTERM
        connected = "print(*sorted(cluster.worker_plan.connected()))"
        before, began = set(bed.run(connected).split()), time.monotonic()
        bed.gateway.factories[FACTORY].ask("scancel", *how, bed.workers()[0])
        eventually(lambda: len(set(bed.run(connected).split()) - before) == 1, 90, what="another's worker is up")  # noqa: B023
        seconds = time.monotonic() - began
        print(f"killed by scancel {' '.join(how)}: replaced after {seconds:.1f} s")
        assert seconds < REPLACED
        # The node reports the end of a killed job a little later.
        eventually(lambda: len(bed.workers()) == 2, 60, what="the killed job has ended")
    bed.run("client.close(); cluster.close()")


def test_eight_of_ten_jobs_that_the_site_cancels_take_nothing_with_them(bed: Bed, rounds: int) -> None:
    bed.run(MADE)
    bed.run(f"cluster.scale(jobs={JOBS})")
    seconds: list[float] = []
    for number, how in zip(range(rounds), itertools.cycle(((), ("--signal=KILL", "--full"))), strict=False):
        up(bed)
        bed.run(f"futures = client.map(lambda n: n + {number}, range(60), pure=False); wait(futures)")
        jobs = bed.workers()
        assert len(jobs) == JOBS
        lost = bed.run(f"print(*[j.name for j in cluster.view().jobs if j.job in {jobs[:8]!r}])").split()
        bed.gateway.factories[FACTORY].ask("scancel", *how, *jobs[:8])
        seconds.append(shown_as_lost(bed, jobs[:8], lost))
        statuses = bed.run("print(*sorted({f.status for f in futures}))").split()
        why = bed.run("print([f.exception() for f in futures if f.status == 'error'][:1])")
        assert not {"cancelled", "error"} & set(statuses), (number, statuses, why)
        assert bed.run(f"print(client.gather(futures) == [n + {number} for n in range(60)])") == "True", number
        bed.run("whole()")
        eventually(lambda: "have ended (" in bed.run("print(cluster.message)"), 30, what="why they ended")
        print(f"round {number + 1}: shown after {seconds[-1]:.1f} s: {bed.run('print(cluster.message)')}")
    print(f"scancel of 8 of {JOBS}, {rounds} times: shown after {max(seconds):.1f} s at most")
    assert max(seconds) < SHOWN
    bed.run("client.close(); cluster.close()")


def test_a_named_cluster_is_found_again_with_its_data(bed: Bed) -> None:
    bed.run(
        f"{MADE}\nnamed = FactoryCluster({SIZE!r}, 1, name='kept', hours=0.3)\n"
        "owner = named.get_client(); owner.wait_for_workers(1, timeout=100)\n"
        "kept = owner.submit(sum, range(10)); wait(kept); owner.publish_dataset(kept=kept)"
    )
    bed.kernel = bed.notebook.kernel()
    bed.run("import time\nfrom factorygate import FactoryCluster")
    found = bed.run(
        "began = time.monotonic()\n"
        "cluster = FactoryCluster.from_name('kept'); client = cluster.get_client()\n"
        "print(client.get_dataset('kept').result(), time.monotonic() - began)"
    )
    value, seconds = found.split()
    assert value == "45"
    assert float(seconds) < FOUND  # no job is started for this
    bed.run("client.close(); cluster.close()")
