"""The operation for a rehearsal of a workshop: returns what the class would find at each factory today."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from fastapi import APIRouter

from factorycommon.models import Factory, NodeSize, Project, ProjectAt, Reservation
from factorycommon.models.plain import plain_text
from factorycommon.models.workshops import ClassProject
from factorycommon.models.workshops.rehearsal import (
    BookedNodes,
    ClosedNodes,
    PersonTrouble,
    RehearsalFacts,
    RehearsalPlace,
    RehearsedEnvironment,
    RehearsedSize,
)
from factorycommon.models.workshops.seats import SeatPlace
from factorycommon.version import version
from factorylink.api.http import says
from factorylink.api.workshop_scope import InProject, WorkshopScope
from factorylink.catalogue.choices import ChoiceError, default_environment, gpu_label
from factorylink.catalogue.prices import gpus_of
from factorylink.ledger.charges import Charges
from factorylink.projects.account_holds import AccountHolds
from factorylink.projects.workshop_table import TEACHING_ACTS, agrees
from factorylink.sessions.permission import Permission
from factorylink.sessions.workshop_seats import WorkshopSeats
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.maintenance import admits
from factorylink.site.offered_factories import OfferedFactories


def router(
    scope: WorkshopScope,
    seats: WorkshopSeats,
    permission: Permission,
    holds: AccountHolds,
    charges: Charges,
    factories: OfferedFactories,
) -> APIRouter:
    """Return a router with the operation that tells what a workshop's class would find at each factory today."""
    routes = APIRouter()

    @routes.get("/projects/{project}/rehearsal", responses=says(404))
    async def facts(project: InProject) -> RehearsalFacts:
        """Return what a class would find at each factory of the workshop if the class were today.

        For example: the node size, the environments, how many accounts could be held, and who could start nothing. No
        session is started. Factories that the gateway does not offer are left out.
        """
        found = scope.project(project)
        balance = await charges.balance(found.id)
        return RehearsalFacts(
            release=version(),
            spent=balance.spent,
            reserved=balance.reserved,
            gpu_hours=found.gpu_hours,
            person_gpu_hours=found.person_gpu_hours,
            staff_gpu_hours=found.staff_gpu_hours if isinstance(found, ClassProject) else found.person_gpu_hours,
            places=tuple(
                _place(found, connection, seat, permission, holds)
                for seat in seats.places(found).places
                if (connection := factories.get(seat.factory)) is not None
            ),
        )

    return routes


def _place(
    project: Project, connection: FactoryConnection, seat: SeatPlace, permission: Permission, holds: AccountHolds
) -> RehearsalPlace:
    factory, access, at = connection.factory, connection.access, project.factories[seat.factory]
    size = next((one for one in factory.sizes if not at.sizes or one.id in at.sizes), None)
    accounts = at.site_accounts.pool or access.account_pool
    booked = None if at.reservation is None else connection.site.reservation(at.reservation)
    people = dict.fromkeys((*project.members, *project.managers))
    return RehearsalPlace(
        seat=seat,
        machine=factory.site.machine,
        size=None if size is None else _size(factory, size, at),
        environments=() if size is None else tuple(_environments(factory, size)),
        default=_default(factory, size),
        agreed=tuple(act for act in TEACHING_ACTS if agrees(factory, access, act)),
        agreement=_agreement(connection, at),
        lends=bool(at.site_accounts.pool),
        wipes=bool(access.account_wipe),
        lendable=holds.lendable(project, factory.id),
        robots=holds.has_for_robots(project, factory.id),
        asked=connection.site.loads_at(),
        reservation=None if booked is None else _booked(booked, accounts, at.account),
        maintenance=tuple(
            ClosedNodes(start=one.start, end=one.end, all=size is not None and _partition(at, size) in one.closes)
            for one in connection.site.maintenance()[:100]
        ),
        people=tuple(
            PersonTrouble(person=person, why=why)
            for person in people
            if (why := permission.missing(connection, person)) is not None
        ),
    )


def _size(factory: Factory, size: NodeSize, at: ProjectAt) -> RehearsedSize:
    partition = factory.partition(size.partition)
    shape = factory.shape(partition)
    fit = [1] if size.whole_node or partition.whole_node_only or shape is None else [
        shape.cores // size.cores,
        int(shape.memory_gb // size.memory_gb),
        *([int(factory.gpu(partition).per_node / size.share)] if size.share else []),
    ]  # fmt: skip
    charged = at.model_dump(mode="json", exclude={"site_accounts", "sizes", "reservation"})
    machine = factory.model_dump(mode="json", include={"scheduler", "architecture", "gpu_syntax", "asks_memory"})
    return RehearsedSize(
        id=size.id,
        label=plain_text(gpu_label(factory, size), 500),
        gpus=float(gpus_of(factory, size.id)),
        max_hours=size.max_hours,
        per_node=max(1, min(fit)),
        nodes=None if shape is None else shape.count,
        digest=_digest(size.model_dump(mode="json"), partition.model_dump(mode="json"), charged, machine),
    )


def _environments(factory: Factory, size: NodeSize) -> list[RehearsedEnvironment]:
    return [
        RehearsedEnvironment(
            id=one.id,
            live=one.state == "live",
            fits=not one.sizes or size.id in one.sizes,
            digest=_digest(one.model_dump(mode="json")),
        )
        for one in factory.environments
    ]


def _default(factory: Factory, size: NodeSize | None) -> str | None:
    """Return the id of the environment in which a session of this size starts if its choice names none.

    None if no environment fits the size, or if there is no size.
    """
    if size is None:
        return None
    try:
        return default_environment(factory, size).id
    except ChoiceError:
        return None


def _agreement(connection: FactoryConnection, at: ProjectAt) -> str:
    """Return a digest of what was agreed with the site.

    The digest covers the agreement, the version of the site's rules, the project's site accounts, and whether
    ``link.yaml`` has a command that wipes lent accounts (``account_wipe``).
    """
    factory, access = connection.factory, connection.access
    agreed = None if factory.agreement is None else factory.agreement.model_dump(mode="json")
    rules = None if factory.site.rules is None else factory.site.rules.version
    lent = at.site_accounts.model_dump(mode="json")
    return _digest(agreed, rules, lent, bool(access.account_wipe))


def _booked(found: Reservation, accounts: tuple[str, ...], pays: str | None) -> BookedNodes:
    """Return a reservation as a rehearsal reports it.

    ``refuses``: those of ``accounts`` (site accounts) that the reservation's list of users does not admit; empty if
    there is no such list. ``project``: whether the reservation's list of the scheduler's accounts admits ``pays``, the
    account that is charged; True if there is no such list. This function ignores the list of Unix groups.
    """
    users = found.model_copy(update={"accounts": (), "groups": ()})
    payers = found.model_copy(update={"users": (), "groups": ()})
    return BookedNodes(
        name=found.name,
        start=found.start,
        end=found.end,
        nodes=len(found.nodes),
        refuses=tuple(one for one in accounts if found.users and not admits(users, one, None, frozenset)),
        project=not found.accounts or admits(payers, "", pays, frozenset),
    )


def _partition(at: ProjectAt, size: NodeSize) -> str:
    return at.partition or size.partition


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
