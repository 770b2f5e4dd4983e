"""The HTTP handlers of the notebook server for steps.

``GET api/factorygate/steps?folder=NAME`` answers the steps of a workshop's folder and which of them were done; ``POST``
with ``{"folder": NAME, "index": NUMBER}`` notes that this step was done. Only users with access to the server may make
these requests.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from factorycommon.material.steps import MOST_STEPS
from factorygate.steps.book import StepBook


class StepsOfFolder(APIHandler):
    """Answers with the steps (tagged cells) of a workshop's folder, and stores which steps were done."""

    auth_resource = "contents"

    def initialize(self, book: StepBook) -> None:
        """Keep ``book``, the steps of this server."""
        self._book = book

    def update_api_activity(self) -> None:
        """Record no activity: pages make these requests without a person."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer ``steps``, the steps of a folder as objects, and ``done``, the numbers of those that were done.

        ``folder`` of the query: the folder's name. Each step has ``notebook``, ``cell``, ``name`` and ``before`` (see
        ``KnownStep``). The numbers begin at 0.
        """
        await self._answer(self.get_query_argument("folder", ""), None)

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Store that a step, a tagged cell of a notebook in a workshop's folder, was done; answer as GET does.

        The JSON body has ``folder``, the folder's name, and ``index``, the step's number, from 0. 400 if ``folder`` is
        no text, or ``index`` no integer from 0 to ``MOST_STEPS`` - 1. A step that the folder does not have is ignored.
        """
        body = self.get_json_body()
        folder, index = (body.get("folder"), body.get("index")) if isinstance(body, dict) else (None, None)
        if not isinstance(folder, str) or type(index) is not int or not 0 <= index < MOST_STEPS:
            raise web.HTTPError(400, "`folder` and `index` are needed: a name, and a number of a step")
        await self._answer(folder, index)

    async def _answer(self, folder: str, index: int | None) -> None:
        before = self._book.done
        if index is None:
            found = await asyncio.to_thread(self._book.look, folder)
        else:
            found = await asyncio.to_thread(self._book.mark, folder, index)
        if self._book.done != before:
            self._book.on_change()
        self.set_header("Cache-Control", "no-store")
        await self.finish(asdict(found))


def routes(base: str, book: StepBook) -> list[tuple[str, type[APIHandler], dict[str, Any]]]:
    """Return the handlers in the form of Tornado's routes. ``base``: the URL path ``…/api/factorygate``."""
    return [(f"{base}/steps", StepsOfFolder, {"book": book})]
