"""Debian's Prometheus with a link, a real hub and a real proxy: each query of each dashboard returns data; alerts fire
and clear."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import pytest_asyncio
from sqlalchemy import text

from factorycommon.models import Health
from factorylink.client import LinkProblem
from factorylink.ledger.ledger import LedgerError
from factorylink.util import clock, metrics
from testbed import ports
from testbed.install import environments as install
from tests.support.prometheus import DASHBOARDS, MONITORING, Prometheus, Query, Target, queries, quicker, running
from tests.unit.fake_factory import ID, OTHER, FakeScheduler, World
from tests.unit.fake_hub import request, served
from tests.unit.fake_projects import Table, project
from tests.unit.hub_process import Beside, HubProcess
from tests.unit.serving import serving

LOOKS, WAITS = 20, 120
PATIENCE = 90.0  # seconds
PROXY = install.program_folder() / "node/node_modules/configurable-http-proxy/bin/configurable-http-proxy"


@dataclass
class Watched:
    """A gateway without a scheduler, with its Prometheus."""

    world: World
    table: Table
    hub: HubProcess
    prometheus: Prometheus

    async def until(self, look: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
        """Return once ``look``, which queries Prometheus, returns a truthy value. The link answers meanwhile."""
        deadline = clock.ticks() + patience
        while not await asyncio.to_thread(look):
            assert clock.ticks() < deadline, (
                f"{what}; firing: {sorted(await asyncio.to_thread(self.prometheus.alerts))}"
            )
            await asyncio.sleep(0.5)

    async def fire(self, *names: str) -> None:
        """Return once each of these alerts has fired, even if only for a short time."""
        left = set(names)

        def all_fired() -> bool:
            left.difference_update(self.firing())
            return not left

        try:
            await self.until(all_fired, "alerts fire")
        finally:
            assert left == set()

    async def clear(self, *names: str) -> None:
        await self.until(lambda: not set(names) & self.firing(), f"{set(names)} clear")

    def firing(self) -> set[str]:
        return {name for name, _ in self.prometheus.alerts()}


@contextmanager
def proxy(folder: Path) -> Iterator[tuple[str, str]]:
    """Run configurable-http-proxy as operators do; yield the address of its API, and that of its metrics."""
    if not PROXY.exists():
        pytest.skip("needs configurable-http-proxy (bin/test installs it)")
    api, read = ports.single(), ports.single()
    argv = [
        str(install.node(Path(sys.executable))),
        str(PROXY),
        *("--ip", "127.0.0.1", "--port", str(ports.single()), "--api-ip", "127.0.0.1", "--api-port", str(api)),
        *("--metrics-ip", "127.0.0.1", "--metrics-port", str(read)),
    ]
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, "CONFIGPROXY_AUTH_TOKEN": "p" * 16})
    try:
        yield f"http://127.0.0.1:{api}", f"127.0.0.1:{read}"
    finally:
        process.kill()
        process.wait()


@pytest_asyncio.fixture
async def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    monkeypatch.setattr(FakeScheduler, "health", property(_health))
    table = Table(project("p1", gpu_hours=100, members=("ada", "ben")))
    world = World(tmp_path)
    world.table = table
    await world.up()
    world.config.last_backup.touch()
    world.parts.measure()
    async with served(tmp_path, world), serving(world.parts.metrics_app()) as url:
        with proxy(tmp_path) as (api, of_proxy):
            (tmp_path / "hub").mkdir()
            hub = HubProcess(tmp_path / "hub", world.config.socket, cast(Beside, SimpleNamespace(url=api)))
            await hub.up()
            targets = {
                "factorygate-link": Target(url.removeprefix("http://")),
                "factorygate-hub": Target(hub.url.removeprefix("http://"), "/hub/metrics", tmp_path / "hub" / "admin"),
                "factorygate-proxy": Target(of_proxy),
            }
            (tmp_path / "prometheus").mkdir()
            rules = quicker((MONITORING / "alerts.yml").read_text(), LOOKS, WAITS)
            started = running(tmp_path / "prometheus", targets, rules)
            prometheus = await asyncio.to_thread(started.__enter__)
            try:
                found = Watched(world, table, hub, prometheus)
                await found.until(lambda: set(prometheus.up().values()) == {"up"}, "each job is scraped")
                yield found
            finally:
                await asyncio.to_thread(started.__exit__, None, None, None)
                await hub.kill()
                await hub.http.aclose()


async def test_each_query_has_data_and_two_faults_are_noticed(watched: Watched) -> None:
    await watched.world.running(project="p1")
    await watched.world.put(OTHER, user="ben", project="p1")
    asked = [query for path in DASHBOARDS for query in queries(path)]
    assert len(asked) > 70

    missing: list[Query] = []

    def without_data() -> list[Query]:
        found = watched.prometheus.query
        missing[:] = [one for one in asked if not found(one.expression.replace("$factory", "one"))]
        return missing

    try:
        await watched.until(lambda: not without_data(), "each query has data")
    finally:
        assert missing == []
    await watched.until(lambda: not watched.firing(), "no alert fires")
    watched.world.door_is_lost()
    await watched.fire("DoorsLost")
    watched.world.door_says(phase="up", environment=True)
    await watched.clear("DoorsLost")
    watched.world.scheduler.up = False
    await watched.fire("FactoryNotAnswering")
    watched.world.scheduler.up = True
    await watched.clear("FactoryNotAnswering")


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_all_faults_at_once_fire_their_alerts_and_all_clear(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world = watched.world
    await world.running(project="p1")
    await watched.until(lambda: watched.prometheus.query("factorygate_gpu_hours_granted"), "the project is seen")
    await asyncio.sleep(5)  # some scrapes without faults
    await watched.until(lambda: not watched.firing(), "no alert fires")
    record = world.live_sessions[ID].record

    with monkeypatch.context() as patch:
        # --- faults
        ill = Health(state="ok", since=clock.now(), answered_at=clock.now() - timedelta(hours=1), answer_seconds=30.0)
        patch.setattr(type(world.scheduler), "health", property(lambda _self: ill))
        patch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=1, f_blocks=100, f_frsize=1 << 20))
        patch.setitem(world.ledger.set_aside, ("sessions", "x"), "spoilt")
        patch.setitem(world.session_reconciler.same_name, "one", 2)
        patch.setattr(world.parts.figures, "_certificates", {"own": tmp_path / "missing"})
        os.utime(world.config.last_backup, (1, 1))
        world.door_is_lost()
        waits = await world.put(OTHER, user="ben", project="p1", hours=0.5)
        patch.setattr(world.live_sessions[OTHER].record, "created", waits.created - timedelta(hours=7))
        world.scheduler.refuses = "sbatch: error: Invalid qos specification"
        for number in range(4):
            with pytest.raises(LinkProblem):
                await _start(watched, f"{number}" * 32)
        world.scheduler.refuses = ""
        patch.setattr(
            world.factories["one"].access_status, "valid_until", lambda _account: datetime(2020, 1, 1, tzinfo=UTC)
        )
        watched.table.set(project("p1", gpu_hours=1, members=("ada", "ben")))
        for outcome in ("not_let_in", "distrusted"):
            metrics.LOGINS.labels("one", outcome).inc(5)
        metrics.DOOR_REOPENS.labels("one").inc(20)
        os.kill(watched.hub.process.pid, signal.SIGSTOP)  # type: ignore[union-attr]
        time.sleep(1.6)  # blocks the link's event loop
        await _lock(world)
        await watched.fire(
            *("GatewayProcessDown", "LinkEventLoopSlow", "FactoryWatcherSilent", "SchedulerSlow", "DoorsLost"),
            *("DoorsUnstable", "StartsFailing", "QueueWaitLong", "LoginsFailing", "HostKeyNotTrusted"),
            *("TwoGatewaysOneName", "LedgerFailing", "LedgerRowsSetAside", "DiskAlmostFull", "BackupTooOld"),
            *("CertificateExpires", "CredentialExpired", "BudgetNearlyUsed"),
        )
    # --- recovery
    os.kill(watched.hub.process.pid, signal.SIGCONT)  # type: ignore[union-attr]
    watched.table.set(project("p1", gpu_hours=100, members=("ada", "ben")))
    world.config.last_backup.touch()
    world.door_says(phase="up", environment=True)
    assert record.ended is None
    await watched.until(lambda: not watched.firing(), "all alerts clear", 3 * PATIENCE)
    await watched.hub.kill()
    await watched.fire("HubDoesNotHearLink", "GatewayProcessDown")


def _health(scheduler: FakeScheduler) -> Health:
    """Return the health that a site's poller reports: ok if the scheduler is up, otherwise unreachable."""
    now = clock.now()
    if not scheduler.up:
        return Health(state="unreachable", since=now, answered_at=now - timedelta(minutes=1), answer_seconds=0.1)
    return Health(state="ok", since=now, answered_at=now, answer_seconds=0.1)


async def _start(watched: Watched, id: str) -> None:
    from factorylink.client import LinkClient

    client = LinkClient(watched.world.config.socket)
    try:
        await client.put_session(id, request(user="ben", server=id[:3], project="p1", hours=0.5))
    finally:
        await client.close()


async def _lock(world: World) -> None:
    """Lock the ledger until a transaction has failed."""
    with closing(sqlite3.connect(world.folder / "ledger.sqlite", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError):
            await world.ledger.write(lambda db: db.execute(text("UPDATE budgets SET gpu_hours = 1")))  # type: ignore[arg-type, return-value]
