"""The pages' requests to the hub, and the hub's requests to the link."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import pytest_asyncio

from factorycommon.models import ComingView, EndReason, ProjectView, ReadyView, Seat, Words
from factorylink.explain import explain
from tests.unit.fake_link import NOW, FakeLink
from tests.unit.hub_process import HubProcess, is_ready, is_stopped

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/hub/gateway/api"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ada(hub: HubProcess) -> AsyncIterator[httpx.AsyncClient]:
    browser = await hub.login("ada")
    yield browser
    await browser.aclose()


@pytest.fixture(autouse=True)
def _fresh(link: FakeLink) -> None:
    link.sessions.clear()
    link.clusters.clear()
    link.auto, link.refuse = True, None


def forged(browser: httpx.AsyncClient) -> dict[str, str]:
    return {"X-XSRFToken": browser.cookies["_xsrf"]}


async def events(answer: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    event = ""
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            event = line[7:]
        elif line.startswith("data: ") and event != "alive":
            yield event, json.loads(line[6:])


async def first(answer: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    """Yield the first two events of Home's stream, or fewer if the stream ends; none if the link does not answer."""
    told = events(answer)
    for _ in range(2):
        with suppress(StopAsyncIteration):
            yield await anext(told)


async def test_answers_are_json_for_the_person(ada: httpx.AsyncClient, link: FakeLink) -> None:
    link.add("a" * 32, "ada")
    link.add("b" * 32, "bob")
    link.headers.clear()
    assert (await ada.get(f"{API}/factories")).json() == []
    link.coming.append(ComingView(id="two", name="Two", site=Seat(host="h", city="c", country="PL"), coming=None))
    assert (await ada.get(f"{API}/coming")).json()[0]["name"] == "Two"
    link.projects.append(ProjectView(id="P", title="", mode="other", role="member", usable=True, factories=("one",)))
    assert (await ada.get(f"{API}/projects")).json()[0]["id"] == "P"
    assert (await ada.get(f"{API}/ready")).json() == {"nothing": None, "accounts": []}
    link.ready = ReadyView(nothing=explain.own("no-project"))
    assert (await ada.get(f"{API}/ready")).json()["nothing"]["code"] == "no-project"
    assert (await ada.get(f"{API}/choice")).json()["factory"] == "one"
    assert [s["user"] for s in (await ada.get(f"{API}/sessions")).json()] == ["ada"]
    assert (await ada.get(f"{API}/factories/one/estimate?size=small&hours=2")).json()["basis"] == "none"
    answer = await ada.get(f"{API}/sessions/{'a' * 32}")
    assert answer.json()["id"] == "a" * 32
    assert answer.headers["cache-control"] == "no-store"
    assert not [headers for headers in link.headers if "cookie" in headers]


async def test_pages_are_told_where_a_session_opens(ada: httpx.AsyncClient, link: FakeLink) -> None:
    link.add("a" * 32, "ada", "big one", url="http://127.0.0.1:28459")
    assert [s["url"] for s in (await ada.get(f"{API}/sessions")).json()] == ["/user/ada/big%20one/"]
    assert (await ada.get(f"{API}/sessions/{'a' * 32}")).json()["url"] == "/user/ada/big%20one/"
    async with ada.stream("GET", f"{API}/sessions/events") as answer:
        link.add("b" * 32, "ada", url="http://127.0.0.1:28460")
        await link.change("b" * 32, position=1)
        async for _, sessions in events(answer):
            if sessions:
                assert sessions[0]["url"] == "/user/ada/"
                break
    await link.end("b" * 32)


async def test_others_sessions_are_not_there(ada: httpx.AsyncClient, link: FakeLink, hub: HubProcess) -> None:
    link.add("b" * 32, "bob")
    for path in (f"/sessions/{'b' * 32}", f"/sessions/{'b' * 32}/events", f"/sessions/{'c' * 32}"):
        answer = await ada.get(API + path)
        assert answer.status_code == 404
        assert answer.json()["kind"] == "gone"
    assert (await ada.delete(f"{API}/sessions/{'b' * 32}", headers=forged(ada))).status_code == 404


async def test_the_hub_s_log_holds_no_token_of_an_address(hub: HubProcess) -> None:
    async with httpx.AsyncClient(base_url=hub.url, timeout=60, trust_env=False, follow_redirects=True) as browser:
        assert "/login" in str((await browser.get("/hub/user/ada/lab?token=s3cret-one")).url)
    assert "%3Ftoken%3D[secret]" in hub.log
    assert "s3cret-one" not in hub.log


async def test_only_for_who_is_logged_in(hub: HubProcess) -> None:
    assert (await hub.http.get(f"{API}/sessions")).status_code == 401
    answer = await hub.http.get(f"{API}/sessions", headers={"Authorization": f"token {hub.admin}"})
    assert answer.status_code == 401
    assert answer.json()["kind"] == "forbidden"


async def test_bad_questions_are_answered_in_words(ada: httpx.AsyncClient) -> None:
    for query in ("", "?size=small&hours=x"):
        answer = await ada.get(f"{API}/factories/one/estimate{query}")
        assert answer.status_code == 400
        assert answer.json()["kind"] == "invalid"


async def test_my_sessions_as_events(ada: httpx.AsyncClient, link: FakeLink) -> None:
    async with ada.stream("GET", f"{API}/sessions/events") as answer:
        told = events(answer)
        assert await anext(told) == ("sessions", [])
        link.add("d" * 32, "bob")
        await link.change("d" * 32, position=1)
        link.add("e" * 32, "ada")
        await link.change("e" * 32, position=3)
        name, sessions = await anext(told)
        assert name == "sessions"
        assert [(s["id"], s["position"]) for s in sessions] == [("e" * 32, 3)]
        await link.end("e" * 32)
        assert await anext(told) == ("sessions", [])


async def test_my_sessions_and_clusters_as_events_of_one_stream(ada: httpx.AsyncClient, link: FakeLink) -> None:
    async with ada.stream("GET", f"{API}/home/events") as answer:
        told = events(answer)
        assert sorted([await anext(told), await anext(told)]) == [("clusters", []), ("sessions", [])]
        link.add_cluster("b" * 32, "bob", "theirs")
        link.add_cluster("a" * 32, "ada", "mine", wrong=Words(code="x", what="Asleep.", do="Wait.", whose="wait"))
        name, clusters = await anext(told)
        assert (name, [one["name"] for one in clusters]) == ("clusters", ["mine"])
        assert clusters[0]["wrong"]["what"] == "Asleep."
        link.add("e" * 32, "ada")
        await link.change("e" * 32, position=3)
        assert (await anext(told))[0] == "sessions"
        link.change_cluster("a" * 32, state="ended", ended=NOW)
        assert await anext(told) == ("clusters", [])
    assert [one["state"] for one in (await ada.get(f"{API}/clusters")).json()] == ["ended"]


async def test_clusters_that_ended_unheard_are_not_shown_as_live(ada: httpx.AsyncClient, link: FakeLink) -> None:
    link.add_cluster("a" * 32, "ada", "mine")
    link.add_cluster("c" * 32, "ada", "other")
    await link.down()
    link.clusters["a" * 32] = link.clusters["a" * 32].model_copy(update={"state": "ended"})
    await link.up()
    for _ in range(300):
        async with ada.stream("GET", f"{API}/home/events") as answer:
            seen = [clusters async for name, clusters in first(answer) if name == "clusters"]
        if seen and [one["name"] for one in seen[0]] == ["other"]:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(seen)


async def test_only_its_owner_closes_a_cluster(ada: httpx.AsyncClient, link: FakeLink) -> None:
    link.add_cluster("a" * 32, "ada", "mine")
    link.add_cluster("b" * 32, "bob", "theirs")
    url = f"{API}/clusters/{'a' * 32}"
    assert (await ada.delete(url)).status_code == 403  # a forged request, without the page's XSRF token
    assert link.clusters["a" * 32].state == "live"
    other = await ada.delete(f"{API}/clusters/{'b' * 32}", headers=forged(ada))
    assert (other.status_code, other.json()["kind"]) == (404, "gone")
    assert (await ada.delete(url, headers=forged(ada))).status_code == 202
    assert [one.state for one in link.clusters.values()] == ["ending", "live"]
    assert not [headers for headers in link.headers if "cookie" in headers]


async def test_events_of_one_session_end_with_it(ada: httpx.AsyncClient, link: FakeLink) -> None:
    link.add("f" * 32, "ada")
    async with ada.stream("GET", f"{API}/sessions/{'f' * 32}/events") as answer:
        told = events(answer)
        assert (await anext(told))[1]["state"] == "pending"
        await link.end("f" * 32)
        assert (await anext(told))[1]["state"] == "ended"
        with pytest.raises(StopAsyncIteration):
            await anext(told)


async def test_a_browser_that_goes_leaves_no_stream(ada: httpx.AsyncClient, link: FakeLink) -> None:
    async def readers(count: int) -> None:
        for _ in range(300):
            if link.readers == count:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{link.readers} streams, expected {count}")

    await readers(1)  # the hub's table
    for _ in range(3):
        async with ada.stream("GET", f"{API}/factories/events") as answer:
            assert await anext(events(answer)) == ("factories", [])
            await readers(2)
        await readers(1)


async def test_a_silent_link_is_a_503_in_words(ada: httpx.AsyncClient, link: FakeLink) -> None:
    await link.down()
    try:
        for path in ("factories", "sessions", "clusters", "choice", f"sessions/{'a' * 32}"):
            answer = await ada.get(f"{API}/{path}")
            assert answer.status_code == 503
            assert answer.json()["kind"] == "unreachable"
            assert answer.json()["message"]
    finally:
        await link.up()


async def test_stop_what_the_hub_does_not_hold(ada: httpx.AsyncClient, link: FakeLink) -> None:
    link.add("1" * 32, "ada", "lost")
    # a forged request, without the page's XSRF token
    assert (await ada.delete(f"{API}/sessions/{'1' * 32}")).status_code == 403
    assert not link.stops
    assert (await ada.delete(f"{API}/sessions/{'1' * 32}", headers=forged(ada))).status_code == 202
    await link.until("1" * 32, lambda session: session.wish == "stop")  # a link that is slow hears of the stop later
    assert link.stops == [("1" * 32, "person")]


async def test_only_its_owner_makes_a_session_longer(ada: httpx.AsyncClient, link: FakeLink) -> None:
    link.add("1" * 32, "ada")
    link.add("2" * 32, "bob")
    url = f"{API}/sessions/{'1' * 32}/extend"
    # a forged request, without the page's XSRF token
    assert (await ada.post(url, json={"hours": 2})).status_code == 403
    assert (await ada.post(url, json={"hours": 2}, headers=forged(ada))).json()["id"] == "1" * 32
    assert link.extended == [("1" * 32, 2)]
    for wrong in ({"hours": -1}, {"hours": "x"}, {}, {"hours": 1, "more": 1}, [], None):
        answer = await ada.post(url, json=wrong, headers=forged(ada))
        assert (answer.status_code, answer.json()["kind"]) == (400, "invalid"), wrong
    other = await ada.post(f"{API}/sessions/{'2' * 32}/extend", json={"hours": 2}, headers=forged(ada))
    assert other.status_code == 404
    assert len(link.extended) == 1


async def test_a_token_goes_to_the_link_for_its_own_person(ada: httpx.AsyncClient, link: FakeLink) -> None:
    url = f"{API}/factories/one/credential"
    # a forged request, without the page's XSRF token
    assert (await ada.put(url, json={"token": "t"})).status_code == 403
    answer = await ada.put(url, json={"token": "secret-1"}, headers=forged(ada))
    assert answer.json() == {"renew_url": "https://renew.example", "until": None}
    assert link.renewed == [("one", "ada", "secret-1")]
    for wrong in ({"token": ""}, {"token": "two words"}, {"token": "a", "user": "bob"}, {}, []):
        answer = await ada.put(url, json=wrong, headers=forged(ada))
        assert (answer.status_code, answer.json()["kind"]) == (400, "invalid"), wrong
    assert len(link.renewed) == 1


async def test_static_files_are_ours(hub: HubProcess) -> None:
    answer = await hub.http.get("/hub/gateway/static/icon.svg")
    assert answer.status_code == 200
    assert (await hub.http.get("/hub/gateway/static/../jupyterhub_config.py")).status_code in (403, 404)
    assert (await hub.http.get("/hub/gateway/static/%2e%2e/jupyterhub_config.py")).status_code in (403, 404)


async def test_a_link_with_options_starts_nothing(ada: httpx.AsyncClient, hub: HubProcess, link: FakeLink) -> None:
    for query in ("?factory=one&size=small", "?opt-factory=one", ""):
        answer = await ada.get(f"/hub/spawn/ada/linked{query}")
        assert answer.status_code == 200
    assert (await ada.get("/hub/spawn/ada/linked?factory=a%0Ab")).status_code == 400
    assert not link.live("ada")
    assert is_stopped(await hub.server("ada", "linked"))


async def test_the_form_of_a_server_that_has_begun_meanwhile_leads_to_it(
    ada: httpx.AsyncClient, hub: HubProcess, link: FakeLink
) -> None:
    link.auto = False
    form = {"factory": "one", "_xsrf": ada.cookies["_xsrf"]}
    assert (await hub.api("POST", "/users/ada/servers/seat", json={"factory": "one"})).status_code == 202
    session = await link.until(None, lambda one: one.server == "seat")
    answer = await ada.post("/hub/spawn/ada/seat", data=form, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, "/hub/spawn-pending/ada/seat")
    link.auto = True
    await link.open_door(session.id)
    await hub.until("ada", is_ready, "seat")
    answer = await ada.post("/hub/spawn/ada/seat", data=form, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, "/user/ada/seat/")
    assert len(link.live("ada", "seat")) == 1
    forbidden = await ada.post("/hub/spawn/bob/seat", data=form, follow_redirects=False)
    assert forbidden.status_code == 404
    assert (await hub.api("DELETE", "/users/ada/servers/seat")).status_code in (202, 204)


@pytest.mark.parametrize(
    "field", [{"factory": "one\n#SBATCH --uid=0"}, {"size": "'"}, {"hours": '1"'}, {"partition": "gpu"}]
)
async def test_a_forged_form_is_refused(ada: httpx.AsyncClient, link: FakeLink, field: dict[str, str]) -> None:
    answer = await ada.post("/hub/spawn/ada/forged", data={**field, "_xsrf": ada.cookies["_xsrf"]})
    assert answer.status_code == 400
    assert not link.live("ada")


async def test_the_form_starts_and_the_page_tells_the_end(
    ada: httpx.AsyncClient, hub: HubProcess, link: FakeLink
) -> None:
    link.auto = False
    form = {"factory": "one", "size": "big", "hours": "2", "project": "", "_xsrf": ada.cookies["_xsrf"]}
    answer = await ada.post("/hub/spawn/ada/formed", data=form, follow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/hub/spawn-pending/ada/formed")
    # the hub accepts the start before the session exists
    session = await link.until(None, lambda one: one.server == "formed")
    assert (link.requests[session.id].choice.size, link.requests[session.id].choice.hours) == ("big", 2)
    async with hub.http.stream(
        "GET", "/hub/api/users/ada/servers/formed/progress", headers={"Authorization": f"token {hub.admin}"}
    ) as progress:
        lines = progress.aiter_lines()
        assert json.loads((await _line(lines, '"session"'))[6:])["session"]["id"] == session.id
        await link.change(session.id, position=4)
        await _line(lines, "Position 4")
        words = Words(code="oom", what="It ran out of <memory>.", do="Take more.", scheduler="OUT_OF_MEMORY")
        await link.end(session.id, end=words, end_reason=EndReason.OUT_OF_MEMORY, log_tail=("slurmstepd: Killed",))
        last = [json.loads(line[6:]) async for line in lines if line.startswith("data: ")][-1]
    assert last["failed"]
    assert "It ran out of <memory>. Take more." in last["message"]
    page = await ada.get("/hub/spawn-pending/ada/formed")
    assert page.status_code == 500
    assert "It ran out of &lt;memory&gt;." in page.text
    assert "It ran out of <memory>" not in page.text


async def _line(lines: AsyncIterator[str], part: str) -> str:
    """Return the next line with this part."""
    async for line in lines:
        if part in line:
            return line
    raise AssertionError(f"{part} was not told")


async def test_login_needs_the_password(hub: HubProcess) -> None:
    async with httpx.AsyncClient(base_url=hub.url, timeout=60, trust_env=False) as browser:
        await browser.get("/hub/login")
        data = {"username": "ada", "password": "bob-secret", "_xsrf": browser.cookies["_xsrf"]}
        assert (await browser.post("/hub/login", data=data)).status_code == 403


async def test_a_server_token_is_for_its_server_and_the_factories(
    ada: httpx.AsyncClient, hub: HubProcess, link: FakeLink
) -> None:
    await hub.api("POST", "/users/ada/servers/scoped", json={"factory": "one"})
    await hub.until("ada", is_ready, "scoped")
    [session] = link.live("ada", "scoped")
    token = link.environments[session.id].environment["JUPYTERHUB_API_TOKEN"]
    scopes = (await hub.api("GET", "/user", token)).json()["scopes"]
    assert "access:services!service=factories" in scopes
    assert not [scope for scope in scopes if scope.startswith(("servers", "tokens", "delete"))]
    state = (await hub.api("GET", "/users/ada")).text
    assert token not in state
