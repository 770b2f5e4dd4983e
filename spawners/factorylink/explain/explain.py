"""Explains what schedulers, doors and the gateway report: what a report means, who has to act, and how.

Each explanation keeps the scheduler's own words in ``Words.scheduler``; ``Words.code`` names the case for pages,
scripts and tests. A scheduler's message that is in no table is shown unchanged: it is never hidden, and its meaning is
never guessed. ``docs/reasons.md`` lists all explanations. All functions are pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC
from functools import lru_cache
from itertools import chain
from typing import Literal

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models import End, EndReason, Job, MaintenanceView, Outcome, PendingPhase, Words
from factorylink.errors import Distrusted, Expired, FactoryError, NotLetIn
from factorylink.explain import unreachable as unreachable_answers
from factorylink.explain.ends import (
    BY_ITSELF,
    CANCELLED,
    DOOR,
    ENDED,
    FAILED,
    KILLED,
    LOG,
    LOG_REASONS,
    NOT_INSTALLED,
    WITHDRAWN,
    WITHDRAWN_FOR_YOU,
    WITHDRAWN_STARTING,
)
from factorylink.explain.gateway import BARRED, DOOR_TROUBLE, OURS
from factorylink.explain.refusals import REFUSED
from factorylink.explain.table import AGAIN, ANY_TIME, ITSELF, NEXT_JOB, NO_FAULT, Answer, Move
from factorylink.explain.waiting import WAITING
from factorylink.schedulers.registry import DIALECTS
from factorylink.schedulers.words import Patterns

# The patterns of all schedulers together: their messages differ so much that they cannot be confused.
_DIALECTS = [dialect.WORDS for dialect in DIALECTS.values()]
_WAITING_WORDS: Patterns = tuple(chain.from_iterable(words.waiting for words in _DIALECTS))
_REFUSED_WORDS: Patterns = tuple(chain.from_iterable(words.refused for words in _DIALECTS))
_UNREACHABLE_WORDS: Patterns = (
    *chain.from_iterable(words.unreachable for words in _DIALECTS),
    *unreachable_answers.WORDS,
)
_WAITING = {answer.code: answer for answer in WAITING}
_REFUSED = {answer.code: answer for answer in REFUSED}
_UNREACHABLE = {answer.code: answer for answer in unreachable_answers.UNREACHABLE}

NODE_STARTING = Answer(
    "node-starting",
    N_("It has its node, which is being started up."),
    Move("wait", N_("This takes a few minutes.")),
)
REQUEUED = Answer("requeued", N_("It was put back into the queue and starts again on another node."), ITSELF)
REQUEUED_OFTEN = Answer(
    "requeued-often",
    Message("requeued-often", "It was put back into the queue {count} times and starts again on another node."),
    Move("site", N_("If it goes on like this, cancel it and write to the factory's support.")),
)
# Used if no pattern matches; the scheduler's own word is shown beside.
UNKNOWN_WAIT = Answer(
    "unknown",
    Message("unknown", "It waits, for a reason that the factory's scheduler calls {words}."),
    Move("site", N_("This gateway does not know this reason. If it lasts, ask the factory's support.")),
)
UNKNOWN_REFUSAL = Answer(
    "unknown",
    Message("unknown", "The factory's scheduler did not take it: {words}"),
    Move("site", N_("If the scheduler's words do not tell you what to change, ask the factory's support.")),
)
# A message of a site's own filter is shown as the site wrote it.
JOB_FILTER = Answer(
    "job-filter",
    Message("job-filter", "The factory's own rules for jobs turned it down: {words}"),
    Move("you", N_("Choose another size, project or fewer hours, as these words ask for. If they do not help, ask the "
                   "factory's support.")),
)  # fmt: skip
_OFTEN = 3  # number of requeues
UNLOOKED = 300.0  # seconds in which a working scheduler considers a new job; most start with a new job at once
_LAST_LINES = 12  # last lines of the log that are searched; older lines may be unrelated to the end


def pending(job: Job) -> Words:
    """Return the explanation why a job waits, from its phase, reason and number of requeues at the scheduler."""
    if job.phase is PendingPhase.NODE_STARTING:
        return NODE_STARTING.words(job.raw_state)
    if job.phase is PendingPhase.REQUEUED:
        if job.restarts >= _OFTEN:
            return _filled(REQUEUED_OFTEN, job.raw_state, count=str(job.restarts))
        return REQUEUED.words(job.raw_state)
    found = _waiting_code(job.reason)
    return _WAITING[found].words(job.reason) if found else _filled(UNKNOWN_WAIT, job.reason, words=job.reason)


def unlooked(words: Words, seconds: float) -> Words:
    """Return ``words``, or another explanation if a job waits unusually long for the scheduler to consider it.

    ``words``: why the job waits; they are replaced only if they say that the job is new to the scheduler, and if
    ``seconds`` is at least ``UNLOOKED``. ``seconds``: how long the scheduler has reported the same state and reason for
    the job.
    """
    if words.code != "new" or seconds < UNLOOKED:
        return words
    return OURS["unlooked"].words(words.scheduler)


def nodes_out(words: Words) -> Words:
    """Return the explanation for a job that waits while all nodes that the job could use are out of service.

    ``words``: the explanation of the scheduler's own reason. It is returned unchanged if it shows that the job waits
    for something else than free nodes, for example that the job is on hold.
    """
    if words.code not in ("new", "priority", "resources", "nodes-busy", "reservation-or-job", "unknown"):
        return words
    return OURS["nodes-out"].words(words.scheduler)


def before_maintenance(words: Words, maintenance: MaintenanceView | None) -> Words:
    """Return ``words``, or an explanation with the times of ``maintenance`` if the job waits for the maintenance's end.

    ``words``: why the job waits. PBS may report only a conflict with a reservation or another job; this conflict is
    then taken for the maintenance. ``maintenance``: one that begins before the job could end; None: there is none.
    """
    if maintenance is None or words.code not in ("maintenance", "reservation-or-job"):
        return words
    said = Message(
        "maintenance",
        "The nodes are set aside for a maintenance from {start} to {end} (UTC), and it would not end before that.",
    )
    start, end = (f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}" for moment in (maintenance.start, maintenance.end))
    return _WAITING["maintenance"].words(words.scheduler).saying(what=said.format(start=start, end=end))


def ended(
    end: End | None,
    *,
    desired: Literal["run", "stop"] = "run",
    door: str | None = None,
    message: str = "",
    tail: Iterable[str] = (),
) -> tuple[EndReason, Words]:
    """Return why a session ended, as a reason and an explanation.

    ``end``: the scheduler's record; None: there is none. ``desired``: "stop" if somebody requested the end. ``door``:
    the reason that the door reported (its ``end_reason``), None: it reported none; ``message``: the door's message.
    ``tail``: the last lines of the job's log.
    """
    reason, answer = _ended(end, desired, door)
    if reason is EndReason.FAILED:
        log = "\n".join([*tail][-_LAST_LINES:])
        if found := next((case.answer for case in LOG if re.search(case.pattern, log, re.I | re.M)), None):
            reason, answer = LOG_REASONS.get(found.code, reason), found
    return reason, answer.words(_scheduler_words(end, message))


def job_ended(
    end: End | None, *, desired: Literal["run", "stop"] = "run", tail: Iterable[str] = ()
) -> tuple[EndReason, Words]:
    """Return why a job of a Dask cluster ended, as a reason and an explanation.

    ``end``: the scheduler's record; None: there is none. ``desired``: "stop" if somebody requested the end. ``tail``:
    the last lines of the job's log.

    The explanation is that of ``ended``, changed by ``for_job_of_cluster``.
    """
    reason, words = ended(end, desired=desired, tail=tail)
    return reason, for_job_of_cluster(words)


def for_job_of_cluster(words: Words) -> Words:
    """Return the explanation of an end as it applies to a job of a Dask cluster.

    ``words``: the explanation for a session. If it only advises the person to start a new session, the advice is
    replaced: the person has to do nothing, because the cluster requests another job if its work needs one.
    """
    if words.do in (AGAIN.do, NO_FAULT.do, ANY_TIME.do):
        return words.saying(do=NEXT_JOB.do, whose=NEXT_JOB.whose)
    return words


def withdrawn(*, operator: bool, begun: bool) -> Words:
    """Return the explanation for a session that was stopped before JupyterLab answered.

    ``operator``: an operator stopped it; ``begun``: its job had started.
    """
    if operator:
        return WITHDRAWN_FOR_YOU.words()
    return (WITHDRAWN_STARTING if begun else WITHDRAWN).words()


def _ended(end: End | None, desired: Literal["run", "stop"], door: str | None) -> tuple[EndReason, Answer]:
    if end is not None and end.outcome in ENDED:
        return ENDED[end.outcome]
    if door == "failed" and end is not None and _killed(end):
        return EndReason.FAILED, KILLED
    if door in DOOR:
        return DOOR[door]
    if desired == "stop":
        return DOOR["stopped"]
    if end is None:
        return EndReason.FAILED, OURS["gone"]
    if end.outcome is Outcome.CANCELLED:
        return EndReason.CANCELLED_BY_SITE, CANCELLED[end.by]
    if end.outcome is Outcome.COMPLETED:
        return EndReason.FINISHED, BY_ITSELF
    if _killed(end):
        return EndReason.FAILED, KILLED
    return EndReason.FAILED, NOT_INSTALLED if end.exit_code in (126, 127) else FAILED


def _killed(end: End) -> bool:
    return end.signal == 9 or end.exit_code == 137


def refused(text: str) -> Words:
    """Return the explanation of a refused request, such as the submission of a job. ``text``: the refusal's message."""
    if words := barred(text):
        return words
    if filtered := _filtered(text):
        return _filled(JOB_FILTER, filtered, words=" ".join(filtered.split()))
    found = _contains(_REFUSED_WORDS, text)
    return _REFUSED[found].words(text) if found else _filled(UNKNOWN_REFUSAL, text, words=text)


def _filtered(text: str) -> str:
    """Return the message of a site's own submission filter, without the line that the scheduler adds.

    "": the text is not from such a filter.
    """
    for words in _DIALECTS:
        if words.after_filter is not None:
            site_text, lines = words.after_filter.subn("", text)
            if lines and site_text.strip():
                return site_text.strip()
    return ""


def unreachable(error: FactoryError | str) -> Words:
    """Return the explanation why a factory's state is unknown.

    ``error``: the error of the request to the factory, or that error's message.
    """
    text = error.message if isinstance(error, FactoryError) else error
    if isinstance(error, Expired):
        return OURS["credential-expired"].words(text)
    if isinstance(error, Distrusted):
        return OURS["host-key"].words(text)
    if words := barred(text):
        return words
    found = _contains(_UNREACHABLE_WORDS, text)
    return (_UNREACHABLE[found] if found else OURS["unreachable"]).words(text)


def barred(error: FactoryError | str) -> Words | None:
    """Return an explanation if the site refuses all requests of the link, or all requests for one account, else None.

    ``error``: the failure of a request. The site refuses by its command ``factorygate-act``, or by refusing the login.
    """
    text = error.message if isinstance(error, FactoryError) else error
    if isinstance(error, NotLetIn):
        return OURS["off-list"].words(text)
    for pattern, code in BARRED:
        if pattern in text:
            return OURS[code].words(text)
    return None


def door(problem: str) -> Words:
    """Return the explanation why a running session cannot be reached.

    ``problem``: the last error of the link's connection to the session's door; "": there was none.
    """
    return door_obstacle(problem) or OURS["door-silent"].words(problem)


def door_obstacle(problem: str) -> Words | None:
    """Return the explanation of a problem that keeps the link from a door until somebody repairs the cause.

    None for any other problem: the door may just not be ready yet. ``problem``: the last error of the link's connection
    to the session's door; "": there was none.
    """
    for pattern, code in DOOR_TROUBLE:
        if re.search(pattern, problem, re.I):
            return OURS[code].words(problem)
    return None


def own(code: str, detail: str = "") -> Words:
    """Return the explanation with this code in ``OURS``, the gateway's own explanations.

    ``detail``: text of the scheduler or of an error, which pages show unchanged beside the explanation.
    """
    return OURS[code].words(detail)


def filled(code: str, **parts: str) -> Words:
    """Return the explanation with this code in ``OURS``, with ``parts`` filled into its placeholders."""
    return _filled(OURS[code], "", **parts)


@lru_cache(maxsize=1000)  # hundreds of waiting jobs have the same few reasons at every answer
def _waiting_code(reason: str) -> str | None:
    """Return the code of the first pattern for waiting jobs, of all dialects, that matches the beginning of ``reason``.

    None: no pattern matches.
    """
    return next((code for pattern, code in _WAITING_WORDS if re.match(pattern, reason)), None)


def _contains(table: Patterns, text: str) -> str | None:
    """Return the code of the first pattern that matches anywhere in ``text``; None if there is none."""
    return next((code for pattern, code in table if re.search(pattern, text, re.I | re.M)), None)


def _filled(answer: Answer, scheduler: str, **parts: str) -> Words:
    found = answer._replace(
        what=answer.what.format(**parts), move=answer.move._replace(do=answer.move.do.format(**parts))
    )
    return found.words(scheduler)


def _scheduler_words(end: End | None, message: str) -> str:
    parts = [message] if message else []
    if end is not None:
        parts.append(end.raw_state)
        parts += [end.reason] if end.reason else []
        parts += [f"exit code {end.exit_code}"] if end.exit_code else []
        parts += [f"signal {end.signal}"] if end.signal else []
    return ", ".join(parts)


def everything() -> dict[str, list[Answer]]:
    """Return all explanations for the docs and the tests, by the heading of their table in the docs."""
    ends = [*ENDED.values(), *DOOR.values()]
    withdrawn = [WITHDRAWN, WITHDRAWN_STARTING, WITHDRAWN_FOR_YOU]
    others = [*withdrawn, *CANCELLED.values(), BY_ITSELF, KILLED, NOT_INSTALLED, FAILED]
    return {
        "Why it waits": [*WAITING, NODE_STARTING, REQUEUED, REQUEUED_OFTEN, UNKNOWN_WAIT],
        "Why it was not taken": [*REFUSED, JOB_FILTER, UNKNOWN_REFUSAL],
        "Why nothing is known of a factory": list(unreachable_answers.UNREACHABLE),
        "How it ended": [*(e.answer for e in ends), *others],
        "How it ended, by its log": list(dict.fromkeys(case.answer for case in LOG)),
        "The gateway itself": list(OURS.values()),
    }
