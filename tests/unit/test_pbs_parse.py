from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorycommon.models import EndReason, Job, JobState, Outcome
from factorylink.errors import Misread
from factorylink.explain import explain
from factorylink.schedulers.command import Output
from factorylink.schedulers.pbs import dialect as pbs
from factorylink.schedulers.pbs import parser as pbs_parse
from factorylink.site import availability
from tests.unit.pbs_output import COMMENT, NAME, answer, job, recorded

JOBS = recorded("qstat-mixed-json").stdout
HISTORY = recorded("qstat-history-json").stdout
ENDED = recorded("qstat-ended-walltime-json").stdout


def read(*jobs: dict[str, Any]) -> list[Job]:
    return pbs.jobs(NAME).parse(answer(*jobs))


def one(**changes: Any) -> Job:
    (found,) = read(job(**changes))
    return found


def test_a_recorded_answer_of_qstat_is_read() -> None:
    jobs = {found.id: found for found in pbs.jobs(NAME).parse(recorded("qstat-mixed-json"))}
    assert list(jobs) == [
        "0.vm", "1.vm", "2.vm", "3.vm", "4.vm", "5.vm", "9.vm", "10.vm", "11[0].vm", "11[1].vm", "11[2].vm", "11[3].vm",
        "12.vm", "13.vm", "14.vm",
    ]  # fmt: skip
    running = jobs["0.vm"]
    assert (running.state, running.account, running.nodes, running.partition) == (
        JobState.RUNNING, "alice", ("vm",), "interactive",
    )  # fmt: skip
    assert running.started == datetime.fromtimestamp(1795531205, UTC)
    assert running.ends is not None
    assert running.started is not None
    assert (running.ends - running.started).total_seconds() == 600
    waiting = jobs["4.vm"]
    assert (waiting.state, waiting.reason) == (JobState.PENDING, "Not Running: Not enough free nodes available")
    assert waiting.expected_start == datetime(2026, 11, 24, 14, 50, 5, tzinfo=UTC)
    assert (waiting.started, waiting.ends, waiting.nodes) == (None, None, ())
    assert (jobs["13.vm"].raw_state, jobs["13.vm"].reason) == ("H", "Hold_Types=u")
    assert (jobs["14.vm"].raw_state, jobs["14.vm"].reason) == ("W", "job_state=W")
    assert jobs["11[2].vm"].state is JobState.PENDING
    assert jobs["0.vm"].comment == ""  # not ours, though it has our name


def test_the_ends_of_jobs_are_read_from_the_history() -> None:
    ends = {end.job: end for end in pbs.ended(NAME).parse(recorded("qstat-history-json"))}
    assert set(ends) == {"0.vm", "5.vm"}
    stopped, never_ran = ends["0.vm"], ends["5.vm"]
    assert (stopped.outcome, stopped.signal, stopped.exit_code, stopped.by, stopped.elapsed) == (
        Outcome.CANCELLED, 15, None, "account", 42,
    )  # fmt: skip
    assert (never_ran.outcome, never_ran.exit_code, never_ran.by, never_ran.elapsed) == (
        Outcome.CANCELLED,
        None,
        None,
        None,
    )
    assert never_ran.ended == datetime.fromtimestamp(1795531247, UTC)
    jobs = {found.id: found for found in pbs.jobs(NAME).parse(recorded("qstat-history-json"))}
    assert (jobs["1.vm"].state, jobs["1.vm"].restarts) == (JobState.RUNNING, 1)  # after qrerun
    assert (jobs["2.vm"].state, jobs["2.vm"].restarts) == (JobState.RUNNING, 0)


def test_the_accounting_is_read_from_the_history() -> None:
    (walltime,) = pbs.accounting(["15.vm"]).parse(recorded("qstat-ended-walltime-json"))
    assert (walltime.outcome, walltime.exit_code, walltime.elapsed) == (Outcome.WALLTIME, -29, 22)
    (failed,) = pbs.accounting(["16.vm"]).parse(recorded("qstat-ended-exit1-json"))
    assert (failed.outcome, failed.exit_code, failed.signal) == (Outcome.FAILED, 1, None)
    assert pbs.accounting(["9999.vm"]).parse(recorded("qstat-unknown-job")) == []
    assert explain.ended(walltime)[0] is EndReason.WALLTIME
    assert "exceeded resource walltime" in explain.ended(walltime)[1].scheduler


@pytest.mark.parametrize(("letter", "state"), list(pbs_parse.STATES.items()))
def test_every_state_has_a_meaning(letter: str, state: JobState) -> None:
    found = one(job_state=letter, obittime="Tue Nov 24 15:00:00 2026")
    assert found.state is state
    assert (found.ended is not None) == (state is JobState.ENDED)
    assert (found.ends is not None) == (state in (JobState.RUNNING, JobState.ENDING))
    assert found.expected_start is None


def test_a_walltime_without_end_is_none() -> None:
    """Anybody can request such a walltime under our name."""
    found = one(Resource_List={"walltime": "99999999999999:00:00"})
    assert (found.started is not None, found.ends) == (True, None)


def test_a_job_whose_node_is_being_provisioned_is_pending() -> None:
    found = one(substate=71)
    assert found.state is JobState.PENDING
    assert explain.pending(found).code == "node-starting"


def test_a_job_that_is_sent_to_its_node_has_not_started() -> None:
    """PBS reports state R without a start: the job may still return to the queue, and a running
    session needs a start."""
    sent = {"substate": 41, "stime": None, "comment": "Job was sent for execution at (n1:ncpus=8)"}
    found = one(**sent)
    assert (found.state, found.started, found.ends, found.nodes, found.reason) == (JobState.PENDING, None, None, (), "")
    assert explain.pending(found).code == "new"
    assert [one(**sent, run_count=runs).restarts for runs in (1, 2)] == [0, 1]
    assert one(substate=41).state is JobState.RUNNING
    assert one(substate=42, stime=None).state is JobState.RUNNING
    assert one(job_state="E", substate=41, stime=None).state is JobState.ENDING


@pytest.mark.parametrize(
    ("status", "substate", "comment", "outcome", "code", "signal", "reason"),
    [
        (0, 92, "Job run at … and finished", Outcome.COMPLETED, 0, None, EndReason.FINISHED),
        (3, 93, "Job run at … and failed", Outcome.FAILED, 3, None, EndReason.FAILED),
        (271, 91, "Job run at … and terminated by bob@vm", Outcome.CANCELLED, None, 15, EndReason.CANCELLED_BY_SITE),
        (265, 93, "Job run at … and failed", Outcome.FAILED, None, 9, EndReason.FAILED),
        (0, 91, "Job run at … and terminated by alice@vm", Outcome.CANCELLED, 0, None, EndReason.CANCELLED_BY_SITE),
        (None, 91, "Not Running: … and terminated", Outcome.CANCELLED, None, None, EndReason.CANCELLED_BY_SITE),
        (-29, 93, "… and exceeded resource walltime", Outcome.WALLTIME, -29, None, EndReason.WALLTIME),
        (-27, 93, "… and exceeded resource mem", Outcome.OUT_OF_MEMORY, -27, None, EndReason.OUT_OF_MEMORY),
        (-26, 93, "… and exceeded resource vmem", Outcome.OUT_OF_MEMORY, -26, None, EndReason.OUT_OF_MEMORY),
        (-28, 93, "… and exceeded resource cput", Outcome.CPU_LIMIT, -28, None, EndReason.FAILED),
        (-4, 93, "", Outcome.NODE_FAILED, -4, None, EndReason.NODE_FAILED),
        (-10, 93, "", Outcome.LAUNCH_FAILED, -10, None, EndReason.NODE_FAILED),
        (-17, 93, "", Outcome.SETUP_FAILED, -17, None, EndReason.NODE_FAILED),
        (-19, 93, "", Outcome.REVOKED, -19, None, EndReason.CANCELLED_BY_SITE),
        (-12, 93, "", Outcome.PREEMPTED, -12, None, EndReason.PREEMPTED),
        (-99, 93, "", Outcome.FAILED, -99, None, EndReason.FAILED),
    ],
)
def test_exit_statuses_are_mapped_to_outcomes(
    status: int | None,
    substate: int,
    comment: str,
    outcome: Outcome,
    code: int | None,
    signal: int | None,
    reason: EndReason,
) -> None:
    over = job(job_state="F", Exit_status=status, substate=substate, comment=comment, history_timestamp=1795531247)
    (end,) = pbs.ended(NAME).parse(answer(over))
    assert (end.outcome, end.exit_code, end.signal, end.reason) == (outcome, code, signal, comment)
    assert explain.ended(end)[0] is reason


@pytest.mark.parametrize(
    ("substate", "stime", "outcome"),
    [
        (92, "Tue Nov 24 14:40:06 2026", Outcome.COMPLETED), (93, "Tue Nov 24 14:40:06 2026", Outcome.FAILED),
        (92, None, Outcome.CANCELLED), (None, None, Outcome.CANCELLED),
    ],
)  # fmt: skip
def test_a_job_that_ended_without_an_exit_status_is_read(
    substate: int | None, stime: str | None, outcome: Outcome
) -> None:
    assert one(job_state="X", substate=substate, stime=stime).outcome is outcome


def test_the_canceller_of_a_job_is_recognised() -> None:
    assert pbs_parse.who("Job run at … and terminated by alice@vm", "alice") == "account"
    assert pbs_parse.who("Job run at … and terminated by root@vm", "alice") == "administrator"
    assert pbs_parse.who("Job run at … and terminated by bob@vm", "alice") == "other"
    assert pbs_parse.who("Job run at … and failed", "alice") is None


def test_a_job_moved_to_another_server_has_ended_here() -> None:
    assert one(job_state="M", comment='Job has been moved to "q@other"').outcome is Outcome.REVOKED


def test_the_account_is_who_it_runs_as() -> None:
    assert one().account == "alice"  # shown to everybody: its owner
    assert one(euser="carol").account == "carol"  # shown to managers


def test_a_requeued_job_counts_its_restarts() -> None:
    waits = one(job_state="Q", run_count=2, exec_host=None, stime=None)
    assert (waits.restarts, waits.reason) == (2, "")  # its comment still describes the earlier run
    assert one(run_count=3).restarts == 2


def test_a_held_job_says_why() -> None:
    assert one(job_state="H", Hold_Types="s", comment="job held, too many failed attempts to run").reason == (
        "Hold_Types=s job held, too many failed attempts to run"
    )


def test_a_word_that_json_takes_for_something_else() -> None:
    odd = one(queue=42, comment=["x"], Variable_List={"FACTORYGATE_JOB": {"a": 1}, "X": [[[]]]}, Account_Name=7)
    assert (odd.partition, odd.comment) == ("42", "")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_variable_hides_or_forges_a_job(value: Any) -> None:
    hostile = job(
        "13.vm", Job_Owner="mallory@vm", Variable_List={"X": value, "FACTORYGATE_JOB": value}, comment=value or ""
    )
    jobs = read(job("12.vm"), hostile, job("14.vm"))
    assert [(found.id, found.account) for found in jobs] == [
        ("12.vm", "alice"),
        ("13.vm", "mallory"),
        ("14.vm", "alice"),
    ]
    assert [jobs[0].comment, jobs[2].comment] == [COMMENT, COMMENT]


@pytest.mark.parametrize(
    "changes",
    [
        {"job_state": "Z"}, {"job_state": None}, {"Job_Owner": None}, {"queue": None}, {"Variable_List": None},
        {"Job_Name": "another"}, {"stime": "2026-11-24T14:40:06"}, {"Resource_List": {"walltime": "soon"}},
        {"Resource_List": 3}, {"run_count": "many"}, {"exec_host": 1.5, "job_state": {}},
        {"job_state": "F", "Exit_status": "no"}, {"stime": "Tue Nov 44 14:40:06 2026"},
    ],
)  # fmt: skip
def test_unparsable_output_is_misread_and_kept_for_the_log(changes: dict[str, Any]) -> None:
    output = answer(job(**changes))
    with pytest.raises(Misread) as caught:
        pbs.jobs(NAME).parse(output)
    assert caught.value.output == output.stdout


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", '{"Jobs": []}', '{"Jobs": {"12": {}}}', '{"Jobs": {}} {}', "qstat: words",
        '{"Jobz": {}}',
        '{"Jobs": {"1.vm": NaN}}', "[" * 100_000, '{"Jobs": {"' + "1" * 200 + '.vm": {}}}',
    ],
)  # fmt: skip
def test_an_invalid_answer_is_misread(text: str) -> None:
    with pytest.raises(Misread):
        pbs.jobs(NAME).parse(Output(text, "", 0))


@pytest.mark.parametrize(
    ("raw", "read_as"),
    [
        ("\x1b[1m", "\ufffd[1m"),
        ("\x00\x07", "\ufffd\ufffd"),
        (r"\e[1m\$", r"\e[1m\$"),
        (r"\u12", r"\u12"),
        (r"C:\\d", r"C:\d"),
        (r"\"", '"'),
        (r"\u00e9\n", "é\n"),
        ("é", "é"),
    ],
)
def test_unescaped_characters_in_pbs_json_do_no_harm(raw: str, read_as: str) -> None:
    """Control characters and unknown escapes may occur in any text of a person, such as a comment."""
    text = answer(job("12.vm", job_state="Q", comment="WORD"), job("13.vm")).stdout.replace("WORD", raw)
    first, second = pbs.jobs(NAME).parse(Output(text, "", 0))
    assert (first.reason, second.id) == (read_as, "13.vm")


@pytest.mark.parametrize(
    "variables", [{"PBS_O_MAIL": f",FACTORYGATE_JOB={COMMENT}"}, {"A": 1, "B": f",FACTORYGATE_JOB={COMMENT}"}]
)
def test_a_variable_after_an_empty_one_is_found(variables: dict[str, Any]) -> None:
    assert one(Variable_List=variables).comment == COMMENT
    assert one(Variable_List={**variables, "FACTORYGATE_JOB": "another"}).comment == "another"
    assert one(Variable_List={"A": f"x,FACTORYGATE_JOB={COMMENT}"}).comment == ""


@pytest.mark.parametrize("word", ["inf", "-infinity", "nan(1)", "INF", "+5", ".5", "1.", "08", "-0", "1e5"])
@pytest.mark.parametrize("end", [",", ""])
def test_a_variable_that_c_takes_for_a_number_does_no_harm(word: str, end: str) -> None:
    """The released 23.06 prints such values, each on its own line; such a line within a text is not changed."""
    last = '"W":"x"\n}' if end else "}"
    variables = f'{{\n"FACTORYGATE_JOB":"{COMMENT}",\n"A\\"": "\\":inf,",\n"V":{word}{end}\n{last}'
    text = answer(job("12.vm"), job("13.vm", Variable_List="WORD")).stdout.replace('"WORD"', variables)
    assert [(found.id, found.comment) for found in pbs.jobs(NAME).parse(Output(text, "", 0))] == [
        ("12.vm", COMMENT),
        ("13.vm", COMMENT),
    ]


@pytest.mark.parametrize(
    "spoilt",
    [
        'a"},"euser":"victim","w":{"k":"v',
        'a"},"w":{}},"99.vm":{"Job_Name":"x","Job_Owner":"victim@vm","job_state":"R","queue":"q","w":{"k":"v',
        'a","FACTORYGATE_JOB":"another',
    ],
)
def test_a_quote_that_is_not_escaped_adds_nothing_to_an_answer(spoilt: str) -> None:
    """The released 23.06 prints the value of a variable so."""
    text = answer(job("12.vm", Variable_List={"A": "WORD", "B": "b"}), job("13.vm")).stdout
    assert len(pbs.jobs(NAME).parse(Output(text, "", 0))) == 2
    with pytest.raises(Misread):
        pbs.jobs(NAME).parse(Output(text.replace("WORD", spoilt), "", 0))


def test_a_line_that_ends_within_a_text_is_misread() -> None:
    text = answer(job(comment="WORD")).stdout.replace("WORD", "a\nb")
    with pytest.raises(Misread):
        pbs.jobs(NAME).parse(Output(text, "", 0))


@pytest.mark.parametrize(
    ("told", "start"),
    [
        ({"start_time": "Tue Nov 24 14:50:05 2026"}, datetime(2026, 11, 24, 14, 50, 5, tzinfo=UTC)),
        ({"start_time": "Sat Nov  7 04:05:06 2026"}, datetime(2026, 11, 7, 4, 5, 6, tzinfo=UTC)),
        ({"start_time": 1795531805}, datetime.fromtimestamp(1795531805, UTC)),
        ({"start_time": "UNKNOWN", "exec_vnode": "(n1:ncpus=1)"}, None),
        ({"start_time": 0}, None),
        ({"start_time": "soon"}, None),
        ({"start_time": 10**30}, None),
        ({"soft_walltime": "01:00:00"}, None),
        ("none", None),
        (None, None),
    ],
)
def test_estimates_in_every_form(told: Any, start: datetime | None) -> None:
    assert one(job_state="Q", stime=None, exec_host=None, estimated=told).expected_start == start


@given(st.integers(min_value=0), st.sampled_from([JOBS, HISTORY, ENDED]))
def test_a_cut_answer_is_misread(at: int, text: str) -> None:
    whole = text.rstrip()
    with pytest.raises(Misread):
        pbs_parse.jobs(whole[: at % len(whole)])


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=400))
def test_a_piece_that_is_lost_is_misread_or_does_no_harm(at: int, length: int) -> None:
    """Whatever is lost: no job gets another job's owner or comment, and no live job counts as ended."""
    text = answer(*(job(f"{n}.vm", Job_Owner=f"user{n}@vm") for n in range(9))).stdout
    start = at % len(text)
    try:
        jobs = pbs.jobs(NAME).parse(Output(text[:start] + text[start + length :], "", 0))
    except Misread:
        return
    for found in jobs:
        assert found.state is not JobState.ENDED
        assert found.comment in (COMMENT, "") or len(found.comment) < len(COMMENT)


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("512gb", 512 * 2**30),
        ("419430400kb", 400 * 2**30),
        ("64", 64),
        ("2MB", 2 * 2**20),
        ("3kw", 24 * 2**10),
        ("0", 0),
    ],
)
def test_sizes_of_memory_are_parsed(text: str, total: int) -> None:
    assert pbs_parse.size(text) == total


@pytest.mark.parametrize(
    ("text", "names"),
    [("", ()), ("vm/0*24", ("vm",)), ("n1/0*2+n2/1+n1/2", ("n1", "n2")), ("vm:15002/0*24", ("vm",))],
)
def test_exec_hosts(text: str, names: tuple[str, ...]) -> None:
    assert pbs_parse.hosts(text) == names


def test_waiting_is_in_the_order_of_submission() -> None:
    text = answer(job("10.vm"), job("9.vm", queue="gpu"), job("2[].vm"), job("3.vm")).stdout
    assert pbs.waiting().parse(Output(text, "", 0)) == {
        "workq": [(0, "2[].vm"), (0, "3.vm"), (0, "10.vm")],
        "gpu": [(0, "9.vm")],
    }
    with pytest.raises(Misread):
        pbs.waiting().parse(Output('{"Jobs": {"x": {"queue": "a"}}}', "", 0))


def test_the_jobs_of_a_begun_array_that_wait_are_counted_one_by_one() -> None:
    """Recorded output: of 500 jobs, three run or are suspended, and two have ended."""
    waiting = pbs.waiting().parse(recorded("qstat-array-begun-json"))
    ids = [job for _, job in waiting["interactive"]]
    assert ids[:3] == ["0[4].login01", "0[6].login01", "0[7].login01"]
    assert len([job for job in ids if job.startswith("0[")]) == 496
    assert ids[-1] == "3.login01"  # the last of all
    (ours,) = pbs.jobs(NAME).parse(answer(job("3.login01", job_state="Q", queue="interactive", stime=None)))
    assert availability.Queue(waiting).ahead("interactive", ours) == 496


@pytest.mark.parametrize(
    ("indices", "ids"),
    [("3", ["2[3].vm"]), (7, ["2[7].vm"]), ("-", []), ("1-7:3", ["2[1].vm", "2[4].vm", "2[7].vm"]), ("9-1", [])],
)
def test_indices_of_an_array(indices: object, ids: list[str]) -> None:
    found = pbs.waiting().parse(answer(job("2[].vm", array_indices_remaining=indices)))
    assert [id for _, id in found.get("workq", [])] == ids


@pytest.mark.parametrize("indices", ["x", "1-", "1,,2", "1-9:0", "0-999999999", "1;2", [1], ",".join(["0-99999"] * 2)])
def test_indices_that_are_none_or_too_many_are_misread(indices: object) -> None:
    with pytest.raises(Misread):
        pbs.waiting().parse(answer(job("2[].vm", array_indices_remaining=indices)))


def test_a_suspended_job_is_told() -> None:
    """Recorded after ``qsig -s suspend``: the comment says that the job runs."""
    suspended, _ = pbs.jobs("STDIN").parse(recorded("qstat-suspended-json"))
    assert (suspended.state, suspended.suspended, suspended.raw_state) == (JobState.RUNNING, True, "S")
    (runs,) = pbs.jobs(NAME).parse(answer(job()))
    assert not runs.suspended


def test_times_are_asked_for_in_utc() -> None:
    for question in (pbs.jobs(NAME), pbs.ended(NAME), pbs.waiting(), pbs.accounting(["1.vm"])):
        assert question.env == {"TZ": "UTC0"}
    assert pbs_parse.moment("Tue Nov  3 04:05:06 2026") == datetime(2026, 11, 3, 4, 5, 6, tzinfo=UTC)
    assert pbs_parse.moment("UNKNOWN") is None


def test_the_recorded_answers_are_what_json_is() -> None:
    assert set(json.loads(JOBS)) == {"timestamp", "pbs_version", "pbs_server", "Jobs"}
