"""The operations on moving a class, or some of its seats, to another place of its plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends

from factorycommon.service.http import says
from workshops.api.routes import Slugged
from workshops.models.callers import WorkshopCaller
from workshops.models.moving import MoveBody, MovingView
from workshops.seats.moving import ClassMoves


def moving_router(moves: ClassMoves, who: Callable[..., Any]) -> APIRouter:
    """Return the operations. ``who``: a dependency that returns the WorkshopCaller of a request, or raises."""
    routes = APIRouter()
    caller_of, some = Depends(who), says(401, 403, 404, 409)

    @routes.get("/workshops/{slug}/move", responses=some)
    async def moving(slug: Slugged, caller: WorkshopCaller = caller_of) -> MovingView:
        """Return at which places the seats are, and whether the class should be moved."""
        return await moves.view(caller, slug)

    @routes.post("/workshops/{slug}/move", status_code=202, responses=some)
    async def move(slug: Slugged, body: MoveBody, caller: WorkshopCaller = caller_of) -> MovingView:
        """Move the class, or some seats, to another place: the seats begin there, and end at their earlier place."""
        return await moves.move(caller, slug, body)

    return routes
