"""The API for the hub and the operator's command, on a Unix socket that only their account can open.

The query says for whom a request is: whoever can open the socket is the hub, which knows its people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import FastAPI, Query

from factorycommon.models import Group, Person
from workshops.api.people import people_router
from workshops.api.routes import Routes, router, workshops_app
from workshops.joining import hub_routes
from workshops.joining.service import Joining
from workshops.models.callers import MOST_GROUPS, WorkshopCaller
from workshops.service import Workshops


def hub_app(workshops: Workshops, joining: Joining, more: Sequence[Routes] = ()) -> FastAPI:
    """Return the app. ``more``: the operations of further parts of the service."""
    app = workshops_app("Workshops, for the hub")

    async def who(
        name: Annotated[Person, Query(alias="as")],
        operator: bool = False,
        group: Annotated[list[Group], Query(max_length=MOST_GROUPS)] = [],  # noqa: B006  (FastAPI copies it)
    ) -> WorkshopCaller:
        return WorkshopCaller(name, operator, frozenset(group))

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Answer that the service runs."""
        return {"status": "ok"}

    app.include_router(router(workshops, who))
    app.include_router(people_router(workshops, joining, who))
    for routes in more:
        app.include_router(routes(who))
    hub_routes.add(app, joining)
    return app
