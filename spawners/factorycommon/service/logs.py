"""Writes the log of a process, each record as one line of text or JSON.

The lines of a traceback are indented below the record's line, or are part of its JSON.
"""

from __future__ import annotations

import logging
import re
import sys
from types import TracebackType
from typing import Literal

from factorycommon import request_id
from factorycommon.json_logs import LONGEST, json_line
from factorycommon.models.plain import plain_text

FORMAT = "%(asctime)s link %(levelname)s %(name)s: %(message)s"
LogFormat = Literal["text", "json"]
_MARGIN = "    | "
_LINE_ENDS = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


class PlainFormatter(logging.Formatter):
    """Formats records so that no text from a person, a job or a site can pass for a record or control a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the record as one line, followed by the id of the present request, if there is one.

        Control characters and line ends are replaced, and what is longer than ``LONGEST`` characters is cut.
        """
        line = plain_text(super().formatMessage(record), LONGEST)
        request = request_id.current()
        return f"{line} [{request}]" if request else line

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Return the traceback, with a margin before each line; the middle of a very long traceback is left out."""
        return _set_in(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        """Return the stack, with a margin before each line; the middle of a very long stack is left out."""
        return _set_in(super().formatStack(stack_info))


class JsonFormatter(logging.Formatter):
    """Formats each record as one line of JSON. ``program``: the name of the process in each line."""

    def __init__(self, program: str = "link") -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        """Return the record, with its traceback if it has one, as one line of JSON."""
        return json_line(record, self._program, self.formatException(record.exc_info) if record.exc_info else "")


def _set_in(text: str) -> str:
    if len(text) > 10 * LONGEST:  # the end of a traceback names the exception
        text = f"{text[: 5 * LONGEST]}\n...\n{text[-5 * LONGEST :]}"
    lines = [_MARGIN + plain_text(line, LONGEST) for line in _LINE_ENDS.split(text)]
    return "\n".join(lines)


def begin(level: int, form: LogFormat = "text", program: str = "link") -> None:
    """Log to stderr from now on, in the given format; libraries such as httpx log only warnings and errors.

    ``level``: the lowest level at which anything else is logged; ``program``: the name of the process in each line.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(program) if form == "json" else PlainFormatter(FORMAT.replace(" link ", f" {program} ", 1))
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("httpx", "httpcore", "asyncssh", "asyncio", "uvicorn", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)  # httpx logs URLs with their queries
