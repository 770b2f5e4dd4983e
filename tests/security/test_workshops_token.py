"""What JupyterHub really allows with the workshops service's own token, and with people's tokens for the service."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest
import pytest_asyncio

from factorycommon.service.problems import ProblemError
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess, is_ready
from workshops.api.callers import TokenCallers
from workshops.config import HubAddress

pytestmark = pytest.mark.asyncio(loop_scope="module")
SERVICE = "w" * 32


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def beside() -> AsyncIterator[Beside]:
    made = Beside()
    await made.up()
    yield made
    await made.down()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def link(tmp_path_factory: pytest.TempPathFactory, beside: Beside) -> AsyncIterator[FakeLink]:
    made = FakeLink(tmp_path_factory.mktemp("l") / "link.sock", beside.url)
    await made.up()
    yield made
    await made.down()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside) -> AsyncIterator[HubProcess]:
    folder = tmp_path_factory.mktemp("hub")
    extra = "c.Authenticator.admin_users = {'ada'}"
    made = HubProcess(folder, link.socket, beside, extra, workshops=folder / "none.sock")
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()


def shares(hub: HubProcess) -> int:
    """Return how many shares the hub's database has; read from the file, since no token of this hub may list shares."""
    with closing(sqlite3.connect(f"file:{hub.folder / 'hub.sqlite'}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM shares").fetchone()[0])


async def test_the_service_s_own_token_looks_and_does_nothing(hub: HubProcess, link: FakeLink) -> None:
    link.auto = True
    assert (await hub.api("POST", "/users/bob/server", json={"factory": "one"})).status_code in (201, 202)
    await hub.until("bob", is_ready)
    assert (await hub.api("POST", "/groups/class")).status_code == 201
    headers = {"Authorization": f"token {SERVICE}"}

    async def may(method: str, path: str, **more: Any) -> int:
        return (await hub.http.request(method, f"/hub/api{path}", headers=headers, **more)).status_code

    assert await may("GET", "/users") == 200
    for method, path, body in (
        ("POST", "/users/ada/server", {}),
        ("DELETE", "/users/bob/server", None),
        ("POST", "/users/bob/tokens", {}),
        ("GET", "/users/bob/tokens", None),
        ("POST", "/users/eve", None),
        ("DELETE", "/users/bob", None),
        ("PATCH", "/users/bob", {"admin": True}),
        ("GET", "/groups", None),
        ("POST", "/groups/class/users", {"users": ["bob"]}),
        ("POST", "/shares/bob/", {"user": "ada"}),
        ("POST", "/share-codes/bob/", {}),
        ("GET", "/proxy", None),
        ("POST", "/shutdown", {}),
    ):
        assert await may(method, path, json=body) in (403, 404), path
    assert (await hub.http.get("/user/bob/api/contents", headers=headers)).status_code not in (200, 201)

    # and nothing of it has happened
    assert (await hub.api("GET", "/groups/class")).json()["users"] == []
    assert shares(hub) == 0
    assert (await hub.api("GET", "/users/eve")).status_code == 404
    bob = (await hub.api("GET", "/users/bob")).json()
    assert (bob["admin"], list(bob["servers"])) == (False, [""])
    assert (await hub.api("GET", "/users/ada")).json()["servers"] == {}


async def test_what_the_service_s_token_may_not_do_is_possible_for_an_operator(hub: HubProcess) -> None:
    """The requests above are refused because of the token's scopes: an operator's requests succeed."""
    assert (await hub.api("POST", "/groups/another")).status_code == 201
    added = await hub.api("POST", "/groups/another/users", json={"users": ["bob"]})
    assert (added.status_code, added.json()["users"]) == (200, ["bob"])
    assert (await hub.api("POST", "/users/bob/tokens", json={})).status_code == 201


async def test_tokens_of_people_are_theirs_and_those_of_servers_nobody_s(hub: HubProcess, link: FakeLink) -> None:
    link.auto = True
    callers = TokenCallers(HubAddress(url=hub.url, public_url=hub.url, token_file=hub.folder / "workshops"))

    async def token(name: str, *scopes: str) -> str:
        body = {"scopes": scopes} if scopes else {}
        return str((await hub.api("POST", f"/users/{name}/tokens", json=body)).json()["token"])

    async def caller(text: str) -> Any:
        return await callers.of({"Authorization": f"Bearer {text}"})

    own = "access:services!service=workshops"
    assert [
        (one.person, one.operator) for one in (await caller(await token("bob")), await caller(await token("ada")))
    ] == [
        ("bob", False),
        ("ada", True),
    ]
    assert (await caller(await token("bob", own))).person == "bob"
    await hub.api("POST", "/users/bob/servers/lab", json={"factory": "one"})
    await hub.until("bob", is_ready, "lab")
    [session] = link.live("bob", "lab")
    of_server = link.environments[session.id].environment["JUPYTERHUB_API_TOKEN"]
    for text in (of_server, await token("bob", "access:services!service=factories"), SERVICE):
        with pytest.raises(ProblemError) as refused:
            await caller(text)
        assert refused.value.status == 403
    await callers.close()
