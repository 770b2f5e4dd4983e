"""The login at a provider and its callback: ``/hub/oidc/ID/login`` and ``/hub/oidc/ID/callback``. Each provider has a
callback of its own, and a login that began with one provider cannot end with another."""

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
        """Show the login page, with the reason; from there the login continues to the page that the person asked
        for."""
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
        """Return the page that the person asked for; "" if that is not known."""
        return str(self.get_query_argument("next", ""))


class ToProvider(Refusing, OAuthLoginHandler):  # type: ignore[misc]  # untyped
    """Sends a browser to the provider. ``next``: the page to show afterwards; ``antenna``: the antenna that the person
    picked."""

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
        """Redirect to the provider with the nonce that the ID token must contain."""
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
        """Return the antenna that was picked when this login began."""
        return self._begun.split(".")[1] or None

    @property
    def nonce(self) -> str:
        """Return the nonce that this login's ID token must contain."""
        return idtoken.nonce(self._begun)

    def wanted(self) -> str:
        """Return the page that the person asked for when the login began; the present address is not used, since
        somebody else may have made it."""
        return str(self._kept().get("next_url") or "")

    @property
    def _begun(self) -> str:
        """Return the state with which the login began: PROVIDER.ANTENNA.RANDOM, or ""."""
        return str(self._kept().get("state_id", ""))

    def _kept(self) -> dict[str, Any]:
        """Return what this browser's cookie has kept since then; the cookie is signed, so its content is ours."""
        return dict(_deserialize_state(self.get_state_cookie() or "e30="))

    def check_error(self) -> None:
        """Check that the provider did not refuse. Raises LoginRefused; the provider's message comes in an address, and
        is not shown."""
        if said := self.get_query_argument("error", ""):
            self.log.warning("Login by %s: the provider said %.80r", self.provider, said)
            raise LoginRefused("denied")

    def check_code(self) -> None:
        """Check that there is a code. Raises LoginRefused."""
        if not self.get_query_argument("code", ""):
            raise LoginRefused("expired")

    def check_state(self) -> None:
        """Check that this browser began this login, with this provider. Raises LoginRefused. The address is only
        compared, not parsed: an error about its content would get into the log."""
        begun = self._begun
        if begun.split(".")[0] != self.provider or self.get_query_argument("state", "") != _serialize_state(
            {"state_id": begun}
        ):
            raise LoginRefused("expired")

    async def get(self) -> None:
        """Answer 302 to the page that the person asked for, or first to the checklist if there is anything to accept;
        else the login page with an explanation."""
        try:
            await super().get()
        except LoginRefused as refused:
            await self.refuse(refused)
        except web.HTTPError as error:
            self.log.warning("Login by %s failed with %s", self.provider, error.status_code)  # its words may be tokens
            await self.refuse(LoginRefused("blocked" if error.status_code == 403 else "failed"))


class SignOut(LogoutHandler):  # type: ignore[misc]  # untyped
    """Signs out here and, if the operator configured it, at the provider: otherwise the provider may log in the next
    person without asking."""

    async def handle_logout(self) -> None:
        """Determine where to go next, while it is still known who signs out."""
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
    """Return the handlers of a login, two for each provider by its id, and the handler for signing out."""
    found: list[tuple[str, type[BaseHandler]]] = [(r"/logout", SignOut)]
    for name in providers:
        for step, handler in (("login", ToProvider), ("callback", FromProvider)):
            found.append((rf"/oidc/{name}/{step}", type(handler.__name__, (handler,), {"provider": name})))
    return found
