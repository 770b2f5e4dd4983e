"""Reads and writes the database rows of people who join a workshop, within a transaction of the caller."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from factorycommon.models import GUEST
from workshops.joining import mail_limits, one_time, seats
from workshops.joining.seats import Waiting
from workshops.models.bodies import Role
from workshops.models.views import LogEvent
from workshops.store import joining_tables as tables
from workshops.store import schema
from workshops.store.schema import CodeRecord, EventRecord, MembershipRecord

MOST_TICKETS = 20_000
_NAME_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"


@dataclass(frozen=True)
class TicketRow:
    """A ticket, which identifies one attempt of a person to join a workshop, or of a guest to log in again.

    The fields are the columns of ``tables.tickets``.
    """

    digest: str
    workshop: str | None
    code: int | None
    made: datetime
    mail: str | None = None
    typed: str | None = None
    digits: str | None = None
    sent: datetime | None = None
    wrong: int = 0
    requester: str | None = None


@dataclass(frozen=True)
class GuestRow:
    """A guest: a person who joined with a mail address only, without an account.

    The fields are the columns of ``tables.guests``.
    """

    name: str
    mail: str
    shown: str
    made: datetime


@dataclass(frozen=True)
class InvitationRow:
    """A person whom a trainer's list invites to a workshop. The fields are the columns of ``tables.invitations``."""

    workshop: str
    mail: str
    role: Role
    shown: str
    at: datetime
    by: str


# --- codes


def all_codes(db: Connection, slug: str) -> list[CodeRecord]:
    """Return the codes of a workshop, also revoked ones."""
    rows = db.execute(select(schema.codes).where(schema.codes.c.workshop == slug)).mappings()
    return [CodeRecord(**row) for row in rows]


def count_use(db: Connection, code: int) -> None:
    """Add one to the number of people who joined with the code that has the id ``code``."""
    table = schema.codes
    db.execute(update(table).where(table.c.id == code).values(used=table.c.used + 1))


# --- tickets and one-time codes


def add_ticket(db: Connection, row: TicketRow, oldest: datetime) -> None:
    """Store a ticket, and delete those that were made before ``oldest``.

    If there are ``MOST_TICKETS`` or more, the tickets of all guests who log in again are deleted, too.
    """
    table = tables.tickets
    db.execute(delete(table).where(table.c.made < oldest))
    if db.execute(select(func.count()).select_from(table)).scalar_one() >= MOST_TICKETS:
        db.execute(delete(table).where(table.c.workshop.is_(None)))  # these need no join code
    db.execute(insert(table).values(row.__dict__))


def ticket(db: Connection, digest: str, oldest: datetime) -> TicketRow | None:
    """Return the ticket with this hash; None if there is none, or if it was made before ``oldest``."""
    table = tables.tickets
    row = db.execute(select(table).where(table.c.digest == digest, table.c.made >= oldest)).mappings().first()
    return None if row is None else TicketRow(**row)


def set_digits(db: Connection, digest: str, mail: str, typed: str, digits: str, at: datetime) -> None:
    """Store a one-time code in the ticket with the hash ``digest``, in place of an earlier code.

    ``mail``: the mail address in the form in which addresses are compared; ``typed``: the address as typed; ``digits``:
    the hash of the code; ``at``: when the code was made. The ticket's number of wrong codes is set to 0.
    """
    values = {"mail": mail, "typed": typed, "digits": digits, "sent": at, "wrong": 0}
    db.execute(update(tables.tickets).where(tables.tickets.c.digest == digest).values(values))


def void_digits(db: Connection, mail: str, requester: str) -> None:
    """Make all one-time codes void that a requester got for a mail address.

    ``requester``: a result of ``mail_limits.requester_of``, which stands for a kind of request and a client's network.
    """
    table = tables.tickets
    db.execute(
        update(table).where(table.c.mail == mail, table.c.requester == requester).values(wrong=one_time.ATTEMPTS)
    )


def count_wrong(db: Connection, digest: str) -> None:
    """Count one more wrong one-time code that was tried with the ticket of this hash."""
    table = tables.tickets
    db.execute(update(table).where(table.c.digest == digest).values(wrong=table.c.wrong + 1))


def drop_ticket(db: Connection, digest: str) -> None:
    """Delete the ticket with this hash, which is used up."""
    db.execute(delete(tables.tickets).where(tables.tickets.c.digest == digest))


def sent_to_address(db: Connection, address: str, requester: str, now: datetime) -> tuple[int, int]:
    """Return how many one-time codes ``note_sent`` has counted for a mail address in the last hour, as two numbers.

    The first number is for ``requester``, a result of ``mail_limits.requester_of``. The second number is for all
    requests of the same kind (``mail_limits.RequestKind``), whatever their networks. ``address``: the keyed hash of the
    mail address. What ``note_sent`` counted more than an hour ago is deleted.
    """
    table = tables.sent_mails
    db.execute(delete(table).where(table.c.at < now - tables.LIMITED_FOR))
    to_address = select(func.count()).where(table.c.address == address)
    kind = mail_limits.prefix(requester)
    for_requester = db.execute(to_address.where(table.c.requester == requester)).scalar_one()
    return for_requester, db.execute(to_address.where(table.c.requester.startswith(kind, autoescape=True))).scalar_one()


def sent_for_workshop(db: Connection, workshop: str, now: datetime) -> int:
    """Return how many one-time codes ``note_sent`` has counted for a workshop in the last hour."""
    table = tables.sent_mails
    return int(
        db.execute(
            select(func.count()).where(table.c.workshop == workshop, table.c.at >= now - tables.LIMITED_FOR)
        ).scalar_one()
    )


def note_sent(db: Connection, address: str, requester: str, workshop: str | None, now: datetime) -> None:
    """Count a one-time code for the limits on codes.

    Call this also for a code that is not sent because nobody with the mail address may get a code. ``address``: the
    keyed hash of the mail address; ``requester``: a result of ``mail_limits.requester_of``; ``workshop``: None for a
    guest who logs in again.
    """
    db.execute(insert(tables.sent_mails).values(address=address, requester=requester, workshop=workshop, at=now))


# --- guests and invitations


def guest_of_mail(db: Connection, mail: str) -> GuestRow | None:
    """Return the guest with this mail address; None if there is none."""
    row = db.execute(select(tables.guests).where(tables.guests.c.mail == mail)).mappings().first()
    return None if row is None else GuestRow(**row)


def guest_of_name(db: Connection, name: str) -> GuestRow | None:
    """Return the guest who is the hub's user ``name``; None if there is none."""
    row = db.execute(select(tables.guests).where(tables.guests.c.name == name)).mappings().first()
    return None if row is None else GuestRow(**row)


def put_guest(db: Connection, mail: str, shown: str, now: datetime) -> GuestRow:
    """Store ``shown``, the name that the guest with this mail address gives, and return the guest.

    If there is no guest with this address, a new one is made, with a new name for the hub's user.
    """
    known = guest_of_mail(db, mail)
    if known is not None:
        db.execute(update(tables.guests).where(tables.guests.c.name == known.name).values(shown=shown))
        return GuestRow(known.name, mail, shown, known.made)
    plain = unicodedata.normalize("NFKD", shown).encode("ascii", "ignore").decode().lower()
    letters = "".join(one for one in plain if one.isalnum())[:20] or "guest"
    while True:
        name = f"{GUEST}{letters}.{''.join(secrets.choice(_NAME_LETTERS) for _ in range(6))}"
        if guest_of_name(db, name) is None:
            break
    row = GuestRow(name, mail, shown, now)
    db.execute(insert(tables.guests).values(row.__dict__))
    return row


def invitation(db: Connection, slug: str, mail: str) -> InvitationRow | None:
    """Return the invitation of a mail address to a workshop; None if there is none."""
    table = tables.invitations
    row = db.execute(select(table).where(table.c.workshop == slug, table.c.mail == mail)).mappings().first()
    return None if row is None else InvitationRow(**row)


def invitations(db: Connection, slug: str) -> list[InvitationRow]:
    """Return all invitations to a workshop, sorted by mail address."""
    table = tables.invitations
    rows = db.execute(select(table).where(table.c.workshop == slug).order_by(table.c.mail)).mappings()
    return [InvitationRow(**row) for row in rows]


def set_invitations(db: Connection, slug: str, rows: Sequence[InvitationRow]) -> None:
    """Replace all invitations to a workshop by ``rows``."""
    db.execute(delete(tables.invitations).where(tables.invitations.c.workshop == slug))
    if rows:
        db.execute(insert(tables.invitations), [row.__dict__ for row in rows])


# --- people


def members(db: Connection, slug: str) -> list[MembershipRecord]:
    """Return the memberships of everybody who is in a workshop, waits for a seat, has left, or is banned."""
    rows = db.execute(select(schema.memberships).where(schema.memberships.c.workshop == slug)).mappings()
    return [MembershipRecord(**row) for row in rows]


def memberships(db: Connection, person: str) -> list[MembershipRecord]:
    """Return a person's memberships in all workshops."""
    rows = db.execute(select(schema.memberships).where(schema.memberships.c.person == person)).mappings()
    return [MembershipRecord(**row) for row in rows]


def put_member(db: Connection, record: MembershipRecord) -> None:
    """Store a person's membership in a workshop, in place of the earlier one."""
    table = schema.memberships
    db.execute(delete(table).where(table.c.workshop == record.workshop, table.c.person == record.person))
    db.execute(insert(table).values(record.__dict__))


def note(db: Connection, slug: str, now: datetime, by: str, what: LogEvent, detail: str = "") -> None:
    """Add a line to a workshop's log: at the time ``now``, ``by`` did ``what``.

    ``by``: a person; "": the service itself. ``detail``: what else the line says, such as the person concerned.
    """
    db.execute(insert(schema.events).values(EventRecord(slug, now, by, what, detail).__dict__))


def number_of_seats(db: Connection, slug: str) -> int:
    """Return how many seats a workshop has."""
    query = select(schema.workshops.c.seats).where(schema.workshops.c.slug == slug)
    return int(db.execute(query).scalar_one())


def waiting(people: Sequence[MembershipRecord]) -> list[Waiting]:
    """Return those in ``people`` who wait for a seat."""
    return [Waiting(one.person, one.at) for one in people if one.state == "waiting"]


def taken(people: Sequence[MembershipRecord]) -> set[int]:
    """Return the numbers of the seats that somebody has."""
    return {one.seat for one in people if one.seat is not None}


def promote(db: Connection, slug: str, now: datetime) -> list[MembershipRecord]:
    """Give the free seats of a workshop to those who have waited longest, with a line in the log for each of them.

    Return the new memberships of those who got a seat.
    """
    people = members(db, slug)
    by_name = {one.person: one for one in people}
    given: list[MembershipRecord] = []
    for one in seats.promotions(taken(people), number_of_seats(db, slug), waiting(people)):
        values: dict[str, Any] = {**by_name[one.person].__dict__, "state": "seated", "seat": one.seat}
        given.append(MembershipRecord(**values))
        put_member(db, given[-1])
        note(db, slug, now, "", "promoted", one.person)
    return given
