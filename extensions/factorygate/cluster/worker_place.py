"""Where a cluster's workers are to run: factory, node size and what a job of it holds, by the gateway's catalogue."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dask.utils import parse_bytes
from distributed.deploy.local import nprocesses_nthreads

from factorycommon.language import N_
from factorygate.job_environment import job_environment
from factorygate.link import LinkRoute, get_now

GB = 10**9


@dataclass(frozen=True)
class WorkerPlace:
    """``factory_name``: what the start page calls it, which is its machine; ``cores``, ``memory`` (bytes): what Dask
    uses of a job, which is all that it has if ``whole``; ``processes``: Dask workers in it; ``hours``: of a job's
    walltime."""

    factory: str
    factory_name: str
    size: str
    label: str
    environment: str | None
    hours: float
    most_hours: float
    gpus: int
    cores: int
    memory: int
    processes: int
    here: bool  # at the factory of this session, on whose network its workers are
    whole: bool = True

    @property
    def threads(self) -> int:
        """Of each Dask worker."""
        return max(1, self.cores // self.processes)

    def jobs(self, workers: float = 0, cores: int | None = None, memory: str | int | None = None) -> int:
        """That have so much together."""
        share = float(parse_bytes(memory or 0)) / self.memory
        return math.ceil(max(workers / self.processes, (cores or 0) / self.cores, share))

    def most_jobs(
        self, workers: float = math.inf, cores: int | None = None, memory: str | int | None = None
    ) -> int | None:
        """That have no more than so much together, but one where anything may be; None where nothing bounds them."""
        bounds: list[float] = [workers / self.processes]
        bounds += [] if cores is None else [cores / self.cores]
        bounds += [] if memory is None else [parse_bytes(memory) / self.memory]
        least = min(bounds)
        return None if math.isinf(least) else math.floor(least) or math.ceil(least)


def find(
    factory: str | None,
    size: str | None,
    environment: str | None,
    hours: float | None,
    processes: int | None,
    cores: int | None = None,
    memory: str | int | None = None,
    here: Mapping[str, str] = os.environ,
    way: LinkRoute | None = None,
) -> WorkerPlace:
    """What was asked for, with this session's own factory, size and environment where nothing was said. ``way``: to the
    gateway; None: this session's.

    ``cores``, ``memory``: what Dask is to use of each job. Where they are said and no size is, it is the smallest size
    that has them, and ``processes`` is what dask-jobqueue makes of them; else one a GPU.

    Raises LinkError; ValueError, with what there is, for what the catalogue does not have.
    """
    offered: dict[str, dict[str, Any]] = {one["id"]: one for one in get_now("/factories", way)}
    own = here.get("FACTORYGATE_FACTORY")
    wanted = factory or own or next(iter(offered), None)
    if wanted not in offered:
        raise ValueError(f"Unknown factory {wanted!r}; you may use: {', '.join(offered) or 'none'}.")
    found = offered[wanted]
    sizes = {view["size"]["id"]: view for view in found["sizes"]}
    amount = parse_bytes(memory) if memory is not None else None
    smallest = size is None and (cores is not None or amount is not None)
    if smallest:
        wanted_size = _smallest(found, cores or 1, amount or 0, hours or 0)
    else:
        wanted_size = size or (here.get("FACTORYGATE_SIZE") if wanted == own else None) or found["default_size"]
    if wanted_size not in sizes:
        raise ValueError(f"Unknown node size {wanted_size!r}; {found['site']['machine']} has: {', '.join(sizes)}.")
    view = sizes[wanted_size]
    shape = view["size"]
    most_cores, most_memory = shape["cores"], int(shape["memory_gb"] * GB)
    if (cores or 1) > most_cores or (amount or 0) > most_memory:
        raise ValueError(
            f"{wanted_size} has {most_cores} cores and {shape['memory_gb']:g} GB, less than was asked for."
        )
    usual = nprocesses_nthreads(cores)[0] if smallest and cores else max(1, shape["gpus"])
    each = processes or usual
    if not 1 <= each <= max(cores or most_cores, shape["gpus"]):
        raise ValueError(f"{wanted_size} has {most_cores} cores: too few for {each} workers in a job.")
    most = float(shape["max_hours"])
    time = hours if hours is not None else min(float(shape["default_hours"]), most)
    if not 0 < time <= most:
        raise ValueError(f"{time:g} h is outside the limits of {wanted_size}: at most {most:g} h.")
    label = N_("{gpus}, {cores} cores, {memory} GB").format(
        gpus=view["gpu_label"], cores=shape["cores"], memory=f"{shape['memory_gb']:g}"
    )
    return WorkerPlace(
        factory=found["id"],
        factory_name=found["site"]["machine"],
        size=wanted_size,
        label=label,
        environment=environment or (here.get("FACTORYGATE_ENVIRONMENT") if wanted == own else None),
        hours=time,
        most_hours=most,
        gpus=shape["gpus"],
        cores=cores or most_cores,
        memory=amount or most_memory,
        processes=each,
        here=wanted == own,
        whole=cores is None and amount is None,
    )


def _smallest(factory: dict[str, Any], cores: int, memory: int, hours: float) -> str:
    """Id of the size with the least that has so much: GPUs count first."""
    shapes: list[dict[str, Any]] = [view["size"] for view in factory["sizes"]]
    fits = [
        shape
        for shape in shapes
        if shape["cores"] >= cores and shape["memory_gb"] * GB >= memory and shape["max_hours"] >= hours
    ]
    if not fits:
        there = ", ".join(f"{one['id']} ({one['cores']} cores, {one['memory_gb']:g} GB)" for one in shapes)
        raise ValueError(
            f"No node size of {factory['site']['machine']} has {cores} cores and {memory / GB:g} GB for {hours:g} h; "
            f"it has: {there}."
        )
    return str(min(fits, key=lambda shape: (shape["gpus"], shape["cores"], shape["memory_gb"]))["id"])


def own_address(here: Mapping[str, str] = os.environ) -> str:
    """An address of this node that its neighbours reach: the one its scheduler's name for it leads to, else the one
    that its name leads to."""
    for name in (job_environment(here).node, socket.gethostname()):
        if not name:
            continue
        try:
            found = socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)
        except OSError:
            continue
        for family, _, _, _, address in found:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                try:
                    probe.bind((address[0], 0))
                except OSError:
                    continue
                return str(address[0])
    return "127.0.0.1"
