"""Decides whether a person may start a cluster, or more jobs in it, and fills in the defaults."""

from __future__ import annotations

import math

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models import Choice, ClusterId, ClusterRequest, JobOptions, ProjectId, SessionId
from factorylink.catalogue.loading import find_size
from factorylink.catalogue.prices import billed_gpus
from factorylink.ledger.cluster_store import ClusterRecord
from factorylink.problems import invalid, limit
from factorylink.projects.account_leases import AccountLeases, Grant
from factorylink.projects.book import ProjectBook
from factorylink.projects.people import KnownPeople
from factorylink.projects.permissions import Permissions
from factorylink.sessions.permission import Permission
from factorylink.state.live_cluster import LiveCluster
from factorylink.state.session_table import SessionTable
from factorylink.util import clock

ROUNDING = 1e-9  # GPU-hours


class ClusterAdmission:
    """Decides whether a cluster may start or grow; a refusal is a ProblemError with an explanation."""

    def __init__(
        self,
        sessions: SessionTable,
        permission: Permission,
        permissions: Permissions,
        people: KnownPeople,
        projects: ProjectBook,
        account_leases: AccountLeases,
    ) -> None:
        self._sessions = sessions
        self._permission = permission
        self._permissions = permissions
        self._people = people
        self._projects = projects
        self._account_leases = account_leases

    async def admit(
        self, cluster_id: ClusterId, user: str, request: ClusterRequest, options: JobOptions | None = None
    ) -> tuple[Grant, ClusterRecord]:
        """Check that a person may create a cluster; return the permission, and the cluster's record for the ledger.

        A site account is lent to a person without one. Call this method inside ``AccountLeases.beginning``.
        ``options``: the job options of the session whose token the client used; None: the client used another token.
        Raises ProblemError, LedgerError.
        """
        self._permission.person(user)
        connection = self._permission.connection(request.factory)
        if request.project is not None and not self._projects.is_charged(request.project):
            said = Message("no-projects-here", "This gateway has no projects, so {project} cannot be charged.")
            raise invalid(said.format(project=request.project), "project")
        asked = {name: getattr(request, name) for name in ("factory", "size", "environment", "hours", "project")}
        choice = Choice(**asked)
        if choice.project is None:
            choice = choice.model_copy(update={"project": self._project_of(user, request)})
        grant = await self._permission.grant(connection, user, choice)
        self._permission.at(connection, user)
        self._permission.one_more_cluster(user, request.name)
        resolved = self._permissions.resolve(grant, choice)
        size = find_size(connection.factory, resolved.size)
        if request.processes > max(size.cores, size.gpus):
            said = Message("too-few-cores", "{size} has {cores} cores, too few for {processes} workers.")
            raise invalid(said.format(size=size.id, cores=size.cores, processes=request.processes), "processes")
        session = self._session(user, request.session)
        account = await self._account_leases.account(grant, user)
        self._permission.account(connection, account)
        self._account_leases.touches(connection.factory.id, account)
        return grant, ClusterRecord(
            id=cluster_id,
            user=user,
            name=request.name,
            factory=connection.factory.id,
            account=account,
            choice=resolved,
            options=self._options(user, request, options),
            processes=request.processes,
            gpus=billed_gpus(connection.factory, size),
            created=clock.now(),
            cap_gpu_hours=request.cap_gpu_hours,
            earlier=request.spent_gpu_hours,
            session=session,
        )

    def may_grow(self, live_cluster: LiveCluster, more: int, hours: float, *, adopt: bool) -> None:
        """Raise ProblemError if a cluster may not have ``more`` further jobs of ``hours`` hours each.

        The project's budget is checked later, when GPU-hours are reserved for the jobs. ``adopt``: the client says that
        the jobs exist already; then the person's permission and the cluster's cap are not checked.
        """
        self._permission.more_workers(live_cluster, more, hours, adopt=adopt)
        if not adopt:
            self._cap(live_cluster, more, hours)

    def _cap(self, live_cluster: LiveCluster, more: int, hours: float) -> None:
        record = live_cluster.record
        asked, cap = float(record.gpus) * hours * more, record.cap_gpu_hours
        gpu_hours = live_cluster.gpu_hours()
        used = gpu_hours.spent + gpu_hours.committed
        if cap is not None and used + asked > cap + ROUNDING:
            said = Message(
                "over-cap",
                "The cluster may use {cap} GPU-hours. {used} are used or reserved, and {more} more jobs of "
                "{hours} h would need {asked}.",
            )
            figures = {"cap": f"{cap:g}", "used": f"{used:.2f}", "hours": f"{hours:g}", "asked": f"{asked:.2f}"}
            fits = max(0, math.floor(more * (cap + ROUNDING - used) / asked)) if asked else 0
            raise limit(
                said.format(more=more, **figures), N_("Ask for fewer or shorter jobs, or for a larger cap."), fits
            )

    def _project_of(self, user: str, request: ClusterRequest) -> ProjectId | None:
        """Return the project of the session that holds the cluster.

        None: the request names no live session of the user, the session has no project, or the user may not use this
        project at the cluster's factory.
        """
        live_session = self._sessions.get(request.session or "")
        project = (
            live_session.record.choice.project
            if live_session is not None and live_session.record.user == user
            else None
        )
        mine = (p for p in self._projects.of(user) if request.factory in p.factories)
        return project if any(p.id == project for p in mine) else None

    def _session(self, user: str, session_id: SessionId | None) -> SessionId | None:
        if session_id is None:
            return None
        live_session = self._sessions.get(session_id)
        if live_session is None or live_session.record.user != user or live_session.record.wish != "run":
            raise invalid(Message("not-your-session", "That is no live session of yours."), "session")
        return session_id

    def _options(self, user: str, request: ClusterRequest, own: JobOptions | None) -> JobOptions:
        """Return the operator's job options for workers.

        These are the options of the session that holds the cluster, if this session is at the same factory; else those
        of the session whose token was used; else those that the hub sent for the person.
        """
        live_session = self._sessions.get(request.session or "")
        if (
            live_session is not None
            and live_session.record.user == user
            and live_session.record.factory == request.factory
        ):
            return live_session.record.options
        return self._people.options(user) if own is None else own
