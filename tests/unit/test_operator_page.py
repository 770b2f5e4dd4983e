"""The operators' page in a real hub: its orders reach the link with the operator's name; other people are refused."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.support.door import until
from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")
PAGE = "/hub/operator"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside) -> AsyncIterator[HubProcess]:
    """Start a hub with ada as administrator."""
    # One test waits until the link has not answered for this long.
    extra = "c.Authenticator.admin_users = {'ada'}\nclient._ANSWER_SECONDS = 10.0\n"
    made = HubProcess(tmp_path_factory.mktemp("hub"), link.socket, beside, extra)
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()


@pytest.fixture(autouse=True)
def _told(link: FakeLink) -> None:
    link.operator = page_states.operator(datetime.now(UTC))
    link.orders.clear()
    link.operator_answers.set()


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


async def test_an_order_to_a_link_that_does_not_answer_is_answered_503(
    hub: HubProcess, ada: httpx.AsyncClient, link: FakeLink
) -> None:
    await ada.get(PAGE)
    token = {"X-XSRFToken": ada.cookies["_xsrf"]}  # the page has no form while the link does not answer
    await link.down()
    try:
        said = await ada.post(PAGE, data={"order": "pause", "message": "Back at noon."}, headers=token)
    finally:
        await link.up()
        await hub.until("ada", lambda _: link.readers > 0)
    assert (said.status_code, "cannot reach the factories at the moment" in said.text) == (503, True)
    assert link.orders == []


async def test_the_banner_is_on_all_pages_until_it_is_removed(
    hub: HubProcess, ada: httpx.AsyncClient, link: FakeLink
) -> None:
    await hub.until("ada", lambda _: link.readers > 0)
    await send(ada, order="banner", message="<b>Upgrade</b> at 14:00")
    words = "&lt;b&gt;Upgrade&lt;/b&gt; at 14:00"

    async def shown(path: str) -> bool:
        return words in (await hub.http.get(path, follow_redirects=True)).text

    async with asyncio.timeout(60):  # the link tells the hub
        while not await shown("/hub/status"):
            await asyncio.sleep(0.05)
    assert await shown("/hub/home")
    assert await shown("/hub/login")
    await send(ada, order="remove")
    async with asyncio.timeout(60):
        while await shown("/hub/status"):
            await asyncio.sleep(0.05)


async def test_a_banner_is_previewed_before_anybody_sees_it(
    hub: HubProcess, ada: httpx.AsyncClient, link: FakeLink
) -> None:
    end = datetime.now(UTC) + timedelta(days=1)
    fields = {"message": "<b>Upgrade</b>", "until": f"{end:%Y-%m-%dT%H:%M}", "sessions": "yes"}
    shown = await send(ada, order="preview", **fields)
    assert shown.status_code == 200
    assert "Preview: nobody else sees this yet." in shown.text
    assert shown.text.count("&lt;b&gt;Upgrade&lt;/b&gt;") == 2  # in the preview and in the input field
    assert f'value="{fields["until"]}"' in shown.text
    assert re.search(r'name="sessions" value="yes" checked', shown.text)
    assert link.orders == []
    await send(ada, order="banner", **fields)
    assert link.orders == [("banner", f"<b>Upgrade</b> True until {end:%Y-%m-%d %H:%M}", "ada")]
    await send(ada, order="remove")


@pytest.mark.parametrize("until", ["soon", "2020-01-01T00:00", "9999-12-31T23:59", "2026-13-01T00:00", "x" * 100_000])
async def test_a_banner_ends_within_the_coming_year(ada: httpx.AsyncClient, link: FakeLink, until: str) -> None:
    for order in ("preview", "banner"):
        answer = await send(ada, order=order, message="Upgrade", until=until)
        assert answer.status_code == 400
        assert 'aria-describedby="until-wrong"' in answer.text
        assert len(answer.text) < 50_000
    assert link.orders == []


async def test_a_banner_ends_by_itself(hub: HubProcess, link: FakeLink) -> None:
    await hub.until("ada", lambda _: link.readers > 0)

    async def shown() -> bool:
        return "Over soon." in (await hub.http.get("/hub/status")).text

    link.show_banner("Over soon.", datetime.now(UTC) + timedelta(hours=1))
    while not await shown():
        pass
    link.show_banner("Over soon.", datetime.now(UTC))  # whose end is now: nothing is told when that comes
    while await shown():
        pass


async def test_a_link_that_takes_too_long_is_not_called_silent(
    hub: HubProcess, ada: httpx.AsyncClient, link: FakeLink
) -> None:
    await hub.until("ada", lambda _: link.readers > 0)
    link.operator_answers.clear()
    page = await ada.get(PAGE, timeout=120)
    assert page.status_code == 200
    assert "The link to the factories gave no usable answer in time." in page.text


async def test_nothing_runs_nothing_waits_nothing_failed(ada: httpx.AsyncClient, link: FakeLink) -> None:
    link.operator = link.operator.model_copy(update={"factories": (), "waiting": (), "failures": (), "banner": ""})
    page = (await ada.get(PAGE)).text
    assert "Nobody waits." in page
    assert page.count("None at the moment.") == 2


async def test_a_factory_that_the_command_paused_accepts_no_new_sessions(
    ada: httpx.AsyncClient, link: FakeLink
) -> None:
    one, three = link.operator.factories
    for paused in (None, "<i>Talks</i>."):
        link.operator = link.operator.model_copy(
            update={"factories": (one, three.model_copy(update={"drained": None, "paused": paused}))}
        )
        page = (await ada.get(PAGE)).text
        row = page[page.index('data-key="three"') :].partition("</tr>")[0]
        assert ("Accepts no new sessions" in row) == (paused is not None)
        said = "Paused by the command factorygate. People see: &lt;i&gt;Talks&lt;/i&gt;."
        assert (said in " ".join(row.split())) == (paused is not None)


@pytest.mark.parametrize("width", [1280, 390])
async def test_a_page_with_very_much_on_it_stays_a_page(
    hub: HubProcess, link: FakeLink, browser: Browser, width: int
) -> None:
    """The texts are as hostile sites or people write them: none of them runs as code, and nothing reaches beyond the
    edge."""
    link.operator = page_states.crowded(datetime.now(UTC))
    context = await browser.new_context(base_url=hub.url, viewport={"width": width, "height": 800})
    await page_states.signed_in(context)
    page = await context.new_page()
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    answer = await page.goto(PAGE)
    assert answer is not None
    assert len(await answer.body()) < 1_000_000
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    table = page.get_by_role("table", name="Factories")
    await expect(table.get_by_role("row")).to_have_count(21 if width > 767 else 20)
    await expect(page.get_by_text("39,800 more are not shown.")).to_be_visible()
    assert (
        await page.evaluate("Math.max(...[...document.querySelectorAll('.fg-scroll')].map((box) => box.offsetHeight))")
        < 500
    )
    assert dialogs == []
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(hub: HubProcess, browser: Browser) -> AsyncIterator[Page]:
    """Return an empty page with a clock that the test moves, in a browser in which ada is logged in."""
    context = await browser.new_context(base_url=hub.url)
    await page_states.signed_in(context)
    made = await context.new_page()
    await made.clock.install()
    yield made
    await context.close()


async def test_what_is_being_written_stays_while_the_page_is_renewed(page: Page, link: FakeLink) -> None:
    await page.goto(PAGE)
    await page.locator("summary").filter(has_text="Pause new starts at ONE").click()
    await page.get_by_label("Message for people at ONE").fill("Back at")
    link.operator = link.operator.model_copy(update={"waiting": (), "more_waiting": 0})
    await page.clock.run_for(25_000)
    await expect(page.get_by_text("Nobody waits.")).to_be_visible()
    await expect(page.get_by_label("Message for people at ONE")).to_have_value("Back at")
    await expect(page.get_by_label("Message for people at ONE")).to_be_visible()


async def test_a_tick_that_is_not_sent_yet_stays_while_the_page_is_renewed(page: Page, link: FakeLink) -> None:
    await page.goto(PAGE)
    tick = page.get_by_label("Show it once in open sessions, too")
    await tick.check()
    await page.get_by_label("Text of the banner").fill("Back at")
    link.operator = link.operator.model_copy(update={"waiting": (), "more_waiting": 0})
    await page.clock.run_for(25_000)
    await expect(page.get_by_text("Nobody waits.")).to_be_visible()
    await expect(page.get_by_label("Text of the banner")).to_have_value("Back at")
    await expect(tick).to_be_checked()


async def test_a_banner_that_is_being_written_stays_when_another_one_comes_or_goes(page: Page, link: FakeLink) -> None:
    for before, after in (("", "Maintenance"), ("Maintenance", "")):
        link.operator = link.operator.model_copy(update={"banner": before})
        await page.goto(PAGE)
        await page.get_by_label("Show it once in open sessions, too").check()
        await page.get_by_label("Text of the banner").fill("Back at")
        link.operator = link.operator.model_copy(update={"banner": after})
        await page.clock.run_for(25_000)
        await expect(page.get_by_role("button", name="Remove the banner")).to_have_count(int(bool(after)))
        await expect(page.get_by_label("Text of the banner")).to_have_value("Back at")
        await expect(page.get_by_label("Show it once in open sessions, too")).to_be_checked()


async def test_a_person_who_is_signed_out_meanwhile_is_told_so(page: Page) -> None:
    await page.goto(PAGE)
    table = page.get_by_role("table", name="Factories")
    await expect(table).to_be_visible()
    await page.context.clear_cookies()
    async with page.expect_response(lambda response: "/hub/login" in response.url):
        await page.clock.run_for(25_000)
    await expect(page.locator("#fg-unheard")).to_have_text("You are signed out. Reload the page to sign in again.")
    await expect(table).to_be_visible()  # what was known stays


async def test_an_error_page_quotes_the_number_of_the_request(hub: HubProcess, ada: httpx.AsyncClient) -> None:
    answer = await ada.get("/hub/no-such-page", headers={"X-Request-ID": "quoted-by-ada"})
    assert answer.headers["X-Request-ID"] == "quoted-by-ada"
    assert "<code>quoted-by-ada</code>" in answer.text
    await until(lambda: "[quoted-by-ada]" in hub.log, what="the line of the log")  # it is written after the answer
    made = (await ada.get("/hub/home", headers={"X-Request-ID": "<odd>"})).headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{16}", made)


async def test_a_hostile_number_of_a_request_stops_nobody(hub: HubProcess, ada: httpx.AsyncClient) -> None:
    """The test sends raw bytes, since no client sends such a header."""
    host, port = httpx.URL(hub.url).host, httpx.URL(hub.url).port
    for header in (b"x" * 2**20, b"quoted\x00by-eve", b"quoted-by-eve\rINFO all is well", b"quoted\x1b[31mby-eve"):
        reader, writer = await asyncio.open_connection(host, port)
        with contextlib.suppress(ConnectionError):
            head = b"GET /hub/no-such-page HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n"
            writer.write(head + b"X-Request-ID: %s\r\n\r\n" % header)
            assert header not in await reader.read()
        writer.transport.abort()
        assert (await ada.get(PAGE)).status_code == 200
    assert not any(odd in hub.log for odd in ("\x00", "\r", "\x1b", "\nINFO", "x" * 200_000))


async def test_a_start_takes_its_number_along_to_the_link(
    hub: HubProcess, ada: httpx.AsyncClient, link: FakeLink
) -> None:
    link.asked.clear()
    link.headers.clear()
    answer = await hub.api("POST", "/users/ada/server", headers={"X-Request-ID": "start-of-ada"})
    assert answer.status_code in (201, 202), answer.text
    await link.until(None, lambda session: session.user == "ada")  # the hub accepts the start before it exists
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
    await page.locator("summary").filter(has_text="Pause new starts at ONE").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Message for people at ONE")).to_be_focused()
    await page.keyboard.type("Back at noon.")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Pause new starts at ONE")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status").filter(has_text="The pause has begun.")).to_be_visible()
    assert link.orders == [("pause", "one: Back at noon.", "ada")]
    waits = page.get_by_role("table", name="Sessions that wait or do not answer, and why")
    await expect(waits.get_by_role("row").filter(has_text="ada")).to_contain_text("Other jobs are ahead of yours")
    await context.close()
