"""People who are in two workshops at the same time, and lead one of them.

The tests use the service and a link that reads its table. Seats, rights, budget, messages and help of one workshop are
not those of the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from factorycommon.models.workshops.help import HandBody
from factorylink.config import WorkshopFiles
from factorylink.projects.workshop_table import WorkshopTable
from tests.unit.fake_factory import World, factory
from tests.unit.fake_projects import refusal
from tests.unit.room_world import comes
from tests.unit.serving import serving
from tests.unit.test_workshop_help import status_of
from tests.unit.workshops_world import OTTO, PAUL, TINA, WorkshopsWorld, workshops_world
from workshops.models.bodies import WorkshopChange
from workshops.models.callers import WorkshopCaller
from workshops.models.room import BroadcastBody

POOL = {"id": "class", "factory": "one", "sizes": ["gpu-1"], "seats": 5}
HOUR = timedelta(hours=1)


@dataclass
class TwoWorkshops:
    """Two workshops: ``first`` is led by tina, ``second`` by otto.

    tina has a seat in the second, and paul has one in each.
    """

    link: World
    service: WorkshopsWorld
    first: str
    second: str

    async def runs(self, number: int, person: str, slug: str, server: str) -> None:
        """Start a session for one of the workshops, and let its notebook answer. ``number``: makes its id."""
        await self.link.running(f"{number:032x}", user=person, server=server, project=f"workshop-{slug}", hours=1)

    async def refused(self, person: str, slug: str, hours: float) -> str:
        """Return the code with which the link refuses a person another session for this workshop.

        The session is that of the server ``more``.
        """
        asked = {"user": person, "server": "more", "project": f"workshop-{slug}", "hours": hours}
        return (await refusal(self.link, session_id="f" * 32, **asked))[0]

    async def left(self, person: str, slug: str) -> float:
        """Return the GPU-hours of this workshop that are left for a person, as the person sees them."""
        views = await self.link.projects.views(person, self.link.charges)
        found = next(one.left for one in views if one.id == f"workshop-{slug}")
        assert found is not None
        return round(found, 6)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[TwoWorkshops]:
    (folder / "link").mkdir()
    link = World(folder / "link")
    async with workshops_world(folder, link={"socket": str(folder / "link.sock")}) as service:
        service.config.pools.write_text(yaml.safe_dump({"pools": [POOL]}))
        files = WorkshopFiles(table=service.config.table, pools=service.config.pools)
        table = WorkshopTable(files, {"one": factory()}, {"one": link.config.factories["one"]})
        link.workshops = table
        await link.up()
        now = datetime.now(UTC)
        service.clock.at = now - timedelta(days=2)
        at = {"opens": now - HOUR, "starts": now, "ends": now + 5 * HOUR, "closes": now + 6 * HOUR}
        times = {name: moment.isoformat() for name, moment in at.items()}
        first = (await service.scheduled(TINA, seats=2, gpu_hours=10, **times)).slug
        second = (await service.scheduled(OTTO, seats=2, gpu_hours=9, **times)).slug
        await service.workshops.put_member(TINA, first, "paul", "participant")
        for person in ("tina", "paul"):
            await service.workshops.put_member(OTTO, second, person, "participant")
        service.clock.at = now
        for _ in range(3):  # scheduled, warming, open
            await service.clockwork.look()
        await table.refresh()
        async with serving(link.parts.workshops_app(), folder / "link.sock"):
            following = asyncio.create_task(service.room.run())
            await comes(lambda: service.room.sessions.fresh)
            yield TwoWorkshops(link, service, first, second)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            link.parts.end_streams()
    await link.down()


@pytest_asyncio.fixture
async def both(tmp_path: Path) -> AsyncIterator[TwoWorkshops]:
    async with opened(tmp_path) as made:
        yield made


async def test_a_person_has_a_seat_where_they_take_part_and_none_where_they_lead(both: TwoWorkshops) -> None:
    def seats(caller: WorkshopCaller, slug: str) -> str:
        return f"{caller.person} {slug}"

    found = {}
    for caller in (TINA, PAUL):
        for view in await both.service.workshops.all(caller):
            found[seats(caller, view.slug)] = (view.role, view.seat)
    assert found == {
        seats(TINA, both.first): ("lead", None),
        seats(TINA, both.second): ("participant", 1),
        seats(PAUL, both.first): ("participant", 1),
        seats(PAUL, both.second): ("participant", 2),
    }
    change = WorkshopChange(version=1, title="Mine")
    for caller, slug in ((TINA, both.second), (PAUL, both.first), (PAUL, both.second)):
        assert await status_of(both.service.workshops.take(caller, slug, "close")) == 403
        assert await status_of(both.service.workshops.change(caller, slug, change)) == 403
        assert await status_of(both.service.room.stop(caller, slug, 1)) == 403
        assert await status_of(both.service.room.view(caller, slug)) == 403
    assert await status_of(both.service.room.view(TINA, both.first)) == 200


async def test_a_share_of_one_workshop_is_not_used_by_the_other(both: TwoWorkshops) -> None:
    """In the first workshop, which has ten GPU-hours, two are left for tina, its lead: the seats have precedence.

    Each of its two seats has one GPU for four hours.
    """
    for person, slug, hours in (("tina", both.first, 2), ("tina", both.second, 4), ("paul", both.first, 4)):
        assert await both.left(person, slug) == hours
    await both.runs(1, "tina", both.first, "a")
    assert (await both.left("tina", both.first), await both.left("tina", both.second)) == (1, 4)
    assert await both.refused("tina", both.first, 1.5) == "budget-share"  # as its lead, from what the seats leave
    await both.runs(2, "tina", both.second, "b")
    assert (await both.left("tina", both.first), await both.left("tina", both.second)) == (1, 3)
    await both.runs(3, "paul", both.first, "a")
    await both.runs(4, "paul", both.second, "b")
    assert await both.refused("paul", both.first, 3.5) == "budget-share"
    for slug in (both.first, both.second):
        used = await both.link.charges.balance(f"workshop-{slug}")
        assert used.spent + used.reserved == pytest.approx(2)
        assert await both.left("paul", slug) == 3


async def test_a_message_goes_into_sessions_of_its_own_workshop_only(both: TwoWorkshops) -> None:
    room, sessions = both.service.room, both.service.room.sessions
    for number, (person, slug) in enumerate(
        (("tina", both.first), ("tina", both.second), ("paul", both.first), ("paul", both.second)), 1
    ):
        await both.runs(number, person, slug, f"s{number}")
    for slug in (both.first, both.second):
        await comes(lambda slug=slug: [one.open for one in sessions.of(f"workshop-{slug}")] == [True, True])  # type: ignore[misc]
    assert await status_of(room.broadcast(TINA, both.second, BroadcastBody(text="Mine"))) == 403
    assert await status_of(room.broadcast(OTTO, both.first, BroadcastBody(text="Mine"))) == 404
    await room.broadcast(TINA, both.first, BroadcastBody(text="first"))
    await room.broadcast(OTTO, both.second, BroadcastBody(text="second"))
    told = sorted((int(name, 16), message.text) for name, message in both.link.doors.messages)
    assert told == [(1, "first"), (2, "second"), (3, "first"), (4, "second")]


async def test_a_hand_is_up_in_the_workshop_in_which_it_was_raised(both: TwoWorkshops) -> None:
    helping, room = both.service.room.helping, both.service.room
    assert await status_of(helping.raise_hand("tina", both.first, HandBody(question="?"))) == 403  # she has no seat
    await helping.raise_hand("tina", both.second, HandBody(question="How?"))
    await helping.raise_hand("paul", both.first, HandBody(question="Why?"))
    hands = {
        slug: [(one.person, one.hand.question) for one in (await room.view(caller, slug)).seats if one.hand is not None]
        for caller, slug in ((TINA, both.first), (OTTO, both.second))
    }
    assert hands == {both.first: [("paul", "Why?")], both.second: [("tina", "How?")]}
    assert await status_of(helping.come(TINA, both.second, 1)) == 403  # not even to herself
    assert await status_of(helping.come(OTTO, both.first, 1)) == 404
    assert (await helping.state("paul", both.second)).hand is None
    await helping.come(TINA, both.first, 1)
    called, waiting = await helping.state("paul", both.first), await helping.state("tina", both.second)
    assert called.hand is not None and waiting.hand is not None
    assert (called.hand.by, waiting.hand.by) == ("tina", "")


async def test_the_end_of_one_workshop_leaves_the_other_as_it_is(both: TwoWorkshops) -> None:
    await both.runs(1, "paul", both.first, "a")
    await both.runs(2, "paul", both.second, "b")
    both.service.clock.at -= timedelta(minutes=6)  # it is closed so long ago that its last minutes are over
    await both.service.workshops.take(TINA, both.first, "close")
    await both.service.clockwork.look()
    assert both.link.workshops is not None
    assert await both.link.workshops.refresh()
    assert await both.refused("paul", both.first, 1) == "project-over"
    assert await both.left("paul", both.second) == 3
    more = await both.link.put("f" * 32, "paul", "more", project=f"workshop-{both.second}", hours=1)
    assert more.choice.project == f"workshop-{both.second}"
    assert (await both.link.session(f"{2:032x}")).state == "running"
