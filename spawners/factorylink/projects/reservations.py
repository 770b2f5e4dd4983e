"""A site's reservations as a person may use them: each together with the projects that are in it."""

from __future__ import annotations

from collections.abc import Iterable

from factorycommon.language import N_
from factorycommon.models import ReservationView
from factorylink.catalogue.choices import paying
from factorylink.problems import ProblemError, invalid
from factorylink.projects.account_leases import AccountLeases, Right


def offered(permissions: Iterable[Right], user: str, account_leases: AccountLeases) -> tuple[ReservationView, ...]:
    """Return the reservations that are active now, for what the person may use at a factory."""
    found: dict[str, ReservationView] = {}
    for right in permissions:
        account = account_leases.seen(right, user) or ""
        for one in right.place.site.reservations(account, paying(right.place.access, right.at)):
            known = found.setdefault(one.id, one)
            if right.project is not None:
                projects = (*known.projects, right.project.id)
                found[one.id] = known.model_copy(update={"projects": projects})
    return tuple(found.values())


def refusal(name: str, right: Right, theirs: Iterable[ReservationView]) -> ProblemError:
    """Return why a session cannot run in that reservation, where ``theirs`` are those offered to the person."""
    own = None if right.project is None else right.project.id
    others = ", ".join(project for one in theirs if one.id == name for project in one.projects if project != own)
    if own is None or not others:
        said = N_("The reservation {name} is not yours to use, or it is not its time.").format(name=repr(name))
    else:
        said = N_("The reservation {name} is not for the project {project}, but for: {names}.").format(
            name=repr(name), project=own, names=others
        )
    return invalid(said, "reservation")
