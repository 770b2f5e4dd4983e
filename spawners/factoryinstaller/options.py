"""Checks the operator's options for a new gateway, and turns them into JSON and back, to store them for later runs."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from factoryinstaller.errors import InstallerError

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
OPERATORS = "operators"  # the group of people who may see and stop everything, if people log in by OpenID Connect
KINDS = ("oidc", "keycloak", "egi-checkin", "myaccessid")
_DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,253}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_CLIENT = re.compile(r"[!-~]{1,255}")
_RULE = re.compile(r"[A-Za-z0-9_:/-]+(\.[A-Za-z0-9_:/-]+)*=[^\[\]\x00-\x1f\x7f]{1,255}")
_EVERYBODY = "everybody"
_GUEST, _ROBOT = "guest.", "robot."  # as in factorycommon.models.base


@dataclass(frozen=True)
class Options:
    """The options of one gateway.

    ``email``: the address to which the certificate authority writes. ``login``: ``oidc`` or ``passwords``. ``acme``:
    the URL of the ACME server's directory. ``acme_root``: path of a file with the CA of the ACME server's own
    certificate; "": no such file is needed. ``admin``: the administrator's name if people log in with passwords, or
    their mail address if a provider identifies people. ``hub_name`` "": a name is made from the domain. ``allow``: who,
    besides the administrator, may log in by the provider, as ``CLAIM=PATTERN`` or ``everybody``.
    """

    domain: str
    email: str
    admin: str
    login: str
    acme: str = LETS_ENCRYPT
    acme_root: str = ""  # the file with the CA of the ACME server's own certificate
    hub_name: str = ""
    oidc_kind: str = "oidc"
    oidc_issuer: str = ""
    oidc_client: str = ""
    oidc_secret_file: str = ""  # its text is copied to secrets/oidc.secret
    allow: tuple[str, ...] = ()
    workshops: bool = True  # whether the service for workshops runs

    @property
    def public_url(self) -> str:
        """Return the gateway's URL for people."""
        return f"https://{self.domain}"

    @property
    def name(self) -> str:
        """Return the hub's name, which is part of job names."""
        return self.hub_name or re.sub(r"[^a-z0-9-]", "-", self.domain)[:63].strip("-")

    def to_json(self) -> str:
        """Return the options as JSON, which ``of_json`` reads."""
        return json.dumps(asdict(self), indent=1) + "\n"


def of_json(text: str) -> dict[str, Any]:
    """Return the options in a text, by name. ``text``: a JSON object as ``to_json`` makes it, which may lack options.

    Raises InstallerError if the text is no JSON object, or has an unknown option.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InstallerError(f"the kept options are not JSON: {error}") from error
    known = {field.name for field in fields(Options)}
    if not isinstance(found, dict) or not set(found) <= known:
        raise InstallerError("the kept options are of another release; give all options anew")
    return found


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser. An option that is not given is None, so that the stored value is used."""
    parser.add_argument("--domain", help="the name at which people find the gateway: gateway.example.org")
    parser.add_argument("--email", help="whom the certificate authority writes to about the certificate")
    parser.add_argument(
        "--admin", help="who may see and stop everything: a name (--login passwords) or a mail address (--login oidc)"
    )
    parser.add_argument("--login", choices=("oidc", "passwords"), help="how people log in")
    parser.add_argument("--acme", metavar="URL", help=f"the ACME server's directory ({LETS_ENCRYPT})")
    parser.add_argument("--acme-root", metavar="FILE", help="the CA (PEM) of an ACME server that has one of its own")
    parser.add_argument("--hub-name", metavar="NAME", help="in the names of jobs; else the domain with hyphens")
    parser.add_argument("--oidc-kind", choices=KINDS, help="of the login provider (oidc)")
    parser.add_argument("--oidc-issuer", metavar="URL", help="of the login provider")
    parser.add_argument("--oidc-client", metavar="ID", help="the client's id, as registered at the provider")
    parser.add_argument("--oidc-secret-file", metavar="FILE", help="a file with the client's secret")
    parser.add_argument(
        "--allow",
        action="append",
        metavar="CLAIM=PATTERN",
        help="who may log in by the provider, such as 'email=*@example.org' or 'groups=ai-*'; or: everybody. May be "
        "given more than once",
    )
    parser.add_argument(
        "--workshops",
        action=argparse.BooleanOptionalAction,
        help="run the service for workshops, in which trainers plan classes (yes, for a new gateway)",
    )


def chosen(given: Mapping[str, Any], kept: Mapping[str, Any]) -> Options:
    """Return all options, each as it is given, or else as an earlier run stored it, or else its default.

    A gateway that was installed by a release without workshops gets the workshops service only on request, because the
    operator may have changed files that would have to name the service. Raises InstallerError with all options that
    are missing; if none is, with all mistakes in the options.
    """
    values: dict[str, Any] = {}
    for field in fields(Options):
        value = given.get(field.name)
        value = kept.get(field.name) if value is None else value
        if value is not None:
            values[field.name] = tuple(value) if isinstance(value, list) else value
    values.setdefault("workshops", not kept)
    missing = [f"--{name}" for name in ("domain", "email", "admin", "login") if not values.get(name)]
    if missing:
        raise InstallerError(f"These options are needed: {', '.join(missing)}. See factorygate-install --help.")
    options = Options(**values)
    mistakes = [*_general(options), *(_oidc(options) if options.login == "oidc" else _passwords(options))]
    if mistakes:
        raise InstallerError("\n".join(mistakes))
    return options


def _general(options: Options) -> list[str]:
    mistakes = []
    if not _DOMAIN.fullmatch(options.domain):
        mistakes.append(f"--domain {options.domain!r} is no domain name in small letters, such as gateway.example.org.")
    if not _EMAIL.fullmatch(options.email):
        mistakes.append(f"--email {options.email!r} is no mail address.")
    if options.login not in ("oidc", "passwords"):
        mistakes.append(f"--login {options.login!r} is neither oidc nor passwords.")
    if not _is_https(options.acme):
        mistakes.append(f"--acme {options.acme!r} is no address that begins with https://.")
    if options.hub_name and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", options.hub_name):
        mistakes.append(f"--hub-name {options.hub_name!r} may have small letters, digits and hyphens.")
    return mistakes


def _passwords(options: Options) -> list[str]:
    if not _NAME.fullmatch(options.admin):
        return [f"--admin {options.admin!r} must be a name of small letters, digits and ._- (--login passwords)."]
    if options.admin.startswith(_GUEST):
        return [f"--admin {options.admin!r} is a name for guests of workshops."]
    if options.admin.startswith(_ROBOT):
        return [f"--admin {options.admin!r} is a name for robots of rehearsals."]
    return []


def _oidc(options: Options) -> list[str]:
    mistakes = []
    if not _EMAIL.fullmatch(options.admin):
        mistakes.append(
            f"--admin {options.admin!r} must be the mail address that the provider has verified (--login oidc)."
        )
    if options.oidc_kind not in KINDS:
        mistakes.append(f"--oidc-kind {options.oidc_kind!r} is none of {', '.join(KINDS)}.")
    if options.oidc_kind != "egi-checkin" and not options.oidc_issuer:
        mistakes.append("--login oidc needs --oidc-issuer, the address of the login provider.")
    if options.oidc_issuer and not _is_https(options.oidc_issuer):
        mistakes.append(f"--oidc-issuer {options.oidc_issuer!r} must begin with https://: a login goes over it.")
    if not _CLIENT.fullmatch(options.oidc_client):
        mistakes.append("--login oidc needs --oidc-client, the client's id as registered at the provider.")
    if not options.oidc_secret_file:
        mistakes.append("--login oidc needs --oidc-secret-file, a file with the client's secret.")
    mistakes += [
        f"--allow {rule!r} is neither CLAIM=PATTERN nor everybody."
        for rule in options.allow
        if rule != _EVERYBODY and not _RULE.fullmatch(rule)
    ]
    return mistakes


def _is_https(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" and bool(parts.hostname) and not re.search(r"[\s\x00-\x1f\"{}]", url)
