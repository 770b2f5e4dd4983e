"""Clusters that outlive the kernel that made them, and clusters at another factory than the notebook's."""

from __future__ import annotations

import os
import signal
import time

import httpx
import psutil
import pytest

from tests.support.bed import FACTORY as HERE
from tests.support.bed import SIZE, Bed
from tests.support.gateway import eventually

pytestmark = pytest.mark.slurm
THERE = "it4lia"

IMPORTS = "from dask.distributed import Client, wait\nfrom factorygate import FactoryCluster\n"


def test_a_named_cluster_is_found_again_with_its_data_when_its_kernel_was_killed(bed: Bed) -> None:
    bed.run(
        IMPORTS + f"cluster = FactoryCluster({SIZE!r}, 1, name='kept', hours=0.3)\n"
        "client = cluster.get_client(); client.wait_for_workers(1, timeout=100)\n"
        "kept = client.submit(sum, range(10)); wait(kept); client.publish_dataset(kept=kept)"
    )
    [job] = bed.workers()
    os.kill(int(bed.run("import os; print(os.getpid())")), signal.SIGKILL)
    bed.kernel = bed.notebook.kernel()
    bed.run(IMPORTS)
    found = bed.run(
        "cluster = FactoryCluster.from_name('kept'); client = cluster.get_client()\n"
        "value = client.get_dataset('kept').result()\n"
        "print(value, len(cluster.worker_spec))"
    )
    value, jobs = found.split()
    assert (value, jobs, bed.workers()) == ("45", "1", [job])
    bed.run("cluster.scale(jobs=2); client.wait_for_workers(2, timeout=100)")
    assert len(bed.workers()) == 2
    bed.run("client.close(); cluster.close()")
    eventually(lambda: not bed.workers(), 60, what="closed")
    said = bed.run("try:\n    FactoryCluster.from_name('kept')\nexcept ValueError as error:\n    print(error)")
    assert "no cluster 'kept'" in said


def test_a_cluster_at_another_factory(bed: Bed) -> None:
    refused = bed.run(
        IMPORTS + "from factorygate.link import LinkError\n"
        f"try:\n    FactoryCluster(factory={THERE!r}, workers=1, hours=0.3)\n"
        "except LinkError as error:\n    print(error)"
    )
    assert "factorygate.use_token()" in refused  # the session's own token is for its factory only
    assert (bed.heads(THERE), bed.workers(THERE)) == ([], [])
    bed.run(f"import factorygate; factorygate.use_token({bed.gateway.token(bed.user)!r})")
    bed.run(
        IMPORTS + f"cluster = FactoryCluster(factory={THERE!r}, workers=2, hours=0.3, name='far')\n"
        "client = cluster.get_client(); client.wait_for_workers(2, timeout=100)",
        timeout=180,
    )
    assert (len(bed.heads(THERE)), len(bed.workers(THERE)), bed.workers(HERE)) == (1, 2, [])
    assert bed.run("print(sum(client.gather(client.map(lambda x: x * x, range(100)))))") == "328350"
    large = "print(len(client.submit(lambda n: bytes(n << 20), 64, pure=False).result()) >> 20)"
    assert bed.run(large) == "64"
    assert bed.run("print(len(client.scatter(bytes(64 << 20)).result()) >> 20)") == "64"  # and in the other direction
    # Futures survive a restart of the link, through which all traffic goes.
    bed.run("import time; slow = client.map(lambda n: time.sleep(1) or n, range(16), pure=False)")
    link = bed.gateway.pid("link")
    os.kill(link, signal.SIGKILL)
    eventually(lambda: bed.gateway.pid("link") != link and bed.answers(), 90, what="the link is back")
    assert bed.run("print(sum(client.gather(slow)), {future.status for future in slow})") == "120 {'finished'}"
    bed.run("cluster.scale(1)")
    eventually(lambda: len(bed.workers(THERE)) == 1, 60, what="it is still in hand")
    eve = bed.gateway.token(bed.gateway.make_user())
    [told] = bed.gateway.clusters(bed.user)
    for path in ("", "/scheduler", "/wire"):
        url = f"{bed.gateway.root}/services/factories/api/clusters/{told['id']}{path}"
        assert httpx.get(url, headers={"Authorization": f"token {eve}"}, timeout=60).status_code in (404, 400)
    began = time.monotonic()
    bed.run("client.close(); cluster.close()")
    eventually(lambda: not bed.workers(THERE) and not bed.heads(THERE), 90, what="nothing is left there")
    assert time.monotonic() - began < 90


def test_a_named_cluster_whose_scheduler_does_not_answer_is_kept(bed: Bed) -> None:
    bed.run(
        IMPORTS + f"cluster = FactoryCluster({SIZE!r}, 1, name='busy', hours=0.3)\n"
        "client = cluster.get_client(); client.wait_for_workers(1, timeout=100)\n"
        "kept = client.submit(sum, range(10)); wait(kept); client.publish_dataset(kept=kept)\n"
        "client.close(); cluster.leave()"
    )
    [job] = bed.workers()
    scheduler = _scheduler("busy")
    scheduler.suspend()
    try:
        said = bed.run(
            "import dask\n"
            "with dask.config.set({'distributed.comm.timeouts.connect': '2s'}):\n"
            "    try:\n        FactoryCluster.from_name('busy')\n"
            "    except RuntimeError as error:\n        print(error)",
            timeout=120,
        )
    finally:
        scheduler.resume()
    assert "failed to start" in said
    found = bed.run(
        "cluster = FactoryCluster.from_name('busy'); client = cluster.get_client()\n"
        "print(client.get_dataset('kept').result(), len(cluster.worker_spec))"
    )
    assert (found, bed.workers()) == ("45 1", [job])
    bed.run("client.close(); cluster.close()")
    eventually(lambda: not bed.workers(), 60, what="closed")


def _scheduler(name: str) -> psutil.Process:
    """Return the process of the Dask scheduler that outlives its kernel, of the cluster ``name``."""
    [found] = [
        process
        for process in psutil.process_iter(["cmdline"])
        if {"factorygate.session.scheduler_process", name} <= set(process.info["cmdline"] or ())
    ]
    return found
