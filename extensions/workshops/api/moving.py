"""The operations of the API on moving a class, or some of its seats, to another of the workshop's places.

A place is a factory with a node size, on which the seats' sessions run; a workshop has one or more (plan A, plan B).
"""

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
    """Return a router with the operations that show at which places a class's seats are, and move the class.

    ``who``: a dependency that returns a request's WorkshopCaller.
    """
    routes = APIRouter()
    caller_of, some = Depends(who), says(401, 403, 404, 409)

    @routes.get("/workshops/{slug}/move", responses=some)
    async def moving(slug: Slugged, caller: WorkshopCaller = caller_of) -> MovingView:
        """Return at which of the workshop's places the seats are, and whether the class should be moved.

        A place is a factory with a node size.
        """
        return await moves.view(caller, slug)

    @routes.post("/workshops/{slug}/move", status_code=202, responses=some)
    async def move(slug: Slugged, body: MoveBody, caller: WorkshopCaller = caller_of) -> MovingView:
        """Move a class, or some of its seats, to another of its places (factory and node size).

        New sessions start there, and the earlier ones end.
        """
        return await moves.move(caller, slug, body)

    return routes
