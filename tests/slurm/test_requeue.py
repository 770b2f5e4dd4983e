"""The job of a running session is requeued: the same session continues on another node."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gateway import Gateway, eventually

TOKEN = "import os; print(os.environ['JUPYTERHUB_API_TOKEN'])"
CHOICE = {"factory": "brainpp", "size": "gpu-1", "hours": 0.5}


@pytest.fixture
def person(gateway: Gateway) -> Iterator[str]:
    name = gateway.make_user()
    yield name
    gateway.stop(name, "moves")
    eventually(lambda: gateway.session(name, "moves") is None, 60, what="the session ended")


def same(gateway: Gateway, person: str, before: dict[str, Any]) -> dict[str, Any] | None:
    """Return the session if its notebook runs in another run of the same job, None as long as it does not.

    Assert that the link has the same session with the same job, and the hub its server. ``before``: the session as it
    was.
    """
    session = gateway.session(person, "moves")
    assert session is not None, "the session is lost"
    assert (session["id"], session["job"]) == (before["id"], before["job"])
    model = gateway.server(person, "moves")
    assert model is not None, "the hub gave the server up"
    again = session["state"] == "running" and session["reachable"] and session["started"] != before["started"]
    return session if again else None


def test_a_requeue_is_followed_to_the_new_node(gateway: Gateway, person: str) -> None:
    factory = gateway.factories[CHOICE["factory"]]
    gateway.started(person, "moves", **CHOICE)
    before = gateway.session(person, "moves")
    assert before is not None
    token = gateway.notebook(person, "moves").run(TOKEN).strip()
    factory.ask("scontrol", "update", f"NodeName={before['node']}", "State=DRAIN", "Reason=test")
    try:
        factory.ask("scontrol", "requeue", before["job"])
        session = gateway.wait_session(person, "moves", "pending")
        assert session["node"] is None
        assert "back into the queue" in json.dumps(session["log"])
        found = eventually(lambda: same(gateway, person, before), 120, 0.5, "the same session runs again")
    finally:
        factory.ask("scontrol", "update", f"NodeName={before['node']}", "State=RESUME")
    assert found["node"] != before["node"]
    assert found["url"] == before["url"]
    assert gateway.server(person, "moves")["url"] == f"/user/{person}/moves/"  # type: ignore[index]
    again = gateway.notebook(person, "moves")
    assert again.run(TOKEN).strip() == token
    assert gateway.api("GET", "/user", token=token).status_code == 200


def test_a_suspended_session_says_so_and_goes_on(gateway: Gateway, person: str) -> None:
    factory = gateway.factories[CHOICE["factory"]]
    gateway.started(person, "moves", **CHOICE)
    before = gateway.session(person, "moves")
    assert before is not None
    assert gateway.notebook(person, "moves").run("word = 'kept'; print(word)").strip() == "kept"
    factory.ask("scontrol", "suspend", before["job"])
    try:
        session = gateway.wait_session(person, "moves", "unreachable")
        assert (session["before"], session["waits_for"]["code"]) == ("running", "suspended")
        assert not session["reachable"]
    finally:
        factory.ask("scontrol", "resume", before["job"])

    def goes_on() -> bool:
        session = gateway.session(person, "moves")
        assert session is not None, "the session is lost"
        assert (session["id"], session["node"]) == (before["id"], before["node"])
        return bool(session["state"] == "running" and session["reachable"])

    eventually(goes_on, 60, 0.5, "the session goes on")
    assert gateway.notebook(person, "moves").run("print('again')").strip() == "again"


def test_a_requeue_while_the_hub_is_down(gateway: Gateway, person: str) -> None:
    """No hub can send the notebook's environment variables meanwhile; the restarted hub does."""
    factory = gateway.factories[CHOICE["factory"]]
    gateway.started(person, "moves", **CHOICE)
    before = gateway.session(person, "moves")
    assert before is not None
    token = gateway.notebook(person, "moves").run(TOKEN).strip()
    factory.ask("scontrol", "requeue", before["job"])
    old = gateway.pid("hub")
    os.kill(old, signal.SIGKILL)
    eventually(lambda: gateway.pid("hub") != old, 60, what="a new hub")

    def back() -> Any:
        try:
            return same(gateway, person, before)
        except Exception:  # the hub does not answer yet, or has forgotten the server for a moment
            return None

    eventually(back, 120, 0.5, "the same session runs again")
    eventually(lambda: (gateway.server(person, "moves") or {}).get("ready"), 120, what="the hub has the server again")
    assert gateway.notebook(person, "moves").run(TOKEN).strip() == token
