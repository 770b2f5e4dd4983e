"""Finds out whether the link may act for an account at a factory now.

The factory's health is not part of this. Three things can prevent access: an operator of the gateway has paused the
factory; the account's credential has expired (the link knows until when a credential is valid); or the site refused, in
its last answer, to let the link act for the account. Such a refusal counts for ``HEARD_SECONDS``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from factorycommon.models import Words
from factorylink.credentials.base import Credentials, Login
from factorylink.credentials.efp import FederationAuthority
from factorylink.errors import FactoryError, Refused, Unreachable
from factorylink.explain import explain

SUBMIT_SECONDS = 120.0  # seconds for which a credential must still be valid when a session starts
HEARD_SECONDS = 60.0  # seconds for which a site's refusal is assumed to hold, without asking again
LOCAL = "local"  # the key id if no key is used


class SiteAccessStatus:
    """Knows whether the link may act for an account at one factory now, and why not.

    ``credentials`` None: the factory needs no login (transport ``local``). The transport logs in with this object as
    its ``Credentials``, so that this object knows which key was last used for which account. ``on_change`` is called
    when the result of ``problem`` may have changed, but not if only time has passed. One exception: ``on_change`` is
    called when a login that ``renew`` has renewed expires.
    """

    def __init__(self, credentials: Credentials | None = None, clock: Callable[[], float] = time.time) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._credentials = credentials
        self._clock = clock
        self._paused: str | None = None
        self._key_ids: dict[str | None, str] = {}
        self._refused: dict[str, tuple[float, Words]] = {}

    # --- what prevents access

    @property
    def paused(self) -> Words | None:
        """Return the message of the operator who paused the factory; None if it is not paused."""
        return None if self._paused is None else explain.own("paused").saying(what=self._paused)

    def pause(self, message: str | None) -> None:
        """Pause the factory, or end the pause.

        During a pause, the link submits and extends no job at the factory, and opens no connection to a door there.
        ``message``: the operator's message for people; None: end the pause.
        """
        self._paused = message
        self.on_change()

    def problem(self, account: str, ahead: float = 0.0) -> Words | None:
        """Return why the link cannot act for the account now; None if no reason is known.

        ``ahead``: also return a reason if the account's credential expires within this number of seconds.
        """
        if (paused := self.paused) is not None:
            return paused
        until = self.valid_until(account)
        if until is not None and until.timestamp() <= self._clock() + ahead:
            return explain.own("credential-expired", self._how_to_renew())
        at, words = self._refused.get(account, (0.0, None))
        return words if self._clock() - at < HEARD_SECONDS else None

    def may_submit(self, account: str) -> Words | None:
        """Return why no job may be submitted for the account now; None: jobs may be submitted.

        The account's credential must be valid for another ``SUBMIT_SECONDS``. A refusal in the site's last answer does
        not count, since the submission itself asks the site again.
        """
        words = self.problem(account, SUBMIT_SECONDS)
        return words if words is not None and words.code in ("paused", "credential-expired") else None

    # --- credentials

    async def login(self, account: str | None) -> Login:
        """Return the login for the account, and store the id of the login's key.

        ``account`` None: the watcher, the account that asks about all jobs. Raises Expired if the account has no valid
        credential; Refused if the gateway has no usable key for the account, or if the factory needs no login.
        """
        if self._credentials is None:
            raise Refused("This factory needs no login.")
        found = await self._credentials.login(account)
        self._key_ids[account] = found.key_id
        return found

    def valid_until(self, account: str | None) -> datetime | None:
        """Return until when the credentials are valid for the account; None: no limit is known."""
        return None if self._credentials is None else self._credentials.valid_until(account)

    def key_id(self, account: str) -> str:
        """Return the id of the key that was last used to log in for the account.

        "": the link has not logged in for the account yet. ``LOCAL``: the factory needs no login.
        """
        return LOCAL if self._credentials is None else self._key_ids.get(account, "")

    @property
    def renew_url(self) -> str | None:
        """Return the URL where people get a token for their login at this factory; None if they need no token."""
        return self._credentials.renew_url if isinstance(self._credentials, FederationAuthority) else None

    async def renew(self, account: str, token: str) -> datetime:
        """Use a person's token to renew their login; return until when the login is valid.

        Raises Refused and Unreachable with an explanation for the person.
        """
        if not isinstance(self._credentials, FederationAuthority):
            raise Refused("This factory takes no tokens.")
        until = await self._credentials.renew(account, token)
        self._refused.pop(account, None)
        self.on_change()
        # Pages must show the end of the login when it comes, not at their next request.
        asyncio.get_running_loop().call_later(until.timestamp() - self._clock() + 1, lambda: self.on_change())
        return until

    def _how_to_renew(self) -> str:
        return "" if self.renew_url is None else f"Get a new token at {self.renew_url} and paste it on Home."

    # --- the site's answers

    @contextmanager
    def heeding(self, account: str | None) -> Iterator[None]:
        """Record whether the site lets the link act for the account, by the outcome of the operation in the block.

        Only an error that ``explain.barred`` explains counts as the site's refusal. Any other FactoryError, and a
        success, are recorded as no refusal. Nothing is recorded for other exceptions, nor if ``account`` is None (the
        watcher, the account that asks about all jobs).
        """
        try:
            yield
        except FactoryError as error:
            self._hear(account, explain.barred(error))
            raise
        self._hear(account, None)

    @contextmanager
    def entering(self, account: str | None) -> Iterator[None]:
        """Raise Unreachable if the factory is paused; else run the block, which connects to a door.

        Record the site's refusal to let the link act for the account, unless ``account`` is None (the watcher, the
        account that asks about all jobs). A success is not recorded, since it proves nothing: over SSH, the block often
        takes a place on an open connection without asking the site. Other errors are not recorded either.
        """
        if self._paused is not None:
            raise Unreachable(self._paused)
        try:
            yield
        except FactoryError as error:
            if (words := explain.barred(error)) is not None:
                self._hear(account, words)
            raise

    def _hear(self, account: str | None, words: Words | None) -> None:
        if account is None:
            return
        _, before = self._refused.pop(account, (0.0, None))
        if words is not None:
            self._refused[account] = (self._clock(), words)
        if before != words:
            self.on_change()
