"""Whole sessions on a real OpenPBS, through the door: people start and lose them, and a site's actions affect them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from testbed.pbs.cluster import PbsCluster
from tests.pbs.conftest import FACTORY
from tests.support.gateway import Gateway, eventually

pytestmark = [pytest.mark.pbs]
CHOICE: dict[str, Any] = {"factory": FACTORY, "size": "node-4", "hours": 0.5}
LOOK = """
import json, os, socket
names = ("PBS_JOBID", "PBS_QUEUE", "PBS_ENVIRONMENT", "FACTORYGATE_SIZE", "FACTORYGATE_FACTORY", "PYTHONNOUSERSITE")
print(json.dumps({**{name: os.environ.get(name) for name in names}, "host": socket.gethostname(), "uid": os.getuid(),
                  "forwarded": [name for name in os.environ if name.startswith("SSH_")]}))
"""
TOKEN = "import os; print(os.environ['JUPYTERHUB_API_TOKEN'])"


def ask(here: PbsCluster, *argv: str) -> str:
    done = here.run(*argv)
    assert done.returncode == 0, (argv, done.stderr)
    return done.stdout


def attribute(here: PbsCluster, job: str, name: str) -> Any:
    return json.loads(ask(here, "qstat", "-x", "-f", "-F", "json", job))["Jobs"][job].get(name)


def live(gateway: Gateway, person: str, server: str = "") -> dict[str, Any]:
    session = gateway.session(person, server)
    assert session is not None, "the session is lost"
    return session


def ended(gateway: Gateway, person: str) -> dict[str, Any]:
    """Return the person's last session once it has ended."""

    def look() -> dict[str, Any] | None:
        last = gateway.sessions(person)[0]
        return last if last["state"] == "ended" else None

    found = eventually(look, 90, what="the session ended")
    assert found is not None
    return found


@contextmanager
def nothing_starts(here: PbsCluster) -> Iterator[None]:
    """Stop the scheduler from starting jobs during the block."""
    ask(here, "qmgr", "-c", "set server scheduling = False")
    try:
        yield
    finally:
        ask(here, "qmgr", "-c", "set server scheduling = True")


def test_start_work_stop(pbs_gateway: Gateway, here: PbsCluster, person: str) -> None:
    pbs_gateway.started(person, **CHOICE)
    session = live(pbs_gateway, person)
    assert session["job"] in ask(here, "qselect", "-s", "R").split()
    notebook = pbs_gateway.notebook(person)
    seen = json.loads(notebook.run(LOOK))
    assert (seen["PBS_JOBID"], seen["host"], seen["PBS_QUEUE"]) == (session["job"], session["node"], "interactive")
    assert (seen["FACTORYGATE_SIZE"], seen["FACTORYGATE_FACTORY"], seen["PYTHONNOUSERSITE"]) == (
        "node-4", FACTORY, "1",
    )  # fmt: skip
    assert seen["forwarded"] == []
    assert seen["uid"] != 0
    text = {"type": "file", "format": "text", "content": "one\n"}
    assert notebook.request("PUT", "/api/contents/note.txt", json=text).status_code in (200, 201)
    assert notebook.request("GET", "/api/contents/note.txt").json()["content"] == "one\n"
    assert notebook.request("DELETE", "/api/contents/note.txt").status_code == 204
    pbs_gateway.stopped(person)
    eventually(lambda: session["job"] not in ask(here, "qselect").split(), what="the job is gone")
    assert ended(pbs_gateway, person)["end_reason"] == "stopped"


def test_pbs_shows_no_secret(pbs_gateway: Gateway, here: PbsCluster, person: str) -> None:
    pbs_gateway.started(person, **CHOICE)
    token = pbs_gateway.notebook(person).run(TOKEN).strip()
    shown = ask(here, "qstat", "-f", live(pbs_gateway, person)["job"])
    assert len(token) > 20
    assert token not in "".join(shown.split())
    assert "FACTORYGATE_JOB=fg:" in "".join(shown.split())


def test_a_whole_node_size_gets_all_of_a_node(pbs_gateway: Gateway, here: PbsCluster, person: str) -> None:
    pbs_gateway.started(person, **CHOICE)
    job = live(pbs_gateway, person)["job"]
    asked = attribute(here, job, "Resource_List")
    assert (asked["select"], asked["place"], asked["walltime"]) == (
        "1:node_type=mi300a", "pack:exclhost", "00:30:00",
    )  # fmt: skip
    nodes = json.loads(ask(here, "pbsnodes", "-a", "-F", "json"))["nodes"]
    assert nodes[live(pbs_gateway, person)["node"]]["state"] == "job-exclusive"


def test_a_requeue_is_followed(pbs_gateway: Gateway, here: PbsCluster, person: str) -> None:
    pbs_gateway.started(person, **CHOICE)
    before = live(pbs_gateway, person)
    token = pbs_gateway.notebook(person).run(TOKEN).strip()
    with nothing_starts(here):
        ask(here, "qrerun", before["job"])
        waiting = pbs_gateway.wait_session(person, "", "pending")
        assert (waiting["id"], waiting["job"], waiting["node"]) == (before["id"], before["job"], None)

    def again() -> bool:
        session = live(pbs_gateway, person)
        return session["state"] == "running" and session["reachable"] and session["started"] != before["started"]

    eventually(again, 120, 0.5, "the same session runs again")
    session = live(pbs_gateway, person)
    assert (session["id"], session["url"]) == (before["id"], before["url"])
    assert "back into the queue" in json.dumps(session["log"])
    assert attribute(here, before["job"], "run_count") == 2
    assert pbs_gateway.notebook(person).run(TOKEN).strip() == token


def test_a_waiting_session_says_why_and_can_be_stopped(pbs_gateway: Gateway, here: PbsCluster, person: str) -> None:
    for server in ("a", "b"):
        pbs_gateway.started(person, server, **CHOICE)
    assert pbs_gateway.start(person, "c", **CHOICE).status_code == 202
    waiting = pbs_gateway.wait_session(person, "c", "pending")
    eventually(lambda: live(pbs_gateway, person, "c")["waits_for"], 60, 0.5, "a reason")
    assert live(pbs_gateway, person, "c")["waits_for"]["code"] in ("resources", "nodes-busy", "nodes-unavailable")
    pbs_gateway.stopped(person, "c")
    eventually(lambda: waiting["job"] not in ask(here, "qselect").split(), what="the job is gone")


def test_a_hold_of_the_site_is_told_and_released(pbs_gateway: Gateway, here: PbsCluster, person: str) -> None:
    with nothing_starts(here):
        assert pbs_gateway.start(person, **CHOICE).status_code == 202
        job = pbs_gateway.wait_session(person, "", "pending")["job"]
        ask(here, "qhold", "-h", "s", job)
        told = eventually(
            lambda: (live(pbs_gateway, person)["waits_for"] or {}).get("code") == "held-site", 60, 0.5, "the hold"
        )
        assert told
        ask(here, "qrls", "-h", "s", job)
    pbs_gateway.wait_ready(person)


@pytest.mark.parametrize(("as_site", "code"), [(True, "cancelled-admin"), (False, "cancelled-own")])
def test_a_session_says_who_deleted_its_job(
    pbs_gateway: Gateway, here: PbsCluster, person: str, as_site: bool, code: str
) -> None:
    pbs_gateway.started(person, **CHOICE)
    session = live(pbs_gateway, person)
    done = here.run("qdel", session["job"], account=None if as_site else session["account"])
    assert done.returncode == 0, done.stderr
    last = ended(pbs_gateway, person)
    assert (last["end_reason"], last["end"]["code"]) == ("cancelled-by-site", code)


def test_a_walltime_that_the_site_cuts_ends_it(pbs_gateway: Gateway, here: PbsCluster, person: str) -> None:
    """The door gets the new end of the walltime, and ends by itself before PBS kills the job."""
    pbs_gateway.started(person, **CHOICE)
    job = live(pbs_gateway, person)["job"]
    ask(here, "qalter", "-l", "walltime=00:01:30", job)
    last = ended(pbs_gateway, person)
    assert last["end_reason"] == "walltime"
    assert attribute(here, job, "Exit_status") == 0


def test_a_server_that_dies_takes_no_session_along(pbs_gateway: Gateway, here: PbsCluster, person: str) -> None:
    pbs_gateway.started(person, **CHOICE)
    before = live(pbs_gateway, person)
    notebook = pbs_gateway.notebook(person)
    kernel = notebook.kernel()
    here.kill("pbs_server")
    try:
        eventually(lambda: pbs_gateway.health(person, FACTORY)["state"] != "ok", 90, 0.5, "the link notices")
        assert notebook.run("print(6 * 7)", kernel).strip() == "42"
        assert live(pbs_gateway, person)["state"] in ("running", "unreachable")
    finally:
        here.start_missing()
    eventually(lambda: pbs_gateway.health(person, FACTORY)["state"] == "ok", 90, 0.5, "the link notices that, too")
    after = pbs_gateway.wait_session(person, "", "running")
    assert (after["id"], after["job"]) == (before["id"], before["job"])
    assert notebook.run("print(7 * 6)", kernel).strip() == "42"


def test_a_link_that_dies_finds_its_sessions_again(pbs_gateway: Gateway, here: PbsCluster, person: str) -> None:
    pbs_gateway.started(person, **CHOICE)
    before = live(pbs_gateway, person)
    old = pbs_gateway.pid("link")
    os.kill(old, signal.SIGKILL)
    eventually(lambda: pbs_gateway.pid("link") != old, 30, what="a new link")

    def reachable() -> bool:
        try:
            session = pbs_gateway.session(person)
        except (AssertionError, OSError):  # the server does not answer yet
            return False
        return session is not None and session["reachable"] and session["id"] == before["id"]

    eventually(reachable, 60, 0.5, "the session is reachable")
    assert pbs_gateway.notebook(person).run("print(6 * 7)").strip() == "42"
    assert ask(here, "qselect", "-s", "R").split() == [before["job"]]
