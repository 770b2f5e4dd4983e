"""Explains the words of PBS: its scheduler's comments on why a job waits, and what its commands print when they refuse.

Most of them mean the same as a word of Slurm, so they have the same explanations and codes. A comment is a sentence
with names and numbers in it, after ``Not Running: `` (not now) or ``Can Never Run: ``; see job_info.cpp of OpenPBS.
"""

from __future__ import annotations

from factorycommon.language import N_
from factorylink.explain import slurm, slurm_refusals
from factorylink.explain.table import ITSELF, Case, Move

_WAITS = {entry.code: entry.answer for entry in slurm.PENDING}
_NOT_TAKEN = {entry.code: entry.answer for entry in slurm_refusals.REFUSED}
_SILENT = {entry.code: entry.answer for entry in slurm_refusals.UNREACHABLE}


def _waits(pattern: str, code: str) -> Case:
    return Case(pattern, *_WAITS[code])


def _not_now(pattern: str, code: str) -> Case:
    return _waits(rf"(Not Running: )?.*({pattern})", code)


PENDING: tuple[Case, ...] = (
    # On hold, or not its time yet
    _waits(r"Hold_Types=\S* .*(too many failed attempts|failed to start|security)", "held-failed"),
    _waits(r"Hold_Types=\S*[sop]", "held-site"),
    _waits(r"Hold_Types=", "held-user"),
    _waits(r"job_state=W", "begin-time"),
    _waits(r"job_state=T", "federation"),
    # Never
    _waits(
        r"Can Never Run: .*(Insufficient amount|[Nn]ot enough|[Tt]oo few|placement set|fit on node|ineligible|exist)",
        "bad-constraints",
    ),
    _waits(r"Can Never Run: ", "partition-config"),
    # Whose limit it is
    _not_now(r"[Uu]ser .*job limit|per-user job limit|User has reached|job limit reached for user", "own-jobs"),
    _not_now(r"would exceed user|per-user limit|user run limit", "own-limit"),
    _not_now(
        r"(Group|Project) has reached|(group|project) job limit|job limit reached for (group|project)", "group-jobs"
    ),
    _not_now(r"would exceed (group|project)|per-(group|project) (job )?limit|group run limit", "group-limit"),
    _not_now(r"zero shares|mission share|mission CPU share", "usage-threshold"),
    _not_now(r"running subjobs limit", "array-limit"),
    Case(
        r"(Not Running: )?.*(job limit (has been )?reached|overall limit|job run limit|(queue|server) resource)",
        "queue-limit",
        N_("As much runs in this part of the factory as its operators allow at once."),
        ITSELF,
    ),
    # Time and place
    _not_now(r"[Dd]edicated [Tt]ime", "maintenance"),
    _not_now(r"primetime|Queue not started|Job would cross into|Job will cross into", "partition-closed"),
    _not_now(r"with a (confirmed )?reservation$", "nodes-unavailable"),
    _not_now(r"top job|strict sorted order|preempt enough|threshold value", "priority"),
    _not_now(r"ineligible state|Nodes not available|[Cc]annot provision|Provision conflict", "nodes-unavailable"),
    _not_now(r"requesting an exclusive node", "nodes-busy"),
    _not_now(r"ineligible type|does not exist", "bad-constraints"),
    _not_now(
        r"Insufficient amount|[Nn]ot enough|[Nn]o available resources|too few free|Too few free|fit on node",
        "resources",
    ),
    _waits(r"Job requeued", "tried-before"),
    _not_now(r"Job is not in queued state", "new"),
)

# Searched anywhere in what qsub and qalter print.
REFUSED: tuple[Case, ...] = (
    Case(r"unknown queue|no default queue", *_NOT_TAKEN["partition-unknown"]),
    Case(
        r"violates queue and/or server resource limits|resource limit exceeds|array job exceeds|size limit",
        "limits",
        N_("It asks for more, or for longer, than this part of the factory allows."),
        Move("you", N_("Choose fewer hours or a smaller size.")),
    ),
    Case(r"maximum number of jobs already in|would exceed .*limit", *_NOT_TAKEN["submit-limit"]),
    Case(
        r"unknown resource|illegal attribute or resource value|resource invalid in|undefined attribute",
        *_NOT_TAKEN["feature"],
    ),
    Case(r"queue is not enabled|routing over too many|rejected by all possible", *_NOT_TAKEN["partition-closed"]),
    Case(r"bad [ug]id", *_NOT_TAKEN["user-unknown"]),
    Case(
        r"unauthorized request|access to queue is denied|access from host not allowed|insufficient permission"
        r"|cannot modify attribute",
        *_NOT_TAKEN["permission"],
    ),
    Case(r"invalid account", *_NOT_TAKEN["account"]),
    Case(r"internal error|failed to save job", *_NOT_TAKEN["scheduler-error"]),
)
UNREACHABLE: tuple[Case, ...] = (
    Case(r"cannot connect to server|couldn't connect|server shutting down|no pbs server", *_SILENT["controller-down"]),
    Case(r"pbs_iff|invalid credential|expired credential", *_SILENT["authentication"]),
    Case(r"table full|temporarily unavailable|no free connections", *_SILENT["controller-busy"]),
)
