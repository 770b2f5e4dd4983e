"""Models of the section ``login`` of the hub's YAML: login providers, the rules that give people groups, and terms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from factorycommon.models import Model, Person, ProvenGroup, Slug
from factorycommon.tls import is_loopback_host

Kind = Literal["myaccessid", "egi-checkin", "keycloak", "oidc"]


def is_loopback(url: str) -> bool:
    """Return True if a URL leads to this machine: its host is ``localhost`` or a loopback address."""
    return is_loopback_host(urlsplit(url).hostname or "")


def safe_url(url: str) -> str:
    """Return the URL without a slash at its end. Raises ValueError if a login over this URL is not safe.

    The URL must be https, or http to this machine, and have neither a user name nor a fragment.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.fragment:
        raise ValueError(f"{url!r} is not an address such as https://login.example.org")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url)):
        raise ValueError(f"{url!r} must be https: a login goes over it")
    return url.rstrip("/")


SafeUrl = Annotated[str, AfterValidator(safe_url)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\[\]\x00-\x1f\x7f]+$")]


class ProviderPreset(NamedTuple):
    """The default settings for a kind of provider. ``issuer`` None: the operator must configure the issuer."""

    title: str
    issuer: str | None
    scopes: tuple[str, ...]


PRESETS: dict[Kind, ProviderPreset] = {
    "myaccessid": ProviderPreset(
        "MyAccessID", None, ("openid", "profile", "email", "eduperson_assurance", "eduperson_entitlement")
    ),
    "egi-checkin": ProviderPreset(
        "EGI Check-in",
        "https://aai.egi.eu/auth/realms/egi",
        ("openid", "profile", "eduperson_entitlement", "eduperson_scoped_affiliation", "offline_access"),
    ),
    "keycloak": ProviderPreset("Keycloak", None, ("openid", "profile", "email")),
    "oidc": ProviderPreset("OpenID Connect", None, ("openid", "profile", "email")),
}


class Endpoints(Model):
    """The endpoints of a provider.

    For a provider without the setting ``endpoints``, the hub reads them when it first needs them, from the issuer's
    ``/.well-known/openid-configuration``. ``keys``: the JWK Set; ``end_session``: the page that ends a login at the
    provider, for ``sign_out``.
    """

    authorize: SafeUrl
    token: SafeUrl
    userinfo: SafeUrl
    keys: SafeUrl
    end_session: SafeUrl | None = None


class EntitlementMatch(Model):
    """A rule's condition on an entitlement of AARC-G069: ``NAMESPACE:group:NAME[:SUB]*[:role=ROLE]#AUTHORITY``.

    ``authorities``: accepted authorities; entitlements of others are ignored. ``group``: a pattern for the group and
    its subgroups as one text, such as ``NAME:SUB``; ``*`` in the pattern stands for any text, and the pattern ``NAME``
    matches no subgroup. ``roles``: the entitlement must have one of these; empty: any role, or none.
    """

    namespace: Annotated[str, StringConstraints(pattern=r"^urn:[A-Za-z0-9][A-Za-z0-9-]{0,31}(:[A-Za-z0-9._~-]+)+$")]
    authorities: tuple[str, ...] = Field(min_length=1)
    group: Pattern = "*"
    roles: tuple[str, ...] = ()


class ClaimMatch(Model):
    """A rule's condition on a claim.

    ``name``: the claim's name; dots lead to nested claims (``realm_access.roles``). ``value``: a pattern for the
    claim's value, in which ``*`` stands for any text. An e-mail address counts only if the provider says that it is
    verified.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_:/-]+(\.[A-Za-z0-9_:/-]+)*$")]
    value: Pattern


class Rule(Model):
    """A rule that gives people a group. It has exactly one condition: ``entitlement``, ``claim`` or ``everybody``.

    ``gives``: the group's name, in which ``{group}`` is replaced by the entitlement's group with its subgroups
    (``NAME:SUB``), or by the claim's value. With ``everybody``, the name must not contain ``{group}``.
    """

    entitlement: EntitlementMatch | None = None
    claim: ClaimMatch | None = None
    everybody: Literal[True] | None = None
    gives: ProvenGroup = "{group}"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(rule is not None for rule in (self.entitlement, self.claim, self.everybody)) != 1:
            raise ValueError("give one of entitlement, claim, everybody")
        if self.everybody and "{group}" in self.gives:
            raise ValueError("gives: everybody needs the name of a group")
        return self


class Provider(Model):
    """One login provider. ``id`` is part of URLs and of the hub's records, so never change it.

    ``kind``: selects default values for ``title``, ``issuer`` and ``scopes``; ``client_secret_file``: the file with the
    client secret, of mode 0600; ``client_auth``: how the hub sends the secret: as HTTP basic authentication or in the
    request's body; ``sign_out``: whether people who sign out here are redirected to sign out at the provider, too;
    ``endpoints``: without them the hub asks the issuer; ``entitlement_claims``, ``assurance_claims``: the claims in
    which the provider sends entitlements and identity assurances; ``rules``: the rules that give people groups; a
    person who gets no group is refused; ``assurance``: the minimum identity assurance (REFEDS IAP), without which a
    person is refused; ``names``: user names at this hub, by the person's ``sub``, for people who had a user name here
    before their first login by this provider.
    """

    id: Slug
    kind: Kind = "oidc"
    title: str = ""
    issuer: SafeUrl | None = None
    client_id: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    client_secret_file: Path
    client_auth: Literal["basic", "post"] = "basic"
    sign_out: bool = False
    endpoints: Endpoints | None = None
    scopes: tuple[Annotated[str, StringConstraints(pattern=r"^[!#-\[\]-~]+$")], ...] = ()
    entitlement_claims: tuple[str, ...] = ("entitlements", "eduperson_entitlement")
    assurance_claims: tuple[str, ...] = ("eduperson_assurance",)
    assurance: Literal["medium", "high"] | None = None
    rules: tuple[Rule, ...] = Field(min_length=1)
    names: dict[str, Person] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_an_issuer(self) -> Self:
        if self.issuer is None and PRESETS[self.kind].issuer is None:
            raise ValueError(f"issuer: a provider of kind {self.kind} needs it")
        if self.sign_out and self.endpoints is not None and self.endpoints.end_session is None:
            raise ValueError("endpoints.end_session: sign_out needs it")
        return self

    @property
    def shown(self) -> str:
        """Return the provider's title on the login page."""
        return self.title or PRESETS[self.kind].title

    @property
    def issued_by(self) -> str:
        """Return the issuer: together with ``sub`` it identifies a person."""
        return self.issuer or str(PRESETS[self.kind].issuer)

    @property
    def asked_scopes(self) -> tuple[str, ...]:
        """Return the scopes that the hub requests from the provider."""
        return self.scopes or PRESETS[self.kind].scopes


class LoginTerms(Model):
    """The terms that people must accept before they first start anything. A new ``version`` must be accepted again.

    At least one of ``url`` (the address of the terms) and ``text`` must be given.
    """

    version: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
    url: SafeUrl | None = None
    text: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.url is None and not self.text:
            raise ValueError("url, text: give at least one of them")
        return self


class LoginSettings(Model):
    """The section ``login`` of the hub's YAML.

    ``people_file``: an SQLite file with people's names. The hub makes this file at its first start; keep the file as
    long as the hub's database. ``crypt_key_file``: a 0600 file with one key per line (``openssl rand -hex 32``), the
    newest first; the keys encrypt the providers' tokens in the hub's database. ``refresh_seconds``: at a request of a
    logged-in person, the hub checks them at their provider again if the last check is older than this;
    ``trust_seconds``: how long the last answer counts if the provider does not answer; ``admin_groups``: groups whose
    people get JupyterHub's role ``admin``; ``terms``: the terms that people must accept before they first start
    anything, and again when the version of the terms has changed."""

    providers: tuple[Provider, ...] = Field(min_length=1)
    people_file: Path
    crypt_key_file: Path
    refresh_seconds: int = Field(300, ge=1)
    trust_seconds: int = Field(12 * 3600, ge=60)
    admin_groups: tuple[ProvenGroup, ...] = ()
    terms: LoginTerms | None = None

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for what, values in (
            ("id", [one.id for one in self.providers]),
            ("issuer", [one.issued_by for one in self.providers]),
            ("name", [name.lower() for one in self.providers for name in one.names.values()]),
        ):
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise ValueError(f"providers: the {what} {twice[0]!r} is given twice")
        return self
