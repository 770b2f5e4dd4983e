"""The tokens that JupyterHub really makes with this configuration, and their meaning for the link."""

from __future__ import annotations

import contextlib
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from factorylink.config import Hub
from factorylink.hub_client import HubClient, TokenOwner
from factoryspawner import link_rules
from factoryspawner.config.batch_settings import SettingsError
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import ROOT, Beside, HubProcess, is_ready

pytestmark = pytest.mark.asyncio(loop_scope="module")
FACTORIES = "access:services!service=factories"
SERVER = "access:servers!server"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def link(tmp_path_factory: pytest.TempPathFactory, beside: Beside) -> AsyncIterator[FakeLink]:
    made = FakeLink(tmp_path_factory.mktemp("l") / "link.sock", beside.url)
    await made.up()
    yield made
    await made.down()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def beside() -> AsyncIterator[Beside]:
    made = Beside()
    await made.up()
    yield made
    await made.down()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside) -> AsyncIterator[HubProcess]:
    made = HubProcess(tmp_path_factory.mktemp("hub"), link.socket, beside, extra="c.FactorySpawner.req_qos = 'class'\n")
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asking(hub: HubProcess) -> AsyncIterator[HubClient]:
    made = HubClient(Hub(url=hub.url, token_file=hub.folder / "service"))
    yield made
    await made.close()


async def token(hub: HubProcess, *scopes: str) -> str:
    body = {"scopes": scopes} if scopes else {}
    answer = await hub.api("POST", "/users/ada/tokens", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


@pytest.mark.parametrize("server", ["", "lab", "my-lab-2"])
async def test_a_server_s_token_is_of_that_server(
    hub: HubProcess, link: FakeLink, asking: HubClient, server: str
) -> None:
    path = f"/users/ada/servers/{server}" if server else "/users/ada/server"
    assert (await hub.api("POST", path, json={"factory": "one"})).status_code in (201, 202)
    await hub.until("ada", is_ready, server)
    [session] = link.live("ada", server)
    own = link.environments[session.id].environment["JUPYTERHUB_API_TOKEN"]
    assert await asking.user_of(own) == TokenOwner(name="ada", allowed=True, server=server)


async def test_a_person_s_own_tokens_are_theirs(hub: HubProcess, asking: HubClient) -> None:
    for scopes in ((), (FACTORIES,), (FACTORIES, "access:servers!user")):
        found = await asking.user_of(await token(hub, *scopes))
        assert found == TokenOwner(name="ada", allowed=True), scopes
    narrow = await asking.user_of(await token(hub, FACTORIES, "access:servers!server=ada/lab"))
    assert narrow == TokenOwner(name="ada", allowed=True, server="lab")  # a person may make such a token, too
    other = await asking.user_of(await token(hub, "read:users!user"))
    assert other is not None and not other.allowed


async def test_neither_a_service_s_nor_a_browser_s_token_is_a_person_s(hub: HubProcess, asking: HubClient) -> None:
    for secret in (hub.service, hub.admin):
        found = await asking.user_of(secret)
        assert found is not None and not found.allowed
    assert await asking.user_of("nobody's") is None


async def test_the_link_is_told_what_this_hub_asks_of_people(hub: HubProcess, link: FakeLink) -> None:
    assert link.rules is not None
    assert (link.rules.access, link.rules.terms, link.rules.options.qos) == (False, None, "class")
    await hub.login("bob")
    told = link.people["bob"]
    assert told.access is not None and told.access.refusal is None
    assert told.options is not None and told.options.qos == "class"


@pytest.mark.parametrize(
    ("scopes", "words"),
    [
        (["users:activity!user", FACTORIES], "must contain access:servers!server"),
        ([SERVER, FACTORIES, "inherit"], "remove 'inherit'; with it notebooks could act as their person"),
        ([SERVER, FACTORIES, "access:servers!user"], "notebooks could act as their person"),
        ([SERVER, "tokens"], "notebooks could act as their person"),
        ([SERVER, "delete:servers!user"], "notebooks could act as their person"),
        (lambda _spawner: [SERVER], "must be a list"),
    ],
)
async def test_a_hub_whose_servers_tokens_could_not_be_told_apart_does_not_start(scopes: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        link_rules.check_tokens({"Spawner": {"server_token_scopes": scopes}})
    with pytest.raises(SettingsError, match=words):
        link_rules.check_tokens(
            {"Spawner": {"server_token_scopes": [SERVER]}, "FactorySpawner": {"server_token_scopes": scopes}}
        )


async def test_the_link_knows_whether_the_authenticator_has_rules(tmp_path: Path) -> None:
    login = "factoryspawner.login.authenticator.FederatedAuthenticator"
    for authenticator, has in (("pam", False), ("dummy", False), (login, True), ("no.such.thing", True)):
        assert link_rules.of({"JupyterHub": {"authenticator_class": authenticator}}, None).access is has
    assert link_rules.of({}, None).access is False
    told = link_rules.of({"BatchSpawnerBase": {"req_account": "a"}, "BatchspawnerFace": {"req_account": "b"}}, None)
    assert told.options.account == "b"
    told = link_rules.of({"BatchspawnerFace": {"req_account": "b"}, "FactorySpawner": {"req_account": "c"}}, None)
    assert told.options.account == "c"


async def test_the_link_s_own_token_starts_servers_and_no_more(hub: HubProcess, link: FakeLink) -> None:
    link.auto = True
    headers = {"Authorization": f"token {hub.service}"}

    async def may(method: str, path: str, **more: Any) -> int:
        return (await hub.http.request(method, f"/hub/api{path}", headers=headers, **more)).status_code

    assert await may("GET", "/users") == 200
    assert await may("POST", "/users/bob/server", json={"factory": "one"}) in (201, 202)
    await hub.until("bob", is_ready)
    for method, path in (
        ("DELETE", "/users/bob/server"),
        ("POST", "/users/bob/tokens"),
        ("GET", "/users/bob/tokens"),
        ("POST", "/users/eve"),
        ("DELETE", "/users/bob"),
        ("GET", "/proxy"),
        ("POST", "/shutdown"),
    ):
        assert await may(method, path) in (403, 404), path
    assert (await hub.http.get("/user/bob/api/contents", headers=headers)).status_code not in (200, 201)


async def test_the_operator_s_token_manages_the_hub(hub: HubProcess) -> None:
    assert (await hub.api("POST", "/users/newcomer")).status_code == 201
    assert (await hub.api("POST", "/users/newcomer/tokens", json={})).status_code == 201
    assert (await hub.api("DELETE", "/users/newcomer")).status_code == 204


async def test_the_hub_keeps_tokens_as_hashes_but_those_of_servers(hub: HubProcess, link: FakeLink) -> None:
    own = await token(hub)
    link.auto = True
    await hub.api("POST", "/users/ada/servers/kept", json={"factory": "one"})
    await hub.until("ada", is_ready, "kept")
    [session] = link.live("ada", "kept")
    of_session = link.environments[session.id].environment["JUPYTERHUB_API_TOKEN"]
    kept = b""
    for path in hub.folder.glob("hub.sqlite*"):
        with contextlib.suppress(FileNotFoundError):  # a journal goes with its transaction
            kept += path.read_bytes()
    assert own.encode() not in kept
    assert of_session.encode() in kept  # so that a restarted hub continues with it
    assert stat.S_IMODE((hub.folder / "cookie").stat().st_mode) == 0o600


async def test_the_hub_s_process_has_no_login_to_a_site() -> None:
    """The hub's process also loads no code for such a login: only the link has keys and certificates."""
    code = (
        "import sys, pkgutil, importlib, factoryspawner\n"
        "for one in pkgutil.walk_packages(factoryspawner.__path__, 'factoryspawner.'):\n"
        "    importlib.import_module(one.name)\n"
        "theirs = ('factorylink.credentials', 'factorylink.transports', 'asyncssh')\n"
        "print([name for name in sys.modules if name.startswith(theirs)])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "spawners"
    )
    assert told.stdout.strip() == "[]"
