from __future__ import annotations

from typing import Any

import pytest
from jupyterhub.oauth import provider
from jupyterhub.utils import compare_token, new_token
from traitlets.config import Config

from factoryspawner.config.token_hashes import hash_secret, trust_random_tokens

RANDOM, CHOSEN = "0123456789abcdef" * 4, "correct horse battery staple of mine"


def rounds(hashed: str) -> int:
    return int(hashed.split(":")[1])


@pytest.mark.parametrize("token", [RANDOM[:32], RANDOM])
def test_a_random_token_is_hashed_in_one_round(token: str) -> None:
    hashed = hash_secret(token)
    assert rounds(hashed) == 1
    assert compare_token(hashed, token)
    assert not compare_token(hashed, new_token())


@pytest.mark.parametrize("secret", [CHOSEN, "0" * 31, "F" * 32])
def test_a_secret_that_somebody_may_have_chosen_is_hashed_in_as_many_rounds_as_before(secret: str) -> None:
    assert rounds(hash_secret(secret)) > 10_000


def test_jupyterhub_still_hashes_secrets_where_that_is_replaced() -> None:
    assert callable(provider.hash_token)
    assert "hash_token" in provider.JupyterHubOAuthServer.add_client.__code__.co_names


@pytest.mark.parametrize(
    ("settings", "trusted"),
    [
        ({"services": [{"name": "a", "api_token": RANDOM}, {"name": "b"}]}, True),
        ({"services": [{"name": "a", "api_token": RANDOM}, {"name": "b", "api_token": CHOSEN}]}, False),
        ({"services": [{"name": "a", "api_token": RANDOM}], "service_tokens": {CHOSEN: "a"}}, False),
        ({"services": [{"name": "a", "api_token": RANDOM}], "api_tokens": {CHOSEN: "ada"}}, False),
        ({"services": [{"name": "a", "api_token": RANDOM}], "trust_user_provided_tokens": False}, False),
        ({}, True),
    ],
)
def test_a_chosen_token_in_the_configuration_keeps_its_rounds(settings: dict[str, Any], trusted: bool) -> None:
    config = Config(JupyterHub=settings)
    trust_random_tokens(config)
    assert config.JupyterHub.get("trust_user_provided_tokens", False) is trusted
