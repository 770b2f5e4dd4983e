"""Damaged answers of a scheduler, for property tests of the parsers.

A damaged answer must either raise Misread (which changes no session), or give correct results about all undamaged
parts. No parser can notice a byte that became another valid byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from hypothesis import strategies as st

from factorylink.errors import Misread

T = TypeVar("T")

JUNK = (
    "\x00",
    "�",
    "é",
    "{",
    "}",
    '"',
    "\\",
    ",",
    "|",
    "\n",
    "\t",
    "\r\n",
    "  ",
    "null",
    "-1",
    "NaN",
    "[" * 60,
    "🂡",
    "…\n",
)


class Spoilt(NamedTuple):
    """A damaged answer. ``begin``, ``end``: the range of the damaged lines in the original; ``end`` is not included."""

    text: str
    begin: int
    end: int


@st.composite
def spoilt(draw: st.DrawFn, whole: str) -> Spoilt:
    """Generate one kind of damage: flipped bytes, added or lost text, lost, doubled or reordered lines."""
    lines = whole.split("\n")
    lines = [f"{line}\n" for line in lines[:-1]] + lines[-1:] * bool(
        lines[-1]
    )  # not splitlines, which also splits at other characters
    at = draw(st.integers(0, len(lines) - 1))
    count = draw(st.integers(1, min(4, len(lines) - at)))
    part, before, after = lines[at : at + count], lines[:at], lines[at + count :]
    inside = "".join(part)
    where = draw(st.integers(0, len(inside) - 1))
    match draw(st.sampled_from(["flip", "put in", "lose", "lose lines", "double", "swap"])):
        case "flip":
            bytes_ = bytearray(inside.encode())
            bytes_[where % len(bytes_)] ^= 1 << draw(st.integers(0, 7))
            made = bytes_.decode(errors="replace")  # as the transports do
        case "put in":
            made = inside[:where] + draw(st.sampled_from(JUNK)) + inside[where:]
        case "lose":
            made = inside[:where] + inside[where + draw(st.integers(1, 80)) :]
        case "lose lines":
            made = ""
        case "double":
            made = inside + inside
        case _:
            made = "".join(reversed(part))
    return Spoilt("".join([*before, made, *after]), at, at + count)


def read_or_misread(read: Callable[[], T]) -> T | None:
    """Parse the answer; return None for Misread. Any other error is a bug of the parser."""
    try:
        return read()
    except Misread:
        return None


def lines_of(whole: str, begins: Mapping[str, int]) -> dict[str, range]:
    """Return the lines of each item of an answer, from its beginning in the text to the next item's.

    ``begins``: by item, the offset of its beginning.
    """
    order = sorted((whole.count("\n", 0, at), name) for name, at in begins.items())
    ends = [first for first, _ in order[1:]] + [whole.count("\n")]
    return {name: range(first, end) for (first, name), end in zip(order, ends, strict=True)}


def untouched(harm: Spoilt, lines: Mapping[str, range]) -> set[str]:
    """Return the items without a damaged line."""
    return {name for name, own in lines.items() if harm.end <= own.start or harm.begin >= own.stop}
