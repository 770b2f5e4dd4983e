"""A session's own token is valid for its session's factory and project only, at every operation."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from factorycommon.models import ClusterRequest, SessionState
from factorygate import FactoryCluster, use_token
from factorygate.link import LinkRoute
from factorylink.api.user import user_app
from tests.unit.fake_factory import ID, OTHER, SCHEDULER, FakeScheduler, World, factory
from tests.unit.fake_hub import Link, served
from tests.unit.fake_projects import Table, project
from tests.unit.serving import mocked

# clusters: of the session's factory and project; of another factory; of another project
OWN, FAR, PAID = "a" * 32, "b" * 32, "c" * 32
WORDS = "factorygate.use_token()"


@pytest_asyncio.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    """Ada has two projects at two factories, a session at one factory for one project, and clusters at both."""
    world = World(tmp_path, extend="account")
    everywhere = {"one": {}, "two": {}}
    world.table = Table(project("p", factories=everywhere), project("q", factories=everywhere))
    await world.up()
    here = world.factories["one"]
    there = replace(here, factory=factory("two"), site=FakeScheduler(world.identity))
    world.factories.offered = {"one": here, "two": there}
    await world.running(ID, project="p")
    await world.put(OTHER, server="other", factory="two", project="q")
    for id, where, pays in ((OWN, "one", "p"), (FAR, "two", "p"), (PAID, "one", "q")):
        await world.clusters.put(id, "ada", asked(id, where, pays))
    async with served(tmp_path, world) as made:
        yield made


def asked(name: str, where: str, pays: str | None, **more: Any) -> ClusterRequest:
    told = {"name": f"c{name[:1]}{len(name)}", "factory": where, "project": pays, "scheduler": SCHEDULER, **more}
    return ClusterRequest.model_validate(told)


async def ask(link: Link, method: str, path: str, token: str, body: Any = None) -> tuple[int, str]:
    answer = await link.people.request(method, f"/api{path}", headers={"Authorization": f"Bearer {token}"}, json=body)
    told = answer.json()
    return answer.status_code, f"{told.get('message')} {told.get('do')}" if isinstance(told, dict) else ""


def body(id: str, where: str, pays: str | None, **more: Any) -> dict[str, Any]:
    return asked(id, where, pays, **more).model_dump(mode="json")


async def test_a_session_s_token_acts_for_its_factory_and_project(link: Link) -> None:
    token = link.hub.session_token("ada")
    new = "d" * 32
    for method, path, sent, status in (
        ("GET", "/factories", None, 200),
        ("GET", "/factories/one/estimate?size=gpu-1", None, 200),
        ("GET", "/factories/one/estimate?size=gpu-1&project=p", None, 200),
        ("GET", f"/sessions/{ID}", None, 200),
        ("PUT", f"/clusters/{new}", body("new", "one", None), 201),
        ("GET", f"/clusters/{new}", None, 200),
        ("PUT", f"/clusters/{OWN}", body(OWN, "one", "p"), 200),
        ("PUT", f"/clusters/{OWN}/batches/{new}", {"names": ["w-1"]}, 200),
        ("POST", f"/clusters/{OWN}/cancel", {"names": ["w-1"]}, 200),
        ("DELETE", f"/clusters/{OWN}", None, 202),
    ):
        assert (await ask(link, method, path, token, sent))[0] == status, path
    # the session's project, although the request named none
    assert link.world.live_clusters[new].record.choice.project == "p"


# Every operation that names a session, a cluster or a factory, for objects that are not the session's.
NOT_ITS_OWN = [
    ("GET", "/factories/two/estimate?size=gpu-1", None),
    ("GET", "/factories/one/estimate?size=gpu-1&project=q", None),
    ("GET", f"/sessions/{OTHER}", None),
    ("GET", f"/sessions/{OTHER}/events", None),
    ("POST", f"/sessions/{OTHER}/extend", {"hours": 1}),
    ("PUT", f"/clusters/{'d' * 32}", body("new", "two", "p")),
    ("PUT", f"/clusters/{'d' * 32}", body("new", "two", None)),
    ("PUT", f"/clusters/{'d' * 32}", body("new", "one", "q")),
    ("PUT", f"/clusters/{'d' * 32}", body("new", "one", "p", session=OTHER)),
    *((method, f"/clusters/{id}{path}", sent) for id in (FAR, PAID) for method, path, sent in (
        ("GET", "", None),
        ("GET", "/events", None),
        ("GET", "/scheduler", None),
        ("GET", "/workers/w-1/log", None),
        ("PUT", "", body("new", "one", "p")),  # a cluster that the session could create, sent to another cluster's id
        ("PUT", f"/batches/{'e' * 32}", {"names": ["w-1"]}),
        ("POST", "/cancel", {"names": ["w-1"]}),
        ("DELETE", "", None),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "sent"), NOT_ITS_OWN)
async def test_a_session_s_token_is_refused_elsewhere_with_what_to_do(
    link: Link, method: str, path: str, sent: Any
) -> None:
    before = dict(link.world.home.files)
    status, said = await ask(link, method, path, link.hub.session_token("ada"), sent)
    assert (status, WORDS in said) == (403, True)
    assert "d" * 32 not in link.world.live_clusters
    assert all(
        cluster.wish == "run" for cluster in (live_cluster.record for live_cluster in link.world.live_clusters.values())
    )
    assert link.world.home.files == before  # no keys were written at any site


def test_every_operation_of_the_api_is_tested_with_a_session_s_token() -> None:
    """Each path of the user API with an id is in the list above, except those that reveal nothing about a site."""
    asked_for = [path.partition("?")[0] for _, path, _ in NOT_ITS_OWN]
    paths = mocked(user_app, base_url="/").openapi()["paths"]
    for path in (one for one in paths if "{" in one):
        pattern = re.sub(r"\{\w+\}", "[^/]+", path.removeprefix("/services/factories/api"))
        assert any(re.fullmatch(pattern, one) for one in asked_for), path


async def test_a_person_s_own_token_acts_everywhere(link: Link) -> None:
    for method, path, sent in NOT_ITS_OWN:
        if "/events" in path:  # the stream does not end
            continue
        status, said = await ask(link, method, path, "ada-token", sent)
        assert WORDS not in said, (path, status, said)
        assert status in (200, 201, 202, 400, 404, 409), path


async def test_lists_show_a_session_s_token_only_its_own_entries(link: Link) -> None:
    headers = {"Authorization": f"Bearer {link.hub.session_token('ada')}"}
    clusters = (await link.people.get("/api/clusters", headers=headers)).json()
    assert [cluster["id"] for cluster in clusters] == [OWN]
    assert [one["id"] for one in (await link.people.get("/api/projects", headers=headers)).json()] == ["p"]
    sessions = {one["id"]: one for one in (await link.people.get("/api/sessions", headers=headers)).json()}
    assert sessions[ID]["node"] == "n1"
    other = sessions[OTHER]  # its name only, so that a page of the session can link to it
    assert (other["server"], other["account"], other["job"], other["log"]) == ("other", "_", None, [])


async def test_a_session_s_token_reaches_no_other_cluster_s_scheduler(link: Link) -> None:
    url = str(link.people.base_url).replace("http", "ws") + "api/clusters/{}/wire"
    own = {"Authorization": f"Bearer {link.hub.session_token('ada')}"}
    # its own cluster has no scheduler's job
    for cluster, status in ((FAR, 403), (PAID, 403), (OWN, 409), ("f" * 32, 404)):
        with pytest.raises(InvalidStatus) as caught:
            await connect(url.format(cluster), additional_headers=own)
        assert caught.value.response.status_code == status


async def test_a_token_whose_session_has_ended_acts_for_nothing(link: Link) -> None:
    token = link.hub.session_token("ada")
    assert (await ask(link, "GET", "/factories", token))[0] == 200
    await link.world.sessions.stop(ID, "person")
    status, said = await ask(link, "PUT", f"/clusters/{'d' * 32}", token, body("new", "one", "p"))
    assert (status, "has ended or is ending" in said) == (403, True)
    assert (await ask(link, "PUT", f"/clusters/{OWN}/batches/{'e' * 32}", token, {"names": ["w"]}))[0] == 403
    await link.world.answered_until(ID, state=SessionState.ENDED)
    for path in ("/factories", "/projects", "/sessions", f"/sessions/{ID}", "/clusters", f"/clusters/{OWN}"):
        status, said = await ask(link, "GET", path, token)
        assert (status, "has ended" in said) == (403, True), path
    assert (await ask(link, "GET", "/factories", "ada-token"))[0] == 200


async def test_a_stream_of_events_ends_with_the_session_that_asked_for_it(link: Link) -> None:
    headers = {"Authorization": f"Bearer {link.hub.session_token('ada')}"}
    async with link.people.stream("GET", f"/api/clusters/{OWN}/events", headers=headers) as events:
        pieces = events.aiter_bytes()
        await anext(pieces)
        await link.world.sessions.stop(ID, "person")
        await link.world.answered_until(ID, state=SessionState.ENDED)
        link.world.live_clusters[OWN].touch()
        assert [piece async for piece in pieces] == []


async def test_a_token_of_several_servers_or_of_another_person_s_does_nothing(link: Link) -> None:
    factories = "access:services!service=factories"
    for name, scopes in {
        "two": ["access:servers!server=ada/", "access:servers!server=ada/other", factories],
        "theirs": ["access:servers!server=ben/", factories],
        "never": ["access:servers!server=ada/never", factories],
        "none": ["access:servers!user=ada"],
    }.items():
        link.hub.tokens[name], link.hub.scopes[name] = "ada", scopes
        assert (await ask(link, "GET", "/factories", name))[0] == 403, name
    # a token that a person made for this purpose only
    link.hub.tokens["narrow"], link.hub.scopes["narrow"] = "ada", [factories]
    assert (await ask(link, "GET", f"/clusters/{FAR}", "narrow"))[0] == 200


async def test_others_see_nothing_whatever_their_token(link: Link) -> None:
    for method, path, sent in (("GET", f"/sessions/{ID}", None), ("GET", f"/clusters/{OWN}", None)):
        assert (await ask(link, method, path, "ben-token", sent))[0] == 404


async def test_a_token_that_was_deleted_is_believed_for_half_a_minute(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr("factorycommon.service.hub_tokens.time", SimpleNamespace(monotonic=lambda: now))
    assert (await ask(link, "GET", "/factories", "ada-token"))[0] == 200
    del link.hub.tokens["ada-token"]
    now += 29
    assert (await ask(link, "GET", "/factories", "ada-token"))[0] == 200
    now += 2
    assert (await ask(link, "GET", "/factories", "ada-token"))[0] == 401


@pytest.mark.parametrize("handed", ["argument", "function", "environment"])
def test_a_token_handed_to_a_notebook_is_in_its_memory_only(handed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"FACTORYGATE_HUB_SOCKET": "/x/hub.sock", "JUPYTERHUB_API_TOKEN": "of-session"}
    monkeypatch.setattr("factorygate.link._own_token", "")
    assert (LinkRoute.here(here).token, LinkRoute.here(here).own) == ("of-session", False)
    if handed == "function":
        monkeypatch.setattr("factorygate.link.getpass", lambda _prompt: " very-secret ")
        use_token()  # the token is typed without echo
    way = LinkRoute.here(
        here | ({"FACTORYGATE_TOKEN": "very-secret"} if handed == "environment" else {}),
        token="very-secret" if handed == "argument" else None,
    )
    assert (way.token, way.own, way.socket) == ("very-secret", True, "/x/hub.sock")
    assert "very-secret" not in f"{way} {way!r} {vars(FactoryCluster)}"
    use_token("")
    assert LinkRoute.here(here).token == "of-session"
