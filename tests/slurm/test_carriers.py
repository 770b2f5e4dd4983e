"""Sessions whose door is entered through a real Slurm, and the effects of failures between link and door."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncssh
import pytest
import pytest_asyncio

from factorycommon.models import Environment, JobId, JobOptions, JobState, ResolvedChoice
from factorylink.catalogue.choices import bridge_argv
from factorylink.config import Access, Hub, Limits, LinkConfig
from factorylink.doors import carriers
from factorylink.doors.manager import DoorManager
from factorylink.doors.protocol import DoorStatus
from factorylink.errors import Unreachable
from factorylink.jobs.identity import Identity
from factorylink.jobs.ownership import OwnJob
from factorylink.schedulers.command import Command
from factorylink.sessions.submitter import Submitter
from factorylink.site.connecting import make_connections
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.site import Site
from testbed.install import environments as install
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.support.door import ENVIRONMENT, NOTEBOOK, fetch, held, until
from tests.support.trial import FACTORY

pytestmark = [pytest.mark.slurm, pytest.mark.asyncio(loop_scope="function")]

KEY = asyncssh.generate_private_key("ssh-ed25519")
ID = uuid.uuid4().hex  # unique for this test, since processes are found by it
PORTS = (21500, 21599)
IDENTITY = Identity("carried", b"k" * 32)


@pytest.fixture(scope="module")
def here() -> Iterator[SlurmCluster]:
    programs = install.program_folder()
    state = programs / "tested-carriers"
    shutil.rmtree(state, ignore_errors=True)
    programs.mkdir(parents=True, exist_ok=True)
    made = cluster.up(FACTORY, state, programs / "slurm", gpu_nodes=1)
    yield made
    made.down()
    shutil.rmtree(state, ignore_errors=True)


class Carried:
    """One session in a real job, and the link's connection to the session's door."""

    def __init__(self, folder: Path, here: SlurmCluster, carrier: str) -> None:
        python = str(install.program_folder() / "notebook" / "bin" / "python")
        environment = Environment(id="here", title="Here", kind="venv", python=python)
        door = {"carrier": carrier} if carrier == "stdio" else {"listen": "127.0.0.1", "host": "127.0.0.1"}
        access = Access.model_validate({**here.access_fields(), "door": door})
        config = LinkConfig(
            catalogue=folder,
            state_dir=folder,
            socket=folder / "link.sock",
            session_ports=PORTS,
            hub=Hub(token_file=folder / "token"),
            factories={FACTORY.id: access},
        )
        factory = FACTORY.model_copy(update={"environments": (environment,), "default_environment": "here"})
        self.account = here.accounts[0]
        self.place: FactoryConnection = make_connections(config, {FACTORY.id: factory})[FACTORY.id]
        self.choice = ResolvedChoice(
            factory=FACTORY.id, size="gpu-1", environment="here", hours=0.2, idle_minutes=60, unopened_minutes=60
        )
        self.told: list[DoorStatus | None] = []
        self.keeper = DoorManager(config, KEY, lambda _, status: self.told.append(status), folder / "back.sock")
        self.python = python
        self.port = 0
        self.job: JobId = ""

    @property
    def site(self) -> Site:
        assert isinstance(self.place.site, Site)
        return self.place.site

    async def begin(self) -> None:
        """Submit the job as the link does, and keep its door open."""
        await self.site.start()
        transport = self.place.commands
        folder = f"{await transport.home(self.account)}/.factorygate-tested/sessions/{ID}"
        await transport.run(Command(("rm", "-rf", folder), lambda _: None), self.account)
        await transport.run(Command(("mkdir", "-p", "-m", "700", folder), lambda _: None), self.account)
        submitter = Submitter(None, IDENTITY, Limits(), KEY.export_public_key().decode().split()[1])  # type: ignore[arg-type]
        comment = IDENTITY.comment(ID, self.account, FACTORY.id)
        request = submitter.request(self.place, self.choice, JobOptions(), ID, folder, comment)
        request = request.model_copy(update={"name": self.site.job_name})
        self.job = await self.site.submit(self.account, request)
        node = await self.running()
        bridge = bridge_argv(self.place.factory, self.choice)
        carrier = carriers.carrier(self.place.access.door, self.place.dialect, self.job, node, bridge)
        self.port = self.keeper.allocate(set())
        await self.keeper.bind(ID, self.port)
        file = f"{folder}/door.json"
        await self.keeper.open(
            carriers.Route(ID, FACTORY.id, self.account, file, transport, self.place.streams, carrier)
        )

    async def running(self) -> str:
        """Wait until the job runs; return the name of its node."""
        async with asyncio.timeout(120):
            while (job := await self.seen()) is None or job[0] is not JobState.RUNNING:
                await asyncio.sleep(0.1)  # waits for the scheduler
        return job[1][0]

    async def seen(self) -> tuple[JobState, tuple[str, ...]] | None:
        while True:
            with contextlib.suppress(Unreachable):  # a scheduler on a busy machine may be silent for a while
                return next(((j.state, j.nodes) for j in await self.site.ask_jobs_now() if j.id == self.job), None)
            await asyncio.sleep(0.1)

    async def up(self) -> None:
        """Start the notebook, and wait until it listens."""
        await until(lambda: self.keeper.is_open(ID), what=self.keeper.problem(ID))
        await self.keeper.send_environment(ID, ENVIRONMENT, [self.python, "-c", NOTEBOOK])
        await until(lambda: any(status is not None and status.phase == "up" for status in self.told))

    async def get(self, path: str) -> bytes:
        """Return the body of an answer at the session's port."""
        streams = await asyncio.open_connection("127.0.0.1", self.port)
        return (await fetch(*streams, path)).partition(b"\r\n\r\n")[2]

    async def cancel(self) -> None:
        own = OwnJob(self.job, self.account, IDENTITY.comment(ID, self.account, FACTORY.id))
        await self.site.cancel(self.account, [own])

    async def end(self) -> None:
        await self.keeper.shutdown()
        await self.cancel()
        async with asyncio.timeout(120):
            while (job := await self.seen()) is not None and job[0] is not JobState.ENDED:
                await asyncio.sleep(0.1)
        await self.site.stop()
        await self.place.commands.close()

    def pids(self, *words: str) -> list[int]:
        """Return the pids of the processes that have all these words in their argv."""
        found = []
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                argv = process.read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if all(any(word in each for each in argv) for word in words):
                found.append(int(process.parent.name))
        return found

    def entered(self) -> list[int]:
        """Return the pids of the srun processes that enter this session."""
        return [pid for pid in self.pids("--jobid", f"-{ID[:8]}-") if name(pid) == "srun"]

    def bridges(self) -> list[int]:
        """Return the pids of this session's ``factorygate.session.bridge`` processes on the node."""
        return [pid for pid in self.pids("factorygate.session.bridge", f"-{ID[:8]}-") if name(pid) != "srun"]


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def listening(pid: int) -> set[str]:
    """Return the local addresses on which a process listens by TCP; none if it has ended meanwhile.

    The addresses have the form of ``/proc/net/tcp``: hexadecimal address and port, with a colon between them.
    """
    try:
        inodes = held(pid)
        rows = [Path(f"/proc/{pid}/net/{kind}").read_text().splitlines() for kind in ("tcp", "tcp6")]
    except (FileNotFoundError, ProcessLookupError):
        return set()
    fields = [row.split() for row in itertools.chain(*rows)]
    return {row[1] for row in fields if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}


@pytest_asyncio.fixture
async def carried(here: SlurmCluster, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Carried]:
    made = Carried(tmp_path, here, getattr(request, "param", "stdio"))
    await made.begin()
    yield made
    await made.end()


@pytest.mark.parametrize("carried", ["tcp", "stdio"], indirect=True)
async def test_a_whole_session(carried: Carried) -> None:
    await carried.up()
    assert json.loads(await carried.get("/env"))["SLURM_JOB_ID"] == carried.job
    assert len(await carried.get("/big")) == 32 << 20
    assert await carried.keeper.answers(ID, "/user/u/api")
    assert await carried.keeper.token(ID) == ENVIRONMENT["JUPYTERHUB_API_TOKEN"]
    stdio = isinstance(carried.keeper._doors[ID].route.carrier, carriers.Stdio)
    doors = [pid for pid in carried.pids("factorygate.session", ID) if name(pid).startswith("python")]
    assert doors
    # A process that the door is starting still has the door's sockets.
    assert len(set[str]().union(*map(listening, doors))) == (0 if stdio else 1)
    assert bool(carried.entered()) == bool(carried.bridges()) == stdio
    await carried.keeper.stop(ID)
    await until(lambda: any(status is not None and status.phase == "ended" for status in carried.told))
    async with asyncio.timeout(120):
        while (await carried.seen() or (JobState.ENDED,))[0] is not JobState.ENDED:
            await asyncio.sleep(0.1)  # waits for the scheduler
    await until(lambda: not carried.entered() and not carried.bridges())


KILLED: dict[str, Callable[[Carried], list[int]]] = {"srun": Carried.entered, "bridge": Carried.bridges}


@pytest.mark.parametrize("which", KILLED)
async def test_a_door_is_found_again_when_a_part_on_the_way_is_killed(carried: Carried, which: str) -> None:
    await carried.up()
    notebook = json.loads(await carried.get("/env"))["FACTORYGATE_NOTEBOOK_SOCKET"]
    before = KILLED[which](carried)
    assert before
    for pid in before:
        with contextlib.suppress(ProcessLookupError):  # it ended with another one
            os.kill(pid, signal.SIGKILL)
    await until(lambda: not carried.keeper.is_open(ID), what="lost")
    await until(lambda: carried.keeper.is_open(ID), what="found again")  # a request waits for ten seconds only
    assert json.loads(await carried.get("/env"))["FACTORYGATE_NOTEBOOK_SOCKET"] == notebook
    assert carried.told[-1] is not None
    await until(lambda: not set(before) & set(KILLED[which](carried)), what="the killed ones have ended")
    # Slurm may need almost a minute to notice that srun has ended.
    await until(lambda: len(carried.bridges()) == 1, 150, what="the old bridge is gone, one is there")


async def test_an_ended_job_is_not_entered(carried: Carried) -> None:
    await carried.up()
    await carried.cancel()
    await until(lambda: not carried.keeper.is_open(ID), what="lost")
    await until(lambda: carried.keeper.problem(ID) and not carried.entered())
    await carried.keeper.close(ID)
    await until(lambda: not carried.entered() and not carried.bridges())


async def test_a_link_that_ends_leaves_no_process_in_the_job(carried: Carried) -> None:
    await carried.up()
    assert carried.entered()
    await carried.keeper.shutdown()
    await until(lambda: not carried.entered() and not carried.bridges())
    job = await carried.seen()
    assert job is not None and job[0] is JobState.RUNNING
