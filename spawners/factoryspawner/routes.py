"""All routes that this gateway adds to the hub: pages, their data, and static files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyterhub.handlers.static import CacheControlStaticFilesHandler

from factoryspawner import server_api
from factoryspawner.api import clusters, factories, home, person, sessions
from factoryspawner.pages import checklist, project, public

_BUILT = Path(__file__).parent / "built"  # scripts and styles, built from extensions/frontend
_API = (*factories.ROUTES, *person.ROUTES, *sessions.ROUTES, *home.ROUTES, *clusters.ROUTES)


def routes(link_socket: Path, pages: Path) -> list[tuple[Any, ...]]:
    """Return the routes for ``c.JupyterHub.extra_handlers``; JupyterHub adds the prefix ``/hub``.

    JupyterHub's handlers that start and stop servers are replaced. ``link_socket``: path of the link's Unix socket;
    ``pages``: folder of the gateway's templates, pictures and translations.
    """
    server_api.replace_handlers()
    to_link = {"link_socket": link_socket, "locale": pages / "locale"}
    return [
        *((rf"/gateway/api/{path}", handler, to_link) for path, handler in _API),
        *public.routes(link_socket, pages / "locale"),
        *project.routes(link_socket, pages),
        *checklist.routes(link_socket, pages),
        (r"/gateway/static/([^/]+\.svg)", CacheControlStaticFilesHandler, {"path": str(pages / "static")}),
        (r"/gateway/static/(.*)", CacheControlStaticFilesHandler, {"path": str(_BUILT)}),
    ]
