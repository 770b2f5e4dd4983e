"""Workshops for the pictures of their pages: one waits for approval, and in the other a class has just begun."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, patch

import yaml

from factorycommon.models import Words
from factorycommon.models.workshops.sessions import WorkshopSession, WorkshopSessions
from tests.unit.page_states import Shown
from tests.unit.room_world import session
from tests.unit.serving import serving
from tests.unit.workshops_world import WorkshopsWorld, body, workshops_world
from workshops.api.hub import hub_app
from workshops.models.callers import WorkshopCaller

OPERATOR, TRAINER = WorkshopCaller("ada", operator=True), WorkshopCaller("bob")
# factories of the map
POOLS = {
    "pools": [
        {"id": "class", "factory": "slaif", "sizes": ["gpu-1"], "seats": 60, "gpu_hours": 400},
        {"id": "second", "factory": "it4lia", "sizes": ["gpu-1"], "seats": 60, "gpu_hours": 400},
    ]
}
PLACES = [{"factory": "slaif", "size": "gpu-1"}, {"factory": "it4lia", "size": "gpu-1"}]
TERMS = "Use the session for the exercises of this class only. Do not put personal data or secrets into it."
QUEUE = Words(code="queue", what="Other jobs come first.", do="Wait: it starts by itself.")
SEATS = 12
NAMES = ("workshops", "workshop-form", "workshop", "workshop-room", "join")


@asynccontextmanager
async def workshops_for_pictures(folder: Path) -> AsyncIterator[WorkshopsWorld]:
    """Serve a workshops service on ``w.sock`` in this folder during the block; yield the service.

    ada is an operator, bob a trainer.
    """
    async with (
        workshops_world(folder, trainers={"people": [TRAINER.person]}, link={"socket": "no-link.sock"}) as world,
        serving(hub_app(world.workshops, world.joining, world.of_hub), folder / "w.sock"),
    ):
        world.config.pools.write_text(yaml.safe_dump(POOLS))
        with patch.object(world.room.sessions, "complete", AsyncMock()):  # it would ask the link
            yield world


async def fill(world: WorkshopsWorld) -> dict[str, Shown]:
    """Make the workshops; return their pages, by the names in ``NAMES``."""
    now = datetime.now(UTC)
    today = now.replace(minute=0, second=0, microsecond=0)
    world.clock.at = now - timedelta(days=2)
    await world.workshops.create(TRAINER, _body("Large language models on one GPU", today + timedelta(days=9)))
    slug = (await world.workshops.create(TRAINER, _body("First steps on GPUs", today))).slug
    await world.workshops.approve(OPERATOR, slug)
    for number in range(1, SEATS + 1):
        await world.workshops.put_member(TRAINER, slug, f"guest-{number:02}", "participant")
    world.clock.at = now
    await world.clockwork.look()
    await world.clockwork.look()  # each look moves a workshop by one state
    world.room.sessions.take(True, WorkshopSessions(sessions=tuple(_seats(world, slug))))
    return {
        "workshops": Shown("/hub/workshops", "#fg-workshops h2", who="bob"),
        "workshop-form": Shown("/hub/workshops/new", "#title", who="bob"),
        "workshop": Shown(f"/hub/workshops/{slug}", "#fg-people-head", who="bob"),
        "workshop-room": Shown(f"/hub/workshops/{slug}/room", "#fg-seats li", who="bob"),
        "join": Shown(f"/hub/join/{slug}", "main h1", who=None),
    }


def _body(title: str, starts: datetime) -> Any:
    times = {"opens": -1, "starts": 0, "ends": 3, "closes": 4}
    return body(
        title=title,
        zone="Europe/Ljubljana",
        **{name: (starts + timedelta(hours=after)).isoformat() for name, after in times.items()},
        seats=SEATS,
        places=PLACES,
        terms=TERMS,
        languages=["en", "sl"],
    )


def _seats(world: WorkshopsWorld, slug: str) -> list[WorkshopSession]:
    """Return the sessions of a class: most run, one waits, one has ended."""
    now = world.clock()
    made = list[WorkshopSession]()
    for number in range(1, SEATS):
        fields: dict[str, Any] = {"factory": "slaif", "created": now - timedelta(minutes=30)}
        fields |= {"ready": now - timedelta(minutes=28)}
        if number == 5:
            fields |= {"state": "pending", "ready": None, "open": False, "reason": QUEUE, "position": 2}
        elif number == 8:
            fields |= {
                "state": "ended",
                "reason": Words(code="oom", what="It used more memory than its node size has."),
            }
        else:
            fields |= {"busy": number % 3 == 0, "gpu_percent": number * 37 % 90}
        made.append(session(number, f"guest-{number:02}", slug, **fields))
    return made
