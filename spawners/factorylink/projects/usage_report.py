"""Formats usage as text: a table for the terminal, and CSV for other programs."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from typing import Literal

from factorycommon.csv_cells import cell
from factorycommon.models import UsageLine

By = Literal["day", "project", "factory", "person"]
FIELDS = ("day", "project", "factory", "person", "jobs", "gpu_seconds", "gpu_hours")


def hours(gpu_seconds: Fraction) -> str:
    """Return the GPU-hours as text for people, with two decimals."""
    return f"{float(gpu_seconds / 3600):.2f}"


def table(lines: Iterable[UsageLine], by: By) -> list[tuple[str, int, str]]:
    """Return a row for each day, project, factory or person (as ``by`` says), and a last row with the total.

    A row is (name, number of jobs, GPU-hours). The name is ``all`` in the last row, and ``-`` for jobs without a
    project. Days are in the order of time; projects, factories and people with the most GPU-hours come first.
    """
    jobs: dict[str, int] = defaultdict(int)
    used: dict[str, Fraction] = defaultdict(Fraction)
    for line in lines:
        key = str(getattr(line, by) or "-")
        jobs[key] += line.jobs
        used[key] += Fraction(line.gpu_seconds)
    keys = sorted(used) if by == "day" else sorted(used, key=lambda key: (-used[key], key))
    rows = [(key, jobs[key], hours(used[key])) for key in keys]
    return [*rows, ("all", sum(jobs.values()), hours(sum(used.values(), Fraction(0))))]


def as_csv(lines: Iterable[UsageLine]) -> str:
    """Return the lines as CSV, with a heading.

    GPU-seconds of whole GPUs are exact, those of slices have six decimals; the hours in the next column are rounded.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for line in lines:
        words = (line.day.isoformat(), line.project or "", line.factory, line.person)
        writer.writerow((*map(cell, words), line.jobs, round(line.gpu_seconds, 6), f"{line.gpu_seconds / 3600:.6f}"))
    return text.getvalue()
