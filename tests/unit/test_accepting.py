"""A site's rules: whose acceptance counts, what is refused until they are accepted, and the checklist."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select

from factorycommon.models import (
    AccountHelp,
    AccountThere,
    Antennas,
    BatchRequest,
    Choice,
    ClusterRequest,
    Factory,
    PersonBody,
    Project,
    ProjectAt,
    Scheduler,
    SessionRequest,
    SiteAccounts,
    SiteRules,
)
from factorycommon.service.database import Database
from factorylink.background.hub_recovery import HubRecovery
from factorylink.catalogue import catalogue as federation
from factorylink.client import LinkClient, LinkProblem
from factorylink.hub_client import HubClient
from factorylink.ledger import schema
from factorylink.ledger.ledger import Ledger
from factorylink.problems import ProblemError
from factorylink.projects.acceptances import Acceptances
from factorylink.util import clock
from tests.unit.fake_factory import ID, OTHER, World, factory
from tests.unit.fake_projects import Table, project
from tests.unit.serving import serving

RULES = SiteRules(version="2026-11", url="https://site.example/rules", text="No mining.")
HELP = AccountHelp(text="Write to the desk.")
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def ruled(version: str | None = RULES.version, name: str = "one", help: AccountHelp | None = None) -> Factory:
    found = factory(name)
    rules = None if version is None else RULES.model_copy(update={"version": version})
    site = found.site.model_copy(update={"rules": rules, "account_help": help})
    return found.model_copy(update={"site": site})


def rule(world: World, version: str | None = RULES.version, **more: AccountHelp) -> None:
    """Let the factory ``one`` have rules with this version, or no rules if ``version`` is None.

    ``more``: ``help``, how to get an account there.
    """
    world.factories.offered = {"one": replace(world.factories["one"], factory=ruled(version, **more))}


async def refusal(world: World, session_id: str = ID, **asked: str) -> tuple[str, str | None]:
    with pytest.raises(ProblemError) as caught:
        await world.put(session_id, **asked)
    assert caught.value.status == 403
    return caught.value.problem.code, caught.value.problem.field


# --- records of acceptances


async def test_an_acceptance_outlives_a_link_and_counts_for_its_version_only(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    kept, one = world.acceptances, ruled()
    assert kept.open("ada", factory()) is None  # a site without rules
    assert kept.at("ada", one) is None
    before = clock.now()
    await kept.accept("ada", one, RULES.version)
    at = kept.at("ada", one)
    assert at is not None and before <= at <= clock.now()
    assert kept.open("ada", one) is None
    assert kept.open("ben", one) is not None
    assert kept.open("ada", ruled(name="two")) is not None
    newer = kept.open("ada", ruled("2027-01"))
    assert newer is not None and newer.code == "rules-open"
    await world.down()

    await world.up()
    kept = world.acceptances
    assert kept.at("ada", one) == at
    await kept.accept("ada", ruled("2027-01"), "2027-01")
    assert kept.at("ada", one) == at  # each version has its own date
    assert [line.detail for line in await world.ledger.audit("one")] == ["rules 2026-11", "rules 2027-01"]
    await world.down()


async def test_accepting_twice_at_once_is_accepting_once(database: Database, tmp_path: Path) -> None:
    ledger, config = Ledger(database), World(tmp_path).config
    await ledger.open()
    windows = [Acceptances(ledger, config) for _ in range(3)]
    await asyncio.gather(*(one.accept("ada", ruled(), RULES.version) for one in windows for _ in range(3)))
    count = select(func.count()).select_from(schema.acceptances)
    assert await ledger.transact(lambda db: db.execute(count).scalar_one()) == 1
    assert [entry.action for entry in await ledger.audited()] == ["accept"]
    for one in windows:
        await one.load()
    assert len({one.at("ada", ruled()) for one in windows}) == 1
    await ledger.close()


async def test_an_invalid_acceptance_is_refused_in_words(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    rule(world)
    checklist = world.parts.checklist
    for name, version, kind in (("nowhere", "2026-11", "gone"), ("one", "2025-01", "conflict")):
        with pytest.raises(ProblemError) as caught:
            await checklist.accept("ada", name, version)
        assert caught.value.problem.kind == kind
    rule(world, None)
    with pytest.raises(ProblemError) as caught:
        await checklist.accept("ada", "one", "2026-11")
    assert caught.value.problem.kind == "gone"
    rule(world)
    assert world.acceptances.at("ada", world.factories["one"].factory) is None
    await world.down()


# --- refusals


async def test_nothing_starts_before_the_rules_are_accepted(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    rule(world)
    assert await refusal(world) == ("rules-open", "factory")
    assert await refusal(world, factory="one") == ("rules-open", "factory")
    assert not world.scheduler.submitted
    [view] = world.offers.views("ada")  # the factory is shown, with the reason
    assert view.rules_open is not None and view.site.rules == RULES
    assert "m" in view.rules_open.what and "/hub/checklist" in view.rules_open.do

    await world.parts.checklist.accept("ada", "one", RULES.version)
    assert world.offers.views("ada")[0].rules_open is None
    await world.running()
    rule(world, "2027-01")  # running sessions go on; new ones are refused again
    assert (await world.session()).state == "running"
    assert await refusal(world, OTHER, server="more") == ("rules-open", "factory")
    assert (await world.sessions.put(ID, SessionRequest(user="ada", server="", choice=Choice())))[1] is False
    await world.down()


async def test_clusters_neither_begin_nor_grow_before_the_rules_are_accepted(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    rule(world)
    scheduler = Scheduler(address="tls://n7:8786", ca=PEM, certificate=PEM, key=PEM)
    request = ClusterRequest(name="c", factory="one", size="gpu-1", hours=1, scheduler=scheduler)
    with pytest.raises(ProblemError) as caught:
        await world.clusters.put(ID, "ada", request)
    assert caught.value.problem.code == "rules-open"
    await world.acceptances.accept("ada", ruled(), RULES.version)
    await world.clusters.put(ID, "ada", request)
    await world.clusters.grow(ID, "ada", "1" * 32, BatchRequest(names=("w-0",)))
    rule(world, "2027-01")
    world.live_clusters[ID].place = world.factories["one"]
    with pytest.raises(ProblemError) as caught:
        await world.clusters.grow(ID, "ada", "2" * 32, BatchRequest(names=("w-1",)))
    assert caught.value.problem.code == "rules-open"
    await world.down()


async def test_an_empty_choice_takes_a_factory_whose_rules_are_accepted(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    place = world.factories["one"]
    world.factories.offered = {"one": replace(place, factory=ruled()), "two": replace(place, factory=factory("two"))}
    assert (await world.put()).choice.factory == "two"
    await world.down()


# --- the checklist


async def test_a_checklist_without_projects(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    rule(world)
    found = await world.parts.checklist.of("ada")
    [site] = found.sites
    [account] = site.accounts
    assert (account.kind, account.projects) == ("shared", ())
    assert account.name in ("a", "b")
    assert found.nothing is None and found.projects == ()
    assert site.awaits
    await world.parts.checklist.accept("ada", "one", RULES.version)
    [site] = (await world.parts.checklist.of("ada")).sites
    assert site.accepted_at is not None and not site.awaits
    rule(world, None)
    assert not (await world.parts.checklist.of("ada")).sites[0].awaits
    await world.people.put("ada", PersonBody(blocked=True))
    found = await world.parts.checklist.of("ada")
    assert found.nothing is not None and found.nothing.code == "blocked"
    assert found.sites == ()
    await world.down()


async def test_accounts_are_personal_or_of_a_pool_or_missing(tmp_path: Path) -> None:
    own = ProjectAt(site_accounts=SiteAccounts(personal={"ada": "u_ada"}))
    pool = ProjectAt(site_accounts=SiteAccounts(pool=("p1",)))
    none = ProjectAt(site_accounts=SiteAccounts(personal={"ben": "u_ben"}))
    world = World(tmp_path)

    def at(name: str, there: ProjectAt, **more: tuple[str, ...]) -> Project:
        return project(name, there, **more)

    table = Table(at("A", own), at("B", own), at("C", pool), at("D", none), at("E", own, members=("ben",)))
    world.table = table
    await world.up()
    rule(world, help=HELP)
    [site] = (await world.parts.checklist.of("ada")).sites
    assert site.accounts == (
        AccountThere(kind="own", name="u_ada", projects=("A", "B")),
        AccountThere(kind="lent", name=None, projects=("C",)),
        AccountThere(kind="missing", name=None, projects=("D",)),
    )
    assert site.account_help == HELP
    await world.acceptances.accept("ada", ruled(), RULES.version)
    await world.put(project="C")
    [site] = (await world.parts.checklist.of("ada")).sites
    assert site.accounts[1] == AccountThere(kind="lent", name="p1", projects=("C",))

    # open rules do not block people who have no account at the site
    table.set(at("D", none, members=("cy",)))
    [site] = (await world.parts.checklist.of("cy")).sites
    assert site.rules is not None and not site.awaits
    table.set(at("D", none))
    found = await world.parts.checklist.of("nobody")
    assert found.sites == () and found.nothing is not None
    assert found.nothing.code == "no-project"
    await world.down()


async def test_people_without_a_project_are_referred_to_their_antenna(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.table = Table()
    await world.up()
    told = {"id": "x", "name": "X", "country": "HU", "factories": ["one"], "languages": ["hu"],
            "greeting": {"hu": "Üdvözöljük"}, "login": {"provider": "p"}}  # fmt: skip
    antennas = Antennas.model_validate({"antennas": [told]})
    world.factories.catalogue = federation.Catalogue({"one": factory()}, {}, antennas)
    assert (await world.parts.checklist.of("ada")).antenna is None
    await world.people.put("ada", PersonBody(groups=frozenset({"antenna:x", "antenna:gone"})))
    found = (await world.parts.checklist.of("ada")).antenna
    assert found is not None and found.greeting == {"hu": "Üdvözöljük"}
    await world.down()


async def test_the_hub_asks_and_tells_over_the_socket(tmp_path: Path) -> None:
    world = await World(tmp_path).up()
    rule(world)
    hub = HubClient(world.config.hub)
    app = world.parts.hub_app(HubRecovery(world.live_sessions, hub))
    async with serving(app, world.config.socket):
        client = LinkClient(world.config.socket)
        assert (await client.checklist("a da")).sites[0].awaits
        await client.accept("a da", "one", RULES.version)
        await client.accept("a da", "one", RULES.version)
        assert not (await client.checklist("a da")).sites[0].awaits
        for name, version, status in (("two", "1", 404), ("one", "1", 409), ("one", "", 400), ("one", "x y", 400)):
            with pytest.raises((LinkProblem, ValidationError)) as caught:
                await client.accept("ada", name, version)
            if isinstance(caught.value, LinkProblem):
                assert caught.value.status == status
        await client.close()
    await hub.close()
    await world.down()


# --- the catalogue


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"version": "1"}, "url, text"),
        ({"version": "1", "text": " \n"}, "url, text"),
        ({"text": "Be kind."}, "version"),
        ({"version": "", "text": "Be kind."}, "version"),
        ({"version": "1 2", "text": "Be kind."}, "version"),
        ({"version": "1", "url": "http://site.example/rules"}, "url"),
        ({"version": "1", "url": "javascript:alert(1)"}, "url"),
        ({"version": "1", "text": "Be kind.", "by": "me"}, "by"),
    ],
)
def test_rules_that_nobody_could_read_or_name_are_refused(rules: dict[str, str], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SiteRules.model_validate(rules)
    assert field in str(caught.value)
