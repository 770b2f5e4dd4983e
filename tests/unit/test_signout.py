"""Signing out in a browser with several tabs."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.conftest import chromium_options
from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import HubProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_signing_out_in_one_tab_signs_out_in_all(hub: HubProcess, link: FakeLink) -> None:
    page_states.fill(link)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**chromium_options())
        try:
            context = await browser.new_context(base_url=hub.url, locale="en-GB")
            context.set_default_timeout(60_000)
            first: Page = await context.new_page()
            await first.goto("/hub/login")
            await first.locator("#username_input").fill("ada")
            await first.locator("#password_input").fill("ada-secret")
            await first.locator("#login_submit").click()
            await first.wait_for_url(page_states.INSIDE)
            await first.goto("/hub/home")
            await expect(first.locator("#fg-live article").first).to_be_visible()
            second: Page = await context.new_page()
            await second.goto("/hub/token")
            await second.locator("#logout").click()
            await expect(first).to_have_url(re.compile("/hub/login"))
            await expect(first.locator("#fg-sign-in")).to_be_visible()
            await first.go_back()
            await expect(first.locator("article")).to_have_count(0)
        finally:
            await browser.close()
