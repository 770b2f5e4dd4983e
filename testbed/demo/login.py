"""``bin/demo --login oidc``: a login provider on this machine, with the demo's people and their projects.

The provider (oidc-provider-mock) asks for no password: whoever reaches it can log in as anybody. So it listens on
loopback, and works with a gateway on loopback only.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from factoryspawner.config.login_settings import is_loopback
from testbed.errors import CannotRun
from testbed.supervisor import Program, write_private

ADMIN = "admin"
OPERATORS = "operators"
AUTHORITY = "demo.factorygate"
NAMESPACE = "urn:factorygate:demo"
GROUPS = {
    "ada": ("climate", "language-models"),
    "grace": ("climate",),
    "emmy": ("language-models",),
    ADMIN: (OPERATORS,),
}
PROVIDER = "demo"
TERMS = "A demo on one machine. Its login asks for no password: bring nothing here that matters."
EVERYTHING = "EHPC-DEMO-000"


def claims(name: str, groups: Iterable[str]) -> dict[str, Any]:
    """Return the OIDC claims of the person ``name``, who is in these groups."""
    return {
        "preferred_username": name,
        "eduperson_entitlement": [f"{NAMESPACE}:group:{group}:role=member#{AUTHORITY}" for group in groups],
    }


def provider(python: Path, port: int, folder: Path, environ: Mapping[str, str]) -> Program:
    """Return the login provider's program. Changes made in the provider are lost when it restarts."""
    people = (json.dumps({"sub": name, **claims(name, groups)}) for name, groups in GROUPS.items())
    argv = (
        *(str(python), "-m", "oidc_provider_mock", "-H", "127.0.0.1", "-p", str(port)),
        *(word for person in people for word in ("--user-claims", person)),
    )
    return Program("provider", argv, folder, environ, folder / "log" / "provider.log")


def hub_settings(folder: Path, public_url: str, issuer: str) -> dict[str, Any]:
    """Return the section ``login`` of hub.yaml, after making its key and its client secret if they are missing.

    Raises CannotRun if other machines could reach the gateway.
    """
    if not is_loopback(public_url) or not is_loopback(issuer):
        raise CannotRun("--login oidc: its provider lets anybody in, so the gateway must be on 127.0.0.1")
    for name in ("crypt.key", "client.secret"):
        if not (folder / name).exists():
            write_private(folder / name, secrets.token_hex(32))
    return {
        "people_file": str(folder / "hub" / "people.sqlite"),
        "crypt_key_file": str(folder / "crypt.key"),
        "refresh_seconds": 5,
        "admin_groups": [OPERATORS],
        "terms": {"version": "1", "text": TERMS},
        "providers": [
            {
                "id": PROVIDER,
                "kind": "myaccessid",  # the kind of provider by which the antennas' people log in
                "title": "the demo's own login",
                "issuer": issuer,
                "client_id": "factorygate",
                "client_secret_file": str(folder / "client.secret"),
                "scopes": ["openid", "profile", "email"],
                "names": {name: name for name in GROUPS},
                "rules": [{"entitlement": {"namespace": NAMESPACE, "authorities": [AUTHORITY], "roles": ["member"]}}],
            }
        ],
    }


def projects(factories: Iterable[str]) -> dict[str, Any]:
    """Return the content of ``projects.yaml``.

    The first two factories have a project each (if there is only one factory, it has both). The operators' own project
    is at all factories.
    """
    names = list(factories)
    first, second = names[0], names[min(1, len(names) - 1)]
    return {
        "projects": [
            _project("EHPC-AIF-2026PG01-101", "Climate downscaling", "playground", "climate", [first]),
            _project("EHPC-AIF-2026FL01-202", "Language models", "fast-lane", "language-models", [second]),
            _project(EVERYTHING, "The operators' own", "other", OPERATORS, names, members=[ADMIN]),
        ]
    }


def _project(
    name: str, title: str, mode: str, group: str, factories: Iterable[str], members: Iterable[str] = ()
) -> dict[str, Any]:
    return {
        "id": name,
        "title": title,
        "mode": mode,
        "groups": [group],
        "members": list(members),
        "gpu_hours": 500,
        "factories": {factory: {} for factory in factories},
    }
