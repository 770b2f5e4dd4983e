"""Prints the fault matrix at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.faults.world import ROWS, table

_LINES: list[str] = []  # lines from worker processes that have ended


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Collect())


class _Collect:
    """Collects the tables of pytest-xdist's worker processes, whose own output is not shown."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        told: Mapping[str, list[str]] = getattr(node, "workeroutput", {})
        _LINES.extend(told.get("faults", []))


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None and ROWS:
        output["faults"] = table(ROWS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = _LINES or (table(ROWS) if ROWS else [])
    if lines:
        terminalreporter.section("what faults did to sessions")
        for line in lines:
            terminalreporter.write_line(line)
