"""The pages of workshops in a browser: axe finds nothing, nothing is wider than 360 px, the keyboard reaches all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from factorycommon.material.steps import KnownStep
from factorycommon.models import Words
from factorycommon.models.messages import Phrase
from factorycommon.models.workshops.help import LookBody
from factorycommon.models.workshops.sessions import WorkshopSessions
from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess
from tests.unit.room_world import NOW, session
from tests.unit.serving import serving
from tests.unit.test_accessible_pages import findings, theme
from tests.unit.workshops_world import SECRET, WorkshopsWorld, body, workshops_world
from workshops.api.hub import hub_app
from workshops.ending import certificates
from workshops.models.callers import WorkshopCaller
from workshops.models.rehearsal import RehearsalLine, RehearsalResult
from workshops.models.room import SeatActView
from workshops.models.seats import SeatProgress
from workshops.rehearsal import proof, rows, trial, wave
from workshops.store.hand_table import HandRecord
from workshops.store.rehearsal_table import RehearsalRow
from workshops.store.schema import EventRecord

pytestmark = pytest.mark.asyncio(loop_scope="module")
ADA, BOB = WorkshopCaller("ada", operator=True), WorkshopCaller("bob")
HOSTILE = '<img src=x onerror="document.title=1">'
LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmützen" * 2


@dataclass
class Shown:
    """The pages, by name, and a browser of each person. ada is an operator, bob a trainer."""

    people: dict[str, BrowserContext]
    paths: dict[str, tuple[str, str]]
    world: WorkshopsWorld


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shown(
    tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside, browser: Browser
) -> AsyncIterator[Shown]:
    folder = tmp_path_factory.mktemp("w")
    async with (
        workshops_world(folder, trainers={"people": ["bob"]}) as world,
        serving(hub_app(world.workshops, world.joining, world.of_hub), folder / "w.sock"),
    ):
        extra = "c.Authenticator.admin_users = {'ada'}"
        made = HubProcess(tmp_path_factory.mktemp("hub"), link.socket, beside, extra, workshops=folder / "w.sock")
        await made.up()
        options = {"base_url": made.url, "locale": "en-GB", "reduced_motion": "reduce"}
        people = {name: await browser.new_context(**options) for name in ("ada", "bob")}
        for name, context in people.items():
            await page_states.signed_in(context, name)
        yield Shown(people, await pages(world), world)
        for context in people.values():
            await context.close()
        await made.kill()
        await made.http.aclose()


async def pages(world: WorkshopsWorld) -> dict[str, tuple[str, str]]:
    """Make workshops of every kind; return, by a page's name, the person who looks at it and its path."""
    waits = (await world.workshops.create(BOB, body(title=f"{LONG} <b>x</b>", seats=2, terms="Be kind.\n" * 9))).slug
    declined = (await world.workshops.create(BOB, body(seats=2))).slug
    await world.workshops.decline(ADA, declined, "Too early.")
    runs = (await world.workshops.create(BOB, body(seats=2, places=[{"factory": "two", "size": "gpu-2"}]))).slug
    await world.workshops.approve(ADA, runs)
    await world.clockwork.look()
    for name in ("guest-1", "guest-2", LONG):
        await world.workshops.put_member(BOB, runs, name, "participant")
    with_room = await room(world)
    return {
        "list": ("bob", "/hub/workshops"),
        "operator's list": ("ada", "/hub/workshops"),
        "form": ("bob", "/hub/workshops/new"),
        "change": ("bob", f"/hub/workshops/{runs}/change"),
        "to be approved": ("ada", f"/hub/workshops/{waits}"),
        "waits": ("bob", f"/hub/workshops/{waits}"),
        "declined": ("bob", f"/hub/workshops/{declined}"),
        "scheduled": ("bob", f"/hub/workshops/{runs}?done=approve"),
        "room": ("bob", f"/hub/workshops/{with_room}/room"),
        "look": ("bob", f"/hub/workshops/{with_room}/room/seats/2/look"),
        "report": ("bob", f"/hub/workshops/{runs}/report"),
        "privacy": ("bob", f"/hub/workshops/{runs}/privacy"),
        "certificate": ("bob", f"/hub/workshops/certificates/{certificates.certificate_id(SECRET, runs, LONG)}"),
        "empty room": ("bob", f"/hub/workshops/{runs}/room?names=no"),
        "rehearsals": ("bob", f"/hub/workshops/{await rehearsed(world, runs)}/rehearsal"),
    }


async def rehearsed(world: WorkshopsWorld, slug: str) -> str:
    """Store a rehearsal that is over, with lines of all colours, and one that goes on; return the workshop's slug."""
    now = world.clock()
    lines = tuple(
        RehearsalLine(check="place", colour=colour, text=f"{LONG} {HOSTILE}", do="Do something.")
        for colour in ("green", "yellow", "red")
    )
    result = RehearsalResult(
        workshop=slug, factory="two", kind="dry", at=now, ended=now, by="bob", lines=lines, parts={"plan": "0" * 64}
    )
    signed = RehearsalRow(slug, "two", "dry", now, "bob", result=result, signature=proof.sign(SECRET, result))
    why = Words(code="x", what=f"It broke. {HOSTILE}")
    changed: tuple[dict[str, Any], ...] = (
        {"wave": 1, "state": SeatProgress.RUNNING, "asked": now, "ran": now},
        {"wave": 1, "state": SeatProgress.FAILED, "why": why},
        {"wave": 1},
        {},
    )
    robots = tuple(one.model_copy(update=fields) for one, fields in zip(wave.begun(slug, 4), changed, strict=True))
    runs = RehearsalRow(slug, "two", "wave", now, "bob", until=now + trial.WINDOW, seats=robots)
    for row in (signed, runs):
        event = EventRecord(slug, now, "bob", "rehearsal", row.kind)
        await world.store.transact(partial(rows.put, row=row, event=event))
    return slug


async def room(world: WorkshopsWorld) -> str:
    """Make a workshop whose seats are in different states, with raised hands and shown notebooks; return its slug."""
    slug = (await world.workshops.create(BOB, body(seats=5, languages=["en", "de"]))).slug
    await world.workshops.approve(ADA, slug)
    await world.clockwork.look()
    for name in (HOSTILE, LONG, "guest.a", "guest.b"):
        await world.workshops.put_member(BOB, slug, name, "participant")
    waits = Words(code="queue", what=f"Other jobs come first. {HOSTILE}", do="Wait.")
    sessions = (
        session(1, HOSTILE, slug, busy=True, gpu_percent=80, steps=(0,)),
        session(2, LONG, slug, state="pending", ready=None, open=False, reason=waits, position=2),
        session(3, "guest.a", slug, state="ended", reason=Words(code="oom", what="It ran out of memory.")),
    )
    world.room.sessions.take(True, WorkshopSessions(sessions=sessions))
    said = {"question": HOSTILE, "source": HOSTILE, "error": HOSTILE}
    for name, by in ((HOSTILE, ""), (LONG, "bob")):
        await world.room.helping._raised.put(HandRecord(slug, name, world.clock(), **said, by=by))
    outputs = [{"kind": "text", "text": HOSTILE}, {"kind": "error", "text": LONG}, {"kind": "left-out"}]
    cells = [{"kind": "markdown", "source": HOSTILE}, {"kind": "code", "source": LONG * 5, "outputs": outputs}]
    look = LookBody.model_validate({"snapshot": {"file": f"{LONG}.ipynb", "saved": world.clock(), "cells": cells}})
    for name in (LONG, "guest.b"):
        world.room.helping._looks.begin(slug, name, "a" * 32, look)
    why = Phrase(text=f"The session could not be started. {HOSTILE}")
    failed = SeatActView(act="start", state="failed", at=NOW, why=why)
    acts = {LONG: SeatActView(act="reset", state="stopping", at=NOW), "guest.a": failed}
    world.room.acts_of = lambda of: acts if of == slug else {}
    steps = (KnownStep(notebook="a/first.ipynb", name=HOSTILE), KnownStep(notebook=f"{LONG}.ipynb"))
    world.room.steps_of = lambda of: steps if of == slug else ()
    return slug


NAMES = (
    "list", "operator's list", "form", "change", "to be approved", "waits", "declined", "scheduled",
    "room", "look", "empty room", "report", "privacy", "certificate", "rehearsals",
)  # fmt: skip


async def opened(shown: Shown, name: str) -> Page:
    who, path = shown.paths[name]
    page = await shown.people[who].new_page()
    answer = await page.goto(path)
    assert answer is not None
    assert answer.status == 200
    if "room" in name:
        await expect(page.locator("#fg-ready")).to_contain_text("ready")
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


@pytest.mark.parametrize("name", ["list", "form", "to be approved", "scheduled", "room", "rehearsals"])
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


async def test_a_screen_reader_reads_how_many_robots_are_up(shown: Shown) -> None:
    page = await opened(shown, "rehearsals")
    bar = page.get_by_role("progressbar")
    await expect(bar).to_have_accessible_name("1 of 4 seats can be opened; 3 were asked for, 1 failed, 0 were refused.")
    assert (await bar.get_attribute("value"), await bar.get_attribute("max")) == ("1", "4")
    stop = page.get_by_role("button", name="Stop the rehearsal")
    await stop.focus()
    await expect(stop).to_be_focused()
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
    await page.get_by_label("Longest session (hours)").fill("2")
    await page.get_by_role("button", name="Save as a draft").press("Enter")
    await expect(page.get_by_label("Ends", exact=True)).to_be_focused()
    assert await findings(page) == []
    await page.get_by_label("Ends", exact=True).fill("2026-11-30T12:00")
    await page.get_by_role("button", name="Save as a draft").press("Enter")
    await expect(page.get_by_role("heading", name="By keys")).to_be_visible()
    await expect(page.get_by_role("heading", name="The code for joining")).to_be_visible()
    assert await findings(page) == []
    await page.close()


async def test_the_room_follows_its_seats_and_shows_names_as_text(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workshops.room.service.LOOK_SECONDS", 600.0)  # only what is told changes the page
    page = await opened(shown, "room")
    slug = shown.paths["room"][1].split("/")[3]
    await expect(page.get_by_role("heading", name="1 of 4 ready")).to_be_visible()
    await expect(page.locator("#fg-seats")).to_contain_text(HOSTILE)
    assert await page.locator("#fg-seats img").count() == 0
    await page.get_by_label("Not ready").check()
    await expect(page.locator("#fg-seats li")).to_have_count(3)
    await page.get_by_role("button", name="Stop the session on seat 2").focus()
    shown.world.room.sessions.take(False, WorkshopSessions(sessions=(session(2, LONG, slug),)))
    await expect(page.get_by_role("heading", name="2 of 4 ready")).to_be_visible()
    await expect(page.locator("#fg-seats li")).to_have_count(2)
    await page.get_by_label("All seats").check()
    await page.get_by_label("Show names").uncheck()
    await expect(page.locator("#fg-seats")).not_to_contain_text("guest.a")
    await expect(page.locator("#fg-hands")).to_contain_text("Hand up")  # and neither names nor what was sent
    assert not [one for one in (HOSTILE, LONG, "bob") if one in (await page.locator("#fg-hands").inner_text())]
    assert await page.title() != "1"
    await page.close()


async def test_what_a_participant_sent_is_shown_as_text(shown: Shown) -> None:
    page = await opened(shown, "room")
    await expect(page.locator("#fg-hands")).to_contain_text(HOSTILE)
    await page.get_by_role("button", name="What the person on seat 1 sent").press("Enter")
    await expect(page.locator("#fg-hand pre")).to_have_text([HOSTILE, HOSTILE])
    assert await page.locator("#fg-hands img, #fg-hand img").count() == 0
    await page.goto(shown.paths["look"][1])
    frame = page.frame_locator("iframe.fg-look")
    await expect(frame.locator("pre").first).to_have_text(HOSTILE)
    assert await frame.locator("img, script").count() == 0
    assert await page.title() != "1"
    await page.close()


async def test_what_cannot_be_done_in_a_room_is_said_in_words(shown: Shown) -> None:
    page = await opened(shown, "room")
    await page.get_by_label("Message", exact=True).fill("Hello")
    await page.get_by_role("button", name="Send to everybody").press("Enter")
    await expect(page.locator("#fg-sent")).to_contain_text("has no way to the sessions")  # this one has no link
    await expect(page.get_by_label("Message", exact=True)).to_have_value("Hello")  # nothing is lost
    await page.get_by_role("button", name="Stop the session on seat 1").press("Enter")
    await expect(page.get_by_role("button", name="Keep it running")).to_be_focused()
    await page.get_by_role("button", name="Stop it").press("Enter")
    await expect(page.locator("#fg-said")).to_contain_text("has no way to the sessions")
    assert await findings(page) == []
    await page.close()
