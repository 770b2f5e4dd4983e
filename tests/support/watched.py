"""A scripted cluster for tests: it carries out each request at once, and remembers it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from factorygate.view_data import Adapting, ClusterView, JobState, JobView


def job(number: int, state: JobState = "running", **more: Any) -> JobView:
    """Return the view of the job ``w-NUMBER``. ``more``: further fields."""
    return JobView(name=f"w-{number}", state=state, **more)


def view(jobs: int = 0, **more: Any) -> ClusterView:
    """Return the view of a cluster with ``jobs`` running jobs. ``more``: other values of its fields."""
    told: dict[str, Any] = {
        "name": "thesis",
        "factory": "lumi-aif",
        "factory_name": "LUMI",
        "size": "gpu-1",
        "size_label": "1 x MI250X 64 GB",
        "status": "running",
        "processes": 1,
        "workers": jobs,
        "threads": jobs * 8,
        "memory": jobs * 10**9,
        "wanted": jobs,
        "maximum": 500,
        "gpu_hours_spent": 1.25,
        "gpu_hours_committed": 4.0,
        "gpu_hours_cap": 10.0,
        "gpu_hours_per_hour": float(jobs),
        "jobs": tuple(job(number) for number in range(jobs)),
    }
    return ClusterView(**(told | more))


class ScriptedCluster:
    """A cluster with the methods of the protocol ``Watched``, which panels use.

    ``now``: the cluster's present view; ``done``: the carried-out requests, each with its arguments; ``looked``: how
    often the view was read; ``refuse``: the error that requests to scale, adapt or close raise.
    """

    def __init__(self, now: ClusterView) -> None:
        self.now = now
        self.done: list[tuple[Any, ...]] = []
        self.looked = 0
        self.refuse: Exception | None = None

    def view(self) -> ClusterView:
        self.looked += 1
        return self.now

    def change(self, number: int, **more: Any) -> None:
        """Change fields of the job ``w-NUMBER``. ``more``: the new values."""
        jobs = [replace(one, **more) if one.name == f"w-{number}" else one for one in self.now.jobs]
        self.now = replace(self.now, jobs=tuple(jobs))

    def scale(self, n: int | None = None, jobs: int = 0) -> None:
        self._do("scale", jobs)
        self.now = replace(self.now, wanted=jobs, adapting=None)

    def read_log(self, job: str) -> None:
        self.done.append(("log", job))

    def adapt(self, *, minimum_jobs: int, maximum_jobs: int) -> None:
        self._do("adapt", minimum_jobs, maximum_jobs)
        self.now = replace(self.now, adapting=Adapting(minimum_jobs, maximum_jobs))

    def close(self) -> None:
        self._do("close")
        self.now = replace(self.now, status="closed", jobs=())

    def _do(self, *deed: Any) -> None:
        if self.refuse:
            raise self.refuse
        self.done.append(deed)
