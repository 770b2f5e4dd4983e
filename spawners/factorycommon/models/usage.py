"""The models of used GPU-hours: the balance of a project, and the use of each person."""

from __future__ import annotations

from datetime import date

from factorycommon.models.base import Model, ProjectId


class ProjectBalance(Model):
    """The GPU-hours of a project: already used, and reserved for running and waiting jobs."""

    spent: float
    reserved: float


class UsageLine(Model):
    """The use of the jobs of one person, for one project at one factory, on one day (UTC).

    ``project`` None: the jobs without a project. ``gpu_seconds``: the jobs' seconds times their billed GPUs (as the
    scheduler counts GPUs); an int if the product is whole (always so for whole GPUs), else the nearest float. ``jobs``:
    the number of jobs whose first day this was.
    """

    day: date
    project: ProjectId | None
    factory: str
    person: str
    gpu_seconds: int | float
    jobs: int
