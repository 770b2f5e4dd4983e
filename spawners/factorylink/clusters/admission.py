"""Whether this person may begin this cluster, or have more jobs in it, and with what filled in."""

from __future__ import annotations

from factorylink import moments
from factorylink.admission import Admission
from factorylink.board import Board
from factorylink.catalogue import billed_gpus, find_size
from factorylink.clusters.flock import Flock
from factorylink.clusters.rows import ClusterRow
from factorylink.lending import Right
from factorylink.models import N_, Choice, ClusterId, ClusterRequest, JobOptions, ProjectId, SessionId
from factorylink.problems import conflict, invalid, limit
from factorylink.seams import Place

ROUNDING = 1e-9  # GPU-hours
TAKEN_OVER = 10  # times what one may have, at most


class ClusterAdmission:
    """Says no in words before anything is written."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._common = Admission(board)

    async def admit(self, cluster_id: ClusterId, user: str, request: ClusterRequest) -> tuple[Right, ClusterRow]:
        """What they may use, and the cluster as it is to be written down. Call it while the person is ``beginning``.
        Raises ProblemError."""
        place = self._common.place(request.factory)
        asked = {name: getattr(request, name) for name in ("factory", "size", "environment", "hours", "project")}
        choice = Choice(**asked)
        if choice.project is None:
            choice = choice.model_copy(update={"project": self._project_of(user, request)})
        right = await self._common.right(place, user, choice)
        self._common.may_begin(place, user)
        limits = self._board.config.limits
        mine = [f for f in self._board.flocks.values() if f.row.user == user and f.row.wish == "run"]
        if len(mine) >= limits.clusters_per_person:
            said = N_("You have {number} clusters, the most one may have.").format(number=len(mine))
            raise limit(said, N_("Close one of them first."))
        if any(flock.row.name == request.name for flock in mine):
            said = N_("You have a cluster named {name} already. Take it up by its name, or choose another.")
            raise conflict(said.format(name=request.name))
        resolved = self._board.rights.resolve(right, choice)
        size = find_size(place.factory, resolved.size)
        if request.processes > max(size.cores, size.gpus):
            said = N_("{size} has {cores} cores, too few for {processes} workers.")
            raise invalid(said.format(size=size.id, cores=size.cores, processes=request.processes), "processes")
        session = self._session(user, request.session)
        account = await self._board.lender.account(right, user)
        self._common.may_submit(place, account)
        self._board.lender.touches(place.factory.id, account)
        return right, ClusterRow(
            id=cluster_id,
            user=user,
            name=request.name,
            factory=place.factory.id,
            account=account,
            choice=resolved,
            options=self._options(user, request),
            processes=request.processes,
            gpus=billed_gpus(place.factory, size),
            created=moments.now(),
            cap_gpu_hours=request.cap_gpu_hours,
            earlier=request.spent_gpu_hours,
            session=session,
        )

    def may_grow(self, flock: Flock, place: Place, more: int, hours: float, *, adopt: bool) -> None:
        """Whether a cluster may have so many more jobs, but for what its project has: that is asked as it is held.
        ``adopt``: they are there already and are taken over, which needs no right to submit. Raises ProblemError."""
        row, limits = flock.row, self._board.config.limits
        if not adopt:
            self._may_submit_more(flock, place, hours)
        size = next((s for s in place.factory.sizes if s.id == row.choice.size), None)
        if size is None or hours > size.max_hours:
            said = N_("{hours} h is above the limit of {size}.")
            raise invalid(said.format(hours=f"{hours:g}", size=row.choice.size), "hours")
        mine = sum(len(f.alive()) for f in self._board.flocks.values() if f.row.user == row.user)
        # A batch is taken over as a whole, also what of it has ended.
        most = limits.worker_jobs_per_person * (TAKEN_OVER if adopt else 1)
        if mine + more > most:
            said = N_("You have {jobs} worker jobs, and {more} more would be over the {most} that one may have.")
            raise limit(said.format(jobs=mine, more=more, most=most), N_("Scale down, or close a cluster."))
        if not adopt:
            self._cap(flock, more, hours)

    def _may_submit_more(self, flock: Flock, place: Place, hours: float) -> None:
        row = flock.row
        self._common.may_begin(place, row.user)
        self._common.may_submit(place, row.account)
        right = self._board.rights.one(place, row.user, row.choice.project, row.choice.size)
        if right.project is not None:
            self._board.rights.hours(right.project, hours)

    def _cap(self, flock: Flock, more: int, hours: float) -> None:
        row = flock.row
        asked, cap = row.gpus * hours * more, row.cap_gpu_hours
        told = flock.gpu_hours()
        used = told.spent + told.committed
        if cap is not None and used + asked > cap + ROUNDING:
            said = N_(
                "The cluster may use {cap} GPU-hours. {used} are used or promised to its jobs, and {more} more jobs of "
                "{hours} h would need {asked}."
            )
            figures = {"cap": f"{cap:g}", "used": f"{used:.2f}", "hours": f"{hours:g}", "asked": f"{asked:.2f}"}
            raise limit(
                said.format(more=more, **figures),
                N_("Ask for fewer or shorter jobs, or for a larger cap."),
            )

    def _project_of(self, user: str, request: ClusterRequest) -> ProjectId | None:
        """The project of the session that it belongs to, where that may pay there, too."""
        live = self._board.live.get(request.session or "")
        project = live.row.choice.project if live is not None and live.row.user == user else None
        mine = (p for p in self._board.projects.of(user) if request.factory in p.factories)
        return project if any(p.id == project for p in mine) else None

    def _session(self, user: str, session_id: SessionId | None) -> SessionId | None:
        if session_id is None:
            return None
        live = self._board.live.get(session_id)
        if live is None or live.row.user != user or live.row.wish != "run":
            raise invalid(N_("That is no live session of yours."), "session")
        return session_id

    def _options(self, user: str, request: ClusterRequest) -> JobOptions:
        """What the operator set for the person's session there holds for its workers, too: who pays, a reservation."""
        live = self._board.live.get(request.session or "")
        same = live is not None and live.row.user == user and live.row.factory == request.factory
        return live.row.options if live is not None and same else JobOptions()
