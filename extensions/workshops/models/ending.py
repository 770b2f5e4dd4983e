"""The service's answers about the end of a workshop: report, certificates, and deletion of its people's data."""

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
    """Body of ``POST workshops/{slug}/extend``: by how many minutes the class is extended."""

    minutes: int = Field(ge=1, le=MOST_MINUTES)


class CertificateBody(Model):
    """Body of ``POST /certificates``, which checks whether a certificate of attendance is valid.

    ``name``: the name that is printed on the certificate; "" to check the id only.
    """

    id: CertificateId
    name: Typed = ""


class AttendanceRow(Model):
    """One person in a report.

    ``role``: None means that the person ran something, but is not in the list of the workshop's people; ``first``: when
    they first opened a session; ``minutes``: for how many minutes of the class at least one of their opened sessions
    ran; ``share``: these minutes as a share of the class so far, from 0 to 1; ``sessions``, ``hours``, ``gpu_hours``,
    ``cluster_gpu_hours``, ``costs``: as in ``ReportView``, for this person; ``longest_wait``: the most seconds from a
    request for a session until the session answered, None: no session answered; ``failures``: how many of their
    sessions failed.
    """

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
    """How many sessions of a workshop failed at a factory for the same reason.

    ``code``: the code of the explanation why they ended, "" if there is none.
    """

    factory: Slug
    reason: EndReason
    code: str
    count: int


class WaitSums(Model):
    """How long people waited from the request for a session until the session answered, in seconds.

    ``count``: how many sessions answered; if it is 0, the other fields are None. ``p50`` and ``p95`` are percentiles.
    """

    count: int
    p50: float | None
    p95: float | None
    most: float | None


class ReportView(Model):
    """A workshop in figures, as of ``made``.

    ``joined``: the participants who have a seat, have left or are banned. Of these, ``came`` had opened sessions that
    ran for at least a minute of the class, and ``certified`` took part long enough for a certificate. ``waiting``: the
    people who wait for a seat. ``used_seats``: the most participants whose opened sessions ran at the same time.
    ``sessions``: how many sessions with a notebook there were; ``running``: how many of these run now; ``hours``: the
    hours of all ``sessions``; ``gpu_hours``: the GPU-hours of notebooks and of clusters' Dask schedulers;
    ``cluster_gpu_hours``: the GPU-hours of clusters' workers; ``costs``: the costs of all of these in the sites' own
    units, as far as the catalogue contains prices. ``waits`` and ``failures`` do not count sessions that rehearsals
    requested before the workshop opened. ``whole``: usually True. False: the report contains no sessions, because the
    link gave no usable answer, or because the people's data are deleted and no sums were stored before. ``left_out``:
    True if there are more sessions than the report counts. ``erased``: when the people's data were deleted; from then
    on ``people`` is empty, and the sums stay.
    """

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
    left_out: bool = False
    erased: datetime | None = None


class MailedView(Model):
    """How many certificates were sent by mail, and to how many people they could not be sent.

    ``without_mail``: how many people have earned a certificate, but did not join as guests with a mail address. These
    people have an account at the gateway, and the workshops service does not know their mail addresses.
    """

    sent: int
    without_mail: int


class CertificateCheck(Model):
    """Whether a certificate of attendance is valid; if it is not, the other fields have their default values.

    ``named``: whether the certificate belongs to the person whose name was typed; None: no name was typed.
    """

    valid: bool
    title: str = ""
    zone: str = "UTC"
    starts: datetime | None = None
    ends: datetime | None = None
    named: bool | None = None


class PrivacyView(Model):
    """When the data of a workshop's people are deleted, for the workshop's data-protection page.

    The view contains no title and no names, so everybody who knows its URL may read it. ``deleted``: when the data are
    deleted at the latest; ``erased``: whether they are deleted already; ``guests``: whether people may join with a mail
    address.
    """

    slug: str
    zone: str
    closes: datetime
    deleted: datetime
    retention_days: int
    erased: bool
    guests: bool


class ClosingView(Model):
    """What would end if a workshop were closed now: sessions that run, sessions that wait, and clusters.

    ``ends``: when all of these would end; ``known``: False if the link gives no usable answer, so that the numbers are
    not known.
    """

    known: bool
    running: int = 0
    waiting: int = 0
    clusters: int = 0
    ends: datetime
