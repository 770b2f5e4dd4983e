"""Writes the texts about differences between the catalogue and a site, and parses Slurm's times."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TIME = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")
_HOUR = 1 / 60  # limits are counted in minutes


def hours(where: str, ours: float | None, theirs: str | None) -> Iterator[str]:
    """Yield a line if the catalogue's limit in hours (``ours``) differs from the site's (``theirs``).

    A difference of up to a minute is ignored. ``where``: the limit's key in the catalogue. ``ours`` None: the catalogue
    has no limit, so nothing is yielded. ``theirs``: a time in Slurm's form; None, "" or a word such as ``UNLIMITED`` if
    there is no limit. Raises ValueError if ``theirs`` has another form.
    """
    seconds = _seconds(theirs)
    if ours is None:
        return
    if seconds is None:
        yield differ(where, f"{ours:g} h", "no limit")
    elif abs(seconds / 3600 - ours) > _HOUR:
        yield differ(where, f"{ours:g} h", f"{seconds / 3600:g} h")


def _seconds(text: str | None) -> int | None:
    """Return the seconds of a time such as Slurm's ``1-00:00:00``; None: no limit.

    Raises ValueError for other texts.
    """
    if text in (None, "", "UNLIMITED", "NONE", "INFINITE"):
        return None
    found = _TIME.fullmatch(str(text))
    if found is None:
        raise ValueError(f"{text!r} is no time of Slurm's")
    days, hour, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hour) * 60 + minutes) * 60 + seconds


def differ(where: str, ours: object, theirs: object) -> str:
    """Return the line that says how the value at the key ``where`` differs between catalogue and site."""
    return f"{where}: the entry says {_word(ours)}, the site {_word(theirs)}"


def _word(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
