"""Login with names and passwords from one file, for demos and first trials."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traitlets import Bool, Unicode

from factoryspawner.login.names import NamesOfPeople
from factoryspawner.login.password_file import PasswordFileError, check_password, hash_password, read_passwords
from factoryspawner.pages.checklist import FormLogin


class PasswordAuthenticator(NamesOfPeople):
    """Lets people log in with a name and a password of ``passwords_file``.

    The file is read at every login, so new names need no restart.
    """

    passwords_file = Unicode(help="JSON file, 0600: name to scrypt line").tag(config=True)
    allow_all = Bool(True).tag(config=True)  # everybody who has a password may log in

    def get_handlers(self, _app: Any) -> list[tuple[str, Any]]:
        """Return the route of the login form.

        After a login, the form's handler redirects to the checklist page if the link says within 2 s that the person
        must accept the rules of a site.
        """
        return [("/login", FormLogin)]

    async def authenticate(self, _handler: Any, data: Mapping[str, str]) -> str | None:
        """Return the name if name and password match, else None; an unknown name takes as long as a known one.

        None, too, if the file of passwords cannot be used; then the log says why.
        """
        name, password = data.get("username", ""), data.get("password", "")
        try:
            fits = await asyncio.to_thread(_fits, Path(self.passwords_file), name, password)
        except PasswordFileError:
            self.log.exception("Nobody can log in")
            return None
        return name if fits else None


def _fits(path: Path, name: str, password: str) -> bool:
    line = read_passwords(path).get(name)
    fits = check_password(password, line or _NOBODY)
    return fits and line is not None


_NOBODY = hash_password(secrets.token_urlsafe(16))
