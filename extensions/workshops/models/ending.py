"""What the service answers about the end of a workshop: its report, its certificates, and what is kept of its
people."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from factorycommon.models import EndReason, Model, Person, Slug
from factorycommon.models.joining import Typed
from factorycommon.models.prices import Amount
from workshops.models.bodies import Role
from workshops.states import WorkshopState

MOST_MINUTES = 24 * 60  # of one extension
CertificateId = Annotated[str, StringConstraints(max_length=80, pattern=r"^[A-Za-z0-9.-]+$")]


class ExtendWorkshopBody(Model):
    """Body of ``POST workshops/{slug}/extend``: by how much a class goes on."""

    minutes: int = Field(ge=1, le=MOST_MINUTES)


class CertificateBody(Model):
    """Body of ``POST /certificates``. ``name``: as it is printed; "" to ask about the id only."""

    id: CertificateId
    name: Typed = ""


class AttendanceRow(Model):
    """One person in a report.

    ``role`` None: they were removed; ``first``: when a session of theirs ran first; ``minutes``: of the class in which
    a session of theirs ran, ``share``: of the whole class, from 0 to 1; ``hours``: of their sessions;
    ``longest_wait``: seconds until a session answered, None: none did; ``costs``: in the sites' own units."""

    person: Person
    name: str = ""
    role: Role | None
    seat: int | None
    first: datetime | None
    minutes: int
    share: float
    sessions: int
    hours: float
    gpu_hours: float
    cluster_gpu_hours: float
    longest_wait: float | None
    failures: int
    costs: tuple[Amount, ...] = ()


class FailureSum(Model):
    """How many sessions of a workshop failed at a factory for a reason. ``code``: of the reason's explanation."""

    factory: Slug
    reason: EndReason
    code: str
    count: int


class WaitSums(Model):
    """How long people waited from the request for a session until it answered, in seconds. ``count``: of how many
    sessions; the others are None if it is 0."""

    count: int
    p50: float | None
    p95: float | None
    most: float | None


class ReportView(Model):
    """A workshop in figures.

    Of the participants, ``joined`` had a seat, ``came`` had a session while the class took place, and ``certified``
    took part long enough for a certificate. ``used_seats``: the most participants whose sessions ran at the same time.
    ``sessions`` and ``hours``: of notebooks; ``gpu_hours``: of notebooks and of clusters' Dask schedulers,
    ``cluster_gpu_hours``: of clusters' workers; ``costs``: of all, in the sites' own units, as far as the catalogue
    says them. ``whole`` False: the link did not answer, so nothing is known of sessions. ``erased``: when the people
    were deleted; from then on ``people`` is empty, and the sums stay."""

    slug: str
    title: str
    state: WorkshopState
    zone: str
    opens: datetime
    starts: datetime
    ends: datetime
    closes: datetime
    made: datetime
    seats: int
    joined: int
    waiting: int
    came: int
    certified: int
    used_seats: int
    sessions: int
    running: int
    hours: float
    gpu_hours: float
    cluster_gpu_hours: float
    costs: tuple[Amount, ...] = ()
    waits: WaitSums
    failures: tuple[FailureSum, ...] = ()
    people: tuple[AttendanceRow, ...] = ()
    whole: bool = True
    erased: datetime | None = None


class MailedView(Model):
    """Response to certificates that were sent by mail: how many, and how many people who have earned one have no mail
    address here, since they have an account."""

    sent: int
    without_mail: int


class CertificateCheck(Model):
    """Whether a certificate of attendance is valid. The rest is empty if it is not.

    ``named``: whether it is that of the person whose name was typed; None: no name was typed."""

    valid: bool
    title: str = ""
    zone: str = "UTC"
    starts: datetime | None = None
    ends: datetime | None = None
    named: bool | None = None


class PrivacyView(Model):
    """When what is kept of a workshop's people is deleted, for its data-protection page. It has no title and no names,
    so everybody who has the address may read it.

    ``deleted``: at the latest; ``guests``: people may join with a mail address."""

    slug: str
    zone: str
    closes: datetime
    deleted: datetime
    retention_days: int
    erased: bool
    guests: bool


class ClosingView(Model):
    """What would end if a workshop were closed now: sessions that run and wait, clusters, and when. None of it is known
    if the link does not answer."""

    known: bool
    running: int = 0
    waiting: int = 0
    clusters: int = 0
    ends: datetime
