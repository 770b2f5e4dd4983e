"""The link's second project table: what the people of workshops may run, and what a dead or hostile service does."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from hypothesis import given
from hypothesis import strategies as st

from factorycommon.models import GUEST, BatchRequest, Project, ProjectAt, is_robot
from factorycommon.models.workshops import ClassProject, shares
from factorycommon.service.yaml_file import CatalogueError
from factorylink.config import Access, WorkshopFiles
from factorylink.ledger.ledger import Ledger
from factorylink.problems import ProblemError
from factorylink.projects.book import ProjectBook, YamlTable
from factorylink.projects.people import KnownPeople
from factorylink.projects.workshop_table import WorkshopTable, read_pools, reserved
from factorylink.util import clock
from tests.unit.fake_factory import OTHER, World, factory
from tests.unit.fake_projects import Table, cluster, project, refusal

NAME = f"{GUEST}1"


class Files:
    """The two files of workshops, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.files = WorkshopFiles(table=folder / "table.json", pools=folder / "pools.yaml")
        self.pools({"id": "class", "factory": "one", "sizes": ["gpu-1"], "seats": 20, "account": "teach"})
        self.table = WorkshopTable(self.files, {"one": factory()}, {"one": Access(accounts={"ben": "u-ben"})})

    def pools(self, *pools: dict[str, Any]) -> None:
        self.files.pools.write_text(yaml.safe_dump({"pools": list(pools)}))

    def write(self, *projects: dict[str, Any]) -> None:
        self.files.table.write_text(json.dumps({"projects": projects}))

    async def read(self) -> dict[str, Project] | None:
        await self.table.refresh()
        return None if self.table.projects is None else dict(self.table.projects)


def workshop(slug: str = "w-1", **fields: Any) -> dict[str, Any]:
    """Return a workshop's project, as the service writes it. ``fields``: replace its fields."""
    now = clock.now()
    return {
        "id": f"workshop-{slug}",
        "members": [NAME, "ada"],
        "begins": (now - timedelta(hours=1)).isoformat(),
        "ends": (now + timedelta(hours=10)).isoformat(),
        "seats": 5,
        "factories": {"one": {"pool": "class", "sizes": ["gpu-1"]}},
        **fields,
    }


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


# --- the files


async def test_a_workshop_gets_what_its_pool_says(files: Files) -> None:
    assert await files.read() == {}  # before the service has written anything
    files.pools(
        {
            "id": "class", "factory": "one", "sizes": ["gpu-1"], "seats": 20, "account": "teach", "qos": "high",
            "reservations": ["r1"], "site_accounts": ["t1", "t2"], "gpu_hours": 50, "max_hours": 6,
        }
    )  # fmt: skip
    place = {"pool": "class", "sizes": ["gpu-1"], "reservation": "r1"}
    files.write(workshop(factories={"one": place}, gpu_hours=80, person_gpu_hours=8))
    found = await files.read()
    assert found is not None
    made = found["workshop-w-1"]
    at = made.factories["one"]
    assert (at.account, at.qos, at.reservation, at.sizes) == ("teach", "high", "r1", ("gpu-1",))
    assert at.site_accounts.pool == ("t1", "t2")
    assert (made.gpu_hours, made.person_gpu_hours, made.max_hours) == (50, 8, 6)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({"pool": "mine", "sizes": ["gpu-1"]}, "there is no pool mine for workshops at one"),
        ({"pool": "class", "sizes": ["gpu-4"]}, "the pool class does not allow the size gpu-4"),
        ({"pool": "class", "sizes": ["gpu-1"], "reservation": "r"}, "the pool class does not allow the reservation r"),
    ],
)
async def test_what_no_pool_allows_is_left_out(
    files: Files, place: dict[str, Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    files.write(workshop("w-1", factories={"one": place}), workshop("w-2"))
    found = await files.read()
    assert list(found or ()) == ["workshop-w-2"]  # one bad workshop does not hinder the others
    assert says in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "EHPC-1"},  # an id of the other table
        {"id": "workshop-"},
        {"factories": {"one": {"pool": "class", "sizes": ["gpu-1"], "account": "other"}}},
        {"factories": {"one": {"account": "other", "site_accounts": {"personal": {"guest-1": "root"}}}}},
        {"groups": ["everybody"]},
        {"gpu_hours": -1},
        {"ends": "2026-12-31T12:00:00"},
    ],
)
async def test_a_table_that_asks_for_more_is_refused_whole(
    files: Files, wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    files.write(workshop("w-1"))
    assert list(await files.read() or ()) == ["workshop-w-1"]
    files.write(workshop("w-2", **wrong))
    assert list(await files.read() or ()) == ["workshop-w-1"]  # the last good one
    assert "the last good ones are used" in caplog.text
    files.files.table.write_text("{")
    assert list(await files.read() or ()) == ["workshop-w-1"]


async def test_a_table_of_the_release_before_is_read(files: Files) -> None:
    def before(slug: str, **fields: Any) -> dict[str, Any]:
        return {key: value for key, value in workshop(slug, gpu_hours=30, **fields).items() if key != "seats"}

    people = [NAME, "ada", "ben", "tina"]
    files.write(
        before("led", members=people, managers=["tina"]),
        before("run", members=people, managers=["tina"], staff=["tina", "ben"]),
        before("empty", members=["tina"], managers=["tina"]),
    )
    found = await files.read()
    assert found is not None
    assert {name: one.seats for name, one in found.items() if isinstance(one, ClassProject)} == {
        "workshop-led": 3, "workshop-run": 2, "workshop-empty": 1,
    }  # fmt: skip
    assert found["workshop-led"].share("ada") == 10


@pytest.mark.parametrize(
    "newer",
    [
        lambda text: text.replace('"seats"', '"colour": "red", "seats"'),  # of a newer service
        lambda text: text[:40],  # of one that died while it wrote, if it wrote in place
        lambda text: text.replace('"seats": 5', '"seats": "many"'),
    ],
)
async def test_a_table_that_the_link_cannot_read_ends_no_class_also_after_a_restart(
    tmp_path: Path, newer: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    made, files = World(tmp_path), Files(tmp_path)
    files.write(workshop())
    kept = tmp_path / "kept.json"

    def read_anew() -> WorkshopTable:
        return WorkshopTable(files.files, {"one": factory()}, {"one": Access()}, kept)

    made.workshops = read_anew()
    await made.up()
    try:
        await made.put(user=NAME, hours=1)
        files.files.table.write_text(newer(files.files.table.read_text()))
        await made.projects.refresh()
        assert f"{files.files.table}: " in caplog.text
        assert "the last good ones are used" in caplog.text
        await made.down()
        made.workshops = read_anew()  # a new process
        await made.up()
        await made.projects.refresh()
        until = made.projects.until(NAME, "workshop-w-1", "one")
        assert until is not None and until > clock.now() + timedelta(hours=9)  # the session goes on
        assert (await made.put(OTHER, "ada", hours=1, project="workshop-w-1")).state == "pending"
        files.write(workshop(members=[NAME]))  # by a service of this release
        await made.projects.refresh()
        assert (await refusal(made, session_id="e" * 32, user="ada", project="workshop-w-1"))[0] == "project-not-yours"
    finally:
        await made.down()


async def test_a_rehearsal_is_its_people_s_for_its_minutes_only(
    files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now, minute = clock.now(), timedelta(minutes=1)
    window = {
        "people": ["ada", "stranger"], "factory": "one", "begins": (now - minute).isoformat(),
        "ends": (now + 9 * minute).isoformat(),
    }  # fmt: skip
    pool = {"id": "class", "factory": "one", "sizes": ["gpu-1"], "seats": 20, "reservations": ["r1"]}
    files.pools(pool | {"gpu_hours": 50})
    place = {"pool": "class", "sizes": ["gpu-1"], "reservation": "r1"}
    coming = {"begins": (now + 60 * minute).isoformat(), "managers": [NAME], "factories": {"one": place}}
    coming["ends"] = (now + 600 * minute).isoformat()
    files.write(workshop(**coming, gpu_hours=30, person_gpu_hours=1))
    before = await files.read()
    files.write(workshop(**coming, gpu_hours=30, person_gpu_hours=1, rehearsal=window))
    during = (await files.read() or {})["workshop-w-1"]
    assert (during.members, during.managers) == (("ada",), ())  # nobody who is not in the workshop
    assert (during.begins, during.ends) == (now - minute, now + 9 * minute)
    assert (during.gpu_hours, during.person_gpu_hours, during.factories["one"].reservation) == (30, None, None)
    files.files.table.write_text("{")  # by a service that is broken: the class must not stay shut out
    assert (await files.read() or {})["workshop-w-1"] == during
    assert "the last good ones are used" in caplog.text
    monkeypatch.setattr(clock, "now", lambda: now + 9 * minute)
    assert await files.read() == before
    late = window | {"ends": (now + 99 * minute).isoformat()}
    files.write(workshop(**coming, rehearsal=late))
    assert (await files.read() or {})["workshop-w-1"].members == ("ada",)
    monkeypatch.setattr(clock, "now", lambda: now + 60 * minute)  # when the class opens, it is the class's
    assert (await files.read() or {})["workshop-w-1"].members == (NAME, "ada")


async def test_a_workshop_that_is_open_cannot_be_taken_by_a_rehearsal(files: Files) -> None:
    now = clock.now()
    window = {"people": ["ada"], "factory": "one", "begins": now.isoformat(),
              "ends": (now + timedelta(hours=1)).isoformat()}  # fmt: skip
    files.write(workshop(rehearsal=window))
    assert (await files.read() or {})["workshop-w-1"].members == (NAME, "ada")


async def test_a_class_that_begins_takes_the_seats_of_robots_for_its_time(
    files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now, minute = clock.now(), timedelta(minutes=1)
    window = {"robots": 10, "factory": "one", "begins": now.isoformat(), "ends": (now + 40 * minute).isoformat()}
    rehearses = workshop("a", seats=10, begins=(now + 60 * minute).isoformat(), rehearsal=window)
    times = {"begins": (now + 10 * minute).isoformat(), "ends": (now + 30 * minute).isoformat()}
    files.write(rehearses, workshop("b", seats=15, **times))  # of the 20 seats of their pool
    found = []
    for minutes in (0, 9, 10, 29, 30, 39, 40):
        monkeypatch.setattr(clock, "now", lambda at=now + minutes * minute: at)
        changed = await files.table.refresh()
        assert files.table.projects is not None
        found.append((minutes, changed, is_robot(files.table.projects["workshop-a"].members[0])))
    assert found == [
        (0, True, True), (9, False, True), (10, True, False), (29, False, False),
        (30, True, True), (39, False, True), (40, True, False),
    ]  # fmt: skip
    assert caplog.text.count("not enough seats for the robots of a rehearsal") == 1


async def test_before_anything_could_be_read_nothing_is_known(files: Files) -> None:
    files.files.table.write_text("{")
    assert await files.read() is None
    book = ProjectBook(KnownPeople(Ledger(files.files.pools.parent / "l.sqlite")), None, files.table)
    assert book.until(NAME, "workshop-w-1", "one") is None  # running sessions go on
    assert not book.knows(NAME)
    assert book.knows("ada")


async def test_no_id_is_in_both_tables(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "projects.yaml"
    good = {"id": "p", "members": ["ada"], "factories": {"one": {}}}
    file.write_text(yaml.safe_dump({"projects": [good]}))
    table = YamlTable(file, {"one": factory()}, refuse=reserved)
    await table.refresh()
    file.write_text(yaml.safe_dump({"projects": [good, good | {"id": "workshop-w-1"}]}))
    await table.refresh()
    assert list(table.projects or ()) == ["p"]
    assert "projects.workshop-w-1: the ids that begin with 'workshop-' are those of workshops" in caplog.text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"factory": "two"}, "pools.x.factory: 'two' is not in the catalogue; allowed: one"),
        ({"sizes": ["gpu-9"]}, "pools.x.sizes: no size 'gpu-9'; allowed: gpu-1"),
        ({"environments": ["conda"]}, "pools.x.environments: no environment 'conda'; allowed: plain"),
        ({"partition": "none"}, "pools.x.partition: no partition 'none'; allowed: "),
        ({"site_accounts": ["u-ben"]}, "pools.x.site_accounts: u-ben is ben's in link.yaml"),
        ({"site_accounts": ["shared"]}, "pools.x.site_accounts: shared is shared by account_pool in link.yaml"),
        ({"seat": 3}, "pools.x.seat: unknown key; allowed: "),
    ],
)
def test_a_mistake_in_the_pools_is_named(files: Files, fields: dict[str, Any], says: str) -> None:
    files.pools({"id": "x", "factory": "one", "sizes": ["gpu-1"], "seats": 2, **fields})
    access = Access(accounts={"ben": "u-ben"}, account_pool=("shared",))
    with pytest.raises(CatalogueError) as wrong:
        read_pools(files.files.pools, {"one": factory()}, {"one": access})
    assert says in wrong.value.problems[0]


# --- what people may run


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A link without projects of its own, on which everybody may start sessions, and with one workshop."""
    made = World(tmp_path)
    files = Files(tmp_path)
    files.write(workshop(gpu_hours=20, person_gpu_hours=4))
    made.workshops = files.table
    await made.up()
    yield made
    await made.down()


async def test_beside_workshops_people_need_no_project_and_guests_do(world: World) -> None:
    assert (await world.put(user="ben")).choice.project is None
    of_guest = await world.put(OTHER, NAME, hours=2)
    assert of_guest.choice.project == "workshop-w-1"  # the only one that the guest may use
    assert (await refusal(world, session_id="e" * 32, user=f"{GUEST}2"))[0] == "no-project"


async def test_a_person_names_the_workshop_whose_seat_they_use(world: World) -> None:
    session = await world.put(hours=2, project="workshop-w-1")
    assert session.choice.project == "workshop-w-1"
    assert (await world.charges.balance("workshop-w-1")).reserved == 2
    assert (await refusal(world, session_id=OTHER, user="ben", project="workshop-w-1"))[0] == "project-not-yours"
    assert (await refusal(world, session_id=OTHER, user="ben", project="workshop-w-9"))[0] == "project-not-yours"


async def test_the_start_page_offers_workshops_beside_sessions_without_a_project(world: World) -> None:
    (of_guest,) = world.offers.views(NAME)
    assert (of_guest.projects, of_guest.project_needed) == (("workshop-w-1",), True)
    assert of_guest.sizes[0].offer.project == "workshop-w-1"
    (of_ada,) = world.offers.views("ada")
    assert (of_ada.projects, of_ada.project_needed) == (("workshop-w-1",), False)
    assert of_ada.sizes[0].offer.project is None
    (of_ben,) = world.offers.views("ben")
    assert of_ben.projects == ()


@given(
    hours=st.floats(0, 1e6), seats=st.integers(1, 1000), staff=st.integers(0, 50),
    wanted=st.none() | st.floats(0, 1e4), least=st.floats(0, 100),
)  # fmt: skip
def test_all_shares_together_are_no_more_than_the_class_has(
    hours: float, seats: int, staff: int, wanted: float | None, least: float
) -> None:
    each, of_staff = shares(hours, seats, staff, wanted, least)
    assert each is not None and of_staff is not None
    assert 0 <= of_staff <= each
    assert seats * each + staff * of_staff <= hours * (1 + 1e-9)
    if wanted is None:
        assert each >= min(least, hours / seats)  # nobody who runs the class takes the hours of a seat
    else:
        assert each == min(wanted, hours / seats)
    assert shares(None, seats, staff, wanted, least) == (wanted, wanted)


@pytest.mark.parametrize(
    ("fields", "each", "of_staff"),
    [
        ({"gpu_hours": 70}, 10, 10),  # enough for everybody: the same for all
        ({"gpu_hours": 22}, 4, 1),  # a seat of one GPU for four hours comes first
        ({"gpu_hours": 20}, 4, 0),
        ({"gpu_hours": 10}, 2, 0),
        ({"gpu_hours": 22, "person_gpu_hours": 3}, 3, 3),  # its trainer keeps something
        ({"gpu_hours": 22, "person_gpu_hours": 4}, 4, 1),
        ({"gpu_hours": 22, "person_gpu_hours": 9}, 4.4, 0),
        ({"person_gpu_hours": 9}, 9, 9),  # nothing limits the class
        ({}, None, None),
    ],
)
async def test_seats_come_first_and_who_runs_the_class_gets_what_they_leave(
    files: Files, fields: dict[str, Any], each: float | None, of_staff: float | None
) -> None:
    files.write(workshop(managers=["tina"], staff=["tina", "hugo"], max_hours=4, **fields))
    made = (await files.read() or {})["workshop-w-1"]
    for person, share in ((NAME, each), ("ada", each), ("tina", of_staff), ("hugo", of_staff)):
        assert made.share(person) == (None if share is None else pytest.approx(share))


async def test_who_runs_a_class_cannot_use_the_hours_of_its_seats(tmp_path: Path) -> None:
    made, files = World(tmp_path), Files(tmp_path)
    files.write(workshop(members=[NAME, "ada", "ben"], staff=["ada", "ben"], gpu_hours=22, max_hours=4))
    made.workshops = files.table
    await made.up()
    try:
        await made.put(user="ada", hours=1, project="workshop-w-1")
        found = await refusal(made, session_id=OTHER, user="ben", hours=1.5, project="workshop-w-1")
        assert found[0] == "budget-share"
        views = {person: (await made.projects.views(person, made.charges))[0].left for person in (NAME, "ada", "ben")}
        assert views == {NAME: 4, "ada": 0, "ben": 1}
        assert (await made.put(OTHER, NAME, hours=4)).choice.project == "workshop-w-1"
    finally:
        await made.down()


async def test_one_person_cannot_use_up_the_class_s_hours(world: World) -> None:
    await world.put(user=NAME, hours=3)
    await world.clusters.put("c" * 32, NAME, cluster(project="workshop-w-1", hours=1))
    with pytest.raises(ProblemError) as refused:
        await grow(world, NAME, 2)
    assert (refused.value.status, refused.value.problem.code, refused.value.problem.fits) == (403, "budget-share", 1)
    assert "You have 1.00 GPU-hours left of your share" in refused.value.problem.message
    await grow(world, NAME, 1)
    assert (await refusal(world, session_id=OTHER, user=NAME, server="b", hours=1))[0] == "budget-share"
    await world.put(OTHER, "ada", hours=4, project="workshop-w-1")  # the others have theirs
    (mine,) = await world.projects.views(NAME, world.charges)
    assert (mine.granted, mine.left) == (20, 0)


async def grow(world: World, user: str, jobs: int) -> None:
    names = tuple(f"w-{number}" for number in range(jobs))
    await world.clusters.grow("c" * 32, user, f"{jobs:032x}", BatchRequest(names=names, hours=1))


async def test_projects_and_workshops_stand_side_by_side(tmp_path: Path) -> None:
    world, files = World(tmp_path), Files(tmp_path)
    files.write(workshop())
    world.table, world.workshops = Table(project("p", ProjectAt(), members=("ada", "ben"))), files.table
    await world.up()
    assert [one.id for one in world.projects.of("ada")] == ["p", "workshop-w-1"]
    assert [one.id for one in world.projects.of("ben")] == ["p"]
    assert (await refusal(world))[0] == "project-which"
    assert (await world.put(project="workshop-w-1", hours=1)).choice.project == "workshop-w-1"
    views = await world.projects.views("ada", world.charges)
    assert [(view.id, view.usable) for view in views] == [("p", True), ("workshop-w-1", True)]
    await world.down()


async def test_a_dead_service_changes_nothing_and_the_end_comes_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world, files = World(tmp_path), Files(tmp_path)
    files.write(workshop())
    world.workshops = files.table
    await world.up()
    await world.put(user=NAME, hours=1)
    ends = world.projects.until(NAME, "workshop-w-1", "one")
    files.files.table.unlink()  # whatever happened to it
    files.write(workshop())
    await world.projects.refresh()
    assert ends is not None
    assert world.projects.until(NAME, "workshop-w-1", "one") is not None
    files.write()  # the workshop was cancelled
    await world.projects.refresh()
    gone = world.projects.until(NAME, "workshop-w-1", "one")
    assert gone is not None
    assert gone < clock.now()
    await world.down()


def test_a_live_site_must_agree_to_accounts_that_are_lent(files: Files) -> None:
    files.pools({"id": "x", "factory": "one", "sizes": ["gpu-1"], "seats": 2, "site_accounts": ["t1"]})
    live = factory()
    assert live.agreement is not None
    silent = live.model_copy(update={"agreement": live.agreement.model_copy(update={"teaching": ()})})
    with pytest.raises(CatalogueError) as wrong:
        read_pools(files.files.pools, {"one": silent}, {"one": Access()})
    assert "'agreement.teaching' of one does not name 'pool_accounts'" in wrong.value.problems[0]
    for there, access in ((live, Access()), (silent, Access(testbed=True))):
        assert read_pools(files.files.pools, {"one": there}, {"one": access}).pools
