"""Bodies of requests to the workshops service; unknown fields and values outside the limits are refused."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from factorycommon.models import Hours, Model, Slug, Word
from factorycommon.models.bodies import Until
from factorycommon.models.plain import plain_lines, plain_text
from factorycommon.models.workshops import MOST_SEATS, GpuHourLimit
from workshops.times import Zone

MOST_PLACES = 10
MOST_STAFF = 200  # people who run one workshop: the link reads a table of all people
MAIL_DOMAINS = 50  # the most of a code

Title = Annotated[str, StringConstraints(max_length=120), AfterValidator(partial(plain_text, most=120)),
                  StringConstraints(min_length=1)]  # fmt: skip
Paragraphs = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(partial(plain_lines, most=10_000))]
Sentence = Annotated[str, StringConstraints(max_length=500), AfterValidator(partial(plain_text, most=500)),
                     StringConstraints(min_length=1)]  # fmt: skip
LanguageCode = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
MailDomain = Annotated[
    str, StringConstraints(pattern=rf"^{_LABEL}(\.{_LABEL})+$", max_length=253), AfterValidator(str.lower)
]
Role = Literal["lead", "instructor", "helper", "observer", "participant"]


def _written_out(value: object) -> object:
    """Return a time unchanged. Raises ValueError for a value without a ``T`` between date and time of day.

    So a number is refused, which pydantic would read as seconds since 1970.
    """
    if not isinstance(value, datetime) and "T" not in str(value).upper():
        raise ValueError("say it as 2026-10-25T09:00:00+02:00, or as 2026-10-25T09:00 in the workshop's zone")
    return value


ZoneTime = Annotated[datetime, BeforeValidator(_written_out)]  # with an offset, or as clocks of the zone show it


class PlaceBody(Model):
    """One place of a workshop: a node size at a factory, on which seats run.

    The first place in the list is plan A, the next one is plan B. ``pool``: the id of the pool (see ``GET pools``) that
    pays for the sessions at this place; None: the first pool of the factory that allows the size. ``environment``: None
    means the factory's default. ``reservation``: one of the pool's reservations, in which the seats run; None: in no
    reservation.
    """

    factory: Slug
    size: Slug
    environment: Slug | None = None
    pool: Slug | None = None
    reservation: Word | None = None


class MaterialBody(Model):
    """A commit of a git repository; the commit's files are the workshop's material."""

    repository: Annotated[str, StringConstraints(pattern=r"^https://[A-Za-z0-9][A-Za-z0-9.:-]*/[^\s\x00-\x20\x7f\"'<>]+$",
                                                 max_length=500)]  # fmt: skip
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]


class CodeBody(Model):
    """A new code for joining.

    ``uses``: how many people may join with the code; None: any number. Whoever joins when all seats are taken waits for
    a seat. ``expires``: when the code ceases to be valid; None: when the workshop closes. ``domains``: guests may join
    only with mail addresses at these domains or at hosts below them; empty: with any address. People with an account
    are not restricted.
    """

    uses: int | None = Field(default=None, ge=1, le=100_000)
    expires: Until | None = None
    domains: tuple[MailDomain, ...] = Field(default=(), max_length=MAIL_DOMAINS)


class WorkshopBody(Model):
    """A new workshop.

    ``zone``: the time zone of the class, and of times without an offset; ``opens``: when people may begin to use their
    seats; ``starts`` and ``ends``: the times of the class itself; ``closes``: when all sessions end; ``hours``: how
    many hours a session may last; ``gpu_hours``: the most GPU-hours that all people of the workshop may use together,
    None: what the pools allow; ``person_gpu_hours``: the most GPU-hours of each person, None: a share of what all may
    use; ``terms``: a text that people must accept when they join, "" if there is none; ``languages``: the languages of
    the class; the first is used for people whose own language is not known; ``material``: None if the workshop has
    none; ``retention_days``: for how many days after the workshop its people's data are kept;
    ``certificate_percent``: how many per cent of the class a person must attend for a certificate; ``submit``: whether
    to ask for approval at once; ``seat_on_join``: True if the session of a person who joins while the workshop is open
    starts at once; False if it starts when the person opens the seat.
    """

    title: Title
    zone: Zone = "UTC"
    opens: ZoneTime
    starts: ZoneTime
    ends: ZoneTime
    closes: ZoneTime
    seats: int = Field(ge=1, le=MOST_SEATS)
    hours: Hours
    places: tuple[PlaceBody, ...] = Field(min_length=1, max_length=MOST_PLACES)
    gpu_hours: GpuHourLimit | None = None
    person_gpu_hours: GpuHourLimit | None = None
    terms: Paragraphs = ""
    languages: tuple[LanguageCode, ...] = Field(default=("en",), min_length=1, max_length=30)
    material: MaterialBody | None = None
    retention_days: int = Field(default=30, ge=0, le=3650)
    certificate_percent: int = Field(default=75, ge=0, le=100)
    code: CodeBody = CodeBody()
    seat_on_join: bool = True
    submit: bool = True


class WorkshopChange(Model):
    """The changes of a workshop; fields that are left out stay as they are.

    A null removes the value of ``gpu_hours``, ``person_gpu_hours`` or ``material``; a null for another field counts as
    left out. ``version``: the version of the workshop on which the change is based; if the workshop has another version
    now, the change is refused.
    """

    version: int = Field(ge=1)
    title: Title | None = None
    zone: Zone | None = None
    opens: ZoneTime | None = None
    starts: ZoneTime | None = None
    ends: ZoneTime | None = None
    closes: ZoneTime | None = None
    seats: int | None = Field(default=None, ge=1, le=MOST_SEATS)
    hours: Hours | None = None
    places: tuple[PlaceBody, ...] | None = Field(default=None, min_length=1, max_length=MOST_PLACES)
    gpu_hours: GpuHourLimit | None = None
    person_gpu_hours: GpuHourLimit | None = None
    terms: Paragraphs | None = None
    languages: tuple[LanguageCode, ...] | None = Field(default=None, min_length=1, max_length=30)
    material: MaterialBody | None = None
    retention_days: int | None = Field(default=None, ge=0, le=3650)
    seat_on_join: bool | None = None
    certificate_percent: int | None = Field(default=None, ge=0, le=100)


class DeclineBody(Model):
    """Why an operator does not approve a workshop."""

    reason: Sentence


class MemberBody(Model):
    """The role that a person gets in a workshop."""

    role: Role
