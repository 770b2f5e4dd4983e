"""The operators' page in a real hub: its orders reach the link with the operator's name; other people are refused."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support.door import until
from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")
PAGE = "/hub/operator"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside) -> AsyncIterator[HubProcess]:
    """Start a hub with ada as administrator."""
    extra = "c.Authenticator.admin_users = {'ada'}"
    made = HubProcess(tmp_path_factory.mktemp("hub"), link.socket, beside, extra)
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()


@pytest.fixture(autouse=True)
def _told(link: FakeLink) -> None:
    link.operator = page_states.operator(datetime.now(UTC))
    link.orders.clear()


@pytest_asyncio.fixture(loop_scope="module")
async def ada(hub: HubProcess) -> AsyncIterator[httpx.AsyncClient]:
    browser = await hub.login("ada")
    yield browser
    await browser.aclose()


async def send(browser: httpx.AsyncClient, **fields: str) -> httpx.Response:
    page = (await browser.get(PAGE)).text
    xsrf = re.findall(r'name="_xsrf" value="([^"]*)"', page)[0]
    return await browser.post(PAGE, data={"_xsrf": xsrf, **fields}, follow_redirects=False)


async def test_only_administrators_see_the_operators_page(hub: HubProcess, link: FakeLink) -> None:
    bob = await hub.login("bob")
    assert (await bob.get(PAGE)).status_code == 403
    assert (await bob.post(PAGE, data={"order": "pause", "message": "No."})).status_code == 403
    assert "/hub/operator" not in (await bob.get("/hub/home")).text
    stranger = await hub.http.get(PAGE, follow_redirects=False)
    assert (stranger.status_code, stranger.headers["Location"].partition("?")[0]) == (302, "/hub/login")
    assert link.orders == []
    await bob.aclose()


async def test_orders_reach_the_link_with_the_operators_name(ada: httpx.AsyncClient, link: FakeLink) -> None:
    done = await send(ada, order="pause", factory="one", message="Back at noon.")
    assert (done.status_code, done.headers["Location"]) == (302, "/hub/operator?done=pause")
    await send(ada, order="resume", factory="one")
    await send(ada, order="pause", message="All of it.")
    await send(ada, order="resume")
    await send(ada, order="banner", message=" Two\nlines. ", sessions="yes")
    await send(ada, order="remove")
    assert link.orders == [
        ("pause", "one: Back at noon.", "ada"),
        ("resume", "one", "ada"),
        ("pause", ": All of it.", "ada"),
        ("resume", "", "ada"),
        ("banner", "Two lines. True", "ada"),
        ("remove", "", "ada"),
    ]


async def test_an_unknown_order_is_refused(ada: httpx.AsyncClient, link: FakeLink) -> None:
    assert (await send(ada, order="explode")).status_code == 400
    assert (await send(ada, order="pause", factory="../one", message="x")).status_code == 400
    long = await send(ada, order="banner", message="x" * 501)
    assert long.status_code == 400
    assert 'id="banner-wrong"' in long.text
    empty = await send(ada, order="pause", factory="one", message="  ")
    assert 'aria-describedby="pause-one-wrong"' in empty.text
    assert (await ada.post(PAGE, data={"order": "remove"})).status_code == 403  # without the page's XSRF token
    assert link.orders == []


async def test_the_banner_is_on_all_pages_until_it_is_removed(
    hub: HubProcess, ada: httpx.AsyncClient, link: FakeLink
) -> None:
    await hub.until("ada", lambda _: link.readers > 0)
    await send(ada, order="banner", message="<b>Upgrade</b> at 14:00")
    for path in ("/hub/home", "/hub/status", "/hub/login"):
        assert "&lt;b&gt;Upgrade&lt;/b&gt; at 14:00" in (await hub.http.get(path, follow_redirects=True)).text
    await send(ada, order="remove")
    assert "Upgrade&lt;" not in (await hub.http.get("/hub/status")).text


async def test_an_error_page_quotes_the_number_of_the_request(hub: HubProcess, ada: httpx.AsyncClient) -> None:
    answer = await ada.get("/hub/no-such-page", headers={"X-Request-ID": "quoted-by-ada"})
    assert answer.headers["X-Request-ID"] == "quoted-by-ada"
    assert "<code>quoted-by-ada</code>" in answer.text
    await until(lambda: "[quoted-by-ada]" in hub.log, what="the line of the log")  # it is written after the answer
    made = (await ada.get("/hub/home", headers={"X-Request-ID": "<odd>"})).headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{16}", made)


async def test_a_start_takes_its_number_along_to_the_link(
    hub: HubProcess, ada: httpx.AsyncClient, link: FakeLink
) -> None:
    link.asked.clear()
    link.headers.clear()
    answer = await hub.api("POST", "/users/ada/server", headers={"X-Request-ID": "start-of-ada"})
    assert answer.status_code in (201, 202), answer.text
    numbers = {
        headers.get("x-request-id")
        for (method, path), headers in zip(link.asked, link.headers, strict=True)
        if method == "PUT" and path.startswith("/sessions/")
    }
    assert numbers == {"start-of-ada"}
    await hub.api("DELETE", "/users/ada/server")


async def test_the_operators_page_works_by_keyboard(hub: HubProcess, link: FakeLink, browser: Browser) -> None:
    context = await browser.new_context(base_url=hub.url, java_script_enabled=True)
    await page_states.signed_in(context)
    page = await context.new_page()
    await page.goto(PAGE)
    field = page.get_by_label("Message for people at ONE")
    await field.focus()
    await page.keyboard.type("Back at noon.")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Pause new starts at ONE")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status").filter(has_text="New starts are paused.")).to_be_visible()
    assert link.orders == [("pause", "one: Back at noon.", "ada")]
    await expect(page.get_by_role("row").filter(has_text="ada")).to_contain_text("Other jobs are ahead of yours")
    await context.close()
