"""Models for rehearsals of a workshop at its places: results, settings, and whether a result still counts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from factorycommon.models import Model, Occupant, Person, SessionId, Slug
from factorycommon.models.messages import Coded, Phrase
from factorycommon.models.plain import PlainText
from factorycommon.models.sessions import Words
from factorycommon.models.workshops import MOST_SEATS
from factorycommon.models.workshops.rehearsal import RehearsalColour
from workshops.models.bodies import MOST_PLACES
from workshops.models.seats import SeatProgress

RehearsalKind = Literal["dry", "seats", "wave"]
RehearsalCheck = Literal[
    "participants", "terms", "rules", "budget", "reservation", "maintenance", "place", "prestart", "accounts", "wipe",
    "size", "environment", "material", "pace", "versions", "connections", "seat", "wave", "warm", "stopped",
]  # fmt: skip
RehearsalPart = Literal["plan", "environment", "catalogue", "agreement", "material"]
Signature = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_ORDER: tuple[RehearsalColour, ...] = ("red", "yellow")
MOST_LINES = 100
REHEARSED_SEATS = 3
MOST_REASONS = 5  # of failures of a wave
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RehearsalBody(Model):
    """Body of ``POST workshops/SLUG/rehearsals``.

    ``place``: the number of the place, 1 is plan A; ``kind``: ``dry`` starts nothing; ``seats`` runs three seats of the
    caller for some minutes; ``wave`` runs the seats of the whole class, on which robots (made-up members) sit in place
    of people.
    """

    place: int = Field(default=1, ge=1, le=MOST_PLACES)
    kind: RehearsalKind = "dry"


class RehearsalLine(Coded):
    """One thing that a rehearsal checked: the result, and what to do."""

    TEXTS = ("text", "do")

    check: RehearsalCheck
    colour: RehearsalColour
    text: PlainText
    do: PlainText = ""


class RehearsedSeat(Model):
    """One seat of a rehearsal.

    ``asked``: when the link accepted the request for the seat; ``ran``: when the seat could be opened; ``why``: why the
    seat failed or was refused; ``wave``: for a robot's seat, the number of the wave in which it was requested, 0: not
    requested yet.
    """

    person: Occupant
    server: str = Field(max_length=255)
    wave: int = Field(default=0, ge=0, le=MOST_SEATS)
    session: SessionId
    state: SeatProgress = SeatProgress.ASKED
    asked: datetime | None = None
    ran: datetime | None = None
    why: Words | None = None

    @property
    def seconds(self) -> float | None:
        """Return the seconds from ``asked`` until the seat could be opened; None if it could not be opened."""
        return None if self.asked is None or self.ran is None else (self.ran - self.asked).total_seconds()


class WaveReason(Model):
    """One reason why seats did not come up, or ended early, in a rehearsal with robots (made-up members).

    ``count``: the number of seats with this reason.
    """

    count: int = Field(ge=1, le=MOST_SEATS)
    why: Words


class WaveSummary(Model):
    """How the seats came up in a rehearsal with robots, which are made-up members of the class.

    ``seats``: the seats of the class. Of these, ``asked`` were requested, ``up`` could be opened and did not end,
    ``refused`` were refused, and ``failed`` failed. ``p50``, ``p95`` and ``slowest``: seconds from the request for a
    seat until it could be opened; ``seconds``: from the request for the first seat until the last seat could be opened;
    all four are None if no seat could be opened. ``per_minute``: seats that came up in a minute; ``warm_minutes``: how
    many minutes before the workshop opens the first seats must be started, so that all seats are up in time; both are
    None if too few seats came up to tell. ``halted``: no more seats were requested because too many seats of a wave
    failed; ``reasons``: the most frequent reasons of failures and refusals.
    """

    seats: int = Field(ge=1, le=MOST_SEATS)
    asked: int = Field(default=0, ge=0, le=MOST_SEATS)
    up: int = Field(default=0, ge=0, le=MOST_SEATS)
    refused: int = Field(default=0, ge=0, le=MOST_SEATS)
    failed: int = Field(default=0, ge=0, le=MOST_SEATS)
    p50: Seconds | None = None
    p95: Seconds | None = None
    slowest: Seconds | None = None
    seconds: Seconds | None = None
    per_minute: Seconds | None = None
    warm_minutes: int | None = Field(default=None, ge=0)
    halted: bool = False
    reasons: tuple[WaveReason, ...] = Field(default=(), max_length=MOST_REASONS)


class RehearsalResult(Model):
    """What a rehearsal found; the workshops service signs this result.

    ``seats``: the seats of a rehearsal of three seats; ``wave``: how the seats came up in a rehearsal with robots;
    ``parts``: a digest of each part of the settings with which the rehearsal was made.
    """

    workshop: str = Field(max_length=48)
    factory: Slug
    kind: RehearsalKind
    at: datetime
    ended: datetime
    by: Person
    lines: tuple[RehearsalLine, ...] = Field(max_length=MOST_LINES)
    seats: tuple[RehearsedSeat, ...] = Field(default=(), max_length=REHEARSED_SEATS)
    wave: WaveSummary | None = None
    parts: dict[RehearsalPart, Signature] = Field(default_factory=dict)

    @property
    def colour(self) -> RehearsalColour:
        """Return the worst colour of all lines."""
        found = {line.colour for line in self.lines}
        return next((one for one in _ORDER if one in found), "green")

    @property
    def stopped(self) -> bool:
        """Return whether the rehearsal was ended early; if it was, its result is not used."""
        return _is_stopped(self.lines)


class RehearsalView(Model):
    """A rehearsal as people see it.

    ``colour``: None while the rehearsal goes on; ``until``: when a rehearsal that goes on runs out of time;
    ``number``: the first digits of the result's signature; ``stopping``: whether somebody has stopped the rehearsal, so
    that its seats end now; ``void``: why the result does not count, for example because a setting has changed since
    (empty: no reason was found); ``checked``: False if some settings could not be compared, because the link reported
    nothing about the factory; ``counts``: the earlier rehearsal of this kind, whose result is used if this one goes on
    or was ended early, None: there is none.
    """

    kind: RehearsalKind
    at: datetime
    by: Person
    until: datetime | None = None
    ended: datetime | None = None
    colour: RehearsalColour | None = None
    lines: tuple[RehearsalLine, ...] = ()
    seats: tuple[RehearsedSeat, ...] = ()
    wave: WaveSummary | None = None
    stopping: bool = False
    number: str = ""
    void: tuple[Phrase, ...] = ()
    checked: bool = True
    counts: RehearsalView | None = None

    @property
    def running(self) -> bool:
        """Return whether the rehearsal goes on."""
        return self.ended is None

    @property
    def counting(self) -> RehearsalView | None:
        """Return this rehearsal; but if it goes on or was ended early, return ``counts``, which may be None.

        The result of the returned rehearsal counts only if that rehearsal's ``void`` is empty.
        """
        return self.counts if self.running or _is_stopped(self.lines) else self


def _is_stopped(lines: Iterable[RehearsalLine]) -> bool:
    return any(line.check == "stopped" for line in lines)


class WaveCost(Model):
    """The most GPU-hours and minutes that a rehearsal with robots (made-up members) on ``seats`` seats can take."""

    seats: int = Field(ge=1, le=MOST_SEATS)
    minutes: int = Field(ge=1)
    gpu_hours: float = Field(ge=0, allow_inf_nan=False)


class PlaceRehearsals(Model):
    """The last rehearsals at one place (factory and node size) of a workshop; ``number`` 1 is plan A.

    ``dry``, ``seats``, ``wave``: the last rehearsal of each kind, None: there was none. ``costs``: the most GPU-hours
    and minutes that a rehearsal with robots (made-up members) can take, None: not known. ``ready``: True if the last
    complete rehearsal of three seats was green and still counts; but False if the last complete rehearsal with robots
    was red and still counts.
    """

    number: int
    factory: str
    size: str
    dry: RehearsalView | None = None
    seats: RehearsalView | None = None
    wave: RehearsalView | None = None
    costs: WaveCost | None = None
    ready: bool = False


class RehearsalsView(Model):
    """The last rehearsals of a workshop, by place. ``running``: whether a rehearsal goes on now."""

    places: tuple[PlaceRehearsals, ...]
    running: bool = False
