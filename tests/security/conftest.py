"""Fixtures: a site's wrapper beside a real Slurm, with a running job of each account.

Tests of parts of the gateway in this process wait longer than usual, since the machine may be busy.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.install import environments as install
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.support import busy_machine
from tests.support.trial import FACTORY, cancel, eventually, state_of
from tests.support.wrapper import ADA, GRACE, SOURCE, Wrapper


@pytest.fixture(scope="session", autouse=True)
def _on_a_busy_machine() -> Iterator[None]:
    with busy_machine.tolerated():
        yield


@pytest.fixture(scope="module")
def running() -> Iterator[SlurmCluster]:
    state = Path(tempfile.mkdtemp(prefix="factorygate-wrapper-"))
    state.chmod(0o755)
    found = cluster.up(FACTORY, state, install.program_folder() / "slurm")
    yield found
    found.down()
    shutil.rmtree(state)


@pytest.fixture(scope="module")
def installed(running: SlurmCluster) -> Iterator[Wrapper]:
    # Not below /tmp: sshd runs no AuthorizedPrincipalsCommand from a folder in which others can write.
    folder = Path(tempfile.mkdtemp(prefix="factorygate-act-", dir="/opt"))
    folder.chmod(0o755)
    text = SOURCE.read_text().replace('ETC = "/etc/factorygate"', f'ETC = "{folder}/etc"')
    assert f"{folder}/etc" in text
    (folder / "factorygate-act").write_text(text)
    (folder / "factorygate-act").chmod(0o755)
    wrapper = Wrapper(folder, running.env)
    yield wrapper
    for path in wrapper.made:
        shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(folder)


@pytest.fixture
def wrapper(installed: Wrapper) -> Wrapper:
    installed.reset()
    (installed.folder / "log").unlink(missing_ok=True)
    return installed


@pytest.fixture(scope="module")
def adas(installed: Wrapper, running: SlurmCluster) -> Iterator[str]:
    """Return a running job of ada's, submitted through the wrapper."""
    yield from _job(installed, running, ADA)


@pytest.fixture(scope="module")
def graces(installed: Wrapper, running: SlurmCluster) -> Iterator[str]:
    yield from _job(installed, running, GRACE)


def _job(installed: Wrapper, running: SlurmCluster, account: str) -> Iterator[str]:
    installed.reset()
    job = installed.submit(account)
    assert eventually(lambda: state_of(running, job) == "RUNNING")
    yield job
    cancel(running, job)
