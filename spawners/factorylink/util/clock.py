"""What time it is: one place, so that a test can live through days in a second."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """The wall clock, aware, in UTC: for what is kept or shown. It may jump."""
    return datetime.now(UTC)


def since(moment: datetime) -> timedelta:
    """How long ago that was, by the wall clock."""
    return now() - moment


def ticks() -> float:
    """Seconds of a clock that never jumps, the event loop's: for how long something takes in this process."""
    return asyncio.get_running_loop().time()
