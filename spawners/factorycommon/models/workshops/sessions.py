"""What link and workshops service tell each other about the sessions of a workshop's people."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from factorycommon.models.base import Model, Occupant, Person, ProjectId, ServerName, SessionId, Slug
from factorycommon.models.bodies import MessageId, MessageText, MessageTexts
from factorycommon.models.sessions import EndReason, Notice, Session, SessionState, Words
from factorycommon.models.workshops import MOST_SEATS
from factorycommon.models.workshops.material import StepsDone

MOST_SESSIONS = 20_000  # of all workshops together
MessageKind = Literal["info", "success", "warning", "error"]
StoppedBy = Annotated[str, StringConstraints(max_length=255)]


class WorkshopSession(Model):
    """One session of a workshop, as the trainer's page of the workshop (the room) shows it.

    ``reason``: a text that says what the session waits for, or why it has ended; ``end_reason``: a word for why it has
    ended; ``before``: while its state is ``unreachable``, the last known state; ``position``: its place in the
    scheduler's queue; ``stopping``: its end was requested and has not come yet; ``open``: messages reach its notebook
    now; ``gpu_percent``: use of its busiest GPU in the last minute, None: it has no GPU, or the use is not known;
    ``steps``: the numbers, from 0, of the steps of the material that the person has done; ``extend_hours``: the hours
    that can be added to its time now, None if its time cannot be extended.
    """

    id: SessionId
    person: Occupant
    server: ServerName
    project: ProjectId
    factory: Slug
    size: Slug
    state: SessionState
    before: SessionState | None = None
    stopping: bool = False
    reason: Words | None = None
    position: int | None = None
    expected_start: datetime | None = None
    created: datetime
    started: datetime | None = None
    ready: datetime | None = None
    ends: datetime | None = None
    ended: datetime | None = None
    end_reason: EndReason | None = None
    notice: Notice | None = None
    open: bool = False
    last_activity: datetime | None = None
    busy: bool = False
    gpu_percent: int | None = None
    steps: StepsDone = ()
    extend_hours: float | None = None

    @classmethod
    def of(cls, session: Session) -> WorkshopSession:
        """Return what the trainer's page (the room) shows of ``session``, which is for a workshop."""
        return cls(
            id=session.id,
            person=session.user,
            server=session.server,
            project=session.choice.project or "",
            factory=session.choice.factory,
            size=session.choice.size,
            state=session.state,
            before=session.before,
            stopping=session.wish == "stop" and session.state != SessionState.ENDED,
            reason=session.end if session.state == SessionState.ENDED else session.waits_for,
            position=session.position,
            expected_start=session.expected_start,
            created=session.created,
            started=session.started,
            ready=session.ready,
            ends=session.ends,
            ended=session.ended,
            end_reason=session.end_reason,
            notice=session.notice,
            open=session.door_open and session.environment_sent,
            last_activity=session.last_activity,
            busy=session.busy,
            gpu_percent=session.gpu_percent,
            steps=session.steps,
            extend_hours=session.extend_hours,
        )


class WorkshopSessions(Model):
    """Sessions of one workshop (response to ``GET /projects/{project}/sessions``), or of all workshops (an event).

    The response has the live sessions and each person's last ended session. The event ``snapshot`` has the live
    sessions. Both leave out live sessions that must end because their seat was moved to another factory. The event
    ``sessions`` has the sessions that have changed or ended since the last event. Sessions of robots and of Dask
    schedulers are left out of all three.
    """

    sessions: tuple[WorkshopSession, ...] = Field(default=(), max_length=MOST_SESSIONS)


class ClassMessageBody(Model):
    """A message to people of one workshop, in one or more languages.

    A session ignores a message if it still keeps an earlier one with the same ``id``.

    ``texts``: the message by language code; a person gets the text in the first of their own languages for which there
    is one, or else ``text``.
    """

    id: MessageId
    text: MessageText
    texts: MessageTexts = Field(default_factory=dict)
    kind: MessageKind = "info"
    people: tuple[Person, ...] = Field(min_length=1, max_length=2 * MOST_SEATS)


class ToldView(Model):
    """The people to whom a message was sent, and whose session has accepted the message."""

    people: tuple[Person, ...] = Field(max_length=2 * MOST_SEATS)
