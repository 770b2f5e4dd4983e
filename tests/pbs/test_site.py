"""The dialect, the ssh transport and the site against a real OpenPBS: every question and every order."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from factorycommon.models import End, Factory, Job, JobRequest, JobState, Outcome
from factorylink.catalogue import loading
from factorylink.config import Access, Hub, LinkConfig
from factorylink.errors import Refused, Unreachable
from factorylink.explain import explain
from factorylink.schedulers.command import Command
from factorylink.schedulers.pbs import dialect as pbs
from factorylink.site.connecting import make_connections
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.site import Site
from factorylink.transports.base import Transport
from testbed.install import environments as install
from testbed.pbs import up as pbs_up
from testbed.pbs.cluster import PbsCluster
from tests.unit import site_fakes
from tests.unit.pbs_output import COMMENT
from tests.unit.site_fakes import own

pytestmark = [pytest.mark.pbs, pytest.mark.asyncio(loop_scope="function")]
NAME = "factorygate-tested"


def factory() -> Factory:
    return site_fakes.factory().model_copy(update={"id": "tested", "scheduler": "pbs"})


@pytest_asyncio.fixture
async def place(here: PbsCluster, account: str, tmp_path: Path) -> AsyncIterator[FactoryConnection]:
    """Connect as the link does, by ssh, with a watcher's account without rights; yield the running connection."""
    config = LinkConfig(
        catalogue=tmp_path, state_dir=tmp_path, socket=tmp_path / "s",
        hub=Hub(token_file=tmp_path / "t", name="tested"),
        factories={"tested": Access.model_validate(here.access_fields())},
    )  # fmt: skip
    (made,) = make_connections(config, {"tested": factory()}).values()
    await made.site.start()
    yield made
    left = {job.id for job in await made.commands.run(pbs.jobs(NAME)) if job.state is not JobState.ENDED}
    if left:
        await made.commands.run(pbs.cancel(left), account)
        await until(made.site, lambda jobs: all(jobs[j].state is JobState.ENDED for j in left & set(jobs)))
    await made.site.stop()
    await made.commands.close()


@pytest.fixture
def transport(place: FactoryConnection) -> Transport:
    return place.commands


@pytest.fixture
def site(place: FactoryConnection) -> Site:
    return place.site


@pytest.fixture
def account(here: PbsCluster) -> str:
    return here.accounts[0]


@pytest.fixture
def folder(here: PbsCluster, account: str) -> str:
    """Make a folder in the account's home, which login side and nodes share; return its absolute path."""
    path = f"{pwd.getpwnam(account).pw_dir}/.factorygate"
    assert here.run("mkdir", "-p", "-m", "700", path, account=account).returncode == 0
    return path


def request(folder: str, *command: str, **changes: object) -> JobRequest:
    fields: dict[str, object] = {
        "name": NAME, "comment": COMMENT, "partition": "interactive", "gpus": 1, "gpu_syntax": "gres", "cores": 8,
        "memory_gb": 64, "walltime": 600, "output": f"{folder}/test.log", "constraint": "node_type=mi300a",
        "command": command or ("/bin/sleep", "60"),
    }  # fmt: skip
    return JobRequest.model_validate(fields | changes)


async def until(site: Site, good: Callable[[dict[str, Job]], bool], seconds: float = 90) -> dict[str, Job]:
    async with asyncio.timeout(seconds):
        while not good(site.jobs):
            await site.ask_jobs_now()
            await asyncio.sleep(0.2)  # waits for the scheduler
    return site.jobs


async def over(site: Site, account: str, job: str, seconds: float = 120) -> End:
    """Return how a job ended, once it has ended."""
    async with asyncio.timeout(seconds):
        while True:
            await site.ask_jobs_now()
            known = site.jobs.get(job)
            if known is None or known.state is JobState.ENDED:
                end = await site.why_ended(account, job)
                if end is not None:
                    return end
            await asyncio.sleep(0.2)


async def test_a_job_from_submit_to_end(site: Site, here: PbsCluster, account: str, folder: str) -> None:
    here.run("rm", "-f", f"{folder}/test.log", f"{folder}/go", account=account)
    until_told = "until [ -e go ]; do sleep 0.1; done"  # otherwise the job might end before it is seen
    began = datetime.now(UTC)
    job = await site.submit(account, request(folder, "/bin/sh", "-c", f"env; umask; pwd; {until_told}; exit 4"))
    running = (await until(site, lambda jobs: job in jobs and jobs[job].state is JobState.RUNNING))[job]
    assert (running.account, running.comment, running.partition) == (account, COMMENT, "interactive")
    assert running.started is not None
    assert running.ends is not None
    assert running.ends - running.started == timedelta(minutes=10)
    assert abs(running.started - began) < timedelta(minutes=5)  # the time zone is right
    assert set(running.nodes) <= set(here.nodes)
    assert here.run("touch", f"{folder}/go", account=account).returncode == 0
    end = await over(site, account, job)
    assert (end.outcome, end.exit_code, end.signal) == (Outcome.FAILED, 4, None)
    log = here.run("cat", f"{folder}/test.log", account=account).stdout
    got = dict(line.split("=", 1) for line in log.splitlines() if "=" in line)
    assert got["USER"] == account
    assert got["FACTORYGATE_JOB_ID"] == got["PBS_JOBID"] == job
    assert "0077" in log.splitlines()
    assert folder in log.splitlines()


async def test_a_walltime_that_is_over_is_told(site: Site, account: str, folder: str) -> None:
    job = await site.submit(account, request(folder, "/bin/sleep", "600", walltime=10))
    await until(site, lambda jobs: job in jobs and jobs[job].state is not JobState.PENDING)
    end = await over(site, account, job)
    assert (end.outcome, end.exit_code) == (Outcome.WALLTIME, -29)


async def test_the_output_of_a_failed_job_is_beside_its_log(
    site: Site, here: PbsCluster, account: str, folder: str
) -> None:
    """A job whose script could not open its log fails; PBS keeps a copy of the job's output."""
    here.run("rm", "-rf", f"{folder}/gone", account=account)
    job = await site.submit(account, request(folder, output=f"{folder}/gone/job.log"))
    assert (await over(site, account, job)).outcome is Outcome.FAILED


async def test_an_array_is_told_job_by_job(site: Site, account: str, folder: str) -> None:
    array = await site.submit(account, request(folder, output=f"{folder}/w.%INDEX%.log"), count=3)
    tasks = [pbs.task_of(array, number) for number in (1, 2, 3)]
    jobs = await until(site, lambda jobs: all(jobs[t].state is JobState.RUNNING for t in tasks if t in jobs) and
                       set(tasks) <= set(jobs))  # fmt: skip
    assert {jobs[task].comment for task in tasks} == {COMMENT}
    await site.cancel(account, own(account, tasks[0]))
    assert (await over(site, account, tasks[0])).outcome is Outcome.CANCELLED
    assert site.jobs[tasks[1]].state is JobState.RUNNING
    await site.cancel(account, own(account, array))
    await until(site, lambda jobs: all(t not in jobs or jobs[t].state is JobState.ENDED for t in tasks))


async def test_cancelling_twice_and_what_never_was_is_no_error(site: Site, account: str, folder: str) -> None:
    job = await site.submit(account, request(folder))
    await site.cancel(account, own(account, job))
    await site.cancel(account, own(account, job))
    assert (await over(site, account, job)).outcome is Outcome.CANCELLED
    await site.cancel(account, own(account, job, "99999.login01"))


async def test_somebody_elses_job_is_not_cancelled(
    here: PbsCluster, site: Site, transport: Transport, account: str, folder: str
) -> None:
    job = await site.submit(account, request(folder))
    with pytest.raises(Refused):
        await transport.run(pbs.cancel([job]), here.accounts[1])
    assert (await until(site, lambda jobs: job in jobs))[job].state is not JobState.ENDED


@pytest.mark.parametrize(
    "changes",
    [{"partition": "nosuch"}, {"walltime": 20 * 3600}, {"constraint": "nosuch=1"}, {"gres": "nosuch=2"}],
)
async def test_a_request_that_pbs_cannot_fulfil_is_refused(
    site: Site, account: str, folder: str, changes: dict[str, object]
) -> None:
    with pytest.raises(Refused):
        await site.submit(account, request(folder, **changes))


async def test_a_job_that_never_fits_waits_and_says_so(site: Site, account: str, folder: str) -> None:
    job = await site.submit(account, request(folder, gpus=9))
    jobs = await until(site, lambda jobs: job in jobs and jobs[job].reason.startswith("Can Never Run"))
    assert jobs[job].state is JobState.PENDING


async def test_nodes_are_as_the_catalogue_has_them(
    here: PbsCluster, site: Site, transport: Transport, account: str, folder: str
) -> None:
    told = {node.name: node for node in await transport.run(pbs.nodes())}
    assert set(told) == set(here.nodes)
    for node in told.values():
        assert (node.cores, node.gpus, node.memory) == (96, 4, 512 * 2**30)
        assert set(node.partitions) >= {"interactive", "test"}
        assert node.usable
    job = await site.submit(account, request(folder, gpus=2))
    running = (await until(site, lambda jobs: job in jobs and jobs[job].state is JobState.RUNNING))[job]
    busy = {node.name: node for node in await transport.run(pbs.nodes())}[running.nodes[0]]
    assert (busy.gpus_free, busy.cores_free) == (2, 88)
    off = next(name for name in here.nodes if name != running.nodes[0])
    assert here.run("pbsnodes", "-o", "-C", "trial", off).returncode == 0
    try:
        gone = {node.name: node for node in await transport.run(pbs.nodes())}[off]
        assert (gone.usable, gone.gpus_free, gone.reason) == (False, 0, "trial")
    finally:
        assert here.run("pbsnodes", "-C", "", "-r", off).returncode == 0


async def test_a_waiting_job_has_an_estimate_and_a_place(
    here: PbsCluster, site: Site, transport: Transport, account: str, folder: str
) -> None:
    whole = [await site.submit(account, request(folder, whole_node=True)) for _ in here.nodes]
    await until(site, lambda jobs: all(job in jobs and jobs[job].state is JobState.RUNNING for job in whole))
    job = await site.submit(account, request(folder, whole_node=True))
    jobs = await until(site, lambda jobs: job in jobs and jobs[job].expected_start is not None)
    assert jobs[job].reason.startswith("Not Running: ")
    assert timedelta(0) < jobs[job].expected_start - datetime.now(UTC) < timedelta(minutes=11)  # type: ignore[operator]
    waiting = await transport.run(pbs.waiting())
    assert [id for _, id in waiting["interactive"]] == [job]


async def test_the_jobs_of_a_begun_array_are_ahead_of_who_comes_later(
    here: PbsCluster, site: Site, transport: Transport, account: str, folder: str
) -> None:
    array = await site.submit(account, request(folder, whole_node=True, output=f"{folder}/w.%INDEX%.log"), count=50)
    jobs = await until(site, lambda jobs: any(job.state is JobState.RUNNING for job in jobs.values()))
    running = sum(job.state is JobState.RUNNING for job in jobs.values())
    job = await site.submit(account, request(folder, whole_node=True))
    waiting = [id for _, id in (await transport.run(pbs.waiting()))["interactive"]]
    assert array not in waiting
    assert waiting.index(job) == 50 - running
    async with asyncio.timeout(60):
        while site.position(job) is None:
            await site.ask_jobs_now()
            await asyncio.sleep(0.2)
    assert site.position(job) == 51 - running
    assert here.run("qdel", array).returncode == 0  # the array as a whole, since its jobs one by one would take minutes
    await until(site, lambda jobs: set(jobs) <= {job})


async def test_a_cancelled_job_is_ahead_of_nobody(
    here: PbsCluster, site: Site, transport: Transport, account: str, folder: str
) -> None:
    whole = [await site.submit(account, request(folder, whole_node=True)) for _ in here.nodes]
    await until(site, lambda jobs: all(job in jobs and jobs[job].state is JobState.RUNNING for job in whole))
    first, second = [await site.submit(account, request(folder, whole_node=True)) for _ in range(2)]
    await until(site, lambda _: site.position(second) == 2)
    await site.cancel(account, own(account, first))
    await until(site, lambda jobs: first not in jobs)
    assert site.position(second) == 1


async def test_a_suspended_job_is_told(here: PbsCluster, site: Site, account: str, folder: str) -> None:
    job = await site.submit(account, request(folder))
    await until(site, lambda jobs: job in jobs and jobs[job].state is JobState.RUNNING)
    assert here.run("qsig", "-s", "suspend", job).returncode == 0
    jobs = await until(site, lambda jobs: jobs[job].suspended)
    assert jobs[job].state is JobState.RUNNING
    assert here.run("qsig", "-s", "resume", job).returncode == 0
    await until(site, lambda jobs: not jobs[job].suspended)


async def test_a_queue_with_all_nodes_offline_is_known(here: PbsCluster, site: Site, account: str, folder: str) -> None:
    assert here.run("pbsnodes", "-o", *here.nodes).returncode == 0
    try:
        job = await site.submit(account, request(folder))
        jobs = await until(site, lambda jobs: job in jobs and jobs[job].reason != "")
        assert explain.nodes_out(explain.pending(jobs[job])).code == "nodes-out"
        await until(site, lambda _: site.all_out("interactive"))
    finally:
        assert here.run("pbsnodes", "-r", *here.nodes).returncode == 0


async def test_jobs_on_a_node_have_different_gpus(here: PbsCluster, site: Site, account: str, folder: str) -> None:
    """PBS assigns no GPUs. ``nvidia-smi`` is a shell function, since the nodes have no GPU."""
    here.run("sh", "-c", f"rm -rf {folder}/gpu.*", account=account)
    four = "nvidia-smi() { printf '0\\n1\\n2\\n3\\n'; }"
    found = []
    for number in range(3):
        asked = request(folder, "/bin/sh", "-c", f'echo "$CUDA_VISIBLE_DEVICES" >{folder}/gpu.{number}; exec sleep 60')
        # One after the other, so that all three run on one node.
        script = pbs.script(asked).replace("factorygate_take_gpus()", f"{four}\nfactorygate_take_gpus()", 1)
        script = script.replace(":ngpus=1:", f":ngpus=1:host={here.nodes[0]}:", 1)
        job = await site.commands.run(pbs.submit(script), account)
        await until(site, lambda jobs, job=job: job in jobs and jobs[job].state is JobState.RUNNING)  # type: ignore[misc]
        await until(site, lambda _, number=number: bool(said(here, f"{folder}/gpu.{number}", account)))  # type: ignore[misc]
        found.append(said(here, f"{folder}/gpu.{number}", account))
    assert found == ["0", "1", "2"]


def said(here: PbsCluster, file: str, account: str) -> str:
    return here.run("cat", file, account=account).stdout.strip()


async def test_a_second_factory_stands_beside_it(here: PbsCluster) -> None:
    """Two PBS servers run at once, although the databases of all servers listen under the same socket name."""
    folder = here.folder.parent / "second"
    entry = loading.load(install.CHECKOUT / "hub_config/factories")["hammerhai"].model_copy(update={"id": "second"})
    second = await asyncio.to_thread(pbs_up.up, entry, folder, gpu_nodes=1)
    try:
        assert second.ready()
        assert here.ready()
    finally:
        await asyncio.to_thread(second.down)
        shutil.rmtree(folder)


async def test_extending_is_the_sites_to_do(
    here: PbsCluster, site: Site, transport: Transport, account: str, folder: str
) -> None:
    job = await site.submit(account, request(folder))
    await until(site, lambda jobs: job in jobs and jobs[job].state is JobState.RUNNING)
    with pytest.raises(Refused):
        await transport.run(pbs.extend(job, 60), account)
    assert here.run(*pbs.extend(job, 60).argv).returncode == 0
    jobs = await until(site, lambda jobs: jobs[job].ends - jobs[job].started == timedelta(hours=1))  # type: ignore[operator]
    assert jobs[job].state is JobState.RUNNING


async def test_a_requeue_counts(here: PbsCluster, site: Site, account: str, folder: str) -> None:
    job = await site.submit(account, request(folder))
    first = (await until(site, lambda jobs: job in jobs and jobs[job].state is JobState.RUNNING))[job]
    assert first.restarts == 0
    assert here.run("qrerun", job).returncode == 0
    again = (await until(site, lambda jobs: jobs[job].restarts == 1 and jobs[job].state is JobState.RUNNING))[job]
    assert again.started is not None
    assert first.started is not None
    assert again.started > first.started


async def test_a_job_is_entered_on_its_node(here: PbsCluster, site: Site, account: str, folder: str) -> None:
    """``pbs_attach`` runs on the node itself: the process belongs to the job, and ends with it."""
    job = await site.submit(account, request(folder))
    running = (await until(site, lambda jobs: job in jobs and jobs[job].state is JobState.RUNNING))[job]
    node = running.nodes[0]
    argv = pbs.enter(job, ["/bin/sh", "-c", "id -un; read word; echo got $word; exec sleep 60"], node)
    who = ("setpriv", "--init-groups", f"--reuid={account}", f"--regid={account}")
    with subprocess.Popen(
        [*here.on(node), *who, *argv],
        env={**os.environ, **here.env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as sshd does: pbs_attach moves the whole session into the job
    ) as inside:
        assert inside.stdin is not None
        assert inside.stdout is not None
        inside.stdin.write("this\n")
        inside.stdin.flush()
        assert [inside.stdout.readline(), inside.stdout.readline()] == [f"{account}\n", "got this\n"]
        await site.cancel(account, own(account, job))
        assert inside.wait(60) != 0


async def test_reservations_are_told(here: PbsCluster, transport: Transport, account: str) -> None:
    begin, end = (datetime.now() + timedelta(minutes=minutes) for minutes in (10, 40))
    times = ("-R", f"{begin:%m%d%H%M.%S}", "-E", f"{end:%m%d%H%M.%S}")
    made = here.run("pbs_rsub", "-N", "course", *times, "-l", "select=1:ncpus=1", "-I", "30", account=account)
    assert made.returncode == 0, made.stderr
    id = made.stdout.split()[0]
    try:
        (found,) = [one for one in await transport.run(pbs.reservations()) if one.id == id]
        assert (found.name, found.maintenance) == ("course", False)
        assert abs(found.start - begin.astimezone(UTC)) < timedelta(seconds=2)
        assert account in found.users
    finally:
        here.run("pbs_rdel", id)


async def test_a_server_that_is_away_is_unreachable(here: PbsCluster, transport: Transport) -> None:
    questions: tuple[Command[object], ...] = (
        *(pbs.jobs(NAME), pbs.ended(NAME), pbs.waiting(), pbs.nodes(), pbs.reservations(), pbs.alive()),
        *(pbs.accounting(["1.login01"]), pbs.cancel(["1.login01"]), pbs.submit("#!/bin/sh\n")),
    )
    here.kill("pbs_server")
    try:
        for question in questions:
            with pytest.raises(Unreachable):
                await transport.run(question)
    finally:
        here.start_missing()
    await transport.run(pbs.alive())
