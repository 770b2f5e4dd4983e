"""One-time codes by mail: eight digits that prove that a person reads the mails of an address. Pure functions.

A code is bound to the walk (the ticket) in which it was asked for, so that a code that somebody else asked for proves
nothing in another browser. A new code for an address voids the ones before.
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
    """A code as stored. ``wrong``: how many wrong ones were sent in its place."""

    digest: str
    mail: str
    at: datetime
    wrong: int = 0


def new_digits() -> str:
    """Return a new random code."""
    return f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}"


def digest(secret: bytes, ticket: str, mail: str, digits: str) -> str:
    """Return the hash of a code: nobody can compute it, and so try all codes, without the service's secret."""
    return hmac.new(secret, f"one-time\0{ticket}\0{mail}\0{digits}".encode(), hashlib.sha256).hexdigest()


def normalized(typed: str) -> str | None:
    """Return the digits that a person typed, with blanks and dashes as they like; None if it is no code."""
    found = "".join(typed.split()).replace("-", "")
    return found if len(found) == DIGITS and found.isascii() and found.isdigit() else None


def verdict(code: OneTimeCode, found: str | None, now: datetime) -> Verdict:
    """Return whether ``found``, a digest, is that of this code. ``void``: no code would be right any more."""
    if code.wrong >= ATTEMPTS or not code.at <= now < code.at + LIFE:
        return "void"
    return "right" if found is not None and hmac.compare_digest(code.digest, found) else "wrong"
