"""Checking a person again while their provider fails: nobody loses access because of a missing answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from factoryspawner.config import hub_config
from factoryspawner.login.authenticator import FederatedAuthenticator
from factoryspawner.login.provider import ProviderClient
from factoryspawner.login.words import LoginRefused
from tests.unit.test_hubconfig import write
from tests.unit.test_login_claims import BASIC, written

AT = "https://login.example.org"
ENDPOINTS = {name: f"{AT}/{name}" for name in ("authorize", "token", "userinfo", "keys")}
FRESH = {"access_token": "fresh", "refresh_token": "r2", "token_type": "Bearer"}


class Person:
    """A hub user whose access token has expired, as far as an authenticator uses one."""

    def __init__(self, authenticator: FederatedAuthenticator, sub: str = "x") -> None:
        people = authenticator.providers["mine"]._people
        self.name = people.admit(AT, sub, "ada", lambda _name: False)
        self.state: dict[str, Any] = {
            "provider": "mine",
            "sub": sub,
            "refused": None,
            "groups": ["one"],
            "checked_at": time.time(),
            "access_token": "old",
            "refresh_token": "r1",
            "token_response": {"access_token": "old", "refresh_token": "r1", "token_type": "Bearer"},
        }

    async def get_auth_state(self) -> dict[str, Any]:
        return dict(self.state)

    async def save_auth_state(self, state: dict[str, Any]) -> None:
        self.state = dict(state)

    def sync_groups(self, _groups: list[str]) -> None:
        raise AssertionError("they were put out")


class Said:
    """The provider's answers by endpoint, for ``userinfo`` with the access token (``userinfo_old``).

    An answer is a value, an error status, or an async function that returns one of these.
    """

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def fetch(self, _client: Any, url: str, *_words: Any, **asked: Any) -> Any:
        endpoint = url.rpartition("/")[2]
        token = asked["headers"].get("Authorization", "").rpartition(" ")[2]
        key = f"{endpoint}_{token}" if endpoint == "userinfo" else endpoint
        self.asked.append(key)
        answer = self.answers[key]
        if isinstance(answer, Callable):  # type: ignore[arg-type]  # a form of isinstance that mypy does not know
            answer = await answer()
        if isinstance(answer, int):
            raise HTTPClientError(answer)
        return answer


@pytest.fixture
def authenticator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FederatedAuthenticator:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "secret").chmod(0o600)
    login = {"people_file": "people", "crypt_key_file": "crypt", "providers": [{**BASIC, "endpoints": ENDPOINTS}]}
    config = hub_config.load(write(tmp_path, login=login, public_url="https://gateway.example.org"))
    monkeypatch.setattr(hub_config, "loaded", lambda: config)
    made = FederatedAuthenticator()
    monkeypatch.setattr(made, "_tell", lambda *_args, **_kwargs: None)
    return made


def says(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> Said:
    said = Said(**answers)
    monkeypatch.setattr(ProviderClient, "httpfetch", lambda client, *args, **asked: said.fetch(client, *args, **asked))
    return said


def claims(sub: str = "x") -> dict[str, Any]:
    return {"sub": sub, "eduperson_entitlement": [written(["one"])]}


@pytest.mark.parametrize("status", [429, 500, 503, 599])
async def test_a_renewal_without_an_answer_signs_nobody_out(
    authenticator: FederatedAuthenticator, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    says(monkeypatch, userinfo_old=401, token=status)
    assert await authenticator.refresh_user(Person(authenticator)) is True


@pytest.mark.parametrize("status", [404, 429, 500])
async def test_too_many_requests_and_the_like_are_no_answer(
    authenticator: FederatedAuthenticator, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    said = says(monkeypatch, userinfo_old=status)
    assert await authenticator.refresh_user(Person(authenticator)) is True
    assert said.asked == ["userinfo_old"]  # a refresh token that is valid once is not wasted


@pytest.mark.parametrize("status", [400, 401])
async def test_a_refused_renewal_is_a_new_login(
    authenticator: FederatedAuthenticator, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    says(monkeypatch, userinfo_old=401, token=status)
    person = Person(authenticator)
    assert await authenticator.refresh_user(person) is False
    assert person.state["refused"] is None


async def test_renewed_tokens_are_kept_though_the_provider_falls_silent_then(
    authenticator: FederatedAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The earlier refresh token is invalid by then."""
    says(monkeypatch, userinfo_old=401, token=FRESH, userinfo_fresh=503)
    person = Person(authenticator)
    assert await authenticator.refresh_user(person) is True
    assert person.state["refresh_token"] == person.state["token_response"]["refresh_token"] == "r2"
    says(monkeypatch, userinfo_fresh=claims())
    model = await authenticator.refresh_user(person)
    assert isinstance(model, dict) and model["groups"] == ["one"]


@pytest.mark.parametrize("answer", [{}, [], {"error": "temporarily_unavailable"}, {"sub": None}])
async def test_an_answer_without_a_person_signs_nobody_out(
    authenticator: FederatedAuthenticator, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    says(monkeypatch, userinfo_old=answer)
    assert await authenticator.refresh_user(Person(authenticator)) is True


@pytest.mark.parametrize("answer", [claims("y"), {"sub": "y"}])
async def test_an_answer_about_another_person_needs_a_new_login(
    authenticator: FederatedAuthenticator, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    says(monkeypatch, userinfo_old=answer)
    person = Person(authenticator)
    assert await authenticator.refresh_user(person) is False
    assert person.state["refused"] is None


async def test_a_token_answer_without_a_token_is_no_answer_and_not_in_the_log(
    authenticator: FederatedAuthenticator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(authenticator.log, "propagate", True)
    says(monkeypatch, userinfo_old=401, token={"refresh_token": "very-secret"})
    with caplog.at_level("DEBUG"):
        assert await authenticator.refresh_user(Person(authenticator)) is True
    assert caplog.records and "very-secret" not in caplog.text


@pytest.mark.parametrize("answer", [{"error_description": "very-secret"}, {"refresh_token": "very-secret"}, {}])
async def test_a_login_without_a_token_fails_and_blocks_nobody(
    authenticator: FederatedAuthenticator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answer: dict[str, str],
) -> None:
    """The provider answers the request for tokens with status 200."""
    monkeypatch.setattr(authenticator.log, "propagate", True)
    client = authenticator.providers["mine"]
    monkeypatch.setattr(client, "build_access_tokens_request_params", lambda _handler: {})
    says(monkeypatch, token=answer)
    with caplog.at_level("DEBUG"), pytest.raises(LoginRefused) as refused:
        await client.login(None, "nonce", None)
    assert refused.value.code == "failed"
    assert "very-secret" not in caplog.text


async def test_pages_that_ask_at_once_wait_for_one_question(
    authenticator: FederatedAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, if the provider times out, the last of a page's requests would wait for a minute."""
    asked = asyncio.Event()

    async def slow() -> int:
        asked.set()
        await asyncio.sleep(0.05)
        return 599

    said = says(monkeypatch, userinfo_old=slow)
    person = Person(authenticator)
    assert await asyncio.gather(*(authenticator.refresh_user(person) for _ in range(6))) == [True] * 6
    assert len(said.asked) == 1
    await authenticator.refresh_user(person)
    assert len(said.asked) == 2


async def test_many_logins_share_one_wait_for_a_silent_provider(
    authenticator: FederatedAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = authenticator.providers["mine"]
    monkeypatch.setattr(provider, "settings", provider.settings.model_copy(update={"endpoints": None}))
    asked = 0

    async def slow(_client: Any, *_args: Any, **_kwargs: Any) -> Any:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        raise HTTPClientError(599)

    monkeypatch.setattr(ProviderClient, "httpfetch", slow)
    people = [Person(authenticator, f"sub-{number}") for number in range(5)]
    assert await asyncio.gather(*(authenticator.refresh_user(one) for one in people)) == [True] * 5
    assert asked == 1
