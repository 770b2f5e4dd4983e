"""The type of a dialect's table of messages: patterns for its scheduler's messages, and the codes of explanations."""

from __future__ import annotations

import re
from typing import NamedTuple

Patterns = tuple[tuple[str, str], ...]  # (pattern, code of an explanation); the first match counts


class SchedulerWords(NamedTuple):
    """The messages of one scheduler.

    ``waiting``: patterns that match the beginning of a reason. ``refused``, ``unreachable``: patterns that match
    anywhere in the output of a command. ``after_filter``: the line that the scheduler adds if a site's own filter
    refused a job; the other lines are the site's. ``variables``: prefixes of the scheduler's environment variables.
    """

    variables: str
    waiting: Patterns = ()
    refused: Patterns = ()
    unreachable: Patterns = ()
    after_filter: re.Pattern[str] | None = None
