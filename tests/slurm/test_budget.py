"""The ledger counts the same GPU-seconds as the site, compared with ``sacct`` of a real Slurm with accounting."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select

from factorycommon.models import (
    BatchRequest,
    Choice,
    ClusterRequest,
    Environment,
    Factory,
    HubRules,
    Project,
    ProjectAt,
    SessionRequest,
    SiteAccounts,
)
from factorylink.app.assembly import assemble
from factorylink.catalogue.catalogue import Catalogue
from factorylink.catalogue.prices import gpus_of
from factorylink.config import Access, Hub, LinkConfig
from factorylink.errors import Unreachable
from factorylink.jobs.identity import Identity
from factorylink.ledger.ledger import Ledger
from factorylink.ledger.schema import charges
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories
from factorylink.site.site import Site
from factorylink.transports.local import LocalTransport
from factorylink.util import clock
from testbed.install import environments as install
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.unit import fake_factory
from tests.unit.cluster_world import SCHEDULER
from tests.unit.fake_factory import KEY, SIZE, FakeDoors
from tests.unit.fake_projects import Table

pytestmark = [pytest.mark.slurm, pytest.mark.asyncio(loop_scope="function")]
REVOKED_SECONDS = 2.0  # until a requeued job can be started again
# commands that replace the door
PROGRAMS = {"quick": "exec sleep 3", "long": "exec sleep 600", "fails": "sleep 1; exit 3"}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="factorygate-budget-"))
    made.chmod(0o755)
    for name, lines in PROGRAMS.items():
        (made / name).write_text(f"#!/bin/sh\n{lines}\n")
        (made / name).chmod(0o755)
    yield made
    shutil.rmtree(made)


def factory(folder: Path) -> Factory:
    environments = tuple(Environment(id=name, title=name, kind="venv", python=str(folder / name)) for name in PROGRAMS)
    whole = SIZE.model_copy(update={"id": "node", "gpus": 4, "cores": 16, "memory_gb": 64, "whole_node": True})
    one_of_four = SIZE.model_copy(update={"id": "lone", "whole_node": True})
    sizes = {"sizes": (SIZE, whole, one_of_four), "environments": environments}
    return fake_factory.factory("tested").model_copy(update=sizes)


@pytest.fixture(scope="module")
def here(folder: Path) -> Iterator[SlurmCluster]:
    made = cluster.up(factory(folder), folder / "state", install.program_folder() / "slurm", accounting=True)
    yield made
    made.down()


class Link:
    """The parts of a link that are concerned with budgets, at a real site; only doors are missing."""

    def __init__(self, here: SlurmCluster, folder: Path, state: Path) -> None:
        access = Access.model_validate(here.access_fields())
        self.factory = factory(folder)
        self.site = Site(self.factory, access, LocalTransport(access.transport), slurm, "hub")
        self.ledger = Ledger(state / "ledger.sqlite")
        config = LinkConfig(
            catalogue=state, state_dir=state, socket=state / "s", hub=Hub(token_file=state / "t"),
            factories={"tested": access},
        )  # fmt: skip
        place = FactoryConnection(self.factory, access, self.site, self.site.commands, None, slurm)
        at = ProjectAt(account=here.record.job_account, site_accounts=SiteAccounts(pool=here.accounts))
        project = Project(id="p1", members=("ada", "ben"), gpu_hours=100, factories={"tested": at})
        identity = Identity("hub", KEY)
        factories = OfferedFactories(self.ledger, {"tested": place}, Catalogue())
        table = Table(project)
        self.parts = assemble(config, self.ledger, identity, factories, FakeDoors(), "AAAA", table)  # type: ignore[arg-type]
        self.live_sessions, self.charges = self.parts.live_sessions, self.parts.charges
        self.sessions, self.clusters, self.people = self.parts.sessions, self.parts.clusters, self.parts.people

    async def put(self, number: int, size: str, program: str, hours: float = 0.5) -> str:
        choice = Choice(factory="tested", size=size, environment=program, hours=hours, project="p1")
        asked = SessionRequest(user="ada", server=f"s{number}", choice=choice)
        return (await self.sessions.put(f"{number:032x}", asked))[0].id

    async def until(self, look: Callable[[], bool], seconds: float = 90) -> None:
        deadline = clock.ticks() + seconds
        while not look():
            jobs: dict[str, tuple[str, str]] = {}
            with contextlib.suppress(Unreachable):  # a scheduler on a busy machine may be silent for a while
                jobs = {job.id: (job.raw_state, job.reason) for job in await self.site.ask_jobs_now()}
            assert clock.ticks() < deadline, str(jobs)
            await asyncio.sleep(0.1)  # waits for the scheduler

    def state(self, session_id: str) -> str:
        live = self.live_sessions.get(session_id)
        return "ended" if live is None else live.record.state.value


@pytest_asyncio.fixture
async def link(here: SlurmCluster, folder: Path, tmp_path: Path) -> AsyncIterator[Link]:
    made = Link(here, folder, tmp_path)
    await made.ledger.open()
    await made.parts.start()
    await made.people.put_rules(HubRules(access=False))  # a hub without rules
    yield made
    await made.parts.close()
    await made.ledger.close()


def told(here: SlurmCluster, since: datetime, fields: str) -> list[list[str]]:
    """Return a row of texts for each run of all jobs since that time, from sacct.

    ``fields``: sacct's names of the columns, separated by commas.
    """
    answer = here.run(
        *("sacct", "--allusers", "--allocations", "--duplicates", "--noheader", "--parsable2"),
        *(f"--starttime={since.astimezone():%Y-%m-%dT%H:%M:%S}", f"--format={fields}"),
    )
    assert answer.returncode == 0, answer.stderr
    return [line.split("|") for line in answer.stdout.splitlines()]


def counted(here: SlurmCluster, since: datetime) -> dict[str, tuple[int, int, int]]:
    """Return for each job the seconds of all its runs, the number of runs, and its GPUs."""
    found: dict[str, tuple[int, int, int]] = {}
    for job, elapsed, tres in told(here, since, "JobID,ElapsedRaw,AllocTRES"):
        seconds, runs, gpus = found.get(job, (0, 0, 0))
        held = re.search(r"gres/gpu=([0-9]+)", tres)
        found[job] = (seconds + int(elapsed), runs + 1, max(gpus, int(held[1]) if held else 0))
    return found


@pytest.mark.timeout(600)
async def test_the_ledger_agrees_with_sacct_to_the_second(link: Link, here: SlurmCluster) -> None:
    began = datetime.now().astimezone().replace(microsecond=0)
    wanted = [("gpu-1", "quick"), ("node", "quick"), ("lone", "fails"), ("gpu-1", "long"), ("gpu-1", "long")]
    ids = [await link.put(number, size, program) for number, (size, program) in enumerate(wanted, start=1)]
    stopped, requeued = ids[3:]
    worked = ClusterRequest.model_validate(
        {"name": "c", "factory": "tested", "size": "gpu-1", "environment": "quick", "hours": 0.5, "project": "p1",
         "scheduler": SCHEDULER}
    )  # fmt: skip
    await link.clusters.put("c" * 32, "ada", worked)
    await link.clusters.grow("c" * 32, "ada", "b" * 32, BatchRequest(names=("w-1", "w-2", "w-3"), hours=0.5))

    await link.until(lambda: link.state(stopped) == link.state(requeued) == "starting")
    job = link.live_sessions[requeued].record.job
    assert here.run("scontrol", "requeue", job or "").returncode == 0
    put_back = clock.ticks()
    await link.until(lambda: link.state(requeued) == "pending")
    await link.sessions.stop(stopped, "person")

    def runs_again() -> bool:
        """Release the requeued job, which Slurm holds for two minutes; return True once the job starts again.

        Nodes store revoked jobs by the second: a job that restarts in the same second fails with exit code 1 ("Job
        credential revoked").
        """
        live = link.live_sessions.get(requeued)
        waits = live is not None and live.job is not None and live.job.reason == "BeginTime"
        if waits and clock.ticks() > put_back + REVOKED_SECONDS:
            here.run("scontrol", "update", f"JobId={job}", "StartTime=now")
        return link.state(requeued) == "starting"

    await link.until(runs_again, 200)
    await link.sessions.stop(requeued, "person")
    await link.until(lambda: all(link.state(id) == "ended" for id in ids))
    await link.until(lambda: link.clusters.look("c" * 32, "ada").counts == {"ended": 3})

    rows = await link.ledger.transact(lambda db: {row.id: row for row in db.execute(select(charges))})
    assert len(rows) == 8
    jobs = {id: (await link.ledger.record(id)) for id in ids}
    theirs: dict[str, str] = {id: row.job for id, row in jobs.items() if row is not None and row.job is not None}
    cluster = link.clusters.own("c" * 32, "ada")
    batch = cluster.record.batches["b" * 32]
    theirs |= {f"{'b' * 32}/{worker.task}": cluster.job_of(batch, worker) or "" for worker in batch.workers}

    def accounted() -> bool:
        """Return whether the accounting database has the end of each run; one job ran twice.

        The database gets these data a little later than slurmctld.
        """
        ends = told(here, began, "JobID,End")
        known = Counter(job for job, ended in ends if ended != "Unknown")
        wanted = Counter([*theirs.values(), theirs[requeued]])
        return known >= wanted and all(ended != "Unknown" for _, ended in ends)

    await link.until(accounted)
    found = counted(here, began)
    sacct = {id: found.get(job, (0, 0, 0)) for id, job in theirs.items()}
    assert {id: row.seconds for id, row in rows.items()} == {id: seconds for id, (seconds, _, _) in sacct.items()}
    assert all(rows[id].seconds >= 3 for id in ids[:2]), sacct
    assert sacct[requeued][1] == 2, "it ran once only"
    # A GPU is counted as the site does, unless nobody else can use the rest of the node.
    gpus = {id: (row.gpus, sacct[id][2]) for id, row in rows.items()}
    assert all(ours == site for id, (ours, site) in gpus.items() if id != ids[2]), gpus
    assert gpus[ids[2]][0] == gpus_of(link.factory, "lone") == 4

    whole = sum(row.gpus * sacct[id][0] for id, row in rows.items())
    lines = await link.charges.usage("p1")
    assert sum(line.gpu_seconds for line in lines) == whole
    assert sum(line.jobs for line in lines) == sum(row.seconds > 0 for row in rows.values())
    balance = await link.charges.balance("p1")
    assert balance.reserved == 0
    assert balance.spent * 3600 == pytest.approx(whole)
