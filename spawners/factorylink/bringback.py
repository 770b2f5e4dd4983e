"""Sessions that live while the hub has forgotten their servers are started again through the hub's API; the spawner
then adopts them. Nothing is ever stopped here."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from factorylink.board import Board
from factorylink.errors import Gone, LinkError, Refused
from factorylink.hub import HubClient
from factorylink.live import Live
from factorylink.models import SessionState

log = logging.getLogger("factorylink")

_ROUND_SECONDS = 45.0
_SETTLE_SECONDS = 1.5  # from the hub's subscription to the first look: its own polls go first
_AGAIN_SECONDS = 2.0  # while the hub does not answer
_YOUNG_SECONDS = 10.0  # a start that is this young is still being told to the hub's database
_BETWEEN_SECONDS = 0.1  # starts are paced


class BringBack:
    """``run`` it in the background; call ``hub_came`` when the hub subscribes to the table."""

    def __init__(self, board: Board, hub: HubClient) -> None:
        self._board = board
        self._hub = hub
        self._came = asyncio.Event()
        self._told: set[tuple[str, str]] = set()  # said once that nobody owns it

    def hub_came(self) -> None:
        """The hub is there, perhaps anew."""
        self._came.set()

    async def run(self) -> None:
        """Look after the hub came, and every 45 s in case that was missed."""
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
                await self.look()
            except LinkError as error:
                log.info("The hub cannot be asked for its servers: %s", error.message)
                pause = _AGAIN_SECONDS
            except OSError as error:
                log.warning("The hub's token file cannot be read: %s", error)

    async def look(self) -> None:
        """One round. Raises Unreachable if the hub does not answer."""
        wanted = [live for live in self._board.live.values() if _wanted(live)]
        if not wanted:
            return
        known = await self._hub.servers()
        for live in wanted:
            owner = (live.row.user, live.row.server)
            if owner in known or not _wanted(live) or live.row.id not in self._board.live:
                continue
            try:
                await self._hub.start_server(*owner)
                log.info("The hub had forgotten the server of session %s; it is started again", live.row.id)
            except Gone:
                if owner not in self._told:
                    self._told.add(owner)
                    log.warning("Session %s is of a user the hub does not know: it is left alone", live.row.id)
            except Refused as error:
                log.info("The server of session %s is not started again now: %s", live.row.id, error.message)
            await asyncio.sleep(_BETWEEN_SECONDS)


def _wanted(live: Live) -> bool:
    age = (datetime.now(UTC) - live.row.created).total_seconds()
    row = live.row
    return row.wish == "run" and row.state not in (SessionState.ENDING, SessionState.ENDED) and age > _YOUNG_SECONDS
