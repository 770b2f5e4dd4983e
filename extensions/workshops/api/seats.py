"""The operations of the API on starting a workshop's seats: show the progress, and continue after a halt."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Depends

from factorycommon.service.http import says
from workshops.api.routes import Slugged
from workshops.models.callers import WorkshopCaller
from workshops.models.seats import SeatingView
from workshops.seats.runner import SeatRunner
from workshops.service import Workshops
from workshops.store.store import Store


def seats_router(workshops: Workshops, store: Store, seats: SeatRunner, who: Callable[..., Any]) -> APIRouter:
    """Return a router with this module's operations. ``who``: a dependency that returns a request's WorkshopCaller."""
    routes = APIRouter()
    caller_of, some = Depends(who), says(401, 403, 404, 409)

    @routes.get("/workshops/{slug}/seats", responses=some)
    async def seating(slug: Slugged, caller: WorkshopCaller = caller_of) -> SeatingView:
        """Return how far each seat of a workshop is, why seats failed, and from when on the service starts the seats.

        The answer also has what the link reports of the factory at which new members get their seats.
        """
        workshop = await workshops.may(caller, slug, "see-people")
        people = (await store.members([slug]))[slug]
        return await seats.view(workshop, people, timedelta(minutes=workshop.warm_minutes))

    @routes.post("/workshops/{slug}/seats/go-on", status_code=204, responses=some)
    async def go_on(slug: Slugged, caller: WorkshopCaller = caller_of) -> None:
        """Continue to start seats after a halt, which too many failed seats cause; the failed seats start again."""
        await workshops.may(caller, slug, "go-on")
        await seats.go_on(slug, caller.person)

    return routes
