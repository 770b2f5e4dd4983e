"""The page that describes the user API: in a browser, without a token, and without requests to other hosts."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from playwright.async_api import Browser, expect

from factorylink.api.user import user_app
from tests.unit.serving import mocked, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/base/services/factories/api"


def described() -> FastAPI:
    """Return the user API of a link below a base URL, with mocks for its parts."""
    return mocked(user_app, base_url="/base/")


async def test_the_schema_says_what_each_operation_does() -> None:
    async with serving(described()) as url, httpx.AsyncClient(base_url=f"{url}{API}") as client:
        answer = await client.get("/openapi.json")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        paths = answer.json()["paths"]
        assert {f"{API}/factories", f"{API}/sessions/{{session_id}}"} <= set(paths)
        assert not [path for path in paths if "docs" in path or "openapi" in path]
        silent = [
            f"{method} {path}"
            for path, methods in paths.items()
            for method, operation in methods.items()
            if not operation.get("description")
        ]
        assert silent == []


async def test_no_other_file_is_given_out() -> None:
    async with serving(described()) as url, httpx.AsyncClient(base_url=f"{url}{API}") as client:
        for name in ("redoc.standalone.js", "..%2Fcore.py", "%2Fetc%2Fpasswd"):
            assert (await client.get(f"/docs/{name}")).status_code == 404
        assert (await client.get("/docs/begin.js")).headers["x-content-type-options"] == "nosniff"


async def test_people_read_the_page_in_a_browser(browser: Browser) -> None:
    asked: list[str] = []
    wrong: list[str] = []
    page = await browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    async with serving(described()) as url:
        await page.goto(f"{url}{API}/docs")
        await expect(page.get_by_role("heading", name="API of the factories")).to_be_visible()
        await page.get_by_role("button", name=f"GET {API}/projects").first.click()
        await expect(page.get_by_text("List your projects, with the rest of their budgets.")).to_be_visible()
        await page.close()
    assert not [each for each in asked if not each.startswith((f"{url}/", "data:"))]
    assert wrong == []  # violations of the page's policy would be errors here
