"""What the link's API offers: factories with estimates, planned factories, the network; and what it hides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from factorycommon.models import Estimate, Health, Words
from factorylink.catalogue import catalogue as federation
from factorylink.client import LinkProblem
from factorylink.projects.account_leases import site_account
from tests.unit.fake_factory import ID, OTHER
from tests.unit.fake_hub import Link, request, served

SHIPPED = Path(__file__).parents[2] / "hub_config" / "factories"


@pytest_asyncio.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    async with served(tmp_path) as made:
        yield made


async def test_factories_estimates_and_metrics(link: Link) -> None:
    views = await link.client.factories("ada")
    assert (views[0].default_size, views[0].sizes[0].fits_now) == ("gpu-1", 3)
    assert await anext(link.client.factories_events("ada")) == views
    assert (await link.client.estimate("one", "ada", "gpu-1")).basis == "none"
    await link.client.put_session(ID, request())
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(link.world.config.socket))) as http:
        text = (await http.get("http://link/metrics")).text
        assert (await http.get("http://link/health")).json() == {"one": "ok"}
    assert 'factorygate_sessions{factory="one",state="pending"} 1.0' in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pharos", "Pharos has no machine yet, so nothing can be started there."),
        ("mimer", "This gateway does not offer MIMER yet: its operator has no agreement with this gateway's."),
        ("nowhere", "Unknown factory 'nowhere'; there are: one."),
    ],
)
async def test_nothing_starts_where_this_hub_does_not_offer_it(link: Link, name: str, words: str) -> None:
    link.world.factories.catalogue = federation.load(SHIPPED)
    with pytest.raises(LinkProblem) as caught:
        await link.client.put_session(ID, request(factory=name))
    assert (caught.value.status, caught.value.problem.message, caught.value.problem.field) == (400, words, "factory")
    assert link.world.scheduler.submitted == []
    cluster = {"name": "mine", "factory": name, "head": {}}
    own = {"Authorization": "Bearer ada-token"}
    answer = await link.people.put(f"/api/clusters/{OTHER}", headers=own, json=cluster)
    assert (answer.status_code, answer.json()["message"]) == (400, words)


async def test_planned_factories_are_named_and_not_offered(link: Link) -> None:
    assert await link.client.coming() == []
    link.world.factories.catalogue = federation.load(SHIPPED)
    assert [view.id for view in await link.client.coming()] == ["litai", "pharos", "roaif"]
    assert (await link.people.get("/api/coming")).status_code == 401
    own = {"Authorization": "Bearer ada-token"}
    told = (await link.people.get("/api/coming", headers=own)).json()
    assert told[1]["name"] == "Pharos"
    assert told[1]["coming"]["machine"] == "DAEDALUS"
    assert [view["id"] for view in (await link.people.get("/api/factories", headers=own)).json()] == ["one"]


async def test_the_whole_network_tells_the_health_of_what_is_offered_and_no_words_of_a_scheduler(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    link.world.factories.catalogue = federation.load(SHIPPED, federation.antennas_beside(SHIPPED))
    await link.client.drain("one", "Closed.")
    told = {one.id: one for one in (await link.client.network()).factories}
    assert len(told) == 20  # the shipped factories, and this test's
    assert {one.state for one in told.values() if one.health is None} == {"template", "planned"}
    health = told["one"].health
    assert health is not None
    assert health.words is not None
    assert (health.state, health.words.what, health.answer_seconds) == ("draining", "Closed.", None)
    await link.client.undrain("one")
    words = Words(code="unreachable", what="It does not answer.", scheduler="ssh: ada@login1: timed out")
    silent = Health(state="unreachable", since=datetime(2026, 1, 1, tzinfo=UTC), words=words)
    monkeypatch.setattr(type(link.world.scheduler), "health", silent)
    found = (await link.client.network()).model_dump_json()
    assert "It does not answer." in found
    assert "login1" not in found
    assert len((await link.client.network()).antennas) == 13


async def test_the_network_names_the_node_sizes_as_the_start_page_does(link: Link) -> None:
    link.world.factories.catalogue = federation.load(SHIPPED)
    told = {one.id: one for one in (await link.client.network()).factories}
    own = {"Authorization": "Bearer ada-token"}
    (offered,) = (await link.people.get("/api/factories", headers=own)).json()
    shown = {one["size"]["id"]: one["gpu_label"] for one in offered["sizes"]}
    assert {size.id: size.label for size in told["one"].sizes} == shown
    assert all(not one.sizes for name, one in told.items() if name != "one")  # nothing can start there


async def test_a_size_shows_the_estimate_that_is_known(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    async def shown(user: str = "ada") -> Estimate | None:
        return (await link.client.factories(user))[0].sizes[0].estimate

    scheduler = link.world.scheduler
    assert await shown() is None
    await link.client.estimate("one", "ada", "gpu-1")
    assert await shown() is None  # the factory gave no estimate
    scheduler.would_start = datetime.now(UTC) + timedelta(hours=3)
    await link.client.estimate("one", "ada", "gpu-1", 7)
    assert await shown() is None  # an estimate for other hours than the size's default
    known = await link.client.estimate("one", "ada", "gpu-1")
    asked = scheduler.estimated
    assert await shown() == known
    others = [user for user in map(str, range(20)) if site_account(link.world.config.factories["one"], user) == "a"]
    assert {await shown(user) == known for user in others} == {
        site_account(link.world.config.factories["one"], "ada") == "a"
    }
    assert scheduler.estimated == asked
    monkeypatch.setattr("factorylink.api.factory_views._ESTIMATE_KEPT", timedelta(0))
    assert await shown() is None
    monkeypatch.undo()
    scheduler.would_start = datetime.now(UTC) - timedelta(minutes=2)
    await link.client.estimate("one", "ada", "gpu-1")
    assert await shown() is None  # the estimated start has passed


async def test_many_readers_share_one_view(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    view = link.world.offers._view
    monkeypatch.setattr(link.world.offers, "_view", lambda place: made.append(place) or view(place))
    monkeypatch.setattr("factorylink.api.factory_views._STEP_SECONDS", 60)  # all first answers are in one step
    streams = [link.world.offers.stream(f"u{number}") for number in range(50)]
    first = await asyncio.gather(*(anext(stream) for stream in streams))
    assert len(set(first)) == 1
    assert len(made) == 1
    monkeypatch.setattr("factorylink.api.factory_views._STEP_SECONDS", 0.2)
    link.world.scheduler.up = False
    second = await asyncio.gather(*(anext(stream) for stream in streams))
    assert len(set(second)) == 1 and second[0] != first[0]
    assert len(made) < 20
    for stream in streams:
        await stream.aclose()
