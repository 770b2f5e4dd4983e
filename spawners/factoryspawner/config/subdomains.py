"""Servers on subdomains: the name of each person's host, and redirects from there to the hub's host.

With ``subdomain_host``, each person's servers have a host of their own, so that their pages are another origin than the
hub's, and no script in one person's notebook can act in another's, nor at the hub. Hub and services stay on one host.
"""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.utils import subdomain_hook_idna
from tornado.httputil import HTTPServerRequest

_DONE = "_factorygate_redirects_to_the_hub"


def domain_of(name: str, domain: str, kind: str) -> str:
    """Return the host of a person's servers, which is below ``domain``; for a service, return ``domain`` itself.

    ``name``: of the person or service; ``kind``: "user" or "service". This function is JupyterHub's ``subdomain_hook``.
    The services, which are the gateway's own (link and workshops service), need no hosts of their own, because they
    serve no pages that people wrote; their addresses stay ``PUBLIC/services/NAME/``. Two people whose names differ only
    in the case of letters have different hosts, although DNS ignores the case.
    """
    if kind == "service":
        return domain
    found: str = subdomain_hook_idna(name, domain, kind)
    label = found.removesuffix(f".{domain}")
    if name != name.lower() or (label != name and label.startswith("u-")):
        # JupyterHub's label for such names has only 28 bits of a hash, and two people on one host are one origin
        return f"u--{hashlib.sha256(name.encode()).hexdigest()[:40]}.{domain}"
    return found


def hub_address(request: HTTPServerRequest, public_url: str) -> str | None:
    """Return the URL on the hub's host for a GET or HEAD request on a person's host; None for any other request.

    ``public_url``: scheme and host of the hub, without a path. Such requests come from the proxy's error pages, whose
    links lead to the host on which the page is shown. Only the host changes, so the URL never leads outside of the
    gateway.
    """
    host = urlsplit(public_url).netloc.lower()
    if request.method not in ("GET", "HEAD") or not request.host.lower().endswith(f".{host}"):
        return None
    return f"{public_url}{request.uri}" if (request.uri or "").startswith("/") else None


def redirect_to_the_hub(public_url: str) -> None:
    """Make JupyterHub's handlers redirect a GET or HEAD request on a person's host to the same page on the hub's host.

    ``public_url``: scheme and host of the hub, without a path. Without the redirect, the hub would not recognise the
    person, because the hub's cookie belongs to the hub's host.
    """
    if hasattr(BaseHandler, _DONE):
        return
    setattr(BaseHandler, _DONE, True)
    prepare = BaseHandler.prepare

    async def prepare_on_the_hubs_host(self: Any) -> None:
        address = hub_address(self.request, public_url)
        if address is not None:
            self.redirect(address)
            return
        await prepare(self)

    BaseHandler.prepare = prepare_on_the_hubs_host
