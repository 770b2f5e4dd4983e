"""Evaluates a provider's claims about a person: their groups, or a reason to refuse them.

Pure functions. Claims come from outside: a claim of another type than expected counts as missing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal
from urllib.parse import unquote

from factorycommon.models import ANTENNA
from factoryspawner.config.login_settings import EntitlementMatch, Provider, Rule

Claims = Mapping[str, Any]
Refusal = Literal["identity", "assurance", "no-group"]

_LONGEST = 1024  # maximum characters of one value
_MOST = 2000  # maximum number of values of one claim
_LONGEST_GROUP = 255
_LONGEST_SUB = 255  # OpenID Connect Core, 2
_LONGEST_NAME = 20
_ASSURANCE = "https://refeds.org/assurance/IAP/"
_ENOUGH = {"medium": ("medium", "high"), "high": ("high",)}
_MAIL = ("email", "mail")
_COMPONENT = r"(?:[A-Za-z0-9._~!$&'()*+,;=@-]|%[0-9A-Fa-f]{2})+"
_AUTHORITY = r"(?:[A-Za-z0-9._~!$&'()*+,;=@:/?-]|%[0-9A-Fa-f]{2})+"
_ENTITLEMENT = re.compile(
    rf"(?P<groups>{_COMPONENT}(?::{_COMPONENT})*?)(?::role=(?P<role>{_COMPONENT}))?#(?P<authority>{_AUTHORITY})"
)


@dataclass(frozen=True)
class Entitlement:
    """A group membership, in the form that the guideline AARC-G069 defines (an entitlement).

    ``groups``: the group and its subgroups, decoded; ``role``: the person's role in the group, "" if there is none;
    ``authority``: who states the membership.
    """

    groups: tuple[str, ...]
    role: str
    authority: str


@dataclass(frozen=True)
class LoginVerdict:
    """The result of evaluating claims. ``refusal`` None: the person is admitted, and is in ``groups``."""

    groups: frozenset[str]
    refusal: Refusal | None


def subject(claims: object) -> str | None:
    """Return the ``sub`` of the claims; None if it is missing or not valid."""
    sub = claims.get("sub") if isinstance(claims, Mapping) else None
    if not isinstance(sub, str) or not 0 < len(sub) <= _LONGEST_SUB or not sub.isascii() or not sub.isprintable():
        return None
    return sub


def judge(claims: Claims, provider: Provider) -> LoginVerdict:
    """Return the groups that this provider's rules give for the claims, or the reason to refuse the person."""
    if subject(claims) is None:
        return LoginVerdict(frozenset(), "identity")
    if provider.assurance is not None:
        said = {value for name in provider.assurance_claims for value in values(claims, name)}
        if said.isdisjoint(_ASSURANCE + level for level in _ENOUGH[provider.assurance]):
            return LoginVerdict(frozenset(), "assurance")
    found = {group for rule in provider.rules for group in _given(rule, claims, provider) if _can_be_group(group)}
    return LoginVerdict(frozenset(found), None if found else "no-group")


def values(claims: Claims, name: str) -> tuple[str, ...]:
    """Return those values of the claim ``name`` that are texts of 1 to 1,024 characters, in their order.

    If there is no such claim, the dots in ``name`` lead to nested claims. An unverified e-mail address counts as
    missing. Of a list, only the first 2,000 values count.
    """
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if name.rpartition(".")[2] in _MAIL and claims.get("email_verified") is not True:
        return ()
    listed = found if isinstance(found, list | tuple) else [found]
    return tuple(value for value in listed[:_MOST] if isinstance(value, str) and 0 < len(value) <= _LONGEST)


def entitlement(text: str, namespace: str) -> Entitlement | None:
    """Parse an entitlement whose namespace is ``namespace``; return None for any other text."""
    head = f"{namespace}:group:"
    if not text.startswith(head):
        return None
    found = _ENTITLEMENT.fullmatch(text[len(head) :])
    if found is None:
        return None
    groups = tuple(_decoded(part) for part in found["groups"].split(":"))
    role = _decoded(found["role"] or "")
    if any(not part or part.startswith("role=") for part in groups) or (found["role"] and not role):
        return None
    return Entitlement(groups=groups, role=role, authority=found["authority"])


def short_name(claims: Claims) -> str:
    """Return the beginning of a new person's name at this hub: letters and digits of their claims, or ``user``.

    This text only makes the name readable: the hub identifies people by issuer and ``sub``.
    """
    for claim in ("preferred_username", "given_name", "name"):
        for value in values(claims, claim)[:1]:
            plain = unicodedata.normalize("NFKD", value.split("@")[0]).encode("ascii", "ignore").decode().lower()
            letters = re.sub(r"[^a-z0-9]", "", plain).lstrip("0123456789")[:_LONGEST_NAME]
            if letters:
                return letters
    return "user"


def _given(rule: Rule, claims: Claims, provider: Provider) -> Iterator[str]:
    if rule.everybody:
        yield rule.gives
    elif rule.claim is not None:
        for value in values(claims, rule.claim.name):
            if _fits(value, rule.claim.value):
                yield rule.gives.replace("{group}", value)
    elif rule.entitlement is not None:
        for name in provider.entitlement_claims:
            for value in values(claims, name):
                group = _matched(value, rule.entitlement)
                if group is not None:
                    yield rule.gives.replace("{group}", group)


def _matched(text: str, match: EntitlementMatch) -> str | None:
    said = entitlement(text, match.namespace)
    if said is None or said.authority not in match.authorities:
        return None
    if match.roles and said.role not in match.roles:
        return None
    group = ":".join(said.groups)
    return group if _fits(group, match.group) else None


def _fits(text: str, pattern: str) -> bool:
    """True if ``text`` fits ``pattern``, in which ``*`` alone has a meaning: any characters, or none."""
    return fnmatchcase(text, pattern.replace("?", "[?]"))


def _decoded(part: str) -> str:
    """Return a component of an entitlement without percent encoding; "" if the decoded text is not allowed.

    The text must be UTF-8, printable, and without the separators of entitlements (``:`` and ``#``).
    """
    try:
        text = unquote(part, errors="strict")
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() and ":" not in text and "#" not in text else ""


def _can_be_group(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_GROUP and name.isprintable() and not name.startswith(ANTENNA)
