"""Rehearsals of workshops: made for a trainer, stored and signed, and looked at again after each change.

Three real seats are seats of the trainer who rehearses, for the workshop's project and from its budget. While they run,
the table of projects says that the project is theirs at that one place; afterwards it is again as it was. The link
knows when that ends, so a service that dies in between changes no class.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from pydantic import TypeAdapter

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models import Problem
from factorycommon.models.workshops import RehearsalWindow
from factorycommon.models.workshops.rehearsal import RehearsalFacts, RehearsalPlace
from factorycommon.models.workshops.seats import SeatsView
from factorycommon.service.problems import ProblemError, conflict, gone, limit
from factorycommon.version import version
from workshops import checks
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
)
from workshops.projects.pools import PoolsFile
from workshops.rehearsal import dry, proof, rows, trial
from workshops.rehearsal.rows import RehearsalGoesOn, RehearsedOften
from workshops.service import Workshops
from workshops.states import WorkshopState
from workshops.store.rehearsal_table import RehearsalRow
from workshops.store.schema import EventRecord, PlaceRecord, WorkshopRecord
from workshops.store.store import Store, StoreError

log = logging.getLogger("workshops")

LOOK_SECONDS = 2.0  # between two looks at seats of a rehearsal
NUMBER = 12  # digits of a signature that people see
_SECONDS, _SEAT_SECONDS = 8.0, 60.0  # for the link to look at a place; to begin three seats
_GIVE_UP = timedelta(minutes=2)  # after the window, until a rehearsal ends also if the link does not answer
_FACTS, _SEATS = TypeAdapter(RehearsalFacts), TypeAdapter(SeatsView)
_GOES_ON = Message("rehearsal-goes-on", "Three seats of this workshop are being rehearsed. Wait until they have ended.")


class Rehearsals:
    """The rehearsals. Start ``run``. ``secret``: for signatures; ``changed``: called when the table of projects has to
    be written again; ``material_of``: returns the state of a workshop's material; ``now``: the clock."""

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

    # --- what people ask for

    async def view(self, caller: WorkshopCaller, slug: str) -> RehearsalsView:
        """Return the last rehearsals at each place. Raises ProblemError, StoreError."""
        workshop = await self._workshops.may(caller, slug, "see-people")
        return await self._view(workshop, await self._places(workshop))

    async def begin(self, caller: WorkshopCaller, slug: str, body: RehearsalBody) -> RehearsalsView:
        """Make a dry rehearsal, or begin one with three seats; return all. Raises ProblemError, StoreError."""
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
        else:
            row = await self._trial(caller, workshop, place, here)
        said_in_log = EventRecord(slug, row.at, caller.person, "rehearsal", f"{body.kind}: {place.factory}")
        try:
            await self._store.transact(lambda db: rows.put(db, row, said_in_log))
        except RehearsalGoesOn as error:
            raise conflict(_GOES_ON) from error
        except RehearsedOften as error:
            said = Message("rehearsal-often", "Seats can be rehearsed {count} times a day.")
            raise limit(said.format(count=rows.MOST_A_DAY), N_("Try again tomorrow.")) from error
        if row.until is not None:
            log.info("Three seats of %s are rehearsed at %s", slug, place.factory)
            self._changed()
            self._woken.set()
        return await self._view(workshop, {one.seat.factory: one for one in facts.places})

    async def ready(self, workshop: WorkshopRecord, number: int) -> bool:
        """Return whether a place of a workshop has a green rehearsal of three seats that still counts. Raises
        StoreError.

        If the link does not answer, only what this service knows itself is compared.
        """
        place = next((one for one in workshop.places if one.number == number), None)
        if place is None:
            return False
        found = await self._store.transact(lambda db: rows.of_workshop(db, workshop.slug))
        mine = next((one for one in found if one.factory == place.factory and one.kind == "seats"), None)
        here = (await self._places(workshop)).get(place.factory)
        return mine is not None and _counts(self._shown(mine, workshop, place, here))

    # --- what the table of projects says

    async def windows(self) -> Mapping[str, RehearsalWindow]:
        """Return the rehearsals with seats that go on, by workshop, as the link has to know them. Raises StoreError."""
        found = await self._store.transact(rows.running)
        return {
            one.workshop: RehearsalWindow(people=(one.by,), factory=one.factory, begins=one.at, ends=one.until)
            for one in found
            if one.until is not None and self._now() < one.until
        }

    # --- the seats

    async def run(self) -> None:
        """Follow the seats of rehearsals, without end."""
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
        """Ask the link about the seats of rehearsals that go on, and end those that are over. Return whether one goes
        on. Raises StoreError."""
        for row in await self._store.transact(rows.running):
            workshop = await self._store.get(row.workshop)
            place = None
            if workshop is not None:
                place = next((one for one in workshop.places if one.factory == row.factory), None)
            if workshop is None or place is None:
                # what runs ends, since the project is nobody's there any more
                await self._store.transact(partial(rows.change, row=replace(row, until=None, result=None)))
                self._changed()
                continue
            try:
                await self._follow(workshop, place, row)
            except ProblemError as error:
                log.warning("The rehearsal of %s is looked at again: %s", row.workshop, error.problem.message)
        return bool(await self._store.transact(rows.running))

    async def _follow(self, workshop: WorkshopRecord, place: PlaceRecord, row: RehearsalRow) -> None:
        """Take one step of a rehearsal. Raises ProblemError, StoreError."""
        until, now = row.until or row.at, self._now()
        over = trial.is_over(row.seats, row.at, now) or now >= until
        try:
            if not over and (wanted := trial.open_seats(row.seats)):
                row = await self._asked(workshop, place, row, wanted)
                over = trial.is_over(row.seats, row.at, self._now())
            if over:
                await self._stop(workshop, row)
        except LinkAway:
            if now < until + _GIVE_UP:
                raise
            over = True
        if over:
            await self._finish(workshop, place, row)

    async def _asked(
        self, workshop: WorkshopRecord, place: PlaceRecord, row: RehearsalRow, wanted: tuple[RehearsedSeat, ...]
    ) -> RehearsalRow:
        body = trial.asked_for(wanted, place, workshop.hours, row.until or row.at)
        answers = (await self._link.post(_SEATS, workshop.project, "/seats", body, _SEAT_SECONDS)).seats
        if [one.session for one in answers] != [one.session for one in wanted]:
            raise conflict(Message("workshop-seats-unclear", "The gateway’s link answered about other seats."))
        now = self._now()
        changed = {seat.server: trial.after(seat, answer, now) for seat, answer in zip(wanted, answers, strict=True)}
        row = replace(row, seats=tuple(changed.get(seat.server, seat) for seat in row.seats))
        await self._store.transact(lambda db: rows.change(db, row))
        return row

    async def _stop(self, workshop: WorkshopRecord, row: RehearsalRow) -> None:
        """End the sessions of a rehearsal. Raises LinkAway."""
        for seat in row.seats:
            if seat.asked is not None:
                with contextlib.suppress(LinkRefused):  # it has ended
                    await self._link.post(NOTHING, workshop.project, f"/sessions/{seat.session}/stop")

    async def _finish(self, workshop: WorkshopRecord, place: PlaceRecord, row: RehearsalRow) -> None:
        seats, now = trial.settled(row.seats), self._now()
        here = (await self._places(workshop)).get(place.factory)
        result = self._result(workshop, place, row, here, trial.lines(seats), seats, now)
        if row.result is not None:  # a change meanwhile makes it void
            result = result.model_copy(update={"parts": row.result.parts})
        done = replace(row, until=None, seats=seats, result=result, signature=proof.sign(self._secret, result))
        rate = None if here is None else trial.rate(seats, here.seat.per_minute)
        said = EventRecord(workshop.slug, now, "", "rehearsed", f"{place.factory}: {result.colour}")
        await self._store.transact(lambda db: rows.change(db, done))
        if rate is not None:
            await self._store.transact(
                lambda db: rows.put_rate_of_few(db, place.factory, place.size, rate, len(seats), now)
            )
        await self._store.note(said)
        log.info("Three seats of %s were rehearsed at %s: %s", workshop.slug, place.factory, result.colour)
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
        now = self._now()
        row = RehearsalRow(slug, place.factory, "dry", now, caller.person)
        result = self._result(workshop, place, row, here, dry.judged(given), (), now)
        return replace(row, result=result, signature=proof.sign(self._secret, result))

    async def _trial(
        self, caller: WorkshopCaller, workshop: WorkshopRecord, place: PlaceRecord, here: RehearsalPlace
    ) -> RehearsalRow:
        """Return a rehearsal with seats that begins now. Raises ProblemError."""
        mine = await self._store.member(workshop.slug, caller.person)
        if mine is None or mine.role not in ("lead", "instructor") or mine.state != "staff":
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
        warms = workshop.opens - timedelta(minutes=workshop.warm_minutes)
        if workshop.state != WorkshopState.SCHEDULED or until > warms:
            said = Message(
                "rehearsal-too-late",
                "Seats can be rehearsed until {minutes} minutes before the workshop warms up. Rehearse without seats.",
            )
            raise conflict(said.format(minutes=int(trial.WINDOW / timedelta(minutes=1))))
        wrong = [one for one in dry.place_lines(here, place, workshop.hours) if one.colour == "red"]
        wrong += _not_allowed(here, caller.person)
        row = RehearsalRow(workshop.slug, place.factory, "seats", now, caller.person)
        if wrong:  # no seat could begin
            result = self._result(workshop, place, row, here, tuple(wrong), (), now)
            return replace(row, result=result, signature=proof.sign(self._secret, result))
        made_with = self._result(workshop, place, row, here, (), (), now)
        return replace(row, until=until, seats=trial.begun(caller.person), result=made_with)

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
        """Return what the link tells of a workshop's places. Raises ProblemError."""
        return await self._link.get(_FACTS, workshop.project, "/rehearsal", seconds=_SECONDS)

    async def _places(self, workshop: WorkshopRecord) -> dict[str, RehearsalPlace]:
        """Return what the link tells of each place; nothing if it does not answer, or knows the workshop no more."""
        try:
            return {one.seat.factory: one for one in (await self._facts(workshop)).places}
        except ProblemError:
            return {}

    async def _view(self, workshop: WorkshopRecord, places: Mapping[str, RehearsalPlace]) -> RehearsalsView:
        found = await self._store.transact(lambda db: rows.of_workshop(db, workshop.slug))
        shown = list[PlaceRehearsals]()
        for place in workshop.places:
            views = {
                one.kind: self._shown(one, workshop, place, places.get(place.factory))
                for one in found
                if one.factory == place.factory and (one.until is not None or one.result is not None)
            }
            dried, tried = views.get("dry"), views.get("seats")
            shown.append(
                PlaceRehearsals(
                    number=place.number,
                    factory=place.factory,
                    size=place.size,
                    dry=dried,
                    seats=tried,
                    ready=tried is not None and _counts(tried),
                )
            )
        return RehearsalsView(places=tuple(shown), running=any(one.until is not None for one in found))

    def _shown(
        self, row: RehearsalRow, workshop: WorkshopRecord, place: PlaceRecord, here: RehearsalPlace | None
    ) -> RehearsalView:
        result = row.result
        if row.until is not None or result is None:
            return RehearsalView(kind=row.kind, at=row.at, by=row.by, until=row.until or row.at, seats=row.seats)
        void = proof.unsigned(self._secret, result, row.signature)
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
            number=(row.signature or "")[:NUMBER],
            void=void,
            checked=here is not None,
        )


def _counts(shown: RehearsalView) -> bool:
    """Return whether a rehearsal is over, all went well, and it still counts."""
    return shown.colour == "green" and not shown.void


def _not_allowed(here: RehearsalPlace, person: str) -> list[RehearsalLine]:
    """Return why a person could start nothing at a place."""
    return [
        RehearsalLine(check="rules", colour="red", text=one.why.as_message("what"), do=one.why.do)
        for one in here.people
        if one.person == person
    ]


def _of(facts: RehearsalFacts, factory: str) -> RehearsalPlace | None:
    return next((one for one in facts.places if one.seat.factory == factory), None)
