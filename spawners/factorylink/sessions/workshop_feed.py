"""Sends the workshops service the changes of the sessions of all workshops, as server-sent events.

The service reads one stream for the rooms (the trainers' pages) of all workshops. Changes are collected for half a
second, so a class of sixty seats costs at most two events a second, however much changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from factorycommon.models import ProjectId, Session, SessionId, is_robot
from factorycommon.models.workshops import PREFIX
from factorycommon.models.workshops.sessions import MOST_SESSIONS, WorkshopSession, WorkshopSessions
from factorylink.sessions.session_views import SessionViews
from factorylink.state.live_session import LiveSession, from_record
from factorylink.state.session_table import SessionTable
from factorylink.util.event_feed import encode

BATCH_SECONDS = 0.5  # between two events of a stream
HEARTBEAT_SECONDS = 15.0
MOST_READERS = 8  # the service has one
_MOST_WAITING = 5000


class _Subscriber:
    """Holds what one stream has not sent yet: the ids of changed live sessions, and the sessions that have ended."""

    def __init__(self) -> None:
        self.waiting: dict[SessionId, Session | None] = {}
        self.changed = asyncio.Event()
        self.overrun = False


class WorkshopFeed:
    """Sends the changes of workshops' sessions to all open streams; each begins with a snapshot of the sessions."""

    def __init__(self, sessions: SessionTable, views: SessionViews) -> None:
        self._sessions = sessions
        self._views = views
        self._subscribers: set[_Subscriber] = set()
        self._closed = False
        sessions.on_change.append(self._session_changed)

    @property
    def full(self) -> bool:
        """Return whether ``MOST_READERS`` streams are open, so that no other may be opened."""
        return len(self._subscribers) >= MOST_READERS

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        for one in self._subscribers:
            one.changed.set()

    def live(self, project_id: ProjectId | None = None) -> list[WorkshopSession]:
        """Return the live sessions of all workshops, or of one workshop's project, the oldest first.

        At most ``MOST_SESSIONS`` are returned. Left out are sessions of robots, sessions that end because their class
        has moved to another factory, withdrawn sessions (``LiveSession.withdrawn``), and those of Dask schedulers.
        """
        found = [one for one in self._sessions.values() if _shows(one, project_id) and not one.moved]
        found.sort(key=lambda one: (one.record.created, one.record.id))
        return [WorkshopSession.of(self._views.of(one)) for one in found[:MOST_SESSIONS]]

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield server-sent events: ``snapshot`` with the sessions that ``live`` returns, then ``sessions``.

        An event ``sessions`` has the sessions that have changed or ended since the last event. If there are too many
        changes for the reader, a new ``snapshot`` is sent instead. After the first event, there is at most one event in
        ``BATCH_SECONDS``. After ``HEARTBEAT_SECONDS`` without a change, a comment is sent. ``close`` ends the stream.
        """
        mine = _Subscriber()
        self._subscribers.add(mine)
        sent: dict[SessionId, WorkshopSession] = {}
        try:
            yield self._snapshot(sent)
            while not self._closed:
                try:
                    await asyncio.wait_for(mine.changed.wait(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if mine.overrun:
                    mine.overrun = False
                    mine.waiting.clear()
                    mine.changed.clear()
                    yield self._snapshot(sent)
                elif changed := self._take(mine, sent):
                    yield _event("sessions", changed)
                else:
                    continue
                await asyncio.sleep(BATCH_SECONDS)
        finally:
            self._subscribers.discard(mine)

    def _snapshot(self, sent: dict[SessionId, WorkshopSession]) -> bytes:
        found = self.live()
        sent.clear()
        sent.update((one.id, one) for one in found)
        return _event("snapshot", found)

    def _take(self, mine: _Subscriber, sent: dict[SessionId, WorkshopSession]) -> list[WorkshopSession]:
        """Return the changes that ``mine`` holds, and remove them there.

        They are the changed live sessions whose view differs from the one in ``sent``, and the sessions that have
        ended. ``sent`` is updated.
        """
        waiting, mine.waiting = mine.waiting, {}
        mine.changed.clear()
        changed: list[WorkshopSession] = []
        for session_id, ended in waiting.items():
            if ended is not None:
                sent.pop(session_id, None)
                changed.append(WorkshopSession.of(ended))
                continue
            live_session = self._sessions.get(session_id)
            if live_session is None or not _shows(live_session):
                continue
            view = WorkshopSession.of(self._views.of(live_session))
            if sent.get(session_id) != view:
                sent[session_id] = view
                changed.append(view)
        return changed

    def _session_changed(self, live_session: LiveSession) -> None:
        if not self._subscribers or not _shows(live_session):
            return
        record = live_session.record
        ended = None if record.ended is None else from_record(record)
        for one in self._subscribers:
            one.waiting[record.id] = ended
            one.overrun = one.overrun or len(one.waiting) > _MOST_WAITING
            one.changed.set()


def _shows(live_session: LiveSession, project_id: ProjectId | None = None) -> bool:
    """Return whether a session runs a person's notebook for a workshop.

    ``project_id``: the project of the workshop, None: any workshop. Sessions of robots, withdrawn sessions and those of
    Dask schedulers do not count.
    """
    record, project = live_session.record, live_session.record.choice.project
    if project is None or not project.startswith(PREFIX) or record.head or live_session.withdrawn:
        return False
    if is_robot(record.user):  # the room shows people; a rehearsal asks for its seats itself
        return False
    return project_id in (None, project)


def _event(name: str, sessions: list[WorkshopSession]) -> bytes:
    return encode((name, WorkshopSessions(sessions=tuple(sessions)).model_dump_json()))
