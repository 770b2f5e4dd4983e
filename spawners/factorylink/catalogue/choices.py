"""Checks a person's choice against the catalogue, explains refusals, and makes a dialect's request from the choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction

from factorycommon.messages import Message
from factorycommon.models import (
    MOST_HOURS,
    Bounds,
    Choice,
    Environment,
    Factory,
    JobOptions,
    JobRequest,
    NodeSize,
    Offer,
    ProjectAt,
    ResolvedChoice,
    SessionBounds,
)
from factorylink.config import Access

SHORTEST_HOURS = 1 / 60  # one minute, since schedulers count a walltime in minutes
LEAST_OFFERED_HOURS = 0.25  # or a size's limit, if that is shorter


class ChoiceError(Exception):
    """Raised for a choice that the catalogue does not allow.

    ``field``: the field of the form at fault; ``message``: an explanation for the person.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def smallest_size(factory: Factory) -> NodeSize:
    """Return the size with the fewest GPUs.

    Among equals, the one with the fewest cores, then the first in the catalogue.
    """
    return min(factory.sizes, key=lambda size: (size.share, size.cores))


def find_size(factory: Factory, size_id: str) -> NodeSize:
    """Return the size with this id. Raises ChoiceError, which names the allowed sizes."""
    for size in factory.sizes:
        if size.id == size_id:
            return size
    raise ChoiceError(
        "size",
        Message("size-unknown", "Unknown node size {size}; {factory} has: {names}.").format(
            size=repr(size_id), factory=factory.site.machine, names=_names(factory.sizes)
        ),
    )


def find_environment(factory: Factory, environment_id: str) -> Environment:
    """Return the environment with this id. Raises ChoiceError, which names the allowed environments."""
    for environment in factory.environments:
        if environment.id == environment_id:
            return environment
    raise ChoiceError(
        "environment",
        Message("environment-unknown", "Unknown environment {environment}; {factory} has: {names}.").format(
            environment=repr(environment_id), factory=factory.site.machine, names=_names(factory.environments)
        ),
    )


def default_environment(factory: Factory, size: NodeSize) -> Environment:
    """Return the factory's default environment if it fits the size, else the first environment that fits.

    Raises ChoiceError if none fits.
    """
    preset = offer(factory, size).environment
    if preset is None:
        said = Message("no-environment-fits", "No environment of {factory} fits the node size {size}.")
        raise ChoiceError("environment", said.format(factory=factory.site.machine, size=size.id))
    return find_environment(factory, preset)


def offer(factory: Factory, size: NodeSize) -> Offer:
    """Return the environments and hours that can be chosen with a size, and their presets.

    Pages and widgets use this to complete a choice.
    """
    fitting = [environment.id for environment in factory.environments if _fits(environment, size)]
    usual = factory.default_environment
    return Offer(
        environments=tuple(fitting),
        environment=usual if usual in fitting else next(iter(fitting), None),
        hours=Bounds(least=min(LEAST_OFFERED_HOURS, size.max_hours), most=size.max_hours, preset=size.default_hours),
    )


def session_bounds(factory: Factory) -> SessionBounds:
    """Return the bounds of a session's idle time, time until first opened and time in the queue.

    They are the same for all sizes of the factory.
    """
    idle = factory.idle
    return SessionBounds(
        idle_minutes=Bounds(least=1, most=idle.max_idle_minutes, preset=idle.idle_minutes),
        unopened_minutes=Bounds(least=1, most=idle.max_unopened_minutes, preset=idle.unopened_minutes),
        give_up_hours=Bounds(least=0.05, most=MOST_HOURS),
    )


def sized(factory: Factory, wanted: Choice, cores: int | None, memory_gb: float | None) -> Choice:
    """Return the choice with a size that has at least ``cores`` and ``memory_gb``.

    If the choice names no size, the smallest such size that allows the choice's hours is filled in; if both numbers are
    None, the choice is returned unchanged. Raises ChoiceError if there is no such size, or if the named size has less.
    """
    if cores is None and memory_gb is None:
        return wanted
    if wanted.size is None:
        size = _smallest_with(factory, cores or 1, memory_gb or 0.0, wanted.hours or 0.0)
        return wanted.model_copy(update={"size": size.id})
    size = find_size(factory, wanted.size)
    if (cores or 0) > size.cores or (memory_gb or 0.0) > size.memory_gb:
        said = Message("size-too-small", "{size} has {cores} cores and {memory} GB, less than was asked for.")
        raise ChoiceError("size", said.format(size=size.id, cores=size.cores, memory=f"{size.memory_gb:g}"))
    return wanted


def _smallest_with(factory: Factory, cores: int, memory_gb: float, hours: float) -> NodeSize:
    """Return the smallest size that offers so many cores and so much memory for ``hours``. Raises ChoiceError."""
    fitting = [
        size
        for size in factory.sizes
        if size.cores >= cores and size.memory_gb >= memory_gb and size.max_hours >= hours
    ]
    if not fitting:
        there = ", ".join(f"{size.id} ({size.cores} cores, {size.memory_gb:g} GB)" for size in factory.sizes)
        said = Message(
            "no-size-so-large",
            "No node size of {factory} has {cores} cores and {memory} GB for {hours} h; it has: {sizes}.",
        )
        raise ChoiceError("size", said.format(factory=factory.site.machine, cores=cores, memory=f"{memory_gb:g}",
                                              hours=f"{hours:g}", sizes=there))  # fmt: skip
    return min(fitting, key=lambda size: (size.share, size.cores, size.memory_gb))


def walltime(hours: float) -> int:
    """Return the walltime in seconds of a job of ``hours`` hours, rounded up to whole minutes as schedulers do."""
    return 60 * math.ceil(round(hours * 60, 6))


def gpu_label(factory: Factory, size: NodeSize) -> str:
    """Return the description of a size's hardware as one text, with commas between its parts."""
    return ", ".join(gpu_label_parts(factory, size))


def gpu_label_parts(factory: Factory, size: NodeSize) -> list[str]:
    """Return the description of a size's hardware for people, in parts.

    Examples, with commas between the parts: ``1 x A100 64 GB``, ``2 x MI250X GCD 64 GB``, ``no GPU``,
    ``one seventh of one H100, 10 GB of GPU memory``. If other sizes of the factory have the same GPUs, further parts
    tell this size from them, for example ``1 x A100 64 GB, up to 30 min``.
    """
    label = _gpus(factory, size)
    alike = [one for one in factory.sizes if one.id != size.id and _gpus(factory, one) == label]
    tells = (_cores, _memory, _longest) if size.gpus == 0 else (_longest, _cores, _memory)
    parts = [label, *_of_slice(size)]
    for tell in (*tells, _partition, _id):
        if not alike:
            break
        rest = [one for one in alike if tell(one) == tell(size)]
        if len(rest) < len(alike):
            parts.append(tell(size))
        alike = rest
    return parts


def _longest(size: NodeSize) -> str:
    if size.max_hours < 1:
        return Message("up-to-minutes", "up to {minutes} min").format(minutes=round(60 * size.max_hours))
    return Message("up-to-hours", "up to {hours} h").format(hours=f"{size.max_hours:g}")


def _cores(size: NodeSize) -> str:
    return (
        Message("one-core", "1 core")
        if size.cores == 1
        else Message("cores", "{number} cores").format(number=size.cores)
    )


def _memory(size: NodeSize) -> str:
    return f"{size.memory_gb:g} GB"


def _partition(size: NodeSize) -> str:
    return size.partition


def _id(size: NodeSize) -> str:
    return size.id


def _gpus(factory: Factory, size: NodeSize) -> str:
    """Return a description of a size's GPUs."""
    if size.gpus == 0:
        return Message("no-gpu", "no GPU")
    accelerator = factory.gpu(factory.partition(size.partition))
    if size.gpu_slice is not None:
        said = _SHARES.get(size.share) or Message("gpu-share", "{share} of one {model}")
        return said.format(share=size.share, model=accelerator.model)
    unit = "" if accelerator.unit == "GPU" else f" {accelerator.unit}"
    memory = "" if accelerator.memory_gb is None else f" {accelerator.memory_gb:g} GB"
    return f"{size.gpus} x {accelerator.model}{unit}{memory}"


_SHARES = {
    Fraction(1, 2): Message("gpu-share-2", "one half of one {model}"),
    Fraction(1, 3): Message("gpu-share-3", "one third of one {model}"),
    Fraction(1, 4): Message("gpu-share-4", "one quarter of one {model}"),
    Fraction(1, 5): Message("gpu-share-5", "one fifth of one {model}"),
    Fraction(1, 6): Message("gpu-share-6", "one sixth of one {model}"),
    Fraction(1, 7): Message("gpu-share-7", "one seventh of one {model}"),
    Fraction(1, 8): Message("gpu-share-8", "one eighth of one {model}"),
}


def _of_slice(size: NodeSize) -> list[str]:
    """Return a list with one text about a size's slices of a GPU; an empty list if the size has none.

    For Slurm's shards, the text says that other jobs share the GPU; for other slices, how much GPU memory each has.
    """
    part = size.gpu_slice
    if part is None:
        return []
    if part.kind == "shard":
        return [Message("gpu-shared", "shared with other jobs")]
    if part.count == 1:
        return [Message("gpu-memory", "{memory} GB of GPU memory").format(memory=part.memory_gb)]
    said = Message("gpu-memory-each", "{number} slices with {memory} GB of GPU memory each")
    return [said.format(number=part.count, memory=part.memory_gb)]


def resolve(factory: Factory, choice: Choice) -> ResolvedChoice:
    """Return the choice with every default filled in. Raises ChoiceError if the catalogue does not allow the choice.

    This function ignores ``until``: call ``shortened`` first, which replaces ``until`` by ``hours``.
    """
    if choice.factory is not None and choice.factory != factory.id:
        raise ChoiceError(
            "factory",
            Message("other-factory", "This choice is for {wanted}, not for {factory}.").format(
                wanted=repr(choice.factory), factory=repr(factory.id)
            ),
        )
    size = smallest_size(factory) if choice.size is None else find_size(factory, choice.size)
    if choice.environment is None:
        environment = default_environment(factory, size)
    else:
        environment = find_environment(factory, choice.environment)
        if not _fits(environment, size):
            raise ChoiceError(
                "environment",
                Message(
                    "environment-does-not-fit",
                    "The environment {environment} does not fit the node size {size}; it fits: {names}.",
                ).format(environment=repr(environment.id), size=repr(size.id), names=", ".join(environment.sizes)),
            )
    hours = size.default_hours if choice.hours is None else choice.hours
    if hours > size.max_hours:
        raise ChoiceError(
            "hours",
            Message("hours-too-many", "{hours} h is above the limit of {size}: at most {most} h.").format(
                hours=f"{hours:g}", size=repr(size.id), most=f"{size.max_hours:g}"
            ),
        )
    if hours < SHORTEST_HOURS:
        raise ChoiceError("hours", Message("hours-too-few", "Ask for at least one minute (0.017 h)."))
    bounds = session_bounds(factory)
    return ResolvedChoice(
        factory=factory.id,
        size=size.id,
        environment=environment.id,
        hours=hours,
        idle_minutes=_bounded("idle_minutes", choice.idle_minutes, bounds.idle_minutes),
        unopened_minutes=_bounded("unopened_minutes", choice.unopened_minutes, bounds.unopened_minutes),
        give_up_hours=choice.give_up_hours,
        project=choice.project,
        reservation=choice.reservation,
        url_tokens=bool(choice.url_tokens),
    )


def shortened(factory: Factory, choice: Choice, now: datetime) -> Choice:
    """Return the choice with its end ``until`` replaced by ``hours``, the time from ``now`` to that end.

    A choice without ``until`` is returned unchanged. If the choice also has ``hours``, the new ``hours`` is at most the
    old one; otherwise it is at most what the choice's size allows. A choice without a size counts as one of the
    smallest size of ``factory``. Raises ChoiceError if less than a minute is left, or if the size is unknown.
    """
    if choice.until is None:
        return choice
    left = (choice.until - now).total_seconds() / 3600
    if left < SHORTEST_HOURS:
        raise ChoiceError(
            "until",
            Message("until-past", "There is no time left until {until}.").format(until=f"{choice.until:%H:%M %Z}"),
        )
    size = smallest_size(factory) if choice.size is None else find_size(factory, choice.size)
    hours = min(left, size.max_hours if choice.hours is None else choice.hours)
    return choice.model_copy(update={"hours": hours, "until": None})


def job_request(
    factory: Factory,
    access: Access,
    resolved: ResolvedChoice,
    options: JobOptions,
    *,
    name: str,
    comment: str,
    folder: str,
    argv: Sequence[str],
    log: str = "job.log",
    warned: bool = True,
    project: ProjectAt | None = None,
) -> JobRequest:
    """Return the request with which a job of a session or cluster is submitted.

    ``folder``: absolute path of the session's or cluster's folder at the factory; ``log``: name of the job's log in it.
    ``argv``: the arguments after the environment's Python; ``warned``: whether the job wants the signal USR1 before the
    end of its walltime. ``factory`` already has the overrides of ``access``.

    Raises ChoiceError if the catalogue no longer has the size or the environment, ValueError for a value that a job
    request does not allow.

    QOS, partition, account and reservation come from the first of these that sets them: the operator's settings for the
    spawner (``options``), the person's choice (only the reservation), the project's settings at the factory
    (``project``), the node size, this hub's settings for the factory (``access``).
    """
    project = project or ProjectAt()
    size = find_size(factory, resolved.size)
    environment = find_environment(factory, resolved.environment)
    gpu = factory.gpu(factory.partition(size.partition))
    return JobRequest(
        name=name,
        comment=comment,
        partition=options.partition or project.partition or size.partition,
        account=paying(access, project, options),
        qos=options.qos or project.qos or size.qos or access.job_qos,
        constraint=options.constraint or factory.constraint,
        reservation=options.reservation or resolved.reservation or project.reservation,
        gpus=size.gpus,
        gpu_syntax=factory.gpu_syntax or "gres",
        gpu_type=gpu.gres_type if factory.gpu_syntax == "gres-typed" else None,
        gres=options.gres or size.gres,
        # what an operator requests instead is not checked
        gpu_slice=size.gres if size.gpu_slice is not None and not options.gres else None,
        cores=size.cores,
        memory_gb=size.memory_gb,
        asks_memory=factory.asks_memory,
        whole_node=size.whole_node,
        walltime=round(resolved.hours * 3600),
        warned=warned,
        output=f"{folder}/{log}",
        setup=(
            *_setup(environment),
            *options.prologue.splitlines(),
        ),
        command=(*_container_argv(factory, environment, size), _python(environment), *argv),
        teardown=tuple(options.epilogue.splitlines()),
    )


def paying(access: Access, at: ProjectAt, options: JobOptions | None = None) -> str | None:
    """Return the scheduler's account that is charged for a job.

    The first of these that names an account decides: the job options, the project's settings at the factory (``at``),
    this hub's settings for the factory (``access``). None: none of them does, so the site charges the person's default
    account.
    """
    return (options.account if options else None) or at.account or access.job_account


def bridge_argv(factory: Factory, resolved: ResolvedChoice) -> tuple[str, ...]:
    """Return the command that the scheduler runs in a job to connect the link with the job's door.

    The caller appends the path of the door's socket. The command runs the environment's own Python: in its container
    or, if it has none, after its modules and setup lines. Raises ChoiceError if the environment is no longer in the
    catalogue.
    """
    environment = find_environment(factory, resolved.environment)
    program = (_python(environment), "-P", "-m", "factorygate.session.bridge")
    if environment.image is not None:
        return (*_container_argv(factory, environment, None), *program)
    if not environment.modules and not environment.setup:
        return program
    # The output of such lines must not get into the byte stream between the link and the door.
    lines = ("exec 3>&1 >&2", *_setup(environment), 'exec "$@" >&3 3>&-')
    return ("/bin/bash", "-lc", "\n".join(lines), "bridge", *program)


def _python(environment: Environment) -> str:
    """Return the path of the environment's Python at the factory.

    Raises ValueError if the environment has no path. Only a template, that is, an environment that is not installed
    yet, may lack the path; the factories that ``loading.offered`` returns have no templates.
    """
    if environment.python is None:
        raise ValueError(f"the environment {environment.id} is a template, which has no Python yet")
    return environment.python


def _setup(environment: Environment) -> tuple[str, ...]:
    return (*(f"module load {module}" for module in environment.modules), *environment.setup)


def _container_argv(factory: Factory, environment: Environment, size: NodeSize | None) -> tuple[str, ...]:
    if environment.image is None:
        return ()
    gpu = (
        {"NVIDIA": ("--nv",), "AMD": ("--rocm",), "Intel": ()}[factory.accelerator.vendor] if size and size.gpus else ()
    )
    binds = tuple(word for bind in environment.binds for word in ("--bind", bind))
    return (environment.runtime, "exec", *gpu, *binds, environment.image)


def _fits(environment: Environment, size: NodeSize) -> bool:
    return not environment.sizes or size.id in environment.sizes


def _bounded(field: str, asked: int | None, bounds: Bounds) -> int:
    if asked is None:
        return round(bounds.preset or bounds.least)
    if not bounds.least <= asked <= bounds.most:
        said = Message("minutes-out-of-bounds", "{asked} minutes is outside the factory's bounds: 1 to {most}.")
        raise ChoiceError(field, said.format(asked=asked, most=f"{bounds.most:g}"))
    return asked


def _names(entries: Sequence[NodeSize] | Sequence[Environment]) -> str:
    return ", ".join(entry.id for entry in entries)
