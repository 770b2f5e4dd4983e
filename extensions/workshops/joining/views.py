"""Makes the answers about joining, for the hub and its pages, from rows of the database."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from factorycommon.models.joining import (
    GuestView,
    JoinedView,
    MembershipView,
    StartAt,
    TicketView,
    WorkshopFace,
    WorkshopTerms,
)
from workshops.joining import rows, seats
from workshops.joining.rows import GuestRow, TicketRow
from workshops.states import OVER, WorkshopState
from workshops.store.schema import MembershipRecord, WorkshopRecord

IN = ("seated", "waiting", "staff")  # states of people who are in a workshop, or will be


def terms_version(terms: str) -> str:
    """Return a version id of a workshop's terms: 12 digits of a hash of the text ``terms``."""
    return hashlib.sha256(terms.encode()).hexdigest()[:12]


def face(workshop: WorkshopRecord) -> WorkshopFace:
    """Return what a person sees of a workshop while they join."""
    terms = workshop.terms.strip()
    return WorkshopFace(
        slug=workshop.slug,
        title=workshop.title,
        zone=workshop.zone,
        opens=workshop.opens,
        starts=workshop.starts,
        ends=workshop.ends,
        closes=workshop.closes,
        begun=workshop.state in (WorkshopState.WARMING, WorkshopState.OPEN),
        over=workshop.state in OVER,
        project=workshop.project,
        hours=workshop.hours,
        places=tuple(
            StartAt(factory=one.factory, size=one.size, environment=one.environment) for one in workshop.places
        ),
        terms=WorkshopTerms(version=terms_version(terms), text=terms) if terms else None,
        seat_on_join=workshop.seat_on_join,
    )


def membership(one: MembershipRecord, people: Sequence[MembershipRecord]) -> MembershipView:
    """Return a person's membership of a workshop: role, state, seat, and position in the waiting list.

    ``people``: everybody in the workshop.
    """
    return MembershipView(
        person=one.person,
        role=one.role,
        state=one.state,
        seat=one.seat,
        position=seats.position(rows.waiting(people), one.person) if one.state == "waiting" else None,
        name=one.name or "",
    )


def joined(
    workshop: WorkshopRecord, one: MembershipRecord, people: Sequence[MembershipRecord], known: bool
) -> JoinedView:
    """Return the answer to a person who has joined. ``known``: whether the person was a member already.

    ``one``: the person's membership; ``people``: everybody in the workshop.
    """
    return JoinedView(membership=membership(one, people), workshop=face(workshop), known=known)


def ticket(secret: str, row: TicketRow, workshop: WorkshopRecord) -> TicketView:
    """Return a person's attempt to join a workshop: ticket, workshop, and mail address.

    The address is "" if no one-time code was made for this attempt. ``secret``: the ticket, which identifies the
    attempt; ``row`` has only the ticket's hash.
    """
    return TicketView(ticket=secret, workshop=face(workshop), mail=row.typed or "" if row.sent is not None else "")


def guest(row: GuestRow, until: datetime | None) -> GuestView:
    """Return a guest for the hub's login. ``until``: when their last workshop closes; None: no workshop admits them."""
    return GuestView(person=row.name, name=row.shown, until=until)
