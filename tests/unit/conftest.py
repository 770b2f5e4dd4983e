"""Fixtures of several files: a real hub process with a scripted link, a site, a browser, an empty ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from factorycommon.service.database import PRAGMAS, Database
from factorylink.ledger.ledger import Ledger
from factorylink.site import scheduler_client
from factorylink.site.site import Site
from tests.conftest import chromium_options
from tests.support.postgres import Postgres, programs
from tests.unit import site_fakes
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess
from tests.unit.site_fakes import FakeTransport

expect.set_options(timeout=30_000)  # milliseconds, also enough for a busy machine; the default is 5 s


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
    """Create a new person through the hub's API."""
    link.auto, link.refuse = True, None
    name = f"u{abs(hash(request.node.name)) % 10**8}"
    assert (await hub.api("POST", f"/users/{name}")).status_code == 201
    yield name


@pytest.fixture(scope="session", autouse=True)
def _on_a_busy_machine() -> Iterator[None]:
    """Make tests independent of the machine's load: commits do not wait for the disk, since no test simulates a power
    failure; an answer waits until its data exist, and clients wait for their answer, however long that takes."""
    limits = httpx.Timeout.as_dict

    def patient(timeout: httpx.Timeout) -> dict[str, float | None]:
        """Return a client's limits: a minute instead of 5 s, which is the default, or more. A test that waits for a
        limit sets a shorter one."""
        found = limits(timeout)
        return {name: found[name] if (found[name] or 0.0) < 5 else max(found[name] or 0.0, 60.0) for name in found}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("factorylink.sessions.submission.ANSWER_SECONDS", 60.0)
        patch.setattr("factorylink.clusters.service.ANSWER_SECONDS", 60.0)
        patch.setattr("factorylink.projects.account_leases._WAIT_SECONDS", 60.0)
        patch.setattr("workshops.room.sessions.ANSWER_SECONDS", 60.0)
        patch.setattr(httpx.Timeout, "as_dict", patient)
        patch.setattr("factorylink.client._ANSWER_SECONDS", 60.0)
        patch.setattr("factorycommon.service.database.PRAGMAS", tuple(one.replace("=FULL", "=OFF") for one in PRAGMAS))
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start a PostgreSQL for all tests of this process."""
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
    """Return an empty database of each kind that a ledger can use."""
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
        yield made
        await made.close()
