"""Turns log records into lines of JSON, for programs that collect logs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from factorycommon import request_id

LONGEST = 10_000  # maximum number of characters of a message, and of a traceback


def json_line(
    record: logging.LogRecord, process: str, exception: str = "", hide: Callable[[str], str] = lambda text: text
) -> str:
    """Return the log record as one line of JSON, without a line break at its end.

    The keys are ``time`` (UTC), ``level``, ``process``, ``logger`` and ``message``; if known, also ``request`` (the id
    of the request that is served) and ``exception``. Text from people, jobs or sites stays inside JSON strings, so it
    cannot add keys or lines. ``process``: the name of this program; ``exception``: the traceback, "" if there is none;
    ``hide``: a function that removes secrets from a text. Of a message only the first ``LONGEST`` characters are kept,
    of a traceback the last.
    """
    line = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "process": process,
        "logger": record.name,
        "message": hide(record.getMessage())[:LONGEST],
    }
    if request := request_id.current():
        line["request"] = request
    if exception:
        line["exception"] = hide(exception)[-LONGEST:]
    return json.dumps(line)
