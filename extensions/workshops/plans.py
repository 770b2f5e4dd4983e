"""Checks what a trainer asks for: times, places, budget, and whether other workshops leave enough seats. Pure.

A failed check raises ProblemError, with an explanation for the trainer and, for a wrong value, the name of its field.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from factorycommon.messages import Message
from factorycommon.models.workshops import WorkshopPool, WorkshopPools
from factorycommon.service.problems import conflict, invalid
from workshops.config import WorkshopLimits
from workshops.models.bodies import PlaceBody
from workshops.states import TAKES_SEATS
from workshops.store.schema import PlaceRecord, WorkshopRecord
from workshops.times import moment


def moment_of(field: str, local: datetime, zone: str) -> datetime:
    """Return ``local`` in UTC; if it has no offset of its own, it is a time in the time zone ``zone``.

    Raises ProblemError if clocks in the zone never show this time or show it twice, the zone is unknown, or the year is
    not allowed. ``field``: the name of the request's field that has the time, which the error names.
    """
    try:
        return moment(local, zone)
    except ValueError as error:
        first = error.args[0] if error.args else ""
        raise invalid(first if isinstance(first, Message) else str(error), field) from error


def check(workshop: WorkshopRecord, limits: WorkshopLimits, now: datetime) -> None:
    """Raise ProblemError if a workshop's times are not in order, the class is over, or the workshop exceeds ``limits``.

    These limits are checked: the days from opening to closing, the number of seats, and the days for which the data of
    the workshop's people are kept.
    """
    _in_order(workshop)
    if workshop.ends <= now:
        raise invalid(Message("workshop-past", "It would end in the past. Choose later times."), "ends")
    if workshop.closes - workshop.opens > timedelta(days=limits.days):
        said = Message(
            "workshop-too-long", "From opening to closing are more than {days} days, the most that are allowed."
        )
        raise invalid(said.format(days=limits.days), "closes")
    if workshop.seats > limits.seats:
        said = Message("workshop-too-many-seats", "At most {seats} seats are allowed.")
        raise invalid(said.format(seats=limits.seats), "seats")
    check_retention(workshop, limits)


def check_retention(workshop: WorkshopRecord, limits: WorkshopLimits) -> None:
    """Raise ProblemError if the data of the workshop's people would be kept for more days than ``limits`` allow."""
    if workshop.retention_days > limits.retention_days:
        said = Message("workshop-kept-too-long", "Data of its people may be kept for at most {days} days.")
        raise invalid(said.format(days=limits.retention_days), "retention_days")


def _in_order(workshop: WorkshopRecord) -> None:
    pairs = (
        ("starts", workshop.opens <= workshop.starts),
        ("ends", workshop.starts < workshop.ends),
        ("closes", workshop.ends <= workshop.closes),
    )
    for field, right in pairs:
        if not right:
            raise invalid(
                Message("workshop-times", "The times must be in this order: it opens, it starts, it ends, it closes."),
                field,
            )


def places_of(bodies: Sequence[PlaceBody], pools: WorkshopPools) -> tuple[PlaceRecord, ...]:
    """Return the records of the places that a trainer chose, in the same order, each with its pool.

    A place gets the pool that the trainer named for it, or else the first of the factory's pools with the node size of
    the place. Raises ProblemError if there is no such pool, if the pool lacks the node size or does not allow the
    environment or the reservation, or if two places are at one factory.
    """
    found = tuple(_place(number, body, pools) for number, body in enumerate(bodies, 1))
    factories = [place.factory for place in found]
    if len(set(factories)) < len(factories):
        raise invalid(Message("workshop-place-twice", "Each factory may be a place of a workshop once."), "places")
    return found


def _place(number: int, body: PlaceBody, pools: WorkshopPools) -> PlaceRecord:
    field = f"places.{number - 1}"
    here = [pool for pool in pools.pools if pool.factory == body.factory]
    if not here:
        said = Message("workshop-not-there", "Workshops may not use {factory}; they may use: {names}.")
        names = ", ".join(sorted({pool.factory for pool in pools.pools})) or "–"
        raise invalid(said.format(factory=body.factory, names=names), f"{field}.factory")
    fitting = [pool for pool in here if body.pool in (None, pool.id) and body.size in pool.sizes]
    if not fitting:
        said = Message("workshop-size-not-there", "Workshops may use {factory} with these sizes only: {names}.")
        named = [pool for pool in here if body.pool in (None, pool.id)] or here
        names = ", ".join(dict.fromkeys(size for pool in named for size in pool.sizes))
        raise invalid(said.format(factory=body.factory, names=names), f"{field}.size")
    pool = fitting[0]
    if pool.environments and body.environment not in (None, *pool.environments):
        said = Message(
            "workshop-environment-not-there", "Workshops may use {factory} with these environments only: {names}."
        )
        raise invalid(said.format(factory=body.factory, names=", ".join(pool.environments)), f"{field}.environment")
    if body.reservation is not None and body.reservation not in pool.reservations:
        said = Message(
            "workshop-reservation-not-there", "Workshops may not use the reservation {reservation} at {factory}."
        )
        raise invalid(said.format(reservation=body.reservation, factory=body.factory), f"{field}.reservation")
    return PlaceRecord(number, body.factory, body.size, body.environment, pool.id, body.reservation)


def check_pools(workshop: WorkshopRecord, pools: WorkshopPools) -> None:
    """Raise ProblemError if a pool of the workshop's places is gone, or does not allow what the workshop asks for.

    A pool must allow the factory and the node size of its place, the hours of a seat, and the workshop's GPU-hours.
    """
    for place in workshop.places:
        pool = pools.get(place.pool)
        if pool is None or pool.factory != place.factory or place.size not in pool.sizes:
            said = Message("workshop-pool-gone", "Workshops may not use {pool} at {factory} any more.")
            raise conflict(said.format(pool=place.pool, factory=place.factory))
        if workshop.hours > pool.max_hours:
            said = Message("workshop-hours", "A seat at {factory} may last at most {hours} hours.")
            raise invalid(said.format(factory=place.factory, hours=f"{pool.max_hours:g}"), "hours")
        if pool.gpu_hours is not None and (workshop.gpu_hours or 0) > pool.gpu_hours:
            said = Message("workshop-budget", "A workshop at {factory} may use at most {hours} GPU-hours.")
            raise invalid(said.format(factory=place.factory, hours=f"{pool.gpu_hours:g}"), "gpu_hours")


def extended(workshop: WorkshopRecord, minutes: int, pools: WorkshopPools) -> WorkshopRecord:
    """Return a copy of the workshop with ``minutes`` added to ``ends`` and ``closes``.

    ``hours``, the longest session of a seat, grows by the same time, but not beyond what the pools of all places allow.
    """
    longest = [pool.max_hours for place in workshop.places if (pool := pools.get(place.pool)) is not None]
    more = timedelta(minutes=minutes)
    return workshop.with_values(
        ends=workshop.ends + more,
        closes=workshop.closes + more,
        hours=max(workshop.hours, min([workshop.hours + minutes / 60, *longest])),
    )


def check_extended(
    workshop: WorkshopRecord, others: Iterable[WorkshopRecord], pools: WorkshopPools, limits: WorkshopLimits
) -> None:
    """Raise ProblemError if an extended workshop is open for too many days, or its pools have too few seats.

    ``others``: any workshops; drafts, archived and cancelled workshops do not count, nor does this workshop itself.
    """
    if workshop.closes - workshop.opens > timedelta(days=limits.days):
        said = Message(
            "workshop-extended-too-long", "It would be open for more than {days} days, the most that are allowed."
        )
        raise conflict(said.format(days=limits.days))
    check_seats(workshop, others, pools)


def check_seats(workshop: WorkshopRecord, others: Iterable[WorkshopRecord], pools: WorkshopPools) -> None:
    """Raise ProblemError unless a workshop's pools have enough seats for it and for other workshops at the same time.

    ``others``: any workshops; drafts, archived and cancelled workshops do not count, nor does this workshop itself. A
    pool that is not in ``pools`` any more is not checked.
    """
    others = [one for one in others if one.slug != workshop.slug and one.state in TAKES_SEATS]
    for place in workshop.places:
        pool = pools.get(place.pool)
        if pool is None:
            continue
        most, at = most_seats([*others, workshop], pool, *_held(workshop))
        if most > pool.seats:
            said = Message(
                "workshop-seats-taken",
                "At {factory} there are {seats} seats for workshops. On {when} (UTC) this one and others would need "
                "{most}.",
            )
            when = f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
            raise conflict(said.format(factory=place.factory, seats=pool.seats, when=when, most=most))


def most_seats(
    workshops: Sequence[WorkshopRecord], pool: WorkshopPool, since: datetime, until: datetime
) -> tuple[int, datetime]:
    """Return the most seats of a pool that these workshops need at one time, and when they first need so many.

    Only times from ``since`` to ``until`` count.
    """
    mine = [(*_held(one), one.seats) for one in workshops if any(place.pool == pool.id for place in one.places)]
    begins = sorted({since, *(start for start, _, _ in mine if since <= start < until)})
    sums = [(sum(seats for start, end, seats in mine if start <= at < end), at) for at in begins]
    return max(sums, key=lambda pair: pair[0])


def _held(workshop: WorkshopRecord) -> tuple[datetime, datetime]:
    """Return from when and until when a workshop has its seats.

    The first time is the earliest at which the seats begin without a trainer's order; the second is the closing.
    """
    return workshop.opens - timedelta(minutes=workshop.warm_minutes), workshop.closes
