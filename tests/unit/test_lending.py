"""Lent site accounts: one person at a time, with a wipe in between."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factorycommon.models import EndReason, ProjectAt, SiteAccounts
from factorylink.errors import Refused
from factorylink.problems import ProblemError
from factorylink.projects import account_leases
from factorylink.site.factory_connection import FactoryConnection
from tests.unit.fake_factory import ID, OTHER, World
from tests.unit.fake_projects import project, refusal, up

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
    assert (await refusal(world, session_id=ids["dan"], user="dan"))[0] == "pool-empty"  # the account holds ben's files
    await world.down()
    await world.up()  # the lease survives a restart of the link
    assert (await world.put("a" * 32, "ben")).account == "u1"
    await world.down()


async def test_a_lent_account_changes_hands_after_a_wipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, _ = await up(tmp_path, project("p", POOL, members=ALL))
    await world.put(ID, "ben")
    await world.put(OTHER, "cleo")
    place = world.factories["one"]
    access = place.access.model_copy(update={"account_wipe": ("wipe", "all")})
    world.factories.offered = {"one": replace(place, access=access)}
    assert (await refusal(world, session_id="d" * 32, user="dan"))[0] == "pool-empty"
    assert ("wipe", "all") not in world.home.asked
    await over(world, OTHER)
    world.home.fails = Refused("No space left")
    assert (await refusal(world, session_id="d" * 32, user="dan"))[0] == "pool-not-wiped"
    world.home.fails = None
    monkeypatch.setattr(account_leases, "_WAIT_SECONDS", 30)
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
    place = world.factories["one"]
    place = replace(place, access=place.access.model_copy(update={"account_wipe": ("wipe",)}))
    world.factories.offered = {"one": place}
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
                world.account_leases._leases.clear()
                await world.account_leases.load()
            elif mine := [live for live in world.live_sessions.values() if live.record.user == who]:
                await world.live_sessions.end(
                    mine[0], end_reason=EndReason.STOPPED, end=account_leases.explain.own("gone")
                )
            held: dict[str, set[str]] = {}
            for live in world.live_sessions.values():
                held.setdefault(live.record.account, set()).add(live.record.user)
            assert all(len(people) == 1 for people in held.values()), held
    finally:
        await world.down()


async def test_a_refused_person_holds_no_account(tmp_path: Path) -> None:
    world, _ = await up(tmp_path, project("p", POOL, members=ALL, gpu_hours=2))
    for who in ("ben", "cleo", "dan"):
        assert (await refusal(world, user=who, hours=3))[0] == "budget-over"
    assert (await world.put("a" * 32, "dan", hours=1)).account in ("u1", "u2")
    assert (await world.put("b" * 32, "cleo", hours=1)).account in ("u1", "u2")
    await over(world, "a" * 32)
    assert (await refusal(world, user="ben", hours=1))[0] == "pool-empty"  # the account holds dan's files
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
    assert (await refusal(world, session_id=OTHER, user="dan"))[0] == "pool-empty"  # the account holds ben's files
    await world.down()


def kept(tmp_path: Path) -> dict[Path, bytes]:
    """Return a backup of the ledger of a link that is down."""
    return {file: file.read_bytes() for file in tmp_path.glob("ledger.sqlite*")}


async def restore(world: World, tmp_path: Path, backup: dict[Path, bytes]) -> None:
    """Stop the link, and start it with an older ledger."""
    await world.down()
    for file in tmp_path.glob("ledger.sqlite*"):
        file.unlink()
    for file, content in backup.items():
        file.write_bytes(content)
    await world.up()
    await world.scheduler.answer()


async def one_with_wipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a link that lends one account, and wipes it."""
    monkeypatch.setattr(account_leases, "_WAIT_SECONDS", 30)
    world, _ = await up(tmp_path, project("p", ProjectAt(site_accounts=SiteAccounts(pool=("u1",))), members=ALL))
    access = world.config.factories["one"]
    world.config.factories["one"] = access.model_copy(update={"account_wipe": ("wipe",)})
    return world


@pytest.mark.parametrize(("following", "wipes"), [("ben", 1), ("dan", 0)])
async def test_a_job_that_is_found_again_ends_the_loan_of_an_older_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, following: str, wipes: int
) -> None:
    world = await one_with_wipes(tmp_path, monkeypatch)
    await world.put(ID, "ben")
    await over(world, ID)
    await world.down()
    backup = kept(tmp_path)  # in it, the account is lent to ben
    await world.up()
    assert (await world.put(OTHER, "dan")).account == "u1"
    world.home.asked.clear()
    await restore(world, tmp_path, backup)
    assert (await world.session(OTHER)).user == "dan"
    assert (await refusal(world, session_id="b" * 32, user="ben"))[0] == "pool-empty"  # dan's session runs there
    await over(world, OTHER)
    assert (await world.put("d" * 32, following)).account == "u1"
    assert world.home.asked.count(("wipe",)) == wipes  # dan finds his files, and ben does not
    await world.down()


@pytest.mark.parametrize("first", ["ben", "dan"])
async def test_an_account_under_which_jobs_of_two_people_are_found_is_wiped_before_anybody_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, first: str
) -> None:
    world = await one_with_wipes(tmp_path, monkeypatch)
    session = await world.put(ID, "ben")
    assert session.job is not None
    job = world.scheduler.jobs_there[session.job]
    await world.down()
    backup = kept(tmp_path)  # in it, ben's session runs under the account
    await world.up()
    await over(world, ID)
    assert (await world.put(OTHER, "dan")).account == "u1"
    world.scheduler.jobs_there[job.id] = job
    with caplog.at_level(logging.WARNING):
        await restore(world, tmp_path, backup)
        await world.scheduler.answer()
    assert "Several people use the account u1" in caplog.text
    assert {live.record.user for live in world.live_sessions.values()} == {"ben", "dan"}  # nothing is ended
    await over(world, OTHER)
    assert (await refusal(world, session_id="d" * 32, user="dan"))[0] == "pool-empty"  # ben's session runs there
    await over(world, ID)
    await world.down()
    await world.up()  # the link still knows it after a restart
    assert world.home.asked.count(("wipe",)) == 1
    assert (await world.put("a" * 32, first)).account == "u1"
    assert world.home.asked.count(("wipe",)) == 2
    assert world.account_leases.lent_to("one", "u1") == first
    await world.down()


@pytest.mark.parametrize("found", ["ben", "cleo"])
async def test_an_account_in_which_a_job_is_found_during_a_wipe_stays_lent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    world = await one_with_wipes(tmp_path, monkeypatch)
    await world.put(ID, "ben")
    await over(world, ID)
    await world.down()
    await world.up()  # with the command for wipes
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wipe(connection: FactoryConnection, account: str) -> None:
        begun.set()
        await go_on.wait()

    monkeypatch.setattr(account_leases, "_run_wipe", wipe)
    refused = asyncio.create_task(refusal(world, session_id=OTHER, user="dan"))
    await begun.wait()
    await world.account_leases.found("one", "u1", found)
    go_on.set()
    assert (await refused)[0] == "pool-wiping"
    assert world.account_leases.lent_to("one", "u1") == found
    await world.account_leases.load()
    assert world.account_leases.lent_to("one", "u1") == found
    await world.down()


async def test_an_account_in_which_a_job_is_found_has_files_though_it_was_lent_for_a_refused_start(
    tmp_path: Path,
) -> None:
    world, _ = await up(tmp_path, project("p", POOL, members=ALL, gpu_hours=2))
    assert (await refusal(world, user="dan", hours=3))[0] == "budget-over"
    leases = world.account_leases
    assert (leases.lent_to("one", "u1"), leases.holder("one", "u1")) == ("dan", None)
    await leases.found("one", "u1", "ben")
    assert (leases.lent_to("one", "u1"), leases.holder("one", "u1")) == ("ben", "ben")
    await world.down()
