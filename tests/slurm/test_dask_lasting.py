"""A Dask cluster outlives its jobs: killed jobs, jobs that reached their walltime, and jobs that were not needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.bed import FACTORY, SIZE, Bed
from tests.support.gateway import eventually

pytestmark = pytest.mark.slurm

WAIT = 10.0  # seconds in the queue

MADE = """
import atexit, pathlib, time
from dask.distributed import Client, wait
from factorygate import FactoryCluster
cluster = FactoryCluster(size={size!r}, silence_logs="critical", {options})
client = Client(cluster)
begun = pathlib.Path.home() / f"begun-{{cluster.name}}"
atexit.register(begun.unlink, missing_ok=True)

def slow(number, seconds):
    with open(begun, "a") as file:
        file.write(f"{{number}}\\n")
    time.sleep(seconds)
    return number * number

def numbers(job):
    return int(job.rpartition("-")[2])
"""
ASKED = "print(len(cluster.cluster_api.workers))"  # number of jobs that were ever requested
CONNECTED = "print(*sorted(cluster.worker_plan.connected()))"


def made(bed: Bed, options: str, size: str = SIZE) -> None:
    bed.run(MADE.format(size=size, options=options))


@contextmanager
def queue(bed: Bed) -> Iterator[None]:
    """Make every job of a cluster wait for ten seconds, during the block.

    The cluster's partition starts no jobs, and jobs that have waited are moved to another partition with the same
    nodes.
    """
    factory, over = bed.gateway.factories[FACTORY], threading.Event()

    def serve() -> None:
        while not over.wait(0.2):
            waiting = factory.ask("squeue", "-h", "-r", "-t", "PENDING", "-p", "dev-g", "-o", "%i %V", check=False)
            for line in waiting.splitlines():
                job, submitted = line.split()
                if time.time() - time.mktime(time.strptime(submitted, "%Y-%m-%dT%H:%M:%S")) >= WAIT:
                    factory.ask("scontrol", "update", f"JobId={job}", "Partition=small-g", check=False)

    serving = threading.Thread(target=serve)
    factory.ask("scontrol", "update", "PartitionName=dev-g", "State=DOWN")
    serving.start()
    try:
        yield
    finally:
        over.set()
        serving.join()
        factory.ask("scontrol", "update", "PartitionName=dev-g", "State=UP")


# --- lost jobs


def test_a_killed_job_is_replaced(bed: Bed) -> None:
    made(bed, "workers=2")
    bed.run("client.wait_for_workers(2, timeout=100)")
    for how in (("--signal=KILL", "--full"), ()):  # first by SIGKILL, then as Slurm ends a job, after a SIGTERM
        before, jobs = bed.run(CONNECTED).split(), bed.workers()
        bed.gateway.factories[FACTORY].ask("scancel", *how, jobs[0])
        eventually(lambda: len(set(bed.run(CONNECTED).split()) - set(before)) == 1, 90, what="another's worker is up")  # noqa: B023
        # The node reports the end of a killed job a little later.
        eventually(lambda: len(bed.workers()) == 2, 60, what="the killed job has ended")
        assert bed.run("print(client.submit(sum, [1, 2]).result(timeout=60))") == "3"


# --- expired jobs


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("seconds", "jobs"),
    [(65, 4), pytest.param(200, 8, marks=pytest.mark.long)],
    ids=["one walltime", "three walltimes"],
)
def test_work_that_takes_longer_than_jobs_may_is_done_once(bed: Bed, seconds: int, jobs: int) -> None:
    """Jobs of one minute, Slurm's shortest limit, are replaced every half minute."""
    made(bed, "workers=2, hours=1 / 60")
    bed.run("client.wait_for_workers(2, timeout=100)")
    threads = int(bed.run("print(sum(client.nthreads().values()))"))
    tasks = int(threads * seconds / 1.5)
    bed.run(f"futures = client.map(slow, range({tasks}), seconds=1.5, pure=False)")
    left = f"print(len(futures) - sum(f.status == 'finished' for f in futures), {ASKED[6:-1]})"
    eventually(lambda: bed.run(left).split()[0] == "0", 3 * seconds + 60, every=2, what="all is done")
    assert bed.run(f"print(client.gather(futures) == [n * n for n in range({tasks})])") == "True"
    begun = int(bed.run("print(len(begun.read_text().split()))"))
    asked = int(bed.run(ASKED))
    print(f"{tasks} tasks, begun {begun} times, {asked} jobs")
    assert begun <= 1.1 * tasks
    assert asked >= jobs  # replaced once, and three times
    bed.run("client.close(); cluster.close()")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_results_outlive_jobs_also_where_no_more_may_run_at_a_time(bed: Bed) -> None:
    """The nodes are full, so a replacement starts only after another job has ended.

    So the jobs of a batch end one by one.
    """
    made(bed, "workers=12, hours=3 / 60", size="gcd-4")
    bed.run("client.wait_for_workers(12, timeout=90)")
    threads = int(bed.run("print(sum(client.nthreads().values()))"))
    tasks = int(threads * 420 / 1.5)
    bed.run(f"futures = client.map(slow, range({tasks}), seconds=1.5, pure=False)")
    left = "print(len(futures) - sum(f.status == 'finished' for f in futures))"

    eventually(lambda: bed.run(left) == "0", 840, every=5, what="all is done")
    assert bed.run(f"print(client.gather(futures) == [n * n for n in range({tasks})])") == "True"
    begun = int(bed.run("print(len(begun.read_text().split()))"))
    print(f"{tasks} tasks, begun {begun} times, {bed.run(ASKED)} jobs")
    assert begun <= 1.1 * tasks


# --- adapting


def test_adapting_with_a_queue_asks_for_little_more_than_it_needs(bed: Bed, request: pytest.FixtureRequest) -> None:
    made(bed, "workers=0")
    with queue(bed):
        bed.run("cluster.adapt(maximum_jobs=4)")
        for _ in range(3 if request.config.getoption("--long") else 2):  # bursts of tasks, with idle times between them
            bed.run("futures = client.map(slow, range(400), seconds=0.5, pure=False); done = wait(futures)")
            bed.run("time.sleep(4)")
        asked = int(bed.run(ASKED))
        print(f"4 jobs are needed, {asked} were asked for")
        assert 4 <= asked <= 6
        assert len(bed.workers()) == asked  # no job was released between the bursts
        eventually(lambda: len(bed.workers()) == 1, 90, what="idle jobs are closed, but for one that has the results")
        assert bed.run("print(client.gather(futures) == [n * n for n in range(400)])") == "True"
        bed.run("del futures, done")
        eventually(lambda: not bed.workers(), 90, what="the last is closed, too")
        assert int(bed.run(ASKED)) == asked
    bed.run("client.close(); cluster.close()")


def test_adapting_does_not_fill_the_queue(bed: Bed) -> None:
    made(bed, "workers=0")
    factory = bed.gateway.factories[FACTORY]
    factory.ask("scontrol", "update", "PartitionName=dev-g", "State=DOWN")
    try:
        bed.run("cluster.adapt(maximum_jobs=100); futures = client.map(slow, range(5000), seconds=1, pure=False)")
        eventually(lambda: len(bed.workers()) == 32, 60, what="as many as may wait")
        bed.run("time.sleep(3)")
        assert len(bed.workers()) == int(bed.run(ASKED)) == 32
        bed.run("del futures; cluster.scale(0)")
        eventually(lambda: not bed.workers(), 60, what="none is left")
    finally:
        factory.ask("scontrol", "update", "PartitionName=dev-g", "State=UP")
    bed.run("client.close(); cluster.close()")
