from __future__ import annotations

import re
from pathlib import Path

import pytest

from factorycommon.messages import Message
from factorycommon.models import End, EndReason, Job, JobState, PendingPhase, Words
from factorylink.errors import Distrusted, Expired, Unreachable
from factorylink.explain import explain
from factorylink.explain.gateway import OURS
from factorylink.schedulers.registry import DIALECTS
from factorylink.schedulers.slurm.parser import OUTCOMES
from factorylink.schedulers.slurm.words import WORDS
from tests.support import texts

REASONS = (Path(__file__).parent / "recorded" / "slurm-24.11" / "reasons.txt").read_text().split()
LINK = Path(explain.__file__).parents[1]
DOCS = Path(__file__).parents[2] / "docs" / "reasons.md"
VIOLATES = (
    "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
)
# Words of squeue that are not in the library's list: with node names, from other versions, or of requeued jobs.
ELSEWHERE_TRIED = {
    "maintenance", "held-requeued", "federation", "nodes-busy", "power", "nodes-unavailable", "partition-nodes",
}  # fmt: skip


def waits(reason: str, phase: PendingPhase = PendingPhase.QUEUED) -> str:
    job = Job(
        id="1", name="n", account="a", comment="c", state=JobState.PENDING, raw_state="PENDING", phase=phase,
        reason=reason,
    )  # fmt: skip
    words = explain.pending(job)
    assert words.what
    assert words.do
    assert words.scheduler == (reason or words.scheduler)
    return words.code


# Words that squeue of Slurm 22.05 to 25.11 prints.
@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("", "new"), ("Priority", "priority"), ("Resources", "resources"), ("Dependency", "dependency"),
        ("DependencyNeverSatisfied", "dependency-never"), ("BeginTime", "begin-time"),
        ("JobHeldUser", "held-user"), ("JobHeldAdmin", "held-site"), ("JobHoldMaxRequeue", "held-failed"),
        ("launch_failed_requeued_held", "held-failed"), ("SystemFailure", "held-failed"),
        ("PartitionDown", "partition-closed"), ("PartitionInactive", "partition-closed"),
        ("PartitionNodeLimit", "partition-nodes"), ("PartitionTimeLimit", "partition-time"),
        ("PartitionConfig", "partition-config"), ("NodeDown", "nodes-unavailable"),
        ("ReqNodeNotAvail,_UnavailableNodes:n[1-2]", "nodes-unavailable"),
        ("ReqNodeNotAvail,_Reserved_for_maintenance", "maintenance"),
        ("Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved_for_jobs_in_higher_priority_partitions",
         "nodes-unavailable"),
        ("Reservation", "reservation"), ("ReservationDeleted", "reservation-gone"), ("Licenses", "licenses"),
        ("Prolog", "prolog"), ("Cleaning", "cleaning"), ("InvalidAccount", "account"),
        ("AccountNotAllowed", "account"), ("InvalidQOS", "qos"), ("QOSNotAllowed", "qos"),
        ("QOSUsageThreshold", "usage-threshold"), ("AssocGrpGRES", "group-gpus"),
        ("AssocGrpGRESMinutes", "budget"), ("AssocGrpCPUMinutesLimit", "budget"),
        ("AssocGrpCPURunMinutesLimit", "budget-running"), ("AssocGrpBillingMinutes", "budget"),
        ("AssocMaxJobsLimit", "own-jobs"), ("MaxGRESPerAccount", "own-jobs"),
        ("QOSMaxJobsPerUserLimit", "own-jobs"), ("QOSMaxGRESPerUser", "own-jobs"),
        ("QOSMaxCpuPerUserLimit", "own-limit"), ("QOSMaxWallDurationPerJobLimit", "time-limit"),
        ("AssocMaxWallDurationPerJobLimit", "time-limit"), ("QOSTimeLimit", "time-limit"),
        ("QOSMaxGRESPerJob", "size-limit"), ("QOSMaxNodePerJobLimit", "size-limit"), ("QOSMinGRES", "too-small"),
        ("QOSMaxSubmitJobPerUserLimit", "own-submitted"),
        ("MaxCpuRunMinsPerUser", "own-running"), ("QOSMaxGRESMinutesPerJob", "job-budget"),
        ("AccountingPolicy", "policy"), ("MpiPortsBusy", "ports-busy"), ("AssocGrpJobsLimit", "group-jobs"),
        ("AssocGrpWallLimit", "budget"), ("AssocGrpMemLimit", "group-memory"),
        ("RequiresReservation", "reservation-needed"),
        ("AssocGrpCpuLimit", "group-cores"), ("AssocGrpNodeLimit", "group-nodes"), ("AssocGrpBB", "group-limit"),
        # All users of a QOS share its limits, not only the person's project.
        ("QOSGrpJobsLimit", "queue-limit"), ("QOSGrpGRES", "queue-limit"), ("QOSGrpCpuLimit", "queue-limit"),
        ("QOSGrpMemLimit", "queue-limit"), ("QOSGrpNodeLimit", "queue-limit"), ("QOSGrpBB", "queue-limit"),
        # Billing is a limit of what runs at once; only its minutes are a budget.
        ("AssocGrpBilling", "group-limit"), ("QOSGrpBilling", "queue-limit"), ("QOSGrpBillingMinutes", "budget"),
        ("AssocGrpBillingRunMinutes", "budget-running"), ("QOSGrpBillingRunMinutes", "budget-running"),
        ("BadConstraints", "bad-constraints"), ("JobArrayTaskLimit", "array-limit"), ("DeadLine", "deadline"),
        ("BurstBufferStageIn", "storage"), ("PowerNotAvail", "power"), ("FrontEndDown", "front-end-down"),
        ("FedJobLock", "federation"), ("SchedDefer", "deferred"), ("MaxMemPerLimit", "memory-limit"),
    ],
)  # fmt: skip
def test_pending_reasons(reason: str, code: str) -> None:
    assert waits(reason) == code


@pytest.mark.parametrize("reason", REASONS)
def test_no_reason_that_slurm_has_is_unknown(reason: str) -> None:
    """The reasons are those in the library of Slurm 24.11."""
    assert waits(reason) != "unknown"


def test_every_entry_of_the_table_can_be_reached() -> None:
    codes = [code for _, code in WORDS.waiting]
    assert len(set(codes)) == len(codes) >= 40
    for code in codes:  # no pattern is hidden by an earlier one that matches all its words
        words = [w for w in REASONS if waits(w) == code]
        assert words or code in ELSEWHERE_TRIED, code


def test_every_code_of_a_dialect_has_an_answer() -> None:
    everything = explain.everything()
    known = {kind: {answer.code for answer in answers} for kind, answers in everything.items()}
    for name, dialect in DIALECTS.items():
        for words, kind in (
            (dialect.WORDS.waiting, "Why it waits"),
            (dialect.WORDS.refused, "Why it was not taken"),
            (dialect.WORDS.unreachable, "Why nothing is known of a factory"),
        ):
            assert {code for _, code in words} <= known[kind], name


def test_pending_states_have_their_own_explanations() -> None:
    assert waits("", PendingPhase.NODE_STARTING) == "node-starting"
    assert waits("", PendingPhase.REQUEUED) == "requeued"


def test_an_unknown_reason_is_shown_as_it_is() -> None:
    job = Job(
        id="1", name="n", account="a", comment="c", state=JobState.PENDING, raw_state="PENDING", reason="Moonrise"
    )
    words = explain.pending(job)
    assert words.code == "unknown"
    assert "Moonrise" in words.what
    odd = explain.refused("no {braces} and %s today")
    assert "{braces}" in odd.what


def end(state: str, **more: object) -> End:
    return End.model_validate({"job": "1", "outcome": OUTCOMES[state], "raw_state": state} | more)


@pytest.mark.parametrize(
    ("record", "wish", "door", "reason"),
    [
        (end("COMPLETED", exit_code=0), "run", None, EndReason.FINISHED),
        (end("COMPLETED", exit_code=0), "run", "idle", EndReason.IDLE),
        (end("COMPLETED", exit_code=0), "run", "unopened", EndReason.UNOPENED),
        (end("COMPLETED", exit_code=0), "run", "walltime", EndReason.WALLTIME),
        (end("COMPLETED", exit_code=0), "run", "no-environment", EndReason.NEVER_OPENED_DOOR),
        (end("COMPLETED", exit_code=0), "stop", "stopped", EndReason.STOPPED),
        (end("CANCELLED", signal=15), "stop", None, EndReason.STOPPED),
        (end("CANCELLED", signal=15), "run", None, EndReason.CANCELLED_BY_SITE),
        (end("TIMEOUT"), "run", None, EndReason.WALLTIME),
        (end("DEADLINE"), "run", None, EndReason.WALLTIME),
        (end("OUT_OF_MEMORY"), "run", "failed", EndReason.OUT_OF_MEMORY),
        (end("NODE_FAIL"), "run", None, EndReason.NODE_FAILED),
        (end("BOOT_FAIL"), "run", None, EndReason.NODE_FAILED),
        (end("PREEMPTED"), "run", None, EndReason.PREEMPTED),
        (end("FAILED", exit_code=3), "run", None, EndReason.FAILED),
        (end("FAILED", exit_code=3), "run", "unheard-of", EndReason.FAILED),
        (None, "stop", None, EndReason.STOPPED),
        (None, "run", None, EndReason.FAILED),
    ],
)
def test_ends_are_explained(record: End | None, wish: str, door: str | None, reason: EndReason) -> None:
    got, words = explain.ended(record, desired=wish, door=door)  # type: ignore[arg-type]  # a wish of the table
    assert got is reason
    assert words.what
    assert words.do
    if record is not None:
        assert record.raw_state in words.scheduler


@pytest.mark.parametrize("record", [end("NODE_FAIL"), end("TIMEOUT"), end("CANCELLED", signal=15)])
def test_an_ended_job_of_a_cluster_advises_no_new_session(record: End) -> None:
    reason, words = explain.job_ended(record)
    assert (reason, words.code) == (explain.ended(record)[0], explain.ended(record)[1].code)
    assert (words.whose, "session" in words.do) == ("wait", False)


def test_an_ended_job_of_a_cluster_keeps_other_advice() -> None:
    assert explain.job_ended(end("OUT_OF_MEMORY")) == explain.ended(end("OUT_OF_MEMORY"))


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"exit_code": 127}, "not-installed"), ({"signal": 9}, "killed"), ({"exit_code": 137}, "killed"),
        ({"exit_code": 1}, "failed"),
    ],
)  # fmt: skip
def test_failures_hint_at_the_cause(more: dict[str, int], code: str) -> None:
    assert explain.ended(end("FAILED", **more))[1].code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("invalid partition specified: nope\nBatch job submission failed: Invalid partition name specified",
         "partition-unknown"),
        ("Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)", "time"),
        ("CPU count per node can not be satisfied\nRequested node configuration is not available", "no-such-node"),
        ("Batch job submission failed: Invalid account or account/partition combination specified", "account"),
        ("Batch job submission failed: Invalid qos specification", "qos"),
        ("QOSMaxSubmitJobPerUserLimit\nJob violates accounting/QOS policy (job submit limit, ...)", "submit-limit"),
        ("AssocMaxSubmitJobLimit", "submit-limit"),
        ("Job violates accounting/QOS policy", "policy"),
        # Slurm's sentence is the same for every limit; only the word before it names the limit.
        (f"QOSMaxGRESPerUser\n{VIOLATES}", "policy"), (f"QOSMaxSubmitJobPerUserLimit\n{VIOLATES}", "submit-limit"),
        (f"MaxSubmitJobsPerAccount\n{VIOLATES}", "submit-limit"), (VIOLATES, "policy"),
        ("Batch job submission failed: Invalid feature specification", "feature"),
        ("Batch job submission failed: Requested reservation is invalid", "reservation"),
        ("Access denied to requested reservation", "reservation"),
        ("Batch job submission failed: Invalid generic resource (gres) specification", "gres"),
        ("User's group not permitted to use this partition", "permission"),
        ("Batch job submission failed: Invalid user id", "user-unknown"),
        ("Batch job submission failed: Required partition not available (inactive or drain)", "partition-closed"),
        ("Memory required by task is not available", "memory"),
        ("Slurm: write error on script: No space left on device", "disk-full"),
        ("The batch script's template fails: x", "template"),
        ("Bananas", "unknown"),
    ],
)  # fmt: skip
def test_refusals_are_explained(text: str, code: str) -> None:
    words = explain.refused(text)
    assert (words.code, words.scheduler) == (code, text)
    assert words.do


NO_MUNGE = (
    "If munged is up, restart with --num-threads=10\n"
    'Munge encode failed: Failed to access "/run/munge/munge.socket.2": No such file or directory\n'
    "slurm_load_jobs error: Protocol authentication error"
)
FILTERED = "Project training is closed.\nAsk for another."


@pytest.mark.parametrize(
    "text",
    [
        f"{FILTERED}\nBatch job submission failed: Unspecified error",
        f"Batch job submission failed: Unspecified error\n{FILTERED}",
    ],
)
def test_a_site_s_own_filter_is_told_by_its_own_words(text: str) -> None:
    words = explain.refused(text)
    assert (words.code, words.whose, words.scheduler) == ("job-filter", "you", FILTERED)
    assert words.what.endswith("turned it down: Project training is closed. Ask for another.")
    assert explain.refused("Batch job submission failed: Unspecified error").code == "unknown"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("squeue gave no answer within 20 s.", "silent"),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", "controller-down"),
        ("Slurmctld(primary) at a is DOWN", "controller-down"),
        ("squeue could not be run: [Errno 2] No such file or directory: 'squeue'", "commands-missing"),
        ("Rate limit exceeded, please retry later", "rate-limit"),
        ("login1 port 22: Network is unreachable", "cut"),
        ("Slurm backup controller in standby mode", "controller-busy"),
        ("Invalid authentication credential", "authentication"),
        ("Not a row as asked for: 'x'", "misread"),
        ("Something else", "unreachable"),
        ("login1: the site does not let us in as watcher.", "authentication"),
        ("login1 did not answer within 10 s. login2: the site does not let us in as watcher.", "authentication"),
        ("login1: Connection refused.", "silent"),
        ("login1:2222: Host is down. login2: Connection refused.", "silent"),
        ("failed to open persistent connection to host:db:6819: Connection refused", "controller-down"),
        (NO_MUNGE, "controller-down"),
        ("Munge encode failed: Failed to access socket", "controller-down"),
        ("slurm_load_jobs error: Protocol authentication error", "controller-down"),
    ],
)
def test_unreachable_factories_are_explained(text: str, code: str) -> None:
    words = explain.unreachable(text)
    assert (words.code, words.scheduler) == (code, text)
    assert "nothing is lost" in words.do
    assert words.whose in ("wait", "site", "operator")


def test_a_submission_without_an_answer_that_is_over_may_be_repeated() -> None:
    """The explanation is only for ends: the gateway no longer looks for the job."""
    words = explain.own("submit-doubtful")
    assert (words.whose, words.do) == ("you", "Start again whenever you like.")
    again = explain.for_job_of_cluster(words)
    assert (again.code, again.what, again.whose) == (words.code, words.what, "wait")
    assert again.do == explain.job_ended(None, desired="stop")[1].do


@pytest.mark.parametrize(
    "words",
    [explain.refused("Rate limit exceeded"), explain.refused("Job queue is full"), explain.own("pool-empty"),
     explain.own("pool-wiping")],
)  # fmt: skip
def test_whoever_is_told_to_try_again_has_to_act(words: Words) -> None:
    assert words.do.startswith("Try again")
    assert words.whose == "you"


def test_the_code_uses_every_explanation_of_the_gateway() -> None:
    """Codes of the dialects' patterns do not count: they are for other tables, which may have the same codes."""
    files = [file for file in LINK.rglob("*.py") if not {"schedulers", "refusals.py"} & {*file.parts}]
    source = re.sub(r'(Answer|Message)\(\s*"[a-z-]+"|add_argument\("[a-z]+"|dest="[a-z]+"', "",
                    "".join(file.read_text() for file in files))  # fmt: skip
    assert OURS.keys() - set(re.findall(r'"([a-z-]+)"', source)) == set()


def test_our_own_faults_all_say_what_to_do() -> None:
    for code in OURS:
        words = explain.own(code, "detail")
        assert words.code == code
        assert words.what
        assert words.do
        assert words.scheduler == "detail"


def test_a_credential_and_a_host_key_are_told_apart_from_a_factory_that_is_silent() -> None:
    expired = explain.unreachable(Expired("The certificate ended at 12:00."))
    assert (expired.code, expired.whose, expired.scheduler) == (
        "credential-expired", "you", "The certificate ended at 12:00.",
    )  # fmt: skip
    changed = explain.unreachable(Distrusted("ssh-ed25519 of login1 is not pinned"))
    assert (changed.code, changed.whose) == ("host-key", "operator")
    assert explain.unreachable(Unreachable("squeue gave no answer within 20 s.")).code == "silent"


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        ("", "door-silent"), ("The door closed before it answered.", "door-silent"),
        ("n1 port 40000: administratively prohibited", "carrier-refused"),
        ("The door is of another session.", "door-key"),
    ],
)  # fmt: skip
def test_why_a_door_stays_shut(problem: str, code: str) -> None:
    words = explain.door(problem)
    assert (words.code, words.scheduler) == (code, problem)


@pytest.mark.parametrize(
    ("line", "code", "reason"),
    [
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=5.batch.", "log-memory", EndReason.OUT_OF_MEMORY),
        ("OSError: [Errno 122] Disk quota exceeded: '/home/ada/x'", "log-quota", EndReason.FAILED),
        ("cp: error writing 'x': No space left on device", "log-disk-full", EndReason.FAILED),
        ("slurmstepd: error: *** JOB 5 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***", "log-walltime",
         EndReason.WALLTIME),
        ("/opt/env/bin/python: No module named factorygate", "log-python", EndReason.FAILED),
        ("slurm_script: line 9: exec: /opt/env/bin/python: cannot execute: No such file or directory",
         "log-missing", EndReason.FAILED),
        ("/opt/x86/python: cannot execute binary file: Exec format error", "log-architecture", EndReason.FAILED),
        ("FATAL:   could not open image /images/x.sif: failed to retrieve path", "log-container", EndReason.FAILED),
        ("Lmod has detected the following error: unknown module", "log-module", EndReason.FAILED),
        ("OSError: [Errno 116] Stale file handle", "log-storage", EndReason.FAILED),
        ("all was well", "failed", EndReason.FAILED),
    ],
)  # fmt: skip
def test_the_log_tells_why_a_session_failed(line: str, code: str, reason: EndReason) -> None:
    got, words = explain.ended(end("FAILED", exit_code=1), tail=("something", line, "bye"))
    assert (words.code, got) == (code, reason)
    # The log is not searched after a success, or if the reason is known.
    assert explain.ended(end("COMPLETED"), tail=(line,))[1].code == "ended"
    assert explain.ended(end("PREEMPTED"), tail=(line,))[1].code == "preempted"
    # Old lines of a long log are unrelated to the end.
    assert explain.ended(end("FAILED", exit_code=1), tail=(line, *["later"] * 30))[1].code == "failed"


@pytest.mark.parametrize(
    ("by", "code", "whose"),
    [
        ("account", "cancelled-own", "you"), ("administrator", "cancelled-admin", "site"),
        ("other", "cancelled-other", "you"), (None, "cancelled-by-site", "you"),
    ],
)  # fmt: skip
def test_the_explanation_says_who_cancelled_if_known(by: str | None, code: str, whose: str) -> None:
    reason, words = explain.ended(end("CANCELLED", signal=15, by=by))
    assert (reason, words.code, words.whose) == (EndReason.CANCELLED_BY_SITE, code, whose)


def test_a_killed_server_beside_a_failure() -> None:
    assert explain.ended(end("FAILED", exit_code=137), door="failed")[1].code == "killed"
    assert explain.ended(end("FAILED", exit_code=1), door="failed")[1].code == "notebook-failed"


def test_a_job_that_is_put_back_again_and_again() -> None:
    job = Job(
        id="1",
        name="n",
        account="a",
        comment="c",
        state=JobState.PENDING,
        raw_state="REQUEUED",
        phase=PendingPhase.REQUEUED,
        restarts=4,
    )
    words = explain.pending(job)
    assert "4 times" in words.what
    assert words.whose == "site"


def test_every_explanation_says_the_meaning_and_who_acts() -> None:
    for answers in explain.everything().values():
        assert answers
        for answer in answers:
            assert answer.what.endswith((".", "{words}"))
            assert answer.move.do.endswith(".")
            assert answer.move.whose in ("you", "site", "operator", "wait")


def test_the_docs_list_all_reasons() -> None:
    assert texts.shown(DOCS.read_text()) == texts.reasons(), "run bin/messages: it writes docs/reasons.md"


def test_an_answer_with_parameters_is_found_by_its_code() -> None:
    for answers in explain.everything().values():
        for answer in answers:
            for text in (answer.what, answer.move.do):
                if "{" in text:
                    assert isinstance(text, Message), f"{text}: a Message, since it has parameters"
                    assert text.code == answer.code
