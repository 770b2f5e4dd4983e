"""The operators' orders: no new starts, a banner; waiting sessions with reasons; failures. Each
order is in the audit."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import insert

from factorycommon.models import BannerView, EndReason, SessionState
from factorylink.client import LinkProblem
from factorylink.ledger import schema
from factorylink.util import clock
from tests.unit.fake_factory import ID, OTHER
from tests.unit.fake_hub import Link, request, served
from tests.unit.many_sessions import many


@pytest_asyncio.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    async with served(tmp_path) as made:
        yield made


async def audit(link: Link, place: str) -> list[tuple[str, str, str]]:
    return [(line.person, line.action, line.detail) async for line in link.client.audit(place)]


async def test_new_starts_are_paused_everywhere_and_allowed_again(link: Link) -> None:
    await link.client.pause_starts("Back at noon.", "grace")
    assert (await link.client.factories("ada"))[0].health.state == "draining"
    with pytest.raises(LinkProblem) as caught:
        await link.client.put_session(ID, request())
    assert (caught.value.status, caught.value.problem.message) == (503, "Back at noon.")
    assert (await link.client.operator()).closed == "Back at noon."
    await link.client.resume_starts("ada")
    assert (await link.client.put_session(ID, request())).state == "pending"
    assert await audit(link, "gateway") == [("grace", "drain", "Back at noon."), ("ada", "undrain", "")]


async def test_a_factory_that_is_drained_by_itself_stays_so(link: Link) -> None:
    await link.client.drain("one", "Cooling.", "grace")
    await link.client.pause_starts("Back at noon.", "grace")
    await link.client.resume_starts("grace")
    view = await link.client.operator()
    assert (view.closed, view.factories[0].drained) == (None, "Cooling.")
    await link.client.undrain("one", "ada")
    assert await audit(link, "one") == [("grace", "drain", "Cooling."), ("ada", "undrain", "")]


async def test_orders_of_the_command_line_are_in_the_audit_too(link: Link) -> None:
    await link.client.drain("one", "Cooling.")
    await link.client.pause("one", "Talks.")
    await link.client.resume("one")
    assert [(person, action) for person, action, _ in await audit(link, "one")] == [
        ("operator", "drain"),
        ("operator", "pause"),
        ("operator", "resume"),
    ]


async def test_orders_outlive_a_restart(link: Link, tmp_path: Path) -> None:
    await link.client.pause_starts("Back at noon.", "grace")
    await link.client.show_banner("Upgrade at 14:00.", "grace")
    world = link.world
    await world.factories.load()
    assert (world.factories.closed, world.factories.banner.text) == ("Back at noon.", "Upgrade at 14:00.")
    assert world.factories.drains == {}
    await link.client.resume_starts("grace")
    await link.client.drop_banner("grace")
    await world.factories.load()
    assert (world.factories.closed, world.factories.banner) == (None, BannerView())


async def test_the_end_of_a_banner_outlives_a_restart(link: Link) -> None:
    end = clock.now() + timedelta(hours=1)
    await link.client.show_banner("Upgrade at 14:00.", "grace", until=end)
    await link.world.factories.load()
    view = await link.client.operator()
    assert (view.banner, view.banner_until) == ("Upgrade at 14:00.", end)
    assert await audit(link, "gateway") == [
        ("grace", "banner", f"Upgrade at 14:00. (until {end:%Y-%m-%d %H:%M} UTC)"),
    ]
    await link.client.show_banner("Over.", "grace", until=clock.now())
    assert (await link.client.operator()).banner == ""
    await link.client.show_banner("No end.", "grace")
    await link.world.factories.load()
    assert link.world.factories.banner == BannerView(text="No end.")
    assert link.world.factories.drains == {}


async def test_the_banner_is_told_to_whoever_follows_the_table(link: Link) -> None:
    table = link.client.table()
    assert (await anext(table)).snapshot == ()
    first = await anext(table)
    assert first.banner is not None
    assert first.banner.text == ""
    await link.client.show_banner("Upgrade at 14:00.", "grace")
    shown = await anext(table)
    assert shown.banner is not None
    assert shown.banner.text == "Upgrade at 14:00."
    await table.aclose()
    assert await audit(link, "gateway") == [("grace", "banner", "Upgrade at 14:00.")]


async def test_the_banner_is_shown_in_open_sessions_where_asked(link: Link) -> None:
    await link.world.running()
    await link.client.show_banner("Only on pages.", "grace")
    await link.client.show_banner("Upgrade at 14:00.", "grace", sessions=True)
    await link.world.comes(lambda: bool(link.world.doors.messages))
    assert [(id, message.text) for id, message in link.world.doors.messages] == [(ID, "Upgrade at 14:00.")]


async def test_waiting_sessions_are_shown_with_their_reasons(link: Link) -> None:
    await link.world.running()
    session = await link.world.put(OTHER, user="ben")
    link.world.scheduler.set(session.job, reason="Resources", raw_state="PENDING")
    await link.world.scheduler.answer()
    view = await link.client.operator()
    [waiting] = view.waiting
    assert (waiting.user, waiting.factory, waiting.size, waiting.state) == ("ben", "one", "gpu-1", "pending")
    assert waiting.words is not None
    assert (waiting.words.code, waiting.words.scheduler) == ("resources", "Resources")
    assert view.factories[0].sessions == {SessionState.RUNNING: 1, SessionState.PENDING: 1}
    assert view.more_waiting == 0
    [reason] = view.factories[0].waits
    assert (reason.words, reason.count) == (waiting.words, 1)


async def test_failures_are_counted_by_reason_and_wishes_are_none(link: Link) -> None:
    link.world.scheduler.refuses = "sbatch: error: Invalid qos specification"
    for id in ("1" * 32, "2" * 32):
        with pytest.raises(LinkProblem):
            await link.client.put_session(id, request())
    link.world.scheduler.refuses = ""
    await link.client.put_session(ID, request(server="s"))
    await link.client.stop(ID, "person")
    await link.world.answered_until(ID, state="ended")
    [failure] = (await link.client.operator()).failures
    assert (failure.factory, failure.reason, failure.count) == ("one", EndReason.REFUSED, 2)
    assert failure.words is not None
    assert "qos" in failure.words.scheduler


async def test_thousands_wait_and_thousands_failed(link: Link) -> None:
    """The page shows a limited number of them and counts all, and no other request waits long meanwhile."""
    waiting, failed = 4000, 5000
    await many(link.world, waiting)
    first = link.world.live_sessions[ID].record
    for number, live_session in enumerate(list(link.world.live_sessions.values())):
        if number:
            live_session.record.state = SessionState.PENDING
            live_session.record.ready = None
    reasons = [EndReason.REFUSED, EndReason.FAILED, EndReason.STOPPED]
    old = clock.now() - timedelta(days=2)
    rows = [
        replace(
            first,
            id=f"{number + 1_000_000:032x}",
            job=None,
            state=SessionState.ENDED,
            ended=old if number >= failed else clock.now() - timedelta(seconds=number),
            end_reason=reasons[number % 3],
            log=[],
        ).columns()
        for number in range(failed + 1000)
    ]
    await link.world.ledger.write(lambda db: [db.execute(insert(schema.sessions), rows)].clear())
    began = time.process_time()  # of client and link, which are both in this process
    view = await link.client.operator()
    took = time.process_time() - began
    assert len(view.waiting) + view.more_waiting == waiting
    assert len(view.waiting) == 200
    assert sum(reason.count for reason in view.factories[0].waits) + view.factories[0].other_waits == waiting
    assert {one.reason: one.count for one in view.failures} == {EndReason.REFUSED: 1667, EndReason.FAILED: 1667}
    assert took < 10, took
