"""Sends stop requests for sessions to the link, until the link's ledger holds them.

A request to stop is answered once it is recorded in the ledger or, if that takes more than a second, in the hub's
database. A stop in the hub's database is sent to the link by this hub process or by the next one, as soon as the link
answers. The hub's database has an additional table for this, which JupyterHub neither reads nor changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from sqlalchemy import Column, MetaData, String, Table, create_engine, delete, event, insert, inspect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from factorycommon.models import SessionId
from factorylink.client import By, LinkClient, LinkProblem, LinkSilent
from factoryspawner.retry_pauses import pauses

_ID = re.compile(r"[0-9a-f]{32}")  # the form of a session's id; the link refuses any other
_BY: dict[str, By] = {"person": "person", "operator": "operator"}
_PATIENCE = 1.0  # seconds for a silent link to accept a stop before the stop is stored in the hub's database
_AT_ONCE = 500  # stops in one request to the link
_REMEMBERED = 10_000  # number of stops that are remembered after their request at the link
_BUSY_SECONDS = 30  # seconds that a transaction waits for others, since JupyterHub writes to the same database

log = logging.getLogger("factoryspawner")

_METADATA = MetaData()
_STOPS = Table(
    "factorygate_stops",
    _METADATA,
    Column("session", String(32), primary_key=True),
    Column("by", String(16), nullable=False),
)


class NotKept(Exception):
    """Raised if a stop could not be recorded: neither the hub's database nor the link accepts it."""


class StopStore:
    """The table of stop requests in the hub's database. ``url``: an SQLAlchemy URL.

    Its methods block, and use a connection of their own. ``change`` returns when its transaction is on the disk.
    """

    def __init__(self, url: str) -> None:
        is_file = url.startswith("sqlite")
        waits = {"timeout": _BUSY_SECONDS} if is_file else {}
        self._engine = create_engine(url, poolclass=NullPool, connect_args=waits)
        if is_file:
            event.listen(self._engine, "connect", _copy_no_log)
        self._made = False

    def load(self) -> dict[SessionId, By]:
        """Return the stored stop requests: the sessions' ids, each with who requested the session's stop.

        {} if the table does not exist yet. Raises SQLAlchemyError.
        """
        if not inspect(self._engine).has_table(_STOPS.name):
            return {}
        with self._engine.connect() as connection:
            rows = connection.execute(_STOPS.select()).all()
        return {row.session: _BY.get(row.by, "hub") for row in rows if _ID.fullmatch(row.session)}

    def change(self, added: Mapping[SessionId, By], removed: Iterable[SessionId]) -> None:
        """Add some stops and remove others. Raises SQLAlchemyError; then nothing has changed."""
        with self._engine.begin() as connection:
            if not self._made:
                _METADATA.create_all(connection)
            gone = [*removed, *added]  # an earlier process may have written the same rows
            connection.execute(delete(_STOPS).where(_STOPS.c.session.in_(gone)))
            if added:
                connection.execute(insert(_STOPS), [{"session": one, "by": by} for one, by in added.items()])
        self._made = True


def _copy_no_log(connection: DBAPIConnection, _record: object) -> None:
    """Switch off a connection's automatic copying of SQLite's log, which ``hub_sqlite`` does instead.

    Otherwise a commit of a stop would copy everything that the hub has written.
    """
    connection.cursor().execute("PRAGMA wal_autocheckpoint=0")


class StopRequests:
    """Holds all stop requests of this hub that the ledger does not hold yet, and sends them to the link.

    Each request is repeated until the link accepts it. After ``keep_in``, a request that the link does not accept at
    once is also written to the hub's database, so that the next hub process can continue to send the request.
    """

    def __init__(self, link: LinkClient) -> None:
        self._link = link
        self._store: StopStore | None = None
        self._open: dict[SessionId, asyncio.Future[None]] = {}  # done once the ledger holds the stop
        self._by: dict[SessionId, By] = {}  # who requested each open stop, in the order of the requests to the link
        self._late: set[SessionId] = set()  # open stops that the link did not accept at once
        self._asking: asyncio.Task[None] | None = None
        # the last stopped sessions of this process, oldest first; none of them is adopted again
        self._ever: dict[SessionId, None] = {}
        self._stored: set[SessionId] = set()
        self._to_add: dict[SessionId, By] = {}
        self._to_remove: set[SessionId] = set()
        self._round: asyncio.Task[None] | None = None

    def keep_in(self, store: StopStore) -> None:
        """Keep stops in ``store`` from now on, and send the stops that it contains to the link.

        Call this in the event loop. Blocks until the stored stops are read. If they cannot be read, this is only
        logged.
        """
        self._store = store
        try:
            left = store.load()
        except SQLAlchemyError as error:
            log.error("The stops that an earlier hub recorded cannot be read: %s", error)  # noqa: TRY400
            return
        for session_id, by in left.items():
            self._stored.add(session_id)
            _ = self._carry_out(session_id, by)

    def are_open(self, session_id: SessionId) -> bool:
        """Return whether the session has a stop request that the ledger does not hold yet, as far as the hub knows."""
        return session_id in self._open

    def unwanted(self, session_id: SessionId) -> bool:
        """Return whether this process knows of a stop request for the session.

        The link's answers may be older than the request, and show the session as wanted. The process knows all stops
        that the ledger does not hold yet, and the last 10,000 stops that the process has requested at the link.
        """
        return session_id in self._open or session_id in self._ever

    async def keep(self, session_ids: Iterable[SessionId], by: By = "hub") -> None:
        """Request the stops of these sessions at the link; return once the stops are recorded.

        The stops are recorded in the link's ledger or, if that takes more than a second, in the hub's database. Raises
        NotKept if the database does not accept a stop that the ledger does not hold yet. Before ``keep_in`` has set a
        database, this call waits for the ledger, however long. The requests to the link continue in any case. ``by``:
        who requests the stops: the person, an operator, or the hub. If somebody has requested a stop already, ``by`` of
        that earlier request counts.
        """
        await asyncio.gather(*(self._keep(session_id, by) for session_id in session_ids))

    async def held(self, session_id: SessionId, by: By = "hub") -> None:
        """Request the stop of a session at the link; return when the ledger holds the stop.

        The requests to the link continue even if the caller is cancelled. ``by``: who requests the stop: the person, an
        operator, or the hub. If somebody has requested the stop already, ``by`` of that earlier request counts.
        """
        carried = self._carry_out(session_id, by)
        with contextlib.suppress(NotKept):  # the error is logged
            await self._keep(session_id, by)
        await asyncio.shield(carried)

    async def close(self) -> None:
        """End the requests to the link; write to the hub's database the stops that the link has not accepted.

        Without a database these stops are lost; if the database does not accept them, this is only logged.
        """
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        left = [self._write(session_id, by) for session_id, by in self._by.items()]
        await asyncio.gather(*left, return_exceptions=True)
        if self._round is not None:
            await asyncio.gather(self._round, return_exceptions=True)

    async def _keep(self, session_id: SessionId, by: By) -> None:
        carried = self._carry_out(session_id, by)
        await asyncio.wait([carried], timeout=_PATIENCE)
        if carried.done():
            return
        if self._store is None:
            await asyncio.shield(carried)
            return
        written = asyncio.ensure_future(self._write(session_id, self._by[session_id]))
        written.add_done_callback(_looked_at)
        await asyncio.wait([carried, written], return_when=asyncio.FIRST_COMPLETED)
        if not carried.done() and (error := written.exception()) is not None:
            raise NotKept from error

    # --- the hub's database

    async def _write(self, session_id: SessionId, by: By) -> None:
        """Write the stop to the hub's database, and return when it is there. Raises SQLAlchemyError.

        Does nothing if ``keep_in`` has named no database.
        """
        if self._store is not None and session_id not in self._stored:
            self._to_add.setdefault(session_id, by)
            await asyncio.shield(self._next_round())

    def _next_round(self) -> asyncio.Task[None]:
        if self._round is None or self._round.done():
            self._round = asyncio.get_running_loop().create_task(self._go_rounds())
            self._round.add_done_callback(_looked_at)
        return self._round

    async def _go_rounds(self) -> None:
        """Write all waiting changes (stops to add or to remove) to the hub's database. Raises SQLAlchemyError."""
        while self._store is not None and (self._to_add or self._to_remove):
            added, removed = self._to_add, self._to_remove
            self._to_add, self._to_remove = {}, set()
            try:
                await asyncio.to_thread(self._store.change, added, removed)
            except SQLAlchemyError as error:
                log.error("The hub's database does not take stops: %s", error)  # noqa: TRY400
                self._to_remove |= removed  # with the next write; what was to be added is tried again with the link
                raise
            self._stored |= added.keys()
            self._stored -= removed
            # Leave out stops that the ledger accepted in the meantime.
            self._to_remove |= {session_id for session_id in added if session_id not in self._open}

    # --- the link

    def _carry_out(self, session_id: SessionId, by: By) -> asyncio.Future[None]:
        """Start requesting the stop at the link; return a future that is done once the ledger holds the stop."""
        if session_id not in self._open:
            self._ever[session_id] = None
            while len(self._ever) > _REMEMBERED:
                del self._ever[next(iter(self._ever))]
            self._open[session_id] = asyncio.get_running_loop().create_future()
            self._by[session_id] = by
            if self._asking is None or self._asking.done():
                self._asking = asyncio.get_running_loop().create_task(self._ask())
        return self._open[session_id]

    async def _ask(self) -> None:
        """Request all open stops at the link, many at once, until the link has accepted the last of them."""
        delays = pauses()
        while self._open:
            asked = dict(islice(self._by.items(), _AT_ONCE))
            taken, trouble = await self._asked(asked)
            for session_id in asked.keys() & taken:
                self._close(session_id)
            if left := [session_id for session_id in asked if session_id not in taken]:
                await self._put_off(left, trouble)
                await asyncio.sleep(next(delays))
            else:
                delays = pauses()

    async def _asked(self, stops: Mapping[SessionId, By]) -> tuple[frozenset[SessionId], str]:
        """Send the stops to the link.

        Return those that it accepted, and the reason why it did not accept the others.
        """
        try:
            return await self._link.stop_all(stops), "its ledger does not answer"
        except (LinkSilent, LinkProblem) as error:
            return frozenset(), str(error)
        except Exception as error:
            log.exception("Stops are sent to the link again")  # otherwise they would wait for the next hub process
            return frozenset(), str(error)

    async def _put_off(self, left: Sequence[SessionId], trouble: str) -> None:
        """Write the stops that the link did not accept to the hub's database, and move them behind all other stops.

        If the database does not accept them, this is only logged. ``trouble``: why the link did not accept them, for
        the log.
        """
        for session_id in left:
            self._by[session_id] = self._by.pop(session_id)
        late = [session_id for session_id in left if session_id not in self._late]
        with contextlib.suppress(SQLAlchemyError):  # the error is logged
            await asyncio.gather(*(self._write(session_id, self._by[session_id]) for session_id in left))
        for session_id in late:
            self._late.add(session_id)
            log.warning("The wish to stop session %s waits for the link: %s", session_id, trouble)

    def _close(self, session_id: SessionId) -> None:
        self._open.pop(session_id).set_result(None)
        del self._by[session_id]
        self._late.discard(session_id)
        self._to_add.pop(session_id, None)
        if session_id in self._stored:
            self._to_remove.add(session_id)
            _ = self._next_round()


def _looked_at(task: asyncio.Future[None]) -> None:
    """Retrieve a task's exception, so that asyncio does not report it.

    The exception is logged already, and raised in the code that awaits the task.
    """
    if not task.cancelled():
        task.exception()
