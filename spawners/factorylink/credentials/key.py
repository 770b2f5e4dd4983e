"""Logs in with one private key per site account, which the site has authorized: the simplest kind of credentials.

Keys never expire.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

from factorylink.credentials.base import Login, read_private_key
from factorylink.errors import Refused


class KeyFiles:
    """Reads keys from files.

    ``keys``: folder with one 0600 file per account, named as the account; ``watcher``: the site account that asks the
    scheduler about all jobs. Raises OSError and ValueError if the watcher's key, or any other key of the folder, cannot
    be used.
    """

    def __init__(self, keys: Path, watcher: str) -> None:
        self._keys = keys
        self._watcher = watcher
        read_private_key(keys / watcher)
        for path in sorted(keys.iterdir()):
            if path.suffix != ".pub" and not path.name.startswith("."):
                read_private_key(path)

    async def login(self, account: str | None) -> Login:
        """Return a login with the account's key; ``account`` None: with the watcher's.

        Each call reads the key's file, so that keys can be replaced while the link runs. Raises Refused if there is no
        key, or it cannot be used.
        """
        name = self._watcher if account is None else account
        try:
            key = await asyncio.to_thread(read_private_key, self._keys / name)
        except FileNotFoundError as error:
            raise Refused(f"The gateway has no key for the account {name}.") from error
        except (OSError, ValueError) as error:
            raise Refused(f"The gateway's key for the account {name} cannot be used: {error}") from error
        return Login(name, key, None, key.get_fingerprint(), None)

    def valid_until(self, account: str | None) -> datetime | None:  # noqa: ARG002
        """Return None, for no limit: keys do not expire."""
        return None
