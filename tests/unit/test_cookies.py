"""Headers of the hub's pages: cookies stay on https, and browsers store no page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http.cookies import Morsel, SimpleCookie

import httpx
import pytest
import pytest_asyncio
import yaml

from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

# The X-Forwarded-Proto header behind a TLS web server and the gateway's proxy: each of them appends a value.
BEHIND = {"X-Forwarded-Proto": "https,http"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outside(
    tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside
) -> AsyncIterator[HubProcess]:
    """Start a hub that people reach by https."""
    made = HubProcess(tmp_path_factory.mktemp("hub"), link.socket, beside)
    config = yaml.safe_load((made.folder / "hub.yaml").read_text()) | {"public_url": "https://gateway.example.org"}
    (made.folder / "hub.yaml").write_text(yaml.safe_dump(config))
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()


def cookies(answer: httpx.Response) -> dict[str, Morsel[str]]:
    found: SimpleCookie = SimpleCookie()
    for line in answer.headers.get_list("set-cookie"):
        found.load(line)
    return dict(found)


async def log_in(hub: HubProcess) -> tuple[httpx.Response, str]:
    """Log in; return the answer, and the ``Cookie`` header that a browser would send from then on."""
    token = cookies(await hub.http.get("/hub/login", headers=BEHIND))["_xsrf"].value
    hub.http.cookies.clear()
    form = {"username": "ada", "password": "ada-secret", "_xsrf": token}
    answer = await hub.http.post("/hub/login", data=form, headers=BEHIND | {"Cookie": f"_xsrf={token}"})
    hub.http.cookies.clear()
    assert answer.status_code == 302, answer.text
    return answer, "; ".join(f"{name}={one.value}" for name, one in cookies(answer).items())


async def test_cookies_stay_on_https_where_people_come_by_it(outside: HubProcess) -> None:
    answer, _ = await log_in(outside)
    given = cookies(answer)
    assert {"jupyterhub-hub-login", "jupyterhub-session-id", "_xsrf"} <= set(given)
    for name, one in given.items():
        assert one["secure"] is True, name
        assert one["samesite"] == "Lax", name
    assert given["jupyterhub-hub-login"]["httponly"] is True


async def test_without_https_cookies_are_not_marked_secure(hub: HubProcess) -> None:
    answer, _ = await log_in(hub)
    for one in cookies(answer).values():
        assert not one["secure"]
        assert one["samesite"] == "Lax"


@pytest.mark.parametrize("path", ["/hub/home", "/hub/spawn", "/hub/token", "/hub/project/x", "/hub/api/user"])
async def test_no_browser_keeps_what_is_a_persons(outside: HubProcess, path: str) -> None:
    """Otherwise the next person at the browser would see the page with the Back button."""
    _, kept = await log_in(outside)
    answer = await outside.http.get(path, headers=BEHIND | {"Cookie": kept})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def test_files_of_the_pages_are_kept(outside: HubProcess) -> None:
    answer = await outside.http.get("/hub/gateway/static/home.js?v=1")
    assert "max-age" in answer.headers["cache-control"]
