"""The reservations of a site that a person may use, each with the projects through which they may use it."""

from __future__ import annotations

from collections.abc import Iterable

from factorycommon.messages import Message
from factorycommon.models import ReservationView
from factorylink.catalogue.choices import paying
from factorylink.problems import ProblemError, invalid
from factorylink.projects.account_leases import AccountLeases, Grant


def offered(permissions: Iterable[Grant], user: str, account_leases: AccountLeases) -> tuple[ReservationView, ...]:
    """Return the reservations that are active now and that the person may use with these permissions."""
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
    """Return the explanation why a session cannot run in the reservation ``name``.

    ``theirs``: the reservations offered to the person.
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
