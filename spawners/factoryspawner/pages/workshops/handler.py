"""The base class of the handlers for the pages of workshops, and what they share.

They share the client of the workshops service, the texts of its refusals, and the join codes that a page is to show
once.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from tornado import web

from factorycommon.language import N_
from factorycommon.service_address import ServiceAddress
from factorylink.client import LinkAddress
from factoryspawner import access
from factoryspawner.pages.public import PublicHandler
from workshops.client import WorkshopsClient, WorkshopsProblem, WorkshopsSilent
from workshops.models.callers import WorkshopCaller
from workshops.models.views import CreatedView

SILENT = N_("The service for workshops does not answer just now. Classes go on; try again in a minute.")
_KEPT_SECONDS = 600.0  # for a code that was made, until its page is shown
_MOST_KEPT = 1000

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ServiceAddress, WorkshopsClient]] = WeakKeyDictionary()
_codes: dict[tuple[str, str], tuple[float, CreatedView]] = {}


def client_of(at: ServiceAddress) -> WorkshopsClient:
    """Return the client of the workshops service that listens at ``at``; call this in the event loop.

    Each event loop has one client for each address, which later calls return again.
    """
    mine = _clients.setdefault(asyncio.get_running_loop(), {})
    if at not in mine:
        mine[at] = WorkshopsClient(at)
    return mine[at]


def keep_code(person: str, created: CreatedView) -> str:
    """Keep a new join code in memory until a page shows it to the person once; return the key for ``take_code``.

    Each call drops the codes that are older than ``_KEPT_SECONDS``, and the oldest ones if there are ``_MOST_KEPT``.
    """
    now = asyncio.get_running_loop().time()
    for old in [old for old, (at, _) in _codes.items() if at < now - _KEPT_SECONDS]:
        del _codes[old]
    while len(_codes) >= _MOST_KEPT:
        del _codes[next(iter(_codes))]
    key = secrets.token_urlsafe(12)
    _codes[person, key] = (now, created)
    return key


def take_code(person: str, key: str) -> CreatedView | None:
    """Return the join code that ``keep_code`` kept for this person under ``key``, and forget the code.

    None: it was not kept, was taken already, or was dropped.
    """
    found = _codes.pop((person, key), None)
    return None if found is None else found[1]


class WorkshopHandler(PublicHandler):
    """The base class of the handlers for the pages of workshops."""

    def initialize(self, link_at: LinkAddress, locale: Path, service_at: ServiceAddress = Path()) -> None:
        """Keep the arguments of the route.

        ``link_at``: where the link listens; ``locale``: the folder of the translations; ``service_at``: where the
        workshops service listens.
        """
        super().initialize(link_at, locale)
        self._service_at = service_at

    @property
    def client(self) -> WorkshopsClient:
        """Return the client of the workshops service."""
        return client_of(self._service_at)

    @property
    def caller(self) -> WorkshopCaller:
        """Return the person who makes the request, with their groups, and whether they administer the hub.

        Groups whose names the link does not accept are left out.
        """
        user = self.current_user
        return WorkshopCaller(user.name, bool(user.admin), access.groups(group.name for group in user.groups))

    async def show(self, template: str, **values: Any) -> None:
        """Finish the request with a page made from ``template``, one of the templates of workshops.

        The template gets ``values``, and functions and tables for the names of factories and node sizes, as the map and
        the start page show them. If the link does not answer, the names are missing, and the template shows ids.
        """
        network = await self.network()
        factories = network.factories if network else ()
        labels = {(one.id, size.id): size.label for one in factories for size in one.sizes}
        common = {
            "xsrf": self.xsrf_token.decode(),
            "here_path": self.request.path,
            "factories_named": {one.id: one.name for one in factories},
            "size_named": lambda factory, size: labels.get((factory, size), size),
        }
        await self.page(template, **common, **values)

    def to(self, path: str) -> None:
        """Redirect the browser to a page of workshops; ``path`` begins after ``/hub/workshops``."""
        self.redirect(f"{self.hub.base_url}workshops{path}")

    def words_of(self, error: WorkshopsProblem | WorkshopsSilent) -> str:
        """Return the message that a page shows after a failed request to the workshops service; set the page's status.

        If the service refused the request, message and status are the service's. If the service did not answer, the
        message is ``SILENT``, and the status is 503. Raises HTTPError 404 if the service's status is 404.
        """
        if isinstance(error, WorkshopsSilent):
            self.set_status(503)
            return SILENT
        if error.status == 404:
            raise web.HTTPError(404)
        self.set_status(error.status)
        return error.problem.as_message("message")

    def refusal(self, error: WorkshopsProblem | WorkshopsSilent) -> web.HTTPError:
        """Return the error for the caller to raise after a failed request to the workshops service.

        The error has the service's status and message, or 503 and ``SILENT`` if the service did not answer. If the
        service's status is 404, this method itself raises the error (HTTPError).
        """
        return web.HTTPError(503 if isinstance(error, WorkshopsSilent) else error.status, self.words_of(error))
