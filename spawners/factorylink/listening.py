"""What the doors' words do to the sessions: doors are looked for, kept open and listened to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import timedelta
from typing import Any

from factorylink import carriers, lifecycle, moments
from factorylink.board import Board
from factorylink.choices import ChoiceError, bridge_argv
from factorylink.errors import LinkError
from factorylink.extending import Extender
from factorylink.lifecycle import Event
from factorylink.live import Live
from factorylink.mail import Mailer
from factorylink.models import N_, SessionId, notebook_base
from factorylink.seams import DoorStatusSeam, Place
from factorylink.submitting import session_folder

log = logging.getLogger("factorylink")

_ANSWERS = N_("The notebook answers.")
_ACTIVITY_STEP = timedelta(minutes=1)  # finer steps are not worth a write


class DoorListener:
    """One for the link."""

    def __init__(self, board: Board, extender: Extender) -> None:
        self._board = board
        self._extender = extender
        self._mailer = Mailer(board.config.mail)

    def spoke(self, session_id: SessionId, status: DoorStatusSeam | None) -> None:
        """A door opened, closed, or said something new about its session."""
        live = self._board.live.get(session_id)
        if live is None:
            return
        if status is not None:
            live.door = status
            if status.environment and live.environment_at is None:
                live.environment_at = moments.ticks()
            self._board.background(self._take(live, status), f"door of {session_id}")
        self._board.door_changed(live)
        self._extender.follow(live)

    def look_for(self, live: Live, place: Place) -> None:
        """See that its door is kept open from now on. Called again at each answer until it is."""
        if live.seeking is None or live.seeking.done():
            live.seeking = self._board.spawn(self._open(live, place), f"door of {live.row.id}")

    def forget(self, live: Live) -> None:
        """Its job runs no more, and another door is to come: what this one says counts no longer."""
        if live.probing is not None:
            live.probing.cancel()
        if live.seeking is not None:
            live.seeking.cancel()
        live.door, live.door_kept, live.seeking = None, False, None

    async def let_go(self, live: Live) -> None:
        """Close the door that is forgotten; its port stays the session's."""
        await self._board.doors.close(live.row.id)
        with contextlib.suppress(OSError):  # tried again with each answer of the factory
            await self._board.doors.bind(live.row.id, live.row.port)
        self._board.door_changed(live)

    async def _open(self, live: Live, place: Place) -> None:
        try:
            folder = await session_folder(place, live.row.account, live.row.id)
        except LinkError as error:
            log.warning("The door of session %s cannot be looked for: %s", live.row.id, error.message)
            return
        row, door = live.row, place.access.door
        node = row.node
        try:
            bridge = bridge_argv(place.factory, row.choice) if door.carrier == "stdio" else ()
        except ChoiceError as error:
            log.warning("The door of session %s cannot be entered: %s", row.id, error)
            return
        carrier = carriers.carrier(door, place.dialect, row.job or "", node, bridge)
        way = carriers.Way(row.id, row.factory, row.account, f"{folder}/door.json", place.transport, carrier)
        await self._board.doors.open(way)
        live.door_kept = row.node == node  # else it was told meanwhile: the next answer has it looked for there

    async def _take(self, live: Live, status: DoorStatusSeam) -> None:
        row = live.row
        known, told = row.last_activity, status.last_activity
        if told is not None:
            told = min(told, moments.now())  # a door may say what it likes; so it cannot cost a write a line
            if known is None or told - known >= _ACTIVITY_STEP:
                await self._board.ledger.change(row, last_activity=told)
        if status.phase == "up" and row.ready is None and (live.probing is None or live.probing.done()):
            live.probing = self._board.spawn(self._probe(live), f"first answer of {row.id}")
        if status.phase in ("ending", "ended"):
            await self._ends(live, status)

    async def _ends(self, live: Live, status: DoorStatusSeam) -> None:
        async with live.lock:
            step = lifecycle.step(live.row, Event.DOOR_ENDS)
            if step is None or live.door is not status:  # the word of a door that a requeue has closed
                return
            say = N_("The notebook is ending.")
            await self._board.ledger.change(live.row, say=say, state=lifecycle.state(step.phase))
        self._board.touch(live)
        if (place := self._board.places.get(live.row.factory)) is not None:
            place.site.expect(True)

    async def _probe(self, live: Live) -> None:
        """Ask the notebook until its first answer; it tells nobody when it listens."""
        row, pause = live.row, 0.1
        config = self._board.config
        path = "/health" if row.head else f"{notebook_base(config.hub.base_url, row.user, row.server)}api"
        while not await self._board.doors.answers(row.id, path):
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, 1.0)
        first = False
        async with live.lock:
            step = lifecycle.step(row, Event.ANSWERS)
            if step is not None:
                values: dict[str, Any] = {"state": lifecycle.state(step.phase), "ready": moments.now()}
                first = all(line.text != _ANSWERS for line in row.log)  # ``ready`` forgets it when a job is requeued
                await self._board.ledger.change(row, say=_ANSWERS, **values)
        self._board.door_changed(live)
        if first and not row.head:
            address = notebook_base(config.root, row.user, row.server) if config.public_url else ""
            self._mailer.tell(row, self._board.places[row.factory].factory.site.machine, address)
