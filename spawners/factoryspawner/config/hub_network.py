"""Sets up mutual TLS for the hub's listener and for JupyterHub's HTTP client.

Mutual TLS is needed if hub, link and proxy are on several hosts.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from tornado.httpserver import HTTPServer

from factorycommon.tls import HUB, LINK, PROXY, WORKSHOPS, TlsError, TlsFiles, dialing, listening
from factoryspawner.config.hub_config import HubConfigError

CALLERS = (PROXY, LINK, WORKSHOPS, HUB)  # the certificate names of clients that the hub's listener accepts


class TlsServer(HTTPServer):
    """Tornado's HTTP server with the gateway's own SSL context instead of JupyterHub's.

    JupyterHub's context reads its certificate files only once, and trusts every CA of the system.
    """

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Use the SSL context that ``configure_server`` gave as ``context``, instead of JupyterHub's."""
        kwargs["ssl_options"] = kwargs.pop("context")
        super().initialize(*args, **kwargs)


def configure_server(tls: TlsFiles | None, most_bytes: int) -> None:
    """Make JupyterHub's listener refuse bodies of more than ``most_bytes`` and, with ``tls``, unknown clients.

    With ``tls``, a client needs a certificate that the gateway's authority has issued to the proxy, the link, the
    workshops service or a hub. Raises HubConfigError if a file of ``tls`` cannot be used.
    """
    if tls is None:
        HTTPServer.configure(None, max_body_size=most_bytes)
    else:
        HTTPServer.configure(TlsServer, max_body_size=most_bytes, context=_usable(lambda: listening(tls, CALLERS)))


def connector_options(tls: TlsFiles | None) -> dict[str, Any]:
    """Return the options with which JupyterHub's HTTP client makes its connections by TLS; {} without ``tls``.

    The client connects only to the gateway's own processes and to notebooks, so the options accept only certificates of
    the gateway's authority. Raises HubConfigError if a file of ``tls`` cannot be used.
    """
    return {} if tls is None else {"ssl": _usable(lambda: dialing(tls))}


def _usable(make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    try:
        return make()
    except TlsError as error:
        raise HubConfigError(f"tls: {error}") from error
