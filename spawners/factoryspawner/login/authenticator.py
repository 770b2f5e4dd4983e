"""The hub's authenticator for several OpenID Connect providers.

Each person logs in at one provider, and is checked again regularly.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyterhub import orm, roles
from traitlets import Bool, Unicode

from factorycommon.models import AccessStatus, Antenna, Antennas, PersonBody
from factorycommon.service.yaml_file import CatalogueError, read_model
from factoryspawner import access
from factoryspawner.access import Refusal, TermsOf
from factoryspawner.config import hub_config
from factoryspawner.config.login_settings import LoginSettings
from factoryspawner.gateway import gateway
from factoryspawner.login import handlers
from factoryspawner.login.names import NamesOfPeople
from factoryspawner.login.people import People
from factoryspawner.login.provider import ProviderAway, ProviderClient
from factoryspawner.login.words import LoginRefused, words

_API = "jupyterhub"  # the OAuth client of tokens for the hub's API


class FederatedAuthenticator(NamesOfPeople):
    """Passes each login to the client of its provider. The settings are ``login`` in the hub's YAML.

    If no rule admits a person any more, they lose access at the next refresh: they have no groups, no API tokens of
    their own, and no new session, and the hub informs the link. If a provider does not answer, each person keeps access
    until ``trust_seconds`` after the provider's last answer about them.
    """

    allow_all = Bool(True).tag(config=True)  # the providers' rules decide who may log in
    manage_groups = Bool(True).tag(config=True)
    antennas_file = Unicode(help="antennas.yaml: who comes by which provider").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        config = hub_config.loaded()
        if config.login is None:
            raise hub_config.HubConfigError("login: is missing")
        self._config = config
        self._login: LoginSettings = config.login
        self._people = People(self._login.people_file)
        self._looking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # by person: when a provider was asked about them, and whether they stay logged in
        self._looked: dict[str, tuple[float, bool]] = {}
        self._telling: dict[str, Callable[[], object]] = {}
        self._in_hub: set[str] = set()
        self._written = {name.lower() for one in self._login.providers for name in one.names.values()}
        self.providers = {
            one.id: ProviderClient(
                one,
                self._people,
                self._is_taken,
                hub_config.read_secret(one.client_secret_file),
                f"{config.public_url}{config.base_url}hub/oidc/{one.id}/callback",
                parent=self,
            )
            for one in self._login.providers
        }
        self.antennas = self._with_login(Path(self.antennas_file)) if self.antennas_file else ()

    # --- for the pages ------------------------------------------------------------------------------------------------

    def provider_of(self, antenna: Antenna) -> str | None:
        """Return the id of the provider at which an antenna's people log in.

        The antenna's ``login.provider`` is the id or the kind of a provider. None: no configured provider has this id
        or kind, or several have this kind.
        """
        wanted = antenna.login.provider
        if wanted in self.providers:
            return wanted
        of_kind = [one.id for one in self._login.providers if one.kind == wanted]
        return of_kind[0] if len(of_kind) == 1 else None

    def get_handlers(self, _app: Any) -> list[tuple[str, Any]]:
        """Return a login route and a callback route for each provider, and the route for signing out."""
        return handlers.routes(self.providers)

    # --- called by JupyterHub -----------------------------------------------------------------------------------------

    def add_user(self, user: Any) -> None:
        """Note that JupyterHub's database has a user of this name, so that nobody else gets the name.

        JupyterHub calls this at its start for each user that it knows, and later for each new user.
        """
        self._in_hub.add(user.name)
        super().add_user(user)

    async def authenticate(self, handler: Any, _data: Any = None) -> dict[str, Any] | None:
        """Return JupyterHub's authentication model of the person who came back from a provider.

        None: the request is of another kind, such as a posted form. Raises LoginRefused, also if the provider does not
        answer. A person whom the provider's rules refuse, and who is a user of the hub, loses groups, admin rights and
        their own API tokens.
        """
        provider = self.providers.get(getattr(handler, "provider", ""))
        if provider is None:
            return None
        try:
            model = await provider.login(handler, handler.nonce, handler.antenna)
        except ProviderAway as error:
            self.log.warning("Login by %s: %s", handler.provider, error)
            raise LoginRefused("away") from error
        except LoginRefused as refused:
            self.log.warning("Login by %s refused: %s, %s", handler.provider, refused.name, refused.code)
            user = handler.find_user(refused.name) if refused.name is not None else None
            if user is not None:
                await self._shut_out(user, {**(await user.get_auth_state() or {}), "refused": refused.code})
            raise
        if model["name"] in self.blocked_users:
            raise LoginRefused("blocked")
        self._promote(model)
        self._tell(model["name"], self._admitted(model["name"], model["groups"], model["auth_state"]))
        return model

    async def refresh_user(self, user: Any, _handler: Any = None, **_kwargs: Any) -> dict[str, Any] | bool:
        """Check a person at their provider again, and return their new authentication model.

        True: the provider does not answer, but its last answer is still valid, so the person stays logged in. If
        several requests of the person wait for the same check, only one of them returns the model; the others return
        True instead. False: the person must log in; if they are refused, that login explains why.
        """
        begun = time.monotonic()
        async with self._looking[user.name]:
            looked_at, stays = self._looked.get(user.name, (-1.0, False))
            if looked_at >= begun:
                return stays  # another request of the person has asked meanwhile; a refresh token can be used only once
            answer = await self._look(user)
            self._looked[user.name] = (time.monotonic(), bool(answer))
            return answer

    async def _look(self, user: Any) -> dict[str, Any] | bool:
        state = await user.get_auth_state() or {}
        provider = self.providers.get(state.get("provider", ""))
        if provider is None or state.get("refused"):
            return False
        if user.name in self.blocked_users:
            await self._shut_out(user, {**state, "refused": "blocked"})
            return False
        try:
            model = await provider.look_again(user)
        except ProviderAway as error:
            self.log.warning("%s cannot be looked at again: %s", user.name, error)
            return self._is_trusted(state)
        if model is None:
            return False
        fresh = model["auth_state"]
        if fresh["refused"]:
            await self._shut_out(user, {**state, **fresh})
            return False
        if model["name"] != user.name:
            self.log.error("%s says of %s that they are %s", provider.settings.id, user.name, model["name"])
            return False
        self._promote(model)
        await user.save_auth_state(fresh)
        self._tell(user.name, self._admitted(user.name, model["groups"], fresh))
        return model

    async def standing(self, user: Any) -> Refusal | None:
        """Return why the person may start nothing; None if they may.

        People may start something if they are not blocked, their login is valid, a rule admits them, and they have
        accepted the terms. This check is needed for starts without a refresh, such as those by an API token.
        """
        return self._refusal(user.name, await user.get_auth_state() or {})

    async def counts_until(self, user: Any) -> datetime | None:
        """Return until when the provider's last answer about the person is valid; never None.

        If there is no answer, the returned time is in the past.
        """
        return self._trusted_until(await user.get_auth_state() or {})

    async def sign_out_address(self, user: Any) -> str | None:
        """Return the URL where a person signs out at their provider as well.

        None if the operator has not configured this, if the provider does not offer it or does not answer, or if the
        person did not log in at a provider that is configured here (a guest, for example).
        """
        provider = self.providers.get((await user.get_auth_state() or {}).get("provider", ""))
        if provider is None:
            return None
        try:
            return await provider.sign_out_address(f"{self._config.public_url}{self._config.base_url}hub/login")
        except ProviderAway as error:
            self.log.warning("%s signs out here only: %s", user.name, error)
            return None

    def terms_of(self, name: str) -> TermsOf | None:
        """Return the terms, and when the person accepted them; None if there are no terms."""
        terms = self._login.terms
        return None if terms is None else TermsOf(terms, self._people.accepted(name, terms.version))

    def accept_terms(self, name: str, version: str) -> None:
        """Record in the file of people that the person accepts ``version`` of the terms, and when."""
        self._people.accept(name, version)

    # --- effects of a decision ----------------------------------------------------------------------------------------

    def _is_trusted(self, state: dict[str, Any]) -> bool:
        return datetime.now(UTC) < self._trusted_until(state)

    def _trusted_until(self, state: dict[str, Any]) -> datetime:
        return datetime.fromtimestamp(float(state.get("checked_at", 0)) + self._login.trust_seconds, UTC)

    def _refusal(self, name: str, state: dict[str, Any]) -> Refusal | None:
        if name in self.blocked_users:
            return Refusal(words("blocked"), out=True)
        if state.get("refused"):
            return Refusal(words(state["refused"]), out=True)
        if state.get("provider") not in self.providers:
            return Refusal(words("never"), out=False)
        if not self._is_trusted(state):
            return Refusal(words("stale"), out=False)
        terms = self.terms_of(name)
        if terms is not None and terms.accepted_at is None:
            return Refusal(words("terms"), out=False, known=True)
        return None

    def _admitted(self, name: str, groups: Iterable[str], state: dict[str, Any]) -> PersonBody:
        """Return the data for the link about a person whom a rule admits."""
        refusal, terms = self._refusal(name, state), self.terms_of(name)
        status = AccessStatus(
            until=self._trusted_until(state),
            refusal=None if refusal is None else refusal.words,
            terms=None if terms is None else terms.accepted,
        )
        return PersonBody(groups=access.groups(groups), access=status)

    def _promote(self, model: dict[str, Any]) -> None:
        admins = {name.lower() for name in self.admin_users}
        groups = set(self._login.admin_groups)
        if model["name"] in admins or not groups.isdisjoint(model["groups"]):
            model["admin"] = True
        else:
            model["admin"] = False if groups else None  # None: the admin flag stays as it is in the hub

    async def _shut_out(self, user: Any, state: dict[str, Any]) -> None:
        """Remove the person's groups, admin rights and API tokens, and inform the link.

        ``state``: the person's new auth state, which is stored. The tokens of servers stay valid: the sessions end
        after the link's grace time, and people can save until then.
        """
        self.log.warning("%s is let in by no rule any more: %s", user.name, state["refused"])
        await user.save_auth_state(state)
        user.sync_groups([])
        user.admin = False
        roles.assign_default_roles(user.db, entity=user.orm_user)
        kept = {
            token.id
            for spawner in user.orm_user.orm_spawners.values()
            if (token := orm.APIToken.find(user.db, (spawner.state or {}).get("api_token") or "-")) is not None
        }
        for token in list(user.orm_user.api_tokens):
            if token.client_id == _API and token.id not in kept:
                user.db.delete(token)
        user.db.commit()
        self._tell(user.name, PersonBody(groups=frozenset(), blocked=True))

    def _tell(self, name: str, update: access.PersonUpdate) -> None:
        """Have a background task send the update to the link, again and again until the link takes the update.

        An earlier update about this person that the link has not taken yet is given up.
        """
        if (earlier := self._telling.pop(name, None)) is not None:
            earlier()
        link = gateway(self._config.link_at)
        self._telling[name] = link.background(access.tell_surely(link.link, name, update))

    def _is_taken(self, name: str) -> bool:
        return name in self._in_hub or name in self._written or name in {one.lower() for one in self.admin_users}

    def _with_login(self, path: Path) -> tuple[tuple[Antenna, str], ...]:
        """Return the antennas whose provider is configured here, each with the id of its provider.

        ``path``: the file antennas.yaml. Raises HubConfigError if the file cannot be used.
        """
        try:
            read = read_model(path, Antennas)
        except CatalogueError as error:
            raise hub_config.HubConfigError(str(error)) from error
        found = ((antenna, self.provider_of(antenna)) for antenna in read.antennas)
        return tuple((antenna, provider) for antenna, provider in found if provider is not None)
