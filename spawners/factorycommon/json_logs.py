"""Log records as lines of JSON, for programs that collect logs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from factorycommon import request_id

LONGEST = 10_000  # characters of a message, and of a traceback


def json_line(
    record: logging.LogRecord, process: str, exception: str = "", hide: Callable[[str], str] = lambda text: text
) -> str:
    """Return one line with ``time`` (UTC), ``level``, ``process``, ``logger`` and ``message``, and with ``request`` and
    ``exception`` where there is one. What a person, a job or a site said stays within one string. ``hide``: takes
    secrets out of a text."""
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
