"""The secrets of a gateway: those that are stored already, and new ones for those that are missing.

The OpenID Connect client's secret is not made here: it comes from the operator's file, or, if that cannot be read, from
the stored copy.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from factoryinstaller import files
from factoryinstaller.errors import InstallerError
from factoryinstaller.files import Secrets
from factoryinstaller.machine import Machine
from factoryinstaller.options import Options


def prepare(machine: Machine, options: Options) -> tuple[Secrets, str | None]:
    """Return the gateway's secrets, and the administrator's new password, or None if no password was made.

    Writes nothing. Stored tokens and passwords are kept, and missing ones are made. Raises InstallerError if people log
    in with OpenID Connect, and there is no usable secret of the OpenID Connect client.
    """
    tokens = {name: _there(machine, name) or files.new_token() for name in files.TOKENS}
    if options.login == "passwords":
        name, text, password = files.PASSWORDS, _there(machine, files.PASSWORDS), None
        if text is None:
            password = secrets.token_urlsafe(12)
            text = json.dumps({options.admin: files.password_line(password)}, indent=1)
        return Secrets(tokens, (name, f"{text}\n")), password
    return Secrets(tokens, (files.OIDC_SECRET, f"{_client_secret(machine, options)}\n")), None


def _there(machine: Machine, name: str) -> str | None:
    try:
        return machine.path(f"{files.ETC}/secrets/{name}").read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def _client_secret(machine: Machine, options: Options) -> str:
    """Return the OpenID Connect client's secret: from the operator's file or, if that cannot be read, the stored one.

    Raises InstallerError if there is neither, or if the operator's file is not exactly one word.
    """
    try:
        text = Path(options.oidc_secret_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        kept = _there(machine, files.OIDC_SECRET)
        if kept is None:
            raise InstallerError(f"--oidc-secret-file {options.oidc_secret_file} cannot be read: {error}") from error
        return kept
    if not text or len(text.split()) != 1:
        raise InstallerError(f"--oidc-secret-file {options.oidc_secret_file} must hold the secret and nothing else.")
    return text
