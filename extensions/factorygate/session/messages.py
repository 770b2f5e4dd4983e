"""Short messages to the person in a session: parses new messages, and keeps the last few."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, cast, get_args

from factorygate.session.status import moment

Kind = Literal["info", "success", "warning", "error"]

KEPT = 10
LONGEST = 1000  # maximum characters of a text
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # all control characters except newlines


@dataclass(frozen=True)
class ShownMessage:
    """A message for the session's person. ``id``: a page shows each id once; ``at``: when it was sent, RFC 3339."""

    id: str
    text: str
    kind: Kind
    at: str


def read_message(body: object, now: float, languages: Sequence[str] = ()) -> ShownMessage:
    """Parse a message ``{"id", "text", "kind", "texts"}``. ``now``: when it was sent, in seconds since the epoch.

    ``kind`` and ``texts`` may be missing; a missing ``kind`` is "info". ``texts`` has the message in more languages, by
    their codes. ``languages``: the codes of the person's languages, the preferred one first. The first of these
    languages that ``texts`` has is used (for ``de-AT`` also a text in ``de``); if ``texts`` has none of them, ``text``
    is used. Raises ValueError with an explanation if ``body`` is not such a message.
    """
    found = body if isinstance(body, dict) else {}
    name, kind = found.get("id"), found.get("kind", "info")
    text = _in_language(found.get("texts"), languages) or found.get("text")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise ValueError("`id`: up to 64 letters, digits, dots, dashes and underscores are needed")
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST or _CONTROL.search(text):
        raise ValueError(f"`text`: 1 to {LONGEST} characters without control characters are needed")
    if kind not in get_args(Kind):
        raise ValueError(f"`kind`: one of {', '.join(get_args(Kind))} is needed")
    return ShownMessage(name, text.strip(), cast(Kind, kind), moment(now) or "")


def _in_language(texts: object, languages: Sequence[str]) -> object:
    """Return the text in the first of ``languages`` that ``texts`` has; None if it has none of them.

    A text in the language without its region counts, too: ``de`` for ``de-AT``.
    """
    codes = [code for wanted in languages for code in (wanted, wanted.partition("-")[0])]
    return next((texts[code] for code in codes if code in texts), None) if isinstance(texts, dict) else None


class Messages:
    """The last ``KEPT`` messages for the session's person, oldest first."""

    def __init__(self) -> None:
        self._kept: deque[ShownMessage] = deque(maxlen=KEPT)

    def add(self, message: ShownMessage) -> None:
        """Keep a message, unless one with the same id is kept already."""
        if all(known.id != message.id for known in self._kept):
            self._kept.append(message)

    def listed(self) -> list[dict[str, str]]:
        """Return the messages as objects for JSON."""
        return [asdict(message) for message in self._kept]
