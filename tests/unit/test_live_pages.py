"""Pages while a person looks at them: what changed is shown without a reload, and what cannot be chosen is said why."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from factorylink import explain
from factorylink.models import Environment, Health, NetworkView, ReservationView
from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import HubProcess

PATIENCE = 60_000  # ms: the hub keeps what the link told for some seconds, and a page asks every 20

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def page(hub: HubProcess, link: FakeLink, browser: Browser) -> AsyncIterator[Page]:
    """ada's."""
    page_states.fill(link)
    await told(hub, "lumi-aif", "ok")
    context = await browser.new_context(base_url=hub.url, locale="en-GB", reduced_motion="reduce")
    await page_states.signed_in(context)
    made = await context.new_page()
    yield made
    await context.close()


async def told(hub: HubProcess, factory: str, state: str) -> None:
    """Until the hub has asked the link again: it keeps an answer for some seconds."""
    async with asyncio.timeout(PATIENCE / 1000):
        while True:
            factories = (await hub.http.get(f"{hub.url}/hub/status.json")).json()["factories"]
            if [factory, state] in [[one["id"], one["health"]["state"]] for one in factories]:
                return
            await asyncio.sleep(0.2)


def silent(network: NetworkView, factory: str) -> NetworkView:
    """The same with one that does not answer."""
    health = Health(state="unreachable", since=datetime.now(UTC), words=explain.unreachable("timed out"))
    changed = [one.model_copy(update={"health": health}) if one.id == factory else one for one in network.factories]
    return network.model_copy(update={"factories": tuple(changed)})


async def renewed(page: Page) -> None:
    """Time passes on the page until it asks again."""
    async with page.expect_response(lambda response: response.url == page.url and response.ok, timeout=PATIENCE):
        await page.clock.fast_forward(60_000)


@pytest.mark.parametrize("path", ["/hub/status", "/hub/factories"])
async def test_what_changed_is_shown_and_said_without_a_reload(
    page: Page, link: FakeLink, hub: HubProcess, path: str
) -> None:
    await page.clock.install()
    await page.goto(path)
    lumi = page.locator("[data-key='lumi-aif']")
    await expect(lumi.locator(".fg-status")).to_have_text("Available")
    await page.evaluate("""() => {
      window.whole = document.querySelector("[data-key='lumi-aif']");
      window.said = [];
      window.touched = 0;
      const region = document.getElementById("fg-announce");
      new MutationObserver(() => window.said.push(region.textContent)).observe(region, { childList: true });
      new MutationObserver((all) => { window.touched += all.length; }).observe(
        document.querySelector("[data-key='czai'] .fg-status"),
        { childList: true, characterData: true, attributes: true, subtree: true });
    }""")
    await page.locator("main a").first.focus()
    focused = await page.evaluate("document.activeElement.outerHTML")
    await renewed(page)
    await expect(lumi.locator(".fg-status")).to_have_text("Available")
    assert await page.evaluate("window.said") == []  # nothing changed: nothing is said

    link.network = silent(link.network, "lumi-aif")
    await told(hub, "lumi-aif", "unreachable")
    await renewed(page)
    await expect(lumi.locator(".fg-status")).to_have_text("Does not answer")
    assert await page.evaluate("window.whole === document.querySelector(\"[data-key='lumi-aif']\")")
    assert await page.evaluate("window.said") == ["LUMI: Does not answer"]
    assert await page.evaluate("window.touched") == 0  # what is as it was is not drawn anew
    assert await page.evaluate("document.activeElement.outerHTML") == focused


async def test_a_gateway_that_does_not_answer_is_said_and_what_was_known_stays(page: Page) -> None:
    await page.clock.install()
    await page.goto("/hub/status")
    lumi = page.locator("[data-key='lumi-aif']")
    await expect(lumi).to_be_visible()
    await page.route("**/hub/status", lambda route: route.abort())
    await page.clock.fast_forward(60_000)
    unheard = page.locator("#fg-unheard")
    await expect(unheard).to_contain_text("may be out of date", timeout=PATIENCE)
    await expect(lumi).to_be_visible()
    await page.unroute("**/hub/status")
    await renewed(page)
    await expect(unheard).to_have_text("")


# --- what cannot be chosen


def one(link: FakeLink, **change: Any) -> None:
    """The link offers one factory, like this."""
    link.factories = [link.factories[0].model_copy(update=change)]


async def start(page: Page) -> None:
    await page.goto(f"{page_states.START}?lang=en")
    await expect(page.locator("#fg-summary p").first).to_be_visible()
    if not await page.locator("#fg-steps").is_visible():
        await page.locator("#fg-choose > summary").click()


async def test_who_has_nothing_running_sees_one_choice_and_start(page: Page, link: FakeLink) -> None:
    await page.goto(f"{page_states.START}?lang=en")
    await expect(page.get_by_role("heading", name=re.compile("^(Our suggestion|As last time)$"))).to_be_visible()
    await expect(page.locator("#fg-asked")).to_contain_text("You ask for 1 x A100 40 GB on ONE for 2 hours.")
    start = page.get_by_role("button", name="Start", exact=True)
    await expect(start).to_have_attribute("aria-disabled", "false")
    await expect(page.get_by_role("radio")).to_have_count(0)  # as the screen reader has it, too
    seen = await page.evaluate(
        "[...document.querySelectorAll('main p, main li')].filter((one) => one.checkVisibility())"
        ".map((one) => one.innerText.trim()).filter(Boolean)"
    )
    assert len(seen) <= 6, seen

    # By keyboard: Start comes first, then the way to all else.
    await start.focus()
    await page.keyboard.press("Tab")
    await expect(page.locator("#fg-choose > summary")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("radio", name="Free now").first).to_be_attached()
    await expect(page.get_by_role("heading", name="What you ask for")).to_be_visible()
    await expect(page.locator("#fg-choose > summary")).to_be_focused()
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.name") == "factory"
    await page.locator("#fg-choose > summary").press("Enter")
    await expect(page.get_by_role("radio")).to_have_count(0)


async def test_who_comes_for_something_sees_all_of_it(page: Page, link: FakeLink) -> None:
    await page.goto(f"{page_states.START}/more?lang=en")
    await expect(page.locator("#fg-steps")).to_be_visible()
    await page.goto(f"{page_states.START}?lang=en&opt-size=full")
    await expect(page.locator("#size-full")).to_be_checked()
    await expect(page.locator("#fg-choose > summary")).to_be_hidden()


async def test_notes_for_editors_are_no_ones_to_read_and_hints_are_in_the_readers_language(
    page: Page, link: FakeLink
) -> None:
    one(link, hints=({"en": "Scratch is emptied.", "de": "Scratch wird geleert."}, {"en": "Only in English."}))
    await page.goto(f"{page_states.START}/more?lang=en")
    await expect(page.locator("#fg-happens")).to_contain_text("Only in English.")
    await page.goto(f"{page_states.START}/more?lang=de")
    await expect(page.locator("#fg-happens")).to_contain_text("Scratch wird geleert.")
    await expect(page.locator("#fg-happens")).not_to_contain_text("Only in English.")


async def test_a_token_is_made_copied_listed_and_revoked(page: Page, hub: HubProcess) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.goto("/hub/token?lang=en")
    await expect(page.get_by_label("Expires after")).to_have_value(str(30 * 86400))
    await page.get_by_label("Description").fill("nightly tests")
    await page.get_by_role("button", name="Create token").click()
    await expect(page.get_by_role("heading", name="Your new token")).to_be_focused()
    token = await page.locator("#token-result").inner_text()
    row = page.get_by_role("row", name="nightly tests")
    await expect(row).to_have_count(1)
    await page.get_by_role("button", name="Copy").click()
    await expect(page.locator("#token-copied")).to_have_text("Copied.")
    assert await page.evaluate("navigator.clipboard.readText()") == token
    assert (await hub.api("GET", "/user", token)).json()["name"] == "ada"
    await row.get_by_role("button", name="Revoke").click()
    await expect(row).to_have_count(0)
    assert (await hub.api("GET", "/user", token)).status_code == 403


async def test_a_size_that_no_environment_is_made_for_says_so_where_one_chooses(page: Page, link: FakeLink) -> None:
    other = Environment(id="other", title="JAX", kind="venv", python="/e", sizes=("full",))
    one(link, environments=(other,), default_environment="other", default_size="small")
    await start(page)
    for place in ("#fg-environments", "#fg-obstacle"):
        await expect(page.locator(place)).to_contain_text("No environment runs on this size. Pick another size.")
    await expect(page.locator("#fg-environments")).to_contain_text("Does not run on 1 x A100 40 GB")
    await expect(page.locator("#fg-start-button")).to_have_attribute("aria-disabled", "true")
    await page.locator("label[for='size-full']").click()
    await expect(page.locator("#fg-obstacle")).not_to_contain_text("No environment")
    await page.locator("label[for='size-cpu']").click()
    await expect(page.locator("#fg-environments")).to_contain_text("Needs a GPU")
    await expect(page.locator("#fg-summary")).to_contain_text("You ask for 1 core on ONE for 2 hours.")
    await expect(page.locator("label[for='size-cpu'] .fg-card-title")).to_have_text("Without a GPU")


async def test_a_factory_without_an_environment_says_so(page: Page, link: FakeLink) -> None:
    one(link, environments=(), default_environment="base")
    await start(page)
    await expect(page.locator("#fg-environments")).to_have_text(
        "ONE has no environment yet, so nothing can be started there. Pick another factory."
    )


async def test_reservations_that_are_not_the_projects_say_so(page: Page, link: FakeLink) -> None:
    course = ReservationView(id="course", name="course", end=datetime.now(UTC), projects=("EHPC-AIF-2026XX09-999",))
    one(link, reservations=(course,))
    await start(page)
    select = page.get_by_label("Reservation")
    await expect(select.locator("option").first).to_have_text("Without a reservation")
    why = f"{page_states.PAYS} is in none of these reservations."
    await expect(page.locator("#reservation-hint")).to_have_text(why)
    await expect(select).to_have_accessible_description(why)


async def test_a_size_that_no_project_may_have_says_so(page: Page, link: FakeLink) -> None:
    one(link, sizes=tuple(view.model_copy(update={"projects": ()}) for view in link.factories[0].sizes))
    await start(page)
    for place in ("#fg-project", "#fg-obstacle"):
        await expect(page.locator(place)).to_contain_text("None of your projects may use this size.")


async def test_a_factory_that_loses_all_its_sizes_gives_way(page: Page, link: FakeLink) -> None:
    first = link.factories[0]
    other = first.model_copy(update={"id": "five", "name": "Five"})
    link.factories = [first, other]
    await start(page)
    await expect(page.locator("#factory-one")).to_be_checked()
    link.factories = [first.model_copy(update={"sizes": ()}), other]
    await page.evaluate("window.dispatchEvent(new Event('online'))")  # the page asks anew
    await expect(page.locator("#factory-five")).to_be_checked()
    await expect(page.locator("label[for='factory-one']")).to_contain_text("No size here is open to your projects")
    await expect(page.locator("#factory-one")).to_be_disabled()


async def test_tokens_in_addresses_are_allowed_by_a_click(page: Page, link: FakeLink) -> None:
    link.auto, before = False, set(link.requests)
    await page.goto("/hub/spawn/ada/programs?lang=en")
    await expect(page.locator("#fg-start-button")).to_have_attribute("aria-disabled", "false")
    await page.locator("#fg-more > summary").click()
    await expect(page.locator("#url_tokens")).not_to_be_checked()
    await page.get_by_label("Accept tokens in addresses").check()
    await page.locator("#fg-start-button").click()
    await page.wait_for_url("**/hub/spawn-pending/ada/programs**")
    [new] = set(link.requests) - before
    assert link.requests[new].choice.url_tokens is True
    await link.end(new)
