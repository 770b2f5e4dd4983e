"""The scheduler says no: which, in words, at once, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest

from testbed.faults import faults
from testbed.slurm import cluster
from tests.support.gateway import Gateway, eventually

# Seconds until a start is answered: 2 where the machine is ours (hub_config/parts/sessions.py); whoever waited for a
# scheduler that is away would take more than 10, which is what its own programs wait.
AT_ONCE = 8.0


def start(gateway: Gateway, user: str, **choice: object) -> httpx.Response:
    """Ask for a session, and be answered at once."""
    before = time.monotonic()
    answer = gateway.start(user, "no", **choice)
    took = time.monotonic() - before
    assert took < AT_ONCE, f"took {took:.1f} s"
    return answer


def refused(gateway: Gateway, user: str, status: int, **choice: object) -> str:
    """A start that must be refused at once; the message. A scheduler may be slower to refuse: the hub has then
    promised the session already, and it ends with the message."""
    answer = start(gateway, user, **choice)
    if answer.status_code == 202 and status != 503:  # a factory that is known to be away is not asked
        told = list(gateway.progress(user, "no"))[-1]
        assert told.get("failed"), told
        return str(told["message"])
    assert answer.status_code == status, answer.text
    if status != 503:  # a factory that does not answer cannot say yet whether it took the job
        assert gateway.session(user, "no") is None
    message: str = answer.json()["message"]
    return message


def test_partition_that_is_down(gateway: Gateway) -> None:
    user = gateway.make_user()
    factory = gateway.factories["brainpp"]
    factory.ask("scontrol", "update", "PartitionName=common", "State=INACTIVE")
    try:
        message = refused(gateway, user, 400, factory="brainpp", size="gpu-1", hours=0.5)
    finally:
        factory.ask("scontrol", "update", "PartitionName=common", "State=UP")
    assert "partition" in message.lower()
    assert not [j for j in factory.jobs().values() if j["state"] == "PENDING"]


def test_over_the_scheduler_s_own_limit(gateway: Gateway) -> None:
    user = gateway.make_user()
    factory = gateway.factories["brainpp"]
    factory.ask("scontrol", "update", "PartitionName=common", "MaxTime=0:10:00")
    try:
        message = refused(gateway, user, 400, factory="brainpp", size="gpu-1", hours=2)
    finally:
        factory.ask("scontrol", "update", "PartitionName=common", "MaxTime=4:00:00")
    assert "time" in message.lower()


@contextmanager
def stopped_controller(brainpp: cluster.SlurmCluster) -> Iterator[None]:
    """It hangs: what asks it waits."""
    pid = controller(str(brainpp.slurm_conf))
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def dead_controller(brainpp: cluster.SlurmCluster) -> Iterator[None]:
    """It is gone: what asks it is told so. It went in order: after a crash jobs that have just ended would run again,
    which the link leaves alone for 10 minutes."""
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
            message = refused(gateway, user, 503, factory="brainpp", size="gpu-1", hours=0.5)
            assert "answer" in message or "reach" in message
        else:
            answer = start(gateway, user, factory="brainpp", size="gpu-1", hours=0.5)
            assert answer.status_code in (202, 503), answer.text
            if answer.status_code == 503:
                assert "answer" in answer.json()["message"] or "reach" in answer.json()["message"]
    if not known and answer.status_code == 202:
        gateway.stop(user, "no")
    eventually(lambda: health(gateway, user, "brainpp") == "ok", 60)
    eventually(lambda: gateway.session(user, "no") is None, 60)
    eventually(lambda: not [j for j in factory.jobs().values() if j["state"] in ("PENDING", "RUNNING")], 60)


def controller(slurm_conf: str) -> int:
    """The process id of the slurmctld that was started with this slurm.conf."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if any("slurmctld" in word for word in line[:1]) and slurm_conf in line:
                return int(entry.name)
    raise AssertionError(f"no slurmctld runs with {slurm_conf}")


def health(gateway: Gateway, user: str, factory: str) -> str:
    """What the catalogue says of this factory's health."""
    return str(gateway.health(user, factory)["state"])
