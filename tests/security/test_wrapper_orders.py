"""Requests that the wrapper refuses: commands, scripts, jobs of others, other environment variables."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from factorylink.schedulers.slurm import dialect as slurm
from testbed.slurm.cluster import SlurmCluster
from tests.support.trial import cancel, eventually, state_of
from tests.support.wrapper import ADA, EMMY, GRACE, HUB, REFUSED, Wrapper, enter, output, refused, request

pytestmark = [pytest.mark.slurm, pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


MISUSE = {
    "nothing": (),
    "another program": ("whoami",),
    "id of itself": ("id",),
    "id of another form": ("id", "-un", "--", ADA),
    "id of who is not listed": ("id", "-Gnz", "--", EMMY),
    "id of a file": ("id", "-Gnz", "--", "../x"),
    "a program by its path": ("/usr/bin/squeue",),
    "a program in a folder above": ("../bin/squeue",),
    "a method of the wrapper itself": ("plan",),
    "the inside of the wrapper": ("__init__",),
    "a shell": ("sh", "-c", "id"),
    "a second command": ("squeue", ";", "id"),
    "a second command in a word": ("scancel", "1;id"),
    "a substitution": ("scancel", "$(id)"),
    "a newline in a word": ("scancel", "1\nid"),
    "a newline at the end of a word": ("scancel", "1\n"),
    "bytes that are not text": ("scancel", "1\udcff"),
    "env with a variable of its own": ("env", "LD_PRELOAD=/tmp/x.so", "pwd"),
    "env with another configuration": ("env", "SLURM_CONF=/tmp/x", "squeue", "--local"),
    "env with options": ("env", "-i", "pwd"),
    "env with a variable beside": ("env", "SLURM_TIME_FORMAT=%s", "SLURM_CONF=/tmp/x", "squeue", "--local"),
    "env with another time": ("env", "SLURM_TIME_FORMAT=%s;id", "squeue", "--local"),
    "env twice": ("env", "SLURM_TIME_FORMAT=%s", "env", "SLURM_CONF=/tmp/x", "squeue"),
    "sbatch --wrap": ("sbatch", "--parsable", "--wrap=id"),
    "sbatch --uid": ("sbatch", "--parsable", "--uid=0"),
    "sbatch of a file": ("sbatch", "--parsable", "/etc/passwd"),
    "sbatch without --parsable": ("sbatch",),
    "sbatch with an endless array": ("sbatch", "--parsable", "--array=1-100000"),
    "sbatch with an output": ("sbatch", "--parsable", "-o/root/x"),
    "squeue of others": ("squeue", f"--user={GRACE}"),
    "squeue -u": ("squeue", "-u", GRACE),
    "squeue with another clusters file": ("squeue", "--local", "-M", "all"),
    "squeue of another name": ("squeue", "--name=secret"),
    "squeue -o": ("squeue", "-o", "%all"),
    "sacct of others": ("sacct", "--jobs=1", f"--user={GRACE}"),
    "sacct -u": ("sacct", "-u", GRACE, "--jobs=1"),
    "sacct -a": ("sacct", "-a", "--jobs=1"),
    "sacct of everything": ("sacct", "--noheader"),
    "sacct reading a file": ("sacct", "--jobs=1", "--file=/etc/shadow"),
    "scancel -u": ("scancel", "-u", GRACE),
    "scancel --user": ("scancel", f"--user={ADA}"),
    "scancel by name": ("scancel", "--name=factorygate-trial"),
    "scancel of nothing": ("scancel",),
    "scancel with a signal": ("scancel", "--signal=USR1", "1"),
    "scontrol of something else": ("scontrol", "show", "config"),
    "scontrol of nodes": ("scontrol", "show", "node"),
    "a list that is none": (*slurm.reservations().argv[:4], "scontrol", "show", "config"),
    "a list of another program": (*slurm.reservations().argv[:4], "id"),
    "scontrol reconfigure": ("scontrol", "reconfigure"),
    "scontrol of a node": ("scontrol", "update", "NodeName=n1", "State=DOWN"),
    "scontrol of a partition": ("scontrol", "update", "JobId=1", "Partition=whole"),
    "scontrol with one thing more": ("scontrol", "update", "JobId=1", "TimeLimit=10", "Priority=99"),
    "scontrol with one thing more in a word": ("scontrol", "update", "JobId=1", "TimeLimit=10 Priority=99"),
    "scontrol without a limit": ("scontrol", "update", "JobId=1", "TimeLimit=UNLIMITED"),
    "scontrol of many jobs": ("scontrol", "update", "JobId=1,2", "TimeLimit=10"),
    "sinfo with a file": ("sinfo", "-M", "all"),
    "pwd with options": ("pwd", "-P"),
    "srun without a job": ("srun", "id"),
    "mkdir elsewhere": ("mkdir", "-p", "-m", "700", "--", "/tmp/.factorygate", "/tmp/.factorygate/sessions"),
    "mkdir beside it": ("mkdir", "-p", "-m", "700", "--", "~/.ssh", "~/.factorygate/sessions"),
    "mkdir with another mode": ("mkdir", "-p", "-m", "777", "--", "~/.factorygate", "~/.factorygate/sessions"),
    "rm": ("rm", "-rf", "--", "~"),
    "cat": ("cat", "~/.ssh/id_ed25519"),
    "head of a key": ("head", "-c", "100", "--", "~/.ssh/id_ed25519"),
    "head of shadow": ("head", "-c", "100", "--", "/etc/shadow"),
    "head out of the folder": ("head", "-c", "9", "--", f"~/.factorygate/sessions/{'0' * 32}/../../../.bashrc"),
    "head of another file there": ("head", "-c", "9", "--", f"~/.factorygate/sessions/{'0' * 32}/.door.key"),
    "head of the log": ("head", "-c", "9", "--", f"~/.factorygate/sessions/{'0' * 32}/job.log"),
    "head of two": ("head", "-c", "9", "--", *[f"~/.factorygate/sessions/{'0' * 32}/end.json"] * 2),
    "head of a short id": ("head", "-c", "9", "--", "~/.factorygate/sessions/abc/end.json"),
    "head in another's home": ("head", "-c", "9", "--", f"/home/{GRACE}/.factorygate/sessions/{'0' * 32}/end.json"),
    "head with another option": ("head", "-q", "9", "--", f"~/.factorygate/sessions/{'0' * 32}/end.json"),
    "tail -f": ("tail", "-f", "40", "--", f"~/.factorygate/sessions/{'0' * 32}/job.log"),
    "tail from the start": ("tail", "-n", "+1", "--", f"~/.factorygate/sessions/{'0' * 32}/job.log"),
    "tar that makes": ("tar", "-c", "-f", "-", "-C", "/", "etc"),
    "tar to elsewhere": ("tar", "-x", "-m", "-f", "-", "-C", "/tmp"),
    "tar into a session": ("tar", "-x", "-m", "-f", "-", "-C", f"~/.factorygate/sessions/{'0' * 32}"),
    "tar with an action": ("tar", "-x", "-m", "-f", "-", "-C", "~", "--to-command=id"),
}


@pytest.mark.parametrize("what", MISUSE)
def test_every_misuse_is_refused(wrapper: Wrapper, what: str) -> None:
    argv = MISUSE[what]
    done = wrapper.run(ADA, *argv, stdin=b"#!/bin/sh\n#SBATCH --job-name=factorygate-trial\nid\n")
    refused(done)
    if argv:
        assert [line["answer"] for line in wrapper.log()] == ["refused"]


DIRECTIVES = {
    "no name": "#SBATCH --nodes=1",
    "a foreign name": "#SBATCH --job-name=backup",
    "two names": f"#SBATCH --job-name={HUB}\n#SBATCH --job-name={HUB}",
    "a short name option": f"#SBATCH --job-name={HUB}\n#SBATCH -J backup",
    "another user": f"#SBATCH --job-name={HUB}\n#SBATCH --uid=0",
    "two options in a line": f"#SBATCH --job-name={HUB} --uid=0",
    "a tab": f"#SBATCH --job-name={HUB}\n#SBATCH\t--uid=0",
    "a quoted value": f"#SBATCH --job-name={HUB}\n#SBATCH --comment='a b'",
    "a log elsewhere": f"#SBATCH --job-name={HUB}\n#SBATCH --output=/tmp/log",
    "a log above": f"#SBATCH --job-name={HUB}\n#SBATCH --output=/home/{ADA}/.factorygate/sessions/../../.bashrc",
    "the whole environment": f"#SBATCH --job-name={HUB}\n#SBATCH --export=ALL",
    "the login environment": f"#SBATCH --job-name={HUB}\n#SBATCH --get-user-env=10L",
    "mail": f"#SBATCH --job-name={HUB}\n#SBATCH --mail-user=x@example.org",
    "another cluster": f"#SBATCH --job-name={HUB}\n#SBATCH --clusters=all",
    "an array": f"#SBATCH --job-name={HUB}\n#SBATCH --array=1-1000",
    "a second job": f"#SBATCH --job-name={HUB}\n#SBATCH hetjob",
    "the old word": f"#SBATCH --job-name={HUB}\n#SLURM --uid=0",
    "a directive of PBS": f"#SBATCH --job-name={HUB}\n#PBS -N other",
    "a directive of LSF": f"#SBATCH --job-name={HUB}\n#BSUB -J other",
    "a nul": f"#SBATCH --job-name={HUB}\n\0",
}


@pytest.mark.parametrize("what", DIRECTIVES)
def test_directives_of_a_script(wrapper: Wrapper, running: SlurmCluster, what: str) -> None:
    listed = ("squeue", "-h", "-t", "all", "-o", "%i")
    before = running.run(*listed).stdout.split()
    refused(wrapper.run(ADA, "sbatch", "--parsable", stdin=f"#!/bin/sh\n{DIRECTIVES[what]}\ntrue\n"))
    # Slurm forgets jobs that have ended after some minutes.
    assert set(running.run(*listed).stdout.split()) <= set(before)


def test_an_invalid_script_is_refused(wrapper: Wrapper) -> None:
    refused(wrapper.run(ADA, "sbatch", "--parsable", stdin=f"#SBATCH --job-name={HUB}\n"), "not a batch script")
    refused(wrapper.run(ADA, "sbatch", "--parsable", stdin=b"#!/bin/sh\n" + b" " * 2**20), "not a batch script")


# --- misuse: jobs of others


def test_the_job_of_another_account(wrapper: Wrapper, running: SlurmCluster, graces: str) -> None:
    refused(wrapper.run(ADA, "scancel", graces), "not a gateway's job")
    refused(wrapper.run(ADA, "scontrol", "update", f"JobId={graces}", "TimeLimit=1"), "not a gateway's job")
    refused(wrapper.run(ADA, *enter(graces)), "not a gateway's job")
    assert state_of(running, graces) == "RUNNING"


def test_one_foreign_job_among_own_ones(wrapper: Wrapper, running: SlurmCluster, adas: str, graces: str) -> None:
    refused(wrapper.run(ADA, "scancel", adas, graces))
    assert state_of(running, adas) == "RUNNING"


def test_a_job_of_the_account_that_is_not_the_gateways(wrapper: Wrapper, running: SlurmCluster) -> None:
    uid = pwd.getpwnam(ADA).pw_uid
    own = subprocess.run(
        ["sbatch", "--parsable", "-J", "thesis", "-p", "shared", "-o", "/dev/null", "--wrap", "sleep 600"],
        env=running.env, cwd="/", user=uid, group=uid, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    refused(wrapper.run(ADA, "scancel", own), "not a gateway's job")
    assert state_of(running, own) in ("RUNNING", "PENDING")
    cancel(running, own)


def test_a_missing_job_is_reported_in_slurms_words(wrapper: Wrapper) -> None:
    """The error is Slurm's own message, which the link understands."""
    slurm.cancel(["987654"]).parse(output(wrapper.ask(ADA, slurm.cancel(["987654"]))))


SRUN = {
    "without --overlap": lambda argv: [word for word in argv if word != "--overlap"],
    "with another option": lambda argv: [argv[0], "--uid=0", *argv[1:]],
    "with all its environment": lambda argv: ["--export=ALL" if word == "--export=NONE" else word for word in argv],
    "with more tasks": lambda argv: ["--ntasks=9" if word == "--ntasks=1" else word for word in argv],
    "of another program": lambda argv: [*argv[:12], "/bin/sh"],
    "of another module": lambda argv: [*argv[:15], "http.server", argv[-1]],
    "with code": lambda argv: [*argv[:13], "-c", "import os"],
    "with a shell's code": lambda argv: [*argv[:12], "/bin/sh", "-c", "id", *argv[12:]],
    "to another's door": lambda argv: [*argv[:-1], "/tmp/factorygate-0-01234567-abc_1/door.sock"],
    "to another socket": lambda argv: [*argv[:-1], "/run/munge/munge.socket.2"],
    "with words in a word": lambda argv: [*argv[:-2], argv[-2] + " " + argv[-1]],
    "by a way around": lambda argv: [*argv[:-1], argv[-1].replace("/tmp/", "/tmp/../tmp/")],
    "with one word more": lambda argv: [*argv, "--help"],
}


@pytest.mark.parametrize("what", SRUN)
def test_another_form_of_srun_is_refused(wrapper: Wrapper, adas: str, what: str) -> None:
    refused(wrapper.run(ADA, *SRUN[what](list(enter(adas)))))


# --- misuse: the environment


def test_the_callers_environment_has_no_effect(wrapper: Wrapper, running: SlurmCluster, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    hostile = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": str(tmp_path / "json.py"),
        "PYTHONINSPECT": "1",
        "SBATCH_JOB_NAME": "thesis",
        "SBATCH_WRAP": "id",
        "SBATCH_PARTITION": "nowhere",
        "SLURM_CONF": "/nowhere",
        "SQUEUE_USERS": GRACE,
        "HOME": "/root",
        "IFS": "/",
        "BASH_ENV": str(tmp_path / "json.py"),
    }
    for name in ("json.py", "squeue", "sbatch"):
        (tmp_path / name).write_text(f"#!/bin/sh\nopen({str(trap)!r}, 'w')\ntouch {trap}\n")
        (tmp_path / name).chmod(0o755)
    script = slurm.script(request(wrapper.session(ADA), "env > env.new; mv env.new env.txt; sleep 600"))
    done = wrapper.run(ADA, "sbatch", "--parsable", stdin=script, env=hostile)
    assert done.returncode == 0, done.stderr
    job = done.stdout.decode().strip()
    found = Path(wrapper.made[-1], "env.txt")
    assert eventually(found.exists)
    assert "SLURM_JOB_ID" in found.read_text()
    assert running.run("squeue", "-h", "-j", job, "-o", "%j %P").stdout.split() == [HUB, "shared"]
    assert not trap.exists()
    assert "PYTHONINSPECT" not in found.read_text()
    assert f"HOME={pwd.getpwnam(ADA).pw_dir}\n" in found.read_text()
    cancel(running, job)


def test_the_site_s_own_programs_wipe_an_account_and_prove_it(wrapper: Wrapper) -> None:
    for words in (("wipe",), ("wipe", "--proof")):
        asked = wrapper.run(ADA, *words)
        assert asked.returncode == REFUSED
        assert b"has no program for" in asked.stderr
    program = wrapper.folder / "who"
    program.write_text('#!/bin/sh\nprintf "%s %s %s" "$1" "$(id -un)" "$0"\n')
    program.chmod(0o755)
    conf = (wrapper.folder / "etc/act.conf").read_text()
    wrapper.write("act.conf", f"{conf}wipe = {program}\nwipe_proof = {program}\n")
    for words in (("wipe",), ("wipe", "--proof")):
        asked = wrapper.run(ADA, *words)
        assert asked.returncode == 0, asked.stderr
        assert asked.stdout.decode() == f" {ADA} {program}"  # as the account, without words of the gateway's
    for words in (("wipe", "/"), ("wipe", "--proof", "x"), ("wipe", "--proof=x"), ("wipe_proof",)):
        assert wrapper.run(ADA, *words).returncode == REFUSED
    assert wrapper.run(EMMY, "wipe").returncode == REFUSED  # on no list
    wrapper.write("act.conf", f"{conf}wipe = empty-home\n")
    assert wrapper.run(ADA, "wipe").returncode == REFUSED  # no path
