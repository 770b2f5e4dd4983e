"""Makes and checks one-time codes by mail: eight digits, which prove that a person reads the mails of an address.

Pure functions. A code is valid only together with the ticket for which it was made, so a code that somebody else asked
for proves nothing in another browser. (A ticket is a random text that identifies one person's attempt to join a
workshop, or to log in again.) A new code for an address voids the earlier codes that the same requester got.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

DIGITS = 8
LIFE = timedelta(minutes=10)
ATTEMPTS = 5  # wrong attempts after which a code is void
HOUR = timedelta(hours=1)

Verdict = Literal["right", "wrong", "void"]


@dataclass(frozen=True)
class OneTimeCode:
    """A one-time code as stored.

    ``digest``: the hash of the code; ``at``: when the code was made; ``wrong``: how many wrong codes were tried in
    place of this code, or ``ATTEMPTS`` after a newer code has made this one void.
    """

    digest: str
    mail: str
    at: datetime
    wrong: int = 0


def new_digits() -> str:
    """Return a new random code."""
    return f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}"


def digest(secret: bytes, ticket: str, mail: str, digits: str) -> str:
    """Return the hash of the one-time code ``digits``.

    ``secret``: the workshops service's secret; without it, nobody can find the code by hashing all codes. ``ticket``:
    the hash of the ticket for which the code is made. A ticket is a random text that identifies one person's attempt to
    join a workshop, or to log in again. ``mail``: the address to which the code is sent.
    """
    return hmac.new(secret, f"one-time\0{ticket}\0{mail}\0{digits}".encode(), hashlib.sha256).hexdigest()


def normalized(typed: str) -> str | None:
    """Return the digits of a typed code, without blanks and dashes; None: the text is no code."""
    found = "".join(typed.split()).replace("-", "")
    return found if len(found) == DIGITS and found.isascii() and found.isdigit() else None


def verdict(code: OneTimeCode, found: str | None, now: datetime) -> Verdict:
    """Return whether a typed code is ``right`` or ``wrong``; ``void``: the stored code is not valid any more.

    A code is void once its ``LIFE`` is over, and after ``ATTEMPTS`` wrong codes. ``found``: the digest of the typed
    code; None: the typed text is no code, and so wrong.
    """
    if code.wrong >= ATTEMPTS or not code.at <= now < code.at + LIFE:
        return "void"
    return "right" if found is not None and hmac.compare_digest(code.digest, found) else "wrong"
