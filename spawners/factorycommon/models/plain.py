"""Plain text: what a session, a site account or a scheduler says, made safe to log, to keep and to show."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated

from pydantic import AfterValidator

# What a terminal takes for an order: CSI, OSC and the two-character sequences of ECMA-48.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)|[@-Z\\^_])")
# Control characters, line separators (U+0085, U+2028, U+2029), marks that turn the direction of the text around them,
# and halves of surrogate pairs, which no encoder takes.
_BAD = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]")
_BAD_BUT_LINE_ENDS = re.compile(_BAD.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
_GONE = "\ufffd"

MOST = 2000  # characters of one text for a person


def plain_text(text: str, most: int = MOST) -> str:
    """Return ``text`` as one line of at most ``most`` characters: control characters and line separators become
    U+FFFD, line ends and tabs a blank, terminal sequences nothing."""
    return _shortened(_BAD.sub(_replacement, _ESCAPES.sub("", _bounded(text, most))).strip(), most)


def plain_lines(text: str, most: int = MOST) -> str:
    """Return ``text`` like ``plain_text``, but keep its line ends (``\\n``)."""
    return _shortened(_BAD_BUT_LINE_ENDS.sub(_replacement, _ESCAPES.sub("", _bounded(text, most))).strip(), most)


def last_lines(text: str, count: int, width: int) -> tuple[str, ...]:
    """Return the last ``count`` lines of a log, each plain and at most ``width`` characters. A line that was written
    over with carriage returns (a progress bar) counts as what was visible at its end."""
    lines = text.removesuffix("\n").rsplit("\n", count)[-count:]
    return tuple(plain_text(line.rstrip("\r").rpartition("\r")[2], width) for line in lines)


def _bounded(text: str, most: int) -> str:
    """Cut the text before the slow replacements; four times ``most`` leaves room for terminal sequences that are
    removed."""
    return text if len(text) <= 4 * most else text[: 4 * most]


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _replacement(found: re.Match[str]) -> str:
    return " " if found[0] in "\n\r\t" else _GONE


PlainText = Annotated[str, AfterValidator(plain_text)]
PlainLines = Annotated[str, AfterValidator(plain_lines)]
LogText = Annotated[str, AfterValidator(partial(plain_text, most=500))]
