"""Logs in with one service account at the site; the site's wrapper lets this account act for the accounts on a list.

The wrapper is the program ``site/factorygate-act``.
"""

from __future__ import annotations

from datetime import datetime

from factorylink.config import WrapperCredentials
from factorylink.credentials.base import Login, read_private_key


class ServiceAccount:
    """Makes the logins of a site's service account and of the watcher, both with the same key.

    The service account runs commands as other accounts through the site's wrapper. The site has a list of these other
    accounts, which the wrapper reads at each command; the link does not know the list. ``watcher``: the site account
    that asks the scheduler about all jobs. Raises OSError and ValueError for an unusable key.
    """

    def __init__(self, settings: WrapperCredentials, watcher: str) -> None:
        self._settings = settings
        self._watcher = watcher
        self._key = read_private_key(settings.key)
        self._key_id = self._key.get_fingerprint()

    async def login(self, account: str | None) -> Login:
        """Return the login of the service account, with the prefix that makes its commands run as ``account``.

        The prefix calls the site's wrapper. ``account`` None: return the login of the watcher (the site account that
        asks the scheduler about all jobs), without the prefix.
        """
        if account is None:
            return Login(self._watcher, self._key, None, self._key_id, None)
        act = ("sudo", "-n", self._settings.wrapper, account)
        return Login(self._settings.login, self._key, None, self._key_id, None, act)

    def valid_until(self, account: str | None) -> datetime | None:  # noqa: ARG002
        """Return None, for no limit: the key does not expire."""
        return None
