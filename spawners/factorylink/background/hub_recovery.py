"""Starts servers again that the hub has forgotten while their sessions still run.

The servers are started through the hub's API; the spawner then adopts the sessions. This module never stops a server.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import UTC, datetime

from factorycommon.models import SessionState
from factorylink.errors import FactoryError, Gone, Refused
from factorylink.hub_client import HubClient
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable

log = logging.getLogger("factorylink")

_ROUND_SECONDS = 45.0
_SETTLE_SECONDS = 1.5  # seconds from the hub's subscription to the first check, since the hub polls its servers first
_AGAIN_SECONDS = 2.0  # seconds until the next try while the hub does not answer
_SOON_SECONDS = 3.0  # seconds until the next check while a decision is postponed
_REFUSALS = 10  # refusals in a row; after these, the next try is at the next regular check
_YOUNG_SECONDS = 10.0  # seconds; a younger server may not be in the hub's database yet
_UNDECIDED = ("check", "stop")  # pending actions of the hub after which it may forget the server
_BETWEEN_SECONDS = 0.1  # seconds between two starts, to limit the hub's load


class HubRecovery:
    """Restores forgotten servers.

    ``run`` it in the background; call ``hub_came`` when the hub subscribes to the table.
    """

    def __init__(self, table: SessionTable, hub: HubClient) -> None:
        self._table = table
        self._hub = hub
        self._came = asyncio.Event()
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._without_owner: set[tuple[str, str]] = set()  # servers for which a missing hub user was already logged

    def hub_came(self) -> None:
        """Check for forgotten servers soon; called when the hub subscribes to the table, perhaps after a restart."""
        self._came.set()

    async def run(self) -> None:
        """Check for forgotten servers when the hub subscribes, and every 45 s in case a subscription was missed.

        If a decision was postponed, check again soon.
        """
        pause = _AGAIN_SECONDS
        while True:
            try:
                await asyncio.wait_for(self._came.wait(), pause)
                await asyncio.sleep(_SETTLE_SECONDS)
            except TimeoutError:
                log.debug("Looking for forgotten servers though the hub did not come anew")
            self._came.clear()
            pause = _ROUND_SECONDS
            try:
                if await self.look():
                    pause = _SOON_SECONDS
            except FactoryError as error:
                log.info("The hub cannot be asked for its servers: %s", error.message)
                pause = _AGAIN_SECONDS
            except OSError as error:
                log.warning("The hub's token file cannot be read: %s", error)

    async def look(self) -> bool:
        """Start servers again that the hub has forgotten.

        Return whether a decision was postponed and can be made soon. Raises Unreachable if the hub does not answer.
        """
        wanted = [live_session for live_session in self._table.values() if _wanted(live_session)]
        if not wanted:
            return False
        known = await self._hub.servers()
        put_off = False
        for live_session in wanted:
            owner = (live_session.record.user, live_session.record.server)
            if not _wanted(live_session) or live_session.record.id not in self._table:
                continue
            if owner in known:
                put_off |= known[owner] in _UNDECIDED
            elif _young(live_session):
                put_off = True
            else:
                put_off |= await self._start(live_session, owner)
                await asyncio.sleep(_BETWEEN_SECONDS)
        return put_off

    async def _start(self, live_session: LiveSession, owner: tuple[str, str]) -> bool:
        """Make the hub start a session's server; return whether to try again soon."""
        try:
            await self._hub.start_server(*owner, live_session.record.id)
        except Gone:
            if owner not in self._without_owner:
                self._without_owner.add(owner)
                log.warning("Session %s is of a user the hub does not know: it is left alone", live_session.record.id)
            return False
        except Refused as error:
            self._refusals[owner] += 1
            log.info("The server of session %s is not started again now: %s", live_session.record.id, error.message)
            return self._refusals[owner] % _REFUSALS != 0
        del self._refusals[owner]
        log.info("The hub had forgotten the server of session %s; it is started again", live_session.record.id)
        return False


def _wanted(live_session: LiveSession) -> bool:
    """Return whether the hub should have a server for a session."""
    if live_session.record.head:
        return False
    return live_session.record.wish == "run" and live_session.record.state not in (
        SessionState.ENDING,
        SessionState.ENDED,
    )


def _young(live_session: LiveSession) -> bool:
    return (datetime.now(UTC) - live_session.record.created).total_seconds() <= _YOUNG_SECONDS
