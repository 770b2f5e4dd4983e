"""The service's two APIs over HTTP: tokens of people for one, names from the hub for the other."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import TypeAdapter

from factorycommon.models import Problem
from tests.unit.fake_hub import FakeHub
from tests.unit.serving import serving
from tests.unit.workshops_world import OPERATOR, PAUL, TINA, WorkshopsWorld, body, workshops_world
from workshops.api.callers import TokenCallers
from workshops.api.hub import hub_app
from workshops.api.user import user_app
from workshops.client import WorkshopsClient, WorkshopsProblem, WorkshopsSilent
from workshops.models.bodies import CodeBody, WorkshopChange

SERVICE = "access:services!service=workshops"


@dataclasses.dataclass
class Served:
    """A service on real sockets, with a hub that knows some tokens."""

    world: WorkshopsWorld
    hub: FakeHub
    people: httpx.AsyncClient
    client: WorkshopsClient

    async def ask(self, token: str, method: str, path: str, **given: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await self.people.request(method, f"/api{path}", headers=headers, **given)  # type: ignore[arg-type]


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    fake = FakeHub()
    fake.services["workshops-token"] = "workshops"
    for name in ("tina", "otto", "paul", "olga"):
        fake.tokens[f"{name}-token"] = name
        fake.scopes[f"{name}-token"] = [f"access:servers!user={name}", SERVICE]
    fake.admins = {"olga"}
    async with workshops_world(tmp_path) as world, serving(fake.app) as hub_url:
        hub = world.config.hub.model_copy(update={"url": hub_url})
        callers = TokenCallers(hub)
        socket = tmp_path / "w.sock"
        async with (
            serving(user_app(world.workshops, world.joining, callers, "/", world.more)) as url,
            serving(hub_app(world.workshops, world.joining, world.of_hub), socket),
            httpx.AsyncClient(base_url=f"{url}/services/workshops", timeout=30) as people,
        ):
            client = WorkshopsClient(socket)
            yield Served(world, fake, people, client)
            await client.close()
        await callers.close()


def asked() -> dict[str, object]:
    return {**body().model_dump(mode="json", exclude_unset=True)}


async def test_the_contract_of_the_user_api(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        assert (await service.people.get("/health")).json() == {"status": "ok"}
        created = await service.ask("tina-token", "POST", "/workshops", json=asked())
        assert created.status_code == 201
        assert created.headers["Cache-Control"] == "no-store"
        answer = created.json()
        assert answer.keys() == {"slug", "state", "code", "join_url"}
        assert answer["join_url"] == f"https://hub.example.org/hub/join/{answer['slug']}"
        assert answer["code"] not in answer["join_url"]
        path = f"/workshops/{answer['slug']}"
        assert (await service.ask("tina-token", "POST", f"{path}/approve")).status_code == 403
        assert (await service.ask("olga-token", "POST", f"{path}/approve")).json()["state"] == "approved"
        await service.world.clockwork.look()
        view = (await service.ask("tina-token", "GET", path)).json()
        assert (view["state"], view["role"], view["project"]) == ("scheduled", "lead", f"workshop-{answer['slug']}")
        assert (await service.ask("tina-token", "POST", f"{path}/warm")).json()["state"] == "warming"
        assert (await service.ask("tina-token", "POST", f"{path}/close")).json()["state"] == "closing"
        assert answer["code"] not in (await service.ask("olga-token", "GET", "/workshops")).text


@pytest.mark.parametrize(
    ("token", "method", "path", "given", "status"),
    [
        ("", "GET", "/workshops", {}, 401),
        ("nobody", "GET", "/workshops", {}, 401),
        ("workshops-token", "GET", "/workshops", {}, 403),  # the service's own
        ("paul-token", "POST", "/workshops", {"json": asked()}, 403),
        ("tina-token", "POST", "/workshops", {"json": asked() | {"seats": 0}}, 400),
        ("tina-token", "POST", "/workshops", {"json": asked() | {"free": "text"}}, 400),
        ("tina-token", "POST", "/workshops", {"content": b"{" * 300_000}, 413),
        ("tina-token", "GET", "/workshops/none-1234", {}, 404),
        ("tina-token", "GET", "/workshops/..%2Fx", {}, 404),
        ("tina-token", "PUT", "/workshops/none-1234/members/paul", {"json": {"role": "admin"}}, 400),
    ],
)
async def test_what_is_wrong_is_refused_in_words(
    tmp_path: Path, token: str, method: str, path: str, given: dict[str, object], status: int
) -> None:
    async with served(tmp_path) as service:
        answer = await service.ask(token, method, path, **given)
        assert answer.status_code == status
        problem = TypeAdapter(Problem).validate_json(answer.content)
        assert problem.message
        assert "request" in answer.json()


async def test_a_session_s_token_and_one_without_the_scope_do_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        of_session = service.hub.session_token("tina")
        service.hub.scopes[of_session].append(SERVICE)
        service.hub.tokens["weak"] = "tina"
        service.hub.scopes["weak"] = ["access:servers!user=tina", "access:services!service=factories"]
        for token in (of_session, "weak"):
            answer = await service.ask(token, "GET", "/workshops")
            assert answer.status_code == 403
            assert "This token may not use workshops" in answer.json()["message"]


async def test_while_the_hub_is_away_nobody_is_taken_for_a_stranger(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        service.hub.knows_tokens = False
        answer = await service.ask("tina-token", "GET", "/workshops")
        assert (answer.status_code, answer.json()["kind"]) == (503, "unreachable")


@pytest.mark.parametrize("content", [None, b"\xff"])
async def test_a_token_of_the_service_that_cannot_be_read_is_no_fault_of_the_caller(
    tmp_path: Path, content: bytes | None
) -> None:
    async with served(tmp_path) as service:
        file = service.world.config.hub.token_file
        file.unlink() if content is None else file.write_bytes(content)
        assert (await service.ask("tina-token", "GET", "/workshops")).status_code == 200
        answer = await service.ask("nobody", "GET", "/workshops")
        assert (answer.status_code, answer.json()["kind"]) == (503, "unreachable")
        assert str(tmp_path) not in answer.text


async def test_the_hub_asks_for_people_over_the_socket(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        client = service.client
        assert (await client.access(TINA)).create
        assert not (await client.access(PAUL)).create
        teacher = dataclasses.replace(PAUL, groups=frozenset({"teachers", "päda&gogen=1"}))
        assert (await client.access(teacher)).create
        assert [pool.id for pool in await client.pools(TINA)] == ["class", "other"]
        created = await client.create(TINA, body())
        assert [one.slug for one in await client.all(OPERATOR)] == [created.slug]
        assert (await client.take(OPERATOR, created.slug, "approve")).state == "approved"
        name = "guest-&as=olga?#é %2e"
        assert (await client.put_member(TINA, created.slug, name, "participant")).person == name
        assert [one.person for one in await client.members(TINA, created.slug)] == [name, "tina"]
        await client.drop_member(TINA, created.slug, name)
        assert [one.person for one in await client.members(TINA, created.slug)] == ["tina"]
        assert (await client.new_code(TINA, created.slug, CodeBody())).code != created.code
        with pytest.raises(WorkshopsProblem) as refused:
            await client.change(TINA, created.slug, WorkshopChange(version=1, title="x"))
        assert (refused.value.status, refused.value.problem.code) == (409, "workshop-stale")
        assert (await client.events(TINA, created.slug))[0].what == "new code"


async def test_a_service_that_is_away_is_named(tmp_path: Path) -> None:
    client = WorkshopsClient(tmp_path / "none.sock")
    with pytest.raises(WorkshopsSilent, match="does not answer"):
        await client.all(TINA)
    await client.close()
