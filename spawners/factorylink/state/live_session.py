"""Holds a live session in memory, and makes the view of it that people and the hub see."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from factorycommon.models import (
    EndReason,
    Factory,
    Health,
    Job,
    MaintenanceView,
    Notice,
    Project,
    Session,
    SessionState,
    Words,
)
from factorylink.config import Access
from factorylink.doors.protocol import DoorStatus
from factorylink.explain import explain
from factorylink.ledger.schema import SessionRecord
from factorylink.problems import ProblemError
from factorylink.site import maintenance as windows
from factorylink.util import clock

LOST_SECONDS = 2.0  # seconds; people are not told of a door that was lost for less time
_STEPS = (1, 5, 15, 60)  # minutes before an end for lost access, at which its notice changes
_FROZEN_STATES = (SessionState.STARTING, SessionState.RUNNING)
_SEEN_STATES = (SessionState.PENDING, SessionState.STARTING, SessionState.RUNNING, SessionState.ENDING)


@dataclass
class LiveSession:
    """The ledger's row of a session, with data that only this process has.

    ``lock``: held during each transition. ``position``: the job's place in the queue; None: it does not wait, or its
    place is not known. ``door``: the last status of the door in the present run of the job; None: no status yet.
    Four fields have the last task of a kind, or None before the first such task: ``submission`` submits the job,
    ``stopping`` carries out a stop request, ``ending`` ends the session after the job's end, and ``probing`` polls the
    notebook until its first answer.
    """

    record: SessionRecord
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    job: Job | None = None  # from the last answer that listed it
    seen: datetime | None = None  # time of that answer
    earlier: int = 0  # seconds of earlier runs of its job
    # since when the scheduler has reported the same state and reason, in ticks
    said_since: float = field(default_factory=clock.ticks)
    frozen: float = 0.0  # seconds for which the site has suspended its job, up to the last answer
    frozen_since: float | None = None  # since when the last answers have shown it suspended, in ticks; None: it was not
    remark: Words | None = None  # set if the job's name or comment was changed after the submission
    misses: int = 0  # number of successful answers in a row that lack the job
    position: int | None = None
    submission: asyncio.Task[ProblemError | None] | None = None
    answered: bool = False  # True if a caller was told that this session exists
    withdrawn: bool = False  # it failed before any caller was told that it exists
    stopped_by_operator: bool = False  # as far as this process knows
    ending: asyncio.Task[None] | None = None
    stopping: asyncio.Task[None] | None = None
    probing: asyncio.Task[None] | None = None
    # set when the job no longer runs, or the session has ended
    job_over: asyncio.Event = field(default_factory=asyncio.Event)
    over_since: float = 0.0  # when the end of its job was first known, in ticks
    door: DoorStatus | None = None
    door_open: bool = False
    # when its door was last open, in ticks; used while the door is closed
    door_lost: float = field(default_factory=clock.ticks)
    door_kept: bool = False  # the DoorManager keeps its door open
    seeking: asyncio.Task[None] | None = None  # task that finds out how to reach its door
    # a lock of its own, since the scheduler's answer may take long
    extending: asyncio.Lock = field(default_factory=asyncio.Lock)
    extend_doubtful: bool = False  # an extension was requested, and its outcome is unknown
    telling: asyncio.Task[None] | None = None  # task that sends the end of the walltime to the door
    # when it ends because its person lost access to the project; None: they have access
    access_ends: datetime | None = None
    environment_at: float | None = None  # when the door first had the environment, in ticks

    @property
    def restarts(self) -> int:
        """Return how often the session's job was requeued, as far as that is known."""
        return self.record.restarts if self.job is None else max(self.record.restarts, self.job.restarts)

    @property
    def moved(self) -> bool:
        """Return whether the session was stopped because its workshop has moved to another of its factories.

        People and the hub then see the session as ended, although its job is cancelled only when its factory answers.
        """
        return self.record.wish == "stop" and self.record.stopped_for == EndReason.MOVED

    @property
    def submitting(self) -> bool:
        """Return whether this process is submitting the session's job now."""
        return self.submission is not None and not self.submission.done()

    def confirm_environment(self) -> None:
        """Note in ``door``, the door's last status, that the door has received the notebook's environment variables.

        Call this after the variables were sent: otherwise the hub would send them again before the door's next status
        arrives. Does nothing unless the last status says that the door waits for the variables.
        """
        if self.door is not None and self.door.phase == "waiting":
            self.door = self.door.model_copy(update={"environment": True})


def room(
    live_session: LiveSession,
    factory: Factory,
    access: Access,
    until: datetime | None = None,
    project: Project | None = None,
    maintenance: Sequence[MaintenanceView] = (),
) -> float | None:
    """Return the hours by which a session can still be extended, rounded down to 0.1.

    None: ``access`` (the link's settings for the factory) allows no extensions; the session does not run now or is
    being stopped; the catalogue no longer has the session's size; or the end of the session's job is not known. The
    hours are limited by the maximum hours of the session's size and of ``project``, by ``until`` (when the person's
    access ends), and by the first of ``maintenance`` that leaves the session's partition without a node.
    """
    record, job = live_session.record, live_session.job
    if access.extend == "no" or record.state != SessionState.RUNNING or record.wish != "run":
        return None
    size = next((size for size in factory.sizes if size.id == record.choice.size), None)
    if size is None or job is None or job.ends is None or record.started is None:
        return None
    longest = size.max_hours if project is None else min(size.max_hours, project.max_hours or size.max_hours)
    closing = windows.closing(maintenance, record.partition or job.partition)
    ends = [moment for moment in (until, None if closing is None else closing.start) if moment is not None]
    most = longest - (job.ends - record.started) / timedelta(hours=1)
    most = min([most, *((moment - job.ends) / timedelta(hours=1) for moment in ends)])
    return max(0.0, math.floor(10 * most) / 10)


def show(
    live_session: LiveSession,
    url: str,
    health: Health,
    problem: str = "",
    more: float | None = None,
    barred: Words | None = None,
) -> Session:
    """Return the present view of the session.

    If the view's ``state`` is ``unreachable``, its ``before`` is the last known state. A session that is ``withdrawn``
    or has ``moved`` is shown as ended. ``url``: the address at which the proxy reaches the session's notebook;
    ``health``: the health of its factory; ``problem``: why the link cannot reach the session's door, "" if that is not
    known; ``more``: the hours by which the session can be extended, None if it cannot; ``barred``: why the link cannot
    act as the session's site account, None if it can.
    """
    record = live_session.record
    if (
        live_session.withdrawn and record.ended is None
    ):  # every caller sees it as ended; if it still gets a job, the job is cancelled
        shown = {
            "state": SessionState.ENDED,
            "ended": record.log[-1].at if record.log else record.created,
            "end_reason": EndReason.REFUSED,
            "end": explain.own("not-taken"),
        }
        return from_record(record).model_copy(update=shown)
    if live_session.moved and record.ended is None:
        shown = {
            "state": SessionState.ENDED,
            "ended": record.log[-1].at if record.log else record.created,
            "end_reason": EndReason.MOVED,
            "end": explain.own("moved"),
        }
        return from_record(record).model_copy(update=shown)
    state, before, waits_for = seen_state(live_session, health, barred), None, None
    if state == SessionState.UNREACHABLE:
        before, waits_for = record.state, _obstacle(live_session, health, problem, barred)
    elif state == SessionState.STARTING and not live_session.door_open:
        waits_for = explain.door_obstacle(problem)
    elif state == SessionState.PENDING:
        if live_session.job is not None:
            waits_for = explain.unlooked(explain.pending(live_session.job), clock.ticks() - live_session.said_since)
        elif record.job is None:
            waits_for = barred or explain.own("submit-slow")
    door = live_session.door if live_session.door_open else None
    frozen = live_session.job is not None and live_session.job.suspended
    return from_record(record).model_copy(
        update={
            "state": state,
            "before": before,
            "waits_for": waits_for,
            "position": live_session.position if record.state == SessionState.PENDING else None,
            "expected_start": live_session.job.expected_start
            if live_session.job and record.state == SessionState.PENDING
            else None,
            "certain": record.job is None
            or live_session.door_open
            or (live_session.job is not None and live_session.misses == 0),
            "door_open": live_session.door_open,
            "environment_sent": door is not None and door.environment,
            "reachable": record.ready is not None
            and live_session.door_open
            and record.state == SessionState.RUNNING
            and not frozen,
            "url": url,
            "ends_idle": live_session.door.ends_idle if live_session.door is not None else None,
            "notice": _notice(live_session, door),
            "remark": live_session.remark,
            "earlier_hours": live_session.earlier / 3600,
            "busy": door is not None and door.busy,
            "busy_with": door.busy_with if door is not None else (),
            "gpu_percent": door.gpu_percent if door is not None else None,
            "memory_bytes": door.memory_bytes if door is not None else None,
            "steps": door.steps if door is not None else (),
            "extend_hours": more if state == SessionState.RUNNING else None,
        }
    )


def seen_state(live_session: LiveSession, health: Health, barred: Words | None) -> SessionState:
    """Return the state of a session as people see it; this is faster than ``show``, for counting many sessions.

    ``health``: the factory's health; ``barred``: why the link cannot act as the session's site account, None if it can.
    """
    record = live_session.record
    if (live_session.withdrawn or live_session.moved) and record.ended is None:
        return SessionState.ENDED
    out_of_reach = health.state == "unreachable" or _barred(live_session, barred)
    if (record.state in _SEEN_STATES and out_of_reach) or _suspended(live_session) or _door_is_lost(live_session):
        return SessionState.UNREACHABLE
    return record.state


def _obstacle(live_session: LiveSession, health: Health, problem: str, barred: Words | None) -> Words:
    """Return why a session is unreachable; call this only for such a session.

    ``health``: the factory's; ``problem``: why the link cannot reach the session's door, "" if that is not known;
    ``barred``: why the link cannot act as the session's site account, None if it can.
    """
    if health.state == "unreachable":
        return health.words or explain.unreachable("")
    if barred is not None and _barred(live_session, barred):
        return barred
    if live_session.job is not None and _suspended(live_session):
        return explain.own("suspended", live_session.job.raw_state)
    return explain.door(problem)


def _barred(live_session: LiveSession, barred: Words | None) -> bool:
    """Return True if a session is unreachable because the link cannot act as its site account.

    ``barred``: why the link cannot do so, None if it can. A pause counts only if the session runs without a connected
    door.
    """
    return barred is not None and (barred.code != "paused" or _cut_off(live_session))


def _suspended(live_session: LiveSession) -> bool:
    """Return whether the site has suspended the job of a starting or running session."""
    job = live_session.job
    return live_session.record.state in _FROZEN_STATES and job is not None and job.suspended


def _door_is_lost(live_session: LiveSession) -> bool:
    """Return whether a running session's door has been lost for longer than ``LOST_SECONDS``, so that people see it."""
    lost = clock.ticks() - live_session.door_lost > LOST_SECONDS
    return live_session.record.state == SessionState.RUNNING and not live_session.door_open and lost


def _notice(live_session: LiveSession, door: DoorStatus | None) -> Notice | None:
    """Return the notice of the session's end that people see; None if there is none.

    This is the door's notice or the notice of lost access, whichever announces the earlier end. The door's notice
    counts only while the session's state in the ledger is running. ``door``: the door's status; None if the door is not
    connected.
    """
    notice = door.notice if door is not None and live_session.record.state == SessionState.RUNNING else None
    if live_session.access_ends is None or (notice is not None and notice.at <= live_session.access_ends):
        return notice
    left = (live_session.access_ends - clock.now()) / timedelta(minutes=1)
    return Notice(
        kind="access", at=live_session.access_ends, minutes=next(m for m in _STEPS if left <= m or m == _STEPS[-1])
    )


def _cut_off(live_session: LiveSession) -> bool:
    """Return whether a session runs without a connected door; only then a pause makes the session unreachable."""
    return live_session.record.state == SessionState.RUNNING and not live_session.door_open


def from_record(record: SessionRecord) -> Session:
    """Return the view of a session from its row in the ledger alone."""
    return Session(
        id=record.id,
        user=record.user,
        server=record.server,
        account=record.account,
        choice=record.choice,
        state=record.state,
        wish=record.wish,
        job=record.job,
        node=record.node,
        partition=record.partition,
        created=record.created,
        started=record.started,
        ready=record.ready,
        ends=record.ends,
        ended=record.ended,
        last_activity=record.last_activity,
        end_reason=record.end_reason,
        end=record.end,
        log_tail=record.log_tail,
        log=tuple(record.log),
        exit_code=record.exit_code,
    )
