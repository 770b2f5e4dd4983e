"""What the doors' words do to the sessions: doors are looked for, kept open and listened to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import timedelta
from typing import Any

from factorycommon.messages import Message
from factorycommon.models import SessionId, notebook_base
from factorylink.catalogue.choices import ChoiceError, bridge_argv
from factorylink.config import LinkConfig
from factorylink.doors import carriers
from factorylink.doors.manager import DoorManager
from factorylink.doors.protocol import DoorStatus
from factorylink.errors import FactoryError
from factorylink.ledger.ledger import Ledger
from factorylink.sessions import state_machine
from factorylink.sessions.extension import Extender
from factorylink.sessions.mail import Mailer
from factorylink.sessions.state_machine import Event
from factorylink.sessions.submitter import session_folder
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable
from factorylink.util import clock
from factorylink.util.background_tasks import BackgroundTasks

log = logging.getLogger("factorylink")

_ANSWERS = Message("notebook-answers", "The notebook answers.")
_ACTIVITY_STEP = timedelta(minutes=1)  # finer steps are not worth a write


class DoorListener:
    """One for the link."""

    def __init__(
        self,
        config: LinkConfig,
        table: SessionTable,
        ledger: Ledger,
        factories: OfferedFactories,
        doors: DoorManager,
        extender: Extender,
        mailer: Mailer,
        tasks: BackgroundTasks,
    ) -> None:
        self._config = config
        self._table = table
        self._ledger = ledger
        self._factories = factories
        self._doors = doors
        self._tasks = tasks
        self._extender = extender
        self._mailer = mailer

    def spoke(self, session_id: SessionId, status: DoorStatus | None) -> None:
        """A door opened, closed, or said something new about its session."""
        live = self._table.get(session_id)
        if live is None:
            return
        if status is not None:
            live.door = status
            if status.environment and live.environment_at is None:
                live.environment_at = clock.ticks()
            self._tasks.begin(self._take(live, status), f"door of {session_id}")
        self._table.door_changed(live)
        self._extender.follow(live)

    def look_for(self, live: LiveSession, place: FactoryConnection) -> None:
        """See that its door is kept open from now on. Called again at each answer until it is."""
        if live.seeking is None or live.seeking.done():
            live.seeking = self._tasks.spawn(self._open(live, place), f"door of {live.row.id}")

    def forget(self, live: LiveSession) -> None:
        """Its job runs no more, and another door is to come: what this one says counts no longer."""
        if live.probing is not None:
            live.probing.cancel()
        if live.seeking is not None:
            live.seeking.cancel()
        live.door, live.door_kept, live.seeking = None, False, None

    async def let_go(self, live: LiveSession) -> None:
        """Close the door that is forgotten; its port stays the session's."""
        await self._doors.close(live.row.id)
        with contextlib.suppress(OSError):  # tried again with each answer of the factory
            await self._doors.bind(live.row.id, live.row.port)
        self._table.door_changed(live)

    async def _open(self, live: LiveSession, place: FactoryConnection) -> None:
        try:
            folder = await session_folder(place, live.row.account, live.row.id)
        except FactoryError as error:
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
        way = carriers.Route(row.id, row.factory, row.account, f"{folder}/door.json", place.transport, carrier)
        await self._doors.open(way)
        live.door_kept = row.node == node  # else it was told meanwhile: the next answer has it looked for there

    async def _take(self, live: LiveSession, status: DoorStatus) -> None:
        row = live.row
        known, last_activity = row.last_activity, status.last_activity
        if last_activity is not None:
            # A door may say what it likes: a moment to come would let each of its lines cost a write.
            last_activity = min(last_activity, clock.now())
            if known is None or last_activity - known >= _ACTIVITY_STEP:
                await self._ledger.change(row, last_activity=last_activity)
        if status.phase == "up" and row.ready is None and (live.probing is None or live.probing.done()):
            live.probing = self._tasks.spawn(self._probe(live), f"first answer of {row.id}")
        if status.phase in ("ending", "ended"):
            await self._ends(live, status)

    async def _ends(self, live: LiveSession, status: DoorStatus) -> None:
        async with live.lock:
            step = state_machine.step(live.row, Event.DOOR_ENDS)
            if step is None or live.door is not status:  # the word of a door that a requeue has closed
                return
            say = Message("notebook-ending", "The notebook is ending.")
            await self._ledger.change(live.row, say=say, state=state_machine.state(step.phase))
        self._table.touch(live)
        if (place := self._factories.get(live.row.factory)) is not None:
            place.site.expect(True)

    async def _probe(self, live: LiveSession) -> None:
        """Ask the notebook until its first answer; it tells nobody when it listens."""
        row, pause = live.row, 0.1
        config = self._config
        path = "/health" if row.head else f"{notebook_base(config.hub.base_url, row.user, row.server)}api"
        while not await self._doors.answers(row.id, path):
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, 1.0)
        first = False
        async with live.lock:
            step = state_machine.step(row, Event.ANSWERS)
            if step is not None:
                values: dict[str, Any] = {"state": state_machine.state(step.phase), "ready": clock.now()}
                first = all(line.text != _ANSWERS for line in row.log)  # ``ready`` forgets it when a job is requeued
                await self._ledger.change(row, say=_ANSWERS, **values)
        self._table.door_changed(live)
        if first and not row.head:
            address = notebook_base(config.root, row.user, row.server) if config.public_url else ""
            self._mailer.tell(row, self._factories[row.factory].factory.site.machine, address)
