"""The clocks of the link, in one module, so that a test can simulate days in a second."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """Return the time of the wall clock, in UTC, for values that are stored or shown. The clock may jump."""
    return datetime.now(UTC)


def since(moment: datetime) -> timedelta:
    """Return the time since ``moment``, by the wall clock."""
    return now() - moment


def ticks() -> float:
    """Return the seconds of the event loop's clock, which never jumps, for durations within this process."""
    return asyncio.get_running_loop().time()
