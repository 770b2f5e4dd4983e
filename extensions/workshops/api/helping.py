"""The operations of the API on help: a person's own hand, and the hands and notebooks that helpers see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends

from factorycommon.models.workshops.help import HandBody, HelpState
from factorycommon.service.http import says
from workshops.api.room import SeatNumber
from workshops.api.routes import Slugged
from workshops.helping.service import Helping
from workshops.models.callers import WorkshopCaller
from workshops.models.helping import HandContent, LookView


def help_router(helping: Helping, who: Callable[..., Any]) -> APIRouter:
    """Return a router with the operations on raised hands, and on the notebooks that people let helpers see.

    ``who``: a dependency that returns a request's WorkshopCaller.
    """
    routes = APIRouter()
    caller_of, some = Depends(who), says(401, 403, 404, 409)

    @routes.get("/workshops/{slug}/hand", responses=says(401, 403, 404))
    async def own_help(slug: Slugged, caller: WorkshopCaller = caller_of) -> HelpState:
        """Return whether your hand is up, and which notebook of yours helpers may see."""
        return await helping.state(caller.person, slug)

    @routes.put("/workshops/{slug}/hand", responses=some | says(429))
    async def raise_hand(slug: Slugged, body: HandBody, caller: WorkshopCaller = caller_of) -> HelpState:
        """Raise your hand. A hand that is up already keeps its place in the queue; ``body`` replaces what you sent."""
        return await helping.raise_hand(caller.person, slug, body)

    @routes.delete("/workshops/{slug}/hand", responses=says(401, 403, 404))
    async def lower_hand(slug: Slugged, caller: WorkshopCaller = caller_of) -> HelpState:
        """Lower your hand; what you sent with it is deleted."""
        return await helping.lower(caller.person, slug)

    @routes.delete("/workshops/{slug}/look", responses=says(401, 403, 404))
    async def end_look(slug: Slugged, caller: WorkshopCaller = caller_of) -> HelpState:
        """Let nobody see your notebook any more; its copy is deleted."""
        return await helping.end_look(caller.person, slug)

    @routes.get("/workshops/{slug}/room/{seat}/hand", responses=some)
    async def hand_content(slug: Slugged, seat: SeatNumber, caller: WorkshopCaller = caller_of) -> HandContent:
        """Return what the person on a seat sent with the raised hand."""
        return await helping.content(caller, slug, seat)

    @routes.post("/workshops/{slug}/room/{seat}/hand/come", status_code=204, responses=some)
    async def come(slug: Slugged, seat: SeatNumber, caller: WorkshopCaller = caller_of) -> None:
        """Tell the person on a seat, whose hand is up, that you come."""
        await helping.come(caller, slug, seat)

    @routes.post("/workshops/{slug}/room/{seat}/hand/done", status_code=204, responses=some)
    async def done(slug: Slugged, seat: SeatNumber, caller: WorkshopCaller = caller_of) -> None:
        """Lower the hand of the person on a seat, who has got help."""
        await helping.done(caller, slug, seat)

    @routes.post("/workshops/{slug}/room/{seat}/hand/ask-look", status_code=204, responses=some)
    async def ask_look(slug: Slugged, seat: SeatNumber, caller: WorkshopCaller = caller_of) -> None:
        """Ask the person on a seat, whose hand is up, to let helpers see a notebook."""
        await helping.ask_look(caller, slug, seat)

    @routes.get("/workshops/{slug}/room/{seat}/look", responses=some)
    async def look(slug: Slugged, seat: SeatNumber, caller: WorkshopCaller = caller_of) -> LookView:
        """Return the last saved state of the notebook that the person on a seat lets helpers see."""
        return await helping.look(caller, slug, seat)

    return routes
