"""The link's log: each record is one line, whatever its content; a traceback's lines are indented under it."""

from __future__ import annotations

import logging
import re
import sys
from types import TracebackType

from factorycommon.models.plain import plain_text

FORMAT = "%(asctime)s link %(levelname)s %(name)s: %(message)s"
LONGEST = 10_000  # characters of one record
_MARGIN = "    | "
_LINE_ENDS = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


class PlainFormatter(logging.Formatter):
    """Formats records so that no text from a person, a job or a site can start a new line or control a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line, with control characters and line ends replaced."""
        return plain_text(super().formatMessage(record), LONGEST)

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Return the traceback, with a margin before each line."""
        return _set_in(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        """Return the stack, with a margin before each line."""
        return _set_in(super().formatStack(stack_info))


def _set_in(text: str) -> str:
    lines = [_MARGIN + plain_text(line, LONGEST) for line in _LINE_ENDS.split(text[: 10 * LONGEST])]
    return "\n".join(lines)


def begin(level: int) -> None:
    """Log to stderr from now on, with this level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter(FORMAT))
    logging.basicConfig(level=level, handlers=[handler])
    for chatty in ("httpx", "httpcore", "asyncssh", "asyncio", "uvicorn", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)  # httpx logs addresses with their queries
