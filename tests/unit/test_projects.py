"""Permissions: projects, and their effect at a factory."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from factorycommon.models import (
    BatchRequest,
    Choice,
    JobOptions,
    PersonBody,
    ProjectAt,
    ReservationView,
    SessionRequest,
    SiteAccounts,
)
from factorylink.ledger.ledger import choosing
from factorylink.problems import ProblemError
from factorylink.util import clock
from tests.unit.fake_factory import ID, OTHER, SIZE, World
from tests.unit.fake_projects import BIG, cluster, project, refusal, up

HOUR = timedelta(hours=1)


async def test_without_projects_no_project_is_required(tmp_path: Path) -> None:
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


async def test_people_without_a_project_are_told_how_to_apply(tmp_path: Path) -> None:
    world, _ = await up(tmp_path, project())
    world.permissions._config = world.config.model_copy(update={"apply_url": "https://apply.example/"})
    assert (await refusal(world, user="ben"))[0] == "no-project"
    told = world.offers.ready("ben").nothing
    assert told is not None
    assert told.do.endswith("apply for one: https://apply.example/")
    assert world.offers.views("ben") == []
    assert world.offers.ready("ada").nothing is None
    await world.people.put("ada", PersonBody(blocked=True))
    assert (await refusal(world))[0] == "blocked"
    assert world.offers.views("ada") == []
    await world.down()


async def test_with_several_projects_one_is_named_or_the_last_is_used(tmp_path: Path) -> None:
    small = ProjectAt(sizes=("gpu-1",))
    world, _ = await up(tmp_path, project("p", small), project("q", groups=("g",), members=()))
    assert (await world.put(ID)).choice.project == "p"
    await world.people.put("ada", PersonBody(groups=frozenset({"g"})))
    # the only project with this size
    assert (await world.put("1" * 32, server="big", size="gpu-4")).choice.project == "q"
    await world.ledger.write(choosing("ada", Choice(project="p")))
    assert (await world.put("2" * 32, server="again", hours=1)).choice.project == "p"
    await world.ledger.write(choosing("ada", Choice(project="gone")))
    code, field, message = await refusal(world, session_id="3" * 32, server="which", hours=1)
    assert (code, field) == ("project-which", "project")
    assert message.endswith("p, q.")
    assert (await world.put("3" * 32, server="which", project="q")).choice.project == "q"
    await world.down()


async def test_each_refusal_says_what_would_do(tmp_path: Path) -> None:
    now = clock.now()
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
    # the refusal does not reveal whether the project exists
    assert (await refusal(world, project="nowhere"))[0] == "project-not-yours"
    assert (await refusal(world, project="old"))[:2] == ("project-over", "project")
    assert (await refusal(world, project="new"))[:2] == ("project-not-begun", "project")
    assert (await refusal(world, project="far"))[2] == "The project far cannot be used at m, only at: two."
    assert await refusal(world, project="p", size="gpu-4") == (
        "project-size", "size", "The project p may not use gpu-4 there; it may use: gpu-1.")  # fmt: skip
    assert await refusal(world, hours=3) == (
        "project-hours", "hours", "3 h is more than the project p allows for one job: at most 2 h.")  # fmt: skip
    assert world.scheduler.submitted == []
    table.set(project("p", ends=clock.now() + 0.75 * HOUR))
    code, field, message = await refusal(world, hours=1)
    assert (code, field) == ("project-end-near", "hours")
    assert "1 h do not fit before then, only 0.7" in message
    assert 43 <= (await world.put()).choice.hours * 60 <= 45  # without hours in the request, the rest is used
    table.projects = None
    assert (await refusal(world, session_id=OTHER, server="x"))[0] == "projects-unknown"
    await world.down()


async def test_an_end_is_kept_within_the_size_and_the_hours_that_the_project_allows(tmp_path: Path) -> None:
    world, table = await up(tmp_path, project("p", ProjectAt(sizes=("gpu-4",))))
    place = world.factories["one"]
    short = SIZE.model_copy(update={"max_hours": 1.0, "default_hours": 1.0})  # no size of the project
    sizes = {"sizes": (short, BIG)}
    world.factories.offered = {"one": replace(place, factory=place.factory.model_copy(update=sizes))}
    ends = clock.now() + 5 * HOUR
    choice = (await world.put(until=ends)).choice
    assert (choice.size, 4.9 < choice.hours <= 5) == ("gpu-4", True)
    table.set(project("p", ProjectAt(sizes=("gpu-4",)), max_hours=2))
    assert (await world.put(OTHER, server="x", until=ends)).choice.hours == 2
    asked = await refusal(world, session_id="3" * 32, server="y", until=ends, hours=3)  # too many hours of their own
    assert asked[:2] == ("project-hours", "hours")
    asked = await refusal(world, session_id="3" * 32, server="y", until=clock.now() - HOUR)
    assert asked[1] == "until"
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
    table.set(project("p", gpu_hours=100.0, managers=("ada",), ends=clock.now() - HOUR))
    assert world.offers.views("ada") == []
    (seen,) = await world.offers.projects("ada")
    assert (seen.role, seen.usable, seen.granted, seen.left, seen.factories) == ("manager", False, 100, 100, ("one",))
    await world.down()


async def test_a_reservation_is_offered_with_the_projects_that_are_in_it_and_to_no_other(tmp_path: Path) -> None:
    world, _ = await up(
        tmp_path, project("p", ProjectAt(account="a-p")), project("q", ProjectAt(account="a-q")), project("r")
    )
    soon = clock.now() + HOUR
    course, all_hands = (ReservationView(id=name, name=name, end=soon) for name in ("course", "all"))
    account = (await world.put(OTHER, project="p")).account
    world.scheduler.reserved = {
        (account, "a-p"): (all_hands,), (account, "a-q"): (course, all_hands), (account, None): (all_hands,)
    }  # fmt: skip
    (view,) = world.offers.views("ada")
    assert {one.id: one.projects for one in view.reservations} == {"course": ("q",), "all": ("p", "q", "r")}
    code, field, message = await refusal(world, session_id=ID, server="x", project="p", reservation="course")
    assert (code, field) == ("reservation-of-others", "reservation")
    assert message == "The reservation 'course' is not for the project p, but for: q."
    (*_, message) = await refusal(world, session_id=ID, server="x", project="p", reservation="gone")
    assert message == "The reservation 'gone' is not yours to use, or it is not its time."
    operators = JobOptions(account="elsewhere")  # the spawner's settings override the project's account
    asked = SessionRequest(user="ada", server="x", choice=Choice(project="q", reservation="course"), options=operators)
    with pytest.raises(ProblemError, match="'course' is not yours to use"):
        await world.sessions.put(ID, asked)
    session = await world.put(ID, server="x", project="q", reservation="course")
    assert session.choice.reservation == "course"
    sent = world.scheduler.submitted[-1]
    assert (sent.account, sent.reservation) == ("a-q", "course")
    await world.down()


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


@pytest.mark.parametrize("minutes", [1.9, 20.05, 89.75, 119.99])
async def test_the_hours_in_a_refusal_are_accepted(
    tmp_path: Path, minutes: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    world, _ = await up(tmp_path, project(ends=clock.now() + timedelta(minutes=minutes)))
    found = re.search(r"8 h do not fit before then, only (\S+) h do", (await refusal(world, hours=8))[2])
    assert found
    fits = max(1 / 60, float(found[1]))
    assert minutes - 2 < fits * 60 <= minutes
    assert (await refusal(world, hours=minutes / 60))[0] == "project-end-near"  # the scheduler counts minutes
    assert (await world.put(hours=fits)).choice.hours == fits
    await world.down()
