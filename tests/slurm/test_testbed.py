"""The testbed itself, with real daemons: as root with three site accounts, and as an ordinary user."""

from __future__ import annotations

import json
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import accounts, processes
from testbed.errors import CannotLayOut, CannotRun, NotThere
from testbed.install import packages, pytorch
from testbed.slurm import cluster, layout
from testbed.slurm.cluster import SlurmCluster
from tests.support.trial import (
    CHECKOUT,
    FACTORY,
    ORDINARY,
    as_account,
    cancel,
    ensure_ordinary_user,
    eventually,
    python,
    state_of,
    submit,
)

only_root = pytest.mark.root

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """Return a state folder outside of pytest's own folder, which site accounts may not enter."""
    folder = Path(tempfile.mkdtemp(prefix="factorygate-testbed-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def running(state: Path) -> Iterator[SlurmCluster]:
    found = cluster.up(FACTORY, state)
    yield found
    found.down()


def test_the_layout_is_the_catalogues(running: SlurmCluster) -> None:
    answer = running.run("sinfo", "-h", "-o", "%R|%l|%L|%c|%m|%G|%D|%h")
    rows = {line.split("|")[0]: line.split("|")[1:] for line in answer.stdout.split()}
    assert rows["shared"] == ["1-00:00:00", "30:00", "32", str(490 * 1024), "gpu:a100:4", "2", "NO"]
    assert rows["whole"][0] == "2:00:00"
    assert rows["whole"][-1] == "EXCLUSIVE"
    assert rows["cpu"][2:6] == ["112", str(512 * 1024), "(null)", "1"]
    assert "trial-aif" in running.run("scontrol", "show", "config").stdout


def test_everything_listens_on_loopback_below_the_links_ports(running: SlurmCluster) -> None:
    ports = {running.record.place.controller_port, *running.record.place.node_ports.values()}
    assert all(10000 <= port <= 19999 for port in ports)
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = {int(port, 16): address for address, port in (entry.split(":") for entry in listening)}
    assert {addresses[port] for port in ports} == {"0100007F"}


def test_a_job_sees_its_gpus_its_end_and_its_factory(running: SlurmCluster) -> None:
    answer = as_account(running, "srun", "-p", "shared", "--gres=gpu:2", "-t", "5", "/usr/bin/env")
    assert answer.returncode == 0, answer.stderr
    seen = dict(line.split("=", 1) for line in answer.stdout.splitlines() if "=" in line)
    assert seen["SLURM_GPUS_ON_NODE"] == "2"
    assert seen["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert seen["SLURM_CLUSTER_NAME"] == "trial-aif"
    assert 0 < float(seen["SLURM_JOB_END_TIME"]) - time.time() <= 301
    assert "LD_LIBRARY_PATH" not in seen


@pytest.mark.parametrize(
    "request_",
    [
        ("-p", "whole", "-t", "3:00:00"),
        ("-p", "shared", "--gres=gpu:5"),
        ("-p", "shared", "-c", "33"),
        ("-p", "cpu", "--gres=gpu:1"),
        ("-p", "nowhere"),
    ],
)
def test_the_testbed_refuses_jobs_that_the_site_would_refuse(running: SlurmCluster, request_: tuple[str, ...]) -> None:
    answer = as_account(running, "sbatch", *request_, script="#!/bin/sh\ntrue\n")
    assert answer.returncode != 0
    assert answer.stderr


def test_any_qos_and_account_are_accepted(running: SlurmCluster) -> None:
    cancel(running, submit(running, "true", "-H", "--qos=debug", "--account=project_1"))


def test_jobs_find_the_clients_and_may_add_steps(
    running: SlurmCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    job = submit(running, "command -v squeue && squeue -h && sleep 300 & sleep 300", "-t", "5")
    assert eventually(lambda: state_of(running, job) == "RUNNING")
    step = as_account(
        running, "srun", "-u", "--overlap", f"--jobid={job}", "--ntasks=1", "--export=NONE", "/bin/sh", "-c",
        "command -v squeue; squeue -h -t RUNNING -o %i",
    )  # fmt: skip
    assert step.stdout.splitlines() == [str(Path(running.env["PATH"].split(":")[0]) / "squeue"), job]
    cancel(running, job)


def test_a_job_with_a_whole_node_shares_it_with_no_other(running: SlurmCluster) -> None:
    first = submit(running, "sleep 300", "-p", "whole", "-c", "1", "-t", "5", "-w", "gpu001")
    assert eventually(lambda: state_of(running, first) == "RUNNING")
    second = submit(running, "sleep 300", "-p", "shared", "-c", "1", "-t", "5", "-w", "gpu001")
    estimate = as_account(
        running, "sbatch", "--test-only", "-p", "shared", "-t", "5", "-w", "gpu001", script="#!/bin/sh\n"
    )
    assert "to start at" in estimate.stderr
    planned = eventually(
        lambda: running.run("squeue", "-h", "--start", "-j", second, "-o", "%S").stdout.startswith("20")
    )
    assert planned, "the backfill scheduler gives no start time"
    assert state_of(running, second) == "PENDING"
    cancel(running, first, second)


def test_a_preempted_job_is_queued_again(running: SlurmCluster) -> None:
    low = submit(running, "sleep 300", "-p", "spare", "-c", "32", "-t", "5", "-w", "gpu002")
    assert eventually(lambda: state_of(running, low) == "RUNNING")
    high = submit(running, "sleep 300", "-p", "shared", "-c", "32", "-t", "5", "-w", "gpu002")
    assert eventually(lambda: state_of(running, high) == "RUNNING", 60)
    assert eventually(lambda: state_of(running, low) == "PENDING")
    cancel(running, high, low)


@only_root
def test_site_accounts_are_apart_and_root_runs_nothing(running: SlurmCluster) -> None:
    assert len(running.accounts) == 3
    assert all(Path(pwd.getpwnam(name).pw_dir).stat().st_mode & 0o777 == 0o700 for name in running.accounts)
    assert "Invalid user id" in running.run("srun", "true").stderr
    who = as_account(running, "srun", "-t", "1", "/usr/bin/id", "-un")
    assert who.stdout.strip() == running.accounts[-1]


def test_a_running_cluster_is_adopted(running: SlurmCluster, state: Path) -> None:
    before = running.pids
    assert cluster.up(FACTORY, state).pids == before  # nothing is started
    assert cluster.load(state, "trial-aif").describe() == running.describe()
    assert cluster.known(state) == ["trial-aif"]


def test_dead_daemons_are_restarted_and_jobs_continue(running: SlurmCluster, state: Path) -> None:
    job = submit(running, "sleep 300", "-t", "5")
    assert eventually(lambda: state_of(running, job) == "RUNNING")
    node = running.run("squeue", "-h", "-j", job, "-o", "%N").stdout.strip()
    saved, now = running.folder / "ctld/job_state", time.time()
    running.run("scontrol", "update", f"job={job}", "comment=save this")
    # Slurm saves with a delay of seconds, as on a real site
    assert eventually(lambda: saved.exists() and saved.stat().st_mtime > now)
    running.kill("slurmctld")
    running.kill(node)
    assert "slurmctld" not in running.pids
    again = cluster.up(FACTORY, state)
    assert state_of(again, job) == "RUNNING"
    cancel(again, job)


def test_the_command_shows_what_runs(running: SlurmCluster, state: Path) -> None:
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return python("-m", "testbed", *words, "--state", str(state))

    assert json.loads(command("env", "trial-aif").stdout) == running.describe()
    assert command("status").stdout.startswith("trial-aif: ready")
    assert command("env", "nowhere").returncode == 1


def test_nothing_of_a_cluster_is_left_after_a_crash_and_a_stop(state: Path, running: SlurmCluster) -> None:
    """This is the last test of the module, since it stops the cluster."""
    job = submit(running, "(setsid sleep 301 >/dev/null 2>&1 &); env -i setsid sleep 302 & trap '' TERM; sleep 303")
    assert eventually(lambda: state_of(running, job) == "RUNNING")
    leftover = {process.pid for process in processes.of_cluster(running.folder)} - set(running.pids.values())
    for name in running.pids:
        running.kill(name)
    assert running.pids == {}
    again = cluster.up(FACTORY, state)
    assert not leftover & {process.pid for process in processes.of_cluster(running.folder)}
    assert state_of(again, job) == ""
    assert int(submit(again, "sleep 300", "-t", "5")) > int(job)  # job ids of different starts never overlap
    again.down()
    assert processes.of_cluster(running.folder) == []
    assert again.pids == {}


@only_root
def test_an_ordinary_user_needs_no_privilege(state: Path) -> None:
    ensure_ordinary_user()
    home = Path(pwd.getpwnam(ORDINARY).pw_dir)
    own = home / "testbed"
    program = f"""
import json, sys
from pathlib import Path
from testbed.slurm import cluster
from factorycommon.models import Factory
found = cluster.up(Factory.model_validate_json({FACTORY.model_dump_json()!r}), Path({str(own)!r}),
                   Path({str(state / "packages")!r}))
try:
    ran = found.run("srun", "-t", "1", "--gres=gpu:1", "/bin/sh", "-c", "id -un; echo $SLURM_GPUS_ON_NODE")
    print(json.dumps([found.root, found.accounts, list(found.prefix), ran.stdout.split(), ran.stderr]))
finally:
    found.down()
    assert not found.pids
"""
    code = state / "code"  # others may not be able to read the checkout
    for package in ("testbed", "spawners/factorycommon", "spawners/factorylink"):
        shutil.copytree(CHECKOUT / package, code / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
    done = python("-c", program, user=ORDINARY, code=(code,))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [False, [ORDINARY], [], [ORDINARY, "1"], ""]


def test_a_factory_without_slurm_or_partitions_is_not_laid_out() -> None:
    with pytest.raises(CannotLayOut, match="pbs"):
        layout.node_sets(FACTORY.model_copy(update={"scheduler": "pbs"}))
    with pytest.raises(CannotLayOut, match="no partition"):
        layout.node_sets(FACTORY.model_copy(update={"partitions": ()}))


def test_missing_programs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRun, match="apt-get") as caught:
        packages.install(tmp_path / "packages")
    with pytest.raises(CannotRun, match="apt-get"):
        pytorch.install(tmp_path / "pytorch", tmp_path)
    assert len(caught.value.missing) >= 2
    with pytest.raises(NotThere):
        cluster.load(tmp_path, "trial-aif")


@only_root
def test_a_state_folder_that_site_accounts_cannot_read_is_refused(tmp_path: Path, running: SlurmCluster) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(CannotRun, match="closed to others"):
        cluster.up(FACTORY, tmp_path / "state", running.record.packages)


@only_root
def test_starts_at_the_same_moment_make_an_account_once() -> None:
    """On a new machine several testbeds start together, and each needs the same accounts."""
    name = f"fg-once-{secrets.token_hex(4)}"
    program = f"from testbed import accounts; print(flush=True); input(); accounts.ensure(({name!r},))"
    argv = [sys.executable, "-c", program]
    starts = [subprocess.Popen(argv, cwd=CHECKOUT, stdin=-1, stdout=-1, text=True) for _ in range(8)]
    try:
        for start in starts:
            assert start.stdout is not None and start.stdout.readline() == "\n"  # the process has imported its modules
        for start in starts:
            assert start.stdin is not None
            start.stdin.write("\n")
            start.stdin.flush()
        assert [start.wait(timeout=120) for start in starts] == [0] * 8
        account = pwd.getpwnam(name)
        assert Path(account.pw_dir).stat().st_uid == account.pw_uid
    finally:
        accounts.remove(name)
