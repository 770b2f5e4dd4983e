"""The operations of the API on rehearsals: show the last ones, begin one, and stop one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends

from factorycommon.service.http import says
from workshops.api.routes import Slugged
from workshops.models.callers import WorkshopCaller
from workshops.models.rehearsal import RehearsalBody, RehearsalsView
from workshops.rehearsal.service import Rehearsals


def rehearsal_router(rehearsals: Rehearsals, who: Callable[..., Any]) -> APIRouter:
    """Return a router with the operations that show, begin and stop a workshop's rehearsals.

    ``who``: a dependency that returns a request's WorkshopCaller.
    """
    routes = APIRouter()
    caller_of, some = Depends(who), says(401, 403, 404, 409, 503)

    @routes.get("/workshops/{slug}/rehearsals", responses=some)
    async def get_rehearsals(slug: Slugged, caller: WorkshopCaller = caller_of) -> RehearsalsView:
        """Return the last rehearsals at each of the workshop's places (factory and node size).

        The answer says of each rehearsal whether its result is still valid, since the workshop may have changed.
        """
        return await rehearsals.view(caller, slug)

    @routes.post("/workshops/{slug}/rehearsals", status_code=201, responses=some)
    async def rehearse(slug: Slugged, body: RehearsalBody, caller: WorkshopCaller = caller_of) -> RehearsalsView:
        """Rehearse a workshop at one of its places (factory and node size).

        A rehearsal without seats is over when the response is sent. A rehearsal with seats goes on for some minutes
        after the response, unless no seat can start.
        """
        return await rehearsals.begin(caller, slug, body)

    @routes.post("/workshops/{slug}/rehearsals/stop", responses=some)
    async def stop_rehearsal(slug: Slugged, caller: WorkshopCaller = caller_of) -> RehearsalsView:
        """Stop the running rehearsal with seats. Its seats end, and its result says how far the rehearsal came."""
        return await rehearsals.stop(caller, slug)

    return routes
