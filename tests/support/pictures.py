"""The pictures of ``docs/pictures``: each page of the hub in a browser, over a link that tells something of everything.

A PNG keeps at most 128 colours, so that the repository stays small; whatever is over 150 kB is an error.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, async_playwright

from factorylink import federation
from tests.conftest import chromium_options
from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
THEMES = ("light", "dark")
WIDTHS = {"wide": (1280, 1100), "narrow": (360, 1500)}  # the height at most
COLOURS = 128
MOST_BYTES = 150_000
STANDS_FOR = {
    "one": "czai",
    "two": "l-aif",
    "three": "it4lia",
    "four": "slaif",
}  # real names for the scripted factories


def name_factories(link: FakeLink) -> None:
    """As they are called in the catalogue."""
    known = federation.load(page_states.CATALOGUE).factories
    link.factories = [
        view.model_copy(
            update={"name": known[STANDS_FOR[view.id]].name, "site": known[STANDS_FOR[view.id]].site},
        )
        for view in link.factories
    ]


def small(png: bytes, height: int) -> bytes:
    """The upper part of a picture, with fewer colours."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, height)))
    out = io.BytesIO()
    image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


async def take(browser: Browser, hub: HubProcess, names: list[str], theme: str, width: str) -> None:
    """All pages in one theme and width."""
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
        for name in names:
            if page_states.ALL[name].who != who:
                continue
            page = await context.new_page()
            await page_states.ALL[name].open(page, "en")
            await page.evaluate("document.fonts.ready")
            picture = small(await page.screenshot(full_page=True, animations="disabled"), height)
            if len(picture) > MOST_BYTES:
                raise SystemExit(f"{name}, {theme}, {width}: {len(picture)} bytes")
            (FOLDER / f"{name}-{theme}-{width}.png").write_bytes(picture)
            await page.close()
        await context.close()


async def main(names: list[str]) -> None:
    """A hub over a scripted link, a browser, and the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        beside = Beside()
        await beside.up()
        link = FakeLink(Path(folder) / "link.sock", beside.url)
        await link.up()
        page_states.fill(link)
        name_factories(link)
        hub = HubProcess(Path(folder), link.socket, beside, "c.Authenticator.admin_users = {'ada'}")
        await hub.up()
        try:
            await page_states.asked_for(hub, link)
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(**chromium_options())
                for theme in THEMES:
                    for width in WIDTHS:
                        link.network = page_states.network(datetime.now(UTC))  # pages tell how old it is
                        await take(browser, hub, names, theme, width)
                await browser.close()
        finally:
            await hub.kill()
            await hub.http.aclose()
            await link.down()
            await beside.down()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or list(page_states.ALL)))
