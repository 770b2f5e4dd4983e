"""Errors in an operator's configuration of the hub, and how the hub reports them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from factorycommon.service.exit_codes import CANNOT_START, STORE_UNUSABLE


class ConfigurationError(Exception):
    """Raised if the hub cannot start with this configuration.

    The message is for the operator and says what is wrong. ``code``: the exit code of the hub's process.
    """

    code = CANNOT_START


class StoreUnusable(ConfigurationError):
    """Raised if this release cannot use one of the hub's databases or files.

    Either a newer release wrote it, and the message says which release to install; or it cannot be read, copied or
    migrated.
    """

    code = STORE_UNUSABLE


@contextmanager
def told_in_words() -> Iterator[None]:
    """If the block raises ConfigurationError, print its message and exit with its ``code``; show no traceback."""
    try:
        yield
    except ConfigurationError as error:
        sys.stderr.write(f"The hub cannot start.\n{error}\n")
        raise SystemExit(error.code) from None
