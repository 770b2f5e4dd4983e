"""The hub's copy of the link's table: sessions, live clusters, the health of factories, and the banner of all pages.

One subscription keeps the copy up to date, and spawners and pages read the copy without I/O. The copy also has the last
1,000 sessions that ended. While the subscription fails, the copy keeps its last content, and is marked ``silent``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from typing import TypeVar

from factorycommon.models import BannerView, Cluster, ClusterId, Health, Session, SessionId, SessionState
from factorylink.client import LinkClient, LinkProblem, LinkSilent, TableChange
from factoryspawner.retry_pauses import pauses

T = TypeVar("T")

_ENDED_KEPT = 1000  # number of ended sessions that pages and spawners can still look up
_FIRST_ANSWER = 5.0  # seconds that a poll at the hub's start waits for the first snapshot

log = logging.getLogger("factoryspawner")


class LinkTable:
    """The hub's copy of the link's sessions (without Dask schedulers) and live clusters; callers can wait for changes.

    ``follow`` keeps the copy up to date. ``factories``: the health of each factory, by its id. ``silent``: True before
    the link's first answer, and while the subscription to the link fails (the link does not answer, refuses, or sends
    something that cannot be used). ``on_snapshot``: a function that is called at the beginning of each subscription,
    once the link's snapshot of all live sessions and clusters is stored.
    """

    def __init__(self, link: LinkClient) -> None:
        self._link = link
        self._sessions: dict[SessionId, Session] = {}
        self._clusters: dict[ClusterId, Cluster] = {}
        self._watches: dict[str, set[asyncio.Event]] = {}
        self._tried = asyncio.Event()  # set once the first attempt to reach the link has an outcome
        self.factories: dict[str, Health] = {}
        self.silent = True  # the link does not answer
        self._banner = BannerView(text="")
        self.on_snapshot: Callable[[], object] = lambda: None  # called at each new subscription to the link

    @property
    def banner(self) -> str:
        """Return the message that all pages show now, as last received from the link; "" means none."""
        return self._banner.shown(datetime.now(UTC))

    def session(self, session_id: SessionId) -> Session | None:
        """Return the session as last received; None if the link never sent the session, or no longer knows it.

        None, too, for a session that ended long ago: the table keeps only the last 1,000 sessions that ended.
        """
        return self._sessions.get(session_id)

    def of(self, user: str, server: str | None = None) -> list[Session]:
        """Return the live sessions of a person (of one server, if given), oldest first."""
        live = [
            session
            for session in self._sessions.values()
            if session.user == user and server in (None, session.server) and _live(session)
        ]
        return sorted(live, key=lambda session: session.created)

    def over(self, session_id: SessionId) -> bool:
        """Return whether this session has ended, or is unknown to the link, according to the link's last reports.

        While the link does not answer, an unknown session does not count as over.
        """
        session = self._sessions.get(session_id)
        if session is None:
            return not self.silent
        return not _live(session)

    async def wait_for_link(self) -> None:
        """Return when the first attempt to reach the link has succeeded or failed, after 5 s at the latest."""
        try:
            await asyncio.wait_for(self._tried.wait(), _FIRST_ANSWER)
        except TimeoutError:
            log.warning("The link has not answered in %g s", _FIRST_ANSWER)

    def answered(self, session: Session, known: Session | None) -> None:
        """Store a session from the link's answer to a request, before the link's event about the session arrives.

        ``known``: the table's entry for the session when the request was made; None: there was none. If the entry has
        changed since, the answer is ignored, because it may be older than the entry.
        """
        if self._sessions.get(session.id) is known:
            self._learn(session)

    def _learn(self, session: Session) -> None:
        self._sessions.pop(session.id, None)  # the newest change goes last, so that the oldest ends are dropped
        self._sessions[session.id] = session
        if not _live(session):
            self._drop_old_ends()
        self._wake(_of_session(session.id), _of_person(session.user))

    def live_of(self, user: str) -> AsyncGenerator[list[Session]]:
        """Yield the person's live sessions now and after every change, newest first.

        The generator ends when the link does not answer.
        """
        return self._changes(_of_person(user), lambda: self.of(user)[::-1])

    def clusters_of(self, user: str) -> AsyncGenerator[list[Cluster]]:
        """Yield the person's live clusters now and after every change, newest first.

        Ends when the link does not answer.
        """

        def look() -> list[Cluster]:
            mine = [cluster for cluster in self._clusters.values() if cluster.user == user]
            return sorted(mine, key=lambda cluster: cluster.created, reverse=True)

        return self._changes(_of_clusters(user), look)

    async def _changes(self, key: str, look: Callable[[], T]) -> AsyncGenerator[T]:
        last: T | None = None
        await self.wait_for_link()
        with self._watch(key) as changed:
            while not self.silent:
                changed.clear()
                live = look()
                if live != last:
                    last = live
                    yield live
                await changed.wait()

    @contextmanager
    def watch_session(self, session_id: SessionId) -> Iterator[asyncio.Event]:
        """Provide an event that is set at every change of the session.

        The event is also set when the link stops answering or answers again. To miss no change, clear the event, read
        the table, then wait.
        """
        with self._watch(_of_session(session_id)) as event:
            yield event

    @contextmanager
    def watch_person(self, user: str) -> Iterator[asyncio.Event]:
        """Provide an event that is set at every change of a person's sessions.

        The event is also set when the link stops answering or answers again.
        """
        with self._watch(_of_person(user)) as event:
            yield event

    async def follow(self) -> None:
        """Keep this copy up to date, without end.

        Subscribe to the link's table. Whenever the subscription ends or fails, pause, and subscribe again.
        """
        delays = pauses()
        while True:
            try:
                async with aclosing(self._link.table()) as changes:
                    async for change in changes:
                        await self._take(change)
                        delays = pauses()
            except LinkSilent as error:
                if not self._tried.is_set():
                    log.warning("The link does not answer: %s", error)
                elif not self.silent:
                    log.warning("The link fell silent: %s", error)
            except LinkProblem as error:
                log.error("The link gives no table: %s", error)  # noqa: TRY400  # its words say it all
            except Exception:
                log.exception("The link's table was not taken in")  # otherwise all servers keep their last state
            self._fall_silent()
            await asyncio.sleep(next(delays))

    async def _take(self, change: TableChange) -> None:
        if change.snapshot is not None:
            await self._take_snapshot(change.snapshot)
            self._take_clusters(change.clusters)
            self.on_snapshot()
        if change.banner is not None:
            self._banner = change.banner
        if change.health:
            self.factories.update(change.health)
        if change.session is not None:
            self._learn(change.session)
        if change.cluster is not None:
            self._learn_cluster(change.cluster)
        if self.silent:
            self.silent = False
            self._tried.set()
            self._wake(*self._watches)

    async def _take_snapshot(self, sessions: tuple[Session, ...]) -> None:
        """Apply a snapshot. If the snapshot lacks a live session of the table, ask the link how this session ended.

        If the link refuses to tell, for example because it does not know the session, the session is removed from the
        table. Raises LinkSilent if the link does not answer; then the snapshot is not applied.
        """
        fresh = {session.id: session for session in sessions}
        missing = [session.id for session in self._sessions.values() if _live(session) and session.id not in fresh]
        for session_id in missing:
            try:
                fresh[session_id] = await self._link.session(session_id)
            except LinkProblem:
                lost = self._sessions.pop(session_id)
                self._wake(_of_session(session_id), _of_person(lost.user))
        for session in fresh.values():
            self._learn(session)

    def _take_clusters(self, clusters: tuple[Cluster, ...]) -> None:
        known, self._clusters = self._clusters, {}
        for cluster in clusters:
            self._learn_cluster(cluster)
        self._wake(*(_of_clusters(cluster.user) for cluster in known.values()))

    def _learn_cluster(self, cluster: Cluster) -> None:
        """Store a live cluster, or remove an ended one: pages request ended clusters from the link."""
        if cluster.state == "ended":
            self._clusters.pop(cluster.id, None)
        else:
            self._clusters[cluster.id] = cluster
        self._wake(_of_clusters(cluster.user))

    def _fall_silent(self) -> None:
        self._tried.set()
        if not self.silent:
            self.silent = True
            self._wake(*self._watches)

    def _drop_old_ends(self) -> None:
        ended = [session.id for session in self._sessions.values() if not _live(session)]
        for session_id in ended[:-_ENDED_KEPT]:
            del self._sessions[session_id]

    @contextmanager
    def _watch(self, key: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._watches.setdefault(key, set()).add(event)
        try:
            yield event
        finally:
            self._watches[key].discard(event)
            if not self._watches[key]:
                del self._watches[key]

    def _wake(self, *keys: str) -> None:
        for key in keys:
            for event in self._watches.get(key, ()):
                event.set()


def _live(session: Session) -> bool:
    return session.state != SessionState.ENDED


def _of_session(session_id: SessionId) -> str:
    return f"session/{session_id}"


def _of_person(user: str) -> str:
    return f"person/{user}"


def _of_clusters(user: str) -> str:
    return f"clusters/{user}"
