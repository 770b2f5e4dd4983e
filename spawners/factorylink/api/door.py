"""Forwards requests from inside a session, which arrive through its door, to the hub's API or to the user API only."""

from __future__ import annotations

import asyncio
import logging
import posixpath
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from urllib.parse import unquote

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from factorycommon.connections import IDLE_SECONDS
from factorycommon.tls import TlsFiles, dialing
from factorylink.api.http import answer, new_app
from factorylink.problems import gone, unreachable

log = logging.getLogger("factorylink")

_BODY_SECONDS = 30.0  # seconds without another part of a request's body
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# Paths that two servers could parse differently. ``%3B`` and ``%5C`` are allowed: they stand for ``;`` and ``\`` in a
# user's name, and separate nothing while they are encoded.
_ODD = re.compile(r"[\x00-\x1f\x7f\\;]|//|%2[ef]", re.IGNORECASE)
_ODD_DECODED = re.compile(r"[\x00-\x1f\x7f]|//|%2[ef]", re.IGNORECASE)
# Headers that apply to a single connection only, or that a notebook must not set, such as a browser's cookies.
_DROPPED = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "trailers"),
        *("transfer-encoding", "upgrade", "host", "cookie", "set-cookie", "content-length", "forwarded"),
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "x-scheme"),
    }
)


class BackWay:
    """Forwards the requests that notebook servers send through their doors, to the hub's API or to the user API.

    ``hub_url``: address of the hub's own listener; ``user_url``: address of the user API, or a placeholder for it if
    the user API listens on the Unix socket ``user_socket``; ``base_url``: the hub's base path; ``tls``: the link's
    certificate, if the hub requires one."""

    def __init__(
        self,
        hub_url: str,
        user_url: str,
        base_url: str,
        user_socket: Path | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self._hub_url = hub_url.rstrip("/")
        self._user_url = user_url.rstrip("/")
        self._base_url = base_url
        # There is no limit here: each door limits its own connections (``door_back``), so that one session's open
        # requests cannot keep other sessions from the hub.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=IDLE_SECONDS)
        by_socket = None if user_socket is None else httpx.AsyncHTTPTransport(uds=str(user_socket), limits=limits)
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(10, read=None),
            limits=limits,
            trust_env=False,
            follow_redirects=False,
            verify=True if tls is None else dialing(tls),
            mounts=None if by_socket is None else {user_url: by_socket},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    def target(self, raw_path: str) -> str | None:
        """Return the server that gets a request for this path: ``hub_url`` or ``user_url``; None: no server gets it.

        ``raw_path``: the path as it was received, without decoding.
        """
        path = unquote(raw_path, errors="replace")
        if _ODD.search(raw_path) or _ODD_DECODED.search(path) or not path.startswith("/"):
            return None
        if posixpath.normpath(path) != (path.rstrip("/") or "/"):
            return None
        if path == f"{self._base_url}hub/api" or path.startswith(f"{self._base_url}hub/api/"):
            return self._hub_url
        if path.startswith(f"{self._base_url}services/factories/"):
            return self._user_url
        return None

    async def handle(self, request: Request) -> Response:
        """Forward a request and return the answer.

        The answer is 404 for a path that is not forwarded, and 503 if the hub or the user API does not answer, or if
        the notebook server does not send the rest of its request. Path, query and body are forwarded unchanged, and so
        are all headers except those that apply to one connection only, or that a notebook must not set.
        """
        raw_path = request.scope["raw_path"].decode("ascii", "replace").partition("?")[0]
        target = self.target(raw_path)
        if target is None:
            log.warning("A session asked for %r: refused", raw_path[:200])
            return answer(gone("This address"))
        query = request.scope["query_string"].decode("ascii", "replace")
        url = f"{target}{raw_path}" + (f"?{query}" if query else "")
        headers = _passed(request.headers.items())
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        content = _sent(request) if has_body else None
        if has_body and "content-length" in request.headers:
            headers.append(("content-length", request.headers["content-length"]))
        try:
            passed = self._http.build_request(request.method, url, headers=headers, content=content)
            response = await self._http.send(passed, stream=True)
        except httpx.HTTPError as error:
            log.info("The way back is closed: %s", str(error) or type(error).__name__)
            return answer(unreachable("The hub does not answer now."))
        return StreamingResponse(
            _body(response), status_code=response.status_code, headers=dict(_passed(response.headers.items()))
        )


def back_app(back_way: BackWay) -> FastAPI:
    """Return the app that serves requests that arrive through doors."""
    app = new_app("factorygate link, for sessions")
    app.add_api_route("/{path:path}", back_way.handle, methods=_METHODS)
    return app


async def _sent(request: Request) -> AsyncIterator[bytes]:
    """Yield the pieces of a request's body. Raises httpx.ReadTimeout if the client stops sending."""
    pieces = request.stream()
    while True:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                piece = await anext(pieces, None)
        except (TimeoutError, ClientDisconnect) as error:
            raise httpx.ReadTimeout("The session does not send the rest of its request.") from error
        if piece is None:
            return
        yield piece


async def _body(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    finally:
        await response.aclose()


def _passed(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    found = list(headers)
    named = {word.strip().lower() for name, value in found if name.lower() == "connection" for word in value.split(",")}
    return [(name, value) for name, value in found if name.lower() not in _DROPPED | named]
