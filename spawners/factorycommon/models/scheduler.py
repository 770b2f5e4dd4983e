"""The reports of a scheduler, independent of any dialect."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from factorycommon.models.base import JobId, Model, Moment

Count = Annotated[int, Field(ge=0, le=10**9)]  # that any database keeps, and that no sum makes too large
ExitCode = Annotated[int, Field(ge=-(10**9), le=10**9)]  # PBS' own are negative
Size = Annotated[int, Field(ge=0, le=2**60)]  # bytes


class JobState(StrEnum):
    """The states of a job that all dialects map to."""

    PENDING = "pending"
    RUNNING = "running"
    ENDING = "ending"  # completing: still holds its nodes
    ENDED = "ended"


class PendingPhase(StrEnum):
    """How far a pending job has come."""

    QUEUED = "queued"
    NODE_STARTING = "node-starting"  # it has its node, which is being started up
    REQUEUED = "requeued"  # put back into the queue by the scheduler, and starts again by itself


class Outcome(StrEnum):
    """How a job ended. Every dialect maps its scheduler's words or codes to these."""

    COMPLETED = "completed"
    FAILED = "failed"  # its program did
    CANCELLED = "cancelled"
    REVOKED = "revoked"  # the site took it out of the queue
    PREEMPTED = "preempted"
    WALLTIME = "walltime"
    DEADLINE = "deadline"
    CPU_LIMIT = "cpu-limit"
    OUT_OF_MEMORY = "out-of-memory"
    NODE_FAILED = "node-failed"
    BOOT_FAILED = "boot-failed"  # its node did not start up
    LAUNCH_FAILED = "launch-failed"  # its node could not start it
    SETUP_FAILED = "setup-failed"  # its node could not be set up for it


class Job(Model):
    """One job as the scheduler tells it now."""

    id: JobId
    array: JobId | None = None  # the one that it is of
    name: str
    account: str  # the Unix account it runs as
    comment: str
    state: JobState
    suspended: bool = False  # the site froze it while it ran: it holds its nodes and does nothing
    raw_state: str  # the scheduler's own word
    phase: PendingPhase = PendingPhase.QUEUED  # where pending
    outcome: Outcome | None = None  # where ended
    reason: str = ""  # the scheduler's own word for why it waits or ended
    nodes: tuple[str, ...] = ()
    partition: str = ""
    submitted: Moment | None = None
    started: Moment | None = None
    ends: Moment | None = None  # by walltime, where running
    ended: Moment | None = None
    exit_code: ExitCode | None = None  # where ended
    signal: Count | None = None
    expected_start: Moment | None = None  # the scheduler's plan, where pending
    priority: int | None = None
    restarts: Count = 0


class NodeState(Model):
    """One node as the scheduler tells it now; memory in bytes."""

    name: str
    partitions: tuple[str, ...]
    usable: bool  # up and taking jobs
    planned: bool = False  # what is free on it is kept for a job further ahead in the queue
    reason: str = ""
    since: Moment | None = None  # it was taken, or fell, out of use; None: it was not, or that is not told
    cores: Count
    cores_free: Count
    memory: Size  # bytes
    memory_free: Size
    gpus: Count
    gpus_free: Count
    gpu_type: str | None = None


class Reservation(Model):
    """Nodes that are set aside from ``start`` to ``end``, and take jobs then. ``users``, ``accounts``: who may use it
    (empty: not chosen by that); a name with a dash before it may not."""

    id: str  # what a job names
    name: str
    start: Moment
    end: Moment
    maintenance: bool = False  # nobody's jobs run there
    nodes: tuple[str, ...] = ()  # empty: not known
    partition: str = ""  # its jobs run in that one; empty: in any
    users: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Estimate(Model):
    """When a job would start, how that is known, and when it was asked."""

    start: Moment | None
    basis: Literal["test-only", "queue", "none"]
    asked_at: datetime


class End(Model):
    """How a job ended, as the scheduler's records tell."""

    job: JobId
    outcome: Outcome
    raw_state: str  # the scheduler's own word for its state
    exit_code: ExitCode | None = None
    signal: Count | None = None
    reason: str = ""
    by: Literal["account", "administrator", "other"] | None = None  # who cancelled it, as the site counts people
    ended: Moment | None = None
    elapsed: Count | None = None  # seconds of its last run
    earlier: tuple[Count, ...] = ()  # of the runs before, each put back into the queue; as far as the records tell
