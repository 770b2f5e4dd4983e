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
        """Start the sessions of these seats; return what became of each seat.

        A repeated request for the same session starts no second session. If the link does not know a person as one of
        the workshop's people, only this person's seat is refused; this may happen to people who have just joined.
        """
        found = scope.project(project)
        begun = await seats.begin(found, body)
        connections.begin(found, {seat.factory for seat in body.seats})
        return begun

    @routes.put("/projects/{project}/hold", responses=says(404))
    async def hold(project: InProject, body: HoldBody) -> SeatPlaces:
        """Hold site accounts for the workshop: up to the given number of accounts of the pool at each factory.

        The link begins to wipe held accounts in which files of other people may be. An account is held until the
        workshop is over. A spare account (needed for no seat, and lent to nobody) may go to another workshop earlier.
        During a rehearsal, accounts are held only for its robots, and only until the rehearsal is over.

        At factories where each account needs a login of its own, the link also begins to open SSH connections for seats
        that have not begun. The response says what each factory of the workshop then allows.
        """
        found = scope.project(project)
        await holds.hold(found, body.accounts)
        connections.begin(found, body.accounts)
        return connections.raised(found, seats.places(found))

    return routes
