"""GPU-hours: the balance of a project, and the use of each person."""

from __future__ import annotations

from datetime import date

from factorycommon.models.base import Model, ProjectId


class ProjectBalance(Model):
    """GPU-hours of a project: used, and held for what its jobs may still use."""

    spent: float
    reserved: float


class UsageLine(Model):
    """What jobs used on one day (UTC). ``gpu_seconds``: GPUs as they are billed, times seconds as the scheduler counts
    them; ``jobs``: how many ran, each on the first of its days."""

    day: date
    project: ProjectId | None
    factory: str
    person: str
    gpu_seconds: int
    jobs: int
