"""Finds the language for the widgets and messages of a session's person."""

from __future__ import annotations

import os
from functools import cache, lru_cache
from pathlib import Path

from factorycommon.language import SOURCE, VARIABLE, Language, first, read


@cache
def here() -> Language:
    """Return the language of this session's person, as the hub knew it when the session began."""
    return wanted(*os.environ.get(VARIABLE, "").split(":"))


@lru_cache(8)
def wanted(*codes: str) -> Language:
    """Return the first of the languages ``codes`` in which this package has its texts; English if it has none of them.

    ``codes``: at least one; a code with a region, such as ``de-AT``, also finds ``de``. If the first code is "", the
    result is English.
    """
    if codes[0].lower().split("-")[0] in ("", SOURCE):
        return Language(SOURCE)
    only = {code for one in codes for code in (one.lower(), one.lower().split("-")[0])}
    return first(read(Path(__file__).parent / "locale", Language, only), codes)
