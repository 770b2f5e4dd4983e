"""Errors in an operator's configuration of the hub, and how the hub reports them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class ConfigurationError(Exception):
    """Raised if the hub cannot start with this configuration.

    The message is for the operator and says what is allowed.
    """


@contextmanager
def told_in_words() -> Iterator[None]:
    """Turn a ConfigurationError in the block into exit code 2 and its message, without a traceback."""
    try:
        yield
    except ConfigurationError as error:
        sys.stderr.write(f"The hub cannot start.\n{error}\n")
        raise SystemExit(2) from None
