"""The table of live sessions. Only this module adds and ends sessions, both in memory and in the ledger.

The table notifies listeners of each change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from factorycommon.models import End, Session, SessionId, SessionState
from factorylink.catalogue.choices import walltime
from factorylink.doors.manager import DoorManager
from factorylink.ledger import charges
from factorylink.ledger.ledger import AuditEntry, Ledger, Write
from factorylink.ledger.schema import SessionRecord
from factorylink.site.audit_entries import AuditEntries
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.ended_session import show_charged
from factorylink.state.live_session import LOST_SECONDS, LiveSession
from factorylink.util import clock, metrics
from factorylink.util.background_tasks import BackgroundTasks

_ENDED_KEPT = 500


class SessionTable(Mapping[SessionId, LiveSession]):
    """Sessions that have not ended, by id.

    Each function of ``on_change`` is called with a session whose view may have changed. When a session has ended, each
    function is called with it a last time, right before the table removes the session.
    """

    def __init__(
        self,
        ledger: Ledger,
        factories: OfferedFactories,
        doors: DoorManager,
        audit: AuditEntries,
        tasks: BackgroundTasks,
    ) -> None:
        self._ledger = ledger
        self._factories = factories
        self._doors = doors
        self._audit = audit
        self._tasks = tasks
        self._live: dict[SessionId, LiveSession] = {}
        self._announced: dict[SessionId, tuple[SessionRecord, asyncio.Event]] = {}  # set when the block ends
        self._ended: dict[SessionId, Session] = {}  # sessions that ended recently, for streams that began just before
        self.on_change: list[Callable[[LiveSession], None]] = []

    def __getitem__(self, session_id: SessionId) -> LiveSession:
        return self._live[session_id]

    def __iter__(self) -> Iterator[SessionId]:
        return iter(self._live)

    def __len__(self) -> int:
        return len(self._live)

    def ended(self, session_id: SessionId) -> Session | None:
        """Return the view of a session that ended a short time ago in this process; None for any other id.

        The last ``_ENDED_KEPT`` such sessions are known.
        """
        return self._ended.get(session_id)

    def at(self, factory_id: str) -> list[LiveSession]:
        """Return the live sessions of a factory."""
        return [live_session for live_session in self._live.values() if live_session.record.factory == factory_id]

    def records(self) -> list[SessionRecord]:
        """Return the records of live sessions, and of those that are being written into the ledger."""
        coming = [record for record, _ in self._announced.values() if record.id not in self._live]
        return [live_session.record for live_session in self._live.values()] + coming

    def ports(self) -> set[int]:
        """Return the link's ports for live sessions, and for sessions that are being written into the ledger."""
        return {record.port for record in self.records()}

    @contextmanager
    def announced(self, record: SessionRecord) -> Iterator[None]:
        """Include a session in ``records`` during the block, in which the caller writes it into the ledger."""
        mine = self._announced[record.id] = record, asyncio.Event()
        try:
            yield
        finally:
            if self._announced.get(record.id) is mine:  # else another person asked for the same id; one is refused
                del self._announced[record.id]
            mine[1].set()

    async def written(self, session_id: SessionId) -> None:
        """Wait while a session with this id is being written into the ledger."""
        while (announced := self._announced.get(session_id)) is not None:
            await announced[1].wait()

    # --- changes

    def hold(self, record: SessionRecord, *, answered: bool = False, earlier: int = 0) -> LiveSession:
        """Put a session that is in the ledger into the table; return it as a live session.

        ``answered``: whether a caller was told that the session exists; ``earlier``: the duration of the earlier runs
        of the session's job, in seconds.
        """
        live_session = self._live[record.id] = LiveSession(record, answered=answered, earlier=earlier)
        return live_session

    async def add(self, record: SessionRecord, entry: AuditEntry, *also: Write) -> LiveSession:
        """Write a new session into the ledger, put it into the table, and listen on its port, if it has one.

        ``entry``: a line of the audit; ``also``: further writes. They are in the same commit as the session. Raises
        LedgerConflict if another session has the session's id, server or job (``LedgerConflict`` says which sessions
        count); LedgerError; and the errors of ``also``, such as OverBudget. Raises OSError if the link cannot listen on
        the port; the session is in the ledger and the table all the same.
        """
        await self._ledger.add(record, entry, *also)
        live_session = self.hold(record)
        metrics.SESSIONS_BEGUN.labels(record.factory).inc()
        await self._doors.bind(record.id, record.port)
        self.touch(live_session)
        return live_session

    def touch(self, live_session: LiveSession) -> None:
        """Notify listeners that the view of a session may have changed, if the session is in the table."""
        if live_session.record.id in self._live:
            self._tell(live_session)

    def door_changed(self, live_session: LiveSession) -> None:
        """Note in ``door_open`` whether the session's door is connected now, and notify listeners.

        If the connection was lost, listeners are notified again after ``LOST_SECONDS``, since people see the loss only
        then. A new connection is written into the audit.
        """
        is_open = self._doors.is_open(live_session.record.id)
        if live_session.door_open and not is_open:
            live_session.door_lost = clock.ticks()
            asyncio.get_running_loop().call_later(LOST_SECONDS + 0.1, self.touch, live_session)
        if is_open and not live_session.door_open:
            entry = self._audit.of_session(live_session.record, "enter")
            self._tasks.begin(self._ledger.note(entry), f"audit of {live_session.record.id}")
        live_session.door_open = is_open
        self.touch(live_session)

    async def end(
        self,
        live_session: LiveSession,
        still: Callable[[], bool] = lambda: True,
        job_end: End | None = None,
        **values: Any,
    ) -> None:
        """Write into the ledger that the session has ended, notify listeners, and close the session's door.

        First wait for the end of any other transition of the session. Then, if the session has ended already, or if
        ``still()`` returns False, do nothing. ``job_end``: the scheduler's record of the end of the session's job; None
        if no record is known. ``values``: further columns of the session's row; ``end``, the explanation, must be among
        them. Raises LedgerError.
        """
        async with live_session.lock:
            if live_session.record.ended is not None or not still():
                return
            entry = self._audit.of_session(live_session.record, "end", detail=str(values.get("end_reason", "")))
            values = {"state": SessionState.ENDED, "ended": clock.now(), **values}
            record, now = live_session.record, values["ended"]
            started, ends = record.started, record.ends
            if (
                started is None
                and job_end is None
                and record.wish == "run"
                and record.job is not None
                and live_session.seen
            ):
                # It is not known whether the job ran. If it did, it started after it was last seen waiting.
                started, ends = live_session.seen, live_session.seen + timedelta(seconds=walltime(record.choice.hours))
            settled = charges.settle(record.id, job_end, live_session.restarts, started, min(now, ends or now))
            await self._ledger.change(record, settled, say=values["end"].what, entry=entry, **values)
            live_session.door_open = False
            live_session.job_over.set()
            ready = "no" if record.ready is None else "yes"
            metrics.SESSIONS_ENDED.labels(record.factory, str(record.end_reason), ready).inc()
        self._tell(live_session)
        del self._live[live_session.record.id]
        self._ended[live_session.record.id] = show_charged(live_session.record, settled.used, self._factories)
        while len(self._ended) > _ENDED_KEPT:
            del self._ended[next(iter(self._ended))]
        for task in (live_session.probing, live_session.stopping, live_session.seeking):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        await self._doors.close(live_session.record.id)

    def _tell(self, live_session: LiveSession) -> None:
        for on_change in self.on_change:
            on_change(live_session)
