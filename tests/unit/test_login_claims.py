"""The evaluation of claims: entitlements in the form of AARC-G069, other claims, assurance, and names."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from factorylink.util import clock
from factoryspawner.config.hub_config import HubConfigError, load
from factoryspawner.config.login_settings import LoginSettings, Provider
from factoryspawner.login.claims import Entitlement, entitlement, judge, short_name, subject
from factoryspawner.login.people import NameTaken, People
from factoryspawner.login.words import _TEXTS, LoginRefused, words
from tests.unit.test_hubconfig import write

SPACE = "urn:geant:example.org"
TRUSTED = "aai.example.org"
RULE = {"entitlement": {"namespace": SPACE, "authorities": [TRUSTED]}}
BASIC: dict[str, Any] = {
    "id": "mine",
    "issuer": "https://login.example.org",
    "client_id": "hub",
    "client_secret_file": "secret",
    "rules": [RULE],
}

# A group's name: any printable characters, except those with a meaning in an entitlement.
group_names = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Cf", "Co", "Cn", "Zl", "Zp", "Zs"), exclude_characters=":#"),
    min_size=1,
    max_size=12,
).filter(lambda name: not name.startswith("role=") and name.isprintable())


def provider(*rules: dict[str, Any], **more: Any) -> Provider:
    return Provider.model_validate({**BASIC, "rules": rules or [RULE], **more})


def groups(claims: dict[str, Any], *rules: dict[str, Any], **more: Any) -> set[str]:
    return set(judge({"sub": "x", **claims}, provider(*rules, **more)).groups)


def written(parts: list[str], role: str = "", authority: str = TRUSTED) -> str:
    said = f":role={quote(role, safe='')}" if role else ""
    return f"{SPACE}:group:{':'.join(quote(part, safe='') for part in parts)}{said}#{authority}"


@given(
    st.lists(group_names, min_size=1, max_size=4),
    st.just("") | group_names,
    st.sampled_from([TRUSTED, "evil.org", "x/y:z"]),
)
def test_valid_entitlements_are_parsed(parts: list[str], role: str, authority: str) -> None:
    read = entitlement(written(parts, role, authority), SPACE)
    assert read == Entitlement(tuple(parts), role, authority)
    given_groups = groups({"eduperson_entitlement": [written(parts, role, authority)]})
    expected = ":".join(parts)
    if authority == TRUSTED and not expected.startswith("antenna:"):
        assert given_groups == {expected}
    else:
        assert given_groups == set()


@given(st.text(max_size=60) | st.builds(lambda text: f"{SPACE}:group:{text}#{TRUSTED}", st.text(max_size=40)))
def test_any_other_text_is_no_entitlement_or_is_restored(text: str) -> None:
    read = entitlement(text, SPACE)
    if read is not None:
        assert entitlement(written(list(read.groups), read.role, read.authority), SPACE) == read


@pytest.mark.parametrize(
    "text",
    [
        f"{SPACE}:group:one",
        f"{SPACE}:group:#{TRUSTED}",
        f"{SPACE}:group:one:#{TRUSTED}",
        f"{SPACE}:group::one#{TRUSTED}",
        f"{SPACE}:group:role=member#{TRUSTED}",
        f"{SPACE}:group:one:role=#{TRUSTED}",
        f"{SPACE}:group:one:role=member:two#{TRUSTED}",
        f"{SPACE}:group:one#{TRUSTED}#evil.org",
        f"{SPACE}:group:one#evil.org#{TRUSTED}",
        f"{SPACE}:group:one%3Atwo#{TRUSTED}",
        f"{SPACE}:group:one%23{TRUSTED}#evil.org",
        f"{SPACE}:group:one%0A#{TRUSTED}",
        f"{SPACE}:group:one%FF#{TRUSTED}",
        f"{SPACE}:group:one two#{TRUSTED}",
        f"{SPACE}:group:one#{TRUSTED}\n",
        f"{SPACE}.evil:group:one#{TRUSTED}",
        f"x{SPACE}:group:one#{TRUSTED}",
        f"{SPACE}:role:one#{TRUSTED}",
        f"{SPACE.upper()}:group:one#{TRUSTED}",
    ],
)
def test_an_entitlement_that_differs_slightly_gives_no_group(text: str) -> None:
    assert groups({"eduperson_entitlement": [text]}) == set()


def test_role_and_group_of_a_rule() -> None:
    said = [written(["ehpc", "one"], "manager"), written(["ehpc", "two"], "member"), written(["other"], "manager")]
    rule = {
        "entitlement": {"namespace": SPACE, "authorities": [TRUSTED], "group": "ehpc:*", "roles": ["manager"]},
        "gives": "managers-{group}",
    }
    assert groups({"entitlements": said}, rule) == {"managers-ehpc:one"}


def test_plain_claims_may_be_nested() -> None:
    rule = {"claim": {"name": "realm_access.roles", "value": "ai-*"}}
    assert groups({"realm_access": {"roles": ["ai-one", "two", 3, None]}}, rule) == {"ai-one"}
    assert groups({"realm_access": "ai-one"}, rule) == set()
    assert groups({"realm_access.roles": "ai-whole"}, rule) == {"ai-whole"}
    assert groups({"groups": "one"}, {"claim": {"name": "groups", "value": "*"}, "gives": "members"}) == {"members"}


def test_only_the_star_of_a_pattern_is_not_literal() -> None:
    rule = {"claim": {"name": "groups", "value": "ai?*"}}
    assert groups({"groups": ["ai?", "ai?one", "ai-one", "ai"]}, rule) == {"ai?", "ai?one"}


@pytest.mark.parametrize("name", ["email", "mail"])
def test_an_address_that_is_not_verified_is_not_said(name: str) -> None:
    rule = {"claim": {"name": name, "value": "*@example.org"}, "gives": "staff"}
    address = {name: "a@example.org"}
    assert groups(address, rule) == set()
    for verified in (False, "true", 1, None):
        assert groups({**address, "email_verified": verified}, rule) == set()
    assert groups({**address, "email_verified": True}, rule) == {"staff"}


def test_no_claim_makes_an_antenna_or_a_name_that_is_no_groups() -> None:
    rule = {"claim": {"name": "groups", "value": "*"}}
    assert groups({"groups": ["antenna:hunaifa", "a\nb", "x" * 256, "", "good"]}, rule) == {"good"}


def test_assurance_is_a_gate_and_no_way_in() -> None:
    iap = "https://refeds.org/assurance/IAP/"
    member = {"eduperson_entitlement": [written(["one"])]}
    for level, passes in (("low", False), ("medium", True), ("high", True), ("medium/x", False)):
        verdict = judge({"sub": "x", "eduperson_assurance": [iap + level], **member}, provider(assurance="medium"))
        assert (verdict.refusal is None) == passes
    assert judge({"sub": "x", "eduperson_assurance": [iap + "medium"], **member}, provider(assurance="high")).refusal
    nobody = judge({"sub": "x", "eduperson_assurance": [iap + "high"]}, provider(assurance="high"))
    assert nobody.refusal == "no-group"
    assert judge({"sub": "x", **member}, provider(assurance="medium")).refusal == "assurance"


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
CLAIMS = ("sub", "groups", "eduperson_entitlement", "eduperson_assurance", "email", "email_verified", "name", "a")


@given(st.dictionaries(st.sampled_from(CLAIMS), json))
def test_claims_of_any_shape_are_judged(claims: dict[str, Any]) -> None:
    rules = (RULE, {"claim": {"name": "groups", "value": "*"}}, {"claim": {"name": "a.b", "value": "*"}})
    verdict = judge(claims, provider(*rules, assurance="medium"))
    assert (verdict.refusal is None) == bool(verdict.groups)
    assert short_name(claims).isalnum()


@pytest.mark.parametrize("sub", [None, "", "x" * 256, 7, ["x"], "a\nb", "é", " \x7f"])
def test_claims_without_a_valid_sub_identify_nobody(sub: object) -> None:
    assert subject({"sub": sub}) is None
    assert subject(sub) is None
    everybody = provider({"everybody": True, "gives": "all"})
    assert judge({"sub": sub}, everybody).refusal == "identity"


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": "Zoë.Müller@home"}, "zoemuller"),
        ({"preferred_username": "1234", "given_name": "Ada"}, "ada"),
        ({"name": "李"}, "user"),
        ({"email": "secret@example.org", "email_verified": True}, "user"),
        ({"preferred_username": "x" * 400}, "x" * 20),
        ({"preferred_username": "../root\n"}, "root"),
    ],
)
def test_the_first_part_of_a_name_is_readable(claims: dict[str, Any], name: str) -> None:
    assert short_name(claims) == name


# --- names ----------------------------------------------------------------------------------------------------------

visits = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.text("xyX12-", min_size=1, max_size=3), st.sampled_from(["ada", "ada1"])),
    max_size=25,
)


@given(visits, st.sets(st.sampled_from(["ada-1", "ada-2", "ada1-1"])))
def test_two_subs_never_one_name_and_one_sub_always_one(
    tmp_path_factory: pytest.TempPathFactory, seen: list[tuple[str, str, str]], taken: set[str]
) -> None:
    file = tmp_path_factory.mktemp("people") / "people.sqlite"
    known: dict[tuple[str, str], str] = {}
    for issuer, sub, begin in seen:
        name = People(file).admit(issuer, sub, begin, taken.__contains__)  # a new object each time, as after a restart
        assert known.setdefault((issuer, sub), name) == name
        assert name not in taken
    assert len({name.lower() for name in known.values()}) == len(known)
    assert all(People(file).name(*who) == name for who, name in known.items())


def test_two_at_once_never_get_one_name(tmp_path: Path) -> None:
    file = tmp_path / "people.sqlite"
    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(lambda sub: People(file).admit("a", str(sub), "ada", lambda _: False), range(30)))
    assert sorted(names) == sorted(f"ada-{number}" for number in range(1, 31))


def test_a_name_that_an_operator_wrote_is_one_persons(tmp_path: Path) -> None:
    people = People(tmp_path / "people.sqlite")
    assert people.admit_as("a", "one", "grace") == "grace"
    assert people.admit_as("a", "one", "changed") == "grace"
    with pytest.raises(NameTaken):
        people.admit_as("b", "one", "Grace")
    assert (tmp_path / "people.sqlite").stat().st_mode & 0o777 == 0o600


def test_an_antenna_is_remembered(tmp_path: Path) -> None:
    people = People(tmp_path / "people.sqlite")
    people.admit("a", "one", "ada", lambda _: False)
    assert people.antenna("a", "one") is None
    people.pick("a", "one", "hunaifa")
    assert People(tmp_path / "people.sqlite").antenna("a", "one") == "hunaifa"


def test_terms_are_kept_with_their_date(tmp_path: Path) -> None:
    people = People(tmp_path / "people.sqlite")
    name = people.admit("a", "one", "ada", lambda _: False)
    assert people.accepted(name, "2026-11") is None
    before = clock.now().replace(microsecond=0)
    people.accept(name, "2026-11")
    kept = People(tmp_path / "people.sqlite")
    at = kept.accepted(name, "2026-11")
    assert at is not None
    assert before <= at <= clock.now()
    assert kept.accepted(name, "2026-12") is None


def test_a_persons_sub_can_be_a_group() -> None:
    """A portal that knows no names of this hub can then list a project's people."""
    rule = {"claim": {"name": "sub", "value": "*"}, "gives": "person:{group}"}
    assert groups({"sub": "5f3@proxy.example.org"}, rule) == {"person:5f3@proxy.example.org"}


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"issuer": "http://login.example.org"}, "https"),
        ({"issuer": "https://u:p@login.example.org"}, "address"),
        ({"issuer": None}, "issuer"),
        ({"rules": []}, "rules"),
        ({"rules": [{"gives": "x"}]}, "give one of"),
        ({"rules": [{**RULE, "everybody": True}]}, "give one of"),
        ({"rules": [{"everybody": True}]}, "name of a group"),
        ({"rules": [{**RULE, "gives": "antenna:{group}"}]}, "antenna"),
        ({"rules": [{"entitlement": {"namespace": SPACE, "authorities": []}}]}, "authorities"),
        ({"id": "a/b"}, "id"),
        ({"scopes": ["a b"]}, "scopes"),
        ({"client_secret": "in the open"}, "client_secret"),
        ({"assurance": "low"}, "assurance"),
    ],
)
def test_a_bad_provider_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Provider.model_validate({**BASIC, **change})


def test_presets_fill_what_is_known() -> None:
    egi = Provider.model_validate({**BASIC, "kind": "egi-checkin", "issuer": None})
    assert egi.issued_by == "https://aai.egi.eu/auth/realms/egi"
    assert "offline_access" in egi.asked_scopes
    assert egi.shown == "EGI Check-in"


@pytest.mark.parametrize(
    "second",
    [{"id": "mine", "issuer": "https://b"}, {"id": "b"}, {"id": "b", "issuer": "https://b", "names": {"s": "ADA"}}],
)
def test_two_providers_share_nothing(second: dict[str, Any]) -> None:
    first = {**BASIC, "names": {"x": "ada"}}
    with pytest.raises(ValidationError, match="twice"):
        LoginSettings.model_validate(
            {"people_file": "p", "crypt_key_file": "k", "providers": [first, {**BASIC, **second}]}
        )


def test_login_in_the_hubs_yaml(tmp_path: Path) -> None:
    login = {"people_file": "p", "crypt_key_file": "k", "providers": [BASIC]}
    config = load(write(tmp_path, login=login))
    assert config.login is not None
    assert config.login.people_file == tmp_path / "p"
    assert config.login.providers[0].client_secret_file == tmp_path / "secret"
    with pytest.raises(HubConfigError, match="passwords_file"):
        load(write(tmp_path, login=login, passwords_file="x"))
    with pytest.raises(HubConfigError, match="https"):
        load(write(tmp_path, login=login, public_url="http://gateway.example.org"))


def test_a_group_that_people_choose_makes_no_administrator(tmp_path: Path) -> None:
    login = {
        "people_file": "p",
        "crypt_key_file": "k",
        "providers": [BASIC],
        "admin_groups": ["ops", "antenna:hunaifa"],
    }
    with pytest.raises(HubConfigError) as caught:
        load(write(tmp_path, login=login))
    file, key, why = str(caught.value).split(": ", 2)
    assert file.startswith(str(tmp_path))
    assert key == "login.admin_groups.1"
    assert why == "'antenna:hunaifa' gives no right: groups antenna:… are what people pick themselves at login"


def test_every_refusal_has_words() -> None:
    for code in _TEXTS:
        said = words(code)
        assert said.what.endswith(".") and said.do.endswith(".")
        assert LoginRefused(code).status in (400, 403, 500, 502, 503)
