"""dask-jobqueue's own tests, run with ``FactoryCluster`` and real Slurm jobs of a running gateway.

The tests come from the installed package, which is pinned; none is copied into this repository. ``NOT_OURS`` lists
tests that do not apply, with reasons; every other test must pass, and a test that is neither listed nor run is a
failure.
"""

from __future__ import annotations

import re
import shutil
from importlib import metadata
from pathlib import Path

import psutil
import pytest
from dask_jobqueue import tests as theirs

from factorygate.cluster.keys import Keys
from tests.support import foreign_suite
from tests.support.foreign_suite import Ran
from tests.support.gateway import Gateway

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

NOT_OURS = {
    "Of another scheduler's class, and nothing of ours is in it.": (
        "test_htcondor.py",
        "test_lsf.py",
        "test_oar.py",
        "test_pbs.py",
        "test_sge.py",
        "test_job.py::test_header_lines_dont_skip_extra_directives",
        "test_job.py::test_header_lines_skip",
        "test_jobqueue_core.py::test_job_id_error_handling",
        "test_jobqueue_core.py::test_job_id_from_qsub",
    ),
    "It is about dask-jobqueue's runners, which share one allocation; a cluster is no part of it.": (
        "test_runner.py",
        "test_slurm.py::test_slurm_runner",
    ),
    "It has no cases any more.": (
        "test_jobqueue_core.py::test_job_id_error_handling_legacy",
        "test_jobqueue_core.py::test_job_id_from_qsub_legacy",
    ),
    "It reads #SBATCH lines, which the link writes from the factory's catalogue: no text of a notebook gets there.": (
        "test_job.py::test_deprecation_header_skip",
        "test_job.py::test_deprecation_job_extra",
        "test_jobqueue_core.py::test_shebang_settings",
        "test_slurm.py::test_deprecation_project",
        "test_slurm.py::test_header",
        "test_slurm.py::test_job_script",
    ),
    "It puts shell lines before the worker; environments are the catalogue's, and names are no shell's to read.": (
        "test_job.py::test_deprecation_env_extra",
        "test_slurm.py::test_worker_name_uses_cluster_name",
    ),
    "Its last lines want another worker program; ours gives each worker its GPU (refused in words).": (
        "test_jobqueue_core.py::test_command_template",
    ),
    "It makes a folder for logs where the notebook is; the link keeps their last lines (refused in words).": (
        "test_jobqueue_core.py::test_log_directory",
    ),
    "It wants an error without cores and memory; here the node size says them.": (
        "test_jobqueue_core.py::test_cluster_has_cores_and_memory",
    ),
    "Its last line wants a scheduler on all addresses; ours is on the one that workers reach.": (
        "test_jobqueue_core.py::test_forward_ip",
    ),
    "It wants a port for Dask's pages; ours are on a socket, and shown through the hub.": (
        "test_jobqueue_core.py::test_dashboard_link",
    ),
    "It wants keys in a folder that nodes share; the link hands them to the workers (refused in words).": (
        "test_jobqueue_core.py::test_security_temporary",
        "test_jobqueue_core.py::test_security_temporary_defaults",
    ),
    "It reads the configuration of the class that it is written for, ``jobqueue.local``.": (
        "test_jobqueue_core.py::test_config_interface",
    ),
    "It needs the interfaces eth0:scheduler and eth0:worker, which are in the containers of dask-jobqueue's own CI.": (
        "test_slurm.py::test_different_interfaces_on_scheduler_and_workers",
    ),
}


@pytest.fixture(scope="module")
def ran(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("jobqueue")
    suite = folder / "suite"
    shutil.copytree(Path(theirs.__file__).parent, suite, ignore=shutil.ignore_patterns("__pycache__"))
    _give_time(suite)
    keys = Keys.new().get_tls_config_for_role("worker")  # the wheel lacks the keys that its test reads
    (suite / "key.pem").write_text(keys["key"])
    (suite / "ca.pem").write_text(keys["cert"])
    return foreign_suite.run(suite, "tests.support.jobqueue_plugin", _not_ours(), gateway)


def _give_time(suite: Path) -> None:
    """Raise the timeouts in the suite's files, which are for an idle machine."""
    limits = re.compile(r"(?<=^QUEUE_WAIT = )60\b|(?<=timeout=)30\b|(?<=start \+ )10\b", re.M)
    for path in suite.glob("*.py"):
        path.write_text(limits.sub("100", path.read_text()))


def _not_ours() -> set[str]:
    listed = {test for tests in NOT_OURS.values() for test in tests}
    if len(psutil.net_if_addrs()) < 2:  # the test needs a second network interface
        listed.add("test_jobqueue_core.py::test_import_scheduler_options_from_config")
    return listed


def test_dask_jobqueues_own_tests_pass(ran: Ran) -> None:
    assert not ran.failures(), "\n\n".join(ran.failures())


def test_every_test_is_run_or_listed(ran: Ran) -> None:
    assert metadata.version("dask-jobqueue") == "0.9.0"
    files = {test.partition("::")[0] for test in ran.found}
    assert files == {path.name for path in Path(theirs.__file__).parent.glob("test_*.py")}
    ran.check(_not_ours())
