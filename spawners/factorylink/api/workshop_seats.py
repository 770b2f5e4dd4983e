"""The operations on the seats of a workshop: begin them, hold accounts for them, and say what its factories allow."""

from __future__ import annotations

from fastapi import APIRouter

from factorycommon.models.workshops.seats import HoldBody, SeatPlaces, SeatsBody, SeatsView
from factorylink.api.http import says
from factorylink.api.workshop_scope import InProject, WorkshopScope
from factorylink.background.warm_connections import WarmConnections
from factorylink.projects.account_holds import AccountHolds
from factorylink.sessions.workshop_seats import WorkshopSeats


def router(scope: WorkshopScope, seats: WorkshopSeats, holds: AccountHolds, connections: WarmConnections) -> APIRouter:
    """Return a router with the operations on the seats of a workshop."""
    routes = APIRouter()

    @routes.get("/projects/{project}/seats", responses=says(404))
    async def places(project: InProject) -> SeatPlaces:
        """Return what each factory of the workshop allows now.

        This is how many seats may begin per minute, how many more doors the link may open, the numbers of held
        accounts, and what prevents a start. Factories that the gateway does not offer are left out.
        """
        found = scope.project(project)
        return connections.raised(found, seats.places(found))

    @routes.post("/projects/{project}/seats", responses=says(404))
    async def begin(project: InProject, body: SeatsBody) -> SeatsView:
        """Start the sessions of these seats, each seat once; return what became of each seat.

        If a person is not in the workshop, or not yet in the table that the link has read, only that person's seat is
        refused.
        """
        found = scope.project(project)
        begun = await seats.begin(found, body)
        connections.begin(found, {seat.factory for seat in body.seats})
        return begun

    @routes.put("/projects/{project}/hold", responses=says(404))
    async def hold(project: InProject, body: HoldBody) -> SeatPlaces:
        """Hold accounts of the pools for the workshop, and begin to wipe those that may hold files of other people.

        An account is held until the workshop is over. A spare account (needed for no seat, and lent to nobody) may go
        to another workshop earlier. During a rehearsal, accounts are held only for its robots, and only until the
        rehearsal is over. If the link logs in as each account, also begin to log in as the accounts of seats that have
        not begun. Return what each factory of the workshop then allows.
        """
        found = scope.project(project)
        await holds.hold(found, body.accounts)
        connections.begin(found, body.accounts)
        return connections.raised(found, seats.places(found))

    return routes
