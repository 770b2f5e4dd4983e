"""The alert rules as they are shipped, on a running gateway with several faults at the same time.

Prometheus scrapes at the interval of ``monitoring/prometheus.yml`` for more than half an hour, which is as long as the
longest time range. ``test_alerts.py`` has more faults, one after the other, and shorter rules."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from testbed.faults import faults
from testbed.slurm import cluster
from tests.support.alert_faults import door, hub_killed, ledger_locked, stopped
from tests.support.gateway import Gateway, eventually
from tests.support.prometheus import MONITORING, Prometheus, watching

pytestmark = [pytest.mark.long, pytest.mark.slurm, pytest.mark.timeout(3600)]
EVERY = 15.0  # seconds between scrapes, and between evaluations, in monitoring/prometheus.yml
NOTICED = 60.0  # seconds until the gateway's metrics show a fault, or its end: SSH's keepalives take half a minute
STARTS = 4  # starts that fail within one scrape


@dataclass(frozen=True)
class Rule:
    """The times of an alert, in seconds: for how long its condition must hold, and its longest time range."""

    waits: float
    looks: float


@dataclass
class Effect:
    """An alert that a fault must fire, with the Unix times at which the fault began and ended."""

    alert: str
    factory: str
    began: float
    ended: float = 0.0


class Faults:
    """Faults that are in effect at the same time. Each ends once its alerts fire."""

    def __init__(self, prometheus: Prometheus) -> None:
        self.effects: list[Effect] = []
        self._prometheus = prometheus
        self._present: dict[ExitStack, list[Effect]] = {}

    def begin(self, fault: AbstractContextManager[object], *alerts: tuple[str, str]) -> None:
        """Cause a fault. ``alerts``: the alerts that it must fire, as (alert, factory); the factory is "" if none."""
        mine = [Effect(alert, factory, time.time()) for alert, factory in alerts]
        stack = ExitStack()
        stack.enter_context(fault)
        self._present[stack] = mine
        self.effects += mine

    def passed(self, began: float, *alerts: tuple[str, str]) -> None:
        """Record a fault that is over already.

        ``began``: Unix time; ``alerts``: the alerts that it must fire, as (alert, factory); the factory is "" if none.
        """
        self.effects += [Effect(alert, factory, began, time.time()) for alert, factory in alerts]

    def end_each(self, timeout: float) -> None:
        """Return when each fault has fired its alerts and was undone. Fails the test after ``timeout`` seconds."""
        try:
            eventually(self._end_fired, timeout, 2, "each fault fires its alerts")
        finally:
            for stack in list(self._present):
                self._end(stack)

    def _end_fired(self) -> bool:
        firing = self._prometheus.alerts()
        for stack, mine in list(self._present.items()):
            if {(one.alert, one.factory) for one in mine} <= firing:
                self._end(stack)
        return not self._present

    def _end(self, stack: ExitStack) -> None:
        mine = self._present.pop(stack)
        stack.close()
        for one in mine:
            one.ended = time.time()


@pytest.fixture
def prometheus(gateway: Gateway, tmp_path: Path) -> Iterator[Prometheus]:
    with watching(gateway, tmp_path, (MONITORING / "alerts.yml").read_text(), f"{EVERY:.0f}s") as found:
        yield found


def test_faults_at_the_same_time_fire_their_alerts_and_clear_them(gateway: Gateway, prometheus: Prometheus) -> None:
    begun = time.time()
    user = gateway.make_user()
    gateway.started(user, "entered", factory="lumi-aif", size="gcd-1", hours=1)
    entered = gateway.session(user, "entered")
    assert entered is not None
    present = Faults(prometheus)
    starts_fail(gateway, user, present)
    there = cluster.load(Path(gateway.factories["brainpp"].slurm_conf).resolve().parents[2], "brainpp")
    for part, alert in (("link", "LinkEventLoopSlow"), ("hub", "HubEventLoopSlow")):
        now = time.time()
        with stopped(gateway.pid(part)):
            time.sleep(3)  # the duration of the fault
        present.passed(now, (alert, ""))
    present.begin(faults.begin(there, "slurmctld-down"), ("FactoryNotAnswering", "brainpp"))
    present.begin(stopped(door(entered["id"])), ("DoorsLost", "lumi-aif"))
    present.begin(ledger_locked(gateway), ("LedgerFailing", ""), ("LedgerSlow", ""))
    present.end_each(timeout=300 + NOTICED + 2 * EVERY + 60)
    present.begin(stopped(gateway.pid("proxy")), ("GatewayProcessDown", ""))
    present.begin(hub_killed(gateway), ("HubDoesNotHearLink", ""))
    present.end_each(timeout=120 + NOTICED + 2 * EVERY + 60)
    gateway.stop(user, "entered")
    eventually(lambda: not prometheus.alerts(), 1800 + NOTICED + 2 * EVERY + 60, 5, "all alerts clear")

    scraped = prometheus.query('sum_over_time(up{job="factorygate-link"}[10m])')
    assert float(scraped[0]["value"][1]) >= 0.95 * 600 / EVERY
    rules, seen = shipped(), prometheus.firing_since(begun, EVERY)
    for effect in present.effects:
        rule, fired, cleared = rules[effect.alert], *seen[effect.alert, effect.factory]
        print(f"{effect.alert} {effect.factory}: fired after {fired - effect.began:.0f} s (for {rule.waits:.0f} s), "
              f"cleared {cleared - effect.ended:.0f} s after the end (range {rule.looks:.0f} s)")  # fmt: skip
        assert effect.began + rule.waits <= fired <= effect.began + NOTICED + rule.waits + 2 * EVERY, effect
        assert cleared <= effect.ended + NOTICED + rule.looks + 2 * EVERY, effect
    assert set(seen) == {(one.alert, one.factory) for one in present.effects}


def starts_fail(gateway: Gateway, user: str, present: Faults) -> None:
    """Have several starts fail between two scrapes, at a factory whose partition is shut."""
    factory, began = gateway.factories["brainpp"], time.time()
    factory.ask("scontrol", "update", "PartitionName=common", "State=INACTIVE")
    try:
        for count in range(STARTS):
            gateway.start(user, f"no{count}", factory="brainpp", size="gpu-1", hours=0.5)
        eventually(lambda: _ended(gateway, user) == STARTS, what="each start has failed")
    finally:
        factory.ask("scontrol", "update", "PartitionName=common", "State=UP")
    present.passed(began, ("StartsFailing", "brainpp"))


def _ended(gateway: Gateway, user: str) -> int:
    return sum(one["state"] == "ended" for one in gateway.sessions(user))


def shipped() -> dict[str, Rule]:
    """Return the times of each alert in ``monitoring/alerts.yml``."""
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return {
        rule["alert"]: Rule(
            _seconds(rule.get("for", "0s")), max(map(_seconds, re.findall(r"\[(\w+)\]", rule["expr"])), default=0)
        )
        for group in groups
        for rule in group["rules"]
    }


def _seconds(text: str) -> float:
    return int(text[:-1]) * {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}[text[-1]]
