"""distributed's own tests of its clusters, run with ``FactoryCluster`` and real Slurm jobs of a running gateway.

The tests come from Debian's package of distributed, since neither its wheel nor its source archive has them; none is
copied into this repository. ``NOT_OURS`` lists tests that do not apply, with reasons. ``LONG`` lists tests that run
with ``--long`` only, with the tests of the usual run that show the same. Every other test must pass, and a test that is
neither listed nor run is a failure.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testbed.install import packages
from tests.support import foreign_suite
from tests.support.foreign_suite import Ran
from tests.support.gateway import Gateway

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1800)]
PACKAGE = "python3-distributed"
FILES = ("test_adaptive.py", "test_cluster.py", "test_spec_cluster.py")

NOT_OURS = {
    "It describes each worker by a class of its own, which runs in this process; ours are programs in jobs.": (
        "test_spec_cluster.py::test_broken_worker",
        "test_spec_cluster.py::test_nanny_port",
        "test_spec_cluster.py::test_new_worker_spec",
        "test_spec_cluster.py::test_spec_sync",
        "test_spec_cluster.py::test_specification",
        "test_spec_cluster.py::test_adaptive_killed_worker",
    ),
    "It wants workers named 0 and 1, or a-1 to b-2; ours carry their cluster's name, which tells jobs apart.": (
        "test_adaptive.py::test_worker_keys",
        "test_spec_cluster.py::test_run_spec_cluster_worker_names",
    ),
    "It wants workers gone as soon as they are not needed; ours hand over what they hold, and are kept a while.": (
        "test_spec_cluster.py::test_MultiWorker",
    ),
    "It waits for a moment in which a lost worker is not replaced yet; ours is as soon as it is known to be lost.": (
        "test_spec_cluster.py::test_unexpected_closed_worker",
    ),
    "It wants a port for Dask's pages; ours are on a socket, and shown through the hub.": (
        "test_spec_cluster.py::test_dashboard_link",
    ),
    "Its last lines want an error where no memory was said; here the node size says it.": (
        "test_spec_cluster.py::test_scale_cores_memory",
    ),
    "Debian's distributed is older than ours, which no longer has what this tests.": (
        "test_cluster.py::test_deprecated_loop_properties",
        "test_spec_cluster.py::test_logs_deprecated",
    ),
    "It wants the text of a cluster that has no scheduler yet; ours says factory and node size.": (
        "test_cluster.py::test_repr",
    ),
}

LONG = {
    "test_min_max and test_adapt_quickly have workers come for work and go without it, down to a smaller limit.": (
        "test_adaptive.py::test_adapt_down",
    ),
    "test_adaptive_local_cluster goes from no worker to some and back; these do so with more work, or awaited.": (
        "test_adaptive.py::test_adaptive_local_cluster_multi_workers",
        "test_adaptive.py::test_scale_needs_to_be_awaited",
    ),
    "test_scale_up_large_tasks and test_respect_average_nthreads read what the scheduler recommends, without jobs.": (
        "test_adaptive.py::test_target_duration",
    ),
    "test_scale has two workers come, and one of them go.": ("test_spec_cluster.py::test_ProcessInterfaceValid",),
}


@pytest.fixture(scope="module")
def left_out(request: pytest.FixtureRequest) -> set[str]:
    """Return the tests of distributed's suite that are not run."""
    tables = [NOT_OURS] if request.config.getoption("--long") else [NOT_OURS, LONG]
    return {test for table in tables for tests in table.values() for test in tests}


@pytest.fixture(scope="module")
def ran(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory, left_out: set[str]) -> Ran:
    folder = tmp_path_factory.mktemp("distributed")
    suite = folder / "suite"
    suite.mkdir()
    packages.unpack([PACKAGE], folder / "root", folder / "apt", lambda _dependency: False)
    theirs = folder / "root/usr/lib/python3/dist-packages/distributed/deploy/tests"
    for name in FILES:
        (suite / name).write_text(_with_time(theirs / name))
    return foreign_suite.run(suite, "tests.support.distributed_plugin", left_out, gateway)


def _with_time(path: Path) -> str:
    """Return the text of a file of distributed's suite, with timeouts and enough work for jobs on a busy machine."""
    text = path.read_text()
    work = "slowinc, range(100), delay=0.1)"  # of test_min_max: it must outlast the start of a second job
    assert text.count(work) == (path.name == "test_adaptive.py")
    # of test_scale_up_large_tasks and test_respect_average_nthreads: no task may end before the target is read
    text = re.sub(r"(slowinc, range\((?:10|200)\))\)", r"\1, delay=1)", text)
    text = (
        text.replace(work, "slowinc, range(2000), delay=0.1)")
        .replace("@gen_test()", "@gen_test(timeout=250)")
        .replace("@gen_test(timeout=60)", "@gen_test(timeout=250)")
    )
    text = re.sub(r"(async_poll_for\(.*), (?:timeout=)?(?:5|10)\)", r"\1, 100)", text)
    return re.sub(r"(?<=start \+ )\d+\b", "100", text)


def test_distributeds_own_tests_pass(ran: Ran) -> None:
    assert not ran.failures(), "\n\n".join(ran.failures())


def test_every_test_is_run_or_listed(ran: Ran, left_out: set[str]) -> None:
    ran.check(left_out)
