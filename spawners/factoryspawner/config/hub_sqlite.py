"""Makes commits to the hub's SQLite database cheap: JupyterHub commits about ten times for each start of a server.

By default SQLite waits for the disk several times in each commit, and the hub's event loop waits with it. With a
write-ahead log and ``synchronous=NORMAL``, a commit does not wait for the disk. If the hub is killed, no commit is
lost. If the machine loses its power, the commits of about the last second may be lost: a thread writes the log to the
disk ``FLUSH_SECONDS`` after the first commit that is not on the disk. The database stays consistent in both cases. The
link's ledger loses no commits, and the hub learns from the link which sessions run.

A thread copies the log into the database (a checkpoint) only when the hub has made no commit for ``REST_SECONDS``, or
when the log is long: after a checkpoint, the next commit begins the log anew and waits for the disk. With a checkpoint
each second, the event loop stopped for 0.2 to 0.5 s at each checkpoint while a class started.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from jupyterhub import orm
from sqlalchemy.engine import Engine, make_url

log = logging.getLogger("factoryspawner")

FLUSH_SECONDS = 1.0
REST_SECONDS = 10.0  # seconds from a flush without another commit, until the log is copied into the database
LONGEST_LOG = 64 << 20  # bytes of the log, from which on it is copied in any case
_BUSY_SECONDS = 5.0
# By default SQLite copies the log within a commit after 1,000 pages of 4 KiB; here a thread does that earlier. A log
# that is begun anew keeps at most half of the longest length, so that its length says how much is to be copied.
_PRAGMAS = ("synchronous=NORMAL", "wal_autocheckpoint=50000", f"journal_size_limit={LONGEST_LOG // 2}")


def engine_options(url: str) -> dict[str, Any]:
    """Return the options that JupyterHub passes to SQLAlchemy's ``create_engine`` for the database at ``url``.

    ``url``: an SQLAlchemy URL. For anything but an SQLite file, return {}.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return {}
    return {"connect_args": {"check_same_thread": False, "factory": HubConnection}}


def ping_no_files() -> None:
    """Make JupyterHub test its connection before each transaction only if the database is on a server.

    A connection to a file always works.
    """
    orm.register_ping_connection = _ping_server


def _ping_server(engine: Engine, ping: Callable[[Engine], None] = orm.register_ping_connection) -> None:
    if engine.dialect.name != "sqlite":
        ping(engine)


class HubConnection(sqlite3.Connection):
    """A connection of the hub to its database file, with a write-ahead log.

    If the file's folder allows no write-ahead log, the connection works as a plain ``sqlite3.Connection`` does.
    """

    def __init__(self, database: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(database, *arguments, **options)
        # SQLite's own name of the file: absolute, and without symbolic links, as the log has it
        (_, _, file) = self.execute("PRAGMA database_list").fetchone()
        self._flusher = _flusher(file)
        self._written = 0  # rows that this connection had changed at its last commit
        try:
            (mode,) = self.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            log.warning("The hub's database gets no write-ahead log: %s", error)
            mode = ""
        self._is_lazy = mode == "wal"
        for pragma in _PRAGMAS if self._is_lazy else ():
            self.execute(f"PRAGMA {pragma}")

    def commit(self) -> None:
        """Commit; if rows have changed, have a thread write the commit to the disk soon."""
        super().commit()
        if self._is_lazy and self.total_changes != self._written:
            self._written = self.total_changes
            self._flusher.soon()


class Flusher:
    """Writes a database's commits to the disk, in a thread, at most once in ``FLUSH_SECONDS``.

    Also copies the write-ahead log into the database's file: right after a write to the disk if the log is longer than
    ``LONGEST_LOG``, and ``REST_SECONDS`` after a write to the disk if there was no commit meanwhile.
    """

    def __init__(self, database: str) -> None:
        self._database = database
        self._is_due = False
        self._rest: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """Have a thread write all commits to the disk, after a delay of ``FLUSH_SECONDS``.

        Do nothing if such a write is due already, or if no event loop runs yet.
        """
        if self._is_due:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # the hub is starting; its next commit brings this one to the disk as well
        self._is_due = True
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        loop.call_later(FLUSH_SECONDS, self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_due = False  # a commit during the flush needs another one
        _ = loop.run_in_executor(None, self._flush)
        self._rest = loop.call_later(REST_SECONDS, lambda: loop.run_in_executor(None, self._copy))

    def _flush(self) -> None:
        try:
            if flush(self._database) > LONGEST_LOG:
                self._copy()
        except OSError as error:
            log.warning("The last commits to the hub's database are brought to the disk later: %s", error)

    def _copy(self) -> None:
        try:
            checkpoint(self._database)
        except sqlite3.Error as error:
            log.warning("The log of the hub's database is copied into it later: %s", error)


def flush(database: str) -> int:
    """Write all commits in SQLite's write-ahead log to the disk; return the log's length in bytes, 0 if there is none.

    ``database``: the path of the database's file. Blocks. Raises OSError. SQLite puts no lock on the log's file, so
    closing this file here releases no lock of the hub's connections.
    """
    try:
        descriptor = os.open(f"{database}-wal", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0  # the last connection was closed, and has brought all to the disk
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def checkpoint(database: str) -> None:
    """Copy the write-ahead log into the database's file, as far as possible without waiting for other connections.

    ``database``: the path of this file. Blocks. Raises sqlite3.Error.
    """
    with closing(
        sqlite3.connect(f"{Path(database).absolute().as_uri()}?mode=rw", timeout=_BUSY_SECONDS, uri=True)
    ) as db:
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


_flushers: dict[str, Flusher] = {}


def _flusher(file: str) -> Flusher:
    return _flushers.setdefault(file, Flusher(file))
