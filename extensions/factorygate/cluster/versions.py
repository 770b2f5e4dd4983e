"""Compares the package versions that a notebook, its cluster's scheduler and its workers must have in common."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib import metadata

# Processes exchange pickled data, so the packages that pickle, and the packages of the pickled objects, must agree.
NAMES = ("dask", "distributed", "msgpack", "cloudpickle", "numpy", "pandas", "pyarrow")


_BEGIN = "The environments differ: "


class VersionsDifferError(Exception):
    """Raised if two processes have incompatible versions; the text says what differs, and what to do."""


def versions() -> dict[str, str]:
    """Return the installed versions of Python and of the packages in ``NAMES``, by name."""
    found = {"python": "{}.{}".format(*sys.version_info)}
    for name in NAMES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def check(theirs: Mapping[str, str], where: str) -> None:
    """Raise VersionsDifferError if ``theirs`` has another version of Python, or of a package that is installed here.

    ``theirs``: the other process's versions, as ``versions`` returns them; ``where``: a text that says where the other
    process runs, for the message.
    """
    ours = versions()
    differ = [
        f"{name} is {ours[name]} here and {version} {where}"
        for name, version in theirs.items()
        if name in ours and ours[name] != version
    ]
    if differ:
        raise VersionsDifferError(
            f"{_BEGIN}{'; '.join(differ)}. One would not understand what the other sends. "
            "Choose the same environment on both sides (environment=...)."
        )


def said(log: Iterable[str]) -> str:
    """Return the first message about different package versions in the lines of a worker's log; "" if there is none."""
    return next((f"{_BEGIN}{line.partition(_BEGIN)[2]}" for line in log if _BEGIN in line), "")
