"""The history of a workshop's project: every session with its end and cost, clusters in sums, page by page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from factorycommon.models import Amount, Cost, EndReason, JobOptions, ResolvedChoice, SessionState, Words
from factorycommon.models.history import HistoryPage, ProjectNow
from factorylink.api.workshop_history import router
from factorylink.api.workshop_scope import WorkshopScope
from factorylink.ledger import charges as budget
from factorylink.ledger.charges import ChargeReservation, Charges, worker_charge
from factorylink.ledger.cluster_store import BatchRecord, ClusterRecord, ClusterStore, WorkerRecord
from factorylink.ledger.ledger import AuditEntry, Ledger
from factorylink.ledger.project_history import ProjectHistory
from factorylink.ledger.schema import SessionRecord
from factorylink.util import clock
from tests.unit.fake_factory import World
from tests.unit.fake_projects import Table, project
from tests.unit.serving import serving

P, HOUR = "workshop-first-2345", 3600
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AUDIT = AuditEntry("ada", "a", "one", "submit")


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def cost(_factory: str, size: str, seconds: float) -> Cost | None:
    """Return the cost of ``gpu-1``, a quarter of a node, for so many seconds; None: the link knows no such size."""
    if size != "gpu-1":
        return None
    hours = seconds / HOUR
    return Cost(gpu_hours=hours, counted=hours, own=Amount(amount=hours / 4, unit="node-hour"))


async def begin(ledger: Ledger, number: int, person: str = "ada", of: str = P, **fields: Any) -> SessionRecord:
    """Write a session that is charged to the project ``of`` into the ledger; return the session.

    ``number``: makes its id; ``fields``: other values of its fields.
    """
    choice = ResolvedChoice(
        factory="one", size="gpu-1", environment="plain", hours=2, idle_minutes=60, unopened_minutes=30, project=of
    )
    known = f"{number:032x}"
    server = fields.pop("server", f"s{number}")
    record = SessionRecord(known, person, server, "one", "a", choice, JobOptions(), 0, NOW - timedelta(hours=3))
    reserved = ChargeReservation(known, of, "one", person, "a", 2, 2 * HOUR)
    await ledger.add(record, AUDIT, budget.found([reserved]))
    if fields:
        await ledger.change(record, **fields)
    return record


async def test_a_history_has_each_session_with_its_end_and_its_cost(ledger: Ledger) -> None:
    started, ended = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    over = await begin(
        ledger, 1, started=started, ready=started, ended=ended, state=SessionState.ENDED,
        end_reason=EndReason.OUT_OF_MEMORY, end=Words(code="out-of-memory", what="Out of memory."),
    )  # fmt: skip
    await ledger.write(budget.settle(over.id, None, 0, started, ended))
    runs = await begin(ledger, 2, "ben", started=started, ready=started, opened=ended, state=SessionState.RUNNING)
    await ledger.write(budget.runs(runs.id, started, NOW))
    await begin(ledger, 3, "ben")
    await begin(ledger, 4, of="another")
    page = await ProjectHistory(ledger, cost).page(P, None, 500)
    assert [(run.person, run.seconds, run.gpu_hours) for run in page.runs] == [
        ("ada", HOUR, 2.0), ("ben", 2 * HOUR, 4.0), ("ben", 0, 0.0)
    ]  # fmt: skip
    assert [run.opened for run in page.runs] == [None, ended, None]
    first = page.runs[0]
    assert (first.end_reason, first.code, first.ready, first.ended) == (
        "out-of-memory",
        "out-of-memory",
        started,
        ended,
    )
    assert first.own == Amount(amount=0.25, unit="node-hour")
    assert (page.next, page.clusters) == (None, ())


async def test_a_history_comes_in_pages(ledger: Ledger) -> None:
    for number in range(7):
        await begin(ledger, number)
    history, seen, after = ProjectHistory(ledger, cost), list[str](), None
    for size in (3, 3, 1):
        page = await history.page(P, after, 3)
        assert len(page.runs) == size
        seen += [run.id for run in page.runs]
        after = page.next
    assert after is None
    assert seen == [f"{number:032x}" for number in range(7)]
    assert (await history.page("workshop-none", None, 3)).runs == ()


async def test_a_row_that_cannot_be_read_ends_no_history(ledger: Ledger) -> None:
    for number in range(5):
        await begin(ledger, number)
    spoil = text(f"UPDATE charges SET reserved_at = 'NaN' WHERE id = '{1:032x}'")
    await ledger.transact(lambda db: db.execute(spoil))
    history, seen, after = ProjectHistory(ledger, cost), list[str](), None
    while after is not None or not seen:
        page = await history.page(P, after, 2)
        seen += [run.id for run in page.runs]
        after = page.next
    assert seen == [f"{number:032x}" for number in (0, 2, 3, 4)]


async def test_clusters_are_summed_by_person_and_size(ledger: Ledger) -> None:
    head = await begin(ledger, 1, server="dask/c")
    store, started = ClusterStore(ledger), NOW - timedelta(hours=1)
    for letter, size in (("c", "gpu-1"), ("d", "gone")):
        choice = head.choice.model_copy(update={"size": size})
        cluster = ClusterRecord(letter * 32, "ada", letter, "one", "a", choice, JobOptions(), 1, 1, started)
        await store.add(cluster)
        batch = BatchRecord(letter.replace("c", "b").replace("d", "e") * 32, cluster.id, 2, 1, started)
        batch.workers = [WorkerRecord(batch.id, task, f"w-{task}") for task in (1, 2)]
        ids = [worker_charge(batch.id, task) for task in (1, 2)]
        reserved = [ChargeReservation(one, P, "one", "ada", "a", 1, HOUR) for one in ids]
        await store.add(batch, None, budget.found(reserved))
        await ledger.write(budget.settle(ids[0], None, 0, started, NOW))
        await ledger.write(budget.runs(ids[1], NOW - timedelta(minutes=30), NOW + timedelta(hours=1)))
    page = await ProjectHistory(ledger, cost).page(P, None, 500)
    assert [(one.person, one.size, one.jobs, one.gpu_hours) for one in page.clusters] == [
        ("ada", "gone", 2, 1.5), ("ada", "gpu-1", 2, 1.5)
    ]  # fmt: skip
    assert [one.own for one in page.clusters] == [None, Amount(amount=0.375, unit="node-hour")]
    assert [run.notebook for run in page.runs] == [False]
    assert (await ProjectHistory(ledger, cost).page(P, head.id, 500)).clusters == ()


async def test_the_link_says_what_runs_for_a_workshop_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real clock
    world = World(tmp_path)
    world.table = Table(project("p1"))
    world.workshops = Table(project(P, gpu_hours=10))
    await world.up()
    scope = WorkshopScope(world.projects, world.live_sessions)
    app = FastAPI()
    history = ProjectHistory(world.ledger, cost)
    app.include_router(router(scope, history, Charges(world.ledger), world.live_clusters, world.factories))
    try:
        async with (
            serving(app, tmp_path / "w.sock"),
            httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(uds=str(tmp_path / "w.sock")), base_url="http://link"
            ) as client,
        ):
            await world.put(project=P)
            now = ProjectNow.model_validate_json((await client.get(f"/projects/{P}/now")).content)
            assert (now.running, now.waiting, now.clusters) == (0, 1, 0)
            assert now.reserved > 0
            page = HistoryPage.model_validate_json((await client.get(f"/projects/{P}/history")).content)
            assert [run.person for run in page.runs] == ["ada"]
            assert (await client.get("/projects/p1/history")).status_code == 422  # no workshop's
            over = HistoryPage.model_validate_json((await client.get("/projects/workshop-over/history")).content)
            assert over == HistoryPage()
    finally:
        await world.down()
