"""Runs another project's tests with ``FactoryCluster`` instead of that project's cluster classes.

``run`` starts pytest in a separate process, with a plugin that replaces the classes and calls ``register``. A list
names the tests that are left out, and the outcome must agree with the list.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.gateway import Gateway

CHECKOUT = Path(__file__).resolve().parents[2]
# names a JSON file: ``leave_out`` is read, ``found`` and ``outcomes`` are written
VARIABLE = "FACTORYGATE_FOREIGN_SUITE"
FACTORY = "lumi-aif"


@dataclass
class Ran:
    """The result of a run.

    ``found``: the names of all tests; ``outcomes``: for each test that ran, its outcome, its message, and its seconds.
    """

    found: set[str]
    outcomes: dict[str, tuple[str, str, float]]

    def failures(self) -> list[str]:
        """Return, for each test that failed or was skipped, its name and its message in one text."""
        return [f"{test}: {text}" for test, (outcome, text, _) in self.outcomes.items() if outcome != "passed"]

    def check(self, listed: Iterable[str]) -> None:
        """Assert that each test was run or is listed, and that each entry of the list is a test or a file of tests."""
        names = set(listed)
        left_out = {test for test in self.found if {test, test.partition("::")[0]} & names}
        assert self.found == left_out | self.outcomes.keys()
        files = {test.partition("::")[0] for test in self.found}
        assert not names - self.found - files, "listed, but no test of theirs"


def run(
    suite: Path, plugin: str, leave_out: Iterable[str], gateway: Gateway, changed: Mapping[str, str] | None = None
) -> Ran:
    """Run the tests in ``suite`` with the pytest plugin ``plugin``; return what was found and the outcomes.

    The tests run as a new user whose clusters run at ``FACTORY``. ``leave_out``: the tests that are not run, each as
    file or file::test; ``changed``: environment variables to set.
    """
    folder = suite.parent
    (folder / "pytest.ini").write_text("[pytest]\n")
    report = folder / "report.json"
    report.write_text(json.dumps({"leave_out": sorted(leave_out)}))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH")))),
        VARIABLE: str(report),
        "FACTORYGATE_URL": gateway.root,
        "FACTORYGATE_TOKEN": gateway.token(gateway.make_user()),
        "FACTORYGATE_FACTORY": FACTORY,
        # distributed's Client.scheduler_info() finds no workers if the periodic update replaces its answer in between
        "DASK_DISTRIBUTED__CLIENT__SCHEDULER_INFO_INTERVAL": "1h",
        **(changed or {}),
    }
    unused = (f"-pno:{name}" for name in ("cacheprovider", "schemathesis", "zarr"))  # the last two take seconds to load
    argv = [sys.executable, "-m", "pytest", "-p", plugin, *unused, "--timeout=300", str(suite)]
    done = subprocess.run(
        argv, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    told = json.loads(report.read_text())
    assert "outcomes" in told, done.stdout
    return Ran(set(told["found"]), told["outcomes"])


class _Report:
    """Leaves tests out, and records all tests, the tests that ran, and their outcomes."""

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


def register(config: pytest.Config) -> None:
    """Make pytest leave out the tests that the caller of ``run`` named, and report all outcomes to this caller.

    A plugin's ``pytest_configure`` calls this function.
    """
    config.pluginmanager.register(_Report(Path(os.environ[VARIABLE])))


def _name(nodeid: str) -> str:
    """Return a test's name without its parameters and folder, such as ``test_job.py::test_basic``."""
    return nodeid.partition("[")[0].rpartition("/")[2]
