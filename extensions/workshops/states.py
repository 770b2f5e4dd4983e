"""The states of a workshop as a table, and which step is due at a given time. Pure: no I/O and no clock.

``docs/states.md`` has the same table; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal


class WorkshopState(StrEnum):
    """The state of a workshop."""

    DRAFT = "draft"  # a trainer prepares it, or it waits for an operator's approval
    APPROVED = "approved"  # it may take place; the link has not been told about it yet
    SCHEDULED = "scheduled"  # its project is in the table that the link reads; people may join
    WARMING = "warming"  # its seats may start, before it opens
    OPEN = "open"  # its people may use their seats
    CLOSING = "closing"  # it is over; its sessions end and its accounts are cleared
    ARCHIVED = "archived"  # nothing runs for it any more
    CANCELLED = "cancelled"  # it does not take place


class WorkshopEvent(StrEnum):
    """What moves a workshop from one state to the next."""

    APPROVE = "approve"
    SCHEDULE = "schedule"
    WARM = "warm"
    OPEN = "open"
    CLOSE = "close"
    ARCHIVE = "archive"
    CANCEL = "cancel"
    WITHDRAW = "withdraw"


Cause = Literal["operator", "lead", "instructor", "time", "table"]


@dataclass(frozen=True)
class StateStep:
    """A step of a workshop from one state to the next, as in ``TABLE``. ``causes``: who, or what, may take this step.

    The cause ``time`` is the clock. The cause ``table`` is the workshops service itself, once the table of projects,
    which the link reads, contains the workshop's project.
    """

    source: WorkshopState
    event: WorkshopEvent
    target: WorkshopState
    causes: frozenset[Cause]


S, E = WorkshopState, WorkshopEvent


def _step(source: WorkshopState, event: WorkshopEvent, target: WorkshopState, *causes: Cause) -> StateStep:
    return StateStep(source, event, target, frozenset(causes))


TABLE = (
    _step(S.DRAFT, E.APPROVE, S.APPROVED, "operator"),
    _step(S.DRAFT, E.CANCEL, S.CANCELLED, "lead", "operator", "time"),
    _step(S.APPROVED, E.WITHDRAW, S.DRAFT, "lead", "operator"),
    _step(S.APPROVED, E.SCHEDULE, S.SCHEDULED, "table"),
    _step(S.APPROVED, E.CANCEL, S.CANCELLED, "lead", "operator", "time"),
    _step(S.SCHEDULED, E.WITHDRAW, S.DRAFT, "lead", "operator"),
    _step(S.SCHEDULED, E.WARM, S.WARMING, "lead", "instructor", "operator", "time"),
    _step(S.SCHEDULED, E.CANCEL, S.CANCELLED, "lead", "operator"),
    _step(S.WARMING, E.OPEN, S.OPEN, "time"),
    _step(S.WARMING, E.CLOSE, S.CLOSING, "lead", "instructor", "operator", "time"),
    _step(S.OPEN, E.CLOSE, S.CLOSING, "lead", "instructor", "operator", "time"),
    _step(S.CLOSING, E.ARCHIVE, S.ARCHIVED, "time"),
)
STEPS = {(step.source, step.event): step for step in TABLE}
FINAL = frozenset({S.ARCHIVED, S.CANCELLED})
OVER = FINAL | {S.CLOSING}  # its people can do nothing in it any more
# States in which the link knows the workshop's project.
IN_TABLE = frozenset({S.SCHEDULED, S.WARMING, S.OPEN, S.CLOSING})
WARM_STATES = (WorkshopState.WARMING, WorkshopState.OPEN)  # in which seats begin
JOINABLE = frozenset({S.SCHEDULED, S.WARMING, S.OPEN})
# States in which the workshop's seats count for its pools.
TAKES_SEATS = frozenset({S.APPROVED, S.SCHEDULED, S.WARMING, S.OPEN, S.CLOSING})


class NoSuchStep(Exception):
    """Raised if a workshop cannot take a step in its present state."""

    def __init__(self, state: WorkshopState, event: WorkshopEvent) -> None:
        super().__init__(f"A workshop that is {state} does not {event}.")
        self.state = state
        self.event = event


def after(state: WorkshopState, event: WorkshopEvent) -> WorkshopState:
    """Return the state of a workshop after an event. Raises NoSuchStep if the event is not possible in ``state``."""
    step = STEPS.get((state, event))
    if step is None:
        raise NoSuchStep(state, event)
    return step.target


@dataclass(frozen=True)
class Schedule:
    """The times of a workshop.

    ``opens``: from when its people may use their seats; ``starts``, ``ends``: when the class itself starts and ends;
    ``closes``: when all sessions end; ``warm``: how long before ``opens`` the warm-up begins without a trainer's order;
    ``closed``: when the workshop began to close, None: not yet; ``clear``: how long it is ``closing`` before it is
    archived.
    """

    opens: datetime
    starts: datetime
    ends: datetime
    closes: datetime
    warm: timedelta
    closed: datetime | None
    clear: timedelta


def due(state: WorkshopState, schedule: Schedule, now: datetime) -> WorkshopEvent | None:
    """Return the event that is due now for a workshop in ``state``; None: no event is due.

    After this event another one may be due, if the workshops service did not run for a while. So call this again with
    the new state.
    """
    match state:
        case S.DRAFT | S.APPROVED:
            return E.CANCEL if now >= schedule.ends else None
        case S.SCHEDULED:
            return E.WARM if now >= min(schedule.opens - schedule.warm, schedule.closes) else None
        case S.WARMING:
            if now >= schedule.closes:
                return E.CLOSE
            return E.OPEN if now >= schedule.opens else None
        case S.OPEN:
            return E.CLOSE if now >= schedule.closes else None
        case S.CLOSING:
            return E.ARCHIVE if now >= (schedule.closed or schedule.closes) + schedule.clear else None
        case _:
            return None


def next_due(state: WorkshopState, schedule: Schedule) -> datetime | None:
    """Return when the next event of a workshop in ``state`` is due; None: no further event comes with time."""
    match state:
        case S.DRAFT | S.APPROVED:
            return schedule.ends
        case S.SCHEDULED:
            return min(schedule.opens - schedule.warm, schedule.closes)
        case S.WARMING:
            return min(schedule.opens, schedule.closes)
        case S.OPEN:
            return schedule.closes
        case S.CLOSING:
            return (schedule.closed or schedule.closes) + schedule.clear
        case _:
            return None
