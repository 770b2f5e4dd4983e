"""Keeps Dask's own pages from other users of the node.

Dask itself serves its pages over TCP to everybody. Here a scheduler serves them on a Unix socket, and a worker serves
none. The notebook server shows them (``session.pages``) behind the person's login.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distributed import Scheduler, Worker
from distributed.http.routing import RoutingApplication
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket

SOCKET = "pages.sock"


def folder(cluster_id: str, here: Mapping[str, str] = os.environ) -> Path:
    """Return the folder (0700) on this node for a cluster's sockets and files, made if missing.

    The session removes the folder when the session ends. Outside a session each call makes a new folder, which the
    caller has to remove. ``here``: the environment variables.
    """
    hub = here.get("FACTORYGATE_HUB_SOCKET")
    if hub is None:  # this program runs in no session
        return Path(tempfile.mkdtemp(prefix="factorygate-cluster-"))
    found = Path(hub).parent / "clusters" / short(cluster_id)
    found.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found


def link(cluster_id: str, here: Mapping[str, str] = os.environ) -> str:
    """Return the URL path of a cluster's pages, which ``session.pages`` serves to the browser; "" outside a session.

    ``here``: the environment variables.
    """
    prefix = here.get("JUPYTERHUB_SERVICE_PREFIX")
    return f"{prefix}factorygate/clusters/{short(cluster_id)}/status" if prefix else ""


def short(cluster_id: str) -> str:
    """Return the short form of a cluster's id, for the name of the cluster's folder: paths of sockets must be short."""
    return cluster_id[:8]


class QuietScheduler(Scheduler):
    """A Dask scheduler that serves its pages on a Unix socket. ``pages``: the socket's path."""

    def __init__(self, *args: Any, pages: str, **options: Any) -> None:
        self._pages = pages
        super().__init__(*args, **options)

    def start_http_server(self, routes: Any, *_args: Any, **_options: Any) -> None:
        """Serve the pages on the Unix socket. Dask's own method would listen on a port."""
        _serve(self, routes)
        self.http_server.add_socket(bind_unix_socket(self._pages, mode=0o600))
        self.services["dashboard"] = self.http_server


class QuietWorker(Worker):
    """A Dask worker that serves no pages: it listens for Dask's own messages only."""

    def start_http_server(self, routes: Any, *_args: Any, **_options: Any) -> None:
        """Make the server object that Dask expects, without listening on any port."""
        _serve(self, routes)


def _serve(node: Any, routes: Any) -> None:
    node.http_application = RoutingApplication(routes)
    node.http_server = HTTPServer(node.http_application)
    node.http_server.address, node.http_server.port = "localhost", 0
