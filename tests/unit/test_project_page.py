"""A project's page: managers see the use of all people, members their own, and others nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, async_playwright, expect

from factorycommon.models import ProjectView, UsageLine
from tests.conftest import chromium_options
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import HubProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/hub/gateway/api/projects"


def view(id: str, role: str = "member", granted: float | None = 100) -> ProjectView:
    return ProjectView.model_validate(
        {
            "id": id, "title": "Folding", "mode": "fast-lane", "role": role, "usable": True, "begins": None,
            "ends": datetime(2030, 1, 1, tzinfo=UTC), "max_hours": None, "granted": granted, "spent": 30.5,
            "reserved": 4, "left": None if granted is None else granted - 34.5, "factories": ("one",),
        }
    )  # fmt: skip


def line(day: date, person: str, seconds: int, factory: str = "one", jobs: int = 1) -> UsageLine:
    return UsageLine(day=day, project="P-1", factory=factory, person=person, gpu_seconds=seconds, jobs=jobs)


@pytest.fixture(autouse=True)
def today(link: FakeLink) -> date:
    """Let the link tell of projects and their use until today, and return today's date."""
    now = datetime.now(UTC).date()
    link.projects_of = {"ada": [view("P-1", "manager"), view("P-2")], "bob": [view("P-1"), view("P-3", granted=None)]}
    link.usage = [
        line(now - timedelta(days=60), "ada", 7200),
        line(now - timedelta(days=2), "ada", 3600),
        line(now - timedelta(days=2), "=bob", 1800, "two"),
        line(now, "bob", 900, jobs=3),
    ]
    return now


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ada(hub: HubProcess) -> AsyncIterator[httpx.AsyncClient]:
    browser = await hub.login("ada")
    yield browser
    await browser.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bob(hub: HubProcess) -> AsyncIterator[httpx.AsyncClient]:
    browser = await hub.login("bob")
    yield browser
    await browser.aclose()


async def test_managers_see_all_use_and_members_their_own(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient, today: date
) -> None:
    everybody = (await ada.get(f"{API}/P-1/usage")).json()
    assert everybody["everybody"]
    assert sum(line["gpu_seconds"] for line in everybody["lines"]) == 13500
    own = (await bob.get(f"{API}/P-1/usage")).json()
    assert not own["everybody"]
    assert [line["gpu_seconds"] for line in own["lines"]] == [900]
    lately = (await ada.get(f"{API}/P-1/usage?since={today - timedelta(days=29)}")).json()
    assert sum(line["gpu_seconds"] for line in lately["lines"]) == 6300


async def test_other_peoples_projects_answer_404(bob: httpx.AsyncClient) -> None:
    for file in ("usage", "usage.csv"):
        answer = await bob.get(f"{API}/P-2/{file}")
        assert (answer.status_code, answer.json()["kind"]) == (404, "gone")
    assert (await bob.get(f"{API}/P-1/usage?since=soon")).status_code == 400
    nobody = httpx.AsyncClient(base_url=bob.base_url, timeout=60)
    assert (await nobody.get(f"{API}/P-1/usage")).status_code == 401
    assert (await nobody.get("/hub/project/P-1")).status_code == 302  # redirected to the login
    await nobody.aclose()


async def test_csv_has_the_same_numbers_and_no_formulas(ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    answer = await ada.get(f"{API}/P-1/usage.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="P-1-usage.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert sum(int(row["gpu_seconds"]) for row in rows) == 13500
    assert [row["person"] for row in rows] == ["ada", "ada", "'=bob", "bob"]
    assert rows[0]["gpu_hours"] == "2.000000"
    assert len(list(csv.DictReader(io.StringIO((await bob.get(f"{API}/P-1/usage.csv")).text)))) == 1


@pytest_asyncio.fixture(loop_scope="module")
async def context(hub: HubProcess, ada: httpx.AsyncClient) -> AsyncIterator[BrowserContext]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(**chromium_options())
        made = await chromium.new_context(base_url=hub.url, locale="en-GB", viewport={"width": 360, "height": 780})
        cookies = [
            {"name": c.name, "value": c.value or "", "domain": "127.0.0.1", "path": c.path} for c in ada.cookies.jar
        ]
        made.set_default_timeout(60_000)
        await made.add_cookies(cookies)
        yield made
        await chromium.close()


async def test_plot_and_table_say_the_same(context: BrowserContext, today: date) -> None:
    page = await context.new_page()
    await page.clock.set_fixed_time(datetime.combine(today, time(12), UTC))  # whenever this runs
    await page.goto("/hub/project/P-1")
    await expect(page.locator("#fg-budget")).to_contain_text("65.5")  # the rest of the budget
    table, bars = page.locator("#fg-usage table"), page.locator("#fg-usage svg rect title")
    await expect(table.locator("tfoot")).to_contain_text("1.75")
    await expect(bars).to_have_count(3)  # two days, and the one between
    rows = await table.locator("tbody tr").all_inner_texts()
    assert [row.split("\t")[-1].strip() for row in rows] == ["1.5", "0.25"]
    assert [text.rpartition(": ")[2] for text in await bars.all_text_contents()] == ["1.5", "0", "0.25"]
    await page.get_by_label("Grouped by").select_option("person")
    await expect(table.locator("tbody tr")).to_have_count(3)
    assert [row.split("\t")[0] for row in await table.locator("tbody tr").all_inner_texts()] == ["ada", "=bob", "bob"]
    await page.get_by_label("Period").select_option("0")
    await expect(table.locator("tfoot")).to_contain_text("3.75")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than a phone"
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Download as CSV").click()
    assert (await download.value).suggested_filename == "P-1-usage.csv"
    await page.goto("/hub/project/P-9")
    await expect(page.locator("#fg-trouble")).to_contain_text("There is no such project of yours.")
