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

    ``project`` None: the jobs without a project. ``gpu_seconds``: each job's seconds on this day times the job's billed
    GPUs, added up; an int if the sum is whole, else a float. ``jobs``: the number of jobs; each job counts once, on its
    first day in the answer.

    If a job was requeued, the seconds of its earlier runs count on the day on which the last run started. If the job
    has not run since its last requeue, they count on the day of its end; if it has not ended either, they count today.
    """

    day: date
    project: ProjectId | None
    factory: str
    person: str
    gpu_seconds: int | float
    jobs: int
