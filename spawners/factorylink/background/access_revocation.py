"""Ends sessions and clusters of people who lose access to the project that is charged.

Access is lost when a person leaves the project or the group that admits them, when the project may no longer use the
factory or ends, or when the person is blocked. The person is warned at once, and the session or cluster ends after a
grace time. If a project has a known end, the person is warned a grace time before this end, and the session or cluster
ends together with the project. If access returns before the announced end, nothing is ended. The ledger keeps each
announced end, so a restart of the link does not change the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from factorycommon.messages import Message
from factorycommon.models import MessageBody
from factorylink.clusters.service import Clusters
from factorylink.config import Limits
from factorylink.doors.manager import DoorManager
from factorylink.errors import FactoryError
from factorylink.explain import explain
from factorylink.ledger import schema
from factorylink.ledger.ledger import Ledger
from factorylink.projects.book import ProjectBook
from factorylink.projects.people import KnownPeople
from factorylink.sessions.service import Sessions
from factorylink.state.live_cluster import LiveCluster
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable
from factorylink.util import clock

log = logging.getLogger("factorylink")

LOOK_SECONDS = 5.0  # seconds between two checks of the projects


class AccessRevocation:
    """Announces when sessions and clusters of people who lose access will end, and ends them at that time.

    Call ``load`` before ``run``.

    ``inhabitants``: returns all sessions and clusters that have not ended.
    """

    def __init__(
        self,
        table: SessionTable,
        inhabitants: Callable[[], Iterable[LiveSession | LiveCluster]],
        ledger: Ledger,
        people: KnownPeople,
        projects: ProjectBook,
        doors: DoorManager,
        sessions: Sessions,
        clusters: Clusters,
        limits: Limits,
    ) -> None:
        self._table = table
        self._inhabitants = inhabitants
        self._ledger = ledger
        self._projects = projects
        self._doors = doors
        self._limits = limits
        self._sessions = sessions
        self._clusters = clusters
        self._ends: dict[str, datetime] = {}  # when access ends, by the id of a session or cluster
        # sessions whose notebook was warned, each with the end that the warning names
        self._warned: set[tuple[str, datetime]] = set()
        self._changed = asyncio.Event()
        people.on_change = self._changed.set

    async def load(self) -> None:
        """Read from the ledger which sessions and clusters are to end because of lost access, and when.

        Raises LedgerError.
        """
        rows = await self._ledger.rows(schema.losses, select(schema.losses))
        self._ends = {record["id"]: record["ends"] for record in rows}

    async def run(self) -> None:
        """Check all sessions and clusters repeatedly; never return.

        The checks are made every ``LOOK_SECONDS``, and when a person's groups change or a person is blocked.
        """
        while True:
            try:
                await self._projects.refresh()
                await self.look()
            except Exception:  # any error: this loop must continue, since nothing else does its work
                log.exception("Who lost access is looked at again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), LOOK_SECONDS)
            self._changed.clear()

    async def look(self) -> None:
        """Check all sessions and clusters: announce ends, cancel announced ends, and end what is due.

        Raises LedgerError.
        """
        here = {one.record.id: one for one in self._inhabitants() if one.record.wish == "run"}
        for one in here.values():
            if isinstance(one, LiveCluster) or not one.record.head:  # a Dask scheduler's session ends with its cluster
                await self._judge(one)
        for gone in self._ends.keys() - here.keys():
            await self._set(gone, None)

    async def _judge(self, one: LiveSession | LiveCluster) -> None:
        record, now = one.record, clock.now()
        if not self._projects.tells(record.user, record.choice.project):
            return  # access was neither lost nor restored
        until = self._projects.until(record.user, record.choice.project, record.factory)
        grace = timedelta(seconds=self._limits.access_grace_seconds)
        known = self._ends.get(record.id)
        if until is None or until - now > grace:
            if known is not None:
                await self._set(record.id, None)
                await self._say(one, Message("access-back", "You may use the project again; the session continues."))
            one.access_ends = None
            return
        ends = until if until > now else known or now + grace
        if ends != known:
            await self._set(record.id, ends)
        if one.access_ends != ends:
            one.access_ends = ends
            said = Message(
                "access-ends-at", "Your access to this project ends at {when} (UTC), and the session stops then."
            )
            await self._say(one, said.format(when=f"{ends:%Y-%m-%d %H:%M}") if ends != known else "")
        if now >= ends:
            await (self._clusters.end_access(one) if isinstance(one, LiveCluster) else self._sessions.end_access(one))
        elif isinstance(one, LiveSession):
            await self._tell(one, ends)

    async def _say(self, one: LiveSession | LiveCluster, text: str) -> None:
        """Write ``text`` into a session's log, unless it is empty, and notify listeners that ``one`` has changed.

        A cluster has no log; its ``text`` is not used.
        """
        if isinstance(one, LiveCluster):
            one.touch()
            return
        if text:
            await self._ledger.change(one.record, say=text)
        self._table.touch(one)

    async def _tell(self, live_session: LiveSession, ends: datetime) -> None:
        """Warn the person in the notebook that the session ends at ``ends``; do so once for each ``ends``.

        If this fails, the next check warns.
        """
        key = (live_session.record.id, ends)
        if key in self._warned or not self._doors.is_open(live_session.record.id):
            return
        words = explain.own("access-ends")
        text = f"{words.what} ({ends:%Y-%m-%d %H:%M} UTC) {words.do}"
        try:
            # JupyterLab recognises ids of this form, and shows its own translated text.
            message = MessageBody(id=f"access-{ends.timestamp():.0f}", text=text, kind="warning")
            await self._doors.tell(live_session.record.id, message)
        except FactoryError as error:
            log.info("The door of session %s was not told that access ends: %s", live_session.record.id, error)
        else:
            self._warned.add(key)

    async def _set(self, id: str, ends: datetime | None) -> None:
        losses = schema.losses

        def write(db: Connection) -> None:
            db.execute(delete(losses).where(losses.c.id == id))
            if ends is not None:
                db.execute(insert(losses).values(id=id, ends=ends))

        await self._ledger.write(write)
        if ends is None:
            self._ends.pop(id, None)
            self._warned = {key for key in self._warned if key[0] != id}
        else:
            self._ends[id] = ends
