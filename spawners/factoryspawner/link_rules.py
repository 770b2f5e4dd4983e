"""Computes the rules for all people that the hub sends to the link, and checks ``server_token_scopes``.

The rules say whether the hub's login decides who may start anything, which version of the terms people must have
accepted, and what the operator adds to jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from traitlets.utils.importstring import import_item

from factorycommon.models import HubRules
from factoryspawner.access import LoginStatus
from factoryspawner.config.batch_settings import FEEDING, SECTIONS, SettingsError, job_options
from factoryspawner.config.login_settings import LoginSettings

Sections = Mapping[str, Mapping[str, Any]]  # JupyterHub's configuration: settings by section

_OWN_SERVER = "access:servers!server"
# Scopes that a server's token may have only for its own server (``!server``); otherwise it could act as the person.
_TOO_MUCH = (
    "inherit",
    "self",
    "tokens",
    "servers",
    "start:servers",
    "delete:servers",
    "access:servers",
    "admin:servers",
    "admin:users",
)


def of(config: Sections, login: LoginSettings | None) -> HubRules:
    """Return the rules for all people that the hub sends to the link.

    The rules say whether people may start something only after the hub has sent their ``AccessStatus`` to the link,
    which version of the terms they must have accepted, and what the operator adds to jobs. ``config``: JupyterHub's
    settings, by section; ``login``: the section ``login`` of the hub's YAML; None: there is no such section. Raises
    SettingsError if an option for jobs is not valid.
    """
    settings: dict[str, str] = {}
    for section in SECTIONS:
        given = config.get(section, {})
        settings.update({name: given[name] for name in FEEDING if isinstance(given.get(name), str)})
    return HubRules(
        access=login is not None or _has_rules(config.get("JupyterHub", {}).get("authenticator_class", "pam")),
        terms=None if login is None or login.terms is None else login.terms.version,
        options=job_options(settings),
    )


def check_tokens(config: Sections) -> None:
    """Raise SettingsError if the link could not distinguish a server's token from its person's own token.

    A person's own token has more permissions. So the setting ``server_token_scopes`` must be a list that contains
    ``access:servers!server`` and no scope with which a notebook could act as its person.
    """
    scopes = config.get("Spawner", {}).get("server_token_scopes", ())
    for section in SECTIONS:
        scopes = config.get(section, {}).get("server_token_scopes", scopes)
    if not isinstance(scopes, list | tuple):
        raise SettingsError(
            "c.Spawner.server_token_scopes must be a list: a function cannot be checked when the hub starts"
        )
    if _OWN_SERVER not in scopes:
        raise SettingsError(
            f"c.Spawner.server_token_scopes must contain {_OWN_SERVER}: the link recognises a server's token by it"
        )
    if found := next((scope for scope in scopes if _is_too_much(scope)), None):
        raise SettingsError(
            f"c.Spawner.server_token_scopes: remove {found!r}; with it notebooks could act as their person"
        )


def _is_too_much(scope: str) -> bool:
    base, _, narrowed = scope.partition("!")
    return base in _TOO_MUCH and narrowed != "server"


def _has_rules(authenticator: object) -> bool:
    """Return whether the authenticator decides for each person whether they may start something.

    It does so if it has a method ``standing``, unless its ``rules_for_all`` is False. Return True, too, if the
    authenticator cannot be imported: then the link starts nothing for people about whom the hub has sent nothing.
    ``authenticator``: the class, its name among JupyterHub's entry points, or its import path.
    """
    if isinstance(authenticator, str):
        known = {one.name: one for one in metadata.entry_points(group="jupyterhub.authenticators")}
        try:
            authenticator = known[authenticator].load() if authenticator in known else import_item(authenticator)
        except ImportError:
            return True
    # An authenticator may have rules for some people only (``rules_for_all``), such as guests beside passwords.
    has_rules = isinstance(authenticator, type) and issubclass(authenticator, LoginStatus)
    return has_rules and bool(getattr(authenticator, "rules_for_all", True))
