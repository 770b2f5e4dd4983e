"""The catalogue's models for a factory with a machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import Field, StringConstraints, model_validator

from factorycommon.models.antennas import Language
from factorycommon.models.base import Hours, Model, Slug, Word
from factorycommon.models.entry import NetworkEntry, SiteInfo
from factorycommon.models.rules import Agreement, DoorHint, Policy


class Accelerator(Model):
    """What one GPU of the factory is, and how many a node has; memory in GB."""

    vendor: Literal["NVIDIA", "AMD", "Intel"]
    model: str
    memory_gb: float | None = None
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
    max_hours: Hours | None = None  # None: the QOS sets it, or it is not known
    default_hours: Hours | None = None
    max_nodes: int | None = None
    whole_node_only: bool = False
    gpus: bool = True  # its nodes carry the factory's accelerator
    preempt_requeue: bool = False
    shape: NodeShape | None = None  # where its nodes differ from the factory's
    accelerator: Accelerator | None = None  # and where their GPUs do
    note: str = ""


class Qos(Model):
    """A quality of service; a limit of its own (hours) stands in place of the partition's."""

    name: Word
    max_hours: Hours | None = None
    max_nodes: int | None = Field(default=None, ge=1)  # of one job, as are the next two
    max_cores: int | None = Field(default=None, ge=1)
    max_gpus: int | None = Field(default=None, ge=0)  # 0: a QOS for those who name none, that gives nothing
    max_jobs: int | None = Field(default=None, ge=1)  # a person's, submitted at a time
    group_gpus: int | None = Field(default=None, ge=1)  # of all its jobs together
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
    billed_as: str = ""  # the site's own unit, for people: "1/4 node-hour per hour"; empty: not known
    whole_node: bool = False
    gres: Word | None = None  # in place of whole GPUs, a slice or share of one: "gpu:1g.10gb:1", "shard:4"
    derived: tuple[str, ...] = ()  # fields computed from the share of a node, seen nowhere as such
    note: str = ""  # for editors and operators


class SizeSketch(Model):
    """A node size of which too little is known to offer it; what is missing is left out."""

    id: Slug
    gpus: int = Field(ge=0)
    cores: int | None = Field(default=None, ge=1)
    memory_gb: float | None = Field(default=None, gt=0)
    partition: Word | None = None
    qos: Word | None = None
    max_hours: Hours | None = None
    derived: tuple[str, ...] = ()
    note: str = ""

    @property
    def lacks(self) -> tuple[str, ...]:
        """What must be known before people can pick it."""
        return tuple(name for name in ("cores", "memory_gb", "partition", "max_hours") if getattr(self, name) is None)

    @model_validator(mode="after")
    def _lacks_something(self) -> SizeSketch:
        if not self.lacks:
            raise ValueError(f"sketches.{self.id}: nothing is missing; it belongs in sizes")
        return self


class Environment(Model):
    """What the notebook runs in. It brings its own Python and Jupyter and the door (``factorygate[notebook]``).

    ``python`` is an absolute path on the factory. ``setup`` are lines the job's script runs first (operator's text).
    ``template``: the site has the modules, image or conda that are named, and nobody has made the Python with
    ``factorygate[notebook]`` on top of them yet: nothing starts in it. ``remark``: for whoever makes that.
    """

    id: Slug
    title: str
    state: Literal["live", "template"] = "live"
    kind: Literal["venv", "module", "container"]
    python: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./+-]+$")] | None = None  # None: a template's
    modules: tuple[Word, ...] = ()
    image: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./+-]+$")] | None = None
    runtime: Literal["apptainer", "singularity"] = "apptainer"  # what runs the image
    binds: tuple[Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./+:-]+$")], ...] = ()  # folders seen inside
    setup: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ()  # "PyTorch 2.8", "dask 2026.3"
    gpu_stack: str | None = None  # "CUDA 12.4", "ROCm 6.2"
    architecture: Literal["x86_64", "aarch64"] = "x86_64"
    sizes: tuple[Slug, ...] = ()  # node sizes it fits; empty: all
    remark: str = ""

    @model_validator(mode="after")
    def _kind_fits(self) -> Environment:
        live, container = self.state == "live", self.kind == "container"
        if live and self.python is None:
            raise ValueError("python: needed, unless state is template")
        if (live and container and self.image is None) or (self.image is not None and not container):
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


Hint = Annotated[
    Mapping[Language, Annotated[str, StringConstraints(min_length=1, max_length=300)]], Field(min_length=1)
]


class Factory(NetworkEntry):
    """A factory with a machine: one YAML in ``hub_config/factories``; the file's name is the id.

    ``live``: its operator agreed. ``template``: values from public pages, which nobody has confirmed. What is not known
    is left out: ``None`` is never a guess. Without ``sizes`` nothing can be started there."""

    state: Literal["live", "template", "planned"]  # planned: refused, since it is a Planned then
    agreement: Agreement | None = None
    site: SiteInfo
    scheduler: Literal["slurm", "pbs"]
    architecture: Literal["x86_64", "aarch64"] = "x86_64"
    login_architecture: Literal["x86_64", "aarch64"] | None = None  # where it differs from the nodes'
    accelerator: Accelerator
    node: NodeShape | None = None
    partitions: tuple[Partition, ...] = ()
    qos: tuple[Qos, ...] = ()
    # None: not known, asked for as gres. constraint: what it names comes with its GPUs, and no number is asked for.
    gpu_syntax: Literal["gres", "gres-typed", "gpus-per-node", "constraint"] | None = None
    asks_memory: bool = True  # False: memory follows the cores, and no job may name it
    account_mandatory: bool | None = None
    account_example: Word | None = None
    qos_mandatory: bool | None = None
    constraint: Word | None = None
    sizes: tuple[NodeSize, ...] = ()
    sketches: tuple[SizeSketch, ...] = ()
    environments: tuple[Environment, ...]
    default_environment: Slug | None = None
    notebook_folder: Folder = Folder()
    outbound: Literal["compute", "login", "none", "unknown"] = "unknown"
    door: DoorHint = DoorHint()
    policy: Policy = Policy()
    idle: IdleLimits = IdleLimits()
    hints: tuple[Hint, ...] = ()  # for people, on the start page: a text by language; not shown in others

    def shape(self, partition: Partition) -> NodeShape | None:
        """What a node of that partition is; None: not known."""
        return partition.shape or self.node

    def gpu(self, partition: Partition) -> Accelerator:
        """What a GPU of that partition is."""
        return partition.accelerator or self.accelerator

    def partition(self, name: str) -> Partition:
        """The partition of that name, which a size of this factory has."""
        return next(partition for partition in self.partitions if partition.name == name)

    @model_validator(mode="after")
    def _names_fit(self) -> Factory:
        if self.state == "planned":
            raise ValueError("state: a planned factory has no machine; allowed here: live, template")
        partitions, qos = _named("partitions", self.partitions), _named("qos", self.qos)
        sizes = [s.id for s in self.sizes]
        if len({*sizes, *(s.id for s in self.sketches)}) != len(self.sizes) + len(self.sketches):
            raise ValueError("sizes: an id is used twice")
        for size in self.sizes:
            self._size_fits(size, partitions, qos)
        for sketch in self.sketches:
            where = f"sketches.{sketch.id}"
            if sketch.partition is not None and sketch.partition not in partitions:
                raise ValueError(f"{where}.partition: {sketch.partition!r} is none of {sorted(partitions)}")
            if sketch.qos is not None and sketch.qos not in qos:
                raise ValueError(f"{where}.qos: {sketch.qos!r} is none of {sorted(qos)}")
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

    def _size_fits(self, size: NodeSize, partitions: Mapping[str, Partition], qos: Mapping[str, Qos]) -> None:
        where = f"sizes.{size.id}"
        if size.partition not in partitions:
            raise ValueError(f"{where}.partition: {size.partition!r} is none of {sorted(partitions)}")
        if size.qos is not None and size.qos not in qos:
            raise ValueError(f"{where}.qos: {size.qos!r} is none of {sorted(qos)}")
        partition = partitions[size.partition]
        # A QOS with its own limit stands in place of the partition's: shorter, or longer where the site lets it.
        own = qos[size.qos].max_hours if size.qos is not None else None
        limit = partition.max_hours if own is None else own
        if limit is None:
            raise ValueError(f"{where}.max_hours: neither its partition nor its QOS has a limit; put it in sketches")
        if size.max_hours > limit:
            of = f"partition {size.partition}" if own is None else f"QOS {size.qos}"
            raise ValueError(f"{where}.max_hours: {size.max_hours:g} is above the {limit:g} h of {of}")
        if size.default_hours > size.max_hours:
            raise ValueError(f"{where}.default_hours: above max_hours, {size.max_hours:g}")
        shape = self.shape(partition)
        if shape is None:
            raise ValueError(f"{where}: what a node has is not known; put it in sketches")
        if size.cores > shape.cores or size.memory_gb > shape.memory_gb:
            raise ValueError(f"{where}: more than a node has ({shape.cores} cores, {shape.memory_gb:g} GB)")
        if size.gpus and not partition.gpus:
            raise ValueError(f"{where}.gpus: partition {size.partition} has none")
        if size.gpus > self.gpu(partition).per_node:
            raise ValueError(f"{where}.gpus: more than a node has, {self.gpu(partition).per_node}")
        if partition.whole_node_only and not size.whole_node:
            raise ValueError(f"{where}.whole_node: partition {size.partition} gives whole nodes only; allowed: true")


N = TypeVar("N", Partition, Qos)


def _named(what: str, items: tuple[N, ...]) -> dict[str, N]:
    named = {item.name: item for item in items}
    if len(named) != len(items):
        raise ValueError(f"{what}: a name is used twice")
    return named
