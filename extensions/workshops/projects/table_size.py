"""Keeps the table of projects within the size that the link reads. Pure.

If the table has more than ``MOST_TABLE_BYTES``, or more than ``MOST_PROJECTS`` projects, the link refuses the whole
table and keeps the last one, so that no change of any workshop reaches the link. One workshop needs at most
``MOST_PROJECT_BYTES``: each of its people has a name of 255 characters at most, and those who run it are named up to
three times. But the number of workshops of all trainers is not limited, and a trainer may write any names into a
workshop.

If the table is too large, projects of the trainer whose workshops need most bytes are left out: first those that do not
run yet, and of these the largest. With N trainers and at most ``MOST_PROJECTS`` projects, a trainer whose workshops
need less than an Nth of ``MOST_TABLE_BYTES`` loses nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from factorycommon.language import N_
from factorycommon.models import ProjectId
from factorycommon.models.workshops import MOST_PROJECTS, MOST_TABLE_BYTES

MOST_PROJECT_BYTES = MOST_TABLE_BYTES // 5
# What the trainer and the operator are told of a workshop that is left out.
LEFT_OUT = N_(
    "The gateway’s link cannot take it over: all workshops together have too many people, and those of its trainer "
    "the most. Cancel a workshop or remove people with long names, or ask this gateway’s operators."
)


@dataclass(frozen=True)
class ProjectSize:
    """How many bytes one workshop's project needs in the table of projects.

    ``trainer``: who made the workshop; ``runs``: whether the workshop is warming up, open or closing.
    """

    project: ProjectId
    trainer: str
    bytes: int
    runs: bool


def left_out(
    sizes: Iterable[ProjectSize], most_bytes: int = MOST_TABLE_BYTES, most_projects: int = MOST_PROJECTS
) -> frozenset[ProjectId]:
    """Return the ids of the projects to leave out of the table, so that the rest fits the two limits.

    Projects are left out one by one until the rest fits. Each time, the trainer whose remaining projects need the most
    bytes loses one: the largest that does not run (``ProjectSize.runs``), or the largest if all run.
    ``most_bytes``: the limit for all projects together; ``most_projects``: the limit for their number.
    """
    by_trainer, totals, found = defaultdict[str, list[ProjectSize]](list), defaultdict[str, int](int), set[ProjectId]()
    for one in sorted(sizes, key=lambda one: (not one.runs, one.bytes, one.project)):
        by_trainer[one.trainer].append(one)
        totals[one.trainer] += one.bytes
    total, count = sum(totals.values()), sum(map(len, by_trainer.values()))
    while total > most_bytes or count > most_projects:
        trainer = max(totals, key=lambda one: (totals[one], one))
        gone = by_trainer[trainer].pop()
        found.add(gone.project)
        totals[trainer] -= gone.bytes
        total, count = total - gone.bytes, count - 1
    return frozenset(found)
