"""Prints a table of all factories at the end of ``bin/test tests/catalogue``.

The table says whether a factory was tried on a real scheduler, or why not.

The table is equal to the one at the end of ``docs/factories.md``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a row for each factory, from the reports of tests/catalogue/test_sizes.py."""
    rows = sorted(_rows(terminalreporter))
    if rows:
        terminalreporter.section(f"the catalogue on a real scheduler: {len(rows)} factories")
        for row in rows:
            terminalreporter.write_line(row)


def _rows(reporter: pytest.TerminalReporter) -> Iterator[str]:
    for reports in reporter.stats.values():
        for report in reports:
            name = re.search(r"test_sizes\.py::.*\[(.+)\]$", getattr(report, "nodeid", ""))
            if name is not None and getattr(report, "when", "") == "call":
                row = dict(report.user_properties).get("row")
                yield row if row and report.passed else f"{report.outcome.upper()}: {row or name[1]}"
