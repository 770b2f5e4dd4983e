"""Makes server-sent events about sessions, clusters and factories: a stream about all, and one about each session."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

from factorycommon.models import Session, SessionId, Slug, TableFactory, TableSnapshot
from factorylink.sessions.session_views import SessionViews
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.cluster_table import ClusterTable
from factorylink.state.live_cluster import LiveCluster
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable
from factorylink.util.event_feed import Feed, Message

_SESSION, _FACTORY, _CLUSTER = "session/", "factory/", "cluster/"  # prefix of the feed's keys
_BANNER = "banner"


class LiveFeed:
    """Publishes changes of all sessions, clusters and factories as server-sent events, from its creation on."""

    def __init__(
        self, sessions: SessionTable, clusters: ClusterTable, factories: OfferedFactories, views: SessionViews
    ) -> None:
        self._sessions = sessions
        self._clusters = clusters
        self._factories = factories
        self._views = views
        self._feed = Feed(self._message)
        sessions.on_change.append(self._session_changed)
        clusters.on_change.append(lambda live_cluster: self._feed.touch(_CLUSTER + live_cluster.record.id))
        clusters.on_put_away.append(lambda live_cluster: self._feed.forget(_CLUSTER + live_cluster.record.id))
        factories.on_change = self.factory_changed
        factories.on_banner = lambda: self._feed.touch(_BANNER)

    @property
    def closed(self) -> bool:
        """Return whether ``close`` was called, so that all streams have to end."""
        return self._feed.closed

    @property
    def followers(self) -> int:
        """Return how many streams of the method ``table`` are being read now; each connected hub reads one."""
        return self._feed.readers_of_all

    def close(self) -> None:
        """End all streams of this object, and each ``LiveCluster.stream`` at the next change of its cluster."""
        self._feed.close()
        self._clusters.close()

    def table(self) -> AsyncIterator[bytes]:
        """Return server-sent events about sessions, clusters and factories.

        The first events are those of the method ``snapshot``; later events tell changes.
        """
        return self._feed.stream(self.snapshot)

    def session(
        self, session_id: SessionId, known: Session, shown: Callable[[Session], Session] | None = None
    ) -> AsyncIterator[bytes]:
        """Return server-sent events about a session, until the session has ended.

        ``known``: the session's view that the caller has; it is sent if the link no longer has the session in memory.
        ``shown``: reduces a view to what this reader may see; None: the reader may see all.
        """

        def first() -> list[Message]:
            live_session = self._sessions.get(session_id)
            now = (self._sessions.ended(session_id) or known) if live_session is None else self._views.of(live_session)
            return [("session", now.model_dump_json())]

        def personal(message: Message) -> Message:
            if shown is None:
                return message
            return message[0], shown(Session.model_validate_json(message[1])).model_dump_json()

        return self._feed.stream(first, _SESSION + session_id, _is_end, personal)

    def snapshot(self) -> list[Message]:
        """Return the events with which each stream of the method ``table`` begins: ``snapshot``, then ``banner``.

        ``snapshot`` is the present state: the live sessions (``SessionViews.live``; not those that run a cluster's Dask
        scheduler), the clusters that are live or have just ended, and the health of all factories.
        """
        factories = tuple(TableFactory(id=name, health=self._factories.health(name)) for name in self._factories)
        clusters = tuple(live_cluster.figures() for live_cluster in self._clusters.values())
        snapshot = TableSnapshot(sessions=tuple(self._views.live()), factories=factories, clusters=clusters)
        return [("snapshot", snapshot.model_dump_json()), self._banner()]

    def _banner(self) -> Message:
        return "banner", self._factories.banner.model_dump_json()

    def factory_changed(self, factory_id: Slug) -> None:
        """Notify readers that a factory's health, and the views of its sessions and clusters, may have changed."""
        self._feed.touch(_FACTORY + factory_id)
        for live_session in self._sessions.at(factory_id):
            self._sessions.touch(live_session)
        for live_cluster in self._clusters.values():
            if live_cluster.record.factory == factory_id:
                self._feed.touch(_CLUSTER + live_cluster.record.id)

    def _session_changed(self, live_session: LiveSession) -> None:
        if live_session.record.ended is None:
            self._feed.touch(_SESSION + live_session.record.id)
        else:
            self._feed.forget(_SESSION + live_session.record.id)

    def _message(self, key: str) -> Message | None:
        kind, _, id = key.partition("/")
        if kind == _BANNER:
            return self._banner()
        if kind == "factory":
            return "factory", TableFactory(id=id, health=self._factories.health(id)).model_dump_json()
        if kind == "cluster":
            live_cluster: LiveCluster | None = self._clusters.get(id)
            return None if live_cluster is None else ("cluster", live_cluster.figures().model_dump_json())
        live_session = self._sessions.get(id)
        if live_session is None or live_session.record.head:  # a scheduler's job is shown in its cluster's events
            return None
        return "session", self._views.of(live_session).model_dump_json()


def _is_end(message: Message) -> bool:
    return bool(json.loads(message[1])["state"] == "ended")
