"""Begins the seats of workshops that warm up or are open, through the link, as ``waves`` decides.

Each seat is stored with the id of its session before the link is asked, and the link begins a session with one id only
once. So this process may be killed at any moment: after its next start it asks again for the seats whose outcome it
does not know, and no seat begins twice.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy.engine import Connection

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models import EndReason, Problem, SessionState
from factorycommon.models.sessions import Words
from factorycommon.models.workshops.seats import (
    MOST_AT_ONCE,
    HoldBody,
    SeatAnswer,
    SeatBody,
    SeatPlace,
    SeatPlaces,
    SeatsBody,
    SeatsView,
)
from factorycommon.service.problems import ProblemError, conflict
from workshops.joining import languages
from workshops.link import LinkRefused, LinkSocket, is_mismatch
from workshops.models.seats import BegunSeatView, HaltView, SeatingView, SeatProgress
from workshops.seats import placement, rows, waves
from workshops.seats.waves import Halt, NextWave, Pace, Rate, SeatFacts
from workshops.states import WARM_STATES, WorkshopState
from workshops.store import moves
from workshops.store.moves import Placement
from workshops.store.schema import EventRecord, MembershipRecord, PlaceRecord, WorkshopRecord
from workshops.store.seat_tables import MoveRow, SeatRow, WarmUpRow
from workshops.store.store import Store, StoreError

log = logging.getLogger("workshops")

UNOPENED = timedelta(minutes=20)  # after the class has started, until a seat that nobody has opened ends
SPARE_ACCOUNTS = 0.1  # of the seats: accounts that are held beside them
_ANSWER_SECONDS = 60.0  # for the link to begin a wave
PERSONAL = frozenset({"forbidden", "conflict"})  # kinds of refusals that are a matter of the person
# refusals by a link that has not read the service's last table of projects yet
_NOT_YET = frozenset({"project-not-begun", "projects-unknown"})
_STOPPED = "stopped-before-begun"  # the link's refusal of a session that was to stop before it began
_STRANGER = "not-in-workshop"  # of a person who has just joined, until the link has read that
_UNREAD = Message(
    "workshop-link-unread",
    "The gateway’s link has not taken over the people and times of this workshop, so seats do not begin. Its log says "
    "why; if it is older than the service for workshops, update it, and start it again.",
)
READING = timedelta(minutes=2)  # for the link to read the table of projects, until somebody is told
JOINING = timedelta(seconds=30)  # until such a refusal counts
LOOK = timedelta(seconds=20)  # between two looks at a workshop with a plan B or missing accounts, if nothing is due
# ends of sessions before anybody could open them that are a fault of the place
FAULTS = frozenset(
    {
        EndReason.FAILED,
        EndReason.REFUSED,
        EndReason.NODE_FAILED,
        EndReason.OUT_OF_MEMORY,
        EndReason.NEVER_OPENED_DOOR,
        EndReason.PREEMPTED,
        EndReason.CANCELLED_BY_SITE,
    }
)
Wanted = Callable[[Connection], bool]
_PLACES, _SEATS = TypeAdapter(SeatPlaces), TypeAdapter(SeatsView)
_NOT_BEGUN = (SeatProgress.FAILED, SeatProgress.REFUSED)


class SeatRunner:
    """Begins seats in the background. Call ``attend`` every few seconds; ``close`` at the end.

    ``root``: the gateway's address for people, with a slash at its end. ``measures``: whether the measured rates decide
    when a workshop's seats begin. If False, the operator has set how many minutes before the opening they begin.
    """

    def __init__(
        self, store: Store, link: LinkSocket, now: Callable[[], datetime], root: str = "/", measures: bool = True
    ) -> None:
        self.measures = measures
        self._store = store
        self._link = link
        self._now = now
        self._lab_url = f"{root}hub/user-redirect/lab"
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by workshop
        self._places: dict[str, tuple[SeatPlace, ...]] = {}  # what the link last said, by workshop
        self._looked: dict[str, datetime] = {}  # when that was
        self._failed: dict[tuple[str, str], int] = {}  # looks in a row at which a factory did not answer the link
        self._away: set[str] = set()  # workshops for which the link did not answer
        self._troubles: dict[str, Message] = {}  # why seats do not begin that nothing here can mend, by workshop
        self._unknown: dict[str, datetime] = {}  # since when the link knows nothing of a workshop
        self._rated: set[tuple[str, str]] = set()  # workshops and factories whose rate is stored

    def attend(self, live: Sequence[WorkshopRecord], people: Mapping[str, Sequence[MembershipRecord]]) -> None:
        """In the background, begin the seats that are due in the workshops that warm up or are open.

        A workshop for which earlier work still goes on is skipped. Without a link, nothing is done. ``live``: all
        workshops that are not archived or cancelled; ``people``: the people of each workshop, by slug.
        """
        if not self._link.there:
            return
        known = {workshop.slug for workshop in live}
        for one in self._places.keys() - known:
            del self._places[one]
            self._looked.pop(one, None)
        self._failed = {key: count for key, count in self._failed.items() if key[0] in known}
        self._troubles = {slug: trouble for slug, trouble in self._troubles.items() if slug in known}
        self._unknown = {slug: since for slug, since in self._unknown.items() if slug in known}
        for workshop in live:
            if workshop.state in WARM_STATES and workshop.slug not in self._tasks:
                self._begin(workshop.slug, self.look(workshop, people.get(workshop.slug, ())))

    async def settle(self) -> None:
        """Wait until all work that has begun in the background is done."""
        await asyncio.gather(*self._tasks.values())

    async def close(self) -> None:
        """Cancel the work in the background; seats that were begun go on."""
        for task in tuple(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def rates(self) -> dict[tuple[str, str], Rate]:
        """Return how fast seats came up in the last class or rehearsal, by factory and node size. Raises StoreError.

        A rehearsal does not replace a rate that was measured with more seats.
        """
        return await self._store.transact(rows.rates)

    async def go_on(self, slug: str, by: str) -> None:
        """End the halt of a workshop's seats, so that seats are requested again, also those that failed.

        ``by``: who ends the halt, for the workshop's log. Raises ProblemError if there was no halt; StoreError.
        """
        now = self._now()
        if not await self._store.transact(lambda db: rows.go_on(db, slug, now, by)):
            raise conflict(Message("workshop-not-halted", "Warming up was not halted."))

    async def begin_one(self, workshop: WorkshopRecord, person: str, wanted: Wanted = lambda _db: True) -> SeatRow:
        """Request a new session for a person's seat from the link, and return the seat's row.

        If the last session at the seat's place was still coming up, the link is asked about that session first. A new
        session is then requested only if the last session was refused, failed or ended. Call this method again while
        the returned state is ``ASKED``. ``wanted``: returns whether the seat is still to begin; called in the
        transaction that stores a new session.

        Raises StoreError; ProblemError if ``wanted`` returns False, the seat was moved or given up meanwhile, the class
        has ended, or the link refuses the whole request or gives no valid answer.
        """
        while (running := self._tasks.get(workshop.slug)) is not None:  # one at a time, so that no seat is doubled
            await asyncio.wait([running])
        asked = asyncio.ensure_future(self._begin_one(workshop, person, wanted))

        async def over() -> None:
            await asyncio.wait([asked])

        self._begin(workshop.slug, over())
        return await asked

    async def _begin_one(self, workshop: WorkshopRecord, person: str, wanted: Wanted) -> SeatRow:
        slug = workshop.slug
        people = (await self._store.members([slug]))[slug]
        orders = await self._store.transact(lambda db: moves.orders(db, slug))
        known = {row.person: row for row in await self._store.transact(lambda db: rows.of_workshop(db, slug))}
        belongs = moves.place_of(workshop, orders, next((one.seat for one in people if one.person == person), None))
        place, moved = belongs.place, {} if belongs.order is None else {person: belongs.order.at}
        row = _at(known.get(person), place)
        if row is not None and not rows.is_answered(row):
            row = (await self._ask(workshop, place, [row], moved)).get(person, row)
            if not rows.is_answered(row) or row.state is SeatProgress.RUNNING:
                return row
        last = max((one.wave for one in known.values()), default=0)
        made = await self._intend(workshop, place, NextWave(last, (person,)), known, wanted=wanted)
        if not made:
            raise conflict("The seat was moved or stopped meanwhile, or its class has ended.")
        return (await self._ask(workshop, place, made, moved)).get(person, made[0])

    async def view(self, workshop: WorkshopRecord, people: Sequence[MembershipRecord], most: timedelta) -> SeatingView:
        """Return how far a workshop's seats are, when they begin, and the stored rate at which seats came up.

        ``most``: without a trainer's order, the seats begin at most this long before the opening. Raises StoreError.
        """
        slug = workshop.slug
        found = {row.person: row for row in await self._store.transact(lambda db: rows.of_workshop(db, slug))}
        warm_up = await self._store.transact(lambda db: rows.warm_up(db, slug))
        orders = await self._store.transact(lambda db: moves.orders(db, slug))
        place = moves.place_of(workshop, orders, None).place
        rate = (await self.rates()).get((place.factory, place.size))
        seated = [one for one in people if one.state == "seated"]
        there = {one.person: moves.place_of(workshop, orders, one.seat).place for one in seated}
        return SeatingView(
            seats=tuple(_shown(one, _at(found.get(one.person), there[one.person])) for one in seated),
            halted=halt_view(warm_up),
            place=self.seen(workshop).get(place.factory),
            rate=None if rate is None else rate.per_minute,
            warms=workshop.warmed
            or workshop.opens - waves.warm_time(workshop.seats, rate if self.measures else None, most),
        )

    def seen(self, workshop: WorkshopRecord) -> dict[str, SeatPlace]:
        """Return what the link last reported of each place of a workshop, by factory; empty: nothing yet."""
        return {one.factory: one for one in self._places.get(workshop.slug, ())}

    async def silent(self, workshop: WorkshopRecord, factory: str) -> bool:
        """Ask the link now; return True if the link reports that ``factory`` does not answer. Raises ProblemError."""
        places = (await self._link.get(_PLACES, workshop.project, "/seats")).places
        here = next((one for one in places if one.factory == factory), None)
        return here is not None and _is_silent(here)

    def trouble(self, slug: str) -> Message | None:
        """Return why no seats of a workshop begin until somebody mends the gateway; None: no such trouble is known."""
        return self._troubles.get(slug)

    def failed_looks(self, slug: str, factory: str) -> int:
        """Return how many times in a row the link has reported that a factory of a workshop does not answer.

        0 if the link's last report does not say so, or if there is no report yet.
        """
        return self._failed.get((slug, factory), 0)

    # --- one workshop

    def _begin(self, slug: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"seats of {slug}")
        self._tasks[slug] = task
        task.add_done_callback(lambda _task: self._tasks.pop(slug, None))

    async def look(self, workshop: WorkshopRecord, people: Sequence[MembershipRecord]) -> None:
        """Ask the link what became of a workshop's seats, and request the next wave of seats if it is due.

        Errors go to the log, and the next call tries again.
        """
        try:
            await self._look(workshop, people)
            self._away.discard(workshop.slug)
            self._say(workshop.slug, self._unread(workshop.slug, await self._is_unread(workshop.slug)))
        except ProblemError as error:
            if (trouble := self._lasting_trouble(workshop.slug, error)) is not None:
                self._say(workshop.slug, trouble)
            elif workshop.slug not in self._away:
                self._away.add(workshop.slug)
                log.warning("The seats of %s do not begin now: %s", workshop.slug, error.problem.message)
        except StoreError as error:
            log.error("The seats of %s are looked at again: %s", workshop.slug, error)  # noqa: TRY400
        except Exception:  # any error: the next look must come
            log.exception("The seats of %s are looked at again", workshop.slug)

    def _lasting_trouble(self, slug: str, error: ProblemError) -> Message | None:
        """Return the message about an error that does not pass by itself; None for any other error.

        Two errors do not pass: link and service are of different releases; or the link has answered for longer than the
        time ``READING`` that it does not know the workshop.
        """
        if is_mismatch(error):
            return error.problem.as_message("message")
        if not isinstance(error, LinkRefused) or error.problem.kind != "gone":
            return None
        return self._unread(slug, unread=True)

    def _unread(self, slug: str, unread: bool) -> Message | None:
        """Return a message if the link has lacked a workshop's people or times for longer than ``READING``, else None.

        ``unread``: whether the link lacks them now. The time runs from the first call with True, and False ends it.
        """
        if not unread:
            self._unknown.pop(slug, None)
            return None
        return _UNREAD if self._now() - self._unknown.setdefault(slug, self._now()) > READING else None

    async def _is_unread(self, slug: str) -> bool:
        """Return True if the link's answers about seats show that it has not read a workshop's people or times yet."""
        return any(
            row.state == SeatProgress.ASKED
            or (row.state == SeatProgress.REFUSED and row.why is not None and row.why.code == _STRANGER)
            for row in await self._store.transact(lambda db: rows.of_workshop(db, slug))
        )

    def _say(self, slug: str, trouble: Message | None) -> None:
        """Keep ``trouble``, why no seats of a workshop begin; None: no trouble is known.

        The log gets a trouble once, however many workshops have the same trouble.
        """
        if trouble is None:
            self._troubles.pop(slug, None)
            return
        if trouble not in self._troubles.values():
            log.error("The seats of %s do not begin: %s", slug, trouble)
        self._troubles[slug] = trouble

    async def _look(self, workshop: WorkshopRecord, people: Sequence[MembershipRecord]) -> None:
        slug = workshop.slug
        known = {row.person: row for row in await self._store.transact(lambda db: rows.of_workshop(db, slug))}
        orders = await self._store.transact(lambda db: moves.orders(db, slug))
        warm_up = await self._store.transact(lambda db: rows.warm_up(db, slug))
        seated = [one for one in people if one.state == "seated"]
        if left := known.keys() - {one.person for one in seated}:
            await self._store.transact(lambda db: rows.drop(db, slug, left))
        shares = placement.by_place(workshop, orders, seated)
        work: list[_Share] = []
        for place in workshop.places:
            here = shares[place.number]
            mine = [one for one in here if _gets_seat(workshop, one, moves.place_of(workshop, orders, one.seat))]
            unanswered = [
                row
                for one in here
                if (row := _at(known.get(one.person), place)) is not None and not rows.is_answered(row)
            ]
            facts = placement.facts_at(place, mine, known)
            due = warm_up.halted is None and any(waves.is_due(seat, self._now()) for seat in facts)
            wanted = workshop.seats if place == moves.place_of(workshop, orders, None).place else len(here)
            work.append(_Share(place, mine, unanswered, due, wanted, moved=_were_moved(workshop, orders, here)))
        busy = [one for one in work if one.unanswered or one.due]
        # else link and factory are left alone
        looks = bool(busy) or slug not in self._places or self._is_look_due(workshop, work)
        if looks:
            await self._look_at_places(workshop)
        troubles: list[ProblemError] = []
        for one in work:
            try:
                if looks and one.wanted:
                    await self._hold(workshop, one)
                if one.mine or one.unanswered:
                    await self._look_at(workshop, one, dict(known), warm_up)
            except ProblemError as error:  # the other places of a class must not wait for this one
                troubles.append(error)
        if troubles:
            raise troubles[0]

    async def _look_at(
        self, workshop: WorkshopRecord, share: _Share, known: dict[str, SeatRow], warm_up: WarmUpRow
    ) -> None:
        """Ask the link about the seats at one place of a workshop, then request the next wave there if it is due.

        Too many failures halt the workshop's seats instead. Once all seats are settled, the rate at which they came up
        is stored. ``known``: the rows of all seats by person, which this method updates. Raises ProblemError,
        StoreError.
        """
        slug, place = workshop.slug, share.place
        if share.unanswered or share.due:
            known |= await self._ask(workshop, place, share.unanswered, share.moved)
        if warm_up.halted is not None:
            return
        here, now = _of(self._places[slug], place.factory), self._now()
        facts = placement.facts_at(place, share.mine, known)
        pace = Pace(here.per_minute, room(here, facts), here.problem is None)
        decided = waves.next_wave(facts, pace, warm_up.go_on, now)
        rows_here = [row for one in share.mine if (row := _at(known.get(one.person), place)) is not None]
        if decided.halt is not None:
            await self._halt(workshop, decided.halt, rows_here, warm_up)
        elif decided.ask:
            since = {one.person: max(one.at, share.moved.get(one.person, one.at)) for one in share.mine}
            intended = await self._intend(workshop, place, decided, known, since)
            await self._ask(workshop, place, intended, share.moved)
        elif waves.is_settled(facts) and (slug, place.factory) not in self._rated:
            # late joiners say nothing of how fast a class comes up
            early = [row for row in rows_here if row.asked <= workshop.opens]
            if await self._rate(place, early):
                self._rated.add((slug, place.factory))

    def _is_look_due(self, workshop: WorkshopRecord, work: Sequence[_Share]) -> bool:
        """Return whether to ask the link about a workshop's places although no seat is due.

        True only if the last question about the places is at least the time ``LOOK`` ago, and if the workshop has more
        than one place or lacks accounts that are held and clean. ``work``: the workshop's seats by place.
        """
        last = self._looked.get(workshop.slug)
        if last is not None and self._now() - last < LOOK:
            return False
        seen = self.seen(workshop)
        return len(workshop.places) > 1 or any(one.wanted and not _has_accounts(seen, one) for one in work)

    async def _look_at_places(self, workshop: WorkshopRecord) -> None:
        """Ask the link what the places of a workshop allow, and store this in ``_places``.

        Also count, for each factory, the looks in a row at which the factory does not answer the link. Raises
        ProblemError.
        """
        slug = workshop.slug
        found = (await self._link.get(_PLACES, workshop.project, "/seats")).places
        self._places[slug], self._looked[slug] = found, self._now()
        for one in found:
            self._failed[slug, one.factory] = self.failed_looks(slug, one.factory) + 1 if _is_silent(one) else 0

    async def _hold(self, workshop: WorkshopRecord, share: _Share) -> None:
        """Ask the link to hold accounts for the seats of a place, and spare ones, unless it holds so many already.

        At the place where new members get their seats, accounts are held for all of the workshop's seats, also for
        those that nobody has taken yet. Do nothing if no accounts are lent there. Raises ProblemError.
        """
        factory = share.place.factory
        accounts = _of(self._places[workshop.slug], factory).accounts
        if accounts is not None and accounts.ready + accounts.wiping < min(share.accounts, accounts.pool):
            body = HoldBody(accounts={factory: share.accounts})
            self._places[workshop.slug] = (await self._link.put(_PLACES, workshop.project, "/hold", body)).places

    async def _intend(
        self,
        workshop: WorkshopRecord,
        place: PlaceRecord,
        decided: NextWave,
        known: Mapping[str, SeatRow],
        since: Mapping[str, datetime] = MappingProxyType({}),
        wanted: Wanted = lambda _db: True,
    ) -> list[SeatRow]:
        """Store the seats of a wave before the link is asked for them; return the stored rows.

        Seats that do not belong at the place any more are left out. ``since``: by person, the time since when a session
        of theirs counts as their seat; people who are not in ``since`` get a new session in any case. ``wanted``:
        returns whether the seats are still to begin; called in the transaction that stores them.
        """
        now, made = self._now(), list[SeatRow]()
        for person in decided.ask:
            last = known.get(person)
            before = _at(last, place)
            made.append(
                SeatRow(
                    workshop=workshop.slug,
                    person=person,
                    factory=place.factory,
                    size=place.size,
                    session=uuid.uuid4().hex,
                    state=SeatProgress.ASKED,
                    wave=decided.number,
                    attempts=1 if before is None else max(1, before.attempts + (before.state == SeatProgress.FAILED)),
                    asked=now,
                    since=_since(before, since.get(person)),
                    over=None if last is None else last.over,
                    first_asked=now if before is None else before.first_asked,
                )
            )

        def put(db: Connection) -> list[SeatRow]:
            there = rows.belonging(db, workshop, place) if wanted(db) else set[str]()
            stay = [row for row in made if row.person in there]
            rows.put(db, stay)
            return stay

        stored = await self._store.transact(put)
        if stored:
            log.info("Wave %d of %s: %d seats at %s", decided.number, workshop.slug, len(stored), place.factory)
        return stored

    async def _ask(
        self, workshop: WorkshopRecord, place: PlaceRecord, asked: Sequence[SeatRow], moved: Mapping[str, datetime]
    ) -> dict[str, SeatRow]:
        """Ask the link to begin these seats, or for the state of those that have begun.

        Return the rows as they are after the answers, by person. Seats that were moved or stopped meanwhile, or whose
        class has ended, are left out. ``moved``: by person, when their seat was moved to this place. Raises
        ProblemError; StoreError.
        """
        found: dict[str, SeatRow] = {}
        now = self._now()
        early = max(timedelta(), workshop.opens - now)
        farewell = languages.FAREWELL.format(factory=place.factory, url=self._lab_url)
        for first in range(0, len(asked), MOST_AT_ONCE):
            part = await self._wanted(workshop, place, asked[first : first + MOST_AT_ONCE])
            if not part:
                continue
            body = SeatsBody(
                seats=tuple(_body(workshop, place, row, moved.get(row.person)) for row in part),
                unopened_until=max(workshop.starts, now) + UNOPENED,
                early_hours=min(48.0, early / timedelta(hours=1)),
                farewell=languages.language_of(*workshop.languages).said(farewell),
                farewells=languages.in_all(farewell),
            )
            answers = (await self._link.post(_SEATS, workshop.project, "/seats", body, _ANSWER_SECONDS)).seats
            if [one.session for one in answers] != [row.session for row in part]:
                raise conflict(Message("workshop-seats-unclear", "The gateway’s link answered about other seats."))
            changed = {row.session: _after(row, answer, self._now()) for row, answer in zip(part, answers, strict=True)}
            await self._store.transact(partial(rows.note_answers, answers=changed))
            found |= {row.person: row for row in changed.values()}
        return found

    async def _wanted(
        self, workshop: WorkshopRecord, place: PlaceRecord, asked: Sequence[SeatRow]
    ) -> tuple[SeatRow, ...]:
        """Return the seats among ``asked`` that the link must still be asked about, as the database says now.

        These seats belong to ``place`` (one of the workshop's factories) and have not yet come up, failed, been refused
        or ended. If the workshop is neither warming up nor open, there are none.
        """

        def read(db: Connection) -> tuple[SeatRow, ...]:
            there = rows.belonging(db, workshop, place)
            known = {row.session for row in rows.of_workshop(db, workshop.slug) if not rows.is_answered(row)}
            return tuple(row for row in asked if row.person in there and row.session in known)

        return await self._store.transact(read)

    async def _halt(self, workshop: WorkshopRecord, halt: Halt, seats: Collection[SeatRow], warm_up: WarmUpRow) -> None:
        """Store that no more seats are asked for, with the most frequent reason of the failures.

        Store nothing if the stored state has changed since ``warm_up`` was read: a trainer has said to go on or moved
        seats, or failures at another place have halted the seats already.
        """
        now = self._now()
        whys = [row.why for row in seats if row.state == SeatProgress.FAILED and row.wave == halt.wave and row.why]
        counted = Counter(why.what for why in whys)
        why = max(whys, key=lambda one: counted[one.what], default=None)
        row = replace(warm_up, halted=now, wave=halt.wave, failed=halt.failed, of=halt.of, why=why)
        event = EventRecord(workshop.slug, now, "", "halted", f"{halt.failed}/{halt.of}")

        def put(db: Connection) -> bool:
            if rows.warm_up(db, workshop.slug) != warm_up:  # a trainer has gone on or moved seats since this look began
                return False
            rows.put_warm_up(db, row)
            return True

        if not await self._store.transact(put):
            return
        await self._store.note(event)
        log.warning("Warming up %s is halted: %d of %d seats of a wave failed", workshop.slug, halt.failed, halt.of)

    async def _rate(self, place: PlaceRecord, seats: Sequence[SeatRow]) -> bool:
        """Store how fast seats came up, for the next workshop there; return False if too few came up."""
        times = [(row.asked, row.ran) for row in seats if row.ran is not None and row.size == place.size]
        rate, now = waves.measured(times), self._now()
        if rate is None:
            return False
        await self._store.transact(lambda db: rows.put_rate(db, place.factory, place.size, rate, len(times), now))
        return True


@dataclass(frozen=True)
class _Share:
    """The seats of a workshop that belong to one place.

    ``mine``: the people whose seat begins before they open it; ``unanswered``: seats about which the link must be
    asked; ``due``: whether there is no halt and at least one seat may be requested now (the place's pace does not count
    here); ``wanted``: the number of seats for which accounts must be held; ``moved``: by person, when their seat was
    moved to this place.
    """

    place: PlaceRecord
    mine: Sequence[MembershipRecord]
    unanswered: Sequence[SeatRow]
    due: bool
    wanted: int
    moved: Mapping[str, datetime]

    @property
    def accounts(self) -> int:
        """Return how many accounts must be held: one for each seat in ``wanted``, and spare ones."""
        return self.wanted + math.ceil(SPARE_ACCOUNTS * self.wanted)


async def halt_of(store: Store, workshop: WorkshopRecord) -> HaltView | None:
    """Return why no further seats of a workshop begin after too many failures. Raises StoreError.

    None: no halt, or the workshop neither warms up nor is open.
    """
    if workshop.state not in WARM_STATES:
        return None
    return halt_view(await store.transact(lambda db: rows.warm_up(db, workshop.slug)))


async def not_begun(store: Store, workshop: WorkshopRecord) -> dict[str, Words]:
    """Return by person why their seat failed or was refused. Raises StoreError.

    Empty if the workshop neither warms up nor is open.
    """
    if workshop.state not in WARM_STATES:
        return {}
    found = await store.transact(lambda db: rows.of_workshop(db, workshop.slug))
    return {row.person: row.why for row in found if row.why is not None and row.state in _NOT_BEGUN}


def halt_view(warm_up: WarmUpRow) -> HaltView | None:
    """Return why no further seats begin after too many failures; None: no halt."""
    if warm_up.halted is None:
        return None
    return HaltView(at=warm_up.halted, wave=warm_up.wave, failed=warm_up.failed, of=warm_up.of, why=warm_up.why)


def _gets_seat(workshop: WorkshopRecord, one: MembershipRecord, belongs: Placement) -> bool:
    """Return whether the service begins a person's seat before the person opens it.

    The seats of late joiners begin only if the workshop says so, or if the seat was moved after they had joined.
    """
    moved = belongs.order is not None and one.at <= belongs.order.at
    return workshop.state == WorkshopState.WARMING or workshop.seat_on_join or one.at <= workshop.opens or moved


def _were_moved(
    workshop: WorkshopRecord, orders: Sequence[MoveRow], people: Iterable[MembershipRecord]
) -> dict[str, datetime]:
    """Return when the seats of people were last moved, by person; people whose seat was not moved are left out."""
    found = ((one.person, moves.place_of(workshop, orders, one.seat).order) for one in people)
    return {person: order.at for person, order in found if order is not None}


def _at(row: SeatRow | None, place: PlaceRecord) -> SeatRow | None:
    """Return the row of a seat if the seat was begun at the place where it belongs, else None."""
    return row if placement.is_there(row, place) else None


def _since(before: SeatRow | None, since: datetime | None) -> datetime | None:
    """Return the time from which on a session of a person, even an ended one, counts as the person's seat.

    ``since``: the earliest possible time; None if a trainer requests a new session now, so that no earlier session
    counts, and the result is None. ``before``: the last row of this seat at its place, None: there is none. If
    ``before`` was itself a trainer's request for a new session, sessions from before that request do not count.
    """
    if since is None or before is None:
        return since
    return max(since, before.asked if before.since is None else before.since)


def _is_silent(here: SeatPlace) -> bool:
    """Return whether a factory does not answer the link."""
    return here.problem is not None and here.problem.kind == "unreachable"


def _has_accounts(seen: Mapping[str, SeatPlace], share: _Share) -> bool:
    """Return whether all accounts that a place needs are held and clean, by the link's last report in ``seen``.

    True if no accounts are lent there; False if there is no report yet.
    """
    here = seen.get(share.place.factory)
    if here is None:
        return False
    return here.accounts is None or here.accounts.ready >= min(share.accounts, here.accounts.pool)


def room(here: SeatPlace, seats: Iterable[SeatFacts]) -> int | None:
    """Return how many more seats may begin at a place; None: no limit.

    ``here``: what the link reports of the place; ``seats``: the seats that belong to the place. Usually, the result is
    the number of further doors that the link may keep open there. While some of the workshop's accounts are being wiped
    or wait for a wipe, no more seats may begin than there are clean accounts and failed or refused seats together (such
    a seat has an account already).
    """
    rooms = [] if here.room is None else [here.room]
    if here.accounts is not None and here.accounts.wiping:
        again = sum(seat.state in (SeatProgress.FAILED, SeatProgress.REFUSED) for seat in seats)  # they have theirs
        rooms.append(here.accounts.free + again)
    return min(rooms, default=None)


def _of(found: Iterable[SeatPlace], factory: str) -> SeatPlace:
    here = next((one for one in found if one.factory == factory), None)
    if here is None:
        raise conflict(
            Message("workshop-place-gone", "The workshop may not use {factory} now.").format(factory=factory)
        )
    return here


def _body(workshop: WorkshopRecord, place: PlaceRecord, row: SeatRow, moved: datetime | None) -> SeatBody:
    # Seats that were on their way elsewhere when the order came end, too; what the person has begun elsewhere since the
    # first request is left alone, however often the seat is requested.
    if moved is not None and row.first_asked is not None:
        moved = max(moved, row.first_asked)
    return SeatBody(
        session=row.session,
        person=row.person,
        factory=row.factory,
        size=row.size,
        environment=place.environment,
        hours=workshop.hours,
        moved=moved,
        since=row.since,
        over=row.over,
    )


def _after(row: SeatRow, answer: SeatAnswer, now: datetime) -> SeatRow:
    """Return the seat as it is after the link's answer, which came at ``now``.

    ``row`` itself, if the link has refused the seat for a reason that soon passes: the seat is requested again with the
    same session id.
    """
    if answer.problem is not None and (
        answer.problem.code in _NOT_YET or (answer.problem.code == _STRANGER and now - row.asked < JOINING)
    ):
        return row  # it is asked for again, under the same id
    if answer.problem is not None and answer.problem.code == _STOPPED:
        return replace(row, state=SeatProgress.OVER, why=_words(answer.problem))
    if answer.problem is not None:
        personal = answer.problem.kind in PERSONAL
        return replace(row, state=SeatProgress.REFUSED if personal else SeatProgress.FAILED, why=_words(answer.problem))
    row = replace(row, session=answer.live or row.session, why=None)
    if answer.state == SessionState.ENDED:
        fault = answer.end_reason in FAULTS
        state = SeatProgress.FAILED if fault else SeatProgress.OVER
        return replace(row, state=state, why=answer.words, over=row.session)
    if answer.reachable:
        return replace(row, state=SeatProgress.RUNNING, ran=now)
    return replace(row, state=SeatProgress.BEGUN)


def _words(problem: Problem) -> Words:
    return Words(
        code=problem.code,
        parameters=problem.parameters,
        what=problem.message,
        do=problem.do or N_("Ask this gateway's operators."),
        whose=problem.whose or "operator",
        scheduler=problem.scheduler,
    )


def _shown(one: MembershipRecord, row: SeatRow | None) -> BegunSeatView:
    if row is None:
        return BegunSeatView(seat=one.seat, person=one.person)
    return BegunSeatView(
        seat=one.seat,
        person=one.person,
        state=row.state,
        wave=row.wave,
        session=row.session,
        asked=row.asked,
        ran=row.ran,
        why=row.why,
    )
