"""A transport that runs commands but opens no streams, like a site's REST API."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import pytest

from factorylink.config import DoorAccess
from factorylink.doors import carriers
from factorylink.doors.protocol import DoorFile
from factorylink.errors import Refused
from factorylink.schedulers.command import Command, Output
from factorylink.site.site import Site
from factorylink.transports.access_guard import GuardedCommands
from factorylink.transports.access_status import SiteAccessStatus
from tests.unit.fake_factory import World

T = TypeVar("T")


class RestApi:
    """Answers each command with nothing, and cannot open a stream."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    async def run(self, command: Command[T], account: str | None = None) -> T:
        self.commands.append(command.argv[0])
        return command.parse(Output("", "", 0))

    async def read(self, account: str | None, path: str, limit: int = 65536) -> bytes:
        return b"{}"

    async def home(self, account: str | None) -> str:
        return f"/home/{account}"

    async def close(self) -> None: ...


async def test_a_site_without_streams_is_used_by_commands_alone(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.up()
    connection, api = world.factories["one"], RestApi()
    commands = GuardedCommands(api, SiteAccessStatus())
    site = Site(connection.factory, connection.access, commands, connection.dialect, "hub")
    assert await site.commands.home("ada") == "/home/ada"
    await commands.run(connection.dialect.cancel(["7"]), "ada")
    assert api.commands == ["scancel"]
    await world.parts.close()


async def test_a_session_at_a_site_without_streams_says_that_it_cannot_be_opened(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.up()
    dialect = world.factories["one"].dialect
    carrier = carriers.carrier(DoorAccess(), dialect, "7", "node1", ())
    route = carriers.Route("ab" * 16, "one", "ada", "/home/ada/door.json", RestApi(), None, carrier)
    with pytest.raises(Refused, match="The way to one runs commands only"):
        await route.open(DoorFile.model_construct(port=1, socket=None))
    await world.parts.close()
