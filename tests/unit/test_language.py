"""Catalogues that are whole, and the hub's answers in the language of who asks."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from factorycommon.models import Problem
from factorylink.explain import explain
from factoryspawner.language import Languages, languages
from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import HubProcess

CHECKOUT = Path(__file__).parents[2]
LOCALE = CHECKOUT / "hub_config" / "locale"
API = "/hub/gateway/api"


def test_finished_sentences_are_found_again() -> None:
    german = {one.code: one for one in languages(LOCALE)}["de"]
    assert german.said("Job 4711 waits in the queue.") == "Job 4711 wartet in der Warteschlange."
    assert (
        german.said("Unknown node size 'x{y}'; LUMI has: 'a', 'b'.")
        == "Unbekannte Knotengröße 'x{y}'; LUMI hat: 'a', 'b'."
    )
    assert german.said("An operator's own words.") == "An operator's own words."
    # What scripts say with parts never takes apart what the link said.
    assert german.said("lumi: down until noon") == "lumi: down until noon"
    for answers in explain.everything().values():
        for answer in answers:
            told = answer.words()
            assert german.spoken(told).what != told.what
            assert german.spoken(told).do != told.do
            assert german.spoken(told).code == told.code


def test_a_text_of_any_length_is_looked_up_at_once() -> None:
    """A person may have one of their own making said to them; the hub does nothing else meanwhile."""
    german = {one.code: one for one in languages(LOCALE)}["de"]
    text = f"hours: {'a: ' * 4_000!r} is not a number."
    german.said("Not now.")  # the catalogue's templates are made at the first one
    before = time.process_time()
    assert german.said(text) == text
    assert time.process_time() - before < 0.5


def test_plural_forms_are_told_for_every_number() -> None:
    german = {one.code: one for one in languages(LOCALE)}["de"]
    plural = german.browser["plural"]
    assert len(plural) == 200
    assert [plural[n] for n in (0, 1, 2, 101)] == ["1", "0", "1", "1"]
    assert {one.code: one for one in languages(LOCALE)}["en"].browser["texts"] == {}


def test_a_folder_without_catalogues_is_english(tmp_path: Path) -> None:
    assert [one.name for one in Languages(tmp_path)] == ["English"]
    assert {"English", "Deutsch", "Français"} < {one.name for one in languages(LOCALE)}


# --- the hub ----------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ada(hub: HubProcess, link: FakeLink) -> AsyncIterator[httpx.AsyncClient]:
    page_states.fill(link)
    browser = await hub.login("ada")
    yield browser
    await browser.aclose()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("query", "cookie", "accept", "language"),
    [
        ("", "", "", "en"),
        ("", "", "de-AT,de;q=0.9,en;q=0.8", "de"),
        ("", "", "fi,en;q=0.5,de;q=0.4", "en"),
        ("", "", "fi;q=1,de;q=0.9", "de"),
        ("", "", "de;q=0", "en"),
        ("", "", "de;q=much,;;;,~", "en"),
        ("", "", "en;q=0.1, de; q=0.9", "de"),
        ("", "", "en ; Q=0.1 , de;level=1 ; q=0.2", "de"),
        ("", "", "de;q=nan,*;q=0", "en"),
        ("", "", "x" * 30_000, "en"),
        ("", "", "de," * 10_000, "de"),
        ("", "en", "de", "en"),
        ("", "de", "en", "de"),
        ("", "../../etc", "de", "de"),
        ("?lang=de", "en", "en", "de"),
        ("?lang=%00%ff", "", "de", "de"),
    ],
)
async def test_a_page_speaks_the_language_that_is_asked_for(
    ada: httpx.AsyncClient, query: str, cookie: str, accept: str, language: str
) -> None:
    kept = "; ".join(f"{name}={value}" for name, value in ada.cookies.items())
    headers = {"Accept-Language": accept, "Cookie": f"{kept}; fg-lang={cookie}" if cookie else kept}
    page = (await ada.get(f"/hub/home{query}", headers=headers)).text
    assert f'<html lang="{language}">' in page
    assert ("Ihre Sitzungen" in page) == (language == "de")
    assert ("Your sessions" in page) == (language == "en")
    answer = await ada.get(f"{API}/sessions{query}", headers=headers)
    assert answer.headers["content-language"] == language
    waits = next(one["waits_for"] for one in answer.json() if one["waits_for"])
    assert waits["code"] == "priority"
    assert waits["whose"] == "wait"
    assert waits["what"].startswith("Andere" if language == "de" else "Other jobs")
    assert waits["scheduler"] == "Priority"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_refusal_and_its_page_are_translated(ada: httpx.AsyncClient, link: FakeLink) -> None:
    german = {"Accept-Language": "de"}
    missing = (await ada.get(f"{API}/sessions/{'f' * 32}", headers=german)).json()
    assert missing["message"] == "no such session"  # a stand-in's own words: not in the catalogue, shown as they are
    link.refuse = Problem(kind="draining", message="Closed <b>for</b> the fair.", do="Try again in a minute.")
    form = {"factory": "one", "size": "small", "_xsrf": ada.cookies["_xsrf"]}
    page = (await ada.post("/hub/spawn/ada/fresh", data=form, headers=german)).text
    link.refuse = None
    assert "Closed &lt;b&gt;for&lt;/b&gt; the fair." in page
    assert "Versuchen Sie es in einer Minute wieder." in page


@pytest.mark.asyncio(loop_scope="module")
async def test_the_stream_ends_when_the_link_falls_silent_so_that_pages_say_so(
    ada: httpx.AsyncClient, link: FakeLink
) -> None:
    async with ada.stream("GET", f"{API}/sessions/events") as answer:
        lines = answer.aiter_lines()
        while not (await anext(lines)).startswith("data:"):
            pass
        await link.down()
        try:
            async for _ in lines:
                pass
            told = (await ada.get(f"{API}/sessions", headers={"Accept-Language": "de"})).json()
            assert told["message"] == "Die Verbindung des Gateways zu den Factories antwortet gerade nicht."
        finally:
            await link.up()
