"""Connections for the next seats of a class: opened early, at the site's pace, so that more seats may begin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from factorycommon.models import ProjectAt, SiteAccounts
from factorylink.background import warm_connections
from factorylink.config import Access, SshTransportSettings
from factorylink.errors import FactoryError, NotLetIn, Unreachable
from factorylink.util import clock
from tests.unit.fake_factory import FakeHome, World
from tests.unit.fake_projects import Table, project

W = "workshop-w"
PEOPLE = tuple(f"person{number:02}" for number in range(12))
POOL = tuple(f"u{number:02}" for number in range(12))
LOGINS = 10  # a minute: eight of them are for seats


class Logins(FakeHome):
    """A site that records as which account the link reads a session's file; such a read opens a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.read_as: list[str | None] = []
        self.shut: dict[str | None, FactoryError] = {}  # accounts that cannot log in, with the error

    async def read(self, account: str | None, path: str, limit: int = 65536) -> bytes:
        assert path == f"/home/{account}/.factorygate/sessions/{'0' * 32}/session.json"
        self.read_as.append(account)
        if account in self.shut:
            raise self.shut[account]
        return await super().read(account, path, limit)


class Class:
    """A link with a workshop at a site that sees a login for each seat."""

    def __init__(self, world: World, home: Logins, http: httpx.AsyncClient) -> None:
        self.world, self.home, self.http = world, home, http

    async def places(self) -> dict[str, Any]:
        answer = await self.http.get(f"/projects/{W}/seats")
        (place,) = answer.json()["places"]
        return dict(place)

    async def hold(self, count: int) -> None:
        answer = await self.http.put(f"/projects/{W}/hold", json={"accounts": {"one": count}})
        assert answer.status_code == 200, answer.text

    async def begin(self, *people: str) -> None:
        seats = [
            {"session": f"{PEOPLE.index(one) + 1:032x}", "person": one, "factory": "one", "size": "gpu-1", "hours": 1}
            for one in people
        ]
        until = (clock.now() + timedelta(hours=1)).isoformat()
        answer = await self.http.post(f"/projects/{W}/seats", json={"seats": seats, "unopened_until": until})
        assert [one["answer"] for one in answer.json()["seats"]] == ["begun"] * len(people), answer.text


def access(**transport: Any) -> Access:
    known = {"kind": "ssh", "hosts": ["h"], "watcher": "w", "credentials": {"kind": "ca", "key": "k"}, **transport}
    accounts = dict(zip(PEOPLE, POOL, strict=True))
    return Access(transport=SshTransportSettings.model_validate(known), accounts=accounts)


@pytest_asyncio.fixture
async def lesson(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Class]:
    pooled, transport = getattr(request, "param", (False, {}))
    world, table, home = World(tmp_path), Table(), Logins()
    at = ProjectAt(site_accounts=SiteAccounts(pool=POOL)) if pooled else ProjectAt()
    table.set(project(W, at, members=PEOPLE, ends=clock.now() + timedelta(hours=10)))
    world.workshops, world.home = table, home
    own = access(**{"logins_per_minute": LOGINS, **transport})
    world.config.factories["one"] = own.model_copy(update={"accounts": {}}) if pooled else own
    await world.up()
    wsgi = httpx.ASGITransport(app=world.parts.workshops_app())
    async with httpx.AsyncClient(transport=wsgi, base_url="http://link") as http:
        yield Class(world, home, http)
    await world.down()


async def test_logins_that_a_wave_leaves_are_used_for_the_next_seats(lesson: Class) -> None:
    assert (await lesson.places())["per_minute"] == 8
    await lesson.begin(*PEOPLE[:5])
    await lesson.world.comes(lambda: len(lesson.home.read_as) == 3)
    assert lesson.home.read_as == ["u05", "u06", "u07"]  # those of the next people; with the wave these are eight
    # five and three logins are gone, and three seats need none
    assert (await lesson.places())["per_minute"] == 8


async def test_seats_with_a_connection_may_begin_beside_the_pace(
    lesson: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_connections, "LOOK_SECONDS", 0.01)
    await lesson.begin(PEOPLE[0])
    await lesson.world.comes(lambda: len(lesson.home.read_as) == 7)
    monkeypatch.setattr(warm_connections, "MINUTE", 0.0)  # a minute later
    await lesson.world.comes(lambda: len(lesson.home.read_as) == 11)
    assert (await lesson.places())["per_minute"] == 8 + 11
    await lesson.begin(*PEOPLE[1:3])
    assert (await lesson.places())["per_minute"] == 8 + 9
    monkeypatch.setattr(warm_connections, "KEPT", 0.0)  # the site closes idle connections
    assert (await lesson.places())["per_minute"] == 8


@pytest.mark.parametrize("lesson", [(True, {})], indirect=True)
async def test_held_accounts_are_logged_in_before_any_seat_begins(lesson: Class) -> None:
    await lesson.hold(4)
    await lesson.world.comes(lambda: len(lesson.home.read_as) == 4)
    assert lesson.home.read_as == list(POOL[:4])
    await lesson.begin(*PEOPLE[:2])
    used = {one.record.account for one in lesson.world.live_sessions.values()}
    assert used == set(POOL[:2])  # the seats use those that are connected


@pytest.mark.parametrize(
    "lesson",
    [
        (False, {"credentials": {"kind": "wrapper", "login": "svc", "key": "k"}}),
        (True, {"credentials": {"kind": "wrapper", "login": "svc", "key": "k"}}),
    ],
    indirect=True,
)
async def test_a_service_account_needs_no_connections_for_seats(lesson: Class) -> None:
    before = (await lesson.places())["per_minute"]
    await lesson.hold(2)
    await lesson.begin(PEOPLE[0])
    assert (await lesson.places())["per_minute"] == before == 600
    assert lesson.home.read_as == []


@pytest.mark.parametrize("error", [NotLetIn("Permission denied"), Unreachable("no answer in time")])
async def test_one_account_that_cannot_log_in_does_not_hold_up_the_others(
    lesson: Class, monkeypatch: pytest.MonkeyPatch, error: FactoryError
) -> None:
    monkeypatch.setattr(warm_connections, "LOOK_SECONDS", 0.01)
    lesson.home.shut = {"u06": error}
    await lesson.begin(*PEOPLE[:5])
    await lesson.world.comes(lambda: len(lesson.home.read_as) == 3)
    assert lesson.home.read_as == ["u05", "u06", "u07"]  # by the same order
    monkeypatch.setattr(warm_connections, "MINUTE", 0.0)  # a minute later
    await lesson.world.comes(lambda: len(lesson.home.read_as) == 7)
    assert lesson.home.read_as[3:] == ["u08", "u09", "u10", "u11"]
    assert (await lesson.places())["per_minute"] == 8 + 6  # all but the one that failed


async def test_accounts_that_are_not_let_in_are_no_sign_that_the_site_is_away(lesson: Class) -> None:
    lesson.home.shut = dict.fromkeys(("u05", "u06"), NotLetIn("Permission denied"))
    await lesson.begin(*PEOPLE[:5])
    await lesson.world.comes(lambda: len(lesson.home.read_as) == 3)
    assert lesson.home.read_as == ["u05", "u06", "u07"]


async def test_a_site_that_does_not_answer_is_left_alone(lesson: Class) -> None:
    await lesson.begin(PEOPLE[0])
    await lesson.world.comes(lambda: bool(lesson.home.read_as))
    lesson.home.fails = Unreachable("no answer")
    lesson.home.read_as.clear()
    connections = warm_connections.WarmConnections(
        lesson.world.live_sessions,
        lesson.world.factories,
        lesson.world.account_leases,
        lesson.world.parts.account_holds,
        lesson.world.parts.tasks,
    )
    found = lesson.world.projects.get(W)
    assert found is not None
    connections.begin(found, found.factories)
    await lesson.world.comes(lambda: not connections._running)
    assert not connections._opened
    assert len(connections._failed) == warm_connections.SILENT
