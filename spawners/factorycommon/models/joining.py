"""Joining a workshop: what the hub's pages and the service ``workshops`` send to each other.

The hub sends what people type as they typed it, bounded in length only; the service parses it. Secrets (a join code, a
ticket, a one-time code) are in bodies, never in URLs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from factorycommon.models.base import Hours, Model, Person, ProjectId, Slug
from factorycommon.models.bodies import LanguageCode
from factorycommon.models.plain import PlainLines, PlainText
from factorycommon.models.rules import Version

Role = Literal["lead", "instructor", "helper", "observer", "participant"]
# Random, made by the hub for each browser. A browser that sends wrong codes must wait; others at its address need not.
BrowserId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
# Random, made by the service for a person who sent a right join code: the rest of their walk refers to it.
Ticket = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
GuestName = Annotated[str, StringConstraints(pattern=r"^guest\.[a-z0-9]{1,20}\.[a-z0-9]{6}$")]
Typed = Annotated[str, StringConstraints(max_length=300)]  # what a person typed
NetworkAddress = Annotated[str, StringConstraints(max_length=64, pattern=r"^[0-9A-Za-z.:%]*$")]
MOST_NAME = 80  # maximum characters of the name that a guest gives


class Secretive(BaseModel):
    """The base of bodies that contain secrets; validation errors do not show the body's values.

    A field with a secret also needs ``repr=False``, so that logs do not show the secret.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class JoinCodeBody(Secretive):
    """Body of ``POST /joining/code``: a person who wants to join a workshop sends its join code, to get a ticket.

    ``browser``: the random id that the hub has given to the person's browser; ``address``: the browser's network
    address.
    """

    slug: Typed
    code: Typed = Field(repr=False)
    browser: BrowserId
    address: NetworkAddress


class TicketBody(Secretive):
    """Body of ``POST /joining/ticket``: asks how far the person with this ticket is with joining."""

    ticket: Ticket = Field(repr=False)


class ProofBody(TicketBody):
    """Body of ``POST /joining/mail``: asks for a one-time code by mail.

    ``mail``: the address; ``language``: the language for the mail, None: the first of the workshop's languages that the
    gateway knows or, if there is none, English.
    """

    mail: Typed
    language: LanguageCode | None = None


class JoinBody(TicketBody):
    """Body of ``POST /joining/join``: a person joins a workshop.

    ``person``: the hub's user who is logged in; None: a guest joins, with a ``name`` and, in ``digits``, the one-time
    code from the mail. ``terms``: the version of the workshop's terms that the person has read, None: the workshop has
    no terms; ``language``: the language for later mails and the certificate, None: the language that is stored for the
    person or, if there is none, the workshop's.
    """

    person: Person | None = None
    digits: Typed = Field(default="", repr=False)
    name: Typed = ""
    terms: Version | None = None
    language: LanguageCode | None = None


class ReturnBody(Secretive):
    """Body of ``POST /joining/return``: a guest who joined before asks for a one-time code to log in again.

    ``language``: the language for the mail, None: English; ``browser``: the random id that the hub has given to the
    guest's browser; ``address``: the browser's network address; ``guest``: the last guest who logged in from this
    browser, None: not known.
    """

    mail: Typed
    language: LanguageCode | None = None
    browser: BrowserId
    address: NetworkAddress
    guest: GuestName | None = None


class ReturnedBody(TicketBody):
    """Body of ``POST /joining/returned``: the one-time code of a guest who logs in again."""

    digits: Typed = Field(repr=False)


class LeaveBody(Model):
    """Body of ``POST /joining/leave``: a person leaves a workshop."""

    slug: Slug
    person: Person


class TicketOnly(Model):
    """Response to ``POST /joining/return``; it does not show whether the mail address belongs to a guest."""

    ticket: Ticket


class WorkshopTerms(Model):
    """Terms of one workshop, which people accept when they join."""

    version: Version
    text: PlainLines = ""
    url: Annotated[str, StringConstraints(max_length=2000, pattern=r"^https://[^\s]+$")] | None = None


class StartAt(Model):
    """Where a workshop's sessions start. ``environment`` None: the factory's default."""

    factory: Slug
    size: Slug
    environment: Slug | None = None


class WorkshopFace(Model):
    """What a person sees of a workshop while they join.

    ``opens``, ``closes``: when people may begin to use their seats, and when all sessions end; ``starts``, ``ends``:
    the times of the class itself; ``begun``: the workshop warms up or is open, so that its sessions may start;
    ``over``: the workshop is closing, archived or cancelled; ``hours``: how long a session of a seat may last at most;
    ``places``: once the person has joined, the place of their seat is the first; ``seat_on_join``: True if the session
    of a person who joins while the workshop is open starts at once.
    """

    slug: Slug
    title: PlainText
    zone: str
    opens: datetime
    starts: datetime
    ends: datetime
    closes: datetime
    begun: bool
    over: bool
    project: ProjectId
    hours: Hours
    places: tuple[StartAt, ...]
    terms: WorkshopTerms | None = None
    seat_on_join: bool = False


class MembershipView(Model):
    """A person's membership in a workshop.

    The state ``staff``: the person runs the workshop, and has no numbered seat. ``position``: in the waiting list, from
    1; None if the person does not wait. ``name``: the name that a guest gave; "" if the person is no guest.
    """

    person: Person
    role: Role
    state: Literal["seated", "waiting", "staff", "left", "banned"]
    seat: int | None = None
    position: int | None = None
    name: PlainText = ""


class TicketView(Model):
    """How far a person with a ticket is with joining.

    ``mail``: the address for which the person last asked for a one-time code, as they typed it; "" if they have not.
    """

    ticket: Ticket
    workshop: WorkshopFace
    mail: str = ""


class JoinedView(Model):
    """A person's membership in a workshop: the answer to a person who joins, or one entry of a ``MembershipsView``.

    ``known``: whether the person was a member already when they asked to join; True in a ``MembershipsView``.
    """

    membership: MembershipView
    workshop: WorkshopFace
    known: bool


class MembershipsView(Model):
    """A person's workshops, with the person's membership in each of them."""

    memberships: tuple[JoinedView, ...]


class GuestView(Model):
    """A guest of workshops, as the workshops service describes the guest to the hub's login.

    ``until``: the latest closing time of the guest's workshops that are neither over nor cancelled; None: there is no
    such workshop. A workshop that the guest has left, or that has banned the guest, does not count. ``name``: the name
    that the guest gave.
    """

    person: GuestName
    name: PlainText
    until: datetime | None
