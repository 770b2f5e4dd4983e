"""Computes the pauses between requests to a link that does not answer."""

from __future__ import annotations

import random
from collections.abc import Iterator


def pauses(first: float = 0.1, longest: float = 3.0) -> Iterator[float]:
    """Yield pauses in seconds, without end.

    The first pause is ``first``, and each next one is twice as long, up to ``longest``. Each yielded pause is shortened
    by up to a quarter at random, so that callers spread out.
    """
    pause = first
    while True:
        yield pause * random.SystemRandom().uniform(0.75, 1.0)
        pause = min(2 * pause, longest)
