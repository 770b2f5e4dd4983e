"""The operations for the room of a workshop: show its sessions, send messages into them, and stop a session."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from fastapi import APIRouter

from factorycommon.models import MessageBody, Person, SessionState, is_robot
from factorycommon.models.workshops.sessions import ClassMessageBody, ToldView, WorkshopSession, WorkshopSessions
from factorylink.api.http import EventStream, events, says, tells
from factorylink.api.workshop_scope import InProject, InSession, WorkshopScope
from factorylink.explain import explain
from factorylink.problems import ProblemError, of_words
from factorylink.sessions.service import Sessions
from factorylink.sessions.workshop_feed import WorkshopFeed
from factorylink.state.live_session import LiveSession

log = logging.getLogger("factorylink")

TELL_SECONDS = 4.0  # for a door to take a message; if a door takes longer, the service sends the message again


def router(scope: WorkshopScope, sessions: Sessions, feed: WorkshopFeed) -> APIRouter:
    """Return a router with the operations for the room of a workshop, in which trainers see the sessions."""
    routes = APIRouter()

    @routes.get("/events", response_class=EventStream, responses=says(429) | tells("snapshot", "sessions"))
    async def session_events() -> EventStream:
        """Stream the live sessions of all workshops: first all, then those that change or end.

        Sessions of robots and of Dask schedulers are left out. The workshops service needs one such stream, however
        many pages show sessions.
        """
        if feed.full:
            raise of_words("too-many", explain.own("too-many-streams"))
        return events(feed.stream())

    @routes.get("/projects/{project_id}/sessions", responses=says(404))
    async def list_sessions(project_id: InProject) -> WorkshopSessions:
        """Return the live sessions of a workshop, and for each person the last of their ended sessions.

        Left out are sessions of robots and of Dask schedulers, and live sessions that people see as ended: those that
        end because their class has moved to another factory, and those that failed before any caller was told that they
        exist.
        """
        project = scope.project(project_id)
        live = feed.live(project.id)
        ids = {one.id for one in live}
        last = [one for one in await sessions.last_ended(project.id) if not is_robot(one.user)]
        ended = [WorkshopSession.of(one) for one in last if one.id not in ids]
        return WorkshopSessions(sessions=(*live, *ended))

    @routes.post("/projects/{project_id}/messages", responses=says(403, 404))
    async def send_message(project_id: InProject, body: ClassMessageBody) -> ToldView:
        """Show a message to ``people`` in their sessions; return those people whose session has accepted the message.

        A caller may send the message again to the people who are not returned: a door that still keeps a message with
        this id ignores the repeated message.
        """
        project = scope.project(project_id)
        scope.people(project, body.people)
        wanted = set(body.people)
        message = MessageBody(id=body.id, text=body.text, texts=body.texts, kind=body.kind)
        there = [one for one in scope.sessions(project) if one.record.user in wanted and one.door_open]
        answers = await asyncio.gather(*(_tell(sessions, one, message) for one in there))
        taken: set[Person] = {one.record.user for one, took in zip(there, answers, strict=True) if took}
        return ToldView(people=tuple(sorted(taken)))

    @routes.post("/projects/{project_id}/sessions/{session_id}/stop", status_code=202, responses=says(404))
    async def stop_session(project_id: InProject, session_id: InSession) -> None:
        """Request the end of a live session of the workshop; return when the ledger holds the request.

        If the workshop has no live session with this id, the answer is 404. If the link does not know the id at all, a
        later request to begin a session with this id is refused.
        """
        project = scope.project(project_id)
        if not scope.lives(session_id):
            with contextlib.suppress(ProblemError):
                await sessions.stop(session_id, "trainer")
        scope.session(project, session_id)
        await sessions.stop(session_id, "trainer")

    return routes


async def _tell(sessions: Sessions, live_session: LiveSession, message: MessageBody) -> bool:
    """Send a message to a session's door; return whether the door has accepted the message in time."""
    if live_session.record.state not in (SessionState.STARTING, SessionState.RUNNING):
        return False
    try:
        async with asyncio.timeout(TELL_SECONDS):
            await sessions.tell(live_session.record.id, message)
    except (ProblemError, TimeoutError) as error:
        log.info("Session %s has not taken a message: %s", live_session.record.id, error)
        return False
    return True
