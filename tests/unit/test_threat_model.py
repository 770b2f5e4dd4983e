"""Every row of the threat model's first two tables names existing tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "docs" / "threat-model.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def lines() -> list[str]:
    """Return the rows of all tables whose last column names tests."""
    found, inside = [], False
    for line in PAGE.splitlines():
        if line.endswith("| tested by |"):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("|---"):
            found.append(line)
    return found


def test_both_tables_are_read() -> None:
    assert len(lines()) >= 34
    assert {"person", "the hub's database", "a session's own token (the notebook's)"} <= {
        line.split("|")[1].strip() for line in lines()
    }


@pytest.mark.parametrize("line", lines(), ids=lambda line: line.split("|")[1].strip())
def test_a_line_names_tests_that_there_are(line: str) -> None:
    named = NAMED.findall(line.rstrip("| ").rpartition("|")[2])
    assert named
    for file, test in named:
        text = (CHECKOUT / file).read_text()
        assert re.search(rf"^(async )?def {test}\(", text, re.MULTILINE), f"{file} has no {test}"


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`(tests/[\w/*.]+)`", PAGE))))
def test_the_other_files_are_there(file: str) -> None:
    assert list(CHECKOUT.glob(file)) or list(CHECKOUT.glob(f"{file}.py"))
