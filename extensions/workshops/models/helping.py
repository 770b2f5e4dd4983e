"""Raised hands, and notebooks that people let helpers see, in the view of the people who help.

``factorycommon.models.workshops.help`` has the view of the person who asks for help.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from factorycommon.models import Model
from factorycommon.models.workshops.help import NotebookSnapshot

# Lines of a workshop's log about help: who, when, and for a look which file. Observers do not see them.
HELP_EVENTS = ("hand", "lowered", "comes", "helped", "asks to look", "look", "looked", "look ended")


class HandView(Model):
    """A raised hand at a seat.

    ``place``: the hand's place in the queue; 0: the helper ``by`` comes. ``has``: what the person sent beside the
    question: ``source``, the source of a cell, and ``error``, its traceback; ``HandContent`` has these texts.
    ``asked_by``: the helper who asked to see the person's notebook. Observers get only ``since`` and ``place``.
    """

    since: datetime
    place: int
    by: str = ""
    question: str = ""
    has: tuple[Literal["source", "error"], ...] = ()
    asked_by: str = ""


class SeatLookView(Model):
    """A notebook that its person lets helpers see. ``file``: the notebook's name; ``until``: the consent's end."""

    file: str
    until: datetime


class SeatHelp(Model):
    """The raised hand of a seat's person, and the notebook that helpers may see; None: there is none."""

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
