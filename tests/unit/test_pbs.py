from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from factorylink.errors import FactoryError, Gone, Misread, Refused, Unreachable
from factorylink.schedulers.command import Command, Output
from factorylink.schedulers.dialect import Dialect
from factorylink.schedulers.pbs import dialect as pbs
from tests.unit.pbs_output import NAME, RECORDED, answer, failed, job, recorded


def test_the_module_is_a_dialect() -> None:
    dialect: Dialect = pbs
    assert dialect.alive().argv == ("qstat", "-B", "-f", "-F", "json")


@pytest.mark.parametrize(
    ("stdout", "id"), [("12.vm\n", "12.vm"), ("a notice\n13.pbs-1.example.org\n", "13.pbs-1.example.org")]
)
def test_submit_reads_the_id(stdout: str, id: str) -> None:
    assert pbs.submit("#!/bin/sh").parse(Output(stdout, "", 0)) == id


def test_submit_of_an_array() -> None:
    assert pbs.submit("x", 4).parse(recorded("qsub-array")) == "11[].vm"
    assert pbs.submit("x").parse(recorded("qsub-ok")) == "9.vm"
    for count, name in ((1, "qsub-array"), (4, "qsub-ok")):
        with pytest.raises(Misread):
            pbs.submit("x", count).parse(recorded(name))


@pytest.mark.parametrize("stdout", ["", "12", "x12.vm\n", "12.vm and more"])
def test_submit_without_an_id_is_doubtful(stdout: str) -> None:
    with pytest.raises(Misread):
        pbs.submit("#!/bin/sh").parse(Output(stdout, "", 0))


def test_submit_goes_by_stdin_and_arrays_by_count() -> None:
    assert pbs.submit("text").stdin == "text"
    assert pbs.submit("text").argv == ("qsub", "-f")
    assert pbs.submit("text", 200).argv == ("qsub", "-f", "-J", "1-200")


def test_ids_of_an_array() -> None:
    assert pbs.task_of("11[].vm", 3) == "11[3].vm"
    assert [pbs.array_of(id) for id in ("11[3].vm", "12.vm", "12.pbs_1", "12_3")] == ["11[].vm", None, None, None]


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        (recorded("qsub-server-down"), Unreachable),
        (failed("qsub: cannot connect to server vm (errno=15010)", 162), Unreachable),
        (failed("qsub: Request not allowed: Server shutting down", 212), Unreachable),
        (failed("No Permission.\nqsub: cannot connect to server vm (errno=15007)", 159), Unreachable),
        (failed("sh: 1: qselect: not found", 2), Unreachable),
        (failed(""), Unreachable),
        (failed("some words", -9), Unreachable),
        (recorded("qsub-unknown-queue"), Refused),
        (recorded("qsub-bad-select"), Refused),
        (recorded("qsub-walltime-over-limit"), Refused),
        (failed("qsub: Unauthorized Request ", 159), Refused),
        (failed("qsub: a hook's own words", 1), Refused),
        (failed("qsub: project p1 not found", 1), Refused),
    ],
)
def test_failures_are_told_apart(output: Output, kind: type[FactoryError]) -> None:
    with pytest.raises(FactoryError) as caught:
        pbs.submit("x").parse(output)
    assert type(caught.value) is kind
    assert "qsub:" not in caught.value.message


def test_cancel_takes_ids_only() -> None:
    assert pbs.cancel(["12.vm", "13[4].vm", "13[].vm"]).argv == ("qdel", "12.vm", "13[4].vm", "13[].vm")
    for word in ("-Wforce", "12", "12 13", "", "1[2.vm", "x", "12.vm\n"):
        with pytest.raises(ValueError, match="job id"):
            pbs.cancel([word])


def test_cancel_is_content_with_jobs_that_are_over() -> None:
    pbs.cancel(["9999.vm"]).parse(recorded("qdel-unknown-job"))
    pbs.cancel(["12.vm"]).parse(failed("qdel: Job has finished 12.vm", 35))
    pbs.cancel(["12.vm"]).parse(failed("qdel: Delete already in progress 12.vm", 238))
    with pytest.raises(Refused, match="Unauthorized"):
        pbs.cancel(["1.vm"]).parse(recorded("qdel-not-owner"))
    with pytest.raises(Refused, match="Unauthorized"):
        pbs.cancel(["1.vm"]).parse(failed("qdel: Unauthorized Request  1.vm\nqdel: Unknown Job Id 2.vm", 153))
    for output in (recorded("qdel-server-down"), failed("", -9), failed("", 1)):
        with pytest.raises(Unreachable):
            pbs.cancel(["1.vm"]).parse(output)


def test_a_job_is_extended_by_qalter() -> None:
    assert pbs.extend("12.vm", 90).argv == ("qalter", "-l", "walltime=01:30:00", "12.vm")
    pbs.extend("12.vm", 90).parse(Output("", "", 0))
    with pytest.raises(Refused, match="Unauthorized"):
        pbs.extend("12.vm", 90).parse(failed("qalter: Unauthorized Request  12.vm", 159))
    for job_id, minutes in (("12", 90), ("12.vm", 0), ("-Wx", 90)):
        with pytest.raises(ValueError, match=r"job id|no time"):
            pbs.extend(job_id, minutes)


def test_a_history_that_is_not_kept_is_gone() -> None:
    with pytest.raises(Gone):
        pbs.accounting(["12.vm"]).parse(failed("qstat: PBS is not configured to maintain job history", 36))
    with pytest.raises(ValueError, match="job id"):
        pbs.accounting(["--version"])


def test_the_server_is_checked_for_life() -> None:
    pbs.alive().parse(recorded("qstat-server-json"))
    with pytest.raises(Unreachable):
        pbs.alive().parse(recorded("qstat-server-down"))
    with pytest.raises(Unreachable):
        pbs.alive().parse(Output("", "", 0))


def test_pbs_gives_no_estimate_before_the_submission() -> None:
    assert pbs.estimate("#!/bin/sh") is None


ASKED: dict[str, tuple[Command[Any], object]] = {
    "qdel-not-owner": (pbs.cancel(["1.vm"]), Refused),
    "qdel-pending": (pbs.cancel(["5.vm"]), None),
    "qdel-running": (pbs.cancel(["0.vm"]), None),
    "qdel-server-down": (pbs.cancel(["1.vm"]), Unreachable),
    "qdel-unknown-job": (pbs.cancel(["9999.vm"]), None),
    "qstat-ended-exit1-json": (pbs.accounting(["16.vm"]), 1),
    "qstat-ended-walltime-json": (pbs.accounting(["15.vm"]), 1),
    "qstat-finished-without-x": (pbs.jobs(NAME), 0),
    "qstat-history-json": (pbs.ended(NAME), 2),
    "qstat-jobs-json": (pbs.jobs(NAME), 6),
    "qstat-mixed-json": (pbs.jobs(NAME), 15),
    "qstat-one-known-one-unknown": (pbs.jobs(NAME), 1),
    "qstat-server-down": (pbs.jobs(NAME), Unreachable),
    "qstat-server-json": (pbs.alive(), None),
    "qstat-unknown-job": (pbs.accounting(["9999.vm"]), 0),
    "qsub-array": (pbs.submit("x", 4), "11[].vm"),
    "qsub-bad-select": (pbs.submit("x"), Refused),
    "qsub-hold": (pbs.submit("x"), "13.vm"),
    "qsub-later": (pbs.submit("x"), "14.vm"),
    "qsub-never-fits": (pbs.submit("x"), "10.vm"),
    "qsub-node-type": (pbs.submit("x"), "12.vm"),
    "qsub-ok": (pbs.submit("x"), "9.vm"),
    "qsub-server-down": (pbs.submit("x"), Unreachable),
    "qsub-unknown-queue": (pbs.submit("x"), Refused),
    "qsub-walltime-over-limit": (pbs.submit("x"), Refused),
}
READ_ELSEWHERE = {
    "pbs_attach-job-gone", "pbs_rstat", "pbsnodes-json", "pbsnodes-qlist-offline-json", "qstat-queues-json",
    "qstat-queues-qlist-json", "qstat-array-begun-json", "qstat-suspended-json",
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_every_recording_is_read_as_what_it_is(name: str) -> None:
    """The recordings include the exit codes 0, 35, 153, 159, 162, 170, 187, 188 and 255."""
    ask, meant = ASKED[name]
    if isinstance(meant, type):
        with pytest.raises(meant):
            ask.parse(recorded(name))
    else:
        found = ask.parse(recorded(name))
        assert (len(found) if isinstance(found, list) else found) == meant


def test_no_recording_is_left_out() -> None:
    assert {call.stem for call in RECORDED.glob("*.call")} == ASKED.keys() | READ_ELSEWHERE


def test_a_job_that_is_listed_twice_is_misread() -> None:
    whole = answer(job("12.vm"), job("13.vm")).stdout
    for text in (whole.replace("13.vm", "12.vm"), whole.replace('"ctime"', '"job_state": "F",\n"ctime"', 1)):
        with pytest.raises(Misread, match="twice"):
            pbs.jobs(NAME).parse(Output(text, "", 0))
    with pytest.raises(Misread):
        pbs.jobs(NAME).parse(Output(whole[:-1] + ',\n"Jobs": {}}', "", 0))
    person = whole.replace('"PBS_O_HOST"', '"A": "1",\n"A": "2",\n"PBS_O_HOST"')  # variables may have repeated names
    assert len(pbs.jobs(NAME).parse(Output(person, "", 0))) == 2


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """Make programs that print their arguments; return the environment variables by which a shell finds them.

    The tests are about the shell code, not about PBS.
    """
    for name in ("qstat", "pbs_attach", "ssh"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
    (tmp_path / "qselect").write_text('#!/bin/sh\necho "$@" >&2\nprintf "$IDS"\nexit $CODE\n')
    for name in ("qstat", "pbs_attach", "ssh", "qselect"):
        (tmp_path / name).chmod(0o755)
    return {"PATH": f"{tmp_path}:/usr/bin:/bin"}


def ran(argv: tuple[str, ...], env: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env=env | more, capture_output=True, text=True, timeout=110, check=False, cwd="/")


def test_only_jobs_of_the_name_are_asked_for(programs: dict[str, str]) -> None:
    asked = ran(pbs.jobs(NAME).argv, programs, IDS="12.vm\\n13[].vm\\n", CODE="0")
    assert (asked.stderr, asked.stdout) == (f"-N {NAME}\n", "qstat -E -t -f -F json 12.vm 13[].vm\n")
    none = ran(pbs.jobs(NAME).argv, programs, IDS="", CODE="0")
    assert pbs.jobs(NAME).parse(Output(none.stdout, none.stderr, none.returncode)) == []
    down = ran(pbs.jobs(NAME).argv, programs, IDS="", CODE="162")
    with pytest.raises(Unreachable):
        pbs.jobs(NAME).parse(Output(down.stdout, "qselect: cannot connect to server vm (errno=15010)", down.returncode))
    over = ran(pbs.ended(NAME).argv, programs, IDS="".join(f"{n}.vm\\n" for n in range(300)), CODE="0")
    assert over.stderr == f"-x -s F -N {NAME}\n"
    assert over.stdout.split()[:8] == ["qstat", "-E", "-x", "-t", "-f", "-F", "json", "100.vm"]
    assert over.stdout.split()[-1] == "299.vm"


def test_jobs_that_are_gone_meanwhile_are_missing() -> None:
    question = pbs.jobs(NAME)
    assert [found.id for found in question.parse(recorded("qstat-one-known-one-unknown"))] == ["0.vm"]
    assert question.parse(recorded("qstat-unknown-job")) == []
    assert question.parse(recorded("qstat-finished-without-x")) == []
    with pytest.raises(Unreachable):
        question.parse(recorded("qstat-server-down"))
    several = Output(answer(job()).stdout, "qstat: cannot connect to server vm\nqstat: Unknown Job Id 1.vm", 153)
    with pytest.raises(Unreachable):  # even if the last error was about an unknown job
        question.parse(several)


def test_entering_is_done_on_the_jobs_node(programs: dict[str, str], tmp_path: Path) -> None:
    """The command uses ssh, which passes one line to the node's shell; on the node itself it runs without ssh."""
    inside = ["/opt/my python", "-m", "$(id)", "--help"]
    (tmp_path / "ssh").write_text('#!/bin/sh\necho "$1 $2 $3 $4" >&2\nexec sh -c "$5"\n')
    there = ran(pbs.enter("12.vm", inside, "n1"), programs)
    assert (there.stdout, there.stderr) == (f"pbs_attach -j 12.vm -- {' '.join(inside)}\n", "-o BatchMode=yes -- n1\n")
    here = ran(pbs.enter("12.vm", inside, subprocess.check_output(["hostname"], text=True).strip()), programs)
    assert (here.stdout, here.stderr, here.returncode) == (there.stdout, "", 0)
    for node in (None, "-oProxyCommand=x", "a b", ""):
        with pytest.raises(Unreachable):
            pbs.enter("12.vm", inside, node)
    with pytest.raises(ValueError, match="job id"):
        pbs.enter("12", inside, "n1")
