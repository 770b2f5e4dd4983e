"""Logs in with one service account at the site; the site's wrapper lets this account act for the accounts on a list.

The wrapper is the program ``site/factorygate-act``.
"""

from __future__ import annotations

from datetime import datetime

from factorylink.config import WrapperCredentials
from factorylink.credentials.base import Login, read_private_key


class ServiceAccount:
    """Logs in as the service account, and as the watcher, with the same key.

    ``watcher``: the site account that asks the scheduler about all jobs.

    The site decides at each command whether the link may act for an account: the link does not know the site's list.
    Raises OSError and ValueError for an unusable key.
    """

    def __init__(self, settings: WrapperCredentials, watcher: str) -> None:
        self._settings = settings
        self._watcher = watcher
        self._key = read_private_key(settings.key)
        self._key_id = self._key.get_fingerprint()

    async def login(self, account: str | None) -> Login:
        """Return the login of the service account, with the wrapper's command that acts for ``account``.

        ``account`` None: return the login of the watcher, the site account that asks the scheduler, without the
        wrapper.
        """
        if account is None:
            return Login(self._watcher, self._key, None, self._key_id, None)
        act = ("sudo", "-n", self._settings.wrapper, account)
        return Login(self._settings.login, self._key, None, self._key_id, None, act)

    def valid_until(self, account: str | None) -> datetime | None:  # noqa: ARG002
        """Return None, for no limit: the key does not expire."""
        return None
