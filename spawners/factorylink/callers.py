"""Who asks the user API: the person whose hub token a request carries."""

from __future__ import annotations

from factorylink.errors import LinkError
from factorylink.hub import HubClient
from factorylink.models import Problem
from factorylink.problems import ProblemError, forbidden, from_link_error


class NoTokenError(ProblemError):
    """There is no token, or nobody's: 401."""

    status = 401


class Callers:
    """Asks the hub."""

    def __init__(self, hub: HubClient) -> None:
        self._hub = hub

    async def person(self, authorization: str) -> str:
        """The name behind an ``Authorization`` header. Raises ProblemError."""
        kind, _, token = authorization.partition(" ")
        if kind.lower() not in ("bearer", "token") or not token.strip():
            raise _no_token("Send a hub token of yours: Authorization: Bearer TOKEN.")
        try:
            caller = await self._hub.user_of(token.strip())
        except LinkError as error:
            raise from_link_error(error) from error
        if caller is None:
            raise _no_token("The hub does not know this token, or it has expired.")
        if not caller.allowed:
            raise forbidden(
                "This token may not use the factories: it lacks the scope access:services!service=factories."
            )
        return caller.name


def _no_token(message: str) -> NoTokenError:
    return NoTokenError(Problem(kind="forbidden", message=message))
