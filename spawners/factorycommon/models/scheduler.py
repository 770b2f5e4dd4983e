"""The models of what a scheduler reports, independent of any dialect: jobs and their ends, nodes, reservations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from factorycommon.models.base import JobId, Model, Moment

Count = Annotated[int, Field(ge=0, le=10**9)]  # bounds that every database can store, and whose sums stay small enough
ExitCode = Annotated[int, Field(ge=-(10**9), le=10**9)]  # exit codes; PBS reports some as negative numbers
Size = Annotated[int, Field(ge=0, le=2**60)]  # memory in bytes


class JobState(StrEnum):
    """The states of a job. Each dialect maps its scheduler's states to these."""

    PENDING = "pending"
    RUNNING = "running"
    ENDING = "ending"  # completing: the job still holds its nodes
    ENDED = "ended"


class PendingPhase(StrEnum):
    """How far a pending job is: in the queue, waiting for its nodes to boot, or put back into the queue."""

    QUEUED = "queued"
    NODE_STARTING = "node-starting"  # nodes are allocated and boot
    REQUEUED = "requeued"  # the scheduler put it back into the queue, and will start it again


class Outcome(StrEnum):
    """How a job ended. Each dialect maps its scheduler's states or exit codes to these."""

    COMPLETED = "completed"
    FAILED = "failed"  # the job's program failed
    CANCELLED = "cancelled"
    REVOKED = "revoked"  # the site's staff removed it from the queue
    PREEMPTED = "preempted"
    WALLTIME = "walltime"
    DEADLINE = "deadline"
    CPU_LIMIT = "cpu-limit"
    OUT_OF_MEMORY = "out-of-memory"
    NODE_FAILED = "node-failed"
    BOOT_FAILED = "boot-failed"  # the node did not boot
    LAUNCH_FAILED = "launch-failed"  # the node could not start the job
    SETUP_FAILED = "setup-failed"  # preparing the node for the job failed


class Job(Model):
    """One job as the scheduler reports it now."""

    id: JobId
    array: JobId | None = None  # the array job that it belongs to
    name: str
    account: str  # the Unix account that it runs as
    comment: str
    state: JobState
    suspended: bool = False  # the site suspended the running job: it keeps its nodes and does not run
    raw_state: str  # the state in the scheduler's own word
    phase: PendingPhase = PendingPhase.QUEUED  # set for pending jobs
    outcome: Outcome | None = None  # set for ended jobs
    reason: str = ""  # the reason in the scheduler's own word, for pending and ended jobs
    nodes: tuple[str, ...] = ()
    partition: str = ""
    submitted: Moment | None = None
    started: Moment | None = None
    ends: Moment | None = None  # end of the walltime, for running jobs
    ended: Moment | None = None
    exit_code: ExitCode | None = None  # set for ended jobs
    signal: Count | None = None
    expected_start: Moment | None = None  # the start that the scheduler plans, for pending jobs
    priority: int | None = None
    restarts: Count = 0


class NodeState(Model):
    """One node as the scheduler reports it now; memory in bytes."""

    name: str
    partitions: tuple[str, ...]
    usable: bool  # the node is up and accepts jobs
    planned: bool = False  # its free resources are reserved for a job with higher priority
    reason: str = ""
    since: Moment | None = None  # since when the node has been out of use; None: it is in use, or the time is not known
    cores: Count
    cores_free: Count
    memory: Size  # in bytes
    memory_free: Size
    gpus: Count
    gpus_free: Count
    gpu_type: str | None = None
    # free slices of GPUs, which ``gpus`` does not count: by their GRES type; "" for the shards of a GPU
    slices_free: Mapping[str, Count] = Field(default_factory=dict)


class Reservation(Model):
    """A reservation: nodes that from ``start`` to ``end`` run only certain jobs.

    ``users`` (site accounts), ``accounts`` (the scheduler's accounts that are charged) and ``groups`` (Unix groups) say
    who may use the reservation. A job must be admitted by each list that is not empty; if all three are empty, the link
    offers the reservation to nobody. A list does not admit a name that it has with a leading dash.
    """

    id: str  # the name that a job uses to select it
    name: str
    start: Moment
    end: Moment
    maintenance: bool = False  # a maintenance: no jobs run on these nodes
    nodes: tuple[str, ...] = ()  # empty: not known
    partition: str = ""  # the only partition whose jobs may use it; empty: any
    users: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Estimate(Model):
    """The estimated start of a job (None: not known), how it was estimated, and when.

    ``basis``: ``test-only``: the scheduler computed the start without submitting the job; ``none``: there is no
    estimate. ``queue`` is reserved: no estimate has this basis.
    """

    start: Moment | None
    basis: Literal["test-only", "queue", "none"]
    asked_at: datetime


class End(Model):
    """How a job ended, as the scheduler's accounting or its list of ended jobs says."""

    job: JobId
    outcome: Outcome
    raw_state: str  # the state in the scheduler's own word
    exit_code: ExitCode | None = None
    signal: Count | None = None
    reason: str = ""
    # who cancelled it: the job's own site account, the site's administrator, or somebody else
    by: Literal["account", "administrator", "other"] | None = None
    ended: Moment | None = None
    elapsed: Count | None = None  # seconds of the last run
    # seconds of earlier runs, after which the job was requeued; as far as they are recorded
    earlier: tuple[Count, ...] = ()
