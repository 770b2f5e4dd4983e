"""Makes the pictures of ``docs/pictures``: pages of the hub in a browser, with the data of a scripted link.

A PNG has at most 256 colours, so that the repository stays small; a file over 150 kB is an error.
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from factorycommon.models import FactoryView, NetworkFactory, Session
from factorylink.catalogue import catalogue as federation
from factorylink.explain import explain
from tests.conftest import chromium_options
from tests.support import workshop_pictures
from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
THEMES = ("light", "dark")
WIDTHS = {"wide": (1280, 1100), "narrow": (360, 1500)}  # width and maximum height, as if the window had this height
COLOURS = 256
MOST_BYTES = 150_000
# catalogue ids of the scripted factories
STANDS_FOR = {"one": "slaif", "two": "czai", "three": "it4lia", "four": "l-aif"}


def tell_one_state(link: FakeLink) -> None:
    """Give the scripted factories the names of four factories of the catalogue; let all pages agree on their states.

    The pages are the start page, the map, the status page, the sessions and the checklist. The catalogue's other
    factories are not offered.
    """
    page_states.fill(link)
    link.factories = [_real(view) for view in link.factories]
    offered = {STANDS_FOR[view.id]: view for view in link.factories}
    link.network = link.network.model_copy(
        update={"factories": tuple(_as_offered(one, offered.get(one.id)) for one in link.network.factories)}
    )
    machines = {view.id: view.site.machine for view in link.factories}
    sites = tuple(
        site.model_copy(update={"name": view.name, "machine": view.site.machine})
        for site, view in zip(link.checklist.sites, link.factories, strict=True)
    )
    link.checklist = link.checklist.model_copy(update={"sites": sites})
    accounts = tuple(one.model_copy(update={"machine": machines[one.factory]}) for one in link.ready.accounts)
    link.ready = link.ready.model_copy(update={"accounts": accounts})
    for session in list(link.sessions.values()):
        link.sessions[session.id] = _told_anew(session, machines["one"])


def _told_anew(session: Session, machine: str) -> Session:
    """Return a copy of a session whose texts name the machine, and whose times fit the pictures.

    A session that waits has just begun to wait, and a session with a notice is near its end.
    """
    said = page_states.asked_line("small", machine)
    log = tuple(line.saying(text=said) if line.text == page_states.ASKED else line for line in session.log)
    times: dict[str, datetime] = {}
    if session.server == "waits":
        times = {"created": datetime.now(UTC)}
    elif session.notice is not None:
        begun = session.notice.at - timedelta(hours=session.choice.hours)
        times = {"created": begun, "started": begun, "ready": begun, "ends": session.notice.at}
    return session.model_copy(update={"log": log, **times})


def _real(view: FactoryView) -> FactoryView:
    """Return a scripted factory with the names and the accelerator of a factory in the catalogue."""
    known = federation.load(page_states.CATALOGUE).factories[STANDS_FOR[view.id]]
    assert known.accelerator is not None
    memory = f"{known.accelerator.memory_gb:g} GB"
    sizes = tuple(one.model_copy(update={"gpu_label": one.gpu_label.replace("40 GB", memory)}) for one in view.sizes)
    changed = {"name": known.name, "site": known.site, "accelerator": known.accelerator, "sizes": sizes}
    if view.health.state == "draining":
        words = explain.own("draining").model_copy(update={"what": page_states.DRAIN})
        changed["health"] = view.health.model_copy(update={"words": words})
    return view.model_copy(update=changed)


def _as_offered(factory: NetworkFactory, view: FactoryView | None) -> NetworkFactory:
    """Return a factory of the map in the state of its ``view``; without a view, it is not offered here."""
    if view is None:
        return factory.model_copy(update={"health": None, "partitions": (), "loads_at": None, "maintenance": ()})
    answers = view.health.state in ("ok", "draining")
    windows = tuple(one.model_copy(update={"name": ""}) for one in view.maintenance)
    return factory.model_copy(
        update={
            "health": view.health,
            "partitions": view.partitions if answers else (),
            "loads_at": view.health.since if answers else None,
            "maintenance": windows,
        }
    )


def small(png: bytes) -> bytes:
    """Return the PNG of a picture with its colours reduced to at most ``COLOURS``."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    out = io.BytesIO()
    image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


async def complete(page: Page) -> None:
    """Wait until the page's text, apart from its numbers, has not changed for a second: some parts are loaded late."""
    before = None
    while (now := re.sub(r"[0-9]+", "", await page.inner_text("body"))) != before:
        before = now
        await page.wait_for_timeout(1000)


async def take(browser: Browser, hub: HubProcess, pages: dict[str, page_states.Shown], theme: str, width: str) -> None:
    """Take the pictures of these pages, by the names of the files, with one theme and one width.

    ``width``: a key of ``WIDTHS``. Ends the program if a picture is too large.
    """
    wide, height = WIDTHS[width]
    for who in ("ada", "bob", None):
        context = await browser.new_context(
            base_url=hub.url,
            locale="en-GB",
            color_scheme=theme,
            reduced_motion="reduce",
            viewport={"width": wide, "height": 800},
        )
        if who is not None:
            await page_states.signed_in(context, who)
        for name, shown in pages.items():
            if shown.who != who:
                continue
            page = await context.new_page()
            await shown.open(page, "en")
            await complete(page)
            await page.evaluate("document.fonts.ready")
            whole = await page.evaluate("document.documentElement.scrollHeight")
            await page.set_viewport_size({"width": wide, "height": max(800, min(whole, height))})
            picture = small(await page.screenshot(animations="disabled"))
            if len(picture) > MOST_BYTES:
                raise SystemExit(f"{name}, {theme}, {width}: {len(picture)} bytes")
            (FOLDER / f"{name}-{theme}-{width}.png").write_bytes(picture)
            await page.close()
        await context.close()


async def main(names: list[str]) -> None:
    """Start a hub with a scripted link, and a browser; take the pictures of these pages in all themes and widths."""
    with tempfile.TemporaryDirectory() as folder:
        beside = Beside()
        await beside.up()
        link = FakeLink(Path(folder) / "link.sock", beside.url)
        await link.up()
        tell_one_state(link)
        of_workshops = Path(folder) / "w"
        of_workshops.mkdir()
        async with workshop_pictures.workshops_for_pictures(of_workshops) as world:
            extra = "c.Authenticator.admin_users = {'ada'}"
            hub = HubProcess(Path(folder), link.socket, beside, extra, workshops=of_workshops / "w.sock")
            await hub.up()
            try:
                await page_states.asked_for(hub, link)
                pages = page_states.ALL | await workshop_pictures.fill(world)
                wanted = {name: pages[name] for name in names}
                async with async_playwright() as playwright:
                    browser = await playwright.chromium.launch(**chromium_options())
                    for theme in THEMES:
                        for width in WIDTHS:
                            tell_one_state(link)  # set again, since pages show how old the data are
                            await take(browser, hub, wanted, theme, width)
                    await browser.close()
            finally:
                await hub.kill()
                await hub.http.aclose()
                await link.down()
                await beside.down()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or [*page_states.ALL, *workshop_pictures.NAMES]))
