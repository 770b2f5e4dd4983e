"""The operations for joining a workshop, in the service's app for the hub; the hub's pages call them."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Path

from factorycommon.models import Person
from factorycommon.models.joining import (
    GuestName,
    GuestView,
    JoinBody,
    JoinCodeBody,
    JoinedView,
    LeaveBody,
    MembershipsView,
    ProofBody,
    ReturnBody,
    ReturnedBody,
    TicketBody,
    TicketOnly,
    TicketView,
)
from factorycommon.service.http import says
from workshops.joining.service import Joining


def add(app: FastAPI, joining: Joining) -> None:
    """Add the operations for joining a workshop to ``app``, the workshops service's app for the hub."""

    @app.post("/joining/code", responses=says(403, 409, 429))
    async def check_code(body: JoinCodeBody) -> TicketView:
        return await joining.check_code(body)

    @app.post("/joining/ticket", responses=says(404))
    async def ticket(body: TicketBody) -> TicketView:
        return await joining.ticket(body)

    @app.post("/joining/mail", status_code=204, responses=says(403, 404, 409, 429))
    async def send_digits(body: ProofBody) -> None:
        await joining.send_digits(body)

    @app.post("/joining/join", responses=says(403, 404, 409))
    async def join(body: JoinBody) -> JoinedView:
        return await joining.join(body)

    @app.post("/joining/leave", status_code=204, responses=says(404))
    async def leave(body: LeaveBody) -> None:
        await joining.leave(body)

    @app.post("/joining/return", responses=says(409, 429))
    async def begin_return(body: ReturnBody) -> TicketOnly:
        return await joining.begin_return(body)

    @app.post("/joining/returned", responses=says(403))
    async def finish_return(body: ReturnedBody) -> GuestView:
        return await joining.finish_return(body)

    @app.get("/joining/guests/{name}", responses=says(404))
    async def guest(name: GuestName) -> GuestView:
        return await joining.guest(name)

    @app.get("/joining/people/{person}")
    async def memberships(person: Annotated[Person, Path()]) -> MembershipsView:
        return await joining.memberships(person)
