"""Finds the version of this program."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


@cache
def version() -> str:
    """Return the version of the installed program; ``unknown`` if the program runs from its sources."""
    try:
        return installed("factorygate")
    except PackageNotFoundError:
        return "unknown"
