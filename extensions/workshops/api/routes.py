"""The operations on workshops and their people, for both apps of the service: ``hub_app`` and ``user_app``.

Each app finds the caller of a request in its own way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path, Request, Response

from factorycommon.models import Person
from factorycommon.models.workshops import WorkshopSlug
from factorycommon.service.http import Bounded, answer, new_app, says
from factorycommon.service.problems import unreachable
from workshops.models.bodies import CodeBody, DeclineBody, MemberBody, WorkshopBody, WorkshopChange
from workshops.models.callers import WorkshopCaller
from workshops.models.views import (
    AccessView,
    CreatedView,
    EventView,
    MemberView,
    PoolView,
    WorkshopView,
)
from workshops.service import Workshops
from workshops.store.store import StoreError

log = logging.getLogger("workshops")

MOST_BYTES = 256 * 1024  # of a request's body
Slugged = Annotated[WorkshopSlug, Path()]
Named = Annotated[Person, Path()]
Routes = Callable[[Callable[..., Any]], APIRouter]  # makes operations from the dependency that finds the caller


def workshops_app(title: str) -> FastAPI:
    """Return an app that has no operations yet, and answers every error, also one of the database, with a Problem."""
    app = new_app(title, log)
    app.add_middleware(Bounded, most=MOST_BYTES)

    @app.exception_handler(StoreError)
    async def say_store(_request: Request, error: StoreError) -> Response:
        log.error("%s", error)
        return answer(unreachable("The database of workshops does not answer just now."))

    return app


def router(workshops: Workshops, who: Callable[..., Any]) -> APIRouter:
    """Return a router with this module's operations. ``who``: a dependency that returns a request's WorkshopCaller."""
    routes = APIRouter()
    caller_of, denied = Depends(who), says(401, 403)
    one, some = denied | says(404), denied | says(404, 409)

    @routes.get("/access", responses=denied)
    async def access(caller: WorkshopCaller = caller_of) -> AccessView:
        """Return your rights (operator, creation of workshops), and whether workshops need an approval."""
        return workshops.access(caller)

    @routes.get("/pools", responses=one)
    async def pools(workshop: WorkshopSlug | None = None, caller: WorkshopCaller = caller_of) -> list[PoolView]:
        """List the pools that you may choose for a workshop.

        A pool is what an operator lets workshops use at one factory. ``workshop``: a workshop that you may change.
        Without ``workshop``, the list is for a new workshop.
        """
        return await workshops.pools(caller, workshop)

    @routes.get("/workshops", responses=denied)
    async def list_workshops(caller: WorkshopCaller = caller_of) -> list[WorkshopView]:
        """List the workshops in which you have a role or a seat, or wait for a seat; an operator gets all."""
        return await workshops.all(caller)

    @routes.post("/workshops", status_code=201, responses=denied | says(409))
    async def create(body: WorkshopBody, response: Response, caller: WorkshopCaller = caller_of) -> CreatedView:
        """Create a workshop that you lead. The join code is shown in this answer only."""
        return _secret(response, await workshops.create(caller, body))

    @routes.get("/workshops/{slug}", responses=one)
    async def get_workshop(slug: Slugged, caller: WorkshopCaller = caller_of) -> WorkshopView:
        """Return a workshop that you may see."""
        return await workshops.one(caller, slug)

    @routes.patch("/workshops/{slug}", responses=some)
    async def change(slug: Slugged, body: WorkshopChange, caller: WorkshopCaller = caller_of) -> WorkshopView:
        """Change a workshop. The answer is 409 if somebody changed the workshop after the version that you name."""
        return await workshops.change(caller, slug, body)

    @routes.post("/workshops/{slug}/submit", responses=some)
    async def submit(slug: Slugged, caller: WorkshopCaller = caller_of) -> WorkshopView:
        """Ask an operator to approve a workshop; if the gateway needs no approval, the workshop is approved at once."""
        return await workshops.submit(caller, slug)

    @routes.post("/workshops/{slug}/approve", responses=some)
    async def approve(slug: Slugged, caller: WorkshopCaller = caller_of) -> WorkshopView:
        """Approve a workshop, as an operator."""
        return await workshops.approve(caller, slug)

    @routes.post("/workshops/{slug}/decline", responses=some)
    async def decline(slug: Slugged, body: DeclineBody, caller: WorkshopCaller = caller_of) -> WorkshopView:
        """Refuse the approval of a workshop, as an operator, and say why; the workshop stays a draft."""
        return await workshops.decline(caller, slug, body.reason)

    @routes.post("/workshops/{slug}/withdraw", responses=some)
    async def withdraw(slug: Slugged, caller: WorkshopCaller = caller_of) -> WorkshopView:
        """Turn an approved or scheduled workshop back into a draft."""
        return await workshops.take(caller, slug, "withdraw")

    @routes.post("/workshops/{slug}/cancel", responses=some)
    async def cancel(slug: Slugged, caller: WorkshopCaller = caller_of) -> WorkshopView:
        """Cancel a workshop; this is possible until its seats begin to start."""
        return await workshops.take(caller, slug, "cancel")

    @routes.post("/workshops/{slug}/warm", responses=some)
    async def warm(slug: Slugged, caller: WorkshopCaller = caller_of) -> WorkshopView:
        """Let the seats start from now on, before the workshop opens."""
        return await workshops.take(caller, slug, "warm")

    @routes.post("/workshops/{slug}/close", responses=some)
    async def close(slug: Slugged, caller: WorkshopCaller = caller_of) -> WorkshopView:
        """Close a workshop before its time; its sessions end some minutes later."""
        return await workshops.take(caller, slug, "close")

    @routes.post("/workshops/{slug}/code", responses=some)
    async def new_code(
        slug: Slugged, body: CodeBody, response: Response, caller: WorkshopCaller = caller_of
    ) -> CreatedView:
        """Make a new code for joining, which replaces all earlier ones. The code is shown in this answer only."""
        return _secret(response, await workshops.new_code(caller, slug, body))

    @routes.get("/workshops/{slug}/members", responses=one)
    async def members(slug: Slugged, caller: WorkshopCaller = caller_of) -> list[MemberView]:
        """List the people of a workshop, also those who wait for a seat, have left, or are banned."""
        return await workshops.members(caller, slug)

    @routes.put("/workshops/{slug}/members/{person}", responses=some)
    async def put_member(
        slug: Slugged, person: Named, body: MemberBody, caller: WorkshopCaller = caller_of
    ) -> MemberView:
        """Give a person a role in a workshop; a person who is not in it, or is banned, becomes a member."""
        return await workshops.put_member(caller, slug, person, body.role)

    @routes.delete("/workshops/{slug}/members/{person}", status_code=204, responses=some)
    async def drop_member(slug: Slugged, person: Named, caller: WorkshopCaller = caller_of) -> None:
        """Remove a person from a workshop; the person may join again with a code."""
        await workshops.drop_member(caller, slug, person)

    @routes.get("/workshops/{slug}/events", responses=one)
    async def events(slug: Slugged, caller: WorkshopCaller = caller_of) -> list[EventView]:
        """Return the last lines of a workshop's log, the newest first."""
        return await workshops.events(caller, slug)

    return routes


def _secret(response: Response, created: CreatedView) -> CreatedView:
    response.headers["Cache-Control"] = "no-store"  # the response contains a code
    return created
