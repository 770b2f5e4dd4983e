"""Shows trainers at which factories the seats of a class are, and stores their orders to move the class."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from factorycommon.messages import Message
from factorycommon.models.messages import Phrase
from factorycommon.models.workshops.seats import SeatPlace
from factorycommon.service.problems import conflict, invalid
from workshops.models.callers import WorkshopCaller
from workshops.models.moving import MoveBody, MoveView, MovingPlaceView, MovingView
from workshops.models.seats import SeatProgress
from workshops.seats import placement, rows, suggestion
from workshops.seats.runner import SeatRunner
from workshops.seats.suggestion import PlaceFacts
from workshops.service import Workshops
from workshops.store import moves
from workshops.store.schema import MembershipRecord, PlaceRecord, WorkshopRecord
from workshops.store.seat_tables import MoveRow, SeatRow
from workshops.store.store import Store

MOST_ORDERS = 200  # of one workshop
SHOWN = 10
_TRIES = 5  # of an order, if others are given at the same moment
LETTERS = "ABCDEFGHIJ"


class ClassMoves:
    """Shows at which places the seats of a class are, and stores orders to move the class.

    ``changed``: called after each order, so that the order is carried out at once.
    """

    def __init__(
        self,
        workshops: Workshops,
        store: Store,
        runner: SeatRunner,
        now: Callable[[], datetime],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._workshops = workshops
        self._store = store
        self._runner = runner
        self._now = now
        self._changed = changed

    async def view(self, caller: WorkshopCaller, slug: str) -> MovingView:
        """Return the places of a class (factory and node size) with their seats, and the last orders to move it.

        Raises ProblemError, StoreError.
        """
        return await self._shown(await self._workshops.may(caller, slug, "see-people"))

    async def move(self, caller: WorkshopCaller, slug: str, body: MoveBody) -> MovingView:
        """Store an order to move a class or some of its seats; return the places and orders after that.

        The ``SeatRunner`` carries the order out. An order whose id is stored already changes nothing. Raises
        ProblemError if the caller may not move the class, the place or a seat does not exist, or there were too many
        orders; StoreError; IntegrityError if others gave orders at the same moment in each of several tries.
        """
        workshop = await self._workshops.may(caller, slug, "move")
        if body.place >= len(workshop.places):
            said = Message("move-no-place", "This workshop has no plan {letter}.")
            raise invalid(said.format(letter=LETTERS[body.place]), "place")
        place = workshop.places[body.place]
        if body.seats is not None and max(body.seats) > workshop.seats:
            said = Message("move-no-seat", "This workshop has no seat {number}.")
            raise invalid(said.format(number=max(body.seats)), "seats")
        for left in range(_TRIES, 0, -1):
            try:
                await self._store.transact(lambda db: self._order(db, workshop, place, caller.person, body))
                break
            except IntegrityError:
                if left == 1:
                    raise
        self._changed()
        return await self._shown(workshop)

    def _order(self, db: Connection, workshop: WorkshopRecord, place: PlaceRecord, by: str, body: MoveBody) -> None:
        known = moves.orders(db, workshop.slug)
        if len(known) >= MOST_ORDERS and body.id not in {one.id for one in known}:
            raise conflict(Message("move-limit", "This class was moved as often as one may be."))
        number = 1 + max((one.number for one in known), default=0)
        seats = None if body.seats is None else tuple(sorted(set(body.seats)))
        order = MoveRow(workshop.slug, number, body.id or secrets.token_hex(8), self._now(), by, place.number, seats)
        which = "" if seats is None else f", {', '.join(map(str, seats))}"
        rows.add_order(db, order, f"{LETTERS[place.number - 1]} ({place.factory}){which}")

    async def _shown(self, workshop: WorkshopRecord) -> MovingView:
        slug = workshop.slug

        def read(db: Connection) -> tuple[list[MoveRow], dict[str, SeatRow]]:
            return moves.orders(db, slug), {row.person: row for row in rows.of_workshop(db, slug)}

        orders, known = await self._store.transact(read)
        people = [one for one in (await self._store.members([slug]))[slug] if one.state == "seated"]
        shares, seen = placement.by_place(workshop, orders, people), self._runner.seen(workshop)
        places = tuple(_place(one, shares[one.number], known, seen.get(one.factory)) for one in workshop.places)
        factories = {one.number: one.factory for one in workshop.places}
        reason = suggestion.suggested(self._facts(slug, places), workshop.starts, self._now())
        return MovingView(
            current=moves.place_of(workshop, orders, None).place.number,
            places=places,
            suggestion=None if reason is None else Phrase(text=reason),
            moves=tuple(
                MoveView(at=one.at, by=one.by, place=one.place, factory=factories.get(one.place, ""), seats=one.seats)
                for one in reversed(orders[-SHOWN:])
            ),
        )

    def _facts(self, slug: str, places: Sequence[MovingPlaceView]) -> PlaceFacts:
        """Return the facts from which ``suggestion.suggested`` decides whether to suggest a move of the class.

        The facts are those of the place with the most seats. ``other`` in the facts is the factory of another place
        whose ``trouble`` is None; None if there is no such place.
        """
        most = max(places, key=lambda one: one.seats)
        others = [one for one in places if one is not most and one.trouble is None]
        other = next((one for one in others if one.number > most.number), next(iter(others), None))
        failed = self._runner.failed_looks(slug, most.factory)
        return PlaceFacts(most.factory, failed, most.seats, most.ready, None if other is None else other.factory)


def _place(
    place: PlaceRecord, people: Sequence[MembershipRecord], known: Mapping[str, SeatRow], seen: SeatPlace | None
) -> MovingPlaceView:
    facts = placement.facts_at(place, people, known)
    trouble = None if seen is None or seen.problem is None else Phrase(text=seen.problem.as_message("message"))
    return MovingPlaceView(
        number=place.number,
        factory=place.factory,
        size=place.size,
        seats=len(facts),
        ready=sum(one.state == SeatProgress.RUNNING for one in facts),
        leaving=0 if seen is None else seen.leaving,
        trouble=trouble,
    )
