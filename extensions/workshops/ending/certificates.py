"""Makes and checks the ids of certificates of attendance. Pure.

An id is the workshop's slug, a dot and 24 characters: five bytes of a keyed hash of the person's name, and ten bytes
that prove that this gateway made the id. So an id can be checked without a list of certificates, also after the people
of the workshop are deleted, and nobody learns a name from an id.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata

_FORM = re.compile(r"([a-z0-9][a-z0-9-]{0,47})\.([a-z2-7]{24})")
_NAME_BYTES, _PROOF_BYTES = 5, 10


def certificate_id(secret: bytes, slug: str, name: str) -> str:
    """Return the id of a person's certificate.

    ``secret``: the key of the id's hashes; ``slug``: the workshop's id; ``name``: the name that the certificate shows.
    """
    named = _named(secret, slug, name)
    text = base64.b32encode(named + _proof(secret, slug, named)).decode().lower()
    return f"{slug}.{text}"


def slug_of(secret: bytes, typed: str) -> str | None:
    """Return the slug of the workshop that a certificate's id names; None if this gateway has not made the id.

    ``typed``: the id, in any letter case and with any blanks.
    """
    found = _FORM.fullmatch(_plain(typed))
    if found is None:
        return None
    content = base64.b32decode(found[2].upper())
    named, proof = content[:_NAME_BYTES], content[_NAME_BYTES:]
    return found[1] if hmac.compare_digest(proof, _proof(secret, found[1], named)) else None


def is_of(secret: bytes, typed: str, name: str) -> bool:
    """Return whether ``typed`` is the id of a certificate with this name.

    Letter case does not matter, nor do blanks in the id; in the name, several blanks count as one.
    """
    slug = slug_of(secret, typed)
    return slug is not None and hmac.compare_digest(_plain(typed), certificate_id(secret, slug, name))


def _plain(typed: str) -> str:
    return "".join(typed.split()).lower()


def _named(secret: bytes, slug: str, name: str) -> bytes:
    known = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return _digest(secret, "name", slug, known)[:_NAME_BYTES]


def _proof(secret: bytes, slug: str, named: bytes) -> bytes:
    return _digest(secret, "certificate", slug, named.hex())[:_PROOF_BYTES]


def _digest(secret: bytes, *parts: str) -> bytes:
    return hmac.new(secret, "\0".join(("certificate of attendance", *parts)).encode(), hashlib.sha256).digest()
