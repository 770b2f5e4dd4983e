"""Client of JupyterHub's API for the link: finds the owner of a token, lists servers, and starts servers again."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, Field, ValidationError

from factorycommon import request_id
from factorycommon.models import ADOPT, SessionId
from factorycommon.service.hub_tokens import HubSilent, TokenOwner, TokenOwners
from factorycommon.tls import TlsFiles, dialing
from factorylink.config import Hub
from factorylink.errors import Gone, Misread, NotDone, Refused, Unreachable

log = logging.getLogger("factorylink")

_PAGE = 200
_PAGED = "application/jupyterhub-pagination+json"


class _Server(BaseModel):
    pending: str | None = None


class _User(BaseModel):
    name: str
    servers: dict[str, _Server] = {}


class _Pagination(BaseModel):
    next: dict[str, Any] | None = None


class _Page(BaseModel):
    items: list[_User]
    pagination: _Pagination = Field(alias="_pagination")


class HubClient:
    """The link's client of the hub.

    Requests are sent with the token of the service ``factories``, which is read from its file each time; ``user_of``
    also sends a request with the token that it asks about. Every request may raise Unreachable, or one of its
    subclasses: Misread for an answer that is not understood, and NotDone if the file of the service's token cannot be
    read. ``tls``: the link's certificate, if the hub requires one.
    """

    def __init__(self, hub: Hub, tls: TlsFiles | None = None) -> None:
        self._token_file: Path = hub.token_file
        self._http = httpx.AsyncClient(
            base_url=f"{hub.url.rstrip('/')}{hub.base_url}hub/api",
            timeout=10,
            trust_env=False,
            verify=True if tls is None else dialing(tls),
            event_hooks={"request": [_pass_on]},
        )
        self._owners = TokenOwners("factories", lambda token: self._ask("GET", "/user", token=token))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def user_of(self, token: str) -> TokenOwner | None:
        """Return the owner of this token; None if it belongs to nobody.

        The owner of a person's own token is cached for at most 30 s, other answers for 3 s. Raises Unreachable if the
        hub does not answer, answers with an unexpected status, or refuses even the service's own token (as a hub does
        while its database is down). Raises Misread, an Unreachable, if the body of the hub's answer is not understood.
        """
        try:
            return await self._owners.of(token)
        except HubSilent as error:
            raise Misread(str(error), error.output) if error.output else Unreachable(str(error)) from error

    async def servers(self) -> dict[tuple[str, str], str | None]:
        """Return (user, server) of the hub's active servers, each with the hub's pending action.

        A server is active if it runs, or has a pending action: ``spawn``, ``stop``, or ``check`` (the hub does not know
        yet whether the server runs). None: no action is pending.
        """
        found: dict[tuple[str, str], str | None] = {}
        offset: int | None = 0
        while offset is not None:
            params = {"state": "active", "offset": offset, "limit": _PAGE}
            response = await self._ask("GET", "/users", headers={"Accept": _PAGED}, params=params)
            if response.status_code != 200:
                raise Unreachable(f"The hub answered {response.status_code} when asked for its servers.")
            page = _parse(_Page, response)
            for user in page.items:
                found.update(((user.name, name), server.pending) for name, server in user.servers.items())
            following = page.pagination.next
            offset = int(following["offset"]) if following is not None else None
        return found

    async def start_server(self, user: str, server: str, session_id: SessionId) -> None:
        """Make the hub start a server that adopts the session ``session_id`` and never starts a new session.

        Raises Gone if the hub has no such user; Refused, with the hub's message, if the hub does not start the server.
        """
        name = quote(user, safe="@~")
        path = f"/users/{name}/servers/{quote(server, safe='')}" if server else f"/users/{name}/server"
        response = await self._ask("POST", path, json={ADOPT: session_id}, timeout=30)
        if response.status_code == 404:
            raise Gone(f"The hub knows no user {user!r}.")
        if response.is_error:
            raise Refused(f"The hub answered {response.status_code}: {response.text[:300]}")

    async def _ask(self, method: str, path: str, *, token: str | None = None, **kwargs: Any) -> httpx.Response:
        if token is None:
            token = self._own_token()
        headers = {"Authorization": f"token {token}", **kwargs.pop("headers", {})}
        try:
            return await self._http.request(method, path, headers=headers, **kwargs)
        except (httpx.HTTPError, UnicodeEncodeError) as error:
            raise Unreachable(f"The hub does not answer: {str(error) or type(error).__name__}") from error

    def _own_token(self) -> str:
        """Return the service's token; read its file again, since an operator may have replaced it. Raises NotDone."""
        try:
            return self._token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            log.error("The token file %s cannot be read: %s", self._token_file, why)  # noqa: TRY400
            raise NotDone(
                f"The link cannot read its own token for the hub ({why}). Tell the gateway's operators."
            ) from error


async def _pass_on(request: httpx.Request) -> None:
    """Add the id of the request that the link handles now to the link's own request to the hub."""
    if current := request_id.current():
        request.headers[request_id.HEADER] = current


def _parse(model: type[Any], response: httpx.Response) -> Any:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise Misread("The hub's answer is not understood.", response.text[:1000]) from error
