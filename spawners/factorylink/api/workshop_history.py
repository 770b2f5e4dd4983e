"""The operations with which the workshops service reads what a workshop's project has run, and what runs now."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from factorycommon.models import Cost, Project, SessionId, SessionState, Slug
from factorycommon.models.history import MOST_RUNS, HistoryPage, ProjectNow, ReservationEnd
from factorylink.api.http import says
from factorylink.api.workshop_scope import InProject, WorkshopScope
from factorylink.catalogue.prices import price_of
from factorylink.ledger.charges import Charges
from factorylink.ledger.project_history import ProjectHistory
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.cluster_table import ClusterTable

_RUNS = (SessionState.STARTING, SessionState.RUNNING, SessionState.ENDING)


class SizeCosts:
    """Computes what a job costs, from its factory, node size and run time; an instance is called like a function.

    Only the factories that the gateway offers have costs.
    """

    def __init__(self, factories: OfferedFactories) -> None:
        self._factories = factories

    def __call__(self, factory: Slug, size: Slug, seconds: float) -> Cost | None:
        """Return the cost of a job of this size that runs ``seconds`` seconds.

        None: the gateway does not offer the factory, or the catalogue no longer has the size.
        """
        connection = self._factories.get(factory)
        price = None if connection is None else price_of(connection.factory, size)
        return None if price is None else price.of(seconds)


def router(
    scope: WorkshopScope,
    history: ProjectHistory,
    charges: Charges,
    clusters: ClusterTable,
    factories: OfferedFactories,
) -> APIRouter:
    """Return a router with the operations that tell what a workshop has used, and what runs for it now.

    ``scope``: refuses projects that are not those of workshops.
    """
    routes = APIRouter()

    @routes.get("/projects/{project}/history")
    async def get_history(
        project: InProject,
        after: Annotated[SessionId | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_RUNS)] = MOST_RUNS,
    ) -> HistoryPage:
        """Return a page of a workshop's sessions, also if the workshop is over and its project no longer exists.

        The first page also contains what the workshop's clusters have used.

        ``after``: ``next`` of the previous page; without it, the first page. ``limit``: the most sessions of a page.
        """
        return await history.page(project, after, limit)

    @routes.get("/projects/{project}/now", responses=says(404))
    async def get_now(project: InProject) -> ProjectNow:
        """Return what runs for a workshop now, and its used and reserved GPU-hours.

        Also return when its reservations (nodes that a factory keeps free for it) end.
        """
        found = scope.project(project)
        states = [one.record.state for one in scope.sessions(found)]
        balance = await charges.balance(project)
        return ProjectNow(
            running=sum(state in _RUNS for state in states),
            waiting=states.count(SessionState.PENDING),
            clusters=sum(
                one.record.choice.project == project and one.record.ended is None for one in clusters.values()
            ),
            spent=balance.spent,
            reserved=balance.reserved,
            reservations=tuple(_reservations(found, factories)),
        )

    return routes


def _reservations(project: Project, factories: OfferedFactories) -> list[ReservationEnd]:
    """Return when the project's reservations of nodes end, as far as the factories have reported the reservations."""
    found = []
    for factory, at in project.factories.items():
        connection = factories.get(factory)
        if connection is None or at.reservation is None:
            continue
        named = (one for one in connection.site.load_poller.reservations if at.reservation in (one.id, one.name))
        if (mine := next(named, None)) is not None:
            found.append(ReservationEnd(factory=factory, name=mine.name, end=mine.end))
    return found
