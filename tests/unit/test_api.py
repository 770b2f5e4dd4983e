"""The link's API for the hub, with the hub's own client over a real socket; and its API for people's tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from factorycommon.models import BatchRequest, Cluster, PersonBody, Session, SessionState, WorkerState
from factorylink.client import LinkClient, LinkProblem, LinkSilent
from tests.unit.fake_factory import ID, OTHER, PATIENCE, World
from tests.unit.fake_hub import Link, cluster, request, served


@pytest_asyncio.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    async with served(tmp_path) as made:
        yield made


async def test_a_session_is_put_read_and_stopped(link: Link) -> None:
    session = await link.client.put_session(ID, request())
    assert session.state == "pending"
    assert (await link.client.put_session(ID, request())).job == session.job
    assert [s.id for s in await link.client.sessions(user="ada", server="")] == [ID]
    assert await link.client.sessions(user="ada", server="x") == []
    assert (await link.client.session(ID)).id == ID
    await link.client.stop(ID, "person")
    assert (await link.client.session(ID)).wish == "stop"
    for call in (link.client.session(OTHER), link.client.stop(OTHER)):
        with pytest.raises(LinkProblem) as caught:
            await call
        assert (caught.value.status, caught.value.problem.kind) == (404, "gone")


async def test_invalid_requests_are_explained(link: Link) -> None:
    with pytest.raises(LinkProblem) as caught:
        await link.client.put_session(ID, request(size="huge"))
    assert (caught.value.status, caught.value.problem.field) == (400, "size")
    with pytest.raises(LinkProblem) as caught:
        await link.client.put_session("not-an-id", request())
    assert caught.value.status == 400


async def test_a_request_to_a_link_that_does_not_run_raises_link_silent(tmp_path: Path) -> None:
    client = LinkClient(tmp_path / "nobody.sock")
    with pytest.raises(LinkSilent):
        await client.session(ID)
    with pytest.raises(LinkSilent):
        await anext(client.table())
    await client.close()


async def test_the_table_tells_everything(link: Link) -> None:
    await link.client.put_session(ID, request())
    table = link.client.table()
    first = await anext(table)
    assert first.snapshot is not None
    assert [s.id for s in first.snapshot] == [ID]
    assert first.health["one"].state == "ok"
    await link.client.put_session(OTHER, request("ben"))

    async def next_of(session_id: str, state: SessionState) -> Session:
        async for change in table:
            if change.session is not None and change.session.id == session_id and change.session.state == state:
                return change.session
        raise AssertionError

    await asyncio.wait_for(next_of(OTHER, SessionState.PENDING), PATIENCE)
    link.world.scheduler.up = False
    link.world.scheduler.on_health()
    change = await next_of(ID, SessionState.UNREACHABLE)
    assert change.before == "pending"
    link.world.scheduler.up = True
    link.world.scheduler.on_health()
    await link.client.stop(OTHER)
    await link.world.scheduler.answer()
    await link.world.comes(lambda: link.world.scheduler.cancelled == ["2"])
    await link.world.scheduler.answer(2)
    assert (await asyncio.wait_for(next_of(OTHER, SessionState.ENDED), PATIENCE)).end_reason == "stopped"
    await table.aclose()


async def test_the_table_tells_clusters_and_their_owner_ends_them(link: Link) -> None:
    await link.world.clusters.put(OTHER, "ben", cluster("old"))
    table = link.client.table()
    first = await anext(table)
    assert [(c.id, c.user, c.workers) for c in first.clusters] == [(OTHER, "ben", ())]

    async def next_of(cluster_id: str, **expected: object) -> Cluster:
        async for change in table:
            told = change.cluster
            if told is not None and told.id == cluster_id and told.model_dump(include=set(expected)) == expected:
                return told
        raise AssertionError

    async def comes(cluster_id: str, **expected: object) -> Cluster:
        return await asyncio.wait_for(next_of(cluster_id, **expected), PATIENCE)

    await link.world.clusters.put(ID, "ada", cluster("mine"))
    await comes(ID, state="live", counts={})
    await link.world.clusters.grow(ID, "ada", "b" * 32, BatchRequest(names=("w-0",)))
    await link.world.scheduler.answer()
    await comes(ID, counts={WorkerState.PENDING: 1})
    link.world.scheduler.up = False
    link.world.scheduler.on_health()
    assert (await comes(ID, counts={WorkerState.UNREACHABLE: 1})).wrong is not None
    link.world.scheduler.up = True
    link.world.scheduler.on_health()

    with pytest.raises(LinkProblem) as caught:
        await link.client.end_cluster("ben", ID)
    assert (caught.value.status, caught.value.problem.kind) == (404, "gone")
    assert [c.state for c in await link.client.person_clusters("ada")] == ["live"]
    await link.client.end_cluster("ada", ID)
    await comes(ID, state="ending")
    await link.world.comes(lambda: link.world.scheduler.cancelled == ["1"])
    await link.world.scheduler.answer(2)
    await comes(ID, state="ended", counts={WorkerState.ENDED: 1})
    await link.client.end_cluster("ben", OTHER)  # a cluster without jobs ends at once
    await comes(OTHER, state="ended")
    assert [(c.id, c.state) for c in await link.client.person_clusters("ada")] == [(ID, "ended")]
    await table.aclose()


async def test_a_drain_is_told_and_kept(link: Link) -> None:
    await link.client.drain("one", "Back at noon.")
    views = await link.client.factories("ada")
    assert views[0].health.state == "draining"
    with pytest.raises(LinkProblem) as caught:
        await link.client.put_session(ID, request())
    assert (caught.value.status, caught.value.problem.message) == (503, "Back at noon.")
    assert await link.world.ledger.drains() == {"one": "Back at noon."}
    await link.client.undrain("one")
    assert (await link.client.put_session(ID, request())).state == "pending"
    with pytest.raises(LinkProblem):
        await link.client.drain("two", "No such factory.")


async def test_the_hub_tells_who_somebody_is(link: Link) -> None:
    groups = frozenset({"urn:geant:x:group:a:role=m#y", "b"})
    await link.client.put_person("ada@y.example", PersonBody(groups=groups))
    told = link.world.people.get("ada@y.example")
    assert told is not None
    assert (told.groups, told.blocked) == ({"urn:geant:x:group:a:role=m#y", "b"}, False)
    with pytest.raises(ValueError, match="groups"):
        PersonBody(groups=frozenset({"no\nname"}))


async def test_a_session_s_events_end_with_it(link: Link) -> None:
    await link.client.put_session(ID, request())
    states = []

    async def follow() -> None:
        async for session in link.client.session_events(ID):
            states.append(session.state.value)

    following = asyncio.create_task(follow())
    await link.world.comes(lambda: bool(states))
    link.world.scheduler.runs("1")
    await link.world.scheduler.answer()
    await link.world.comes(lambda: "starting" in states)
    link.world.scheduler.jobs_there.clear()
    await link.world.scheduler.answer(2)
    await asyncio.wait_for(following, PATIENCE)
    assert states[0] == "pending"
    assert states[-1] == "ended"
    assert [s.state.value async for s in link.client.session_events(ID)] == ["ended"]


async def test_a_closed_client_ends_its_streams(link: Link) -> None:
    await link.client.put_session(ID, request())
    client = LinkClient(link.world.config.socket)
    session, factories = client.session_events(ID), client.factories_events("ada")
    await anext(session)
    await anext(factories)
    following = asyncio.create_task(anext(session))  # one waits for an event, the other is read later
    await asyncio.sleep(0)
    await client.close()
    for ending in (following, anext(factories)):
        with pytest.raises(LinkSilent):
            await asyncio.wait_for(ending, PATIENCE)


async def test_environment_and_token_go_through_the_door(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    await link.world.running()
    await link.client.send_environment(ID, {"JUPYTERHUB_API_TOKEN": "very-secret"}, ["jupyterhub-singleuser"])
    assert link.world.doors.sent == [(ID, {"JUPYTERHUB_API_TOKEN": "very-secret"})]
    assert await link.client.token(ID) == "secret-token"
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(link.world.config.socket))) as http:
        bad = {"environment": {"TOKEN": "very-secret", "N": 1}, "argv": []}
        answer = await http.post(f"http://link/sessions/{ID}/environment", json=bad)
    assert answer.status_code == 400
    assert "very-secret" not in answer.text + caplog.text


async def test_last_choice_and_last_sessions(link: Link) -> None:
    assert await link.client.last_choice("ada") is None
    await link.client.put_session(ID, request(size="gpu-1"))
    async with asyncio.timeout(PATIENCE):
        while (last := await link.client.last_choice("ada")) is None:  # it is written in the background
            await asyncio.sleep(0.01)
    assert (last.factory, last.size) == ("one", "gpu-1")
    await link.client.stop(ID)
    await link.client.put_session(OTHER, request())
    assert [s.id for s in await link.client.person_sessions("ada")] == [OTHER, ID]
    assert [s.wish for s in await link.client.sessions(user="ada")] == ["run", "stop"]


async def test_people_need_a_token_and_see_their_own(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factorycommon.service.hub_tokens._CACHE_SECONDS", 600)
    await link.client.put_session(ID, request())
    assert (await link.people.get("/health")).status_code == 200
    assert (await link.people.get("/api/factories")).status_code == 401
    for token, status in (("nobody", 401), ("weak-token", 403), ("ada-token", 200)):
        answer = await link.people.get("/api/factories", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status
    own, other = {"Authorization": "Bearer ada-token"}, {"Authorization": "token ben-token"}
    assert (await link.people.get("/api/factories", headers=own)).json()[0]["id"] == "one"
    assert [s["id"] for s in (await link.people.get("/api/sessions", headers=own)).json()] == [ID]
    assert (await link.people.get("/api/sessions", headers=other)).json() == []
    assert (await link.people.get(f"/api/sessions/{ID}", headers=own)).json()["user"] == "ada"
    for path in (f"/api/sessions/{ID}", f"/api/sessions/{ID}/events"):
        assert (await link.people.get(path, headers=other)).status_code == 404
    estimate = await link.people.get("/api/factories/one/estimate?size=gpu-1&hours=1", headers=own)
    assert set(estimate.json()) == {"start", "basis", "asked_at"}
    assert (await link.people.delete(f"/api/sessions/{ID}", headers=own)).status_code == 405
    asked = link.hub.asked
    await link.people.get("/api/sessions", headers=own)
    assert link.hub.asked == asked


async def test_people_are_told_where_a_session_opens(tmp_path: Path) -> None:
    world, own = World(tmp_path), {"Authorization": "Bearer ada-token"}
    settings = world.config.hub.model_copy(update={"public_url": "https://gateway.example.org/"})
    world.config = world.config.model_copy(update={"hub": settings})
    async with served(tmp_path, await world.up()) as link:
        session = await link.world.running(ID)
        assert (session.url or "").startswith("http://127.0.0.1:")  # the proxy's address for it
        address = "https://gateway.example.org/user/ada/"
        assert [s["url"] for s in (await link.people.get("/api/sessions", headers=own)).json()] == [address]
        assert (await link.people.get(f"/api/sessions/{ID}", headers=own)).json()["url"] == address
        link.world.feed.close()  # streams end after the snapshot
        told = (await link.people.get(f"/api/sessions/{ID}/events", headers=own)).text
        assert f'"url":"{address}"' in told
        assert "127.0.0.1" not in told


async def test_without_a_public_address_people_are_told_the_path(link: Link) -> None:
    await link.client.put_session(ID, request(server="big one"))
    own = {"Authorization": "Bearer ada-token"}
    told = (await link.people.get(f"/api/sessions/{ID}", headers=own)).json()
    assert (told["state"], told["url"]) == ("pending", "/user/ada/big%20one/")


@pytest.mark.parametrize("content", [None, b"\xff"])
async def test_a_token_of_the_link_that_cannot_be_read_is_no_fault_of_the_caller(
    link: Link, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "token"
    file.unlink() if content is None else file.write_bytes(content)
    assert (await link.people.get("/api/sessions", headers={"Authorization": "Bearer ada-token"})).status_code == 200
    answer = await link.people.get("/api/sessions", headers={"Authorization": "Bearer nobody"})
    assert (answer.status_code, answer.json()["kind"]) == (503, "unreachable")
    assert "cannot read its own token" in answer.json()["message"]
    assert str(tmp_path) not in answer.text


async def test_a_hub_without_its_database_refuses_nobody(link: Link) -> None:
    own = {"Authorization": "Bearer ada-token"}
    link.hub.knows_tokens = False
    answer = await link.people.get("/api/sessions", headers=own)
    assert answer.status_code == 503
    assert "database does not answer" in answer.json()["message"]
    link.hub.knows_tokens = True
    assert (await link.people.get("/api/sessions", headers=own)).status_code == 200  # nothing was cached


async def test_no_request_makes_the_link_store_an_endless_body(link: Link) -> None:
    async def long() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 2**16

    json = {"Content-Type": "application/json"}
    for body in (long(), b"x" * 2**22):  # with and without a length in the header
        response = await link.people.put(f"/api/clusters/{ID}", content=body, headers=json)
        assert response.status_code == 413
        assert "allowed: 1048576 bytes" in response.json()["message"]
    own = json | {"Authorization": "Bearer ada-token"}
    names = [f"{number:062}" for number in range(10_000)]  # the longest list that is allowed
    response = await link.people.post(f"/api/clusters/{ID}/cancel", json={"names": names}, headers=own)
    assert response.status_code == 404
