"""The catalogue: what a factory is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from factorylink.models.base import Hours, Model, Slug, Word


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
    gpu_syntax: Literal["gres", "gres-typed", "gpus-per-node", "constraint"] = "gres"
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
