"""The JupyterLab extension's notices of an end that only the gateway knows, and their language."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Page, Route, expect

from tests.support.lab import LabServer, in_minutes, session
from tests.unit.test_lab_pages import PATIENCE, context, noted, page, server, toast

__all__ = ["context", "page", "server"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_end_of_access_is_said_in_its_own_words(server: LabServer, page: Page) -> None:
    """The message comes first, then the session's notice: each is shown once, and not at all if access has returned."""
    ends = datetime.now(UTC) + timedelta(minutes=50)
    message = {
        "id": f"access-{ends.timestamp():.0f}",
        "text": "Said by the link.",
        "kind": "warning",
        "at": in_minutes(0),
    }
    server.gateway.sessions = [session(notice={"kind": "access", "at": ends.isoformat(), "minutes": 60})]
    server.tell(messages=[message])
    said = toast(page, "Your access to the project of this session ends at")
    await expect(said).to_be_visible(timeout=PATIENCE)
    await expect(said.locator("button", has_text="Save all")).to_be_visible()
    await expect(said.locator("button", has_text="More time")).to_have_count(0)  # an extension is not offered
    await expect(said.locator("button", has_text="Start again")).to_have_count(0)
    await expect(toast(page, "Said by the link.")).to_have_count(0)
    await expect(page.locator(".fg-Status")).to_contain_text(re.compile("(49|50) mins left"))
    server.gateway.sessions = [session()]
    server.tell(messages=[message, {"id": "back", "text": "You are back.", "kind": "info", "at": in_minutes(0)}])
    await expect(said).to_have_count(0, timeout=60_000)
    await noted(page, "You are back.")


async def test_notices_use_the_language_that_jupyterlab_names(server: LabServer, page: Page) -> None:
    await page.route("**/api/factorygate/texts*", german)
    await page.reload()
    status = page.locator(".fg-Status")
    await expect(status).to_contain_text(re.compile(r"noch 1 Std\. 5\d Min\."), timeout=PATIENCE)
    await expect(status).to_have_attribute("lang", "de")


async def german(route: Route) -> None:
    """Answer a request for a JupyterLab page as in a session that was started in German."""
    response = await route.fetch(url=f"{route.request.url.partition('?')[0]}?language=de")
    await route.fulfill(response=response)
