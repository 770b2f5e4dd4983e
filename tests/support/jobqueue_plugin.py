"""A pytest plugin that runs dask-jobqueue's own tests with ``FactoryCluster`` instead of its Slurm cluster.

It replaces dask-jobqueue's conftest, for one cluster class.
"""

from __future__ import annotations

from typing import Any

import dask_jobqueue
import dask_jobqueue.local
import dask_jobqueue.tests
import pytest
from distributed.utils_test import loop, loop_in_thread

from factorygate import FactoryCluster
from tests.support import foreign_suite

__all__ = ["loop", "loop_in_thread"]  # fixtures

# Done before dask-jobqueue's tests are imported, since they import the classes.
dask_jobqueue.SLURMCluster = FactoryCluster
dask_jobqueue.local.LocalCluster = FactoryCluster  # some tests for any cluster use this class
dask_jobqueue.tests.QUEUE_WAIT = 100  # seconds, for busy machines


@pytest.fixture(params=[FactoryCluster], ids=["FactoryCluster"])
def Cluster(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=[FactoryCluster], ids=["FactoryCluster"])
def EnvSpecificCluster(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def cleanup() -> None:
    """Replace distributed's fixture, which checks for things that other clusters leave behind."""


def pytest_configure(config: pytest.Config) -> None:
    for marker in ("env(name)", "xfail_env(known)"):
        config.addinivalue_line("markers", f"{marker}: dask-jobqueue's, for its CI")
    foreign_suite.register(config)
