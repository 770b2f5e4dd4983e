"""ID tokens are accepted only if the provider made them for this gateway and this login."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from factoryspawner.login.idtoken import BadToken, UnknownKey, nonce, subject

ISSUER, CLIENT = "https://login.example.org", "gateway"
RSA = rsa.generate_private_key(65537, 2048)
ANOTHER = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
NONCE = nonce("mine..1")


def jwk(key: Any, algorithm: str, **more: Any) -> dict[str, Any]:
    public: dict[str, Any] = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    public.pop("key_ops", None)
    return public | more


KEYS = {"keys": [jwk(RSA, "RS256", kid="a", use="sig"), jwk(EC, "ES256", kid="b"), jwk(ED, "EdDSA", kid="c")]}


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "a", **change: Any) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": "ada", "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": NONCE} | change
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm, headers={"kid": kid} if kid else None)


def read(made: object, keys: dict[str, Any] = KEYS) -> str:
    return subject(made, keys, ISSUER, CLIENT, NONCE)


@pytest.mark.parametrize(
    "made",
    [
        token,
        partial(token, algorithm="PS256"),
        partial(token, EC, "ES256", "b"),
        partial(token, ED, "EdDSA", "c"),
        partial(token, iss=f"{ISSUER}/"),
        partial(token, aud=[CLIENT]),
        partial(token, aud=[CLIENT, "other"], azp=CLIENT),
        lambda: token(exp=int(time.time()) - 10),  # clocks may differ
    ],
)
def test_a_valid_id_token_is_accepted(made: Callable[[], str]) -> None:
    assert read(made()) == "ada"


def test_the_only_key_needs_no_name() -> None:
    assert read(token(kid=None), {"keys": [jwk(RSA, "RS256")]}) == "ada"
    assert read(token(kid=None), {"keys": [jwk(RSA, "RS256", alg="RS256"), jwk(EC, "ES256", use="enc")]}) == "ada"


def with_header(**header: Any) -> str:
    """Return an ID token with this header in place of its own."""
    _, body, signature = token().split(".")
    return f"{base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip('=')}.{body}.{signature}"


@pytest.mark.parametrize(
    "made",
    [
        None,
        5,
        "",
        "a.b.c",
        "\ud800.b.c",
        with_header(),
        with_header(kid="a"),
        with_header(alg=None, kid="a"),
        with_header(alg=["RS256"], kid="a"),
        with_header(alg={}, kid="a"),
        with_header(alg=5, kid="a"),
        with_header(alg="RS256" * 100_000, kid="a"),
        with_header(alg="RS256", kid=5),
        with_header(alg="RS256", kid=["a"]),
        with_header(alg="RS256", kid={}),
        with_header(alg="RS256", kid="a" * 1_000_000),
        with_header(alg="RS256", kid="a", crit=["b64"], b64=False),
        partial(token, ANOTHER),
        partial(token, iss="https://evil.example"),
        partial(token, iss=None),
        partial(token, aud="other"),
        partial(token, aud=["other"]),
        partial(token, aud=[CLIENT, "other"]),
        partial(token, aud=[CLIENT, "other"], azp="other"),
        partial(token, azp="other"),
        lambda: token(exp=int(time.time()) - 120),
        partial(token, exp=None),
        lambda: token(iat=int(time.time()) + 3600),
        partial(token, sub=None),
        partial(token, sub=7),
        partial(token, nonce=None),
        partial(token, nonce=nonce("mine..2")),
        partial(token, "s" * 64, "HS256"),
        partial(token, json.dumps(KEYS["keys"][0]) * 2, "HS256"),
        partial(token, None, "none"),
        partial(token, EC, "ES256", "a"),
    ],
)
def test_an_invalid_id_token_is_refused(made: object) -> None:
    sent = made() if callable(made) else made
    with pytest.raises(BadToken) as bad:
        read(sent)
    assert not isinstance(sent, str) or not sent or sent not in str(bad.value)


def test_an_id_token_with_changed_claims_is_refused() -> None:
    head, body, signature = token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "==")) | {"sub": "eve"}
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    with pytest.raises(BadToken):
        read(f"{head}.{forged}.{signature}")


@pytest.mark.parametrize("keys", [{}, {"keys": []}, {"keys": "x"}, {"keys": [5]}, {"keys": KEYS["keys"][1:]}])
def test_a_key_that_is_not_known_may_be_newer(keys: dict[str, Any]) -> None:
    with pytest.raises(UnknownKey):
        read(token(), keys)


def test_a_key_that_was_replaced_under_the_same_name_may_be_newer() -> None:
    with pytest.raises(UnknownKey):
        read(token(ANOTHER))


def test_two_keys_of_one_name_are_none() -> None:
    with pytest.raises(UnknownKey):
        read(token(), {"keys": [jwk(RSA, "RS256", kid="a"), jwk(ANOTHER, "RS256", kid="a")]})
