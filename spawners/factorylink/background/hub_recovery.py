"""Makes the hub start those servers of live sessions that the hub does not have.

The hub has forgotten such a server, or the link has begun the session for a workshop. The servers are started through
the hub's API; the spawner then adopts the sessions. This module never stops a server.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import UTC, datetime

from factorycommon.models import SessionState, is_robot
from factorylink.errors import FactoryError, Gone, NotDone, Refused
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
AT_ONCE = 8  # starts that the hub works on at a time: each of its answers takes up to 1.5 s


class HubRecovery:
    """Makes the hub start the server of each live session that needs one, if the hub does not have this server.

    Sessions of Dask schedulers and of robots need no server, nor do sessions that are to end. Run ``run`` in the
    background; call ``hub_came`` when the hub subscribes to the link's table of sessions, and ``look_soon`` after the
    link has begun sessions for a workshop.
    """

    def __init__(self, table: SessionTable, hub: HubClient) -> None:
        self._table = table
        self._hub = hub
        self._came = asyncio.Event()
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._without_owner: set[tuple[str, str]] = set()  # servers for which a missing hub user was already logged

    def look_soon(self) -> None:
        """Make ``run`` check soon for sessions whose server the hub does not have.

        Called after the link has begun sessions for a workshop.
        """
        self._came.set()

    def hub_came(self) -> None:
        """Make ``run`` check soon for sessions whose server the hub does not have.

        Called when the hub subscribes to the link's table of sessions, perhaps after a restart.
        """
        self._came.set()

    async def run(self) -> None:
        """Call ``look`` after ``hub_came`` or ``look_soon``, and every 45 s in case a subscription was missed.

        The first call comes less than 4 s after the start. The next call comes after 3 s if ``look`` returned True, and
        after 2 s if the hub gave no usable answer. This method never returns.
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
            except NotDone as error:  # the client has logged why, and only an operator can mend it
                log.info("The hub is not asked for its servers: %s", error.message)
            except FactoryError as error:
                log.info("The hub cannot be asked for its servers: %s", error.message)
                pause = _AGAIN_SECONDS

    async def look(self) -> bool:
        """Make the hub start the server of each live session that needs one, if the hub does not have this server.

        Return True if it was too early to decide about a server, or if the hub refused to start one: then call ``look``
        again soon. Every tenth refusal in a row for the same server is no reason to return True. Raises Unreachable if
        the hub does not answer, or not with a list of its servers; NotDone if the token for the hub cannot be read.
        """
        wanted = [live_session for live_session in self._table.values() if _wanted(live_session)]
        if not wanted:
            return False
        known = await self._hub.servers()
        put_off = False
        forgotten: list[tuple[LiveSession, tuple[str, str]]] = []
        for live_session in wanted:
            owner = (live_session.record.user, live_session.record.server)
            if owner in known:
                put_off |= known[owner] in _UNDECIDED or _is_of_another(live_session, known[owner])
            elif _young(live_session):
                put_off = True
            else:
                forgotten.append((live_session, owner))
        turns = asyncio.Semaphore(AT_ONCE)

        async def start(live_session: LiveSession, owner: tuple[str, str]) -> bool:
            async with turns:
                if not _wanted(live_session) or live_session.record.id not in self._table:
                    return False
                return await self._start(live_session, owner)

        started = await asyncio.gather(*(start(*one) for one in forgotten), return_exceptions=True)
        for error in started:
            if isinstance(error, BaseException):
                raise error
        return put_off or any(started)

    async def _start(self, live_session: LiveSession, owner: tuple[str, str]) -> bool:
        """Make the hub start a session's server; return whether to try again soon.

        ``owner``: the hub's user, and the name of the server. Raises Unreachable if the hub does not answer, NotDone if
        the link's token for the hub cannot be read.
        """
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
        if live_session.record.unopened_until is not None and live_session.record.ready is None:
            log.info("The hub adopts the session %s, which was begun for a workshop", live_session.record.id)
        else:
            log.info("The hub had forgotten the server of session %s; it is started again", live_session.record.id)
        return False


def _wanted(live_session: LiveSession) -> bool:
    """Return whether the hub should have a server for a session.

    This is the case for sessions that are not to end, except those of Dask schedulers, and those of the robots that
    take seats in a rehearsal: the hub does not know the robots.
    """
    if live_session.record.head or is_robot(live_session.record.user):
        return False
    return live_session.record.wish == "run" and live_session.record.state not in (
        SessionState.ENDING,
        SessionState.ENDED,
    )


def _is_of_another(live_session: LiveSession, pending: str | None) -> bool:
    """Return whether the hub's server belongs to an earlier session of the person.

    This is so if the server is up (it has no pending action), but the notebook of ``live_session`` has never answered.
    The hub stops such a server soon, because the person's seat was moved to ``live_session``.
    """
    return pending is None and live_session.record.ready is None


def _young(live_session: LiveSession) -> bool:
    """Return whether the hub has requested the session so recently that the hub may not have stored its server yet."""
    if live_session.record.unopened_until is not None:  # the hub did not ask for it
        return False
    return (datetime.now(UTC) - live_session.record.created).total_seconds() <= _YOUNG_SECONDS
