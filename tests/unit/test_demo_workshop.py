"""``bin/demo --workshop``: the workshop that it makes is open, has a code, and is found again by the next start."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from testbed.demo import workshop as demo_workshop
from testbed.demo.folder import TRAINER, DemoFolder
from testbed.demo.options import Ports
from testbed.demo.run import retry
from tests.unit.serving import serving
from tests.unit.workshops_world import OPERATOR, SECRET, Clock, WorkshopsWorld, workshops_world
from workshops.api.hub import hub_app
from workshops.joining import codes


async def test_the_workshop_is_open_and_the_next_start_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def token(_folder: DemoFolder, kept: str) -> str:
        return kept or "made"

    monkeypatch.setattr(demo_workshop, "_token", token)
    folder = DemoFolder(tmp_path / "demo", Ports(8000), tmp_path, workshop=True)
    folder.prepare()
    async with workshops_world(tmp_path, trainers={"people": [TRAINER]}) as opened:
        world = WorkshopsWorld(opened.config, opened.store, Clock(datetime.now(UTC) + timedelta(minutes=1)))
        async with serving(hub_app(world.workshops, world.joining), folder.workshops_socket):
            ticking = asyncio.create_task(world.clockwork.run())
            found = await demo_workshop.ready(folder, ["one", "two"], retry)
            again = await demo_workshop.ready(folder, ["one", "two"], retry)
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
            workshop = found["workshop"]
            view = await world.workshops.one(OPERATOR, workshop["slug"])
        (code,) = (await world.store.codes([workshop["slug"]]))[workshop["slug"]]
    assert again == found
    assert found["trainer"] == {"name": TRAINER, "password": folder.logins()[TRAINER], "token": "made"}
    assert (view.state, view.seats, [place.factory for place in view.places]) == ("open", 8, ["one", "two"])
    assert codes.is_code(workshop["code"], code.salt, code.hash, SECRET)
    assert found["mailbox"] == str(folder.mailbox) and folder.mailbox.is_dir()
    assert workshop["join_url"].endswith(f"/hub/join/{workshop['slug']}")
