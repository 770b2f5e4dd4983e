"""Client of JupyterHub's API for the link: finds the owner of a token, lists servers, and starts servers again."""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, Field, ValidationError

from factorycommon import request_id
from factorycommon.models import ADOPT, SessionId
from factorycommon.tls import TlsFiles, dialing
from factorylink.config import Hub
from factorylink.errors import Gone, Misread, Refused, Unreachable

log = logging.getLogger("factorylink")

# Seconds. The owner of a server's token is cached for less time, since the server's next session may run at another
# factory.
_CACHE_SECONDS, _SERVER_SECONDS, _NOBODY_SECONDS = 30.0, 3.0, 3.0
_CACHE_SIZE = 10_000
_PAGE = 200
_PAGED = "application/jupyterhub-pagination+json"
_SCOPE = "access:services"
_SERVERS = "access:servers"
_ONE_SERVER = f"{_SERVERS}!server="


class TokenOwner(BaseModel):
    """The owner of a hub token.

    ``allowed``: True if the token may use the service ``factories``; ``server``: the server that the token belongs to
    ("" is the unnamed server); None: it is a token of the person's own."""

    name: str
    allowed: bool
    server: str | None = None


class _Server(BaseModel):
    pending: str | None = None


class _User(BaseModel):
    name: str
    kind: str = "user"
    scopes: list[str] = []
    servers: dict[str, _Server] = {}


class _Pagination(BaseModel):
    next: dict[str, Any] | None = None


class _Page(BaseModel):
    items: list[_User]
    pagination: _Pagination = Field(alias="_pagination")


class HubClient:
    """The link's client of the hub; it uses the token of the service ``factories``. ``tls``: the link's certificate, if
    the hub requires one. Every method may raise Unreachable."""

    def __init__(self, hub: Hub, tls: TlsFiles | None = None) -> None:
        self._token_file: Path = hub.token_file
        self._service = f"{_SCOPE}!service=factories"
        self._http = httpx.AsyncClient(
            base_url=f"{hub.url.rstrip('/')}{hub.base_url}hub/api",
            timeout=10,
            trust_env=False,
            verify=True if tls is None else dialing(tls),
            event_hooks={"request": [_pass_on]},
        )
        self._owners: dict[str, tuple[float, TokenOwner | None]] = {}

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def user_of(self, token: str) -> TokenOwner | None:
        """Return the owner of this token; None if it belongs to nobody.

        An owner is cached for at most 30 s, and "nobody" for 3 s, by the token's hash. Raises Unreachable if the hub
        refuses every token, since its database does not answer.
        """
        key = hashlib.sha256(token.encode()).hexdigest()
        at, owner = self._owners.get(key, (0.0, None))
        now = time.monotonic()
        kept = _NOBODY_SECONDS if owner is None else _CACHE_SECONDS if owner.server is None else _SERVER_SECONDS
        if now - at < kept and at > 0:
            return owner
        response = await self._ask("GET", "/user", token=token)
        owner = None
        if response.status_code == 200:
            owner = self._owner(_parse(_User, response))
        elif response.status_code in (401, 403):
            await self._knows_tokens()
        else:
            raise Unreachable(f"The hub answered {response.status_code} when asked whose token it is.")
        if len(self._owners) >= _CACHE_SIZE:
            self._owners.clear()
        self._owners[key] = (now, owner)
        return owner

    def _owner(self, user: _User) -> TokenOwner:
        """Return the owner that the hub's answer about a token describes.

        JupyterHub gives a server's token the scope ``access:servers!server=USER/SERVER``, and a person's default token
        the scope ``access:servers!user=USER``. A token that grants access to exactly one server counts as the token of
        that server. A token that grants access to several servers, or to another person's, may do nothing at the link.
        """
        allowed = user.kind == "user" and not {self._service, _SCOPE}.isdisjoint(user.scopes)
        servers = [scope.removeprefix(_ONE_SERVER) for scope in user.scopes if scope.startswith(_ONE_SERVER)]
        if not servers or not {_SERVERS, f"{_SERVERS}!user={user.name}"}.isdisjoint(user.scopes):
            return TokenOwner(name=user.name, allowed=allowed)
        owner, _, server = servers[0].partition("/")
        mine = len(servers) == 1 and owner == user.name
        return TokenOwner(name=user.name, allowed=allowed and mine, server=server)

    async def _knows_tokens(self) -> None:
        """Raise Unreachable unless the hub accepts the link's own token.

        A hub without its database accepts no token.
        """
        response = await self._ask("GET", "/user")
        if response.is_error:
            raise Unreachable("The hub cannot look up tokens just now: its database does not answer. Try again soon.")

    async def servers(self) -> dict[tuple[str, str], str | None]:
        """Return (user, server) of all servers that the hub has, each with the hub's pending action.

        The action is ``spawn``, ``stop``, ``check`` (the hub does not know yet whether the server runs), or None.
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
        """Start a server so that it adopts the session ``session_id``, and starts no other.

        Raises Gone if there is no such user; Refused, with the hub's message, if the server cannot be started now.
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
            # read the token file again, since an operator may have replaced it
            token = self._token_file.read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"token {token}", **kwargs.pop("headers", {})}
        try:
            return await self._http.request(method, path, headers=headers, **kwargs)
        except (httpx.HTTPError, UnicodeEncodeError) as error:
            raise Unreachable(f"The hub does not answer: {str(error) or type(error).__name__}") from error


async def _pass_on(request: httpx.Request) -> None:
    """Add the id of the request that the link works for to its request to the hub."""
    if current := request_id.current():
        request.headers[request_id.HEADER] = current


def _parse(model: type[Any], response: httpx.Response) -> Any:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise Misread("The hub's answer is not understood.", response.text[:1000]) from error
