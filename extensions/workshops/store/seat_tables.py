"""The tables of workshops' seats: how far each seat is, halts, how fast seats came up, and orders to move seats.

``store.schema`` has the service's main tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Float, ForeignKey, Integer, String, Table

from factorycommon.models.sessions import Words
from factorycommon.service.columns import MomentColumn, ParsedColumn
from workshops.models.seats import SeatProgress
from workshops.store.schema import metadata

# A row is written before the link is asked. ``session``: the id that the link is asked for, later that of the person's
# session; ``attempts``: since somebody last said to go on; ``ran``: when it could first be opened; ``since``: a
# session that its person has had since then is the seat, also if it has ended, None: a new one is wanted in any
# case; ``over``: the last session of the person of which it is known that it has ended; ``first_asked``: when the seat
# was first requested at its place, None: not known.
seats = Table(
    "seats",
    metadata,
    Column("workshop", ForeignKey("workshops.slug"), primary_key=True),
    Column("person", String, primary_key=True),
    Column("factory", String, nullable=False),
    Column("size", String, nullable=False),
    Column("session", String, nullable=False),
    Column("state", ParsedColumn(SeatProgress), nullable=False),
    Column("wave", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("asked", MomentColumn, nullable=False),
    Column("ran", MomentColumn),
    Column("why", ParsedColumn(Words)),
    Column("since", MomentColumn),
    Column("over", String),
    Column("first_asked", MomentColumn),
)
# ``halted``: since when nothing more is asked for, with the wave and its failures; ``go_on``: when somebody last said
# to go on.
warm_ups = Table(
    "warm_ups",
    metadata,
    Column("workshop", ForeignKey("workshops.slug"), primary_key=True),
    Column("halted", MomentColumn),
    Column("wave", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("of", Integer, nullable=False),
    Column("why", ParsedColumn(Words)),
    Column("go_on", MomentColumn),
)
# How fast seats came up at a place, in the last class or a later rehearsal of as many seats; a row names no workshop
# and no person, and outlives them.
rates = Table(
    "rates",
    metadata,
    Column("factory", String, primary_key=True),
    Column("size", String, primary_key=True),
    Column("per_minute", Float, nullable=False),
    Column("cold_seconds", Float, nullable=False),
    Column("seats", Integer, nullable=False),
    Column("at", MomentColumn, nullable=False),
)
# Orders to move seats; they are never changed. ``id``: given by the caller, so that the same order twice is
# one; ``place``: the number of the place; ``seats``: the numbers of the seats, None: all.
moves = Table(
    "moves",
    metadata,
    Column("workshop", ForeignKey("workshops.slug"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("id", String, nullable=False),
    Column("at", MomentColumn, nullable=False),
    Column("by", String, nullable=False),
    Column("place", Integer, nullable=False),
    Column("seats", ParsedColumn(tuple[int, ...])),
)


@dataclass(frozen=True)
class SeatRow:
    """How far one person's seat is; the row is stored before the link gets the request for the seat.

    ``session``: the id of the requested session, or of another session of the person that counts as the seat.
    ``asked``: when the seat was last requested. ``wave``: the number of the wave of this request. A request outside of
    waves has the number of the workshop's latest wave, 0 if there was none. ``attempts``: how many requests at the
    seat's place count as attempts: the first one, and each one after a failure. The count begins again at 0 when a
    trainer or an operator ends a halt or moves seats. ``ran``: when the session could first be opened, None: not yet.
    ``why``: why the seat failed, was refused or ended.

    ``since``: an ended session of the person may count as the seat only if it was created at this time or later (see
    ``SeatBody``), None: no ended session counts. ``over``: the id of the person's last session that is known to have
    ended, None: none is known. ``first_asked``: when the seat was first requested at its place, None: not known, since
    an earlier release requested it.
    """

    workshop: str
    person: str
    factory: str
    size: str
    session: str
    state: SeatProgress
    wave: int
    attempts: int
    asked: datetime
    ran: datetime | None = None
    why: Words | None = None
    since: datetime | None = None
    over: str | None = None
    first_asked: datetime | None = None


@dataclass(frozen=True)
class WarmUpRow:
    """Whether the start of a workshop's seats is halted.

    ``halted``: since when no more waves of seats are requested, None: not halted; ``wave``: the number of the wave that
    was the cause; ``failed``: how many seats of this wave failed; ``of``: how many seats the wave had; ``why``: the
    most frequent reason of the failures; ``go_on``: when a trainer or an operator last said to go on, or moved seats,
    None: never.
    """

    workshop: str
    halted: datetime | None = None
    wave: int = 0
    failed: int = 0
    of: int = 0
    why: Words | None = None
    go_on: datetime | None = None


@dataclass(frozen=True)
class MoveRow:
    """One order of a trainer or an operator to move seats of a workshop to a place.

    ``number``: the number of the order, from 1; ``id``: usually given by the caller; an order whose id is stored
    already is not stored again; ``place``: the number of the place, 1 is plan A; ``seats``: the numbers of the seats,
    None: all.
    """

    workshop: str
    number: int
    id: str
    at: datetime
    by: str
    place: int
    seats: tuple[int, ...] | None = None
