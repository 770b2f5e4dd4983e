"""The link's API for people's scripts and notebooks: the JupyterHub service ``factories``. Bearer tokens only."""

from __future__ import annotations

from fastapi import Depends, FastAPI, Request
from fastapi.responses import StreamingResponse

from factorylink.api_hub import Limit, follow_session
from factorylink.errors import LinkError
from factorylink.hub import Caller, HubClient
from factorylink.models import Estimate, ExtendBody, FactoryView, Problem, Session, SessionId, Slug
from factorylink.offers import Offers
from factorylink.problems import ProblemError, forbidden, from_link_error, gone
from factorylink.sessions import Sessions
from factorylink.web import events, new_app


class NoTokenError(ProblemError):
    """There is no token, or nobody's: 401."""

    status = 401


def user_app(sessions: Sessions, offers: Offers, hub: HubClient, base_url: str) -> FastAPI:
    """``base_url``: the hub's, ``/`` mostly. Everyone sees only what is their own."""
    app = new_app("factorygate link, for people")
    prefix = f"{base_url}services/factories"

    async def who(request: Request) -> str:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() not in ("bearer", "token") or not token.strip():
            raise _no_token("Send a hub token of yours: Authorization: Bearer TOKEN.")
        try:
            caller: Caller | None = await hub.user_of(token.strip())
        except LinkError as error:
            raise from_link_error(error) from error
        if caller is None:
            raise _no_token("The hub does not know this token, or it has expired.")
        if not caller.allowed:
            raise forbidden(
                "This token may not use the factories: it lacks the scope access:services!service=factories."
            )
        return caller.name

    user = Depends(who)

    @app.get(f"{prefix}/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(f"{prefix}/api/factories")
    async def factories(name: str = user) -> list[FactoryView]:
        return offers.views(name)

    @app.get(f"{prefix}/api/factories/events")
    async def factories_events(name: str = user) -> StreamingResponse:
        return events(offers.stream(name))

    @app.get(f"{prefix}/api/factories/{{factory_id}}/estimate")
    async def estimate(factory_id: Slug, size: Slug, hours: float | None = None, name: str = user) -> Estimate:
        return await offers.estimate(factory_id, name, size, hours)

    @app.get(f"{prefix}/api/sessions")
    async def list_sessions(live: bool = False, limit: Limit = 100, name: str = user) -> list[Session]:
        return await sessions.sessions(name, None, live, limit)

    @app.get(f"{prefix}/api/sessions/{{session_id}}")
    async def get_session(session_id: SessionId, name: str = user) -> Session:
        return await own(session_id, name)

    @app.get(f"{prefix}/api/sessions/{{session_id}}/events")
    async def session_events(session_id: SessionId, name: str = user) -> StreamingResponse:
        await own(session_id, name)
        return await follow_session(sessions, session_id)

    @app.post(f"{prefix}/api/sessions/{{session_id}}/extend")
    async def extend_session(session_id: SessionId, body: ExtendBody, name: str = user) -> Session:
        await own(session_id, name)
        return await sessions.extender.extend(session_id, body.hours, "person")

    async def own(session_id: SessionId, name: str) -> Session:
        session = await sessions.session(session_id)
        if session.user != name:
            raise gone(f"The session {session_id}")  # whether another's exists is nobody's business
        return session

    return app


def _no_token(message: str) -> NoTokenError:
    return NoTokenError(Problem(kind="forbidden", message=message))
