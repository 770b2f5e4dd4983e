"""Ids of sessions that were stopped before the link heard of them: they are never begun."""

from __future__ import annotations

from factorylink.models import SessionId

KEPT = 10_000  # ids; the oldest are forgotten first


class Withdrawn:
    """The hub asks for a session and for its end on two connections, and the end may arrive first. No restart needs to
    be outlived: what asked for the session is gone with the connection, and the hub asks for no session anew that it
    wants stopped."""

    def __init__(self) -> None:
        self._ids: dict[SessionId, None] = {}  # in order

    def add(self, session_id: SessionId) -> None:
        """Never begin this session."""
        self._ids[session_id] = None
        while len(self._ids) > KEPT:
            del self._ids[next(iter(self._ids))]

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._ids
