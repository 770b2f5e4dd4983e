"""Finds the reservations of a site that a person may use, and limits the hours of a session to its reservation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

from factorycommon.messages import Message
from factorycommon.models import Reservation, ReservationView
from factorylink.catalogue.choices import SHORTEST_HOURS, paying
from factorylink.problems import ProblemError, invalid
from factorylink.projects.account_leases import AccountLeases, Grant

# From the end of a session's walltime to the end of its reservation: a scheduler starts no job in a reservation if the
# job could not end there, and a job begins some seconds after it was submitted.
MARGIN = timedelta(minutes=2)


def within(hours: float, window: Reservation | None, now: datetime) -> float:
    """Return ``hours``, limited to the time that a session can run in the reservation ``window``.

    The session cannot begin before the reservation, and must end ``MARGIN`` before the reservation does. Hours that
    the reservation limits are rounded down to whole minutes. ``hours`` is returned unchanged if ``window`` is None, or
    if too little of the reservation is left for any session.
    """
    if window is None:
        return hours
    left = math.floor((window.end - max(now, window.start) - MARGIN) / timedelta(minutes=1)) / 60
    return hours if left < SHORTEST_HOURS else min(hours, left)


def offered(permissions: Iterable[Grant], user: str, account_leases: AccountLeases) -> tuple[ReservationView, ...]:
    """Return the reservations that are active now and that the person may use with these permissions.

    Each has the ids of the projects through which the person may use it. ``account_leases``: finds the person's site
    account for each permission. Reservations for Unix groups are missing until the account's groups have been looked
    up.
    """
    found: dict[str, ReservationView] = {}
    for grant in permissions:
        account = account_leases.seen(grant, user) or ""
        for one in grant.connection.site.reservations(account, paying(grant.connection.access, grant.at)):
            known = found.setdefault(one.id, one)
            if grant.project is not None:
                projects = (*known.projects, grant.project.id)
                found[one.id] = known.model_copy(update={"projects": projects})
    return tuple(found.values())


def refusal(name: str, grant: Grant, theirs: Iterable[ReservationView]) -> ProblemError:
    """Return a ProblemError that explains why a session cannot run in the reservation ``name``.

    ``grant``: the permission that the session would use; ``theirs``: the reservations offered to the person.
    """
    own = None if grant.project is None else grant.project.id
    others = ", ".join(project for one in theirs if one.id == name for project in one.projects if project != own)
    if own is None or not others:
        said = Message(
            "reservation-not-yours", "The reservation {name} is not yours to use, or it is not its time."
        ).format(name=repr(name))
    else:
        said = Message(
            "reservation-of-others", "The reservation {name} is not for the project {project}, but for: {names}."
        ).format(name=repr(name), project=own, names=others)
    return invalid(said, "reservation")
