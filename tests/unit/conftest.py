"""A real hub process with a scripted link, one for each module that asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from factorylink.database import Database
from tests.support.postgres import Postgres, programs
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess


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
    """A person of this test's own, made through the hub's API."""
    link.auto, link.refuse = True, None
    name = f"u{abs(hash(request.node.name)) % 10**8}"
    assert (await hub.api("POST", f"/users/{name}")).status_code == 201
    yield name


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL for all tests of this process."""
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
    """An empty one, of each kind that a ledger may be on."""
    if request.param == "sqlite":
        return Database.file(tmp_path / "ledger.sqlite")
    made: Postgres = request.getfixturevalue("postgres")
    return made.new()
