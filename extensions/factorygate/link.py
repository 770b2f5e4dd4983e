"""The gateway's link as a notebook or a script asks it: HTTP with a hub token, for what is the caller's own.

In a session everything needed is in the environment, and requests go through the session's own door. Its token acts for
the session's factory and project; for more, a person hands over a token of their own (``use_token``). A script
elsewhere sets ``FACTORYGATE_URL`` (the hub's public address) and ``FACTORYGATE_TOKEN`` (a token from the hub's token
page).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from getpass import getpass
from typing import Any

import httpx
from httpx_sse import EventSource

from factorycommon.messages import joined, received

log = logging.getLogger(__name__)

SECONDS = 30.0  # for an answer; streams have no limit


class LinkError(Exception):
    """Something went wrong on the way to a factory, in words for a person.

    ``kind`` is the link's word for it: ``invalid``, ``refused``, ``limit``, ``draining``, ``unreachable``, ``gone``,
    ``conflict``, ``forbidden`` or ``too-many``; ``do``: what can be done; ``scheduler``: what the scheduler said;
    ``fits``: how many of what was asked for may begin now, None where that is not known.
    """

    def __init__(self, kind: str, message: str, do: str = "", scheduler: str = "", fits: int | None = None) -> None:
        super().__init__(joined(message, do))
        self.kind = kind
        self.message = message
        self.do = do
        self.scheduler = scheduler
        self.fits = fits

    @property
    def transient(self) -> bool:
        """The same request may succeed a little later."""
        return self.kind in ("unreachable", "draining", "too-many")


class NoLinkError(LinkError):
    """This program is in no session, and was told no gateway either."""

    def __init__(self) -> None:
        super().__init__(
            "forbidden",
            "This program does not run in a session of the gateway.",
            "Start one from the gateway's page, or set FACTORYGATE_URL and FACTORYGATE_TOKEN.",
        )


# Handed over by use_token; in this process's memory only.
_own_token = ""  # nosec B105


def use_token(token: str | None = None) -> None:
    """Act with a hub token of your own from now on, in this process: for clusters at another factory, or for another
    project, than this session's, for which the session's own token is not enough.

    Make one on the hub's Token page. Without ``token`` it is asked for, and not shown. "" goes back to the session's
    own. It is kept in this process's memory only.
    """
    global _own_token
    _own_token = (getpass("Hub token: ") if token is None else token).strip()


def has_own_token(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a token of the person's own was handed over, by ``use_token`` or ``FACTORYGATE_TOKEN``."""
    return bool(_own_token or environment.get("FACTORYGATE_TOKEN"))


@dataclass(frozen=True)
class LinkRoute:
    """How the gateway is reached. ``base``: its API's address; ``socket``: the session's own way, if it has one;
    ``own``: whether the token is the person's own, and not the session's."""

    base: str
    token: str = field(repr=False)
    socket: str | None
    own: bool = True

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ, token: str | None = None) -> LinkRoute:
        """Return how to reach the gateway: through this session's door, or at FACTORYGATE_URL. The token is ``token``,
        else the one given to ``use_token``, else FACTORYGATE_TOKEN, else the session's. Raises NoLinkError."""
        own = token or _own_token or environment.get("FACTORYGATE_TOKEN")
        socket, of_session = environment.get("FACTORYGATE_HUB_SOCKET"), environment.get("JUPYTERHUB_API_TOKEN")
        if socket and (own or of_session):
            base = environment.get("JUPYTERHUB_BASE_URL", "/")
            return cls(f"http://gateway{base}services/factories/api", own or of_session or "", socket, bool(own))
        url = environment.get("FACTORYGATE_URL")
        if url and own:
            return cls(f"{url.rstrip('/')}/services/factories/api", own, None)
        raise NoLinkError

    @property
    def headers(self) -> dict[str, str]:
        """Of each request."""
        return {"Authorization": f"token {self.token}"}


def get_now(path: str, way: LinkRoute | None = None) -> Any:
    """The answer's JSON, waited for: for what has no event loop yet. Raises LinkError."""
    way = way or LinkRoute.here()
    transport = httpx.HTTPTransport(uds=way.socket) if way.socket else None
    try:
        with httpx.Client(
            base_url=way.base, headers=way.headers, transport=transport, timeout=SECONDS, trust_env=way.socket is None
        ) as client:
            answer = client.get(path)
    except httpx.HTTPError as error:
        raise _silent(error) from error
    if answer.is_error:
        raise _problem(answer)
    return answer.json()


class Link:
    """One connection pool; for one event loop."""

    def __init__(self, way: LinkRoute | None = None) -> None:
        """Raises NoLinkError where no ``way`` is given and there is none here."""
        way = way or LinkRoute.here()
        self._http = httpx.AsyncClient(
            base_url=way.base,
            headers=way.headers,
            transport=httpx.AsyncHTTPTransport(uds=way.socket) if way.socket else None,
            timeout=httpx.Timeout(SECONDS),
            trust_env=way.socket is None,
        )

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> Link:
        """The gateway of this session, or the one that the environment names. Raises NoLinkError."""
        return cls(LinkRoute.here(environment))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def get(self, path: str, **params: Any) -> Any:
        """The answer's JSON. ``path`` is below the service's ``/api``. Raises LinkError."""
        return await self._ask("GET", path, params={k: v for k, v in params.items() if v is not None})

    async def put(self, path: str, body: object) -> Any:
        """The same PUT twice is the same as once. Raises LinkError."""
        return await self._ask("PUT", path, json=body)

    async def post(self, path: str, body: object) -> Any:
        """Raises LinkError."""
        return await self._ask("POST", path, json=body)

    async def delete(self, path: str) -> Any:
        """Raises LinkError."""
        return await self._ask("DELETE", path)

    async def events(self, path: str) -> AsyncGenerator[tuple[str, Any], None]:
        """Server-sent events as (name, JSON), until the stream ends. Raises LinkError."""
        try:
            async with self._http.stream("GET", path, timeout=httpx.Timeout(SECONDS, read=60.0)) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise _problem(answer)
                async for told in EventSource(answer).aiter_sse():
                    try:
                        data = json.loads(told.data)
                    except ValueError:
                        log.warning("An event of the gateway is skipped: it is no JSON")
                        continue
                    yield told.event, data
        except httpx.HTTPError as error:
            raise _silent(error) from error

    async def _ask(self, method: str, path: str, **kwargs: Any) -> Any:
        try:
            answer = await self._http.request(method, path, **kwargs)
        except httpx.HTTPError as error:
            raise _silent(error) from error
        if answer.is_error:
            raise _problem(answer)
        return answer.json() if answer.content else None


def _silent(error: httpx.HTTPError) -> LinkError:
    return LinkError(
        "unreachable",
        f"The gateway does not answer now ({str(error) or type(error).__name__}).",
        "What runs goes on; try again in a minute.",
    )


def _problem(answer: httpx.Response) -> LinkError:
    try:
        told = answer.json()
        fits = told.get("fits")
        return LinkError(
            *(told["kind"], received(told, "message"), received(told, "do"), told.get("scheduler") or ""),
            fits=fits if isinstance(fits, int) else None,
        )
    except (ValueError, KeyError, TypeError):
        kind = "unreachable" if answer.status_code >= 500 else "forbidden"
        return LinkError(kind, f"The gateway answered {answer.status_code} {answer.reason_phrase}.")
