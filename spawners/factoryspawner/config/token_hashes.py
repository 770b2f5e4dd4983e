"""Makes it cheap for the hub to hash and to check tokens that are random.

If a person may have chosen a secret, JupyterHub uses 16,384 rounds to hash it, which takes the hub's event loop some
milliseconds. This happens at each start of a server, whose token is the secret of an OAuth client, and at each request
with a service's token. For a token that JupyterHub has generated itself, it uses one round, because more rounds do not
protect a random token better. With this module, JupyterHub uses one round for every token that looks random, which is
one of 32 to 64 hexadecimal digits (small letters).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jupyterhub.oauth import provider
from jupyterhub.utils import hash_token

_RANDOM = re.compile(r"[0-9a-f]{32,64}")  # as JupyterHub's new_token() and ``openssl rand -hex 32`` make them


def hash_secret(secret: str) -> str:
    """Return the hash of an OAuth client's secret, in JupyterHub's format.

    The hash takes one round if the secret looks random (32 to 64 digits of ``0-9a-f``), else JupyterHub's usual number
    of rounds.
    """
    return str(hash_token(secret, rounds=1) if _RANDOM.fullmatch(secret) else hash_token(secret))


def hash_random_secrets_once() -> None:
    """Make JupyterHub hash the secrets of OAuth clients by ``hash_secret``: in one round if they look random."""
    provider.hash_token = hash_secret


def trust_random_tokens(config: Any) -> None:
    """Set JupyterHub's ``trust_user_provided_tokens`` if all tokens in its configuration look random.

    A token looks random if it has 32 to 64 digits of ``0-9a-f``. ``config``: JupyterHub's configuration; if the
    operator has set ``trust_user_provided_tokens``, do nothing.
    """
    section = config.get("JupyterHub", {})
    if "trust_user_provided_tokens" not in section and all(_RANDOM.fullmatch(token) for token in _tokens(section)):
        config.JupyterHub.trust_user_provided_tokens = True


def _tokens(section: Mapping[str, Any]) -> Iterator[str]:
    for service in section.get("services", []):
        yield from (str(token) for token in (service.get("api_token"),) if token)
    for setting in ("service_tokens", "api_tokens"):
        yield from section.get(setting, {})
