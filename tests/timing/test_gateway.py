"""The times that a person waits: for the answer to a start and to a refusal, for a killed process, for a notebook.

The limits are those that the design and the README promise, on an otherwise idle gateway with a real Slurm.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from factorycommon.models import Session
from testbed.slurm import cluster
from tests.faults.test_refused import dead_controller, health, stopped_controller
from tests.support.gateway import Gateway, eventually

pytestmark = pytest.mark.slurm
ANSWERED = 2.0  # seconds from a request to its answer, also for a refusal
# Seconds until a start is answered whose factory does not answer. More than 10 would mean that the hub waited for the
# scheduler, since the scheduler's own programs wait that long.
AT_ONCE = 8.0
STARTED_AGAIN = 2.0  # seconds from the end of a killed process to the start of its replacement
FIRST_NOTEBOOK = 7.3  # seconds from the request to the notebook's first answer, on an idle factory
CHOICE = {"factory": "lumi-aif", "size": "gcd-1", "hours": 0.5}


def test_each_start_is_answered_soon_with_its_session(gateway: Gateway) -> None:
    user = gateway.make_user()
    for number in range(5):
        began = time.monotonic()
        answer = gateway.start(user, f"s{number}", **CHOICE)
        assert time.monotonic() - began < ANSWERED
        assert answer.status_code in (201, 202), answer.text
        assert Session.model_validate(answer.json()).server == f"s{number}"
    for number in range(5):
        gateway.stopped(user, f"s{number}")


@pytest.mark.parametrize(("choice", "status"), [({"size": "no-such"}, 400), ({"hours": 1000}, 400)], ids=str)
def test_a_refusal_is_answered_soon(gateway: Gateway, choice: dict[str, object], status: int) -> None:
    user = gateway.make_user()
    began = time.monotonic()
    answer = gateway.start(user, "", **{**CHOICE, **choice})
    assert time.monotonic() - began < ANSWERED
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("away", [stopped_controller, dead_controller], ids=["stopped", "dead"])
def test_a_start_is_answered_soon_while_the_scheduler_is_away(
    gateway: Gateway, away: Callable[[cluster.SlurmCluster], AbstractContextManager[None]]
) -> None:
    user, factory = gateway.make_user(), gateway.factories["brainpp"]
    with away(cluster.load(Path(factory.slurm_conf).resolve().parents[2], "brainpp")):
        began = time.monotonic()
        answer = gateway.start(user, "no", factory="brainpp", size="gpu-1", hours=0.5)
        assert time.monotonic() - began < AT_ONCE
        assert answer.status_code in (202, 503), answer.text
    gateway.stop(user, "no")
    eventually(lambda: health(gateway, user, "brainpp") == "ok", 60, what="the factory answers again")
    eventually(lambda: gateway.session(user, "no") is None, 60, what="nothing is left of the session")
    eventually(lambda: not factory.jobs(), 60, what="no job is left")


@pytest.mark.parametrize("part", ["hub", "link", "proxy"])
def test_a_killed_process_is_started_again_soon(gateway: Gateway, part: str) -> None:
    old = gateway.pid(part)
    began = time.monotonic()
    os.kill(old, signal.SIGKILL)
    eventually(lambda: gateway.pid(part) != old, 30, every=0.02, what=f"another {part}")
    took = time.monotonic() - began
    print(f"{part}: another after {took:.2f} s")
    assert took < STARTED_AGAIN

    def answers() -> bool:
        try:
            hub = httpx.get(f"{gateway.hub}/health", timeout=5).status_code
            return hub == httpx.get(f"{gateway.root}/services/factories/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    eventually(answers, 60, what="all answer")


def test_the_first_notebook_answers_soon(gateway: Gateway) -> None:
    user = gateway.make_user()
    began = time.monotonic()
    assert gateway.start(user, "", **CHOICE).status_code in (201, 202)
    gateway.wait_ready(user)
    assert gateway.notebook(user).request("GET", "/api").status_code == 200
    took = time.monotonic() - began
    print(f"from the request to the notebook's first answer: {took:.1f} s")
    assert took < FIRST_NOTEBOOK
    gateway.stopped(user)
