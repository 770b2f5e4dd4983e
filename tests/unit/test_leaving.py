"""Loss of access by groups or by a project's end: sessions end after a grace time, and people who regain access lose
nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factorycommon.models import PersonBody, Project, ProjectAt, SessionState
from factorylink.ledger.ledger import Ledger
from factorylink.projects.book import ProjectBook
from factorylink.projects.people import KnownPeople
from factorylink.util import clock
from tests.unit.fake_factory import ID, OTHER, World
from tests.unit.fake_projects import Table, cluster, project, refusal, up

HOUR = timedelta(hours=1)


async def test_what_the_link_knows_of_people_survives_a_restart(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    await ledger.open()
    people, changed = KnownPeople(ledger), []
    people.on_change = lambda: changed.append(1)
    assert people.get("ada") is None
    both = PersonBody(groups=frozenset({"urn:x:group:a#y", "b"}))
    for told in (both, both, PersonBody(groups=frozenset({"b"}), blocked=True)):
        await people.put("ada", told)
    assert len(changed) == 2  # sending the same data again is no change
    await ledger.close()
    await (ledger := Ledger(tmp_path / "ledger.sqlite")).open()
    await (people := KnownPeople(ledger)).load()
    assert people.get("ada") == PersonBody(groups=frozenset({"b"}), blocked=True)
    await ledger.close()


async def test_access_that_is_lost_ends_after_a_grace_also_after_a_restart(tmp_path: Path) -> None:
    world, _ = await up(tmp_path, project("p", groups=("g",), members=()), access_grace_seconds=3600)
    await world.people.put("ada", PersonBody(groups=frozenset({"g"})))
    await world.put(ID)
    await world.scheduler.answer()
    world.scheduler.runs("1")
    await world.scheduler.answer()
    world.doors.opened.add(ID)
    await world.clusters.put(OTHER, "ada", cluster())
    await world.leaving.look()
    assert (await world.session()).notice is None
    await world.people.put("ada", PersonBody())
    assert (await refusal(world, session_id="a" * 32, server="x"))[0] == "no-project"
    await world.leaving.look()
    await world.leaving.look()
    session = await world.session()
    assert session.notice is not None
    assert (session.notice.kind, session.notice.minutes, session.wish) == ("access", 60, "run")
    ends = session.notice.at
    assert [line.text for line in session.log if "access" in line.text] == [
        f"Your access to this project ends at {ends:%Y-%m-%d %H:%M} (UTC), and the session stops then."
    ]
    assert [told for told, _ in world.doors.messages] == [ID]  # only once
    wrong = world.clusters.look(OTHER, "ada").wrong
    assert wrong is not None
    assert wrong.code == "access-ends"
    doors = world.doors
    await world.down()
    await world.up(doors)
    await world.leaving.look()
    again = (await world.session()).notice
    assert again is not None
    assert again.at == ends  # the grace time does not start again
    world.leaving._ends = dict.fromkeys(world.leaving._ends, clock.now() - HOUR)
    await world.leaving.look()
    await world.comes(lambda: "1" in world.scheduler.cancelled)
    await world.scheduler.answer(2)
    ended = await world.until(state="ended")
    assert ended.end is not None
    assert (ended.end_reason, ended.end.code) == ("access-lost", "access-lost")
    gone = next(live_cluster for live_cluster in world.clusters.of("ada", False) if live_cluster.id == OTHER)
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
    assert session.log[-1].text == "You may use the project again; the session continues."
    assert world.leaving._ends == {}
    await world.down()


async def test_a_project_s_end_is_told_before_it_and_is_kept(tmp_path: Path) -> None:
    world, table = await up(tmp_path, project(), access_grace_seconds=3600)
    await world.put(ID)
    soon: datetime = clock.now() + HOUR / 2
    table.set(project(ends=soon))
    await world.leaving.look()
    notice = (await world.session()).notice
    assert notice is not None
    assert notice.at == soon
    assert (await world.session()).wish == "run"
    table.set(project(ends=clock.now() + 48 * HOUR))  # the project was extended
    await world.leaving.look()
    assert (await world.session()).notice is None
    world.leaving._ends[ID] = clock.now() - HOUR  # as recorded before the extension
    table.set(project(ends=clock.now() - HOUR))
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
async def test_a_person_with_access_by_another_group_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[dict[str, frozenset[str]], Project]]
) -> None:
    world, table = await up(tmp_path_factory.mktemp("left"), project(members=PEOPLE), access_grace_seconds=0)
    for who, session_id in zip(PEOPLE, (ID, OTHER), strict=True):
        await world.put(session_id, who)
    lost: set[str] = set()
    for groups, told in changes:
        for who, theirs in groups.items():
            await world.people.put(who, PersonBody(groups=theirs))
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
    begun = world.scheduler.jobs_there["1"].started or clock.now()
    world.scheduler.set("1", ends=begun + HOUR)
    await world.scheduler.answer()
    world.doors.opened.add(ID)
    live = world.live_sessions[ID]
    live.record.state = SessionState.RUNNING
    place = world.factories["one"]
    assert world.views.room(live, place) == 7.0
    table.set(project(ends=begun + 3.55 * HOUR))
    assert world.views.room(live, place) == 2.5
    table.set()
    assert world.views.room(live, place) == 0.0
    await world.down()


async def test_people_unknown_to_the_link_lose_nothing_by_groups(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    book = ProjectBook(
        KnownPeople(ledger), Table(project("g", groups=("g",), members=()), project("m", members=("ben",)))
    )
    assert book.until("ada", "g", "one") is None
    assert (book.until("ada", "m", "one") or clock.now()) < clock.now()
    assert book.until("ben", "m", "one") is None
    assert book.until("ada", None, "one") is None  # started before there were projects


async def test_while_projects_are_unknown_no_access_is_lost_or_restored(tmp_path: Path) -> None:
    world, table = await up(tmp_path, project(), access_grace_seconds=3600)
    await world.put(ID)
    table.set()
    await world.leaving.look()
    lost = (await world.session()).notice
    assert lost is not None
    table.projects = None  # as after a start with an invalid file
    await world.leaving.look()
    table.set()
    await world.leaving.look()
    session = await world.session()
    assert session.notice is not None
    assert session.notice.at == lost.at  # the grace time did not start again
    assert "You may use the project again; the session continues." not in [line.text for line in session.log]
    await world.down()
