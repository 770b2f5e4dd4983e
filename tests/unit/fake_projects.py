"""Makes a ``World``, the link with a fake factory, that has projects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factorycommon.models import ClusterRequest, Project, ProjectAt, Scheduler
from factorylink.problems import ProblemError
from tests.unit.fake_factory import SIZE, World

BIG = SIZE.model_copy(update={"id": "gpu-4", "gpus": 4, "whole_node": True})


class Table:
    """A project table that a test fills."""

    def __init__(self, *projects: Project) -> None:
        self.projects: dict[str, Project] | None = {}
        self.set(*projects)

    def set(self, *projects: Project) -> None:
        self.projects = {project.id: project for project in projects}

    async def refresh(self) -> bool:
        return False


def project(name: str = "p", at: ProjectAt | None = None, **fields: Any) -> Project:
    fields = {"members": ("ada",), "factories": {"one": at or ProjectAt()}} | fields
    return Project(id=name, **fields)


async def up(tmp_path: Path, *projects: Project, **limits: int) -> tuple[World, Table]:
    world, table = World(tmp_path, **limits), Table(*projects)
    world.table = table
    await world.up()
    place = world.factories["one"]
    two = replace(place, factory=place.factory.model_copy(update={"sizes": (SIZE, BIG)}))
    world.factories.offered = {"one": two}
    return world, table


async def refusal(world: World, **asked: Any) -> tuple[str, str | None, str]:
    with pytest.raises(ProblemError) as caught:
        await world.put(**asked)
    problem = caught.value.problem
    return problem.code or problem.kind, problem.field, problem.message


def cluster(**fields: Any) -> ClusterRequest:
    scheduler = Scheduler(address="tcp://n7:8786")
    return ClusterRequest(**{"name": "c", "factory": "one", "scheduler": scheduler, **fields})
