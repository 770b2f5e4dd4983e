"""Parses what PBS prints as JSON. Pure: text in, models out.

**What can be trusted.** Names, variables and comments are other people's text, and ``qstat`` turns a value that looks
like JSON into JSON: a variable may be a number, a list, anything. So the parser reads only the values that it needs,
and checks their types; all other values of a job are ignored. A missing value that every job has, or a value of another
type, raises Misread, and so does a job, or an attribute of a job, that is listed twice. Some values may have any type,
such as a job's comment, the values of its variables, and its estimated start.

**Times** have the form of C's ``ctime``, in the time zone of the process that runs ``qstat``; the commands set
``TZ=UTC0``. They are English in every locale. PBS does not report when a running job will end; this is computed as
``stime`` plus ``walltime``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from factorycommon.models import Job, JobState, Outcome, PendingPhase, believed
from factorylink.schedulers.pbs.ids import JOB, array_of
from factorylink.schedulers.pbs.json import as_dict, as_number, as_text, documents, once, understood
from factorylink.schedulers.pbs.script import VARIABLE

TIMES = {"TZ": "UTC0"}

# PBS' states (job_state). Any other letter is Misread, never guessed.
STATES = {
    "Q": JobState.PENDING,
    "H": JobState.PENDING,  # held
    "W": JobState.PENDING,  # waits for its execution time, or for files to be copied
    "T": JobState.PENDING,  # being moved to another server
    "R": JobState.RUNNING,
    "S": JobState.RUNNING,  # suspended: see SUSPENDED
    "U": JobState.RUNNING,  # suspended because its workstation is in use
    "E": JobState.ENDING,
    "F": JobState.ENDED,
    "X": JobState.ENDED,  # a finished job of an array
    "M": JobState.ENDED,  # moved to another server, about which nothing is known
}
SUSPENDED = {"S", "U"}  # the job is frozen, but keeps its node, processes and connections
_SENT, _PROVISIONED = 41, 71  # substates: the job is being sent to its node; its node is being provisioned
_TERMINATED = 91  # substate: deleted
_BY_SUBSTATE = {92: Outcome.COMPLETED, 93: Outcome.FAILED}

# PBS has no words for how a job ended, only Exit_status; negative values are PBS' own.
ENDS = {
    **dict.fromkeys((-1, -2, -3, -7, -10, -13, -15, -21, -23, -30), Outcome.LAUNCH_FAILED),
    **dict.fromkeys((-4, -5, -6, -14, -20), Outcome.NODE_FAILED),  # the node, or PBS on the node, was restarted
    **dict.fromkeys((-16, -17, -22), Outcome.SETUP_FAILED),  # a hook of the site on the node refused the job
    **dict.fromkeys((-18, -19), Outcome.REVOKED),  # a hook requested the end of the job
    **dict.fromkeys((-26, -27), Outcome.OUT_OF_MEMORY),
    **dict.fromkeys((-24, -25, -28), Outcome.CPU_LIMIT),
    -12: Outcome.PREEMPTED,  # checkpointed and ended
    -29: Outcome.WALLTIME,
}
_ENDLESS = 10**9  # seconds; a longer walltime means no limit, and must not be added to a time
_SIGNALLED = 256  # Exit_status of a job that a signal ended: this number plus the signal's number

_OURS = re.compile(r"[0-9]+(?:\[[0-9]+\])?\.[A-Za-z0-9][A-Za-z0-9_.-]*")  # does not match an array as a whole
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_INDICES = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9})(?::([1-9][0-9]{0,8}))?)?")
_MOST_OF_AN_ARRAY = 100_000  # number of jobs; PBS' default limit is 10,000
_CTIME = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([0-9]{4})")
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}


def jobs(stdout: str, name: str | None = None) -> list[Job]:
    """Return the jobs of qstat's answer, each job of an array by itself; an array as a whole is left out.

    Raises Misread if the answer is not understood, or a job has another name than ``name`` (None: any name will do).
    """
    (found,) = documents(stdout, "Jobs")
    with understood(stdout):
        return [job for id, values in once(found) if (job := _job(id, values, name)) is not None]


def waiting(stdout: str) -> dict[str, list[tuple[int, str]]]:
    """Return the queued jobs of qstat's answer: for each queue (0, job id), in the order of their submission.

    Each number is 0, where other schedulers report the job's priority: PBS does not tell in which order its scheduler
    starts the jobs. Instead of an array, its jobs that still wait are listed; PBS reports their indices. Raises
    Misread.
    """
    (found,) = documents(stdout, "Jobs")
    queues: dict[str, list[tuple[int, str]]] = {}
    with understood(stdout):
        for id, values in once(found):
            queues.setdefault(as_text(values, "queue"), []).extend((0, job) for job in _waiting(_id(id), values))
    for queue in queues.values():
        queue.sort(key=lambda entry: [int(number) for number in re.findall(r"[0-9]+", entry[1].partition(".")[0])])
    return queues


def _waiting(id: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield ``id``, or the ids of those jobs of the array ``id`` that still wait.

    PBS reports the indices of these jobs as ``4,6-500``, ``1-9:2``, or ``-``, which means none.
    """
    remaining = str(values.get("array_indices_remaining", values.get("array_indices_submitted", "")))
    if "[]" not in id or not remaining:
        yield id
        return
    number, _, server = id.partition("[]")
    left = _MOST_OF_AN_ARRAY
    for part in remaining.split(",") if remaining != "-" else ():
        span = _INDICES.fullmatch(part)
        if span is None:
            raise ValueError(f"{part!r} is no index of an array")
        indices = range(int(span[1]), int(span[2] or span[1]) + 1, int(span[3] or 1))
        left -= len(indices)
        if left < 0:
            raise ValueError(f"the array {id} has more than {_MOST_OF_AN_ARRAY} jobs")
        yield from (f"{number}[{index}]{server}" for index in indices)


def _id(id: str) -> str:
    if not re.fullmatch(JOB, id):
        raise ValueError(f"{id!r} is no job id")
    return id


def _job(id: str, values: Mapping[str, Any], name: str | None) -> Job | None:
    if name is not None and as_text(values, "Job_Name") != name:
        raise ValueError(f"job {id} has another name than was asked for")
    if not _OURS.fullmatch(_id(id)):
        return None
    letter, owner = as_text(values, "job_state"), as_text(values, "Job_Owner").partition("@")[0]
    state = STATES.get(letter)
    if state is None:
        raise ValueError(f"the job state {letter!r} is unknown here")
    runs = as_number(values, "run_count") or 0
    restarts = runs if state is JobState.PENDING else max(0, runs - 1)
    phase = PendingPhase.QUEUED
    if state is JobState.RUNNING and values.get("substate") == _PROVISIONED:
        state, letter, restarts, phase = JobState.PENDING, "provisioning", runs, PendingPhase.NODE_STARTING
    elif state is JobState.RUNNING and values.get("substate") == _SENT and "stime" not in values:
        # the job may return to the queue; PBS reports its start only once it runs
        state, letter = JobState.PENDING, "sent"
    over, begun = state is JobState.ENDED, state is not JobState.PENDING
    account = as_text(values, "euser") if "euser" in values else owner  # PBS shows it to managers only
    comment, started = _said(values), moment(values.get("stime")) if begun else None
    walltime = seconds(as_dict(values.get("Resource_List", {})).get("walltime")) or _ENDLESS
    code, signal, outcome = _end(letter, values.get("Exit_status"), values.get("substate"), comment, "stime" in values)
    return Job(
        id=id,
        array=array_of(id),
        name=as_text(values, "Job_Name"),
        account=account,
        comment=_variable(values),
        state=state,
        suspended=letter in SUSPENDED,
        raw_state=letter,
        phase=phase,
        outcome=outcome if over else None,
        reason=comment if over else _why(letter, values, comment) if not begun else "",
        nodes=hosts(as_text(values, "exec_host")) if begun and "exec_host" in values else (),
        partition=as_text(values, "queue").partition("@")[0],
        submitted=moment(values.get("ctime")),
        started=started,
        ends=started + timedelta(seconds=walltime) if started and walltime < _ENDLESS and not over else None,
        ended=_ended(values) if over else None,
        exit_code=code if over else None,
        signal=signal if over else None,
        expected_start=None if begun else _estimated(values.get("estimated")),
        restarts=restarts,
    )


def _end(
    letter: str, status: object, substate: object, comment: str, ran: bool
) -> tuple[int | None, int | None, Outcome]:
    """Return the exit code, the signal and the outcome of a job that has ended; None: no exit code, or no signal.

    ``letter``, ``status``: what PBS reports as ``job_state`` and ``Exit_status``; ``substate``, ``comment``: what it
    reports under these names; ``ran``: whether PBS reports a start. Exit status 271 means SIGTERM (256 + 15), and -29
    that the walltime was over. A job without an exit status never ran, except some jobs of arrays. Raises ValueError if
    the exit status is no number.
    """
    if status is not None and (not isinstance(status, int) or isinstance(status, bool)):
        raise ValueError(f"the exit status {status!r} is no number")
    code, signal = (None, status - _SIGNALLED) if status is not None and status > _SIGNALLED else (status, None)
    if letter == "M":
        return None, None, Outcome.REVOKED
    if code is not None and code < 0:
        return code, None, ENDS.get(code, Outcome.FAILED)
    if substate == _TERMINATED or re.search(r" and terminated( by |$)", comment):
        return code, signal, Outcome.CANCELLED
    if status is None:  # the job never ran; this also occurs for some jobs of arrays
        known = _BY_SUBSTATE.get(substate) if ran and isinstance(substate, int) else None
        return None, None, known or Outcome.CANCELLED
    return code, signal, Outcome.COMPLETED if status == 0 else Outcome.FAILED


def _ended(values: Mapping[str, Any]) -> datetime | None:
    """Return when the job's processes ended; for a job that never ran, when PBS moved it to its history.

    None: PBS reports neither.
    """
    at = as_number(values, "history_timestamp")
    return moment(values.get("obittime")) or (believed(at) if at else None)


def _why(letter: str, values: Mapping[str, Any], comment: str) -> str:
    """Return why a job waits, in PBS' words; "" if the job's comment still describes an earlier run of the job.

    ``letter``: the job's ``job_state``.
    """
    if letter == "H":
        held = f"Hold_Types={values.get('Hold_Types', '')}"
        return f"{held} {comment}" if re.match(r"job (array )?held", comment, re.I) else held
    if letter in ("W", "T"):
        return f"job_state={letter}"
    return "" if re.match(r"Job (run|Array Began|was sent for execution) at ", comment) else comment


def who(comment: str, owner: str) -> Literal["account", "administrator", "other"] | None:
    """Return who deleted a job, from the last words of the job's comment; None: these words name nobody.

    "account": the job's account ``owner`` did; "administrator": root did, which means the site; "other": another
    account did.
    """
    found = re.search(r" and terminated by ([^@\s]+)@\S+$", comment)
    if found is None:
        return None
    return "account" if found[1] == owner else "administrator" if found[1] == "root" else "other"


def moment(text: object) -> datetime | None:
    """Return the time of a text such as ``Tue Nov 24 14:40:05 2026``, in UTC.

    None: ``text`` is None or ``UNKNOWN``, or the time is outside of the allowed years (``believed``). Raises ValueError
    for any other text.
    """
    if text is None or text == "UNKNOWN":
        return None
    found = _CTIME.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[1] not in _MONTHS:
        raise ValueError(f"{text!r} is no moment")
    day, hour, minute, second, year = (int(part) for part in found.groups()[1:])
    at = datetime(year, _MONTHS.index(found[1]) + 1, day, hour, minute, min(second, 59), tzinfo=UTC)
    return believed(at.timestamp())


def _estimated(value: object) -> datetime | None:
    """Return the time in ``estimated.start_time``: a date, or seconds since 1970; None for any other value.

    Such a value raises no error, since a wrong estimate must not make the whole answer unusable.
    """
    start = value.get("start_time") if isinstance(value, dict) else None
    try:
        if isinstance(start, int) and not isinstance(start, bool):
            return believed(start)
        return moment(start)
    except (ValueError, OverflowError, OSError):
        return None


def seconds(text: object) -> int | None:
    """Return the seconds of a duration such as ``01:00:00``, or of a number of seconds; None if ``text`` is None.

    Raises ValueError for any other text.
    """
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]+(:[0-9]{2}){0,2}", str(text)):
        raise ValueError(f"{text!r} is no time")
    total = 0
    for part in str(text).split(":"):
        total = total * 60 + int(part)
    return total


def size(value: object) -> int:
    """Return a size such as ``512gb``, ``419430400kb`` or ``64`` in bytes; in ``2kw``, w is a word of eight bytes.

    Raises ValueError for any other text.
    """
    found = re.fullmatch(r"([0-9]+)([kmgtp]?)([bw]?)", str(value).lower())
    if found is None:
        raise ValueError(f"{value!r} is no size")
    return int(found[1]) * _UNITS[found[2]] * (8 if found[3] == "w" else 1)


def hosts(text: str) -> tuple[str, ...]:
    """Return the hosts in a job's ``exec_host``, each once: n1 and n2 for ``n1/0*24+n2/1``."""
    return tuple(dict.fromkeys(part.partition("/")[0].partition(":")[0] for part in text.split("+") if part))


def _variable(values: Mapping[str, Any]) -> str:
    """Return the value of the job's variable ``FACTORYGATE_JOB``; "" if the job does not have it.

    The link recognises its jobs by this variable. If a variable has an empty value, the released OpenPBS 23.06 prints
    as this value a comma and the name and value of the next variable: so ``FACTORYGATE_JOB`` is also looked for in the
    values of other variables. If it is found in both ways, the variable itself counts.
    """
    variables = as_dict(values.get("Variable_List"))
    swallowed = f",{VARIABLE}="
    follows = (value for value in variables.values() if isinstance(value, str) and value.startswith(swallowed))
    value = variables[VARIABLE] if VARIABLE in variables else next(follows, swallowed).removeprefix(swallowed)
    return value if isinstance(value, str) else ""


def _said(values: Mapping[str, Any]) -> str:
    value = values.get("comment", "")
    return value if isinstance(value, str) else json.dumps(value)
