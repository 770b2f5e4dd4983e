"""Plain text: makes texts from a session, a site account or a scheduler safe to log, to store and to show."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated

from pydantic import AfterValidator

# Sequences that a terminal would execute: CSI, OSC and the two-character sequences of ECMA-48.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)|[@-Z\\^_])")
# Control characters, line separators (U+0085, U+2028, U+2029), marks that change the direction of text, and unpaired
# surrogates, which cannot be encoded.
_BAD = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]")
_BAD_BUT_LINE_ENDS = re.compile(_BAD.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
_GONE = "\ufffd"

MOST = 2000  # maximum number of characters of one text for a person


def plain_text(text: str, most: int = MOST) -> str:
    """Return ``text`` as one line of at most ``most`` characters, without control characters.

    Terminal sequences are removed. Each line end or tab becomes a blank; each other control character, line separator
    or invisible character becomes U+FFFD. Blanks at both ends are removed. A longer result is cut, and ends with "…".
    Only the first ``4 * most`` characters of ``text`` are read.
    """
    return _shortened(_replaced(_BAD, _ESCAPES.sub("", _bounded(text, most)), "\n\r\t").strip(), most)


def plain_lines(text: str, most: int = MOST) -> str:
    """Return ``text`` without control characters, in at most ``most`` characters; its line ends (``\\n``) are kept.

    All else is changed as by ``plain_text``. Line ends at both ends of the text are removed, like blanks.
    """
    return _shortened(_replaced(_BAD_BUT_LINE_ENDS, _ESCAPES.sub("", _bounded(text, most)), "\r\t").strip(), most)


def last_lines(text: str, count: int, width: int) -> tuple[str, ...]:
    """Return the last ``count`` lines of a log, each as plain text of at most ``width`` characters.

    A line that was overwritten with carriage returns (a progress bar) counts as its last visible text.
    """
    lines = text.removesuffix("\n").rsplit("\n", count)[-count:]
    return tuple(plain_text(line.rstrip("\r").rpartition("\r")[2], width) for line in lines)


def _bounded(text: str, most: int) -> str:
    """Return the beginning of ``text``, since removing and replacing characters is slow in long texts.

    The result has up to four times ``most`` characters, to leave room for terminal sequences that are removed later.
    """
    return text if len(text) <= 4 * most else text[: 4 * most]


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _replaced(bad: re.Pattern[str], text: str, blanks: str) -> str:
    """Return ``text`` with each character in ``blanks`` replaced by a blank, and each match of ``bad`` by U+FFFD.

    No function is called for each character, since a hostile text may have a million of them.
    """
    for one in blanks:
        text = text.replace(one, " ")
    return bad.sub(_GONE, text)


PlainText = Annotated[str, AfterValidator(plain_text)]
PlainLines = Annotated[str, AfterValidator(plain_lines)]
LogText = Annotated[str, AfterValidator(partial(plain_text, most=500))]
