"""The table of rehearsals: the last one of each kind at each factory of a workshop."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ForeignKey, String, Table

from factorycommon.service.columns import MomentColumn, ParsedColumn
from workshops.models.rehearsal import RehearsalKind, RehearsalResult, RehearsedSeat
from workshops.store.schema import metadata

# The record ``RehearsalRow`` below explains the columns.
rehearsals = Table(
    "rehearsals",
    metadata,
    Column("workshop", ForeignKey("workshops.slug"), primary_key=True),
    Column("factory", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("at", MomentColumn, nullable=False),
    Column("by", String, nullable=False),
    Column("until", MomentColumn),
    Column("seats", ParsedColumn(tuple[RehearsedSeat, ...]), nullable=False),
    Column("result", ParsedColumn(RehearsalResult)),
    Column("signature", String),
    Column("stopped", String),
    Column("counts", ParsedColumn(RehearsalResult)),
    Column("counts_signature", String),
)


@dataclass(frozen=True)
class RehearsalRow:
    """One rehearsal of the kind ``kind`` at a factory of a workshop.

    ``at``, ``by``: when it began, and who began it; ``until``: when it is to end at the latest, None if it has ended;
    ``stopped``: who has stopped it, None if nobody has.

    ``seats``: the seats that the rehearsal requests, if any. If robots have the seats (kind ``wave``), ``seats`` is
    empty after the end.

    ``result``: what the rehearsal found. While the rehearsal goes on, the result has no lines yet, only digests of the
    workshop's settings (``parts``). ``signature``: the HMAC of the result, None while the rehearsal goes on. If the
    factory was removed from the workshop before the end, ``result`` and ``signature`` are None, and ``seats`` is empty.

    ``counts``, ``counts_signature``: the result of an earlier rehearsal, and the HMAC of that result. The earlier
    result is used in place of ``result`` while this rehearsal goes on, and afterwards if this rehearsal was ended early
    (see ``wave.WaveEnd``). Both are None if there is no earlier result, and after a normal end of this rehearsal.
    """

    workshop: str
    factory: str
    kind: RehearsalKind
    at: datetime
    by: str
    until: datetime | None = None
    seats: tuple[RehearsedSeat, ...] = ()
    result: RehearsalResult | None = None
    signature: str | None = None
    stopped: str | None = None
    counts: RehearsalResult | None = None
    counts_signature: str | None = None
