"""A person requests a session, closes the browser, and returns in another browser after hub and link were killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.faults.test_kill import kill
from tests.support.gateway import Gateway, eventually

PERSON, SERVER, FACTORY = "grace", "later", "it4lia"


@pytest.fixture
def waiting(gateway: Gateway) -> Iterator[tuple[Gateway, str]]:
    """Request a session in one browser, and close the browser; yield the gateway and the session's id.

    All nodes are reserved, so the session's job waits as long as the test needs.
    """
    factory = gateway.factories[FACTORY]
    factory.ask("scontrol", "create", "reservation", "ReservationName=later", "Nodes=ALL", "StartTime=now",
                "Duration=1:00:00", "Users=root", "Flags=IGNORE_JOBS")  # fmt: skip
    try:
        with closing(gateway.browser_session(PERSON)) as first:
            xsrf = first.cookies.get("_xsrf", path="/hub/")
            form = {"factory": FACTORY, "size": "gpu-1", "hours": "0.5", "_xsrf": xsrf}
            answer = first.post(f"{gateway.hub}/spawn/{PERSON}/{SERVER}", data=form, headers={"X-XSRFToken": str(xsrf)})
            assert answer.status_code == 200, answer.text
            session = gateway.wait_session(PERSON, SERVER, "pending")  # the job exists, so that a new link can find it
        yield gateway, session["id"]
    finally:
        factory.ask("scontrol", "delete", "ReservationName=later", check=False)
        gateway.stop(PERSON, SERVER)
        eventually(lambda: gateway.session(PERSON, SERVER) is None, 60)


def test_a_session_can_be_opened_again_in_another_browser(waiting: tuple[Gateway, str]) -> None:
    gateway, session_id = waiting
    kill(gateway, "hub", "link")
    with closing(gateway.browser_session(PERSON)) as second:

        def state() -> str:
            found = second.get(f"{gateway.hub}/gateway/api/sessions")
            if found.status_code == 503:  # the new hub does not reach the new link yet
                return ""
            assert found.status_code == 200, found.text
            mine = {session["server"]: session for session in found.json() if session["state"] != "ended"}
            assert mine[SERVER]["id"] == session_id
            return str(mine[SERVER]["state"])

        eventually(lambda: state() == "pending", 60, what="the new link has asked the scheduler")
        gateway.factories[FACTORY].ask("scontrol", "delete", "ReservationName=later")
        eventually(lambda: gateway.server(PERSON, SERVER), 60, what="the hub has the server again")
        gateway.wait_ready(PERSON, SERVER)
        lab = second.get(f"{gateway.root}/user/{PERSON}/{SERVER}/lab")
        assert lab.status_code == 200
        assert "jupyter-config-data" in lab.text
    session = gateway.session(PERSON, SERVER)
    assert session is not None
    assert session["id"] == session_id
    assert gateway.notebook(PERSON, SERVER).run("print(6 * 7)").strip() == "42"  # a script with a token reaches it, too
