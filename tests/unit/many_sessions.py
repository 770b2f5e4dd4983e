"""Many live sessions in a ``World``, without a job or a door for each."""

from __future__ import annotations

from factorycommon.models import SessionState
from factorylink.ledger.schema import SessionRecord
from factorylink.util import clock
from tests.unit.fake_factory import ID, World


async def many(world: World, count: int) -> None:
    """Add many sessions to the table of live sessions: half of them wait, half run and have lost their door."""
    await world.put()
    first = world.live_sessions[ID].record
    for number in range(1, count):
        running = number % 2 == 0
        record = SessionRecord(
            id=f"{number:032x}",
            user=f"person{number}",
            server="",
            factory="one",
            account="a",
            choice=first.choice,
            options=first.options,
            port=20000 + number,
            created=clock.now(),
            state=SessionState.RUNNING if running else SessionState.PENDING,
            job=str(10_000 + number),
            started=clock.now() if running else None,
            ready=clock.now() if running else None,
        )
        world.live_sessions.hold(record, answered=True).door_lost -= 60
