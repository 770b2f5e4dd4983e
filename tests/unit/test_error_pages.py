"""The proxy's own error pages link to the hub, whatever the gateway's path is."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, Route, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")
ERRORS = Path(__file__).parents[2] / "hub_config" / "error"
GATEWAY = "http://gateway.test"


@pytest.mark.parametrize(
    ("asked", "base"),
    [
        ("/", "/"),
        ("/nothing", "/"),
        ("/user/ada/lab", "/"),
        ("/gateway/", "/gateway/"),
        ("/gateway/nothing/here", "/gateway/"),
        ("/gateway/user/ada/lab", "/gateway/"),
        ("/two/parts/nothing", "/two/parts/"),
    ],
)
@pytest.mark.parametrize("status", [404, 503])
async def test_the_link_leads_to_the_hub_below_the_gateways_path(
    browser: Browser, status: int, asked: str, base: str
) -> None:
    if status == 503 and asked.endswith(("here", "nothing")):
        pytest.skip("where nobody answers, the hub cannot be asked for its path")
    page = await browser.new_page()

    async def answer(route: Route) -> None:
        path = route.request.url.removeprefix(GATEWAY)
        if path == f"{base}hub/api/":
            await route.fulfill(json={"version": "6"})
        elif path == asked:
            body = (ERRORS / f"{status}.html").read_text()
            await route.fulfill(status=status, body=body, content_type="text/html")
        else:
            await route.fulfill(status=404, body="<html></html>")

    await page.route("**/*", answer)
    await page.goto(f"{GATEWAY}{asked}")
    await expect(page.get_by_role("link", name="Your sessions")).to_have_attribute("href", f"{base}hub/home")
    await page.close()
