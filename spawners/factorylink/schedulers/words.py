"""Defines the type of a dialect's table of patterns, which map messages of its scheduler to codes of explanations."""

from __future__ import annotations

import re
from typing import NamedTuple

Patterns = tuple[tuple[str, str], ...]  # (pattern, code of an explanation); the first match counts


class SchedulerWords(NamedTuple):
    """The regular expressions that recognise the messages of one scheduler.

    ``waiting``, ``refused`` and ``unreachable`` have the code of an explanation for each pattern. ``waiting`` matches
    the beginning of the reason why a job waits. ``refused`` and ``unreachable`` match any part of the output of a
    command: ``refused`` if the scheduler refused the command, ``unreachable`` if the command did not reach the
    scheduler. ``after_filter`` matches the line that the scheduler adds if a site's own submission filter refused a
    job; the other lines are the site's message. ``variables`` matches the prefix of the scheduler's environment
    variables.
    """

    variables: str
    waiting: Patterns = ()
    refused: Patterns = ()
    unreachable: Patterns = ()
    after_filter: re.Pattern[str] | None = None
