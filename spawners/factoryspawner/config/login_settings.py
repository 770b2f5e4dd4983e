"""The operator's settings under ``login`` in the hub's YAML: providers, and the rules for claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from factorycommon.models import Model, Person, ProvenGroup, Slug
from factorycommon.tls import is_loopback_host

Kind = Literal["myaccessid", "egi-checkin", "keycloak", "oidc"]


def is_loopback(url: str) -> bool:
    """Return whether an address is of this machine."""
    return is_loopback_host(urlsplit(url).hostname or "")


def safe_url(url: str) -> str:
    """Return the URL without a slash at its end. Raises ValueError unless it is https, or its host is this machine."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.fragment:
        raise ValueError(f"{url!r} is not an address such as https://login.example.org")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url)):
        raise ValueError(f"{url!r} must be https: a login goes over it")
    return url.rstrip("/")


SafeUrl = Annotated[str, AfterValidator(safe_url)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\[\]\x00-\x1f\x7f]+$")]


class ProviderPreset(NamedTuple):
    """The default settings for a kind of provider. ``issuer`` None: each operator has their own."""

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
    """The endpoints of a provider; without them they are read from its ``/.well-known/openid-configuration`` at the
    first login. ``keys``: its JWK Set; ``end_session``: where a login there is ended, for ``sign_out``."""

    authorize: SafeUrl
    token: SafeUrl
    userinfo: SafeUrl
    keys: SafeUrl
    end_session: SafeUrl | None = None


class EntitlementMatch(Model):
    """Entitlements as AARC-G069 has them: ``NAMESPACE:group:NAME[:SUB]*[:role=ROLE]#AUTHORITY``.

    ``authorities``: who may say so; entitlements of all others are ignored. ``group``: which, as ``NAME:SUB``, with
    ``*``. ``roles``: one of these must be there; empty: any, or none."""

    namespace: Annotated[str, StringConstraints(pattern=r"^urn:[A-Za-z0-9][A-Za-z0-9-]{0,31}(:[A-Za-z0-9._~-]+)+$")]
    authorities: tuple[str, ...] = Field(min_length=1)
    group: Pattern = "*"
    roles: tuple[str, ...] = ()


class ClaimMatch(Model):
    """A value of a claim; ``name`` may go inwards with dots (``realm_access.roles``), ``value`` may have ``*``. An
    e-mail address counts only where the provider says that it is verified."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_:/-]+(\.[A-Za-z0-9_:/-]+)*$")]
    value: Pattern


class Rule(Model):
    """One way into a group: exactly one of ``entitlement``, ``claim``, ``everybody``.

    ``gives``: the group; ``{group}`` stands for the entitlement's ``NAME:SUB``, or the claim's value.
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
    """One provider. ``id``: in addresses and in the hub's records: do not change it.

    ``kind``: the preset (title, issuer, scopes); ``client_secret_file``: 0600; ``client_auth``: how the secret is
    sent; ``sign_out``: whether a person who signs out here is sent on to sign out there, too; ``endpoints``: without
    them they are asked of the issuer; ``rules``: which groups people get: a person whom no rule gives a group is
    refused; ``assurance``: the least identity assurance (REFEDS IAP), else refused whatever the rules say;
    ``names``: names that people of the provider have here already, by their ``sub``."""

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
        """Return its name on the login page."""
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
    """What people accept before they first start anything. A new ``version`` asks all of them again."""

    version: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
    url: SafeUrl | None = None
    text: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.url is None and not self.text:
            raise ValueError("url, text: give at least one of them")
        return self


class LoginSettings(Model):
    """``login`` in the hub's YAML.

    ``people_file``: SQLite file, made at the first start, with the names that people have here; keep it as long as
    the hub's database; ``crypt_key_file``: 0600, a line for each key (``openssl rand -hex 32``), the newest first:
    they encrypt the providers' tokens in the hub's database; ``refresh_seconds``: how often a provider is asked
    about a person that is here; ``trust_seconds``: how long its last answer counts where it cannot be asked;
    ``admin_groups``: whose people may see and stop everything; ``terms``: what people accept first."""

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
