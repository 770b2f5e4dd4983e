"""Logs in guests: people who joined a workshop with a mail address, and have no account at a login provider.

The service ``workshops`` gives each guest a name that begins with ``guest.``; no other way of logging in accepts such a
name. The hub asks the service about a guest at each of their requests, unless the last answer is less than 2 s old, so
that a banned guest is refused within 2 s. If the service does not answer, the hub uses the service's last answer about
the guest. If the hub has no answer about the guest yet, the hub accepts the guest's cookie. The guest can then start
something only if they are a member of a workshop: the link checks this in the last file that the service wrote.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from jupyterhub import orm
from jupyterhub.auth import Authenticator
from traitlets import Any as AnyTrait

from factorycommon.models import PersonBody, is_guest
from factorycommon.models.joining import GuestView
from factorycommon.service_address import ServiceAddress
from factorylink.client import LinkProblem, LinkSilent
from factoryspawner import access
from factoryspawner.access import Refusal, TermsOf
from factoryspawner.config import hub_config
from factoryspawner.config.hub_config import HubConfig, HubConfigError
from factoryspawner.gateway import gateway
from factoryspawner.login.authenticator import FederatedAuthenticator
from factoryspawner.login.guest_sweep import GuestSweep
from factoryspawner.login.password_file import read_passwords
from factoryspawner.login.passwords import PasswordAuthenticator
from factoryspawner.login.words import words
from factoryspawner.pages.workshops.joining_client import joining

_FRESH = 2.0  # seconds for which an answer about a guest is used without asking the service again
_SILENT = 5.0  # seconds after an unanswered question, in which the service is not asked again
_TRUSTED = timedelta(hours=1)  # how long the link may trust the hub about a guest of whom the hub knows nothing
_AGAIN = 60.0  # seconds after which the link is informed again that a guest may start nothing
_API = "jupyterhub"  # the OAuth client of tokens for the hub's API


class _Answer(NamedTuple):
    guest: GuestView | None  # None: there is no such guest
    asked: float  # when, in the loop's seconds


class GuestStatuses:
    """Asks the workshops service about guests, and keeps its last answer about each guest."""

    def __init__(self, at: ServiceAddress) -> None:
        self._at = at
        self._answers: dict[str, _Answer] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._silent_at = float("-inf")

    async def of(self, name: str, *, now: bool = False) -> GuestView | None:
        """Return a guest, as the workshops service described them at most 2 s ago; None if there is no such guest.

        If the service refuses or does not answer, return its last answer about the guest, however old; if there is none
        since the hub's start, raise LinkSilent. For 5 s after a question that the service did not answer, the service
        is not asked again, and counts as not answering. ``now``: ask the service even within these 5 s, and even if its
        last answer is less than 2 s old.
        """
        ticks = asyncio.get_running_loop().time
        begun = ticks() if now else ticks() - _FRESH
        async with self._asking[name]:
            known = self._answers.get(name)
            if known is not None and known.asked >= begun:
                return known.guest
            if ticks() - self._silent_at < _SILENT and not now:
                return self._last(known)
            try:
                found: GuestView | None = await joining(self._at).guest(name)
            except LinkProblem as error:
                if error.status != 404:
                    return self._last(known)
                found = None
            except LinkSilent:
                self._silent_at = ticks()
                return self._last(known)
            self._answers[name] = _Answer(found, ticks())
            return found

    @staticmethod
    def _last(known: _Answer | None) -> GuestView | None:
        if known is None:
            raise LinkSilent("the workshops do not answer")
        return known.guest


class GuestLogin(Authenticator):  # type: ignore[misc]  # untyped
    """A mixin for an authenticator: admits guests beside the people whom the authenticator admits."""

    workshops_at = AnyTrait(help="where the service workshops listens for the hub").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.guests = GuestStatuses(self.workshops_at)
        self._shut_out_at: dict[str, float] = {}  # by guest: when the link was last informed, in the loop's time
        self._sweeping: asyncio.Task[None] | None = None

    async def authenticate(self, handler: Any, data: Any = None) -> Any:
        """Return the guest who has proved their mail address; for other people, the result of the base authenticator.

        The base authenticator is the class to which this mixin is added. A guest's ``handler`` has ``joined_guest``
        (the guest's name), which the page for joining sets after the proof. A guest is returned as JupyterHub's dict of
        a login (``name``, ``admin`` and so on).

        None: the login is refused. A guest is refused if the workshops service does not know them, if no workshop
        admits them, or if they are blocked. A guest is also refused if the service now refuses or does not answer, and
        has not answered about this guest since the hub's start. Other people are refused if the base authenticator
        returns None or a guest's name.
        """
        name = getattr(handler, "joined_guest", None)
        if name is not None:
            return await self._admitted_guest(str(name))
        found = await super().authenticate(handler, data)
        named = found.get("name") if isinstance(found, dict) else found
        if named is not None and is_guest(self.normalize_username(str(named))):
            self.log.warning("A login with a guest's name is refused")
            return None
        return found

    async def _admitted_guest(self, name: str) -> dict[str, Any] | None:
        try:
            guest = await self.guests.of(name, now=True)
        except LinkSilent:
            return None
        if guest is None or not _is_admitted(guest) or name in self.blocked_users:
            return None
        self.keep_guest(name)
        self._shut_out_at.pop(name, None)
        model: dict[str, Any] = {"name": name, "admin": False}
        if self.manage_groups:
            model["groups"] = []
        if self.enable_auth_state:
            model["auth_state"] = {"provider": "guests", "groups": [], "refused": None}
        return model

    def keep_guest(self, name: str) -> None:
        """Do nothing when a guest logs in. A subclass that stores accepted terms reserves the guest's name here."""

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> Any:
        """Check a guest at the workshops service, and other people by the authenticator to which this mixin is added.

        For a guest, return True if they stay logged in, False if they must log in. For other people, return the result
        of that authenticator.
        """
        self._begin_sweep()
        if not is_guest(user.name):
            return await super().refresh_user(user, handler, **kwargs)
        refusal = await self.standing(user)
        if refusal is not None and refusal.out:
            return False
        # JupyterHub notes the time of this check, and would not ask again before auth_refresh_age has passed.
        asyncio.get_running_loop().call_soon(_forget_check, user)
        return True

    def _begin_sweep(self) -> None:
        """Start the task that deletes guests whom the service no longer knows, unless the task runs already.

        This happens at a request, because the hub calls no method of an authenticator right after the hub's start.
        """
        if self._sweeping is None and hasattr(self.parent, "users"):
            sweep = GuestSweep(self.workshops_at, self.parent.users, self)
            self._sweeping = asyncio.get_running_loop().create_task(sweep.keep())

    async def standing(self, user: Any) -> Refusal | None:
        """Return why the person may start nothing; None: they may start something.

        A guest who is blocked, or whom no workshop admits any more, loses their own API tokens in this call, and the
        link is informed.
        """
        if not is_guest(user.name):
            return await self.others_standing(user)
        if user.name in self.blocked_users:
            self._shut_out_guest(user)
            return Refusal(words("blocked"), out=True)
        try:
            guest = await self.guests.of(user.name)
        except LinkSilent:
            return self.terms_refusal(user.name)  # they were a guest when they logged in, and the link has the members
        if guest is None or not _is_admitted(guest):
            self._shut_out_guest(user)
            return Refusal(words("guest-over"), out=True)
        return self.terms_refusal(user.name)

    async def others_standing(self, user: Any) -> Refusal | None:
        """Return why a person who is no guest may start nothing; None: they may start something.

        The base authenticator decides. If it has no method ``standing``, everybody may start something.
        """
        found: Refusal | None = await super().standing(user) if hasattr(super(), "standing") else None
        return found

    def terms_refusal(self, name: str) -> Refusal | None:  # noqa: ARG002
        """Return None: here the gateway has no terms. A subclass with terms refuses guests who did not accept them."""
        return None

    async def counts_until(self, user: Any) -> datetime | None:
        """Return until when the hub's decision about a person (``standing``) is valid; None: without end.

        For a guest, return when the last workshop that admits them closes; None if no workshop admits them
        (``standing`` then refuses them). If the workshops service does not know the guest, return the present time. If
        the service refuses or does not answer, its last answer about the guest counts; if there is none since the hub's
        start, return one hour from now.

        For other people, return what the base authenticator returns; None if the base authenticator has no method
        ``counts_until``.
        """
        if is_guest(user.name):
            try:
                guest = await self.guests.of(user.name)
            except LinkSilent:
                return datetime.now(UTC) + _TRUSTED
            return datetime.now(UTC) if guest is None else guest.until
        found: datetime | None = await super().counts_until(user) if hasattr(super(), "counts_until") else None
        return found

    def _shut_out_guest(self, user: Any) -> None:
        """Delete a guest's own API tokens, and inform the link that the guest may start nothing.

        The tokens of servers stay valid until the link ends the sessions.
        """
        kept = {
            token.id
            for spawner in user.orm_user.orm_spawners.values()
            if (token := orm.APIToken.find(user.db, (spawner.state or {}).get("api_token") or "-")) is not None
        }
        gone = [one for one in user.orm_user.api_tokens if one.client_id == _API and one.id not in kept]
        for token in gone:
            user.db.delete(token)
        if gone:
            user.db.commit()
        ticks = asyncio.get_running_loop().time()
        if ticks - self._shut_out_at.get(user.name, float("-inf")) < _AGAIN:
            return
        self._shut_out_at[user.name] = ticks
        link = gateway(hub_config.loaded().link_at)
        link.background(access.tell_surely(link.link, user.name, PersonBody(groups=frozenset(), blocked=True)))


class FederatedWithGuests(GuestLogin, FederatedAuthenticator):  # type: ignore[misc]  # untyped
    """Admits people of login providers, and guests."""

    def keep_guest(self, name: str) -> None:
        """Reserve the guest's name in the file of names, which also stores which terms the guest accepts."""
        self._people.admit_as("guests", name, name)

    def terms_refusal(self, name: str) -> Refusal | None:
        """Return the refusal of a guest who has not accepted the gateway's terms.

        None: the guest has accepted the terms, or the gateway has none.
        """
        terms: TermsOf | None = self.terms_of(name)
        if terms is None or terms.accepted_at is not None:
            return None
        return Refusal(words("terms"), out=False, known=True)


class PasswordsWithGuests(GuestLogin, PasswordAuthenticator):
    """Admits people with passwords, and guests."""

    rules_for_all = False  # the link needs no data about a person with a password before they start something


def check_names(config: HubConfig) -> None:
    """Raise HubConfigError if somebody with a password has a name that only guests may have.

    Raises PasswordFileError if the file of passwords cannot be used.
    """
    for name in read_passwords(config.passwords_file) if config.passwords_file is not None else ():
        if is_guest(name.lower()):
            raise HubConfigError(f"passwords_file: {name!r} is a name for guests of workshops; give another one")


def _is_admitted(guest: GuestView) -> bool:
    return guest.until is not None and guest.until > datetime.now(UTC)


def _forget_check(user: Any) -> None:
    user._auth_refreshed = None
