"""What all parts of the lifecycle share: the live sessions, the ways out, and work in the background."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from factorycommon.models import (
    ClusterId,
    End,
    Health,
    Job,
    JobId,
    Project,
    ProjectId,
    ResolvedChoice,
    Session,
    SessionId,
    SessionState,
    TableFactory,
    TableSnapshot,
)
from factorylink.catalogue.catalogue import Catalogue
from factorylink.catalogue.choices import walltime
from factorylink.catalogue.prices import gpus_of
from factorylink.config import LinkConfig
from factorylink.doors.manager import DoorManager
from factorylink.explain import explain
from factorylink.jobs.identity import Identity
from factorylink.ledger import charges
from factorylink.ledger.charges import ChargeReservation, Charges
from factorylink.ledger.ledger import AuditEntry, Ledger, Write
from factorylink.ledger.schema import SessionRecord
from factorylink.projects.acceptances import Acceptances
from factorylink.projects.account_leases import AccountLeases
from factorylink.projects.book import ProjectBook, ProjectTable
from factorylink.projects.people import KnownPeople
from factorylink.projects.permissions import Permissions
from factorylink.schedulers.arrays import array_of
from factorylink.sessions.account_work import AccountWork
from factorylink.sessions.ended import show_charged
from factorylink.site import maintenance
from factorylink.site.factory_connection import FactoryConnection
from factorylink.state.live_cluster import CLUSTER, LiveCluster, cluster_key
from factorylink.state.live_session import LOST_SECONDS, LiveSession, room, show
from factorylink.util import clock
from factorylink.util.event_feed import Feed, Message

T = TypeVar("T")
Watches = Callable[
    [FactoryConnection, list[Job], str | None], Awaitable[None]
]  # a factory's answer; about one account, or all
log = logging.getLogger("factorylink")

_OVER_KEPT = 500
_SESSION = "session/"
_FACTORY = "factory/"
_ACTS = ("submit", "cancel", "enter", "extend")  # done at the site, with a key


class LinkState:
    """``live``: sessions that have not ended, by id. ``flocks``: clusters likewise. ``places``: the factories this hub
    offers, by id."""

    def __init__(
        self,
        config: LinkConfig,
        ledger: Ledger,
        identity: Identity,
        places: Mapping[str, FactoryConnection],
        doors: DoorManager,
        federation: Catalogue | None = None,
        projects: ProjectTable | None = None,
    ) -> None:
        self.config = config
        self.ledger = ledger
        self.budget = Charges(ledger)
        self.identity = identity
        self.places = places
        self.federation = federation or Catalogue()  # the whole catalogue, also what is not offered
        self.doors = doors
        self.people = KnownPeople(ledger)
        self.projects = ProjectBook(self.people, projects)
        self.account_leases = AccountLeases(ledger, self)
        self.acceptances = Acceptances(ledger, config)
        self.permissions = Permissions(config, self.projects, self.account_leases)
        self.live: dict[SessionId, LiveSession] = {}
        self.live_clusters: dict[ClusterId, LiveCluster] = {}
        self.over: dict[SessionId, Session] = {}  # the last that ended, for streams that began just before
        self.drains: dict[str, str] = {}  # factory id -> the operator's message
        self.same_name: dict[str, int] = {}  # factory id -> jobs that another gateway of the same name has there
        self.adopted: Counter[str] = Counter()  # by person: worker jobs said to be there that no factory has shown yet
        self.feed = Feed(self._message)
        self.on_change: list[
            Callable[[LiveSession], None]
        ] = []  # told of each session that may look different, or has ended
        self._watchers: list[Watches] = []
        self._account_lists: list[Callable[[str], Iterable[str]]] = [self._accounts]
        self._tasks: set[asyncio.Task[Any]] = set()
        self.apart = AccountWork(self.spawn)

    # --- looks

    def session(self, live: LiveSession) -> Session:
        """The session as it looks now."""
        place = self.places.get(live.row.factory)
        if place is None:
            return show(live, _not_offered(live.row.factory))
        more = self.room(live, place)
        barred = place.access_status.problem(live.row.account)
        shown = show(live, place.site.health, self.doors.problem(live.row.id), more, barred)
        if shown.waits_for is None or live.job is None:
            return shown
        waits_for = shown.waits_for
        if shown.state == SessionState.PENDING and place.site.all_out(live.job.partition):
            waits_for = explain.nodes_out(waits_for)
            shown = shown.model_copy(update={"waits_for": waits_for})
        closing = maintenance.closing(place.site.maintenance(), live.job.partition)
        if closing is None or clock.now() + timedelta(hours=live.row.choice.hours) <= closing.start:
            return shown
        return shown.model_copy(update={"waits_for": explain.before_maintenance(waits_for, closing)})

    def room(self, live: LiveSession, place: FactoryConnection) -> float | None:
        """Hours that may still be added to its time; None: not here, or not now."""
        choice = live.row.choice
        until = self.projects.until(live.row.user, choice.project, place.factory.id)
        project = self.project(choice.project)
        return room(live, place.factory, place.access, until, project, place.site.maintenance())

    def health(self, factory_id: str) -> Health:
        """The factory's health, with a drain or a pause laid over it."""
        health = self.places[factory_id].site.health
        words, message = self.places[factory_id].access_status.paused, self.drains.get(factory_id)
        if words is None and message is not None:
            words = explain.own("draining").model_copy(update={"what": message})
        if words is None or health.state == "unreachable":
            return health
        return health.model_copy(update={"state": "draining", "words": words})

    def not_offered(self, factory_id: str) -> str:
        """Why nothing is started at a factory that is none of ``places``."""
        known = f"Unknown factory {factory_id!r}; there are: {', '.join(self.places)}."
        return self.federation.refusal(factory_id) or known

    def sessions(self, user: str | None = None, server: str | None = None) -> list[Session]:
        """Live sessions that run a notebook; those wished to run first, then newest first."""
        found = [
            live
            for live in self.live.values()
            if user in (None, live.row.user) and server in (None, live.row.server)
            if not live.row.head and not live.withdrawn
        ]
        found.sort(key=lambda live: (live.row.wish != "run", -live.row.created.timestamp()))
        return [self.session(live) for live in found]

    def at(self, factory_id: str) -> list[LiveSession]:
        """Live sessions of a factory."""
        return [live for live in self.live.values() if live.row.factory == factory_id]

    def job_ids(self, factory_id: str, account: str | None) -> Iterator[JobId]:
        """The jobs of a site account, None: of all, that have not ended and whose ids are known."""
        for live in self.at(factory_id):
            if live.row.job is not None and account in (None, live.row.account):
                yield live.row.job
        for live_cluster in self.live_clusters.values():
            if live_cluster.row.factory == factory_id and account in (None, live_cluster.row.account):
                yield from (id for batch, worker in live_cluster.alive() if (id := batch.job_of(worker)) is not None)

    def of_batch(self, factory_id: str, job: Job) -> bool:
        """Return whether a job is, by its comment and its id, one of a cluster's batch."""
        batch_id = self.identity.batch_of(job, factory_id)
        batches = [live_cluster.row.batches.get(batch_id or "") for live_cluster in self.live_clusters.values()]
        return any(batch is not None and batch.job == array_of(job.id) for batch in batches)

    def of_session(self, factory_id: str, job: Job) -> bool:
        """Return whether a job is, by its comment and its id, a session's."""
        live = self.live.get(self.identity.session_of(job, factory_id) or "")
        return live is not None and live.row.job == job.id

    def here(self) -> Iterator[LiveSession | LiveCluster]:
        """All sessions and clusters that have not ended."""
        yield from self.live.values()
        yield from (live_cluster for live_cluster in self.live_clusters.values() if live_cluster.row.ended is None)

    def accounts(self, factory_id: str) -> set[str]:
        """Site accounts that have something there."""
        return {account for listed in self._account_lists for account in listed(factory_id)}

    def _accounts(self, factory_id: str) -> set[str]:
        return {live.row.account for live in self.at(factory_id)}

    def also_watches(self, answered: Watches, accounts: Callable[[str], Iterable[str]]) -> None:
        """Somebody else has jobs, too: is told each answer after the sessions, and says for whom to ask."""
        self._watchers.append(answered)
        self._account_lists.append(accounts)

    async def answered(self, place: FactoryConnection, jobs: list[Job], account: str | None = None) -> None:
        """Tell them a factory's answer."""
        for watches in self._watchers:
            await watches(place, jobs, account)

    def table(self) -> list[Message]:
        """First event for who wants everything."""
        factories = tuple(TableFactory(id=name, health=self.health(name)) for name in self.places)
        clusters = tuple(live_cluster.figures() for live_cluster in self.live_clusters.values())
        snapshot = TableSnapshot(sessions=tuple(self.sessions()), factories=factories, clusters=clusters)
        return [("snapshot", snapshot.model_dump_json())]

    # --- changes

    def touch(self, live: LiveSession) -> None:
        """It may look different now; tell whoever reads."""
        if live.row.id in self.live:
            self.feed.touch(_SESSION + live.row.id)
            self._tell(live)

    def _tell(self, live: LiveSession) -> None:
        for heard in self.on_change:
            heard(live)

    def touch_factory(self, factory_id: str) -> None:
        """A factory's health may have changed, and with it how its sessions and clusters look."""
        self.feed.touch(_FACTORY + factory_id)
        for live in self.at(factory_id):
            self.touch(live)
        for live_cluster in self.live_clusters.values():
            if live_cluster.row.factory == factory_id:
                self.feed.touch(cluster_key(live_cluster.row.id))

    def door_changed(self, live: LiveSession) -> None:
        """Take over whether the door is open; if it was lost, look again when that counts."""
        is_open = self.doors.is_open(live.row.id)
        if live.door_open and not is_open:
            live.door_lost = clock.ticks()
            asyncio.get_running_loop().call_later(LOST_SECONDS + 0.1, self.touch, live)
        if is_open and not live.door_open:
            self.background(self.ledger.note(self.entry(live.row, "enter")), f"audit of {live.row.id}")
        live.door_open = is_open
        self.touch(live)

    async def keep(self, row: SessionRecord, entry: AuditEntry, held: Write) -> LiveSession:
        """Write a new row and hold it, with what its budget says; its port listens from now on. Raises Conflict,
        OverBudget."""
        await self.ledger.add(row, entry, held)
        live = self.live[row.id] = LiveSession(row)
        await self.doors.bind(row.id, row.port)
        self.touch(live)
        return live

    def ports(self) -> set[int]:
        """Ports of live sessions."""
        return {live.row.port for live in self.live.values()}

    async def end(
        self, live: LiveSession, still: Callable[[], bool] = lambda: True, record: End | None = None, **values: Any
    ) -> None:
        """Write that the session ended, tell it, and let go of its door. Once; and only if it is ``still`` so when
        nothing else is being done with it. ``record``: what the scheduler says of its job's end."""
        async with live.lock:
            if live.row.ended is not None or not still():
                return
            entry = self.entry(live.row, "end", detail=str(values.get("end_reason", "")))
            values = {"state": SessionState.ENDED, "ended": clock.now(), **values}
            row, now = live.row, values["ended"]
            started, ends = row.started, row.ends
            if started is None and record is None and row.wish == "run" and row.job is not None and live.seen:
                # Nobody knows whether it ran: then it did from when it was last seen waiting.
                started, ends = live.seen, live.seen + timedelta(seconds=walltime(row.choice.hours))
            settled = charges.settle(row.id, record, live.restarts, started, min(now, ends or now))
            await self.ledger.change(row, settled, say=values["end"].what, entry=entry, **values)
            live.door_open = False
            live.job_over.set()
        self.feed.forget(_SESSION + live.row.id)
        del self.live[live.row.id]
        self.over[live.row.id] = show_charged(live.row, settled.used, self.places)
        while len(self.over) > _OVER_KEPT:
            del self.over[next(iter(self.over))]
        for task in (live.probing, live.stopping, live.seeking):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        self._tell(live)
        await self.doors.close(live.row.id)

    def project(self, project_id: ProjectId | None) -> Project | None:
        """Who pays, as it is now; None: nobody in particular, or it is not known any more."""
        return None if project_id is None else self.projects.get(project_id)

    def payer(self, choice: ResolvedChoice) -> ProjectId | None:
        """Whose GPU-hours are counted for it. Where there are no projects, what somebody calls one is none."""
        return choice.project if self.projects.on else None

    def claim(self, row: SessionRecord) -> ChargeReservation:
        """What a session's job may use at most."""
        place, project = self.places.get(row.factory), self.payer(row.choice)
        gpus = 0 if place is None else gpus_of(place.factory, row.choice.size)
        return ChargeReservation(row.id, project, row.factory, row.user, row.account, gpus, walltime(row.choice.hours))

    def entry(self, row: SessionRecord, action: str, detail: str = "") -> AuditEntry:
        """A line for the audit."""
        place = self.places.get(row.factory) if action in _ACTS else None
        key_id = "" if place is None else place.access_status.key_id(row.account)
        return AuditEntry(row.user, row.account, row.factory, action, row.job, detail, key_id)

    # --- background

    def background(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Run it apart from the caller; what it raises goes to the log."""
        self._tasks.add(self.spawn(work, name))

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """The same, for who wants to wait for it or cancel it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        """End what runs in the background. Jobs and doors' notebooks go on."""
        self.feed.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed: %s", task.get_name(), error, exc_info=error)

    def _message(self, key: str) -> Message | None:
        if key.startswith(_FACTORY):
            factory_id = key.removeprefix(_FACTORY)
            return ("factory", TableFactory(id=factory_id, health=self.health(factory_id)).model_dump_json())
        if key.startswith(CLUSTER):
            live_cluster = self.live_clusters.get(key.removeprefix(CLUSTER))
            return None if live_cluster is None else ("cluster", live_cluster.figures().model_dump_json())
        live = self.live.get(key.removeprefix(_SESSION))
        if live is None or live.row.head:  # a scheduler's job is told with its cluster
            return None
        return "session", self.session(live).model_dump_json()


def session_key(session_id: SessionId) -> str:
    """The feed's key of a session."""
    return _SESSION + session_id


def _not_offered(factory_id: str) -> Health:
    words = explain.own("not-offered", factory_id)
    return Health(state="unreachable", since=clock.now(), words=words)
