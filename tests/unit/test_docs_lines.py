"""Lines of the documentation have at most 100 columns, so that a changed sentence changes few lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PAGES = [
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "site/README.md")),
    *sorted((CHECKOUT / "docs").rglob("*.md")),
]
WIDTH = 100
FENCE = re.compile(r"\s*(```|~~~)")
CODE = re.compile(r" {4}(?! *([-*+]|\d+\.) )")  # indented by four, but no item of a list
LINK = re.compile(r"\s*(- )?\S*\]\(\S+\)\S*")  # a URL cannot be wrapped


def long_lines(text: str) -> list[int]:
    """Return the numbers of lines that are too long; tables, code, HTML and URLs of links do not count."""
    found, inside = [], False
    for number, line in enumerate(text.splitlines(), start=1):
        if FENCE.match(line):
            inside = not inside
        elif inside or line.startswith(("|", "<")) or CODE.match(line) or LINK.fullmatch(line):
            continue
        elif len(line) > WIDTH:
            found.append(number)
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_lines_of_the_docs_are_at_most_100_columns_wide(path: Path) -> None:
    assert long_lines(path.read_text(encoding="utf-8")) == []


def test_a_long_line_is_found_in_prose_and_nowhere_else() -> None:
    words = "word " * 21
    assert long_lines(f"{words}\n- {words}\n    - {words}\n") == [1, 2, 3]
    assert long_lines(f"| {words} |\n```\n{words}\n```\n    {words}\n- [a](https://example.org/{'a' * 99}):\n") == []
