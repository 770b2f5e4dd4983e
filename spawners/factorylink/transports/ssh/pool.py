"""The pool of open connections of one login name at a site; the pool assigns channels to connections.

sshd limits the channels with a command on a connection (``MaxSessions``), but not forwarded channels. So commands wait
here for a place on a connection. Commands that carry a door's connection (bridges) need such a place, too, but fail if
all connections are full. All doors over ``tcp`` use the first live connection.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from enum import Enum, auto

import asyncssh

from factorylink.errors import Expired, NotLetIn, Unreachable

log = logging.getLogger(__name__)

CLOSE_WAIT = 1.0  # seconds
IDLE = 300.0  # seconds without a channel after which a connection is closed
# Seconds before the next try after a failed one. The longest, with jitter, is shorter than the watcher's pause after
# failed questions (``rate_limiter.IDLE``), so that each question finds out whether the site is back.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20.0
# Seconds after a refused login: servers treat fast retries as an attack from the whole IP address.
REFUSED_PAUSE = 2.0
# An account that may no longer log in must not use up the logins of other accounts; the watcher serves all people.
LONGEST_REFUSED = 300.0
LAG = 0.1  # seconds until sshd has noticed that a channel is closed; before that, a new channel would be one too many
FREE = 2  # short connections in a row that do not count as a failure
STEADY = 10.0  # seconds after which a connection counts as working
SHRUNK = 60.0  # seconds for which a lowered number of places is used after a server refused a channel
FOR_COMMANDS = 2  # places of a connection that long-lived entries leave free for commands

_random = random.SystemRandom()

Enter = Callable[[Callable[[], None]], Awaitable[asyncssh.SSHClientConnection]]


class ConnectionKind(Enum):
    """The purpose of a channel: a command, a door's connection through a command, or a forwarded connection."""

    COMMAND = auto()
    ENTRY = auto()  # a command whose channel carries a door's connection while it is open
    FORWARD = auto()


class ConnectionUse:
    """A place for a channel on a connection, held until it is released."""

    def __init__(self, pooled: Connection, kind: ConnectionKind) -> None:
        self.connection = pooled.connection
        self._pooled = pooled
        self._kind = kind
        self._held = True
        pooled.used[kind] += 1

    def release(self, opened: bool = True) -> None:
        """Release the place; later calls do nothing. ``opened`` False: the channel was never opened.

        The place becomes free at once if the channel was never opened or is a forwarded connection, else ``LAG``
        seconds later.
        """
        if not self._held:
            return
        self._held = False
        if opened and self._kind is not ConnectionKind.FORWARD:
            self._pooled.leave(self._kind)
        else:
            self._pooled.free(self._kind)

    def refused(self) -> None:
        """Release the place, since the server refused the channel, and use fewer places of the connection for a while.

        Either the server allows fewer places than configured, or commands that the link has given up still run on the
        server.
        """
        self.release(opened=False)
        self._pooled.shrink()


class Connection:
    """One connection and its channels.

    ``most``: the limit for the channels that the server counts (``sessions``). ``changed`` is called whenever a place
    may be free.
    """

    def __init__(self, connection: asyncssh.SSHClientConnection, most: int, changed: Callable[[], None]) -> None:
        self.connection = connection
        self.most = self._configured = most
        self.used = dict.fromkeys(ConnectionKind, 0)
        self._changed = changed
        self.leaving = 0
        self.since = time.monotonic()
        self.idle: asyncio.TimerHandle | None = None
        self._growing: asyncio.TimerHandle | None = None

    def leave(self, kind: ConnectionKind) -> None:
        """Release a channel's place in ``LAG`` seconds, when the server has noticed that the channel is closed."""
        self.leaving += 1
        asyncio.get_running_loop().call_later(LAG, self._left, kind)

    def _left(self, kind: ConnectionKind) -> None:
        self.leaving -= 1
        self.free(kind)

    def free(self, kind: ConnectionKind) -> None:
        """Release a channel's place at once."""
        self.used[kind] -= 1
        self._changed()

    def shrink(self) -> None:
        """For ``SHRUNK`` seconds, limit the places to the number that is used now."""
        self.most = self.sessions
        log.warning("The site takes only %d commands at once on a connection now (MaxSessions).", self.most)
        if self._growing is not None:
            self._growing.cancel()
        self._growing = asyncio.get_running_loop().call_later(SHRUNK, self._grow)
        self._changed()

    def _grow(self) -> None:
        self.most = self._configured
        self._changed()

    @property
    def sessions(self) -> int:
        """Return how many places are used by channels that sshd counts towards its ``MaxSessions``."""
        return self.used[ConnectionKind.COMMAND] + self.used[ConnectionKind.ENTRY]

    def has_place(self, kind: ConnectionKind) -> bool:
        """Return whether one more channel of this kind may be opened."""
        if kind is ConnectionKind.FORWARD:
            return True
        if kind is ConnectionKind.ENTRY and self.used[kind] >= max(1, self.most - FOR_COMMANDS):
            return False
        return self.sessions < self.most


class Pool:
    """The connections of one login name; opened when needed, closed when idle.

    ``most_sessions``: the limit for channels with a command on one connection; ``most_connections``: the limit for
    connections; ``longest_refused``: the longest pause after a refused login, in seconds, before jitter of 30 %.
    """

    def __init__(self, most_sessions: int, most_connections: int, longest_refused: float = LONGEST_REFUSED) -> None:
        self._most_sessions = most_sessions
        self._most_connections = most_connections
        self._longest_refused = longest_refused
        self._connections: list[Connection] = []
        self._opening: asyncio.Task[None] | None = None
        self._change = asyncio.Event()
        self._waiting = 0
        self._failure: Unreachable | None = None
        self._pause = 0.0
        self._short = 0  # number of connections in a row that lived for less than ``STEADY``
        self._not_before = 0.0
        self._closed = False

    async def take(self, kind: ConnectionKind, enter: Enter) -> ConnectionUse:
        """Return a place for a channel as soon as one is free.

        ``enter``: opens a connection, and calls its argument when this connection is lost. The pool calls ``enter`` if
        no open connection has a place that is free or will be free soon, and one more connection is allowed. After
        ``enter`` has raised Unreachable (but not Expired), the pool makes a pause before the next call.

        If no connection is open, raises the error of ``enter``; during a pause, the last such error. Raises Unreachable
        if the pool is closed. If ``kind`` is ``ENTRY``, also raises Unreachable if no place will be free soon and no
        other connection can be opened now.
        """
        while True:
            if self._closed:
                raise Unreachable("The link ends.")
            for pooled in self._connections:
                if pooled.has_place(kind):
                    return self._use(pooled, kind)
            if not self._connections:
                self._check()
                await self._wait_for(self._open(enter))
                continue
            change = self._change
            useful = sum(pooled.most > 0 for pooled in self._connections)
            if self._waiting < sum(pooled.leaving for pooled in self._connections):
                pass  # each waiting caller will soon get a place
            elif useful < self._most_connections and time.monotonic() >= self._not_before:
                _ = self._open(enter)  # the end of the attempt is a change that wakes the callers, too
            elif kind is ConnectionKind.ENTRY and self._opening is None:
                raise Unreachable(
                    "No more doors can be entered as this account: its connections are full (transport.max_sessions, "
                    "transport.max_connections)."
                )
            self._waiting += 1
            try:
                await change.wait()
            finally:
                self._waiting -= 1

    def entries(self) -> int:
        """Return how many bridges (commands that connect to doors) are running now."""
        return sum(pooled.used[ConnectionKind.ENTRY] for pooled in self._connections)

    def _use(self, pooled: Connection, kind: ConnectionKind) -> ConnectionUse:
        if pooled.idle is not None:
            pooled.idle.cancel()
            pooled.idle = None
        return ConnectionUse(pooled, kind)

    async def _wait_for(self, opening: asyncio.Task[None]) -> None:
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            if not self._closed:
                raise  # the waiting caller was cancelled, not the attempt

    def _check(self) -> None:
        if self._failure is not None and time.monotonic() < self._not_before and self._opening is None:
            raise type(self._failure)(self._failure.message)

    def _open(self, enter: Enter) -> asyncio.Task[None]:
        """Return the task that opens a connection; all callers share it, and it continues if a caller is cancelled."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._add(enter))
            self._opening.add_done_callback(self._opened)
        return self._opening

    async def _add(self, enter: Enter) -> None:
        lost = asyncio.Event()
        pooled: Connection | None = None

        def on_lost() -> None:
            lost.set()
            if pooled is not None:
                self._lost(pooled)

        connection = await enter(on_lost)
        if self._closed or lost.is_set():
            connection.abort()
            raise Unreachable("The connection was closed at once.")
        pooled = Connection(connection, self._most_sessions, lambda: self._freed(pooled))
        self._connections.append(pooled)
        self._freed(pooled)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening = None
        error = None if task.cancelled() else task.exception()
        # the link knows an expired credential without asking the site
        if isinstance(error, Unreachable) and not isinstance(error, Expired):
            self._failed(error)
        self._tell()

    def _failed(self, error: Unreachable) -> None:
        """Start a pause before the next attempt; the pause grows until a connection works."""
        self._failure = error
        barred = isinstance(error, NotLetIn)
        first, longest = (REFUSED_PAUSE, self._longest_refused) if barred else (FIRST_PAUSE, LONGEST_PAUSE)
        self._pause = min(max(first, 2 * self._pause), longest)
        self._not_before = time.monotonic() + self._pause * _random.uniform(0.7, 1.3)

    def _freed(self, pooled: Connection | None) -> None:
        if pooled is None or pooled not in self._connections:
            return
        if not any(pooled.used.values()):
            if pooled.most == 0:  # commands that were given up hold all its places
                self._retire(pooled)
            elif pooled.idle is None:
                pooled.idle = asyncio.get_running_loop().call_later(IDLE, self._retire, pooled)
        self._tell()

    def _retire(self, pooled: Connection) -> None:
        self._forget(pooled)
        pooled.connection.close()

    def _lost(self, pooled: Connection) -> None:
        """Remove a connection that the site has closed, or that was lost.

        If more than ``FREE`` connections in a row lasted less than ``STEADY`` seconds, count this as a failure, and
        pause: some sites close each connection of certain accounts right after the login.
        """
        if pooled in self._connections and time.monotonic() - pooled.since < STEADY:
            self._short += 1
            if self._short > FREE:
                self._failed(Unreachable("The site closes this account's connections right after the login."))
        self._forget(pooled)

    def _forget(self, pooled: Connection) -> None:
        if pooled in self._connections:
            self._connections.remove(pooled)
        if time.monotonic() - pooled.since >= STEADY:
            self._failure, self._pause, self._short = None, 0.0, 0
        if pooled.idle is not None:
            pooled.idle.cancel()
        self._tell()

    def _tell(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    async def close(self) -> None:
        """Close all connections; operations that use them fail.

        Data that the site does not take at once are lost. Returns after ``CLOSE_WAIT`` seconds at the latest.
        """
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
        connections = [pooled.connection for pooled in self._connections]
        for connection in connections:
            connection.close()
        closing = [asyncio.create_task(connection.wait_closed()) for connection in connections]
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_WAIT)
        for connection in connections:
            connection.abort()
        self._tell()
