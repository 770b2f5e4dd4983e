"""The shape of a dialect's table of words: what its scheduler says, and the code of the answer that explains it."""

from __future__ import annotations

import re
from typing import NamedTuple

Patterns = tuple[tuple[str, str], ...]  # (pattern, code of an answer); the first that fits counts


class SchedulerWords(NamedTuple):
    """What one scheduler says. ``waiting``: matched from the beginning of a reason. ``refused``, ``unreachable``:
    searched anywhere in what a command printed. ``after_filter``: the line that the scheduler adds where a site's own
    filter refused a job; the rest is the site's text. ``variables``: the names that its variables begin with."""

    variables: str
    waiting: Patterns = ()
    refused: Patterns = ()
    unreachable: Patterns = ()
    after_filter: re.Pattern[str] | None = None
