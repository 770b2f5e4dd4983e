"""The API for the hub and the operator's command: on a Unix socket (0600), and over TLS for a hub on another host.

The query of a request names the person who makes the request, the person's groups, and whether the person is an
operator. The API trusts all of this: only the hub, which knows its people, and the operator's command can connect.
Requests for joining name the person in their body or path, or name nobody, and requests for public data name nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import FastAPI, Query

from factorycommon.models import Group, Person
from workshops.api.checks import checks_router
from workshops.api.people import people_router
from workshops.api.routes import Routes, router, workshops_app
from workshops.joining import hub_routes
from workshops.joining.service import Joining
from workshops.models.callers import MOST_GROUPS, WorkshopCaller
from workshops.service import Workshops


def hub_app(workshops: Workshops, joining: Joining, more: Sequence[Routes] = ()) -> FastAPI:
    """Return the service's API for the hub and the operator's command, as an app.

    ``more``: functions that each make one more router for the app, from the dependency that finds a request's caller.
    """
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
    app.include_router(checks_router(workshops, who))
    hub_routes.add(app, joining)
    return app
