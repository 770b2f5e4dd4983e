"""Pauses between requests to a link that does not answer."""

from __future__ import annotations

import random
from collections.abc import Iterator


def pauses(first: float = 0.1, longest: float = 3.0) -> Iterator[float]:
    """Yield seconds, without end: doubled up to the longest, each up to a quarter shorter at random so that callers
    spread out."""
    pause = first
    while True:
        yield pause * random.SystemRandom().uniform(0.75, 1.0)
        pause = min(2 * pause, longest)
