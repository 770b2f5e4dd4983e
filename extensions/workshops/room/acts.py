"""Carries out acts on single seats: start, restart, reset.

Each act is stored before the link is asked for anything, so a service that was killed goes on with the act after its
next start. A person has at most one act at a time in a workshop, so an act that two trainers ask for is done once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from factorycommon.messages import Message
from factorycommon.models import SessionState
from factorycommon.models.messages import Phrase
from factorycommon.models.workshops import PREFIX
from factorycommon.models.workshops.sessions import WorkshopSession
from factorycommon.service.problems import ProblemError, conflict, unreachable
from workshops.link import NOTHING, LinkRefused, LinkSocket
from workshops.models.callers import WorkshopCaller
from workshops.models.room import SeatActKind, SeatActView
from workshops.models.seats import SeatProgress
from workshops.models.views import LogEvent
from workshops.room import act_rows
from workshops.room.act_steps import LiveSeat, NextAct, next_act
from workshops.room.service import AWAY, NO_LINK, Room
from workshops.seats import rows
from workshops.seats.runner import SeatRunner
from workshops.service import Workshops
from workshops.states import WARM_STATES
from workshops.store import moves
from workshops.store.act_table import SeatActRecord
from workshops.store.schema import EventRecord, WorkshopRecord
from workshops.store.seat_tables import MoveRow
from workshops.store.store import Store, StoreError

log = logging.getLogger("workshops")

LOOK_SECONDS = 5.0
DELIVERIES = 5  # of the material, until a reset has failed
_OPEN = (SessionState.STARTING, SessionState.RUNNING)
# Delivers a workshop's material anew to sessions of one person, under a stamp; returns why not, "": it was done.
DeliverAnew = Callable[[str, list[WorkshopSession], str], Awaitable[str]]
_LASTING = "material-not-kept"  # code of the answer that does not change when it is asked again
_LATE: dict[str, Message] = {
    "stopping": Message("seat-act-not-ended", "The old session has not ended within 15 minutes. Try again."),
    "starting": Message("seat-act-not-begun", "No new session could be asked for within 15 minutes. Try again."),
}
_SILENT = Message(
    "seat-act-silent",
    "{factory} does not answer, so nothing was done to the seat. Move the seat to another place, or try again when "
    "{factory} answers.",
)
_SILENT_STOPS = Message(
    "seat-act-silent-stops",
    "{factory} does not answer. The old session ends as soon as it answers again. Move the seat to another place, or "
    "try again then.",
)
_LOST = Message("seat-act-lost", "The new session ended before it got the material.")
_REFUSED = Message("seat-act-refused", "The session could not be started.")
_LOGGED: dict[SeatActKind, LogEvent] = {"start": "seat start", "restart": "seat restart", "reset": "seat reset"}
_GOING: dict[SeatActKind, Message] = {
    "start": Message("seat-act-starts", "Seat {seat} is being started: wait until that is done."),
    "restart": Message("seat-act-restarts", "Seat {seat} is being started again: wait until that is done."),
    "reset": Message("seat-act-resets", "Seat {seat} is being reset: wait until that is done."),
}


class SeatActs:
    """Starts, restarts and resets single seats. Start the method ``run`` as a task.

    ``has_material``: takes a workshop's slug, and returns whether the workshop has material that can be delivered;
    ``deliver``: delivers the material anew to a person's sessions, and returns why the delivery failed, "" if it did
    not fail (see ``MaterialDelivery.anew``); ``now``: returns the present time.
    """

    def __init__(
        self,
        workshops: Workshops,
        store: Store,
        link: LinkSocket,
        room: Room,
        seats: SeatRunner,
        has_material: Callable[[str], bool],
        deliver: DeliverAnew,
        now: Callable[[], datetime],
    ) -> None:
        self._workshops = workshops
        self._store = store
        self._link = link
        self._room = room
        self._seats = seats
        self._has_material = has_material
        self._deliver = deliver
        self._now = now
        self._acts: dict[tuple[str, str], SeatActRecord] = {}  # by workshop and person
        self._tries: Counter[tuple[str, str]] = Counter()  # of a delivery, by workshop and person
        # whether a factory does not answer the link, by workshop and factory: asked once in a look, for all its seats
        self._silences: dict[tuple[str, str], asyncio.Future[bool]] = {}
        self._loaded = False
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # by workshop
        self._woken = asyncio.Event()
        room.acts_of = self.of
        room.give_up = self.give_up
        room.sessions.on_change.append(lambda _projects: self._woken.set())

    def of(self, slug: str) -> dict[str, SeatActView]:
        """Return by person which acts (start, restart or reset of a seat) go on or have failed in a workshop."""
        return {
            one.person: SeatActView(act=one.act, state=one.state, at=one.at, why=one.why)
            for one in self._acts.values()
            if one.workshop == slug
        }

    async def ask(self, caller: WorkshopCaller, slug: str, seat: int, act: SeatActKind) -> None:
        """Begin an act on a seat (start, restart or reset); if the same act goes on already, do nothing.

        Raises ProblemError if the caller may not do this, nobody has the seat, another act goes on there, the act makes
        no sense now (such as a restart without a session), or there is no link that answers; StoreError.
        """
        workshop = await self._workshops.may(caller, slug, "start-seat")
        if not self._link.there:
            raise conflict(NO_LINK)
        person = (await self._room.holder(slug, seat)).person
        async with self._locks[slug]:
            await self._load()
            going = self._acts.get((slug, person))
            if going is not None and going.state != "failed":
                if going.act == act:
                    return
                raise conflict(_GOING[going.act].format(seat=seat))
            if not self._room.sessions.fresh:  # what runs is not known, so nothing is begun that may run already
                raise unreachable(AWAY)
            record = self._record(workshop, person, seat, act, caller.person)
            event = EventRecord(slug, record.at, caller.person, _LOGGED[act], f"seat {seat}")
            await self._keep(record)
            await self._store.note(event)
        self._woken.set()

    async def give_up(self, workshop: WorkshopRecord, person: str) -> bool:
        """Give up the start, restart or reset of a person's seat; stop the seat's session if it cannot be opened yet.

        Return whether there was anything to give up or to stop. Raises LinkAway, StoreError.
        """
        slug = workshop.slug
        async with self._locks[slug]:
            await self._load()
            going = self._acts.get((slug, person))
            if going is not None and going.state == "failed":
                going = None

            def withdraw(db: Connection) -> str | None:
                if going is not None:
                    act_rows.drop(db, slug, person)
                return rows.withdraw(db, slug, person)

            session = await self._store.transact(withdraw)
            if going is not None:
                self._forget(going)
        if session is not None:
            # The link refuses it if the seat's order has not come yet, and then never begins that.
            with contextlib.suppress(LinkRefused):
                await self._link.post(NOTHING, workshop.project, f"/sessions/{session}/stop")
        return going is not None or session is not None

    def _record(self, workshop: WorkshopRecord, person: str, seat: int, act: SeatActKind, by: str) -> SeatActRecord:
        """Return a new act, which is not stored yet. Raises ProblemError if the act makes no sense now."""
        live = self._live(workshop.slug, person)
        if act == "start" and any(not one.stopping for one in live):
            raise conflict(Message("seat-runs", "Seat {seat} has a session already.").format(seat=seat))
        if act == "restart" and not live:
            raise conflict(Message("room-nothing-runs", "Nothing runs on seat {seat}.").format(seat=seat))
        if act == "reset" and not self._has_material(workshop.slug):
            raise conflict(
                Message("seat-no-material", "The workshop has no material that is ready, so a seat is not reset.")
            )
        now, ends = self._now(), tuple(one.id for one in live)
        return SeatActRecord(workshop.slug, person, act, "stopping" if ends else "starting", ends, now, now, by)

    async def run(self) -> None:
        """Take the next step of each start, restart and reset of a seat, again and again, without end.

        The steps are taken whenever sessions change, and every ``LOOK_SECONDS``. Return at once if this service has no
        link.
        """
        if not self._link.there:
            return
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), LOOK_SECONDS)
            self._woken.clear()
            try:
                await self.look()
            except Exception:  # any error: this loop must continue, since nothing else does what was asked for
                log.exception("What is done to seats is looked at again")

    async def look(self) -> None:
        """Take the next step of each act (start, restart or reset of a seat).

        Do nothing while it is not known which sessions run. An act is dropped if the workshop is neither warming up nor
        open, or if the person does not have a seat any more. An act that has failed is also dropped if the seat was
        moved after the failure. Raises StoreError.
        """
        await self._load()
        if not self._acts or not self._room.sessions.fresh:
            return
        live = {one.slug: one for one in await self._store.all(over=False)}
        members = await self._store.members(sorted({slug for slug, _ in self._acts}))
        seated = {
            (slug, one.person): one.seat for slug, ones in members.items() for one in ones if one.state == "seated"
        }
        failed = {slug for (slug, _), record in self._acts.items() if record.state == "failed"}
        orders = await self._store.transact(lambda db: {slug: moves.orders(db, slug) for slug in failed})
        self._silences, due = {}, []
        for (slug, person), record in list(self._acts.items()):
            workshop = live.get(slug)
            if workshop is None or workshop.state not in WARM_STATES or (slug, person) not in seated:
                await self._drop(record)
            elif record.state == "failed" and _was_moved(
                workshop, orders.get(slug, ()), seated[slug, person], record.moved
            ):
                await self._drop(record)  # the seat begins elsewhere
            else:
                due.append(self._attend(workshop, record))
        await asyncio.gather(*due)

    async def _attend(self, workshop: WorkshopRecord, record: SeatActRecord) -> None:
        """Take the next step of the act ``record``, which starts, restarts or resets one seat.

        ProblemError and StoreError are only logged: the next ``look`` tries the step again.
        """
        try:
            await self._step(workshop, record)
        except ProblemError as error:
            log.info("A seat of %s is seen to again: %s", workshop.slug, error.problem.message)
        except StoreError as error:
            log.error("A seat of %s is seen to again: %s", workshop.slug, error)  # noqa: TRY400

    async def _step(self, workshop: WorkshopRecord, record: SeatActRecord) -> None:
        sessions = self._live(workshop.slug, record.person)
        silent = await self._silent(workshop, record, sessions)
        live = [
            LiveSeat(one.id, one.stopping, one.open and one.state in _OPEN, one.factory in silent) for one in sessions
        ]
        match next_act(record.act, record.state, record.ends, record.moved, live, self._now()):
            case NextAct.STOP:
                for one in sessions:
                    if one.id in record.ends and not one.stopping:
                        with contextlib.suppress(LinkRefused):  # it has ended meanwhile
                            await self._link.post(NOTHING, workshop.project, f"/sessions/{one.id}/stop")
            case NextAct.BEGIN:
                await self._begin(workshop, record)
            case NextAct.DELIVER:
                there = [one for one in sessions if one.id not in record.ends and one.open and one.state in _OPEN]
                why = await self._deliver(workshop.slug, there, f"{record.at:%Y-%m-%d-%H%M%S}")
                await self._delivered(record, why)
            case NextAct.DONE:
                await self._drop(record)
            case NextAct.LATE:
                await self._fail(record, _LATE[record.state])
            case NextAct.SILENT:
                old = next(one for one in sessions if one.id in record.ends and one.factory in silent)
                said = _SILENT_STOPS if old.stopping else _SILENT
                await self._fail(record, said.format(factory=old.factory))
            case NextAct.LOST:
                await self._fail(record, _LOST)
            case NextAct.WAIT:
                pass

    async def _silent(
        self, workshop: WorkshopRecord, record: SeatActRecord, sessions: Collection[WorkshopSession]
    ) -> set[str]:
        """Return the factories that do not answer the link, among those at which the act waits for sessions to end.

        Raises ProblemError.
        """
        if record.state != "stopping":
            return set()
        # A session may also be out of reach by itself, and ends all the same: so the link is asked.
        doubtful = {one.factory for one in sessions if one.id in record.ends and one.state == SessionState.UNREACHABLE}
        asked, found = self._silences, set[str]()
        for factory in doubtful:
            key = workshop.slug, factory
            if key not in asked:
                asked[key] = asyncio.ensure_future(self._seats.silent(workshop, factory))
            if await asyncio.shield(asked[key]):
                found.add(factory)
        return found

    async def _delivered(self, record: SeatActRecord, why: str) -> None:
        """End an act after an attempt to deliver the material, unless another attempt makes sense.

        ``why``: why the material was not delivered; "" if it was. The act has failed after ``DELIVERIES`` attempts, or
        at once for a reason that lasts; otherwise the next look tries again.
        """
        key = (record.workshop, record.person)
        self._tries[key] += 1
        final = isinstance(why, Message) and why.code == _LASTING
        if why and not final and self._tries[key] < DELIVERIES:
            log.info("The material for a seat of %s is delivered again: %s", record.workshop, why)
            return
        del self._tries[key]
        await (self._fail(record, why) if why else self._drop(record))

    async def _begin(self, workshop: WorkshopRecord, record: SeatActRecord) -> None:
        if record.state == "stopping":
            record = replace(record, state="starting", moved=self._now())
            await self._change(record)
        row = await self._seats.begin_one(workshop, record.person, lambda db: act_rows.goes_on(db, record))
        if row.state in (SeatProgress.BEGUN, SeatProgress.RUNNING):
            if record.act == "reset":
                await self._change(replace(record, state="delivering", moved=self._now()))
            else:
                await self._drop(record)
        elif row.state != SeatProgress.ASKED:
            await self._fail(record, _REFUSED if row.why is None else row.why.as_message("what"))

    # --- the rows

    def _live(self, slug: str, person: str) -> list[WorkshopSession]:
        found = self._room.sessions.of(PREFIX + slug)
        return [one for one in found if one.person == person and one.state != SessionState.ENDED]

    async def _load(self) -> None:
        if not self._loaded:
            found = await self._store.transact(act_rows.all_acts)
            self._acts = {(one.workshop, one.person): one for one in found}
            self._loaded = True

    async def _keep(self, record: SeatActRecord) -> None:
        await self._store.transact(lambda db: act_rows.put(db, record))
        self._acts[record.workshop, record.person] = record
        self._room.wake()

    async def _change(self, record: SeatActRecord) -> None:
        """Store how far an act is, unless it was given up meanwhile."""

        def put(db: Connection) -> bool:
            if goes_on := act_rows.goes_on(db, record):
                act_rows.put(db, record)
            return goes_on

        if await self._store.transact(put):
            self._acts[record.workshop, record.person] = record
            self._room.wake()

    async def _fail(self, record: SeatActRecord, why: str) -> None:
        log.info("A seat of %s was not seen to (%s): %s", record.workshop, record.act, why)
        await self._change(replace(record, state="failed", moved=self._now(), why=Phrase(text=why)))

    async def _drop(self, record: SeatActRecord) -> None:
        def drop(db: Connection) -> None:
            if act_rows.goes_on(db, record):
                act_rows.drop(db, record.workshop, record.person)

        await self._store.transact(drop)
        self._forget(record)

    def _forget(self, record: SeatActRecord) -> None:
        key = (record.workshop, record.person)
        if (known := self._acts.get(key)) is not None and known.at == record.at:
            del self._acts[key]
            self._tries.pop(key, None)
        self._room.wake()


def _was_moved(workshop: WorkshopRecord, orders: Iterable[MoveRow], seat: int | None, since: datetime) -> bool:
    """Return whether the last order of a trainer to move the seat was given at ``since`` or later."""
    order = moves.place_of(workshop, orders, seat).order
    return order is not None and order.at >= since
