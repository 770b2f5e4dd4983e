"""Open pages: changes are shown without a reload, and a reason is given for everything that cannot be chosen."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from factorycommon.models import Cost, End, Environment, Health, NetworkView, Outcome, ReservationView
from factorylink.explain import explain
from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import HubProcess, is_stopped

PATIENCE = 60_000  # ms: the hub caches the link's answer for some seconds, and a page asks every 20 s

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def page(hub: HubProcess, link: FakeLink, browser: Browser) -> AsyncIterator[Page]:
    """Return an empty page of a browser in which ada is logged in, once the hub shows the link's data."""
    page_states.fill(link)
    await told(hub, "lumi-aif", "ok")
    context = await browser.new_context(base_url=hub.url, locale="en-GB", reduced_motion="reduce")
    await page_states.signed_in(context)
    made = await context.new_page()
    yield made
    await context.close()


async def told(hub: HubProcess, factory: str, state: str) -> None:
    """Wait until the hub shows this state of a factory, since the hub caches the link's answers for some seconds."""
    async with asyncio.timeout(PATIENCE / 1000):
        while True:
            factories = (await hub.http.get(f"{hub.url}/hub/status.json")).json()["factories"]
            if [factory, state] in [[one["id"], one["health"]["state"]] for one in factories]:
                return
            await asyncio.sleep(0.2)


def silent(network: NetworkView, factory: str) -> NetworkView:
    """Return the data of the map with one factory that does not answer."""
    health = Health(state="unreachable", since=datetime.now(UTC), words=explain.unreachable("timed out"))
    changed = [one.model_copy(update={"health": health}) if one.id == factory else one for one in network.factories]
    return network.model_copy(update={"factories": tuple(changed)})


async def renewed(page: Page) -> None:
    """Let time pass on the page until it asks again."""
    async with page.expect_response(lambda response: response.url == page.url and response.ok, timeout=PATIENCE):
        await page.clock.fast_forward(60_000)


@pytest.mark.parametrize("path", ["/hub/status", "/hub/factories"])
async def test_changes_are_shown_and_announced_without_a_reload(
    page: Page, link: FakeLink, hub: HubProcess, path: str
) -> None:
    await page.clock.install()
    await page.goto(path)
    lumi = page.locator("[data-key='lumi-aif']")
    await expect(lumi.locator(".fg-status")).to_have_text("Available, partly in maintenance")
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
    await expect(lumi.locator(".fg-status")).to_have_text("Available, partly in maintenance")
    assert await page.evaluate("window.said") == []  # nothing changed, so a screen reader says nothing

    link.network = silent(link.network, "lumi-aif")
    await told(hub, "lumi-aif", "unreachable")
    await renewed(page)
    await expect(lumi.locator(".fg-status")).to_have_text("Not answering")
    assert await page.evaluate("window.whole === document.querySelector(\"[data-key='lumi-aif']\")")
    assert await page.evaluate("window.said") == ["LUMI: Not answering"]
    assert await page.evaluate("window.touched") == 0  # unchanged elements are not redrawn
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
    """Make the link offer one factory with these values; each size gets its fitting environments."""
    found = link.factories[0].model_copy(update=change)
    sizes = []
    for view in found.sizes:
        fitting = tuple(each.id for each in found.environments if not each.sizes or view.size.id in each.sizes)
        offer = view.offer.model_copy(update={"environments": fitting, "environment": next(iter(fitting), None)})
        sizes.append(view.model_copy(update={"offer": offer}))
    link.factories = [found.model_copy(update={"sizes": tuple(sizes)})]


async def start(page: Page) -> None:
    await page.goto(f"{page_states.START}?lang=en")
    await expect(page.locator("#fg-summary p").first).to_be_visible()
    if not await page.locator("#fg-steps").is_visible():
        await page.locator("#fg-choose > summary").click()


async def test_a_person_without_sessions_sees_one_choice_and_start(page: Page, link: FakeLink) -> None:
    await page.goto(f"{page_states.START}?lang=en")
    await expect(
        page.get_by_role("heading", name=re.compile("^(Our suggestion|Based on your last choice)$"))
    ).to_be_visible()
    await expect(page.locator("#fg-asked")).to_contain_text("You ask for 1 x A100 40 GB on ONE for 2 hours.")
    start = page.get_by_role("button", name="Start", exact=True)
    await expect(start).to_have_attribute("aria-disabled", "false")
    await expect(page.get_by_role("radio")).to_have_count(0)  # also for a screen reader
    seen = await page.evaluate(
        "[...document.querySelectorAll('main p:not(#fg-delays p), main li')].filter((one) => one.checkVisibility())"
        ".map((one) => one.innerText.trim()).filter(Boolean)"
    )
    assert len(seen) <= 8, seen  # with the notice of a session that ends soon

    # By keyboard, Start comes first, then everything else.
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
    await expect(
        page.get_by_role("heading", name=re.compile("^(Our suggestion|Based on your last choice)$"))
    ).to_be_visible()  # nothing was changed


async def test_a_changed_choice_is_not_called_a_suggestion(page: Page, link: FakeLink) -> None:
    await page.goto(f"{page_states.START}?lang=en")
    await page.locator("#fg-choose > summary").click()
    await page.locator("label[for='size-full']").click()
    await page.locator("#fg-choose > summary").click()
    await expect(page.get_by_role("radio")).to_have_count(0)  # only the choice is shown
    await expect(page.get_by_role("heading", name="What you ask for")).to_be_visible()


async def test_a_link_with_options_shows_all_choices(page: Page, link: FakeLink) -> None:
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
    await page.evaluate("window.dispatchEvent(new Event('online'))")  # the page asks again
    await expect(page.locator("#factory-five")).to_be_checked()
    await expect(page.locator("label[for='factory-one']")).to_contain_text("No size here is open to your projects")
    await expect(page.locator("#factory-one")).to_be_disabled()


async def test_tokens_in_addresses_are_allowed_by_a_click(page: Page, link: FakeLink) -> None:
    link.auto = False
    await page.goto("/hub/spawn/ada/programs?lang=en")
    await expect(page.locator("#fg-start-button")).to_have_attribute("aria-disabled", "false")
    await page.locator("#fg-more > summary").click()
    await expect(page.locator("#url_tokens")).not_to_be_checked()
    await page.get_by_label("Accept tokens in addresses").check()
    await page.locator("#fg-start-button").click()
    await page.wait_for_url("**/hub/spawn-pending/ada/programs**")
    # the hub accepts the start before the session exists
    session = await link.until(None, lambda one: one.server == "programs")
    assert link.requests[session.id].choice.url_tokens is True
    await link.end(session.id)


# --- loss of work, surprises and costs


async def test_warnings_about_lost_work_are_beside_the_start_button(page: Page, link: FakeLink) -> None:
    one(link)
    await page.goto(f"{page_states.START}?lang=en")
    mind = page.locator("#fg-mind")
    await expect(mind).to_contain_text("It stops after 1 hour without use. A running cell counts as use;")
    await expect(mind).to_contain_text("The session cannot reach the internet.")
    await expect(page.locator("#fg-happens")).to_be_hidden()
    await page.locator("#fg-what > summary").click()
    happens = page.locator("#fg-happens")
    await expect(happens).to_contain_text("Packages and data: upload them in JupyterLab.")
    await expect(happens).to_contain_text("You work under your own account at the factory.")
    await expect(happens).to_contain_text("It also stops if you do not open it within 30 minutes.")
    one(link, outbound="compute")
    await page.goto(f"{page_states.START}?lang=en")
    await expect(mind).to_contain_text("It stops after 1 hour without use.")
    await expect(mind).not_to_contain_text("internet")


async def test_a_maintenance_that_delays_the_suggestion_is_beside_the_start_button(page: Page, link: FakeLink) -> None:
    one(link)
    await page.goto(f"{page_states.START}?lang=en")
    delays = page.locator("#fg-delays")
    await expect(delays).to_contain_text("with so many hours your session starts only after it")
    await delays.get_by_role("button", name=re.compile("Shorten to fit")).click()
    await expect(delays).to_be_empty()
    await page.locator("#fg-choose > summary").click()
    await expect(page.locator("#fg-hours")).to_contain_text("a session that starts now ends before it")
    await expect(page.get_by_role("button", name=re.compile("Shorten to fit"))).to_have_count(0)


@pytest.mark.parametrize("late", ["projects", "ready"])
async def test_no_button_moves_when_projects_arrive_after_the_factories(page: Page, link: FakeLink, late: str) -> None:
    one(link)
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        await released.wait()
        await route.continue_()

    await page.route(re.compile(f"/gateway/api/{late}$"), hold)
    await page.clock.install()
    await page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))  # the page does not lose patience
    async with (
        page.expect_response(re.compile("/gateway/api/choice$")),
        page.expect_response(re.compile("/gateway/api/factories$")),
    ):
        await page.goto(f"{page_states.START}?lang=en")
    await page.evaluate("fetch('/hub/gateway/api/factories').then((one) => one.text())")  # later than the page's own
    shorten = page.get_by_role("button", name=re.compile("Shorten to fit"))
    early = await shorten.bounding_box() if await shorten.is_visible() else None
    released.set()
    await expect(page.locator("#fg-project")).to_contain_text("EHPC-AIF-2026PG01-756")
    assert early in (None, await shorten.bounding_box())


async def test_a_choice_is_shown_though_the_projects_do_not_arrive(page: Page, link: FakeLink) -> None:
    one(link)
    await page.route(re.compile("/gateway/api/(projects|ready)$"), lambda route: None)  # never answered
    await page.goto(f"{page_states.START}?lang=en")
    await expect(page.locator("#fg-asked")).to_contain_text("You ask for 1 x A100 40 GB on ONE for 2 hours.")
    await expect(page.get_by_role("button", name="Start", exact=True)).to_have_attribute("aria-disabled", "false")


async def test_a_reservation_is_sent_though_the_choices_are_folded_again(page: Page, link: FakeLink) -> None:
    one(link)
    await page.goto(f"{page_states.START}?lang=en")
    await page.locator("#fg-choose > summary").click()
    await page.locator("#reservation").select_option("course")
    await page.locator("#fg-choose > summary").click()
    sent = await page.evaluate("new FormData(document.getElementById('spawn_form')).get('reservation')")
    assert sent == "course"  # the browser sends the form as it is


async def test_a_maintenance_is_said_on_a_factory_s_card(page: Page, link: FakeLink) -> None:
    card = page.locator("label[for='factory-one']")
    await start(page)
    await expect(card).to_contain_text(re.compile(r"Maintenance from .*\d\d:\d\d"))
    now = datetime.now(UTC)
    closes = (
        link.factories[0]
        .maintenance[0]
        .model_copy(update={"start": now - timedelta(hours=1), "end": now + timedelta(hours=1)})
    )
    one(link, maintenance=(closes,))
    await start(page)
    await expect(card).to_contain_text(re.compile(r"In maintenance until .*\d\d:\d\d"))
    await expect(card).not_to_contain_text("Free now")


async def test_a_session_that_ran_out_of_memory_says_so_and_starts_again_with_a_larger_size(
    page: Page, link: FakeLink, hub: HubProcess
) -> None:
    first = link.factories[0]
    sizes = tuple(
        view.model_copy(update={"size": view.size.model_copy(update={"memory_gb": memory})})
        for view, memory in zip(first.sizes, (60, 240, 60, 120), strict=True)
    )
    one(link, sizes=sizes)
    ended = await out_of_memory(hub, link, "hungry")
    await page.goto("/hub/user/ada/hungry/?lang=en")
    await expect(page.get_by_role("heading", name="Your session ran out of memory")).to_be_visible()
    facts = page.locator(".fg-facts")
    for text in ("hungry", "ONE", "1 x A100 40 GB, for 2 hours", "PyTorch 2", "0.5 GPU-hours"):
        await expect(facts).to_contain_text(text)
    await expect(page.locator("main")).to_contain_text(
        "2 x A100 40 GB has 120 GB of main memory (RAM). It costs at most 4 GPU-hours"
    )
    buttons = page.locator("#fg-waiting-body .fg-buttons button")
    await expect(buttons).to_have_text(["Start again with 2 x A100 40 GB", "Start again with the same size"])
    await buttons.first.click()
    await page.wait_for_url("**/hub/spawn-pending/ada/hungry**")
    again = await link.until(None, lambda one: one.server == "hungry" and one.id != ended)
    assert link.requests[again.id].choice.size == "later"
    await link.end(again.id)


async def test_the_page_of_an_ending_server_whose_session_is_not_known_keeps_its_words(page: Page) -> None:
    async def ends(route: Route) -> None:
        answer = await route.fetch()
        body = (await answer.text()).replace('data-mode="stopped"', 'data-mode="stopping"')
        await route.fulfill(response=answer, body=body)

    await page.route("**/hub/user/ada/unknown/**", ends)
    await page.route("**/gateway/api/sessions", lambda route: route.fulfill(json=[]))
    async with page.expect_response("**/gateway/api/factories"):
        await page.goto("/hub/user/ada/unknown/?lang=en")
    await expect(page.locator("#fg-waiting[data-mode=stopping] h1")).to_have_text("This session is not running")
    await expect(page.locator("#fg-waiting .fg-stepper")).to_have_count(0)


async def test_without_a_larger_size_the_page_warns_of_the_same_end(
    page: Page, link: FakeLink, hub: HubProcess
) -> None:
    one(link, sizes=link.factories[0].sizes[:1])
    await out_of_memory(hub, link, "starved")
    await page.goto("/hub/user/ada/starved/?lang=en")
    await expect(page.locator("main")).to_contain_text("The same session will probably run out of memory again.")
    await expect(page.locator("#fg-waiting-body .fg-buttons button")).to_have_text(["Start again with the same size"])
    await page.goto("/hub/home?lang=en")
    row = page.locator("#fg-ended li", has_text="starved")
    await expect(row).to_contain_text("Charged: 0.5 GPU-hours")
    await expect(row.get_by_role("button", name="Start again with the same size")).to_be_visible()


async def test_a_request_that_never_ran_is_not_charged(page: Page, link: FakeLink) -> None:
    await page.goto("/hub/home?lang=en")
    await expect(page.locator("#fg-ended li", has_text="done")).to_contain_text("Not charged: it never ran")


async def out_of_memory(hub: HubProcess, link: FakeLink, server: str) -> str:
    """Start a session of ada's that runs for half an hour and then exceeds its memory; return its id."""
    link.auto = False
    asked = {"factory": "one", "size": "small", "hours": 2}
    answer = await hub.api("POST", f"/users/ada/servers/{server}", json=asked)
    assert answer.status_code in (201, 202), answer.text
    session = await link.until(None, lambda one: one.server == server)
    now = datetime.now(UTC)
    reason, words = explain.ended(End(job="7", outcome=Outcome.OUT_OF_MEMORY, raw_state="OUT_OF_MEMORY"))
    charged = Cost(gpu_hours=0.5, counted=0.5)
    began = now - timedelta(minutes=30)
    await link.end(session.id, end_reason=reason, end=words, started=began, ended=now, charged=charged)
    await hub.until("ada", is_stopped, server)
    return str(session.id)
