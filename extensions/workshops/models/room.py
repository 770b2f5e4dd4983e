"""The models of a workshop's room: what the people who run the workshop see of the seats, and send into sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from factorycommon.models import EndReason, Model, SessionState, Words
from factorycommon.models.bodies import LanguageCode, MessageText, MessageTexts
from factorycommon.models.messages import Phrase
from factorycommon.models.workshops.sessions import MessageKind
from workshops.models.helping import HandView, SeatLookView
from workshops.models.seats import HaltView
from workshops.models.views import Action
from workshops.states import WorkshopState

SeatActKind = Literal["start", "restart", "reset"]
SeatActState = Literal["stopping", "starting", "delivering", "failed"]
GivenId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{8,40}$")]


class SeatActView(Model):
    """A request to start, restart or reset a seat, and how far the service is with it.

    ``at``: when the request was made; ``why``: why the request failed, None: it has not failed.
    """

    act: SeatActKind
    state: SeatActState
    at: datetime
    why: Phrase | None = None


class StepView(Model):
    """A step: a tagged cell of the material. ``done``: how many people with a seat have done the step."""

    notebook: str
    name: str
    done: int


class SeatView(Model):
    """One seat.

    ``taken``: somebody has the seat; ``person``: None if nobody has it yet, or if the caller sees no names; ``name``:
    the name that the person gave as a guest, "" if there is none, or if the caller sees no names. ``state``: the state
    of the session on the seat, None: there is no session; ``before``: while the session is unreachable, its last known
    state; ``ready``: the notebook answers; ``stopping``: the end of the session was requested, and it has not ended;
    ``position``: the job's position in the scheduler's queue, None: not known; ``gpu_percent``: the use of the
    session's busiest GPU in the last minute, None: not known. ``reason``: what the session waits for, why it has ended,
    or why it could not be started; ``words``: the same explanation with its code, for a translation. ``act``: a
    start, restart or reset that goes on or has failed, None: there is none. ``step``: how many steps the person has
    done, None: not known, or the caller sees no names; ``step_last``: the number, from 0, of the furthest step that is
    done, None: no step is known to be done. ``hand``: the person's raised hand, None: it is not up; ``look``: the
    notebook that the person lets helpers see, None: there is none, or the caller may not help.
    """

    seat: int
    taken: bool = False
    person: str | None = None
    name: str = ""
    server: str | None = None
    session: str | None = None
    state: SessionState | None = None
    before: SessionState | None = None
    ready: bool = False
    stopping: bool = False
    factory: str | None = None
    size: str | None = None
    reason: str | None = None
    words: Words | None = None
    end_reason: EndReason | None = None
    position: int | None = None
    expected_start: datetime | None = None
    started: datetime | None = None
    ends: datetime | None = None
    ended: datetime | None = None
    last_activity: datetime | None = None
    busy: bool = False
    gpu_percent: int | None = None
    act: SeatActView | None = None
    step: int | None = None
    step_last: int | None = None
    hand: HandView | None = None
    look: SeatLookView | None = None


class ClassMessageView(Model):
    """A message that was sent to the class. ``received``: how many people's sessions have taken it."""

    id: str
    at: datetime
    by: str
    text: str
    texts: dict[str, str]
    kind: MessageKind
    received: int


class RoomHead(Model):
    """What a workshop's room (the page for the people who run the class) shows beside its seats.

    ``total``: the number of seats; ``taken``: the number of seats that people have; ``ready``: the number of seats
    whose notebook answers; ``names``: whether the caller sees people's names; ``may``: what the caller may do.
    ``trouble``: a fault of the gateway: the room may be outdated, or no seats are started until somebody mends the
    gateway; None: no fault is known. ``halted``: why no further seats are started after too many failures, None: no
    halt. ``messages``: the last messages to the class, the newest first; ``steps``: the steps of the material.
    """

    slug: str
    title: str
    state: WorkshopState
    total: int
    taken: int
    ready: int
    names: bool
    may: tuple[Action, ...]
    trouble: Phrase | None = None
    halted: HaltView | None = None
    messages: tuple[ClassMessageView, ...] = ()
    steps: tuple[StepView, ...] = ()


class RoomView(RoomHead):
    """The whole room, with every seat in the order of numbers."""

    seats: tuple[SeatView, ...]


class RoomChange(Model):
    """What has changed in a room. ``head``: None if it has not changed; ``seats``: only those that have changed."""

    head: RoomHead | None = None
    seats: tuple[SeatView, ...] = ()


class BroadcastBody(Model):
    """A message to everybody in the class.

    ``text``: the message in ``language``; ``language`` None: the workshop's first language. ``texts``: the message in
    more languages, by language code. Each person reads the text in the first of their own languages for which there is
    one, or else ``text``. ``id``: an id that the caller chose, so that the same request sent twice stores one message;
    a message with other content and the same id is refused. None: the service chooses an id.
    """

    text: MessageText
    language: LanguageCode | None = None
    texts: MessageTexts = Field(default_factory=dict)
    kind: MessageKind = "info"
    id: GivenId | None = None


class BroadcastView(Model):
    """Response to the request to send a message to the class.

    ``id``: the message's id; ``received``: how many people's sessions have taken the message; ``people``: how many
    people are to get the message.
    """

    id: str
    received: int
    people: int
