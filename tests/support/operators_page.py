"""Reads the commands in docs/operators.md, so that tests run the same commands as operators."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def two_commands() -> tuple[list[str], list[str]]:
    """Return the two commands that install a gateway and add a factory on one machine."""
    first, second = _block("One machine, one command").replace("\\\n", " ").strip().splitlines()
    return shlex.split(first), shlex.split(second)


def by_hand(version: str) -> str:
    """Return the shell lines of the section *By hand*, which install the release ``version``."""
    return _block("By hand").replace("releases/VERSION", f"releases/{version}")


def _block(heading: str) -> str:
    """Return the first block of commands below a heading."""
    page = (CHECKOUT / "docs/operators.md").read_text(encoding="utf-8")
    section = page.partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    found = re.search(r"^```\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert found is not None, heading
    return found[1]
