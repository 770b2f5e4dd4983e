"""Finds in the gateway's catalogue where a cluster's workers run: the factory, the node size, a job's resources."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from dask.utils import parse_bytes
from distributed.deploy.local import nprocesses_nthreads

from factorycommon.gpu_shares import plain
from factorycommon.messages import Message
from factorycommon.models import ChoiceView
from factorygate.job_environment import job_environment
from factorygate.link import LinkError, LinkRoute, get_now

GB = 10**9


@dataclass(frozen=True)
class WorkerPlace:
    """The place where a cluster's jobs run, and how much of each job's resources Dask uses.

    ``factory_name``: the factory's machine, as the start page names it; ``label``: the node size in words; ``gpus``: a
    job's GPUs, as they are billed; ``cores``, ``memory`` (bytes): what Dask uses of a job; ``whole``: whether that is
    the whole job; ``processes``: Dask workers in a job; ``hours``: a job's walltime; ``most_hours``: the longest
    walltime that the factory offers for this node size; ``here``: whether the factory is this session's.
    """

    factory: str
    factory_name: str
    size: str
    label: str
    environment: str | None
    hours: float
    most_hours: float
    gpus: int | float  # as they are billed: a part of one for a slice of a GPU
    cores: int
    memory: int
    processes: int
    here: bool  # True at the factory of this session, whose network the workers share
    whole: bool = True

    @property
    def threads(self) -> int:
        """Return the number of threads of each Dask worker."""
        return max(1, self.cores // self.processes)

    def jobs(self, workers: float = 0, cores: int | None = None, memory: str | int | None = None) -> int:
        """Return how many jobs are needed to have at least ``workers`` Dask workers, ``cores`` and ``memory`` in all.

        ``memory``: bytes, or a text such as ``16 GB``.
        """
        share = float(parse_bytes(memory or 0)) / self.memory
        return math.ceil(max(workers / self.processes, (cores or 0) / self.cores, share))

    def most_jobs(
        self, workers: float = math.inf, cores: int | None = None, memory: str | int | None = None
    ) -> int | None:
        """Return the largest number of jobs that stay within these bounds; None if there is no bound.

        The number is 1 if the bounds are above 0 but too small for one job. ``workers``: Dask workers; ``memory``:
        bytes, or a text such as ``16 GB``.
        """
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
    route: LinkRoute | None = None,
    project: str | None = None,
) -> WorkerPlace:
    """Return the place where a cluster's jobs are to run.

    ``factory`` None: this session's factory, if this code runs in a session. ``size`` None: if ``cores`` or ``memory``
    is given, the smallest size that has this much; else this session's size, if the jobs run at this session's factory.
    ``environment`` None: this session's, if the jobs run at this session's factory. ``hours``: the walltime of each
    job. ``processes``: Dask workers in each job; None: one for each GPU, at least one. If ``cores`` is given and
    ``size`` is not, the default of ``processes`` is the number that dask-jobqueue computes from ``cores``. ``cores``,
    ``memory`` (bytes, or a text such as ``16 GB``): what Dask is to use of each job; None: all. ``here``: the session's
    environment variables. ``route``: how to reach the gateway; None: this session's route. ``project``: the project
    that is charged. For any other None, the link takes its default.

    Raises LinkError. Raises ValueError if ``memory`` cannot be parsed, if the catalogue does not have such a place, or
    if ``processes`` is greater than both the number of cores that Dask uses of a job and the number of the job's GPUs.
    """
    own = here.get("FACTORYGATE_FACTORY")
    at_own = own is not None and factory in (None, own)
    amount = parse_bytes(memory) if memory is not None else None
    smallest = size is None and (cores is not None or amount is not None)
    if at_own and not smallest:
        size = size or here.get("FACTORYGATE_SIZE")
    found = _chosen(
        route,
        factory=factory or own,
        size=size,
        environment=environment or (here.get("FACTORYGATE_ENVIRONMENT") if at_own else None),
        hours=hours,
        project=project,
        cores=cores,
        memory_gb=None if amount is None else amount / GB,
    )
    choice, view, shape = found.choice, found.size, found.size.size
    usual = nprocesses_nthreads(cores)[0] if smallest and cores else max(1, shape.gpus)
    each = processes or usual
    if not 1 <= each <= max(cores or shape.cores, shape.gpus):
        raise ValueError(f"A job of {shape.id} has {cores or shape.cores} cores: too few for {each} workers.")
    label = Message("size-label", "{gpus}, {cores} cores, {memory} GB").format(
        gpus=view.gpu_label_message, cores=shape.cores, memory=f"{shape.memory_gb:g}"
    )
    return WorkerPlace(
        factory=choice.factory,
        factory_name=found.machine,
        size=choice.size,
        label=label,
        environment=choice.environment,
        hours=choice.hours,
        most_hours=view.offer.hours.most,
        gpus=plain(Fraction(view.price.counted)),
        cores=cores or shape.cores,
        memory=amount or int(shape.memory_gb * GB),
        processes=each,
        here=choice.factory == own,
        whole=cores is None and amount is None,
    )


def _chosen(route: LinkRoute | None, **wanted: str | float | None) -> ChoiceView:
    """Return the factory, node size and so on that the link chooses for the values ``wanted``.

    For a value that is None, the link takes its default. ``cores``, ``memory_gb``: the least that the node size must
    have; None: any. If one of them is given and ``size`` is None, the link takes the smallest size that has this much.
    ``route``: how to reach the gateway; None: this session's route. Raises LinkError; ValueError if the catalogue does
    not have the choice.
    """
    try:
        return get_now("/choice", ChoiceView, route, **wanted)
    except LinkError as error:
        if error.kind == "invalid":
            raise ValueError(error.message) from error
        raise


def own_address(here: Mapping[str, str] = os.environ) -> str:
    """Return the address of this node, for other nodes.

    Whether other nodes can reach it is not checked. The address comes from the batch scheduler's name for the node,
    else from the host name; else it is 127.0.0.1.
    """
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
