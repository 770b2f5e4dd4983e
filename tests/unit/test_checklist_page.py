"""The checklist's page in a real hub: shown after a login if anything is open, and otherwise only on request."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from factorycommon.models import AccountThere, Antenna, ChecklistView, ProjectView, SiteCheck, SiteRules
from factorylink.explain import explain
from factorylink.problems import of_words
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import HubProcess
from tests.unit.page_states import fill, signed_in
from tests.unit.test_accessible_pages import findings

pytestmark = pytest.mark.asyncio(loop_scope="module")
PAGE = "/hub/checklist"
HERE = AccountThere(kind="own", name="u_ada", projects=("P",))
RULES = SiteRules(version="2026-11", url="https://one.example/rules", text="No <b>mining</b>.")
ONE = SiteCheck(factory="one", name="One", machine="ONE", accounts=(HERE,), rules=RULES)
TWO = SiteCheck(factory="two", name="Two", machine="TWO", accounts=(AccountThere(kind="missing"),))


@pytest.fixture(autouse=True)
def _told(link: FakeLink) -> None:
    link.accepted.clear()
    link.checklist = ChecklistView(sites=(ONE, TWO))


@pytest_asyncio.fixture(loop_scope="module")
async def ada(hub: HubProcess) -> AsyncIterator[httpx.AsyncClient]:
    browser = await hub.login("ada")
    yield browser
    await browser.aclose()


async def signs_in(hub: HubProcess, query: str = "") -> tuple[httpx.AsyncClient, str]:
    """Log in as ada with a browser; return the browser, and the address to which the login redirects.

    ``query``: the query of the login page.
    """
    browser = httpx.AsyncClient(base_url=hub.url, timeout=60, trust_env=False)
    await browser.get("/hub/login")
    form = {"username": "ada", "password": "ada-secret", "_xsrf": browser.cookies["_xsrf"]}
    answer = await browser.post(f"/hub/login{query}", data=form)
    assert answer.status_code == 302, answer.text
    return browser, answer.headers["Location"]


async def send(browser: httpx.AsyncClient, query: str = "", **ticked: str) -> httpx.Response:
    """Send the page's form; return the answer, without following a redirect.

    ``query``: the query of the page's address; ``ticked``: the fields that are sent.
    """
    page = (await browser.get(PAGE + query)).text
    action = html.unescape(re.findall(r'method="post" action="([^"]*)"', page)[0])
    xsrf = re.findall(r'name="_xsrf" value="([^"]*)"', page)[0]
    return await browser.post(action, data={"_xsrf": xsrf, **ticked}, follow_redirects=False)


async def test_a_login_leads_by_the_checklist_and_on(hub: HubProcess, link: FakeLink) -> None:
    browser, where = await signs_in(hub, "?next=%2Fhub%2Ftoken")
    parts = urlsplit(where)
    assert (parts.path, parse_qs(parts.query)) == (PAGE, {"next": ["/hub/token"]})
    assert "ada" in link.people  # the link knows the groups that decide the list
    answer = await send(browser, f"?{parts.query}", **{"rules-one": RULES.version})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/hub/token")
    assert link.accepted == {("ada", "one"): RULES.version}
    await browser.aclose()

    browser, where = await signs_in(hub, "?next=%2Fhub%2Ftoken")  # nothing is open any more
    assert where == "/hub/token"
    answer = await browser.get(f"{PAGE}?next=%2Fhub%2Ftoken")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/hub/token")
    assert "Accepted on 2 Jan 2026" in (await browser.get(PAGE)).text  # the page can still be opened
    await browser.aclose()

    newer = RULES.model_copy(update={"version": "2027-01"})
    link.checklist = ChecklistView(sites=(ONE.model_copy(update={"rules": newer}),))
    browser, where = await signs_in(hub)
    assert urlsplit(where).path == PAGE
    await browser.aclose()


async def test_a_site_without_an_account_or_rules_stops_nobody(hub: HubProcess, link: FakeLink) -> None:
    link.checklist = ChecklistView(sites=(TWO, TWO.model_copy(update={"rules": RULES})))
    browser, where = await signs_in(hub)
    assert urlsplit(where).path == "/hub/spawn"
    await browser.aclose()


async def test_a_silent_link_stops_nobody(hub: HubProcess, link: FakeLink) -> None:
    await link.down()
    try:
        browser, where = await signs_in(hub)
        assert urlsplit(where).path == "/hub/spawn"
        answer = await browser.get(PAGE)
        assert answer.status_code == 200
        assert "cannot reach the factories" in answer.text
        answer = await send(browser, **{"rules-one": RULES.version})
        assert answer.status_code == 503
        await browser.aclose()
    finally:
        await link.up()


async def test_rules_that_are_left_open_stop_nobody_here(ada: httpx.AsyncClient, link: FakeLink) -> None:
    answer = await send(ada, "?next=%2Fhub%2Ftoken")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/hub/token")
    assert not link.accepted
    answer = await send(ada, **{"rules-one": RULES.version})  # opened by the menu, so the answer leads back to the list
    assert (answer.status_code, answer.headers["Location"]) == (302, PAGE)


async def test_an_older_version_is_asked_for_again_at_its_box(ada: httpx.AsyncClient, link: FakeLink) -> None:
    answer = await send(ada, "?next=%2Fhub%2Ftoken", **{"rules-one": "2025-01"})
    assert answer.status_code == 400
    assert not link.accepted
    [box] = re.findall(r'<input type="checkbox"[^>]*id="rules-one"[^>]*>', answer.text)
    assert 'aria-invalid="true"' in box and 'aria-describedby="rules-one-wrong"' in box and "autofocus" in box
    assert re.search(r'id="rules-one-wrong">The terms have changed since you read them', answer.text)
    assert '<a href="#rules-one">ONE: The terms have changed' in answer.text
    assert 'role="alert"' in answer.text
    assert "next=%2Fhub%2Ftoken" in answer.text  # and then to the wanted page


async def test_the_checklist_shows_accounts_and_how_to_request_them(ada: httpx.AsyncClient, link: FakeLink) -> None:
    link.checklist = ChecklistView(
        projects=(ProjectView(id="P", title="Folding", mode="other", role="member", usable=True, factories=("one",)),),
        sites=(ONE, TWO),
    )
    page = (await ada.get(PAGE)).text
    assert 'href="/hub/project/P"' in page and "Folding" in page
    assert "you have an account there: u_ada." in page
    assert "you have no account there yet." in page and "Ask the leaders of your project" in page
    assert "No &lt;b&gt;mining&lt;/b&gt;." in page and "No <b>" not in page
    assert 'href="https://one.example/rules"' in page
    assert 'href="/hub/checklist" aria-current="page"' in page  # in the menu

    told = {"id": "x", "name": "X-AIFA", "country": "DE", "factories": ["one"], "languages": ["de"],
            "greeting": {"de": "Willkommen"}, "login": {"provider": "p"}}  # fmt: skip
    link.checklist = ChecklistView(nothing=explain.own("no-project"), antenna=Antenna.model_validate(told))
    page = (await ada.get(f"{PAGE}?lang=de")).text
    assert "Sie sind in keinem Projekt" in page
    assert "Willkommen" in page and "X-AIFA" in page


async def test_the_checklist_redirects_within_the_hub_and_needs_a_login(
    hub: HubProcess, ada: httpx.AsyncClient
) -> None:
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example"):
        answer = await send(ada, f"?next={elsewhere}")
        where = urlsplit(answer.headers["Location"])
        assert not where.netloc and not where.scheme
        assert not answer.headers["Location"].startswith(("//", "/\\"))
    assert (await ada.post(PAGE, data={"rules-one": RULES.version})).status_code == 403  # a form of another site
    answer = await hub.http.get(PAGE)
    assert answer.status_code == 302 and answer.headers["Location"].startswith("/hub/login")


async def test_a_start_that_is_refused_says_where_to_accept(hub: HubProcess, link: FakeLink) -> None:
    words = explain.filled("rules-open", factory="ONE", address="/hub/checklist")
    link.refuse = of_words("forbidden", words, "factory").problem
    try:
        answer = await hub.api("POST", "/users/ada/servers/ruled", json={"factory": "one"})
    finally:
        link.refuse = None
    assert answer.status_code == 403
    assert "terms of use of ONE" in answer.json()["message"] and "/hub/checklist" in answer.json()["message"]


# --- in a browser


async def test_the_checklist_works_without_javascript_by_keyboard(
    hub: HubProcess, browser: Browser, link: FakeLink
) -> None:
    context = await browser.new_context(base_url=hub.url, java_script_enabled=False, locale="en-GB")
    page = await context.new_page()
    await page.goto("/hub/login?next=%2Fhub%2Fstatus")
    await page.locator("#username_input").fill("ada")
    await page.locator("#password_input").fill("ada-secret")
    await page.locator("#login_submit").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Your checklist")
    box = page.get_by_role("checkbox", name="I have read and accept the terms of use of ONE (version 2026-11)")
    await box.focus()
    await page.keyboard.press("Space")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Continue")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/hub/status")
    assert link.accepted == {("ada", "one"): RULES.version}
    await context.close()


async def test_an_error_is_shown_at_its_box_and_can_be_reached(hub: HubProcess, browser: Browser) -> None:
    narrow = {"width": 360, "height": 780}
    context = await browser.new_context(base_url=hub.url, locale="en-GB", viewport=narrow, reduced_motion="reduce")
    await signed_in(context)
    page = await context.new_page()
    await page.goto(f"{PAGE}?next=%2Fhub%2Ftoken")
    # as in a page that was loaded an hour ago
    await page.evaluate("document.getElementById('rules-one').value = '2025-01'")
    await page.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Continue").click()
    box = page.get_by_role("checkbox")
    await expect(box).to_be_focused()
    await expect(box).to_have_accessible_description("The terms have changed since you read them. Read them again.")
    await expect(page.get_by_role("alert")).to_contain_text("The terms have changed")
    assert (await page.title()).startswith("Not yet:")
    for theme in ("light", "dark"):
        await page.evaluate("name => document.documentElement.dataset.bsTheme = name", theme)
        assert await findings(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await page.get_by_role("alert").get_by_role("link").click()
    await expect(box).to_be_focused()
    await box.check()
    await page.get_by_role("button", name="Continue").click()
    await page.wait_for_url("**/hub/token")
    await context.close()


async def test_the_start_page_says_it_and_leads_there_and_back(
    hub: HubProcess, browser: Browser, link: FakeLink
) -> None:
    fill(link)
    words = explain.filled("rules-open", factory="ONE", address=PAGE)
    link.factories = [one.model_copy(update={"rules_open": words}) for one in link.factories if one.id == "one"]
    link.checklist = ChecklistView(sites=(ONE,))
    context = await browser.new_context(base_url=hub.url, locale="en-GB", reduced_motion="reduce")
    await signed_in(context)
    page = await context.new_page()
    await page.goto("/hub/spawn/ada/more")
    await expect(page.locator("#fg-factories")).to_contain_text("You have not accepted its terms of use yet")
    obstacle = page.locator("#fg-obstacle")
    await expect(obstacle).to_contain_text("You have not accepted the present terms of use of ONE")
    await expect(page.locator("#fg-start-button")).to_have_attribute("aria-disabled", "true")
    assert await findings(page) == []
    await obstacle.get_by_role("link", name="To your checklist").click()
    await page.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Continue").click()
    await page.wait_for_url("**/hub/spawn/ada/more")
    await context.close()
