"""A real Slurm whose controller loses its state, so that job ids begin again.

Other jobs of the same accounts then get the ids of sessions' jobs. The link is a separate process that the tests kill
and start; no hub and no notebook are needed. A session's job sleeps.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from factorycommon.models import Choice, Environment, HubRules, Session, SessionRequest, SessionState
from factorylink.client import LinkClient
from testbed import ports
from testbed.faults import faults
from testbed.install import environments as install
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.unit import site_fakes
from tests.unit.hub_process import ROOT

pytestmark = [pytest.mark.slurm, pytest.mark.root, pytest.mark.asyncio(loop_scope="function")]

NAME = "factorygate-lost"
SESSIONS = {person: f"{number:032x}" for number, person in enumerate(("ada", "ben", "cyd"), start=1)}
SECONDS = 90.0
UP = "The link is up"
FACTORY = site_fakes.factory().model_copy(
    update={"id": "forgets", "environments": (Environment(id="e", title="E", kind="venv", python="/usr/bin/env"),)}
)


@pytest.fixture
def here() -> Iterator[SlurmCluster]:
    programs = install.program_folder()
    state = programs / "tested-state-lost"
    shutil.rmtree(state, ignore_errors=True)
    programs.mkdir(parents=True, exist_ok=True)
    made = cluster.up(FACTORY, state, programs / "slurm")
    yield made
    made.down()
    shutil.rmtree(state, ignore_errors=True)


@pytest.fixture
def folder(here: SlurmCluster) -> Iterator[Path]:
    """Write the link's configuration, and yield its folder.

    Ada has her own site account; the other people share one.
    """
    made = Path(tempfile.mkdtemp(prefix="factorygate-lost-"))
    made.chmod(0o755)
    sleeps = made / "sleeps"
    sleeps.write_text("#!/bin/sh\nexec sleep 1800\n")
    sleeps.chmod(0o755)
    environment = {"id": "e", "title": "E", "kind": "venv", "python": str(sleeps)}
    entry = FACTORY.model_dump(mode="json", exclude_none=True) | {"environments": [environment]}
    (made / "factories").mkdir()
    (made / "factories" / "forgets.yaml").write_text(yaml.safe_dump(entry))
    (made / "token").write_text("token")
    (made / "token").chmod(0o600)
    own, shared = here.accounts[:2]
    access = {**here.access_fields(), "account_pool": [shared], "accounts": {"ada": own}}
    config = {
        "catalogue": "factories",
        "state_dir": "state",
        "socket": "state/hub.sock",
        "listen_port": ports.single(),
        "hub": {"url": "http://127.0.0.1:1", "token_file": "token", "name": "lost"},
        "limits": {"orphan_grace_seconds": 5},
        "factories": {"forgets": access},
    }
    (made / "link.yaml").write_text(yaml.safe_dump(config))
    yield made
    shutil.rmtree(made)


@asynccontextmanager
async def link(folder: Path) -> AsyncIterator[LinkClient]:
    """Start the link's process, and yield a client of it; kill the process at the end, like a crash."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "spawners")}
    argv = (sys.executable, "-m", "factorylink", "--config", str(folder / "link.yaml"))
    said = folder / "log"
    said.touch()
    before = said.read_text().count(UP)
    with said.open("ab") as log:
        process = await asyncio.create_subprocess_exec(*argv, env=env, stderr=log)
    client = LinkClient(folder / "state" / "hub.sock")
    try:
        await until(lambda: said.read_text().count(UP) > before)
        await client.put_rules(HubRules(access=False))  # as a hub without its own rules does
        yield client
    finally:
        await client.close()
        process.kill()
        await process.wait()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.1)  # waits for another program


async def session(client: LinkClient, person: str, *states: SessionState) -> Session:
    async with asyncio.timeout(SECONDS):
        while (found := await client.session(SESSIONS[person])).state not in states:
            await asyncio.sleep(0.2)
    return found


def jobs(here: SlurmCluster) -> dict[str, tuple[str, str]]:
    """Return (account, state) of the jobs that have not ended, by id."""
    rows = (line.split() for line in here.run("squeue", "-h", "-o", "%i %u %T").stdout.splitlines())
    return {id: (user, state) for id, user, state in rows}


def submit(here: SlurmCluster, account: str, name: str, comment: str) -> str:
    """Submit a held job, and return its id.

    The job is held, since slurmd would refuse to start a job with an id whose job it has just ended.
    """
    done = here.run(
        *("sbatch", "--parsable", "--chdir=/", "--output=/dev/null", "--export=NONE", "--time=30", "--hold"),
        *(f"--job-name={name}", f"--comment={comment}", "--wrap=exec sleep 1800"),
        account=account,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.timeout(600)
async def test_no_other_job_is_touched(here: SlurmCluster, folder: Path) -> None:
    own, shared = here.accounts[:2]
    choice = Choice(factory="forgets", size="one", hours=0.5)
    async with link(folder) as client:
        for person, id in SESSIONS.items():
            await client.put_session(id, SessionRequest(user=person, choice=choice))
        had = {person: await session(client, person, SessionState.STARTING) for person in SESSIONS}
        assert [had[person].account for person in SESSIONS] == [own, shared, shared]
        comments = {
            line.split()[0]: line.split()[1] for line in here.run("squeue", "-h", "-o", "%i %k").stdout.splitlines()
        }
        away = faults.begin(here, "slurmctld-down")
        for person in ("ada", "ben"):  # the stop requests stay open
            await client.stop(SESSIONS[person], "person")
        assert (await client.session(SESSIONS["ada"])).wish == "stop"
    faults.begin(here, "state-lost")
    away.undo()
    assert jobs(here) == {}

    known = sorted(int(had[person].job or "") for person in SESSIONS)
    accounts = {int(had[person].job or ""): had[person].account for person in SESSIONS}
    # Three jobs of the same accounts: with another name, with our name, and with a copy of a running session's comment.
    foreign = [submit(here, accounts[known[0]], "own-job", "of-another")]
    assert int(foreign[0]) == known[0]
    for number in range(known[0] + 1, known[-1] + 3):
        comment = comments[had["cyd"].job or ""] if number == known[-1] + 1 else "of-another"
        foreign.append(submit(here, accounts.get(number, shared), NAME, comment))
    assert {str(number) for number in known} <= set(foreign)

    async with link(folder) as client:
        for person in SESSIONS:
            ended = await session(client, person, SessionState.ENDED)
            assert ended.end is not None
            assert ended.end.code == ("job-replaced" if person == "cyd" else "withdrawn-starting")
        again = "f" * 32
        await client.put_session(again, SessionRequest(user="ada", choice=choice))
        async with asyncio.timeout(SECONDS):
            while (fresh := await client.session(again)).job is None:
                await asyncio.sleep(0.2)
        await client.stop(again, "person")
        async with asyncio.timeout(SECONDS):
            while (await client.session(again)).state is not SessionState.ENDED:
                await asyncio.sleep(0.2)
        there = jobs(here)
        assert fresh.job not in there
        assert set(foreign) <= there.keys()
    killed = re.findall(r"REQUEST_KILL_JOB JobId=([0-9]+)", (here.folder / "log" / "slurmctld.log").read_text())
    assert set(killed) == {fresh.job}
