"""Checks a provider's ID token: its signature, issuer, audience, times, nonce and subject.

Pure functions. Only keys that a provider publishes are accepted: a token that is signed with a shared secret, or not
signed, is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import jwt

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_SKEW = 60  # seconds by which two clocks may differ


class BadToken(Exception):
    """Raised if a token is not valid; the message says why, and contains no part of the token."""


class UnknownKey(BadToken):
    """Raised if the key that signed the token is not known; the provider may have newer keys."""


def nonce(login: str) -> str:
    """Return the nonce that the ID token of a login must contain. ``login``: the state parameter of the login."""
    return hashlib.sha256(f"nonce {login}".encode()).hexdigest()


def subject(token: object, keys: Mapping[str, Any], issuer: str, client: str, wanted: str) -> str:
    """Return the ``sub`` of an ID token. Raises BadToken if the token is not valid.

    Raises UnknownKey, a BadToken, if ``keys`` has no key, or more than one, that fits the token, or if this key did not
    sign the token. ``keys``: the provider's JWK Set; ``issuer``: the provider's issuer, to which the token's ``iss``
    must be equal, except that ``iss`` may end with a slash; ``client``: the hub's client id at the provider;
    ``wanted``: the nonce that the token must contain.
    """
    if not isinstance(token, str):
        raise BadToken("there is none")
    if not token.isascii():
        raise BadToken("it is not ASCII")
    try:
        claims = jwt.decode(
            token,
            _key(token, keys),
            algorithms=list(ALGORITHMS),
            audience=client,
            issuer=[issuer, f"{issuer}/"],
            leeway=_SKEW,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
    except jwt.InvalidSignatureError:
        raise UnknownKey("none of these keys signed it") from None
    except jwt.PyJWTError as error:
        raise BadToken(type(error).__name__) from None
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if (several or "azp" in claims) and claims.get("azp") != client:
        raise BadToken("it was given to another client")
    if claims.get("nonce") != wanted:
        raise BadToken("it is of another login")
    return str(claims["sub"])


def _key(token: str, keys: Mapping[str, Any]) -> jwt.PyJWK:
    """Return the key that the token names; if the token names none, return the only key.

    Raises UnknownKey if there is no such key, or more than one; BadToken if the token names no allowed algorithm.
    """
    header = jwt.get_unverified_header(token)
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise BadToken("it is not signed with a key that is published")
    listed = keys.get("keys")
    known = [key for key in listed if isinstance(key, dict)] if isinstance(listed, list) else []
    named = header.get("kid")
    fitting = [key for key in known if named in (None, key.get("kid")) and key.get("use", "sig") == "sig"]
    if len(fitting) != 1:
        raise UnknownKey("no key fits it")
    return jwt.PyJWK(fitting[0], fitting[0].get("alg") or algorithm)
