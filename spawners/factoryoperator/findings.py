"""The results of ``factorygate check``: makes them from texts, and says how each one is printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One result of ``factorygate check``: a mistake, or a hint about something that may be intended.

    ``where``: ``file:line: key``, ``file:line`` or a file. ``mistake``: False for a hint. ``said``: the message, which
    never holds a secret.
    """

    where: str
    said: str
    mistake: bool = True

    def __str__(self) -> str:
        return f"{'WRONG' if self.mistake else 'note '} {self.where}: {self.said}"


def note(where: str, said: str) -> Finding:
    """Return a finding that is no mistake: a hint about something that may be intended."""
    return Finding(where, said, mistake=False)


def of_lines(lines: Iterable[str]) -> list[Finding]:
    """Return a finding (a mistake) for each message of a parser, such as ``file:line: key: text`` or ``file: text``."""
    found: list[Finding] = []
    for line in lines:
        parts = line.split(": ")
        # ``file:line: key: message``, ``file:line: message`` or ``file: message``; a message may have ": ", too.
        named = 2 if len(parts) > 2 and " " not in parts[1] else 1
        found.append(Finding(": ".join(parts[:named]), ": ".join(parts[named:])))
    return found
