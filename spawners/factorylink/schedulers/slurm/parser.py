"""Parses what Slurm's commands print. Pure: text in, models out.

**Why a grammar.** Each list of fields has a grammar (a regular expression) of its rows. Any user of the cluster may
give a job the name of this gateway's jobs, and any comment, with separators and newlines in it. Such a job must neither
hide nor forge the row of another job. So squeue cuts the comment to ``COMMENT_WIDTH`` bytes and prints it first, no
field after it may contain ``|`` or a newline, and these fields are padded to far more than that width: no comment is
long enough to contain a row. Each row is matched from where the last one ended.

**Times** are seconds since the epoch, requested by ``SLURM_TIME_FORMAT=%s``. Slurm's default is local time of the login
host without a zone, which the link cannot convert and which is ambiguous for an hour each autumn.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from factorycommon.models import End, Job, JobState, Outcome, PendingPhase, believed
from factorylink.errors import Misread
from factorylink.schedulers.slurm.ids import array_of

# Slurm's states, and the flags that it prints in their place. Any other word is Misread, never guessed.
STATES = {
    "PENDING": JobState.PENDING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.PENDING,
    "RESV_DEL_HOLD": JobState.PENDING,
    "SPECIAL_EXIT": JobState.PENDING,  # requeued and held
    "EXPEDITING": JobState.PENDING,  # requeued with the highest priority
    "CONFIGURING": JobState.PENDING,  # its nodes are allocated and still boot
    "POWER_UP_NODE": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "SUSPENDED": JobState.RUNNING,  # see SUSPENDED
    "STOPPED": JobState.RUNNING,
    "UPDATE_DB": JobState.RUNNING,
    "COMPLETING": JobState.ENDING,
    "STAGE_OUT": JobState.ENDING,
    "BOOT_FAIL": JobState.ENDED,
    "CANCELLED": JobState.ENDED,
    "COMPLETED": JobState.ENDED,
    "DEADLINE": JobState.ENDED,
    "FAILED": JobState.ENDED,
    "LAUNCH_FAILED": JobState.ENDED,
    "NODE_FAIL": JobState.ENDED,
    "OUT_OF_MEMORY": JobState.ENDED,
    "PREEMPTED": JobState.ENDED,
    "RECONFIG_FAIL": JobState.ENDED,
    "REVOKED": JobState.ENDED,  # a copy of a federated job runs on another cluster
    "TIMEOUT": JobState.ENDED,
}
OUTCOMES = {
    "BOOT_FAIL": Outcome.BOOT_FAILED,
    "CANCELLED": Outcome.CANCELLED,
    "COMPLETED": Outcome.COMPLETED,
    "DEADLINE": Outcome.DEADLINE,
    "FAILED": Outcome.FAILED,
    "LAUNCH_FAILED": Outcome.LAUNCH_FAILED,
    "NODE_FAIL": Outcome.NODE_FAILED,
    "OUT_OF_MEMORY": Outcome.OUT_OF_MEMORY,
    "PREEMPTED": Outcome.PREEMPTED,
    "RECONFIG_FAIL": Outcome.SETUP_FAILED,
    "REVOKED": Outcome.REVOKED,
    "TIMEOUT": Outcome.WALLTIME,
}
# A FAILED job has its cause among the reasons of waiting jobs.
_FAILED_BY = {
    "OutOfMemory": Outcome.OUT_OF_MEMORY,
    "TimeLimit": Outcome.WALLTIME,
    "NodeDown": Outcome.NODE_FAILED,
    "JobLaunchFailure": Outcome.LAUNCH_FAILED,
    "Prolog": Outcome.SETUP_FAILED,
}
_PHASES = {
    **dict.fromkeys(("CONFIGURING", "POWER_UP_NODE"), PendingPhase.NODE_STARTING),
    **dict.fromkeys(("REQUEUED", "REQUEUE_FED", "EXPEDITING"), PendingPhase.REQUEUED),
}
SUSPENDED = {"SUSPENDED", "STOPPED"}  # the job is frozen, but keeps its nodes, processes and connections

TIMES = {"SLURM_TIME_FORMAT": "%s"}
COMMENT_WIDTH = 64
LONGEST_HOST = 255  # maximum number of characters of a node's name
LARGEST = 10**10  # the largest number that is accepted; Slurm's own numbers have 32 bits


def free_text(width: int) -> str:
    """Return the regular expression of a field that may hold any text, and of the ``|`` after the field.

    The text is in the group ``text``. ``width``: the number of bytes of the text. Pass ``width`` to ``rows``, too:
    ``rows`` raises Misread if a text has another number of bytes.
    """
    return rf"(?P<text>[\s\S]{{1,{width}}}?)\|"


def fields(*fields: tuple[str, int, str, str]) -> tuple[str, str]:
    """Return the -O argument of squeue or sinfo for ``fields``, and the regular expression of their part of a row.

    Each field is (name for -O, width, name of its group in the regular expression, pattern for its value).
    """
    names = ",".join(f"{name}:{width}|" for name, width, _, _ in fields)
    # Padding is part of the field: a row cannot be shorter than the widths together, whatever a user writes.
    row = r"\|".join(rf"(?=[^|]{{{width},}}\|)(?P<{group}>{alphabet}) *" for _, width, group, alphabet in fields)
    return names, row + r"\|"


_TIME = r"[0-9]{0,11}|N/A|Unknown|None|NONE"
_JOB_NAMES, _JOB_ROW = fields(
    ("JobArrayID", 32, "id", r"[0-9][0-9_+%,\[\]-]*"),
    ("State", 20, "state", r"[A-Z_]+"),
    ("UserName", 48, "account", r"[^|\s]+"),
    ("SubmitTime", 20, "submitted", _TIME),
    ("StartTime", 20, "started", _TIME),
    ("EndTime", 20, "ends", _TIME),
    ("PriorityLong", 20, "priority", r"[0-9]*|N/A"),
    ("RestartCnt", 8, "restarts", r"[0-9]*|N/A"),
    ("exit_code", 10, "exit", r"[0-9]+(?::[0-9]+)?|N/A"),
    ("Partition", 96, "partition", r"[^|\s]*"),
    ("Reason", 128, "reason", r"[^|\n]*?"),
    ("NodeList", 160, "nodes", r"[^|\s]*"),
)
JOB_FORMAT = f"Comment:{COMMENT_WIDTH}|,{_JOB_NAMES}"
_JOB = re.compile(free_text(COMMENT_WIDTH) + _JOB_ROW + r"\n")
# A job that is requested by its id may have any name. Name and comment are parsed as one free text, and separated by
# their widths.
NAME_WIDTH = 64
NAMED_FORMAT = f"Name:{NAME_WIDTH}|,{JOB_FORMAT}"
_NAMED_WIDTH = NAME_WIDTH + len("|") + COMMENT_WIDTH
_NAMED = re.compile(free_text(_NAMED_WIDTH) + _JOB_ROW + r"\n")

_PENDING_NAMES, _PENDING_ROW = fields(
    ("JobArrayID", 32, "id", r"[0-9][0-9_+%,\[\]-]*"),
    ("PriorityLong", 20, "priority", r"[0-9]*|N/A"),
    ("Partition", 96, "partition", r"[^|\s]*"),
)
PENDING_FORMAT = _PENDING_NAMES
_PENDING = re.compile(_PENDING_ROW + r"\n")

_HOSTS = re.compile(
    r"(?P<head>[^\[\],]+)(?:\[(?P<ranges>[0-9]{1,9}(?:-[0-9]{1,9})?(?:,[0-9]{1,9}(?:-[0-9]{1,9})?)*)\](?P<tail>[^\[\],]*))?(?:,|$)"
)
ACCOUNTING_FIELDS = "JobID,UID,State,ExitCode,End,ElapsedRaw"
_RECORD = re.compile(
    r"(?P<id>[0-9][^|\s]*)\|(?P<uid>[0-9]*)\|(?P<state>[A-Z_]+)(?: by (?P<by>[0-9]+))?\|(?P<exit>[0-9]+:[0-9]+|)\|"
    rf"(?P<ended>{_TIME})\|(?P<elapsed>[0-9]*)\n"
)
# one job or one task of an array; not a part of a het job, nor an array as a whole
_OURS = re.compile(r"[0-9]+(_[0-9]+)?")


def rows(pattern: re.Pattern[str], text: str, width: int | None = None) -> list[re.Match[str]]:
    """Return the matches of all rows in ``text``. Raises Misread if any part of the text is not a row.

    ``width``: the number of bytes of each row's free text; None: the rows have no free text. Misread is also raised if
    a free text has another number of bytes, since then output was lost.
    """
    found: list[re.Match[str]] = []
    position = 0
    while position < len(text):
        row = pattern.match(text, position)
        if row is None or (width is not None and not _has_width(row["text"], width)):
            excerpt = text[position : position + 300]
            raise Misread(f"Not a row as asked for: {excerpt!r}", text)
        found.append(row)
        position = row.end()
    return found


def _has_width(text: str, width: int) -> bool:
    """Return whether a text has that width in bytes.

    A replacement character in the text may stand for one to three bytes, since squeue may cut a character of several
    bytes.
    """
    most = len(text.encode())
    return most - 2 * text.count("�") <= width <= most


def no_two(ids: Iterable[str], text: str) -> None:
    """Raise Misread if an id is listed twice, since one of the two rows would hide the other.

    ``text``: the output that contains the ids, for the error.
    """
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            raise Misread(f"{id} is listed twice.", text)
        seen.add(id)


def moment(text: str) -> datetime | None:
    """Return the time for seconds since the epoch.

    None: ``text`` is no such number ("N/A"), or the time is out of the range that ``believed`` accepts ("0").
    """
    return believed(int(text)) if text.isdigit() else None


def number(text: str) -> int | None:
    """Return digits as a number; None for other texts ("N/A"), and for numbers above ``LARGEST``."""
    return int(text) if text.isdigit() and len(text) <= 11 and int(text) <= LARGEST else None


def _exit(text: str) -> tuple[int | None, int | None]:
    """Return exit code and signal: "3:0" -> (3, None), since signal 0 means none. A part that is no number is None."""
    code, _, signal = text.partition(":")
    return number(code), number(signal) or None


def hosts(text: str, limit: int = 1024) -> tuple[str, ...]:
    """Return the hosts of a list: ``n[1-2,07],login`` -> n1, n2, n07, login.

    At most ``limit`` hosts are returned. A part with brackets that squeue has cut off is left out; a name without
    brackets that was cut off is returned as it is.
    """
    names: list[str] = []
    position = 0
    while piece := _HOSTS.match(text, position):
        position = piece.end()
        head, ranges, tail = piece["head"], piece["ranges"], piece["tail"] or ""
        if len(head) + len(tail) > LONGEST_HOST:
            continue
        for part in ranges.split(",") if ranges else ():
            first, _, last = part.partition("-")
            for index in range(int(first), int(last or first) + 1):
                if len(names) == limit:
                    return tuple(names)
                names.append(f"{head}{index:0{len(first)}d}{tail}")
        if not ranges:
            names.append(head)
        if len(names) >= limit:
            return tuple(names[:limit])
    return tuple(names)


def jobs(name: str, stdout: str) -> list[Job]:
    """Return the jobs of squeue's answer in ``JOB_FORMAT``. Raises Misread.

    ``name``: the name of all these jobs, which squeue was asked for and does not print. Jobs of a kind that the gateway
    never submits (parts of het jobs) are left out.
    """
    found = rows(_JOB, stdout, COMMENT_WIDTH)
    return _jobs(((row, name, row["text"].rstrip(" ")) for row in found), stdout)


def named_jobs(stdout: str) -> list[Job]:
    """Return the jobs of squeue's answer in ``NAMED_FORMAT``, in which each row has the job's name. Raises Misread."""
    return _jobs(((row, *_name_and_comment(row["text"])) for row in rows(_NAMED, stdout, _NAMED_WIDTH)), stdout)


def _outcome(state: str, reason: str) -> Outcome:
    outcome = OUTCOMES[state]
    return _FAILED_BY.get(reason, outcome) if outcome is Outcome.FAILED else outcome


def _name_and_comment(text: str) -> tuple[str, str]:
    """Split ``text``, a job's name and then its comment.

    If the comment is not ASCII, return the whole of ``text`` and "". A gateway writes only ASCII comments, in which
    each character is one byte: the comment is the last ``COMMENT_WIDTH`` characters. Where a comment with other
    characters begins is not known, since squeue counts bytes and may cut a character in two.
    """
    comment = text[-COMMENT_WIDTH:]
    if not comment.isascii():
        return text.rstrip(" "), ""
    return text[: -COMMENT_WIDTH - 1].rstrip(" "), comment.rstrip(" ")


def _jobs(found: Iterable[tuple[re.Match[str], str, str]], stdout: str) -> list[Job]:
    """Return the jobs of ``found``: (row, the job's name, the job's comment). Raises Misread with ``stdout``."""
    made: list[Job] = []
    for row, name, comment in found:
        if not _OURS.fullmatch(row["id"]):
            continue
        state = STATES.get(row["state"])
        if state is None:
            raise Misread(f"Slurm's job state {row['state']!r} is unknown here.", stdout)
        over = state is JobState.ENDED
        begun = state in (JobState.RUNNING, JobState.ENDING, JobState.ENDED)
        code, signal = _exit(row["exit"]) if over else (None, None)
        reason = "" if row["reason"] == "None" else row["reason"].replace(" ", "_")
        made.append(
            Job(
                id=row["id"],
                array=array_of(row["id"]),
                name=name,
                account=row["account"],
                comment=comment,
                state=state,
                suspended=row["state"] in SUSPENDED,
                raw_state=row["state"],
                phase=_PHASES.get(row["state"], PendingPhase.QUEUED),
                outcome=_outcome(row["state"], reason) if over else None,
                reason=reason or ("RequeuedHold" if row["state"] == "REQUEUE_HOLD" else ""),
                nodes=hosts(row["nodes"]),
                partition=row["partition"],
                submitted=moment(row["submitted"]),
                started=moment(row["started"]) if begun else None,
                ends=moment(row["ends"]) if begun and not over else None,
                ended=moment(row["ends"]) if over else None,
                exit_code=code,
                signal=signal,
                expected_start=None if begun else moment(row["started"]),
                priority=number(row["priority"]),
                restarts=number(row["restarts"]) or 0,
            )
        )
    no_two((job.id for job in made), stdout)
    return made


def waiting(stdout: str) -> dict[str, list[tuple[int, str]]]:
    """Return the jobs of squeue's answer in ``PENDING_FORMAT``: for each partition (priority, job id), highest first.

    A job that waits in several partitions counts in each. Jobs of the same priority keep squeue's order. Raises
    Misread.
    """
    found: dict[str, list[tuple[int, str]]] = {}
    for row in rows(_PENDING, stdout):
        for partition in row["partition"].split(","):
            found.setdefault(partition, []).append((number(row["priority"]) or 0, row["id"]))
    for queue in found.values():
        no_two((id for _, id in queue), stdout)
    for queue in found.values():
        # squeue sorts by age, and Python's sort keeps that order for equal priorities
        queue.sort(key=lambda entry: -entry[0])
    return found


def planned_start(stderr: str) -> datetime | None:
    """Return the time in ``sbatch: Job 10 to start at 1795535813 using 4 processors on ...``; None if there is none."""
    found = re.search(r"Job \S+ to start at ([0-9]{1,11}) using ", stderr)
    return moment(found[1]) if found else None


def accounting(stdout: str) -> list[End]:
    """Return the ends of the jobs in sacct's answer. Raises Misread.

    The fields ``ACCOUNTING_FIELDS`` are separated by ``|``, and none of them holds free text. A job has a row for each
    of its runs, in any order; a job that has not ended is left out.
    """
    runs: dict[str, list[re.Match[str]]] = {}
    for row in rows(_RECORD, stdout):
        if row["state"] not in STATES:
            raise Misread(f"Slurm's job state {row['state']!r} is unknown here.", stdout)
        if _OURS.fullmatch(row["id"]):
            runs.setdefault(row["id"], []).append(row)
    return [end for found in runs.values() if (end := _end(sorted(found, key=_when))) is not None]


def _when(row: re.Match[str]) -> float:
    """Return the end of the run in a row, as a sort key; a run without an end sorts last."""
    ended = moment(row["ended"])
    return math.inf if ended is None else ended.timestamp()


def _end(runs: list[re.Match[str]]) -> End | None:
    """Return the end of a job from the rows of its runs, the oldest first; None if the last run has not ended."""
    last = runs[-1]
    if STATES[last["state"]] is not JobState.ENDED:
        return None
    code, signal = _exit(last["exit"])
    by = last["by"] or ""
    return End(
        job=last["id"],
        outcome=OUTCOMES[last["state"]],
        raw_state=last["state"],
        exit_code=code,
        signal=signal,
        reason=f"by {by}" if by else "",
        by=_who(by, last["uid"]),
        ended=moment(last["ended"]),
        elapsed=number(last["elapsed"]),
        earlier=tuple(number(row["elapsed"]) or 0 for row in runs[:-1]),
    )


def _who(uid: str, owner: str) -> Literal["account", "administrator", "other"] | None:
    """Return who cancelled a job: ``account`` if ``uid`` is its owner's, ``administrator`` if root's, else ``other``.

    ``owner``: the uid of the job's owner. None: ``uid`` is empty.
    """
    if not uid:
        return None
    return "account" if uid == owner else "administrator" if uid == "0" else "other"
