"""Fixtures that several files use: a real hub process with a scripted link, a site, a browser, an empty ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, async_playwright, expect

from factorycommon.service.database import Database
from factorylink.ledger.ledger import Ledger
from factorylink.site import scheduler_client
from factorylink.site.site import Site
from tests.conftest import chromium_options
from tests.support import busy_machine
from tests.support.postgres import Postgres, programs
from tests.unit import site_fakes
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess
from tests.unit.site_fakes import FakeTransport

PATIENCE = 60_000  # milliseconds, also enough for a busy machine
expect.set_options(timeout=PATIENCE)  # the default is 5 s


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def beside() -> AsyncIterator[Beside]:
    made = Beside()
    await made.up()
    yield made
    await made.down()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def link(tmp_path_factory: pytest.TempPathFactory, beside: Beside) -> AsyncIterator[FakeLink]:
    made = FakeLink(tmp_path_factory.mktemp("l") / "link.sock", beside.url)
    await made.up()
    yield made
    await made.down()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside) -> AsyncIterator[HubProcess]:
    made = HubProcess(tmp_path_factory.mktemp("hub"), link.socket, beside)
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def user(hub: HubProcess, link: FakeLink, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Create a new person through the hub's API; return the name. The scripted link accepts requests again."""
    link.auto, link.refuse = True, None
    name = f"u{abs(hash(request.node.name)) % 10**8}"
    assert (await hub.api("POST", f"/users/{name}")).status_code == 201
    yield name


@pytest.fixture(scope="session", autouse=True)
def _on_a_busy_machine() -> Iterator[None]:
    with busy_machine.tolerated():
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start a PostgreSQL for all tests of this process; skip the test if PostgreSQL is not installed."""
    if programs() is None:
        pytest.skip("needs PostgreSQL (as root, bin/test installs Debian's postgresql)")
    made = Postgres()
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Return an empty database for a ledger: each test runs once with SQLite and once with PostgreSQL."""
    if request.param == "sqlite":
        return Database.file(tmp_path / "ledger.sqlite")
    made: Postgres = request.getfixturevalue("postgres")
    return made.new()


@pytest_asyncio.fixture
async def ledger(database: Database) -> AsyncIterator[Ledger]:
    made = Ledger(database)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest_asyncio.fixture
async def site(transport: FakeTransport, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Return a site that quickly checks whether a silent scheduler is alive."""
    monkeypatch.setattr(scheduler_client, "SILENCE", 0.05)
    monkeypatch.setattr(scheduler_client, "SILENCE_AGAIN", 0.05)
    made = site_fakes.site(transport)
    yield made
    await made.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Return a browser in the module's event loop, in which its tests also run a hub."""
    async with async_playwright() as playwright:
        made = await playwright.chromium.launch(**chromium_options())
        opens = made.new_context

        async def patient(**options: Any) -> BrowserContext:
            context = await opens(**options)
            context.set_default_timeout(PATIENCE)
            return context

        made.new_context = patient  # type: ignore[method-assign]
        yield made
        await made.close()
