"""The main tables of the workshops service's database, and classes for their rows.

Times are stored as seconds since 1970. ``migrations`` changes a database of an older release to these tables; a test
checks that both give the same tables.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text, true

from factorycommon.models.workshops import PREFIX
from factorycommon.service.columns import MomentColumn, ParsedColumn
from workshops.models.bodies import MaterialBody, Role
from workshops.models.ending import ReportView
from workshops.models.views import LogEvent, SeatState
from workshops.states import Schedule, WorkshopState

metadata = MetaData()

# ``version`` counts changes, so that no change undoes another one unseen. ``warmed``: when the seats were first allowed
# to start; ``closed``: when it began to close; ``over``: when it was archived or cancelled; ``erased``: when its people
# were deleted; ``certificate_percent``: how much of the class a person has to attend for a certificate;
# ``seat_on_join``: whether the seat of somebody who joins while it is open begins at once.
workshops = Table(
    "workshops",
    metadata,
    Column("slug", String, primary_key=True),
    Column("title", Text, nullable=False),
    Column("zone", String, nullable=False),
    Column("opens", MomentColumn, nullable=False),
    Column("starts", MomentColumn, nullable=False),
    Column("ends", MomentColumn, nullable=False),
    Column("closes", MomentColumn, nullable=False),
    Column("seats", Integer, nullable=False),
    Column("hours", Float, nullable=False),
    Column("gpu_hours", Float),
    Column("person_gpu_hours", Float),
    Column("terms", Text, nullable=False),
    Column("languages", ParsedColumn(tuple[str, ...]), nullable=False),
    Column("material", ParsedColumn(MaterialBody)),
    Column("retention_days", Integer, nullable=False),
    Column("warm_minutes", Integer, nullable=False),
    Column("seat_on_join", Boolean, nullable=False, server_default=true()),
    Column("state", ParsedColumn(WorkshopState), nullable=False),
    Column("version", Integer, nullable=False),
    Column("made", MomentColumn, nullable=False),
    Column("made_by", String, nullable=False),
    Column("submitted", MomentColumn),
    Column("declined", Text, nullable=False),
    Column("problem", Text, nullable=False),
    Column("warmed", MomentColumn),
    Column("closed", MomentColumn),
    Column("over", MomentColumn),
    Column("erased", MomentColumn),
    Column("certificate_percent", Integer, nullable=False, server_default="75"),
)
places = Table(
    "places",
    metadata,
    Column("workshop", ForeignKey("workshops.slug"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("factory", String, nullable=False),
    Column("size", String, nullable=False),
    Column("environment", String),
    Column("pool", String, nullable=False),
    Column("reservation", String),
)
# ``mail``, ``name``: what a guest said; ``terms_at``: when the person accepted the terms; ``code``: the code by which
# the person joined; ``language``: of the page on which they did.
memberships = Table(
    "memberships",
    metadata,
    Column("workshop", ForeignKey("workshops.slug"), primary_key=True),
    Column("person", String, primary_key=True),
    Column("role", ParsedColumn(Role), nullable=False),
    Column("state", ParsedColumn(SeatState), nullable=False),
    Column("seat", Integer),
    Column("at", MomentColumn, nullable=False),
    Column("name", String),
    Column("mail", String),
    Column("terms_at", MomentColumn),
    Column("code", Integer),
    Column("language", String),
    Index("one_person_a_seat", "workshop", "seat", unique=True),
    Index("memberships_of_a_person", "person"),
)
codes = Table(
    "codes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("workshop", ForeignKey("workshops.slug"), nullable=False, index=True),
    Column("salt", String, nullable=False),
    Column("hash", String, nullable=False),
    Column("uses", Integer),
    Column("used", Integer, nullable=False),
    Column("expires", MomentColumn),
    Column("domains", ParsedColumn(tuple[str, ...]), nullable=False),
    Column("made", MomentColumn, nullable=False),
    Column("made_by", String, nullable=False),
    Column("revoked", MomentColumn),
)
events = Table(
    "events",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("workshop", ForeignKey("workshops.slug"), nullable=False, index=True),
    Column("at", MomentColumn, nullable=False),
    Column("by", String, nullable=False),
    Column("what", String, nullable=False),
    Column("detail", Text, nullable=False),
)
# Reports of workshops that are over, without people, so that their sums stay when the people are deleted.
reports = Table(
    "reports",
    metadata,
    Column("workshop", ForeignKey("workshops.slug"), primary_key=True),
    Column("at", MomentColumn, nullable=False),
    Column("content", ParsedColumn(ReportView), nullable=False),
)


@dataclass(frozen=True)
class PlaceRecord:
    """One place of a workshop: a factory, with what a seat there gets. ``number``: from 1; 1 is the first choice.

    ``environment``: None means the factory's default; ``pool``: the id of the operator's settings for workshops there;
    ``reservation``: the one in which the seats' jobs run, None if there is none.
    """

    number: int
    factory: str
    size: str
    environment: str | None
    pool: str
    reservation: str | None = None


@dataclass(frozen=True)
class WorkshopRecord:
    """One workshop's row, with its places.

    ``opens``, ``closes``: when people may begin to use their seats, and when all sessions end; ``starts``, ``ends``:
    the times of the class itself; ``warm_minutes``: the seats may start at most this many minutes before ``opens``,
    unless a trainer or an operator lets them start earlier. ``version`` counts the changes. ``submitted``: when
    approval was requested; ``declined``: why an operator refused approval; ``problem``: why the link does not allow all
    that the workshop asks for. ``warmed``: when the seats were first allowed to start; ``closed``: when the workshop
    began to close; ``over``: when the workshop was archived or cancelled; ``retention_days``: for how many days after
    ``over`` its people's data are kept; ``erased``: when these data were deleted. A time is None, and a reason "", if
    there is none. ``hours``, ``gpu_hours``, ``person_gpu_hours``, ``terms``, ``seat_on_join`` and
    ``certificate_percent``: as in ``WorkshopBody``.
    """

    slug: str
    title: str
    zone: str
    opens: datetime
    starts: datetime
    ends: datetime
    closes: datetime
    seats: int
    hours: float
    gpu_hours: float | None
    person_gpu_hours: float | None
    terms: str
    languages: tuple[str, ...]
    material: MaterialBody | None
    retention_days: int
    warm_minutes: int
    state: WorkshopState
    version: int
    made: datetime
    made_by: str
    submitted: datetime | None = None
    declined: str = ""
    problem: str = ""
    warmed: datetime | None = None
    closed: datetime | None = None
    over: datetime | None = None
    erased: datetime | None = None
    seat_on_join: bool = True
    certificate_percent: int = 75
    places: tuple[PlaceRecord, ...] = ()

    @property
    def project(self) -> str:
        """Return the id of the workshop's project at the link."""
        return f"{PREFIX}{self.slug}"

    def columns(self) -> dict[str, Any]:
        """Return the row in the table of workshops, by column; places are in a table of their own, and left out."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "places"}

    def with_values(self, **values: Any) -> WorkshopRecord:
        """Return a copy in which the fields that are given as keywords have these values."""
        return replace(self, **values)

    def schedule(self, clear: timedelta) -> Schedule:
        """Return the workshop's times. ``clear``: how long the workshop is ``closing`` before it is archived."""
        warm = timedelta(minutes=self.warm_minutes)
        return Schedule(self.opens, self.starts, self.ends, self.closes, warm, self.closed, clear)


@dataclass(frozen=True)
class MembershipRecord:
    """One person's membership in a workshop. ``at``: when the person joined; ``seat``: None without a seat.

    ``name``, ``mail``: for a guest, the name as typed and the mail address in small letters, else None;
    ``terms_at``: when the person accepted the terms, None: never; ``code``: the id of the join code with which the
    person joined, None: joined without one; ``language``: the code of the language of the page on which the person
    joined, None: not known.
    """

    workshop: str
    person: str
    role: Role
    state: SeatState
    seat: int | None
    at: datetime
    name: str | None = None
    mail: str | None = None
    terms_at: datetime | None = None
    code: int | None = None
    language: str | None = None


@dataclass(frozen=True)
class CodeRecord:
    """One join code. ``id``: 0 before the code is stored; ``uses``: how many may join with it, None: no limit.

    ``used``: how many have joined with it; ``expires``: when it ceases to be valid, None: when the workshop closes;
    ``domains``: guests may join only with mail addresses at these domains or at hosts below them, empty: with any
    address; ``revoked``: when a newer code replaced it, None: not replaced.
    """

    workshop: str
    salt: str
    hash: str
    made: datetime
    made_by: str
    uses: int | None = None
    used: int = 0
    expires: datetime | None = None
    domains: tuple[str, ...] = ()
    revoked: datetime | None = None
    id: int = 0


@dataclass(frozen=True)
class EventRecord:
    """One line of a workshop's log. ``by``: the person who did ``what``; "": the service itself."""

    workshop: str
    at: datetime
    by: str
    what: LogEvent
    detail: str = ""
