"""The options of factorygate-install: mistakes are explained, and options of an earlier run are kept."""

from __future__ import annotations

import json

import pytest

from factoryinstaller import cli, options
from factoryinstaller.errors import InstallerError

GOOD = {"domain": "gateway.example.org", "email": "ops@example.org", "admin": "ada", "login": "passwords"}
OIDC = GOOD | {
    "admin": "ada@example.org",
    "login": "oidc",
    "oidc_issuer": "https://sso.example.org",
    "oidc_client": "factorygate",
    "oidc_secret_file": "/root/secret",
}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "--domain, --email, --admin, --login"),
        (GOOD | {"domain": "gateway"}, "--domain 'gateway'"),
        (GOOD | {"domain": "gateway.example.org {\n}"}, "--domain"),
        (GOOD | {"domain": "Gateway.Example.org"}, "small letters"),
        (GOOD | {"email": "ops"}, "--email 'ops'"),
        (GOOD | {"email": "ops@example.org {"}, "--email"),
        (GOOD | {"admin": "Ada Lovelace"}, "--admin"),
        (GOOD | {"admin": "guest.ada"}, "a name for guests"),
        (GOOD | {"acme": "http://ca.example.org"}, "--acme"),
        (GOOD | {"acme": "https://ca.example.org/\n}"}, "--acme"),
        (GOOD | {"hub_name": "A hub"}, "--hub-name"),
        (OIDC | {"admin": "ada"}, "mail address that the provider has verified"),
        (OIDC | {"oidc_issuer": ""}, "--oidc-issuer"),
        (OIDC | {"oidc_issuer": "http://sso.example.org"}, "must begin with https://"),
        (OIDC | {"oidc_client": ""}, "--oidc-client"),
        (OIDC | {"oidc_secret_file": ""}, "--oidc-secret-file"),
        (OIDC | {"allow": ["nobody"]}, "--allow 'nobody'"),
    ],
)
def test_a_mistake_is_named(given: dict[str, object], said: str) -> None:
    with pytest.raises(InstallerError) as refused:
        options.chosen(given, {})
    assert said in str(refused.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(InstallerError) as refused:
        options.chosen(GOOD | {"domain": "x", "email": "y"}, {})
    assert "--domain" in str(refused.value)
    assert "--email" in str(refused.value)


@pytest.mark.parametrize("given", [GOOD, OIDC | {"allow": ["email=*@example.org"]}])
def test_a_later_run_needs_no_options(given: dict[str, object]) -> None:
    first = options.chosen(given, {})
    assert options.chosen(dict.fromkeys(given), options.of_json(first.to_json())) == first


def test_an_option_that_is_given_anew_counts() -> None:
    kept = options.of_json(options.chosen(GOOD, {}).to_json())
    assert options.chosen({"email": "other@example.org"}, kept).email == "other@example.org"


@pytest.mark.parametrize(
    ("given", "kept", "workshops"),
    [
        ({}, {}, True),
        ({"workshops": False}, {}, False),
        ({}, {"workshops": False}, False),
        ({}, {"workshops": True}, True),
        ({}, {"hub_name": "h"}, False),  # installed by a release without workshops
        ({"workshops": True}, {"workshops": False}, True),
    ],
)
def test_a_new_gateway_has_workshops_and_an_older_one_on_request(
    given: dict[str, object], kept: dict[str, object], workshops: bool
) -> None:
    chosen = options.chosen(GOOD | given, kept)
    assert chosen.workshops is workshops
    assert options.chosen({}, options.of_json(chosen.to_json())) == chosen


def test_options_of_another_release_are_not_guessed() -> None:
    with pytest.raises(InstallerError, match="another release"):
        options.of_json(json.dumps({"colour": "blue"}))


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--login", "guess"])
    assert ended.value.code == 2
    assert "invalid choice" in capsys.readouterr().err
