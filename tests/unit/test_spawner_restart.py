"""The servers of a hub that is killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Any

import httpx
import pytest

from factorycommon.models import SessionState
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess, is_ready, is_stopped

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def token_works(hub: HubProcess, token: str) -> bool:
    return (await hub.api("GET", "/user", token)).status_code == 200


async def until_token_is_gone(hub: HubProcess, token: str) -> None:
    async with asyncio.timeout(60):
        while await token_works(hub, token):
            await asyncio.sleep(0.1)


async def start(hub: HubProcess, link: FakeLink, user: str) -> tuple[str, str]:
    """Start a server; return its session and token."""
    await hub.api("POST", f"/users/{user}/server", json={"factory": "one"})
    await hub.until(user, is_ready)
    [session] = link.live(user)
    return session.id, link.environments[session.id].environment["JUPYTERHUB_API_TOKEN"]


def puts(link: FakeLink, user: str) -> int:
    return sum(request.user == user for request in link.requests.values())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_running_session_goes_on(hub: HubProcess, link: FakeLink, user: str, how: signal.Signals) -> None:
    session, token = await start(hub, link, user)
    await hub.kill(how)
    await hub.up()
    await hub.until(user, is_ready)
    assert await token_works(hub, token)
    assert not [stop for stop in link.stops if stop[0] == session]
    await hub.api("DELETE", f"/users/{user}/server")
    await link.until(session, lambda s: s.wish == "stop")  # a link that is slow hears of the stop later
    assert (session, "hub") in link.stops
    await until_token_is_gone(hub, token)
    await link.end(session)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_pending_session_is_forgotten_and_adopted(
    hub: HubProcess, link: FakeLink, user: str, how: signal.Signals
) -> None:
    link.auto = False
    german = {"Accept-Language": "de"}
    answer = await hub.api("POST", f"/users/{user}/server", json={"factory": "one", "size": "big"}, headers=german)
    assert answer.status_code == 202
    session = await link.until(None, lambda s: s.user == user)
    await hub.kill(how)
    await hub.up()
    await hub.until(user, is_stopped)
    assert link.live(user) == [session]
    assert not [stop for stop in link.stops if stop[0] == session.id]
    # The request that the link makes with its service token.
    answer = await hub.api("POST", f"/users/{user}/server", hub.service, json={"adopt": session.id})
    assert answer.status_code == 202, answer.text
    link.auto = True
    await link.open_door(session.id)
    await hub.until(user, is_ready)
    assert puts(link, user) == 1
    assert link.environments[session.id].environment["FACTORYGATE_LANGUAGE"] == "de"
    assert await token_works(hub, link.environments[session.id].environment["JUPYTERHUB_API_TOKEN"])
    await link.end(session.id)
    await hub.until(user, is_stopped)
    await hub.api("POST", f"/users/{user}/server")  # without options, it has those of the adopted session
    await hub.until(user, is_ready)
    [again] = link.live(user)
    assert (again.choice.factory, again.choice.size) == ("one", "big")


async def test_a_running_session_that_cannot_be_reached_keeps_its_token(
    hub: HubProcess, link: FakeLink, user: str
) -> None:
    session, token = await start(hub, link, user)
    await hub.kill()
    await link.change(session, state=SessionState.UNREACHABLE, before=SessionState.RUNNING, reachable=False)
    await hub.up()
    await hub.until(user, is_stopped)
    assert await token_works(hub, token)
    answer = await hub.api("PATCH", f"/users/{user}/servers/", json={"name": "other"})
    assert "stop it first" in answer.text  # otherwise the session would be lost under its old name
    await link.change(session, state=SessionState.RUNNING, reachable=True)
    await hub.api("POST", f"/users/{user}/server", hub.service)
    await hub.until(user, is_ready)
    assert await token_works(hub, token)
    assert puts(link, user) == 1
    assert len((await hub.api("GET", f"/users/{user}/tokens")).json()["api_tokens"]) == 1


async def test_a_session_that_only_the_hub_cannot_reach_is_not_stopped(
    hub: HubProcess, link: FakeLink, beside: Beside, user: str
) -> None:
    hub.configure("c.FactorySpawner.http_timeout = 2\n")
    session, token = await start(hub, link, user)
    await hub.kill()
    beside.notebook_up = False
    await hub.up()
    hub.configure("")
    await hub.until(user, is_stopped)
    await hub.kill()
    beside.notebook_up = True
    await hub.up()  # from now on, notebooks have the whole time to answer
    assert not [stop for stop in link.stops if stop[0] == session]
    assert await token_works(hub, token)
    await hub.api("POST", f"/users/{user}/server", hub.service)
    await hub.until(user, is_ready)


async def test_a_session_that_ended_meanwhile_leaves_no_token(hub: HubProcess, link: FakeLink, user: str) -> None:
    session, token = await start(hub, link, user)
    await hub.kill()
    await link.end(session)
    await hub.up()
    await hub.until(user, is_stopped)
    await until_token_is_gone(hub, token)


async def test_nobody_else_reads_the_hub_s_database(hub: HubProcess) -> None:
    files = (hub.folder / "hub.sqlite", hub.folder / "cookie")
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    await hub.kill()
    files[0].chmod(0o644)  # as an earlier release made it
    await hub.up()
    assert files[0].stat().st_mode & 0o777 == 0o600


async def test_hub_and_link_come_back_together(hub: HubProcess, link: FakeLink, user: str) -> None:
    session, token = await start(hub, link, user)
    await hub.kill()
    await link.down()
    await hub.up()
    await hub.until(user, is_stopped)
    assert await token_works(hub, token)
    await link.up()
    await hub.api("POST", f"/users/{user}/server", hub.service)
    await hub.until(user, is_ready)
    assert await token_works(hub, token)
    assert [s.id for s in link.live(user)] == [session]


async def test_a_forgotten_session_that_ends_leaves_no_token(hub: HubProcess, link: FakeLink, user: str) -> None:
    session, token = await start(hub, link, user)
    await hub.kill()
    await link.change(session, state=SessionState.UNREACHABLE, before=SessionState.RUNNING, reachable=False)
    await hub.up()
    await hub.until(user, is_stopped)
    assert await token_works(hub, token)
    await link.end(session)
    await until_token_is_gone(hub, token)


async def test_a_stop_request_survives_a_restart_of_the_hub(hub: HubProcess, link: FakeLink, user: str) -> None:
    session, token = await start(hub, link, user)
    await link.down()
    stopping = asyncio.create_task(hub.api("DELETE", f"/users/{user}/server"))
    await hub.until(user, lambda _: f"The wish to stop session {session} waits" in hub.log)
    await hub.kill()
    with contextlib.suppress(httpx.HTTPError):  # on a busy machine it is answered before the hub is killed
        await stopping
    await hub.up()
    await link.up()
    wished: Any = await link.until(session, lambda s: s.wish == "stop")
    assert wished.id == session
    await hub.until(user, is_stopped)
    await until_token_is_gone(hub, token)


async def test_the_token_is_asked_of_the_door_where_the_hub_lost_its_database(
    hub: HubProcess, link: FakeLink, user: str
) -> None:
    session, token = await start(hub, link, user)
    await hub.kill()
    (hub.folder / "hub.sqlite").unlink()
    await hub.up()
    assert (await hub.api("POST", f"/users/{user}")).status_code == 201
    assert not await token_works(hub, token)
    await hub.api("POST", f"/users/{user}/server", hub.service)
    await hub.until(user, is_ready)
    assert await token_works(hub, token)
    assert [s.id for s in link.live(user)] == [session]


async def test_the_link_hears_that_a_hub_came_that_knows_nothing(hub: HubProcess, link: FakeLink) -> None:
    await hub.kill()
    (hub.folder / "hub.sqlite").unlink()
    link.asked.clear()
    await hub.up()
    async with asyncio.timeout(60):
        while ("GET", "/table") not in link.asked:
            await asyncio.sleep(0.1)


async def test_the_sessions_of_a_blocked_user_are_stopped(hub: HubProcess, link: FakeLink, user: str) -> None:
    session, token = await start(hub, link, user)
    await hub.kill()
    hub.configure(f"c.Authenticator.blocked_users = {{{user!r}}}\n")
    await hub.up()
    hub.configure("")
    await link.until(session, lambda s: s.wish == "stop")  # a starting hub may still check its servers
    assert (session, "hub") in link.stops
    await until_token_is_gone(hub, token)


async def test_the_link_s_start_adopts_and_makes_nothing_new(hub: HubProcess, link: FakeLink, user: str) -> None:
    """The session ended while the link was asking the hub to start its server again."""
    session, _ = await start(hub, link, user)
    await link.end(session)
    await hub.until(user, is_stopped)
    with hub.patient():
        answer = await hub.api("POST", f"/users/{user}/server", hub.service, json={"adopt": session})
    assert answer.status_code == 503
    assert "ended meanwhile" in answer.json()["message"]
    assert puts(link, user) == 1
    await hub.api("POST", f"/users/{user}/server")  # the person's own start, with the last valid options
    await hub.until(user, is_ready)
    assert puts(link, user) == 2
    assert {request.choice.factory for request in link.requests.values() if request.user == user} == {"one"}


@pytest.mark.parametrize("certain", [False, True])
async def test_a_requested_server_starts_though_a_dead_session_was_adopted(
    hub: HubProcess, link: FakeLink, user: str, certain: bool
) -> None:
    """A factory failed with its sessions, and the link does not know this yet when the person requests the server."""
    dead = link.add("d" * 31 + ("1" if certain else "0"), user, certain=certain, job="7")
    link.auto = False
    assert (await hub.api("POST", f"/users/{user}/server", json={"factory": "one"})).status_code == 202
    link.auto = True
    await link.end(dead.id)
    if certain:
        await hub.until(user, is_stopped)
        assert puts(link, user) == 0
    else:
        await hub.until(user, is_ready)
        assert puts(link, user) == 1
        [session] = link.live(user)
        token = link.environments[session.id].environment["JUPYTERHUB_API_TOKEN"]
        assert await token_works(hub, token)


@pytest.mark.parametrize("what", ["server", "person"])
async def test_a_server_deleted_after_a_restart_leaves_no_session(
    hub: HubProcess, link: FakeLink, user: str, what: str
) -> None:
    """The hub has forgotten the session by then: without a stop request, the link would start its server again."""
    link.auto = False
    assert (await hub.api("POST", f"/users/{user}/servers/slow", json={"factory": "one"})).status_code == 202
    session = await link.until(None, lambda s: s.user == user)
    await hub.kill()
    await hub.up()
    await hub.until(user, is_stopped, "slow")
    if what == "server":
        answer = await hub.api("DELETE", f"/users/{user}/servers/slow", json={"remove": True})
    else:
        answer = await hub.api("DELETE", f"/users/{user}")
    assert answer.status_code == 204, answer.text
    stopped = await link.until(session.id, lambda s: s.wish == "stop")
    await link.end(stopped.id)
