"""Ids of PBS' jobs: ``12.server``, and of an array ``12[].server`` the jobs ``12[1].server`` and so on. Pure."""

from __future__ import annotations

import re

from factorycommon.models import JobId

JOB = r"[0-9]+(?:\[[0-9]*\])?\.[A-Za-z0-9][A-Za-z0-9_.-]*"
_OF_ARRAY = re.compile(r"([0-9]+\[)[0-9]+(\]\..*)")


def task_of(array: JobId, index: int) -> JobId:
    """Return the id of one job of an array."""
    return array.replace("[]", f"[{index}]", 1)


def array_of(job: JobId) -> JobId | None:
    """Return the id of the array that a job belongs to; None if it belongs to none."""
    found = _OF_ARRAY.fullmatch(job)
    return f"{found[1]}{found[2]}" if found else None
