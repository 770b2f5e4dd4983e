"""The table of projects that the link reads: made from the workshops, and written atomically.

The link keeps the last table, so no class ends because the service is away. The table says who may run something, where
and until when, and how many GPU-hours the trainer wants. The operator's file of pools, which this service only reads,
says which accounts are charged, and limits the GPU-hours.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from factorycommon.models import is_robot
from factorycommon.models.workshops import (
    RehearsalWindow,
    WorkshopPools,
    WorkshopProject,
    WorkshopProjectPlace,
    WorkshopProjects,
)
from workshops.projects.table_size import LEFT_OUT, ProjectSize, left_out
from workshops.states import IN_TABLE, WARM_STATES, WorkshopState
from workshops.store.schema import MembershipRecord, WorkshopRecord

MODE = 0o640  # the link may be another account of the same group
# From an early end by a trainer until the link ends the sessions; people are told, and save their work meanwhile.
LAST_MINUTES = timedelta(minutes=5)


def project_of(
    workshop: WorkshopRecord,
    members: Iterable[MembershipRecord],
    rehearsal: RehearsalWindow | None = None,
) -> WorkshopProject:
    """Return the project of a workshop, for the table that the link reads.

    The project's people are those who have a seat and those who run the workshop, without observers and robots. The
    project begins when the workshop opens, or when its warm-up began if that was earlier. If the workshop is
    closed early, the project ends ``LAST_MINUTES`` later, but not after the planned closing. ``rehearsal``: who may
    start sessions while a rehearsal goes on, and at which factory; ignored unless the workshop's state is
    ``scheduled``.
    """
    people = [
        one
        for one in members
        if one.state in ("seated", "staff") and one.role != "observer" and not is_robot(one.person)
    ]
    begins = workshop.opens if workshop.warmed is None else min(workshop.opens, workshop.warmed)
    ends = workshop.closes if workshop.closed is None else min(workshop.closes, workshop.closed + LAST_MINUTES)
    return WorkshopProject(
        id=workshop.project,
        title=workshop.title,
        members=tuple(sorted(one.person for one in people)),
        managers=tuple(sorted(one.person for one in people if one.role == "lead")),
        staff=tuple(sorted(one.person for one in people if one.state == "staff")),
        begins=begins,
        ends=max(begins, ends),
        seats=workshop.seats,
        gpu_hours=workshop.gpu_hours,
        person_gpu_hours=workshop.person_gpu_hours,
        max_hours=workshop.hours,
        factories={
            place.factory: WorkshopProjectPlace(pool=place.pool, sizes=(place.size,), reservation=place.reservation)
            for place in workshop.places
        },
        rehearsal=rehearsal if workshop.state == WorkshopState.SCHEDULED else None,
    )


def budget(workshop: WorkshopRecord, pools: WorkshopPools) -> float | None:
    """Return the GPU-hours that all people of a workshop may use together; None: there is no limit.

    This is what the trainer wants, but at most what each of the workshop's pools allows.
    """
    allowed = [pool.gpu_hours for place in workshop.places if (pool := pools.get(place.pool)) is not None]
    return min((one for one in (workshop.gpu_hours, *allowed) if one is not None), default=None)


def table_of(
    workshops: Sequence[WorkshopRecord],
    members: Mapping[str, Iterable[MembershipRecord]],
    rehearsals: Mapping[str, RehearsalWindow] = MappingProxyType({}),
) -> WorkshopProjects:
    """Return the table: the projects of all approved workshops that are neither archived nor cancelled, sorted by slug.

    Projects that would make the table larger than the link reads are left out (see ``table_size``). ``members``,
    ``rehearsals``: the people, and the rehearsals that go on, by the workshop's slug.
    """
    there = sorted((one for one in workshops if _belongs(one)), key=lambda one: one.slug)
    made = [project_of(one, members.get(one.slug, ()), rehearsals.get(one.slug)) for one in there]
    sizes = (
        ProjectSize(project.id, one.made_by, size_of(project), one.state in (*WARM_STATES, WorkshopState.CLOSING))
        for one, project in zip(there, made, strict=True)
    )
    gone = left_out(sizes)
    return WorkshopProjects(projects=tuple(project for project in made if project.id not in gone))


def size_of(project: WorkshopProject) -> int:
    """Return how many bytes a project needs in the table's file at most."""
    return len(_content(WorkshopProjects(projects=(project,))))


def problems(table: WorkshopProjects, pools: WorkshopPools, workshops: Iterable[WorkshopRecord]) -> dict[str, str]:
    """Return by project id why the link cannot do all that the project asks for; "" if it can.

    Either the pools do not allow something, or the table leaves the project out. ``workshops``: those from which the
    table was made.
    """
    found = {project.id: "; ".join(project.project(pools)[1]) for project in table.projects}
    return {one.project: LEFT_OUT for one in workshops if _belongs(one)} | found


def _belongs(workshop: WorkshopRecord) -> bool:
    """Return whether a workshop is in the table: it is approved, and neither archived nor cancelled."""
    return workshop.state in IN_TABLE or workshop.state == WorkshopState.APPROVED


class TableFile:
    """The file with the table of projects, which the link reads. Writing the same table again changes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, table: WorkshopProjects) -> bool:
        """Replace the file, unless it has this content already; return whether it was replaced. Raises OSError."""
        content = _content(table)
        with contextlib.suppress(OSError):
            if self._path.read_bytes() == content:
                return False
        fresh = self._path.with_name(f".{self._path.name}.new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), MODE)  # whatever the umask
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        _sync(self._path.parent)
        return True


def _content(table: WorkshopProjects) -> bytes:
    """Return the file's content, without keys whose value is None.

    A link of an older release refuses a table with the key ``rehearsal``, so it can read the table while nobody
    rehearses.
    """
    return table.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
