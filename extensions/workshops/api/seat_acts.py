"""The operations of the API on one seat of a room: start, restart, reset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends

from factorycommon.service.http import says
from workshops.api.room import SeatNumber
from workshops.api.routes import Slugged
from workshops.models.callers import WorkshopCaller
from workshops.room.acts import SeatActs


def seat_acts_router(acts: SeatActs, who: Callable[..., Any]) -> APIRouter:
    """Return a router with this module's operations. ``who``: a dependency that returns a request's WorkshopCaller."""
    routes = APIRouter()
    caller_of, some = Depends(who), says(401, 403, 404, 409, 503)

    @routes.post("/workshops/{slug}/room/{seat}/start", status_code=202, responses=some)
    async def start_seat(slug: Slugged, seat: SeatNumber, caller: WorkshopCaller = caller_of) -> None:
        """Start a session on a seat that has none. The room shows the progress."""
        await acts.ask(caller, slug, seat, "start")

    @routes.post("/workshops/{slug}/room/{seat}/restart", status_code=202, responses=some)
    async def restart_seat(slug: Slugged, seat: SeatNumber, caller: WorkshopCaller = caller_of) -> None:
        """Stop the session on a seat and start a new one. What is only in memory is lost; saved files stay."""
        await acts.ask(caller, slug, seat, "restart")

    @routes.post("/workshops/{slug}/room/{seat}/reset", status_code=202, responses=some)
    async def reset_seat(slug: Slugged, seat: SeatNumber, caller: WorkshopCaller = caller_of) -> None:
        """Restart a seat with the original material; the folder with the person's files is kept under a dated name."""
        await acts.ask(caller, slug, seat, "reset")

    return routes
