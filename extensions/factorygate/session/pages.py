"""Serves the Dask pages of this session's clusters to everybody who may use the session's notebook server.

A cluster whose scheduler runs on this node or at another factory has a Unix socket in a folder beside the door's
sockets on this node. The scheduler on this node listens on it; for a scheduler at another factory, the ``Forwarder``
listens on it. The pages of a scheduler on another node of this factory are not served.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from jupyter_server_proxy.handlers import LocalProxyHandler
from tornado.web import HTTPError

PLACEHOLDER = 80  # a placeholder, since the handler requires a port and a socket has none
_KEPT = ("cookie", "authorization", "x-xsrftoken")  # headers that only the notebook server may get


class ClusterPages(LocalProxyHandler):  # type: ignore[misc]
    """Forwards requests to the pages of a cluster's Dask scheduler; accepts GET and HEAD only.

    The methods' argument ``cluster`` is the first eight digits of the cluster's id.
    """

    SUPPORTED_METHODS = ("GET", "HEAD")

    def initialize(self, folder: Path) -> None:
        """Set the folder that has, for each cluster, a subfolder with the socket of the cluster's pages."""
        self._folder = folder

    def _find(self, cluster: str) -> None:
        socket = self._folder / cluster / "pages.sock"
        if not socket.is_socket():
            raise HTTPError(404, "This cluster has ended, or its pages are not on this node.")
        self.unix_socket = str(socket)

    async def proxy(self, cluster: str, path: str) -> Any:
        """Forward a request to the pages of ``cluster``. Raises HTTPError 404 if the pages are not on this node."""
        self._find(cluster)
        return await super().proxy(PLACEHOLDER, path)

    async def open(self, cluster: str, path: str) -> None:
        """Forward a WebSocket to the pages of ``cluster``. Raises HTTPError 404 if the pages are not on this node."""
        self._find(cluster)
        await self.proxy_open("localhost", PLACEHOLDER, path)

    def proxy_request_headers(self) -> Any:
        """Return the browser's headers without cookies and tokens, which are for the notebook server only."""
        headers = super().proxy_request_headers()
        for name in _KEPT:
            headers.pop(name, None)
        return headers


def serve(server: ServerApp) -> None:
    """Serve the clusters' Dask pages below ``factorygate/clusters/`` of ``server``, if ``server`` runs in a session."""
    hub = os.environ.get("FACTORYGATE_HUB_SOCKET")
    if hub is None:
        return
    pattern = url_path_join(server.web_app.settings["base_url"], r"factorygate/clusters/([0-9a-f]{8})(/.*)")
    handlers = [(pattern, ClusterPages, {"folder": Path(hub).parent / "clusters"})]
    server.web_app.add_handlers(".*$", handlers)  # type: ignore[no-untyped-call]
