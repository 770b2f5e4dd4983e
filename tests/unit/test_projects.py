"""Who may use what: people as the hub knows them, projects, and what they become at a factory."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factorylink import lending, moments
from factorylink.cli import main
from factorylink.config import Access
from factorylink.errors import Refused
from factorylink.ledger import Ledger
from factorylink.models import (
    BatchRequest,
    Choice,
    ClusterRequest,
    EndReason,
    JobOptions,
    PersonBody,
    Project,
    ProjectAt,
    ReservationView,
    Scheduler,
    SessionRequest,
    SessionState,
    SiteAccounts,
)
from factorylink.problems import ProblemError
from factorylink.projects import People, ProjectBook, YamlTable, load, read
from factorylink.yamlfile import CatalogueError
from tests.unit.fake_factory import ID, OTHER, SIZE, World, factory

BIG = SIZE.model_copy(update={"id": "gpu-4", "gpus": 4, "whole_node": True})
HOUR = timedelta(hours=1)


class Table:
    """The projects that a test wants."""

    def __init__(self, *projects: Project) -> None:
        self.projects: dict[str, Project] | None = {}
        self.set(*projects)

    def set(self, *projects: Project) -> None:
        self.projects = {project.id: project for project in projects}

    async def refresh(self) -> bool:
        return False


def project(name: str = "p", at: ProjectAt | None = None, **fields: Any) -> Project:
    fields = {"members": ("ada",), "factories": {"one": at or ProjectAt()}} | fields
    return Project(id=name, **fields)


async def up(tmp_path: Path, *projects: Project, **limits: int) -> tuple[World, Table]:
    world, table = World(tmp_path, **limits), Table(*projects)
    world.table = table
    await world.up()
    place = world.board.places["one"]
    two = replace(place, factory=place.factory.model_copy(update={"sizes": (SIZE, BIG)}))
    world.board.places = {"one": two}
    return world, table


async def refusal(world: World, **asked: Any) -> tuple[str, str | None, str]:
    with pytest.raises(ProblemError) as caught:
        await world.put(**asked)
    problem = caught.value.problem
    return problem.code or problem.kind, problem.field, problem.message


# --- people


async def test_people_outlive_a_link(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    await ledger.open()
    people, changed = People(ledger), []
    people.on_change = lambda: changed.append(1)
    assert people.get("ada") is None
    both = PersonBody(groups=frozenset({"urn:x:group:a#y", "b"}))
    for told in (both, both, PersonBody(groups=frozenset({"b"}), blocked=True)):
        await people.put("ada", told)
    assert len(changed) == 2  # the same again is no change
    await ledger.close()
    await (ledger := Ledger(tmp_path / "ledger.sqlite")).open()
    await (people := People(ledger)).load()
    assert people.get("ada") == PersonBody(groups=frozenset({"b"}), blocked=True)
    await ledger.close()


# --- the file

YAML = """
projects:
  - id: EHPC-AIF-2026PG01-756
    mode: playground
    members: [ada]
    ends: 2026-12-31T23:59:00Z
    gpu_hours: 5000
    factories:
      one: {account: eu-1, sizes: [gpu-1]}
"""


def test_a_mistake_is_named_with_file_key_and_what_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "projects.yaml"

    def check(old: str, new: str) -> str:
        file.write_text(YAML.replace(old, new))
        assert main(["projects", "check", str(file)]) == 1
        return capsys.readouterr().err.replace("EHPC-AIF-2026PG01-756", "ID").replace(str(file), "F")

    assert check("playground", "fun") == (
        "F:4: projects.ID.mode: 'fun': input should be 'playground', 'fast-lane', 'large-scale', 'science' or 'other'\n"
    )
    assert "F:5: projects.ID.member: unknown key; allowed: begins, ends, factories" in check("members", "member")
    assert "F:6: projects.ID.ends: 2026-12-31 needs a time and its zone" in check("T23:59:00Z", "")
    assert check("members: [ada]", 'groups: [g, "antenna:hunaifa"]') == (
        "F:5: projects.ID.groups.1: 'antenna:hunaifa' gives no right: groups antenna:… are what people pick themselves "
        "at login\n"
    )
    assert "F: projects.ID.factories.one: not in the catalogue; allowed: " in check("x", "x")
    file.write_text(YAML.replace("one:", "lumi-aif:"))
    assert main(["projects", "check", str(file)]) == 1
    said = capsys.readouterr().err
    assert "factories.lumi-aif.sizes: no size 'gpu-1'; allowed: gcd-1, " in said


def test_two_people_under_one_account_are_a_mistake(tmp_path: Path) -> None:
    file, ours = tmp_path / "projects.yaml", {"one": factory()}
    accounts = YAML.replace("sizes: [gpu-1]", "site_accounts: {personal: {ada: u1}, pool: [u2]}")
    file.write_text(accounts)
    assert asyncio.run(_read(YamlTable(file, ours))) == ["EHPC-AIF-2026PG01-756"]
    second = accounts.replace("projects:\n", "").replace("PG01-756", "FL01-001")
    file.write_text(accounts + second)  # the same person and pool again is none
    assert asyncio.run(_read(YamlTable(file, ours))) is not None
    for old, new in (("ada: u1", "ben: u1"), ("ada: u1", "ada: u2"), ("pool: [u2]", "pool: [u1]")):
        file.write_text(accounts + second.replace(old, new))
        assert asyncio.run(_read(YamlTable(file, ours))) is None, (old, new)


@pytest.mark.parametrize(
    ("access", "wrong"),
    [
        (Access(accounts={"ben": "u2"}), "site_accounts.pool: u2 is ben's in link.yaml"),
        (Access(accounts={"ben": "u1"}), "site_accounts.personal.ada: u1 is ben's in link.yaml"),
        (Access(account_pool=("u2", "u3")), "site_accounts.pool: u2 is shared by account_pool in link.yaml"),
        (Access(accounts={"ben": "u3", "ada": "u1"}, account_pool=("u1",)), None),
    ],
)
def test_what_is_lent_is_nobody_s_by_the_link_s_own_configuration(
    tmp_path: Path, access: Access, wrong: str | None
) -> None:
    file = tmp_path / "projects.yaml"
    file.write_text(YAML.replace("sizes: [gpu-1]", "site_accounts: {personal: {ada: u1}, pool: [u2]}"))
    if wrong is None:
        assert read(file, {"one": factory()}, {"one": access})
        return
    with pytest.raises(CatalogueError) as caught:
        read(file, {"one": factory()}, {"one": access})
    assert caught.value.problems == (f"{file}: projects.EHPC-AIF-2026PG01-756.factories.one.{wrong}",)


async def _read(table: YamlTable) -> list[str] | None:
    await table.refresh()
    return None if table.projects is None else list(table.projects)


def test_what_is_unusual_for_a_mode_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "projects.yaml"
    file.write_text(
        YAML.replace("one: {account: eu-1, sizes: [gpu-1]}", "lumi-aif: {account: x}")
        .replace("gpu_hours: 5000", "gpu_hours: 6000\n    begins: 2026-01-01T00:00:00Z")
        .replace("PG01", "FL01")
    )
    assert main(["projects", "check", str(file)]) == 0
    said = capsys.readouterr().out
    assert "mode: 'playground', but such an id is one of 'fast-lane'" in said
    assert "gpu_hours: 6000; Playground grants up to 5,000" in said
    assert "ends: 364 days after it begins; Playground lasts 3 months at most" in said
    assert main(["projects", "list", str(file)]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row == ["EHPC-AIF-2026FL01-756", "playground", "2026-01-01", "2026-12-31", "6000", "1", "0", "lumi-aif"]


SHORT = """
projects:
  - {id: a, mode: MODE, begins: 2026-11-30T12:00:00+01:00, members: [ada], factories: {one: {}}}
"""


@pytest.mark.parametrize(
    ("mode", "ends", "hours"),
    [
        ("playground", "2027-02-28T12:00:00+01:00", 5000),
        ("fast-lane", "2027-02-28T12:00:00+01:00", 50000),
        ("large-scale", "2027-11-30T12:00:00+01:00", None),
        ("science", "2027-05-30T12:00:00+01:00", None),
        ("other", None, None),
    ],
)
def test_a_mode_fills_in_what_is_left_out(tmp_path: Path, mode: str, ends: str | None, hours: float | None) -> None:
    file = tmp_path / "projects.yaml"

    def held(text: str) -> tuple[datetime | None, float | None]:
        file.write_text(text.replace("MODE", mode))
        (found,) = load(file, {"one": factory()}).values()
        return found.ends, found.gpu_hours

    end = None if ends is None else datetime.fromisoformat(ends)
    assert held(SHORT) == (end, hours)
    said = "members: [ada], ends: 2026-12-24T00:00:00Z, gpu_hours: 7"
    assert held(SHORT.replace("members: [ada]", said)) == (datetime(2026, 12, 24, tzinfo=UTC), 7)
    assert held(SHORT.replace("members: [ada]", "members: [ada], ends: null, gpu_hours: null")) == (None, None)
    assert held(SHORT.replace("begins: 2026-11-30T12:00:00+01:00,", "")) == (None, None)


def test_what_a_mode_filled_in_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "projects.yaml"
    text = SHORT.replace("MODE", "playground").replace("one:", "lumi-aif:")
    file.write_text(text)
    assert main(["projects", "check", str(file)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [
        "Filled in: projects.a.ends: 2027-02-28 12:00 UTC+01:00, of the mode Playground.",
        "Filled in: projects.a.gpu_hours: 5000, of the mode Playground.",
    ]
    assert main(["projects", "list", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[3:5] == ["2027-02-28", "5000"]
    file.write_text(text.replace("begins: 2026-11-30T12:00:00+01:00,", ""))
    assert main(["projects", "check", str(file)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == (
        "Unusual: projects.a.gpu_hours: is missing, so nothing is counted; Playground grants up to 5,000 (the mode "
        "fills in nothing without 'begins')."
    )
    assert "Filled in" not in "".join(said)


async def test_the_file_is_read_again_and_a_bad_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "projects.yaml"
    table = YamlTable(file, {"one": factory()})
    assert not await table.refresh()
    assert table.projects is None
    file.write_text(YAML)
    assert await table.refresh()
    assert not await table.refresh()
    with caplog.at_level(logging.ERROR):
        file.write_text(YAML.replace("one:", "mars:"))
        assert not await table.refresh()
    assert "the last good one is used" in caplog.text
    assert "factories.mars: not in the catalogue; allowed: one" in caplog.text
    assert list(table.projects or ()) == ["EHPC-AIF-2026PG01-756"]
    file.write_text("projects: []")
    os.utime(file, (1, 1))
    assert await table.refresh()
    assert table.projects == {}


class Portal(Table):
    """One that is asked over a wire: slow, or with a mistake in it."""

    answer: Exception | None = None

    async def refresh(self) -> bool:
        if self.answer is not None:
            raise self.answer
        await asyncio.Event().wait()
        return True


async def test_a_table_that_is_slow_or_fails_holds_up_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factorylink.projects.REFRESH_SECONDS", 0.05)
    table = Portal(project())
    book = ProjectBook(People(Ledger(tmp_path / "ledger.sqlite")), table)
    assert not await book.refresh()
    table.answer = ConnectionResetError("by peer")
    assert not await book.refresh()
    assert caplog.text.count("The projects were not looked at again") == 2
    assert [found.id for found in book.of("ada")] == ["p"]
    table.projects = None  # what it had is too old to count
    assert not book.known
    assert book.until("ada", "p", "one") is None  # what runs goes on


async def test_a_file_that_was_not_read_to_its_end_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "projects.yaml"
    file.write_text(YAML)
    table = YamlTable(file, {"one": factory()})

    async def cut(*_: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "to_thread", cut)
        with pytest.raises(asyncio.CancelledError):
            await table.refresh()
    assert await table.refresh()


# --- who may begin what


async def test_without_projects_nobody_is_asked_for_one(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    assert (await world.put()).choice.project is None
    assert [view.projects for view in world.offers.views("ada")] == [()]
    assert await world.offers.projects("ada") == []
    await world.down()


async def test_a_start_is_for_the_only_project_and_its_account_reaches_the_job(tmp_path: Path) -> None:
    lent = SiteAccounts(pool=("u1",))
    at = ProjectAt(account="eu-25-1", qos="q", partition="gpu", reservation="r", site_accounts=lent)
    world, _ = await up(tmp_path, project("p", at), project("q", members=("ben",)))
    session = await world.put()
    assert (session.choice.project, session.account) == ("p", "u1")
    sent = world.scheduler.submitted[0]
    assert (sent.account, sent.qos, sent.partition, sent.reservation) == ("eu-25-1", "q", "gpu", "r")
    await world.down()


async def test_who_is_in_none_is_told_how_to_apply(tmp_path: Path) -> None:
    world, _ = await up(tmp_path, project())
    world.board.rights._config = world.config.model_copy(update={"apply_url": "https://apply.example/"})
    assert (await refusal(world, user="ben"))[0] == "no-project"
    told = world.offers.ready("ben").nothing
    assert told is not None
    assert told.do.endswith("apply for one: https://apply.example/")
    assert world.offers.views("ben") == []
    assert world.offers.ready("ada").nothing is None
    await world.board.people.put("ada", PersonBody(blocked=True))
    assert (await refusal(world))[0] == "blocked"
    assert world.offers.views("ada") == []
    await world.down()


async def test_of_several_one_is_said_or_was_the_last(tmp_path: Path) -> None:
    small = ProjectAt(sizes=("gpu-1",))
    world, _ = await up(tmp_path, project("p", small), project("q", groups=("g",), members=()))
    assert (await world.put(ID)).choice.project == "p"
    await world.board.people.put("ada", PersonBody(groups=frozenset({"g"})))
    assert (await world.put("1" * 32, server="big", size="gpu-4")).choice.project == "q"  # the only one that has it
    await world.ledger.choose("ada", Choice(project="p"))
    assert (await world.put("2" * 32, server="again", hours=1)).choice.project == "p"
    await world.ledger.choose("ada", Choice(project="gone"))
    code, field, message = await refusal(world, session_id="3" * 32, server="which", hours=1)
    assert (code, field) == ("project-which", "project")
    assert message.endswith("p, q.")
    assert (await world.put("3" * 32, server="which", project="q")).choice.project == "q"
    await world.down()


async def test_each_refusal_says_what_would_do(tmp_path: Path) -> None:
    now = moments.now()
    world, table = await up(
        tmp_path,
        project("p", ProjectAt(sizes=("gpu-1",)), max_hours=2),
        project("old", ends=now - HOUR),
        project("new", begins=now + HOUR),
        project("far", factories={"two": ProjectAt()}),
        project("hers", members=("ben",)),
    )
    assert await refusal(world, project="hers") == (
        "project-not-yours", "project", "You are not in a project hers. Yours are: far, p.")  # fmt: skip
    assert (await refusal(world, project="nowhere"))[0] == "project-not-yours"  # whether there is one, is not told
    assert (await refusal(world, project="old"))[:2] == ("project-over", "project")
    assert (await refusal(world, project="new"))[:2] == ("project-not-begun", "project")
    assert (await refusal(world, project="far"))[2] == "The project far has nothing at m; it has: two."
    assert await refusal(world, project="p", size="gpu-4") == (
        "project-size", "size", "The project p may not use gpu-4 there; it may use: gpu-1.")  # fmt: skip
    assert await refusal(world, hours=3) == (
        "project-hours", "hours", "3 h is more than the project p allows for one job: at most 2 h.")  # fmt: skip
    assert world.scheduler.submitted == []
    table.set(project("p", ends=moments.now() + 0.75 * HOUR))
    code, field, message = await refusal(world, hours=1)
    assert (code, field) == ("project-end-near", "hours")
    assert "of the 1 h, 0.7" in message
    assert 43 <= (await world.put()).choice.hours * 60 <= 45  # where none are said, what is left is taken
    table.projects = None
    assert (await refusal(world, session_id=OTHER, server="x"))[0] == "projects-unknown"
    await world.down()


@pytest.mark.parametrize("minutes", [1.9, 20.05, 89.75, 119.99])
async def test_what_is_said_to_fit_fits(tmp_path: Path, minutes: float) -> None:
    world, _ = await up(tmp_path, project(ends=moments.now() + timedelta(minutes=minutes)))
    found = re.search(r"of the 8 h, (\S+) h fit", (await refusal(world, hours=8))[2])
    assert found
    fits = max(1 / 60, float(found[1]))
    assert minutes - 2 < fits * 60 <= minutes
    assert (await refusal(world, hours=minutes / 60))[0] == "project-end-near"  # the scheduler counts in minutes
    assert (await world.put(hours=fits)).choice.hours == fits
    await world.down()


async def test_views_show_what_may_be_used(tmp_path: Path) -> None:
    world, table = await up(tmp_path, project("p", ProjectAt(sizes=("gpu-1",)), gpu_hours=100.0, managers=("ada",)))
    (view,) = world.offers.views("ada")
    assert view.projects == ("p",)
    assert [(of.size.id, of.projects, of.billed_gpus) for of in view.sizes] == [("gpu-1", ("p",), 1)]
    as_whom = {
        "shared": SiteAccounts(), "own": SiteAccounts(personal={"ada": "u"}), "lent": SiteAccounts(pool=("u",)),
        "missing": SiteAccounts(personal={"ben": "u"}),
    }  # fmt: skip
    for kind, accounts in as_whom.items():
        table.set(project("p", ProjectAt(site_accounts=accounts)))
        (account,) = world.offers.ready("ada").accounts
        assert (account.project, account.factory, account.account) == ("p", "one", kind)
        assert bool(world.offers.views("ada")) == (kind != "missing")
    table.set(project("p", ProjectAt(sizes=("gpu-4",))), project("q", ProjectAt(sizes=("gpu-4",))))
    (view,) = world.offers.views("ada")
    assert [(of.size.id, of.projects, of.billed_gpus) for of in view.sizes] == [("gpu-4", ("p", "q"), 4)]
    assert view.default_size == "gpu-4"
    table.set(project("p", gpu_hours=100.0, managers=("ada",), ends=moments.now() - HOUR))
    assert world.offers.views("ada") == []
    (seen,) = await world.offers.projects("ada")
    assert (seen.role, seen.usable, seen.granted, seen.left, seen.factories) == ("manager", False, 100, 100, ("one",))
    await world.down()


async def test_a_reservation_is_offered_with_the_projects_that_are_in_it_and_to_no_other(tmp_path: Path) -> None:
    world, _ = await up(
        tmp_path, project("p", ProjectAt(account="a-p")), project("q", ProjectAt(account="a-q")), project("r")
    )
    soon = moments.now() + HOUR
    course, all_hands = (ReservationView(id=name, name=name, end=soon) for name in ("course", "all"))
    account = (await world.put(OTHER, project="p")).account
    world.scheduler.reserved = {
        (account, "a-p"): (all_hands,), (account, "a-q"): (course, all_hands), (account, None): (all_hands,)
    }  # fmt: skip
    (view,) = world.offers.views("ada")
    assert {one.id: one.projects for one in view.reservations} == {"course": ("q",), "all": ("p", "q", "r")}
    code, field, message = await refusal(world, session_id=ID, server="x", project="p", reservation="course")
    assert (code, field) == ("invalid", "reservation")
    assert message == "The reservation 'course' is not for the project p, but for: q."
    (*_, message) = await refusal(world, session_id=ID, server="x", project="p", reservation="gone")
    assert message == "The reservation 'gone' is not yours to use, or it is not its time."
    operators = JobOptions(account="elsewhere")  # what the spawner's settings say pays, whatever the project has
    asked = SessionRequest(user="ada", server="x", choice=Choice(project="q", reservation="course"), options=operators)
    with pytest.raises(ProblemError, match="'course' is not yours to use"):
        await world.sessions.put(ID, asked)
    session = await world.put(ID, server="x", project="q", reservation="course")
    assert session.choice.reservation == "course"
    sent = world.scheduler.submitted[-1]
    assert (sent.account, sent.reservation) == ("a-q", "course")
    await world.down()


# --- clusters


def cluster(**fields: Any) -> ClusterRequest:
    scheduler = Scheduler(address="tcp://n7:8786")
    return ClusterRequest(**{"name": "c", "factory": "one", "scheduler": scheduler, **fields})


async def test_a_cluster_is_for_its_session_s_project_and_its_workers_too(tmp_path: Path) -> None:
    lent = SiteAccounts(pool=("u1", "u2"))
    at = ProjectAt(account="pays", reservation="r", site_accounts=lent)
    world, table = await up(tmp_path, project("p", at, max_hours=2), project("q"))
    with pytest.raises(ProblemError, match="several projects"):
        await world.clusters.put(OTHER, "ada", cluster())
    await world.put(ID, project="p")
    made, _ = await world.clusters.put(OTHER, "ada", cluster(session=ID))
    assert (made.choice.project, made.account) == ("p", "u1")
    await world.clusters.grow(OTHER, "ada", "b" * 32, BatchRequest(names=("w",)))
    assert (world.scheduler.submitted[-1].account, world.scheduler.submitted[-1].reservation) == ("pays", "r")
    with pytest.raises(ProblemError, match="at most 2 h"):
        await world.clusters.grow(OTHER, "ada", "c" * 32, BatchRequest(names=("x",), hours=3))
    table.set(project("p", at, members=("ben",)), project("q"))
    with pytest.raises(ProblemError, match="not in a project p"):
        await world.clusters.grow(OTHER, "ada", "d" * 32, BatchRequest(names=("y",)))
    assert len(world.scheduler.submitted) == 2
    await world.down()


# --- lent accounts

POOL = ProjectAt(site_accounts=SiteAccounts(personal={"ada": "u-ada"}, pool=("u1", "u2")))
ALL = ("ada", "ben", "cleo", "dan")


async def over(world: World, session_id: str) -> None:
    await world.sessions.stop(session_id, "person")
    await world.comes(lambda: bool(world.scheduler.cancelled))
    await world.scheduler.answer(2)
    await world.until(session_id, state="ended")
    world.scheduler.cancelled.clear()


async def test_an_account_is_lent_to_one_person_at_a_time(tmp_path: Path) -> None:
    world, _ = await up(tmp_path, project("p", POOL, members=ALL))
    ids = {who: f"{number:032x}" for number, who in enumerate(ALL, start=1)}
    got = await asyncio.gather(*(world.put(ids[who], who) for who in ALL), return_exceptions=True)
    accounts = [one if isinstance(one, BaseException) else one.account for one in got]
    assert accounts[:3] == ["u-ada", "u1", "u2"]
    assert isinstance(got[3], ProblemError)
    assert got[3].problem.code == "pool-empty"
    await over(world, ids["ben"])
    assert (await refusal(world, session_id=ids["dan"], user="dan"))[0] == "pool-empty"  # ben's files lie there
    await world.down()
    await world.up()  # the lease outlives the link
    assert (await world.put("a" * 32, "ben")).account == "u1"
    await world.down()


async def test_who_was_refused_holds_no_account(tmp_path: Path) -> None:
    world, _ = await up(tmp_path, project("p", POOL, members=ALL, gpu_hours=2))
    for who in ("ben", "cleo", "dan"):
        assert (await refusal(world, user=who, hours=3))[0] == "budget-over"
    assert (await world.put("a" * 32, "dan", hours=1)).account in ("u1", "u2")
    assert (await world.put("b" * 32, "cleo", hours=1)).account in ("u1", "u2")
    await over(world, "a" * 32)
    assert (await refusal(world, user="ben", hours=1))[0] == "pool-empty"  # dan's files lie there
    await world.down()


async def test_a_lost_ledger_finds_again_whose_an_account_is(tmp_path: Path) -> None:
    at = ProjectAt(site_accounts=SiteAccounts(pool=("u1",)))
    world, _ = await up(tmp_path, project("p", at, members=ALL))
    await world.put(ID, "ben")
    await world.down()
    for file in tmp_path.glob("ledger.sqlite*"):
        file.unlink()
    await world.up()
    await world.scheduler.answer()
    assert (await world.session()).user == "ben"
    await over(world, ID)
    assert (await refusal(world, session_id=OTHER, user="dan"))[0] == "pool-empty"  # ben's files lie there
    await world.down()


async def test_it_changes_hands_once_it_is_wiped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, _ = await up(tmp_path, project("p", POOL, members=ALL))
    await world.put(ID, "ben")
    await world.put(OTHER, "cleo")
    place = world.board.places["one"]
    access = place.access.model_copy(update={"account_wipe": ("wipe", "all")})
    world.board.places = {"one": replace(place, access=access)}
    assert (await refusal(world, session_id="d" * 32, user="dan"))[0] == "pool-empty"
    assert ("wipe", "all") not in world.home.asked
    await over(world, OTHER)
    world.home.fails = Refused("No space left")
    assert (await refusal(world, session_id="d" * 32, user="dan"))[0] == "pool-wiping"
    world.home.fails = None
    monkeypatch.setattr(lending, "_WAIT_SECONDS", 30)
    assert (await world.put("d" * 32, "dan")).account == "u2"
    assert world.home.asked.count(("wipe", "all")) == 1
    assert (await refusal(world, session_id="e" * 32, user="cleo"))[0] == "pool-empty"
    await world.down()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(ALL[1:]), st.sampled_from(["begin", "begin", "end", "restart"])), max_size=20)
)
async def test_two_people_never_hold_one_account(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]
) -> None:
    limits = {"pending_per_person": 100, "sessions_per_person": 100}
    world, _ = await up(tmp_path_factory.mktemp("lent"), project("p", POOL, members=ALL), **limits)
    place = world.board.places["one"]
    place = replace(place, access=place.access.model_copy(update={"account_wipe": ("wipe",)}))
    world.board.places = {"one": place}
    number = 0
    try:
        for who, act in steps:
            if act == "begin":
                number += 1
                try:
                    await world.put(f"{number:032x}", who, server=str(number), hours=1)
                except ProblemError as error:
                    if error.problem.code != "pool-empty":
                        raise
            elif act == "restart":
                world.board.lender._leases.clear()
                await world.board.lender.load()
            elif mine := [live for live in world.board.live.values() if live.row.user == who]:
                await world.board.end(mine[0], end_reason=EndReason.STOPPED, end=lending.explain.own("gone"))
            held: dict[str, set[str]] = {}
            for live in world.board.live.values():
                held.setdefault(live.row.account, set()).add(live.row.user)
            assert all(len(people) == 1 for people in held.values()), held
    finally:
        await world.down()


# --- losing access


async def test_access_that_is_lost_ends_after_a_grace_also_after_a_restart(tmp_path: Path) -> None:
    world, _ = await up(tmp_path, project("p", groups=("g",), members=()), access_grace_seconds=3600)
    await world.board.people.put("ada", PersonBody(groups=frozenset({"g"})))
    await world.put(ID)
    await world.scheduler.answer()
    world.scheduler.runs("1")
    await world.scheduler.answer()
    world.doors.opened.add(ID)
    await world.clusters.put(OTHER, "ada", cluster())
    await world.leaving.look()
    assert (await world.session()).notice is None
    await world.board.people.put("ada", PersonBody())
    assert (await refusal(world, session_id="a" * 32, server="x"))[0] == "no-project"
    await world.leaving.look()
    await world.leaving.look()
    session = await world.session()
    assert session.notice is not None
    assert (session.notice.kind, session.notice.minutes, session.wish) == ("access", 60, "run")
    ends = session.notice.at
    assert [line.text for line in session.log if "access" in line.text] == [
        f"Your access to the project here ends at {ends:%Y-%m-%d %H:%M} (UTC), and it ends then."
    ]
    assert [told for told, _ in world.doors.messages] == [ID]  # once
    wrong = world.clusters.look(OTHER, "ada").wrong
    assert wrong is not None
    assert wrong.code == "access-ends"
    doors = world.doors
    await world.down()
    await world.up(doors)
    await world.leaving.look()
    again = (await world.session()).notice
    assert again is not None
    assert again.at == ends  # the grace does not begin anew
    world.leaving._ends = dict.fromkeys(world.leaving._ends, moments.now() - HOUR)
    await world.leaving.look()
    await world.comes(lambda: "1" in world.scheduler.cancelled)
    await world.scheduler.answer(2)
    ended = await world.until(state="ended")
    assert ended.end is not None
    assert (ended.end_reason, ended.end.code) == ("access-lost", "access-lost")
    gone = next(flock for flock in world.clusters.of("ada", False) if flock.id == OTHER)
    assert gone.end is not None
    assert (gone.state, gone.end.code) == ("ended", "access-lost")
    await world.leaving.look()
    assert world.leaving._ends == {}
    await world.down()


async def test_access_that_comes_back_ends_nothing(tmp_path: Path) -> None:
    world, table = await up(tmp_path, project(), access_grace_seconds=60)
    await world.put(ID)
    table.set(project(factories={"two": ProjectAt()}))
    await world.leaving.look()
    assert (await world.session()).notice is not None
    table.set(project())
    await world.leaving.look()
    session = await world.session()
    assert session.notice is None
    assert session.log[-1].text == "You may use the project again; it goes on."
    assert world.leaving._ends == {}
    await world.down()


async def test_while_projects_are_not_known_nothing_is_lost_and_nothing_comes_back(tmp_path: Path) -> None:
    world, table = await up(tmp_path, project(), access_grace_seconds=3600)
    await world.put(ID)
    table.set()
    await world.leaving.look()
    lost = (await world.session()).notice
    assert lost is not None
    table.projects = None  # as after a start with a file that cannot be used
    await world.leaving.look()
    table.set()
    await world.leaving.look()
    session = await world.session()
    assert session.notice is not None
    assert session.notice.at == lost.at  # the grace did not begin anew
    assert "You may use the project again; it goes on." not in [line.text for line in session.log]
    await world.down()


async def test_a_project_s_end_is_told_before_it_and_is_kept(tmp_path: Path) -> None:
    world, table = await up(tmp_path, project(), access_grace_seconds=3600)
    await world.put(ID)
    soon: datetime = moments.now() + HOUR / 2
    table.set(project(ends=soon))
    await world.leaving.look()
    notice = (await world.session()).notice
    assert notice is not None
    assert notice.at == soon
    assert (await world.session()).wish == "run"
    table.set(project(ends=moments.now() + 48 * HOUR))  # it was extended
    await world.leaving.look()
    assert (await world.session()).notice is None
    world.leaving._ends[ID] = moments.now() - HOUR  # as noted before it
    table.set(project(ends=moments.now() - HOUR))
    await world.leaving.look()
    assert (await world.session()).wish == "stop"
    await world.down()


PEOPLE = ("ada", "ben")
GROUPS = ("g", "h")
people = st.fixed_dictionaries({who: st.frozensets(st.sampled_from(GROUPS)) for who in PEOPLE})
tables = st.builds(
    project,
    members=st.sets(st.sampled_from(PEOPLE)).map(tuple),
    groups=st.sets(st.sampled_from(GROUPS)).map(tuple),
    managers=st.sets(st.sampled_from(PEOPLE)).map(tuple),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(people, tables), min_size=1, max_size=6))
async def test_nothing_ends_of_who_still_has_access_by_another_way(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[dict[str, frozenset[str]], Project]]
) -> None:
    world, table = await up(tmp_path_factory.mktemp("left"), project(members=PEOPLE), access_grace_seconds=0)
    for who, session_id in zip(PEOPLE, (ID, OTHER), strict=True):
        await world.put(session_id, who)
    lost: set[str] = set()
    for groups, told in changes:
        for who, theirs in groups.items():
            await world.board.people.put(who, PersonBody(groups=theirs))
        table.set(told)
        lost |= {who for who in PEOPLE if not told.has(who, groups[who])}
        await world.leaving.look()
        for who, session_id in zip(PEOPLE, (ID, OTHER), strict=True):
            assert ((await world.session(session_id)).wish == "stop") == (who in lost)
    await world.down()


async def test_a_session_is_not_made_longer_than_its_project(tmp_path: Path) -> None:
    world = World(tmp_path, extend="account")
    table = world.table = Table(project())
    await world.up()
    await world.put(ID, hours=1)
    await world.scheduler.answer()
    world.scheduler.runs("1")
    begun = world.scheduler.jobs_there["1"].started or moments.now()
    world.scheduler.set("1", ends=begun + HOUR)
    await world.scheduler.answer()
    world.doors.opened.add(ID)
    live = world.board.live[ID]
    live.row.state = SessionState.RUNNING
    place = world.board.places["one"]
    assert world.board.room(live, place) == 7.0
    table.set(project(ends=begun + 3.55 * HOUR))
    assert world.board.room(live, place) == 2.5
    table.set()
    assert world.board.room(live, place) == 0.0
    await world.down()


async def test_of_whom_the_hub_never_told_nothing_is_lost_by_groups(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    book = ProjectBook(People(ledger), Table(project("g", groups=("g",), members=()), project("m", members=("ben",))))
    assert book.until("ada", "g", "one") is None
    assert (book.until("ada", "m", "one") or moments.now()) < moments.now()
    assert book.until("ben", "m", "one") is None
    assert book.until("ada", None, "one") is None  # begun before there were projects
