"""Computes which rows a cluster's panel shows, and which of these rows have changed.

The panel is a widget in a notebook. It shows a part of a sorted and filtered list of the cluster's jobs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from factorygate import language
from factorygate.view_data import ClusterView, JobView

PAGE = 50  # number of rows that are shown at a time
LOG_LINES = 200
_OPEN_LOGS = 10

# States that need attention come first.
_ORDER = {"failed": 0, "lost": 0, "unreachable": 1, "asked": 2, "pending": 2, "running": 3, "ending": 3, "ended": 4}
FILTERS: dict[str, frozenset[str]] = {
    "all": frozenset(_ORDER),
    "running": frozenset({"running"}),
    "waiting": frozenset({"asked", "pending"}),
    "trouble": frozenset({"failed", "lost", "unreachable"}),
    "ended": frozenset({"ended"}),
}

JobRow = dict[str, Any]


class Window:
    """The part of a cluster's list of jobs that one panel shows, and the rows that were last sent to its page."""

    def __init__(self) -> None:
        self.first = 0
        self.filter = "all"
        self._open: list[str] = []  # jobs whose log is open
        self._sent: dict[str, JobRow] = {}
        self._order: list[str] = []
        self._where: list[object] = []
        self._ask_whole = True

    def move(self, first: object, which: object) -> None:
        """Set the first row and the filter as the page requests; ignore an invalid value.

        ``first``: the number of the first row, from 0; ``which``: the filter's name. The next call of ``changes``
        returns all rows that the page shows.
        """
        if isinstance(first, int) and not isinstance(first, bool) and first >= 0:
            self.first = first
        if isinstance(which, str) and which in FILTERS:
            self.filter = which
        self.forget()

    def open_log(self, name: object, shown: object) -> None:
        """If ``shown`` is True, let ``changes`` return a job's log with its row from now on; else leave the log out.

        ``name``: the job's name; a value that is no text changes nothing. If too many logs are open, the log that was
        opened first is closed.
        """
        if isinstance(name, str):
            kept = [one for one in self._open if one != name]
            self._open = [*kept, name][-_OPEN_LOGS:] if shown is True else kept

    def forget(self) -> None:
        """Let the next call of ``changes`` return all rows that the page shows; call this if a new page opens."""
        self._ask_whole = True

    def changes(self, view: ClusterView) -> dict[str, Any] | None:
        """Return the changes that the page needs to show ``view``; None if there are none.

        Keys of the result: ``whole``: True if ``rows`` has all rows that the page shows, False if ``rows`` has only the
        changed ones; ``rows``: the rows by the job's name; ``order``: names of the shown jobs; ``filter``: the name of
        the filter; ``first``: number of the first row, from 0; ``total``: number of jobs under the filter. A result
        with ``whole`` False lacks ``rows`` if no row has changed. It lacks the last four keys if none of their values
        has changed.
        """
        jobs = sorted((job for job in view.jobs if job.state in FILTERS[self.filter]), key=_rank)
        self.first = min(self.first, max(0, len(jobs) - 1) // PAGE * PAGE)
        shown = {job.name: self._row(job) for job in jobs[self.first : self.first + PAGE]}
        order, whole = list(shown), self._ask_whole
        rows = shown if whole else {name: row for name, row in shown.items() if self._sent.get(name) != row}
        update: dict[str, Any] = {"rows": rows} if rows or whole else {}
        where = [self.filter, self.first, len(jobs)]
        if whole or order != self._order or where != self._where:
            update |= {"order": order, "filter": self.filter, "first": self.first, "total": len(jobs)}
        self._sent, self._order, self._where, self._ask_whole = shown, order, where, False
        return update | {"whole": whole} if update else None

    def _row(self, job: JobView) -> JobRow:
        words = language.here()
        row: JobRow = {
            "state": job.state,
            "job": job.job,
            "node": job.node,
            "workers": job.workers,
            "position": job.position,
            "expected_start": job.expected_start,
            "ends": job.ends,
            "why": words.said(job.why),
            "do": words.said(job.do),
            "has_log": job.has_log or bool(job.log_tail),
        }
        if job.name in self._open:
            row["log"] = list(job.log_tail[-LOG_LINES:])
        return {field: value for field, value in row.items() if value}


def counts(jobs: Iterable[JobView]) -> dict[str, int]:
    """Return the number of jobs under each filter in ``FILTERS``, by the filter's name."""
    states = [job.state for job in jobs]
    return {name: sum(state in wanted for state in states) for name, wanted in FILTERS.items()}


def _rank(job: JobView) -> tuple[int, list[tuple[int, str]]]:
    """Return the sort key of a job: urgency, then name with numbers compared as numbers (w-9 before w-10)."""
    parts = re.split(r"(\d+)", job.name)
    return _ORDER[job.state], [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
