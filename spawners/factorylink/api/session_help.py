"""The user API's operations for help in a workshop. A session's own token is needed, and acts for its person only."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from factorycommon.messages import Message
from factorycommon.models.workshops.help import HandBody, HelpState, LookBody, NotebookSnapshot
from factorylink.api.auth import Caller
from factorylink.api.http import says
from factorylink.problems import forbidden
from factorylink.sessions.help_relay import HelpRelay
from factorylink.state.live_session import LiveSession

_NO_SESSION = Message("help-no-session", "Only a session of a workshop can ask for help; use its own token.")


def router(relay: HelpRelay, asking: Any) -> APIRouter:
    """Return a router with the operations by which a person in a session raises a hand, and shows helpers a notebook.

    ``asking``: the dependency that returns the Caller of a request, or raises.
    """
    routes = APIRouter()
    some = says(401, 403, 409, 429, 503)

    async def admitted(caller: Caller = asking) -> LiveSession:
        """Return the session whose token was used, and count the request, before the request's body is validated.

        Raises ProblemError if the token is a person's own, or if the session has made too many requests in the last
        minute.
        """
        session = _own(caller)
        relay.admit(session.record.id)
        return session

    mine = Depends(admitted)

    @routes.get("/help", responses=some)
    async def help_state(session: LiveSession = mine) -> HelpState:
        """Return whether your hand is up in the workshop of this session, and whether helpers may see your notebook."""
        return await relay.ask(session, "state")

    @routes.put("/help/hand", responses=some)
    async def raise_hand(body: HandBody, session: LiveSession = mine) -> HelpState:
        """Raise your hand.

        A hand that is up keeps its place in the queue, and what you send now replaces what you sent before.
        """
        return await relay.ask(session, "raise", hand=body)

    @routes.delete("/help/hand", responses=some)
    async def lower_hand(session: LiveSession = mine) -> HelpState:
        """Lower your hand; what you sent with it is deleted."""
        return await relay.ask(session, "lower")

    @routes.put("/help/look", responses=some)
    async def allow_look(body: LookBody, session: LiveSession = mine) -> HelpState:
        """Let the helpers of your workshop see the last saved state of a notebook for `minutes` minutes."""
        return await relay.ask(session, "look", look=body)

    @routes.post("/help/snapshot", responses=some)
    async def send_snapshot(body: NotebookSnapshot, session: LiveSession = mine) -> HelpState:
        """Send the notebook's new saved state; it is kept only while you let helpers see it."""
        return await relay.ask(session, "snapshot", snapshot=body)

    @routes.delete("/help/look", responses=some)
    async def end_look(session: LiveSession = mine) -> HelpState:
        """Let helpers see your notebook no longer; the gateway deletes the copy that it kept for them."""
        return await relay.ask(session, "unlook")

    return routes


def _own(caller: Caller) -> LiveSession:
    if caller.session is None:
        raise forbidden(_NO_SESSION)
    return caller.session
