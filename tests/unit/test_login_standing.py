"""The authenticator while no provider can be asked: how long a provider's last answer counts."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from traitlets.config import Config

from factorycommon.models import AccessStatus, PersonBody
from factoryspawner.access import LoginStatus, check, status
from factoryspawner.config import hub_config
from factoryspawner.config.login_settings import LoginTerms
from factoryspawner.errors import StartFailed
from factoryspawner.login.authenticator import FederatedAuthenticator
from factoryspawner.login.provider import ProviderAway
from tests.unit.test_hubconfig import HUB_CONFIG, write
from tests.unit.test_login_claims import BASIC

TRUST = 3600
TERMS = LoginTerms(version="v1", text="Be kind.")


class Person:
    """A hub user, as far as an authenticator uses one."""

    name = "ada-1"

    def __init__(self, **state: Any) -> None:
        self.state = {"provider": "mine", "sub": "x", "refused": None, "checked_at": time.time(), **state}
        self.groups = [SimpleNamespace(name=name) for name in ("one", "not\nprinted", "long" * 100, "")]

    async def get_auth_state(self) -> dict[str, Any] | None:
        return self.state or None


class Link:
    """Records the updates that it gets."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    async def put_person(self, name: str, told: PersonBody) -> None:
        self.told.append((name, sorted(told.groups), told.blocked))

    async def put_access(self, name: str, told: AccessStatus) -> None:
        assert told.refusal is not None
        self.told.append((name, told.refusal.code))


@pytest.fixture
def authenticator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FederatedAuthenticator:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "secret").chmod(0o600)
    login = {"people_file": "people", "crypt_key_file": "crypt", "trust_seconds": TRUST, "providers": [BASIC]}
    config = hub_config.load(write(tmp_path, login=login))
    monkeypatch.setattr(hub_config, "loaded", lambda: config)
    made = FederatedAuthenticator(blocked_users={"blocked"})

    async def away(*_: Any) -> None:
        raise ProviderAway("away")

    for provider in made.providers.values():
        monkeypatch.setattr(provider, "look_again", away)
    return made


@pytest.mark.parametrize(
    ("state", "code", "told"),
    [
        ({}, None, [("ada-1", ["one"], False)]),
        # It is not known whether they lost access: running sessions go on, and only the status is sent.
        ({"checked_at": time.time() - TRUST - 60}, "login-stale", [("ada-1", "login-stale")]),
        ({"checked_at": 0}, "login-stale", [("ada-1", "login-stale")]),
        ({"provider": "gone"}, "login-never", [("ada-1", "login-never")]),
        ({"refused": "no-group"}, "login-no-group", [("ada-1", [], True)]),
    ],
)
async def test_people_with_a_recent_answer_may_start(
    authenticator: FederatedAuthenticator, state: dict[str, Any], code: str | None, told: list[Any]
) -> None:
    assert isinstance(authenticator, LoginStatus)
    said = await authenticator.standing(Person(**state))
    assert (said.words.code if said else None) == code
    link: Any = Link()
    if code is None:
        await check(link, authenticator, Person(**state))
    else:
        with pytest.raises(StartFailed) as failed:
            await check(link, authenticator, Person(**state))
        assert failed.value.kind == "forbidden" and failed.value.words.code == code
    assert link.told == told


async def test_blocked_and_unknown_people_may_not_start(authenticator: FederatedAuthenticator) -> None:
    person = Person()
    person.state = {}
    said = await authenticator.standing(person)
    assert said is not None and said.words.code == "login-never"
    person = Person()
    person.name = "blocked"
    said = await authenticator.standing(person)
    assert said is not None and said.words.code == "login-blocked"


@pytest.mark.parametrize(("age", "stays"), [(0, True), (TRUST - 60, True), (TRUST + 60, False)])
async def test_a_provider_that_is_away_is_trusted_for_a_while(
    authenticator: FederatedAuthenticator, age: float, stays: bool
) -> None:
    assert await authenticator.refresh_user(Person(checked_at=time.time() - age)) is stays


async def test_a_refused_person_stays_refused_while_the_provider_is_down(authenticator: FederatedAuthenticator) -> None:
    assert await authenticator.refresh_user(Person(refused="no-group")) is False


async def test_a_name_of_the_operators_is_nobodys(authenticator: FederatedAuthenticator) -> None:
    authenticator.admin_users = {"Root-1"}
    authenticator.add_user(SimpleNamespace(name="kept-1"))
    assert authenticator._is_taken("root-1")
    assert authenticator._is_taken("kept-1")
    assert not authenticator._is_taken("ada-1")


async def test_the_link_is_told_until_when_a_login_counts(authenticator: FederatedAuthenticator) -> None:
    person = Person()
    told, refusal = await status(authenticator, person)
    assert refusal is None and isinstance(told, PersonBody) and told.access is not None
    until = told.access.until
    assert until is not None
    assert until.timestamp() == pytest.approx(person.state["checked_at"] + TRUST)
    assert (told.access.refusal, told.access.terms) == (None, None)


async def test_people_with_open_terms_are_sent_with_their_groups(
    authenticator: FederatedAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticator, "_login", authenticator._login.model_copy(update={"terms": TERMS}))
    told, refusal = await status(authenticator, Person())
    assert refusal is not None and isinstance(told, PersonBody) and told.access is not None
    assert (sorted(told.groups), told.blocked) == (["one"], False)  # these decide their checklist
    assert told.access.refusal is not None and told.access.refusal.code == "login-terms"
    authenticator._people.admit("issuer", "sub", "ada-1", lambda _name: False)
    name = authenticator._people.name("issuer", "sub")
    assert name is not None
    authenticator.accept_terms(name, TERMS.version)
    person = Person()
    person.name = name
    told, refusal = await status(authenticator, person)
    assert refusal is None and isinstance(told, PersonBody) and told.access is not None
    assert told.access.terms == TERMS.version


def test_a_sites_own_authenticator_is_asked_by_the_name_that_the_docs_give() -> None:
    class Own:
        async def standing(self, user: object) -> None:
            assert user

    assert isinstance(Own(), LoginStatus)
    page = (Path(__file__).parents[2] / "docs" / "login.md").read_text()
    assert "without a method `standing`" in " ".join(page.split())


def test_the_hub_takes_the_antennas_that_its_configuration_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "factories").mkdir()
    own = tmp_path / "antennas.yaml"
    read = yaml.safe_load((HUB_CONFIG.parent / own.name).read_text())
    read["antennas"] = [{**read["antennas"][0], "id": "own", "login": {"provider": "mine"}}]
    own.write_text(yaml.safe_dump(read))
    for name in ("crypt", "secret", "service"):
        (tmp_path / name).write_text("ab" * 32)
        (tmp_path / name).chmod(0o600)
    login = {"people_file": "people", "crypt_key_file": "crypt", "providers": [BASIC]}
    config = hub_config.load(write(tmp_path, login=login, catalogue="factories"))
    monkeypatch.setattr(hub_config, "loaded", lambda: config)
    made = Config()
    part = HUB_CONFIG.parent / "parts" / "people.py"
    exec(compile(part.read_text(), part, "exec"), {"c": made, "__file__": str(part)})  # as JupyterHub does
    assert [one.id for one, _ in FederatedAuthenticator(config=made).antennas] == ["own"]
    read["antennas"][0]["country"] = "Norway"
    own.write_text(yaml.safe_dump(read))
    with pytest.raises(hub_config.HubConfigError, match=r"antennas\.yaml:[0-9]+: antennas\.own\.country"):
        FederatedAuthenticator(config=made)
