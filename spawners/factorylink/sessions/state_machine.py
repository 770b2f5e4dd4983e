"""The states of a session as a table: what each event means in each phase, and which action follows. Pure.

``docs/states.md`` shows this table to people, and a test checks that the two are equal.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from factorycommon.models import Job, JobState, SessionState
from factorylink.ledger.schema import SessionRecord


class Phase(StrEnum):
    """The phase of a session: its state in the ledger or, from a stop request until the end, ``STOPPING``."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"  # without a stop request: the notebook or the job ends by itself
    STOPPING = "stopping"  # with a stop request; people see it as ending
    ENDED = "ended"


class Event(StrEnum):
    """An event of a session. ``QUEUED`` to ``OVER`` are answers of a factory; a question without answer is no event."""

    QUEUED = "queued"  # its job waits in the queue
    RUNS = "runs"  # its job runs
    RUNS_ANEW = "runs anew"  # its job was requeued between two answers, or runs on another node
    COMPLETING = "completing"  # its job is ending and still holds its nodes
    OVER = "over"  # its job has ended, or two successful answers in a row lack it
    NO_JOB = "no job"  # the scheduler refused the job, or certainly received no submission
    ANSWERS = "answers"  # the notebook answered with status 200 for the first time
    DOOR_ENDS = "door ends"  # the door reports that the notebook is ending
    WISH = "wish"  # the person, the hub, the operator or the link itself requests the end


class Action(StrEnum):
    """The action that the link takes in a transition."""

    NOTHING = "nothing"
    FOLLOW = "follow"  # note the node and open the door there
    LET_GO = "let go"  # close the door and keep the port, so that the notebook's address stays valid on the next node
    MOVE = "move"  # do LET_GO, then FOLLOW
    CANCEL = "cancel"  # cancel the job, and repeat this until it is gone
    ASK_WHY = "ask why"  # ask the scheduler why the job has ended; the session ends once the reason is known
    TELL = "tell"  # end the session, and show the reason


class Step(NamedTuple):
    """A transition: the phase that a session goes to, and the action that the link takes."""

    phase: Phase
    action: Action


_ENDS = Step(Phase.ENDED, Action.ASK_WHY)
_STOPS = Step(Phase.STOPPING, Action.CANCEL)
_REQUEUED = Step(Phase.PENDING, Action.LET_GO)
_MOVED = Step(Phase.STARTING, Action.MOVE)
_WINDS_UP = Step(Phase.ENDING, Action.NOTHING)

# Combinations that are not in this table change nothing: a report of a door or notebook that came too late, or another
# stop request for the same session.
TABLE: dict[Phase, dict[Event, Step]] = {
    Phase.PENDING: {
        Event.QUEUED: Step(Phase.PENDING, Action.NOTHING),
        Event.RUNS: Step(Phase.STARTING, Action.FOLLOW),
        Event.COMPLETING: _WINDS_UP,
        Event.OVER: _ENDS,
        Event.NO_JOB: Step(Phase.ENDED, Action.TELL),
        Event.WISH: _STOPS,
    },
    Phase.STARTING: {
        Event.QUEUED: _REQUEUED,
        Event.RUNS: Step(Phase.STARTING, Action.NOTHING),
        Event.RUNS_ANEW: _MOVED,
        Event.COMPLETING: _WINDS_UP,
        Event.OVER: _ENDS,
        Event.ANSWERS: Step(Phase.RUNNING, Action.NOTHING),
        Event.DOOR_ENDS: _WINDS_UP,
        Event.WISH: _STOPS,
    },
    Phase.RUNNING: {
        Event.QUEUED: _REQUEUED,
        Event.RUNS: Step(Phase.RUNNING, Action.NOTHING),
        Event.RUNS_ANEW: _MOVED,
        Event.COMPLETING: _WINDS_UP,
        Event.OVER: _ENDS,
        Event.DOOR_ENDS: _WINDS_UP,
        Event.WISH: _STOPS,
    },
    Phase.ENDING: {
        Event.QUEUED: _REQUEUED,
        Event.RUNS: Step(Phase.ENDING, Action.NOTHING),
        Event.RUNS_ANEW: _MOVED,
        Event.COMPLETING: _WINDS_UP,
        Event.OVER: _ENDS,
        Event.WISH: _STOPS,
    },
    Phase.STOPPING: {
        Event.QUEUED: _STOPS,
        Event.RUNS: _STOPS,
        Event.RUNS_ANEW: _STOPS,
        Event.COMPLETING: _STOPS,
        Event.OVER: _ENDS,
        Event.NO_JOB: Step(Phase.ENDED, Action.TELL),
    },
    Phase.ENDED: {},
}


def phase(record: SessionRecord) -> Phase:
    """Return the phase of a session, computed from its row in the ledger."""
    if record.ended is not None:
        return Phase.ENDED
    return Phase.STOPPING if record.wish == "stop" else Phase(record.state.value)


def state(of: Phase) -> SessionState:
    """Return the state that the ledger stores for a phase; the ledger has another column for the stop request."""
    return SessionState.ENDING if of is Phase.STOPPING else SessionState(of.value)


def step(record: SessionRecord, event: Event) -> Step | None:
    """Return the transition for ``event`` in the session's present phase; None if ``TABLE`` has none."""
    return TABLE[phase(record)].get(event)


def seen(record: SessionRecord, job: Job) -> Event:
    """Return the event that a factory's answer means for a session. ``job``: the session's job in this answer."""
    match job.state:
        case JobState.PENDING:
            return Event.QUEUED
        case JobState.RUNNING:
            return Event.RUNS_ANEW if record.state != SessionState.PENDING and _moved(record, job) else Event.RUNS
        case JobState.ENDING:
            return Event.COMPLETING
        case JobState.ENDED:
            return Event.OVER


def _moved(record: SessionRecord, job: Job) -> bool:
    on_another = record.node is not None and bool(job.nodes) and job.nodes[0] != record.node
    return job.restarts > record.restarts or on_another
