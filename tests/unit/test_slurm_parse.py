from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorycommon.models import JobState, Outcome, PendingPhase
from factorylink.errors import Misread
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.schedulers.slurm import parser as slurm_parse
from tests.unit.slurm_output import COMMENT, failed, job_row, listed, printed, recorded

NAME = "factorygate-hub"


def read(text: str) -> list[slurm_parse.Job]:
    return slurm.jobs(NAME).parse(listed(text))


def test_a_real_answer_with_hostile_comments_is_read_whole() -> None:
    jobs = {job.id: job for job in slurm.jobs(NAME).parse(recorded("jobs.stdout"))}
    # 54 is a het job, which is not ours
    assert list(jobs) == ["47", "48", "49", "50", "51", "52_1", "52_2", "53", "56"]
    running = jobs["47"]
    assert (running.state, running.account, running.comment, running.nodes) == (
        JobState.RUNNING, "nobody", COMMENT, ("n1",),
    )  # fmt: skip
    assert running.ends is not None
    assert running.started is not None
    assert (running.ends - running.started).total_seconds() == 3600
    assert running.expected_start is None
    waiting = jobs["48"]
    assert (waiting.comment, waiting.reason, waiting.started, waiting.ends) == ("a|b|c", "BeginTime", None, None)
    assert waiting.expected_start == datetime.fromtimestamp(1795541315, UTC)
    assert jobs["49"].comment.startswith("line\nfg:x|77|RUNNING|alice")
    assert jobs["50"].state is JobState.PENDING
    failed_job, cancelled = jobs["53"], jobs["56"]
    assert (failed_job.state, failed_job.raw_state, failed_job.exit_code) == (JobState.ENDED, "FAILED", 3)
    assert (cancelled.raw_state, cancelled.signal) == ("CANCELLED", None)


@given(st.text(max_size=90), st.text(alphabet="|\n 15RUNIGPEDalice:N/A", max_size=90))
def test_no_comment_hides_or_forges_a_row(first: str, second: str) -> None:
    text = job_row(id="1") + job_row(first, "2") + job_row(second, "3") + job_row(id="4", account="bob")
    jobs = read(text)
    assert [(job.id, job.account) for job in jobs] == [("1", "alice"), ("2", "alice"), ("3", "alice"), ("4", "bob")]
    assert {job.state for job in jobs} == {JobState.PENDING}


def test_a_comment_that_is_a_row_is_cut_before_it_is_one() -> None:
    forged = job_row(COMMENT, "99", "COMPLETED", "carol")
    assert [job.id for job in read(job_row(f"x\n{forged}", "2"))] == ["2"]


@pytest.mark.parametrize(
    ("word", "state"),
    [(word, state) for word, state in slurm_parse.STATES.items()],
)
def test_every_state_has_a_meaning(word: str, state: JobState) -> None:
    (job,) = read(job_row(state=word, started="1795537715", ends="1795541315"))
    assert (job.state, job.raw_state) == (state, word)
    assert job.suspended == (word in ("SUSPENDED", "STOPPED"))
    assert (job.ended is not None) == (job.outcome is not None) == (state is JobState.ENDED)


@pytest.mark.parametrize(
    ("word", "reason", "phase", "told"),
    [
        ("PENDING", "None", PendingPhase.QUEUED, ""),
        ("CONFIGURING", "None", PendingPhase.NODE_STARTING, ""),
        ("REQUEUED", "None", PendingPhase.REQUEUED, ""),
        ("REQUEUE_HOLD", "None", PendingPhase.QUEUED, "RequeuedHold"),
    ],
)
def test_how_far_a_pending_job_has_come(word: str, reason: str, phase: PendingPhase, told: str) -> None:
    (job,) = read(job_row(state=word, reason=reason))
    assert (job.phase, job.reason) == (phase, told)


@pytest.mark.parametrize(
    ("word", "reason", "outcome"),
    [
        ("FAILED", "NonZeroExitCode", Outcome.FAILED),
        ("FAILED", "OutOfMemory", Outcome.OUT_OF_MEMORY),
        ("FAILED", "JobLaunchFailure", Outcome.LAUNCH_FAILED),
        ("COMPLETED", "OutOfMemory", Outcome.COMPLETED),
        ("TIMEOUT", "TimeLimit", Outcome.WALLTIME),
    ],
)
def test_a_failed_job_ended_by_its_reason(word: str, reason: str, outcome: Outcome) -> None:
    (job,) = read(job_row(state=word, reason=reason, started="1795537715", ends="1795541315"))
    assert job.outcome is outcome


@pytest.mark.parametrize(
    "text",
    [
        job_row(state="DREAMING"),
        job_row(started="2026-11-24T15:50:00"),  # SLURM_TIME_FORMAT did not reach squeue
        job_row()[:-20],
        "squeue: unexpected words\n",
        job_row() + "\n",
    ],
    ids=["state", "local time", "cut off", "words", "empty line"],
)
def test_unparsable_output_is_misread_and_kept_for_the_log(text: str) -> None:
    with pytest.raises(Misread) as caught:
        read(text)
    assert caught.value.output == text


def test_times_that_are_not_there() -> None:
    (job,) = read(job_row(submitted="0", started="N/A", ends="Unknown", priority="N/A"))
    assert (job.submitted, job.started, job.expected_start, job.priority) == (None, None, None, None)


def test_a_requeued_job_counts_its_restarts() -> None:
    (job,) = read(job_row(state="REQUEUED", restarts="2"))
    assert (job.state, job.restarts) == (JobState.PENDING, 2)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("n1", ("n1",)),
        ("n[1-3]", ("n1", "n2", "n3")),
        ("n[08-10,12],login", ("n08", "n09", "n10", "n12", "login")),
        ("nid[0001-0002]-hsn", ("nid0001-hsn", "nid0002-hsn")),
        ("a[1-2],b[3,4", ("a1", "a2")),  # cut off
        ("n[1-999999999]", tuple(f"n{i}" for i in range(1, 1025))),
    ],
)
def test_hostlists(text: str, names: tuple[str, ...]) -> None:
    assert slurm_parse.hosts(text) == names


def test_ended_gives_what_the_controller_still_knows() -> None:
    ends = {end.job: end for end in slurm.ended(NAME).parse(recorded("jobs.stdout"))}
    assert set(ends) == {"53", "56"}
    assert (ends["53"].raw_state, ends["53"].exit_code, ends["53"].reason) == ("FAILED", 3, "NonZeroExitCode")
    assert (ends["56"].raw_state, ends["56"].exit_code, ends["56"].elapsed) == ("CANCELLED", 0, 0)


def test_waiting_is_sorted_by_priority_then_age() -> None:
    widths = (32, 20, 96)
    text = "".join(
        printed(*row, widths=widths)
        for row in [("5", "10", "gpu"), ("6", "30", "gpu,cpu"), ("7", "10", "gpu"), ("8_2", "N/A", "cpu")]
    )
    assert slurm.waiting().parse(listed(text)) == {
        "gpu": [(30, "6"), (10, "5"), (10, "7")],
        "cpu": [(30, "6"), (0, "8_2")],
    }
    assert len(slurm.waiting().parse(recorded("waiting.stdout"))["gpu"]) == 6


def test_the_accounting_is_parsed() -> None:
    text = (
        "12|1000|CANCELLED by 1000|0:15|1795537719|3\n13|1000|TIMEOUT|0:0|1795537719|60\n"
        "13.batch|1000|TIMEOUT|0:0|1|1\n14|1000|RUNNING|0:0|Unknown|5\n"
    )
    ends = slurm.accounting(["12", "13", "14"]).parse(listed(text))
    assert [(end.job, end.raw_state, end.signal, end.reason, end.elapsed) for end in ends] == [
        ("12", "CANCELLED", 15, "by 1000", 3),
        ("13", "TIMEOUT", None, "", 60),
    ]
    with pytest.raises(Misread):
        slurm.accounting(["12"]).parse(listed("12|0|DREAMING|0:0|1|1\n"))
    with pytest.raises(Misread):
        slurm.accounting(["12"]).parse(listed("12|FAILED\n"))


@pytest.mark.parametrize(
    ("stderr", "start"),
    [
        ("sbatch: Job 10 to start at 1795535813 using 4 processors on nodes n1 in partition gpu\n", 1795535813),
        ("sbatch: a notice of the site\nsbatch: Job 7 to start at 1795535813 using 4 processors\n", 1795535813),
        ("sbatch: Job 10 to start at 2026-11-24T15:50:00 using 4 processors on nodes n1\n", None),
        ("", None),
    ],
)
def test_planned_start(stderr: str, start: int | None) -> None:
    found = slurm_parse.planned_start(stderr)
    assert (found and found.timestamp()) == start
    if start is None:
        with pytest.raises(Misread):
            slurm.estimate("").parse(failed(stderr, 0))
