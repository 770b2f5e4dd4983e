"""The operations of the API on the room of a workshop: its seats, live, and messages to the class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from factorycommon.models.workshops import MOST_SEATS
from factorycommon.service.http import EventStream, says, tells
from workshops.api.routes import Slugged
from workshops.models.callers import WorkshopCaller
from workshops.models.room import BroadcastBody, BroadcastView, RoomView
from workshops.room.service import Room

SeatNumber = Annotated[int, Path(ge=1, le=MOST_SEATS)]


def room_router(room: Room, who: Callable[..., Any]) -> APIRouter:
    """Return a router with the operations that show a workshop's seats, stop one, and send a message to the class.

    ``who``: a dependency that returns a request's WorkshopCaller.
    """
    routes = APIRouter()
    caller_of, some = Depends(who), says(401, 403, 404, 409)

    @routes.get("/workshops/{slug}/room", responses=says(401, 403, 404))
    async def get_room(slug: Slugged, caller: WorkshopCaller = caller_of) -> RoomView:
        """Return every seat of a workshop with the state of its session."""
        return await room.view(caller, slug)

    @routes.get(
        "/workshops/{slug}/room/events",
        response_class=EventStream,
        responses=says(401, 403, 404) | tells("room", "change"),
    )
    async def room_events(slug: Slugged, caller: WorkshopCaller = caller_of) -> EventStream:
        """Stream the room: first the whole room, then its changes, with at most two events a second."""
        return room.streams.events(caller.person, await room.stream(caller, slug))

    @routes.post("/workshops/{slug}/broadcast", responses=some | says(429))
    async def broadcast(slug: Slugged, body: BroadcastBody, caller: WorkshopCaller = caller_of) -> BroadcastView:
        """Show a message in the JupyterLab of everybody who has a seat or runs the workshop, except observers.

        A person whose session starts later gets the message then, if it is one of the class's last ten messages and at
        most 12 hours old.
        """
        return await room.broadcast(caller, slug, body)

    @routes.post("/workshops/{slug}/room/{seat}/stop", status_code=202, responses=some)
    async def stop_seat(slug: Slugged, seat: SeatNumber, caller: WorkshopCaller = caller_of) -> None:
        """Request the end of the sessions that the person on a seat has for the workshop.

        The person may start another session.
        """
        await room.stop(caller, slug, seat)

    return routes
