"""Alerts on a running gateway: for each fault, Prometheus fires the alert in time, and clears it afterwards.

The rules are those of ``monitoring/alerts.yml`` with shorter time ranges. Alerts that wait for days, or that need a
state which this machine cannot have (a full disk, an old certificate), are tested by promtool only."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.faults import faults
from testbed.slurm import cluster
from tests.support.alert_faults import door, hub_killed, ledger_locked, stopped
from tests.support.gateway import Gateway, eventually
from tests.support.prometheus import MONITORING, Prometheus, quicker, watching

pytestmark = [pytest.mark.long, pytest.mark.slurm, pytest.mark.timeout(1200)]
QUICKER = 20
FIRES = 90.0  # seconds in which an alert must fire: 5 min become 15 s, and a fault is noticed before
FACTORY = "brainpp"


@pytest.fixture(scope="module")
def prometheus(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    rules = quicker((MONITORING / "alerts.yml").read_text(), QUICKER, QUICKER).replace("> 6 * 3600", "> 20")
    # a new gateway has no backup, which would fire another alert
    (gateway.path.parent / "link" / "last-backup").touch()
    with watching(gateway, tmp_path_factory.mktemp("prometheus"), rules) as found:
        eventually(lambda: not found.alerts(), FIRES, what="no alert fires before anything is wrong")
        yield found


@pytest.fixture
def user(gateway: Gateway) -> Iterator[str]:
    name = gateway.make_user()
    yield name
    for session in gateway.sessions(name):
        gateway.stop(name, session["server"])
    eventually(lambda: not [one for one in gateway.sessions(name) if one["state"] != "ended"], 120)


@contextmanager
def noticed(prometheus: Prometheus, alert: str, factory: str = "", clears: float = FIRES) -> Iterator[None]:
    """Assert that the alert does not fire before the block, and clears after it.

    The block causes a fault, and asserts that the alert fires. ``clears``: the seconds until the alert must have
    cleared.
    """
    assert (alert, factory) not in prometheus.alerts()
    yield
    eventually(lambda: (alert, factory) not in prometheus.alerts(), clears, what=f"{alert} clears")


def fires(prometheus: Prometheus, alert: str, factory: str = "") -> None:
    eventually(lambda: (alert, factory) in prometheus.alerts(), FIRES, what=f"{alert} fires")


def test_a_factory_that_does_not_answer(gateway: Gateway, prometheus: Prometheus) -> None:
    there = cluster.load(Path(gateway.factories[FACTORY].slurm_conf).resolve().parents[2], FACTORY)
    with noticed(prometheus, "FactoryNotAnswering", FACTORY), faults.begin(there, "slurmctld-down"):
        fires(prometheus, "FactoryNotAnswering", FACTORY)


@pytest.mark.parametrize("part", ["proxy", "hub", "link"])
def test_a_process_that_does_not_answer(gateway: Gateway, prometheus: Prometheus, part: str) -> None:
    with noticed(prometheus, "GatewayProcessDown"), stopped(gateway.pid(part)):
        fires(prometheus, "GatewayProcessDown")


@pytest.mark.parametrize(("part", "alert"), [("link", "LinkEventLoopSlow"), ("hub", "HubEventLoopSlow")])
def test_an_event_loop_that_stands_still(gateway: Gateway, prometheus: Prometheus, part: str, alert: str) -> None:
    eventually(lambda: not prometheus.alerts(), FIRES)
    with noticed(prometheus, alert):
        with stopped(gateway.pid(part)):
            time.sleep(3)  # the duration of the fault
        fires(prometheus, alert)


def test_a_stopped_hub_fires_its_alert(gateway: Gateway, prometheus: Prometheus) -> None:
    """The hub is killed repeatedly, so nobody follows the link's table meanwhile."""
    with noticed(prometheus, "HubDoesNotHearLink"), hub_killed(gateway):
        fires(prometheus, "HubDoesNotHearLink")


def test_starts_that_fail_by_reason(gateway: Gateway, prometheus: Prometheus, user: str) -> None:
    factory = gateway.factories[FACTORY]
    with noticed(prometheus, "StartsFailing", FACTORY, clears=3 * FIRES):
        factory.ask("scontrol", "update", "PartitionName=common", "State=INACTIVE")
        try:
            for _ in range(4):
                gateway.start(user, "no", factory=FACTORY, size="gpu-1", hours=0.5)
                time.sleep(1.5)  # at most one scrape in between, so that Prometheus sees an increase
            fires(prometheus, "StartsFailing", FACTORY)
        finally:
            factory.ask("scontrol", "update", "PartitionName=common", "State=UP")


def test_a_session_that_waits_long(gateway: Gateway, prometheus: Prometheus, user: str) -> None:
    factory = gateway.factories["it4lia"]
    factory.ask("scontrol", "create", "reservation", "ReservationName=shut", "Nodes=ALL", "StartTime=now",
                "Duration=1:00:00", "Users=root", "Flags=IGNORE_JOBS", check=False)  # fmt: skip
    try:
        with noticed(prometheus, "QueueWaitLong", "it4lia"):
            assert gateway.start(user, "waits", factory="it4lia", size="gpu-1", hours=0.5).status_code == 202
            fires(prometheus, "QueueWaitLong", "it4lia")
            gateway.stop(user, "waits")
    finally:
        factory.ask("scontrol", "delete", "ReservationName=shut", check=False)


def test_a_lost_door_fires_its_alert(gateway: Gateway, prometheus: Prometheus, user: str) -> None:
    """The door's process is frozen; SSH's keepalives notice this within half a minute."""
    gateway.started(user, "entered", factory="lumi-aif", size="gcd-1", hours=0.5)
    session = gateway.session(user, "entered")
    assert session is not None
    with noticed(prometheus, "DoorsLost", "lumi-aif"), stopped(door(session["id"])):
        fires(prometheus, "DoorsLost", "lumi-aif")


def test_a_locked_ledger_fires_its_alert(gateway: Gateway, prometheus: Prometheus) -> None:
    """Another program keeps the ledger locked, while the link gets requests that write to the ledger."""
    with noticed(prometheus, "LedgerFailing"), noticed(prometheus, "LedgerSlow"), ledger_locked(gateway):
        fires(prometheus, "LedgerFailing")
        fires(prometheus, "LedgerSlow")


def test_a_backup_that_is_too_old(gateway: Gateway, prometheus: Prometheus) -> None:
    noted = gateway.path.parent / "link" / "last-backup"
    with noticed(prometheus, "BackupTooOld"):
        os.utime(noted, (time.time() - 3 * 86400,) * 2)
        eventually(lambda: ("BackupTooOld", "") in prometheus.alerts(), 200 + FIRES, what="BackupTooOld fires")
        noted.touch()
