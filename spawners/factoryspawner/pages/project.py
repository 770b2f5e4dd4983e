"""The page of a project: shows its remaining budget, and the use of each person.

Managers see the use of all people, members their own.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from jupyterhub.handlers import BaseHandler
from pydantic import TypeAdapter
from tornado import web

from factorycommon.language import N_
from factorycommon.models import Model, Problem, ProjectView, UsageLine
from factorylink.client import LinkAddress, LinkProblem
from factoryspawner.api.handler import GatewayHandler

ID = r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})"


class ProjectUse(Model):
    """The data of a project's page.

    ``everybody``: True if ``lines`` show all people's use, False if only the requesting person's. Each line is the use
    of one person at one factory on one day.
    """

    project: ProjectView
    everybody: bool
    lines: tuple[UsageLine, ...]


USE = TypeAdapter(ProjectUse)


class _OfProject(GatewayHandler):
    async def project(self, project_id: str) -> tuple[ProjectView, str | None, date | None]:
        """Return the project, the person whose use may be shown (None: all people), and the first day of the use.

        The query's ``since`` gives this day; without it, the day is None, and the use of all days counts. Raises
        LinkProblem (404) if the requesting person is not in the project, HTTPError 400 if ``since`` is no day.
        """
        asked = self.get_query_argument("since", "")
        try:
            since = date.fromisoformat(asked) if asked else None
        except ValueError as error:
            raise web.HTTPError(400, N_("since: a day is needed, such as 2026-01-31.")) from error
        for found in await self.gateway.link.projects(self.person):
            if found.id == project_id:
                return found, None if found.role == "manager" else self.person, since
        raise LinkProblem(404, Problem(kind="gone", message=N_("There is no such project of yours.")))


class ProjectUsage(_OfProject):
    """Answers with the content of a project's page as JSON."""

    async def get(self, project_id: str) -> None:
        """Answer a ``ProjectUse``. Query: ``since``: the first day whose use counts; without it, all days count."""
        project, person, since = await self.project(project_id)
        lines = await self.gateway.link.usage(project.id, since, person)
        self.answer(USE, ProjectUse(project=project, everybody=person is None, lines=tuple(lines)))


class ProjectCsv(_OfProject):
    """Answers with the use that a project's page shows, in the form of CSV, for a spreadsheet; without the budget."""

    async def get(self, project_id: str) -> None:
        """Answer CSV. Query: ``since``: the first day whose use counts; without it, all days count."""
        project, person, since = await self.project(project_id)
        text = await self.gateway.link.usage_csv(project.id, since, person)
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{project.id}-usage.csv"')
        self.set_header("Cache-Control", "no-store")
        self.finish(text)


class ProjectPage(BaseHandler):  # type: ignore[misc]  # jupyterhub is untyped
    """Answers with a project's page itself; its script loads the content from ``ProjectUsage``."""

    @web.authenticated
    async def get(self, project_id: str) -> None:
        """Answer the page's HTML, without the project's data, to anybody who is logged in.

        The page's script gets the data from ``ProjectUsage``, which checks whether the person may see the project.
        """
        self.finish(await self.render_template("project.html", project_id=project_id))


def routes(link_at: LinkAddress, pages: Path) -> list[tuple[Any, ...]]:
    """Return the routes for ``c.JupyterHub.extra_handlers``; JupyterHub puts ``/hub`` before them.

    ``link_at``: where the link listens; ``pages``: the folder in which the folder ``locale`` has the translations.
    """
    to_link = {"link_at": link_at, "locale": pages / "locale"}
    return [
        (rf"/project/{ID}", ProjectPage),
        (rf"/gateway/api/projects/{ID}/usage", ProjectUsage, to_link),
        (rf"/gateway/api/projects/{ID}/usage\.csv", ProjectCsv, to_link),
    ]
