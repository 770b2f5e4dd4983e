"""The service's answers about workshops, their people, and the pools that trainers may choose."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from factorycommon.models import Model
from workshops.models.bodies import MaterialBody, Role
from workshops.models.material import MaterialStatus
from workshops.states import WorkshopEvent, WorkshopState

SeatState = Literal["seated", "waiting", "staff", "left", "banned"]
LogEvent = Literal[
    "created", "changed", "submitted", "approved", "declined",
    "withdraw", "schedule", "warm", "open", "close", "archive", "cancel", "extended", "erased",
    "new code", "guesses", "role", "removed", "joined", "left", "promoted", "banned", "readmitted", "list",
    "message", "stopped", "seat start", "seat restart", "seat reset", "halted", "go on", "moved", "material",
    "rehearsal", "rehearsal stopped", "rehearsed", "certificates",
    "hand", "lowered", "comes", "helped", "asks to look", "look", "looked", "look ended",
]  # fmt: skip
Action = Literal[
    "change", "submit", "approve", "decline", "withdraw", "cancel", "warm", "close", "code", "people", "see-people",
    "extend", "report", "certificates",
    "see-room", "help", "broadcast", "stop-seat", "start-seat", "go-on", "move", "fetch-material", "rehearse",
]  # fmt: skip

# How a workshop's log names the steps of its state.
LOGGED_STEPS: dict[WorkshopEvent, LogEvent] = {
    WorkshopEvent.APPROVE: "approved",
    WorkshopEvent.SCHEDULE: "schedule",
    WorkshopEvent.WARM: "warm",
    WorkshopEvent.OPEN: "open",
    WorkshopEvent.CLOSE: "close",
    WorkshopEvent.ARCHIVE: "archive",
    WorkshopEvent.CANCEL: "cancel",
    WorkshopEvent.WITHDRAW: "withdraw",
}


class PlaceView(Model):
    """One place of a workshop: a factory with a node size, at which seats run. ``number``: 1 is plan A, 2 is plan B.

    ``environment``: None means the factory's default; ``pool``: the pool's id; ``reservation``: None means that the
    seats run in no reservation.
    """

    number: int
    factory: str
    size: str
    environment: str | None
    pool: str
    reservation: str | None


class CodeView(Model):
    """A valid code for joining, without the text of the code, which is shown only when the code is made.

    ``expires``: when the code ceases to be valid, None: when the workshop closes; ``uses``: how many people may join
    with the code, None: any number; ``used``: how many have joined with it; ``domains``: guests may join only with mail
    addresses at these domains or at hosts below them, empty: with any address.
    """

    made: datetime
    made_by: str
    expires: datetime | None
    uses: int | None
    used: int
    domains: tuple[str, ...]


class StaffView(Model):
    """What only operators and the people who run a workshop see of it.

    ``version``: counts the changes of the workshop; ``gpu_hours``, ``person_gpu_hours``: as in ``WorkshopBody``;
    ``submitted``: when approval was last requested, None: never, or the workshop was declined or withdrawn since then;
    ``declined``: why an operator did not approve the workshop; ``problem``: why the link cannot do all that the
    workshop asks for; both are "" if there is no such reason. ``seated``, ``waiting``: how many people have a seat, and
    how many wait for one; ``material``: the state of the material, None if the workshop has none or is over, or if the
    service has not noticed the material yet; ``codes``: the join codes that are valid now.
    """

    version: int
    made_by: str
    gpu_hours: float | None
    person_gpu_hours: float | None
    submitted: datetime | None
    declined: str
    problem: str
    seated: int
    waiting: int
    material: MaterialStatus | None
    codes: tuple[CodeView, ...]


class WorkshopView(Model):
    """A workshop as the caller may see it; times are in UTC.

    ``zone``: the time zone in which the class takes place; ``seats``: how many the workshop has; ``hours``: how many
    hours a seat's session may last, without the warm-up; ``role``: the caller's role, None: they have none; ``seat``:
    the number of their seat, None: they have none; ``may``: what they may do with the workshop now; ``staff``: None for
    participants. ``terms``, ``languages``, ``retention_days``, ``seat_on_join`` and ``certificate_percent``: as in
    ``WorkshopBody``.
    """

    slug: str
    title: str
    state: WorkshopState
    zone: str
    opens: datetime
    starts: datetime
    ends: datetime
    closes: datetime
    seats: int
    hours: float
    places: tuple[PlaceView, ...]
    terms: str
    languages: tuple[str, ...]
    material: MaterialBody | None
    retention_days: int
    seat_on_join: bool = True
    certificate_percent: int = 75
    project: str
    join_url: str
    role: Role | None
    seat: int | None
    may: tuple[Action, ...]
    staff: StaffView | None


class CreatedView(Model):
    """Response to a request that creates a workshop or a new join code.

    ``code``: the text of the join code of the workshop, which is not shown again.
    """

    slug: str
    state: WorkshopState
    code: str
    join_url: str


class MemberView(Model):
    """A person of a workshop.

    ``name``: the name that a guest gave; "" for people with an account; ``since``: when the person joined.
    """

    person: str
    name: str = ""
    role: Role
    state: SeatState
    seat: int | None
    since: datetime


class ListedView(Model):
    """Response to the upload of a list of people: how many people the list contains."""

    people: int


class EventView(Model):
    """One line of a workshop's log. ``by``: the person who did ``what``; "" for the service itself."""

    at: datetime
    by: str
    what: str
    detail: str


class PoolView(Model):
    """A pool: what an operator lets workshops use at one factory. A trainer chooses pools by their ``id``.

    ``environments`` empty: all are allowed; ``seats``: the most seats that all workshops together may have in the pool
    at the same time; ``gpu_hours``: the most for one workshop, None: no limit; ``max_hours``: the most hours that a
    trainer may choose for a seat's session; ``reservations``: those that a trainer may choose.
    """

    id: str
    title: str
    factory: str
    sizes: tuple[str, ...]
    environments: tuple[str, ...]
    seats: int
    gpu_hours: float | None
    max_hours: float
    reservations: tuple[str, ...]


class AccessView(Model):
    """What the caller may do.

    ``create``: whether they may make workshops; ``operator``: whether they are an operator; ``approval``: who has to
    approve workshops, ``none`` if nobody has to.
    """

    person: str
    create: bool
    operator: bool
    approval: Literal["operator", "none"]
