"""The terms of a cluster: where its jobs run, which project is charged, its cap, and the options of its workers."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from factorycommon.messages import Message
from factorycommon.models import Cluster, ClusterRequest, Scheduler, SchedulerJob
from factorygate.cluster import keywords
from factorygate.cluster.worker_place import WorkerPlace
from factorygate.link import LinkRoute

ROUNDING = 1e-9  # GPU-hours
KEPT_TERMS = "factorygate-terms"  # key of the saved terms in the Dask scheduler's metadata


@dataclass(frozen=True)
class ClusterTerms:
    """A cluster's settings.

    ``place``: where its jobs run, and how much of each job Dask uses; ``project``: the project that is charged, None:
    the link chooses it, if one is needed; ``cap_gpu_hours``: the most GPU-hours of all its jobs together, None: no cap;
    ``worker``: those options of the Dask workers that were set, as the gateway expects them.
    """

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
        route: LinkRoute | None = None,
        **where: Any,
    ) -> ClusterTerms:
        """Return the terms for a cluster that is created with these keywords.

        A keyword that is None is taken from ``section`` of dask's configuration (``section`` None: this package's
        section). ``options``: the call's other keywords, from which the workers' options are taken; ``route``: how to
        reach the gateway, None: as this session does; ``where``: where the jobs run, and how much of each job Dask
        uses: ``factory``, ``size``, ``environment``, ``hours`` or ``walltime``, ``processes``, ``cores``, ``memory``.
        Raises LinkError; ValueError for invalid values.
        """
        paid = keywords.settled(section, project=project, cap_gpu_hours=cap_gpu_hours)
        keywords.amounts(cap_gpu_hours=paid["cap_gpu_hours"])
        place = keywords.place(section, route=route, project=paid["project"], **where)
        return cls(place, paid["project"], paid["cap_gpu_hours"], keywords.worker(section, place, options))

    def request(
        self, name: str, scheduler: Scheduler | None = None, head: SchedulerJob | None = None
    ) -> ClusterRequest:
        """Return the request that creates a cluster with these terms and the name ``name``.

        Exactly one of ``scheduler`` and ``head`` must be given. ``scheduler``: a Dask scheduler that runs already;
        ``head``: the job in which the link is to start one. Raises ValueError if the request is invalid.
        """
        place = self.place
        asked = {
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
            "scheduler": scheduler,
            "head": head,
        }
        try:
            return ClusterRequest.model_validate(asked)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)
            raise ValueError("; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong)) from None

    def saved(self) -> dict[str, Any]:
        """Return the settings that a later kernel cannot get from the link and has to give to ``restored``.

        The result can be written as JSON.
        """
        place = self.place
        return {"cores": place.cores, "memory": place.memory, "whole": place.whole, "worker": self.worker}

    def restored(self, saved: Mapping[str, Any]) -> ClusterTerms:
        """Return these terms with the settings in ``saved``, a result of the method ``saved``."""
        place = replace(self.place, cores=saved["cores"], memory=saved["memory"], whole=saved["whole"])
        return replace(self, place=place, worker=saved["worker"])

    def fit_cap(self, cluster: Cluster | None) -> int | None:
        """Return how many more jobs the cap allows; None if the cluster has no cap, or its jobs use no GPU.

        ``cluster``: the link's last report of the cluster; None if there was none yet.
        """
        each = self._each(cluster)
        if self.cap_gpu_hours is None or not each:
            return None
        used = cluster.gpu_hours.spent + cluster.gpu_hours.committed if cluster else 0.0
        return max(0, math.floor((self.cap_gpu_hours + ROUNDING - used) / each))

    def _each(self, cluster: Cluster | None) -> float:
        """Return the most GPU-hours that one job may use.

        ``cluster``: the link's last report of the cluster, which has the billed GPUs of a job; None: there was none
        yet.
        """
        return (self.place.gpus if cluster is None else cluster.gpus) * self.place.hours

    def check_cap(self, more: int, cluster: Cluster | None) -> None:
        """Raise ValueError if ``more`` jobs could exceed the cluster's cap in GPU-hours; the link checks this again.

        ``cluster``: the link's last report of the cluster; None: there was none yet.
        """
        if self.cap_gpu_hours is None or more <= 0:
            return
        used = cluster.gpu_hours.spent + cluster.gpu_hours.committed if cluster else 0.0
        needed = more * self._each(cluster)
        if used + needed > self.cap_gpu_hours + ROUNDING:
            said = Message(
                "over-cap-here",
                "The cluster may use {cap} GPU-hours: {used} are used or promised, and {jobs} jobs would need {more} "
                "more.",
            )
            raise ValueError(
                said.format(cap=f"{self.cap_gpu_hours:g}", used=f"{used:.2f}", jobs=more, more=f"{needed:.2f}")
            )
