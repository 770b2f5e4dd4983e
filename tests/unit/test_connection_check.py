"""The connection check in a real hub: what its tests answer to whom, and the page in a browser, also behind a proxy
that holds back answers until they are complete and blocks WebSockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from factoryspawner.pages.check.handlers import COOKIE, DOWNLOAD_BYTES, EVENT_SECONDS, SOCKET_MESSAGES, UPLOAD_BYTES
from testbed import ports
from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import HubProcess, is_ready
from tests.unit.test_accessible_pages import findings

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(hub: HubProcess) -> AsyncIterator[httpx.AsyncClient]:
    """Return a browser without a login that has opened the page."""
    async with httpx.AsyncClient(base_url=f"{hub.url}/hub", timeout=60, trust_env=False) as made:
        assert (await made.get("/check")).status_code == 200
        yield made


# --- what the tests of the check answer


async def test_the_page_needs_no_login_and_no_script_to_say_what_to_do(hub: HubProcess) -> None:
    async with httpx.AsyncClient(base_url=hub.url, trust_env=False) as fresh:
        answer = await fresh.get("/hub/check", params={"x": HOSTILE, "lang": "en"})
        assert answer.status_code == 200
        assert "If nothing happens here, your browser does not run this page’s scripts" in answer.text
        assert HOSTILE not in answer.text
        assert (await fresh.get("/hub/check/trip")).json() == {"cookie": True}
        fresh.cookies.delete(COOKIE)
        assert (await fresh.get("/hub/check/trip")).json() == {"cookie": False}


@pytest.mark.parametrize("path", ["trip", "download", "stream"])
async def test_answers_are_not_stored_are_for_this_site_only_and_repeat_nothing(
    visitor: httpx.AsyncClient, path: str
) -> None:
    answer = await visitor.get(f"/check/{path}", params={"x": HOSTILE}, headers={"X-Any": HOSTILE})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not answer.headers["Content-Type"].startswith("text/html")
    assert HOSTILE.encode() not in answer.content
    for site in ("cross-site", "same-site", "none"):
        refused = await visitor.get(f"/check/{path}", headers={"Sec-Fetch-Site": site})
        assert (refused.status_code, refused.content) == (403, b"")
    assert (await visitor.get(f"/check/{path}", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 200


async def test_a_download_is_as_long_as_said_and_cannot_be_compressed(visitor: httpx.AsyncClient) -> None:
    answer = await visitor.get("/check/download", headers={"Accept-Encoding": "gzip"})
    assert len(answer.content) == DOWNLOAD_BYTES
    assert "Content-Encoding" not in answer.headers
    assert len(set(answer.content)) == 256


async def test_an_upload_is_thrown_away_and_a_long_one_is_refused(visitor: httpx.AsyncClient) -> None:
    assert (await visitor.post("/check/upload", content=b"x" * UPLOAD_BYTES)).status_code == 204
    assert (
        await visitor.post("/check/upload", content=b"x", headers={"Sec-Fetch-Site": "cross-site"})
    ).status_code == 403

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    with suppress(httpx.TransportError):  # the hub may close the connection before it is read
        assert (await visitor.post("/check/upload", content=b"x" * (UPLOAD_BYTES + 1))).status_code == 413
    with suppress(httpx.TransportError):
        assert (await visitor.post("/check/upload", content=endless())).status_code == 400


async def test_events_come_one_after_the_other(visitor: httpx.AsyncClient) -> None:
    apart = []
    for _ in range(3):  # a test that is held up reads events at once that came one after the other
        arrivals = []
        async with visitor.stream("GET", "/check/stream") as answer:
            assert answer.headers["X-Accel-Buffering"] == "no"
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    arrivals.append((line, time.monotonic()))
        assert [line for line, _ in arrivals] == ["data: 0", "data: 1", "data: 2"]
        apart.append(arrivals[2][1] - arrivals[0][1])
        if apart[-1] > 1.5 * EVENT_SECONDS:
            return
    pytest.fail(f"the events came together: {apart}")


async def test_a_socket_sends_numbers_back_and_nothing_else(hub: HubProcess) -> None:
    url = f"{hub.url}/hub/check/socket".replace("http", "ws", 1)
    good = await websocket_connect(url)
    for number in ("1", "2", "3"):
        await good.write_message(number)
        assert await good.read_message() == number
    good.close()
    for message in (HOSTILE, "x", "12345", "1" * 100, b"1"):
        closed = await websocket_connect(url)
        await closed.write_message(message, binary=isinstance(message, bytes))
        assert await closed.read_message() is None, message
    many = await websocket_connect(url)
    for _ in range(SOCKET_MESSAGES):
        await many.write_message("1")
        assert await many.read_message() == "1"
    await many.write_message("1")
    assert await many.read_message() is None


async def test_a_page_of_another_site_gets_no_socket(hub: HubProcess) -> None:
    url = f"{hub.url}/hub/check/socket".replace("http", "ws", 1)
    with pytest.raises(HTTPClientError, match="403"):
        await websocket_connect(HTTPRequest(url, headers={"Origin": "https://elsewhere.example"}))
    (await websocket_connect(HTTPRequest(url, headers={"Origin": hub.url}))).close()


# --- in a browser


class ObstructiveProxy:
    """A proxy as some companies have it: it holds each answer back until it is complete, and refuses WebSockets."""

    def __init__(self, hub: HubProcess) -> None:
        self.port = ports.single()
        self.url = f"http://127.0.0.1:{self.port}"
        self._hub = hub
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def up(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def down(self) -> None:
        """Stop listening, and cut all connections."""
        assert self._server is not None
        self._server.close()
        for one in list(self._open):
            one.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened = [writer]
        self._open.add(writer)
        with suppress(OSError, EOFError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = [line for line in head.split("\r\n") if line and not line.lower().startswith("connection:")]
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            if "upgrade" in fields:
                writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            else:
                body = await reader.readexactly(int(fields.get("content-length", "0")))
                answers, onward = await asyncio.open_connection("127.0.0.1", self._hub.port)
                opened.append(onward)
                self._open.add(onward)
                onward.write("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body)
                writer.write(await answers.read())
            await writer.drain()
        for one in opened:
            one.close()
            self._open.discard(one)


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(hub: HubProcess) -> AsyncIterator[ObstructiveProxy]:
    made = ObstructiveProxy(hub)
    await made.up()
    yield made
    await made.down()


async def test_all_is_well_without_a_proxy(hub: HubProcess, browser: Browser) -> None:
    context = await browser.new_context(base_url=hub.url, locale="en-GB")
    page = await context.new_page()
    await page.goto("/hub/check")
    await expect(page.locator("#fg-summary")).to_contain_text("You can take part from here", timeout=60_000)
    assert await page.locator("[data-verdict=bad]").count() == 0
    for code in ("browser-fits", "cookies-kept", "upload", "stream", "socket"):
        await expect(page.locator(f"[data-code={code}]")).to_be_visible()
    await context.close()


async def test_a_proxy_that_blocks_websockets_and_holds_streams_back_is_said_in_words(
    proxy: ObstructiveProxy, browser: Browser
) -> None:
    context = await browser.new_context(
        base_url=proxy.url, locale="en-GB", viewport={"width": 360, "height": 780}, reduced_motion="reduce"
    )
    page = await context.new_page()
    await page.goto("/hub/check")
    await expect(page.locator("#fg-summary")).to_contain_text("You cannot take part from here yet", timeout=60_000)
    socket = page.locator("[data-code=socket-blocked]")
    await expect(socket).to_contain_text("no cell runs: there is no other way to a notebook’s kernel")
    await expect(socket).to_contain_text(f"Allow WebSockets to ws://127.0.0.1:{proxy.port}:")
    await expect(page.locator("[data-code=stream-held]")).to_contain_text("Notebooks are not affected.")
    for code in ("browser-fits", "cookies-kept", "upload"):
        await expect(page.locator(f"[data-code={code}]")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    assert await findings(page) == []
    await page.get_by_role("button", name="Copy the report").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#fg-report")).to_contain_text("Result: You cannot take part from here yet")
    await expect(page.locator("#fg-copied")).not_to_be_empty()

    await context.close()


async def test_pages_ask_every_few_seconds_where_streams_are_held_back(
    proxy: ObstructiveProxy, hub: HubProcess, link: FakeLink, browser: Browser
) -> None:
    context = await browser.new_context(
        base_url=proxy.url, locale="en-GB", viewport={"width": 360, "height": 780}, reduced_motion="reduce"
    )
    await page_states.signed_in(context)
    page = await context.new_page()
    await page.clock.install()
    await page.goto("/hub/home?lang=en")
    await expect(page.locator("#fg-none")).to_be_visible()
    await page.clock.fast_forward(9000)
    await expect(page.locator("#fg-slow")).to_contain_text("holds live updates back")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    assert await findings(page) == []
    link.auto = False
    asked = {"factory": "one", "size": "small"}
    assert (await hub.api("POST", "/users/ada/servers/behind", json=asked)).status_code in (201, 202)
    session = await link.until(None, lambda one: one.server == "behind")
    await page.clock.fast_forward(6000)
    await expect(page.locator("#fg-live")).to_contain_text("behind")

    # The waiting page becomes the notebook, though no stream tells it so.
    await page.goto("/hub/spawn-pending/ada/behind?lang=en")
    await expect(page.locator("#fg-slow")).to_contain_text("holds live updates back")
    link.auto = True
    await link.open_door(session.id)
    await hub.until("ada", is_ready, "behind")
    arrived = asyncio.Event()
    page.on("request", lambda request: arrived.set() if "/user/ada/behind/" in request.url else None)
    async with asyncio.timeout(60):
        while not arrived.is_set():  # the page asks for the session, and then the hub, whose own stream is silent, too
            await page.clock.fast_forward(6000)
            with suppress(TimeoutError):
                await asyncio.wait_for(arrived.wait(), 1)
    await context.close()
