"""Dask schedulers that run as jobs of their own: sessions that run Dask's scheduler instead of a notebook server.

So these jobs are handled like sessions: watched, followed through a requeue, found again after a restart, and reached
through their door only. A scheduler's job has its cluster's id, so that both have their files in one folder.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from pydantic import ValidationError

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models import HEAD, Choice, ClusterId, LogLine, Scheduler, SchedulerJob, Session, SessionState
from factorylink.catalogue.loading import ChoiceError, find_size, smallest_size
from factorylink.catalogue.prices import billed_gpus
from factorylink.clusters import worker_job
from factorylink.doors.connection import Stream
from factorylink.doors.manager import NO_PORT, DoorManager
from factorylink.errors import FactoryError, Gone
from factorylink.explain import explain
from factorylink.ledger.charges import Charges
from factorylink.ledger.cluster_store import ClusterRecord
from factorylink.ledger.ledger import LedgerConflict
from factorylink.ledger.schema import SessionRecord
from factorylink.problems import ProblemError, conflict, from_link_error, gone, invalid, limit
from factorylink.projects.account_leases import Grant
from factorylink.projects.permissions import Permissions
from factorylink.sessions.service import Sessions
from factorylink.sessions.session_views import SessionViews
from factorylink.sessions.submitter import NEVER, session_folder
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable
from factorylink.util import clock
from factorylink.util.background_tasks import BackgroundTasks

log = logging.getLogger("factorylink")

PROGRAM = "factorygate-head"  # the command word by which the job's launcher starts a Dask scheduler
HOURS = 12.0  # default walltime of a scheduler's job
YOUNG_SECONDS = 60.0  # seconds; the cluster of a younger scheduler job may not be written into the ledger yet


class SchedulerJobs:
    """Starts, shows and ends the jobs of Dask schedulers.

    ``on_change`` is called with a scheduler's session when its view on pages may have changed, and when it has ended.
    """

    def __init__(
        self,
        table: SessionTable,
        views: SessionViews,
        sessions: Sessions,
        charges: Charges,
        permissions: Permissions,
        factories: OfferedFactories,
        doors: DoorManager,
        tasks: BackgroundTasks,
    ) -> None:
        self._table = table
        self._views = views
        self._charges = charges
        self._permissions = permissions
        self._factories = factories
        self._doors = doors
        self._tasks = tasks
        self._sessions = sessions
        self.on_change: Callable[[LiveSession], None] = lambda _live: None
        # idle minutes as requested for the cluster; the ledger has them as whole minutes, rounded up
        self._idle: dict[ClusterId, float] = {}
        self._starting: set[ClusterId] = set()
        table.on_change.append(self._changed)

    def show(self, cluster_id: ClusterId) -> Session | None:
        """Return the session of the job that runs only a cluster's scheduler.

        None if the scheduler has no such job (for example, if it runs in a notebook), or if the session has ended.
        """
        live_session = self._live(cluster_id)
        return None if live_session is None else self._views.of(live_session)

    async def spent(self, cluster: ClusterRecord) -> float:
        """Return the GPU-hours of an ended cluster's scheduler job; 0 if the scheduler had no job of its own."""
        return await self._charges.gpu_hours(cluster.id) if cluster.session == cluster.id else 0.0

    def has(self, cluster: ClusterRecord) -> bool:
        """Return whether a cluster's scheduler has a live job of its own that is not being stopped.

        False also if this job belongs to another person than the cluster.
        """
        live_session = self._live(cluster.id)
        return (
            live_session is not None and live_session.record.user == cluster.user and live_session.record.wish == "run"
        )

    def _live(self, cluster_id: ClusterId) -> LiveSession | None:
        live_session = self._table.get(cluster_id)
        return live_session if live_session is not None and live_session.record.head else None

    # --- begin and end

    async def begin(self, cluster: ClusterRecord, grant: Grant, asked: SchedulerJob) -> None:
        """Submit the job of a cluster's scheduler; wait a short time for the batch scheduler's answer.

        ``asked``: what the cluster's request says about this job; ``grant``: the permission with which the person
        creates the cluster. Raises LedgerError, and ProblemError if the job may not start, or if its submission has
        failed.
        """
        connection = grant.connection
        try:
            size = find_size(grant.factory, asked.size) if asked.size else smallest_size(grant.factory)
        except ChoiceError as error:
            raise invalid(error.message, f"head.{error.field}") from error
        choice = Choice(
            factory=connection.factory.id,
            size=size.id,
            environment=cluster.choice.environment,
            hours=asked.hours or self._permissions.most(grant, min(HOURS, size.max_hours)),
            project=cluster.choice.project,
        )
        resolved = self._permissions.resolve(grant, choice, "head.")
        cap, needs = cluster.cap_gpu_hours, float(billed_gpus(connection.factory, size)) * resolved.hours
        if cap is not None and needs > cap:
            said = Message(
                "scheduler-over-cap",
                "The cluster may use {cap} GPU-hours, and its scheduler's job alone would need {needs}.",
            )
            raise limit(
                said.format(cap=f"{cap:g}", needs=f"{needs:g}"),
                N_("Ask for a larger cap, or fewer hours of the scheduler."),
            )
        text = Message("asked", "Asked for {size} at {factory}.").format(
            size=size.id, factory=connection.factory.site.machine
        )
        record = SessionRecord(
            id=cluster.id,
            user=cluster.user,
            server=HEAD + cluster.name,
            factory=cluster.factory,
            account=cluster.account,
            # the time without work is the Dask scheduler's own limit; the job's door has no limits (see ``Submitter``)
            choice=resolved.model_copy(update={"idle_minutes": math.ceil(asked.idle_minutes), "unopened_minutes": 0}),
            options=cluster.options,
            port=NO_PORT,
            created=clock.now(),
            log=[LogLine(at=clock.now(), text=text)],
        )
        self._idle[cluster.id] = asked.idle_minutes
        try:
            live_session = await self._sessions.begin(record, connection)
        except LedgerConflict as error:
            raise conflict(
                Message("cluster-name-taken", "There was another cluster of that id, or its name is taken.")
            ) from error
        await self._sessions.answer(live_session)

    async def end(self, cluster_id: ClusterId) -> None:
        """Request the end of the job of a cluster's scheduler, if there is such a job. Raises LedgerError."""
        if (live_session := self._live(cluster_id)) is not None and live_session.record.wish == "run":
            await self._sessions.stop(cluster_id, "person")

    async def end_strays(self, known: Callable[[ClusterId], bool]) -> None:
        """Request the end of each Dask scheduler's job that is older than a minute and has no live cluster.

        ``known``: returns whether there is a live cluster with the given id. Raises LedgerError.
        """
        for live_session in tuple(self._table.values()):
            old = clock.since(live_session.record.created).total_seconds() > YOUNG_SECONDS
            if (
                live_session.record.head
                and old
                and live_session.record.wish == "run"
                and not known(live_session.record.id)
            ):
                log.warning("The scheduler %s has no cluster: it is ended", live_session.record.id)
                await self._sessions.stop(live_session.record.id, "operator")

    # --- the life of a scheduler's job

    def _changed(self, live_session: LiveSession) -> None:
        if not live_session.record.head:
            return
        if live_session.record.ended is not None:
            self._idle.pop(live_session.record.id, None)
        waits = (
            live_session.door_open
            and live_session.door is not None
            and live_session.door.phase == "waiting"
            and not live_session.door.environment
        )
        if waits and live_session.record.wish == "run" and live_session.record.id not in self._starting:
            self._starting.add(live_session.record.id)
            self._tasks.begin(self._start(live_session), f"start of scheduler {live_session.record.id}")
        self.on_change(live_session)

    async def _start(self, live_session: LiveSession) -> None:
        """Send the scheduler's command through the door of its job, as the hub does for a notebook.

        The command holds no secret, since the scheduler makes its own keys.
        """
        record = live_session.record
        try:
            folder = await session_folder(self._factories[record.factory], record.account, record.id)
            argv = [
                *(PROGRAM, "--file", f"{folder}/{worker_job.FILE}", "--name", record.server.removeprefix(HEAD)),
                *("--idle-seconds", str(round(60 * self._idle_minutes(record)))),
            ]
            await self._sessions.send_environment(record.id, {}, argv)
        except (ProblemError, FactoryError) as error:
            log.info("The scheduler %s is not started yet: %s", record.id, error)
        finally:
            self._starting.discard(record.id)

    def _idle_minutes(self, record: SessionRecord) -> float:
        """Return after how many minutes without work a scheduler ends, as requested for its cluster."""
        kept: float = record.choice.idle_minutes
        if record.choice.unopened_minutes == NEVER:  # an earlier release wrote this record, without the requested time
            kept = SchedulerJob().idle_minutes
        return self._idle.get(record.id, kept)

    # --- connections to a scheduler

    async def keys(self, cluster: ClusterRecord, connection: FactoryConnection) -> Scheduler:
        """Return the address and keys of a cluster's scheduler, from the file that the cluster's workers read.

        Raises ProblemError, for example if the scheduler's job does not run yet.
        """
        live_session = self._live(cluster.id)
        if live_session is not None and live_session.record.state is not SessionState.RUNNING:
            raise conflict(Message("scheduler-not-running", "The cluster's scheduler does not run yet."))
        try:
            folder = await session_folder(connection, cluster.account, cluster.id)
            content = await connection.commands.read(cluster.account, f"{folder}/{worker_job.FILE}")
            return Scheduler.model_validate_json(content)
        except Gone as error:
            raise gone(f"How to reach the scheduler of {cluster.name}") from error
        except FactoryError as error:
            raise from_link_error(error) from error
        except ValidationError as error:
            log.warning("The file of cluster %s cannot be understood", cluster.id)
            raise conflict(
                Message("scheduler-misread", "What the cluster's scheduler says of itself cannot be understood.")
            ) from error

    async def enter(self, cluster_id: ClusterId) -> Stream:
        """Connect to the socket of a cluster's scheduler, through the door of its job; return a reader and a writer.

        Raises ProblemError, also if the scheduler has no live job of its own.
        """
        live_session = self._live(cluster_id)
        if live_session is None:
            raise conflict(explain.own("cluster-no-head").what)
        try:
            return await self._doors.enter(live_session.record.id)
        except FactoryError as error:
            raise from_link_error(error) from error
