"""Whether this person may begin this cluster, or have more jobs in it, and with what filled in."""

from __future__ import annotations

import math

from factorycommon.language import N_
from factorycommon.models import Choice, ClusterId, ClusterRequest, JobOptions, ProjectId, SessionId
from factorylink.catalogue.loading import find_size
from factorylink.catalogue.prices import billed_gpus
from factorylink.ledger.cluster_store import ClusterRecord
from factorylink.problems import invalid, limit
from factorylink.projects.account_leases import Right
from factorylink.sessions.link_state import LinkState
from factorylink.sessions.permission import Permission
from factorylink.state.live_cluster import LiveCluster
from factorylink.util import clock

ROUNDING = 1e-9  # GPU-hours


class ClusterAdmission:
    """Says no in words before anything is written."""

    def __init__(self, link_state: LinkState) -> None:
        self._link_state = link_state
        self._permission = Permission(link_state)

    async def admit(
        self, cluster_id: ClusterId, user: str, request: ClusterRequest, options: JobOptions | None = None
    ) -> tuple[Right, ClusterRecord]:
        """What they may use, and the cluster as it is to be written down. ``options``: of the session whose token
        asked, if one did. Call it while the person is ``beginning``. Raises ProblemError."""
        self._permission.person(user)
        place = self._permission.place(request.factory)
        if request.project is not None and not self._link_state.projects.on:
            said = N_("This gateway has no projects, so {project} cannot be charged.")
            raise invalid(said.format(project=request.project), "project")
        asked = {name: getattr(request, name) for name in ("factory", "size", "environment", "hours", "project")}
        choice = Choice(**asked)
        if choice.project is None:
            choice = choice.model_copy(update={"project": self._project_of(user, request)})
        right = await self._permission.right(place, user, choice)
        self._permission.at(place, user)
        self._permission.one_more_cluster(user, request.name)
        resolved = self._link_state.permissions.resolve(right, choice)
        size = find_size(place.factory, resolved.size)
        if request.processes > max(size.cores, size.gpus):
            said = N_("{size} has {cores} cores, too few for {processes} workers.")
            raise invalid(said.format(size=size.id, cores=size.cores, processes=request.processes), "processes")
        session = self._session(user, request.session)
        account = await self._link_state.account_leases.account(right, user)
        self._permission.account(place, account)
        self._link_state.account_leases.touches(place.factory.id, account)
        return right, ClusterRecord(
            id=cluster_id,
            user=user,
            name=request.name,
            factory=place.factory.id,
            account=account,
            choice=resolved,
            options=self._options(user, request, options),
            processes=request.processes,
            gpus=billed_gpus(place.factory, size),
            created=clock.now(),
            cap_gpu_hours=request.cap_gpu_hours,
            earlier=request.spent_gpu_hours,
            session=session,
        )

    def may_grow(self, live_cluster: LiveCluster, more: int, hours: float, *, adopt: bool) -> None:
        """Whether a cluster may have so many more jobs, but for what its project has: that is asked as it is held.
        ``adopt``: they are said to be there already and are taken over. Raises ProblemError."""
        self._permission.more_workers(live_cluster, more, hours, adopt=adopt)
        if not adopt:
            self._cap(live_cluster, more, hours)

    def _cap(self, live_cluster: LiveCluster, more: int, hours: float) -> None:
        row = live_cluster.row
        asked, cap = row.gpus * hours * more, row.cap_gpu_hours
        told = live_cluster.gpu_hours()
        used = told.spent + told.committed
        if cap is not None and used + asked > cap + ROUNDING:
            said = N_(
                "The cluster may use {cap} GPU-hours. {used} are used or reserved, and {more} more jobs of "
                "{hours} h would need {asked}."
            )
            figures = {"cap": f"{cap:g}", "used": f"{used:.2f}", "hours": f"{hours:g}", "asked": f"{asked:.2f}"}
            fits = max(0, math.floor(more * (cap + ROUNDING - used) / asked)) if asked else 0
            raise limit(
                said.format(more=more, **figures), N_("Ask for fewer or shorter jobs, or for a larger cap."), fits
            )

    def _project_of(self, user: str, request: ClusterRequest) -> ProjectId | None:
        """The project of the session that it belongs to, where that may pay there, too."""
        live = self._link_state.live.get(request.session or "")
        project = live.row.choice.project if live is not None and live.row.user == user else None
        mine = (p for p in self._link_state.projects.of(user) if request.factory in p.factories)
        return project if any(p.id == project for p in mine) else None

    def _session(self, user: str, session_id: SessionId | None) -> SessionId | None:
        if session_id is None:
            return None
        live = self._link_state.live.get(session_id)
        if live is None or live.row.user != user or live.row.wish != "run":
            raise invalid(N_("That is no live session of yours."), "session")
        return session_id

    def _options(self, user: str, request: ClusterRequest, own: JobOptions | None) -> JobOptions:
        """Return the operator's job options for workers: those of the session that holds the cluster at the same
        factory, else those of the session whose token asked, else those that the hub told for the person."""
        live = self._link_state.live.get(request.session or "")
        if live is not None and live.row.user == user and live.row.factory == request.factory:
            return live.row.options
        return self._link_state.people.options(user) if own is None else own
