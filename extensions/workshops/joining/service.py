"""Lets people join workshops, for the hub's pages: checks codes, proves mail addresses, and gives seats.

For a right join code a person gets a ticket: a random text that the hub's pages send with each further request until
the person has joined. A one-time code proves a mail address. Answers are the same for all mail addresses: they do not
show whether somebody has joined with an address, was removed, or has got too many mails.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal

from sqlalchemy import Connection

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models import Problem, is_guest
from factorycommon.models.joining import (
    MOST_NAME,
    GuestView,
    JoinBody,
    JoinCodeBody,
    JoinedView,
    LeaveBody,
    MembershipsView,
    ProofBody,
    ReturnBody,
    ReturnedBody,
    Role,
    TicketBody,
    TicketOnly,
    TicketView,
)
from factorycommon.models.plain import plain_text
from factorycommon.service.problems import ProblemError, conflict, gone, invalid
from workshops.joining import codes, mail_limits, one_time, people_list, rows, seats, views
from workshops.joining.guess_limits import GuessLimits
from workshops.joining.languages import language_of
from workshops.joining.letters import Letters
from workshops.joining.mailer import MailSender
from workshops.joining.one_time import OneTimeCode
from workshops.joining.people_list import Invited, Listed, same_mail
from workshops.joining.rows import GuestRow, InvitationRow, TicketRow
from workshops.models.bodies import MOST_STAFF
from workshops.models.joining import JoiningSettings
from workshops.models.views import SeatState
from workshops.states import JOINABLE, OVER, WorkshopState
from workshops.store import moves
from workshops.store.schema import CodeRecord, MembershipRecord, WorkshopRecord
from workshops.store.store import Store

log = logging.getLogger("workshops")

_ASK_TRAINER = N_("Ask the people who run the workshop.")
_MANY_MAILS = Message("join-many-mails", "Very many mails were sent for this workshop. Try again in an hour.")
_NO_DIGITS = Message("join-no-digits", "Ask for a code first.")
_WRONG_DIGITS = Message("join-digits-wrong", "This code is wrong, or a newer one was sent. Look at the last mail.")
_VOID_DIGITS = Message("join-digits-void", "This code is not valid any more. Ask for a new one.")
_LAST_LEAD = Message("workshop-last-lead", "Somebody has to lead the workshop. Choose another lead first.")
_BANNED = Message("join-banned", "You cannot join this workshop.")
_CODE_FAULTS = {
    "revoked": Message("join-code-revoked", "This code was replaced by a newer one."),
    "expired": Message("join-code-expired", "This code has expired."),
    "used-up": Message("join-code-used-up", "As many people as this code allows have joined with it."),
}


def _now() -> datetime:
    return datetime.now(UTC)


def _forbidden(message: Message, field: str | None = None, do: str = "") -> ProblemError:
    return ProblemError(Problem(kind="forbidden", message=message, field=field, do=do))


class Joining:
    """Checks the codes of people who join, gives them a role or a seat, and keeps the lists of invited people.

    ``secret``: 32 random bytes, for hashes; ``root``: the gateway's URL for people, with a slash at its end;
    ``changed``: called after the people of a workshop have changed; ``now``: the clock; ``ticks``: a clock in seconds
    that never jumps, None: the event loop's. Each method also raises StoreError if the database cannot be used.
    """

    def __init__(
        self,
        store: Store,
        settings: JoiningSettings,
        secret: bytes,
        root: str,
        changed: Callable[[], None],
        now: Callable[[], datetime] = _now,
        ticks: Callable[[], float] | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._secret = secret
        self._changed = changed
        self._now = now
        self._limits = GuessLimits(ticks or asyncio.get_running_loop().time)
        self.mails = MailSender(settings)
        self.letters = Letters(settings.sender, root)

    # --- a join code

    async def check_code(self, body: JoinCodeBody) -> TicketView:
        """Return a ticket for a right join code.

        Raises ProblemError if the code is wrong or not valid any more, if nobody can join the workshop now, or if the
        browser must wait because it sent too many wrong codes.
        """
        if wait := self._limits.waits(body.browser):
            said = Message("join-wait", "This browser sent too many wrong codes. Wait {seconds} seconds.")
            raise ProblemError(
                Problem(kind="too-many", message=said.format(seconds=wait), field="code", do=_ASK_TRAINER)
            )
        plain = codes.normalized(body.code)
        workshop = None if plain is None else await self._store.get(body.slug)
        code = None
        if plain is not None and workshop is not None:
            known = await self._store.transact(lambda db: rows.all_codes(db, body.slug))
            fitting = [one for one in known if codes.is_code(plain, one.salt, one.hash, self._secret)]
            code = fitting[0] if fitting else None
        if workshop is None or code is None:
            await self._wrong(body, workshop)
            said = Message("join-code-wrong", "This code is wrong, or it is of another workshop.")
            raise _forbidden(said, "code", N_("Compare it with the code that you got."))
        _check_open(workshop)
        if (fault := codes.fault(code, self._now())) is not None:
            raise _forbidden(_CODE_FAULTS[fault], "code", N_("Ask the people who run the workshop for a new code."))
        ticket = secrets.token_urlsafe(32)
        requester = mail_limits.requester_of(self._secret, "code", body.address)
        row = TicketRow(_digest(ticket), workshop.slug, code.id, self._now(), requester=requester)
        await self._store.transact(lambda db: rows.add_ticket(db, row, self._oldest))
        return views.ticket(ticket, row, workshop)

    async def _wrong(self, body: JoinCodeBody, workshop: WorkshopRecord | None) -> None:
        delay = self._limits.wrong(body.browser, body.address)
        if workshop is not None and self._limits.is_notable(workshop.slug):
            log.warning("Many wrong join codes are sent for the workshop %s", workshop.slug)
            now = self._now()
            await self._store.transact(lambda db: rows.note(db, workshop.slug, now, "", "guesses"))
        await asyncio.sleep(delay)

    async def ticket(self, body: TicketBody) -> TicketView:
        """Return a ticket's workshop, and the mail address for which a one-time code was made, if any.

        Raises ProblemError (404) if there is no such ticket, the ticket is too old, its workshop does not exist any
        more, or it is the ticket of a guest who logs in again.
        """
        row, workshop = await self._walk(body.ticket)
        return views.ticket(body.ticket, row, workshop)

    async def _walk(self, ticket: str) -> tuple[TicketRow, WorkshopRecord]:
        row = await self._store.transact(lambda db: rows.ticket(db, _digest(ticket), self._oldest))
        workshop = await self._store.get(row.workshop) if row is not None and row.workshop is not None else None
        if row is None or workshop is None:
            raise gone("This ticket")
        return row, workshop

    # --- a mail address

    async def send_digits(self, body: ProofBody) -> None:
        """Send a one-time code to a mail address, if a person with this address may join.

        Raises ProblemError if there is no such ticket, the text is no mail address, the join code does not admit the
        address, nobody can join the workshop now, this gateway sends no mails, or too many mails were sent for the
        workshop. If no error is raised, the caller still does not learn whether a mail was sent: none is sent to
        somebody who is banned, or to an address that has got too many codes.
        """
        row, workshop = await self._walk(body.ticket)
        mail = self._mail(body.mail)
        _check_open(workshop)

        def may(db: Connection) -> bool:
            code = next((one for one in rows.all_codes(db, workshop.slug) if one.id == row.code), None)
            if code is None or not codes.allows(code.domains, mail.rpartition("@")[2]):
                raise _forbidden(_wrong_domain(code), "mail")
            guest = rows.guest_of_mail(db, mail)
            member = None if guest is None else _of(rows.members(db, workshop.slug), guest.name)
            return member is None or member.state != "banned"

        await self._send(row, mail, body, workshop, may)

    async def _send(
        self,
        ticket: TicketRow,
        mail: str,
        body: ProofBody | ReturnBody,
        workshop: WorkshopRecord | None,
        may: Callable[[Connection], bool],
    ) -> None:
        """Store a new one-time code for a ticket, and send the code if ``may`` and the limits allow it.

        ``may``: returns whether the address may get a code. The limits (see ``mail_limits``) count the codes that the
        requester, and all requesters of the same kind together, got for this address in the last hour. If ``may`` or
        the limits do not allow the code, no mail is sent, so nobody knows the stored code. There is one exception: if
        there were too many codes, and the ticket already has a code for this address, no new code is stored, and the
        ticket's code stays valid. Raises ProblemError if too many codes were sent for the workshop in the last hour;
        also raises what ``may`` raises.
        """
        digits = one_time.new_digits()
        hashed = one_time.digest(self._secret, ticket.digest, mail, digits)
        # a ticket without a requester is of the release before this one
        requester = ticket.requester or mail_limits.requester_of(self._secret, "address", "")
        address = hmac.new(self._secret, f"mail\0{mail}".encode(), hashlib.sha256).hexdigest()
        slug, now = None if workshop is None else workshop.slug, self._now()

        def work(db: Connection) -> bool:
            allowed = may(db)
            if slug is not None and rows.sent_for_workshop(db, slug, now) >= self._settings.workshop_mails:
                raise ProblemError(Problem(kind="too-many", message=_MANY_MAILS, do=_ASK_TRAINER, field="mail"))
            most = self._settings.address_mails
            for_requester, of_kind = rows.sent_to_address(db, address, requester, now)
            if for_requester >= most or of_kind >= mail_limits.NETWORKS * most:
                present = rows.ticket(db, ticket.digest, self._oldest)
                if present is not None and present.mail == mail:
                    return False  # its last code stays valid
                allowed = False
            else:
                rows.note_sent(db, address, requester, slug, now)
            if allowed:
                rows.void_digits(db, mail, requester)
            rows.set_digits(db, ticket.digest, mail, body.mail.strip(), hashed, now)
            return allowed

        if await self._store.transact(work):
            language = language_of(body.language, *(() if workshop is None else workshop.languages))
            title = None if workshop is None else workshop.title
            self.mails.send(self.letters.digits(mail, digits, title, language), awaited=True)

    def _mail(self, typed: str) -> str:
        if not self._settings.sends:
            raise conflict(Message("join-no-mails", "This gateway sends no mails. Sign in with an account."))
        try:
            return same_mail(typed)
        except ValueError as error:
            raise invalid(Message("join-mail", "This is no mail address such as ada@example.org."), "mail") from error

    def _proved(self, db: Connection, row: TicketRow, typed: str) -> Message | None:
        """Return why a typed one-time code does not prove the ticket's mail address; None: it does.

        A wrong code is counted.
        """
        digits = one_time.normalized(typed)
        if row.mail is None or row.digits is None or row.sent is None:
            return _NO_DIGITS
        found = None if digits is None else one_time.digest(self._secret, row.digest, row.mail, digits)
        match one_time.verdict(OneTimeCode(row.digits, row.mail, row.sent, row.wrong), found, self._now()):
            case "right":
                return None
            case "wrong":
                rows.count_wrong(db, row.digest)
                return _WRONG_DIGITS
            case _:
                return _VOID_DIGITS

    # --- a place in the workshop

    async def join(self, body: JoinBody) -> JoinedView:
        """Let a person join a workshop, and return their membership; a member keeps their role and seat.

        Raises ProblemError if there is no such ticket, nobody can join the workshop now, the terms have changed, the
        name is missing, the one-time code is not valid, or the person is banned or an unknown guest. Unless the person
        is a member already, also raises ProblemError if the join code is not valid or does not admit the guest's mail
        address, or if the guest is invited to run the workshop, and ``MOST_STAFF`` people run it already.
        """
        row, workshop = await self._walk(body.ticket)
        _check_open(workshop)
        face = views.face(workshop)
        if face.terms is not None and body.terms != face.terms.version:
            said = Message("join-terms", "The terms of the workshop have changed since you read them. Read them again.")
            raise ProblemError(Problem(kind="conflict", message=said, field="accept"))
        name = plain_text(body.name, MOST_NAME)
        if body.person is None and not name:
            said = Message("join-name", "Give the name by which the people who run the workshop know you.")
            raise invalid(said, "name")
        now = self._now()

        def work(db: Connection) -> tuple[JoinedView | ProblemError, str | None]:
            """Let the person join; return the answer, or the error that says why the person cannot join.

            The second value is the ticket's mail address; None if the ticket has none, or if the ticket or the one-time
            code is refused. If the error were raised here, the transaction would be rolled back, and a wrong one-time
            code would not be counted. Raises ProblemError if too many people would run the workshop.
            """
            fresh = rows.ticket(db, row.digest, self._oldest)  # another request may have changed it meanwhile
            if fresh is None:
                return _forbidden(_VOID_DIGITS, "digits"), None
            if body.person is None and (why := self._proved(db, fresh, body.digits)) is not None:
                return _forbidden(why, "digits"), None
            return self._joined(db, workshop, fresh, body, name, now), fresh.mail

        answer, mail = await self._store.transact(work)
        if isinstance(answer, ProblemError):
            raise answer
        self._changed()
        if not answer.known and mail is not None and body.person is None:
            language = language_of(body.language, *workshop.languages)
            self.mails.send(self.letters.joined(mail, answer.workshop, answer.membership, language))
        return answer

    def _joined(
        self, db: Connection, workshop: WorkshopRecord, row: TicketRow, body: JoinBody, name: str, now: datetime
    ) -> JoinedView | ProblemError:
        """Make a person a member of the workshop, or return why not; a member keeps their role and seat.

        A new member gets a role, a seat or a position in the waiting list. If the body names no person, the person is
        the guest who has proved the ticket's mail address, and ``name`` is the name that the guest gives. Raises
        ProblemError if too many people would run the workshop.
        """
        mail, guest, person = row.mail or "", None, body.person
        if person is None:
            guest = rows.guest_of_mail(db, mail)
        elif is_guest(person):
            guest = rows.guest_of_name(db, person)
            if guest is None:
                return _forbidden(_BANNED, "", _ASK_TRAINER)
            mail, name = guest.mail, guest.shown
        people = rows.members(db, workshop.slug)
        before = _of(people, guest.name if guest is not None else person or "")
        if before is not None and before.state == "banned":
            return _forbidden(_BANNED, "", _ASK_TRAINER)
        known = before is not None and before.state in views.IN
        code = next((one for one in rows.all_codes(db, workshop.slug) if one.id == row.code), None)
        of_guest = person is None or guest is not None
        if not known and (refused := self._refused(code, mail if of_guest else None, now)) is not None:
            return refused
        if of_guest:
            guest = rows.put_guest(db, mail, name, now)
        joins = str(person) if guest is None else guest.name
        mine = before if before is not None and known else self._admit(db, workshop, joins, guest, code, now)
        values = {**mine.__dict__, "terms_at": now if workshop.terms.strip() else mine.terms_at}
        values["language"] = body.language or mine.language
        if guest is not None:
            values |= {"name": guest.shown, "mail": guest.mail}
        mine = MembershipRecord(**values)
        rows.put_member(db, mine)
        rows.drop_ticket(db, row.digest)
        there = moves.seen_from(workshop, moves.orders(db, workshop.slug), mine.seat)
        return views.joined(there, mine, rows.members(db, workshop.slug), known)

    @staticmethod
    def _refused(code: CodeRecord | None, mail: str | None, now: datetime) -> ProblemError | None:
        """Return why a new person cannot join with a code; None if the person can.

        ``code``: None if the code is not stored any more; ``mail``: the guest's address, None if the person is no
        guest.
        """
        if code is None:
            return _forbidden(_CODE_FAULTS["revoked"], "code", _ASK_TRAINER)
        if (fault := codes.fault(code, now)) is not None:
            return _forbidden(_CODE_FAULTS[fault], "code", _ASK_TRAINER)
        if mail is not None and not codes.allows(code.domains, mail.rpartition("@")[2]):
            return _forbidden(_wrong_domain(code), "mail")
        return None

    def _admit(
        self,
        db: Connection,
        workshop: WorkshopRecord,
        person: str,
        guest: GuestRow | None,
        code: CodeRecord | None,
        now: datetime,
    ) -> MembershipRecord:
        """Return a membership for a person who joins; the caller must store the membership.

        Who is invited in a role other than participant gets that role and no seat. Anybody else becomes a participant:
        with a free seat or, if there is none or somebody waits already, in the waiting list. This method changes only
        two things in the database: it counts a use of ``code``, and adds a line to the workshop's log. Raises
        ProblemError if too many people would run the workshop. ``guest``: None if the person is no guest; such a person
        has no invitation.
        """
        invited = None if guest is None else rows.invitation(db, workshop.slug, guest.mail)
        role: Role = "participant" if invited is None else invited.role
        people = [one for one in rows.members(db, workshop.slug) if one.person != person]
        if role != "participant" and sum(one.state == "staff" for one in people) >= MOST_STAFF:
            said = Message("workshop-many-staff", "At most {count} people can run a workshop.")
            raise conflict(said.format(count=MOST_STAFF))
        used = None if code is None else code.id
        if used is not None:
            rows.count_use(db, used)
        rows.note(db, workshop.slug, now, person, "joined", role)
        if role != "participant":
            return MembershipRecord(workshop.slug, person, role, "staff", None, now, code=used)
        number = None
        if not rows.waiting(people):  # nobody passes the waiting list
            number = seats.free_seat(rows.taken(people), rows.number_of_seats(db, workshop.slug))
        state: SeatState = "waiting" if number is None else "seated"
        return MembershipRecord(workshop.slug, person, role, state, number, now, code=used)

    async def leave(self, body: LeaveBody) -> None:
        """Let a person leave a workshop; the next person of the waiting list gets the seat.

        Raises ProblemError if the person is not in the workshop, or is the only one who leads it.
        """
        await self.put_out(body.slug, body.person, "left", body.person)

    async def put_out(self, slug: str, person: str, state: Literal["left", "banned"], by: str) -> None:
        """Remove a person from a workshop; the next person of the waiting list gets the seat.

        What the person runs for the workshop ends ``limits.access_grace_seconds`` (``link.yaml``) later. A guest
        whom no other workshop admits is logged out. ``state``: with ``banned``, the person cannot join the workshop
        again. ``by``: who removes the person. Raises ProblemError if the person is not in the workshop (a person who
        has left can be banned), or is the only one who leads the workshop.
        """
        now = self._now()

        def work(db: Connection) -> list[MembershipRecord] | None:
            people = rows.members(db, slug)
            mine = _of(people, person)
            if mine is None or (mine.state not in views.IN and state == "left"):
                return None
            if [one.person for one in people if one.role == "lead" and one.state in views.IN] == [person]:
                raise conflict(_LAST_LEAD)
            rows.put_member(db, MembershipRecord(**{**mine.__dict__, "state": state, "seat": None}))
            rows.note(db, slug, now, by, state, person)
            return rows.promote(db, slug, now)

        promoted = await self._store.transact(work)
        if promoted is None:
            raise gone(person)
        self._changed()
        await self.tell_promoted(slug, promoted)

    async def readmit(self, slug: str, person: str, by: str) -> None:
        """End a ban: the person may join again with a code. Raises ProblemError if the person is not banned."""
        now = self._now()

        def work(db: Connection) -> bool:
            mine = _of(rows.members(db, slug), person)
            if mine is None or mine.state != "banned":
                return False
            rows.put_member(db, MembershipRecord(**{**mine.__dict__, "state": "left"}))
            rows.note(db, slug, now, by, "readmitted", person)
            return True

        if not await self._store.transact(work):
            raise gone(person)

    async def promote(self, slug: str) -> None:
        """Give free seats to the people in the waiting list, for example after the number of seats was raised.

        Guests who get a seat are told by mail.
        """
        now = self._now()
        promoted = await self._store.transact(lambda db: rows.promote(db, slug, now))
        if promoted:
            self._changed()
            await self.tell_promoted(slug, promoted)

    async def tell_promoted(self, slug: str, promoted: Sequence[MembershipRecord]) -> None:
        """Tell guests by mail that they got a seat from the waiting list, if this gateway sends mails.

        ``promoted``: the new memberships of all people who got a seat. People with an account get no mail, since their
        mail addresses are not known here.
        """
        workshop = await self._store.get(slug)
        if workshop is None:
            return
        for one in promoted:
            if one.mail is not None and one.seat is not None and self._settings.sends:
                language = language_of(one.language, *workshop.languages)
                self.mails.send(self.letters.promoted(one.mail, views.face(workshop), one.seat, language))

    # --- lists of people

    async def invite(self, slug: str, people: Sequence[Invited], by: str) -> None:
        """Replace the list of people who are invited to a workshop.

        A guest who joins with a mail address of the list gets the role in the list. People who have joined keep their
        role and seat.
        """
        now = self._now()
        found = [InvitationRow(slug, one.mail, one.role, one.name, now, by) for one in people]

        def work(db: Connection) -> None:
            rows.set_invitations(db, slug, found)
            rows.note(db, slug, now, by, "list", str(len(found)))

        await self._store.transact(work)

    async def listed(self, slug: str) -> str:
        """Return all people who are or were in a workshop, or are invited and have not joined, as text of a CSV file.

        First come those who run the workshop, then those with a seat by its number, then all others who are or were in
        the workshop, and last the invited people who have not joined.
        """
        people = await self._store.transact(lambda db: rows.members(db, slug))
        invited = await self._store.transact(lambda db: rows.invitations(db, slug))
        come = {one.mail for one in people}
        order = sorted(people, key=lambda one: (one.state != "staff", one.seat is None, one.seat or 0, one.at))
        found: list[Listed] = [
            Listed(one.mail or "", one.name or "", one.role, one.person, one.state, one.seat, one.at) for one in order
        ]
        found += [Listed(one.mail, one.shown, one.role) for one in invited if one.mail not in come]
        return people_list.written(found)

    # --- guests who come back

    async def begin_return(self, body: ReturnBody) -> TicketOnly:
        """Return a ticket for a guest who logs in again, and send a one-time code if a guest has this mail address.

        No code is sent if the address has got too many in the last hour; the answer does not show whether one was sent.
        Raises ProblemError if the text is no mail address, or if this gateway sends no mails.
        """
        mail = self._mail(body.mail)
        ticket = secrets.token_urlsafe(32)

        def work(db: Connection) -> TicketRow:
            known = None if body.guest is None else rows.guest_of_name(db, body.guest)
            own = known is not None and known.mail == mail
            requester = mail_limits.requester_of(self._secret, "browser" if own else "address", body.address)
            row = TicketRow(_digest(ticket), None, None, self._now(), requester=requester)
            rows.add_ticket(db, row, self._oldest)
            return row

        row = await self._store.transact(work)
        await self._send(row, mail, body, None, lambda db: rows.guest_of_mail(db, mail) is not None)
        return TicketOnly(ticket=ticket)

    async def finish_return(self, body: ReturnedBody) -> GuestView:
        """Return the guest whose mail address the ticket's one-time code proves.

        Raises ProblemError if the one-time code is not right, or the ticket is not valid.
        """

        def work(db: Connection) -> str | ProblemError:
            row = rows.ticket(db, _digest(body.ticket), self._oldest)
            if row is None or row.workshop is not None or row.mail is None:
                return _forbidden(_VOID_DIGITS, "digits")
            if (why := self._proved(db, row, body.digits)) is not None:
                return _forbidden(why, "digits")
            rows.drop_ticket(db, row.digest)
            guest = rows.guest_of_mail(db, row.mail)
            return guest.name if guest is not None else _forbidden(_VOID_DIGITS, "digits")

        answer = await self._store.transact(work)
        if isinstance(answer, ProblemError):
            raise answer
        return await self.guest(answer)

    async def guest(self, name: str) -> GuestView:
        """Return a guest, and until when their workshops admit them. Raises ProblemError (404) for an unknown guest."""
        row = await self._store.transact(lambda db: rows.guest_of_name(db, name))
        if row is None:
            raise gone("This guest")
        mine = await self._store.transact(lambda db: rows.memberships(db, name))
        ends = []
        for one in mine:
            workshop = await self._store.get(one.workshop) if one.state in views.IN else None
            if workshop is not None and workshop.state not in OVER:
                ends.append(workshop.closes)
        return views.guest(row, max(ends, default=None))

    async def memberships(self, person: str) -> MembershipsView:
        """Return all memberships of a person, also ended ones, each with its workshop."""
        found = []
        for one in await self._store.transact(lambda db: rows.memberships(db, person)):
            workshop = await self._store.get(one.workshop)
            if workshop is not None:
                people = (await self._store.members([workshop.slug]))[workshop.slug]
                orders = await self._store.transact(partial(moves.orders, slug=workshop.slug))
                there = moves.seen_from(workshop, orders, one.seat)
                found.append(views.joined(there, one, people, known=True))
        return MembershipsView(memberships=tuple(found))

    @property
    def _oldest(self) -> datetime:
        return self._now() - timedelta(minutes=self._settings.ticket_minutes)


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()


def _of(people: Sequence[MembershipRecord], person: str) -> MembershipRecord | None:
    return next((one for one in people if one.person == person), None)


def _wrong_domain(code: CodeRecord | None) -> Message:
    said = Message("join-domain", "With this code, only mail addresses at {domains} may join.")
    return said.format(domains=", ".join(() if code is None else code.domains))


def _check_open(workshop: WorkshopRecord) -> None:
    """Raise ProblemError unless people may join the workshop now."""
    if workshop.state in JOINABLE:
        return
    if workshop.state in (WorkshopState.DRAFT, WorkshopState.APPROVED):
        raise conflict(Message("join-too-early", "Nobody can join this workshop yet. Try again later."))
    raise conflict(Message("join-over", "This workshop is over, or it does not take place."))
