from __future__ import annotations

import pytest

from factorylink import explain
from factorylink.explain_slurm import PENDING
from factorylink.models import End, EndReason, Job, JobState


def waits(reason: str, raw_state: str = "PENDING") -> str:
    job = Job(id="1", name="n", account="a", comment="c", state=JobState.PENDING, raw_state=raw_state, reason=reason)
    words = explain.pending(job)
    assert words.what
    assert words.do
    assert words.scheduler == (reason or words.scheduler)
    return words.code


# Words of Slurm 22.05 to 25.11, as squeue prints them.
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
        ("QOSUsageThreshold", "usage-threshold"), ("AssocGrpGRES", "group-limit"),
        ("AssocGrpGRESMinutes", "budget"), ("AssocGrpCPUMinutesLimit", "budget"),
        ("AssocGrpCPURunMinutesLimit", "budget"), ("AssocGrpBillingMinutes", "budget"),
        ("AssocMaxJobsLimit", "own-limit"), ("MaxGRESPerAccount", "own-limit"),
        ("QOSMaxJobsPerUserLimit", "own-limit"), ("QOSMaxGRESPerUser", "own-limit"),
        ("QOSMaxCpuPerUserLimit", "own-limit"), ("QOSMaxWallDurationPerJobLimit", "time-limit"),
        ("AssocMaxWallDurationPerJobLimit", "time-limit"), ("QOSTimeLimit", "time-limit"),
        ("QOSMaxGRESPerJob", "size-limit"), ("QOSMaxNodePerJobLimit", "size-limit"), ("QOSMinGRES", "size-limit"),
        ("QOSGrpGRES", "group-limit"), ("QOSGrpCpuLimit", "group-limit"), ("QOSGrpNodeLimit", "group-limit"),
        ("BadConstraints", "bad-constraints"), ("JobArrayTaskLimit", "array-limit"), ("DeadLine", "deadline"),
        ("BurstBufferStageIn", "storage"), ("PowerNotAvail", "power"), ("FrontEndDown", "front-end-down"),
        ("FedJobLock", "federation"), ("SchedDefer", "deferred"), ("MaxMemPerLimit", "memory-limit"),
    ],
)  # fmt: skip
def test_pending_reasons(reason: str, code: str) -> None:
    assert waits(reason) == code


def test_every_entry_of_the_table_can_be_reached() -> None:
    assert len({code for _, code, _, _ in PENDING}) >= 30


def test_states_that_wait_for_a_reason_of_their_own() -> None:
    assert waits("", "CONFIGURING") == "node-starting"
    assert waits("", "REQUEUED") == "requeued"
    assert waits("", "REQUEUE_HOLD") == "held-requeued"


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
    return End.model_validate({"job": "1", "raw_state": state} | more)


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
def test_ends(record: End | None, wish: str, door: str | None, reason: EndReason) -> None:
    got, words = explain.ended(record, wish=wish, door=door)  # type: ignore[arg-type]  # a wish of the table
    assert got is reason
    assert words.what
    assert words.do
    if record is not None:
        assert record.raw_state in words.scheduler


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
def test_refusals(text: str, code: str) -> None:
    words = explain.refused(text)
    assert (words.code, words.scheduler) == (code, text)
    assert words.do


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("squeue gave no answer within 20 s.", "silent"),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", "controller-down"),
        ("Slurmctld(primary) at a is DOWN", "controller-down"),
        ("squeue could not be run: [Errno 2] No such file or directory: 'squeue'", "not-installed"),
        ("Invalid authentication credential", "authentication"),
        ("Not a row as asked for: 'x'", "misread"),
        ("Something else", "unreachable"),
    ],
)
def test_unreachable(text: str, code: str) -> None:
    words = explain.unreachable(text)
    assert (words.code, words.scheduler) == (code, text)
    assert "nothing is lost" in words.do


def test_our_own_faults_all_say_what_to_do() -> None:
    for code in explain.OURS:
        words = explain.own(code, "detail")
        assert words.code == code
        assert words.what
        assert words.do
        assert words.scheduler == "detail"
