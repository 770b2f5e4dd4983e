"""What the link tells the workshops service about a project: its past and live sessions, clusters and use."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from factorycommon.models.base import HEAD, Model, Occupant, SessionId, Slot, Slug
from factorycommon.models.messages import Code
from factorycommon.models.prices import Amount
from factorycommon.models.sessions import EndReason

MOST_RUNS = 500  # of one page
MOST_CLUSTER_USES = 5000


class PastRun(Model):
    """One session of a project, live or ended.

    ``server``: a server's name, or ``dask/`` and a cluster's name for a cluster's Dask scheduler; ``asked``: when the
    session was requested; ``ended``: None while the session is live; ``code``: the code of the explanation why the
    session ended, "" if there is none.

    ``started``: when the job started; ``ready``: when the notebook or scheduler first answered; ``opened``: when the
    link first knew that somebody had opened the notebook. None in one of these three: not yet, or never. If the job was
    requeued, these three are about its last run.

    ``seconds``: the charged seconds of all runs of the session's job so far; ``gpu_hours``: the GPU-hours that the
    gateway charges for these seconds; ``own``: their cost in the site's own unit, None if the site charges in GPU-hours
    or if the price is not known.
    """

    id: SessionId
    person: Occupant
    server: Slot
    factory: Slug
    size: Slug
    environment: Slug
    asked: datetime
    started: datetime | None = None
    ready: datetime | None = None
    opened: datetime | None = None
    ended: datetime | None = None
    end_reason: EndReason | None = None
    code: Code = ""
    seconds: int = Field(default=0, ge=0)
    gpu_hours: float = Field(default=0, ge=0, allow_inf_nan=False)
    own: Amount | None = None

    @property
    def notebook(self) -> bool:
        """Return whether this session ran a notebook, and not a cluster's Dask scheduler."""
        return not self.server.startswith(HEAD)


class ClusterUse(Model):
    """What the workers of one person's Dask clusters have used at a factory with one node size.

    ``size``: None if the node size is not known any more; ``jobs``: the number of workers; ``own``: the cost in the
    site's own unit, None if the site charges in GPU-hours, or if the price or the node size is not known.
    """

    person: Occupant
    factory: Slug
    size: Slug | None
    jobs: int = Field(ge=0)
    gpu_hours: float = Field(ge=0, allow_inf_nan=False)
    own: Amount | None = None


class HistoryPage(Model):
    """One page of a project's history, ordered by the sessions' ids.

    ``next``: the id that selects the next page, None if this is the last page; ``clusters``: what the clusters of the
    whole project have used, on the first page only.
    """

    runs: tuple[PastRun, ...] = Field(default=(), max_length=MOST_RUNS)
    clusters: tuple[ClusterUse, ...] = Field(default=(), max_length=MOST_CLUSTER_USES)
    next: SessionId | None = None


class ReservationEnd(Model):
    """When a project's reservation at a factory ends."""

    factory: Slug
    name: str = Field(max_length=255)
    end: datetime


class ProjectNow(Model):
    """What runs for a project now, and the GPU-hours that it has used and reserved.

    ``running``: sessions that are starting, running or ending; ``waiting``: sessions that are pending; Dask schedulers
    do not count in either. ``clusters``: live Dask clusters; ``spent``: the GPU-hours that the project has used;
    ``reserved``: the GPU-hours that its jobs may still use; ``reservations``: when the project's reservations of nodes
    end, as far as that is known.
    """

    running: int = Field(ge=0)
    waiting: int = Field(ge=0)
    clusters: int = Field(ge=0)
    spent: float = Field(ge=0, allow_inf_nan=False)
    reserved: float = Field(ge=0, allow_inf_nan=False)
    reservations: tuple[ReservationEnd, ...] = Field(default=(), max_length=20)
