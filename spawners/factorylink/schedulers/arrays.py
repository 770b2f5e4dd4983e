"""Ids of the jobs of an array, from the id that its submission gave; the forms of all dialects in one place.

Slurm: ``12`` has ``12_1``, ``12_2``. PBS: ``12[].srv`` has ``12[1].srv``, ``12[2].srv``.
"""

from __future__ import annotations

import re

from factorycommon.models import JobId


def task_of(array: JobId, index: int) -> JobId:
    """One job of an array."""
    return array.replace("[]", f"[{index}]", 1) if "[]" in array else f"{array}_{index}"


def is_of_array(job: JobId) -> bool:
    """Return whether a job is one of an array, or an array as a whole."""
    return "[" in job or array_of(job) != job


def array_of(job: JobId) -> JobId:
    """The array that a job is of; a job of none is its own."""
    slurm = re.fullmatch(r"([0-9]+)_[0-9]+", job)
    return slurm[1] if slurm else re.sub(r"\[[0-9]+\]", "[]", job, count=1)
