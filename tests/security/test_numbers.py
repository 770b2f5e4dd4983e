"""No number or list from a scheduler, or from an account that imitates it, is expensive or makes a commit fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import Connection, insert, select

from factorycommon.models import End, Outcome
from factorylink.errors import Misread
from factorylink.ledger import charges as budget
from factorylink.ledger.charges import ChargeReservation, ChargeTotals
from factorylink.ledger.ledger import AuditEntry, Ledger, LedgerError
from factorylink.ledger.schema import charges, drains
from factorylink.schedulers.command import Output
from factorylink.schedulers.complete_lists import MARK
from factorylink.schedulers.pbs import dialect as pbs
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.schedulers.slurm import parser as slurm_parse
from factorylink.util import clock
from tests.unit.fake_factory import ID, OTHER
from tests.unit.slurm_output import job_row, listed
from tests.unit.test_ledger import row


@pytest_asyncio.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    made = Ledger(tmp_path / "ledger.sqlite")
    await made.open()
    yield made
    await made.close()


@pytest.mark.parametrize(
    "nodes",
    [
        "n[" + ",".join(["1-9999"] * 5000) + "]",
        ",".join(["n[1-9999]"] * 5000),
        "n[1-999999999]",
        "x" * 100_000 + "[1-1024]",
        "n[1-" + "9" * 5000 + "]",
    ],
)
def test_a_list_of_nodes_is_no_longer_than_it_may_be(nodes: str) -> None:
    began = time.thread_time()
    names = slurm_parse.hosts(nodes)
    assert len(names) <= 1024
    assert sum(map(len, names)) <= 1024 * 300
    assert time.thread_time() - began < 0.5


def test_lists_of_nodes_are_read_as_before() -> None:
    assert slurm_parse.hosts("n[1-2,07],login") == ("n1", "n2", "n07", "login")
    assert slurm_parse.hosts("n[1-3]", 2) == ("n1", "n2")


@pytest.mark.parametrize("number", ["99999999999999999999", "10000000001"])
def test_numbers_too_large_to_store_count_as_missing(number: str) -> None:
    assert slurm_parse.number(number) is None
    (job,) = slurm.jobs("n").parse(listed(job_row(priority=number, restarts=number[:8])))
    assert job.priority is None
    record = f"7|1000|COMPLETED|0:0|1795537715|{number}\n"
    (end,) = slurm.accounting(["7"]).parse(Output(f"{record}{MARK}\n", "", 0))
    assert end.elapsed is None


def test_an_invalid_number_is_misread() -> None:
    with pytest.raises(ValueError, match="less than or equal"):
        End(job="1", outcome=Outcome.COMPLETED, raw_state="COMPLETED", elapsed=10**12)
    told = '{"timestamp": 1, "pbs_version": "23", "pbs_server": "s", "Jobs": {"1.s": {"run_count": 1' + "0" * 30 + "}}}"
    with pytest.raises(Misread):
        pbs.jobs("n").parse(Output(told, "", 0))


async def test_a_value_that_cannot_be_kept_spoils_nobody_elses_commit(ledger: Ledger) -> None:
    def spoilt(db: Connection) -> None:
        db.execute(insert(charges).values(**_charge("bad"), seconds=10**30))

    await ledger.add(row(), AuditEntry("ada", "a", "one", "ask"))
    outcomes = await asyncio.gather(
        ledger.drain("one", "x", AuditEntry("operator", "", "one", "drain")),
        ledger.write(spoilt),
        ledger.drain("two", "y", AuditEntry("operator", "", "two", "drain")),
        ledger.add(row(OTHER, "ben"), AuditEntry("ben", "a", "one", "ask")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), LedgerError, type(None), type(None)]
    assert len(await ledger.rows(drains, select(drains))) == 2
    assert {found.id for found in await ledger.live()} == {ID, OTHER}


@pytest.mark.parametrize("elapsed", [10**9, 86_400 * 365])
async def test_no_record_makes_a_job_longer_than_it_can_have_been(ledger: Ledger, elapsed: int) -> None:
    claims = [ChargeReservation(name, "P", "one", "ada", "a", 4, 3600) for name in ("session", "worker")]
    await ledger.write(budget.reserve(claims, None))
    end = End(job="7", outcome=Outcome.COMPLETED, raw_state="COMPLETED", ended=clock.now(), elapsed=elapsed)
    await ledger.write(budget.settle("session", end, 0, None, clock.now()))
    now = clock.now()
    await ledger.write(budget.stand([ChargeTotals("worker", now, None, 0, now + timedelta(seconds=1), elapsed)]))
    kept = {found["id"]: found["seconds"] for found in await ledger.rows(charges, select(charges))}
    assert all(3600 <= seconds <= 3600 + 400 for seconds in kept.values())
    honest = End(job="7", outcome=Outcome.COMPLETED, raw_state="COMPLETED", ended=clock.now(), elapsed=17)
    await ledger.write(budget.settle("session", honest, 0, None, clock.now()))
    assert {found["id"]: found["seconds"] for found in await ledger.rows(charges, select(charges))}["session"] == 17


def _charge(name: str) -> dict[str, object]:
    words = {"id": name, "project": None, "factory": "one", "person": "ada", "account": "a"}
    return {**words, "gpus": 1, "reserved": 1, "reserved_at": clock.now(), "earlier": 0}
