"""How soon the hub answers or notices what a person waits for: a refusal, a link that is down, the end of a session.

The hub is a separate process with a scripted link, so the times do not include a scheduler.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from factorycommon.models import EndReason, Problem
from tests.timing.test_gateway import ANSWERED
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess, is_ready, is_stopped


@pytest_asyncio.fixture
async def beside() -> AsyncIterator[Beside]:
    made = Beside()
    await made.up()
    yield made
    await made.down()


@pytest_asyncio.fixture
async def link(tmp_path: Path, beside: Beside) -> AsyncIterator[FakeLink]:
    made = FakeLink(tmp_path / "link.sock", beside.url)
    await made.up()
    yield made
    if made.socket.exists():
        await made.down()


@pytest_asyncio.fixture
async def hub(tmp_path: Path, link: FakeLink, beside: Beside) -> AsyncIterator[HubProcess]:
    folder = tmp_path / "hub"
    folder.mkdir()
    made = HubProcess(folder, link.socket, beside)
    await made.up()
    assert (await made.api("POST", "/users/someone")).status_code == 201
    yield made
    await made.kill()
    await made.http.aclose()


async def test_a_refusal_is_answered_soon(hub: HubProcess, link: FakeLink) -> None:
    link.refuse = Problem(kind="refused", message="No.", do="Pick another.")
    began = time.monotonic()
    answer = await hub.api("POST", "/users/someone/server", json={"factory": "one"})
    assert time.monotonic() - began < ANSWERED
    assert answer.status_code == 400


async def test_a_start_is_answered_soon_while_the_link_is_down(hub: HubProcess, link: FakeLink) -> None:
    await link.down()
    began = time.monotonic()
    answer = await hub.api("POST", "/users/someone/server", json={"factory": "one"})
    assert time.monotonic() - began < ANSWERED
    assert answer.status_code == 503


async def test_the_end_of_a_session_is_noticed_soon(hub: HubProcess, link: FakeLink) -> None:
    await hub.api("POST", "/users/someone/server")
    await hub.until("someone", is_ready)
    (session,) = link.live("someone")
    await link.end(session.id, end_reason=EndReason.IDLE)
    began = time.monotonic()
    await hub.until("someone", is_stopped)
    assert time.monotonic() - began < ANSWERED
