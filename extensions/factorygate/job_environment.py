"""Reads the variables FACTORYGATE_JOB_*, with which a job's script describes the job, whatever the scheduler."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from factorygate.old_job_scripts import OLD_NAMES

_MOST_DIGITS = 18


@dataclass(frozen=True)
class JobEnvironment:
    """The batch job that this process belongs to.

    ``ends``: when its walltime is over, in seconds since the epoch; ``memory_mb``: the job's memory on a node, in units
    of 2**20 bytes; ``index``: the job's index in its array, from 1; ``restarts``: how often the scheduler has requeued
    the job; ``slice``: the slice of a GPU that the job requested, such as ``gpu:1g.10gb:1``; ``shards``: the number of
    shards of a GPU that the scheduler gave. If a field's variable is not set, a text is "", ``restarts`` is 0, and any
    other field is None.
    """

    id: str
    ends: float | None
    node: str
    memory_mb: int | None
    index: int | None
    restarts: int  # how often the scheduler has requeued the job
    slice: str = ""  # the slice of a GPU that the job requested, as ``gpu:1g.10gb:1``; "" if it requested none
    shards: int | None = None  # the number of shards of a GPU that the scheduler says it gave


def job_environment(environment: Mapping[str, str] = os.environ) -> JobEnvironment:
    """Return the job that the variables FACTORYGATE_JOB_* in ``environment`` describe.

    If such a variable is missing, the scheduler's own variable takes its place if ``OLD_NAMES`` names one. A variable
    that should be a whole number counts as not set if it has another value.
    """
    ends = _number(environment, "END")
    return JobEnvironment(
        id=_text(environment, "ID"),
        ends=None if ends is None else float(ends),
        node=_text(environment, "NODE"),
        memory_mb=_number(environment, "MEMORY_MB") or None,
        index=_number(environment, "INDEX"),
        restarts=_number(environment, "RESTARTS") or 0,
        slice=environment.get("FACTORYGATE_JOB_SLICE", ""),
        shards=_number(environment, "SHARDS"),
    )


def _text(environment: Mapping[str, str], name: str) -> str:
    full = f"FACTORYGATE_JOB_{name}"
    names = (full,) if full in environment else OLD_NAMES.get(full, ())
    return next((environment[each] for each in names if environment.get(each)), "")


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = _text(environment, name)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None
