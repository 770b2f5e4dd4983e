"""Lists the routes that this gateway adds to the hub: pages, their data, and static files.

The routes for login and sign-out are not here: the authenticators return them from ``get_handlers``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from jupyterhub.handlers.static import CacheControlStaticFilesHandler

from factorycommon.service_address import ServiceAddress
from factorylink.client import LinkAddress
from factoryspawner import logs, server_api
from factoryspawner.api import clusters, factories, home, person, sessions
from factoryspawner.pages import checklist, operator, project, public
from factoryspawner.pages.check import handlers as check
from factoryspawner.pages.check.limits import CheckLimits
from factoryspawner.pages.workshops import ending, joining, rehearsal
from factoryspawner.pages.workshops import pages as of_workshops

_BUILT = Path(__file__).parent / "built"  # scripts and styles, built from extensions/frontend
_API = (*factories.ROUTES, *person.ROUTES, *sessions.ROUTES, *home.ROUTES, *clusters.ROUTES)


def routes(
    link_at: LinkAddress, pages: Path, workshops_at: ServiceAddress | None = None, guests: bool = False
) -> list[tuple[Any, ...]]:
    """Return the routes for ``c.JupyterHub.extra_handlers``; JupyterHub puts ``/hub`` before them.

    Also replaces JupyterHub's handlers that start and stop servers and delete users, and gives each request an id.
    ``link_at``: where the link listens; ``pages``: folder of our templates, pictures and translations;
    ``workshops_at``: where the workshops service listens; None: there are no workshops; ``guests``: whether people may
    join a workshop with a mail address alone, as guests.
    """
    server_api.replace_handlers()
    logs.give_request_ids()
    to_link = {"link_at": link_at, "locale": pages / "locale"}
    return [
        *((rf"/gateway/api/{path}", handler, to_link) for path, handler in _API),
        *public.routes(link_at, pages / "locale"),
        *check.routes(link_at, pages / "locale", CheckLimits(time.monotonic), workshops_at),
        *project.routes(link_at, pages),
        *checklist.routes(link_at, pages),
        *joining.routes(link_at, pages, workshops_at, guests),
        *operator.routes(link_at, pages),
        *of_workshops.routes(link_at, pages, workshops_at),
        *ending.routes(link_at, pages, workshops_at),
        *rehearsal.routes(link_at, pages, workshops_at),
        (r"/gateway/static/([^/]+\.svg)", CacheControlStaticFilesHandler, {"path": str(pages / "static")}),
        (r"/gateway/static/(.*)", CacheControlStaticFilesHandler, {"path": str(_BUILT)}),
    ]
