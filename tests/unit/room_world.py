"""A link and a workshops service that meet at the link's socket, and sessions of a workshop to put into a room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from factorycommon.models import Session
from factorycommon.models.workshops.sessions import WorkshopSession
from tests.unit.fake_factory import World
from tests.unit.fake_projects import Table, project
from tests.unit.serving import serving
from tests.unit.workshops_world import TINA, WorkshopsWorld, workshops_world

PATIENCE = 120.0
NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)


def session(number: int = 1, person: str = "ada", slug: str = "w", **fields: Any) -> WorkshopSession:
    """Return a running session of a workshop as the link sends it. ``fields``: other values of its fields."""
    given = {
        "id": f"{number:032x}", "person": person, "server": "", "project": f"workshop-{slug}", "factory": "one",
        "size": "gpu-1", "state": "running", "created": NOW, "ready": NOW, "open": True, **fields,
    }  # fmt: skip
    return WorkshopSession.model_validate(given)


async def comes(look: Callable[[], object]) -> None:
    """Wait until ``look`` returns a truthy value; for conditions that no event reports."""
    async with asyncio.timeout(PATIENCE):
        while not look():
            await asyncio.sleep(0.01)


@dataclass
class RoomWorld:
    """A link with the sessions of people, and a service that shows them in a room."""

    link: World
    table: Table
    folder: Path
    slug: str = ""
    people: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def service(self) -> AsyncIterator[WorkshopsWorld]:
        """Run the service during the block, and let it follow the link; yield the service once it has the sessions.

        Call this again to see what a service finds after it was killed.
        """
        async with workshops_world(self.folder, link={"socket": str(self.folder / "link.sock")}) as world:
            following = asyncio.create_task(world.room.run())
            try:
                await comes(lambda: world.room.sessions.fresh)
                yield world
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def workshop(self, world: WorkshopsWorld, *people: str, **fields: Any) -> str:
        """Make a workshop with these participants, and put it into the link's table of projects; return its slug.

        ``fields``: fields of the workshop.
        """
        self.slug = (await world.scheduled(**fields)).slug
        for one in people:
            await world.workshops.put_member(TINA, self.slug, one, "participant")
        self.people = [*people, TINA.person]
        self.table.set(project(f"workshop-{self.slug}", members=tuple(self.people)))
        return self.slug

    async def runs(self, number: int, person: str, server: str = "") -> Session:
        """Start a session of the workshop, and let its notebook answer; return the session.

        ``number``: makes its id.
        """
        return await self.link.running(f"{number:032x}", user=person, server=server, project=f"workshop-{self.slug}")


@asynccontextmanager
async def room_world(folder: Path) -> AsyncIterator[RoomWorld]:
    """Run a link during the block, and serve its app for the workshops service; yield a ``RoomWorld`` with the link."""
    of_link = folder / "link"
    of_link.mkdir()
    link, table = World(of_link), Table()
    link.workshops = table
    await link.up()
    async with serving(link.parts.workshops_app(), folder / "link.sock"):
        yield RoomWorld(link, table, folder)
        link.parts.end_streams()
    await link.down()
