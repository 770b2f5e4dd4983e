"""The wrapper for sites (``site/``), with a real Slurm and real accounts: which commands it runs, and for whom.

The wrapper runs from a folder of the test, with another ``ETC`` than /etc/factorygate; nothing else is changed in it.
"""

from __future__ import annotations

import ast
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from factorylink.schedulers.slurm import dialect as slurm
from testbed.slurm.cluster import SlurmCluster
from tests.support.trial import CHECKOUT, eventually, state_of
from tests.support.wrapper import (
    ADA,
    EMMY,
    GRACE,
    HUB,
    REFUSED,
    SOURCE,
    STOPPED,
    Wrapper,
    enter,
    output,
    refused,
    request,
    write_note,
)

pytestmark = [pytest.mark.slurm, pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


# --- allowed uses


def test_the_wrapper_runs_on_old_pythons() -> None:
    ast.parse(SOURCE.read_text(), feature_version=(3, 6))
    assert SOURCE.read_text().startswith("#!/usr/bin/python3 -IS\n")


def test_sudoers_is_in_order() -> None:
    visudo = shutil.which("visudo", path="/usr/sbin:/sbin:/usr/bin")
    if visudo is None:
        pytest.skip("no sudo here")
    done = subprocess.run([visudo, "-cf", CHECKOUT / "site/sudoers"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_job_from_submit_to_cancel(wrapper: Wrapper, running: SlurmCluster) -> None:
    job = wrapper.submit(ADA)
    asked = running.run("squeue", "-h", "-j", job, "-o", "%u %j")
    assert asked.stdout.split() == [ADA, HUB]
    listed = wrapper.ask(ADA, slurm.jobs(HUB))
    assert job in listed.stdout.decode()
    assert running.run("squeue", "-h", "-j", job, "-o", "%l").stdout.strip() == "20:00"
    longer = wrapper.run(ADA, "scontrol", "update", f"JobId={job}", "TimeLimit=15")
    assert longer.returncode == 0, longer.stderr
    assert running.run("squeue", "-h", "-j", job, "-o", "%l").stdout.strip() == "15:00"
    done = wrapper.ask(ADA, slurm.cancel([job]))
    assert done.returncode == 0, done.stderr
    assert eventually(lambda: state_of(running, job) == "CANCELLED")
    lines = wrapper.log()
    assert [line["job"] for line in lines if line["answer"] == "submitted"] == [job]
    assert all(line["account"] == ADA and line["by"] == "root" for line in lines)
    assert (wrapper.folder / "log").stat().st_mode & 0o777 == 0o600


def test_the_wrapper_estimates_without_submitting(wrapper: Wrapper, running: SlurmCluster) -> None:
    listed = ("squeue", "-h", "-u", ADA, "-o", "%i")  # without the elapsed times
    before = running.run(*listed).stdout
    folder = f"{pwd.getpwnam(ADA).pw_dir}/.factorygate/sessions/{'0' * 32}"
    asked = wrapper.ask(ADA, slurm.estimate(slurm.script(request(folder, "true"))))
    assert b"to start at" in asked.stderr
    assert asked.returncode == 0
    assert running.run(*listed).stdout == before


def test_the_scheduler_tells_of_the_account_only(wrapper: Wrapper, adas: str, graces: str) -> None:
    told = slurm.jobs(HUB).parse(output(wrapper.ask(ADA, slurm.jobs(HUB))))
    assert {job.account for job in told} == {ADA}
    assert adas in {job.id for job in told}


def test_the_wrapper_enters_the_accounts_own_job(wrapper: Wrapper, adas: str) -> None:
    """The wrapper allows the ``srun`` that runs the bridge in the account's job, with and without a container.

    The command still fails, but only on the node, which has no ``/opt/env/bin/python``: so the error comes from there.
    """
    done = wrapper.run(ADA, *enter(adas))
    assert done.returncode not in (0, REFUSED, STOPPED)
    assert b"/opt/env/bin/python" in done.stderr
    container = ("apptainer", "exec", "--nv", "--bind", "/scratch:/scratch", "/images/a.sif")
    argv = enter(adas)
    done = wrapper.run(ADA, *argv[:12], *container, *argv[12:])
    assert b"apptainer" in done.stderr
    assert done.returncode != REFUSED


def test_a_sessions_files(wrapper: Wrapper) -> None:
    folder = wrapper.session(ADA)
    assert wrapper.run(ADA, "pwd").stdout.decode().strip() == pwd.getpwnam(ADA).pw_dir
    assert wrapper.ask(ADA, write_note(folder, '{"note": 1}')).returncode == 0
    note = Path(folder, "session.json")
    assert (note.stat().st_uid, note.stat().st_mode & 0o777) == (pwd.getpwnam(ADA).pw_uid, 0o600)
    assert Path(folder).stat().st_mode & 0o777 == 0o700
    assert wrapper.run(ADA, "head", "-c", "9", "--", f"{folder}/session.json").stdout == b'{"note": '
    home = pwd.getpwnam(ADA).pw_dir
    short = f"~{folder.removeprefix(home)}/session.json"
    assert wrapper.run(ADA, "head", "-c", "65536", "--", short).stdout == b'{"note": 1}'
    # the command is allowed, and the file does not exist
    assert wrapper.run(ADA, "head", "-c", "9", "--", f"{folder}/cluster.json").returncode == 1
    missing = wrapper.run(ADA, "env", "LC_ALL=C", "head", "-c", "65536", "--", f"{folder}/end.json")
    assert missing.returncode == 1
    assert b"No such file or directory" in missing.stderr
    log = Path(folder, "job.log")
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    os.chown(log, *[pwd.getpwnam(ADA).pw_uid] * 2)
    last = wrapper.run(ADA, "tail", "-n", "40", "--", str(log)).stdout.decode().splitlines()
    assert last == [f"line {number}" for number in range(60, 100)]


def test_the_switch_stops_everything_in_words(wrapper: Wrapper, adas: str, running: SlurmCluster) -> None:
    wrapper.write("stop", "Maintenance until Friday,\nask hpc@example.org")
    for argv in (["scancel", adas], ["squeue", "--local"], ["pwd"], ["sbatch", "--parsable"]):
        done = wrapper.run(ADA, *argv, stdin="#!/bin/sh\n")
        assert done.returncode == STOPPED
        assert b"stopped by the site: Maintenance until Friday, ask hpc@example.org" in done.stderr
    assert wrapper.log()[-1]["answer"] == "stopped by the site"
    assert state_of(running, adas) == "RUNNING"
    (wrapper.folder / "etc/stop").unlink()
    assert wrapper.run(ADA, "pwd").returncode == 0


def test_a_switch_that_cannot_be_read_stops_too(wrapper: Wrapper) -> None:
    (wrapper.folder / "etc/stop").symlink_to("/nowhere")
    assert wrapper.run(ADA, "pwd").returncode == STOPPED


# --- misuse: other accounts


NOBODY = [EMMY, "root", "daemon", "nobody-there", "../root", "0", "", "-u", f"{ADA}\n{EMMY}", f"{ADA} "]


@pytest.mark.parametrize("account", NOBODY)
def test_an_account_that_is_not_listed(wrapper: Wrapper, account: str) -> None:
    refused(wrapper.run(account, "pwd"))


def test_root_is_refused_though_listed(wrapper: Wrapper) -> None:
    wrapper.write("accounts", "root\n")
    refused(wrapper.run("root", "pwd"), "is root")


def test_a_line_of_the_list_is_one_account(wrapper: Wrapper) -> None:
    wrapper.write("accounts", f"# {ADA}\n{GRACE} {EMMY}\n")
    for account in (ADA, EMMY, GRACE):
        refused(wrapper.run(account, "pwd"), "not on the site's list")


# --- misuse: an installation that others can change


@pytest.mark.parametrize("name", ["accounts", "act.conf"])
def test_a_file_that_others_may_write(wrapper: Wrapper, name: str) -> None:
    (wrapper.folder / "etc" / name).chmod(0o664)
    refused(wrapper.run(ADA, "pwd"), "may be written by others")


@pytest.mark.parametrize("name", ["accounts", "act.conf"])
def test_a_file_of_another_owner(wrapper: Wrapper, name: str) -> None:
    os.chown(wrapper.folder / "etc" / name, pwd.getpwnam(ADA).pw_uid, 0)
    refused(wrapper.run(ADA, "pwd"), "may be written by others")


def test_a_list_behind_a_link(wrapper: Wrapper, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(f"{ADA}\n")
    (wrapper.folder / "etc/accounts").unlink()
    (wrapper.folder / "etc/accounts").symlink_to(tmp_path / "list")
    refused(wrapper.run(ADA, "pwd"), "cannot be used")


def test_a_long_list_is_read_whole_or_not_at_all(wrapper: Wrapper) -> None:
    wrapper.write("accounts", "x\n" * 100_000 + f"{ADA}\n")
    assert wrapper.run(ADA, "pwd").returncode == 0
    wrapper.write("accounts", "x\n" * 2**20 + f"{ADA}\n")
    refused(wrapper.run(ADA, "pwd"), "too long")


def test_without_a_list_the_wrapper_acts_for_nobody(wrapper: Wrapper) -> None:
    (wrapper.folder / "etc/accounts").unlink()
    refused(wrapper.run(ADA, "pwd"), "there is no list")


def test_a_folder_that_others_may_write(wrapper: Wrapper) -> None:
    (wrapper.folder / "etc").chmod(0o777)
    refused(wrapper.run(ADA, "pwd"), "may be written by others")


def test_a_command_that_cannot_be_logged_is_not_run(wrapper: Wrapper) -> None:
    (wrapper.folder / "log").symlink_to("/tmp/elsewhere")
    refused(wrapper.run(ADA, "pwd"), "log")
    (wrapper.folder / "log").unlink()


def test_each_job_that_is_cancelled_is_in_the_log(wrapper: Wrapper) -> None:
    jobs = [str(number) for number in range(900000, 900500)]
    wrapper.run(ADA, "scancel", *jobs)
    assert wrapper.log()[0]["jobs"] == jobs


def test_a_newline_makes_no_line_in_the_log(wrapper: Wrapper) -> None:
    wrapper.run(ADA, 'id\n{"answer": "done"}')
    assert [line["answer"] for line in wrapper.log()] == ["refused"]
