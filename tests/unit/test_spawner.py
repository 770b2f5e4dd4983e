"""The spawner in a real hub, with a scripted link."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from factorycommon.models import EndReason, Problem, Session, SessionState, Words
from factoryspawner.errors import StartFailed
from factoryspawner.spawner import FactorySpawner
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess, is_ready, is_stopped

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def works(hub: HubProcess, token: str) -> bool:
    return (await hub.api("GET", "/user", token)).status_code == 200


async def test_start_and_stop(hub: HubProcess, link: FakeLink, beside: Beside, user: str) -> None:
    answer = await hub.api("POST", f"/users/{user}/servers/deep", json={"factory": "one", "size": "big", "hours": 2})
    assert answer.status_code in (201, 202), answer.text
    await hub.until(user, is_ready, "deep")
    [session] = link.live(user)
    asked = link.requests[session.id]
    assert (asked.user, asked.server, asked.choice.size, asked.choice.hours) == (user, "deep", "big", 2)
    environment = link.environments[session.id]
    assert environment.argv[0] == "jupyterhub-singleuser"
    token = environment.environment["JUPYTERHUB_API_TOKEN"]
    assert await works(hub, token)
    assert beside.routes[f"/user/{user}/deep"]["target"] == beside.url

    assert (await hub.api("DELETE", f"/users/{user}/servers/deep")).status_code in (202, 204)
    await hub.until(user, is_stopped, "deep")
    await link.until(session.id, lambda s: s.wish == "stop")  # a link that is slow hears of the stop later
    assert link.stops[-1] == (session.id, "hub")
    assert not await works(hub, token)
    await link.end(session.id)

    answer = await hub.api("POST", f"/users/{user}/servers/deep")
    await hub.until(user, is_ready, "deep")
    [again] = link.live(user)
    assert link.requests[again.id].choice.size == "big"
    assert again.id != session.id


async def test_a_session_that_ends_is_noticed_at_once(
    hub: HubProcess, link: FakeLink, beside: Beside, user: str
) -> None:
    await hub.api("POST", f"/users/{user}/server")
    await hub.until(user, is_ready)
    [session] = link.live(user)
    token = link.environments[session.id].environment["JUPYTERHUB_API_TOKEN"]
    await link.end(session.id, end_reason=EndReason.IDLE)
    before = time.monotonic()
    await hub.until(user, is_stopped)
    # the link reported the end before the next poll
    assert time.monotonic() - before < FactorySpawner.poll_interval.default_value / 2
    assert f"/user/{user}" not in beside.routes
    assert not await works(hub, token)
    assert link.stops == [stop for stop in link.stops if stop[0] != session.id]


async def test_a_restart_while_the_hub_forgets_the_ended_session_gets_a_lasting_session(
    hub: HubProcess, link: FakeLink, beside: Beside, user: str
) -> None:
    server = f"/users/{user}/servers/anew"
    await hub.api("POST", server, json={"factory": "one"})
    await hub.until(user, is_ready, "anew")
    [old] = link.live(user)
    beside.removes.clear()
    try:
        await link.end(old.id)
        await hub.until(user, lambda shown: shown is not None and shown["pending"] == "stop", "anew")
        answer = await hub.api("POST", server)
        assert answer.status_code == 400
        assert answer.json()["message"].endswith("is pending stop")  # the pages recognise this message, and try again
    finally:
        beside.removes.set()
    await hub.until(user, is_stopped, "anew")
    assert (await hub.api("POST", server)).status_code in (201, 202)
    await hub.until(user, is_ready, "anew")
    assert [session.wish for session in link.live(user)] == ["run"]


async def answer_with(hub: HubProcess, path: str, first: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the first answer to a start that has a value for ``key``; ``first``: the answer to the first request.

    On a busy machine the hub may answer before the link does, and even before it has chosen the session's id.
    """
    told = first
    async with asyncio.timeout(30):
        while told.get(key) is None:
            again = await hub.api("POST", path, json={"factory": "one"})
            assert again.status_code == 202
            told = again.json()
    return told


async def test_a_start_answers_with_the_session(hub: HubProcess, link: FakeLink, user: str) -> None:
    link.auto = False
    answer = await hub.api("POST", f"/users/{user}/servers/told", json={"factory": "one"})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (202, "application/json")
    first = answer.json()
    told = Session.model_validate(await answer_with(hub, f"/users/{user}/servers/told", first, "account"))
    assert first["id"] in (None, told.id)
    assert link.live(user) == [told.model_copy(update={"url": link.live(user)[0].url})]
    assert told.url == first["url"] == f"http://127.0.0.1:1/user/{user}/told/"  # the address for people
    again = await hub.api("POST", f"/users/{user}/servers/told", json={"factory": "one"})
    assert (again.status_code, again.json()["id"]) == (202, told.id)


async def test_a_start_answers_before_the_link_does(hub: HubProcess, link: FakeLink, user: str) -> None:
    link.auto = False
    link.free.clear()
    try:
        answer = await hub.api("POST", f"/users/{user}/server", json={"factory": "one"})
        assert answer.status_code == 202
        told = await answer_with(hub, f"/users/{user}/server", answer.json(), "id")
        assert told == told | {
            "user": user,
            "server": "",
            "state": "pending",
            "url": f"http://127.0.0.1:1/user/{user}/",
        }
    finally:
        link.free.set()
    assert (await link.until(None, lambda s: s.user == user)).id == told["id"]


async def test_adopts_a_live_session_and_takes_its_token(hub: HubProcess, link: FakeLink, user: str) -> None:
    session = link.add("a" * 32, user, state=SessionState.PENDING)
    link.auto = False
    answer = await hub.api("POST", f"/users/{user}/server", json={})
    assert answer.status_code == 202
    assert link.live(user) == [session]
    link.auto = True
    await link.open_door(session.id)
    await hub.until(user, is_ready)
    assert not [path for method, path in link.asked if method == "PUT" and path.endswith(session.id)]


async def test_cancel_while_pending(hub: HubProcess, link: FakeLink, user: str) -> None:
    link.auto = False
    answer = await hub.api("POST", f"/users/{user}/servers/slow", json={"factory": "one"})
    assert answer.status_code == 202
    session = await link.until(None, lambda s: s.user == user)
    answer = await hub.api("DELETE", f"/users/{user}/servers/slow")
    assert answer.status_code in (202, 204)
    await link.until(session.id, lambda s: s.wish == "stop")  # a link that is slow hears of the stop later
    assert (session.id, "hub") in link.stops
    await hub.until(user, is_stopped, "slow")
    await link.end(session.id)


async def test_cancel_while_the_link_has_not_answered_the_put(hub: HubProcess, link: FakeLink, user: str) -> None:
    link.auto = False
    link.free.clear()
    answer = await hub.api("POST", f"/users/{user}/server", json={"factory": "one"})
    assert answer.status_code == 202
    try:
        assert (await hub.api("DELETE", f"/users/{user}/server")).status_code in (202, 204)
        await hub.until(user, is_stopped)
    finally:
        link.free.set()
    async with asyncio.timeout(60):
        while not link.refused:  # the link reads the PUT only now, and starts nothing
            await asyncio.sleep(0.1)
    assert link.live(user) == []


async def test_a_new_start_waits_for_the_session_that_is_ending(hub: HubProcess, link: FakeLink, user: str) -> None:
    await hub.api("POST", f"/users/{user}/server", json={"factory": "one"})
    await hub.until(user, is_ready)
    [old] = link.live(user)
    await hub.api("DELETE", f"/users/{user}/server")
    assert (await hub.api("POST", f"/users/{user}/server")).status_code == 202
    assert link.live(user)[0].id == old.id
    await link.end(old.id)
    await hub.until(user, is_ready)
    assert [s.id for s in link.live(user)] != [old.id]


@pytest.mark.parametrize(
    ("kind", "status"), [("invalid", 400), ("refused", 400), ("limit", 403), ("draining", 503), ("unreachable", 503)]
)
async def test_refusals_are_answered_in_words(
    hub: HubProcess, link: FakeLink, user: str, kind: str, status: int
) -> None:
    link.refuse = Problem.model_validate(
        {"kind": kind, "message": "No.", "do": "Pick another.", "scheduler": "error: 100% <no>"}
    )
    with hub.patient():
        answer = await hub.api("POST", f"/users/{user}/server", json={"factory": "one"})
    assert answer.status_code == status
    assert answer.json()["message"] == "No. Pick another. The factory said: error: 100% <no>"
    link.refuse = None
    assert (await hub.api("POST", f"/users/{user}/server", json={"factory": "one"})).status_code in (201, 202)
    await hub.until(user, is_ready)


async def test_the_hub_has_no_user_with_the_name_of_a_robot(hub: HubProcess, link: FakeLink) -> None:
    for name in ("robot.w-2345.1", "Robot.w-2345.2"):
        assert (await hub.api("POST", f"/users/{name}")).status_code == 400
        assert (await hub.api("POST", f"/users/{name}/server")).status_code == 404
    assert (await hub.api("POST", "/users", json={"usernames": ["robot.w-2345.3"]})).status_code == 400
    assert (await hub.api("POST", "/users/renamed")).status_code == 201
    assert (await hub.api("PATCH", "/users/renamed", json={"name": "robot.w-2345.4"})).status_code == 400
    assert (await hub.api("DELETE", "/users/renamed")).status_code == 204
    assert [one.user for one in link.sessions.values() if one.user.startswith("robot.")] == []


async def test_whoever_an_operator_s_own_login_lets_in_starts_nothing_as_a_robot() -> None:
    spawner: Any = SimpleNamespace(user=SimpleNamespace(name="Robot.w-2345.1"))
    with pytest.raises(StartFailed) as caught:
        await FactorySpawner.start(spawner)
    assert (caught.value.kind, caught.value.words.code) == ("forbidden", "robots-name")


async def test_a_session_that_ends_before_it_is_up(hub: HubProcess, link: FakeLink, user: str) -> None:
    link.auto = False
    await hub.api("POST", f"/users/{user}/server", json={"factory": "one"})
    session = await link.until(None, lambda s: s.user == user)
    token_before = await hub.api("GET", f"/users/{user}/tokens")
    words = Words(code="oom", what="It ran out of memory.", do="Take more.", scheduler="OUT_OF_MEMORY")
    await link.end(session.id, end_reason=EndReason.OUT_OF_MEMORY, end=words, log_tail=("Killed <now>",))
    await hub.until(user, is_stopped)
    assert len(token_before.json()["api_tokens"]) == 1
    assert (await hub.api("GET", f"/users/{user}/tokens")).json()["api_tokens"] == []


async def test_bad_options_are_refused_and_not_repeated(hub: HubProcess, link: FakeLink, user: str) -> None:
    await hub.api("POST", f"/users/{user}/server", json={"factory": "one", "size": "big"})
    await hub.until(user, is_ready)
    [session] = link.live(user)
    await hub.api("DELETE", f"/users/{user}/server")
    await link.end(session.id)
    await hub.until(user, is_stopped)
    with hub.patient():
        answer = await hub.api("POST", f"/users/{user}/server", json={"size": "big\n#SBATCH --uid=0"})
    assert answer.status_code == 400
    assert "size" in answer.json()["message"]
    await hub.api("POST", f"/users/{user}/server")
    await hub.until(user, is_ready)
    assert link.requests[link.live(user)[0].id].choice.size == "big"


async def test_a_requeued_job_gets_its_environment_again(hub: HubProcess, link: FakeLink, user: str) -> None:
    await hub.api("POST", f"/users/{user}/server", json={"factory": "one"}, headers={"Accept-Language": "de"})
    await hub.until(user, is_ready)
    [session] = link.live(user)
    first = link.environments.pop(session.id)
    assert first.environment["FACTORYGATE_LANGUAGE"] == "de"
    await link.change(
        session.id, state=SessionState.PENDING, reachable=False, door_open=False, environment_sent=False, node=None
    )
    await link.open_door(session.id)
    await link.until(session.id, lambda s: s.reachable)
    assert link.environments[session.id] == first
    assert is_ready(await hub.server(user))


async def test_the_notebook_knows_the_languages_of_who_started_it(hub: HubProcess, link: FakeLink, user: str) -> None:
    for server, headers, told in (
        ("", {}, None),
        ("by-browser", {"Accept-Language": "en;q=0.5, de-AT, de;q=0.9"}, "de-AT:de:en"),
        ("picked", {"Cookie": "fg-lang=de", "Accept-Language": "en"}, "de:en"),
        (
            "hostile",
            {"Accept-Language": "../../etc/passwd,de:x,$(id),*," + ",".join("abcdefghijklm")},
            "a:b:c:d:e:f:g:h",
        ),
    ):
        path = f"/users/{user}/servers/{server}" if server else f"/users/{user}/server"
        await hub.api("POST", path, json={"factory": "one"}, headers=headers)
        await hub.until(user, is_ready, server)
        [session] = link.live(user, server)
        assert link.environments[session.id].environment.get("FACTORYGATE_LANGUAGE") == told


async def test_no_callback_and_no_shell(hub: HubProcess, link: FakeLink, user: str) -> None:
    await hub.api("POST", f"/users/{user}/server", json={"factory": "one"})
    await hub.until(user, is_ready)
    token = link.environments[link.live(user)[0].id].environment["JUPYTERHUB_API_TOKEN"]
    answer = await hub.api("POST", "/batchspawner", token, json={"exec_prefix": "touch /tmp/never;"})
    assert answer.status_code == 404


async def test_a_silent_link_is_a_503_in_words_and_stops_are_kept(hub: HubProcess, link: FakeLink, user: str) -> None:
    await hub.api("POST", f"/users/{user}/server", json={"factory": "one"})
    await hub.until(user, is_ready)
    [session] = link.live(user)
    await link.down()
    with hub.patient():
        answer = await hub.api("POST", f"/users/{user}/servers/other", json={"factory": "one"})
    assert answer.status_code == 503
    assert "cannot reach the factories" in answer.json()["message"]
    assert is_ready(await hub.server(user))
    stopping = asyncio.create_task(hub.api("DELETE", f"/users/{user}/server"))
    await hub.until(user, lambda shown: shown is not None and shown["pending"] == "stop")
    await link.up()
    assert (await stopping).status_code in (202, 204)
    await link.until(session.id, lambda s: s.wish == "stop")
    await link.end(session.id)


async def test_start_survives_a_link_that_restarts(hub: HubProcess, link: FakeLink, user: str) -> None:
    link.auto = False
    assert (await hub.api("POST", f"/users/{user}/server", json={"factory": "one"})).status_code == 202
    session = await link.until(None, lambda s: s.user == user)
    await link.down()
    link.auto = True
    await link.change(session.id, state=SessionState.STARTING, door_open=True)
    await link.up()
    await hub.until(user, is_ready)
    assert (session.id, "hub") not in link.stops


async def test_another_start_of_the_same_server_is_adopted(hub: HubProcess, link: FakeLink, user: str) -> None:
    link.free.clear()
    assert (await hub.api("POST", f"/users/{user}/server", json={"factory": "one"})).status_code == 202
    other = link.add("9" * 32, user)
    link.free.set()  # the PUT is answered with a conflict
    await link.open_door(other.id)
    await hub.until(user, is_ready)
    assert [s.id for s in link.live(user)] == [other.id]


async def test_a_start_goes_on_with_the_new_seat_if_its_class_moves(hub: HubProcess, link: FakeLink, user: str) -> None:
    link.auto = False
    answer = await hub.api("POST", f"/users/{user}/server", json={"factory": "one"})
    assert answer.status_code == 202
    old = await link.until(None, lambda s: s.user == user)
    await link.end(old.id, end_reason=EndReason.MOVED)
    new = link.add("b" * 32, user, state=SessionState.PENDING)
    link.auto = True
    await link.open_door(new.id)
    await hub.until(user, is_ready)
    assert [session.id for session in link.live(user)] == [new.id]
    assert not [path for method, path in link.asked if method == "PUT" and path.endswith(new.id)]
    assert (old.id, "hub") not in link.stops
