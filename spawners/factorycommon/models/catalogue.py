"""The catalogue's models for a factory with a machine."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, PlainSerializer, StringConstraints, WithJsonSchema, model_validator

from factorycommon.gpu_shares import ALLOWED_SHARES, ALLOWED_SLICES, GpuSlice, parse_share, parse_slice
from factorycommon.models.antennas import Language
from factorycommon.models.base import Hours, Model, Slug, Word
from factorycommon.models.entry import NetworkEntry, SiteInfo
from factorycommon.models.rules import Agreement, DoorHint, Policy

# A share of GPUs, exact: a text such as "1/7" in files and in JSON.
GpuShare = Annotated[
    Fraction,
    BeforeValidator(parse_share),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": ["string", "number"], "description": ALLOWED_SHARES}),
]


class Accelerator(Model):
    """The GPU type of a factory, or of one of its partitions.

    ``memory_gb``: the memory of one GPU, None: not known; ``per_node``: the number of GPUs per node.
    """

    vendor: Literal["NVIDIA", "AMD", "Intel"]
    model: str
    memory_gb: float | None = None
    per_node: int = Field(ge=1)
    unit: str = "GPU"  # the scheduler's name for one countable GPU: GPU, GCD
    gres_type: Word | None = None  # the GPU's type in GRES, if the site uses typed GRES


class NodeShape(Model):
    """The hardware of a node: cores as the scheduler counts them, memory in GB, and the number of such nodes."""

    cores: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    count: int | None = None


class Partition(Model):
    """A partition (queue) of the scheduler, with its limits for one job.

    ``default_hours``: the walltime of a job that requests none; ``whole_node_only``: jobs get whole nodes only;
    ``preempt_requeue``: a job that is preempted is requeued.
    """

    name: Word
    max_hours: Hours | None = None  # None: the QOS sets the limit, or the limit is not known
    default_hours: Hours | None = None
    max_nodes: int | None = None
    whole_node_only: bool = False
    gpus: bool = True  # True if its nodes have the factory's accelerator
    preempt_requeue: bool = False
    shape: NodeShape | None = None  # set if its nodes differ from the factory's ``node``
    accelerator: Accelerator | None = None  # set if its GPUs differ from the factory's ``accelerator``
    note: str = ""


class Qos(Model):
    """A quality of service (QOS) of the scheduler. ``max_hours``, if set, replaces the partition's."""

    name: Word
    max_hours: Hours | None = None
    max_nodes: int | None = Field(default=None, ge=1)  # limits of one job, as are the next two
    max_cores: int | None = Field(default=None, ge=1)
    max_gpus: int | None = Field(default=None, ge=0)  # 0: a QOS that allows no GPU, for jobs that name no QOS
    max_jobs: int | None = Field(default=None, ge=1)  # limit of a person's submitted jobs at any time
    group_gpus: int | None = Field(default=None, ge=1)  # limit of all jobs of a person together
    note: str = ""


class NodeSize(Model):
    """The part of a node that a person selects for a session. ``cores``: as the site's scheduler counts them (some
    sites count hardware threads)."""

    id: Slug
    gpus: int = Field(ge=0)
    cores: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    partition: Word
    qos: Word | None = None
    max_hours: Hours
    default_hours: Hours = Field(default_factory=lambda data: min(1.0, data.get("max_hours", 1.0)))
    billed_as: str = ""  # the price in the site's own unit, for people: "1/4 node-hour per hour"; empty: not known
    whole_node: bool = False
    # if set, requested in place of whole GPUs: a slice or share of a GPU, as "gpu:1g.10gb:1" or "shard:4"
    gres: Word | None = None
    # the GPUs that a job with such a slice is billed for, all its slices together: 1/7, "0.25"; None: ``gpus``
    billed_gpus: GpuShare | None = None
    # names of the fields that we computed as a share of a node, since no source states them
    derived: tuple[str, ...] = ()
    note: str = ""  # for people who edit the entry, and operators

    @property
    def share(self) -> Fraction:
        """Return how many GPUs are billed for a job of this size; a fraction such as 1/7 for slices of a GPU.

        If the job gets a whole node, the gateway bills all GPUs of the node instead (``catalogue.prices``).
        """
        return Fraction(self.gpus) if self.billed_gpus is None else self.billed_gpus

    @property
    def gpu_slice(self) -> GpuSlice | None:
        """Return the slice of a GPU that jobs of this size request.

        None if ``billed_gpus`` or ``gres`` is not set, or if ``gres`` names no slice.
        """
        return None if self.billed_gpus is None or self.gres is None else parse_slice(self.gres)

    @property
    def gpu_text(self) -> str:
        """Return the GPUs of the size as a text for operators: ``2 GPU``, ``0 GPU``, ``1/7 GPU (gpu:1g.10gb:1)``."""
        return f"{self.share} GPU" + (f" ({self.gres})" if self.gpu_slice is not None else "")


class SizeSketch(Model):
    """A node size that cannot be offered, since some of its values are not known yet; these are left out."""

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
        """Return the names of the fields that are None, and must be filled in before people can select this size."""
        return tuple(name for name in ("cores", "memory_gb", "partition", "max_hours") if getattr(self, name) is None)

    @model_validator(mode="after")
    def _lacks_something(self) -> SizeSketch:
        if not self.lacks:
            raise ValueError(f"sketches.{self.id}: nothing is missing; it belongs in sizes")
        return self


class Environment(Model):
    """The software that a notebook runs in: its own Python with Jupyter, and the door (``factorygate[notebook]``).

    ``python``: an absolute path at the factory; for a container, the path inside the container. ``setup``: the
    operator's shell lines, which the job script runs after loading ``modules``. ``state``: ``template`` if the
    environment's Python is not installed at the site yet, so that nothing can start in this environment. ``remark``:
    notes for the person who installs this Python.
    """

    id: Slug
    title: str
    state: Literal["live", "template"] = "live"
    kind: Literal["venv", "module", "container"]
    # None is allowed for a template only
    python: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./+-]+$")] | None = None
    modules: tuple[Word, ...] = ()
    image: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./+-]+$")] | None = None
    runtime: Literal["apptainer", "singularity"] = "apptainer"  # the program that runs the image
    # the site's folders that are visible inside the container
    binds: tuple[Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./+:-]+$")], ...] = ()
    setup: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ()  # for example "PyTorch 2.8", "dask 2026.3"
    gpu_stack: str | None = None  # for example "CUDA 12.4", "ROCm 6.2"
    architecture: Literal["x86_64", "aarch64"] = "x86_64"
    sizes: tuple[Slug, ...] = ()  # node sizes that can use this environment; empty: all
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
    """The folder with the notebook's files. ``path`` may use ``~`` for the site account's home."""

    path: Annotated[str, StringConstraints(pattern=r"^(~|/)[A-Za-z0-9_./-]*$")] = "~"
    quota: str | None = None  # text for people: "20 GB, 100k files"


class IdleLimits(Model):
    """After how many minutes without use a session ends by itself.

    ``unopened_minutes``: if nobody has opened the notebook since it started; ``idle_minutes``: after the last use. Both
    are defaults: a person may choose other values, up to ``max_unopened_minutes`` and ``max_idle_minutes``.
    """

    unopened_minutes: int = Field(default=30, ge=1)
    idle_minutes: int = Field(default=60, ge=1)
    max_unopened_minutes: int = Field(default=120, ge=1)
    max_idle_minutes: int = Field(default=480, ge=1)


Hint = Annotated[
    Mapping[Language, Annotated[str, StringConstraints(min_length=1, max_length=300)]], Field(min_length=1)
]


class Factory(NetworkEntry):
    """A factory with a machine: one YAML file in ``hub_config/factories``, whose name is the factory's id.

    If ``state`` is ``live``, the site has agreed that the gateway uses the machine (``agreement``; a testbed needs
    none). If ``state`` is ``template``, the values come from public pages and nobody has confirmed them. Values that
    are not known are left out, and never guessed. Nothing can be started at a factory without ``sizes``.
    """

    state: Literal["live", "template", "planned"]  # "planned" is refused here: such an entry is a Planned
    agreement: Agreement | None = None
    site: SiteInfo
    scheduler: Literal["slurm", "pbs"]
    architecture: Literal["x86_64", "aarch64"] = "x86_64"
    login_architecture: Literal["x86_64", "aarch64"] | None = None  # set if it differs from the nodes' architecture
    accelerator: Accelerator
    node: NodeShape | None = None
    partitions: tuple[Partition, ...] = ()
    qos: tuple[Qos, ...] = ()
    # How jobs request GPUs. None: not known; jobs use gres. constraint: the node feature in ``constraint`` selects
    # nodes with GPUs, and jobs request no number of GPUs.
    gpu_syntax: Literal["gres", "gres-typed", "gpus-per-node", "constraint"] | None = None
    asks_memory: bool = True  # False: jobs get memory in proportion to their cores, and must not request memory
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
    hints: tuple[Hint, ...] = ()  # texts by language for the start page; not shown in other languages

    def shape(self, partition: Partition) -> NodeShape | None:
        """Return the hardware of the partition's nodes; None if it is not known."""
        return partition.shape or self.node

    def gpu(self, partition: Partition) -> Accelerator:
        """Return the GPU type of the partition's nodes; for a partition without GPUs, the factory's GPU type."""
        return partition.accelerator or self.accelerator

    def partition(self, name: str) -> Partition:
        """Return the partition with this name. Raises StopIteration if the factory has no such partition.

        The factory always has the partitions that its node sizes name.
        """
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
        # The limit of a QOS replaces the partition's limit. It may be shorter, or longer if the site allows that.
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
        if size.billed_gpus is not None:
            self._slice_fits(size, where)
        if partition.whole_node_only and not size.whole_node:
            raise ValueError(f"{where}.whole_node: partition {size.partition} gives whole nodes only; allowed: true")

    def _slice_fits(self, size: NodeSize, where: str) -> None:
        part = size.gpu_slice
        if self.scheduler != "slurm":
            raise ValueError(f"{where}.billed_gpus: slices of GPUs are Slurm's; leave it out")
        if part is None:
            raise ValueError(
                f"{where}.gres: {size.gres!r} is no slice of a GPU; with billed_gpus it is {ALLOWED_SLICES}"
            )
        if part.kind == "mig" and self.gpu(self.partition(size.partition)).vendor != "NVIDIA":
            raise ValueError(f"{where}.gres: only GPUs of NVIDIA have MIG profiles; allowed: shard:NUMBER")
        if size.gpus != part.devices:
            raise ValueError(
                f"{where}.gpus: {size.gpus}, but {size.gres} is seen as {part.devices}; allowed: {part.devices}"
            )
        if size.share > size.gpus:
            raise ValueError(f"{where}.billed_gpus: {size.share} is above the {size.gpus} of gpus")
        if size.whole_node or self.partition(size.partition).whole_node_only:
            raise ValueError(f"{where}.billed_gpus: a whole node bills all its GPUs; leave it out")


N = TypeVar("N", Partition, Qos)


def _named(what: str, items: tuple[N, ...]) -> dict[str, N]:
    named = {item.name: item for item in items}
    if len(named) != len(items):
        raise ValueError(f"{what}: a name is used twice")
    return named
