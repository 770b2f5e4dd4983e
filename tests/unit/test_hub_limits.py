"""Limits of one person's requests to the hub: their number, their size, and their names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from factorycommon.models import Problem
from factoryspawner.api.handler import MOST_BYTES
from factoryspawner.config.hub_config import MOST_BYTES as MOST_OF_ALL
from factoryspawner.event_stream import MOST_OF_A_PERSON
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import HubProcess, is_ready, is_stopped

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/hub/gateway/api"
# All kinds of characters that both JupyterHub and the link accept, that is, all except control characters.
NAMES = [
    "a;b",
    "ada@example.org",
    "site\\ada",
    'o\'neill "x"',
    "a%2fb?c#d&e=f",
    "a+b~c,d",
    "äöü-ß-日本",
    "<script>alert(1)</script>".replace("/", "|"),
    "{{7*7}}${x}`id`$(id)",
    "a..b",
    "-rf",
    "u\u2028v\u0085w",
    "n" * 200,
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ada(hub: HubProcess) -> AsyncIterator[httpx.AsyncClient]:
    browser = await hub.login("ada")
    yield browser
    await browser.aclose()


def forged(browser: httpx.AsyncClient) -> dict[str, str]:
    return {"X-XSRFToken": browser.cookies["_xsrf"]}


async def test_a_person_has_only_so_many_streams_open(hub: HubProcess, ada: httpx.AsyncClient) -> None:
    async def status(client: httpx.AsyncClient, into: AsyncExitStack) -> tuple[int, bytes]:
        answer = await into.enter_async_context(client.stream("GET", f"{API}/home/events"))
        return answer.status_code, b"" if answer.status_code == 200 else await answer.aread()

    bob = await hub.login("bob")
    async with AsyncExitStack() as few:
        async with AsyncExitStack() as opened:
            for _ in range(MOST_OF_A_PERSON):
                assert (await status(ada, opened))[0] == 200
            code, words = await status(ada, opened)
            assert code == 429
            assert b"as many pages" in words
            assert (await status(bob, few))[0] == 200  # another person
            assert (await ada.get(f"{API}/sessions")).status_code == 200
        for _ in range(100):  # closed streams, which the hub notices one by one
            if (await status(ada, few))[0] == 200:
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("no stream is closed")
    await bob.aclose()


async def test_a_body_without_end_is_refused_before_it_is_known_whose_it_is(hub: HubProcess) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MOST_OF_ALL // 2**16 + 1):
            yield b"x" * 2**16

    for body in (b"x" * (MOST_OF_ALL + 1), chunks()):
        try:
            answer = await hub.http.post("/hub/login", content=body)
        except httpx.TransportError:
            continue  # the hub disconnects while the client is still sending
        assert answer.status_code in (400, 413)
    assert (await hub.http.get("/hub/health")).status_code == 200


async def test_long_requests_are_refused(ada: httpx.AsyncClient, link: FakeLink) -> None:
    url, headers = f"{API}/factories/one/credential", forged(ada)
    answer = await ada.put(url, json={"token": "t" * MOST_BYTES}, headers=headers)
    assert (answer.status_code, answer.json()["message"]) == (
        413,
        "This request is longer than the 64 KiB that the gateway takes. Send less.",
    )
    assert link.renewed == []
    assert (await ada.put(url, json={"token": "t" * 8000}, headers=headers)).status_code == 200


@pytest.mark.parametrize("key", ["size", "factory", "environment", "hours", "project", "no-such-key", "k" * 10**6])
async def test_a_value_of_a_megabyte_is_refused_and_not_repeated(
    hub: HubProcess, link: FakeLink, ada: httpx.AsyncClient, user: str, key: str
) -> None:
    long = "v" * (10**6 - 1000) if len(key) < 100 else "v"
    before = len(hub.log)
    with hub.patient():
        answer = await hub.api("POST", f"/users/{user}/servers/long", json={key: long})
    assert answer.status_code == 400, answer.status_code
    assert len(answer.text) < 2000
    page = await ada.post("/hub/spawn", data={key: long, "_xsrf": ada.cookies["_xsrf"]}, headers=forged(ada))
    assert page.status_code in (200, 400), page.status_code
    assert "v" * 2000 not in page.text
    assert len(hub.log) - before < 50_000
    assert not [asked for asked in link.requests.values() if asked.user in (user, "ada")]


async def test_refused_starts_do_not_count_towards_the_named_servers(
    hub: HubProcess, link: FakeLink, user: str
) -> None:
    """Ten named servers are allowed."""
    link.auto, link.refuse = True, Problem(kind="refused", message="The factory does not take it.")

    async def names() -> set[str]:
        return set((await hub.api("GET", f"/users/{user}")).json()["servers"]) - {""}

    with hub.patient():
        for number in range(12):
            answer = await hub.api("POST", f"/users/{user}/servers/refused{number}", json={"factory": "one"})
            assert "does not take it" in answer.text, answer.text
    link.refuse = None
    for number in range(10):
        answer = await hub.api("POST", f"/users/{user}/servers/kept{number}", json={"factory": "one"})
        assert answer.status_code in (201, 202), answer.text
    assert await names() == {f"kept{number}" for number in range(10)}
    one_more = await hub.api("POST", f"/users/{user}/servers/more", json={"factory": "one"})
    assert one_more.status_code == 400
    assert "maximum of 10" in one_more.text
    for number in range(10):  # a name that had a session is kept after its end
        await hub.until(user, is_ready, f"kept{number}")
        await hub.api("DELETE", f"/users/{user}/servers/kept{number}")
        await hub.until(user, is_stopped, f"kept{number}")
    one_more = await hub.api("POST", f"/users/{user}/servers/more", json={"factory": "one"})
    assert one_more.status_code == 400


@pytest.mark.parametrize("name", NAMES)
async def test_every_name_that_jupyterhub_takes_works(hub: HubProcess, link: FakeLink, name: str) -> None:
    link.auto, link.refuse = True, None
    path = f"/users/{quote(name, safe='')}"
    made = await hub.api("POST", path)
    assert made.status_code == 201, made.text
    name = made.json()["name"]  # JupyterHub's own spelling
    path = f"/users/{quote(name, safe='')}"
    answer = await hub.api("POST", f"{path}/servers/one", json={"factory": "one"})
    assert answer.status_code in (201, 202), answer.text
    await hub.until(quote(name, safe=""), is_ready, "one")
    [session] = link.live(name)
    given = link.environments[session.id].environment
    assert given["JUPYTERHUB_USER"] == name
    prefix = f"/user/{quote(name, safe='@~')}/one/"
    assert given["JUPYTERHUB_SERVICE_PREFIX"] == prefix
    assert given["JUPYTERHUB_ACTIVITY_URL"].endswith(f"/users/{quote(name, safe='@~')}/activity")
    token = given["JUPYTERHUB_API_TOKEN"]
    told = {"servers": {"one": {"last_activity": "2026-01-02T03:04:05Z"}}}
    assert (await hub.api("POST", f"{path}/activity", token, json=told)).status_code == 200
    assert (await hub.api("DELETE", f"{path}/servers/one")).status_code in (202, 204)
    await link.until(session.id, lambda s: s.wish == "stop")
    await link.end(session.id)
    await hub.until(quote(name, safe=""), is_stopped, "one")
    assert (await hub.api("DELETE", path)).status_code in (202, 204)
