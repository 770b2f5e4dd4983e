"""Formats the audit for a site as text: what the link did there, as which account, for whom, and with which key."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Literal

from factorycommon.csv_cells import cell
from factorycommon.models import AuditLine

Format = Literal["csv", "jsonl"]
FIELDS = tuple(AuditLine.model_fields)


def heading(form: Format) -> str:
    """Return the heading of an audit: for ``csv``, a line with the names of the columns; for ``jsonl``, ""."""
    return _row(FIELDS) if form == "csv" else ""


def writer(form: Format) -> Callable[[AuditLine], str]:
    """Return a function that formats an audit line as text with a line end. Times are RFC 3339, in UTC."""
    return _csv if form == "csv" else lambda line: line.model_dump_json() + "\n"


def _csv(line: AuditLine) -> str:
    values = line.model_dump(mode="json")
    return _row(tuple("" if values[name] is None else cell(str(values[name])) for name in FIELDS))


def _row(cells: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
