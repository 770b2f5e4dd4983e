"""A real OpenPBS, if one is installed; otherwise the tests are skipped with a message that says what is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.errors import CannotRun
from testbed.pbs import cluster as pbs_cluster
from testbed.pbs import programs as pbs_programs
from testbed.pbs.cluster import PbsCluster
from tests.conftest import PORTS, started
from tests.support.gateway import Gateway

FACTORY = "hammerhai"


@pytest.fixture(scope="session")
def pbs_gateway(demo_folder: Path) -> Iterator[Gateway]:
    """Return the demo with Hunter on OpenPBS, or the one whose demo.json ``FACTORYGATE_TEST_PBS`` names."""
    given = os.environ.get("FACTORYGATE_TEST_PBS")
    if not given:
        try:
            pbs_programs.check_system(pbs_programs.find())
        except CannotRun as error:
            pytest.skip(f"needs OpenPBS: {error}")
    folder = demo_folder.with_name("tested-pbs")
    yield from started(given, folder, PORTS["pbs_gateway"], "--factories", FACTORY)


@pytest.fixture(scope="session")
def here(pbs_gateway: Gateway) -> PbsCluster:
    """Return the OpenPBS cluster of ``pbs_gateway``, with the administrator's rights."""
    folder = Path(pbs_gateway.demo["factories"][FACTORY]["pbs_conf"]).parent
    return pbs_cluster.load(folder.parent, folder.name)


@pytest.fixture
def person(pbs_gateway: Gateway) -> Iterator[str]:
    """Create a new person, and yield their user name; end their sessions afterwards."""
    name = pbs_gateway.make_user()
    yield name
    for session in pbs_gateway.sessions(name):
        if session["state"] != "ended":
            pbs_gateway.stopped(name, session["server"])
