"""What link and workshops service tell each other about the seats of a workshop.

The service says which seats to begin; the link says what became of them, and what a factory allows.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from factorycommon.models.base import Hours, Model, Occupant, ServerName, SessionId, Slug, UnixAccount
from factorycommon.models.bodies import MessageText, MessageTexts, Problem, Until
from factorycommon.models.sessions import EndReason, SessionState, Words
from factorycommon.models.workshops import MOST_SEATS

MOST_AT_ONCE = 100  # seats in one request
MOST_ACCOUNTS = 10_000  # of one pool


class SeatBody(Model):
    """One seat to begin.

    ``person``: whose seat it is; in a rehearsal, this may be a robot. ``session``: the id of the seat's session, which
    the service has chosen and stored before it asks, so that two requests for the same seat start one job. ``hours``:
    how long the session may run. ``environment``: None means the factory's default.

    ``moved``: a time, given if the trainer has moved the seat to ``factory``. If the seat may begin there, the link
    ends the person's sessions for this workshop on ``server`` that were created at other factories before ``moved``.

    Any other session that the person has for this workshop on ``server`` counts as the seat if it is live and is not
    being stopped; no second session is begun. ``since``: sessions that have ended or are being stopped count, too, if
    they were created at this time or later; None: they do not count. An ended session does not count if its job was
    refused or could not be submitted, or if it ended because its seat was moved. ``over``: the id of one more session
    that does not count: the seat's last session that the service knows to have ended; None: the service knows of no
    ended session.
    """

    session: SessionId
    person: Occupant
    server: ServerName = ""
    factory: Slug
    size: Slug
    environment: Slug | None = None
    hours: Hours
    moved: Until | None = None
    since: Until | None = None
    over: SessionId | None = None


class SeatsBody(Model):
    """Body of ``POST /projects/{project}/seats``, which starts the sessions of seats.

    ``unopened_until``: until when, at least, a running session waits for somebody to open it. ``early_hours``: how long
    before the class the seats begin; this time is added to their hours as far as size, project and budget allow.
    ``farewell``: what people read in a session that ends because their seat was moved; None: they read nothing.
    ``farewells``: the same text by language code. A person reads the text in the first of their own languages for which
    there is one, or else ``farewell``.
    """

    seats: tuple[SeatBody, ...] = Field(min_length=1, max_length=MOST_AT_ONCE)
    unopened_until: Until
    early_hours: float = Field(default=0, ge=0, le=48, allow_inf_nan=False)
    farewell: MessageText | None = None
    farewells: MessageTexts = Field(default_factory=dict)


class SeatAnswer(Model):
    """What became of one seat.

    If ``answer`` is ``begun``, the requested session begins. If it is ``there``, the person had a session already: the
    requested one, or another one of the same project, and that session may have ended. ``live``: the id of the
    session, None if the seat was refused; ``reachable``: the notebook can be opened now; ``words``: why the session has
    ended; ``problem``: why the seat was refused.
    """

    session: SessionId
    answer: Literal["begun", "there", "refused"]
    live: SessionId | None = None
    state: SessionState | None = None
    reachable: bool = False
    end_reason: EndReason | None = None
    words: Words | None = None
    problem: Problem | None = None


class SeatsView(Model):
    """Response to ``POST /projects/{project}/seats``: what became of each seat, in the order of the request."""

    seats: tuple[SeatAnswer, ...] = Field(max_length=MOST_AT_ONCE)


class HoldBody(Model):
    """Body of ``PUT /projects/{project}/hold``: how many accounts the workshop needs at each factory."""

    accounts: dict[Slug, int] = Field(min_length=1, max_length=20)


class FailedWipe(Model):
    """An account whose last wipe failed, so that it is lent to no other person. ``why``: the error message."""

    account: UnixAccount
    why: str = Field(max_length=1000)
    at: datetime


class HeldAccounts(Model):
    """The accounts of a workshop at one factory.

    ``pool``: how many accounts the pool has; ``held``: how many of them are held for this workshop's class or, while
    robots rehearse, for the rehearsal. Of the held accounts, ``ready`` are clean or lent to the workshop's people,
    ``free`` are clean, and ``wiping`` are being wiped or wait for their wipe. ``failed``: the accounts of the pool
    whose last wipe failed; those of them that this workshop holds are counted in ``held``, too.
    """

    pool: int = Field(ge=0, le=MOST_ACCOUNTS)
    held: int = Field(ge=0, le=MOST_ACCOUNTS)
    ready: int = Field(ge=0, le=MOST_ACCOUNTS)
    free: int = Field(ge=0, le=MOST_ACCOUNTS)
    wiping: int = Field(ge=0, le=MOST_ACCOUNTS)
    failed: tuple[FailedWipe, ...] = Field(default=(), max_length=MOST_ACCOUNTS)


class SeatPlace(Model):
    """What a factory allows a workshop now.

    ``problem``: why nothing can begin there; ``per_minute``: how many seats may begin in a minute, by the limits on
    submissions and logins at the site; ``room``: how many more doors the link may keep open there, None: no limit;
    ``accounts``: the accounts that are held for the workshop there, None: it has no pool of accounts there;
    ``leaving``: how many jobs still exist of seats that have moved to another factory; they end as soon as the factory
    answers.
    """

    factory: Slug
    problem: Problem | None = None
    per_minute: int = Field(ge=1, le=100_000)
    room: int | None = Field(default=None, ge=0, le=100 * MOST_SEATS)
    accounts: HeldAccounts | None = None
    leaving: int = Field(default=0, ge=0, le=100 * MOST_SEATS)


class SeatPlaces(Model):
    """Response to ``GET /projects/{project}/seats`` and ``PUT /projects/{project}/hold``.

    ``places``: what each factory allows the workshop now; factories that the gateway does not offer are left out.
    ``rehearses``: whether a rehearsal of the workshop goes on, so that all its seats now are those of the rehearsal.
    """

    rehearses: bool = False
    places: tuple[SeatPlace, ...] = Field(max_length=20)
