"""The room of a full class while all its seats change: how soon a page shows it, and what that costs the hub.

The hub is a separate process; the sessions are scripted, so the times do not include a scheduler or a link.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest_asyncio

from factorycommon.event_stream import read_events
from factorycommon.models import Words
from factorycommon.models.workshops.sessions import WorkshopSessions
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess
from tests.unit.room_world import NOW, session
from tests.unit.serving import serving
from tests.unit.workshops_world import OPERATOR, WorkshopsWorld, body, workshops_world
from workshops.api.hub import hub_app
from workshops.models.callers import WorkshopCaller
from workshops.models.room import RoomChange

SEATS = 60
SHOWN = 2.0  # seconds in which a page shows a change
MOST_CPU = 0.1  # of a core of the hub, for a room that a page follows
MEASURED = 8.0  # seconds
EVERY = 0.25  # seconds between two changes of many seats
ADA = WorkshopCaller("ada")
WAITS = Words(code="queue", what="Other jobs come first.", do="Wait.")


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[WorkshopsWorld]:
    async with (
        workshops_world(tmp_path, trainers={"people": ["ada", "tina"]}, limits={"seats": SEATS}) as made,
        serving(hub_app(made.workshops, made.joining, made.more), tmp_path / "w.sock"),
    ):
        yield made
        made.room.close()


@pytest_asyncio.fixture
async def hub(tmp_path: Path, world: WorkshopsWorld) -> AsyncIterator[HubProcess]:
    beside = Beside()
    await beside.up()
    link = FakeLink(tmp_path / "link.sock", beside.url)
    await link.up()
    folder = tmp_path / "hub"
    folder.mkdir()
    made = HubProcess(folder, link.socket, beside, workshops=tmp_path / "w.sock")
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()
    await link.down()
    await beside.down()


def cpu(pid: int) -> float:
    """Return the CPU-seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Seats:
    """The seats' states, and how long the page takes to show a change.

    ``changed``: by seat, the state that the page has not shown yet, and since when; ``waits``: the seconds that each
    shown change took.
    """

    def __init__(self) -> None:
        self.states: dict[int, str] = {}
        self.changed: dict[int, tuple[str, float]] = {}
        self.waits: list[float] = []

    def change(self, seat: int, state: str) -> None:
        if self.states.get(seat) != state:
            self.states[seat] = state
            _, since = self.changed.get(seat, (state, time.monotonic()))
            self.changed[seat] = (state, since)

    def shown(self, change: RoomChange) -> None:
        for one in change.seats:
            state, since = self.changed.get(one.seat, ("", 0.0))
            if one.state == state:
                self.waits.append(time.monotonic() - since)
                del self.changed[one.seat]


async def change(world: WorkshopsWorld, slug: str, seats: Seats) -> None:
    """Change a quarter of the seats ten thousand times, with pauses, as a class in its first minutes does."""
    for step in range(10_000):
        some = []
        for seat in range(step % 4, SEATS, 4):
            runs = (step // 4 + seat) % 3 > 0
            active = NOW + timedelta(seconds=step)
            more = {"last_activity": active, "gpu_percent": step % 100} if runs else {"reason": WAITS, "position": seat}
            state = {"state": "running"} if runs else {"state": "pending", "ready": None, "open": False}
            some.append(session(seat, f"p{seat}", slug, **state, **more))
            seats.change(seat + 1, some[-1].state)
        world.room.sessions.take(False, WorkshopSessions(sessions=tuple(some)))
        await asyncio.sleep(EVERY)


async def follow(browser: httpx.AsyncClient, path: str, came: asyncio.Queue[RoomChange], seats: Seats) -> None:
    async with browser.stream("GET", path) as response:
        assert response.status_code == 200
        async for event in read_events(response.aiter_bytes()):
            if event.name != "alive":
                change = RoomChange.model_validate_json(event.data)
                seats.shown(change)
                came.put_nowait(change)


async def test_a_full_room_is_shown_soon_and_costs_the_hub_little(world: WorkshopsWorld, hub: HubProcess) -> None:
    places = [{"factory": "two", "size": "gpu-1"}]
    (world.config.pools).write_text(world.config.pools.read_text().replace("seats: 10", f"seats: {SEATS}"))
    slug = (await world.workshops.create(ADA, body(seats=SEATS, places=places))).slug
    await world.workshops.approve(OPERATOR, slug)
    await world.clockwork.look()
    for seat in range(SEATS):
        await world.workshops.put_member(ADA, slug, f"p{seat}", "participant")
    browser, came, seats = await hub.login("ada"), asyncio.Queue[RoomChange](), Seats()
    following = asyncio.create_task(follow(browser, f"/hub/workshops/{slug}/room/events", came, seats))
    assert len((await asyncio.wait_for(came.get(), 10)).seats) == SEATS

    changing = asyncio.create_task(change(world, slug, seats))
    assert hub.process is not None
    await came.get()
    begun, spent = time.monotonic(), cpu(hub.process.pid)
    await asyncio.sleep(MEASURED)
    share = (cpu(hub.process.pid) - spent) / (time.monotonic() - begun)
    changing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await changing
    events = came.qsize()
    print(f"room: {share:.1%} of a core of the hub, {events / MEASURED:.1f} events a second")
    print(f"{len(seats.waits)} changes of states shown, the slowest after {max(seats.waits):.2f} s")
    assert share < MOST_CPU
    assert len(seats.waits) >= SEATS
    assert max(seats.waits) < SHOWN
    assert events <= 2 * MEASURED + 1

    async def shows(seat: int) -> None:
        while not any(one.seat == seat and one.busy for one in (await came.get()).seats):
            pass

    begun = time.monotonic()
    world.room.sessions.take(False, WorkshopSessions(sessions=(session(7, "p7", slug, busy=True),)))
    await asyncio.wait_for(shows(8), 10)
    assert time.monotonic() - begun < SHOWN
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await browser.aclose()
