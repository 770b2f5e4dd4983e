"""The common language of all parts: catalogue, requests, sessions, and what a scheduler says.

Pydantic only; imports nothing else of ours, so every part may import it. Times are seconds, moments are aware
datetimes in UTC, memory is bytes unless a name says otherwise (``memory_gb``, ``hours``). A GB is 10**9 bytes as on
the sites' price lists; dialects turn it into their scheduler's units.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

# Anything that may end in an argv, an #SBATCH line or a path: no blanks, quotes, newlines, leading dash.
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:,@+=/-]{0,254}$")]
Hours = Annotated[float, Field(gt=0, le=24 * 30, allow_inf_nan=False)]
SessionId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
JobId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\[\]-]{0,63}$")]
Person = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
ServerName = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f/]*$")]
UnixAccount = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_.-]{0,31}$")]


class Model(BaseModel):
    """Frozen, and unknown keys are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# --- the catalogue: what a factory is -------------------------------------------------------------------------------


class Accelerator(Model):
    """What one GPU of the factory is, and how many a node has; memory in GB."""

    vendor: Literal["NVIDIA", "AMD", "Intel"]
    model: str
    memory_gb: float
    per_node: int = Field(ge=1)
    unit: str = "GPU"  # what the scheduler counts: GPU, GCD
    gres_type: Word | None = None  # the type in GRES, where the site types its GPUs


class NodeShape(Model):
    """One node: cores as the scheduler counts them, memory in GB, and how many such nodes there are."""

    cores: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    count: int | None = None


class Partition(Model):
    """A queue of the scheduler with its limits in hours."""

    name: Word
    max_hours: Hours
    default_hours: Hours | None = None
    max_nodes: int | None = None
    whole_node_only: bool = False
    gpus: bool = True  # its nodes carry the factory's accelerator
    preempt_requeue: bool = False
    shape: NodeShape | None = None  # where its nodes differ from the factory's


class Qos(Model):
    """A quality of service; a limit of its own (hours) stands in place of the partition's."""

    name: Word
    max_hours: Hours | None = None
    note: str = ""


class NodeSize(Model):
    """What a person picks. ``cores`` are as the scheduler counts them there (threads on some sites)."""

    id: Slug
    gpus: int = Field(ge=0)
    cores: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    partition: Word
    qos: Word | None = None
    max_hours: Hours
    default_hours: Hours = Field(default_factory=lambda data: min(1.0, data.get("max_hours", 1.0)))
    billed_as: str  # the site's own unit, for people: "1/4 node-hour per hour"
    whole_node: bool = False
    derived: tuple[str, ...] = ()  # fields computed from the share of a node, seen nowhere as such
    note: str = ""


class Environment(Model):
    """What the notebook runs in. It brings its own Python and Jupyter and the door (``factorygate[notebook]``).

    ``python`` is an absolute path on the factory. ``setup`` are lines the job's script runs first (operator's text).
    """

    id: Slug
    title: str
    kind: Literal["venv", "module", "container"]
    python: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./+-]+$")]
    modules: tuple[Word, ...] = ()
    image: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./+-]+$")] | None = None
    runtime: Literal["apptainer", "singularity"] = "apptainer"  # what runs the image
    binds: tuple[Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./+:-]+$")], ...] = ()  # folders seen inside
    setup: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ()  # "PyTorch 2.8", "dask 2026.3"
    gpu_stack: str | None = None  # "CUDA 12.4", "ROCm 6.2"
    architecture: Literal["x86_64", "aarch64"] = "x86_64"
    sizes: tuple[Slug, ...] = ()  # node sizes it fits; empty: all

    @model_validator(mode="after")
    def _kind_fits(self) -> Environment:
        if (self.kind == "container") != (self.image is not None):
            raise ValueError("image: needed for kind container, and only there")
        if self.modules and self.kind != "module":
            raise ValueError("modules: only for kind module")
        return self


class Folder(Model):
    """Where the notebook's files live. ``path`` may use ``~`` for the site account's home."""

    path: Annotated[str, StringConstraints(pattern=r"^(~|/)[A-Za-z0-9_./-]*$")] = "~"
    quota: str | None = None  # for people: "20 GB, 100k files"


class IdleLimits(Model):
    """Minutes after which a session ends by itself; a person may choose within the bounds."""

    unopened_minutes: int = Field(default=30, ge=1)
    idle_minutes: int = Field(default=60, ge=1)
    max_unopened_minutes: int = Field(default=120, ge=1)
    max_idle_minutes: int = Field(default=480, ge=1)


class Site(Model):
    """Who to ask, and what one must know before going there."""

    machine: str
    host: str
    city: str
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    login_hosts: tuple[str, ...] = ()
    host_keys: tuple[str, ...] = ()  # of the login hosts, as the site publishes them: "ssh-ed25519 AAAA..."
    host_cas: tuple[str, ...] = ()  # or of the CA that signs them
    sources: tuple[str, ...] = ()


class Factory(Model):
    """A catalogue entry: one YAML in ``hub_config/factories``; the file's name is the id."""

    id: Slug
    name: str
    state: Literal["live", "template", "planned"]
    site: Site
    scheduler: Literal["slurm", "pbs"]
    architecture: Literal["x86_64", "aarch64"] = "x86_64"
    accelerator: Accelerator
    node: NodeShape
    partitions: tuple[Partition, ...]
    qos: tuple[Qos, ...] = ()
    gpu_syntax: Literal["gres", "gres-typed", "gpus-per-node"] = "gres"
    account_mandatory: bool = False
    account_example: Word | None = None
    constraint: Word | None = None
    sizes: tuple[NodeSize, ...]
    environments: tuple[Environment, ...]
    default_environment: Slug | None = None
    notebook_folder: Folder = Folder()
    outbound: Literal["compute", "login", "none"]
    idle: IdleLimits = IdleLimits()
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_fit(self) -> Factory:
        partitions = {p.name: p for p in self.partitions}
        qos = {q.name: q for q in self.qos}
        sizes = [s.id for s in self.sizes]
        if len(set(sizes)) != len(sizes):
            raise ValueError("sizes: an id is used twice")
        for size in self.sizes:
            if size.partition not in partitions:
                raise ValueError(f"sizes.{size.id}.partition: {size.partition!r} is none of {sorted(partitions)}")
            if size.qos is not None and size.qos not in qos:
                raise ValueError(f"sizes.{size.id}.qos: {size.qos!r} is none of {sorted(qos)}")
            # A QOS with its own limit stands in place of the partition's: shorter, or longer where the site lets it.
            own = qos[size.qos].max_hours if size.qos is not None else None
            limit = partitions[size.partition].max_hours if own is None else own
            if size.max_hours > limit:
                of = f"partition {size.partition}" if own is None else f"QOS {size.qos}"
                raise ValueError(f"sizes.{size.id}.max_hours: {size.max_hours:g} is above the {limit:g} h of {of}")
            if size.default_hours > size.max_hours:
                raise ValueError(f"sizes.{size.id}.default_hours: above max_hours, {size.max_hours:g}")
            shape = partitions[size.partition].shape or self.node
            if size.cores > shape.cores or size.memory_gb > shape.memory_gb:
                raise ValueError(f"sizes.{size.id}: more than a node has ({shape.cores} cores, {shape.memory_gb:g} GB)")
            if size.gpus > self.accelerator.per_node:
                raise ValueError(f"sizes.{size.id}.gpus: more than a node has, {self.accelerator.per_node}")
        environments = [e.id for e in self.environments]
        if len(set(environments)) != len(environments):
            raise ValueError("environments: an id is used twice")
        if self.default_environment is not None and self.default_environment not in environments:
            raise ValueError(f"default_environment: {self.default_environment!r} is none of {environments}")
        for environment in self.environments:
            for fit in environment.sizes:
                if fit not in sizes:
                    raise ValueError(f"environments.{environment.id}.sizes: {fit!r} is none of {sizes}")
        return self


# --- what a person asks for -----------------------------------------------------------------------------------------


class Choice(Model):
    """The form and the API post this; ids only. What is None takes the factory's default."""

    factory: Slug | None = None
    size: Slug | None = None
    environment: Slug | None = None
    hours: Hours | None = None
    idle_minutes: int | None = Field(default=None, ge=1, le=24 * 60)
    unopened_minutes: int | None = Field(default=None, ge=1, le=24 * 60)
    give_up_hours: Hours | None = None  # end the wish if it has not started by then
    project: Slug | None = None


class ResolvedChoice(Model):
    """A choice checked against the catalogue, with nothing left open."""

    factory: Slug
    size: Slug
    environment: Slug
    hours: Hours
    idle_minutes: int
    unopened_minutes: int
    give_up_hours: Hours | None = None
    project: Slug | None = None


class JobOptions(Model):
    """What an operator may add for the scheduler by ``req_*`` of the spawner; validated words, never free text."""

    account: Word | None = None
    qos: Word | None = None
    partition: Word | None = None
    constraint: Word | None = None
    reservation: Word | None = None
    gres: Word | None = None
    prologue: str = ""  # operator's own shell lines, from config only
    epilogue: str = ""
    template: str = ""  # batch_script: a Jinja template in place of the dialect's own


class SessionRequest(Model):
    """Body of ``PUT /sessions/{id}``: the same PUT twice is one job."""

    user: Person
    server: ServerName = ""
    choice: Choice
    options: JobOptions = JobOptions()


class JobRequest(Model):
    """All that a dialect needs to write a job's script."""

    name: Word  # job name, the same for all jobs of this hub: factorygate-<hub>
    comment: Word  # session id and HMAC
    partition: Word
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    reservation: Word | None = None
    gpus: int = Field(ge=0)
    gpu_syntax: Literal["gres", "gres-typed", "gpus-per-node"] = "gres"
    gpu_type: Word | None = None
    gres: Word | None = None  # replaces what gpus would ask for
    cores: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    whole_node: bool = False
    walltime: int = Field(ge=1)  # seconds
    output: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./%+-]+$")]  # absolute path of the job's log
    setup: tuple[str, ...] = ()  # lines of operator and environment, before the command
    command: tuple[str, ...]  # argv of what runs; quoted by the dialect
    teardown: tuple[str, ...] = ()


# --- what a scheduler says; no dialect in here ----------------------------------------------------------------------


class JobState(StrEnum):
    """The states of a job that all dialects map to."""

    PENDING = "pending"
    RUNNING = "running"
    ENDING = "ending"  # completing: still holds its nodes
    ENDED = "ended"


class Job(Model):
    """One job as the scheduler tells it now."""

    id: JobId
    name: str
    account: str  # the Unix account it runs as
    comment: str
    state: JobState
    raw_state: str  # the scheduler's own word
    reason: str = ""  # the scheduler's own word for why it waits or ended
    nodes: tuple[str, ...] = ()
    partition: str = ""
    submitted: datetime | None = None
    started: datetime | None = None
    ends: datetime | None = None  # by walltime, where running
    ended: datetime | None = None
    exit_code: int | None = None  # where ended
    signal: int | None = None
    expected_start: datetime | None = None  # the scheduler's plan, where pending
    priority: int | None = None
    restarts: int = 0


class NodeState(Model):
    """One node as the scheduler tells it now; memory in bytes."""

    name: str
    partitions: tuple[str, ...]
    usable: bool  # up and taking jobs
    planned: bool = False  # what is free on it is kept for a job further ahead in the queue
    reason: str = ""
    cores: int
    cores_free: int
    memory: int  # bytes
    memory_free: int
    gpus: int
    gpus_free: int
    gpu_type: str | None = None


class Estimate(Model):
    """When a job would start, how that is known, and when it was asked."""

    start: datetime | None
    basis: Literal["test-only", "queue", "none"]
    asked_at: datetime


class End(Model):
    """How a job ended, as the scheduler's records tell."""

    job: JobId
    raw_state: str
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    ended: datetime | None = None
    elapsed: int | None = None


# --- sessions -------------------------------------------------------------------------------------------------------


class SessionState(StrEnum):
    """The states of a session; ``unreachable``: the factory does not answer, never taken for ``ended``."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"
    UNREACHABLE = "unreachable"


class EndReason(StrEnum):
    """Why a session ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    IDLE = "idle"
    UNOPENED = "unopened"
    WALLTIME = "walltime"
    OUT_OF_MEMORY = "out-of-memory"
    NODE_FAILED = "node-failed"
    PREEMPTED = "preempted"
    CANCELLED_BY_SITE = "cancelled-by-site"
    REFUSED = "refused"  # the scheduler did not take it
    GAVE_UP = "gave-up"  # the person's own "give up after"
    NEVER_OPENED_DOOR = "never-opened-door"  # nobody sent the environment, or the notebook did not come up
    FAILED = "failed"


class Words(Model):
    """Something said to a person: what happened, whose move it is, what to do; with the scheduler's own words."""

    code: str
    what: str
    do: str = ""
    scheduler: str = ""


class LogLine(Model):
    """Something that happened to a session, in words."""

    at: datetime
    text: str


class Session(Model):
    """One session as hub, pages and notebooks see it. Carries no secret."""

    id: SessionId
    user: Person
    server: ServerName
    account: UnixAccount  # site account
    choice: ResolvedChoice
    state: SessionState
    before: SessionState | None = None  # what it was when last seen, while unreachable
    wish: Literal["run", "stop"]
    job: JobId | None = None
    node: str | None = None
    partition: str | None = None
    created: datetime
    started: datetime | None = None  # the job
    ready: datetime | None = None  # the notebook's first 200
    ends: datetime | None = None  # by walltime
    ended: datetime | None = None
    position: int | None = None  # 1 is next, among pending jobs of its partition that we can see
    expected_start: datetime | None = None
    waits_for: Words | None = None  # while pending or unreachable
    door_open: bool = False
    environment_sent: bool = False
    reachable: bool = False  # a request to url gets to the notebook now
    url: str | None = None  # http://127.0.0.1:PORT on the link's side
    last_activity: datetime | None = None
    ends_idle: datetime | None = None  # when the idle limit would end it, as far as known
    end_reason: EndReason | None = None
    end: Words | None = None
    log_tail: tuple[str, ...] = ()  # the job's own log, at the end
    log: tuple[LogLine, ...] = ()  # what happened
    exit_code: int | None = None


# --- the catalogue as a person sees it ------------------------------------------------------------------------------


class Health(Model):
    """Whether a factory answers; ``answer_seconds``: how long its last good answer took."""

    state: Literal["ok", "unreachable", "draining", "starting"]
    since: datetime
    words: Words | None = None
    answered_at: datetime | None = None  # last good answer
    answer_seconds: float | None = None


class PartitionLoad(Model):
    """What is free in a partition now."""

    name: str
    gpus_total: int
    gpus_free: int
    cores_total: int
    cores_free: int
    pending: int  # jobs waiting that we can see


class SizeView(Model):
    """A node size as a person sees it: what it has, what is free, when it would start."""

    size: NodeSize
    gpu_label: str  # "1 x A100 64 GB", "no GPU"
    fits_now: int  # how many more of this size could start now; 0: none
    estimate: Estimate | None = None  # last known, for the size's default hours


class FactoryView(Model):
    """``GET /services/factories/api/factories`` gives a list of these."""

    id: Slug
    name: str
    site: Site
    scheduler: str
    accelerator: Accelerator
    health: Health
    partitions: tuple[PartitionLoad, ...] = ()
    sizes: tuple[SizeView, ...] = ()
    environments: tuple[Environment, ...] = ()
    default_environment: Slug
    default_size: Slug
    folder: Folder
    outbound: Literal["compute", "login", "none"]
    idle: IdleLimits
    notes: tuple[str, ...] = ()


class Problem(Model):
    """Body of every error answer of the link."""

    kind: Literal["invalid", "refused", "limit", "draining", "unreachable", "gone", "conflict", "forbidden"]
    message: str
    field: str | None = None
    scheduler: str = ""
    do: str = ""


# --- bodies of the link's API ---------------------------------------------------------------------------------------


class EnvironmentBody(BaseModel):
    """Body of ``POST /sessions/{id}/environment``: goes through the door; stored and logged nowhere."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    environment: dict[str, str] = Field(repr=False)
    argv: list[str] = Field(repr=False)


class TokenBody(Model):
    """Answer of ``GET /sessions/{id}/token``: the hub token the notebook has; None: it has none yet."""

    token: str | None = Field(repr=False)


class DrainBody(Model):
    """Body of ``PUT /factories/{id}/drain``: what people are told while the factory takes nothing new."""

    message: str = Field(min_length=1, max_length=500)


class TableFactory(Model):
    """A factory in the table that spawners keep."""

    id: Slug
    health: Health


class TableSnapshot(Model):
    """First event of ``GET /table``, and again where the reader was too slow: all live sessions, all factories."""

    sessions: tuple[Session, ...]
    factories: tuple[TableFactory, ...]
