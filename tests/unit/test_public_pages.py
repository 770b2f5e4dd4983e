"""Pages that need no login: the map, the status page and its JSON, the switch of the language."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from math import asin, cos, hypot, radians, sin, sqrt
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from factorylink.client import LinkSilent
from factorylink.models import ANTENNA, NetworkView, Point
from factoryspawner import europe
from factoryspawner.gateway import _NETWORK_KEPT, Gateway
from factoryspawner.public import OLD_SECONDS, drawing, kind
from tests.unit import page_states
from tests.unit.fake_link import NOW, FakeLink
from tests.unit.hub_process import HubProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def anybody(hub: HubProcess, link: FakeLink) -> httpx.AsyncClient:
    """A browser without a login; the link knows the shipped catalogue."""
    link.network = page_states.network(NOW)
    return httpx.AsyncClient(base_url=hub.url, timeout=60, trust_env=False, headers={"Accept-Language": "en"})


def network() -> NetworkView:
    return page_states.network(NOW)


async def test_every_factory_and_antenna_of_the_catalogue_is_on_the_map() -> None:
    drawn = drawing(network())
    assert len(drawn.factories) == 19
    assert len(drawn.antennas) == 13
    assert len(drawn.lines) == sum(len(one.factories) for one in network().antennas)
    for one in (*drawn.factories, *drawn.antennas):
        assert 0 < one.x < drawn.width, one
        assert 0 < one.y < drawn.height, one


async def test_what_lies_north_is_above_and_what_lies_east_is_right() -> None:
    spots = {one.id: one for one in drawing(network()).factories}
    assert spots["lumi-aif"].y < spots["mimer"].y < spots["it4lia"].y < spots["pharos"].y
    assert spots["1healthai"].x < spots["bsc-aif"].x < spots["jaif"].x < spots["litai"].x
    ends = [one.at for one in network().factories if one.id in ("bsc-aif", "lumi-aif")]
    a, b = spots["bsc-aif"], spots["lumi-aif"]
    assert hypot(a.x - b.x, a.y - b.y) * 4.1 == pytest.approx(distance_km(*ends), rel=0.03)
    assert europe.place(Point(latitude=52, longitude=10)) == (439.0, 539.0)


def distance_km(a: Point, b: Point) -> float:
    """On the sphere."""
    lat, lon = radians(b.latitude - a.latitude), radians(b.longitude - a.longitude)
    half = sin(lat / 2) ** 2 + cos(radians(a.latitude)) * cos(radians(b.latitude)) * sin(lon / 2) ** 2
    return 2 * 6371 * asin(sqrt(half))


async def test_a_factory_without_a_place_is_in_the_list_only() -> None:
    found = network()
    nowhere = tuple(one.model_copy(update={"at": None}) for one in found.factories)
    assert drawing(found.model_copy(update={"factories": nowhere})).factories == ()


async def test_the_map_and_its_list_name_all_with_how_they_are(anybody: httpx.AsyncClient) -> None:
    page = (await anybody.get("/hub/factories")).text
    for one in network().factories:
        assert f"<strong>{one.name}</strong>" in page
    assert page.count('<a class="fg-spot') == 19
    kinds = {one.id: kind(one) for one in network().factories}
    assert kinds["pharos"] == "planned"
    assert kinds["mimer"] == "template"
    for word in ("Available", "Does not answer", "Accepts no new sessions", "Not switched on here", "No machine yet"):
        assert word in page
    marked = (await anybody.get("/hub/factories?antenna=be-aifa")).text
    assert marked.count(" fg-mine") == 3  # its triangle and its two factories, ...
    assert marked.count("fg-way-mine") == 2  # ... with lines to them
    assert "Marked: the factories of BE-AIFA." in marked
    assert "fg-mine" not in (await anybody.get("/hub/factories?antenna=%3Cb%3E")).text


async def test_a_persons_own_antenna_is_marked_unless_they_mark_another(
    anybody: httpx.AsyncClient, hub: HubProcess
) -> None:
    assert "fg-mine" not in (await anybody.get("/hub/factories")).text
    group = f"/groups/{quote(ANTENNA + 'be-aifa')}"
    assert (await hub.api("POST", group)).status_code == 201
    assert (await hub.api("POST", f"{group}/users", json={"users": ["ada"]})).status_code == 200
    ada = await hub.login("ada")
    ada.headers["Accept-Language"] = "en"
    own = (await ada.get("/hub/factories")).text
    assert "Marked: the factories of your antenna, BE-AIFA." in own
    assert (own.count(" fg-mine"), own.count(">Yours<")) == (3, 1)
    other = (await ada.get("/hub/factories?antenna=hunaifa")).text
    assert "Marked: the factories of HunAIFA." in other
    assert "Mark the factories of your antenna, BE-AIFA" in other
    none = (await ada.get("/hub/factories?antenna=")).text
    assert "fg-mine" not in none
    assert "Mark the factories of your antenna, BE-AIFA" in none
    await ada.aclose()
    bob = await hub.login("bob")
    assert "fg-mine" not in (await bob.get("/hub/factories")).text
    await bob.aclose()


async def test_both_say_of_when_they_are_and_what_is_old(anybody: httpx.AsyncClient, link: FakeLink) -> None:
    now = datetime.now(UTC)
    link.network = page_states.network(now)
    status = await once(anybody, "/hub/status", "older than usual", there=False)
    assert len(re.findall(r"As of (?:\d+ \w{3} \d{4} )?\d\d:\d\d UTC\.", status)) >= 3
    old = now - timedelta(seconds=OLD_SECONDS + 5)
    factories = tuple(
        one.model_copy(update={"loads_at": old}) if one.id == "lumi-aif" else one for one in link.network.factories
    )
    link.network = link.network.model_copy(update={"factories": factories})
    status = await once(anybody, "/hub/status", "older than usual")
    assert status.count("; older than usual, checking again.") == 1
    assert (await anybody.get("/hub/factories")).text.count("older than usual") == 1


async def once(anybody: httpx.AsyncClient, path: str, word: str, there: bool = True) -> str:
    """The page when it has a word, or has it not: the hub keeps the link's answer for some seconds."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        page = (await anybody.get(path)).text
        if (word in page) == there:
            return page
        await asyncio.sleep(0.2)
    raise AssertionError(f"{path} does not change")


async def test_the_status_page_says_how_each_offered_factory_is(
    anybody: httpx.AsyncClient,
) -> None:
    page = await once(anybody, "/hub/status", "2 Jan 2026")
    assert page_states.DRAIN in page
    assert "It has not answered since 2 Jan 2026 01:04 UTC." in page
    assert "31 of 1,200" in page
    assert "Pharos" not in page
    answer = await anybody.get("/hub/status.json")
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert (told["hub"], told["link"]) == ("ok", "ok")
    assert {one["id"]: one["health"]["state"] for one in told["factories"]} == {
        "bsc-aif": "ok", "czai": "draining", "it4lia": "unreachable", "jaif": "starting", "lumi-aif": "ok",
    }  # fmt: skip
    assert told["factories"][-1]["partitions"][0]["pending"] == 214


async def test_many_who_look_ask_the_link_once(anybody: httpx.AsyncClient, link: FakeLink) -> None:
    link.asked.clear()
    began = time.monotonic()
    for _ in range(5):
        assert (await anybody.get("/hub/status.json")).status_code == 200
    assert link.asked.count(("GET", "/network")) <= 1 + (time.monotonic() - began) // _NETWORK_KEPT


async def test_many_who_look_wait_for_a_hanging_link_once(link: FakeLink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may look: in line behind each other the last would wait for all before them."""
    mine = Gateway(link.socket)
    asked = 0

    async def hang() -> NetworkView:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        raise LinkSilent("it hangs")

    try:
        await mine.table.heard()
        monkeypatch.setattr(mine.link, "network", hang)
        outcomes = await asyncio.gather(*(mine.network() for _ in range(5)), return_exceptions=True)
        assert [type(one) for one in outcomes] == [LinkSilent] * 5
        assert asked == 1
    finally:
        await mine.close()


async def test_without_the_link_both_say_so(anybody: httpx.AsyncClient, link: FakeLink, hub: HubProcess) -> None:
    await link.down()
    try:
        for _ in range(300):
            told = (await anybody.get("/hub/status.json")).json()
            if told["link"] == "silent":
                break
            await asyncio.sleep(0.1)
        assert told == {"hub": "ok", "link": "silent", "factories": []}
        for path in ("/hub/status", "/hub/factories"):
            answer = await anybody.get(path)
            assert answer.status_code == 200
            assert "cannot reach the factories right now" in answer.text
    finally:
        await link.up()


async def test_the_page_of_tokens_offers_each_span_in_the_persons_language(hub: HubProcess) -> None:
    ada = await hub.login("ada")
    page = (await ada.get("/hub/token", headers={"Accept-Language": "fr"})).text
    await ada.aclose()
    assert re.findall(r"<option[^>]*value=\"\d*\">([^<]*)</option>", page) == [
        "1 heure", "1 jour", "1 semaine", "1 mois", "1 an", "Jamais",
    ]  # fmt: skip


async def test_the_language_is_switched_without_javascript(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.get("/hub/gateway/language", params={"lang": "de", "next": "/hub/status?x=1"})
    assert (answer.status_code, answer.headers["location"]) == (302, "/hub/status?x=1")
    assert "fg-lang=de" in answer.headers["set-cookie"]
    assert '<html lang="de">' in (await anybody.get("/hub/login")).text
    assert (await anybody.get("/hub/gateway/language", params={"lang": "tlh"})).status_code == 400


async def test_the_switch_leads_back_to_the_page_without_the_language_before(anybody: httpx.AsyncClient) -> None:
    asked = {"lang": "fr", "next": "/hub/status?a=1&lang=de&b=%2F%3D"}
    answer = await anybody.get("/hub/gateway/language", params=asked)
    assert answer.headers["location"] == "/hub/status?a=1&b=%2F%3D"
    answer = await anybody.get("/hub/gateway/language", params=asked | {"next": "/hub/home?lang=de"})
    assert answer.headers["location"] == "/hub/home"


async def test_the_switch_knows_the_page_of_a_server_called_callback(hub: HubProcess) -> None:
    ada = await hub.login("ada")
    page = (await ada.get("/hub/spawn/ada/callback")).text
    await ada.aclose()
    assert 'name="next" value="/hub/spawn/ada/callback"' in page


@pytest.mark.parametrize(
    "away", ["https://elsewhere.example/", "//elsewhere.example/hub/", "/\\elsewhere.example", "/other", "javascript:x"]
)
async def test_the_switch_leads_nowhere_else(anybody: httpx.AsyncClient, away: str) -> None:
    answer = await anybody.get("/hub/gateway/language", params={"lang": "en", "next": away})
    assert answer.headers["location"] == "/hub/"
