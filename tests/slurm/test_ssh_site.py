"""The site over SSH, with a real Slurm behind a real sshd in its own network."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from factorycommon.models import JobId, JobRequest, JobState
from factorylink.config import Access, Hub, LinkConfig
from factorylink.errors import Distrusted, Gone, Unreachable
from factorylink.schedulers.command import Command
from factorylink.site.connecting import make_connections
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.site import Site
from testbed.install import environments as install
from testbed.network.login_side import WATCHER, Isolation
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.support.trial import FACTORY
from tests.unit.site_fakes import own
from tests.unit.slurm_output import COMMENT

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces of its own need root"),
    pytest.mark.asyncio(loop_scope="function"),
]
REMOTE = FACTORY.model_copy(update={"id": "remote-aif"})


@pytest.fixture(scope="module")
def here() -> Iterator[SlurmCluster]:
    programs = install.program_folder()
    state = programs / "tested-ssh"
    shutil.rmtree(state, ignore_errors=True)
    programs.mkdir(parents=True, exist_ok=True)
    made = cluster.up(REMOTE, state, programs / "slurm", isolation=Isolation(forwarding=False, carrier="stdio"))
    yield made
    made.down()
    shutil.rmtree(state, ignore_errors=True)


def place_at(here: SlurmCluster, **transport: object) -> FactoryConnection:
    fields = here.access_fields()
    told = Access.model_validate({**fields, "transport": {**dict(fields["transport"]), **transport}})  # type: ignore[call-overload]
    nowhere = Path("/nonexistent")
    config = LinkConfig(
        catalogue=nowhere, state_dir=nowhere, socket=nowhere, hub=Hub(token_file=nowhere), factories={REMOTE.id: told}
    )
    return make_connections(config, {REMOTE.id: REMOTE})[REMOTE.id]


@pytest_asyncio.fixture
async def place(here: SlurmCluster) -> AsyncIterator[FactoryConnection]:
    made = place_at(here)
    await made.site.start()
    yield made
    await made.site.stop()
    await made.commands.close()


def seen(place: FactoryConnection) -> Site:
    assert isinstance(place.site, Site)
    return place.site


async def test_a_job_is_submitted_as_the_account_seen_by_the_watcher_and_cancelled(
    place: FactoryConnection, here: SlurmCluster
) -> None:
    account, transport, site = here.accounts[0], place.commands, seen(place)
    folder = f"{await transport.home(account)}/.factorygate"
    await transport.run(Command(("mkdir", "-p", "-m", "700", folder), lambda _: None), account)
    await transport.run(Command(("rm", "-f", f"{folder}/over-ssh.log"), lambda _: None), account)
    request = JobRequest.model_validate(
        {
            "name": site.job_name, "comment": COMMENT, "partition": "shared", "gpus": 1, "gpu_syntax": "gres-typed",
            "gpu_type": "a100", "cores": 8, "memory_gb": 64, "walltime": 600, "output": f"{folder}/over-ssh.log",
            "command": ("/bin/sh", "-c", "echo said by the job; exec sleep 600"),
        }
    )  # fmt: skip
    job = await site.submit(account, request)
    await until_state(site, job, JobState.RUNNING)
    assert site.jobs[job].account == account
    said = b""
    async with asyncio.timeout(120):
        while b"said by the job" not in said:
            with contextlib.suppress(Gone):
                said = await transport.read(account, f"{folder}/over-ssh.log")
            await asyncio.sleep(0.1)  # waits for the job
    await site.cancel(account, own(account, job))
    await until_state(site, job, JobState.ENDED)


async def until_state(site: Site, job: JobId, state: JobState) -> None:
    async with asyncio.timeout(120):
        while True:
            with contextlib.suppress(Unreachable):  # a scheduler on a busy machine may be silent for a while
                known = {each.id: each.state for each in await site.ask_jobs_now()}
                if known.get(job, JobState.ENDED) is state:
                    return
            await asyncio.sleep(0.1)  # waits for the scheduler


async def test_the_watcher_is_an_account_of_its_own(place: FactoryConnection, here: SlurmCluster) -> None:
    who = Command(("id", "-un"), lambda output: output.stdout.strip())
    assert await place.commands.run(who) == WATCHER
    assert [await place.commands.run(who, account) for account in here.accounts] == list(here.accounts)


async def test_a_distrusted_site_is_unreachable_at_once_and_says_why(here: SlurmCluster) -> None:
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIVh2cjbVU6qQWuCBN2YvJg8QyW8Zf1m7K6bXWqQ0m3d"
    place = place_at(here, host_keys=[other])
    await place.site.start()
    with pytest.raises(Distrusted):
        await seen(place).ask_jobs_now()
    health = place.site.health
    assert health.state == "unreachable" and health.words is not None
    assert "another key" in health.words.what
    assert "somebody pretends" in (health.words.scheduler or "")
    await place.site.stop()
    await place.commands.close()
