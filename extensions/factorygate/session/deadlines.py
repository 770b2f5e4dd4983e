"""Decides when a session must end, and when to warn before. Pure functions; the loop is in ``session``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from factorygate.session.status import Reason

# seconds before the end of the walltime at which the notebook is stopped, so that it can end cleanly
WALLTIME_LEAD = 60.0
WALLTIME_WARNINGS = (900.0, 300.0)
IDLE_WARNING = 300.0


@dataclass(frozen=True)
class SessionLimits:
    """Limits of a session in seconds.

    ``environment``: how long the door waits for the notebook's environment variables; ``unopened``: how long a running
    notebook server waits to be opened; ``idle``: how long an opened session may be unused.
    """

    environment: float
    unopened: float
    idle: float


MOST_NAMES, NAME_LENGTH = 3, 60  # limits for the names of busy notebooks: a report must fit into one write to a pipe


@dataclass(frozen=True)
class Activity:
    """The notebook server's report of its activity.

    ``last``: the last activity, in seconds since the epoch; ``busy``: whether a kernel or terminal runs something;
    ``opened``: whether anybody has opened the session; ``gpu_percent``: use of the busiest GPU, None: not known;
    ``memory_bytes``: memory in use, None: not known; ``busy_with``: names of busy notebooks and terminals; ``steps``:
    which steps of a workshop's material were done, by their numbers from 0.
    """

    last: float
    busy: bool = False
    opened: bool = False
    gpu_percent: int | None = None
    memory_bytes: int | None = None
    busy_with: tuple[str, ...] = ()  # names of busy notebooks and terminals
    steps: tuple[int, ...] = ()  # of a workshop's material, that were done


@dataclass(frozen=True)
class Facts:
    """The state of the session on which its deadlines depend; times are seconds since the epoch.

    ``started``: when the door began; ``ends``: the end of the walltime, None: not known; ``environment``: whether the
    door has received the notebook's environment variables; ``up``: since when the notebook server answers, None: not
    yet; ``activity``: the server's last report, None: no report. Without a report, the session does not end for lack
    of use.
    """

    started: float
    ends: float | None = None  # end of the walltime, if the scheduler reports it
    environment: bool = False
    up: float | None = None  # since when the notebook answers
    activity: Activity | None = None  # None: the program reports no activity, so it is never idle


@dataclass(frozen=True)
class Warned:
    """A warning that the session ends by itself at ``at`` (seconds since the epoch), for ``reason``.

    ``minutes``: how many minutes before ``at`` this warning begins, for example 15 or 5.
    """

    reason: Reason
    at: float
    minutes: int


@dataclass(frozen=True)
class DeadlineVerdict:
    """The decision about a session: end now, or check again at ``wake``. Times are seconds since the epoch.

    ``reason`` and ``message`` are set if the session must end now. ``wake``: when to decide again if nothing else
    changes. ``ends_idle``: when the session ends if nobody uses it; None: at present the session does not end for lack
    of use. ``notice``: the warning to show; None: it is too early for a warning, or the session must end now.
    """

    wake: float
    reason: Reason | None = None
    message: str = ""
    ends_idle: float | None = None
    notice: Warned | None = None


@dataclass(frozen=True)
class _Deadline:
    at: float
    reason: Reason
    ended: str
    warnings: tuple[float, ...]  # seconds before the deadline, the longest first


def _deadlines(facts: Facts, limits: SessionLimits) -> Iterator[_Deadline]:
    if facts.ends is not None:
        yield _Deadline(
            facts.ends - WALLTIME_LEAD,
            "walltime",
            "The session reached the end of its time and was ended cleanly.",
            WALLTIME_WARNINGS,
        )
    if not facts.environment:
        yield _Deadline(
            facts.started + limits.environment,
            "no-environment",
            "The job ran, but the hub did not send what the notebook needs, so it gave the node back.",
            (),
        )
    if facts.up is None or facts.activity is None:
        return
    if not facts.activity.opened:
        yield _Deadline(
            facts.up + limits.unopened,
            "unopened",
            f"Nobody opened the session within {_minutes(limits.unopened)}, so it gave the node back.",
            (IDLE_WARNING,),
        )
    elif not facts.activity.busy:
        yield _Deadline(
            max(facts.up, facts.activity.last) + limits.idle,
            "idle",
            f"Nothing happened in the session for {_minutes(limits.idle)}, so it gave the node back.",
            (IDLE_WARNING,),
        )


def _minutes(seconds: float) -> str:
    count = max(1, round(seconds / 60))
    return f"{count} minute{'' if count == 1 else 's'}"


def decide(now: float, facts: Facts, limits: SessionLimits) -> DeadlineVerdict:
    """Return whether the session must end at ``now`` (seconds since the epoch), and which warning to show.

    The session must end if a deadline has passed; the earliest deadline gives the reason and the message. Otherwise,
    the warning is about the earliest deadline whose time for a warning has come.
    """
    deadlines = sorted(_deadlines(facts, limits), key=lambda deadline: deadline.at)
    ends_idle = next((d.at for d in deadlines if d.reason in ("idle", "unopened")), None)
    wake = now + 3600
    notice: Warned | None = None
    for deadline in deadlines:
        if now >= deadline.at:
            return DeadlineVerdict(now, deadline.reason, deadline.ended, ends_idle)
        passed = [before for before in deadline.warnings if deadline.at - before <= now]
        if passed and notice is None:
            notice = Warned(deadline.reason, deadline.at, round(passed[-1] / 60))
        coming = [deadline.at - before for before in deadline.warnings[len(passed) :]]
        wake = min([wake, deadline.at, *coming])
    return DeadlineVerdict(wake, None, "", ends_idle, notice)
