"""The explanations of jobs that a real Slurm with accounts accepts, but cannot run now.

The reasons are a QOS that is used up, a reservation for others, and a maintenance.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factorycommon.models import Factory, Job, JobState
from factorylink.catalogue import catalogue as federation
from factorylink.explain import explain
from factorylink.schedulers.command import Output
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.site import maintenance, unix_groups
from testbed import accounts
from testbed.install import environments as install
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.support.trial import CHECKOUT, as_account, eventually, state_of

pytestmark = [pytest.mark.slurm, pytest.mark.root]


@pytest.fixture(scope="module")
def site() -> Iterator[SlurmCluster]:
    """Start a Slurm for Leonardo with one node more than its debugging QOS allows."""
    entry = federation.load(CHECKOUT / "hub_config" / "factories").entries["it4lia"]
    assert isinstance(entry, Factory)
    folder = Path(tempfile.mkdtemp(prefix="factorygate-windows-"))
    folder.chmod(0o755)
    found = cluster.up(entry, folder, install.program_folder() / "slurm", gpu_nodes=3, accounting=True)
    yield found
    found.down()
    shutil.rmtree(folder)


def submitted(site: SlurmCluster, *options: str) -> str:
    answer = batch(site, *options)
    assert answer[0] == 0, answer[1]
    return answer[1].strip()


def batch(site: SlurmCluster, *options: str, account: str | None = None, pays: str | None = None) -> tuple[int, str]:
    words = (
        "sbatch",
        "--parsable",
        "-o",
        "/dev/null",
        "--chdir=/",
        "--export=NIL",
        f"--account={pays or site.record.job_account}",
    )
    script = "#!/bin/sh\nsleep 600\n"
    if account is None:
        done = as_account(site, *words, *options, script=script)
    else:
        done = site.run(*words, *options, "--wrap=sleep 600", account=account)
    return done.returncode, done.stdout or done.stderr


def why(site: SlurmCluster, job: str) -> str:
    """Return the code of the explanation why a job waits; empty until Slurm has considered the job."""
    state, _, reason = site.run("squeue", "-h", "-j", job, "-o", "%T|%r").stdout.strip().partition("|")
    if state != "PENDING" or reason in ("None", "Priority"):
        return ""
    waiting = Job(
        id=job, name="n", account="a", comment="c", state=JobState.PENDING, raw_state=state,
        reason=reason.replace(" ", "_"),
    )  # fmt: skip
    return explain.pending(waiting).code


def cancel(site: SlurmCluster, *jobs: str) -> None:
    """Cancel these jobs, and wait until they have ended.

    For a job that is just being started, Slurm needs up to KillWait.
    """
    control(site, "scancel", *jobs)
    live = ("RUNNING", "COMPLETING", "PENDING")
    assert eventually(lambda: not any(state_of(site, job) in live for job in jobs))


def control(site: SlurmCluster, *words: str) -> None:
    done = site.run(*words)
    assert done.returncode == 0, done.stderr


def test_more_nodes_than_the_qos_allows_are_refused(site: SlurmCluster) -> None:
    code, said = batch(site, "--qos=boost_qos_dbg", "--nodes=3", "--time=10")
    assert code != 0
    assert "QOSMaxNodePerJobLimit" in said
    assert explain.refused(said).code == "no-such-node"
    cancel(site, submitted(site, "--qos=boost_qos_dbg", "--nodes=2", "--time=10"))


def test_a_qos_that_is_used_up_lets_jobs_wait(site: SlurmCluster) -> None:
    control(site, "sacctmgr", "-i", "modify", "qos", "boost_qos_lprod", "set", "Flags-=DenyOnLimit",
            "GrpTRES=gres/gpu=2")  # fmt: skip
    options = ("--qos=boost_qos_lprod", "--gres=gpu:2", "--time=10")
    first = submitted(site, *options)
    assert eventually(lambda: state_of(site, first) == "RUNNING")
    second = submitted(site, *options)
    assert eventually(lambda: why(site, second) == "queue-limit"), why(site, second)
    cancel(site, first)
    assert eventually(lambda: state_of(site, second) == "RUNNING")
    cancel(site, second)


def test_a_reservation_is_for_those_in_it(site: SlurmCluster) -> None:
    *others, member = site.accounts
    control(site, "scontrol", "create", "reservation", "ReservationName=course", "StartTime=now", "Duration=60",
            "Nodes=gpu001", f"Users={member}")  # fmt: skip
    inside = submitted(site, "--reservation=course", "--gres=gpu:1", "--time=10")
    assert eventually(lambda: state_of(site, inside) == "RUNNING")
    assert site.run("squeue", "-h", "-j", inside, "-o", "%N").stdout.strip() == "gpu001"
    for options, account in ((("--reservation=course",), others[0]), (("--reservation=gone",), member)):
        code, said = batch(site, *options, "--time=10", account=account)
        assert code != 0
        assert explain.refused(said).code == "reservation", said
    cancel(site, inside)
    control(site, "scontrol", "delete", "ReservationName=course")


@pytest.fixture
def school(site: SlurmCluster) -> Iterator[str]:
    """Make a Unix group with the first of the site accounts in it; yield the group's name."""
    name = "fg-school"
    with accounts.changing():
        subprocess.run(["/usr/sbin/groupadd", "--force", name], check=True)
        subprocess.run(["/usr/sbin/usermod", "--append", "--groups", name, site.accounts[0]], check=True)
    yield name
    with accounts.changing():
        subprocess.run(["/usr/sbin/groupdel", name], check=True)


def test_slurm_admits_exactly_the_people_who_are_offered_a_reservation(site: SlurmCluster, school: str) -> None:
    first, *_, last = site.accounts
    ours, other = str(site.record.job_account), "Other"
    control(site, "sacctmgr", "-i", "add", "account", other)
    control(site, "sacctmgr", "-i", "add", "user", f"{first},{last}", f"Account={other}", "QOS=normal",
            "DefaultQOS=normal")  # fmt: skip
    chosen = {
        "of-ours": (f"Accounts={ours}",),
        "of-other": (f"Accounts={other}",),
        "not-other": (f"Accounts=-{other}",),
        "both": (f"Accounts={other.lower()}", f"Users={last}"),
        "school": (f"Groups={school}",),
        "school-other": (f"Groups={school}", f"Accounts={other.lower()}"),
    }
    for name, words in chosen.items():
        control(site, "scontrol", "create", "reservation", f"ReservationName={name}", "StartTime=now", "Duration=60",
                "Nodes=gpu001", "Flags=OVERLAP", *words)  # fmt: skip
    told = slurm.reservations()
    found = told.parse(output(site, *told.argv, env=told.env))
    assert {one.id for one in found} == set(chosen)
    let_in: dict[str, set[tuple[str, str]]] = {name: set() for name in chosen}
    for account, pays in itertools.product((first, last), (ours, other)):
        asked = unix_groups.question(account)
        theirs = asked.parse(output(site, *asked.argv))
        assert (school in theirs) == (account == first)
        now = datetime.now(UTC)
        offered = {one.id for one in maintenance.offered(found, account, pays, lambda theirs=theirs: theirs, now)}
        for name in chosen:
            options = (f"--reservation={name}", "--qos=normal", "--time=10", "--hold")
            code, said = batch(site, *options, account=account, pays=pays)
            assert (code == 0) == (name in offered), (name, account, pays, said)
            if code == 0:
                let_in[name].add((account, pays))
                control(site, "scancel", said.strip())
    assert let_in["of-other"] == {(first, other), (last, other)}
    assert let_in["both"] == {(last, other)}
    assert let_in["school"] == {(first, ours), (first, other)}
    assert let_in["school-other"] == {(first, other)}
    for name in chosen:
        control(site, "scontrol", "delete", f"ReservationName={name}")


def test_a_node_that_is_drained_says_since_when(site: SlurmCluster) -> None:
    def since() -> datetime | None:
        told = slurm.nodes()
        nodes = told.parse(output(site, *told.argv, env=told.env))
        return next(node.since for node in nodes if node.name == "gpu002")

    assert since() is None
    before = datetime.now(UTC).replace(microsecond=0)
    control(site, "scontrol", "update", "NodeName=gpu002", "State=DRAIN", "Reason=disk | broken")
    assert eventually(lambda: since() is not None)
    assert before <= (since() or before) <= datetime.now(UTC)
    control(site, "scontrol", "update", "NodeName=gpu002", "State=RESUME")
    assert eventually(lambda: since() is None)


def output(site: SlurmCluster, *argv: str, env: Mapping[str, str] | None = None) -> Output:
    words = [f"{name}={value}" for name, value in (env or {}).items()]
    done = site.run("env", *words, *argv)
    return Output(done.stdout, done.stderr, done.returncode)


def test_only_jobs_that_would_run_into_a_maintenance_wait(site: SlurmCluster) -> None:
    begins = datetime.now() + timedelta(minutes=30)
    control(site, "scontrol", "create", "reservation", "ReservationName=maintenance", "Flags=MAINT,IGNORE_JOBS",
            f"StartTime={begins:%Y-%m-%dT%H:%M:%S}", "Duration=120", "Nodes=ALL", "Users=root")  # fmt: skip
    long, short = submitted(site, "--time=60"), submitted(site, "--time=10")
    assert eventually(lambda: why(site, long) == "maintenance"), why(site, long)
    assert eventually(lambda: state_of(site, short) == "RUNNING"), why(site, short)
    cancel(site, long, short)
    control(site, "scontrol", "delete", "ReservationName=maintenance")


def test_accounting_tells_the_seconds_of_a_job(site: SlurmCluster) -> None:
    job = submitted(site, "--time=10", "--gres=gpu:2")
    assert eventually(lambda: state_of(site, job) == "RUNNING")
    cancel(site, job)
    words = ("sacct", "-n", "-P", "-X", "-j", job, "-o", "Start,End,ElapsedRaw,State,Account,QOS,AllocTRES")
    assert eventually(lambda: "CANCELLED" in site.run(*words).stdout), site.run(*words).stdout
    for account in (None, site.accounts[-1]):  # the job's owner gets the same answer
        told = site.run(*words, account=account).stdout.strip().split("|")
        begin, end = (datetime.fromisoformat(word) for word in told[:2])
        assert (end - begin).total_seconds() == int(told[2])
        assert told[4:6] == [site.record.job_account, "normal"]
        assert "gres/gpu=2" in told[6]


def test_killed_accounting_comes_back_with_what_it_knew(site: SlurmCluster) -> None:
    before = site.run("sacct", "-n", "-P", "-X", "-a", "-o", "JobID,Start,Account").stdout
    assert before
    for name in ("slurmdbd", "mariadbd"):
        site.kill(name)
    assert {"slurmdbd", "mariadbd"}.isdisjoint(site.pids)
    cancel(site, submitted(site, "--time=10"))  # slurmctld uses the time in its memory
    site.start_missing()
    told = ("sacct", "-n", "-P", "-X", "-a", "-o", "JobID,Start,Account")
    assert eventually(lambda: set(before.splitlines()) <= set(site.run(*told).stdout.splitlines()))
    assert site.run("sacctmgr", "-n", "-P", "show", "qos", "boost_qos_dbg", "format=Name").stdout == "boost_qos_dbg\n"
