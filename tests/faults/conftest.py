"""The fault matrix is printed at the end of a run."""

from __future__ import annotations

import pytest

from tests.faults.world import ROWS, table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ROWS:
        terminalreporter.section("what faults did to sessions")
        for line in table(ROWS):
            terminalreporter.write_line(line)
