"""Maps PBS' messages to the codes of explanations: why a job waits, why it was refused, why PBS does not answer.

Why a job waits is in the job's comment, a sentence with names and numbers in it. The sentence follows ``Not Running: ``
if the job may run later, or ``Can Never Run: ``; see job_info.cpp of OpenPBS. The other messages are those of PBS'
commands.
"""

from __future__ import annotations

from factorylink.schedulers.words import SchedulerWords


def _not_now(pattern: str, code: str) -> tuple[str, str]:
    return rf"(Not Running: )?.*({pattern})", code


WORDS = SchedulerWords(
    variables=r"PBS_",
    waiting=(
        # On hold, or before the start time
        (r"Hold_Types=\S* .*(too many failed attempts|failed to start|security)", "held-failed"),
        (r"Hold_Types=\S*[sop]", "held-site"),
        (r"Hold_Types=", "held-user"),
        (r"job_state=W", "begin-time"),
        (r"job_state=T", "federation"),
        # Jobs that can never run
        (
            r"Can Never Run: .*"
            r"(Insufficient amount|[Nn]ot enough|[Tt]oo few|placement set|fit on node|ineligible|exist)",
            "bad-constraints",
        ),
        (r"Can Never Run: ", "partition-config"),
        # Limits, by whose limit it is
        _not_now(r"[Uu]ser .*job limit|per-user job limit|User has reached|job limit reached for user", "own-jobs"),
        _not_now(r"would exceed user|per-user limit|user run limit", "own-limit"),
        _not_now(
            r"(Group|Project) has reached|(group|project) job limit|job limit reached for (group|project)", "group-jobs"
        ),
        _not_now(r"would exceed (group|project)|per-(group|project) (job )?limit|group run limit", "group-limit"),
        _not_now(r"zero shares|mission share|mission CPU share", "usage-threshold"),
        _not_now(r"running subjobs limit", "array-limit"),
        (
            r"(Not Running: )?.*(job limit (has been )?reached|overall limit|job run limit|(queue|server) resource)",
            "queue-limit",
        ),
        # Time and place
        _not_now(r"[Dd]edicated [Tt]ime", "maintenance"),
        _not_now(r"primetime|Queue not started|Job would cross into|Job will cross into", "partition-closed"),
        _not_now(r"with a (confirmed )?reservation$", "nodes-unavailable"),
        _not_now(r"conflict with reservation", "reservation-or-job"),
        _not_now(r"top job|strict sorted order|preempt enough|threshold value", "priority"),
        _not_now(r"ineligible state|Nodes not available|[Cc]annot provision|Provision conflict", "nodes-unavailable"),
        _not_now(r"requesting an exclusive node", "nodes-busy"),
        _not_now(r"ineligible type|does not exist", "bad-constraints"),
        _not_now(
            r"Insufficient amount|[Nn]ot enough|[Nn]o available resources|too few free|Too few free|fit on node",
            "resources",
        ),
        (r"Job requeued", "tried-before"),
        _not_now(r"Job is not in queued state", "new"),
    ),
    refused=(
        (r"unknown queue|no default queue", "partition-unknown"),
        (r"violates queue and/or server resource limits|resource limit exceeds|array job exceeds|size limit", "limits"),
        (r"maximum number of jobs already in|would exceed .*limit", "submit-limit"),
        (r"unknown resource|illegal attribute or resource value|resource invalid in|undefined attribute", "feature"),
        (r"queue is not enabled|routing over too many|rejected by all possible", "partition-closed"),
        (r"bad [ug]id", "user-unknown"),
        (
            r"unauthorized request|access to queue is denied|access from host not allowed|insufficient permission"
            r"|cannot modify attribute",
            "permission",
        ),
        (r"invalid account", "account"),
        (r"internal error|failed to save job", "scheduler-error"),
    ),
    unreachable=(
        (r"cannot connect to server|couldn't connect|server shutting down|no pbs server", "controller-down"),
        (r"pbs_iff|invalid credential|expired credential", "authentication"),
        (r"table full|temporarily unavailable|no free connections", "controller-busy"),
    ),
)
