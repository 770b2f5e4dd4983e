"""`render` of the pages' scripts keeps what a person has chosen in a form, and shows what the page itself changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")
SOURCE = (Path(__file__).parents[2] / "extensions/frontend/common/dom.js").read_text()
FORM = """<p>{words}</p>
<input type="checkbox" name="ticked"> <input type="checkbox" name="unticked" checked>
<input type="radio" name="one" value="a" checked> <input type="radio" name="one" value="b">
<input type="radio" name="one" value="c">
<select><option value="a" selected>A</option><option value="b">B</option></select>
"""


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """Return a page with the form, in which `renew(text)` does what a page's renewal does."""
    made = await browser.new_page()
    await made.set_content(f"<form>{FORM.format(words='Before')}</form>")
    await made.add_script_tag(
        type="module",
        content=f"""{SOURCE}
        window.draw = (chosen) => render(document.querySelector("form"), ["a", "b"].map((value) =>
          h("input", {{ type: "radio", name: "drawn", value, checked: value === chosen }})));
        window.renew = (text) => render(
          document.querySelector("form"), ...new DOMParser().parseFromString(text, "text/html").body.childNodes);
        """,
    )
    await made.wait_for_function("Boolean(window.renew)")
    yield made
    await made.close()


async def renew(page: Page, text: str) -> None:
    await page.evaluate("(text) => window.renew(text)", text.replace("{words}", "After"))
    await expect(page.get_by_text("After")).to_be_visible()


async def test_what_a_person_has_chosen_stays(page: Page) -> None:
    await page.check("[name=ticked]")
    await page.uncheck("[name=unticked]")
    await page.check("input[value=b]")
    await page.select_option("select", "b")
    await renew(page, FORM)
    await expect(page.locator("[name=ticked]")).to_be_checked()
    await expect(page.locator("[name=unticked]")).not_to_be_checked()
    await expect(page.locator("input[value=b]")).to_be_checked()
    await expect(page.locator("select")).to_have_value("b")


async def test_what_the_page_changes_is_shown(page: Page) -> None:
    await page.check("input[value=b]")
    changed = FORM.replace('"a" checked', '"a"').replace('"c"', '"c" checked').replace('"ticked"', '"ticked" checked')
    await renew(page, changed)
    await expect(page.locator("[name=ticked]")).to_be_checked()
    await expect(page.locator("input[value=c]")).to_be_checked()
    await renew(page, FORM)
    await expect(page.locator("[name=ticked]")).not_to_be_checked()
    await expect(page.locator("input[value=a]")).to_be_checked()


async def test_a_tick_does_not_pass_to_another_question(page: Page) -> None:
    await page.check("[name=ticked]")
    await renew(page, FORM.replace('"ticked"', '"other"'))
    await expect(page.locator("[name=other]")).not_to_be_checked()


async def test_what_a_script_decides_is_shown_whatever_a_person_has_chosen(page: Page) -> None:
    await page.evaluate("window.draw('a')")
    await page.check("[value=b]")
    await page.evaluate("window.draw('a')")
    await expect(page.locator("[value=a]")).to_be_checked()
