"""Finds who makes a request to the user API: the owner of the hub token that the request contains."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import httpx

from factorycommon import request_id
from factorycommon.models import Problem
from factorycommon.service.hub_tokens import HubSilent, TokenOwners
from factorycommon.service.problems import NoTokenError, forbidden, unreachable
from factorycommon.tls import TlsFiles, dialing
from workshops.config import HubAddress
from workshops.models.callers import WorkshopCaller

log = logging.getLogger("workshops")

SERVICE = "workshops"


class TokenCallers:
    """Finds the callers of the user API: asks the hub for the owner of each request's token.

    The service authenticates itself to the hub with its own token. ``tls``: this service's certificate, if the hub
    requires one.
    """

    def __init__(self, hub: HubAddress, tls: TlsFiles | None = None) -> None:
        self._token_file: Path = hub.token_file
        self._http = httpx.AsyncClient(
            base_url=f"{hub.url.rstrip('/')}{hub.base_url}hub/api",
            timeout=10,
            trust_env=False,
            verify=True if tls is None else dialing(tls),
        )
        self._owners = TokenOwners(SERVICE, self._ask)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def of(self, headers: Mapping[str, str]) -> WorkshopCaller:
        """Return the owner of the hub token in a request's ``Authorization`` header.

        Raises NoTokenError without a valid token, and ProblemError if the token may not use workshops, or if the hub
        gives no usable answer. A session's token may not use workshops, since programs in a session must not manage the
        class.
        """
        kind, _, token = headers.get("Authorization", "").partition(" ")
        if kind.lower() not in ("bearer", "token") or not token.strip():
            raise _no_token("Send a hub token of yours: Authorization: Bearer TOKEN.")
        try:
            owner = await self._owners.of(token.strip())
        except HubSilent as error:
            raise unreachable(str(error)) from error
        if owner is None:
            raise _no_token("The hub does not know this token, or it has expired.")
        if not owner.allowed or owner.server is not None:
            raise forbidden(
                "This token may not use workshops: it lacks the scope access:services!service=workshops, or it is a "
                "server's. Make another on the hub's Token page."
            )
        return WorkshopCaller(owner.name, owner.admin, owner.groups)

    async def _ask(self, token: str | None) -> httpx.Response:
        if token is None:
            try:
                # read the token file again, since an operator may have replaced it
                token = self._token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or type(error).__name__
                log.error("The token file %s cannot be read: %s", self._token_file, why)  # noqa: TRY400
                raise HubSilent(
                    f"This service cannot read its own token for the hub ({why}). Tell the gateway's operators."
                ) from error
        headers = {"Authorization": f"token {token}"}
        if current := request_id.current():
            headers[request_id.HEADER] = current
        try:
            return await self._http.get("/user", headers=headers)
        except (httpx.HTTPError, UnicodeEncodeError) as error:
            raise HubSilent(f"The hub does not answer: {str(error) or type(error).__name__}") from error


def _no_token(message: str) -> NoTokenError:
    return NoTokenError(Problem(kind="forbidden", message=message))
