"""Models for moving a class, or some of its seats, from one of its places (factory and node size) to another."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from factorycommon.models import Model
from factorycommon.models.messages import Phrase
from factorycommon.models.workshops import MOST_SEATS
from workshops.models.bodies import MOST_PLACES

OrderId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{8,40}$")]
SeatNumbers = Annotated[
    tuple[Annotated[int, Field(ge=1, le=MOST_SEATS)], ...], Field(min_length=1, max_length=MOST_SEATS)
]


class MoveBody(Model):
    """An order to move a class, or some of its seats, to one of its places.

    ``place``: the index of this place in the workshop's list of places, 0 is plan A; ``seats``: the numbers of the
    seats that move, None: all; ``id``: a second order with the same id changes nothing, None: this is a new order.
    """

    place: int = Field(ge=0, lt=MOST_PLACES)
    seats: SeatNumbers | None = None
    id: OrderId | None = None


class MoveView(Model):
    """One order to move a class, or some of its seats, to one of its places.

    ``by``: who gave the order; ``place``: the number of the place, 1 is plan A; ``factory``: the factory of the place;
    ``seats``: the numbers of the seats that move, None: all.
    """

    at: datetime
    by: str
    place: int
    factory: str
    seats: tuple[int, ...] | None = None


class MovingPlaceView(Model):
    """One place of a class. ``number``: 1 is plan A.

    ``seats``: how many of the taken seats belong to this place; ``ready``: how many of these came up here, whether or
    not they have ended since; ``trouble``: why no seat can begin here now, None: no reason is known. ``leaving``: how
    many jobs of seats that have moved to another place still exist here. These jobs end as soon as the factory answers.
    """

    number: int
    factory: str
    size: str
    seats: int
    ready: int
    leaving: int = 0
    trouble: Phrase | None = None


class MovingView(Model):
    """The places of a class, and the orders to move it.

    ``current``: the number of the place that people get if they join from now on, 1 is plan A; ``suggestion``: why the
    class should be moved, None: there is no reason, or seats can begin at no other place; ``moves``: the last orders,
    the newest first.
    """

    current: int
    places: tuple[MovingPlaceView, ...]
    suggestion: Phrase | None = None
    moves: tuple[MoveView, ...] = ()
