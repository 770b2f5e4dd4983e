"""Schedulers of clusters as jobs of their own: sessions whose server is Dask's scheduler in place of a notebook.

So all that holds for a session holds for them: watched, followed through a requeue, found again after a restart,
entered by their door and only so. A head has its cluster's id, so their files lie in one folder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from pydantic import ValidationError

from factorycommon.language import N_
from factorycommon.models import HEAD, Choice, ClusterId, LogLine, Scheduler, SchedulerJob, Session, SessionState
from factorylink.catalogue.loading import ChoiceError, find_size, smallest_size
from factorylink.catalogue.prices import billed_gpus
from factorylink.clusters import worker_job
from factorylink.doors.connection import Stream
from factorylink.doors.manager import NO_PORT
from factorylink.errors import FactoryError, Gone
from factorylink.explain import explain
from factorylink.ledger.cluster_store import ClusterRecord
from factorylink.ledger.ledger import LedgerConflict
from factorylink.ledger.schema import SessionRecord
from factorylink.problems import ProblemError, conflict, from_link_error, gone, invalid, limit
from factorylink.projects.account_leases import Right
from factorylink.sessions.link_state import LinkState
from factorylink.sessions.service import Sessions
from factorylink.sessions.submitter import session_folder
from factorylink.site.factory_connection import FactoryConnection
from factorylink.state.live_session import LiveSession
from factorylink.util import clock

log = logging.getLogger("factorylink")

PROGRAM = "factorygate-head"  # what the session's launcher knows the scheduler by
HOURS = 12.0  # of a head's walltime, where nobody says more
NEVER = 24 * 60  # minutes: its own scheduler knows better whether it is idle
YOUNG_SECONDS = 60.0  # a head this young may still be having its cluster written down


class SchedulerJobs:
    """``on_change`` is called with the session of a scheduler's job whenever it may look different, or has ended."""

    def __init__(self, link_state: LinkState, sessions: Sessions, on_change: Callable[[LiveSession], None]) -> None:
        self._link_state = link_state
        self._sessions = sessions
        self._on_change = on_change
        self._idle: dict[ClusterId, float] = {}  # minutes, as the cluster was asked for; lost with this process
        self._starting: set[ClusterId] = set()
        link_state.on_change.append(self._changed)

    def show(self, cluster_id: ClusterId) -> Session | None:
        """The job of a cluster's scheduler, if it has one and it has not ended."""
        live = self._live(cluster_id)
        return None if live is None else self._link_state.session(live)

    async def spent(self, cluster: ClusterRecord) -> float:
        """Return the GPU-hours of the scheduler's job of a cluster that ended, as its charge counts them."""
        return await self._link_state.budget.gpu_hours(cluster.id) if cluster.session == cluster.id else 0.0

    def has(self, cluster: ClusterRecord) -> bool:
        """Whether its scheduler's job is there already."""
        live = self._live(cluster.id)
        return live is not None and live.row.user == cluster.user and live.row.wish == "run"

    def _live(self, cluster_id: ClusterId) -> LiveSession | None:
        live = self._link_state.live.get(cluster_id)
        return live if live is not None and live.row.head else None

    # --- begin and end

    async def begin(self, cluster: ClusterRecord, right: Right, asked: SchedulerJob) -> None:
        """Ask for the job. Raises ProblemError."""
        place = right.place
        try:
            size = find_size(right.factory, asked.size) if asked.size else smallest_size(right.factory)
        except ChoiceError as error:
            raise invalid(error.message, f"head.{error.field}") from error
        choice = Choice(
            factory=place.factory.id,
            size=size.id,
            environment=cluster.choice.environment,
            hours=asked.hours or self._link_state.permissions.most(right, min(HOURS, size.max_hours)),
            project=cluster.choice.project,
        )
        resolved = self._link_state.permissions.resolve(right, choice, "head.")
        cap, needs = cluster.cap_gpu_hours, billed_gpus(place.factory, size) * resolved.hours
        if cap is not None and needs > cap:
            said = N_("The cluster may use {cap} GPU-hours, and its scheduler's job alone would need {needs}.")
            raise limit(
                said.format(cap=f"{cap:g}", needs=f"{needs:g}"),
                N_("Ask for a larger cap, or fewer hours of the scheduler."),
            )
        text = N_("Asked for {size} at {factory}.").format(size=size.id, factory=place.factory.site.machine)
        row = SessionRecord(
            id=cluster.id,
            user=cluster.user,
            server=HEAD + cluster.name,
            factory=cluster.factory,
            account=cluster.account,
            choice=resolved.model_copy(update={"idle_minutes": NEVER, "unopened_minutes": NEVER}),
            options=cluster.options,
            port=NO_PORT,
            created=clock.now(),
            log=[LogLine(at=clock.now(), text=text)],
        )
        self._idle[cluster.id] = asked.idle_minutes
        try:
            live = await self._sessions.begin(row, place)
        except LedgerConflict as error:
            raise conflict(N_("There was another cluster of that id, or its name is taken.")) from error
        await self._sessions.answer(live)

    async def end(self, cluster_id: ClusterId) -> None:
        """See that it ends. Raises LedgerError."""
        if (live := self._live(cluster_id)) is not None and live.row.wish == "run":
            await self._sessions.stop(cluster_id, "person")

    async def end_strays(self, known: Callable[[ClusterId], bool]) -> None:
        """End heads whose cluster nobody knows: never written down, or lost with a ledger. Raises LedgerError."""
        for live in tuple(self._link_state.live.values()):
            old = clock.since(live.row.created).total_seconds() > YOUNG_SECONDS
            if live.row.head and old and live.row.wish == "run" and not known(live.row.id):
                log.warning("The scheduler %s has no cluster: it is ended", live.row.id)
                await self._sessions.stop(live.row.id, "operator")

    # --- its life

    def _changed(self, live: LiveSession) -> None:
        if not live.row.head:
            return
        if live.row.ended is not None:
            self._idle.pop(live.row.id, None)
        waits = live.door_open and live.door is not None and live.door.phase == "waiting" and not live.door.environment
        if waits and live.row.wish == "run" and live.row.id not in self._starting:
            self._starting.add(live.row.id)
            self._link_state.background(self._start(live), f"start of scheduler {live.row.id}")
        self._on_change(live)

    async def _start(self, live: LiveSession) -> None:
        """What a hub does for a notebook. There is no secret in it: the scheduler makes its own keys."""
        row = live.row
        try:
            folder = await session_folder(self._link_state.places[row.factory], row.account, row.id)
            argv = [
                *(PROGRAM, "--file", f"{folder}/{worker_job.FILE}", "--name", row.server.removeprefix(HEAD)),
                *("--idle-seconds", str(round(60 * self._idle.get(row.id, SchedulerJob().idle_minutes)))),
            ]
            await self._sessions.send_environment(row.id, {}, argv)
        except (ProblemError, FactoryError) as error:
            log.info("The scheduler %s is not started yet: %s", row.id, error)
        finally:
            self._starting.discard(row.id)

    # --- getting to it

    async def keys(self, cluster: ClusterRecord, place: FactoryConnection) -> Scheduler:
        """How a client finds and trusts a cluster's scheduler: what its workers were told. Raises ProblemError."""
        live = self._live(cluster.id)
        if live is not None and live.row.state is not SessionState.RUNNING:
            raise conflict(N_("The cluster's scheduler does not run yet."))
        try:
            folder = await session_folder(place, cluster.account, cluster.id)
            told = await place.transport.read(cluster.account, f"{folder}/{worker_job.FILE}")
            return Scheduler.model_validate_json(told)
        except Gone as error:
            raise gone(f"How to reach the scheduler of {cluster.name}") from error
        except FactoryError as error:
            raise from_link_error(error) from error
        except ValidationError as error:
            log.warning("The file of cluster %s cannot be understood", cluster.id)
            raise conflict(N_("What the cluster's scheduler says of itself cannot be understood.")) from error

    async def enter(self, cluster_id: ClusterId) -> Stream:
        """A way to the scheduler's socket. Raises ProblemError."""
        live = self._live(cluster_id)
        if live is None:
            raise conflict(explain.own("cluster-no-head").what)
        try:
            return await self._link_state.doors.enter(live.row.id)
        except FactoryError as error:
            raise from_link_error(error) from error
