"""Finds the ids of an array's jobs in Slurm, and the array of a job. Pure.

A job has an id such as ``12``; an array ``12`` has the jobs ``12_1``, ``12_2`` and so on.
"""

from __future__ import annotations

import re

from factorycommon.models import JobId

_OF_ARRAY = re.compile(r"([0-9]+)_[0-9]+")


def task_of(array: JobId, index: int) -> JobId:
    """Return the id of one job of an array. ``array``: the array's id; ``index``: the job's index in the array."""
    return f"{array}_{index}"


def array_of(job: JobId) -> JobId | None:
    """Return the id of the array that a job belongs to; None if it belongs to none."""
    found = _OF_ARRAY.fullmatch(job)
    return found[1] if found else None
