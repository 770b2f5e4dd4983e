"""The form for moving a class: turns what a browser sends into a request to the workshops service. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from factorycommon.models.workshops import MOST_SEATS
from workshops.models.moving import MoveBody

_RANGE = re.compile(r"(\d{1,4})(?:\s*[-–]\s*(\d{1,4}))?")


def read_move(argument: Callable[[str, str], str]) -> MoveBody:
    """Return the request to move a class, or some of its seats. Raises ValidationError if a field is not valid.

    ``argument``: a function that returns a field's text, or its second argument if the field is missing. The fields are
    ``place``, the index of the place to move to (0 is plan A), and ``seats``, such as ``3, 5-8``; empty: all seats.
    """
    place, seats = argument("place", "").strip(), argument("seats", "").strip()
    return MoveBody.model_validate({"place": place, "seats": _seats(seats) if seats else None})


def _seats(text: str) -> list[int] | str:
    """Return the seats of a list such as ``3, 5-8``; return any other text unchanged, which MoveBody then refuses."""
    found: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            return text
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= MOST_SEATS:
            return text
        found.extend(range(first, last + 1))
    return found
