"""The scheduler refuses a job: the person gets the reason, and nothing is left behind.

``tests/timing`` measures how soon a start is answered while the scheduler does not answer.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.faults import faults
from testbed.slurm import cluster
from tests.support.gateway import Gateway, eventually


def refused(gateway: Gateway, **choice: Any) -> str:
    """Request a session that the factory must refuse, for a new person; return the message.

    Assert that the person has no session afterwards.
    """
    user = gateway.make_user()
    message = gateway.refusal(user, "no", **choice)
    assert gateway.session(user, "no") is None
    return message


def test_partition_that_is_down(gateway: Gateway) -> None:
    factory = gateway.factories["brainpp"]
    factory.ask("scontrol", "update", "PartitionName=common", "State=INACTIVE")
    try:
        message = refused(gateway, factory="brainpp", size="gpu-1", hours=0.5)
    finally:
        factory.ask("scontrol", "update", "PartitionName=common", "State=UP")
    assert "partition" in message.lower()
    assert not [j for j in factory.jobs().values() if j["state"] == "PENDING"]


def test_a_job_over_the_schedulers_own_limit_is_refused(gateway: Gateway) -> None:
    factory = gateway.factories["brainpp"]
    factory.ask("scontrol", "update", "PartitionName=common", "MaxTime=0:10:00")
    try:
        message = refused(gateway, factory="brainpp", size="gpu-1", hours=2)
    finally:
        factory.ask("scontrol", "update", "PartitionName=common", "MaxTime=4:00:00")
    assert "time" in message.lower()


@contextmanager
def stopped_controller(brainpp: cluster.SlurmCluster) -> Iterator[None]:
    """Freeze slurmctld during the block, so that requests hang."""
    pid = brainpp.pids["slurmctld"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def dead_controller(brainpp: cluster.SlurmCluster) -> Iterator[None]:
    """Stop slurmctld during the block, so that requests fail at once.

    It is stopped in an orderly way: after a crash, jobs that have just ended would run again, and the link would leave
    them alone for 10 minutes.
    """
    with faults.begin(brainpp, "slurmctld-down"):
        yield


@pytest.mark.parametrize("away", [stopped_controller, dead_controller], ids=["stopped", "dead"])
@pytest.mark.parametrize("known", [False, True], ids=["at once", "when it is known"])
def test_controller_away(
    gateway: Gateway, away: Callable[[cluster.SlurmCluster], AbstractContextManager[None]], known: bool
) -> None:
    user = gateway.make_user()
    factory = gateway.factories["brainpp"]
    with away(cluster.load(Path(factory.slurm_conf).resolve().parents[2], "brainpp")):
        if known:
            eventually(lambda: health(gateway, user, "brainpp") == "unreachable", 60, what="the page says so")
            answer = gateway.start(user, "no", factory="brainpp", size="gpu-1", hours=0.5)
            assert answer.status_code == 503, answer.text  # the link knows, and asks nothing
            message = answer.json()["message"]
            assert "answer" in message or "reach" in message
        else:
            answer = gateway.start(user, "no", factory="brainpp", size="gpu-1", hours=0.5)
            assert answer.status_code in (202, 503), answer.text
            if answer.status_code == 503:
                assert "answer" in answer.json()["message"] or "reach" in answer.json()["message"]
    if not known and answer.status_code == 202:
        gateway.stop(user, "no")
    eventually(lambda: health(gateway, user, "brainpp") == "ok", 60)
    eventually(lambda: gateway.session(user, "no") is None, 60)
    eventually(lambda: not [j for j in factory.jobs().values() if j["state"] in ("PENDING", "RUNNING")], 60)


def health(gateway: Gateway, user: str, factory: str) -> str:
    """Return the state of the factory that the link reports to this person, such as "ok"."""
    return str(gateway.health(user, factory)["state"])
