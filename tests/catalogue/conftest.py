"""The table of all factories that ``bin/test tests/catalogue`` prints: tried on a real scheduler, or why not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A row a factory, from the reports of tests/catalogue/test_sizes.py."""
    rows = sorted(_rows(terminalreporter))
    if rows:
        terminalreporter.section("the catalogue on a real scheduler")
        for row in rows:
            terminalreporter.write_line(row)


def _rows(reporter: pytest.TerminalReporter) -> Iterator[str]:
    for reports in reporter.stats.values():
        for report in reports:
            name = re.search(r"test_sizes\.py::.*\[(.+)\]$", getattr(report, "nodeid", ""))
            if name is not None and report.when == "call":
                told = dict(report.user_properties).get("row", "")
                yield f"{name[1]:<10} {report.outcome:<7} {told}"
