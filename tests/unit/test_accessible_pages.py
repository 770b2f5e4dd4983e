"""Every page of the hub in a browser: axe finds nothing, nothing is wider than 360 px, and the keyboard reaches
everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess

AXE = Path(__file__).parents[2] / "extensions" / "lab" / "node_modules" / "axe-core" / "axe.min.js"
ERRORS = Path(__file__).parents[2] / "hub_config" / "error"
AXE_RUN = """async (rules) => {
  const only = rules.length ? { runOnly: { type: "rule", values: rules } } : {};
  const { violations } = await axe.run(document, { resultTypes: ["violations"], ...only });
  return violations.map((one) => ({ rule: one.id, where: one.nodes.map((node) => node.html) }));
}"""

People = dict[str | None, BrowserContext]
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside) -> AsyncIterator[HubProcess]:
    """Start a hub with data of every kind for ada, who administers it."""
    page_states.fill(link)
    extra = "c.Authenticator.admin_users = {'ada'}"
    made = HubProcess(tmp_path_factory.mktemp("hub"), link.socket, beside, extra)
    await made.up()
    await page_states.asked_for(made, link)
    yield made
    await made.kill()
    await made.http.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(hub: HubProcess, browser: Browser) -> AsyncIterator[People]:
    """Return browsers of ada, of bob, and of a visitor."""
    options = {"base_url": hub.url, "locale": "en-GB", "reduced_motion": "reduce"}
    contexts = {who: await browser.new_context(**options) for who in ("ada", "bob", None)}
    for who, context in contexts.items():
        if who is not None:
            await page_states.signed_in(context, who)
    yield contexts
    for context in contexts.values():
        await context.close()


async def findings(page: Page, *rules: str) -> Any:
    if not AXE.exists():
        pytest.skip("needs axe-core (bin/test installs it)")
    if not await page.evaluate("'axe' in window"):
        await page.add_script_tag(path=AXE)
    return await page.evaluate(AXE_RUN, rules)


async def theme(page: Page, name: str) -> None:
    """Set the page's theme; its colours change at once, since the browsers ask for reduced motion."""
    await page.evaluate("name => document.documentElement.dataset.bsTheme = name", name)


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("name", list(page_states.ALL))
async def test_axe_finds_nothing_and_nothing_sticks_out(people: People, name: str, language: str) -> None:
    shown = page_states.ALL[name]
    page = await people[shown.who].new_page()
    await page.set_viewport_size({"width": 1280, "height": 900})
    await shown.open(page, language)
    await expect(page.locator(".fg-menu-button")).to_be_hidden()
    await theme(page, "light")
    assert await findings(page) == []
    await theme(page, "dark")
    assert await findings(page, "color-contrast") == []
    await page.set_viewport_size({"width": 360, "height": 780})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    assert await page.evaluate("document.querySelector('.fg-top').offsetHeight") <= 64
    assert await findings(page, "color-contrast", "target-size") == []
    await page.close()


async def test_axe_finds_nothing_on_an_operators_page_with_very_much_on_it(people: People, link: FakeLink) -> None:
    few, link.operator = link.operator, page_states.crowded(datetime.now(UTC))
    page = await people["ada"].new_page()
    await page.goto("/hub/operator")
    assert await findings(page) == []
    await page.set_viewport_size({"width": 390, "height": 844})
    assert await findings(page, "color-contrast", "target-size", "scrollable-region-focusable") == []
    await page.close()
    link.operator = few


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("status", [404, 503])
async def test_axe_finds_nothing_on_the_proxys_own_pages(
    hub: HubProcess, people: People, status: int, scheme: Any
) -> None:
    page = await people["ada"].new_page()
    await page.emulate_media(color_scheme=scheme)
    await page.set_viewport_size({"width": 360, "height": 780})
    body = (ERRORS / f"{status}.html").read_text()
    await page.route("**/user/ada/**", lambda route: route.fulfill(status=status, body=body, content_type="text/html"))
    for code in ("en", "de"):
        await page.context.add_cookies([{"name": "fg-lang", "value": code, "url": hub.url}])
        await page.goto("/user/ada/busy/lab")
        await expect(page.locator("h1")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        assert await findings(page) == []
    await page.close()


async def test_axe_finds_the_faults_of_a_bad_page(people: People) -> None:
    page = await people[None].new_page()
    await page.goto("/hub/status")
    await page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert [one["rule"] for one in await findings(page)] == ["button-name"]
    await page.evaluate("document.querySelector('h1').style.color = '#ddd'")
    assert [one["rule"] for one in await findings(page, "color-contrast")] == ["color-contrast"]
    await page.close()


@pytest.mark.parametrize("name", ["start", "home", "map", "status", "token", "login"])
async def test_the_keyboard_reaches_all_that_can_be_used_and_shows_where_it_is(people: People, name: str) -> None:
    shown = page_states.ALL[name]
    page = await people[shown.who].new_page()
    await shown.open(page, "en")
    wanted = await page.evaluate(page_states.USABLE)
    await page.evaluate("document.activeElement.blur(); window.getSelection().removeAllRanges();")
    reached: set[int] = set()
    for _ in range(len(wanted) + 10):
        await page.keyboard.press("Tab")
        at = await page.evaluate(page_states.FOCUSED)
        if at is None:
            continue
        reached.add(at["mark"])
        assert at["ring"], f"nothing shows that the focus is on {at['html']}"
        assert at["seen"], f"the focus is hidden on {at['html']}"
    assert [html for number, html in enumerate(wanted) if number not in reached] == []
    await page.close()


async def test_the_first_tab_leads_past_the_menu(people: People) -> None:
    page = await people[None].new_page()
    await page.goto("/hub/factories")
    await expect(page.get_by_role("link", name="BE-AIFA")).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="To the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="BE-AIFA")).to_be_focused()
    await page.close()


async def test_the_system_decides_light_or_dark_until_a_person_does(hub: HubProcess, browser: Browser) -> None:
    context = await browser.new_context(base_url=hub.url, color_scheme="dark")
    page = await context.new_page()
    await page.goto("/hub/status")
    await expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    await page.get_by_role("button", name="Toggle dark mode").click()
    await expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    await page.goto("/hub/factories")
    await expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    await context.close()
