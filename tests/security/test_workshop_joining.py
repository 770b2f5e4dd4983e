"""Attacks on joining a workshop: guessed codes beside a class, and roles of a workshop used as rights at the hub.

The hub and the service are real; the link is a fake one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from factorycommon.models.joining import Role
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess
from tests.unit.joining_world import CODE, JoiningWorld
from workshops.joining import people_list

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLASS, GUESSES = 60, 1000
ADDRESS = "192.0.2.1"
ROLES: tuple[Role, ...] = ("participant", "observer", "helper", "instructor", "lead")
# Scopes by which somebody could act for others, whatever restricts them.
FOR_OTHERS = (
    "admin",
    "groups",
    "list:",
    "proxy",
    "shutdown",
    "read:hub",
    "read:metrics",
    "shares",
    "users:shares!user=",
)


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
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[JoiningWorld]:
    made = JoiningWorld(tmp_path_factory.mktemp("w"))
    await made.open()
    await made.workshop(seats=CLASS + len(ROLES))
    listed = "mail,role\n" + "".join(f"{role}@example.org,{role}\n" for role in ROLES)
    await made.joining.invite("gpu-day", people_list.read(listed.encode()), "teach")
    await made.up()
    yield made
    await made.down()
    await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(
    tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside, world: JoiningWorld
) -> AsyncIterator[HubProcess]:
    made = HubProcess(tmp_path_factory.mktemp("hub"), link.socket, beside, workshops=world.socket)
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()


async def test_a_thousand_guesses_beside_a_class_of_sixty_at_one_address(world: JoiningWorld) -> None:
    """Each guess comes from a new browser, since a guesser can use new browsers, too."""
    alphabet = "123456789ABCDEFGHJKMNPQRSTUVWXYZ"
    async with world.client() as http:

        async def send(code: str) -> httpx.Response:
            sent = {"slug": "gpu-day", "code": code, "browser": secrets.token_hex(16), "address": ADDRESS}
            return await http.post("/joining/code", json=sent, timeout=120)

        async def guess() -> set[tuple[int, str]]:
            found = set()
            for _ in range(GUESSES // 20):
                answer = await send("".join(secrets.choice(alphabet) for _ in range(12)))
                found.add((answer.status_code, answer.json()["code"]))
            return found

        guessing = [asyncio.create_task(guess()) for _ in range(20)]
        joined = []
        for number in range(CLASS):
            ticket = (await send(CODE)).json()["ticket"]
            body = {"ticket": ticket, "person": f"p{number}"}
            joined.append((await http.post("/joining/join", json=body, timeout=120)).json())
        assert len({one["membership"]["seat"] for one in joined}) == CLASS
        assert set().union(*await asyncio.gather(*guessing)) == {(403, "join-code-wrong")}
    assert "guesses" in [one.what for one in await world.store.events("gpu-day")]


async def guest(hub: HubProcess, world: JoiningWorld, role: Role) -> tuple[httpx.AsyncClient, str, str]:
    """Have the guest with this role join; return their browser, their name, and a token of theirs."""
    browser = httpx.AsyncClient(base_url=hub.url, timeout=60, trust_env=False, follow_redirects=True)
    page = "/hub/join/gpu-day"

    async def form(**fields: str) -> httpx.Response:
        await browser.get(page)
        return await browser.post(page, data={"_xsrf": browser.cookies["_xsrf"], **fields})

    mail = f"{role}@example.org"
    await form(step="code", code=CODE, mail=mail)
    await form(step="join", digits=await world.digits(mail), name=role)
    found = [one for one in (await world.store.members(["gpu-day"]))["gpu-day"] if one.mail == mail]
    assert [one.role for one in found] == [role]
    name = found[0].person
    token = str((await hub.api("POST", f"/users/{name}/tokens", json={})).json()["token"])
    return browser, name, token


@pytest.mark.parametrize("role", ROLES)
async def test_no_role_of_a_workshop_has_a_right_at_the_hub(hub: HubProcess, world: JoiningWorld, role: Role) -> None:
    browser, name, token = await guest(hub, world, role)
    mine = (await hub.api("GET", "/user", token)).json()
    assert (mine["admin"], mine["roles"], mine["groups"]) == (False, ["user"], [])
    others = [one for one in mine["scopes"] if one.startswith(FOR_OTHERS) and f"!user={name}" not in one]
    assert others == []
    assert (await hub.api("POST", "/groups/class")).status_code in (201, 409)
    attempts: list[tuple[str, str, Any]] = [
        ("GET", "/users/bob", None),
        ("POST", "/users/eve", None),
        ("PATCH", f"/users/{name}", {"admin": True}),
        ("DELETE", "/users/bob", None),
        ("POST", "/users/bob/server", {"factory": "one"}),
        ("DELETE", "/users/bob/server", None),
        ("POST", "/users/bob/tokens", {}),
        ("POST", f"/users/{name}/tokens", {"scopes": ["admin:users"]}),
        ("POST", f"/users/{name}/tokens", {"roles": ["operator"]}),
        ("POST", "/groups/class/users", {"users": [name]}),
        ("POST", "/shares/bob/", {"user": name}),
        ("GET", "/proxy", None),
        ("POST", "/shutdown", {}),
    ]
    for method, path, body in attempts:
        answer = await hub.api(method, path, token, json=body)
        assert answer.status_code in (400, 403, 404), (method, path, answer.status_code)
    people = (await hub.api("GET", "/users", token)).json()
    assert isinstance(people, dict) or [one["name"] for one in people] == [name]  # refused, or only themselves
    for page in ("/hub/admin", "/hub/operator"):
        assert (await browser.get(page)).status_code in (403, 404), page
    await browser.aclose()
