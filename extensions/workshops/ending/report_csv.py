"""Writes the people of a report as CSV, for spreadsheets. Pure."""

from __future__ import annotations

import csv
import io
from datetime import UTC

from factorycommon.csv_cells import cell
from workshops.models.ending import AttendanceRow, ReportView

FIELDS = (
    "person", "name", "role", "seat", "first", "minutes", "share", "sessions", "hours", "gpu_hours",
    "cluster_gpu_hours", "longest_wait_seconds", "failures", "cost",
)  # fmt: skip


def written(report: ReportView) -> str:
    """Return a CSV file with a heading and a line for each person.

    An apostrophe precedes each text that a spreadsheet would take for a formula.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(FIELDS)
    for row in report.people:
        table.writerow([cell(value) for value in _values(row)])
    return text.getvalue()


def _values(row: AttendanceRow) -> tuple[str, ...]:
    return (
        row.person,
        row.name,
        row.role or "",
        "" if row.seat is None else str(row.seat),
        "" if row.first is None else row.first.astimezone(UTC).isoformat(timespec="seconds"),
        str(row.minutes),
        f"{row.share:.3f}",
        str(row.sessions),
        f"{row.hours:.3f}",
        f"{row.gpu_hours:.6f}",
        f"{row.cluster_gpu_hours:.6f}",
        "" if row.longest_wait is None else f"{row.longest_wait:.0f}",
        str(row.failures),
        "; ".join(f"{one.amount:.6f} {one.unit}" for one in row.costs),
    )
