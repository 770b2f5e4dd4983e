"""Handles the login at a provider and its callback: ``/hub/oidc/ID/login`` and ``/hub/oidc/ID/callback``.

Each provider has its own callback, so that a login that was started at one provider cannot end at another. Handles
signing out, too.
"""

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
    """The base of the handlers for the steps of a login; ``refuse`` answers a refused login.

    ``provider``: the provider's id.
    """

    provider = ""

    async def refuse(self, refused: LoginRefused) -> None:
        """Show the login page with the reason; a login from there leads to the page that the person asked for."""
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
        """Return the URL of the page that the person asked for; "" if it is not known."""
        return str(self.get_query_argument("next", ""))


class ToProvider(Refusing, OAuthLoginHandler):  # type: ignore[misc]  # untyped
    """Redirects a browser to the provider.

    Query: ``next``: the page to show after the login; ``antenna``: the antenna that the person selected.
    """

    @property
    def authenticator(self) -> ProviderClient:
        """Return the provider's client, which has the provider's URLs."""
        return cast(ProviderClient, self.settings["authenticator"].providers[self.provider])

    def _generate_state_id(self) -> str:
        """Make and return the state parameter of a new login, PROVIDER.ANTENNA.RANDOM.

        ANTENNA is "" unless the query names an antenna whose people log in at this provider. ``get`` also stores the
        parameter in a signed cookie.
        """
        picked = self.get_query_argument("antenna", "")
        offered = {antenna.id for antenna, by in self.settings["authenticator"].antennas if by == self.provider}
        self._login = f"{self.provider}.{picked if picked in offered else ''}.{uuid.uuid4().hex}"
        return self._login

    def authorize_redirect(self, *args: Any, extra_params: Mapping[str, Any], **kwargs: Any) -> None:
        """Redirect to the provider with the nonce that the ID token must contain."""
        super().authorize_redirect(*args, extra_params={**extra_params, "nonce": idtoken.nonce(self._login)}, **kwargs)

    async def get(self) -> None:
        """Answer 302 to the provider; 503 if the provider does not answer properly (``ProviderAway``)."""
        try:
            await self.authenticator.ready()
        except ProviderAway as error:
            self.log.warning("%s", error)
            await self.refuse(LoginRefused("away"))
            return
        super().get()


class FromProvider(Refusing, ChecklistFirst, OAuthCallbackHandler):  # type: ignore[misc]  # untyped
    """Handles the request with which a browser comes back from the provider, and logs the person in."""

    @property
    def antenna(self) -> str | None:
        """Return the id of the antenna that was selected at the start of this login.

        None if none was selected, or if the antenna's people log in at another provider.
        """
        return self._begun.split(".")[1] or None

    @property
    def nonce(self) -> str:
        """Return the nonce that this login's ID token must contain."""
        return idtoken.nonce(self._begun)

    def wanted(self) -> str:
        """Return the URL of the page that the person asked for at the start of the login; "" if it is not known.

        The query of the present request is not used, since somebody else may have made it.
        """
        return str(self._kept().get("next_url") or "")

    @property
    def _begun(self) -> str:
        """Return the state parameter from the start of the login, PROVIDER.ANTENNA.RANDOM; "" if there is none."""
        return str(self._kept().get("state_id", ""))

    def _kept(self) -> dict[str, Any]:
        """Return the content of this browser's cookie from the start of the login; {} if there is no such cookie.

        The cookie is signed, so its content can be trusted.
        """
        return dict(_deserialize_state(self.get_state_cookie() or "e30="))

    def check_error(self) -> None:
        """Raise LoginRefused if the provider refused the login.

        The provider's message is not shown, since it comes in a URL, which somebody else may have made.
        """
        if said := self.get_query_argument("error", ""):
            self.log.warning("Login by %s: the provider said %.80r", self.provider, said)
            raise LoginRefused("denied")

    def check_code(self) -> None:
        """Raise LoginRefused if there is no authorization code."""
        if not self.get_query_argument("code", ""):
            raise LoginRefused("expired")

    def check_state(self) -> None:
        """Raise LoginRefused unless this browser started this login, with this provider.

        The state parameter is only compared, not parsed: an error about its content would get into the log.
        """
        begun = self._begun
        if begun.split(".")[0] != self.provider or self.get_query_argument("state", "") != _serialize_state(
            {"state_id": begun}
        ):
            raise LoginRefused("expired")

    async def get(self) -> None:
        """Log the person in, and answer 302 to the page that they asked for.

        If the person must accept the gateway's terms, or rules of a site at which they have an account, answer 302 to
        the checklist instead, on which they can accept these. The sites' rules count only if the link answers in 2 s.
        If the login fails or is refused, answer the login page with an explanation.
        """
        try:
            await super().get()
        except LoginRefused as refused:
            await self.refuse(refused)
        except web.HTTPError as error:
            # the provider's message is not logged, since it may contain tokens
            self.log.warning("Login by %s failed with %s", self.provider, error.status_code)
            await self.refuse(LoginRefused("blocked" if error.status_code == 403 else "failed"))


class SignOut(LogoutHandler):  # type: ignore[misc]  # untyped
    """Signs a person out at the hub and, if the operator configured it, at the provider.

    If the person stays signed in at the provider, the next login in this browser may log them in without a question,
    even if somebody else uses the browser by then.
    """

    async def handle_logout(self) -> None:
        """Determine where the person signs out at the provider; ``render_logout_page`` then redirects there.

        JupyterHub calls this after it has cleared the login cookie, while ``current_user`` is still the person.
        """
        self._onward: str | None = None
        if self.current_user is not None:
            self._onward = await self.settings["authenticator"].sign_out_address(self.current_user)

    async def render_logout_page(self) -> None:
        """Redirect to the provider's page for signing out; without one, do as JupyterHub does."""
        if self._onward is None:
            await super().render_logout_page()
        else:
            self.redirect(self._onward)


def routes(providers: Iterable[str]) -> list[tuple[str, type[BaseHandler]]]:
    """Return two routes for each provider (login and callback), and the route for signing out.

    ``providers``: the ids of the providers.
    """
    found: list[tuple[str, type[BaseHandler]]] = [(r"/logout", SignOut)]
    for name in providers:
        for step, handler in (("login", ToProvider), ("callback", FromProvider)):
            found.append((rf"/oidc/{name}/{step}", type(handler.__name__, (handler,), {"provider": name})))
    return found
