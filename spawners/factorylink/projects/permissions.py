"""Finds a person's permissions at each factory, by project; raises an error with an explanation if there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

from factorycommon.messages import Message
from factorycommon.models import (
    AccountView,
    Choice,
    NodeSize,
    Project,
    ProjectAt,
    ProjectId,
    ResolvedChoice,
    Slug,
    Words,
)
from factorylink.catalogue.choices import SHORTEST_HOURS, walltime
from factorylink.catalogue.loading import ChoiceError, find_size, resolve
from factorylink.config import LinkConfig
from factorylink.explain import explain
from factorylink.problems import ProblemError, invalid, of_words
from factorylink.projects.account_leases import AccountLeases, Grant
from factorylink.projects.book import ProjectBook
from factorylink.site.factory_connection import FactoryConnection
from factorylink.util import clock


class Permissions:
    """Finds what a person may use, from the projects and the site accounts; changes nothing."""

    def __init__(self, config: LinkConfig, projects: ProjectBook, account_leases: AccountLeases) -> None:
        self._config = config
        self._projects = projects
        self._account_leases = account_leases

    def all(self, connection: FactoryConnection, user: str) -> list[Grant]:
        """Return the person's permissions at a factory, ordered by the id of the project.

        There is one for each project that the person may use there now. A person who needs no project also has a
        permission without one, which comes first. A permission is left out if the person has no site account for it,
        and the project has no pool of accounts to lend. No account of the pool need be free now.
        """
        found = [_grant(connection, p) for p in self._projects.of(user) if connection.factory.id in p.factories]
        if not self._projects.needed(user) and not self._projects.blocked(user):
            found.insert(0, Grant(connection, connection.factory))
        return [grant for grant in found if self._account_leases.seen(grant, user) is not None]

    def one(
        self,
        connection: FactoryConnection,
        user: str,
        project: ProjectId | None,
        size: Slug | None = None,
        last: ProjectId | None = None,
    ) -> Grant:
        """Return the person's permission at a factory for ``project``. Raises ProblemError if there is none.

        The project must allow ``size`` (None: any size). If ``project`` is None and the person needs a project, the
        choice is among their projects at the factory that allow ``size``. If there are several, the permission is for
        ``last``, the project that the person used last; if ``last`` is none of them, ProblemError is raised.

        A person who needs no project gets a permission without a project if ``project`` is None, or if jobs of
        ``project`` are not charged (``ProjectBook.is_charged``). This permission includes every size of the factory.
        """
        self.check(user)
        machine = connection.factory.site.machine
        if not self._projects.needed(user) and not self._projects.is_charged(project):
            if self._account_leases.own(connection, ProjectAt(), user) is None:
                raise of_words("forbidden", explain.own("no-account"))
            return Grant(connection, connection.factory)
        if project is not None:
            return self._of_project(connection, user, project, size)
        mine = self.all(connection, user)
        if not mine:
            raise of_words("forbidden", explain.filled("project-not-here", factory=machine), "factory")
        fitting = [grant for grant in mine if size is None or has(grant, size)]
        if not fitting:
            raise self._wrong_size(mine[0], size or "")
        if len(fitting) == 1:
            return fitting[0]
        for grant in fitting:
            if grant.project is not None and grant.project.id == last:
                return grant
        names = ", ".join(grant.project.id for grant in fitting if grant.project is not None)
        raise of_words("invalid", explain.filled("project-which", names=names), "project")

    def check(self, user: str) -> None:
        """Raise ProblemError if the person may use no factory at all now.

        That is: the person is blocked, or needs a project but may use none now, or their projects are not known now.
        """
        if self._projects.blocked(user):
            raise of_words("forbidden", explain.own("blocked"))
        if not self._projects.knows(user):
            raise of_words("unreachable", explain.own("projects-unknown"))
        if self._projects.needed(user) and not self._projects.of(user):
            joined = self._projects.joined(user)
            raise of_words("forbidden", self.not_now(joined[-1]) if joined else self.no_project())

    def accounts(self, user: str, places: Mapping[Slug, FactoryConnection]) -> list[AccountView]:
        """Return, for each project and factory, which kind of site account the person would use.

        ``places``: the factories to look at, by id. Projects that the person may not use now are left out.
        """
        return [
            AccountView(project=project.id, factory=name, machine=places[name].factory.site.machine, account=account)
            for project in self._projects.of(user)
            for name, at in sorted(project.factories.items())
            if name in places
            for account in [self._account_leases.kind(places[name], at, user)]
        ]

    def no_project(self) -> Words:
        """Return the explanation for a person who is in no project."""
        words, url = explain.own("no-project"), self._config.apply_url
        if url is None:
            return words
        how = Message("no-project", "Ask whoever leads your project to add you, or apply for one: {url}").format(
            url=url
        )
        return words.saying(do=how)

    def not_now(self, project: Project) -> Words:
        """Return the explanation why a project cannot be used now: it is over, or has not begun."""
        over = project.ends is not None and project.ends <= clock.now()
        code, day = ("project-over", project.ends) if over else ("project-not-begun", project.begins)
        return explain.filled(code, project=project.id, day=_day(day))

    def resolve(self, grant: Grant, choice: Choice, of: str = "") -> ResolvedChoice:
        """Return the choice with every default filled in, and with the project of ``grant`` if the permission has one.

        Raises ProblemError if the catalogue or the project does not allow the choice. ``of``: prefix for the name of
        the wrong field in the error. An error about a size that the permission does not include has no prefix.
        """
        if choice.size is not None and not has(grant, choice.size):
            raise self._wrong_size(grant, choice.size)
        try:
            found = resolve(grant.factory, choice)
        except ChoiceError as error:
            raise invalid(error.message, of + error.field) from error
        if grant.project is None:
            return found
        self.hours(grant.project, found.hours, of)
        return found.model_copy(update={"project": grant.project.id})

    def most(self, grant: Grant, hours: float) -> float:
        """Return ``hours``, limited to the longest job that the project allows if it starts now.

        The limit is at least ``SHORTEST_HOURS``, even if the project allows less.
        """
        most = None if grant.project is None else _most(grant.project)
        return hours if most is None else min(hours, max(SHORTEST_HOURS, _whole(most)))

    def hours(self, project: Project, hours: float, of: str = "") -> None:
        """Raise ProblemError if the project does not allow a job of that many hours that starts now.

        ``of``: prefix for the name of the field ``hours`` in the error.
        """
        longest, left = project.max_hours, _left(project)
        parts = {"project": project.id, "hours": f"{hours:g}", "ends": _day(project.ends)}
        if left is not None and walltime(hours) > 3600 * left and (longest is None or left <= longest):
            fits = math.floor(100 * _whole(left)) / 100  # never more than the project has left
            raise of_words("invalid", explain.filled("project-end-near", **parts, most=f"{fits:g}"), f"{of}hours")
        if longest is not None and hours > longest + 1e-9:
            raise of_words("invalid", explain.filled("project-hours", **parts, most=f"{longest:g}"), f"{of}hours")

    def _of_project(self, connection: FactoryConnection, user: str, project_id: ProjectId, size: Slug | None) -> Grant:
        project = next((p for p in self._projects.joined(user) if p.id == project_id), None)
        mine = self._projects.of(user)
        if project is None:
            words = explain.filled("project-not-yours", project=project_id, names=", ".join(p.id for p in mine))
            raise of_words("forbidden", words, "project")
        if project not in mine:
            raise of_words("forbidden", self.not_now(project), "project")
        if connection.factory.id not in project.factories:
            words = explain.filled("project-elsewhere", project=project.id, factory=connection.factory.site.machine,
                                   names=", ".join(project.factories))  # fmt: skip
            raise of_words("forbidden", words, "project")
        grant = _grant(connection, project)
        if size is not None and not has(grant, size):
            raise self._wrong_size(grant, size)
        if self._account_leases.seen(grant, user) is None:
            raise of_words("forbidden", explain.own("no-account"))
        return grant

    def _wrong_size(self, grant: Grant, size: Slug) -> ProblemError:
        try:
            find_size(grant.connection.factory, size)
        except ChoiceError as error:
            return invalid(error.message, error.field)
        words = explain.filled("project-size", project=grant.project.id if grant.project else "", size=size,
                               names=", ".join(each.id for each in grant.factory.sizes))  # fmt: skip
        return of_words("invalid", words, "size")


def _grant(connection: FactoryConnection, project: Project) -> Grant:
    at = project.factories[connection.factory.id]
    most = _most(project)
    sizes = tuple(_within(s, most) for s in connection.factory.sizes if not at.sizes or s.id in at.sizes)
    return Grant(connection, connection.factory.model_copy(update={"sizes": sizes}), project, at)


def _within(size: NodeSize, most: float | None) -> NodeSize:
    """Return the size with its default hours limited to ``most``, or to ``SHORTEST_HOURS`` if ``most`` is less."""
    if most is None or size.default_hours <= most:
        return size
    return size.model_copy(update={"default_hours": max(SHORTEST_HOURS, _whole(most))})


def _most(project: Project) -> float | None:
    """Return the longest hours for a job of the project that starts now; None: only the size limits them."""
    return min((hours for hours in (project.max_hours, _left(project)) if hours is not None), default=None)


def _left(project: Project) -> float | None:
    """Return the hours until the project ends; None if it does not end."""
    return None if project.ends is None else (project.ends - clock.now()) / timedelta(hours=1)


def _whole(hours: float) -> float:
    """Return ``hours`` in whole minutes, rounded down, since schedulers round up to minutes."""
    return math.floor(hours * 60) / 60


def _day(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M %Z}"


def has(grant: Grant, size: Slug) -> bool:
    """Return whether the permission includes the size."""
    return any(each.id == size for each in grant.factory.sizes)
