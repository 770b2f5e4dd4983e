"""Stores the ids of sessions that were stopped before the link was asked to start them; they are never started."""

from __future__ import annotations

from factorycommon.models import SessionId

KEPT = 10_000  # number of ids that are kept; the oldest are forgotten first


class StoppedBeforeBegun:
    """Holds the ids of sessions for which a stop was requested before the link knew the session.

    The hub sends the stop and the PUT that starts the session on two connections, so the stop may arrive first. The ids
    are kept in memory only: a restart of the link ends the connection of the PUT, and the hub does not repeat the PUT
    of a session that is to stop.
    """

    def __init__(self) -> None:
        self._ids: dict[SessionId, None] = {}  # a dict, since it keeps the order

    def add(self, session_id: SessionId) -> None:
        """Record that this session must never be started. Only the last ``KEPT`` ids are kept."""
        self._ids[session_id] = None
        while len(self._ids) > KEPT:
            del self._ids[next(iter(self._ids))]

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._ids
