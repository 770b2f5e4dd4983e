"""Rehearsals of workshops: makes them for a trainer, stores and signs them, and finds out whether they still count.

A rehearsal with seats is at one factory of the workshop. In a rehearsal of three seats, the seats belong to the trainer
who rehearses, and use the workshop's project and budget; in a wave, robots (made-up members) have all seats of the
class. While the seats run, the table of projects says that the project belongs to the trainer or the robots, and only
at this factory; afterwards the project is as before. The table also tells the link when the rehearsal ends, so the
class gets its project back even if this service dies in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from pydantic import TypeAdapter

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models import Problem
from factorycommon.models.workshops import RehearsalWindow, WorkshopPool
from factorycommon.models.workshops.rehearsal import RehearsalFacts, RehearsalPlace
from factorycommon.models.workshops.seats import MOST_AT_ONCE, HoldBody, SeatPlaces, SeatsView
from factorycommon.service.problems import ProblemError, conflict, gone, limit
from factorycommon.version import version
from workshops import checks, plans
from workshops.joining.rows import invitations
from workshops.link import NOTHING, LinkAway, LinkRefused, LinkSocket
from workshops.models.callers import WorkshopCaller
from workshops.models.material import MaterialStatus
from workshops.models.rehearsal import (
    PlaceRehearsals,
    RehearsalBody,
    RehearsalLine,
    RehearsalResult,
    RehearsalsView,
    RehearsalView,
    RehearsedSeat,
    WaveSummary,
)
from workshops.models.seats import SeatProgress
from workshops.projects.pools import PoolsFile
from workshops.rehearsal import dry, proof, rows, trial, wave
from workshops.rehearsal.rows import RehearsalGoesOn, RehearsedOften
from workshops.rehearsal.wave import WaveEnd
from workshops.service import Workshops
from workshops.states import TAKES_SEATS, WorkshopState
from workshops.store.rehearsal_table import RehearsalRow
from workshops.store.schema import EventRecord, MembershipRecord, PlaceRecord, WorkshopRecord
from workshops.store.store import Store, StoreError

log = logging.getLogger("workshops")

LOOK_SECONDS = 2.0  # between two looks at seats of a rehearsal
NUMBER = 12  # digits of a signature that people see
_SECONDS, _SEAT_SECONDS = 8.0, 60.0  # for the link to look at a place; to begin three seats
_GIVE_UP = timedelta(minutes=2)  # after the window, until a rehearsal ends also if the link does not answer
_STOPS = 8  # sessions that the link is asked to end at a time
_FACTS, _SEATS, _PLACES = TypeAdapter(RehearsalFacts), TypeAdapter(SeatsView), TypeAdapter(SeatPlaces)
_GOES_ON = Message(
    "rehearsal-on", "Seats of this workshop are being rehearsed. Wait until they have ended, or stop the rehearsal."
)
_OFTEN = {
    "seats": Message("rehearsal-often", "Seats can be rehearsed {count} times a day."),
    "wave": Message("rehearsal-often-wave", "The seats of the whole class can be rehearsed {count} times a day."),
}


class Rehearsals:
    """Makes the rehearsals of all workshops, follows their seats, and stores the results. Start ``run`` as a task.

    ``secret``: the key that signs results; ``changed``: called when the table of projects has to be written again;
    ``material_of``: returns the state of a workshop's material; ``now``: the clock.
    """

    def __init__(
        self,
        workshops: Workshops,
        store: Store,
        link: LinkSocket,
        pools: PoolsFile,
        secret: bytes,
        now: Callable[[], datetime],
        changed: Callable[[], None] = lambda: None,
        material_of: Callable[[str], MaterialStatus | None] = lambda _slug: None,
    ) -> None:
        self._workshops = workshops
        self._store = store
        self._link = link
        self._pools = pools
        self._secret = secret
        self._now = now
        self._changed = changed
        self._material_of = material_of
        self._woken = asyncio.Event()
        self._troubles: dict[str, str] = {}  # why rehearsals do not go on, as the log has it, by workshop

    # --- what people ask for

    async def view(self, caller: WorkshopCaller, slug: str) -> RehearsalsView:
        """Return the last rehearsals at each factory of a workshop.

        Raises ProblemError if the caller may not see them; StoreError.
        """
        workshop = await self._workshops.may(caller, slug, "see-people")
        return await self._view(workshop, await self._places(workshop))

    async def begin(self, caller: WorkshopCaller, slug: str, body: RehearsalBody) -> RehearsalsView:
        """Begin the rehearsal that ``body`` describes; return the last rehearsals at each factory of the workshop.

        A rehearsal without seats is over at once. A rehearsal with seats is over at once if no seat could begin; the
        result then says why.

        Raises ProblemError if the caller may not rehearse, the workshop has no place with the number in ``body`` or may
        not use this place's factory now, another rehearsal goes on, or the link does not answer or refuses. For a
        rehearsal with seats, ProblemError is also raised if the time, the pool, the budget or another limit does not
        allow the rehearsal, or if the workshop had too many rehearsals of this kind in the last 24 hours. Raises
        StoreError.
        """
        workshop = await self._workshops.may(caller, slug, "rehearse")
        place = next((one for one in workshop.places if one.number == body.place), None)
        if place is None:
            raise gone(Message("rehearsal-plan", "This plan of the workshop"))
        found = await self._store.transact(lambda db: rows.of_workshop(db, slug))
        if any(one.until is not None for one in found):
            raise conflict(_GOES_ON)
        facts = await self._facts(workshop)
        here = _of(facts, place.factory)
        if here is None:
            said = Message("workshop-place-gone", "The workshop may not use {factory} now.")
            raise conflict(said.format(factory=place.factory))
        if body.kind == "dry":
            row = await self._dry(caller, workshop, place, facts, here)
        elif body.kind == "seats":
            row = await self._trial(caller, workshop, place, here)
        else:
            row = await self._wave(caller, workshop, place, facts, here)
        said_in_log = EventRecord(slug, row.at, caller.person, "rehearsal", f"{body.kind}: {place.factory}")
        try:
            await self._store.transact(lambda db: rows.put(db, row, said_in_log))
        except RehearsalGoesOn as error:
            raise conflict(_GOES_ON) from error
        except RehearsedOften as error:
            said = _OFTEN[row.kind].format(count=rows.MOST_A_DAY[row.kind])
            raise limit(said, N_("Try again tomorrow.")) from error
        if row.until is not None:
            log.info("%d seats of %s are rehearsed at %s", len(row.seats), slug, place.factory)
            self._changed()
            self._woken.set()
        return await self._view(workshop, {one.seat.factory: one for one in facts.places})

    async def stop(self, caller: WorkshopCaller, slug: str) -> RehearsalsView:
        """Stop the rehearsal that goes on, so that its seats end soon; return the last rehearsals at each factory.

        Raises ProblemError if no rehearsal goes on, or the caller may not rehearse; StoreError.
        """
        workshop = await self._workshops.may(caller, slug, "rehearse")
        said = EventRecord(slug, self._now(), caller.person, "rehearsal stopped")
        if not await self._store.transact(lambda db: rows.stop(db, slug, caller.person, said)):
            raise conflict(Message("rehearsal-none", "No seats of this workshop are being rehearsed."))
        self._woken.set()
        return await self._view(workshop, await self._places(workshop))

    async def ready(self, workshop: WorkshopRecord, number: int) -> bool:
        """Return whether the rehearsals at a factory of a workshop had good results that still count.

        The last rehearsal of three seats must be green, and must still count. The last rehearsal of the whole class
        must not be a red one that still counts. Rehearsals that go on or were ended early are left out. A result does
        not count any more if settings have changed since the rehearsal; if the link reports nothing about the factory,
        only settings that this service itself knows are compared. ``number``: the number of the factory's place, 1 is
        plan A. Without a place of this number, the method returns False. Raises StoreError.
        """
        place = next((one for one in workshop.places if one.number == number), None)
        if place is None:
            return False
        found = await self._store.transact(lambda db: rows.of_workshop(db, workshop.slug))
        here = (await self._places(workshop)).get(place.factory)
        shown = {one.kind: self._shown(one, workshop, place, here) for one in found if one.factory == place.factory}
        return _is_ready(shown.get("seats"), shown.get("wave"))

    # --- what the table of projects says

    async def windows(self) -> Mapping[str, RehearsalWindow]:
        """Return the windows of the rehearsals that go on, by the workshop's slug. Raises StoreError.

        A window says who may start sessions, at which factory and until when. The caller writes the windows into the
        table of projects, which the link reads.
        """
        found = await self._store.transact(rows.running)
        return {
            one.workshop: RehearsalWindow(
                people=(one.by,) if one.kind == "seats" else (),
                robots=len(one.seats) if one.kind == "wave" else 0,
                factory=one.factory,
                begins=one.at,
                ends=one.until,
            )
            for one in found
            if one.until is not None and self._now() < one.until
        }

    # --- the seats

    async def run(self) -> None:
        """Begin and follow the seats of rehearsals, and end the rehearsals that are over; never returns."""
        while True:
            going_on = True
            try:
                going_on = await self.look()
            except StoreError as error:
                log.error("The rehearsals are looked at again: %s", error)  # noqa: TRY400
            except Exception:  # any error: this loop must continue, since nothing else ends rehearsals
                log.exception("The rehearsals are looked at again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), LOOK_SECONDS if going_on else None)
            self._woken.clear()

    async def look(self) -> bool:
        """Ask the link to begin seats of the rehearsals that go on, and for the state of seats that have begun.

        End the rehearsals that are over. Return whether a rehearsal goes on. Raises StoreError.
        """
        found = await self._store.transact(rows.running)
        self._troubles = {slug: why for slug, why in self._troubles.items() if slug in {one.workshop for one in found}}
        for row in found:
            workshop = await self._store.get(row.workshop)
            place = None
            if workshop is not None:
                place = next((one for one in workshop.places if one.factory == row.factory), None)
            if workshop is None or place is None:
                # what runs ends, since the project is nobody's there any more
                await self._store.transact(partial(rows.change, row=replace(row, until=None, seats=(), result=None)))
                self._changed()
                continue
            try:
                await self._follow(workshop, place, row)
            except ProblemError as error:
                self._say(row.workshop, error.problem.message)
            else:
                self._say(row.workshop, None)
        return bool(await self._store.transact(rows.running))

    def _say(self, slug: str, trouble: str | None) -> None:
        """Say in the log why a rehearsal does not go on, or that nothing hinders it any more; once for each change."""
        before = self._troubles.pop(slug, None)
        if trouble is not None:
            self._troubles[slug] = trouble
            if trouble != before:
                log.warning("The rehearsal of %s does not go on now: %s", slug, trouble)
        elif before is not None:
            log.info("The rehearsal of %s is in order again", slug)

    async def _follow(self, workshop: WorkshopRecord, place: PlaceRecord, row: RehearsalRow) -> None:
        """Ask the link to begin seats of a rehearsal, and for the state of its seats; end the rehearsal if it is over.

        Raises ProblemError, StoreError.
        """
        until, now = row.until or row.at, self._now()
        end = WaveEnd(row.stopped, workshop.state, await self._left(row))
        over = end != WaveEnd() or now >= until
        try:
            if not over:
                row, over = await self._step(workshop, place, row, until)
            if over:
                await self._stop(workshop, row)
        except LinkAway:
            if now < until + _GIVE_UP:
                raise
            over = True
        if over:
            await self._finish(workshop, place, row, end)

    async def _left(self, row: RehearsalRow) -> str | None:
        """Return the person who has the three seats of a rehearsal, if this person may not rehearse any more.

        None: the person may, or robots have the seats. Raises StoreError.
        """
        if row.kind != "seats" or _teaches(await self._store.member(row.workshop, row.by)):
            return None
        return row.by

    async def _step(
        self, workshop: WorkshopRecord, place: PlaceRecord, row: RehearsalRow, until: datetime
    ) -> tuple[RehearsalRow, bool]:
        """Ask the link to begin seats, or for the state of seats that have begun.

        Return the changed row, and whether the rehearsal is over.
        """
        if row.kind == "wave":
            return await self._wave_step(workshop, place, row, until)
        over = trial.is_over(row.seats, row.at, self._now())
        if not over and (wanted := trial.open_seats(row.seats)):
            row = await self._asked(workshop, place, row, wanted)
            over = trial.is_over(row.seats, row.at, self._now())
        return row, over

    async def _wave_step(
        self, workshop: WorkshopRecord, place: PlaceRecord, row: RehearsalRow, until: datetime
    ) -> tuple[RehearsalRow, bool]:
        row = await self._asked(workshop, place, row, wave.unanswered(row.seats))
        if wave.is_halted(row.seats, self._now()):
            return row, True
        if wave.is_late(until, self._now()) or wave.has_stayed(row.seats, self._now()):
            return await self._asked(workshop, place, row, wave.running(row.seats)), True
        if all(one.wave for one in row.seats):
            return row, False
        found = await self._link.get(_PLACES, workshop.project, "/seats")
        here = next((one for one in found.places if one.factory == place.factory), None)
        if not found.rehearses or here is None:
            return row, False  # the link has not read the table of projects yet
        accounts = here.accounts
        if accounts is not None and accounts.ready + accounts.wiping < min(len(row.seats), accounts.pool):
            body = HoldBody(accounts={place.factory: len(row.seats)})
            found = await self._link.put(_PLACES, workshop.project, "/hold", body)
            here = next((one for one in found.places if one.factory == place.factory), here)
        _, wanted = wave.next_seats(row.seats, here, self._now())
        if not wanted:
            return row, False
        row = await self._put(row, {_key(one): one for one in wanted})
        log.info("A wave of %d robots of %s at %s", len(wanted), workshop.slug, place.factory)
        row = await self._asked(workshop, place, row, tuple(wanted))
        return row, wave.is_halted(row.seats, self._now())

    async def _asked(
        self, workshop: WorkshopRecord, place: PlaceRecord, row: RehearsalRow, wanted: tuple[RehearsedSeat, ...]
    ) -> RehearsalRow:
        """Ask the link to begin the ``wanted`` seats, or for the state of those that have begun.

        Return the changed row. As soon as somebody has stopped the rehearsal, nothing more is asked. Raises
        ProblemError, StoreError.
        """
        until = row.until or row.at
        is_wave = row.kind == "wave"
        hours = min((until - row.at) / timedelta(hours=1) if is_wave else trial.SEAT_HOURS, workshop.hours)
        for first in range(0, len(wanted), MOST_AT_ONCE):
            part = wanted[first : first + MOST_AT_ONCE]
            if not await self._store.transact(partial(rows.goes_on, row=row)):
                return row  # somebody has stopped it meanwhile: the next look ends what has begun
            body = trial.asked_for(part, place, hours, until)
            answers = (await self._link.post(_SEATS, workshop.project, "/seats", body, _SEAT_SECONDS)).seats
            if [one.session for one in answers] != [one.session for one in part]:
                raise conflict(Message("workshop-seats-unclear", "The gateway’s link answered about other seats."))
            now, after = self._now(), wave.after if is_wave else trial.after
            changed = {_key(one): after(one, answer, now) for one, answer in zip(part, answers, strict=True)}
            row = await self._put(row, changed)
        return row

    async def _put(self, row: RehearsalRow, changed: Mapping[str, RehearsedSeat]) -> RehearsalRow:
        """Store the changed seats of a rehearsal; return the changed row. ``changed``: the seats by their ``_key``."""
        fresh = replace(row, seats=tuple(changed.get(_key(seat), seat) for seat in row.seats))
        if fresh != row:
            await self._store.transact(lambda db: rows.change(db, fresh))
        return fresh

    async def _stop(self, workshop: WorkshopRecord, row: RehearsalRow) -> None:
        """End the sessions of a rehearsal, also those for which the link's answer was lost. Raises LinkAway."""
        turns = asyncio.Semaphore(_STOPS)

        async def stop(seat: RehearsedSeat) -> None:
            async with turns:
                with contextlib.suppress(LinkRefused):  # it has ended, or was never begun
                    await self._link.post(NOTHING, workshop.project, f"/sessions/{seat.session}/stop")

        begun = [one for one in row.seats if one.wave or row.kind == "seats"]
        stops = [stop(one) for one in begun if one.state != SeatProgress.REFUSED]
        for error in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(error, BaseException):
                raise error

    async def _finish(self, workshop: WorkshopRecord, place: PlaceRecord, row: RehearsalRow, end: WaveEnd) -> None:
        now = self._now()
        here = (await self._places(workshop)).get(place.factory)
        found: WaveSummary | None = None
        seats: tuple[RehearsedSeat, ...] = ()
        if row.kind == "wave":
            robots = wave.settled(row.seats, end)
            found = wave.summary(robots, halted=wave.is_halted(row.seats, now))
            minutes = math.floor(((row.until or now) - row.at - wave.SLACK - trial.STAY) / timedelta(minutes=1))
            lines = wave.lines(found, workshop.warm_minutes, minutes, end)
            rate = None if found.halted or end != WaveEnd() else wave.rate(robots)
        elif end != WaveEnd():
            seats, rate = row.seats, None
            lines = (wave.stopped(end), *trial.lines(seats, unsettled=False))
        else:
            seats = trial.settled(row.seats)
            lines = trial.lines(seats)
            rate = None if here is None else trial.rate(seats, here.seat.per_minute)
        result = self._result(workshop, place, row, here, lines, seats, now).model_copy(update={"wave": found})
        if row.result is not None:  # a change meanwhile makes it void
            result = result.model_copy(update={"parts": row.result.parts})
        done = replace(row, until=None, seats=seats, result=result, signature=proof.sign(self._secret, result))
        if not result.stopped:
            done = replace(done, counts=None, counts_signature=None)
        count = len(seats) if found is None else found.up
        said = EventRecord(workshop.slug, now, "", "rehearsed", f"{place.factory}: {result.colour}")
        await self._store.transact(lambda db: rows.change(db, done))
        if rate is not None:
            await self._store.transact(lambda db: rows.put_rate_of_few(db, place.factory, place.size, rate, count, now))
        await self._store.note(said)
        log.info("Seats of %s were rehearsed at %s: %s", workshop.slug, place.factory, result.colour)
        self._changed()

    # --- helpers

    async def _dry(
        self,
        caller: WorkshopCaller,
        workshop: WorkshopRecord,
        place: PlaceRecord,
        facts: RehearsalFacts,
        here: RehearsalPlace,
    ) -> RehearsalRow:
        slug = workshop.slug
        people = (await self._store.members([slug]))[slug]
        come = {one.mail for one in people}
        listed = await self._store.transact(lambda db: invitations(db, slug))
        given = dry.DryFacts(
            workshop=workshop,
            place=place,
            people=people,
            invited=[one.mail for one in listed if one.role == "participant" and one.mail not in come],
            checks=checks.summary(people, await checks.of(self._store, slug)),
            material=self._material_of(slug),
            pool=self._pools.pools().get(place.pool),
            facts=facts,
            here=here,
            release=version(),
        )
        row = RehearsalRow(slug, place.factory, "dry", self._now(), caller.person)
        return self._judged(workshop, place, row, here, dry.judged(given))

    async def _trial(
        self, caller: WorkshopCaller, workshop: WorkshopRecord, place: PlaceRecord, here: RehearsalPlace
    ) -> RehearsalRow:
        """Return the row, not stored yet, for a new rehearsal of three seats.

        If no seat could begin, it is the row of a rehearsal that is over, with a result. ``here``: what the link
        reports of ``place``, the rehearsal's factory. Raises ProblemError if the caller does not lead or teach the
        workshop, or the time does not allow the rehearsal; StoreError.
        """
        if not _teaches(await self._store.member(workshop.slug, caller.person)):
            raise ProblemError(
                Problem(
                    kind="forbidden",
                    message=Message(
                        "rehearsal-not-yours", "The three seats are yours, so you must lead or teach this workshop."
                    ),
                    do=N_("With factorygate workshops, name who rehearses: --as NAME."),
                )
            )
        now = self._now()
        until = now + trial.WINDOW
        _check_time(workshop, now, until)
        wrong = [one for one in dry.place_lines(here, place, workshop.hours) if one.colour == "red"]
        wrong += _not_allowed(here, caller.person)
        row = RehearsalRow(workshop.slug, place.factory, "seats", now, caller.person)
        if wrong:  # no seat could begin
            return self._judged(workshop, place, row, here, tuple(wrong))
        made_with = self._result(workshop, place, row, here, (), (), now)
        return replace(row, until=until, seats=trial.begun(caller.person), result=made_with)

    async def _wave(
        self,
        caller: WorkshopCaller,
        workshop: WorkshopRecord,
        place: PlaceRecord,
        facts: RehearsalFacts,
        here: RehearsalPlace,
    ) -> RehearsalRow:
        """Return the row, not stored yet, for a new rehearsal in which robots have all seats.

        If no seat could begin, it is the row of a rehearsal that is over, with a result. ``facts``: what the link
        reports of the workshop; ``here``: what the link reports of ``place``, the rehearsal's factory. Raises
        ProblemError if the time, the pool or another limit does not allow the rehearsal; StoreError.
        """
        now = self._now()
        until = now + wave.window(workshop.seats, here.seat.per_minute)
        _check_time(workshop, now, until)
        row = RehearsalRow(workshop.slug, place.factory, "wave", now, caller.person)
        if wrong := [one for one in dry.place_lines(here, place, workshop.hours) if one.colour == "red"]:
            return self._judged(workshop, place, row, here, tuple(wrong))  # no seat could begin
        pool = self._pools.pools().get(place.pool)
        if pool is None:
            said = Message("workshop-pool-gone", "Workshops may not use {pool} at {factory} any more.")
            raise conflict(said.format(pool=place.pool, factory=place.factory))
        wave.check(workshop, facts, here, pool, await self._taken(workshop, pool, now, until))
        made_with = self._result(workshop, place, row, here, (), (), now)
        return replace(row, until=until, seats=wave.begun(workshop.slug, workshop.seats), result=made_with)

    async def _taken(self, workshop: WorkshopRecord, pool: WorkshopPool, since: datetime, until: datetime) -> int:
        """Return the most seats of a pool that other workshops need at one time between ``since`` and ``until``.

        The seats of these workshops' rehearsals with robots that go on now are added.
        """
        others = [one for one in await self._store.all(over=False) if one.slug != workshop.slug]
        places = {(one.slug, place.factory): place.pool for one in others for place in one.places}
        waves_there = [
            row
            for row in await self._store.transact(rows.running)
            if row.kind == "wave" and places.get((row.workshop, row.factory)) == pool.id
        ]
        classes = [one for one in others if one.state in TAKES_SEATS]
        return plans.most_seats(classes, pool, since, until)[0] + sum(len(row.seats) for row in waves_there)

    def _judged(
        self,
        workshop: WorkshopRecord,
        place: PlaceRecord,
        row: RehearsalRow,
        here: RehearsalPlace,
        lines: tuple[RehearsalLine, ...],
    ) -> RehearsalRow:
        """Return ``row`` with a signed result, for a rehearsal that is over at once.

        ``here``: what the link reports of ``place``, the rehearsal's factory; ``lines``: the lines of the result.
        """
        result = self._result(workshop, place, row, here, lines, (), row.at)
        return replace(row, result=result, signature=proof.sign(self._secret, result))

    def _result(
        self,
        workshop: WorkshopRecord,
        place: PlaceRecord,
        row: RehearsalRow,
        here: RehearsalPlace | None,
        lines: tuple[RehearsalLine, ...],
        seats: tuple[RehearsedSeat, ...],
        now: datetime,
    ) -> RehearsalResult:
        return RehearsalResult(
            workshop=workshop.slug,
            factory=place.factory,
            kind=row.kind,
            at=row.at,
            ended=now,
            by=row.by,
            lines=lines,
            seats=seats,
            parts=proof.parts(row.kind, workshop, place, here),
        )

    async def _facts(self, workshop: WorkshopRecord) -> RehearsalFacts:
        """Return what the link reports of a workshop and each of its factories. Raises ProblemError."""
        return await self._link.get(_FACTS, workshop.project, "/rehearsal", seconds=_SECONDS)

    async def _places(self, workshop: WorkshopRecord) -> Mapping[str, RehearsalPlace]:
        """Return what the link reports of each factory of a workshop, by factory.

        Empty if the link gives no valid answer or refuses, for example because it does not know the workshop any more.
        """
        try:
            return {one.seat.factory: one for one in (await self._facts(workshop)).places}
        except ProblemError:
            return {}

    async def _view(self, workshop: WorkshopRecord, places: Mapping[str, RehearsalPlace]) -> RehearsalsView:
        """Return the workshop's last rehearsal of each kind at each factory, also one that still goes on.

        ``places``: what the link reports of a factory, by its id; the costs at a factory that is missing are not known.
        """
        found = await self._store.transact(lambda db: rows.of_workshop(db, workshop.slug))
        shown = list[PlaceRehearsals]()
        for place in workshop.places:
            views = {
                one.kind: self._shown(one, workshop, place, places.get(place.factory))
                for one in found
                if one.factory == place.factory and (one.until is not None or one.result is not None)
            }
            here = places.get(place.factory)
            shown.append(
                PlaceRehearsals(
                    number=place.number,
                    factory=place.factory,
                    size=place.size,
                    dry=views.get("dry"),
                    seats=views.get("seats"),
                    wave=views.get("wave"),
                    costs=None if here is None else wave.cost(workshop, here),
                    ready=_is_ready(views.get("seats"), views.get("wave")),
                )
            )
        return RehearsalsView(places=tuple(shown), running=any(one.until is not None for one in found))

    def _shown(
        self, row: RehearsalRow, workshop: WorkshopRecord, place: PlaceRecord, here: RehearsalPlace | None
    ) -> RehearsalView:
        result = row.result
        if row.until is not None or result is None:
            of_robots = row.kind == "wave"
            return RehearsalView(
                kind=row.kind,
                at=row.at,
                by=row.by,
                until=row.until or row.at,
                seats=() if of_robots else row.seats,
                wave=wave.summary(row.seats, halted=False) if of_robots and row.seats else None,
                stopping=row.stopped is not None,
                counts=self._earlier(row, workshop, place, here),
            )
        shown = self._judgement(row, result, row.signature, workshop, place, here)
        return shown.model_copy(update={"counts": self._earlier(row, workshop, place, here)})

    def _earlier(
        self, row: RehearsalRow, workshop: WorkshopRecord, place: PlaceRecord, here: RehearsalPlace | None
    ) -> RehearsalView | None:
        """Return the earlier rehearsal whose result counts while this one goes on, and if this one is stopped.

        None: no such result is stored with this rehearsal. The view's ``void`` says why the earlier result does not
        count any more, for example because the settings have changed.
        """
        if row.counts is None:
            return None
        return self._judgement(row, row.counts, row.counts_signature, workshop, place, here)

    def _judgement(
        self,
        row: RehearsalRow,
        result: RehearsalResult,
        signature: str | None,
        workshop: WorkshopRecord,
        place: PlaceRecord,
        here: RehearsalPlace | None,
    ) -> RehearsalView:
        """Return the view of a rehearsal that is over.

        Its ``void`` says why the result does not count any more: a wrong signature, or settings that have changed.
        ``here``: what the link reports of the factory now; None: not known, so only the settings that this service
        knows are compared.
        """
        void = proof.unsigned(self._secret, result, signature)
        if (result.workshop, result.factory, result.kind) != (row.workshop, row.factory, row.kind):
            void = void or proof.foreign()
        void += proof.changed(result.parts, proof.parts(row.kind, workshop, place, here))
        return RehearsalView(
            kind=row.kind,
            at=result.at,
            by=result.by,
            ended=result.ended,
            colour=result.colour,
            lines=result.lines,
            seats=result.seats,
            wave=result.wave,
            number=(signature or "")[:NUMBER],
            void=void,
            checked=here is not None,
        )


def _is_ready(tried: RehearsalView | None, waved: RehearsalView | None) -> bool:
    """Return whether a rehearsal of three seats with a green result counts, and no wave with a red one does.

    If the last rehearsal of a kind goes on or was stopped, the one before it counts.
    """
    tried, waved = tried and tried.counting, waved and waved.counting
    if waved is not None and waved.colour == "red" and not waved.void:
        return False
    return tried is not None and tried.colour == "green" and not tried.void


def _check_time(workshop: WorkshopRecord, now: datetime, until: datetime) -> None:
    """Raise ProblemError unless the workshop is scheduled, and does not warm up before ``until``."""
    warms = workshop.opens - timedelta(minutes=workshop.warm_minutes)
    if workshop.state != WorkshopState.SCHEDULED or until > warms:
        said = Message(
            "rehearsal-too-late",
            "Seats can be rehearsed until {minutes} minutes before the workshop warms up. Rehearse without seats.",
        )
        raise conflict(said.format(minutes=math.ceil((until - now) / timedelta(minutes=1))))


def _teaches(member: MembershipRecord | None) -> bool:
    """Return whether a person may have the three seats of a rehearsal."""
    return member is not None and member.role in ("lead", "instructor") and member.state == "staff"


def _key(seat: RehearsedSeat) -> str:
    """Return a key that is different for each seat of a rehearsal: the seat's person and server.

    One person has all three seats, on different servers; in a rehearsal with robots, each seat has another robot.
    """
    return f"{seat.person}/{seat.server}"


def _not_allowed(here: RehearsalPlace, person: str) -> list[RehearsalLine]:
    """Return why a person could start nothing at a factory; empty if the link reports no reason.

    ``here``: what the link reports of the factory.
    """
    return [
        RehearsalLine(check="rules", colour="red", text=one.why.as_message("what"), do=one.why.do)
        for one in here.people
        if one.person == person
    ]


def _of(facts: RehearsalFacts, factory: str) -> RehearsalPlace | None:
    return next((one for one in facts.places if one.seat.factory == factory), None)
