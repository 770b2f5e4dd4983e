"""Carries out what people do about help in a workshop: raise a hand, come and help, and look at a notebook.

Helpers see a notebook only with its person's consent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

from factorycommon.messages import Message
from factorycommon.models.workshops import PREFIX
from factorycommon.models.workshops.help import (
    HandBody,
    HelpAsk,
    HelpState,
    LookBody,
    NotebookSnapshot,
    OwnHand,
    OwnLook,
)
from factorycommon.service.problems import conflict, forbidden, gone, invalid, too_many
from workshops.helping.limits import MinuteLimit
from workshops.helping.looks import Looks, NotebookConsent
from workshops.helping.raised_hands import RaisedHands, place_of
from workshops.models.callers import WorkshopCaller
from workshops.models.helping import HandContent, HandView, LookView, SeatHelp, SeatLookView
from workshops.models.views import LogEvent
from workshops.service import Workshops
from workshops.states import WorkshopState
from workshops.store.hand_table import HandRecord
from workshops.store.schema import EventRecord, MembershipRecord, WorkshopRecord
from workshops.store.store import Store, StoreError

log = logging.getLogger("workshops")

SWEEP_SECONDS = 5.0  # between two looks for consents whose time is over
FORGET_ROUNDS = 60  # sweeps between two looks for workshops that are over
RAISES_A_MINUTE = 10  # of one person; what was sent may be changed as often
LOOKS_A_MINUTE = 6  # consents of one person
_OPEN = (WorkshopState.WARMING, WorkshopState.OPEN)
_NO_SEAT = Message("hand-no-seat", "Only people who have a seat in this workshop can raise a hand.")
_NOT_OPEN = Message("hand-not-open", "You can raise a hand while the workshop is open.")


class Helping:
    """Keeps the raised hands of all workshops, and the consents with which people let helpers see a notebook.

    Start ``run``. ``now``: the clock. ``on_change``: functions that are called after a raised hand or a consent has
    changed (except by ``forget``); each gets a set with the id of the workshop's project. Methods raise StoreError, and
    ProblemError if the person may not do now what the method does.
    """

    def __init__(self, workshops: Workshops, store: Store, now: Callable[[], datetime]) -> None:
        self._workshops = workshops
        self._store = store
        self._now = now
        self._raised = RaisedHands(store)
        self._looks = Looks(now)
        self._raises = MinuteLimit(RAISES_A_MINUTE, now)
        self._consents = MinuteLimit(LOOKS_A_MINUTE, now)
        self.on_change: list[Callable[[frozenset[str]], None]] = []

    async def run(self) -> None:
        """Without end, call ``sweep`` every ``SWEEP_SECONDS``, and ``forget`` less often; errors go to the log."""
        rounds = 0
        while True:
            try:
                await self.sweep()
                if rounds % FORGET_ROUNDS == 0:
                    await self.forget()
            except StoreError as error:
                log.error("What became of raised hands cannot be written: %s", error)  # noqa: TRY400
            except Exception:  # any error: this loop must continue, since consents end here
                log.exception("Consents to look are looked at again")
            rounds += 1
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Delete the stored copies of notebooks whose consent is over; add a line for each to the workshop's log."""
        for look in self._looks.sweep():
            self._tell(look.workshop)
            await self._store.note(self._event(look.workshop, "", "look ended", f"{look.person}: {look.snapshot.file}"))

    async def forget(self) -> None:
        """Delete the raised hands, and the stored copies of notebooks, of workshops that are over."""
        live = [one.slug for one in await self._store.all(over=False)]
        for look in self._looks.others(live):
            self._looks.end(look.workshop, look.person)
        await self._raised.forget_all_but(live)

    # --- the person who asks for help

    async def state(self, person: str, slug: str) -> HelpState:
        """Return whether a person's hand is up, and which notebook of theirs helpers may see.

        Raises StoreError, and ProblemError if the person may not see the workshop.
        """
        workshop, mine = await self._seat(person, slug)
        members = (await self._store.members([slug]))[slug]
        people, raised = {one.person: one for one in members}, _up(await self._raised.of(slug), members)
        hand, look = raised.get(person), self._looks.get(slug, person)
        own_hand = None if hand is None else OwnHand(
            since=hand.at,
            place=place_of(hand, raised.values()),
            by=_name(people, hand.by),
            asked_by=_name(people, hand.asked_by),
        )  # fmt: skip
        own_look = None if look is None else OwnLook(
            file=look.snapshot.file, until=look.until, seen_by=tuple(_name(people, one) for one in look.seen_by)
        )  # fmt: skip
        return HelpState(open=mine is not None and workshop.state in _OPEN, hand=own_hand, look=own_look)

    async def raise_hand(self, person: str, slug: str, body: HandBody) -> HelpState:
        """Raise a person's hand; return the person's ``state``.

        A hand that is up already keeps its place, and ``body`` replaces what was sent. Raises StoreError, and
        ProblemError if the person has no seat, the workshop is neither warming up nor open, or the person did this more
        than ``RAISES_A_MINUTE`` times in a minute.
        """
        await self._may_ask(person, slug)
        if not self._raises.allows(slug, person):
            raise too_many(Message("hand-rate", "You raise your hand too often."))
        hand = HandRecord(slug, person, self._now(), body.question, body.file, body.source, body.error)
        await self._raised.put(hand, self._event(slug, person, "hand"))
        self._tell(slug)
        return await self.state(person, slug)

    async def lower(self, person: str, slug: str) -> HelpState:
        """Lower a person's hand, if it is up; return the person's ``state``.

        Raises StoreError, and ProblemError if the person may not see the workshop.
        """
        await self._seat(person, slug)
        if await self._raised.take_down(slug, person, self._event(slug, person, "lowered")):
            self._tell(slug)
        return await self.state(person, slug)

    async def allow_look(self, person: str, slug: str, session: str, body: LookBody) -> HelpState:
        """Let helpers see the notebook in ``body`` for ``body.minutes`` minutes; return the person's ``state``.

        A consent that the person gave before is replaced. ``session``: the id of the session that sends the notebook.
        Raises StoreError, and ProblemError if the person has no seat, the workshop is neither warming up nor open, the
        person did this more than ``LOOKS_A_MINUTE`` times in a minute, or too many people's consents hold now.
        """
        await self._may_ask(person, slug)
        if not self._consents.allows(slug, person):
            raise too_many(Message("look-rate", "You begin this too often."))
        look = self._looks.begin(slug, person, session, body)
        until = look.until.strftime("%H:%M:%S UTC")
        try:
            await self._store.note(self._event(slug, person, "look", f"{look.snapshot.file}, until {until}"))
            await self._raised.change(slug, person, asked_by="")
        except StoreError:
            self._looks.end(slug, person)  # nobody looks without a line in the log
            raise
        self._tell(slug)
        return await self.state(person, slug)

    async def renew_look(self, person: str, slug: str, session: str, snapshot: NotebookSnapshot) -> HelpState:
        """Store the new saved state of a notebook that helpers may see; return the person's ``state``.

        ``session``: the id of the person's session. Raises StoreError, and ProblemError if the person has no seat, the
        workshop is neither warming up nor open, ``session`` has given no consent for the file of ``snapshot``, or this
        consent is over.
        """
        await self._may_ask(person, slug)
        self._looks.renew(slug, person, session, snapshot)
        return await self.state(person, slug)

    async def end_look(self, person: str, slug: str) -> HelpState:
        """Let nobody see a person's notebook any more, and delete its copy; return the person's ``state``.

        Raises StoreError, and ProblemError if the person may not see the workshop; the copy is deleted even then.
        """
        look = self._looks.end(slug, person)
        await self._seat(person, slug)
        if look is not None:
            self._tell(slug)
            await self._store.note(self._event(slug, person, "look ended", look.snapshot.file))
        return await self.state(person, slug)

    async def take(self, ask: HelpAsk) -> HelpState:
        """Do what a session asks on behalf of its person, such as to raise a hand; return the person's ``state``.

        Raises StoreError, and ProblemError if the person may not do this now, or if the request lacks something.
        """
        person, slug = ask.person, ask.project.removeprefix(PREFIX)
        match ask.act:
            case "state":
                return await self.state(person, slug)
            case "raise" if ask.hand is not None:
                return await self.raise_hand(person, slug, ask.hand)
            case "lower":
                return await self.lower(person, slug)
            case "look" if ask.look is not None:
                return await self.allow_look(person, slug, ask.session, ask.look)
            case "snapshot" if ask.snapshot is not None:
                return await self.renew_look(person, slug, ask.session, ask.snapshot)
            case "unlook":
                return await self.end_look(person, slug)
            case _:
                raise invalid(Message("help-ask", "This request for help is not complete."))

    # --- the people who help

    async def of_room(self, slug: str, members: Sequence[MembershipRecord], contents: bool) -> dict[str, SeatHelp]:
        """Return, by person, the raised hands in a workshop, and which notebooks helpers may see.

        This is for the workshop's room, the page for the people who run the class. ``members``: all members of the
        workshop. ``contents``: whether the reader of the page may help; if False, the result has no notebooks, and
        says of each hand only since when it is up, and its place in the queue.
        """
        raised = _up(await self._raised.of(slug), members)
        looks = {one.person: one for one in self._looks.of(slug)} if contents else {}
        people = {one.person: one for one in members}
        shown = {}
        for person in raised.keys() | looks.keys():
            hand, look = raised.get(person), looks.get(person)
            shown[person] = SeatHelp(
                hand=None if hand is None else _shown(hand, place_of(hand, raised.values()), people, contents),
                look=None if look is None else SeatLookView(file=look.snapshot.file, until=look.until),
            )
        return shown

    async def content(self, caller: WorkshopCaller, slug: str, seat: int) -> HandContent:
        """Return what the person on a seat sent with the raised hand.

        Raises StoreError, and ProblemError if the caller may not help, or if no hand is up on this seat.
        """
        holder = await self._holder(caller, slug, seat)
        hand = await self._raised.get(slug, holder.person)
        if hand is None:
            raise _not_up(seat)
        people = {one.person: one for one in (await self._store.members([slug]))[slug]}
        return HandContent(
            seat=seat,
            person=holder.person,
            name=holder.name or "",
            since=hand.at,
            by=_name(people, hand.by),
            question=hand.question,
            file=hand.file,
            source=hand.source,
            error=hand.error,
        )

    async def come(self, caller: WorkshopCaller, slug: str, seat: int) -> None:
        """Tell the person on a seat, whose hand is up, that the caller comes; a repeated call changes nothing.

        Raises StoreError, and ProblemError if the caller may not help, if no hand is up on this seat, or if another
        helper comes already.
        """
        holder = await self._holder(caller, slug, seat)
        event = self._event(slug, caller.person, "comes", f"seat {seat}")
        hand = await self._raised.change(slug, holder.person, event, by=caller.person)
        if hand is not None and hand.by != caller.person:
            raise conflict(Message("hand-taken", "Somebody else comes to seat {seat} already.").format(seat=seat))
        self._changed(slug, seat, hand)

    async def done(self, caller: WorkshopCaller, slug: str, seat: int) -> None:
        """Lower the hand of the person on a seat, who has got help.

        Raises StoreError, and ProblemError if the caller may not help, or if no hand is up on this seat.
        """
        holder = await self._holder(caller, slug, seat)
        event = self._event(slug, caller.person, "helped", f"seat {seat}")
        if not await self._raised.take_down(slug, holder.person, event):
            raise _not_up(seat)
        self._tell(slug)

    async def ask_look(self, caller: WorkshopCaller, slug: str, seat: int) -> None:
        """Ask the person on a seat, whose hand is up, to let helpers see a notebook.

        Raises StoreError, and ProblemError if the caller may not help, or if no hand is up on this seat.
        """
        holder = await self._holder(caller, slug, seat)
        event = self._event(slug, caller.person, "asks to look", f"seat {seat}")
        self._changed(slug, seat, await self._raised.change(slug, holder.person, event, asked_by=caller.person))

    async def look(self, caller: WorkshopCaller, slug: str, seat: int) -> LookView:
        """Return the notebook that the person on a seat lets helpers see.

        During each consent, the first look of each helper adds a line to the workshop's log. Raises StoreError, and
        ProblemError if the caller may not help, or if no consent of the person holds now.
        """
        holder = await self._holder(caller, slug, seat)
        look = self._looks.get(slug, holder.person)
        if look is None:
            raise gone(Message("look-none", "A notebook that helpers may see on seat {seat}").format(seat=seat))
        if caller.person not in look.seen_by:
            detail = f"{holder.person}: {look.snapshot.file}"
            await self._store.note(self._event(slug, caller.person, "looked", detail))
            _seen(look, caller.person)
        return LookView(
            seat=seat, person=holder.person, name=holder.name or "", until=look.until, snapshot=look.snapshot
        )

    # --- helpers

    async def _seat(self, person: str, slug: str) -> tuple[WorkshopRecord, MembershipRecord | None]:
        """Return a workshop, and a person's membership if they have a seat in it; None: they have no seat.

        Raises ProblemError if the person may not see the workshop.
        """
        workshop, mine = await self._workshops.place(WorkshopCaller(person), slug)
        return workshop, mine if mine is not None and mine.state == "seated" else None

    async def _may_ask(self, person: str, slug: str) -> None:
        workshop, mine = await self._seat(person, slug)
        if mine is None:
            raise forbidden(_NO_SEAT)
        if workshop.state not in _OPEN:
            raise conflict(_NOT_OPEN)

    async def _holder(self, caller: WorkshopCaller, slug: str, seat: int) -> MembershipRecord:
        """Return the membership of the person who has a seat.

        Raises ProblemError if the caller may not help in this workshop, or if nobody has the seat.
        """
        await self._workshops.may(caller, slug, "help")
        people: Sequence[MembershipRecord] = (await self._store.members([slug]))[slug]
        holder = next((one for one in people if one.seat == seat and one.state == "seated"), None)
        if holder is None:
            raise gone(Message("room-seat", "A person on seat {seat}").format(seat=seat))
        return holder

    def _changed(self, slug: str, seat: int, hand: HandRecord | None) -> None:
        if hand is None:
            raise _not_up(seat)
        self._tell(slug)

    def _event(self, slug: str, by: str, what: LogEvent, detail: str = "") -> EventRecord:
        return EventRecord(slug, self._now(), by, what, detail)

    def _tell(self, slug: str) -> None:
        for on_change in self.on_change:
            on_change(frozenset({PREFIX + slug}))


def _up(raised: dict[str, HandRecord], members: Sequence[MembershipRecord]) -> dict[str, HandRecord]:
    """Return, by person, those of the ``raised`` hands whose persons still have a seat."""
    return {one.person: raised[one.person] for one in members if one.state == "seated" and one.person in raised}


def _seen(look: NotebookConsent, helper: str) -> None:
    if helper not in look.seen_by:
        look.seen_by.append(helper)


def _name(people: dict[str, MembershipRecord], person: str) -> str:
    """Return the name by which people know a helper; the user name if there is no other; "" if ``person`` is ""."""
    known = people.get(person)
    return (known.name if known is not None and known.name else person) or ""


def _shown(hand: HandRecord, place: int, people: dict[str, MembershipRecord], contents: bool) -> HandView:
    if not contents:
        return HandView(since=hand.at, place=place)
    sent: dict[Literal["source", "error"], str] = {"source": hand.source, "error": hand.error}
    return HandView(
        since=hand.at,
        place=place,
        by=_name(people, hand.by),
        question=hand.question,
        has=tuple(name for name, text in sent.items() if text),
        asked_by=_name(people, hand.asked_by),
    )


def _not_up(seat: int) -> Exception:
    return conflict(Message("hand-not-up", "No hand is up on seat {seat} any more.").format(seat=seat))
