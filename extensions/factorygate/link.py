"""The client of the gateway's link for a notebook or a script: HTTP with a hub token, for the caller's own data.

In a session the environment variables have everything that is needed, and requests go through the session's own door.
The session's token is valid for the session's factory and project; for more, a person passes a token of their own
(``use_token``). A script elsewhere sets ``FACTORYGATE_URL`` (the hub's public address) and ``FACTORYGATE_TOKEN`` (a
token from the hub's token page).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from getpass import getpass
from typing import Any, TypeVar, cast

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from factorycommon.connections import IDLE_SECONDS
from factorycommon.event_stream import read_events
from factorycommon.language import N_
from factorycommon.link_errors import LinkError, LinkSilent, read_problem
from factorycommon.models import Cluster, Worker

__all__ = ["Link", "LinkError", "LinkRoute", "LinkSilent", "NoLinkError", "get_now", "has_own_token", "use_token"]


log = logging.getLogger(__name__)

LARGE = 50_000  # characters of data from which on a cluster is parsed in steps
STEP = 100  # workers that are parsed in one turn of the event loop, which takes about a millisecond
SECONDS = 30.0  # timeout of a request; streams have no limit
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=IDLE_SECONDS)

T = TypeVar("T")


class NoLinkError(LinkError):
    """Raised if this program runs in no session, and no gateway's URL with a token was given either."""

    def __init__(self) -> None:
        super().__init__(
            "forbidden",
            "This program does not run in a session of the gateway.",
            "Start one from the gateway's page, or set FACTORYGATE_URL and FACTORYGATE_TOKEN.",
        )


# The token from use_token; it is written to no file.
_own_token = ""  # nosec B105


def use_token(token: str | None = None) -> None:
    """Use a hub token of your own in this process; clusters that are already open keep their token.

    This session's own token is not valid for clusters at another factory or for another project; yours is.

    Make a token on the hub's Token page. Without ``token`` you are asked for it, and your input is not shown. With "",
    the token in ``FACTORYGATE_TOKEN`` is used or, if that is not set, the session's own token. Your token is written to
    no file. If a cluster with a ``name`` has its scheduler on this node, the scheduler's process gets your token, too.
    """
    global _own_token
    _own_token = (getpass("Hub token: ") if token is None else token).strip()


def has_own_token(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the person has passed a token of their own, by ``use_token`` or ``FACTORYGATE_TOKEN``."""
    return bool(_own_token or environment.get("FACTORYGATE_TOKEN"))


@dataclass(frozen=True)
class LinkRoute:
    """The way in which this program reaches the gateway: address, socket and token.

    ``base``: the URL of the link's API; ``socket``: the Unix socket of this session through which requests go, None if
    they go directly to ``base``; ``own``: whether the token is the person's own, and not the session's.
    """

    base: str
    token: str = field(repr=False)
    socket: str | None
    own: bool = True

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ, token: str | None = None) -> LinkRoute:
        """Return how to reach the gateway: through this session's door, or at FACTORYGATE_URL.

        The token is ``token``, else the one given to ``use_token``, else FACTORYGATE_TOKEN, else the session's. Raises
        NoLinkError if there is no session, and no FACTORYGATE_URL with a token of the person's own.
        """
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
        """Return the header that each request needs: it carries the token."""
        return {"Authorization": f"token {self.token}"}


def get_now(path: str, kind: type[T], route: LinkRoute | None = None, **params: Any) -> T:
    """Return the link's answer to a GET, parsed as ``kind``; blocks, for code that has no event loop yet.

    ``path`` is relative to the URL of the link's API; ``route`` None: the one that ``LinkRoute.here`` finds;
    ``params``: the query; values that are None are left out. Raises LinkError if the link refuses or does not answer;
    NoLinkError if ``LinkRoute.here`` finds no route.
    """
    route = route or LinkRoute.here()
    transport = httpx.HTTPTransport(uds=route.socket) if route.socket else None
    try:
        with httpx.Client(
            base_url=route.base,
            headers=route.headers,
            transport=transport,
            timeout=SECONDS,
            trust_env=route.socket is None,
        ) as client:
            answer = client.get(path, params=_given(params))
    except httpx.HTTPError as error:
        raise _silent(error) from error
    return _parse(kind, _content(answer))


class Link:
    """An asynchronous client of the link with one connection pool; for one event loop.

    In all requests, ``path`` is relative to the URL of the link's API, and ``kind`` is the type of the answer. All
    requests raise LinkError if the link refuses or does not answer.
    """

    def __init__(self, route: LinkRoute | None = None) -> None:
        """Set the route to the gateway; ``route`` None: the one that ``LinkRoute.here`` finds. Raises NoLinkError."""
        route = route or LinkRoute.here()
        self._http = httpx.AsyncClient(
            base_url=route.base,
            headers=route.headers,
            transport=httpx.AsyncHTTPTransport(uds=route.socket, limits=LIMITS) if route.socket else None,
            limits=LIMITS,
            timeout=httpx.Timeout(SECONDS),
            trust_env=route.socket is None,
        )

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> Link:
        """Return a client of the link, with the route that ``LinkRoute.here`` finds in the environment variables.

        Raises NoLinkError.
        """
        return cls(LinkRoute.here(environment))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def get(self, path: str, kind: type[T], **params: Any) -> T:
        """Return the answer to a GET of ``path`` in the link's API, parsed as ``kind``. Raises LinkError.

        ``params``: the query; values that are None are left out.
        """
        return await _parse_in_steps(kind, _content(await self._ask("GET", path, params=_given(params))))

    async def put(self, path: str, body: BaseModel, kind: type[T]) -> T:
        """PUT ``body`` to ``path`` in the link's API; return the answer, parsed as ``kind``. Raises LinkError."""
        return await _parse_in_steps(kind, _content(await self._ask("PUT", path, json=_sent(body))))

    async def post(self, path: str, body: BaseModel, kind: type[T]) -> T:
        """POST ``body`` to ``path`` in the link's API; return the answer, parsed as ``kind``.

        Raises LinkError.
        """
        return await _parse_in_steps(kind, _content(await self._ask("POST", path, json=_sent(body))))

    async def delete(self, path: str, kind: type[T]) -> T:
        """DELETE ``path`` in the link's API; return the answer, parsed as ``kind``. Raises LinkError."""
        return await _parse_in_steps(kind, _content(await self._ask("DELETE", path)))

    async def events(self, path: str, kind: type[T]) -> AsyncGenerator[tuple[str, T]]:
        """Yield the name and the data (parsed as ``kind``) of each server-sent event of ``path``, until the end.

        ``path`` is relative to the URL of the link's API. Raises LinkError if the link refuses or does not answer, or
        if the connection breaks; LinkSilent if the first event cannot be parsed, since the link may have another
        version than this package. A later event that cannot be parsed is skipped.
        """
        understood = False
        try:
            async with self._http.stream("GET", path, timeout=httpx.Timeout(SECONDS, read=60.0)) as answer:
                if answer.is_error:
                    raise _problem(answer.status_code, await answer.aread())
                async with aclosing(read_events(answer.aiter_bytes())) as events:
                    async for name, data in events:
                        try:
                            event = await _parse_in_steps(kind, data)
                        except LinkSilent:
                            if not understood:
                                raise
                            continue
                        understood = True
                        yield name, event
        except httpx.HTTPError as error:
            raise _silent(error) from error

    async def _ask(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **kwargs)
        except httpx.HTTPError as error:
            raise _silent(error) from error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _content(answer: httpx.Response) -> bytes:
    """Return the body of a response. Raises LinkError if the response is an error."""
    if answer.is_error:
        raise _problem(answer.status_code, answer.content)
    return answer.content


async def _parse_in_steps(kind: type[T], data: bytes | str) -> T:
    """Parse the link's data as ``kind``, the workers of a large cluster ``STEP`` at a time.

    Between two steps the event loop does other work: it is the loop of Dask's scheduler or of the notebook. Raises
    LinkSilent if a field is missing or invalid; unknown fields are ignored.
    """
    if kind is not Cluster or len(data) < LARGE:
        return _parse(kind, data)
    with _silent_if_invalid():
        whole: dict[str, Any] = _adapter(dict[str, Any]).validate_json(data)
        listed: list[Any] = _adapter(list[Any]).validate_python(whole.pop("workers", []))
        cluster: Cluster = _adapter(Cluster).validate_python(whole, extra="ignore")
    workers: list[Worker] = []
    for first in range(0, len(listed), STEP):
        await asyncio.sleep(0)
        with _silent_if_invalid():
            workers += _adapter(list[Worker]).validate_python(listed[first : first + STEP], extra="ignore")
    return cast(T, cluster.model_copy(update={"workers": tuple(workers)}))


def _parse(kind: type[T], data: bytes | str) -> T:
    """Parse the link's data as ``kind``.

    Unknown fields are ignored, since the link may be newer than this package. Raises LinkSilent if a field is missing
    or invalid.
    """
    with _silent_if_invalid():
        found: T = _adapter(cast(Any, kind)).validate_json(data, extra="ignore")
    return found


@contextmanager
def _silent_if_invalid() -> Iterator[None]:
    """Raise LinkSilent if the block finds that the link's data are invalid (ValidationError)."""
    try:
        yield
    except ValidationError as error:
        where = [".".join(map(str, one["loc"])) for one in error.errors(include_input=False, include_url=False)[:3]]
        log.warning("What the gateway says is not understood: %s", ", ".join(where))
        raise LinkSilent(N_("The gateway gave an answer that this session does not understand.")) from error


def _sent(body: BaseModel) -> Any:
    """Return the body as JSON without values that were not given, since an older link may not know their fields."""
    return body.model_dump(mode="json", exclude_unset=True)


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _silent(error: httpx.HTTPError) -> LinkError:
    return LinkSilent(
        f"The gateway does not answer now ({str(error) or type(error).__name__}).",
        "What runs goes on; try again in a minute.",
    )


def _problem(status: int, content: bytes) -> LinkError:
    found = read_problem(status, content)
    # Without an explanation it is a response of the hub, or of a proxy before it.
    return LinkError("forbidden", found.message) if isinstance(found, LinkSilent) and status < 500 else found
