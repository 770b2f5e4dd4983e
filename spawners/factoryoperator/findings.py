"""A finding of a check, and how it is printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One finding. ``where``: ``file:line: key`` or a file; ``mistake`` False: worth knowing, and may be intended.
    ``said`` never holds a secret."""

    where: str
    said: str
    mistake: bool = True

    def __str__(self) -> str:
        return f"{'WRONG' if self.mistake else 'note '} {self.where}: {self.said}"


def note(where: str, said: str) -> Finding:
    """Return a finding that is worth knowing and may be intended."""
    return Finding(where, said, mistake=False)


def of_lines(lines: Iterable[str]) -> list[Finding]:
    """Return the findings in the lines of a parser, each of which names file, line and key before its message."""
    found: list[Finding] = []
    for line in lines:
        parts = line.split(": ")
        # ``file:line: key: message``, ``file:line: message`` or ``file: message``; a message may have ": ", too.
        named = 2 if len(parts) > 2 and " " not in parts[1] else 1
        found.append(Finding(": ".join(parts[:named]), ": ".join(parts[named:])))
    return found
