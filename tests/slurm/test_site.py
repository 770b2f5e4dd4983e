"""The dialect, the local transport and the site against a real Slurm."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from factorycommon.models import Factory, Job, JobRequest, JobState, Outcome
from factorylink.config import Access
from factorylink.errors import Refused, Unreachable
from factorylink.explain import explain
from factorylink.jobs.ownership import Found, OwnJob, found
from factorylink.schedulers.command import Command
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.site.scheduler_client import Down, NotAsked
from factorylink.site.site import Site
from factorylink.transports.local import LocalTransport
from testbed import processes
from testbed.install import environments as install
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.unit import site_fakes
from tests.unit.site_fakes import own
from tests.unit.slurm_output import COMMENT

pytestmark = [pytest.mark.slurm, pytest.mark.asyncio(loop_scope="function")]


@pytest.fixture(scope="module")
def here() -> Iterator[SlurmCluster]:
    programs = install.program_folder()
    state = programs / "tested-site"
    shutil.rmtree(state, ignore_errors=True)
    programs.mkdir(parents=True, exist_ok=True)
    made = cluster.up(factory(), state, programs / "slurm")
    yield made
    made.down()
    shutil.rmtree(state, ignore_errors=True)


def factory() -> Factory:
    return site_fakes.factory().model_copy(update={"id": "tested"})


@pytest.fixture
def transport(here: SlurmCluster) -> LocalTransport:
    return LocalTransport(Access.model_validate(here.access_fields()).transport)


@pytest_asyncio.fixture
async def site(here: SlurmCluster, transport: LocalTransport) -> AsyncIterator[Site]:
    made = Site(factory(), Access.model_validate(here.access_fields()), transport, slurm, "tested")
    await made.start()
    yield made
    left = [job for job in await ask(made) if job.state is not JobState.ENDED]
    if left:
        await transport.run(slurm.cancel({job.id.partition("_")[0] for job in left}))
    await made.stop()
    await transport.close()


@pytest.fixture
def account(here: SlurmCluster) -> str:
    return here.accounts[0]


async def request(transport: LocalTransport, account: str, *command: str, **changes: object) -> JobRequest:
    folder = f"{await transport.home(account)}/.factorygate"
    await transport.run(mkdir(folder), account)
    fields: dict[str, object] = {
        "name": "factorygate-tested", "comment": COMMENT, "partition": "gpu", "gpus": 1, "gpu_syntax": "gres-typed",
        "gpu_type": "a100", "cores": 8, "memory_gb": 64, "walltime": 600, "output": f"{folder}/test.%j.log",
        "command": command or ("/bin/sleep", "600"),  # until the test or the fixture cancels it
    }  # fmt: skip
    return JobRequest.model_validate(fields | changes)


def mkdir(folder: str) -> Command[None]:
    return Command(("mkdir", "-p", "-m", "700", folder), lambda _: None)


def reconfigure(here: SlurmCluster, settings: str) -> None:
    """Give Slurm other settings, and wait until the nodes, which register again, accept jobs."""
    before = here.pids["slurmctld"]
    here.slurm_conf.write_text(settings)
    done = here.run("scontrol", "reconfigure")
    assert done.returncode == 0, done.stderr
    # The controller goes on as another process. Until that has written the pid file, it seems to be missing, and a
    # second one that is started then takes the file away.
    assert processes.wait_until(lambda: here.pids.get("slurmctld", before) != before, 60)
    here.start_missing()


def soon() -> str:
    """Return the time in 5 seconds, as squeue writes times."""
    return (datetime.now() + timedelta(seconds=5)).isoformat(timespec="seconds")  # squeue writes local times


async def ask(site: Site) -> list[Job]:
    """Ask the scheduler for its jobs until it answers, and return them; on a busy machine, this may take a while."""
    while True:
        with contextlib.suppress(Unreachable):
            return await site.ask_jobs_now()
        await asyncio.sleep(0.1)


async def until(site: Site, good: Callable[[dict[str, Job]], bool], seconds: float = 120) -> dict[str, Job]:
    async with asyncio.timeout(seconds):
        while not good(site.jobs):
            await ask(site)
            await asyncio.sleep(0.1)  # waits for the scheduler
    return site.jobs


def rpcs(here: SlurmCluster) -> int:
    """Return the number of client requests at the controller since the last ``sdiag --reset``."""
    told = here.run("sdiag").stdout.split("Remote Procedure Call statistics by user")[0]
    ours = "JOB_INFO|PARTITION_INFO|NODE_INFO|FED_INFO|PING|SUBMIT|KILL|WILL_RUN"
    return sum(int(count) for count in re.findall(rf"REQUEST_\w*(?:{ours})\w*\s+\(\s*\d+\) count:(\d+)", told))


async def test_a_job_from_submit_to_end(site: Site, transport: LocalTransport, account: str) -> None:
    until_told = "until [ -e go ]; do sleep 0.1; done"  # otherwise the job might end before it is seen
    wanted = await request(transport, account, "/bin/sh", "-c", f"env; umask; pwd; {until_told}; exit 4")
    go = f"{wanted.output.rpartition('/')[0]}/go"
    await transport.run(Command(("rm", "-f", go), lambda _: None), account)
    began = datetime.now(UTC)
    job = await site.submit(account, wanted)
    running = (await until(site, lambda jobs: job in jobs and jobs[job].state is JobState.RUNNING))[job]
    assert (running.account, running.comment, running.partition) == (account, COMMENT, "gpu")
    assert running.started is not None
    assert running.ends is not None
    assert running.ends - running.started == timedelta(minutes=10)
    assert abs(running.started - began) < timedelta(minutes=10)
    assert len(running.nodes) == 1
    await transport.run(Command(("touch", go), lambda _: None), account)
    over = (await until(site, lambda jobs: jobs[job].state is JobState.ENDED))[job]
    assert over.exit_code == 4
    end = await site.why_ended(account, job)
    assert end is not None
    assert (end.outcome, end.exit_code) == (Outcome.FAILED, 4)
    log = (await transport.read(account, wanted.output.replace("%j", job))).decode()
    got = dict(line.split("=", 1) for line in log.splitlines() if "=" in line)
    assert got["USER"] == account
    assert got["HOME"] == await transport.home(account)
    assert got["FACTORYGATE_JOB_ID"] == got["SLURM_JOB_ID"] == job
    assert got["FACTORYGATE_JOB_END"] == str(int(running.ends.timestamp()))
    assert (got["FACTORYGATE_JOB_NODE"], got["FACTORYGATE_JOB_RESTARTS"]) == (running.nodes[0], "0")
    assert int(got["FACTORYGATE_JOB_CORES"]) == wanted.cores
    assert int(got["FACTORYGATE_JOB_GPUS"]) == wanted.gpus
    assert got["FACTORYGATE_JOB_MEMORY_MB"] == got.get("SLURM_MEM_PER_NODE", "")
    assert got["SLURM_EXPORT_ENV"] == "ALL"
    assert got["PYTHONNOUSERSITE"] == "1"
    assert "SLURM_TIME_FORMAT" not in got
    assert log.splitlines()[-2:] == ["0077", wanted.output.rpartition("/")[0]]


async def test_a_hostile_comment_forges_and_hides_nothing(site: Site, transport: LocalTransport, account: str) -> None:
    """Somebody else submits a job with the gateway's job name and a comment that tries to forge or hide rows."""
    hostile = "x\n|99|RUNNING|\x1f|" + "y" * 200
    text = slurm.script(await request(transport, account)).replace(
        "\n#SBATCH --nodes", "\n#SBATCH --hold\n#SBATCH --nodes", 1
    )
    ours = await transport.run(slurm.submit(text), account)
    argv = ("sbatch", "--parsable", f"--comment={hostile}", "--job-name=factorygate-tested")
    theirs = await transport.run(
        Command(argv, slurm.submit("").parse, stdin=text.replace("--comment=", "--mail-user=")), account
    )
    jobs = await until(site, lambda jobs: {ours, theirs} <= jobs.keys())
    assert jobs[ours].reason == "JobHeldUser"
    assert jobs[ours].comment == COMMENT
    assert jobs[theirs].comment.startswith("x\n|99|RUNNING|")
    assert "99" not in jobs


async def test_refusals_are_told_apart(site: Site, transport: LocalTransport, account: str) -> None:
    for changes in ({"partition": "nowhere"}, {"gpus": 99}, {"walltime": 90 * 86400}, {"constraint": "nothing"}):
        with pytest.raises(Refused):
            await site.submit(account, await request(transport, account, **changes))


FILTER = """
function slurm_job_submit(job, partitions, uid)
  slurm.log_user("Project training is closed until Monday.")
  return slurm.ERROR
end
function slurm_job_modify(job, record, partitions, uid)
  return slurm.SUCCESS
end
return slurm.SUCCESS
"""


async def test_the_message_of_a_sites_job_filter_is_shown(
    here: SlurmCluster, site: Site, transport: LocalTransport, account: str
) -> None:
    settings = here.slurm_conf.read_text()
    (here.slurm_conf.parent / "job_submit.lua").write_text(FILTER)
    try:
        reconfigure(here, f"{settings}JobSubmitPlugins=lua\n")
        with pytest.raises(Refused) as refused:
            await site.submit(account, await request(transport, account))
    finally:
        reconfigure(here, settings)
    words = explain.refused(refused.value.message)
    assert (words.code, words.scheduler) == ("job-filter", "Project training is closed until Monday.")


async def test_free_and_estimates(site: Site, transport: LocalTransport, account: str) -> None:
    await until(site, lambda _: bool(site.view_loads()))  # at its start, the site asks once by itself
    (load,) = site.view_loads()
    assert load.gpus_total == 8
    size = {found.id: found for found in site.factory.sizes}
    assert site.fits_now(size["one"]) >= 1
    estimate = await site.estimate(account, await request(transport, account))
    assert estimate.basis == "test-only"
    assert estimate.start is not None
    assert abs(estimate.start - datetime.now(UTC)) < timedelta(minutes=15)
    never = await site.estimate(account, await request(transport, account, gpus=99))
    assert (never.start, never.basis) == (None, "none")


async def test_whole_nodes_fill_up_and_positions_count(site: Site, transport: LocalTransport, account: str) -> None:
    whole = await request(transport, account, gpus=4, cores=32, memory_gb=256, whole_node=True)
    jobs = [await site.submit(account, whole) for _ in range(4)]
    await until(site, lambda known: sum(known[job].state is JobState.RUNNING for job in jobs if job in known) == 2)
    await until(site, lambda known: all(job in known and known[job].reason != "None" for job in jobs))
    # once the queue was asked for
    await until(site, lambda _: [site.position(job) for job in jobs] == [None, None, 1, 2])
    await site.cancel(account, own(account, *jobs))
    await until(site, lambda known: all(known[job].state is JobState.ENDED for job in jobs))


async def test_jobs_are_told_by_their_ids(
    here: SlurmCluster, site: Site, transport: LocalTransport, account: str
) -> None:
    """The owner may rename the job; an order still finds the job as long as it has the gateway's comment."""
    waits = await request(transport, account, gpus=4, cores=32, memory_gb=256, whole_node=True)
    one, two = [await site.submit(account, waits) for _ in range(2)]
    array = await site.submit(account, waits, count=3)
    tasks = [f"{array}_{number}" for number in (1, 2, 3)]

    def change(job: str, *words: str) -> None:
        done = here.run("scontrol", "update", f"JobId={job}", *words, account=account)
        assert done.returncode == 0, done.stderr

    change(one, "JobName=a|b\nñ | 1")
    change(two, f"JobName={'ü' * 60}", "Comment=mine")
    change(tasks[1], f"Comment={'€' * 30}")
    told = {job.id: job for job in await site.by_id([one, two, array, "99999"])}
    assert set(told) == {one, two, *tasks}
    assert told[one].comment == told[tasks[0]].comment == told[tasks[2]].comment == COMMENT
    assert (told[one].name, told[two].comment, told[tasks[1]].comment) == ("a|b\nñ | 1", "mine", "")
    assert {job.account for job in told.values()} == {account}
    assert await site.by_id(["99999"]) == await site.by_id(["99998", "99999"]) == []
    assert [job.id for job in await site.by_id([tasks[2]])] == [tasks[2]]

    shown = await site.cancel(account, own(account, one, two, array))
    assert {id for id, what in shown.items() if what is Found.OURS} == {one, tasks[0], tasks[2]}
    async with asyncio.timeout(120):
        while (left := {job.id for job in await site.by_id([one, two, array]) if job.state is not JobState.ENDED}) != {
            two,
            tasks[1],
        }:
            assert {two, tasks[1]} <= left
            await asyncio.sleep(0.1)  # waits for the scheduler
    await transport.run(slurm.cancel([two, array]))


async def test_a_job_that_is_put_back_is_the_same_job_under_its_id(
    here: SlurmCluster, site: Site, transport: LocalTransport, account: str
) -> None:
    """The job keeps its id, though Slurm changes its submission time."""
    job = await site.submit(account, await request(transport, account, "/bin/sleep", "600"))
    before = (await until(site, lambda jobs: job in jobs and jobs[job].state is JobState.RUNNING))[job]
    assert before.submitted is not None
    while int(datetime.now(UTC).timestamp()) <= before.submitted.timestamp():
        await asyncio.sleep(0.1)
    here.run("scontrol", "requeue", job)
    await until(site, lambda jobs: jobs[job].restarts == 1 and jobs[job].state is JobState.PENDING)

    def runs_again(jobs: dict[str, Job]) -> bool:
        # Slurm holds a requeued job for two minutes after its first run. slurmd refuses to start it in the second in
        # which the first run was killed.
        if jobs[job].reason == "BeginTime" and here.run("squeue", "-h", "-j", job, "-o", "%S").stdout > soon():
            here.run("scontrol", "update", f"JobId={job}", "StartTime=now+2")
        return jobs[job].restarts == 1 and jobs[job].state is JobState.RUNNING

    again = (await until(site, runs_again, 200))[job]
    assert again.started is not None
    assert before.started is not None
    assert again.started > before.started
    assert again.submitted is not None
    assert again.submitted > before.submitted
    assert found(OwnJob(job, account, "of another", before.submitted), again) is Found.ALTERED
    await transport.run(slurm.cancel([job]))


async def test_a_start_is_noticed_soon(site: Site, transport: LocalTransport, account: str) -> None:
    wanted = await request(transport, account)
    took = timedelta.max
    for _ in range(3):  # a busy machine may be late once
        job = await site.submit(account, wanted)
        seen = asyncio.Event()

        async def look(jobs: list[Job], account: str | None, job: str = job, seen: asyncio.Event = seen) -> None:
            if any(known.id == job and known.state is JobState.RUNNING for known in jobs):
                seen.set()

        site.on_answer = look
        await asyncio.wait_for(seen.wait(), 120)
        started = site.jobs[job].started
        assert started is not None
        # Well below the interval of an idle site; bin/bench scale measures the time.
        if (took := datetime.now(UTC) - started) < timedelta(seconds=20):
            break
    assert took < timedelta(seconds=20)


@pytest.mark.long
async def test_sixty_waiting_sessions_cost_little(
    here: SlurmCluster, site: Site, transport: LocalTransport, account: str
) -> None:
    held = slurm.script(await request(transport, account))
    held = held.replace("\n#SBATCH --nodes", "\n#SBATCH --hold\n#SBATCH --nodes", 1)
    await transport.run(slurm.submit(held, 60), account)
    site.expect(True)
    await until(site, lambda jobs: sum(job.state is JobState.PENDING for job in jobs.values()) >= 60)
    here.run("sdiag", "--reset")
    site.look()
    await asyncio.sleep(30)  # the time for which the limit is promised
    assert rpcs(here) <= 40


async def test_a_controller_that_dies_and_comes_back(
    here: SlurmCluster, site: Site, transport: LocalTransport, account: str
) -> None:
    wanted = await request(transport, account)
    job = await site.submit(account, wanted)
    await until(site, lambda jobs: job in jobs)
    # A controller that reads new settings goes on as another process, and its pid file is empty for a moment.
    assert processes.wait_until(lambda: "slurmctld" in here.pids, 60)
    os.kill(here.pids["slurmctld"], signal.SIGKILL)
    unanswered: list[Unreachable] = []
    while len(unanswered) < 3:  # a busy machine may need longer for the check than sbatch tries
        with pytest.raises(Unreachable) as raised:
            await site.submit(account, wanted)
        unanswered.append(raised.value)
        if isinstance(raised.value, Down | NotAsked):
            break
    assert isinstance(unanswered[-1], Down | NotAsked)  # by the check, and not by sbatch, which tries for 9 s
    with pytest.raises(Unreachable):
        await site.ask_jobs_now()
    assert site.health.state == "unreachable"
    assert site.health.words is not None
    assert site.health.words.code == "controller-down"
    assert job in site.jobs
    here.start_missing()
    async with asyncio.timeout(120):
        while site.health.state != "ok":
            await asyncio.sleep(0.1)


@pytest.fixture
def private_jobs(here: SlurmCluster) -> Iterator[None]:
    """Set ``PrivateData=jobs`` in Slurm during the test, as some sites do."""
    before = here.slurm_conf.read_text()
    reconfigure(here, before + "PrivateData=jobs\n")
    yield
    reconfigure(here, before)


@pytest.mark.root
async def test_each_account_is_asked_where_accounts_see_only_their_own_jobs(
    here: SlurmCluster, transport: LocalTransport, private_jobs: None
) -> None:
    first, second = here.accounts[:2]
    access = Access.model_validate({**here.access_fields(), "private_jobs": True})
    site = Site(factory(), access, transport, slurm, "tested")
    told: dict[str | None, set[str]] = {}

    async def tell(jobs: list[Job], account: str | None) -> None:
        told[account] = {job.id for job in jobs if job.state is not JobState.ENDED}

    site.on_answer = tell
    site.private_to(lambda: {first, second}, [])
    await site.start()
    try:
        one = await site.submit(first, await request(transport, first))
        two = await site.submit(second, await request(transport, second))
        hidden = await transport.run(slurm.jobs("factorygate-tested"), first)
        assert {job.account for job in hidden} == {first}  # Slurm does hide the other jobs
        await until(site, lambda jobs: {one, two} <= set(jobs))
        assert told == {first: {one}, second: {two}}
        await site.cancel(first, own(first, one))
        await until(site, lambda jobs: one not in jobs or jobs[one].state is JobState.ENDED)
        assert site.jobs[two].state is not JobState.ENDED
        await site.cancel(second, own(second, two))
        await until(site, lambda jobs: two not in jobs or jobs[two].state is JobState.ENDED)
        end = await site.why_ended(second, two)
        assert end is not None
        assert end.outcome is Outcome.CANCELLED
    finally:
        await site.stop()
        await transport.run(slurm.cancel([one, two]))


async def test_maintenances_and_reservations(
    here: SlurmCluster, site: Site, account: str, transport: LocalTransport
) -> None:
    """What the gateway says of reservations and maintenances is true of the cluster.

    A person who is offered a reservation can run in it, and a job that would not end before a maintenance waits with an
    explanation.
    """

    async def reserve(name: str, *words: str) -> None:
        async with asyncio.timeout(60):
            while (made := here.run("scontrol", "create", "reservation", f"ReservationName={name}", *words)).returncode:
                assert "busy" in made.stderr, made.stderr  # the nodes still end the jobs of the test before
                await asyncio.sleep(0.1)  # waits for the scheduler

    assert await transport.run(slurm.reservations()) == []
    course = ("StartTime=now", "Duration=60", "NodeCnt=1", "PartitionName=gpu", f"Users={account}")
    await reserve("course", *course)
    await reserve("maint", "StartTime=now+2hours", "Duration=60", "Nodes=ALL", "Users=root", "Flags=MAINT,IGNORE_JOBS")
    made = []
    try:
        site.load_poller.reservations = await transport.run(slurm.reservations())
        await until(site, lambda _: bool(site.view_loads()))
        (maintenance,) = site.maintenance()
        assert maintenance.closes == ("gpu",)
        assert timedelta(minutes=110) < maintenance.start - datetime.now(UTC) < timedelta(minutes=121)
        assert [one.id for one in site.reservations(account, None)] == ["course"]
        assert site.reservations("nobody", None) == ()

        made.append(await site.submit(account, await request(transport, account, reservation="course")))
        made.append(await site.submit(account, await request(transport, account, walltime=4 * 3600)))
        runs, waits = made
        await until(site, lambda jobs: runs in jobs and jobs[runs].state is JobState.RUNNING)
        jobs = await until(site, lambda jobs: waits in jobs and explain.pending(jobs[waits]).code == "maintenance")
        words = explain.before_maintenance(explain.pending(jobs[waits]), maintenance)
        assert f"{maintenance.start:%Y-%m-%d %H:%M}" in words.what
    finally:
        await transport.run(slurm.cancel(made))
        await until(site, lambda jobs: all(job in jobs and jobs[job].state is JobState.ENDED for job in made))
        for name in ("maint", "course"):
            here.run("scontrol", "delete", f"ReservationName={name}")
