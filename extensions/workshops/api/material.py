"""The operations of the API on the material of a workshop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends

from factorycommon.service.http import says
from workshops.api.routes import Slugged
from workshops.material.deliveries import MaterialDelivery
from workshops.material.service import MaterialActs
from workshops.models.callers import WorkshopCaller
from workshops.models.material import MaterialRoom, MaterialStatus, RestoreBody


def material_router(acts: MaterialActs, delivery: MaterialDelivery, who: Callable[..., Any]) -> APIRouter:
    """Return a router with the operations on a workshop's material: show its state, fetch it again, deliver it again.

    ``who``: a dependency that returns a request's WorkshopCaller.
    """
    routes = APIRouter()
    caller_of = Depends(who)

    @routes.get("/workshops/{slug}/material", responses=says(401, 403, 404))
    async def get_material(slug: Slugged, caller: WorkshopCaller = caller_of) -> MaterialRoom:
        """Return the state of a workshop's material, and what its last delivery did in each person's folder."""
        return await delivery.view(caller, slug)

    @routes.post("/workshops/{slug}/material/fetch", status_code=202, responses=says(401, 403, 404, 409))
    async def fetch_again(slug: Slugged, caller: WorkshopCaller = caller_of) -> MaterialStatus:
        """Begin to fetch the material of a workshop again; return the new state of the material."""
        return await acts.again(caller, slug)

    @routes.post("/workshops/{slug}/material/restore", status_code=204, responses=says(401, 403, 404, 409, 503))
    async def restore(slug: Slugged, body: RestoreBody, caller: WorkshopCaller = caller_of) -> None:
        """Deliver the material to a person's open sessions again, with files and cells that the person has deleted."""
        await delivery.restore(caller, slug, body.person)

    return routes
