"""The models of raised hands, and of notebooks that people let helpers see, as the helpers get them.

``factorycommon.models.workshops.help`` has the models for the person who asks for help.
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

    ``place``: the hand's place in the queue; 0: the helper ``by`` comes. ``has``: names of the texts that the person
    sent with the question: ``source`` (a cell's source) and ``error`` (its traceback). The texts themselves are in
    ``HandContent``. ``asked_by``: the helper who asked to see the person's notebook. Readers who may not help, such as
    observers, get only ``since`` and ``place``.
    """

    since: datetime
    place: int
    by: str = ""
    question: str = ""
    has: tuple[Literal["source", "error"], ...] = ()
    asked_by: str = ""


class SeatLookView(Model):
    """A notebook that a person lets helpers see. ``file``: the notebook's name; ``until``: the consent's end."""

    file: str
    until: datetime


class SeatHelp(Model):
    """The raised hand of a seat's person, and the notebook that helpers may see; each is None if there is none."""

    hand: HandView | None = None
    look: SeatLookView | None = None


class HandContent(Model):
    """All that a person sent with a raised hand; what was not sent is "".

    ``name``: the name that the person gave as a guest, "" if the person is no guest; ``by``: the name of the helper who
    comes, "" if nobody comes; ``file``: the notebook's name; ``source``: the source of a cell; ``error``: the cell's
    traceback.
    """

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
    """The last saved state of a notebook that a person lets helpers see; ``until``: the consent's end.

    ``name``: the name that the person gave as a guest; "" if the person is no guest.
    """

    seat: int
    person: str
    name: str
    until: datetime
    snapshot: NotebookSnapshot
