"""Makes, hashes and checks join codes: 12 characters that a trainer gives to a class. Pure functions.

Only a keyed hash of a code is stored, so that a thief of the database has no code.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from workshops.store.schema import CodeRecord

# Without 0 and O, I and L, which people mistake for others: 32 characters, so that a code has 60 bits.
ALPHABET = "123456789ABCDEFGHJKMNPQRSTUVWXYZ"
LENGTH = 12
_GROUP = 4
_READ_AS = str.maketrans("IL", "11", "-\N{EN DASH}\N{EM DASH}\N{NON-BREAKING HYPHEN}")

CodeFault = Literal["revoked", "expired", "used-up"]


def make_code() -> str:
    """Return a new random code, such as ``K7QD-XW3M-9RTA``."""
    return shown("".join(secrets.choice(ALPHABET) for _ in range(LENGTH)))


def shown(code: str) -> str:
    """Return a code in groups of four characters, as people read it."""
    return "-".join(code[at : at + _GROUP] for at in range(0, len(code), _GROUP))


def normalized(typed: str) -> str | None:
    """Return a typed code in the form that is hashed: capitals, no blanks or dashes; None: the text is no code."""
    found = "".join(typed.split()).upper().translate(_READ_AS)
    return found if len(found) == LENGTH and set(found) <= set(ALPHABET) else None


def make_salt() -> str:
    """Return a new salt for ``hash_of``, so that the same code has different hashes in different workshops."""
    return secrets.token_hex(16)


def hash_of(code: str, salt: str, secret: bytes) -> str:
    """Return the hash of a code; blanks, dashes and letter case do not matter.

    Raises ValueError if ``code`` is no code. Nobody can compute the hash without ``secret``, which the workshops
    service keeps. A slow hash is not needed, because a code has too many random bits to be guessed. With a slow hash,
    wrong codes would cost the service much time.
    """
    plain = normalized(code)
    if plain is None:
        raise ValueError("not a code")
    return hmac.new(secret, f"join-code\0{salt}\0{plain}".encode(), hashlib.sha256).hexdigest()


def is_code(typed: str, salt: str, hashed: str, secret: bytes) -> bool:
    """Return True if a typed code has the hash ``hashed``, made with ``salt``.

    A wrong code takes as long as the right one; for a text that cannot be a code, the result is False at once.
    """
    return normalized(typed) is not None and hmac.compare_digest(hash_of(typed, salt, secret), hashed)


def fault(code: CodeRecord, now: datetime) -> CodeFault | None:
    """Return why nobody can join with the code any more: revoked, expired or used up; None if somebody can."""
    if code.revoked is not None:
        return "revoked"
    if code.expires is not None and code.expires <= now:
        return "expired"
    if code.uses is not None and code.used >= code.uses:
        return "used-up"
    return None


def allows(domains: Sequence[str], host: str) -> bool:
    """Return True if mail addresses at ``host`` may join: the host is one of the domains, or below one.

    If there are no domains, every address may join.
    """
    host = host.lower()
    return not domains or any(host == one or host.endswith(f".{one}") for one in map(str.lower, domains))
