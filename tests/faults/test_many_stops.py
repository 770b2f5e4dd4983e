"""Very many servers are stopped at the same moment, in every phase of a session, on a busy machine."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.gateway import Gateway, eventually

LOOPS = 6  # busy processes beside the test; fewer without --long, since other tests then run at the same time
FEW_LOOPS = 2
EACH = 5  # servers for each person, as many as may be pending
RUNNING = 4
HEARD = timedelta(seconds=5)  # a scheduler may start waiting jobs until it has received the cancellation
OVER_SECONDS = 60.0  # from the last answer until no job is left
SMALL = {"factory": "lumi-aif", "size": "gcd-1", "hours": 0.5}
WAITS = {"factory": "it4lia", "size": "gpu-1", "hours": 0.5}


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Run this number of programs that compute without a pause."""
    with ExitStack() as ending:
        for _ in range(loops):
            program = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            ending.callback(program.wait)
            ending.callback(program.kill)
        yield


@dataclass
class Answers:
    """The answers to requests of one kind that were sent at the same moment.

    ``statuses``: how often each HTTP status was answered; ``wrong``: a description of each answer with an unexpected
    status; ``at``: the time of each answer, by (user, server).
    """

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0  # seconds
    at: dict[tuple[str, str], datetime] = field(default_factory=dict)  # time of each server's answer


async def at_once(gateway: Gateway, method: str, asked: dict[tuple[str, str], Any], good: set[int]) -> Answers:
    """Send a request about each of these servers at the same moment; return the answers.

    ``asked``: the JSON body by (user, server); ``good``: the expected HTTP statuses.
    """
    found = Answers()
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"token {gateway.admin_token}"}
    async with httpx.AsyncClient(timeout=300, limits=limits, headers=headers, trust_env=False) as client:

        async def one(user: str, server: str, body: Any) -> None:
            began = time.monotonic()
            answer = await client.request(method, f"{gateway.hub}/api/users/{user}/servers/{server}", json=body)
            found.slowest = max(found.slowest, time.monotonic() - began)
            found.at[user, server] = datetime.now(UTC)
            found.statuses[answer.status_code] += 1
            if answer.status_code not in good:
                found.wrong.append(f"{user}/{server}: {answer.status_code} {answer.text[:300]}")

        await asyncio.gather(*(one(*key, body) for key, body in asked.items()))
    return found


def jobs(gateway: Gateway) -> dict[str, str]:
    """Return the state of each session's job in all queues, by ``FACTORY/JOB``.

    No other test has jobs while this one runs.
    """
    found = {}
    for name, factory in gateway.factories.items():
        for job, row in factory.jobs().items():
            if row["name"].startswith("factorygate-"):
                found[f"{name}/{job}"] = row["state"]
    return found


def of(gateway: Gateway, people: list[str]) -> dict[str, dict[str, Any]]:
    """Return these people's live sessions by id."""
    known = set(people)
    return {session["id"]: session for session in gateway.everybody() if session["user"] in known}


def late(session: dict[str, Any], what: str, stopped: Answers) -> str:
    """Return a description if a session was started or created after its stop was answered, else "".

    ``what``: the session's field "started" or "created".
    """
    answered = stopped.at[session["user"], session["server"]]
    if session[what] is None or datetime.fromisoformat(session[what]) <= answered + HEARD:
        return ""
    return f"{session['user']}/{session['server']}: {what} {session[what]}, stopped {answered}"


@pytest.fixture
def closed(gateway: Gateway) -> Iterator[Gateway]:
    """Keep one factory from starting jobs during the test."""
    factory = gateway.factories[WAITS["factory"]]
    factory.ask("scontrol", "create", "reservation", "ReservationName=closed", "Nodes=ALL", "StartTime=now",
                "Duration=1:00:00", "Users=root", "Flags=IGNORE_JOBS")  # fmt: skip
    yield gateway
    factory.ask("scontrol", "delete", "ReservationName=closed", check=False)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("servers", [60, pytest.param(300, marks=pytest.mark.long)])
@pytest.mark.parametrize("when", [pytest.param("answered", marks=pytest.mark.long), "in every phase"])
def test_every_stop_is_kept_at_any_load(
    closed: Gateway, servers: int, when: str, request: pytest.FixtureRequest
) -> None:
    """The stops are sent in one of two moments.

    ``when``: "answered": as soon as the hub has answered the starts, which the link may not have received yet; "in
    every phase": once some sessions wait, some start, and some run.
    """
    gateway = closed
    people = [gateway.make_user() for _ in range(servers // EACH)]
    asked = {(user, f"s{number}"): SMALL if number < 1 else WAITS for number in range(EACH) for user in people}
    runs = list(asked)[:RUNNING]
    for user, server in runs:
        gateway.started(user, server, **SMALL)
    waits = {key: choice for key, choice in asked.items() if choice is WAITS}
    starts = {key: choice for key, choice in asked.items() if choice is SMALL and key not in runs}
    good = {201, 202}
    with busy(LOOPS if request.config.getoption("--long") else FEW_LOOPS):
        answers = [asyncio.run(at_once(gateway, "POST", waits, good))]
        if when == "in every phase":
            eventually(lambda: sum(s["job"] is not None for s in of(gateway, people).values()) >= len(waits), 300)
        answers.append(asyncio.run(at_once(gateway, "POST", starts, good)))
        if when == "in every phase":
            eventually(lambda: any(s["state"] == "starting" for s in of(gateway, people).values()), 120)
        before = of(gateway, people)
        stopped = asyncio.run(at_once(gateway, "DELETE", dict.fromkeys(asked), {202, 204}))
        answered = time.monotonic()
        eventually(lambda: not jobs(gateway), 300, 0.5, "no job is left")
        over = time.monotonic() - answered
    sessions = {s["id"]: s for user in people for s in gateway.sessions(user)}
    begun = [wrong for session in sessions.values() if (wrong := late(session, "started", stopped))]
    made = [wrong for session in sessions.values() if (wrong := late(session, "created", stopped))]
    slowest = max(answer.slowest for answer in answers)
    print(
        f"\n{servers} servers, stopped {when}: starts {[dict(answer.statuses) for answer in answers]} after"
        f" {slowest:.1f} s at most; then {dict(Counter(session['state'] for session in before.values()))};"
        f" stops {dict(stopped.statuses)} after {stopped.slowest:.1f} s at most; no job {over:.1f} s later;"
        f" {len(begun)} begun after their stop was answered"
    )
    assert not stopped.wrong, stopped.wrong[:5]
    assert not [wrong for answer in answers for wrong in answer.wrong]
    assert over < OVER_SECONDS
    assert not begun, begun
    assert not made, made
    eventually(lambda: not of(gateway, people), 60, what="all have ended")
    eventually(
        lambda: not [one for user in people for one in gateway.api("GET", f"/users/{user}").json()["servers"]],
        what="the hub has no server any more",
    )
