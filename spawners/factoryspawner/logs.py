"""The hub's log.

JupyterHub hides a token in the address of a request, but not where that address is part of another: a person who is
sent to the login page returns to where they were, so that address is in the login page's own."""

from __future__ import annotations

from logging import LogRecord
from typing import Any, Literal

from jupyterhub.log import CoroutineLogFormatter

from factorycommon import request_id
from factorycommon.json_logs import json_line
from factorygate.hiding import hidden


class Formatter(CoroutineLogFormatter):  # type: ignore[misc]  # jupyterhub is untyped
    """JupyterHub's formatter, with tokens hidden, and with the id of the request that a record is about."""

    def format(self, record: LogRecord) -> str:
        """Return the record's line or lines."""
        text = hidden(str(super().format(record)))
        if not (request := request_id.current()):
            return text
        first, newline, rest = text.partition("\n")
        return f"{first} [{request}]{newline}{rest}"


class HubJsonFormatter(CoroutineLogFormatter):  # type: ignore[misc]  # jupyterhub is untyped
    """Formats each record as one line of JSON, with tokens hidden."""

    def format(self, record: LogRecord) -> str:
        """Return the line."""
        exception = self.formatException(record.exc_info) if record.exc_info else ""
        return json_line(record, "hub", exception, hidden)


def logging_config(form: Literal["text", "json"]) -> dict[str, Any]:
    """Return ``c.JupyterHub.logging_config`` for a log of that form."""
    formatter = HubJsonFormatter if form == "json" else Formatter
    return {"formatters": {"console": {"class": f"{__name__}.{formatter.__name__}"}}}
