"""Raised hands and consents to look, as the people who help see them. What a person sees of their own is in
``factorycommon.models.workshops.help``."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from factorycommon.models import Model
from factorycommon.models.workshops.help import NotebookSnapshot

# Lines of a workshop's log about help: who, when, and for a look which file. Observers do not see them.
HELP_EVENTS = ("hand", "lowered", "comes", "helped", "asks to look", "look", "looked", "look ended")


class HandView(Model):
    """A raised hand at a seat.

    ``place``: the place in the queue; 0: the helper ``by`` comes. Observers get ``since`` and ``place`` only. ``has``:
    what else the person sent; ``asked_by``: the helper who asked to see the person's notebook.
    """

    since: datetime
    place: int
    by: str = ""
    question: str = ""
    has: tuple[Literal["source", "error"], ...] = ()
    asked_by: str = ""


class SeatLookView(Model):
    """A notebook that helpers may see until a time."""

    file: str
    until: datetime


class SeatHelp(Model):
    """What a room shows of help at one seat."""

    hand: HandView | None = None
    look: SeatLookView | None = None


class HandContent(Model):
    """All that a person sent with a raised hand."""

    seat: int
    person: str
    name: str
    since: datetime
    by: str
    question: str
    file: str
    source: str
    error: str


class LookView(Model):
    """The last saved state of a notebook that its person lets helpers see."""

    seat: int
    person: str
    name: str
    until: datetime
    snapshot: NotebookSnapshot
