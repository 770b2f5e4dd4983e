"""Codes for joining: how they are made, written and hashed. Pure, apart from the random source.

A code has 60 random bits and is written as three groups of four characters, none of which look alike. The database has
a salted scrypt hash only, so that neither it nor a backup lets anybody in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

ALPHABET = "123456789ABCDEFGHJKMNPQRSTUVWXYZ"  # 32 characters: no 0, I, L and O
LENGTH = 12
_GROUP = 4
_READ_AS = str.maketrans("IL", "11")  # letters that a code never has, as people misread them
_COST, _BLOCK, _BYTES = 2**12, 8, 32  # scrypt's n and r, 4 MiB and some milliseconds for each guess; bytes of a hash


def make_code() -> str:
    """Return a new code, such as ``K7QD-XW3M-9RTA``."""
    text = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return shown(text)


def shown(code: str) -> str:
    """Return a normalized code in groups, as people read and type it."""
    return "-".join(code[at : at + _GROUP] for at in range(0, len(code), _GROUP))


def normalized(typed: str) -> str | None:
    """Return a typed code without separators, in capital letters; None if it cannot be a code."""
    code = "".join(typed.split()).replace("-", "").upper().translate(_READ_AS)
    return code if len(code) == LENGTH and set(code) <= set(ALPHABET) else None


def make_salt() -> str:
    """Return a new salt for ``hash_of``."""
    return secrets.token_hex(16)


def hash_of(code: str, salt: str) -> str:
    """Return the hash of a code, in whatever way it is typed. Raises ValueError if it cannot be a code."""
    plain = normalized(code)
    if plain is None:
        raise ValueError("not a code")
    return hashlib.scrypt(plain.encode(), salt=bytes.fromhex(salt), n=_COST, r=_BLOCK, p=1, dklen=_BYTES).hex()


def is_code(typed: str, salt: str, hashed: str) -> bool:
    """Return whether a typed code is the one with this hash. The comparison takes the same time for all codes."""
    return normalized(typed) is not None and hmac.compare_digest(hash_of(typed, salt), hashed)
