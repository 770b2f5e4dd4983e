"""Robots of a rehearsal at the link: their names, what they may start, and that nobody else can use their names."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from factorycommon.models import (
    AccessStatus,
    Choice,
    HubRules,
    Person,
    PersonBody,
    Project,
    ProjectAt,
    SeatRequest,
    SessionRequest,
    SiteAccounts,
    SiteRules,
    is_robot,
    robot_names,
)
from factorycommon.models.joining import JoinBody, LeaveBody
from factorycommon.models.workshops import (
    RehearsalWindow,
    RehearsedProject,
    WorkshopPool,
    WorkshopPools,
    WorkshopProject,
    WorkshopProjects,
)
from factorycommon.models.workshops.sessions import ClassMessageBody
from factoryinstaller import options as installer
from factorylink.config import Access
from factorylink.problems import ProblemError
from factorylink.projects.workshop_table import projects_of
from factorylink.sessions import robots
from factorylink.util import clock
from factoryspawner.config.hub_config import HubConfig
from factoryspawner.login.authenticator import FederatedAuthenticator
from factoryspawner.login.guests import FederatedWithGuests, PasswordsWithGuests
from factoryspawner.login.names import NamesOfPeople
from factoryspawner.login.passwords import PasswordAuthenticator
from tests.unit.fake_factory import ID, OTHER, World, factory
from tests.unit.fake_hub import served
from tests.unit.fake_projects import Table, cluster, project
from tests.unit.test_account_holds import WipedHome
from workshops.config import Trainers

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SLUG, W = "w-2345", "workshop-w-2345"
ROBOT, SECOND, THIRD = robot_names(SLUG, 3)
POOL = WorkshopPool(id="class", factory="one", sizes=("gpu-1",), seats=20)
NAMES = ["robot.w-2345.1", "Robot.x", "ROBOT.", "robot.ada"]


# --- names


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "make",
    [
        lambda name: Project(id="p", members=(name,), factories={"one": ProjectAt()}),
        lambda name: Project(id="p", managers=(name,), factories={"one": ProjectAt()}),
        lambda name: SiteAccounts(personal={name: "u1"}),
        lambda name: Access(accounts={name: "u1"}),
        lambda name: SessionRequest(user=name, choice=Choice()),
        lambda name: JoinBody(ticket="t" * 32, person=name),
        lambda name: LeaveBody(slug="w", person=name),
        lambda name: HubConfig.model_validate({"public_url": "http://127.0.0.1:8000", "admins": [name]}),
        lambda name: Trainers(people=(name,)),
        lambda name: ClassMessageBody(id="m", text="t", people=(name,)),
        lambda name: workshop(members=(name,)),
        lambda name: workshop(managers=(name,)),
        lambda name: workshop(staff=(name,)),
        lambda name: RehearsalWindow(people=(name,), factory="one", begins=clock.now(), ends=clock.now() + MINUTE),
    ],
)
def test_no_person_is_given_the_name_of_a_robot(make: Any, name: str) -> None:
    with pytest.raises(ValidationError, match="is a name for robots of rehearsals"):
        make(name)


@pytest.mark.parametrize(
    "kind", [FederatedAuthenticator, FederatedWithGuests, PasswordAuthenticator, PasswordsWithGuests]
)
def test_nobody_logs_in_with_the_name_of_a_robot(kind: type[NamesOfPeople]) -> None:
    """JupyterHub checks names in this way at logins, in its settings, and for users that its API makes."""
    authenticator = kind.__new__(kind)
    PasswordAuthenticator.__base__.__init__(authenticator)  # without files of a login
    for name in NAMES:
        assert not authenticator.validate_username(name)
    for name in ("ada", "robotics", "robot", "guest.ada.abcdef", "my.robot.1"):
        assert authenticator.validate_username(name)
    assert not authenticator.validate_username("a/b")  # as before


@given(st.from_regex(r"[a-z0-9][a-z0-9-]{0,47}", fullmatch=True), st.integers(1, 1000))
def test_a_robot_has_one_name_that_is_nobody_s(slug: str, number: int) -> None:
    names = robot_names(slug, number)
    assert len(set(names)) == number
    assert all(is_robot(one) and len(one) <= 64 for one in names)
    assert not set(robot_names(f"{slug}x", 20)) & set(robot_names(slug, 20))
    with pytest.raises(ValidationError):
        TypeAdapter(Person).validate_python(names[-1])


def test_an_installed_gateway_has_no_robot_as_administrator() -> None:
    assert any("robots" in line for line in installer._passwords(_installed("robot.ada")))
    assert installer._passwords(_installed("ada")) == []


def _installed(admin: str) -> Any:
    fields = {field.name: None for field in dataclasses.fields(installer.Options)}
    return installer.Options(**fields | {"admin": admin})  # type: ignore[arg-type]


# --- the table of projects


def workshop(slug: str = SLUG, **fields: Any) -> WorkshopProject:
    """Return the project of a workshop of tomorrow, as the service writes it. ``fields``: replace its fields."""
    now = clock.now()
    given = {
        "id": f"workshop-{slug}", "members": ("ada", "ben"), "managers": ("ada",), "begins": now + 20 * HOUR,
        "ends": now + 24 * HOUR, "seats": 3, "max_hours": 4, "gpu_hours": 50,
        "factories": {"one": {"pool": "class", "sizes": ("gpu-1",)}}, **fields,
    }  # fmt: skip
    return WorkshopProject.model_validate(given)


def window(count: int = 3, **fields: Any) -> dict[str, Any]:
    now = clock.now()
    return {"robots": count, "factory": "one", "begins": now - MINUTE, "ends": now + 15 * MINUTE, **fields}


def read(*projects: WorkshopProject, now: datetime | None = None, pool: WorkshopPool = POOL) -> tuple[Any, str]:
    """Return the projects that the link reads from a table, and its messages about mistakes as one text."""
    table, pools = WorkshopProjects(projects=projects), WorkshopPools(pools=(pool,))
    found, wrong, _ = projects_of(table, pools, now or clock.now(), {"one": factory()})
    return found, " ".join(wrong)


def test_in_a_rehearsal_the_project_is_the_robots_alone() -> None:
    found, wrong = read(workshop(rehearsal=window()))
    made = found[W]
    assert isinstance(made, RehearsedProject)
    assert (made.members, made.managers, made.staff, made.robots, wrong) == (
        (ROBOT, SECOND, THIRD),
        (),
        frozenset(),
        3,
        "",
    )
    assert not made.has("ada", frozenset())
    assert made.share(ROBOT) == 16 / 60  # what one seat needs for all of that time
    assert made.gpu_hours == 50
    for other in (clock.now() - 2 * MINUTE, clock.now() + 16 * MINUTE):
        found, _ = read(workshop(rehearsal=window()), now=other)
        assert found[W].members == ("ada", "ben")
    found, _ = read(workshop(rehearsal=window(), begins=clock.now()))  # a class that has begun is the class's
    assert found[W].members == ("ada", "ben")


@pytest.mark.parametrize(
    ("robots", "factory", "pool"),
    [
        (4, "one", POOL),  # more than its seats
        (3, "one", POOL.model_copy(update={"seats": 2})),
        (3, "two", POOL),  # no place of it
    ],
)
def test_more_robots_than_seats_are_none(robots: int, factory: str, pool: WorkshopPool) -> None:
    found, wrong = read(workshop(rehearsal=window(robots, factory=factory)), pool=pool)
    assert found[W].members == ("ada", "ben")
    assert not [one for one in found[W].members if is_robot(one)]
    assert ("robot" in wrong) or factory == "two"


def test_robots_of_all_workshops_and_running_classes_share_the_pool() -> None:
    first = workshop("a", seats=8, rehearsal=window(8))
    second = workshop("b", seats=8, rehearsal=window(8, begins=clock.now() - 2 * MINUTE))
    third = workshop("c", seats=8, rehearsal=window(8))
    found, wrong = read(first, second, third)
    rehearsed = {name for name, one in found.items() if isinstance(one, RehearsedProject)}
    assert rehearsed == {"workshop-a", "workshop-b"}  # the one that began first goes on
    assert "workshop-c: its pool has not enough seats for the robots" in wrong
    now = clock.now()
    runs = workshop("d", seats=8, begins=now - HOUR, ends=now + HOUR)
    found, _ = read(first, second, third, runs)
    assert {name for name, one in found.items() if isinstance(one, RehearsedProject)} == {"workshop-b"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"people": ["ada"]},  # both
        {"robots": 0},  # neither
        {"robots": 1001},
        {"robots": -1},
        {"ends": clock.now() + 3 * HOUR},
        {"names": ["robot.other.1"]},
    ],
)
def test_a_window_that_asks_for_more_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RehearsalWindow.model_validate({**window(), **wrong})


# --- seats


class Rehearsed:
    """A link at which a workshop is rehearsed by robots, and the socket of the workshops service."""

    def __init__(self, world: World, table: Table, http: httpx.AsyncClient) -> None:
        self.world, self.table, self.http = world, table, http
        self.pool = POOL

    def set(self, **fields: Any) -> None:
        self.table.set(*read(workshop(**{"rehearsal": window(), **fields}), pool=self.pool)[0].values())

    def over(self) -> None:
        """Let the rehearsal be over."""
        self.set(rehearsal=None)

    async def ask(self, *names: str, session: int = 1, workshop: str = W, **fields: Any) -> list[dict[str, Any]]:
        seats = [
            {"session": f"{number:032x}", "person": name, "factory": "one", "size": "gpu-1", "hours": 0.25, **fields}
            for number, name in enumerate(names, session)
        ]
        body = {"seats": seats, "unopened_until": (clock.now() + 15 * MINUTE).isoformat()}
        answer = await self.http.post(f"/projects/{workshop}/seats", json=body)
        if answer.status_code != 200:
            return [{"answer": "refused", "problem": answer.json(), "status": answer.status_code}]
        found: list[dict[str, Any]] = answer.json()["seats"]
        return found

    async def refused(self, name: str = ROBOT, **fields: Any) -> str:
        (one,) = await self.ask(name, **fields)
        assert one["answer"] == "refused", one
        return str(one["problem"].get("code") or one["problem"]["message"])

    async def runs(self, number: int = 1) -> None:
        """Let the job of a robot run, its door get the environment variables, and its notebook answer."""
        session = f"{number:032x}"
        job = (await self.world.session(session)).job
        assert job is not None
        self.world.scheduler.runs(job)
        await self.world.scheduler.answer()
        self.world.door_says(session, phase="waiting")
        await self.world.comes(lambda: any(one == session for one, _ in self.world.doors.sent))
        self.world.door_says(session, phase="up", environment=True)
        await self.world.until(session, state="running")


@pytest_asyncio.fixture
async def rehearsed(tmp_path: Path) -> AsyncIterator[Rehearsed]:
    world, table = World(tmp_path), Table()
    world.workshops, world.home = table, WipedHome()
    # people need a fresh login, the gateway's terms and the site's rules
    world.rules = HubRules(access=True, terms="2026-01")
    access = world.config.factories["one"]
    wiping = {"account_wipe": ("wipe",), "account_wipe_proof": ("proof",)}
    world.config.factories["one"] = access.model_copy(update=wiping)
    await world.up()
    place = world.factories["one"]
    rules = SiteRules(version="1", text="Be kind.")
    ruled = place.factory.model_copy(update={"site": place.factory.site.model_copy(update={"rules": rules})})
    world.factories.offered = {"one": dataclasses.replace(place, factory=ruled)}
    transport = httpx.ASGITransport(app=world.parts.workshops_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://link") as http:
        made = Rehearsed(world, table, http)
        made.set()
        yield made
        world.parts.end_streams()
    await world.down()


async def test_a_robot_has_a_seat_without_a_login_terms_or_rules(rehearsed: Rehearsed) -> None:
    (one,) = await rehearsed.ask(ROBOT)
    assert (one["answer"], one["state"]) == ("begun", "pending")
    await rehearsed.runs()
    (one,) = await rehearsed.ask(ROBOT)
    assert (one["answer"], one["reachable"]) == ("there", True)
    session = await rehearsed.world.session(one["session"])
    assert (session.user, session.choice.project) == (ROBOT, W)
    assert 0.25 - 5.1 / 60 < session.choice.hours <= 0.25 - 1 / 60  # whole minutes, until the end of the rehearsal
    rehearsed.world.people.rules = HubRules(access=True, terms="2026-01")
    problem = await rehearsed.refused("ada", session=9)
    assert problem == "not-in-workshop"  # meanwhile it is nobody else's
    stopped = await rehearsed.http.post(f"/projects/{W}/sessions/{one['session']}/stop")
    assert stopped.status_code == 202


async def test_what_a_robot_s_notebook_gets_opens_nothing(rehearsed: Rehearsed) -> None:
    await rehearsed.ask(ROBOT, SECOND)
    for number in (1, 2):
        await rehearsed.runs(number)
    sent = dict(rehearsed.world.doors.sent)
    assert len(sent) == len(rehearsed.world.doors.sent) == 2  # each once
    tokens = {given["JUPYTERHUB_API_TOKEN"] for given in sent.values()}
    assert len(tokens) == 2
    assert all(len(token) == 64 for token in tokens)
    first = sent[f"{1:032x}"]
    assert first["JUPYTERHUB_SERVICE_PREFIX"] == f"/user/{ROBOT}/"
    assert json.loads(first["JUPYTERHUB_OAUTH_ACCESS_SCOPES"]) == [f"access:servers!server={ROBOT}/"]
    assert "JUPYTERHUB_ACTIVITY_URL" not in first
    assert set(rehearsed.world.doors.argv.values()) == {(robots.PROGRAM,)}
    written = b"".join(path.read_bytes() for path in rehearsed.world.folder.rglob("*") if path.is_file())
    assert not [token for token in tokens if token.encode() in written]  # no secret at rest


async def test_an_environment_that_a_door_did_not_take_is_sent_again(rehearsed: Rehearsed) -> None:
    await rehearsed.ask(ROBOT)
    send = rehearsed.world.doors.send_environment
    fails = [True]

    async def lost(*args: Any) -> None:
        if fails.pop():
            from factorylink.errors import Unreachable

            raise Unreachable("The door is away.")
        await send(*args)

    rehearsed.world.doors.send_environment = lost  # type: ignore[assignment,method-assign]
    fails = [False, True]
    session = f"{1:032x}"
    job = (await rehearsed.world.session(session)).job
    assert job is not None
    rehearsed.world.scheduler.runs(job)
    await rehearsed.world.scheduler.answer()
    rehearsed.world.door_says(session, phase="waiting")
    await rehearsed.world.comes(lambda: fails == [False])
    await asyncio.sleep(0)
    rehearsed.world.door_says(session, phase="waiting")
    await rehearsed.world.comes(lambda: bool(rehearsed.world.doors.sent))


async def test_a_person_s_notebook_is_left_to_the_hub(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.up()
    session = await world.put(ID, "ada")
    assert session.job is not None
    world.scheduler.runs(session.job)
    await world.scheduler.answer()
    world.door_says(ID, phase="waiting")
    await world.scheduler.answer(2)
    assert world.doors.sent == []
    await world.down()


async def test_the_hub_is_not_asked_to_adopt_a_robot(tmp_path: Path) -> None:
    async with served(tmp_path) as link:
        world = link.world
        world.parts.projects._workshops = Table(*read(workshop(rehearsal=window()))[0].values())
        transport = httpx.ASGITransport(app=world.parts.workshops_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://link") as http:
            found = Rehearsed(world, Table(), http)
            answers = await found.ask(ROBOT, SECOND)
            assert [one["answer"] for one in answers] == ["begun", "begun"]
        assert not await link.bring_back.look()
        assert list(link.hub.started) == []


async def test_the_room_shows_no_robot_and_the_sums_count_it(rehearsed: Rehearsed) -> None:
    await rehearsed.ask(ROBOT)
    await rehearsed.runs()
    assert (await rehearsed.http.get(f"/projects/{W}/sessions")).json()["sessions"] == []
    assert rehearsed.world.parts.workshop_feed.live() == []
    assert (await rehearsed.http.get(f"/projects/{W}/now")).json()["running"] == 1
    (run,) = (await rehearsed.http.get(f"/projects/{W}/history")).json()["runs"]
    assert (run["person"], run["factory"]) == (ROBOT, "one")
    await rehearsed.http.post(f"/projects/{W}/sessions/{1:032x}/stop")
    await rehearsed.world.answered_until(f"{1:032x}", state="ended")
    assert (await rehearsed.http.get(f"/projects/{W}/sessions")).json()["sessions"] == []


async def test_outside_of_a_rehearsal_there_are_no_robots(rehearsed: Rehearsed) -> None:
    rehearsed.over()
    assert await rehearsed.refused() == "not-in-workshop"
    assert len(rehearsed.world.scheduler.submitted) == 0


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (f"robot.{SLUG}.4", {}),  # more than the class has seats
        (f"robot.{SLUG}.0", {}),
        (f"Robot.{SLUG}.1", {}),
        ("robot.other-2345.1", {}),
        (ROBOT, {"size": "gpu-2"}),
        (ROBOT, {"factory": "two"}),
        (ROBOT, {"workshop": "workshop-other-2345"}),
        (ROBOT, {"workshop": "p"}),
        (ROBOT, {"server": "a/b"}),
    ],
)
async def test_a_robot_is_of_one_workshop_place_and_size(
    rehearsed: Rehearsed, name: str, fields: dict[str, Any]
) -> None:
    await rehearsed.refused(name, **fields)
    assert len(rehearsed.world.scheduler.submitted) == 0


async def test_a_robot_does_not_stay_longer_than_its_rehearsal(rehearsed: Rehearsed) -> None:
    (one,) = await rehearsed.ask(ROBOT, hours=4)
    session = await rehearsed.world.session(one["session"])
    assert session.choice.hours <= 15 / 60
    rehearsed.over()
    rehearsed.world.limit(access_grace_seconds=0)
    await rehearsed.world.leaving.look()
    await rehearsed.world.answered_until(one["session"], state="ended")


async def test_a_robot_has_one_seat(rehearsed: Rehearsed) -> None:
    await rehearsed.ask(ROBOT)
    assert await rehearsed.refused(server="b", session=7) == "robot-seat-only"
    (same,) = await rehearsed.ask(ROBOT, session=8)  # with another id, it is the seat that it has
    assert same["live"] == f"{1:032x}"
    both = await asyncio.gather(rehearsed.ask(SECOND, session=20), rehearsed.ask(SECOND, session=21, server="c"))
    assert sorted(one["answer"] for (one,) in both) == ["begun", "refused"]
    assert len(rehearsed.world.scheduler.submitted) == 2


async def test_nothing_else_starts_for_a_robot(rehearsed: Rehearsed) -> None:
    world = rehearsed.world
    await rehearsed.ask(ROBOT)
    choice = Choice(factory="one", size="gpu-1", hours=0.1, project=W)
    with pytest.raises(ProblemError) as caught:  # even as the link's own request, but not for a seat
        await world.sessions.put(OTHER, SeatRequest(user=SECOND, choice=choice))
    assert caught.value.problem.code == "robot-seat-only"
    with pytest.raises(ProblemError) as caught:
        await world.clusters.put(OTHER, SECOND, cluster(project=W))
    assert caught.value.problem.code == "robot-seat-only"
    live = world.live_sessions[f"{1:032x}"]
    for check in (
        lambda: world.parts.permission.more_time(live),
        lambda: world.parts.permission.estimate(world.factories["one"], ROBOT),
        lambda: world.parts.permission.at(world.factories["one"], ROBOT),
    ):
        with pytest.raises(ProblemError):
            check()


async def test_the_hub_s_own_socket_names_no_robot(tmp_path: Path) -> None:
    async with served(tmp_path) as link:
        body = {"user": ROBOT, "choice": {"factory": "one"}}
        person = PersonBody(groups=frozenset(), access=AccessStatus(terms="2026-01")).model_dump(mode="json")
        transport = httpx.AsyncHTTPTransport(uds=str(link.world.config.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://link") as http:
            for method, path, content in (
                ("PUT", f"/sessions/{ID}", body),
                ("PUT", f"/people/{ROBOT}", person),
                ("GET", f"/people/{ROBOT}/sessions", None),
                ("GET", f"/sessions?user={ROBOT}", None),
            ):
                answer = await http.request(method, path, json=content)
                assert (path, answer.status_code) == (path, 400)
        assert link.world.people.get(ROBOT) is None


async def test_whatever_another_table_says_a_robot_is_in_no_project(tmp_path: Path) -> None:
    world = World(tmp_path)
    sly = project("p", members=()).model_copy(update={"members": (ROBOT,)})  # a table that checks nothing
    world.table, world.workshops = Table(sly), Table()
    await world.up()
    assert world.projects.of(ROBOT) == []
    with pytest.raises(ProblemError):
        world.permissions.check(ROBOT)
    await world.down()


async def test_a_link_that_is_started_again_knows_its_robots(rehearsed: Rehearsed) -> None:
    await rehearsed.ask(ROBOT)
    world = rehearsed.world
    await world.down()
    await world.up()
    session = f"{1:032x}"
    job = (await world.session(session)).job
    assert job is not None
    world.scheduler.runs(job)
    await world.scheduler.answer()
    world.door_says(session, phase="waiting")
    await world.comes(lambda: bool(world.doors.sent))
    (sent,) = world.doors.sent
    assert sent[0] == session


# --- accounts and budget


def lent(count: int = 4) -> WorkshopPool:
    return POOL.model_copy(update={"site_accounts": tuple(f"u{number}" for number in range(1, count + 1))})


async def test_each_robot_has_an_account_of_its_own_that_is_emptied_and_free_afterwards(rehearsed: Rehearsed) -> None:
    rehearsed.pool = lent()
    rehearsed.set()
    world, holds = rehearsed.world, rehearsed.world.parts.account_holds
    facts = (await rehearsed.http.get(f"/projects/{W}/rehearsal")).json()["places"][0]
    assert (facts["lends"], facts["wipes"], facts["lendable"]) == (True, True, 4)
    held = (await rehearsed.http.put(f"/projects/{W}/hold", json={"accounts": {"one": 4}})).json()
    assert held["rehearses"]
    assert held["places"][0]["accounts"]["held"] == 3  # never more than robots
    answers = await rehearsed.ask(ROBOT, SECOND, THIRD)
    assert [one["answer"] for one in answers] == ["begun"] * 3
    accounts = {one.record.account for one in world.live_sessions.values()}
    assert len(accounts) == 3
    for number in (1, 2, 3):
        await rehearsed.http.post(f"/projects/{W}/sessions/{number:032x}/stop")
        await world.answered_until(f"{number:032x}", state="ended")
    rehearsed.over()
    assert isinstance(world.home, WipedHome)
    for _ in range(2):
        await holds.look()
        await asyncio.gather(*world.account_leases._wiping.values())
    assert set(world.home.wiped) == accounts
    assert (world.account_leases._leases, world.account_leases.holds) == ({}, {})
    await world.down()
    await world.up()
    assert (world.account_leases._leases, world.account_leases.holds) == ({}, {})  # in the ledger, too


async def test_accounts_that_cannot_be_emptied_are_not_lent_to_robots(rehearsed: Rehearsed) -> None:
    rehearsed.pool = lent()
    rehearsed.set()
    place = rehearsed.world.factories["one"]
    bare = place.access.model_copy(update={"account_wipe": (), "account_wipe_proof": ()})
    rehearsed.world.factories.offered = {"one": dataclasses.replace(place, access=bare)}
    assert await rehearsed.refused() == "robot-no-wipe"
    assert rehearsed.world.account_leases._leases == {}


async def test_where_people_have_accounts_of_their_own_robots_have_none(rehearsed: Rehearsed) -> None:
    facts = (await rehearsed.http.get(f"/projects/{W}/rehearsal")).json()["places"][0]
    assert facts["robots"]  # all share some accounts
    place = rehearsed.world.factories["one"]
    own = place.access.model_copy(update={"account_pool": (), "accounts": {"ada": "u-ada"}})
    rehearsed.world.factories.offered = {"one": dataclasses.replace(place, access=own)}
    facts = (await rehearsed.http.get(f"/projects/{W}/rehearsal")).json()["places"][0]
    assert not facts["robots"]
    assert await rehearsed.refused() == "no-account"


async def test_a_rehearsal_of_people_holds_no_accounts_ahead(rehearsed: Rehearsed) -> None:
    rehearsed.pool = lent()
    rehearsed.set(rehearsal=window(0, people=("ada",)))
    await rehearsed.http.put(f"/projects/{W}/hold", json={"accounts": {"one": 4}})
    assert rehearsed.world.account_leases.holds == {}


async def test_an_account_of_another_class_is_not_lendable(rehearsed: Rehearsed) -> None:
    rehearsed.pool = lent(3)
    rehearsed.set()
    other = project("workshop-other", ProjectAt(site_accounts=SiteAccounts(pool=("u1", "u2", "u3"))))
    mine = rehearsed.world.projects.get(W)
    assert mine is not None
    rehearsed.table.set(mine, other)
    await rehearsed.world.parts.account_holds.hold(other, {"one": 2})
    assert rehearsed.world.parts.account_holds.lendable(mine, "one") == 1


async def test_robots_use_the_budget_of_the_class_and_no_more_than_their_share(rehearsed: Rehearsed) -> None:
    rehearsed.set(gpu_hours=0.4)
    answers = await rehearsed.ask(ROBOT, SECOND)
    assert [one["answer"] for one in answers] == ["begun", "refused"]  # 0.23 GPU-hours each
    assert answers[1]["problem"]["code"] == "budget-over-until"
    balance = await rehearsed.world.charges.balance(W)
    assert 0 < balance.reserved <= 0.25


def test_models_of_views_may_show_a_robot() -> None:
    """Operators and others must see everything that runs, including the sessions of robots."""
    from factorycommon.models import Session, WaitingSession
    from factorycommon.models.history import PastRun

    shown: tuple[tuple[type[BaseModel], str], ...] = ((Session, "user"), (WaitingSession, "user"), (PastRun, "person"))
    for model, field in shown:
        with pytest.raises(ValidationError) as caught:
            model.model_validate({field: ROBOT})
        assert field not in {str(one["loc"][0]) for one in caught.value.errors()}
