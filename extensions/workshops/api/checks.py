"""The operations of the API on connection checks: people send their results, and those who run the class see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends

from factorycommon.service.http import says
from workshops.api.routes import Slugged
from workshops.models.callers import WorkshopCaller
from workshops.models.checks import CheckBody, ChecksView
from workshops.service import Workshops


def checks_router(workshops: Workshops, who: Callable[..., Any]) -> APIRouter:
    """Return a router with this module's operations. ``who``: a dependency that returns a request's WorkshopCaller."""
    routes = APIRouter()
    caller_of, denied = Depends(who), says(401, 403, 404)

    @routes.put("/workshops/{slug}/check", status_code=204, responses=denied | says(409))
    async def put_check(slug: Slugged, body: CheckBody, caller: WorkshopCaller = caller_of) -> None:
        """Send the result of your connection check to a workshop of which you are a member."""
        await workshops.put_check(caller, slug, body)

    @routes.get("/workshops/{slug}/checks", responses=denied)
    async def checks(slug: Slugged, caller: WorkshopCaller = caller_of) -> ChecksView:
        """Return how many people of a workshop have checked their connection, and with which results."""
        return await workshops.checks(caller, slug)

    return routes
