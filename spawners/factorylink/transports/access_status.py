"""How we stand with a factory: whether we may act for an account there now, apart from whether the factory is well.

Three things can be in the way: an operator of ours paused the factory; the credential of the account is over (known
from the credential itself); the site does not let us act for it (known from its last answer, for a while).
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

SUBMIT_SECONDS = 120.0  # of validity that must be left where a session is begun
HEARD_SECONDS = 60.0  # that a site's no is believed without being asked again
LOCAL = "local"  # the key id where none is used


class SiteAccessStatus:
    """Of one factory. ``credentials`` None: nothing is needed there (transport ``local``).

    It is the ``Credentials`` that the transport logs in with, so that it knows which key was used last for whom.
    ``on_change`` is called when what ``problem`` says may be another thing than before.
    """

    def __init__(self, credentials: Credentials | None = None, clock: Callable[[], float] = time.time) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._credentials = credentials
        self._clock = clock
        self._paused: str | None = None
        self._key_ids: dict[str | None, str] = {}
        self._heard: dict[str, tuple[float, Words]] = {}

    # --- what stands in the way

    @property
    def paused(self) -> Words | None:
        """In the words of the operator who paused it."""
        return None if self._paused is None else explain.own("paused").saying(what=self._paused)

    def pause(self, message: str | None) -> None:
        """Submit and enter nothing from now on; None: again."""
        self._paused = message
        self.on_change()

    def problem(self, account: str, ahead: float = 0.0) -> Words | None:
        """Why nothing can be done for that account now, or in ``ahead`` seconds; None: nothing is known against it."""
        if (paused := self.paused) is not None:
            return paused
        until = self.valid_until(account)
        if until is not None and until.timestamp() <= self._clock() + ahead:
            return explain.own("credential-expired", self._how_to_renew())
        heard, words = self._heard.get(account, (0.0, None))
        return words if self._clock() - heard < HEARD_SECONDS else None

    def may_submit(self, account: str) -> Words | None:
        """Why no session may begin. What the site said last is left out: it is asked again by the submission."""
        words = self.problem(account, SUBMIT_SECONDS)
        return words if words is not None and words.code in ("paused", "credential-expired") else None

    # --- credentials

    async def login(self, account: str | None) -> Login:
        """As ``Credentials`` has it; the key id is remembered."""
        if self._credentials is None:
            raise Refused("This factory needs no login.")
        found = await self._credentials.login(account)
        self._key_ids[account] = found.key_id
        return found

    def valid_until(self, account: str | None) -> datetime | None:
        """As ``Credentials`` has it."""
        return None if self._credentials is None else self._credentials.valid_until(account)

    def key_id(self, account: str) -> str:
        """Of what was last used to log in for the account; "": nothing yet."""
        return LOCAL if self._credentials is None else self._key_ids.get(account, "")

    @property
    def renew_url(self) -> str | None:
        """Where people get a token for their login here; None: they need none."""
        return self._credentials.renew_url if isinstance(self._credentials, FederationAuthority) else None

    async def renew(self, account: str, token: str) -> datetime:
        """Hand a person's token over; until when the login is good. Raises Refused and Unreachable in words."""
        if not isinstance(self._credentials, FederationAuthority):
            raise Refused("This factory takes no tokens.")
        until = await self._credentials.renew(account, token)
        self._heard.pop(account, None)
        self.on_change()
        # So that pages tell of its end when it comes, and not when they ask next.
        asyncio.get_running_loop().call_later(until.timestamp() - self._clock() + 1, lambda: self.on_change())
        return until

    def _how_to_renew(self) -> str:
        return "" if self.renew_url is None else f"Get a new token at {self.renew_url} and paste it on Home."

    # --- what the site says

    @contextmanager
    def heeding(self, account: str | None) -> Iterator[None]:
        """Around whatever is done at the site for an account."""
        try:
            yield
        except FactoryError as error:
            self._hear(account, explain.barred(error))
            raise
        self._hear(account, None)

    @contextmanager
    def entering(self, account: str | None) -> Iterator[None]:
        """The same, around what a pause forbids. Raises Unreachable."""
        if self._paused is not None:
            raise Unreachable(self._paused)
        with self.heeding(account):
            yield

    def _hear(self, account: str | None, words: Words | None) -> None:
        if account is None:
            return
        _, before = self._heard.pop(account, (0.0, None))
        if words is not None:
            self._heard[account] = (self._clock(), words)
        if before != words:
            self.on_change()
