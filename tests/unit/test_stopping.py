"""A DELETE of a server is answered once its stop is recorded, whatever the server is doing at that moment.

The stop is recorded in the link's ledger or, while the link is silent, in the hub's database.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
import yaml

from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess, is_ready, is_stopped

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Simulates a busy machine: these starts need 3 s to react to a cancellation, before and after their request to the
# link; those that are held on react once a test has made a file with their server's name. A stop fails while there is a
# file ``fails-SERVER``.
HOLDS_ON = """
import asyncio
import os
from factoryspawner.spawner import FactorySpawner
from jupyterhub.handlers.base import BaseHandler

begin = FactorySpawner.start

async def start(self):
    try:
        if self.name.startswith("early"):
            await asyncio.sleep(600)
        return await begin(self)
    finally:
        if "holds-on" in self.name or "holds-on" in self.user.name:
            await asyncio.sleep(3)
        while self.name.startswith("held-on") and not os.path.exists(self.name):
            await asyncio.sleep(0.05)

end = BaseHandler.stop_single_user

async def stop_single_user(self, user, server_name=""):
    if os.path.exists(f"fails-{server_name}"):
        raise RuntimeError("the test lets this stop fail")
    return await end(self, user, server_name)

FactorySpawner.start = start
BaseHandler.stop_single_user = stop_single_user
c.JupyterHub.tornado_settings.update({"slow_stop_timeout": 2})
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside) -> AsyncIterator[HubProcess]:
    made = HubProcess(tmp_path_factory.mktemp("hub"), link.socket, beside, HOLDS_ON)
    config = yaml.safe_load((made.folder / "hub.yaml").read_text()) | {"named_servers": 0}
    (made.folder / "hub.yaml").write_text(yaml.safe_dump(config))
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()


async def pending(hub: HubProcess, link: FakeLink, user: str, server: str) -> str:
    """Start a server whose session waits in the queue; return the session's id."""
    link.auto = False
    answer = await hub.api("POST", f"/users/{user}/servers/{server}", json={"factory": "one"})
    assert answer.status_code == 202, answer.text
    return (await link.until(None, lambda s: s.user == user and s.server == server)).id


def begun(link: FakeLink, user: str) -> list[str]:
    """Return the ids of all sessions of that person that the link ever accepted."""
    return [session_id for session_id, asked in link.requests.items() if asked.user == user]


def stop_requests(hub: HubProcess) -> list[tuple[Any, ...]]:
    """Return the stop requests in the hub's database."""
    with sqlite3.connect(hub.folder / "hub.sqlite") as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'factorygate_stops'").fetchall():
            return []
        return database.execute("SELECT session FROM factorygate_stops").fetchall()


async def until_no_stop_requests(hub: HubProcess) -> None:
    """Wait until the hub has deleted its stop requests, which it does after the link's answer."""
    async with asyncio.timeout(60):
        while stop_requests(hub):
            await asyncio.sleep(0.1)


def let_go(hub: HubProcess, server: str) -> None:
    """Let a start that the test holds up react to its cancellation."""
    (hub.folder / server).touch()


async def stop(hub: HubProcess, user: str, server: str, **body: Any) -> httpx.Response:
    return await hub.api("DELETE", f"/users/{user}/servers/{server}", **({"json": body} if body else {}))


async def test_a_start_that_does_not_let_go_is_stopped_all_the_same(hub: HubProcess, link: FakeLink, user: str) -> None:
    session = await pending(hub, link, user, "held-on")
    answer = asyncio.create_task(stop(hub, user, "held-on"))
    await link.until(session, lambda s: s.wish == "stop")  # before the start has reacted
    assert (await answer).status_code == 202
    let_go(hub, "held-on")
    await link.end(session)
    await hub.until(user, is_stopped, "held-on")
    assert begun(link, user) == [session]


async def test_a_start_that_has_not_asked_the_link_yet_never_does(hub: HubProcess, link: FakeLink, user: str) -> None:
    answer = await hub.api("POST", f"/users/{user}/servers/early-holds-on", json={"factory": "one"})
    assert answer.status_code == 202
    assert (await stop(hub, user, "early-holds-on")).status_code in (202, 204)
    await hub.until(user, is_stopped, "early-holds-on")
    assert begun(link, user) == []


async def test_many_servers_are_stopped_at_once_in_every_phase(hub: HubProcess, link: FakeLink, user: str) -> None:
    names = [f"{phase}-{number}" for phase in ("waits", "starts", "runs", "holds-on") for number in range(8)]
    for name in names:
        link.auto = name.startswith("runs")
        await hub.api("POST", f"/users/{user}/servers/{name}", json={"factory": "one"})
        await link.until(None, lambda s, name=name: s.user == user and s.server == name)
    link.auto = False
    for session in link.live(user):
        if session.server.startswith("starts"):
            await link.open_door(session.id)
    answers = await asyncio.gather(*(stop(hub, user, name) for name in names for _ in range(2)))
    assert {answer.status_code for answer in answers} <= {202, 204}, [answer.text for answer in answers]
    for session in link.live(user):
        await link.until(session.id, lambda s: s.wish == "stop")
        await link.end(session.id)
    for name in names:
        await hub.until(user, is_stopped, name)
    assert len(begun(link, user)) == len(names)
    for trouble in ("Uncaught exception", "failed", "Unhandled error", "never retrieved"):
        assert trouble not in hub.log
    await until_no_stop_requests(hub)


async def test_a_restart_right_after_a_stop_gets_a_new_session(hub: HubProcess, link: FakeLink, user: str) -> None:
    old = await pending(hub, link, user, "held-on-again")
    stopping = asyncio.create_task(stop(hub, user, "held-on-again"))
    await link.until(old, lambda s: s.wish == "stop")
    answer = await hub.api("POST", f"/users/{user}/servers/held-on-again")
    # the pages then repeat the request
    assert (answer.status_code, answer.json()["message"][-15:]) == (400, "is pending stop")
    let_go(hub, "held-on-again")
    assert (await stopping).status_code in (202, 204)
    await hub.until(user, is_stopped, "held-on-again")
    # The link still ends the old session: the start waits for it, and does not adopt it.
    assert (await hub.api("POST", f"/users/{user}/servers/held-on-again")).status_code == 202
    assert begun(link, user) == [old]
    link.auto = True
    await link.end(old)
    await hub.until(user, is_ready, "held-on-again")
    [new] = link.live(user)
    assert new.id != old
    assert new.wish == "run"
    assert new.id not in {stopped for stopped, _ in link.stops}


async def test_a_start_that_is_stopped_is_answered_in_words(hub: HubProcess, link: FakeLink, user: str) -> None:
    link.free.clear()
    link.asked.clear()
    try:
        with hub.patient():
            starting = asyncio.create_task(hub.api("POST", f"/users/{user}/servers/quick", json={"factory": "one"}))
            async with asyncio.timeout(60):
                while not any(method == "PUT" and "/sessions/" in path for method, path in link.asked):
                    await asyncio.sleep(0.01)
            assert (await stop(hub, user, "quick")).status_code in (202, 204)
            answer = await starting
    finally:
        link.free.set()
    assert answer.status_code == 400
    assert "Somebody stopped this session while it was starting." in answer.json()["message"]
    await hub.until(user, is_stopped, "quick")
    assert begun(link, user) == []  # the link refuses the PUT that it reads only now


async def test_a_stop_outlives_hubs_until_the_link_answers(hub: HubProcess, link: FakeLink, user: str) -> None:
    session = await pending(hub, link, user, "kept")
    await link.down()
    assert (await stop(hub, user, "kept")).status_code in (202, 204)
    assert stop_requests(hub) == [(session,)]
    for _ in range(2):  # the second one finds a server that is already stopped
        await hub.kill()
        await hub.up()
        await hub.until(user, is_stopped, "kept")
        assert stop_requests(hub) == [(session,)]
    await link.up()
    await link.until(session, lambda s: s.wish == "stop")
    await until_no_stop_requests(hub)
    # The start that the link requests if it does not know the stop yet.
    with hub.patient():
        answer = await hub.api("POST", f"/users/{user}/servers/kept", hub.service, json={"adopt": session})
    assert answer.status_code == 503
    await link.end(session)


async def test_a_removed_servers_session_ends(hub: HubProcess, link: FakeLink, user: str) -> None:
    session = await pending(hub, link, user, "gone-holds-on")
    answers = await asyncio.gather(*(stop(hub, user, "gone-holds-on", remove=remove) for remove in (True, False, True)))
    assert {answer.status_code for answer in answers} <= {202, 204}
    await link.until(session, lambda s: s.wish == "stop")
    await hub.until(user, lambda shown: shown is None, "gone-holds-on")
    assert (await stop(hub, user, "gone-holds-on")).status_code == 404
    assert (await hub.api("DELETE", f"/users/{user}/server", json={"remove": True})).status_code == 400
    await link.end(session)


async def test_a_stop_after_a_removal_that_failed_removes_nothing(hub: HubProcess, link: FakeLink, user: str) -> None:
    link.auto = True
    await hub.api("POST", f"/users/{user}/servers/kept", json={"factory": "one"})
    await hub.until(user, is_ready, "kept")
    [session] = link.live(user)
    (hub.folder / "fails-kept").touch()
    assert (await stop(hub, user, "kept", remove=True)).status_code == 500
    (hub.folder / "fails-kept").unlink()
    assert (await stop(hub, user, "kept")).status_code in (202, 204)
    await link.end(session.id)
    assert await hub.until(user, is_stopped, "kept") is not None
    assert (await stop(hub, user, "kept", remove=True)).status_code == 204
    assert await hub.server(user, "kept") is None


async def test_a_session_that_the_hub_lost_sight_of_ends_as_well(hub: HubProcess, link: FakeLink, user: str) -> None:
    session = await pending(hub, link, user, "lost")
    await hub.kill()
    await hub.up()
    await hub.until(user, is_stopped, "lost")
    assert link.sessions[session].wish == "run"
    assert (await stop(hub, user, "lost")).status_code == 204
    await link.until(session, lambda s: s.wish == "stop")
    await link.end(session)


async def test_a_person_goes_with_all_servers_in_every_phase(hub: HubProcess, link: FakeLink) -> None:
    name = "leaves-holds-on"
    assert (await hub.api("POST", f"/users/{name}")).status_code == 201
    link.auto = True
    assert (await hub.api("POST", f"/users/{name}/server", json={"factory": "one"})).status_code in (201, 202)
    await hub.until(name, is_ready)
    sessions = [link.live(name, "")[0].id]
    sessions += [await pending(hub, link, name, server) for server in ("one", "two-holds-on")]
    assert (await hub.api("POST", f"/users/{name}/servers/early", json={})).status_code == 202
    answers = await asyncio.gather(*(hub.api("DELETE", f"/users/{name}") for _ in range(2)))
    assert {answer.status_code for answer in answers} <= {202, 204, 404}, [answer.text for answer in answers]
    assert answers[0].status_code in (202, 204)
    for session in sessions:
        await link.until(session, lambda s: s.wish == "stop")
        await link.end(session)
    async with asyncio.timeout(60):
        while (await hub.api("GET", f"/users/{name}")).status_code != 404:
            await asyncio.sleep(0.1)
    assert sorted(begun(link, name)) == sorted(sessions)


async def test_a_hub_that_cannot_write_reports_that(hub: HubProcess, link: FakeLink, user: str) -> None:
    session = await pending(hub, link, user, "unwritten")
    with sqlite3.connect(hub.folder / "hub.sqlite", timeout=60) as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON factorygate_stops BEGIN SELECT RAISE(FAIL, 'full'); END")
    try:
        await link.down()
        answer = await stop(hub, user, "unwritten")
        assert answer.status_code == 503
        assert "could not be recorded" in answer.json()["message"]
    finally:
        with sqlite3.connect(hub.folder / "hub.sqlite", timeout=60) as database:
            database.execute("DROP TRIGGER full")
        await link.up()
    await link.until(session, lambda s: s.wish == "stop")  # the hub is running, and repeats the request
    await link.end(session)
    await hub.until(user, is_stopped, "unwritten")


async def test_a_proxy_that_is_away_holds_up_no_stop(
    hub: HubProcess, link: FakeLink, beside: Beside, user: str
) -> None:
    link.auto = True
    await hub.api("POST", f"/users/{user}/servers/routed", json={"factory": "one"})
    await hub.until(user, is_ready, "routed")
    [session] = link.live(user)
    beside.removes.clear()
    try:
        assert (await stop(hub, user, "routed")).status_code == 202
        await link.until(session.id, lambda s: s.wish == "stop")
    finally:
        beside.removes.set()
    await hub.until(user, is_stopped, "routed")
    await link.end(session.id)


async def test_the_link_is_told_who_stopped_it(hub: HubProcess, link: FakeLink, user: str) -> None:
    made = await hub.api("POST", f"/users/{user}/tokens", json={"note": "stops"})
    own = made.json()["token"]
    told = {}
    for server, token in (("own", own), ("others", None)):
        told[server] = await pending(hub, link, user, server)
        answer = await hub.api("DELETE", f"/users/{user}/servers/{server}", token)
        assert answer.status_code in (202, 204), answer.text
        await link.until(told[server], lambda s: s.wish == "stop")
        await hub.until(user, is_stopped, server)
    by = dict(reversed(link.stops))  # the first requester counts
    assert by[told["own"]] == "person"
    assert by[told["others"]] in ("hub", "operator")
