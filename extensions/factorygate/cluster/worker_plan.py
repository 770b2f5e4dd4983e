"""The plan of a cluster: its jobs by name, how many are wanted, which job replaces which, and which are connected."""

from __future__ import annotations

from typing import Any, Protocol

from distributed.core import Status

from factorygate.cluster.worker import process_names
from factorygate.cluster.worker_place import WorkerPlace


class PlannedCluster(Protocol):
    """The part of a cluster that the plan of its jobs uses."""

    scheduler_info: Any
    status: Status
    place: WorkerPlace
    new_spec: Any

    @property
    def next_number(self) -> int:
        """Return the number that is tried first for the name of the next job."""
        ...

    def name_of_job(self, number: int) -> str:
        """Return the name of the job of that number."""
        ...

    def next_job(self) -> tuple[str, Any]:
        """Return an unused name and the specification for a new job; each call returns another name."""
        ...


class WorkerPlan:
    """The jobs that a cluster should have; the cluster's ``_correct_state`` starts and retires jobs to match this plan.

    ``jobs``: the specifications of the planned jobs by name, in the order in which they were planned; the cluster's
    ``worker_spec`` is this dict. ``message``: the last text for the person, such as an error or a warning.
    """

    def __init__(self, cluster: PlannedCluster) -> None:
        self.jobs: dict[str, Any] = {}
        self.message = ""
        self.wanted = 0  # number of wanted jobs
        self._is_new = False  # True if ``wanted`` was set and no request of jobs has begun since then
        self._cluster = cluster
        self.relieved: set[str] = set()  # jobs whose replacements have taken over
        self._replacements: dict[str, str] = {}  # replacements by the job whose time is almost over

    def saved(self) -> dict[str, Any]:
        """Return the plan as JSON-like data, which is stored for the next kernel that takes over the cluster."""
        self.units()
        names, young = list(self.jobs), self._cluster.next_number
        return {"wanted": self.wanted, "names": names, "heirs": dict(self._replacements), "young": young}

    def take_up(self, names: list[str], saved: dict[str, Any] | None) -> None:
        """Take over the plan of an existing cluster: its jobs, and how many are wanted.

        ``names``: the cluster's live jobs; ``saved``: the plan that was stored last, a result of the method ``saved``;
        None: no plan was stored, so all jobs are planned. Jobs that were dropped before the plan was stored are not
        planned. Jobs that were requested after the plan was stored are planned.
        """
        saved = saved or {"wanted": len(names), "names": names, "heirs": {}, "young": 0}
        # names that the previous owner has used
        known = {self._cluster.name_of_job(number) for number in range(saved["young"])}
        for name in names:
            if name in saved["names"] or name not in known:
                self.jobs[name] = self._cluster.new_spec
        self._replacements = dict(saved["heirs"])
        self.wanted = max(saved["wanted"], len(self.units()))

    def units(self) -> list[tuple[str, ...]]:
        """Return the names of the planned jobs in groups that count as one job each.

        A group is a replacement with the job that it replaces, in this order, or a job alone.
        """
        names = self.jobs
        self._replacements = {old: new for old, new in self._replacements.items() if old in names and new in names}
        before = {new: old for old, new in self._replacements.items()}
        return [(name, before[name]) if name in before else (name,) for name in names if name not in self._replacements]

    # --- connected workers

    def connected(self) -> set[str]:
        """Return the names of the planned jobs that have connected workers."""
        there = self._there()
        return {name for name in self.jobs if not there.isdisjoint(self.dask_workers(name))}

    def present(self, job: str) -> set[str]:
        """Return the names of a job's Dask workers that are connected now."""
        return self._there().intersection(self.dask_workers(job))

    def dask_workers(self, job: str) -> list[str]:
        """Return the names of a job's Dask workers, connected or not."""
        return process_names(job, self._cluster.place.processes)

    def _there(self) -> set[str]:
        return {str(worker["name"]) for worker in self._cluster.scheduler_info.get("workers", {}).values()}

    # --- the number of jobs

    @property
    def missing(self) -> int:
        """Return how many more jobs are wanted than planned; 0 if there are enough.

        A job and its replacement count as one.
        """
        return max(0, self.wanted - len(self.units()))

    def plan(self, jobs: int) -> None:
        """Set the number of wanted jobs to ``jobs``, and plan as many.

        If there are too many, jobs without connected workers are dropped first, then the youngest of the others. If the
        cluster closes, no jobs are added.
        """
        self.wanted, self._is_new = jobs, True
        units, connected = self.units(), self.connected()
        youngest_first = units[::-1]
        by_use = sorted(youngest_first, key=lambda unit: not connected.isdisjoint(unit))
        for unit in by_use[: max(0, len(units) - jobs)]:
            self.drop(unit)
        if self._cluster.status not in (Status.closing, Status.closed):
            for _ in range(jobs - len(units)):
                self.one_more()

    def begin_request(self) -> bool:
        """Return whether ``plan`` was called since the last call of this method.

        The cluster calls this method when it begins to request jobs. If the result is True and the request fails, the
        cluster calls ``give_up``.
        """
        is_new, self._is_new = self._is_new, False
        return is_new

    def give_up(self) -> None:
        """Lower the number of wanted jobs to that of the planned jobs; a job and its replacement count as one."""
        self.wanted = min(self.wanted, len(self.units()))

    def drop(self, names: tuple[str, ...]) -> None:
        """Remove these jobs from the plan."""
        for name in names:
            self.jobs.pop(name, None)

    def one_more(self) -> str:
        """Plan another job, and return its name."""
        name, spec = self._cluster.next_job()
        self.jobs[name] = spec
        return name

    def has_replacement(self, name: str) -> bool:
        """Return whether a replacement of the job ``name`` is planned."""
        return name in self._replacements

    def add_replacement(self, name: str) -> None:
        """Plan a job that replaces the job ``name``."""
        self._replacements[name] = self.one_more()

    def let_replacements_take_over(self) -> bool:
        """Drop the jobs whose replacements have connected workers; return whether any job was dropped."""
        self.units()
        connected = self.connected()
        ready = tuple(old for old, new in self._replacements.items() if new in connected)
        self.relieved |= set(ready)
        self.drop(ready)
        return bool(ready)
