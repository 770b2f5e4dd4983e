"""Pages on a phone, in a browser: the menu is behind its button, the map has all numbers, and nothing is hidden by the
bar."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from math import ceil, hypot

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess
from tests.unit.test_accessible_pages import People, findings, theme

PHONE = {"width": 360, "height": 640}
MARK, ANTENNA = 24.0, 7.0  # px: a number's minimum width, an antenna's minimum half width

# Controls and texts below the heading that the bar with Start hides.
COVERED = """() => {
  const bar = document.querySelector(".fg-go").getBoundingClientRect();
  return [...document.querySelectorAll("main p, main li, main label, main summary, main input")]
    .filter((one) => one.checkVisibility() && !one.closest(".fg-go"))
    .filter((one) => one.getBoundingClientRect().bottom > bar.top + 1)
    .map((one) => one.outerHTML.slice(0, 120));
}"""
UNDER_THE_BAR = """() => {
  const one = document.activeElement;
  const bar = document.querySelector(".fg-go");
  if (one === document.body || bar.contains(one)) return null;
  return one.getBoundingClientRect().bottom > bar.getBoundingClientRect().top ? one.outerHTML.slice(0, 120) : null;
}"""
BOXES = """(kind) => [...document.querySelectorAll(kind)].map((one) => {
  const { x, y, width, height } = one.getBoundingClientRect();
  return { name: one.textContent.trim(), x: x + width / 2, y: y + height / 2, width, height };
})"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside) -> AsyncIterator[HubProcess]:
    """Start a hub with data of every kind for ada, who administers it."""
    page_states.fill(link)
    made = HubProcess(tmp_path_factory.mktemp("hub"), link.socket, beside, "c.Authenticator.admin_users = {'ada'}")
    await made.up()
    await page_states.asked_for(made, link)
    yield made
    await made.kill()
    await made.http.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def phones(hub: HubProcess, browser: Browser) -> AsyncIterator[People]:
    """Return phones of ada, of bob, and of a visitor."""
    options = {"base_url": hub.url, "locale": "en-GB", "reduced_motion": "reduce", "viewport": PHONE}
    contexts = {who: await browser.new_context(**options) for who in ("ada", "bob", None)}
    for who, context in contexts.items():
        if who is not None:
            await page_states.signed_in(context, who)
    yield contexts
    for context in contexts.values():
        await context.close()


async def opened(phones: People, name: str) -> Page:
    """Open the page ``name`` of ``page_states.ALL`` on the phone of its person; return it."""
    shown = page_states.ALL[name]
    page = await phones[shown.who].new_page()
    await shown.open(page, "en")
    return page


async def test_the_menu_opens_and_closes_by_keyboard(phones: People) -> None:
    page = await opened(phones, "home")
    button, home = page.get_by_role("button", name="Menu"), page.get_by_role("link", name="Home", exact=True)
    await expect(home).to_be_hidden()
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(home).to_be_visible()
    wanted = await page.evaluate("document.querySelectorAll('#fg-menu :is(a, button, select)').length")
    for _ in range(wanted):
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.closest('#fg-menu') !== null")
    await expect(page.get_by_role("link", name="Sign out")).to_be_focused()
    box = await page.locator("#fg-menu").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= PHONE["height"]
    await page.keyboard.press("Escape")
    await expect(home).to_be_hidden()
    await expect(button).to_be_focused()
    await page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_in_the_open_menu(phones: People, scheme: str) -> None:
    page = await opened(phones, "home")
    await theme(page, scheme)
    await page.get_by_role("button", name="Menu").click()
    await expect(page.get_by_role("link", name="Home", exact=True)).to_be_visible()
    assert await findings(page) == []
    await page.close()


async def test_the_menu_works_without_javascript(hub: HubProcess, browser: Browser) -> None:
    context = await browser.new_context(base_url=hub.url, locale="en-GB", viewport=PHONE, java_script_enabled=False)
    page = await context.new_page()
    await page.goto("/hub/status")
    await page.get_by_role("button", name="Menu").click()
    await page.get_by_role("link", name="Factories").click()
    await page.wait_for_url("**/hub/factories")
    await context.close()


@pytest.mark.parametrize("width", [320, 360, 575, 576, 992, 1280])
async def test_no_two_marks_of_the_map_overlap(phones: People, width: int) -> None:
    page = await opened(phones, "map")
    await page.set_viewport_size({"width": width, "height": 800})
    marks = await page.evaluate(BOXES, ".fg-map .fg-spot")
    antennas = await page.evaluate(BOXES, ".fg-map .fg-antenna")
    figure = await page.locator(".fg-map").bounding_box()
    assert figure is not None
    assert sorted(int(one["name"]) for one in marks) == list(range(1, 20))
    for number, one in enumerate(marks):
        assert min(one["width"], one["height"]) >= MARK
        assert figure["x"] <= one["x"] - one["width"] / 2
        assert one["x"] + one["width"] / 2 <= figure["x"] + figure["width"]
        for other in marks[:number]:  # the marks are round
            between = hypot(one["x"] - other["x"], one["y"] - other["y"])
            assert between >= (one["width"] + other["width"]) / 2, (one, other)
        for other in antennas:
            between = hypot(one["x"] - other["x"], one["y"] - other["y"])
            assert between >= one["width"] / 2 + min(other["width"] / 2, ANTENNA), (one, other)
    await page.close()


async def test_a_number_of_the_map_leads_to_its_factory_in_the_list(phones: People) -> None:
    page = await opened(phones, "map")
    await page.locator(".fg-map .fg-spot", has_text=re.compile("^6$")).click()
    await expect(page.locator("li:target")).to_contain_text("Karolina")
    await expect(page.locator("li:target")).to_be_in_viewport()
    await page.close()


async def test_the_one_choice_is_not_covered_by_its_start_button(phones: People) -> None:
    page = await opened(phones, "first")
    # the last part of the page that is loaded
    await expect(page.locator("#fg-aside")).to_contain_text("4,900 of its 5,000")
    change = page.locator("#fg-choose > summary")
    summary = await change.bounding_box()
    assert summary is not None
    lowest = ceil(summary["y"] + summary["height"])
    await page.set_viewport_size({"width": PHONE["width"], "height": lowest + 1})  # it is the last visible thing
    bar = await page.locator(".fg-go").bounding_box()
    assert bar is not None
    assert bar["y"] + bar["height"] <= summary["y"]
    await page.set_viewport_size(PHONE)
    await change.click()
    await expect(page.get_by_role("radio").first).to_be_attached()
    await expect(page.locator(".fg-go")).to_have_css("position", "fixed")
    await page.close()


async def test_all_of_the_start_page_scrolls_clear_of_the_bar(phones: People) -> None:
    page = await opened(phones, "start")
    await page.locator("#fg-more > summary").click()
    await expect(page.get_by_label("Project to charge")).to_be_visible()
    # However high the bar is.
    await page.evaluate("document.getElementById('fg-short').style.paddingTop = '9rem'")
    scrolled = "window.scrollTo(0, document.documentElement.scrollHeight)"
    await page.wait_for_function(f"() => {{ {scrolled}; return ({COVERED})().length === 0; }}")
    await page.close()


async def test_the_focused_control_is_not_hidden_by_the_bar(phones: People) -> None:
    page = await opened(phones, "start")
    await page.locator("#fg-more > summary").click()
    await expect(page.get_by_label("Project to charge")).to_be_visible()
    wanted = await page.evaluate(page_states.USABLE)
    await page.evaluate("document.activeElement.blur(); window.getSelection().removeAllRanges(); scrollTo(0, 0)")
    reached = set()
    for _ in range(len(wanted) + 5):
        await page.keyboard.press("Tab")
        reached.add(await page.evaluate("document.activeElement.id"))
        assert await page.evaluate(UNDER_THE_BAR) is None
    assert {"session-name", "url_tokens", "fg-start-button"} <= reached
    await page.close()


async def test_no_part_of_the_administrators_table_is_beyond_the_edge(phones: People) -> None:
    page = await opened(phones, "admin")
    row = page.get_by_test_id("user-row-ada").first
    await expect(row.locator("td").nth(2)).to_have_attribute("data-label", "Last Activity")
    for button in ("ada-collapse-button", None):
        boxes = await page.evaluate(BOXES, ".server-dashboard-container :is(.user-row td, button, input)")
        assert boxes
        beyond = [one for one in boxes if one["width"] and one["x"] + one["width"] / 2 > PHONE["width"]]
        assert beyond == []
        if button is not None:  # then show a user's details
            await page.get_by_test_id(button).first.click()
            await expect(page.get_by_text("auth_state").first).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    await page.close()


async def test_bars_of_progress_say_what_they_show(phones: People) -> None:
    page = await opened(phones, "waiting")
    await expect(page.get_by_text("Progress: step 1 of 3")).to_be_visible()
    steps = page.get_by_role("list", name="Progress: step 1 of 3").get_by_role("listitem")
    await expect(steps).to_have_text(["In the queue", "Starting", "Running"])
    await page.close()
    page = await opened(phones, "home")
    bar = page.get_by_role("progressbar", name=re.compile("^busy .*left, ends"))
    await expect(bar).to_have_attribute("aria-valuenow", re.compile(r"^\d+$"))
    await page.close()
