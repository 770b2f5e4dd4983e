"""A workshops service with a clock that a test sets, and workshops to put into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from factorycommon.models.workshops import WorkshopProjects
from workshops.api.ending import ending_router, public_router
from workshops.api.helping import help_router
from workshops.api.material import material_router
from workshops.api.moving import moving_router
from workshops.api.rehearsal import rehearsal_router
from workshops.api.room import room_router
from workshops.api.seat_acts import seat_acts_router
from workshops.api.seats import seats_router
from workshops.clockwork import Clockwork
from workshops.config import WorkshopsConfig, load
from workshops.ending.service import WorkshopEnding
from workshops.joining.service import Joining
from workshops.link import LinkSocket
from workshops.material.deliveries import MaterialDelivery
from workshops.material.fetcher import MaterialFetcher
from workshops.material.service import MaterialActs, Materials
from workshops.models.bodies import WorkshopBody
from workshops.models.callers import WorkshopCaller
from workshops.models.views import CreatedView, WorkshopView
from workshops.projects.pools import PoolsFile
from workshops.rehearsal.service import Rehearsals
from workshops.room.acts import SeatActs
from workshops.room.service import Room
from workshops.seats.moving import ClassMoves
from workshops.seats.runner import SeatRunner
from workshops.service import Workshops
from workshops.store.store import Store

SECRET = b"s" * 32
BEGIN = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)
TINA, OTTO, PAUL = WorkshopCaller("tina"), WorkshopCaller("otto"), WorkshopCaller("paul")
OPERATOR = WorkshopCaller("olga", operator=True)
POOLS: dict[str, Any] = {
    "pools": [
        {"id": "class", "factory": "one", "sizes": ["gpu-1"], "seats": 20, "gpu_hours": 100, "reservations": ["r1"]},
        {"id": "other", "factory": "two", "sizes": ["gpu-1", "gpu-2"], "environments": ["python"], "seats": 10},
    ]
}


class Clock:
    """A clock that only a test moves."""

    def __init__(self, at: datetime = BEGIN) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **by: float) -> None:
        self.at += timedelta(**by)


class WorkshopsWorld:
    """A service without its process: its operations, its database and its clock."""

    def __init__(self, config: WorkshopsConfig, store: Store, clock: Clock) -> None:
        self.config, self.store, self.clock = config, store, clock
        pools = self.pools = PoolsFile(config.pools)
        self.joining = Joining(store, config.joining, SECRET, config.hub.root, lambda: self.clockwork.wake(), clock)
        self.link = LinkSocket(None if config.link is None else config.link.socket)
        self.ending = WorkshopEnding.of(config, store, self.link, pools, self.joining, SECRET, clock)
        self.fetcher = MaterialFetcher(config.state_dir / "material", config.material)
        self.materials = Materials(store, self.fetcher, clock)
        self.workshops = Workshops(
            config, store, pools, clock, SECRET, lambda: self.clockwork.wake(), self.materials.status
        )
        self.rehearsals = Rehearsals(
            self.workshops, store, self.link, pools, SECRET, clock, lambda: self.clockwork.wake(), self.materials.status
        )
        self.clockwork = Clockwork(
            config, store, pools, clock, self.joining.promote, None, self.ending.keep, self.rehearsals.windows
        )
        self.room = Room(self.workshops, store, self.link, clock)
        self.seats = SeatRunner(store, self.link, clock)
        self.delivery = MaterialDelivery(self.workshops, store, self.link, self.room.sessions, self.materials, clock)
        acts = MaterialActs(self.workshops, self.materials)
        self.room.steps_of, self.room.trouble_of = self.materials.steps, self.seats.trouble
        self.acts = SeatActs(
            self.workshops, store, self.link, self.room, self.seats, self.materials.is_ready, self.delivery.anew, clock
        )
        self.more = (
            partial(room_router, self.room),
            partial(help_router, self.room.helping),
            partial(seat_acts_router, self.acts),
            partial(seats_router, self.workshops, store, self.seats),
            partial(moving_router, ClassMoves(self.workshops, store, self.seats, clock, self.clockwork.wake)),
            partial(ending_router, self.workshops, self.ending),
            partial(material_router, acts, self.delivery),
            partial(rehearsal_router, self.rehearsals),
        )
        self.of_hub = (*self.more, partial(public_router, self.ending))

    def table(self) -> WorkshopProjects:
        """Return the table of projects that the link would read."""
        return WorkshopProjects.model_validate_json(self.config.table.read_bytes())

    async def scheduled(self, caller: WorkshopCaller = TINA, **fields: Any) -> CreatedView:
        """Make a workshop that is approved, and that the link knows; return it. ``fields``: fields of the workshop."""
        created = await self.workshops.create(caller, body(**fields))
        await self.workshops.approve(OPERATOR, created.slug)
        await self.clockwork.look()
        return created

    async def look(self, slug: str, caller: WorkshopCaller = OPERATOR) -> WorkshopView:
        """Let the service do what is due at the clock's time; return a workshop as ``caller`` sees it."""
        await self.clockwork.look()
        return await self.workshops.one(caller, slug)


def body(**fields: Any) -> WorkshopBody:
    """Return a workshop of six seats, two days after ``BEGIN``, from nine to twelve. ``fields``: replace its own."""
    day = BEGIN + timedelta(days=2)
    times = {"opens": day, "starts": day + timedelta(hours=1), "ends": day + timedelta(hours=4)}
    times["closes"] = day + timedelta(hours=5)
    given = {
        "title": "First steps",
        **{name: at.isoformat() for name, at in times.items()},
        "seats": 6,
        "hours": 4,
        "places": [{"factory": "one", "size": "gpu-1"}],
        **fields,
    }
    return WorkshopBody.model_validate(given)


def write_config(folder: Path, **fields: Any) -> Path:
    """Write ``workshops.yaml`` with the files that it names; return its path. ``fields``: replace keys."""
    (folder / "workshop-pools.yaml").write_text(yaml.safe_dump(POOLS))
    (folder / "workshops.token").write_text("workshops-token")
    (folder / "workshops.token").chmod(0o600)
    content = {
        "state_dir": "state",
        "socket": "workshops.sock",
        "pools": "workshop-pools.yaml",
        "table": "workshops-projects.json",
        "hub": {"public_url": "https://hub.example.org", "token_file": "workshops.token"},
        "trainers": {"people": ["tina", "otto"], "groups": ["teachers"]},
        **fields,
    }
    path = folder / "workshops.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@asynccontextmanager
async def workshops_world(folder: Path, **fields: Any) -> AsyncIterator[WorkshopsWorld]:
    """Open a service in this folder. ``fields``: keys of ``workshops.yaml``."""
    config = load(write_config(folder, **fields))
    config.state_dir.mkdir(mode=0o700, exist_ok=True)
    store = Store(config.store)
    await store.open()
    made = WorkshopsWorld(config, store, Clock())
    try:
        yield made
    finally:
        made.room.close()
        await made.materials.close()
        await made.link.close()
        await store.close()
