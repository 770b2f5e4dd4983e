"""Clusters on Home in a browser: live ones, closing one, and how they ended."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from factorycommon.models import WorkerState
from factorylink.explain import explain
from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import HubProcess

AXE = Path(__file__).parents[2] / "extensions" / "lab" / "node_modules" / "axe-core" / "axe.min.js"
AXE_RUN = """async () => {
  const { violations } = await axe.run({ include: [["#fg-home"]] });
  return violations.map((one) => ({ rule: one.id, where: one.nodes.map((node) => node.html) }));
}"""
SWEEP, AFAR = "a1" * 16, "a2" * 16

pytestmark = pytest.mark.asyncio(loop_scope="module")
Opens = Callable[..., Coroutine[Any, Any, Page]]


@pytest_asyncio.fixture(loop_scope="module")
async def opens(hub: HubProcess, link: FakeLink, browser: Browser) -> AsyncIterator[Opens]:
    """Return a function that opens ada's Home with sessions and clusters in all states.

    Its keywords are options of the browser context.
    """
    link.sessions.clear()
    link.clusters.clear()
    page_states.fill(link)
    contexts: list[BrowserContext] = []

    async def opened(**options: Any) -> Page:
        context = await browser.new_context(
            base_url=hub.url, **{"locale": "en-GB", "reduced_motion": "reduce", **options}
        )
        contexts.append(context)
        await page_states.signed_in(context)
        page = await context.new_page()
        await page.goto("/hub/home")
        await expect(page.locator("#fg-clusters-ended li")).to_have_count(2)
        return page

    yield opened
    for context in contexts:
        await context.close()


async def test_each_cluster_is_shown_with_its_state_and_problems(opens: Opens, link: FakeLink) -> None:
    page = await opens()
    sweep = page.get_by_role("article", name="sweep")
    for text in (
        *("Running", "ONE · 1 x A100 40 GB", "open for 2 hours · belongs to busy", "2 jobs running · 3 waiting"),
        "waiting for a node to free up",
    ):
        await expect(sweep).to_contain_text(text)
    # The cluster's jobs run, so its figures change a little while a slow browser loads.
    used = re.compile(r"5\.5\d? of at most 20 GPU-hours used · 2\.[45]\d? GPU-hours reserved")
    await expect(sweep).to_contain_text(used)
    afar = page.get_by_role("article", name="afar")
    for text in ("Not answering", "3 jobs not answering", "is not answering"):
        await expect(afar).to_contain_text(text)
    quiet = page.get_by_role("article", name="quiet")
    await expect(quiet).to_contain_text("No jobs")
    left = re.compile(r"The cluster’s Dask scheduler runs in a job of its own: 1 hour 5\d minutes left")
    await expect(quiet).to_contain_text(left)
    link.change_cluster(SWEEP, counts={WorkerState.RUNNING: 5})
    await expect(sweep).to_contain_text("5 jobs running")
    link.change_cluster(SWEEP, counts={WorkerState.ENDED: 5})
    await expect(page.locator("#fg-announce")).to_have_text("sweep: No jobs")
    over = page.get_by_role("list", name="Recent clusters")
    await expect(over).to_contain_text("The session whose notebook ran the cluster is over")
    await expect(over).to_contain_text("Closed · ")


async def test_a_cluster_is_closed_by_keyboard_after_a_confirmation(opens: Opens, link: FakeLink) -> None:
    page = await opens()
    button = page.get_by_role("button", name="Close…: sweep")
    await button.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Close the cluster sweep?")
    await expect(dialog).to_contain_text("2 jobs running · 3 waiting")
    await expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_hidden()
    await expect(button).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(button).to_be_focused()
    assert link.clusters[SWEEP].state == "live"
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("article", name="sweep")).to_contain_text("Ending")
    assert link.clusters[SWEEP].state == "ending"
    link.change_cluster(SWEEP, state="ended", ended=datetime.now(UTC), end=explain.own("cluster-left"))
    await expect(page.get_by_role("article", name="sweep")).to_have_count(0)
    await expect(page.get_by_role("listitem").filter(has_text="sweep")).to_contain_text("Nobody has asked about")


async def test_a_cluster_that_cannot_be_closed_says_why(opens: Opens, link: FakeLink) -> None:
    page = await opens()
    del link.clusters[AFAR]  # the link no longer knows it, and the page has not been notified
    await page.get_by_role("button", name="Close…: afar").click()
    await page.get_by_role("button", name="Close it").click()
    afar = page.get_by_role("article", name="afar")
    await expect(afar.get_by_role("alert")).to_contain_text("no such cluster")
    await expect(afar.get_by_role("button", name="Close…: afar")).to_be_visible()


async def test_without_clusters_home_does_not_mention_them(opens: Opens, link: FakeLink) -> None:
    page = await opens()
    for cluster in list(link.clusters):
        link.change_cluster(cluster, state="ended")
    link.clusters.clear()
    await expect(page.locator("#fg-clusters-part")).to_be_hidden()
    await page.reload()
    await expect(page.locator("#fg-live article")).to_have_count(4)
    await expect(page.locator("#fg-clusters-part")).to_be_hidden()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
async def test_axe_finds_nothing_and_nothing_sticks_out(opens: Opens, theme: str, width: int) -> None:
    page = await opens(color_scheme=theme, viewport={"width": width, "height": 900})
    await page.evaluate("document.documentElement.dataset.bsTheme = " + repr(theme))
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if not AXE.exists():
        pytest.skip("needs axe-core (bin/test installs it)")
    await page.add_script_tag(path=AXE)
    assert await page.evaluate(AXE_RUN) == []
    await page.get_by_role("button", name="Close…: sweep").click()
    assert await page.evaluate(AXE_RUN) == []
    await page.evaluate("document.querySelector('#fg-close form').append(document.createElement('button'))")
    assert await page.evaluate(AXE_RUN)  # axe does find errors


async def test_a_stop_asks_only_where_something_would_end(opens: Opens, link: FakeLink) -> None:
    await link.change("2" * 32, busy=True, busy_with=("train.ipynb",))
    page = await opens()
    busy = page.get_by_role("article", name="busy")
    await busy.get_by_role("button", name="Stop").click()
    asked = page.get_by_role("dialog", name="Stop busy?")
    await expect(asked.get_by_role("listitem")).to_have_text(
        ["train.ipynb is running", "The Dask cluster sweep is running"]
    )
    await asked.get_by_role("button", name="Keep it running").click()
    await expect(asked).to_be_hidden()
    assert link.stops == []
    await page.get_by_role("article", name="up").get_by_role("button", name="Stop").click()  # nothing runs in it
    await expect(page.get_by_role("article", name="up").get_by_role("button", name="Stopping")).to_be_visible()
    await expect(asked).to_be_hidden()
    await busy.get_by_role("button", name="Stop").click()
    await asked.get_by_role("button", name="Stop it").click()
    await expect(busy.get_by_role("button", name="Stopping")).to_be_visible()
    for one in ("4" * 32, "2" * 32):
        await link.until(one, lambda session: session.wish == "stop")
