"""The pages of workshops in a browser: axe finds nothing, nothing is wider than 360 px, the keyboard reaches all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess
from tests.unit.serving import serving
from tests.unit.test_accessible_pages import findings, theme
from tests.unit.workshops_world import WorkshopsWorld, body, workshops_world
from workshops.api.hub import hub_app
from workshops.models.callers import WorkshopCaller

pytestmark = pytest.mark.asyncio(loop_scope="module")
ADA, BOB = WorkshopCaller("ada", operator=True), WorkshopCaller("bob")
LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmützen" * 2


@dataclass
class Shown:
    """The pages, by name, and a browser of each person. ada is an operator, bob a trainer."""

    people: dict[str, BrowserContext]
    paths: dict[str, tuple[str, str]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shown(
    tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside, browser: Browser
) -> AsyncIterator[Shown]:
    folder = tmp_path_factory.mktemp("w")
    async with (
        workshops_world(folder, trainers={"people": ["bob"]}) as world,
        serving(hub_app(world.workshops, world.joining), folder / "w.sock"),
    ):
        extra = "c.Authenticator.admin_users = {'ada'}"
        made = HubProcess(tmp_path_factory.mktemp("hub"), link.socket, beside, extra, workshops=folder / "w.sock")
        await made.up()
        options = {"base_url": made.url, "locale": "en-GB", "reduced_motion": "reduce"}
        people = {name: await browser.new_context(**options) for name in ("ada", "bob")}
        for name, context in people.items():
            await page_states.signed_in(context, name)
        yield Shown(people, await pages(world))
        for context in people.values():
            await context.close()
        await made.kill()
        await made.http.aclose()


async def pages(world: WorkshopsWorld) -> dict[str, tuple[str, str]]:
    """Make workshops of every kind; return who looks at which page."""
    waits = (await world.workshops.create(BOB, body(title=f"{LONG} <b>x</b>", seats=2, terms="Be kind.\n" * 9))).slug
    declined = (await world.workshops.create(BOB, body(seats=2))).slug
    await world.workshops.decline(ADA, declined, "Too early.")
    runs = (await world.workshops.create(BOB, body(seats=2, places=[{"factory": "two", "size": "gpu-2"}]))).slug
    await world.workshops.approve(ADA, runs)
    await world.clockwork.look()
    for name in ("guest-1", "guest-2", LONG):
        await world.workshops.put_member(BOB, runs, name, "participant")
    return {
        "list": ("bob", "/hub/workshops"),
        "operator's list": ("ada", "/hub/workshops"),
        "form": ("bob", "/hub/workshops/new"),
        "change": ("bob", f"/hub/workshops/{runs}/change"),
        "to be approved": ("ada", f"/hub/workshops/{waits}"),
        "waits": ("bob", f"/hub/workshops/{waits}"),
        "declined": ("bob", f"/hub/workshops/{declined}"),
        "scheduled": ("bob", f"/hub/workshops/{runs}?done=approve"),
    }


NAMES = ("list", "operator's list", "form", "change", "to be approved", "waits", "declined", "scheduled")


async def opened(shown: Shown, name: str) -> Page:
    who, path = shown.paths[name]
    page = await shown.people[who].new_page()
    answer = await page.goto(path)
    assert answer is not None
    assert answer.status == 200
    await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    return page


@pytest.mark.parametrize("name", NAMES)
async def test_axe_finds_nothing_and_nothing_sticks_out(shown: Shown, name: str) -> None:
    page = await opened(shown, name)
    await theme(page, "light")
    assert await findings(page) == []
    await theme(page, "dark")
    assert await findings(page, "color-contrast") == []
    await page.set_viewport_size({"width": 360, "height": 780})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    assert await findings(page, "color-contrast", "target-size") == []
    await page.close()


@pytest.mark.parametrize("name", ["list", "form", "to be approved", "scheduled"])
async def test_the_keyboard_reaches_all_that_can_be_used(shown: Shown, name: str) -> None:
    page = await opened(shown, name)
    wanted = await page.evaluate(page_states.USABLE)
    await page.evaluate("document.activeElement.blur(); window.getSelection().removeAllRanges();")
    reached: set[int] = set()
    for _ in range(3 * len(wanted) + 10):  # a time has several parts
        await page.keyboard.press("Tab")
        at = await page.evaluate(page_states.FOCUSED)
        if at is not None:
            reached.add(at["mark"])
            assert at["ring"], f"nothing shows that the focus is on {at['html']}"
    assert [html for number, html in enumerate(wanted) if number not in reached] == []
    await page.close()


async def test_a_workshop_is_created_by_keyboard_alone_and_a_mistake_has_the_focus(shown: Shown) -> None:
    page = await opened(shown, "form")
    await expect(page.get_by_label("Time zone of the class")).not_to_have_value("")  # the browser's
    await page.get_by_label("Title").fill("By keys")
    await page.get_by_label("Time zone of the class").fill("Europe/Berlin")
    await page.get_by_label("Opens: seats can be used").fill("2026-11-30T09:00")
    await expect(page.get_by_label("Starts")).to_have_value("2026-11-30T09:30")  # filled in, as a start
    await page.get_by_label("Ends", exact=True).fill("2026-11-30T08:00")
    await page.get_by_label("Plan A", exact=True).select_option("other/two/gpu-1/python")
    await page.get_by_label("Seats", exact=True).fill("1")
    await page.get_by_label("Hours of a seat").fill("2")
    await page.get_by_role("button", name="Store it as a draft").press("Enter")
    await expect(page.get_by_label("Ends", exact=True)).to_be_focused()
    assert await findings(page) == []
    await page.get_by_label("Ends", exact=True).fill("2026-11-30T12:00")
    await page.get_by_role("button", name="Store it as a draft").press("Enter")
    await expect(page.get_by_role("heading", name="By keys")).to_be_visible()
    await expect(page.get_by_role("heading", name="The code for joining")).to_be_visible()
    assert await findings(page) == []
    await page.close()
