"""Decides when to suggest to a trainer to move the class to another factory. Pure: no I/O and no clock.

A class is never moved without an order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from factorycommon.messages import Message

FAILED_LOOKS = 3  # in a row, after which a place counts as out of reach
LEAST_READY = 0.8  # of the seats, shortly before the class
SHORTLY = timedelta(minutes=10)  # before the class starts

_UNREACHABLE = Message("move-unreachable", "{factory} does not answer. You can move the class to {other}.")
_FEW_READY = Message(
    "move-few-ready",
    "The class starts soon, and {ready} of {seats} seats are ready at {factory}. You can move the class to {other}.",
)


@dataclass(frozen=True)
class PlaceFacts:
    """What is known of the place (factory and node size) with the most seats of a class.

    ``failed_looks``: how many times in a row the link reported that the factory does not answer; ``seats``: how many
    seats belong there; ``ready``: how many of these have come up; ``other``: the factory to which the class could move,
    None: there is none.
    """

    factory: str
    failed_looks: int
    seats: int
    ready: int
    other: str | None


def suggested(facts: PlaceFacts, starts: datetime, now: datetime) -> Message | None:
    """Return why the class should be moved; None: there is no reason, or no other place to move it to."""
    if facts.other is None or not facts.seats:
        return None
    if facts.failed_looks >= FAILED_LOOKS:
        return _UNREACHABLE.format(factory=facts.factory, other=facts.other)
    if starts - SHORTLY <= now < starts and facts.ready < LEAST_READY * facts.seats:
        return _FEW_READY.format(factory=facts.factory, other=facts.other, ready=facts.ready, seats=facts.seats)
    return None
