"""Reads the projects, and finds each person's projects and when the person's access ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from factorycommon.models import (
    Factory,
    PersonBody,
    Project,
    ProjectAt,
    ProjectId,
    Projects,
    ProjectView,
    ResolvedChoice,
    Slug,
    is_guest,
    is_robot,
)
from factorycommon.models.workshops import PREFIX, RehearsedProject
from factorycommon.service.yaml_file import CatalogueError, Places, read_model
from factorylink.config import Access
from factorylink.errors import Refused, Unreachable
from factorylink.ledger.charges import Charges
from factorylink.projects import access_modes
from factorylink.projects.people import KnownPeople
from factorylink.site.factory_connection import FactoryConnection
from factorylink.util import clock

log = logging.getLogger("factorylink")

_CACHED = 10_000  # maximum number of people
REFRESH_SECONDS = 10.0
LONG_AGO = datetime.fromtimestamp(0, UTC)
Refuse = Callable[[Mapping[ProjectId, Project]], Sequence[str]]


class ProjectTable(Protocol):
    """The source of the projects: a file, or an allocation portal such as Waldur or Puhuri.

    ``docs/developers.md`` describes the requirements for a table.
    """

    @property
    def projects(self) -> Mapping[ProjectId, Project] | None:
        """Return the last known projects, in a new mapping whenever one of them has changed.

        None if they could not be read yet: then nothing starts for any of them, and running sessions continue.
        """
        ...

    async def refresh(self) -> bool:
        """Read the projects again, if it is time to; return whether they have changed.

        The link calls this method every few seconds; the method must return within ``REFRESH_SECONDS``. Errors go to
        the log, and the last good projects are kept.
        """
        ...


class YamlTable:
    """The projects of ``projects.yaml``, which is read again when the file changes.

    The file must agree with the catalogue (``factories``) and with the settings of link.yaml for each factory
    (``accesses``; None: there are none). ``refuse``: a further check, which returns a line for each problem that it
    finds in the projects.
    """

    def __init__(
        self,
        path: Path,
        factories: Mapping[Slug, Factory],
        accesses: Mapping[Slug, Access] | None = None,
        refuse: Refuse = lambda _projects: (),
    ) -> None:
        self._path = path
        self._refuse = refuse
        self._factories = factories
        self._accesses = accesses
        self._read: tuple[int, int, int] | None = None  # the file's metadata when it was last read
        self.projects: Mapping[ProjectId, Project] | None = None

    async def refresh(self) -> bool:
        """Read the file again if it has changed; return whether the projects have changed.

        If the file is not valid, the log says why, and the last projects are kept.
        """
        try:
            found = self._path.stat()
            looks = (found.st_ctime_ns, found.st_size, found.st_ino)
        except OSError:
            looks = (0, 0, 0)
        if looks == self._read:
            return False
        try:
            projects = await asyncio.to_thread(load, self._path, self._factories, self._accesses, self._refuse)
        except CatalogueError as error:
            self._read = looks
            kept = "nothing is started for a project" if self.projects is None else "the last good one is used"
            log.error("The projects cannot be used, and %s:\n%s", kept, error)  # noqa: TRY400
            return False
        self._read = looks
        changed = projects != self.projects
        self.projects = projects
        return changed


class ProjectBook:
    """Finds the projects of each person, in the table of projects and in that of workshops.

    ``table`` None: all projects are those of workshops, and only guests and robots need a project (see ``needed``).
    ``workshops`` None: there are no workshops.
    """

    def __init__(
        self, people: KnownPeople, table: ProjectTable | None = None, workshops: ProjectTable | None = None
    ) -> None:
        self._people = people
        self._table = table
        self._workshops = workshops
        # Cached results by person, with the projects and the person's data from which they were made: every view of
        # the start page needs them.
        self._joined: dict[str, tuple[object, object, PersonBody | None, list[Project]]] = {}

    @property
    def on(self) -> bool:
        """Return whether everybody needs a project to start a session."""
        return self._table is not None

    def needed(self, user: str) -> bool:
        """Return whether this person needs a project to start a session.

        Everybody does if there is a table of projects (``on``). Without one, robots do, and guests if there is a table
        of workshops.
        """
        return self.on or is_robot(user) or (self._workshops is not None and is_guest(user))

    @property
    def known(self) -> bool:
        """Return whether the link has read the table of projects (not that of workshops); True if there is none."""
        return self._table is None or self._table.projects is not None

    def knows(self, user: str) -> bool:
        """Return whether the link has read the projects on which this person's access depends.

        These are the projects of ``table`` and, for guests and robots, also those of workshops. A table that does not
        exist counts as read.
        """
        return self.known and (not (is_guest(user) or is_robot(user)) or self._is_known(PREFIX))

    async def refresh(self) -> bool:
        """Read the projects again; return whether they have changed.

        If a table is slow or fails, its last projects are kept.
        """
        changed = False
        for table in (self._table, self._workshops):
            try:
                async with asyncio.timeout(REFRESH_SECONDS):
                    changed |= table is not None and await table.refresh()
            except Exception:  # any error: a person's loss of access must still be noticed
                log.exception("The projects were not looked at again")
        return changed

    def all(self) -> Iterable[Project]:
        """Return all projects, also those that have ended."""
        for table in (self._table, self._workshops):
            yield from () if table is None else (table.projects or {}).values()

    def get(self, project_id: ProjectId | None) -> Project | None:
        """Return the project with this id, whether active or not; None if ``project_id`` is None or unknown."""
        if project_id is None or (table := self._table_of(project_id)) is None:
            return None
        return (table.projects or {}).get(project_id)

    def payer(self, choice: ResolvedChoice) -> ProjectId | None:
        """Return the project that is charged for ``choice``.

        None: the choice names no project, or the gateway has no table for a project with this id.
        """
        return choice.project if self.is_charged(choice.project) else None

    def is_charged(self, project_id: ProjectId | None) -> bool:
        """Return whether jobs of this project are charged to the project; False for None.

        True if the gateway has a table for such projects (the table of workshops, or the table of projects), even if
        the table does not have this project.
        """
        return project_id is not None and self._table_of(project_id) is not None

    def _table_of(self, project_id: ProjectId) -> ProjectTable | None:
        """Return the table for projects with an id of this kind (of workshops, or others); None: there is none."""
        of_workshop = self._workshops is not None and project_id.startswith(PREFIX)
        return self._workshops if of_workshop else self._table

    def _is_known(self, project_id: ProjectId) -> bool:
        """Return whether the projects of the table for this id are known; True if there is no such table."""
        table = self._table_of(project_id)
        return table is None or table.projects is not None

    def at(self, project_id: ProjectId | None, factory: Slug) -> ProjectAt:
        """Return the project's settings at a factory; does not check whether the project has begun or ended.

        The settings are empty if ``project_id`` is None, or if jobs of this project are not charged (``is_charged``).
        Raises Refused if the project is gone, or may not use the factory any more; Unreachable if the link has not read
        the projects yet.
        """
        if project_id is None or not self.is_charged(project_id):
            return ProjectAt()
        if not self._is_known(project_id):
            raise Unreachable("The projects are not known at the moment.")
        project = self.get(project_id)
        at = None if project is None else project.factories.get(factory)
        if at is None:
            raise Refused(f"The project {project_id} has nothing at {factory} any more.")
        return at

    def of(self, user: str) -> list[Project]:
        """Return the projects that this person may use now, ordered by id."""
        return [] if self.blocked(user) else [p for p in self.joined(user) if active(p)]

    def joined(self, user: str) -> list[Project]:
        """Return the projects that this person is in, also those that have ended or not begun, ordered by id.

        A robot is only in projects of rehearsals. The list is cached: do not change it.
        """
        person = self._people.get(user)
        first, second = (None if table is None else table.projects for table in (self._table, self._workshops))
        known = self._joined.get(user)
        if known is None or known[0] is not first or known[1] is not second or known[2] is not person:
            groups = self._groups(user)
            mine = sorted((p for p in self.all() if p.has(user, groups)), key=lambda project: project.id)
            if is_robot(user):  # whatever a table of projects says
                mine = [project for project in mine if isinstance(project, RehearsedProject)]
            if len(self._joined) >= _CACHED:
                self._joined.clear()
            known = self._joined[user] = (first, second, person, mine)
        return known[3]

    async def views(self, user: str, budget: Charges) -> list[ProjectView]:
        """Return the person's view of their projects, also of those that have ended or not begun.

        ``budget``: the ledger's charges, from which the used and reserved GPU-hours come. Raises LedgerError.
        """
        return [await self._view(project, user, budget) for project in self.joined(user)]

    async def _view(self, project: Project, user: str, budget: Charges) -> ProjectView:
        figures = await budget.balance(project.id)
        rest = [] if project.gpu_hours is None else [project.gpu_hours - figures.spent - figures.reserved]
        if (share := project.share(user)) is not None:
            mine = await budget.balance(project.id, user)
            rest.append(share - mine.spent - mine.reserved)
        left = max(0.0, min(rest)) if rest else None
        return ProjectView(
            id=project.id,
            title=project.title,
            mode=project.mode,
            role="manager" if user in project.managers else "member",
            usable=active(project) and not self.blocked(user),
            begins=project.begins,
            ends=project.ends,
            max_hours=project.max_hours,
            granted=project.gpu_hours,
            spent=figures.spent,
            reserved=figures.reserved,
            left=left,
            factories=tuple(project.factories),
        )

    def personal(self, user: str, connection: FactoryConnection) -> set[str]:
        """Return the site accounts at the factory that belong to this person alone.

        They are named in ``link.yaml``, or in a project that the person may use now.
        """
        ats = [at for p in self.of(user) if (at := p.factories.get(connection.factory.id)) is not None]
        own = [connection.access.accounts.get(user), *(at.site_accounts.personal.get(user) for at in ats)]
        return {account for account in own if account is not None}

    def blocked(self, user: str) -> bool:
        """Return whether the person is blocked, so that nothing may run for them."""
        person = self._people.get(user)
        return person is not None and person.blocked

    def tells(self, user: str, project_id: ProjectId | None) -> bool:
        """Return whether enough is known for ``until()`` to answer for this person and project.

        False if the link has not read the table of projects to which this id belongs (that of workshops, or that of all
        other projects), unless the person is blocked. True in all other cases, also if ``project_id`` is None.
        """
        return project_id is None or self._is_known(project_id) or self.blocked(user)

    def until(self, user: str, project_id: ProjectId | None, factory: Slug) -> datetime | None:
        """Return when this person's jobs for this project must end at the factory, as far as is known.

        The time is in the past if access is lost already; None if no end is known.
        """
        if self.blocked(user):
            return LONG_AGO
        if project_id is None or not self.is_charged(project_id) or not self._is_known(project_id):
            return None
        project = self.get(project_id)
        if project is None or factory not in project.factories:
            return LONG_AGO
        if not project.has(user, self._groups(user)) and not (project.groups and self._people.get(user) is None):
            return LONG_AGO  # not known: a person about whom the hub has sent nothing may still be in a group
        return project.ends

    def _groups(self, user: str) -> frozenset[str]:
        person = self._people.get(user)
        return frozenset() if person is None else person.groups


def active(project: Project) -> bool:
    """Return whether the project has begun, and has not ended."""
    now = clock.now()
    return (project.begins is None or project.begins <= now) and (project.ends is None or now < project.ends)


def load(
    path: Path,
    factories: Mapping[Slug, Factory],
    accesses: Mapping[Slug, Access] | None = None,
    refuse: Refuse = lambda _projects: (),
) -> dict[ProjectId, Project]:
    """Return the projects of a file by id, with their access modes filled in.

    Raises CatalogueError if the file is not valid (see ``read``), or if ``refuse`` finds problems in a valid file; then
    the error names them all.
    """
    found = {project.id: access_modes.filled(project) for project in read(path, factories, accesses)}
    if wrong := refuse(found):
        at = Places(path)
        raise CatalogueError([at.of_line(line) for line in wrong])
    return found


def read(
    path: Path, factories: Mapping[Slug, Factory], accesses: Mapping[Slug, Access] | None = None
) -> tuple[Project, ...]:
    """Return the projects of a file without filling in their access modes.

    Raises CatalogueError if the file cannot be parsed as projects, or if ``problems`` finds mistakes in the projects;
    then the error names them all.
    """
    found = read_model(path, Projects).projects
    wrong = [*problems(found, factories, accesses or {})]
    if wrong:
        at = Places(path)
        raise CatalogueError([at.of_line(line) for line in wrong])
    return found


def problems(
    projects: Iterable[Project], factories: Mapping[Slug, Factory], accesses: Mapping[Slug, Access]
) -> Iterable[str]:
    """Yield a line for the operator about each mistake in the projects.

    Mistakes are: a project does not end after it begins; a project conflicts with the catalogue; a site account would
    belong to two people, or to a person and a pool; a shared account of ``link.yaml`` would belong to a person or a
    pool.
    """
    holders: dict[tuple[Slug, str], str] = {}  # by factory and account, the project and person that have it
    for project in projects:
        if project.begins is not None and project.ends is not None and project.begins >= project.ends:
            yield f"projects.{project.id}.ends: is not after 'begins'"
        for name, at in project.factories.items():
            key = f"projects.{project.id}.factories.{name}"
            if name not in factories:
                yield f"{key}: not in the catalogue; allowed: {', '.join(factories)}"
                continue
            sizes = [size.id for size in factories[name].sizes]
            yield from (f"{key}.sizes: no size {size!r}; allowed: {', '.join(sizes)}"
                        for size in at.sizes if size not in sizes)  # fmt: skip
            partitions = [partition.name for partition in factories[name].partitions]
            if at.partition is not None and at.partition not in partitions:
                yield f"{key}.partition: no partition {at.partition!r}; allowed: {', '.join(partitions)}"
            held = [(f"personal.{who}", who, account) for who, account in at.site_accounts.personal.items()]
            held += [("pool", "", account) for account in at.site_accounts.pool]
            access = accesses.get(name, Access())
            for part, who, account in held:
                owners = [person for person, own in access.accounts.items() if own == account]
                if owners and who not in owners:
                    yield f"{key}.site_accounts.{part}: {account} is {owners[0]}'s in link.yaml"
                elif not owners and account in access.account_pool:
                    yield f"{key}.site_accounts.{part}: {account} is shared by account_pool in link.yaml"
                holder = holders.setdefault((name, account), who)
                if holder != who:
                    other = f"is {holder}'s" if holder else "is lent from a pool"
                    yield f"{key}.site_accounts.{part}: {account} {other} elsewhere in the file"
