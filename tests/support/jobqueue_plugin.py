"""A pytest plugin: dask-jobqueue's own tests with ``FactoryCluster`` in the place of its Slurm cluster.

What its own conftest gives its tests is here, for the one cluster class. ``JOBQUEUE_TESTS`` names a JSON file with
``leave_out`` (file or file::test) and is given ``found`` and, by test, ``outcomes`` as [outcome, text, seconds].
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dask_jobqueue
import dask_jobqueue.local
import dask_jobqueue.tests
import pytest
from distributed.utils_test import loop, loop_in_thread

from factorygate import FactoryCluster

__all__ = ["loop", "loop_in_thread"]  # fixtures

# Before its tests are imported, which take the classes from there.
dask_jobqueue.SLURMCluster = FactoryCluster
dask_jobqueue.local.LocalCluster = FactoryCluster  # some tests of any cluster's are written down for this one
dask_jobqueue.tests.QUEUE_WAIT = 100  # seconds, for busy machines


@pytest.fixture(params=[FactoryCluster], ids=["FactoryCluster"])
def Cluster(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=[FactoryCluster], ids=["FactoryCluster"])
def EnvSpecificCluster(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def cleanup() -> None:
    """In place of distributed's, which looks for what other clusters leave behind."""


class Report:
    """Which tests there are, which of them run, and how they end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._leave_out = set(json.loads(path.read_text())["leave_out"])
        self._found: set[str] = set()
        self._outcomes: dict[str, tuple[str, str, float]] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        self._found = {_name(item.nodeid) for item in items}
        runs, rests = [], []
        for item in items:
            name = _name(item.nodeid)
            (rests if {name, name.partition("::")[0]} & self._leave_out else runs).append(item)
        items[:] = runs
        config.hook.pytest_deselected(items=rests)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = _name(report.nodeid)
        so_far, text, seconds = self._outcomes.get(name, ("passed", "", 0.0))
        if report.outcome != "passed" and so_far != "failed":
            so_far, text = report.outcome, report.longreprtext
        self._outcomes[name] = (so_far, text, seconds + report.duration)

    def pytest_sessionfinish(self) -> None:
        self._path.write_text(json.dumps({"found": sorted(self._found), "outcomes": self._outcomes}))


def _name(nodeid: str) -> str:
    """``test_job.py::test_basic``, whatever it is given and wherever it lies."""
    return nodeid.partition("[")[0].rpartition("/")[2]


def pytest_configure(config: pytest.Config) -> None:
    for marker in ("env(name)", "xfail_env(known)"):
        config.addinivalue_line("markers", f"{marker}: dask-jobqueue's, for its CI")
    config.pluginmanager.register(Report(Path(os.environ["JOBQUEUE_TESTS"])))
