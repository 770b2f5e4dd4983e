"""Finds the owners of tokens for a process that is a service of the hub: asks the hub; caches owners for up to 30 s."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable

import httpx
from pydantic import BaseModel, ValidationError

# Seconds. The owner of a server's token is cached for less time, since the server's next session may run at another
# factory.
_CACHE_SECONDS, _SERVER_SECONDS, _NOBODY_SECONDS = 30.0, 3.0, 3.0
_CACHE_SIZE = 10_000
_SCOPE = "access:services"
_SERVERS = "access:servers"
_ONE_SERVER = f"{_SERVERS}!server="


class HubSilent(Exception):
    """Raised if the hub does not say who a token's owner is.

    The text is for a person. ``output``: the beginning of the hub's answer if it is not understood, else "".
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class TokenOwner(BaseModel):
    """The owner of a hub token.

    ``allowed``: True if the token may be used at this process, which is a service of the hub; ``server``: the server to
    which the token belongs ("" is the unnamed server), None: the token is one of the person's own; ``admin``: whether
    the person is an administrator of the hub; ``groups``: the person's groups at the hub.
    """

    name: str
    allowed: bool
    server: str | None = None
    admin: bool = False
    groups: frozenset[str] = frozenset()


class _TokenUser(BaseModel):
    name: str
    kind: str = "user"
    scopes: list[str] = []
    admin: bool = False
    groups: list[str] = []


class TokenOwners:
    """Finds the owners of tokens.

    ``service``: this process's name as a service of the hub; ``ask``: sends ``GET /user`` to the hub's API with the
    given token (None: with the service's own token), and may raise any error.
    """

    def __init__(self, service: str, ask: Callable[[str | None], Awaitable[httpx.Response]]) -> None:
        self._service = f"{_SCOPE}!service={service}"
        self._ask = ask
        self._owners: dict[str, tuple[float, TokenOwner | None]] = {}

    async def of(self, token: str) -> TokenOwner | None:
        """Return the owner of this token; None if the token belongs to nobody.

        The answer for a person's own token is cached for at most 30 s; other answers are cached for 3 s.

        Raises the errors of ``ask``. Raises HubSilent if the hub's answer cannot be parsed, or has a status other than
        200, 401 and 403. Raises HubSilent also if the hub refuses this token, and then answers with an error for the
        service's own token, too: a hub refuses every token while its database does not answer.
        """
        key = hashlib.sha256(token.encode()).hexdigest()
        at, owner = self._owners.get(key, (0.0, None))
        now = time.monotonic()
        kept = _NOBODY_SECONDS if owner is None else _CACHE_SECONDS if owner.server is None else _SERVER_SECONDS
        if now - at < kept and at > 0:
            return owner
        response = await self._ask(token)
        owner = None
        if response.status_code == 200:
            owner = self._owner(_parse(response))
        elif response.status_code in (401, 403):
            await self._knows_tokens()
        else:
            raise HubSilent(f"The hub answered {response.status_code} when asked whose token it is.")
        if len(self._owners) >= _CACHE_SIZE:
            self._owners.clear()
        self._owners[key] = (now, owner)
        return owner

    def _owner(self, user: _TokenUser) -> TokenOwner:
        """Return the owner that the hub's answer about a token describes.

        JupyterHub gives a server's token the scope ``access:servers!server=USER/SERVER``, and a person's default token
        the scope ``access:servers!user=USER``. A token with the latter scope, with ``access:servers``, or without any
        scope ``access:servers!server=...`` counts as the person's own. Any other token counts as the token of the
        server in its scope; it is not allowed if it has several such scopes, or if the server is another person's.

        No token is allowed that lacks the scope for this service, or belongs to a service.
        """
        allowed = user.kind == "user" and not {self._service, _SCOPE}.isdisjoint(user.scopes)
        servers = [scope.removeprefix(_ONE_SERVER) for scope in user.scopes if scope.startswith(_ONE_SERVER)]
        if not servers or not {_SERVERS, f"{_SERVERS}!user={user.name}"}.isdisjoint(user.scopes):
            return TokenOwner(name=user.name, allowed=allowed, admin=user.admin, groups=frozenset(user.groups))
        owner, _, server = servers[0].partition("/")
        mine = len(servers) == 1 and owner == user.name
        return TokenOwner(
            name=user.name, allowed=allowed and mine, server=server, admin=user.admin, groups=frozenset(user.groups)
        )

    async def _knows_tokens(self) -> None:
        """Raise HubSilent if the hub answers with an error for this process's own token.

        A hub without its database accepts no token.
        """
        response = await self._ask(None)
        if response.is_error:
            raise HubSilent("The hub cannot look up tokens just now: its database does not answer. Try again soon.")


def _parse(response: httpx.Response) -> _TokenUser:
    try:
        return _TokenUser.model_validate_json(response.content)
    except ValidationError as error:
        raise HubSilent("The hub's answer is not understood.", response.text[:1000]) from error
