"""Usage reports for operators: tables with correct sums, and CSV that spreadsheets read correctly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from factorycommon.csv_cells import cell
from factorycommon.models import End, Outcome, UsageLine
from factorylink.background.hub_recovery import HubRecovery
from factorylink.cli import main as cli
from factorylink.hub_client import HubClient
from factorylink.ledger import charges
from factorylink.ledger.charges import ChargeReservation
from factorylink.projects import usage_report
from tests.unit.fake_factory import World
from tests.unit.serving import serving

FIRST, SECOND = date(2026, 3, 1), date(2026, 3, 2)
LINES = [
    UsageLine(day=FIRST, project="p1", factory="one", person="ada", gpu_seconds=3600, jobs=2),
    UsageLine(day=FIRST, project=None, factory="two", person="=HYPERLINK()", gpu_seconds=7201, jobs=1),
    UsageLine(day=SECOND, project="p1", factory="one", person="ada", gpu_seconds=1800, jobs=0),
]


def test_each_grouping_of_a_usage_table_has_the_same_sum() -> None:
    assert usage_report.table(LINES, "day") == [
        ("2026-03-01", 3, "3.00"),
        ("2026-03-02", 0, "0.50"),
        ("all", 3, "3.50"),
    ]
    assert usage_report.table(LINES, "project") == [("-", 1, "2.00"), ("p1", 2, "1.50"), ("all", 3, "3.50")]
    assert [row[0] for row in usage_report.table(LINES, "person")] == ["=HYPERLINK()", "ada", "all"]
    assert usage_report.table([], "factory") == [("all", 0, "0.00")]


def test_csv_is_exact_and_holds_no_formula() -> None:
    heading, first, second, _ = usage_report.as_csv(LINES).splitlines()
    assert heading == "day,project,factory,person,jobs,gpu_seconds,gpu_hours"
    assert first == "2026-03-01,p1,one,ada,2,3600,1.000000"
    assert second == "2026-03-01,,two,'=HYPERLINK(),1,7201,2.000278"


@pytest.mark.parametrize("name", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", "＝1", "＋1", "－1", "＠a"])
def test_no_name_is_a_formula(name: str) -> None:
    assert cell(name) == f"'{name}"


@pytest_asyncio.fixture
async def socket(tmp_path: Path) -> AsyncIterator[Path]:
    """Return the socket of a link in whose ledger two projects have used something."""
    world = await World(tmp_path).up()
    for number, (project, person) in enumerate([("p1", "ada"), ("p1", "ben"), ("p2", "ada")]):
        over = datetime(2026, 3, 1 + number, 12, tzinfo=UTC)
        held = charges.reserve([ChargeReservation(f"s{number}", project, "one", person, "a", 4, 3600)], None)
        end = End(job="7", outcome=Outcome.COMPLETED, raw_state="COMPLETED", ended=over, elapsed=900)
        await world.ledger.write(held)
        await world.ledger.write(charges.settle(f"s{number}", end, 0, over - timedelta(seconds=900), over))
    bring_back = HubRecovery(
        world.live_sessions, HubClient(world.config.hub.model_copy(update={"token_file": tmp_path / "t"}))
    )
    async with serving(world.parts.hub_app(bring_back), world.config.socket):
        yield world.config.socket
    await world.down()


def words(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the printed words without the columns' blanks."""
    return " ".join(capsys.readouterr().out.split())


async def test_the_usage_command_prints_the_table(socket: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = partial(asyncio.to_thread, cli.main)
    at = ["--socket", str(socket), "usage"]
    assert await command(at) == 0
    assert words(capsys) == "PROJECT JOBS GPU-HOURS p1 2 2.00 p2 1 1.00 all 3 3.00"
    assert await command([*at, "--project", "p1", "--by", "person", "--since", "2026-03-02"]) == 0
    assert words(capsys) == "PERSON JOBS GPU-HOURS ben 1 1.00 all 1 1.00"
    assert await command([*at, "--project", "p2", "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["2026-03-03,p2,one,ada,1,3600,1.000000"]


@pytest.mark.parametrize(
    "query",
    ["since=7", "since=20260301", "since=1700006400", "since=2026-02-30", "project=a%20b", "person="],
)
async def test_an_invalid_day_or_project_is_refused(socket: Path, query: str) -> None:
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    async with httpx.AsyncClient(transport=transport, base_url="http://link") as http:
        for path in ("/usage", "/usage.csv"):
            assert (await http.get(f"{path}?{query}")).status_code == 400
