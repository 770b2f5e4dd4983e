"""What a cluster was asked to be: where its jobs run, who pays, what it may use at most, what its workers are told."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factorycommon.messages import Message
from factorygate.cluster import keywords
from factorygate.cluster.worker_place import WorkerPlace
from factorygate.link import LinkRoute

ROUNDING = 1e-9  # GPU-hours


@dataclass(frozen=True)
class ClusterTerms:
    """``worker``: what is asked of each Dask worker, as the gateway takes it; only what was said."""

    place: WorkerPlace
    project: str | None
    cap_gpu_hours: float | None
    worker: dict[str, Any]

    @classmethod
    def of(
        cls,
        section: str | None,
        options: Mapping[str, Any],
        *,
        project: str | None,
        cap_gpu_hours: float | None,
        way: LinkRoute | None = None,
        **where: Any,
    ) -> ClusterTerms:
        """By keywords, and for what is None by that section of dask's configuration. ``options``: those that are said
        of workers; ``way``: to the gateway. Raises LinkError, ValueError."""
        paid = keywords.settled(section, project=project, cap_gpu_hours=cap_gpu_hours)
        keywords.amounts(cap_gpu_hours=paid["cap_gpu_hours"])
        place = keywords.place(section, way=way, **where)
        return cls(place, paid["project"], paid["cap_gpu_hours"], keywords.worker(section, place, options))

    def request(self, name: str, **scheduler: Any) -> dict[str, Any]:
        """What the link is asked for, with how there is a scheduler."""
        place = self.place
        return {
            "name": name,
            "factory": place.factory,
            "size": place.size,
            "environment": place.environment,
            "hours": place.hours,
            "project": self.project,
            "processes": place.processes,
            "cap_gpu_hours": self.cap_gpu_hours,
            "session": os.environ.get("FACTORYGATE_SESSION") if place.here else None,
            "worker": self.worker,
            **scheduler,
        }

    def fit_cap(self, gpus: int | None, told: Mapping[str, float] | None) -> int | None:
        """Return how many more jobs the cap allows; None where nothing bounds them. What ``gpus`` and ``told`` are:
        ``check_cap``."""
        each = (self.place.gpus if gpus is None else gpus) * self.place.hours
        if self.cap_gpu_hours is None or not each:
            return None
        used = told["spent"] + told["committed"] if told else 0.0
        return max(0, math.floor((self.cap_gpu_hours + ROUNDING - used) / each))

    def check_cap(self, more: int, gpus: int | None, told: Mapping[str, float] | None) -> None:
        """Raises ValueError where so many more jobs might use more than the cluster may; the link has the last word.
        By the link, None where it has told nothing yet: ``gpus``, what each job is billed; ``told``, the cluster's
        GPU-hours."""
        if self.cap_gpu_hours is None or more <= 0:
            return
        used = told["spent"] + told["committed"] if told else 0.0
        needed = more * (self.place.gpus if gpus is None else gpus) * self.place.hours
        if used + needed > self.cap_gpu_hours + ROUNDING:
            said = Message(
                "over-cap-here",
                "The cluster may use {cap} GPU-hours: {used} are used or promised, and {jobs} jobs would need {more} "
                "more.",
            )
            raise ValueError(
                said.format(cap=f"{self.cap_gpu_hours:g}", used=f"{used:.2f}", jobs=more, more=f"{needed:.2f}")
            )
