"""The operations for help in workshops: the workshops service fetches sessions' requests, and answers them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from factorycommon.models.workshops.help import AskId, HelpAnswer, HelpAsks
from factorylink.api.http import says
from factorylink.api.workshop_scope import InProject, WorkshopScope
from factorylink.sessions.help_relay import HelpRelay

InAsk = Annotated[AskId, Path()]


def router(scope: WorkshopScope, relay: HelpRelay) -> APIRouter:
    """Return a router by which the workshops service takes sessions' requests for help, and answers them.

    ``scope``: refuses projects that are not those of workshops; ``relay``: holds the waiting requests.
    """
    routes = APIRouter()

    @routes.get("/help")
    async def take_asks(request: Request) -> HelpAsks:
        """Return the requests about help that sessions have sent; if there are none, wait some seconds for one."""
        return await relay.take(request.is_disconnected)

    @routes.post("/projects/{project_id}/help/{ask_id}", status_code=204, responses=says(404))
    async def answer_ask(project_id: InProject, ask_id: InAsk, body: HelpAnswer) -> None:
        """Send the answer to a request about help back to the session that made the request."""
        relay.answer(scope.project(project_id).id, ask_id, body)

    return routes
