"""Which job under a known id is ours, which jobs may be cancelled or changed, and the doctor's report on comments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factorycommon.models import Job, JobState
from factorylink.doctor import job_marks
from factorylink.errors import Misread, Refused, Unreachable
from factorylink.jobs.identity import Identity, read_or_make_key
from factorylink.jobs.ownership import CLOCKS, DOUBT, Found, OwnJob, found, verify
from factorylink.schedulers.pbs import dialect as pbs
from factorylink.schedulers.slurm import dialect as slurm
from tests.unit import pbs_output, site_fakes, slurm_output
from tests.unit.slurm_output import COMMENT, JOB_WIDTHS, printed

THEN = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = THEN + timedelta(minutes=1)
OTHERS = COMMENT.replace("0", "a")


def job(id: str = "1", state: JobState = JobState.PENDING, **changes: object) -> Job:
    return site_fakes.job(id, state, **{"submitted": THEN, **changes})


def own(id: str = "1", **changes: object) -> OwnJob:
    return OwnJob(**{"id": id, "account": "alice", "comment": COMMENT, "submitted": THEN, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mine", "there", "what"),
    [
        (own(), job(), Found.OURS),
        (own(), job(name="mine"), Found.OURS),
        (own(), job(comment="x"), Found.ALTERED),
        (own(), job(comment="x", account="bob"), Found.FOREIGN),
        (own(), job(account="bob"), Found.FOREIGN),
        (own(), job(comment="x", submitted=LATER), Found.FOREIGN),
        (own(), job(comment=OTHERS, submitted=LATER), Found.FOREIGN),
        (own(), job(comment="x", submitted=None), Found.FOREIGN),
        # A requeue changes the submission time.
        (own(), job(comment="x", submitted=LATER, restarts=1), Found.ALTERED),
        (own(restarts=1), job(comment="x", submitted=LATER, restarts=1), Found.FOREIGN),
        # No answer has listed the job yet, so the time of our own submission is compared.
        (own(submitted=None, begun=THEN), job(comment="x"), Found.ALTERED),
        (own(submitted=None, begun=THEN), job(comment=OTHERS), Found.ALTERED),  # its owner may have copied the comment
        (own(submitted=None, begun=THEN + 2 * CLOCKS), job(comment="x"), Found.FOREIGN),
        (own(submitted=None, begun=THEN - 2 * CLOCKS - timedelta(seconds=DOUBT)), job(comment="x"), Found.FOREIGN),
        (own(submitted=None), job(comment="x"), Found.FOREIGN),
    ],
)
def test_the_job_under_an_id_is_recognised(mine: OwnJob, there: Job, what: Found) -> None:
    assert found(mine, there) is what


def test_a_job_that_another_session_takes_is_not_ours_any_more() -> None:
    assert found(own(), job(comment=OTHERS), of_another=True) is Found.FOREIGN
    assert found(own(), job(), of_another=True) is Found.OURS


def test_only_our_jobs_may_be_cancelled() -> None:
    answer = [job("1"), job("2", comment="x"), job("3", comment="x", submitted=LATER), job("4", JobState.ENDED)]
    may, told = verify([own(str(number)) for number in range(1, 6)], answer)
    assert may == ["1"]
    assert told == {"1": "ours", "2": "altered", "3": "foreign", "4": "gone", "5": "gone"}


@pytest.mark.parametrize("form", ["7_{}", "7[{}].srv"])
def test_an_array_is_cancelled_as_a_whole_where_all_of_it_is_ours(form: str) -> None:
    array = "7" if "_" in form else "7[].srv"
    tasks = [form.format(number) for number in (1, 2, 3)]
    whole = [job(tasks[0], JobState.ENDED), job(tasks[1]), job(tasks[2])]
    assert verify([own(array)], whole) == ([array], {tasks[1]: "ours", tasks[2]: "ours"})
    part = [job(tasks[0]), job(tasks[1], comment="x"), job(tasks[2])]
    may, told = verify([own(array)], part)
    assert may == [tasks[0], tasks[2]]
    assert told[tasks[1]] is Found.ALTERED
    assert verify([own(tasks[2])], part) == ([tasks[2]], {tasks[2]: "ours"})
    assert verify([own(array)], [job("7")]) == ((["7"], {"7": "ours"}) if array == "7" else ([], {array: "gone"}))


# --- questions by id


def row(name: str, comment: str = COMMENT, id: str = "12") -> str:
    fields = (id, "PENDING", "alice", "1795537715", "N/A", "N/A", "1", "0", "0:0", "gpu", "None", "")
    return printed(name, comment, *fields, widths=(64, *JOB_WIDTHS))


@pytest.mark.parametrize(
    ("name", "comment", "read"),
    [
        ("factorygate-hub", COMMENT, ("factorygate-hub", COMMENT)),
        ("", "", ("", "")),
        ("a" * 90, "b" * 90, ("a" * 64, "b" * 64)),
        ("x|12|PENDING", "|y|", ("x|12|PENDING", "|y|")),
        ("ñ" * 60, COMMENT, (("ñ" * 60).encode()[:64].decode(errors="replace"), COMMENT)),
        (COMMENT, "ü" * 60, None),
        ("factorygate-hub", f"{'ü' * 8}{COMMENT}", None),
    ],
)
def test_a_name_is_never_taken_for_a_comment(name: str, comment: str, read: tuple[str, str] | None) -> None:
    found = slurm.by_id(["12"]).parse(slurm_output.listed(row(name, comment)))
    assert [job.id for job in found] == ["12"]
    if read is None:
        assert found[0].comment == ""
    else:
        assert (found[0].name, found[0].comment) == read


def test_jobs_that_slurm_does_not_know_are_left_out() -> None:
    none = slurm_output.failed("slurm_load_jobs error: Invalid job id specified")
    assert slurm.by_id(["12"]).parse(none) == []
    with pytest.raises(Refused):  # Slurm omits unknown ids in a list
        slurm.by_id(["12", "13"]).parse(none)
    assert slurm.by_id(["12", "13_4"]).argv[-3:-1] == ("--jobs=12,13_4", "--sort=i")
    with pytest.raises(Unreachable):
        slurm.by_id(["12"]).parse(slurm_output.failed("Unable to contact slurm controller (connect failure)"))
    with pytest.raises(Misread):  # cut between two rows
        slurm.by_id(["12"]).parse(slurm_output.Output(row("a"), "", 0))
    with pytest.raises(ValueError, match=r"12\.srv"):
        slurm.by_id(["12.srv"])


def test_jobs_that_pbs_does_not_know_are_left_out() -> None:
    ask = pbs.by_id(["0.vm", "9999.vm"])
    assert ask.argv == ("qstat", "-E", "-t", "-f", "-F", "json", "0.vm", "9999.vm")
    assert [job.id for job in ask.parse(pbs_output.recorded("qstat-one-known-one-unknown"))] == ["0.vm"]
    assert ask.parse(pbs_output.recorded("qstat-unknown-job")) == []
    assert ask.parse(pbs_output.recorded("qstat-finished-without-x")) == []
    with pytest.raises(Unreachable):
        ask.parse(pbs_output.recorded("qstat-server-down"))
    renamed = pbs_output.answer(pbs_output.job("0.vm", Job_Name="mine"))
    assert [(job.name, job.comment) for job in ask.parse(renamed)] == [("mine", pbs_output.COMMENT)]
    with pytest.raises(ValueError, match="'12'"):
        pbs.by_id(["12"])


# --- the doctor's report


def test_the_doctor_names_what_a_site_changed() -> None:
    assert job_marks.changed(job(), "factorygate-hub", COMMENT) is None
    words = job_marks.changed(job(name="site", comment="x"), "factorygate-hub", COMMENT)
    assert words is not None
    assert "name and the comment" in words.what
    assert words.scheduler == "name 'site', comment 'x'"


def test_the_doctor_names_another_gateway(tmp_path: Path) -> None:
    assert job_marks.own_identity("hub", tmp_path) is None
    read_or_make_key(tmp_path / "hmac.key")
    identity = job_marks.own_identity("hub", tmp_path)
    assert identity is not None
    mine = identity.comment("1" * 32, "alice", "site")
    theirs = Identity("hub", bytes(32)).comment("2" * 32, "alice", "site")
    jobs = [
        job("1", comment=mine),
        job("2", comment=theirs),
        job("3", comment="x"),
        job("4", JobState.ENDED, comment=theirs),
    ]
    words = job_marks.same_name(jobs, identity, "site")
    assert words is not None
    assert words.scheduler == "job 2 of alice"
    assert job_marks.same_name(jobs[:1], identity, "site") is None
