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
# It becomes the name of a Dask worker, a word of a script and a part of a file's name.
WorkerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
Address = Annotated[str, StringConstraints(pattern=r"^(tls|tcp)://[A-Za-z0-9_.:\[\]-]{1,253}:[0-9]{1,5}$")]
ShortLine = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,1024}$")
]  # read by the worker's program alone
Pem = Annotated[str, StringConstraints(pattern=r"^-----BEGIN [A-Z ]+-----\n[A-Za-z0-9+/=\n -]+\n?$", max_length=16384)]

ProgramName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+!_-]{0,62}$")]

MOST_AT_ONCE = 1000  # jobs of a batch: Slurm's own MaxArraySize allows indices up to 1000


class Scheduler(BaseModel):
    """How a worker finds and trusts its Dask scheduler. Handed on to the workers' folder; stored and logged nowhere.

    ``versions``: of what both ends must have alike, by name. All three of its keys, or none for one that its owner runs
    in clear text (``tcp://``), which no cluster of ours is.
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
    """What is asked of each Dask worker. Handed on to the workers' folder; what is None is as the node size has it.

    ``threads``, ``memory`` (bytes): no more than its share of the job; ``death_timeout``: seconds without a scheduler;
    ``local_directory``: on the node, for what it spills; ``interface``: of the node's network; ``preload``: Python
    modules; ``resources``: Dask's, by name.
    """

    threads: int | None = Field(default=None, ge=1, le=4096)
    memory: int | None = Field(default=None, ge=1)
    death_timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    local_directory: ShortLine | None = None
    interface: ShortLine | None = None
    preload: tuple[ShortLine, ...] = Field(default=(), max_length=32)
    resources: dict[ShortLine, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default={}, max_length=32)


class SchedulerJob(Model):
    """A scheduler as a job of its own. ``size``: the smallest of the factory where None; ``hours``: of its walltime,
    which is the longest that the cluster can live; ``idle_minutes``: without work, then it ends itself."""

    size: Slug | None = None
    hours: Hours | None = None
    idle_minutes: float = Field(default=30.0, gt=0, le=24 * 60)


class ClusterRequest(Model):
    """Body of ``PUT /clusters/{id}``: the same PUT twice is one cluster. What is None takes the factory's default.

    ``hours``: of each job; ``processes``: Dask workers in each job; ``session``: the session whose notebook runs the
    scheduler, with whose end the cluster ends; ``cap_gpu_hours``: what it may use in all; ``spent_gpu_hours``: what it
    used before the link lost its ledger.

    ``scheduler``: one that runs already; or ``head``: one that is to be started there as a job.
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
    """Body of ``PUT /clusters/{id}/batches/{batch}``: that many equal jobs, submitted together. The same PUT twice is
    one submission. ``hours``: None: as the cluster has it. ``together``: jobs of this batch and of those that are asked
    for right after it: all of them must be allowed, or none of this batch begins. ``adopt``: nothing is submitted; jobs
    of the batch that are there already, since the link lost its ledger, are taken over by what they carry."""

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
        """Return how many jobs must be allowed together so that this batch may start."""
        return max(len(self.names), self.together or 0)


class CancelRequest(Model):
    """Body of ``POST /clusters/{id}/cancel``: workers that are no longer wanted."""

    names: tuple[WorkerName, ...] = Field(min_length=1, max_length=10 * MOST_AT_ONCE)


class WorkerState(StrEnum):
    """``asked``: not in the scheduler's queue yet; ``unreachable``: the factory does not answer, never taken for
    ``ended``."""

    ASKED = "asked"
    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    UNREACHABLE = "unreachable"


class Worker(Model):
    """One job of a cluster."""

    name: WorkerName
    batch: BatchId
    state: WorkerState
    job: JobId | None = None
    node: str | None = None
    position: int | None = None  # 1 is next
    expected_start: datetime | None = None
    waits_for: Words | None = None
    asked: datetime
    started: datetime | None = None
    ends: datetime | None = None  # by walltime
    ended: datetime | None = None
    end_reason: EndReason | None = None
    end: Words | None = None
    log_tail: tuple[str, ...] = ()


class WorkerLog(Model):
    """``lines``: the last ones that a job has written, up to now."""

    lines: tuple[str, ...] = ()


class GpuHours(Model):
    """``spent``: until ``at``; ``committed``: what jobs that run or wait may still use then, at most; ``cap``: the
    cluster's. From then on ``per_hour`` goes from the one to the other."""

    spent: float
    committed: float
    cap: float | None = None
    at: datetime
    per_hour: float


class Cluster(Model):
    """A cluster as its owner sees it. ``wrong``: why nothing is known of its jobs, or why none can begin;
    ``waits_for``: what a job in the queue waits for. ``workers``: those that live and those that ended lately; in a
    stream of events the first event has them all, and each later one those that changed; none where only figures
    are told."""

    id: ClusterId
    name: ClusterName
    user: Person
    account: UnixAccount
    choice: ResolvedChoice
    processes: int
    gpus: int  # of each job, as they are billed
    session: SessionId | None = None
    head: Session | None = None  # its scheduler's job, where that is one of its own
    state: Literal["live", "ending", "ended"]
    created: datetime
    ended: datetime | None = None
    end: Words | None = None
    wrong: Words | None = None
    waits_for: Words | None = None
    gpu_hours: GpuHours
    counts: dict[WorkerState, int]
    workers: tuple[Worker, ...] = ()
