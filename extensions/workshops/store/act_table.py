"""The table of acts on single seats (start, restart, reset), beside the tables of ``store.schema``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ForeignKey, String, Table

from factorycommon.models.messages import Phrase
from factorycommon.service.columns import MomentColumn, ParsedColumn
from workshops.models.room import SeatActKind, SeatActState
from workshops.store.schema import metadata

# One row a person: the last act, until it is done. ``ends``: ids of the sessions that end first; ``moved``: since when
# the act is in its state; ``why``: why it failed.
seat_acts = Table(
    "seat_acts",
    metadata,
    Column("workshop", ForeignKey("workshops.slug"), primary_key=True),
    Column("person", String, primary_key=True),
    Column("act", ParsedColumn(SeatActKind), nullable=False),
    Column("state", ParsedColumn(SeatActState), nullable=False),
    Column("ends", ParsedColumn(tuple[str, ...]), nullable=False),
    Column("at", MomentColumn, nullable=False),
    Column("moved", MomentColumn, nullable=False),
    Column("by", String, nullable=False),
    Column("why", ParsedColumn(Phrase)),
)


@dataclass(frozen=True)
class SeatActRecord:
    """The last act of a trainer or an operator on one seat (start, restart, reset), which goes on or has failed.

    ``ends``: ids of the sessions that must end before the act begins a new session; ``at``: when the act was requested;
    ``moved``: since when the act is in ``state``; ``by``: who requested the act; ``why``: why the act failed.
    """

    workshop: str
    person: str
    act: SeatActKind
    state: SeatActState
    ends: tuple[str, ...]
    at: datetime
    moved: datetime
    by: str
    why: Phrase | None = None
