"""The login at a provider and its callback: ``/hub/oidc/ID/login`` and ``/hub/oidc/ID/callback``.

Each provider has a callback of its own, and a login that was begun with one provider does not end with another."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, cast

from jupyterhub.handlers import BaseHandler, LogoutHandler
from oauthenticator.oauth2 import OAuthCallbackHandler, OAuthLoginHandler, _deserialize_state, _serialize_state
from tornado import web
from tornado.escape import url_escape

from factoryspawner.login import idtoken
from factoryspawner.login.provider import ProviderAway, ProviderClient
from factoryspawner.login.words import LoginRefused, words
from factoryspawner.pages.checklist import ChecklistFirst


class Refusing(BaseHandler):  # type: ignore[misc]  # untyped
    """A step of a login that may be refused; ``provider``: its id."""

    provider = ""

    async def refuse(self, refused: LoginRefused) -> None:
        """Show the login page, with what was wrong; from there it goes on to where the person wanted to go."""
        self.set_status(refused.status)
        html = await self.render_template(
            "login.html",
            refusal=words(refused.code),
            next=url_escape(self.wanted()),
            authenticator=self.settings["authenticator"],
            login_error=None,
        )
        self.finish(html)

    def wanted(self) -> str:
        """Return where the person wanted to go; "" where that is not known."""
        return str(self.get_query_argument("next", ""))


class ToProvider(Refusing, OAuthLoginHandler):  # type: ignore[misc]  # untyped
    """Sends a browser to the provider. ``next``: where to go after it; ``antenna``: which one the person picked."""

    @property
    def authenticator(self) -> ProviderClient:
        """Return the provider's client, with its addresses."""
        return cast(ProviderClient, self.settings["authenticator"].providers[self.provider])

    def _generate_state_id(self) -> str:
        """Return the state with which the login begins; a signed cookie brings it back."""
        picked = self.get_query_argument("antenna", "")
        offered = {antenna.id for antenna, by in self.settings["authenticator"].antennas if by == self.provider}
        self._login = f"{self.provider}.{picked if picked in offered else ''}.{uuid.uuid4().hex}"
        return self._login

    def authorize_redirect(self, *args: Any, extra_params: Mapping[str, Any], **kwargs: Any) -> None:
        """Redirect to the provider with the nonce that the ID token must bear."""
        super().authorize_redirect(*args, extra_params={**extra_params, "nonce": idtoken.nonce(self._login)}, **kwargs)

    async def get(self) -> None:
        """Answer 302 to the provider; 503 if it does not answer."""
        try:
            await self.authenticator.ready()
        except ProviderAway as error:
            self.log.warning("%s", error)
            await self.refuse(LoginRefused("away"))
            return
        super().get()


class FromProvider(Refusing, ChecklistFirst, OAuthCallbackHandler):  # type: ignore[misc]  # untyped
    """Takes the browser that comes back from the provider."""

    @property
    def antenna(self) -> str | None:
        """Return the antenna with which this login was begun."""
        return self._begun.split(".")[1] or None

    @property
    def nonce(self) -> str:
        """Return the nonce that this login's ID token must bear."""
        return idtoken.nonce(self._begun)

    def wanted(self) -> str:
        """Return where the person wanted to go when the login was begun: nothing of an address that somebody else
        may have made."""
        return str(self._kept().get("next_url") or "")

    @property
    def _begun(self) -> str:
        """Return what the login was begun with: PROVIDER.ANTENNA.RANDOM, or ""."""
        return str(self._kept().get("state_id", ""))

    def _kept(self) -> dict[str, Any]:
        """Return what this browser kept since; the cookie is signed, so its content is ours."""
        return dict(_deserialize_state(self.get_state_cookie() or "e30="))

    def check_error(self) -> None:
        """Check that the provider did not refuse. Raises LoginRefused; the provider's words come by an address, and
        are not shown."""
        if said := self.get_query_argument("error", ""):
            self.log.warning("Login by %s: the provider said %.80r", self.provider, said)
            raise LoginRefused("denied")

    def check_code(self) -> None:
        """Check that there is a code. Raises LoginRefused."""
        if not self.get_query_argument("code", ""):
            raise LoginRefused("expired")

    def check_state(self) -> None:
        """Check that this browser began this login, with this provider. Raises LoginRefused. The address is only
        compared, not read: what is wrong in it would get into the log."""
        begun = self._begun
        if begun.split(".")[0] != self.provider or self.get_query_argument("state", "") != _serialize_state(
            {"state_id": begun}
        ):
            raise LoginRefused("expired")

    async def get(self) -> None:
        """Answer 302 to where the person wanted to go, by the checklist if there is anything to accept; else the
        login page with words."""
        try:
            await super().get()
        except LoginRefused as refused:
            await self.refuse(refused)
        except web.HTTPError as error:
            self.log.warning("Login by %s failed with %s", self.provider, error.status_code)  # its words may be tokens
            await self.refuse(LoginRefused("blocked" if error.status_code == 403 else "failed"))


class SignOut(LogoutHandler):  # type: ignore[misc]  # untyped
    """Signs out here and, where the operator wants it, at the provider: else its page lets the next person in
    unasked."""

    async def handle_logout(self) -> None:
        """Find where to go on, as long as it is known who signs out."""
        self._onward: str | None = None
        if self.current_user is not None:
            self._onward = await self.settings["authenticator"].sign_out_address(self.current_user)

    async def render_logout_page(self) -> None:
        """Answer 302 to the provider, or to the login page."""
        if self._onward is None:
            await super().render_logout_page()
        else:
            self.redirect(self._onward)


def routes(providers: Iterable[str]) -> list[tuple[str, type[BaseHandler]]]:
    """Return the handlers of a login, two for each provider by its id, and the one of signing out."""
    found: list[tuple[str, type[BaseHandler]]] = [(r"/logout", SignOut)]
    for name in providers:
        for step, handler in (("login", ToProvider), ("callback", FromProvider)):
            found.append((rf"/oidc/{name}/{step}", type(handler.__name__, (handler,), {"provider": name})))
    return found
