"""Hub and link are killed together: no session is lost, doubled or orphaned.

The fault matrix (``test_matrix.py``) kills each of them alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.support.gateway import Gateway, eventually


def jobs_of(gateway: Gateway, user: str) -> dict[str, str]:
    """Return the jobs of a person's live sessions by server; assert that each server has one live session."""
    found = {}
    for session in gateway.sessions(user):
        if session["state"] != "ended":
            assert session["server"] not in found
            found[session["server"]] = session["job"]
    return found


@pytest.fixture
def busy(gateway: Gateway) -> Iterator[tuple[Gateway, str, dict[str, str], str]]:
    """Start one session that runs and one that waits for a node.

    Yield (gateway, user, jobs by server, the id of a kernel of the running session).
    """
    user = gateway.make_user()
    factory = gateway.factories["it4lia"]
    factory.ask("scontrol", "create", "reservation", "ReservationName=closed", "Nodes=ALL", "StartTime=now",
                "Duration=1:00:00", "Users=root", "Flags=IGNORE_JOBS", check=False)  # fmt: skip
    try:
        gateway.started(user, "runs", factory="lumi-aif", size="gcd-1", hours=0.5)
        assert gateway.start(user, "waits", factory="it4lia", size="gpu-1", hours=0.5).status_code == 202
        eventually(lambda: (gateway.session(user, "waits") or {}).get("job"), what="the waiting one has a job")
        kernel = gateway.notebook(user, "runs").kernel()
        gateway.notebook(user, "runs").run("kept = 42", kernel)
        yield gateway, user, jobs_of(gateway, user), kernel
    finally:
        factory.ask("scontrol", "delete", "ReservationName=closed", check=False)
        for server in ("runs", "waits"):
            gateway.stop(user, server)
            eventually(lambda s=server: gateway.session(user, s) is None, 60)  # type: ignore[misc]


def back(gateway: Gateway) -> bool:
    """Return True if hub, proxy and link answer."""
    try:
        hub = httpx.get(f"{gateway.hub}/health", timeout=5).status_code == 200
        link = httpx.get(f"{gateway.root}/services/factories/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
    return hub and link


def kill(gateway: Gateway, *parts: str) -> None:
    """Kill these parts at once, and wait until new processes have replaced them and answer."""
    old = {part: gateway.pid(part) for part in parts}
    for pid in old.values():
        with contextlib.suppress(ProcessLookupError):  # it has ended, and is started again
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(gateway.pid(part) != pid for part, pid in old.items()), 60, what=f"{parts} started anew")
    eventually(lambda: back(gateway), 90, what="all answer")


@pytest.mark.parametrize("parts", [("hub", "link")], ids="+".join)
def test_no_session_is_lost_when_hub_and_link_are_killed(
    busy: tuple[Gateway, str, dict[str, str], str], parts: tuple[str, ...]
) -> None:
    gateway, user, jobs, kernel = busy
    kill(gateway, *parts)

    # the same jobs, none doubled, none orphaned
    eventually(lambda: jobs_of(gateway, user) == jobs, 60, what="the same jobs")
    ours = [j for f in gateway.factories.values() for j in f.jobs().values() if j["name"].startswith("factorygate-")]
    live = sum(1 for u in {user} for s in gateway.sessions(u) if s["state"] != "ended")
    assert len(ours) >= live == 2
    names = [j["comment"] for j in ours]
    assert len(names) == len(set(names)), "a session has two jobs"

    # the running session answers, with its kernel
    def answers() -> bool:
        try:
            return "42" in gateway.notebook(user, "runs").run("print(kept)", kernel)
        except Exception:
            return False

    eventually(answers, 60, 0.5, "the running notebook answers")
    # The proxy has kept the route; a hub that has just begun may have given the server up, until the link starts it.
    eventually(lambda: (gateway.server(user, "runs") or {}).get("ready"), 120, what="the hub has the running one again")

    # the waiting session starts by itself
    eventually(
        lambda: (gateway.server(user, "waits") or {}).get("pending") == "spawn", 60, what="waits is pending again"
    )
    gateway.factories["it4lia"].ask("scontrol", "delete", "ReservationName=closed")
    gateway.wait_ready(user, "waits")
    assert jobs_of(gateway, user) == jobs
    assert gateway.notebook(user, "waits").run("print(6*7)").strip() == "42"

    # Stop still works, and the notebook's token is invalid afterwards
    token = gateway.notebook(user, "waits").run("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])").strip()
    assert gateway.api("GET", "/user", token=token).status_code == 200
    gateway.stopped(user, "waits")
    # The link tells the hub of the end, and the hub then deletes the token.
    eventually(lambda: gateway.api("GET", "/user", token=token).status_code == 403, what="the token is worth nothing")
    eventually(lambda: jobs["waits"] not in gateway.factories["it4lia"].jobs(), what="the job is gone")


def test_a_stop_while_the_link_is_down_is_not_lost(gateway: Gateway) -> None:
    user = gateway.make_user()
    gateway.started(user, "s", factory="lumi-aif", size="gcd-1", hours=0.5)
    session = gateway.session(user, "s")
    assert session is not None
    old = gateway.pid("link")
    os.kill(old, signal.SIGKILL)
    gateway.stop(user, "s")
    eventually(lambda: gateway.pid("link") != old, 60)
    eventually(lambda: session["job"] not in gateway.factories["lumi-aif"].jobs(), 60, what="the job is gone")
    eventually(lambda: back(gateway), 90)
    eventually(lambda: gateway.session(user, "s") is None, 60, what="the session has ended")
