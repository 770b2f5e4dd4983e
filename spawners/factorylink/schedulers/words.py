"""The type of a dialect's table of messages: patterns for its scheduler's messages, and the codes of explanations."""

from __future__ import annotations

import re
from typing import NamedTuple

Patterns = tuple[tuple[str, str], ...]  # (pattern, code of an explanation); the first match counts


class SchedulerWords(NamedTuple):
    """The messages of one scheduler, as regular expressions.

    ``waiting``: for the beginning of the reason why a job waits. ``refused``, ``unreachable``: for any part of the
    output of a command that the scheduler refused, or that did not reach the scheduler. ``after_filter``: the line that
    the scheduler adds if a site's own submission filter refused a job; the other lines are the site's message.
    ``variables``: the prefix of the scheduler's environment variables.
    """

    variables: str
    waiting: Patterns = ()
    refused: Patterns = ()
    unreachable: Patterns = ()
    after_filter: re.Pattern[str] | None = None
