"""The link's API for the hub, by its own client over a real socket; and its API for people's tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI, Request, Response

from factorylink import federation
from factorylink.api_hub import hub_app
from factorylink.api_user import user_app
from factorylink.bringback import BringBack
from factorylink.client import LinkClient, LinkProblem, LinkSilent
from factorylink.hub import HubClient
from factorylink.lending import site_account
from factorylink.models import (
    BatchRequest,
    Choice,
    Cluster,
    ClusterRequest,
    Estimate,
    Health,
    Scheduler,
    Session,
    SessionRequest,
    SessionState,
    Words,
    WorkerState,
)
from tests.unit.fake_factory import ID, OTHER, World
from tests.unit.serving import serving

SHIPPED = Path(__file__).parents[2] / "hub_config" / "factories"


class FakeHub:
    """JupyterHub's API as far as the link asks it. ``servers``: what it knows; ``started``: what it was told."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, dict[str, object]]] = {"ada": {}, "ben": {}}
        self.tokens = {"ada-token": "ada", "ben-token": "ben", "weak-token": "ada"}
        self.started: list[tuple[str, str]] = []
        self.busy = 0  # how many starts are answered by "is pending check"
        self.asked = 0
        self.app = FastAPI()
        self.app.add_api_route("/hub/api/user", self.user)
        self.app.add_api_route("/hub/api/users", self.page)
        self.app.add_api_route("/hub/api/users/{name}/server", self.start, methods=["POST"])
        self.app.add_api_route("/hub/api/users/{name}/servers/{server}", self.start, methods=["POST"])

    async def user(self, request: Request, response: Response) -> dict[str, object]:
        self.asked += 1
        token = request.headers["Authorization"].removeprefix("token ")
        if token not in self.tokens:
            response.status_code = 403
            return {}
        scopes = [] if token == "weak-token" else ["access:services!service=factories"]
        return {"name": self.tokens[token], "kind": "user", "scopes": scopes, "admin": False}

    async def page(self, request: Request, offset: int, limit: int) -> dict[str, object]:
        assert request.headers["Accept"] == "application/jupyterhub-pagination+json"
        names = sorted(self.users)[offset : offset + 1]
        following = {"offset": offset + 1, "limit": limit} if offset + 1 < len(self.users) else None
        items = [{"name": name, "kind": "user", "servers": self.users[name]} for name in names]
        return {"items": items, "_pagination": {"next": following, "offset": offset, "total": len(self.users)}}

    async def start(self, request: Request, response: Response, name: str, server: str = "") -> None:
        assert list(await request.json()) == ["adopt"]
        if name not in self.users:
            response.status_code = 404
            return
        if self.busy:
            self.busy -= 1
            response.status_code = 400
            return
        self.started.append((name, server))
        self.users[name][server] = {"ready": False, "pending": "spawn"}
        response.status_code = 202


class Link:
    """The fake world's link, served."""

    def __init__(
        self, world: World, client: LinkClient, hub: FakeHub, people: httpx.AsyncClient, bring_back: BringBack
    ) -> None:
        self.bring_back = bring_back
        self.world = world
        self.client = client
        self.hub = hub
        self.people = people


@pytest_asyncio.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    world = await World(tmp_path).up()
    fake = FakeHub()
    (tmp_path / "token").write_text("service-token\n")
    async with serving(fake.app) as hub_url:
        settings = world.config.hub.model_copy(update={"url": hub_url})
        hub = HubClient(settings)
        bring_back = BringBack(world.board, hub)
        hub_side = hub_app(world.sessions, world.clusters, world.offers, bring_back)
        user_side = user_app(world.sessions, world.clusters, world.offers, hub, "/")
        async with serving(hub_side, world.config.socket), serving(user_side) as url:
            client = LinkClient(world.config.socket)
            async with httpx.AsyncClient(base_url=f"{url}/services/factories") as people:
                yield Link(world, client, fake, people, bring_back)
            world.board.feed.close()
            await client.close()
        await hub.close()
    await world.down()


def request(user: str = "ada", server: str = "", **choice: Any) -> SessionRequest:
    return SessionRequest(user=user, server=server, choice=Choice(**choice))


async def test_put_get_stop(link: Link) -> None:
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


async def test_what_is_wrong_is_said_in_words(link: Link) -> None:
    with pytest.raises(LinkProblem) as caught:
        await link.client.put_session(ID, request(size="huge"))
    assert (caught.value.status, caught.value.problem.field) == (400, "size")
    with pytest.raises(LinkProblem) as caught:
        await link.client.put_session("not-an-id", request())
    assert caught.value.status == 400


async def test_a_silent_link_is_silent(tmp_path: Path) -> None:
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

    await asyncio.wait_for(next_of(OTHER, SessionState.PENDING), 5)
    link.world.scheduler.up = False
    link.world.scheduler.on_health()
    change = await next_of(ID, SessionState.UNREACHABLE)
    assert change.before == "pending"
    link.world.scheduler.up = True
    link.world.scheduler.on_health()
    await link.client.stop(OTHER)
    await link.world.scheduler.answer()
    await asyncio.sleep(0.05)
    await link.world.scheduler.answer(2)
    assert (await asyncio.wait_for(next_of(OTHER, SessionState.ENDED), 5)).end_reason == "stopped"
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
        return await asyncio.wait_for(next_of(cluster_id, **expected), 5)

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
    await link.client.end_cluster("ben", OTHER)  # one without jobs is over at once
    await comes(OTHER, state="ended")
    assert [(c.id, c.state) for c in await link.client.person_clusters("ada")] == [(ID, "ended")]
    await table.aclose()


def cluster(name: str) -> ClusterRequest:
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    scheduler = Scheduler(address="tls://n7:8786", ca=pem, certificate=pem, key=pem)
    return ClusterRequest(name=name, factory="one", size="gpu-1", hours=1, scheduler=scheduler)


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
    await link.client.put_person("ada@y.example", ["urn:geant:x:group:a:role=m#y", "b"])
    told = link.world.board.people.get("ada@y.example")
    assert told is not None
    assert (told.groups, told.blocked) == ({"urn:geant:x:group:a:role=m#y", "b"}, False)
    with pytest.raises(ValueError, match="groups"):
        await link.client.put_person("ada", ["no\nname"])


async def test_a_session_s_events_end_with_it(link: Link) -> None:
    await link.client.put_session(ID, request())
    states = []

    async def follow() -> None:
        async for session in link.client.session_events(ID):
            states.append(session.state.value)

    following = asyncio.create_task(follow())
    await asyncio.sleep(0.2)
    link.world.scheduler.runs("1")
    await link.world.scheduler.answer()
    await asyncio.sleep(0.2)
    link.world.scheduler.jobs_there.clear()
    await link.world.scheduler.answer(2)
    await asyncio.wait_for(following, 5)
    assert states[0] == "pending"
    assert "starting" in states
    assert states[-1] == "ended"
    assert [s.state.value async for s in link.client.session_events(ID)] == ["ended"]


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
    await asyncio.sleep(0.05)
    last = await link.client.last_choice("ada")
    assert last is not None
    assert (last.factory, last.size) == ("one", "gpu-1")
    await link.client.stop(ID)
    await link.client.put_session(OTHER, request())
    assert [s.id for s in await link.client.person_sessions("ada")] == [OTHER, ID]
    assert [s.wish for s in await link.client.sessions(user="ada")] == ["run", "stop"]


async def test_factories_estimates_and_metrics(link: Link) -> None:
    views = await link.client.factories("ada")
    assert (views[0].default_size, views[0].sizes[0].fits_now) == ("gpu-1", 3)
    assert await anext(link.client.factories_events("ada")) == views
    assert (await link.client.estimate("one", "ada", "gpu-1")).basis == "none"
    await link.client.put_session(ID, request())
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(link.world.config.socket))) as http:
        text = (await http.get("http://link/metrics")).text
        assert (await http.get("http://link/health")).json() == {"one": "ok"}
    assert 'factorygate_sessions{factory="one",state="pending"} 1.0' in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pharos", "Pharos has no machine yet, so nothing can be started there."),
        ("mimer", "MIMER is not switched on here: its operator has not agreed with this gateway's."),
        ("nowhere", "Unknown factory 'nowhere'; there are: one."),
    ],
)
async def test_nothing_starts_where_this_hub_does_not_offer_it(link: Link, name: str, words: str) -> None:
    link.world.board.federation = federation.load(SHIPPED)
    with pytest.raises(LinkProblem) as caught:
        await link.client.put_session(ID, request(factory=name))
    assert (caught.value.status, caught.value.problem.message, caught.value.problem.field) == (400, words, "factory")
    assert link.world.scheduler.submitted == []
    cluster = {"name": "mine", "factory": name, "head": {}}
    own = {"Authorization": "Bearer ada-token"}
    answer = await link.people.put(f"/api/clusters/{OTHER}", headers=own, json=cluster)
    assert (answer.status_code, answer.json()["message"]) == (400, words)


async def test_what_is_to_come_is_named_and_not_offered(link: Link) -> None:
    assert await link.client.coming() == []
    link.world.board.federation = federation.load(SHIPPED)
    assert [view.id for view in await link.client.coming()] == ["litai", "pharos", "roaif"]
    assert (await link.people.get("/api/coming")).status_code == 401
    own = {"Authorization": "Bearer ada-token"}
    told = (await link.people.get("/api/coming", headers=own)).json()
    assert told[1]["name"] == "Pharos"
    assert told[1]["coming"]["machine"] == "DAEDALUS"
    assert [view["id"] for view in (await link.people.get("/api/factories", headers=own)).json()] == ["one"]


async def test_the_whole_network_tells_the_health_of_what_is_offered_and_no_words_of_a_scheduler(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    link.world.board.federation = federation.load(SHIPPED, federation.antennas_beside(SHIPPED))
    await link.client.drain("one", "Closed.")
    told = {one.id: one for one in (await link.client.network()).factories}
    assert len(told) == 20  # the shipped ones, and this test's
    assert {one.state for one in told.values() if one.health is None} == {"template", "planned"}
    health = told["one"].health
    assert health is not None
    assert health.words is not None
    assert (health.state, health.words.what, health.answer_seconds) == ("draining", "Closed.", None)
    await link.client.undrain("one")
    words = Words(code="unreachable", what="It does not answer.", scheduler="ssh: ada@login1: timed out")
    silent = Health(state="unreachable", since=datetime(2026, 1, 1, tzinfo=UTC), words=words)
    monkeypatch.setattr(type(link.world.scheduler), "health", silent)
    found = (await link.client.network()).model_dump_json()
    assert "It does not answer." in found
    assert "login1" not in found
    assert len((await link.client.network()).antennas) == 13


async def test_people_need_a_token_and_see_their_own(link: Link) -> None:
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


async def test_what_the_hub_forgot_is_brought_back(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factorylink.bringback._YOUNG_SECONDS", -1)
    await link.world.running(ID)
    await link.world.put(OTHER, "ben", "second")
    await link.world.put("1" * 32, "ben", "third")
    await link.world.put("2" * 32, "nobody-any-more")
    link.hub.users["ben"]["third"] = {"ready": False, "pending": "spawn"}
    await link.bring_back.look()
    assert sorted(link.hub.started) == [("ada", ""), ("ben", "second")]
    await link.bring_back.look()
    assert len(link.hub.started) == 2
    link.hub.users["ada"].clear()
    await link.client.stop(ID, "person")
    await link.bring_back.look()
    assert len(link.hub.started) == 2
    assert not link.world.scheduler.cancelled or link.world.scheduler.cancelled == ["1"]


async def test_what_is_put_off_is_brought_back_soon(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    await link.world.put()
    assert await link.bring_back.look()  # the session is young
    assert not link.hub.started
    monkeypatch.setattr("factorylink.bringback._YOUNG_SECONDS", -1)
    link.hub.users["ada"][""] = {"ready": False, "pending": "check"}
    assert await link.bring_back.look()
    link.hub.users["ada"].clear()
    link.hub.busy = 1
    assert await link.bring_back.look()
    assert not link.hub.started
    assert not await link.bring_back.look()
    assert link.hub.started == [("ada", "")]
    assert not await link.bring_back.look()  # the hub knows it now


async def test_a_hub_that_means_it_is_not_asked_all_the_time(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factorylink.bringback._YOUNG_SECONDS", -1)
    monkeypatch.setattr("factorylink.bringback._REFUSALS", 2)
    await link.world.put()
    link.hub.busy = 3
    assert [await link.bring_back.look() for _ in range(2)] == [True, False]


async def test_the_next_look_is_soon_while_something_is_put_off(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"_SETTLE": 0.0, "_AGAIN": 0.0, "_SOON": 0.05, "_YOUNG": 0.3}.items():
        monkeypatch.setattr(f"factorylink.bringback.{name}_SECONDS", seconds)
    await link.world.put()
    running = asyncio.create_task(link.bring_back.run())
    async with asyncio.timeout(5):  # the round would be in 45 s
        while not link.hub.started:
            await asyncio.sleep(0.02)
    running.cancel()


async def test_a_size_shows_the_estimate_that_is_known(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    async def shown(user: str = "ada") -> Estimate | None:
        return (await link.client.factories(user))[0].sizes[0].estimate

    scheduler = link.world.scheduler
    assert await shown() is None
    await link.client.estimate("one", "ada", "gpu-1")
    assert await shown() is None  # the factory did not say
    scheduler.would_start = datetime.now(UTC) + timedelta(hours=3)
    await link.client.estimate("one", "ada", "gpu-1", 7)
    assert await shown() is None  # of other hours than the size's own
    known = await link.client.estimate("one", "ada", "gpu-1")
    asked = scheduler.estimated
    assert await shown() == known
    others = [user for user in map(str, range(20)) if site_account(link.world.config.factories["one"], user) == "a"]
    assert {await shown(user) == known for user in others} == {
        site_account(link.world.config.factories["one"], "ada") == "a"
    }
    assert scheduler.estimated == asked
    monkeypatch.setattr("factorylink.offers._ESTIMATE_KEPT", timedelta(0))
    assert await shown() is None
    monkeypatch.undo()
    scheduler.would_start = datetime.now(UTC) - timedelta(minutes=2)
    await link.client.estimate("one", "ada", "gpu-1")
    assert await shown() is None  # that start has passed


async def test_many_who_look_share_one_view(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    view = link.world.offers._view
    monkeypatch.setattr(link.world.offers, "_view", lambda place: made.append(place) or view(place))
    monkeypatch.setattr("factorylink.offers._STEP_SECONDS", 0.2)
    streams = [link.world.offers.stream(f"u{number}") for number in range(50)]
    first = await asyncio.gather(*(anext(stream) for stream in streams))
    assert len(set(first)) == 1
    assert len(made) == 1
    link.world.scheduler.up = False
    second = await asyncio.gather(*(anext(stream) for stream in streams))
    assert len(set(second)) == 1 and second[0] != first[0]
    assert len(made) < 20
    for stream in streams:
        await stream.aclose()


async def test_nobody_makes_the_link_keep_a_body_without_end(link: Link) -> None:
    async def long() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 2**16

    json = {"Content-Type": "application/json"}
    for body in (long(), b"x" * 2**22):  # without a length, and with one
        response = await link.people.put(f"/api/clusters/{ID}", content=body, headers=json)
        assert response.status_code == 413
        assert "allowed: 1048576 bytes" in response.json()["message"]
    own = json | {"Authorization": "Bearer ada-token"}
    names = [f"{number:062}" for number in range(10_000)]  # the longest that anybody may send
    response = await link.people.post(f"/api/clusters/{ID}/cancel", json={"names": names}, headers=own)
    assert response.status_code == 404
