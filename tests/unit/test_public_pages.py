"""Pages without a login: the map, the status page and its JSON, the language switch."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from math import asin, cos, hypot, radians, sin, sqrt
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from factorycommon.models import ANTENNA, Health, MaintenanceView, NetworkFactory, NetworkView, Point
from factorycommon.version import version
from factorylink.client import LinkSilent
from factoryspawner.gateway import _NETWORK_KEPT, HubGateway
from factoryspawner.pages import map_projection
from factoryspawner.pages.public import OLD_SECONDS, drawing, kind, maintenance_from
from tests.unit import page_states
from tests.unit.fake_link import NOW, FakeLink
from tests.unit.hub_process import HubProcess

NETWORK_CSS = Path(__file__).parents[2] / "extensions" / "frontend" / "styles" / "network.css"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def anybody(hub: HubProcess, link: FakeLink) -> httpx.AsyncClient:
    """Return a browser without a login; the link has the shipped catalogue."""
    link.network = page_states.network(NOW)
    return httpx.AsyncClient(base_url=hub.url, timeout=60, trust_env=False, headers={"Accept-Language": "en"})


def network() -> NetworkView:
    return page_states.network(NOW)


async def test_every_factory_and_antenna_of_the_catalogue_is_on_the_map() -> None:
    drawn = drawing(network(), NOW)
    assert len(drawn.factories) == 19
    assert len(drawn.antennas) == 13
    assert len(drawn.lines) == sum(len(one.factories) for one in network().antennas)
    for one in (*drawn.factories, *drawn.antennas):
        assert 0 < one.x < drawn.width, one
        assert 0 < one.y < drawn.height, one


async def test_what_lies_north_is_above_and_what_lies_east_is_right() -> None:
    spots = {one.id: one for one in drawing(network(), NOW).factories}
    assert spots["lumi-aif"].y < spots["mimer"].y < spots["it4lia"].y < spots["pharos"].y
    assert spots["1healthai"].x < spots["bsc-aif"].x < spots["jaif"].x < spots["litai"].x
    ends = [one.at for one in network().factories if one.id in ("bsc-aif", "lumi-aif")]
    a, b = spots["bsc-aif"], spots["lumi-aif"]
    assert hypot(a.x - b.x, a.y - b.y) * 4.1 == pytest.approx(distance_km(*ends), rel=0.03)
    assert map_projection.place(Point(latitude=52, longitude=10)) == (439.0, 539.0)


def distance_km(a: Point, b: Point) -> float:
    """Return the distance of two points on the Earth's surface, in km."""
    lat, lon = radians(b.latitude - a.latitude), radians(b.longitude - a.longitude)
    half = sin(lat / 2) ** 2 + cos(radians(a.latitude)) * cos(radians(b.latitude)) * sin(lon / 2) ** 2
    return 2 * 6371 * asin(sqrt(half))


async def test_a_factory_without_a_place_is_in_the_list_only() -> None:
    found = network()
    nowhere = tuple(one.model_copy(update={"at": None}) for one in found.factories)
    assert drawing(found.model_copy(update={"factories": nowhere}), NOW).factories == ()


async def test_the_map_and_its_list_name_all_with_how_they_are(anybody: httpx.AsyncClient) -> None:
    page = (await anybody.get("/hub/factories")).text
    for one in network().factories:
        assert f"<strong>{one.name}</strong>" in page
    assert page.count('<a class="fg-spot') == 19
    kinds = {one.id: kind(one, NOW) for one in network().factories}
    assert kinds["pharos"] == "planned"
    assert kinds["mimer"] == "template"
    for word in (
        "Available",
        "Not answering",
        "Accepts no new sessions",
        "This gateway does not offer it yet",
        "No machine yet",
    ):
        assert word in page
    marked = (await anybody.get("/hub/factories?antenna=be-aifa")).text
    assert marked.count(" fg-mine") == 3  # its triangle and its two factories, ...
    assert marked.count("fg-way-mine") == 2  # ... with lines to them
    assert "The antenna BE-AIFA is linked to the highlighted factories." in marked
    assert "fg-mine" not in (await anybody.get("/hub/factories?antenna=%3Cb%3E")).text


def lumi(*windows: tuple[float, float, tuple[str, ...]], **more: object) -> NetworkFactory:
    """Return LUMI with maintenances: each with start and end in hours from now, and the partitions that it closes.

    ``more``: replaces other fields of LUMI.
    """
    found = next(one for one in network().factories if one.id == "lumi-aif")
    maintenance = tuple(
        MaintenanceView(
            name="", start=NOW + timedelta(hours=begin), end=NOW + timedelta(hours=end), nodes=8, closes=closes
        )
        for begin, end, closes in windows
    )
    return found.model_copy(update={"maintenance": maintenance, **more})


async def test_a_factory_in_maintenance_is_not_available() -> None:
    whole, part = ("gpu", "other"), ()
    assert kind(lumi(), NOW) == "ok"
    assert kind(lumi((-1, 1, whole)), NOW) == "maintenance"
    assert kind(lumi((-1, 1, part)), NOW) == "partly"
    assert kind(lumi((-1, 1, ("other",))), NOW) == "partly"  # its sizes use another partition
    assert kind(lumi((-1, 1, whole), partitions=()), NOW) == "maintenance"  # its partitions are not known yet
    assert kind(lumi((1, 2, whole)), NOW) == "ok"
    assert kind(lumi((-2, -1, whole)), NOW) == "ok"
    silent = Health(state="unreachable", since=NOW)
    assert kind(lumi((-1, 1, whole), health=silent), NOW) == "unreachable"
    assert maintenance_from(lumi((3, 4, part), (5, 6, whole)), NOW) == NOW + timedelta(hours=3)
    assert maintenance_from(lumi((-1, 1, whole), (3, 4, part)), NOW) is None
    assert maintenance_from(lumi(), NOW) is None


async def test_map_and_status_page_show_maintenances(anybody: httpx.AsyncClient, link: FakeLink) -> None:
    now = datetime.now(UTC)
    later = MaintenanceView(name="", start=now + timedelta(hours=4), end=now + timedelta(hours=9), nodes=0)
    running = later.model_copy(update={"start": now - timedelta(hours=1), "closes": ("gpu",)})
    windows = {"lumi-aif": (running,), "bsc-aif": (later,)}
    link.network = page_states.network(now)
    factories = [one.model_copy(update={"maintenance": windows.get(one.id, ())}) for one in link.network.factories]
    link.network = link.network.model_copy(update={"factories": tuple(factories)})
    for path in ("/hub/status", "/hub/factories"):
        page = await once(anybody, path, "</span>In maintenance</span>")
        assert re.search(r"</span>Available, maintenance from [^<]*\d\d:\d\d UTC</span>", page)
    assert "</span>Available</span>" not in page  # the other three do not answer, are drained, or were not asked yet


async def test_only_factories_that_accept_sessions_are_filled_on_the_map() -> None:
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", NETWORK_CSS.read_text(encoding="utf-8"))
    filled = {
        name
        for selectors, body in rules
        if re.search(r"background: var\(--fg-(free|wait|down)\)", body)
        for name in re.findall(r"\.fg-spot-(\w+)", selectors)
    }
    assert filled == {"ok", "partly"}
    kinds = {one.id: one.kind for one in drawing(network(), NOW).factories}
    assert {name for name, told in kinds.items() if told in filled} == {"lumi-aif", "bsc-aif"}


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
    assert "Your antenna, BE-AIFA, is linked to the highlighted factories." in own
    assert (own.count(" fg-mine"), own.count(">Yours<")) == (3, 1)
    other = (await ada.get("/hub/factories?antenna=hunaifa")).text
    assert "The antenna HunAIFA is linked to the highlighted factories." in other
    assert "Highlight the factories of your antenna, BE-AIFA" in other
    none = (await ada.get("/hub/factories?antenna=")).text
    assert "fg-mine" not in none
    assert "Highlight the factories of your antenna, BE-AIFA" in none
    await ada.aclose()
    bob = await hub.login("bob")
    assert "fg-mine" not in (await bob.get("/hub/factories")).text
    await bob.aclose()


async def test_map_and_status_page_show_the_age_of_their_data(anybody: httpx.AsyncClient, link: FakeLink) -> None:
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
    """Wait until the page has a word, or no longer has it if ``there`` is False; return the page.

    The hub caches the link's answer for some seconds.
    """
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
    assert (told["hub"], told["link"], told["version"]) == ("ok", "ok", version())
    assert f"factorygate {version()}" in page
    assert {one["id"]: one["health"]["state"] for one in told["factories"]} == {
        "bsc-aif": "ok", "czai": "draining", "it4lia": "unreachable", "jaif": "starting", "lumi-aif": "ok",
    }  # fmt: skip
    assert told["factories"][-1]["partitions"][0]["pending"] == 214


async def test_many_visitors_cause_one_request_to_the_link(anybody: httpx.AsyncClient, link: FakeLink) -> None:
    link.asked.clear()
    began = time.monotonic()
    for _ in range(5):
        assert (await anybody.get("/hub/status.json")).status_code == 200
    assert link.asked.count(("GET", "/network")) <= 1 + (time.monotonic() - began) // _NETWORK_KEPT


async def test_many_visitors_wait_only_once_for_a_hanging_link(link: FakeLink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may open the page: if requests to a hanging link waited one after the other, the last would wait for all
    before it."""
    mine = HubGateway(link.socket)
    asked = 0

    async def hang() -> NetworkView:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        raise LinkSilent("it hangs")

    try:
        await mine.table.wait_for_link()
        monkeypatch.setattr(mine.link, "network", hang)
        outcomes = await asyncio.gather(*(mine.network() for _ in range(5)), return_exceptions=True)
        assert [type(one) for one in outcomes] == [LinkSilent] * 5
        assert asked == 1
    finally:
        await mine.close()


async def test_map_and_status_page_say_that_the_link_is_down(
    anybody: httpx.AsyncClient, link: FakeLink, hub: HubProcess
) -> None:
    await link.down()
    try:
        for _ in range(300):
            told = (await anybody.get("/hub/status.json")).json()
            if told["link"] == "silent":
                break
            await asyncio.sleep(0.1)
        assert told == {"hub": "ok", "link": "silent", "version": version(), "factories": []}
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
