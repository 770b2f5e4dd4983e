"""Explanations of PBS' comments and of the output of its commands."""

from __future__ import annotations

import pytest

from factorycommon.models import Job, JobState
from factorylink.errors import FactoryError
from factorylink.explain import explain
from factorylink.schedulers.pbs import dialect as pbs
from tests.unit.pbs_output import NAME, answer, job, recorded


def waits(reason: str) -> str:
    job = Job(id="1.vm", name="n", account="a", comment="c", state=JobState.PENDING, raw_state="Q", reason=reason)
    words = explain.pending(job)
    assert words.scheduler == reason
    return words.code


@pytest.mark.parametrize(
    ("comment", "code"),
    [
        ("", "new"),
        ("Not Running: Not enough free nodes available", "resources"),
        ("Not Running: Insufficient amount of resource: ncpus (R: 24 A: 23 T: 96)", "resources"),
        ("Not Running: Not enough of the right type of nodes are available", "resources"),
        ("Not Running: No available resources on nodes", "resources"),
        ("Not Running: host set n1 has too few free resources", "resources"),
        ("Not Running: Node ineligible because job requested pack placement and won't fit on node", "resources"),
        ("Can Never Run: Insufficient amount of resource: ngpus (R: 9 A: 4 T: 4)", "bad-constraints"),
        ("Can Never Run: Not enough total nodes available", "bad-constraints"),
        ("Can Never Run: can't fit in the largest placement set, and can't span psets", "bad-constraints"),
        ("Can Never Run: Queue not an execution queue.", "partition-config"),
        ("Not Running: Insufficient amount of queue resource: ngpus (R: 4 A: 0 T: 8)", "queue-limit"),
        ("Not Running: Insufficient amount of server resource: ngpus (R: 4 A: 0 T: 8)", "queue-limit"),
        ("Not Running: Job would interfere with a top job", "priority"),
        ("Not Running: Job would conflict with reservation or top job", "reservation-or-job"),
        ("Not Running: Job would break strict sorted order", "priority"),
        ("Not Running: Can't preempt enough work to run job", "priority"),
        ("Not Running: Job is under job_sort_formula threshold value", "priority"),
        ("Not Running: Job would interfere with a confirmed reservation", "nodes-unavailable"),
        ("Not Running: Node is in an ineligible state: down", "nodes-unavailable"),
        ("Not Running: Nodes not available", "nodes-unavailable"),
        ("Not Running: Cannot provision, provisioning disabled on vnode", "nodes-unavailable"),
        ("Not Running: 12.vm is requesting an exclusive node and node is in use", "nodes-busy"),
        ("Not Running: Node is of an ineligible type: time-shared", "bad-constraints"),
        ("Not Running: Dedicated time conflict", "maintenance"),
        ("Not Running: Job would cross dedicated time boundary", "maintenance"),
        ("Not Running: Queue not started.", "partition-closed"),
        ("Not Running: Job will run in nonprimetime only", "partition-closed"),
        ("Not Running: Job will cross into primetime", "partition-closed"),
        ("Not Running: Queue gpu job limit has been reached.", "queue-limit"),
        ("Not Running: Server job limit has been reached.", "queue-limit"),
        ("Not Running: Node has reached job run limit", "queue-limit"),
        ("Not Running: would exceed overall limit on resource ngpus in queue gpu", "queue-limit"),
        ("Not Running: User has reached server running job limit.", "own-jobs"),
        ("Not Running: User has reached queue gpu running job limit.", "own-jobs"),
        ("Not Running: Queue gpu job limit reached for user alice", "own-jobs"),
        ("Not Running: Node has reached user run limit", "own-limit"),
        ("Not Running: Queue gpu per-user limit reached on resource ngpus", "own-limit"),
        ("Not Running: would exceed user alice's limit on resource ngpus in complex", "own-limit"),
        ("Not Running: Group has reached server running limit.", "group-jobs"),
        ("Not Running: Project has reached queue gpu's running limit.", "group-jobs"),
        ("Not Running: Server job limit reached for project p1", "group-jobs"),
        ("Not Running: Server per-group limit reached on resource ngpus", "group-limit"),
        ("Not Running: would exceed project p1's limit on resource ngpus in queue gpu", "group-limit"),
        ("Not Running: Job has zero shares for fairshare", "usage-threshold"),
        ("Not Running: Number of concurrent running subjobs limit reached", "array-limit"),
        ("Job requeued, execution node n1 down", "tried-before"),
        ("Not Running: PBS Error: a hook's own words", "unknown"),
        ("Moonrise", "unknown"),
        ("Hold_Types=u", "held-user"),
        ("Hold_Types=uo Job held by root on Tue Nov 24 14:40:05 2026", "held-site"),
        ("Hold_Types=s", "held-site"),
        ("Hold_Types=s job held, too many failed attempts to run", "held-failed"),
        ("job_state=W", "begin-time"),
        ("job_state=T", "federation"),
    ],
)
def test_why_it_waits(comment: str, code: str) -> None:
    assert waits(comment) == code


def test_the_recorded_jobs_that_wait() -> None:
    codes = {
        found.id: explain.pending(found).code
        for found in pbs.jobs(NAME).parse(recorded("qstat-mixed-json"))
        if found.state is JobState.PENDING and "[" not in found.id
    }
    assert codes == {
        "4.vm": "resources", "5.vm": "resources", "9.vm": "resources", "10.vm": "bad-constraints", "12.vm": "resources",
        "13.vm": "held-user", "14.vm": "begin-time",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("qsub-unknown-queue", "partition-unknown"),
        ("qsub-walltime-over-limit", "limits"),
        ("qsub-bad-select", "feature"),
    ],
)
def test_recorded_refusals(name: str, code: str) -> None:
    with pytest.raises(FactoryError) as caught:
        pbs.submit("x").parse(recorded(name))
    assert explain.refused(caught.value.message).code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Unauthorized Request ", "permission"),
        ("Access to queue is denied", "permission"),
        ("Queue is not enabled", "partition-closed"),
        ("Invalid Account", "account"),
        ("Bad UID for job execution", "user-unknown"),
        ("Illegal attribute or resource value", "feature"),
        ("would exceed queue gpu's per-user limit", "submit-limit"),
        ("PBS server internal error", "scheduler-error"),
        ("Cannot modify attribute while job running  12.vm", "permission"),
    ],
)
def test_refusals_of_pbs_are_explained(text: str, code: str) -> None:
    assert explain.refused(text).code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("cannot connect to server vm (errno=15010)", "controller-down"),
        ("Connection refused\ncannot connect to server vm (errno=15010)", "controller-down"),
        ("Request not allowed: Server shutting down", "controller-down"),
        ("Invalid credential", "authentication"),
        ("Server connection table full", "controller-busy"),
        ("PBS' answer is not understood: x", "misread"),
    ],
)
def test_an_unreachable_pbs_is_explained(text: str, code: str) -> None:
    assert explain.unreachable(text).code == code


def test_a_job_that_used_too_much_processor_time() -> None:
    over = job(job_state="F", Exit_status=-28, history_timestamp=1795531247)
    (end,) = pbs.ended(NAME).parse(answer(over))
    assert explain.ended(end)[1].code == "cpu-limit"
