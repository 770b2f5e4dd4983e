"""Where a cluster's workers are to run: factory, node size and what a job of it holds, by the gateway's catalogue."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factorygate.link import get_now


@dataclass(frozen=True)
class WorkerPlace:
    """``memory``: bytes of a job; ``processes``: Dask workers in it; ``hours``: of a job's walltime."""

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

    @property
    def threads(self) -> int:
        """Of each Dask worker."""
        return max(1, self.cores // self.processes)


def find(
    factory: str | None,
    size: str | None,
    environment: str | None,
    hours: float | None,
    processes: int | None,
    here: Mapping[str, str] = os.environ,
) -> WorkerPlace:
    """What was asked for, with this session's own factory, size and environment where nothing was said.

    Raises LinkError; ValueError, with what there is, for what the catalogue does not have.
    """
    offered: dict[str, dict[str, Any]] = {one["id"]: one for one in get_now("/factories")}
    own = here.get("FACTORYGATE_FACTORY")
    wanted = factory or own or next(iter(offered), None)
    if wanted not in offered:
        raise ValueError(f"Unknown factory {wanted!r}; you may use: {', '.join(offered) or 'none'}.")
    found = offered[wanted]
    sizes = {view["size"]["id"]: view for view in found["sizes"]}
    wanted_size = size or (here.get("FACTORYGATE_SIZE") if wanted == own else None) or found["default_size"]
    if wanted_size not in sizes:
        raise ValueError(f"Unknown node size {wanted_size!r}; {found['name']} has: {', '.join(sizes)}.")
    view = sizes[wanted_size]
    shape = view["size"]
    each = processes or max(1, shape["gpus"])
    if not 1 <= each <= max(shape["cores"], shape["gpus"]):
        raise ValueError(f"{wanted_size} has {shape['cores']} cores: too few for {each} workers in a job.")
    most = float(shape["max_hours"])
    time = hours if hours is not None else min(float(shape["default_hours"]), most)
    if not 0 < time <= most:
        raise ValueError(f"{time:g} h is outside the limits of {wanted_size}: at most {most:g} h.")
    label = f"{view['gpu_label']}, {shape['cores']} cores, {shape['memory_gb']:g} GB"
    return WorkerPlace(
        factory=found["id"],
        factory_name=found["name"],
        size=wanted_size,
        label=label,
        environment=environment or (here.get("FACTORYGATE_ENVIRONMENT") if wanted == own else None),
        hours=time,
        most_hours=most,
        gpus=shape["gpus"],
        cores=shape["cores"],
        memory=int(shape["memory_gb"] * 10**9),
        processes=each,
        here=wanted == own,
    )


def own_address(here: Mapping[str, str] = os.environ) -> str:
    """An address of this node that its neighbours reach: the one its scheduler's name for it leads to, else the one
    that its name leads to."""
    for name in (here.get("SLURMD_NODENAME"), socket.gethostname()):
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
