"""The models of the seats that the workshops service starts: how far each seat is, and what people see of them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from factorycommon.models import Model, SessionId
from factorycommon.models.sessions import Words
from factorycommon.models.workshops.seats import SeatPlace


class SeatProgress(StrEnum):
    """How far the service is with beginning a person's seat."""

    ASKED = "asked"  # stored, and perhaps begun: the link's answer is not stored yet
    BEGUN = "begun"  # its session lives, and cannot be opened yet
    RUNNING = "running"  # it could be opened; what happens later is no matter of warming up
    FAILED = "failed"  # it did not begin or broke down: a fault of the place
    REFUSED = "refused"  # a matter of the person, such as rules that they have not accepted
    OVER = "over"  # it ended before it could be opened, as somebody wanted it


class BegunSeatView(Model):
    """One seat that the service begins.

    ``seat``: the seat's number, None if ``person`` has none; ``state``: None means that the service has not requested
    the seat yet; ``wave``: the number of the group of seats that are begun together; ``asked``: when the service last
    requested the seat; ``ran``: when the session could first be opened; ``why``: why the seat failed, was refused or
    ended before it could be opened.
    """

    seat: int | None
    person: str
    state: SeatProgress | None = None
    wave: int | None = None
    session: SessionId | None = None
    asked: datetime | None = None
    ran: datetime | None = None
    why: Words | None = None


class HaltView(Model):
    """Why the service starts no further seats by itself: too many seats of a wave failed.

    A wave is a group of seats that are begun together. ``at``: since when no further seats are started; ``wave``: the
    wave's number; ``failed``: how many of the wave's seats failed; ``of``: how many seats the wave had; ``why``: the
    most frequent reason of the failures, None: no reason is known.
    """

    at: datetime
    wave: int
    failed: int
    of: int
    why: Words | None = None


class SeatingView(Model):
    """How far the service is with starting a workshop's seats before people come (warming up).

    ``halted``: why no further seats are started after too many failures, None: no halt; ``place``: what the link
    reports of the factory at which new members get their seats, None: not known; ``rate``: how many seats came up there
    in a minute, by the stored measurement, None: there is none; ``warms``: the time, perhaps past, from which on the
    service starts the seats.
    """

    seats: tuple[BegunSeatView, ...]
    halted: HaltView | None = None
    place: SeatPlace | None = None
    rate: float | None = None
    warms: datetime | None = None
