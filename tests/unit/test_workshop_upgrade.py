"""A workshops service of an earlier commit is upgraded while its workshop is open: nothing of the workshop is lost."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from factorycommon.models import ProjectAt, SessionState, SiteAccounts
from factorycommon.models.joining import JoinCodeBody
from factorycommon.service.database import Database
from factorylink.ledger import migrations as link_migrations
from factorylink.ledger.ledger import Ledger
from factorylink.ledger.schema import sessions
from factorylink.util import clock
from tests.unit.fake_factory import World
from tests.unit.fake_projects import Table, project
from tests.unit.serving import serving
from tests.unit.test_migrations import load, shape
from tests.unit.workshops_world import OPERATOR, TINA, WorkshopsWorld, workshops_world
from workshops.clockwork import Clockwork
from workshops.models.callers import WorkshopCaller
from workshops.models.rehearsal import RehearsalView
from workshops.models.seats import SeatProgress
from workshops.models.views import WorkshopView
from workshops.seats.moving import ClassMoves
from workshops.store import migrations
from workshops.store.store import Store

RECORDED = Path(__file__).parent / "recorded" / "workshops-2026-11-29"
SAID: Any = json.loads((RECORDED / "views.json").read_text())
SLUG, GUEST = SAID["slug"], SAID["guest"]
CALLERS = {"tina": TINA, "olga": OPERATOR, "ada": WorkshopCaller("ada"), "guest": WorkshopCaller(GUEST)}
JOINING = {"sender": "workshops@gateway.example", "folder": "mails"}
POOL = ("u1", "u2", "u3", "u4")


@asynccontextmanager
async def upgraded(folder: Path, **fields: Any) -> AsyncIterator[WorkshopsWorld]:
    """Open this release's service with the recorded database, at the time of the recording."""
    state = folder / "state"
    state.mkdir(mode=0o700)
    load(RECORDED / "workshops.sql", state / "workshops.sqlite")
    async with workshops_world(folder, joining=JOINING, **fields) as world:
        world.clock.at = datetime.fromisoformat(SAID["at"])
        yield world


def lost(said: Any, now: Any, path: str = "") -> Iterator[str]:
    """Yield each difference between a recorded view and the present one.

    Fields that the recorded service did not know are ignored.
    """
    if isinstance(said, dict) and isinstance(now, dict):
        for key, value in said.items():
            yield from lost(value, now[key], f"{path}.{key}") if key in now else [f"{path}.{key} is missing"]
    elif isinstance(said, list) and isinstance(now, list) and len(said) == len(now):
        for number, (one, other) in enumerate(zip(said, now, strict=True)):
            yield from lost(one, other, f"{path}[{number}]")
    elif said != now:
        yield f"{path}: {said!r} became {now!r}"


def plain(view: Any) -> Any:
    """Return a view as JSON."""
    return [plain(one) for one in view] if isinstance(view, list) else view.model_dump(mode="json")


async def views(world: WorkshopsWorld) -> dict[str, Any]:
    """Return the service's views of its workshops, under the names that the recording uses."""
    workshop, over = await world.store.get(SLUG), await world.store.get(SAID["over"])
    assert workshop is not None
    assert over is not None
    people = (await world.store.members([SLUG]))[SLUG]
    (seat,) = (one.seat for one in people if one.person == "ada")
    assert seat is not None
    await world.room._load()
    moving = ClassMoves(world.workshops, world.store, world.seats, world.clock)
    return {
        "workshops": {name: plain(await world.workshops.all(caller)) for name, caller in CALLERS.items()},
        "members": plain(await world.workshops.members(TINA, SLUG)),
        "events": plain(await world.workshops.events(TINA, SLUG)),
        "checks": plain(await world.workshops.checks(TINA, SLUG)),
        "seats": plain(await world.seats.view(workshop, people, timedelta(minutes=workshop.warm_minutes))),
        "moves": plain(await moving.view(TINA, SLUG)),
        "rehearsals": plain(await world.rehearsals.view(TINA, SLUG)),
        "memberships": {
            name: plain(await world.joining.memberships(CALLERS[name].person)) for name in ("ada", "guest")
        },
        "listed": await world.joining.listed(SLUG),
        "report": plain(await world.ending.report(over)),
        "privacy": plain(await world.ending.privacy(SLUG)),
        "room": plain(await world.room.view(TINA, SLUG)),
        "hand": plain(await world.room.helping.content(TINA, SLUG, seat)),
    }


async def test_everything_that_people_see_of_an_open_workshop_is_as_before_the_upgrade(tmp_path: Path) -> None:
    async with upgraded(tmp_path) as world:
        found = await views(world)
        await world.clockwork.look()
        found["table"] = world.table().model_dump(mode="json")
    assert [*lost({name: SAID[name] for name in found}, found)] == []
    (mine, _) = (WorkshopView.model_validate(one) for one in found["workshops"]["tina"])
    assert (mine.state, mine.seats, mine.staff and (mine.staff.seated, mine.staff.waiting)) == ("open", 3, (3, 1))
    first = RehearsalView.model_validate(found["rehearsals"]["places"][0]["seats"])
    assert (first.colour, first.running, first.stopping, first.counts, first.void) == ("green", False, False, None, ())


async def test_a_database_with_a_workshop_gets_the_tables_of_a_new_one(tmp_path: Path) -> None:
    async with upgraded(tmp_path) as world:
        old = world.config.store
    new = Store(Database.file(tmp_path / "new.sqlite", "workshops"))
    await new.open()
    await new.close()
    shapes = []
    for where in (old, new.where):
        engine = where.engine()
        with engine.connect() as db:
            assert migrations.is_at(db) == migrations.head()
            shapes.append(shape(db))
        engine.dispose()
    assert shapes[0] == shapes[1]


async def test_an_upgraded_workshop_goes_on_to_its_end(tmp_path: Path) -> None:
    async with upgraded(tmp_path) as world:
        code = JoinCodeBody(slug=SLUG, code=SAID["code"], browser="0" * 32, address="192.0.2.1")
        assert (await world.joining.check_code(code)).workshop.title == "After the flood"
        await world.workshops.drop_member(TINA, SLUG, "cleo")
        await world.clockwork.look()
        people = {one.person: (one.state, one.seat) for one in await world.workshops.members(TINA, SLUG)}
        assert people["dan"] == ("seated", 3)  # from the waiting list
        assert people[GUEST] == ("seated", 2)
        await world.workshops.take(TINA, SLUG, "close")
        world.clock.forward(days=1)
        assert (await world.look(SLUG)).state == "archived"
        world.clock.forward(days=5)  # as long as this workshop keeps its people
        await world.clockwork.look()
        assert await world.workshops.members(OPERATOR, SLUG) == []


async def test_sessions_that_were_ready_before_the_upgrade_count_as_opened(tmp_path: Path) -> None:
    load(RECORDED / "ledger.sql", tmp_path / "ledger.sqlite")
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as database:
        database.execute("UPDATE sessions SET end_reason = '\"unopened\"' WHERE server = 'rehearsal-2'")
        database.commit()
    ledger = Ledger(tmp_path / "ledger.sqlite")
    await ledger.open()
    found = await ledger.rows(sessions, select(sessions))
    await ledger.close()
    assert {one["opened"] == one["ready"] for one in found if one["server"] != "rehearsal-2"} == {True}
    assert {one["ready"] is None for one in found} == {True, False}
    assert [one["opened"] for one in found if one["server"] == "rehearsal-2"] == [None]


async def test_seats_and_lent_accounts_of_an_open_workshop_stay_with_their_people(tmp_path: Path) -> None:
    folder = tmp_path / "link"
    folder.mkdir()
    load(RECORDED / "ledger.sql", folder / "ledger.sqlite")
    link, table = World(folder), Table()
    link.workshops = table
    at, now = ProjectAt(site_accounts=SiteAccounts(pool=POOL)), clock.now()
    people = ("tina", "otto", "hedy", "ada", GUEST, "cleo")
    times = {"begins": now - timedelta(hours=1), "ends": now + timedelta(hours=5)}
    table.set(project(f"workshop-{SLUG}", at, members=people, **times))
    await link.up()
    ids = set(link.live_sessions)
    async with (
        serving(link.parts.workshops_app(), tmp_path / "link.sock"),
        upgraded(tmp_path, link={"socket": str(tmp_path / "link.sock")}) as world,
    ):
        held = link.projects.get(f"workshop-{SLUG}")
        assert held is not None
        found = link.parts.account_holds.seen(held, "one")
        assert found is not None
        assert (found.pool, found.held, found.ready, found.failed) == (4, 4, 4, ())
        clockwork = Clockwork(
            world.config, world.store, world.pools, world.clock, world.joining.promote, world.seats, world.ending.keep
        )
        for _ in range(3):
            await clockwork.look()
            await world.seats.settle()
        workshop = await world.store.get(SLUG)
        assert workshop is not None
        seats = await world.seats.view(workshop, (await world.store.members([SLUG]))[SLUG], timedelta(minutes=30))
        assert {one.person: one.state for one in seats.seats if one.person != "cleo"} == {
            "ada": SeatProgress.RUNNING,
            GUEST: SeatProgress.BEGUN,
        }
        await world.seats.close()
        link.parts.end_streams()
    live = {one.record.user: one.record for one in link.live_sessions.values()}
    assert {name: one.account for name, one in live.items()} == {"ada": "u2", GUEST: "u3", "cleo": "u4"}
    assert (live["ada"].state, live[GUEST].state) == (SessionState.RUNNING, SessionState.PENDING)
    assert set(link.live_sessions) == ids  # no second session for anybody
    with link.ledger.where.engine().connect() as db:
        assert link_migrations.is_at(db) == link_migrations.head()
    await link.down()
