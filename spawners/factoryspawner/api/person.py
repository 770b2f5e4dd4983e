"""Handlers for a person's data on the start page: their projects, their site accounts, and their last choice."""

from __future__ import annotations

from pydantic import TypeAdapter

from factorycommon.models import Choice, ProjectView, ReadyView
from factoryspawner.api.handler import GatewayHandler

PROJECTS = TypeAdapter(list[ProjectView])
READY = TypeAdapter(ReadyView)
CHOICE: TypeAdapter[Choice | None] = TypeAdapter(Choice | None)


class PersonProjects(GatewayHandler):
    """Answers with the requesting person's projects, also those that have ended or not begun."""

    async def get(self) -> None:
        """Answer ``list[ProjectView]``."""
        self.answer(PROJECTS, await self.gateway.link.projects(self.person))


class Ready(GatewayHandler):
    """Answers which kind of site account the requesting person would use, by project and factory.

    Only projects that the person can use now are in the answer. If the person may start nothing at any factory, for
    example because they are blocked, the answer is the reason instead. Missing site accounts are no such reason.
    """

    async def get(self) -> None:
        """Answer ``ReadyView``."""
        self.answer(READY, await self.gateway.link.ready(self.person))


class LastChoice(GatewayHandler):
    """Answers with what the requesting person chose for the last session that they started themselves.

    A session that the link started for a workshop's seat does not count, nor does one that runs a Dask scheduler.
    """

    async def get(self) -> None:
        """Answer a ``Choice``; null: the requesting person has started no JupyterLab session themselves."""
        self.answer(CHOICE, await self.gateway.link.last_choice(self.person))


ROUTES: tuple[tuple[str, type[GatewayHandler]], ...] = (
    (r"projects", PersonProjects),
    (r"ready", Ready),
    (r"choice", LastChoice),
)
