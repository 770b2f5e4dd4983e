"""The way to a provider and back: ``/hub/oidc/ID/login`` and ``/hub/oidc/ID/callback``.

Each provider has a way back of its own, and a login that was begun with one does not end with another.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, cast

from jupyterhub.handlers import BaseHandler
from oauthenticator.oauth2 import OAuthCallbackHandler, OAuthLoginHandler, _deserialize_state
from tornado import web
from tornado.escape import url_escape

from factoryspawner.checklist import ChecklistFirst
from factoryspawner.login.provider import ProviderAway, ProviderClient
from factoryspawner.login.words import LoginRefused, words

if TYPE_CHECKING:
    from factoryspawner.login.authenticator import FederatedAuthenticator


class Refusing(BaseHandler):  # type: ignore[misc]  # untyped
    """A step of a login; ``provider``: its id."""

    provider = ""

    async def refuse(self, refused: LoginRefused) -> None:
        """The login page, with what was wrong; from there it goes on to where they wanted to go."""
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
        """Where they wanted to go; "" where that is not known."""
        return str(self.get_query_argument("next", ""))


class ToProvider(Refusing, OAuthLoginHandler):  # type: ignore[misc]  # untyped
    """Sends a browser to the provider. ``next``: where to go after it; ``antenna``: which one they picked."""

    @property
    def authenticator(self) -> ProviderClient:
        """Whose addresses and client these are."""
        return cast("FederatedAuthenticator", self.settings["authenticator"]).providers[self.provider]

    def _generate_state_id(self) -> str:
        """With what the login was begun: a cookie that is signed brings it back."""
        picked = self.get_query_argument("antenna", "")
        offered = {antenna.id for antenna, by in self.settings["authenticator"].antennas if by == self.provider}
        return f"{self.provider}.{picked if picked in offered else ''}.{uuid.uuid4().hex}"

    async def get(self) -> None:
        """302 to the provider; 503 if it does not answer."""
        try:
            await self.authenticator.ready()
        except ProviderAway as error:
            self.log.warning("%s", error)
            await self.refuse(LoginRefused("away"))
            return
        super().get()


class FromProvider(Refusing, ChecklistFirst, OAuthCallbackHandler):  # type: ignore[misc]  # untyped
    """Takes who comes back."""

    @property
    def antenna(self) -> str | None:
        """The one that this login was begun with."""
        return self._begun()[1] or None

    def wanted(self) -> str:
        """As this login was begun: nothing of an address that somebody else may have made."""
        return str(_deserialize_state(self.get_state_cookie() or "e30=").get("next_url") or "")

    def _begun(self) -> tuple[str, str]:
        begun = str(_deserialize_state(self.get_state_cookie() or "e30=").get("state_id", "")).split(".")
        return (begun[0], begun[1]) if len(begun) == 3 else ("", "")

    def check_error(self) -> None:
        """Raises LoginRefused for what the provider refused; its words come by an address, and are not shown."""
        if said := self.get_query_argument("error", ""):
            self.log.warning("Login by %s: the provider said %.80r", self.provider, said)
            raise LoginRefused("denied")

    def check_code(self) -> None:
        """Raises LoginRefused if there is none."""
        if not self.get_query_argument("code", ""):
            raise LoginRefused("expired")

    def check_state(self) -> None:
        """Raises LoginRefused unless this browser began this login, with this provider."""
        try:
            super().check_state()
        except (web.HTTPError, AttributeError, UnicodeError) as error:
            raise LoginRefused("expired") from error
        if self._begun()[0] != self.provider:
            raise LoginRefused("expired")

    async def get(self) -> None:
        """302 to where they wanted to go, by the checklist if it has something to accept; else the login page with
        words."""
        try:
            await super().get()
        except LoginRefused as refused:
            await self.refuse(refused)
        except web.HTTPError as error:
            self.log.warning("Login by %s failed with %s", self.provider, error.status_code)  # its words may be tokens
            await self.refuse(LoginRefused("blocked" if error.status_code == 403 else "failed"))


def routes(authenticator: FederatedAuthenticator) -> list[tuple[str, type[BaseHandler]]]:
    """For each provider, its way there and back."""
    found: list[tuple[str, type[BaseHandler]]] = []
    for name in authenticator.providers:
        for step, handler in (("login", ToProvider), ("callback", FromProvider)):
            found.append((rf"/oidc/{name}/{step}", type(handler.__name__, (handler,), {"provider": name})))
    return found
