"""Decides which tokens in the URLs of requests are accepted, and keeps all tokens in URLs out of the log.

Clients that run code from outside a browser (``jupyter_kernel_client``) send a token in the URL of a kernel's
WebSocket, and no header. JupyterHub accepts a token in a URL from browsers only. Here, on the WebSockets of kernels and
terminals only, such a token is treated like one in the header ``Authorization`` if the session's owner allowed this
when starting the session (``FACTORYGATE_URL_TOKENS``); if not, the refusal says what to do.

Any URL may contain a token all the same. jupyter_server hides tokens in its log line for each request, but Tornado does
not if a handler raised an error. So tokens are removed where the log is written.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from tornado import httputil
from tornado.web import RequestHandler

from factorygate.hiding import hide_in

VARIABLE = "FACTORYGATE_URL_TOKENS"
REFUSAL = (
    "This session takes no token in the address of a WebSocket. Send the header `Authorization: token TOKEN`, or start "
    "the session with the option `url_tokens`.\n"
)


class TokenRefused(RequestHandler):
    """Answers 403 with the reason to a request whose token was refused; reveals nothing about the session."""

    async def get(self) -> None:
        """Answer 403 with the reason."""
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        await self.finish(REFUSAL)


class Addresses:
    """Accepts or refuses tokens in the URLs of WebSockets of kernels and terminals, before a handler is chosen.

    ``base_url``: the server's base URL; ``allowed``: whether the session's owner allowed tokens in URLs.
    """

    def __init__(self, base_url: str, allowed: bool) -> None:
        self._paths = tuple(url_path_join(base_url, path) for path in ("api/kernels/", "terminals/websocket/"))
        self._allowed = allowed

    def take(self, request: httputil.HTTPServerRequest) -> bool:
        """Move a token from a WebSocket's URL into the header ``Authorization``; return whether the request may go on.

        This concerns requests for WebSockets of kernels and terminals that have a token in the URL, have no header
        ``Authorization``, and do not come from a browser (header ``Sec-Fetch-Mode``). If tokens in URLs are allowed,
        the token is moved, and the request may go on. If not, a request with a cookie may go on unchanged, since the
        cookie may be sufficient; a request without a cookie may not go on. All other requests may go on unchanged.
        """
        headers = request.headers
        if headers.get("Upgrade", "").lower() != "websocket" or not request.path.startswith(self._paths):
            return True
        tokens = request.arguments.get("token")
        if not tokens or "Authorization" in headers or headers.get("Sec-Fetch-Mode") == "websocket":
            return True
        if not self._allowed:
            return "Cookie" in headers  # the cookie may be sufficient
        headers["Authorization"] = f"token {tokens[-1].decode('ascii', 'replace')}"
        for arguments in (request.arguments, request.query_arguments):
            arguments.pop("token", None)
        return True


def serve(server: ServerApp) -> None:
    """Install the rule for tokens in URLs (``Addresses``) in ``server``, and hide tokens in the server's log.

    The rule concerns requests for WebSockets of kernels and terminals. If ``FACTORYGATE_URL_TOKENS`` is 1, a
    token in the URL counts like one in the header ``Authorization``. Otherwise a request with a token in its URL is
    answered with 403, unless it comes from a browser, or has a cookie or the header ``Authorization``.
    """
    app = server.web_app
    addresses = Addresses(app.settings["base_url"], os.environ.get(VARIABLE) == "1")
    choose = app.find_handler

    def find_handler(request: httputil.HTTPServerRequest, **more: Any) -> Any:
        if addresses.take(request):
            return choose(request, **more)
        return app.get_handler_delegate(request, TokenRefused)

    app.find_handler = find_handler  # type: ignore[method-assign]
    hide_in(server.log, logging.getLogger(), logging.getLogger("tornado"))
