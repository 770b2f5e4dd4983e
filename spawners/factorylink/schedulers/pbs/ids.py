"""Finds the ids of an array's jobs in PBS, and the array of a job. Pure.

A job has an id such as ``12.server``; an array ``12[].server`` has the jobs ``12[1].server`` and so on.
"""

from __future__ import annotations

import re

from factorycommon.models import JobId

JOB = r"[0-9]+(?:\[[0-9]*\])?\.[A-Za-z0-9][A-Za-z0-9_.-]*"
_OF_ARRAY = re.compile(r"([0-9]+\[)[0-9]+(\]\..*)")


def task_of(array: JobId, index: int) -> JobId:
    """Return the id of one job of an array. ``array``: the array's id; ``index``: the job's index in the array."""
    return array.replace("[]", f"[{index}]", 1)


def array_of(job: JobId) -> JobId | None:
    """Return the id of the array that a job belongs to; None if it belongs to none."""
    found = _OF_ARRAY.fullmatch(job)
    return f"{found[1]}{found[2]}" if found else None
