"""The hub's listener, and JupyterHub's own client, with mutual TLS where hub, link and proxy are on several hosts."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from tornado.httpserver import HTTPServer

from factorycommon.tls import HUB, LINK, PROXY, WORKSHOPS, TlsError, TlsFiles, dialing, listening
from factoryspawner.config.hub_config import HubConfigError

CALLERS = (PROXY, LINK, WORKSHOPS, HUB)  # the names of those whom the hub's listener lets in


class TlsServer(HTTPServer):
    """Tornado's server with a context of ours: the one that JupyterHub hands it reads its files only once, and trusts
    every authority that the system does."""

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Listen with the ``context`` of ``configure_server``, in place of JupyterHub's."""
        kwargs["ssl_options"] = kwargs.pop("context")
        super().initialize(*args, **kwargs)


def configure_server(tls: TlsFiles | None, most_bytes: int) -> None:
    """Have JupyterHub's listener take bodies of at most ``most_bytes``, and with ``tls`` let in only clients that show
    a certificate of ours. Raises HubConfigError."""
    if tls is None:
        HTTPServer.configure(None, max_body_size=most_bytes)
    else:
        HTTPServer.configure(TlsServer, max_body_size=most_bytes, context=_usable(lambda: listening(tls, CALLERS)))


def connector_options(tls: TlsFiles | None) -> dict[str, Any]:
    """Return the options with which JupyterHub's client reaches proxy, link and notebooks; nothing else uses that
    client. Raises HubConfigError."""
    return {} if tls is None else {"ssl": _usable(lambda: dialing(tls))}


def _usable(make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    try:
        return make()
    except TlsError as error:
        raise HubConfigError(f"tls: {error}") from error
