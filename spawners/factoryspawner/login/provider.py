"""The client of one OpenID Connect provider: oauthenticator's generic client with the gateway's admission rules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from oauthenticator.generic import GenericOAuthenticator
from pydantic import ValidationError
from tornado import web
from tornado.httpclient import HTTPClientError
from tornado.httputil import url_concat

from factorycommon.models import ANTENNA
from factoryspawner.config.login_settings import Endpoints, Provider
from factoryspawner.login import idtoken
from factoryspawner.login.claims import judge, short_name, subject
from factoryspawner.login.people import NameTaken, People
from factoryspawner.login.words import LoginRefused

_SECONDS = 8  # seconds for one answer of a provider
_NOBODY = "-"
_NO = (400, 401, 403)  # statuses by which a provider refuses a token; any other says nothing about the token


class ProviderAway(Exception):
    """Raised if the provider does not answer, or if its answer is an error or something unexpected.

    If the provider refuses a login or a token, ProviderAway is not raised.
    """


class ProviderClient(GenericOAuthenticator):  # type: ignore[misc]  # untyped
    """The client of one OpenID Connect provider, with which people log in.

    ``people``: the file with the user names that people have at this hub; ``taken(name)``: whether somebody who is not
    in this file has the name; ``secret``: the client's secret; ``callback``: the URL to which the provider sends the
    browser back.

    The ``auth_state`` of the provider's people has ``provider``, ``sub``, ``groups``, ``checked_at`` (epoch),
    ``refused`` (a code of ``words``; None: not refused) and the tokens except the ID token, but no claims.
    """

    def __init__(
        self,
        settings: Provider,
        people: People,
        taken: Callable[[str], bool],
        secret: str,
        callback: str,
        parent: Any,
    ) -> None:
        super().__init__(
            client_id=settings.client_id,
            client_secret=secret,
            basic_auth=settings.client_auth == "basic",
            scope=list(settings.asked_scopes),
            login_service=settings.shown,
            oauth_callback_url=callback,
            enable_auth_state=True,
            manage_groups=True,
            allow_all=True,  # the rules decide who may log in
            http_request_kwargs={"connect_timeout": _SECONDS, "request_timeout": _SECONDS, "follow_redirects": False},
            parent=parent,
        )
        self.settings = settings
        self._people = people
        self._taken = taken
        self._found: Endpoints | None = None
        self._keys: dict[str, Any] = {}  # the provider's JWK Set
        self._finding = asyncio.Lock()
        self._silent_at = -1.0  # when the provider last failed to answer for its endpoints, in the loop's time

    async def ready(self) -> Endpoints:
        """Return the provider's endpoints: those in the settings, else those that the provider itself names.

        The provider is asked only until it has answered once. Callers that wait at the same time share one request and,
        if it fails, its error. Raises ProviderAway.
        """
        begun = asyncio.get_running_loop().time()
        async with self._finding:
            if self._found is not None:
                return self._found
            if self._silent_at >= begun:
                raise ProviderAway(f"{self.settings.issued_by} did not say its endpoints just now")
            try:
                found = self.settings.endpoints or await self._discover()
            except ProviderAway:
                self._silent_at = asyncio.get_running_loop().time()
                raise
            self._found = found
            self.authorize_url, self.token_url, self.userdata_url = found.authorize, found.token, found.userinfo
            return found

    async def _discover(self) -> Endpoints:
        issuer = self.settings.issued_by
        try:
            said = await self.httpfetch(f"{issuer}/.well-known/openid-configuration", "asking for the endpoints")
            if str(said["issuer"]).rstrip("/") != issuer:
                raise ProviderAway(f"{issuer} says that it is {said['issuer']!r}")
            return Endpoints(
                authorize=said["authorization_endpoint"],
                token=said["token_endpoint"],
                userinfo=said["userinfo_endpoint"],
                keys=said["jwks_uri"],
                end_session=said.get("end_session_endpoint") if self.settings.sign_out else None,
            )
        except (HTTPClientError, OSError, ValueError, KeyError, TypeError, ValidationError) as error:
            raise ProviderAway(f"{issuer} does not say its endpoints: {error}") from error

    async def login(self, handler: Any, nonce: str, antenna: str | None) -> dict[str, Any]:
        """Return JupyterHub's authentication model of the person who came back from the provider.

        ``nonce``: the nonce that the ID token must contain; ``antenna``: the antenna that the person selected for this
        login, which is stored for them; None: they selected none. Raises LoginRefused, ProviderAway.
        """
        model: dict[str, Any] = await self._asked(self._come(handler, nonce))
        state = model["auth_state"]
        if state["refused"]:
            raise LoginRefused(state["refused"], None if model["name"] == _NOBODY else model["name"])
        if antenna is not None:
            self._people.pick(self.settings.issued_by, state["sub"], antenna)
            self._belongs_to(model, antenna)
        return model

    async def _come(self, handler: Any, nonce: str) -> dict[str, Any]:
        asked = self.build_access_tokens_request_params(handler)
        try:
            tokens = await self.get_token_info(handler, asked)
        except web.HTTPError:  # an answer without a token; the provider's message is not logged: it may contain tokens
            self.log.warning("Login by %s: it gives no token", self.settings.id)
            raise LoginRefused("failed") from None
        try:
            sub = await self._subject(tokens.get("id_token"), nonce)
        except idtoken.BadToken as error:
            self.log.warning("Login by %s: its ID token is not believed: %s", self.settings.id, error)
            raise LoginRefused("failed") from None
        model = await self._model(tokens)
        if model["auth_state"]["sub"] not in (sub, None):
            self.log.warning("Login by %s: the ID token and the claims are of two people", self.settings.id)
            raise LoginRefused("failed")
        return model

    async def _subject(self, token: object, nonce: str) -> str:
        """Return the ``sub`` of an ID token.

        If the token's key is unknown, the provider's keys are fetched once more, since providers change their keys.
        Raises BadToken if the token is not valid. If the keys cannot be fetched, raises ProviderAway or the errors of
        ``httpfetch``, such as HTTPClientError.
        """
        belongs = (self.settings.issued_by, self.settings.client_id, nonce)
        try:
            return idtoken.subject(token, self._keys, *belongs)
        except idtoken.UnknownKey:
            self._keys = dict(await self.httpfetch((await self.ready()).keys, "asking for the keys"))
            return idtoken.subject(token, self._keys, *belongs)

    async def look_again(self, user: Any) -> dict[str, Any] | None:
        """Ask the provider about a logged-in person; return their new authentication model.

        None: the person must log in again. If the rules now refuse the person, nothing is raised, and ``refused`` in
        the model's ``auth_state`` is the reason. The tokens for the provider come from the person's stored
        ``auth_state``. Raises ProviderAway.
        """
        state = await user.get_auth_state()
        model: dict[str, Any] | None = await self._asked(self._looked(user, state))
        if model is None:
            return None
        sub = model["auth_state"]["sub"]
        if sub is None:
            raise ProviderAway("it answers, and says of nobody")
        if sub != state["sub"]:
            self.log.error("%s answers about another than %s", self.settings.id, user.name)
            return None
        return model

    async def _looked(self, user: Any, state: dict[str, Any]) -> dict[str, Any] | None:
        """Request the person's claims with the access token or, if the provider refuses this token, with a new one.

        Return the person's authentication model; None: they must log in. oauthenticator's own method treats each
        failure as a refusal.
        """
        try:
            return await self._model(state["token_response"])
        except HTTPClientError as error:
            if error.code not in _NO:
                raise
        if not state["refresh_token"]:
            return None
        try:
            asked = self.build_refresh_token_request_params(state["refresh_token"])
            fresh = {"refresh_token": state["refresh_token"], **await self.get_token_info(None, asked)}
            # Stored before it is used, since the old token may be void from now on.
            await user.save_auth_state(state | _kept(self.build_auth_state_dict(fresh, None)))
            return await self._model(fresh)
        except HTTPClientError as error:
            if error.code not in _NO:
                raise
        except web.HTTPError as error:  # the provider's message is not logged, since it may contain tokens
            if error.status_code not in _NO:
                raise ProviderAway("it gives no token, and no reason") from None
        self.log.info("%s must log in again: %s renews nothing", user.name, self.settings.id)
        return None

    async def _model(self, tokens: Any) -> dict[str, Any]:
        model: dict[str, Any] = await self._token_to_auth_model(tokens)
        return model

    async def sign_out_address(self, back: str) -> str | None:
        """Return the URL where a browser ends its login at the provider and returns to ``back``. Raises ProviderAway.

        None if ``sign_out`` is off, or the provider has no such endpoint.
        """
        if not self.settings.sign_out or (place := (await self.ready()).end_session) is None:
            return None
        return str(url_concat(place, {"client_id": self.client_id, "post_logout_redirect_uri": back}))

    async def _asked(self, answer: Any) -> Any:
        try:
            await self.ready()
            return await answer
        except HTTPClientError as error:
            if error.code in _NO:
                raise LoginRefused("failed") from error
            raise ProviderAway(str(error)) from error
        except (OSError, ValueError, TypeError, KeyError) as error:  # no answer, or one that cannot be parsed
            raise ProviderAway(repr(error)) from error
        finally:
            answer.close()

    def user_info_to_username(self, user_info: Any) -> str:  # noqa: ARG002
        """Return a placeholder, since no claim gives the name: ``update_auth_model`` sets it."""
        return _NOBODY

    async def update_auth_model(self, auth_model: dict[str, Any]) -> dict[str, Any]:
        """Add a person's name and groups to their authentication model, and return the model.

        The groups are in the model's ``auth_state``. If the person is refused, ``refused`` in ``auth_state`` is the
        reason. A person without a name at this hub gets the name ``-``. A person is identified by issuer and ``sub``
        alone.
        """
        claims = auth_model["auth_state"][self.user_auth_state_key]
        state = auth_model["auth_state"] = _kept(auth_model["auth_state"])
        issuer, sub = self.settings.issued_by, subject(claims)
        verdict = judge(claims if sub is not None else {}, self.settings)
        state |= {
            "provider": self.settings.id,
            "sub": sub,
            "groups": sorted(verdict.groups),
            "checked_at": time.time(),
            "refused": verdict.refusal,
        }
        if sub is None:
            return auth_model
        if verdict.refusal is not None:
            auth_model["name"] = self._people.name(issuer, sub) or _NOBODY
        else:
            try:
                auth_model["name"] = self._name(issuer, sub, short_name(claims))
            except NameTaken:
                state["refused"] = "name"
            if (antenna := self._people.antenna(issuer, sub)) is not None:
                self._belongs_to(auth_model, antenna)
        return auth_model

    async def get_user_groups(self, auth_state: dict[str, Any]) -> set[str]:
        """Return the groups that ``update_auth_model`` has computed."""
        return set(auth_state["groups"])

    def _name(self, issuer: str, sub: str, begin: str) -> str:
        if (written := self.settings.names.get(sub)) is not None:
            return self._people.admit_as(issuer, sub, written.lower())
        return self._people.admit(issuer, sub, begin, self._taken)

    def _belongs_to(self, model: dict[str, Any], antenna: str) -> None:
        state = model["auth_state"]
        groups = {group for group in state["groups"] if not group.startswith(ANTENNA)} | {ANTENNA + antenna}
        state["groups"] = model["groups"] = sorted(groups)


def _kept(state: dict[str, Any]) -> dict[str, Any]:
    """Return the part of ``state`` that is stored: the tokens for later checks, without the ID token and the claims."""
    tokens = {key: value for key, value in state["token_response"].items() if key != "id_token"}
    return {key: state[key] for key in ("access_token", "refresh_token", "scope")} | {"token_response": tokens}
