"""The hub's copy of the link's table: an older answer does not undo the changes of events."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from factorycommon.models import ResolvedChoice, Session, SessionState
from factorylink.client import LinkSilent, TableChange
from factoryspawner import link_table
from factoryspawner.link_table import LinkTable

ID = "0123456789abcdef0123456789abcdef"


def session(state: SessionState, **values: Any) -> Session:
    choice = ResolvedChoice(
        factory="one", size="gpu-1", environment="plain", hours=1, idle_minutes=60, unopened_minutes=30
    )
    given: dict[str, Any] = {"id": ID, "user": "ada", "server": "", "account": "a", "choice": choice, "wish": "run"}
    return Session(**given, state=state, created=datetime.now(UTC), **values)


class Link:
    """Sends the table the events that are put into ``events``."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[TableChange] = asyncio.Queue()

    async def table(self) -> AsyncGenerator[TableChange]:
        yield TableChange(snapshot=())
        while True:
            yield await self.events.get()
            self.events.task_done()


async def test_an_answer_older_than_an_event_is_dropped() -> None:
    link = Link()
    table = LinkTable(link)  # type: ignore[arg-type]  # only its table is asked
    following = asyncio.create_task(table.follow())
    await table.wait_for_link()
    starting = session(SessionState.STARTING, environment_sent=True)
    running = session(SessionState.RUNNING, environment_sent=True, reachable=True)

    known = table.session(ID)
    table.answered(starting, known)  # no event arrived in the meantime
    assert table.session(ID) == starting

    known = table.session(ID)
    link.events.put_nowait(TableChange(session=running))
    with table.watch_session(ID) as changed:
        await asyncio.wait_for(changed.wait(), 60)
    table.answered(starting, known)  # requested before the event, and answered after it
    assert table.session(ID) == running

    following.cancel()
    with suppress(asyncio.CancelledError):
        await following


async def test_a_link_that_was_never_reached_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = asyncio.Queue[None]()

    class Missing:
        async def table(self) -> AsyncGenerator[TableChange]:
            tries.put_nowait(None)
            raise LinkSilent("no such socket")
            yield  # makes this function a generator

    monkeypatch.setattr(link_table, "pauses", lambda: itertools.repeat(0))
    following = asyncio.create_task(LinkTable(Missing()).follow())  # type: ignore[arg-type]
    for _ in range(3):
        await asyncio.wait_for(tries.get(), 60)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    assert caplog.messages == ["The link does not answer: no such socket"]
