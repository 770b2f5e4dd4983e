"""The wrapper for sites with PBS: which of the gateway's questions and orders it allows.

There is no PBS here. **Its programs are stand-ins** (``STAND_IN``): each records how and under which account it was
called, and prints recorded answers of OpenPBS 23.06. The tests are about the wrapper only.
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factorycommon.models import JobRequest
from factorylink.errors import Refused
from factorylink.schedulers.command import Output
from factorylink.schedulers.pbs import dialect as pbs
from tests.support.wrapper import ADA, EMMY, GRACE, HUB, SOURCE, Wrapper, refused
from tests.unit import pbs_output

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

PROGRAMS = ("qselect", "qstat", "qsub", "qdel", "qalter", "pbsnodes", "pbs_rstat", "pbs_attach", "ssh")
STAND_IN = """#!/bin/sh
# A stand-in for the program of PBS of this name.
name=$(basename "$0")
case $name in qsub) script=$(cat);; esac
printf '%s\\t%s' "$(id -un)" "$name" >>{folder}/called
for word; do printf '\\t%s' "$word" >>{folder}/called; done
echo >>{folder}/called
cat {folder}/answers/$name 2>/dev/null
exit 0
"""
OWN, OTHERS, NOT_OURS = "1.vm", "2.vm", "3.vm"
HERE = socket.gethostname()


class Pbs(Wrapper):
    """The wrapper with the stand-ins on its PATH."""

    def answers(self, program: str, text: str) -> None:
        (self.folder / "answers" / program).write_text(text)

    def tells_of(self, *jobs: dict[str, Any]) -> None:
        self.answers("qstat", pbs_output.answer(*jobs).stdout)

    def called(self) -> list[list[str]]:
        found = self.folder / "called"
        return [line.split("\t") for line in found.read_text().splitlines()] if found.exists() else []


@pytest.fixture(scope="module")
def installed() -> Iterator[Pbs]:
    from testbed import accounts

    accounts.ensure(accounts.NAMES)
    folder = Path(tempfile.mkdtemp(prefix="factorygate-act-", dir="/opt"))
    folder.chmod(0o755)
    (folder / "factorygate-act").write_text(
        SOURCE.read_text().replace('ETC = "/etc/factorygate"', f'ETC = "{folder}/etc"')
    )
    (folder / "factorygate-act").chmod(0o755)
    for name in PROGRAMS:
        (folder / "bin").mkdir(exist_ok=True)
        (folder / "bin" / name).write_text(STAND_IN.replace("{folder}", str(folder)))
        (folder / "bin" / name).chmod(0o755)
    yield Pbs(folder, {"PATH": f"{folder}/bin:/usr/bin:/bin"})
    shutil.rmtree(folder)


@pytest.fixture
def wrapper(installed: Pbs) -> Pbs:
    installed.reset()
    for name in ("log", "called"):
        (installed.folder / name).unlink(missing_ok=True)
    (installed.folder / "called").touch()
    (installed.folder / "called").chmod(0o666)
    shutil.rmtree(installed.folder / "answers", ignore_errors=True)
    (installed.folder / "answers").mkdir()
    installed.tells_of(own(OWN))
    return installed


def own(id: str, account: str = ADA, **changes: Any) -> dict[str, Any]:
    return pbs_output.job(
        id, **{"Job_Name": HUB, "Job_Owner": f"{account}@login", "exec_host": f"{HERE}/0*8"} | changes
    )


def output(done: Any) -> Output:
    return Output(done.stdout.decode(), done.stderr.decode(), done.returncode)


def script(account: str = ADA, **changes: Any) -> str:
    folder = f"{pwd.getpwnam(account).pw_dir}/.factorygate/sessions/{'a' * 32}"
    told = {
        "name": HUB, "comment": pbs_output.COMMENT, "partition": "workq", "gpus": 1, "cores": 8, "memory_gb": 64,
        "walltime": 3600, "output": f"{folder}/job.log", "account": "project_1", "whole_node": True,
        "command": ("/opt/python", "-m", "x y"), **changes,
    }  # fmt: skip
    return pbs.script(JobRequest.model_validate(told))


def test_the_wrapper_allows_the_texts_of_the_dialect() -> None:
    text = SOURCE.read_text()
    for name in ("_CHOSEN", "_NONE", "_NODES", "_ENTER"):
        assert (
            repr(getattr(pbs, name)) in text
            or f'"""{getattr(pbs, name)}"""' in text
            or f'"{getattr(pbs, name)}"' in text
        )


def test_questions_are_asked_of_the_accounts_own_jobs(wrapper: Pbs) -> None:
    wrapper.answers("qselect", f"{OWN}\n")
    found = pbs.jobs(HUB).parse(output(wrapper.ask(ADA, pbs.jobs(HUB))))
    assert [(job.id, job.account) for job in found] == [(OWN, ADA)]
    assert wrapper.called() == [
        [ADA, "qselect", "-N", HUB, "-u", ADA], [ADA, "qstat", "-E", "-t", "-f", "-F", "json", OWN],
    ]  # fmt: skip
    assert wrapper.ask(ADA, pbs.ended(HUB)).returncode == 0
    assert wrapper.called()[2:] == [
        [ADA, "qselect", "-x", "-s", "F", "-N", HUB, "-u", ADA],
        [ADA, "qstat", "-E", "-x", "-t", "-f", "-F", "json", OWN],
    ]


def test_jobs_are_told_by_their_ids_where_they_are_the_accounts(wrapper: Pbs) -> None:
    """The name does not matter, since the owner may have changed it."""
    asked = ["qstat", "-E", "-t", "-f", "-F", "json"]
    wrapper.tells_of(own(OWN, Job_Name="mine"), own(OTHERS, GRACE))
    assert wrapper.ask(ADA, pbs.by_id([OWN, OTHERS, NOT_OURS])).returncode == 0
    assert wrapper.called() == [[ADA, *asked, OWN, OTHERS, NOT_OURS], [ADA, *asked, OWN]]
    nothing = output(wrapper.ask(ADA, pbs.by_id([OTHERS])))
    assert pbs.by_id([OTHERS]).parse(nothing) == []
    refused(wrapper.run(ADA, *asked, OWN, "-u", GRACE))
    refused(wrapper.run(ADA, *asked))


def test_no_jobs_is_said_so(wrapper: Pbs) -> None:
    assert pbs.jobs(HUB).parse(output(wrapper.ask(ADA, pbs.jobs(HUB)))) == []
    assert [call[1] for call in wrapper.called()] == ["qselect"]


def test_free_nodes_and_the_check_of_the_server_are_allowed(wrapper: Pbs) -> None:
    wrapper.answers("pbsnodes", pbs_output.recorded("pbsnodes-json").stdout)
    wrapper.answers("qstat", pbs_output.recorded("qstat-queues-json").stdout)
    assert [node.name for node in pbs.nodes().parse(output(wrapper.ask(ADA, pbs.nodes())))] == ["vm"]
    wrapper.answers("pbs_rstat", pbs_output.recorded("pbs_rstat").stdout)
    assert len(pbs.reservations().parse(output(wrapper.ask(ADA, pbs.reservations())))) == 3
    wrapper.answers("qstat", pbs_output.recorded("qstat-server-json").stdout)
    pbs.alive().parse(output(wrapper.ask(ADA, pbs.alive())))


def test_a_job_is_submitted_as_the_account_and_logged(wrapper: Pbs) -> None:
    wrapper.answers("qsub", "17.vm\n")
    assert pbs.submit(script()).parse(output(wrapper.ask(ADA, pbs.submit(script())))) == "17.vm"
    assert wrapper.called() == [[ADA, "qsub", "-f"]]
    assert [line.get("job") for line in wrapper.log()] == [None, "17.vm"]
    wrapper.answers("qsub", "18[].vm\n")
    array = script(output=f"{pwd.getpwnam(ADA).pw_dir}/.factorygate/sessions/{'a' * 32}/batch-%INDEX%.log")
    assert wrapper.ask(ADA, pbs.submit(array, 4)).returncode == 0
    assert wrapper.called()[-1] == [ADA, "qsub", "-f", "-J", "1-4"]
    assert wrapper.log()[-1]["job"] == "18[].vm"


def test_own_jobs_are_ended_changed_and_looked_up(wrapper: Pbs) -> None:
    for ask, called in (
        (pbs.cancel([OWN]), ["qdel", OWN]),
        (pbs.extend(OWN, 90), ["qalter", "-l", "walltime=01:30:00", OWN]),
        (pbs.accounting([OWN]), ["qstat", "-E", "-x", "-f", "-F", "json", OWN]),
    ):
        done = wrapper.ask(ADA, ask)
        assert done.returncode == 0, done.stderr
        assert wrapper.called()[-1] == [ADA, *called]
    assert {"jobs": [OWN]}.items() <= wrapper.log()[0].items()


def test_a_missing_job_is_reported_in_pbs_own_words(wrapper: Pbs) -> None:
    wrapper.answers("qstat", pbs_output.recorded("qstat-unknown-job").stdout)
    done = wrapper.ask(ADA, pbs.cancel(["9.vm"]))
    assert done.returncode == 153
    pbs.cancel(["9.vm"]).parse(output(done))
    assert "qdel" not in [call[1] for call in wrapper.called()]


@pytest.mark.parametrize(
    "job", [own(OTHERS, GRACE), own(OTHERS, f"{ADA}x"), own(NOT_OURS, Job_Name="backup"), own(OWN, Job_Owner=None)]
)
def test_jobs_of_others_and_jobs_that_are_no_gateways(wrapper: Pbs, job: dict[str, Any]) -> None:
    (id,) = job
    wrapper.tells_of(own(OWN), job)
    for ask in (pbs.cancel([id]), pbs.extend(id, 9), pbs.accounting([id])):
        refused(wrapper.ask(ADA, ask))
    refused(wrapper.run(ADA, *pbs.enter(id, bridge(), HERE)))
    assert {call[1] for call in wrapper.called()} == {"qstat"}
    with pytest.raises(Refused):
        pbs.cancel([id]).parse(output(wrapper.ask(ADA, pbs.cancel([id]))))


def bridge() -> tuple[str, ...]:
    uid = pwd.getpwnam(ADA).pw_uid
    socket_path = f"/tmp/factorygate-{uid}-01234567-abc_1/door.sock"
    return ("/opt/env/bin/python", "-P", "-m", "factorygate.session.bridge", socket_path)


def test_the_wrapper_enters_the_accounts_own_job_on_its_node(wrapper: Pbs) -> None:
    assert wrapper.run(ADA, *pbs.enter(OWN, bridge(), HERE)).returncode == 0
    assert wrapper.called()[-1] == [ADA, "pbs_attach", "-j", OWN, "--", *bridge()]
    wrapper.tells_of(own(OWN, exec_host="n7/0*8+n8/1"))
    assert wrapper.run(ADA, *pbs.enter(OWN, bridge(), "n8")).returncode == 0
    name, *words = wrapper.called()[-1][1:]
    assert (name, words[:4]) == ("ssh", ["-o", "BatchMode=yes", "--", "n8"])
    assert shlex.split(words[4])[-len(bridge()) :] == list(bridge())
    refused(wrapper.run(ADA, *pbs.enter(OWN, bridge(), "n9")), "does not run on n9")


ENTER = pbs.enter(OWN, ("x",), HERE)
UNDER = pbs.jobs(HUB).argv
MISUSE: dict[str, tuple[str, ...]] = {
    "a shell": ("sh", "-c", "id"),
    "a shell without its name": ("sh", "-c", UNDER[2]),
    "another shell": ("bash", *UNDER[1:]),
    "a text that goes on": ("sh", "-c", f"{UNDER[2]}; id", *UNDER[3:]),
    "jobs of another name": (*UNDER[:-1], "backup"),
    "jobs of all": UNDER[:4],
    "jobs of others": (*UNDER, "-u", GRACE),
    "nodes with more": (*pbs.nodes().argv, "sh", "x"),
    "qstat of all": ("qstat", "-x", "-f", "-F", "json"),
    "qstat of given jobs with more": ("qstat", "-E", "-x", "-f", "-F", "json", "-u", GRACE),
    "qdel of nothing": ("qdel",),
    "qdel by force": ("qdel", "-Wforce", OWN),
    "qdel of history": ("qdel", "-x", OWN),
    "qdel of a substitution": ("qdel", "$(id)"),
    "qdel on another server": ("qdel", f"{OWN}@evil"),
    "qalter of something else": ("qalter", "-l", "ncpus=99", OWN),
    "qalter of more": ("qalter", "-l", "walltime=01:00:00,ncpus=99", OWN),
    "qalter of a name": ("qalter", "-N", "x", OWN),
    "qalter of many": ("qalter", "-l", "walltime=01:00:00", OWN, OTHERS),
    "qsub of a file": ("qsub", "-f", "/etc/passwd"),
    "qsub that waits": ("qsub",),
    "qsub for another": ("qsub", "-f", "-u", "root"),
    "qsub of a program": ("qsub", "-f", "--", "/bin/id"),
    "qsub interactive": ("qsub", "-I"),
    "qsub of everything of ours": ("qsub", "-f", "-V"),
    "qsub of an endless array": ("qsub", "-f", "-J", "1-99999"),
    "qmgr": ("qmgr", "-c", "print server"),
    "qrun": ("qrun", OWN),
    "qhold": ("qhold", OWN),
    "pbs_rstat of one": ("pbs_rstat", "-f", "R1"),
    "pbsnodes alone": ("pbsnodes", "-o", "n1"),
    "pbs_attach alone": ("pbs_attach", "-j", OWN, "/bin/id"),
    "ssh": ("ssh", HERE, "id"),
    "an entry of another program": ENTER,
    "an entry with a second command": (*ENTER[:5], f"{ENTER[5]}; id"),
    "an entry with a substitution": (*ENTER[:5], f"{ENTER[5]} $(id)"),
    "an entry to an option": (*ENTER[:4], "-oProxyCommand=id", ENTER[5]),
}


@pytest.mark.parametrize("what", MISUSE)
def test_every_misuse_is_refused(wrapper: Pbs, what: str) -> None:
    refused(wrapper.run(ADA, *MISUSE[what], stdin=script()))
    assert wrapper.called() == []
    assert [line["answer"] for line in wrapper.log()] == ["refused"]


NAMED = f"#PBS -N {HUB}"
DIRECTIVES = {
    "no name": "#PBS -q workq",
    "a foreign name": "#PBS -N backup",
    "two names": f"{NAMED}\n{NAMED}",
    "another user": f"{NAMED}\n#PBS -u root",
    "two options in a line": f"{NAMED} -u root",
    "a tab": f"{NAMED}\n#PBS\t-u root",
    "a log elsewhere": f"{NAMED}\n#PBS -o /tmp/log",
    "a log above": f"{NAMED}\n#PBS -o /home/{ADA}/.factorygate/sessions/../../.bashrc",
    "errors elsewhere": f"{NAMED}\n#PBS -e /tmp/log",
    "the whole environment": f"{NAMED}\n#PBS -V",
    "a variable of its own": f"{NAMED}\n#PBS -v LD_PRELOAD=/x",
    "a variable beside": f"{NAMED}\n#PBS -v FACTORYGATE_JOB=fg:1:2,LD_PRELOAD=/x",
    "mail": f"{NAMED}\n#PBS -M x@example.org",
    "files to be brought": f"{NAMED}\n#PBS -W stagein=a@b:c",
    "a dependency": f"{NAMED}\n#PBS -W depend=afterok:1",
    "an array": f"{NAMED}\n#PBS -J 1-99",
    "another shell": f"{NAMED}\n#PBS -S /tmp/shell",
    "a directive of Slurm": f"{NAMED}\n#SBATCH --uid=0",
    "after a command": f"{NAMED}\ntrue\n#PBS -u root",
    "a nul": f"{NAMED}\n\0",
}


@pytest.mark.parametrize("what", DIRECTIVES)
def test_directives_of_a_script(wrapper: Pbs, what: str) -> None:
    refused(wrapper.run(ADA, "qsub", "-f", stdin=f"#!/bin/bash\n{DIRECTIVES[what]}\nid\n"))
    assert wrapper.called() == []


def test_an_account_that_is_not_listed(wrapper: Pbs) -> None:
    for ask in (pbs.jobs(HUB), pbs.submit(script()), pbs.cancel([OWN])):
        refused(wrapper.ask(EMMY, ask), "not on the site's list")


def test_the_service_account_watches_and_does_nothing_else(wrapper: Pbs) -> None:
    """An account that is on no list, run as by sshd's forced command, may list all jobs with the hub's name."""
    wrapper.answers("qselect", f"{OWN}\n")
    uid = pwd.getpwnam(EMMY).pw_uid

    def asked(argv: tuple[str, ...]) -> Any:
        return subprocess.run(
            [str(wrapper.program), "--ssh"],
            env={"PATH": "/usr/bin:/bin", "SSH_ORIGINAL_COMMAND": shlex.join(argv)},
            cwd="/", user=uid, group=uid, extra_groups=(), input=b"", capture_output=True, timeout=60, check=False,
        )  # fmt: skip

    assert asked(("env", "TZ=UTC0", *pbs.jobs(HUB).argv)).returncode == 0
    assert wrapper.called()[0] == [EMMY, "qselect", "-N", HUB]
    assert asked(pbs.waiting().argv).returncode == 0
    assert asked(pbs.by_id([OWN, OTHERS]).argv).returncode == 0
    assert asked(pbs.alive().argv).returncode == 0
    assert asked(pbs.reservations().argv).returncode == 0
    assert asked(pbs.nodes().argv).returncode == 0
    before = wrapper.called()
    for argv in (("qdel", OWN), ("qsub", "-f"), pbs.enter(OWN, bridge(), HERE), ("sh", "-c", "id"), ("qstat", "-f")):
        refused(asked(argv))
    assert wrapper.called() == before


def test_the_log_tells_what_was_asked(wrapper: Pbs) -> None:
    wrapper.ask(ADA, pbs.alive())
    assert json.loads((wrapper.folder / "log").read_text().splitlines()[0])["argv"] == list(pbs.alive().argv)
