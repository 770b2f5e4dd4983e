"""Keeps tokens out of logs: any URL may contain one, and many parts of a server log URLs."""

from __future__ import annotations

import logging
import re

# Also matches URLs inside other URLs (``?next=%2Fuser%2Fada%2F%3Ftoken%3D…``), at any depth of encoding.
_SECRET = re.compile(r"(?i)((?:[?&;]|%(?:25)*(?:3F|26))[a-z_]*token(?:=|%(?:25)*3D))[^&;\s\"'<>)\]]+")


def hidden(text: str) -> str:
    """Return ``text`` with ``[secret]`` in place of every token that is a parameter of a URL.

    A parameter is a token if its name consists of letters and underscores, and ends with ``token``.
    """
    return _SECRET.sub(r"\1[secret]", text)


class Hiding(logging.Formatter):
    """A log formatter that formats records with another formatter, and then hides tokens in URLs.

    ``inner``: the other formatter; None: logging's default formatter.
    """

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """Return the formatted record with its traceback; ``[secret]`` replaces each token in a URL."""
        return hidden(self._inner.format(record))


def hide_in(*loggers: logging.Logger) -> None:
    """Hide tokens in URLs in all that the present handlers of these loggers write from now on."""
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if not isinstance(handler.formatter, Hiding):
            handler.setFormatter(Hiding(handler.formatter))
