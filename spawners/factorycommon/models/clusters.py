"""Dask clusters: the requests of a notebook, and the answers of the link.

A worker in this module is one job; it may run several Dask workers (``processes``).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from factorycommon.models.base import Hours, JobId, Model, Person, ProjectId, SessionId, Slug, UnixAccount
from factorycommon.models.requests import ResolvedChoice
from factorycommon.models.sessions import EndReason, Session, Words

ClusterId = SessionId
BatchId = SessionId
ClusterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
# The name of a worker: the name of its Dask workers, a word in a script, and part of a file name.
WorkerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
Address = Annotated[str, StringConstraints(pattern=r"^(tls|tcp)://[A-Za-z0-9_.:\[\]-]{1,253}:[0-9]{1,5}$")]
ShortLine = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,1024}$")
]  # only the worker's program reads this value
Pem = Annotated[str, StringConstraints(pattern=r"^-----BEGIN [A-Z ]+-----\n[A-Za-z0-9+/=\n -]+\n?$", max_length=16384)]

ProgramName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+!_-]{0,62}$")]

MOST_AT_ONCE = 1000  # maximum number of jobs in a batch: Slurm's default MaxArraySize allows indices up to 1000


class Scheduler(BaseModel):
    """The address of a cluster's Dask scheduler, and what workers and clients need for a TLS connection to it.

    ``ca``, ``certificate`` and ``key``: PEM texts; all three are set for an address ``tls://``, and None for
    ``tcp://``. The link writes none of the three into the ledger or a log. ``versions``: the versions of packages that
    scheduler and workers must share, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    address: Address
    ca: Pem | None = Field(default=None, repr=False)
    certificate: Pem | None = Field(default=None, repr=False)
    key: Pem | None = Field(default=None, repr=False)
    versions: dict[ProgramName, Version] = Field(default={}, max_length=32)

    @model_validator(mode="after")
    def _trusted(self) -> Scheduler:
        given = [key is not None for key in (self.ca, self.certificate, self.key)]
        if set(given) != {self.address.startswith("tls:")}:
            raise ValueError("tls:// needs ca, certificate and key, and tcp:// has none of them")
        return self


class WorkerOptions(Model):
    """Options of each Dask worker, which the link writes into the cluster's folder. None: the default.

    ``threads``, ``memory`` (bytes): by default, the Dask worker's equal share of the job; ``death_timeout``: seconds
    after which a Dask worker without a scheduler ends; ``local_directory``: a folder on the node for spilled data;
    ``interface``: the node's network interface; ``preload``: Python modules to import first; ``resources``: Dask's
    abstract resources, by name.
    """

    threads: int | None = Field(default=None, ge=1, le=4096)
    memory: int | None = Field(default=None, ge=1)
    death_timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    local_directory: ShortLine | None = None
    interface: ShortLine | None = None
    preload: tuple[ShortLine, ...] = Field(default=(), max_length=32)
    resources: dict[ShortLine, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default={}, max_length=32)


class SchedulerJob(Model):
    """Request to run the Dask scheduler in its own job.

    ``size``: a node size; None selects the factory's smallest. ``hours``: the job's walltime, which limits the life of
    the cluster; None selects the link's default. ``idle_minutes``: the job ends after this time without work."""

    size: Slug | None = None
    hours: Hours | None = None
    idle_minutes: float = Field(default=30.0, gt=0, le=24 * 60)


class ClusterRequest(Model):
    """Body of ``PUT /clusters/{id}``, which creates a cluster; the same PUT sent twice creates one cluster.

    ``size``, ``environment``: None selects the factory's default. ``hours``: the walltime of each worker's job; None
    selects the node size's default. ``processes``: the number of Dask workers in each of these jobs. ``project`` None:
    the link uses the project of ``session`` if the person may use this project at the factory. Otherwise the link
    selects a project as for a session (see ``Choice``).

    Exactly one of ``scheduler`` and ``head`` is set: ``scheduler`` is a Dask scheduler that runs already; ``head`` is a
    job in which the link is to start one. ``session``: a live session of the person, if any. Without ``head``, the
    cluster ends when this session ends, or when nobody has read the cluster's events for some time.

    ``cap_gpu_hours``: the most GPU-hours that the cluster may use, None: no limit of its own; ``spent_gpu_hours``: the
    GPU-hours that the cluster used before the link lost its ledger.
    """

    name: ClusterName
    factory: Slug
    size: Slug | None = None
    environment: Slug | None = None
    project: ProjectId | None = None
    hours: Hours | None = None
    processes: int = Field(default=1, ge=1, le=256)
    cap_gpu_hours: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    spent_gpu_hours: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    session: SessionId | None = None
    worker: WorkerOptions = WorkerOptions()
    scheduler: Scheduler | None = None
    head: SchedulerJob | None = None

    @model_validator(mode="after")
    def _one_scheduler(self) -> ClusterRequest:
        if (self.scheduler is None) == (self.head is None):
            raise ValueError("either scheduler or head is needed")
        return self


class BatchRequest(Model):
    """Body of ``PUT /clusters/{id}/batches/{batch}``, which submits equal jobs.

    The same PUT sent twice submits the jobs once. ``names``: the names of the workers, one for each job; ``hours``: the
    walltime of each job, None: the cluster's; ``adopt``: True if the jobs exist already, and the link has lost its
    ledger. The link then takes over these jobs and submits nothing.

    ``together``: the number of jobs in this batch and in the batches that the client sends right after it; None: only
    this batch. If the person's limit of jobs, the cluster's cap or the project's budget does not allow all these jobs,
    none of this batch is submitted.
    """

    names: tuple[WorkerName, ...] = Field(min_length=1, max_length=MOST_AT_ONCE)
    hours: Hours | None = None
    together: int | None = Field(default=None, ge=1, le=1000 * MOST_AT_ONCE)
    adopt: bool = False

    @field_validator("names")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("a name is there twice")
        return names

    @property
    def whole(self) -> int:
        """Return how many jobs the limits and the budget must allow together, so that this batch may start."""
        return max(len(self.names), self.together or 0)


class CancelRequest(Model):
    """Body of ``POST /clusters/{id}/cancel``: the workers to cancel."""

    names: tuple[WorkerName, ...] = Field(min_length=1, max_length=10 * MOST_AT_ONCE)


class WorkerState(StrEnum):
    """The states of a worker's job.

    ``asked``: no answer of the scheduler has listed the job yet; ``unreachable``: the factory does not answer or is no
    longer offered, and as far as the link knows, the job has not ended.
    """

    ASKED = "asked"
    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    UNREACHABLE = "unreachable"


class Worker(Model):
    """One worker: one job of a cluster, in which one or more Dask workers run.

    ``asked``: when the job's batch was requested; ``end``: why the job ends or has ended. ``waits_for``: why the job
    waits, or another remark about a job that has not ended. ``log_tail``: the last lines of the log of a job that has
    ended; empty if the log was not read.
    """

    name: WorkerName
    batch: BatchId
    state: WorkerState
    job: JobId | None = None
    node: str | None = None
    position: int | None = None  # position in the queue; 1 is next
    expected_start: datetime | None = None
    waits_for: Words | None = None
    asked: datetime
    started: datetime | None = None
    ends: datetime | None = None  # end of the walltime
    ended: datetime | None = None
    end_reason: EndReason | None = None
    end: Words | None = None
    log_tail: tuple[str, ...] = ()


class WorkerLog(Model):
    """The log of a worker. ``lines``: the last lines that the job has written so far."""

    lines: tuple[str, ...] = ()


class GpuHours(Model):
    """The GPU-hours of a cluster at the time ``at``.

    ``spent``: used so far; ``committed``: the most that running and waiting jobs may still use; ``cap``: the cluster's
    maximum, None if it has none. After ``at``, ``per_hour`` GPU-hours move each hour from ``committed`` to ``spent``.
    """

    spent: float
    committed: float
    cap: float | None = None
    at: datetime
    per_hour: float


class Cluster(Model):
    """A Dask cluster, as shown to its owner and to the hub.

    ``processes``: how many Dask workers each job runs; ``gpus``: how many GPUs the gateway charges for each job.
    ``session``: the id of the session with which the cluster ends, None: there is no such session. ``head``: the
    session whose job runs the Dask scheduler, None: the scheduler has no job of its own, or this job has ended.
    ``end``: why the cluster ends or has ended, None: its owner ended it, or it is live.

    ``wrong``: why the state of the cluster's jobs is not known, or why no further job can start; ``waits_for``: why one
    of its jobs waits in the queue; ``counts``: the number of workers in each state. ``workers``: all workers, also
    those that have ended. In an event stream for the owner, the first event has all workers, each later event only
    those that have changed since the event before. For the hub, ``workers`` is empty.
    """

    id: ClusterId
    name: ClusterName
    user: Person
    account: UnixAccount
    choice: ResolvedChoice
    processes: int
    gpus: int | float  # GPUs of each job, as the site bills them; a part of one for a slice of a GPU
    session: SessionId | None = None
    head: Session | None = None  # the job of its Dask scheduler, if the scheduler has a job of its own
    state: Literal["live", "ending", "ended"]
    created: datetime
    ended: datetime | None = None
    end: Words | None = None
    wrong: Words | None = None
    waits_for: Words | None = None
    gpu_hours: GpuHours
    counts: dict[WorkerState, int]
    workers: tuple[Worker, ...] = ()
