"""The table of raised hands, which are people's requests for help in a class. A lowered hand is deleted.

Consents to show a notebook, and notebooks, are in no table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ForeignKey, String, Table, Text

from factorycommon.service.columns import MomentColumn
from workshops.store.schema import metadata

# ``by``: the helper who comes; ``asked_by``: the helper who asks to see the person's notebook; "": nobody.
raised_hands = Table(
    "hands",
    metadata,
    Column("workshop", ForeignKey("workshops.slug"), primary_key=True),
    Column("person", String, primary_key=True),
    Column("at", MomentColumn, nullable=False),
    Column("question", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("by", String, nullable=False),
    Column("asked_by", String, nullable=False),
)


@dataclass(frozen=True)
class HandRecord:
    """One raised hand: a person's request for help in a class.

    ``at``: when the hand was raised; ``question``, ``file``, ``source`` and ``error``: what the person sent with it,
    namely a text, a notebook's name, a cell's source and the cell's traceback; ``by``: the helper who comes;
    ``asked_by``: the helper who asks to see the person's notebook. "" means nothing or nobody.
    """

    workshop: str
    person: str
    at: datetime
    question: str = ""
    file: str = ""
    source: str = ""
    error: str = ""
    by: str = ""
    asked_by: str = ""
