"""Mistakes in an operator's configuration of the hub, and how the hub reports them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class ConfigurationError(Exception):
    """Raise if the hub cannot start with this configuration. The message is for the operator and names what is
    allowed."""


@contextmanager
def told_in_words() -> Iterator[None]:
    """End the process with exit code 2 and the message of a ConfigurationError, without a traceback."""
    try:
        yield
    except ConfigurationError as error:
        sys.stderr.write(f"The hub cannot start.\n{error}\n")
        raise SystemExit(2) from None
