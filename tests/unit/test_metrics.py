"""The link's metrics: zeros at the start, the effect of each event, no people's names, and the cost
of 1,000 sessions."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client.parser import text_string_to_metric_families

from factorycommon.models import End, EndReason, Health, Outcome, Project, ProjectAt
from factorycommon.models.projects import SiteAccounts
from factorylink.client import LinkProblem
from factorylink.errors import Distrusted, NotLetIn, Unreachable
from factorylink.problems import gone
from factorylink.transports.ssh.login import SshConnector
from factorylink.util import clock, metrics
from tests.unit.fake_factory import ID, OTHER, World
from tests.unit.fake_hub import request, served
from tests.unit.fake_projects import Table
from tests.unit.many_sessions import many

PROJECT = Project(
    id="p1",
    title="One",
    members=("ada", "ben"),
    gpu_hours=100,
    factories={"one": ProjectAt(site_accounts=SiteAccounts(pool=("a", "b")))},
)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await World(tmp_path).up()
    yield made
    await made.down()


Series = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(world: World) -> Series:
    """Return all samples by name and labels, as a Prometheus would read them."""
    text = world.parts.metrics().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(series: Series, metric: str, /, **labels: str) -> float:
    return series[metric, tuple(sorted(labels.items()))]


def grown(before: Series, after: Series, metric: str, /, **labels: str) -> float:
    return value(after, metric, **labels) - value(before, metric, **labels)


async def test_zeros_are_there_before_anything_happened(world: World) -> None:
    series = scraped(world)
    for state in ("pending", "starting", "running", "ending", "unreachable"):
        assert value(series, "factorygate_sessions", factory="one", state=state) == 0
    for name in ("doors_expected", "doors_open", "gpus_in_use", "people", "clusters", "oldest_waiting_seconds"):
        assert value(series, f"factorygate_{name}", factory="one") == 0
    for reason in EndReason:
        assert ("factorygate_sessions_ended_total", (("factory", "one"), ("ready", "no"), ("reason", reason))) in series
    for name in ("door_reopens_total", "sessions_begun_total", "queue_wait_seconds_count", "start_seconds_count"):
        assert (f"factorygate_{name}", (("factory", "one"),)) in series
    for code in ("limit-sessions", "draining", "forbidden", "fault"):
        assert ("factorygate_refusals_total", (("code", code),)) in series
    assert ("factorygate_logins_total", (("factory", "one"), ("outcome", "distrusted"))) in series
    assert value(series, "factorygate_hub_streams") == 0
    assert value(series, "factorygate_backup_timestamp_seconds") == 0
    assert value(series, "factorygate_disk_free_bytes") > 0


async def test_the_life_of_a_session_is_counted(world: World) -> None:
    before = scraped(world)
    session = await world.put()
    assert session.job is not None
    waiting = scraped(world)
    assert grown(before, waiting, "factorygate_sessions_begun_total", factory="one") == 1
    assert value(waiting, "factorygate_sessions", factory="one", state="pending") == 1
    assert value(waiting, "factorygate_oldest_waiting_seconds", factory="one") > 0
    submitted = clock.now() - timedelta(seconds=100)
    world.scheduler.set(session.job, submitted=submitted)
    world.scheduler.runs(session.job)
    await world.scheduler.answer()
    world.door_says(phase="up", environment=True)
    await world.until(state="running")
    running = scraped(world)
    assert grown(before, running, "factorygate_queue_wait_seconds_count", factory="one") == 1
    assert 99 < grown(before, running, "factorygate_queue_wait_seconds_sum", factory="one") < 400
    assert grown(before, running, "factorygate_start_seconds_count", factory="one") == 1
    assert value(running, "factorygate_sessions", factory="one", state="running") == 1
    assert value(running, "factorygate_doors_expected", factory="one") == 1
    assert value(running, "factorygate_doors_open", factory="one") == 1
    assert value(running, "factorygate_gpus_in_use", factory="one") == 1
    assert value(running, "factorygate_people", factory="one") == 1
    world.scheduler.jobs_there.clear()
    world.scheduler.records[session.job] = End(job=session.job, outcome=Outcome.WALLTIME, raw_state="TIMEOUT")
    await world.answered_until(state="ended")
    over = scraped(world)
    reason = (await world.session()).end_reason
    assert reason is not None
    assert grown(before, over, "factorygate_sessions_ended_total", factory="one", reason=reason, ready="yes") == 1
    assert value(over, "factorygate_doors_expected", factory="one") == 0


async def test_a_refused_start_counts_as_ended_before_it_was_ready(tmp_path: Path) -> None:
    async with served(tmp_path) as link:
        world = link.world
        before = scraped(world)
        world.scheduler.refuses = "sbatch: error: Invalid qos specification"
        with pytest.raises(LinkProblem) as caught:
            await link.client.put_session(ID, request())
        after = scraped(world)
        assert (
            grown(before, after, "factorygate_sessions_ended_total", factory="one", reason="refused", ready="no") == 1
        )
        assert grown(before, after, "factorygate_refusals_total", code=caught.value.problem.code) == 1


async def test_running_minus_open_doors_is_seen_when_all_doors_are_lost(world: World) -> None:
    await world.running()
    await world.running(OTHER, user="ben")
    world.door_is_lost(ID)
    world.door_is_lost(OTHER)
    series = scraped(world)
    assert value(series, "factorygate_doors_expected", factory="one") == 2
    assert value(series, "factorygate_doors_open", factory="one") == 0


async def test_a_factory_has_no_health_metric_before_its_first_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = ("factorygate_factory_up", (("factory", "one"),))
    assert scraped(world)[up] == 1
    world.scheduler.up = False
    assert scraped(world)[up] == 0
    health = Health(state="starting", since=clock.now())
    monkeypatch.setattr(type(world.scheduler), "health", property(lambda _self: health))
    series = scraped(world)
    assert up not in series
    assert value(series, "factorygate_answer_timestamp_seconds", factory="one") == 0


async def test_drains_and_pauses_and_the_last_backup_are_seen(world: World) -> None:
    await world.factories.drain("one", "Closed.")
    await world.factories.pause("one", "Closed.")
    backup = world.config.last_backup
    backup.touch()
    os.utime(backup, (1000, 1000))
    series = scraped(world)
    assert value(series, "factorygate_factory_closed", factory="one", by="drain") == 1
    assert value(series, "factorygate_factory_closed", factory="one", by="pause") == 1
    assert value(series, "factorygate_backup_timestamp_seconds") == 1000
    await world.factories.undrain("one")
    assert value(scraped(world), "factorygate_factory_closed", factory="one", by="drain") == 0


async def test_the_end_of_a_certificate_is_read_from_its_file(world: World, tmp_path: Path) -> None:
    ends = datetime(2030, 1, 31, tzinfo=UTC)
    path = tmp_path / "link.crt"
    world.parts.figures._certificates = {"own": path}
    name = "factorygate_certificate_expiry_timestamp_seconds"
    assert value(scraped(world), name, name="own") == 0  # alerts if the value is 0
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "link")])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, datetime(2026, 1, 1, tzinfo=UTC), ends)
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    assert value(scraped(world), name, name="own") == ends.timestamp()


async def test_gpu_hours_are_counted_by_project(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.table = Table(PROJECT)
    await world.up()
    try:
        await world.parts.measuring.read()
        series = scraped(world)
        assert value(series, "factorygate_gpu_hours_held", project="p1", factory="one") == 0
        assert value(series, "factorygate_gpu_hours_granted", project="p1") == 100
        await world.put(project="p1", hours=2)
        await world.parts.measuring.read()
        series = scraped(world)
        assert value(series, "factorygate_gpu_hours_held", project="p1", factory="one") == pytest.approx(2, abs=0.1)
        assert value(series, "factorygate_gpu_hours_used", project="p1", factory="one") == 0
        assert value(series, "factorygate_project_people", project="p1") == 1
    finally:
        await world.down()


async def test_a_hub_that_follows_the_table_is_seen_and_its_loss_too(tmp_path: Path) -> None:
    async with served(tmp_path) as link:
        follow = link.client.table()
        await anext(follow)
        assert value(scraped(link.world), "factorygate_hub_streams") == 1
        await follow.aclose()
        await link.world.comes(lambda: value(scraped(link.world), "factorygate_hub_streams") == 0)


async def test_the_ledger_and_the_event_loop_are_measured(world: World) -> None:
    before = scraped(world)
    await world.ledger.live()
    world.parts.measure()
    await world.comes(lambda: grown(before, scraped(world), "factorygate_event_loop_lag_seconds_count") > 0)
    after = scraped(world)
    assert grown(before, after, "factorygate_ledger_seconds_count") >= 1
    assert grown(before, after, "factorygate_ledger_errors_total") == 0


async def test_no_label_names_a_person_an_account_or_a_session(world: World) -> None:
    await world.running(user="ada.lovelace@example.org")
    text = world.parts.metrics().decode()
    record = world.live_sessions[ID].record
    for secret in ("ada.lovelace", ID, f'"{record.account}"'):
        assert secret not in text
    labels = {label for gauge in metrics.GAUGES.values() for label in gauge.labels}
    labels |= {"factory", "reason", "ready", "code", "direction", "outcome", "le"}
    assert set(re.findall(r"[{,]([a-z_]+)=", text)) <= labels


def test_codes_of_refusals_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_CODES", len(metrics._codes))
    before = metrics.REFUSALS.labels("other")._value.get()
    metrics.refused("never-seen-before")
    assert metrics.REFUSALS.labels("other")._value.get() == before + 1
    assert gone("x").problem.kind == "gone"


async def test_a_scrape_with_1000_sessions_shows_each_and_names_none(world: World) -> None:
    await many(world, 1000)
    series = scraped(world)
    states = [value(series, "factorygate_sessions", factory="one", state=state) for state in ("pending", "unreachable")]
    assert sum(states) == 1000


async def test_logins_are_counted_by_their_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    connector = SshConnector("one", Mock(hosts=("a", "b", "c", "d"), jump=(), logins_per_minute=20), Mock())
    outcomes = iter([Distrusted("x"), NotLetIn("x"), Unreachable("x"), Mock()])

    async def through(*_: object) -> object:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(connector, "_through", through)
    counts = [metrics.LOGINS.labels("one", outcome) for outcome in metrics.LOGIN_OUTCOMES]
    before = [count._value.get() for count in counts]
    await connector.enter(Mock(username="x", key_id="y"), False, lambda: None)
    assert [count._value.get() - earlier for count, earlier in zip(counts, before, strict=True)] == [1, 1, 1, 1]
