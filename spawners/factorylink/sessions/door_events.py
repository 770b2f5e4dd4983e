"""Finds the sessions' doors, keeps them connected, and updates the sessions from the doors' messages."""

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
from factorylink.util import clock, metrics
from factorylink.util.background_tasks import BackgroundTasks

log = logging.getLogger("factorylink")

_ANSWERS = Message("notebook-answers", "The notebook answers.")
_ACTIVITY_STEP = timedelta(minutes=1)  # smaller changes are not written into the ledger


class DoorListener:
    """Finds doors and handles their messages. The link has one such object."""

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

    def on_status(self, session_id: SessionId, status: DoorStatus | None) -> None:
        """Handle a new status of a session's door, or the loss of the connection to the door.

        ``status`` None: the connection is lost, or cannot be opened.
        """
        live_session = self._table.get(session_id)
        if live_session is None:
            return
        if status is not None:
            live_session.door = status
            if status.environment and live_session.environment_at is None:
                live_session.environment_at = clock.ticks()
            self._tasks.begin(self._take(live_session, status), f"door of {session_id}")
        self._table.door_changed(live_session)
        self._extender.follow(live_session)

    def look_for(self, live_session: LiveSession, connection: FactoryConnection) -> None:
        """Let the door manager connect to a session's door, and reconnect to the door from then on, in the background.

        Call this for a session whose job runs, and again at each answer of the scheduler until the session's
        ``door_kept`` is True. A call does nothing while an earlier call for the session is at work.
        """
        if live_session.seeking is None or live_session.seeking.done():
            live_session.seeking = self._tasks.spawn(
                self._open(live_session, connection), f"door of {live_session.record.id}"
            )

    def forget(self, live_session: LiveSession) -> None:
        """Ignore a session's present door: this run of its job is over, and the next run starts another door."""
        if live_session.probing is not None:
            live_session.probing.cancel()
        if live_session.seeking is not None:
            live_session.seeking.cancel()
        live_session.door, live_session.door_kept, live_session.seeking = None, False, None

    async def let_go(self, live_session: LiveSession) -> None:
        """Close the connection to a session's door, and listen again on the session's port. Call ``forget`` first.

        If the port cannot be opened, nothing is raised: the link tries again after the factory's next answer.
        """
        await self._doors.close(live_session.record.id)
        with contextlib.suppress(OSError):  # the factory's next answer tries this again
            await self._doors.bind(live_session.record.id, live_session.record.port)
        self._table.door_changed(live_session)

    async def _open(self, live_session: LiveSession, connection: FactoryConnection) -> None:
        try:
            folder = await session_folder(connection, live_session.record.account, live_session.record.id)
        except FactoryError as error:
            log.warning("The door of session %s cannot be looked for: %s", live_session.record.id, error.message)
            return
        record, door = live_session.record, connection.access.door
        node = record.node
        try:
            bridge = bridge_argv(connection.factory, record.choice) if door.carrier == "stdio" else ()
        except ChoiceError as error:
            log.warning("The door of session %s cannot be entered: %s", record.id, error)
            return
        carrier = carriers.carrier(door, connection.dialect, record.job or "", node, bridge)
        route = carriers.Route(
            record.id,
            record.factory,
            record.account,
            f"{folder}/door.json",
            connection.commands,
            connection.streams,
            carrier,
        )
        await self._doors.open(route)
        # Otherwise the node became known in the meantime; the next answer looks for the door there.
        live_session.door_kept = record.node == node

    async def _take(self, live_session: LiveSession, status: DoorStatus) -> None:
        record = live_session.record
        known, last_activity = record.last_activity, status.last_activity
        changes = dict[str, Any]()
        if last_activity is not None:
            # The door's times are not trusted: with a time in the future, each status line would cause a write.
            last_activity = min(last_activity, clock.now())
            if known is None or last_activity - known >= _ACTIVITY_STEP:
                changes["last_activity"] = last_activity
        # not by a status from a door that was closed because of a requeue
        if status.opened and record.opened is None and live_session.door is status:
            changes["opened"] = clock.now()
        if changes:
            await self._ledger.change(record, **changes)
        if (
            status.phase == "up"
            and record.ready is None
            and (live_session.probing is None or live_session.probing.done())
        ):
            live_session.probing = self._tasks.spawn(self._probe(live_session), f"first answer of {record.id}")
        if status.phase in ("ending", "ended"):
            await self._ends(live_session, status)

    async def _ends(self, live_session: LiveSession, status: DoorStatus) -> None:
        async with live_session.lock:
            step = state_machine.step(live_session.record, Event.DOOR_ENDS)
            # a status from a door that was closed because of a requeue
            if step is None or live_session.door is not status:
                return
            say = Message("notebook-ending", "The notebook is ending.")
            await self._ledger.change(live_session.record, say=say, state=state_machine.state(step.phase))
        self._table.touch(live_session)
        if (connection := self._factories.get(live_session.record.factory)) is not None:
            connection.site.expect(True)

    async def _probe(self, live_session: LiveSession) -> None:
        """Poll the notebook until its first answer, and then write into the ledger that the session runs.

        The notebook itself does not report when it starts to listen. At the first answer in the whole session, the
        mailer may tell the person by mail, unless the session runs a Dask scheduler.
        """
        record, pause = live_session.record, 0.1
        config = self._config
        path = "/health" if record.head else f"{notebook_base(config.hub.base_url, record.user, record.server)}api"
        while not await self._doors.answers(record.id, path):
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, 1.0)
        first = False
        async with live_session.lock:
            step = state_machine.step(record, Event.ANSWERS)
            if step is not None:
                values: dict[str, Any] = {"state": state_machine.state(step.phase), "ready": clock.now()}
                # ``ready`` removes it from here when a job is requeued
                first = all(line.text != _ANSWERS for line in record.log)
                await self._ledger.change(record, say=_ANSWERS, **values)
                if record.started is not None and record.ready is not None:
                    took = (record.ready - record.started).total_seconds()
                    metrics.START_SECONDS.labels(record.factory).observe(max(0.0, took))
        self._table.door_changed(live_session)
        if first and not record.head:
            address = notebook_base(config.root, record.user, record.server) if config.public_url else ""
            self._mailer.tell(record, self._factories[record.factory].factory.site.machine, address)
