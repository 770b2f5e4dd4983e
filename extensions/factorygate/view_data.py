"""The view of a cluster at one moment, as plain data for the panel, for scripts and for text output.

Times are RFC 3339 texts from the link; GPU-hours count one GPU as the factory's scheduler counts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

JobState = Literal["asked", "pending", "running", "ending", "lost", "failed", "ended", "unreachable"]


@dataclass(frozen=True)
class JobView:
    """One job of a cluster; each job runs ``ClusterView.processes`` Dask workers.

    ``job``: the batch scheduler's id of the job; ``workers``: how many of the job's Dask workers are connected.
    ``state``: ``asked``: the job is not in the scheduler's queue yet; ``pending``: the job waits in the queue;
    ``ending``: the job's work is over, but the job still holds its node; ``ended``: the job was stopped, its program
    ended cleanly, its walltime was over, or the cluster was closed; ``lost``: the job ran, and ended for any other
    reason; ``failed``: the job was refused, or ended before it started, for a reason other than those of ``ended``;
    ``unreachable``: the factory does not answer. ``why``: a text that says why the job waits or ended; ``do``: what to
    do about that. ``log_tail``: the log's last lines, as of the job's end or as of the last call of
    ``FactoryCluster.log_tail`` or ``read_log``; ``has_log``: True if the job has started, or the link has the log's
    last lines.
    """

    name: str
    state: JobState
    job: str | None = None  # the scheduler's id
    node: str | None = None
    workers: int = 0  # number of its Dask workers that are connected now
    position: int | None = None  # position in the queue; 1 is next
    expected_start: str | None = None
    ends: str | None = None
    why: str = ""
    do: str = ""
    log_tail: tuple[str, ...] = ()
    has_log: bool = False


@dataclass(frozen=True)
class Adapting:
    """The bounds of an adaptive cluster, in jobs."""

    minimum: int
    maximum: int


@dataclass(frozen=True)
class ClusterView:
    """A cluster at one moment.

    ``processes``: Dask workers in each job; ``threads``, ``memory`` (in bytes): of the connected workers together;
    ``wanted``: number of jobs that ``scale`` or adapting has requested; ``maximum``: the largest number of jobs that
    can be requested; ``gpu_hours_committed``: the most GPU-hours that running and waiting jobs may still use;
    ``gpu_hours_cap``: the most GPU-hours that the cluster may use in all, None: no limit of its own;
    ``gpu_hours_per_hour``: the GPU-hours that the running jobs use in one hour. ``message``: the last error or
    warning, as a text for people; "" if there was none; ``jobs``: the wanted and the live jobs, then the last few that
    have ended.
    """

    name: str
    factory: str  # id
    factory_name: str
    size: str  # id
    size_label: str  # for example "1 x A100 64 GB, 8 cores, 120 GB"
    status: Literal["starting", "running", "closing", "closed", "failed"]
    processes: int  # Dask workers in each job
    workers: int  # number of Dask workers that are connected now
    threads: int  # of the connected workers together
    memory: int  # bytes, of the connected workers together
    wanted: int
    maximum: int  # maximum number of jobs that can be requested
    gpu_hours_spent: float
    gpu_hours_committed: float  # the most that running and waiting jobs may still use
    gpu_hours_cap: float | None
    gpu_hours_per_hour: float  # use per hour at this moment
    adapting: Adapting | None = None
    dashboard: str | None = None  # URL path of the cluster's Dask pages, without scheme and host
    message: str = ""
    jobs: tuple[JobView, ...] = ()

    def count(self, *states: JobState) -> int:
        """Return the number of jobs in these states."""
        return sum(job.state in states for job in self.jobs)


class Watched(Protocol):
    """The part of a cluster that a panel needs.

    All methods may be called from any thread; none waits until jobs run.
    """

    def view(self) -> ClusterView:
        """Return the cluster as it is now; fast."""
        ...

    def scale(self, n: int | None = None, jobs: int = 0) -> object:
        """Set the number of jobs to ``jobs`` or, if ``n`` is given, to as many as ``n`` workers need; stop adapting.

        Raises ValueError if the number is not allowed, and LinkError if the link or the batch scheduler refuses, the
        link does not answer, or the cluster was closed. The error's text explains why.
        """
        ...

    def adapt(self, *, minimum_jobs: int, maximum_jobs: int) -> object:
        """Adapt the number of jobs to the work, within these bounds. Raises ValueError for invalid bounds."""
        ...

    def read_log(self, job: str) -> object:
        """Request the last lines of a job's log; ``view`` shows them when they have arrived.

        ``job``: the job's ``name`` in the view.
        """
        ...

    def close(self) -> object:
        """Close the cluster, and end all its jobs."""
        ...
