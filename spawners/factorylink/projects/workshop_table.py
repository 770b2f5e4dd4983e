"""Reads the second project table: the projects of workshops, from the file that the workshops service writes.

The service says who is in a workshop and until when; the operator's file of pools says what a workshop may use. If the
service is away, the file stays as it is, so the workshops go on. If the link cannot read the file, for example because
a service of another release wrote it, the last good table counts, of which the link keeps a copy for its next start.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from factorycommon.models import Factory, Project, ProjectId, Slug
from factorycommon.models.rules import TeachingAct
from factorycommon.models.workshops import (
    MOST_TABLE_BYTES,
    PREFIX,
    WorkshopPool,
    WorkshopPools,
    WorkshopProject,
    WorkshopProjects,
)
from factorycommon.service.yaml_file import CatalogueError, Places, read_model
from factorylink.catalogue.prices import gpus_of
from factorylink.config import Access, WorkshopFiles
from factorylink.util import clock

log = logging.getLogger("factorylink")

Looks = tuple[int, int, int]  # a file's metadata
TEACHING_ACTS: tuple[TeachingAct, ...] = get_args(TeachingAct)


class WorkshopTable:
    """The projects of workshops, from the file of the workshops service and the operator's file of pools.

    ``refresh`` reads both files again if one of them has changed. ``refresh`` also changes ``projects`` at certain
    times, for example when a rehearsal begins or ends. The pools must agree with the catalogue (``factories``) and with
    the settings of link.yaml for each factory (``accesses``). ``kept``: the link's own copy of the service's last good
    file, used if the service's file is bad when the link starts; None: the link keeps no copy. ``projects`` is None
    until ``refresh`` has read usable pools, and usable projects from the service's file or from the copy.
    """

    def __init__(
        self,
        files: WorkshopFiles,
        factories: Mapping[Slug, Factory],
        accesses: Mapping[Slug, Access],
        kept: Path | None = None,
    ) -> None:
        self._files = files
        self._factories = factories
        self._accesses = accesses
        self._kept = kept
        self._read: tuple[Looks, Looks] | None = None
        self._good: tuple[WorkshopProjects, WorkshopPools] | None = None  # the last good contents of both files
        self._next: datetime | None = None  # when the projects change though no file does
        self._wrong: tuple[str, ...] = ()  # what the pools did not allow at the last refresh
        self.projects: Mapping[ProjectId, Project] | None = None

    async def refresh(self) -> bool:
        """Read the files again if one of them has changed; return whether the projects have changed.

        The projects may also change although no file does: a rehearsal begins or ends, or a class begins or ends, and
        so takes or frees seats that the robots of a rehearsal could use.
        """
        looks, now = (_looks(self._files.table), _looks(self._files.pools)), clock.now()
        if looks == self._read and (self._next is None or now < self._next):
            return False
        read = looks != self._read and await self._read_files(looks)
        if self._good is None:
            return False
        projects, wrong, self._next = projects_of(*self._good, now, self._factories)
        known, self._wrong = () if read else self._wrong, wrong
        for line in wrong:
            if line not in known:
                log.error("A workshop does not get all that it asks for: %s", line)
        changed = projects != self.projects
        self.projects = projects if changed else self.projects
        return changed

    async def _read_files(self, looks: tuple[Looks, Looks]) -> bool:
        """Read both files, and keep their contents if they are good; return whether they are.

        If they are not, the last good contents stay; at a start, those of the link's own copy are used if possible.
        ``looks``: the files' metadata, with which the next ``refresh`` finds out whether a file has changed.
        """
        self._read = looks
        try:
            self._good = await asyncio.to_thread(load, self._files, self._factories, self._accesses)
        except CatalogueError as error:
            if self._good is None and self._kept is not None:
                self._good = await asyncio.to_thread(self._read_kept, self._kept)
            kept = "nothing starts for a workshop" if self._good is None else "the last good ones are used"
            log.error("The projects of workshops cannot be used, and %s:\n%s", kept, error)  # noqa: TRY400
            return False
        if self._kept is not None:
            await asyncio.to_thread(_keep, self._kept, self._good[0])
        return True

    def _read_kept(self, kept: Path) -> tuple[WorkshopProjects, WorkshopPools] | None:
        """Return the contents of the link's copy, and the pools; None if one of them cannot be used."""
        if not kept.exists():
            return None
        try:
            return read_table(kept), read_pools(self._files.pools, self._factories, self._accesses)
        except CatalogueError as error:
            log.warning("The last good projects of workshops cannot be used either:\n%s", error)
            return None


def _keep(path: Path, table: WorkshopProjects) -> None:
    """Store a copy of the table. If this fails, the link works all the same."""
    content = table.model_dump_json(exclude_none=True).encode()
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        log.warning("No copy of the projects of workshops is kept: %s", error)


def load(
    files: WorkshopFiles, factories: Mapping[Slug, Factory], accesses: Mapping[Slug, Access]
) -> tuple[WorkshopProjects, WorkshopPools]:
    """Return the table of the workshops service, and the operator's pools, from ``files``.

    If the table's file does not exist, the service has not written it yet, and the table has no projects. Raises
    CatalogueError if a file cannot be used, or if a pool conflicts with the catalogue or ``link.yaml``.
    """
    pools = read_pools(files.pools, factories, accesses)
    return read_table(files.table), pools


def projects_of(
    table: WorkshopProjects, pools: WorkshopPools, now: datetime, factories: Mapping[Slug, Factory]
) -> tuple[dict[ProjectId, Project], tuple[str, ...], datetime | None]:
    """Return (projects by id at the time ``now``, texts for the log, time of the projects' next change).

    Projects: those of ``table``, except those whose pools allow none of their factories. Texts: what the pools do not
    allow. Time: when the projects may next change although ``table`` stays the same, because a rehearsal begins or
    ends, or a rehearsed class begins; None: no such change is to come. If ``table`` has a rehearsal with robots, the
    projects may also change when any class begins or ends, since classes and robots share the seats of the pools.
    """
    projects, wrong, changes = dict[ProjectId, Project](), list[str](), list[datetime]()
    crowded = _without_room(table.projects, pools, now)
    with_robots = any(one.rehearsal is not None and one.rehearsal.robots for one in table.projects)
    for one in table.projects:
        changes += (*one.changes(), one.begins, one.ends) if with_robots else one.changes()
        if one.id in crowded:
            wrong.append(f"{one.id}: its pool has not enough seats for the robots of a rehearsal now")
            one = one.model_copy(update={"rehearsal": None})
        project, refused = one.project(pools, now, _seat_gpus(one, factories))
        wrong += refused
        if project is not None:
            projects[project.id] = project
    return projects, tuple(wrong), min((at for at in changes if at > now), default=None)


def _without_room(projects: Sequence[WorkshopProject], pools: WorkshopPools, now: datetime) -> set[ProjectId]:
    """Return the ids of the projects for whose rehearsal with robots the pool has too few seats now.

    A pool never has more seats than its operator says; the seats of classes that take place now count as used. If two
    rehearsals do not both fit, the one that began first continues.
    """
    taken, refused = Counter[Slug](), set[ProjectId]()
    for one in projects:
        if one.begins <= now < one.ends:
            taken.update({place.pool: one.seats for place in one.factories.values()})
    with_robots = [(found, one) for one in projects if (found := one.rehearsal_at(now)) is not None and found.robots]
    for rehearsal, one in sorted(with_robots, key=lambda pair: (pair[0].begins, pair[1].id)):
        place = one.factories.get(rehearsal.factory)
        pool = None if place is None else pools.get(place.pool)
        if pool is None:
            continue  # ``project`` says so
        if taken[pool.id] + rehearsal.robots > pool.seats:
            refused.add(one.id)
        else:
            taken[pool.id] += rehearsal.robots
    return refused


def _seat_gpus(project: WorkshopProject, factories: Mapping[Slug, Factory]) -> dict[Slug, float]:
    """Return, by factory, the GPUs that are billed for a seat of a workshop, at the size with the most GPUs."""
    return {
        name: max(float(gpus_of(factories[name], size)) for size in place.sizes)
        for name, place in project.factories.items()
        if name in factories
    }


def read_pools(path: Path, factories: Mapping[Slug, Factory], accesses: Mapping[Slug, Access]) -> WorkshopPools:
    """Return the operator's pools from the file ``path``.

    Raises CatalogueError if the file cannot be read as pools, or if a pool conflicts with the catalogue or
    ``link.yaml``. The error lists at least one conflict of each such pool.
    """
    pools = read_model(path, WorkshopPools)
    wrong = [line for pool in pools.pools for line in _problems(pool, factories, accesses)]
    if wrong:
        at = Places(path)
        raise CatalogueError([at.of_line(line) for line in wrong])
    return pools


def agrees(factory: Factory, access: Access, act: TeachingAct) -> bool:
    """Return whether a site's agreement allows ``act`` for workshops; True for every testbed.

    True also for a factory that is not live: nothing runs there anyway, so its agreement is not checked.
    """
    if access.testbed or factory.state != "live":
        return True
    return factory.agreement is not None and act in factory.agreement.teaching


def reserved(projects: Mapping[ProjectId, Project]) -> list[str]:
    """Return an error line for each project of ``projects.yaml`` whose id has the form of a workshop's project."""
    return [
        f"projects.{name}: the ids that begin with {PREFIX!r} are those of workshops; choose another"
        for name in projects
        if name.startswith(PREFIX)
    ]


def _problems(pool: WorkshopPool, factories: Mapping[Slug, Factory], accesses: Mapping[Slug, Access]) -> list[str]:
    key, factory = f"pools.{pool.id}", factories.get(pool.factory)
    if factory is None:
        return [f"{key}.factory: {pool.factory!r} is not in the catalogue; allowed: {', '.join(factories)}"]
    access = accesses.get(pool.factory)
    if access is None:
        return [f"{key}.factory: this gateway does not offer {pool.factory!r}; it offers: {', '.join(accesses)}"]
    sizes, partitions = [size.id for size in factory.sizes], [partition.name for partition in factory.partitions]
    known = factory.environments if access.environments is None else access.environments
    environments = [environment.id for environment in known]
    found = [f"{key}.sizes: no size {one!r}; allowed: {', '.join(sizes)}" for one in pool.sizes if one not in sizes]
    found += [
        f"{key}.environments: no environment {one!r}; allowed: {', '.join(environments)}"
        for one in pool.environments
        if one not in environments
    ]
    if pool.partition is not None and pool.partition not in partitions:
        found.append(f"{key}.partition: no partition {pool.partition!r}; allowed: {', '.join(partitions)}")
    if pool.site_accounts and not agrees(factory, access, "pool_accounts"):
        found.append(f"{key}.site_accounts: 'agreement.teaching' of {pool.factory} does not name 'pool_accounts'")
    for account in pool.site_accounts:
        owners = [person for person, own in access.accounts.items() if own == account]
        if owners:
            found.append(f"{key}.site_accounts: {account} is {owners[0]}'s in link.yaml")
        elif account in access.account_pool:
            found.append(f"{key}.site_accounts: {account} is shared by account_pool in link.yaml")
    return found


def read_table(path: Path) -> WorkshopProjects:
    """Return the workshops service's table of projects from the file ``path``.

    If there is no file, return a table without projects. Raises CatalogueError if the file cannot be read, is too
    large, or does not hold such a table.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_TABLE_BYTES + 1)
    except FileNotFoundError:
        return WorkshopProjects()
    except OSError as error:
        raise CatalogueError([f"{path}: cannot be read: {error}"]) from error
    if len(content) > MOST_TABLE_BYTES:
        raise CatalogueError([f"{path}: has more than {MOST_TABLE_BYTES // 2**20} MiB"])
    try:
        return WorkshopProjects.model_validate_json(content)
    except ValidationError as error:
        found = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:10]]
        raise CatalogueError([f"{path}: {line}" for line in found]) from error


def _looks(path: Path) -> Looks:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ctime_ns, found.st_size, found.st_ino)
