"""The operations of the API on a workshop's people, except those on roles: bans, and lists of people as CSV."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse

from factorycommon.service.http import says
from factorycommon.service.problems import invalid
from workshops.api.routes import Named, Slugged
from workshops.joining import people_list
from workshops.joining.service import Joining
from workshops.models.callers import WorkshopCaller
from workshops.models.views import ListedView
from workshops.service import Workshops

_CSV = "text/csv"
_SHOWN_FAULTS = 10  # mistakes of a list that an answer names


class CsvList(PlainTextResponse):
    """A response with a list of people, as CSV."""

    media_type = _CSV


def people_router(workshops: Workshops, joining: Joining, who: Callable[..., Any]) -> APIRouter:
    """Return a router with the operations on the bans and lists of a workshop's people.

    ``who``: a dependency that returns a request's WorkshopCaller.
    """
    routes = APIRouter()
    caller_of, some = Depends(who), says(401, 403, 404, 409)
    body = {"requestBody": {"content": {_CSV: {"schema": {"type": "string"}}}, "required": True}}

    @routes.get("/workshops/{slug}/list", response_class=CsvList, responses=some)
    async def get_list(slug: Slugged, caller: WorkshopCaller = caller_of) -> CsvList:
        """Return a CSV list of a workshop's people, and of the people who are invited and have not joined.

        People who wait for a seat, have left, or are banned are in the list, too.
        """
        await workshops.may(caller, slug, "people")
        text = await joining.listed(slug)
        disposition = f'attachment; filename="{slug}.csv"'
        return CsvList(text, headers={"Content-Disposition": disposition, "Cache-Control": "no-store"})

    @routes.put("/workshops/{slug}/list", responses=some | says(413), openapi_extra=body)
    async def put_list(slug: Slugged, request: Request, caller: WorkshopCaller = caller_of) -> ListedView:
        """Replace the list of invited people by the people in a CSV file; return their number.

        The file has the column mail, and perhaps name and role.
        """
        await workshops.may(caller, slug, "people")
        try:
            people = people_list.read(await request.body())
        except people_list.ListFaults as found:
            said = [f"Line {one.line}: {one.text}" for one in found.faults[:_SHOWN_FAULTS]]
            raise invalid(" ".join(said), "list") from found
        await joining.invite(slug, people, caller.person)
        return ListedView(people=len(people))

    @routes.post("/workshops/{slug}/members/{person}/ban", status_code=204, responses=some)
    async def ban(slug: Slugged, person: Named, caller: WorkshopCaller = caller_of) -> None:
        """Ban a person from a workshop, so that they cannot join it again.

        What the person runs for the workshop ends after a time that the operator sets
        (``limits.access_grace_seconds``, by default an hour).
        """
        await workshops.may(caller, slug, "people")
        await joining.put_out(slug, person, "banned", caller.person)

    @routes.delete("/workshops/{slug}/members/{person}/ban", status_code=204, responses=some)
    async def readmit(slug: Slugged, person: Named, caller: WorkshopCaller = caller_of) -> None:
        """End the ban of a person; the person may join again with a code."""
        await workshops.may(caller, slug, "people")
        await joining.readmit(slug, person, caller.person)

    return routes
