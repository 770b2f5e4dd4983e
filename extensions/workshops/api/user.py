"""Makes the API for people and their programs: the JupyterHub service ``workshops``, with bearer tokens only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import FastAPI, Request, Security
from fastapi.security import HTTPBearer

from workshops.api.callers import TokenCallers
from workshops.api.checks import checks_router
from workshops.api.people import people_router
from workshops.api.routes import Routes, router, workshops_app
from workshops.joining.service import Joining
from workshops.models.callers import WorkshopCaller
from workshops.service import Workshops

_BEARER = HTTPBearer(auto_error=False, description="A hub token with the scope access:services!service=workshops.")


def user_app(
    workshops: Workshops, joining: Joining, callers: TokenCallers, base_url: str, more: Sequence[Routes] = ()
) -> FastAPI:
    """Return the app with the workshops' API for people and their programs, which send hub tokens.

    ``callers`` finds the owner of a token; ``base_url``: the hub's base path, usually ``/``; ``more``: functions that
    make further routers.
    """
    app = workshops_app("API of the workshops")
    prefix = f"{base_url}services/workshops"

    async def who(request: Request, _described: Annotated[object, Security(_BEARER)]) -> WorkshopCaller:
        return await callers.of(request.headers)

    @app.get(f"{prefix}/health")
    async def health() -> dict[str, str]:
        """Answer that the service runs. Needs no token."""
        return {"status": "ok"}

    app.include_router(router(workshops, who), prefix=f"{prefix}/api")
    app.include_router(people_router(workshops, joining, who), prefix=f"{prefix}/api")
    for routes in more:
        app.include_router(routes(who), prefix=f"{prefix}/api")
    app.include_router(checks_router(workshops, who), prefix=f"{prefix}/api")
    return app
